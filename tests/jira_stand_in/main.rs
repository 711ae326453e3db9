//! A stand-in for Jira Data Center: not shipped, run as a process of its own by tests and by `make demo`.
//!
//! It keeps real state (issues, comments, worklogs, watchers, attachments, tokens) and imitates what makes a proxy
//! in front of Jira hard: identity that silently falls back to anonymous, permissions that answer 404 or 401,
//! three shapes of errors, XSRF checks, absolute links built from the configured base URL, cookies, slow answers.
//! Whatever is not known for certain about the real product is a named switch (`--help` lists them).
//!
//! A second listener serves `/_control/…`: the state, counters, a log of requests, and troubles on demand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    clippy::unused_async,
    clippy::unnecessary_wraps,
    clippy::option_option,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "test code: a handler's signature is the router's affair, plain text building is fast enough here, \
              and a bug may stop the program"
)]

mod app;
mod attachments;
mod cluster;
mod comments;
mod control;
mod control_users;
mod desk;
mod desk_approvals;
mod desk_requests;
mod desk_wire;
mod fields;
mod gate;
mod groups;
mod identity;
mod index;
mod issues;
mod jql;
mod links;
mod oauth;
mod options;
mod permissions;
mod projects;
mod rate;
mod read_only;
mod rename;
mod search;
mod seed;
mod serve;
mod system;
mod tokens;
mod transitions;
mod troubles;
mod users;
mod watchers;
mod webhooks;
mod wire;
mod worklogs;
mod world;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let options = match options::Options::parse().checked() {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("jira-stand-in: {fault}");
            return ExitCode::from(64);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            eprintln!("jira-stand-in: no runtime: {fault}");
            return ExitCode::from(71);
        }
    };
    match runtime.block_on(serve::run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("jira-stand-in: {fault}");
            ExitCode::from(71)
        }
    }
}
