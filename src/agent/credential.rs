//! `credential`: through the running agent, which holds the store; on the store itself where none runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::admin::credentials::CredentialDesk as _;
use super::audit::{Event, Record, record_alone};
use super::cli::credential::{self as command, Credential};
use super::cli::daemon;
use super::config::Config;
use super::credentials::Credentials;
use super::credentials::stored::StoredSecrets;
use super::house::{CredentialRoom, View};
use super::store::{Store, give_to_owner};
use super::upstream::{self, Upstream};
use crate::common::clock::Clock;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::terminal;

/// Does one of the commands, and shows what came of it.
pub fn credential(file: &Path, what: &Credential, json: bool) -> Result<(), Report> {
    let (client, config) = daemon::find(file)?;
    let document = terminal::block_on(async {
        let client = client.patient(PATIENCE);
        match client.get("/status").await {
            Ok(_) => command::ask(&client, what).await,
            Err(report) if report.exit() == Exit::Unavailable => Box::pin(alone(&config?, what)).await,
            Err(report) => Err(report),
        }
    })?;
    command::show(what, document, json)
}

/// Without a daemon: this process holds the store for as long as it takes.
async fn alone(config: &Config, what: &Credential) -> Result<Value, Report> {
    // A secret may be given before the agent is enrolled; to look at none, no store is made.
    let store = match what {
        Credential::Set { .. } => {
            Store::open(&config.state, &config.store.key).map_err(|fault| fault.report())?
        }
        _ => super::cli::store::open(config)?,
    };
    let (clock, tasks) = (Clock::system(), Tasks::new());
    let stored = StoredSecrets::load(&store).await.map_err(|fault| fault.report())?;
    let start = |upstream: &upstream::Config| {
        let proxy = config.proxy_to(upstream)?;
        let started = Upstream::start(upstream.clone(), proxy, clock.clone(), &tasks);
        let started = started.map_err(|fault| Report::from_error(Exit::Config, &fault))?;
        Ok((upstream.name.clone(), started))
    };
    let view = View {
        credentials: Arc::new(Credentials::load_with(&config.services, stored)),
        policy: config.policy.clone(),
        upstreams: config.upstreams.iter().map(start).collect::<Result<_, Report>>()?,
    };
    let room = CredentialRoom::new(store.clone(), clock.clone(), move || view.clone());
    let record = async |event: Event, detail: String| {
        let by = format!("uid {}", rustix::process::getuid().as_raw());
        let record = Record::new(event).by(&by).detail(&detail);
        record_alone(&store, &clock, &record).await.map_err(|fault| fault.report())
    };
    let document = match what {
        Credential::Set { name, stdin } => {
            let secret = command::secret(name, *stdin, room.list())?;
            let line = room.set(name, secret).await?;
            record(Event::CredentialSet, format!("service {name}, {}", line.kind)).await?;
            document(&line)
        }
        Credential::List => document(&room.list()),
        Credential::Test { name, upstream } => {
            let lines = room.test(name, upstream.as_ref()).await?;
            for line in &lines {
                let detail = format!("service {name} tested at {}: {}", line.upstream, line.outcome);
                record(Event::SecretUsed, detail).await?;
            }
            document(&lines)
        }
        Credential::Remove { name } => {
            let line = room.remove(name).await?;
            record(Event::CredentialRemoved, format!("service {name}")).await?;
            document(&line)
        }
    };
    tasks.cancel();
    // Root made the files; the service's user reads them.
    give_to_owner(&config.state);
    Ok(document)
}

fn document(line: &impl Serialize) -> Value {
    serde_json::to_value(line).unwrap_or_default()
}

/// A test asks several applications, one after the other.
const PATIENCE: Duration = Duration::from_secs(120);
