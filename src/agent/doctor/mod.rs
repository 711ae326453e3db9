//! `doctor`: looks for what is wrong between the relay and the applications, and says what to do about it.
//!
//! [`doctor`] is the command, [`examine`] runs the checks. One file a check: a function from the [`Context`] to
//! [`Finding`]s, listed in [`examine`] in the order in which they are shown. Checks run at once, each with the network
//! stack of the traffic itself, and none longer than [`PATIENCE`]. They change nothing.

mod certificate;
mod clock;
mod config;
mod daemon;
mod finding;
mod inspection;
mod issuers;
mod relay;
mod store;
mod upstream;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use serde_json::json;

use super::admin::status::Status;
use super::cli;
use super::config::Config;
use super::connection;
use crate::common::clock::Clock;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::terminal;

pub use finding::{Finding, Level};

/// No check takes longer. A step of the way to the relay has ten seconds.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// What the checks look at.
pub struct Context {
    /// The configuration file.
    pub file: PathBuf,
    /// What it says.
    pub config: Config,
    /// How to reach the relay, with the proxy's credentials read; or why these can't be.
    pub relay: Result<connection::Config, Report>,
    /// What the running agent says of itself, or why it says nothing.
    pub daemon: Result<Box<Status>, Report>,
    /// The time.
    pub clock: Clock,
    /// For what a check starts; told to stop when all are done.
    pub tasks: Tasks,
    seen: Mutex<Vec<Seen>>,
}

/// What another machine says the time is.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Who says so.
    pub whose: String,
    /// Its time.
    pub theirs: SystemTime,
    /// Ours when it came.
    pub ours: SystemTime,
}

impl Context {
    /// Reads what the configuration refers to on the way to the relay.
    pub fn new(file: &Path, config: Config, daemon: Result<Box<Status>, Report>) -> Self {
        let relay = super::run::relay(&config);
        let (clock, tasks) = (Clock::system(), Tasks::new());
        Self { file: file.to_owned(), config, relay, daemon, clock, tasks, seen: Mutex::default() }
    }

    /// Takes note of a `Date` field, for the check of the clock.
    pub fn saw_time(&self, whose: &str, date: Option<&http::HeaderValue>) {
        let theirs = date
            .and_then(|date| date.to_str().ok())
            .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
            .map(|date| SystemTime::from(date.timestamp()));
        if let Some(theirs) = theirs {
            let seen = Seen { whose: whose.to_owned(), theirs, ours: self.clock.wall() };
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        }
    }

    /// All that [`Context::saw_time`] took note of.
    pub fn seen_times(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs all checks. What depends on nothing runs at once; the order of findings is always the same.
pub async fn examine(context: &Context) -> Vec<Finding> {
    let checks: Vec<(&'static str, BoxFuture<'_, Vec<Finding>>)> = vec![
        ("config", async { config::check(context) }.boxed()),
        ("store key", async { store::check(context) }.boxed()),
        ("agent", async { daemon::check(context) }.boxed()),
        ("relay", relay::check(context).boxed()),
        ("upstream", upstream::check(context).boxed()),
        ("issuer", issuers::check(context).boxed()),
        ("certificate", certificate::check(context).boxed()),
    ];
    let bounded = checks.into_iter().map(|(name, check)| within(name, check));
    let mut findings = join_all(bounded).await.concat();
    // It looks at what the others met.
    findings.extend(clock::check(context));
    context.tasks.cancel();
    findings
}

async fn within(name: &'static str, check: BoxFuture<'_, Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(PATIENCE, check).await.unwrap_or_else(|_| {
        let text = format!("the check did not end within {} s", PATIENCE.as_secs());
        let action = "Run it again; if it stays so, report it as a bug with the output of `--json`.";
        vec![Finding::failure(name, text, action)]
    })
}

/// The command: examines, prints, and fails if anything failed.
pub fn doctor(file: &Path, json: bool) -> Result<(), Report> {
    let findings = terminal::block_on(async { Ok(look(file).await) })?;
    let failed = findings.iter().filter(|finding| finding.level == Level::Failure).count();
    if json {
        let file = file.display().to_string();
        terminal::say_json(&json!({ "file": file, "ok": failed == 0, "findings": findings }));
    } else {
        terminal::say(&finding::text(&findings));
    }
    match failed {
        0 => Ok(()),
        1 => {
            Err(Report::new(Exit::Found, "1 check failed").with_remedy("It is named above, with what to do."))
        }
        _ => Err(Report::new(Exit::Found, format!("{failed} checks failed"))
            .with_remedy("They are named above, each with what to do; begin with the first.")),
    }
}

async fn look(file: &Path) -> Vec<Finding> {
    let (client, config) = match cli::daemon::find(file) {
        Ok((client, config)) => (Some(client), config),
        Err(report) => (None, Err(report)),
    };
    let status = async |client: crate::net::local::Client| {
        let document = client.patient(PATIENCE / 3).get("/status").await?;
        serde_json::from_value(document).map(Box::new).map_err(|error| {
            Report::new(
                Exit::Protocol,
                format!("the running agent says something that is no status: {error}"),
            )
            .with_remedy("It is probably of another version: run `systemctl restart outhaul-agent`.")
        })
    };
    let daemon = match client {
        Some(client) => Some(status(client).await),
        None => None,
    };
    match (config, daemon) {
        (Ok(config), Some(daemon)) => {
            let context = Context::new(file, config, daemon);
            Box::pin(examine(&context)).await
        }
        // Without a configuration there is no way to look at; a running agent may still have much to tell.
        (Err(report), daemon) => {
            let mut findings = vec![config::unreadable(&report)];
            findings.extend(daemon.iter().flat_map(daemon::judge));
            findings
        }
        (Ok(_), None) => Vec::new(),
    }
}
