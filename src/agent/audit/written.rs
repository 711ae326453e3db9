//! For the tests of other rooms: an audit with its writer, and what it holds.

use std::path::Path;

use serde_json::Value;

use super::{Audit, Event, Query, Settings, Signer, Writer, page};
use crate::agent::store::Store;
use crate::common::clock::Clock;
use crate::common::ids::AgentId;
use crate::common::tasks::Tasks;
use crate::identity::keys::SigningKey;

/// What was written.
pub struct Written(Audit);

/// Opens one in this folder.
pub async fn start(folder: &Path, clock: &Clock, tasks: &Tasks) -> (Audit, Written) {
    std::fs::create_dir_all(folder).unwrap();
    let store = Store::for_tests(folder);
    let audit = Audit::open(store, clock.clone(), Settings::default()).await.unwrap();
    Writer::start(
        &audit,
        Signer { agent: AgentId::generate(), key: SigningKey::generate().unwrap().0 },
        tasks,
    );
    (audit.clone(), Written(audit))
}

impl Written {
    /// Each use of a secret other than for a call: the account, its name, the application, the words.
    pub async fn secret_used(&self) -> Vec<String> {
        self.0.flush().await.unwrap();
        let event = Some(Event::SecretUsed.as_str().to_owned());
        let found = page(self.0.store(), &Query { event, ..Query::default() }).await.unwrap();
        found.records.iter().map(|record| line(record)).collect()
    }
}

fn line(record: &str) -> String {
    let record: Value = serde_json::from_str(record).unwrap();
    let member = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
    format!("{} {} {}: {}", member("identity"), member("jira_user"), member("upstream"), member("detail"))
}
