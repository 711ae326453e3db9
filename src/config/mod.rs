//! Reads files into values, with every fault at its place. Machinery only: each room owns its contents.

pub mod diagnose;
pub mod table;
pub mod values;
