//! `credential`: through the running agent, which holds the store; on the store itself where none runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::admin::credentials::CredentialDesk as _;
use super::callers::Callers;
use super::cli::credential::{self as command, Credential};
use super::cli::daemon;
use super::config::Config;
use super::credentials::stored::StoredSecrets;
use super::house::CredentialRoom;
use super::live::Live;
use super::mapping::Mappings;
use super::store::{Store, give_to_owner};
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
    let callers = Callers::load(store.clone(), clock.clone()).await.map_err(|fault| fault.report())?;
    let stored = StoredSecrets::load(&store).await.map_err(|fault| fault.report())?;
    let mappings = Mappings::start(store.clone(), clock.clone(), &tasks);
    let live = Live::new(config.clone(), Arc::new(callers), mappings, stored, clock.clone(), &tasks)?;
    let room = CredentialRoom::new(store, live.site(), clock);
    let document = match what {
        Credential::Set { name, stdin } => {
            let secret = command::secret(name, *stdin, room.list())?;
            document(&room.set(name, secret).await?)
        }
        Credential::List => document(&room.list()),
        Credential::Test { name, upstream } => document(&room.test(name, upstream.as_ref()).await?),
        Credential::Remove { name } => document(&room.remove(name).await?),
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
