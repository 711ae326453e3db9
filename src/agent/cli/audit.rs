//! `audit list|verify|export`: through the running daemon, or on the store where none runs.

use std::io::Write as _;
use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::store::{daemon, open};
use super::understood;
use crate::agent::admin::audit::LookAsk;
use crate::agent::audit::{self, Anchor, Broken, Event, Look, Page, Query, Verified, parse_time, syslog};
use crate::agent::config::Config;
use crate::agent::store::Store;
use crate::common::clock::Clock;
use crate::common::limits::parse_duration;
use crate::common::report::{Exit, Report};
use crate::identity::audit_head::ChainHead;
use crate::net::local::Client;
use crate::terminal;

/// What the agent recorded: who called what, as whom, and what came of it.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Show the newest records that fit, the newest last.
    List(List),
    /// Look at the whole chain, and name the first record that was changed, removed or put in.
    Verify {
        /// A head that was kept elsewhere, from the journal or the relay: NUMBER:HEAD. Can be given several times.
        #[arg(long = "anchor", value_name = "NUMBER:HEAD")]
        anchors: Vec<Anchor>,
    },
    /// Write all records to standard output, the oldest first. Where they begin and end in the chain is told on
    /// standard error.
    Export {
        /// From when on.
        #[command(flatten)]
        time: Since,
        /// How.
        #[arg(long, value_enum, default_value_t = Format::JsonLines)]
        format: Format,
    },
}

/// Which records.
#[derive(Debug, Args)]
pub struct List {
    /// From when on.
    #[command(flatten)]
    time: Since,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    /// Of this caller.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// For this person, as the caller names them: provider:subject.
    #[arg(long, value_name = "PERSON")]
    act_as: Option<String>,
    /// As this account, by its user name or its key.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Of this kind, such as call or caller-added.
    #[arg(long, value_name = "EVENT")]
    event: Option<Event>,
    /// So many at most.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

/// From when on.
#[derive(Debug, Args)]
pub struct Since {
    /// Of this time or later, such as 2026-01-31T08:00:00Z, or so long ago, such as 2h.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The records as they are, one a line: what the chain is made of.
    JsonLines,
    /// A syslog message (RFC 5424) for each, one a line.
    Syslog,
}

/// Does one of them.
pub fn audit(file: &Path, what: &Audit, json: bool) -> Result<(), Report> {
    let config = Config::load(file)?;
    terminal::block_on(async {
        let source = match daemon(&config).await? {
            Some(client) => Source::Daemon(client),
            None => Source::Store(open(&config)?),
        };
        match what {
            Audit::List(asked) => list(&source, asked, json).await,
            Audit::Verify { anchors } => verify(&source, anchors, json).await,
            Audit::Export { time, format } => export(&source, time.since, *format).await,
        }
    })
}

/// Where records are read.
pub(super) enum Source {
    Daemon(Client),
    Store(Store),
}

impl Source {
    async fn page(&self, query: &Query) -> Result<Page, Report> {
        match self {
            Self::Daemon(client) => understood(client.post("/audit/records", &document(query)?).await?),
            Self::Store(store) => audit::page(store, query).await.map_err(|fault| fault.report()),
        }
    }

    async fn look(&self, ask: LookAsk) -> Result<Look, Report> {
        match self {
            Self::Daemon(client) => understood(client.post("/audit/verify", &document(&ask)?).await?),
            Self::Store(store) => {
                let look = match ask.look {
                    Some(look) => Ok(look),
                    None => audit::look(store, ask.anchors.clone()).await,
                };
                let look = look.map_err(|fault| fault.report())?;
                audit::look_on(store, look, ask.anchors).await.map_err(|fault| fault.report())
            }
        }
    }

    /// The same to its end.
    pub(super) async fn verify(&self, anchors: &[Anchor]) -> Result<Verified, Report> {
        let mut ask = LookAsk { anchors: anchors.to_vec(), look: None };
        loop {
            let look = self.look(ask).await?;
            if look.done {
                return Ok(look.verifier.finish());
            }
            ask = LookAsk { anchors: anchors.to_vec(), look: Some(look) };
        }
    }
}

async fn list(source: &Source, asked: &List, json: bool) -> Result<(), Report> {
    let limit = usize::from(asked.limit);
    let mut query = Query {
        since: asked.time.since,
        until: asked.until,
        caller: asked.caller.clone(),
        act_as: asked.act_as.clone(),
        user: asked.user.clone(),
        event: asked.event.map(|event| event.as_str().to_owned()),
        newest: Some(limit),
        next: None,
    };
    let mut records: Vec<String> = Vec::new();
    while records.len() < limit {
        let page = source.page(&query).await?;
        records.extend(page.records);
        let Some(next) = page.next else { break };
        (query.next, query.newest) = (Some(next), Some((limit - records.len()).max(1)));
    }
    records.truncate(limit);
    records.reverse();
    let records: Vec<Value> =
        records.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))).collect();
    if json {
        terminal::say_json(&json!({ "records": records }));
    } else if records.is_empty() {
        terminal::say("No record fits.");
    } else {
        terminal::say(&terminal::table(&records.iter().map(row).collect::<Vec<_>>()));
    }
    Ok(())
}

fn row(record: &Value) -> Vec<String> {
    let text = |key: &str| match record.get(key) {
        None | Some(Value::Null) => String::new(),
        // Callers choose some of these words, and they must not steer a terminal.
        Some(Value::String(text)) => text.chars().filter(|letter| !letter.is_control()).collect(),
        Some(other) => other.to_string(),
    };
    let joined = |keys: &[&str]| {
        let words: Vec<_> = keys.iter().map(|key| text(key)).filter(|word| !word.is_empty()).collect();
        words.join(" ")
    };
    vec![
        text("n"),
        text("time"),
        text("event"),
        joined(&["caller", "by"]),
        joined(&["act_as", "identity", "jira_user"]),
        joined(&["upstream", "method", "path"]),
        joined(&["result", "outcome", "detail", "lost", "removed_to"]),
    ]
}

async fn verify(source: &Source, anchors: &[Anchor], json: bool) -> Result<(), Report> {
    let found = source.verify(anchors).await?;
    if json {
        terminal::say_json(&document(&found)?);
    }
    if let Some(broken) = &found.broken {
        return Err(Report::new(Exit::Found, shown(broken)).with_remedy(
            "Keep a copy of the state folder as it is, and compare with an export or a backup.",
        ));
    }
    if !json {
        terminal::say(&whole(&found));
    }
    Ok(())
}

fn whole(found: &Verified) -> String {
    let mut lines = vec![if found.records == 0 {
        format!("There is no record after {}.", found.last)
    } else {
        format!("Records {} to {} are as they were written.", found.first, found.last)
    }];
    lines.push(format!("The head is {}:{}", found.last, found.head));
    lines.extend(found.anchors.iter().map(|anchor| format!("It agrees with {anchor}.")));
    lines.extend(found.notes.iter().map(|note| format!("Note: {note}.")));
    lines.join("\n")
}

/// What `audit verify` and `store verify` say of a broken record.
pub(super) fn shown(broken: &Broken) -> String {
    let time = broken.time.as_ref().map(|time| format!(" ({time})")).unwrap_or_default();
    format!("the audit is broken at record {}{time}: {}", broken.number, broken.what)
}

/// A page at a time, so that it takes little memory however much there is.
async fn export(source: &Source, since: Option<i64>, format: Format) -> Result<(), Report> {
    let mut query = Query { since, ..Query::default() };
    let (mut begun, mut head, mut last) = (None, ChainHead::default(), 0);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let failed = |error: std::io::Error| {
        Report::new(Exit::InputOutput, format!("the export can't be written: {error}"))
    };
    loop {
        let page = source.page(&query).await?;
        if begun.is_none()
            && let (Some(before), Some(first)) = (page.before, page.records.first())
        {
            begun = Some((number(first), before));
            head = before;
        } else if page.before.is_some_and(|before| before != head) {
            return Err(Report::new(
                Exit::Temporary,
                format!("records after {last} were removed while they were exported"),
            )
            .with_remedy("Export again."));
        }
        for record in &page.records {
            head = head.then(record.as_bytes());
            last = number(record);
            let line = match format {
                Format::JsonLines => Some(record.clone()),
                Format::Syslog => syslog(record, host.trim()),
            };
            let written = line.map_or(Ok(()), |line| writeln!(out, "{line}"));
            written.map_err(failed)?;
        }
        query.next = page.next;
        if page.next.is_none() {
            break;
        }
    }
    out.flush().map_err(failed)?;
    match begun {
        None => eprintln!("There is no record of that time."),
        Some((first, before)) => {
            eprintln!(
                "Records {first} to {last}. Head before: {}:{before}. Head after: {last}:{head}",
                first - 1
            );
        }
    }
    Ok(())
}

fn number(record: &str) -> u64 {
    let number = record.strip_prefix("{\"n\":").and_then(|rest| rest.split_once(','));
    number.and_then(|(number, _)| number.parse().ok()).unwrap_or_default()
}

fn document(value: &impl serde::Serialize) -> Result<Value, Report> {
    serde_json::to_value(value).map_err(|error| Report::from_error(Exit::Software, &error))
}

/// A time, or so long ago: in milliseconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    if let Some(time) = parse_time(text) {
        return Ok(time);
    }
    let ago = parse_duration(text).map_err(|_| {
        format!("“{text}” is no time: write one as in 2026-01-31T08:00:00Z, or how long ago, as in 2h")
    })?;
    let now = Clock::system().wall().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(now.saturating_sub(ago).as_millis()).unwrap_or(i64::MAX))
}
