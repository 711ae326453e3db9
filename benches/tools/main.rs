//! What `make bench` runs beside Outhaul itself: certificates, a sink for uploads, a line with delay, many agents.
#![allow(
    clippy::needless_pass_by_value,
    reason = "not shipped: a fault here is shown to whoever runs the benchmark"
)]

mod certificates;
mod fleet;
mod handshake;
mod line;
mod sink;

use std::process::ExitCode;

use clap::Parser;

/// Tools of the benchmark.
#[derive(Debug, Parser)]
enum Tool {
    /// Write an authority (ca.pem) and a certificate of localhost (relay.pem, relay.key) into a folder.
    Certificates(certificates::Arguments),
    /// Take uploads, and answer how many bytes came.
    Sink(sink::Arguments),
    /// Hand on TCP connections, later or slower.
    Line(line::Arguments),
    /// Hold the tunnels of many agents; told what to do on standard input.
    Fleet(fleet::Arguments),
}

/// What stops a tool, in words for whoever runs it.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let tool = Tool::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match (runtime, tool) {
        (Err(fault), _) => Err(words(fault)),
        (Ok(_), Tool::Certificates(arguments)) => certificates::write(&arguments),
        (Ok(runtime), Tool::Sink(arguments)) => runtime.block_on(sink::run(arguments)),
        (Ok(runtime), Tool::Line(arguments)) => runtime.block_on(line::run(arguments)),
        (Ok(runtime), Tool::Fleet(arguments)) => runtime.block_on(fleet::run(arguments)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("bench-tools: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// A fault of a library as such words.
fn words(fault: impl std::fmt::Display) -> String {
    fault.to_string()
}
