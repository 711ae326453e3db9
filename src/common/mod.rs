//! The ground floor: values and small rules that every room shares.
//!
//! Nothing here opens a file or a socket. [`clock`] is the only reader of time and [`tasks`] the only spawner.

pub mod act_as;
pub mod backoff;
pub mod clock;
pub mod host;
pub mod host_name;
pub mod ids;
pub mod limits;
pub mod pace;
pub mod problem;
pub mod report;
pub mod secret;
pub mod strict_json;
pub mod tasks;
