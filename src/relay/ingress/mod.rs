//! The one public port. To come.

pub mod route;

mod limits;

pub use limits::Limits;
