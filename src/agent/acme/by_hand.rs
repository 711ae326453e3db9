//! What an administrator asks for: a new certificate now, a new key.

use super::certificate::{generate_key, pin_of_key};
use super::keeper::Acme;
use super::renewal::{Hold, Next};
use super::report;
use super::state::State;
use crate::agent::store::StoreFault;

/// Why what was asked for by hand can't be done.
#[derive(Debug, thiserror::Error)]
pub enum AskedFault {
    /// Not a name of this agent.
    #[error("no certificate is ordered for “{given}”; there are: {known}")]
    Unknown {
        /// What was given.
        given: String,
        /// What there is.
        known: String,
    },
    /// Several names, and none given.
    #[error("say for which name; there are: {0}")]
    Which(String),
    /// The authority's limits, or ours.
    #[error("{name}: {why}; the next order may go out at {until}")]
    Held {
        /// For which.
        name: String,
        /// Why.
        why: &'static str,
        /// Until when, RFC 3339.
        until: String,
    },
    /// The key in the store does not open.
    #[error("{0}")]
    Broken(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl Acme {
    /// Orders a new certificate now, whatever the age of the one there is. Gives the name, and how many tries for it had
    /// ended before.
    pub fn renew(&self, name: Option<&str>) -> Result<(String, u64), AskedFault> {
        let now = self.0.clock.unix_seconds();
        let mut state = self.0.lock();
        let name = choose(&state, name)?;
        let account = state.account_hold(now, true);
        let Some(entry) = state.names.get_mut(&name) else { return Err(AskedFault::Which(String::new())) };
        if let Err(broken) = &entry.kept {
            return Err(AskedFault::Broken(broken.clone()));
        }
        let before = entry.asked;
        entry.asked = true;
        let held = account.map(|(until, hold)| Next::Wait { until, hold });
        let next = held.unwrap_or_else(|| entry.next(now, &self.0.config.directory));
        if let Next::Wait { until, hold } = next {
            entry.asked = before;
            let why = match hold {
                Hold::Authority => "the authority wants no order before",
                Hold::Limit => {
                    "so many orders were made within a day that further ones would burn its limits"
                }
                Hold::NotDue | Hold::BackOff => "it is not due",
            };
            return Err(AskedFault::Held { name, why, until: report::stamp(until) });
        }
        let ended = entry.ended;
        drop(state);
        self.0.poke.notify_one();
        Ok((name, ended))
    }

    /// Makes a new key for a name's next certificate; gives the name and the key's pin.
    pub async fn rotate_key(&self, name: Option<&str>) -> Result<(String, String), AskedFault> {
        let name = choose(&self.0.lock(), name)?;
        let key = generate_key().map_err(AskedFault::Broken)?;
        let pin = pin_of_key(&key).map_err(AskedFault::Broken)?;
        self.0.store.set_acme_next_key(&name, &key).await?;
        if let Some(Ok(kept)) = self.0.lock().names.get_mut(&name).map(|entry| entry.kept.as_mut()) {
            kept.next_key = Some(key);
        }
        Ok((name, pin))
    }
}

fn choose(state: &State, name: Option<&str>) -> Result<String, AskedFault> {
    let known = || state.names.keys().cloned().collect::<Vec<_>>().join(", ");
    match name {
        Some(given) => {
            let name = given.trim_end_matches('.').to_ascii_lowercase();
            if !state.names.contains_key(&name) {
                return Err(AskedFault::Unknown { given: given.to_owned(), known: known() });
            }
            Ok(name)
        }
        None if state.names.len() == 1 => Ok(known()),
        None => Err(AskedFault::Which(known())),
    }
}
