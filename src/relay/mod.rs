//! The public side. To come.

pub mod admin;
pub mod cli;
pub mod config;
pub mod enrolment;
pub mod ingress;
pub mod operator;
pub mod registry;
pub mod store;
pub mod tenancy;

/// Entry point.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
