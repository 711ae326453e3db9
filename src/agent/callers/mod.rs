//! The programs that may call this site, and their keys.
//!
//! [`Callers::authenticate`] tells the front who calls, from memory; the admin socket adds, rotates and removes. Keys
//! are kept in the store, as hashes. What a caller may do is the policy's affair.

mod exposure;
mod key;
mod presented;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::agent::store::tables::callers::{Proof, StoredKey};
use crate::agent::store::{Store, StoreFault};
use crate::common::act_as::ActAs;
use crate::common::clock::Clock;
use crate::common::ids::{CallerName, Provider};
use crate::common::problem::{Code, Problem};
use crate::common::report::{Exit, Report};
use crate::common::secret::Secret;
use crate::identity::api_key::{ApiKey, ApiKeyId};
use crate::identity::keys::PublicKey;
use crate::identity::signatures::KEY_PREFIX;

use key::{Key, Keys, taken};
pub use presented::{Presented, presented};

/// What the configuration says of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `rewrite-links`: links in JSON answers lead through the relay.
    pub rewrite_links: bool,
    /// `act-as`: whose names for people the caller may use.
    pub act_as: Vec<Provider>,
}

impl Options {
    /// The refusal of a call for this person, where the caller may not name people of that provider.
    pub fn refuses(&self, caller: &CallerName, person: &ActAs) -> Option<Problem> {
        let provider = person.provider();
        if self.act_as.iter().any(|known| known.as_str() == provider) {
            return None;
        }
        Some(Problem::new(
            Code::ActAsRefused,
            format!(
                "The caller {caller} may not name people of “{provider}”. The site's administrator allows it with \
                 `act-as = [\"{provider}\"]` in [caller.{caller}]."
            ),
        ))
    }
}

/// All callers; cheap to ask at each call.
pub struct Callers {
    store: Store,
    clock: Clock,
    table: ArcSwap<Table>,
    /// One change at a time.
    change: Mutex<()>,
}

/// A caller whose key was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// Its name.
    pub caller: CallerName,
    /// The key was once sent through the relay, which could have kept it.
    pub key_is_exposed: bool,
}

/// A key was not taken. Says no more, so that nobody learns which part was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key of a caller of this site")]
pub struct UnknownKey;

/// A signature was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownSigner {
    /// No key that signs has this id, or no longer.
    NoKey,
    /// The key did not make it.
    Wrong,
}

/// A caller, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCaller {
    /// Its name.
    pub name: CallerName,
    /// Its keys, the newest first.
    pub keys: Vec<ListedKey>,
}

/// A key, for lists: nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// What names it: `ohk_{id}` or `ohs_{id}`.
    pub id: String,
    /// Its calls are signed.
    pub signs: bool,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it stops working, if a newer one has replaced it.
    pub expires: Option<u64>,
    /// When it was last used since the agent started.
    pub last_used: Option<u64>,
    /// It was sent through the relay.
    pub exposed: bool,
}

/// Why callers can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CallersFault {
    /// It is there already.
    #[error("there is a caller “{0}” already: rotate it for a new key, or choose another name")]
    Exists(CallerName),
    /// It is not there.
    #[error("there is no caller “{0}”: see `outhaul-agent caller list`")]
    Unknown(CallerName),
    /// There are too many.
    #[error("there are {MAX_CALLERS} callers already: remove one first")]
    Full,
    /// The grace time is out of bounds.
    #[error("an old key may go on working for at most {} days", MAX_GRACE.as_secs() / 86_400)]
    Grace,
    /// Somebody has it already.
    #[error("this public key is a caller's already: “{0}”. Make a key pair for each caller")]
    Taken(CallerName),
    /// No random bytes.
    #[error("no key could be made: {0}")]
    Random(#[from] crate::identity::encoded::RandomFault),
    /// The store can't take it, so nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

#[derive(Clone, Default)]
struct Table {
    callers: Keys,
    by_id: HashMap<ApiKeyId, (CallerName, Key)>,
}

impl Callers {
    /// Reads the callers from the store.
    pub async fn load(store: Store, clock: Clock) -> Result<Self, CallersFault> {
        let table = Table::index(taken(store.callers().await?));
        Ok(Self { store, clock, table: ArcSwap::from_pointee(table), change: Mutex::new(()) })
    }

    /// Whose key this is.
    pub fn authenticate(&self, key: &str) -> Result<Authenticated, UnknownKey> {
        let key: ApiKey = key.parse().map_err(|_| UnknownKey)?;
        let table = self.table.load();
        let Some((name, known)) = table.by_id.get(key.id()) else { return Err(UnknownKey) };
        let now = self.clock.unix_seconds();
        if !known.is_proved_by(&key) || !known.is_live(now) {
            return Err(UnknownKey);
        }
        known.last_used.store(now, Ordering::Relaxed);
        Ok(Authenticated { caller: name.clone(), key_is_exposed: known.exposure.is_exposed() })
    }

    /// Whose signature it is, if `verifies` says so of the public key that has this `keyid`.
    pub fn signer(
        &self,
        key_id: &str,
        verifies: impl FnOnce(&PublicKey) -> bool,
    ) -> Result<CallerName, UnknownSigner> {
        let id = key_id.strip_prefix(KEY_PREFIX).and_then(|id| id.parse::<ApiKeyId>().ok());
        let table = self.table.load();
        let found = id.and_then(|id| table.by_id.get(&id));
        let Some((name, known)) = found else { return Err(UnknownSigner::NoKey) };
        let now = self.clock.unix_seconds();
        match &known.proof {
            Proof::Signature(_) if !known.is_live(now) => Err(UnknownSigner::NoKey),
            Proof::Signature(key) if verifies(key) => {
                known.last_used.store(now, Ordering::Relaxed);
                Ok(name.clone())
            }
            Proof::Signature(_) => Err(UnknownSigner::Wrong),
            Proof::Secret(_) => Err(UnknownSigner::NoKey),
        }
    }

    /// All callers, by name.
    pub fn list(&self) -> Vec<ListedCaller> {
        let now = self.clock.unix_seconds();
        let key = |key: &Key| ListedKey {
            id: key.shown(),
            signs: matches!(key.proof, Proof::Signature(_)),
            created: key.created,
            expires: key.expires,
            last_used: Some(key.last_used.load(Ordering::Relaxed)).filter(|used| *used > 0),
            exposed: key.exposure.is_exposed(),
        };
        let table = self.table.load();
        let caller = |(name, keys): (&CallerName, &Vec<Key>)| ListedCaller {
            name: name.clone(),
            keys: keys.iter().rev().filter(|key| key.is_live(now)).map(key).collect(),
        };
        table.callers.iter().map(caller).collect()
    }

    /// Makes a caller; gives its secret, which nobody can show again.
    pub async fn add(&self, name: &CallerName) -> Result<Secret<String>, CallersFault> {
        self.enter(name, |_, now| Key::secret(now)).await
    }

    /// Makes a caller that signs with this key; gives the `keyid` of its signatures.
    pub async fn add_public(&self, name: &CallerName, public: PublicKey) -> Result<String, CallersFault> {
        self.enter(name, |callers, now| Key::public(public, callers, now)).await
    }

    /// Gives a caller a new secret, in the place of keys of either kind. The old ones go on working for `grace`, so that
    /// the program can be changed over.
    pub async fn rotate(&self, name: &CallerName, grace: Duration) -> Result<Secret<String>, CallersFault> {
        self.renew(name, grace, |_, now| Key::secret(now)).await
    }

    /// The same with a key that the caller signs with.
    pub async fn rotate_public(
        &self,
        name: &CallerName,
        public: PublicKey,
        grace: Duration,
    ) -> Result<String, CallersFault> {
        self.renew(name, grace, |callers, now| Key::public(public, callers, now)).await
    }

    async fn enter<T>(
        &self,
        name: &CallerName,
        make: impl FnOnce(&Keys, u64) -> Result<(Key, T), CallersFault>,
    ) -> Result<T, CallersFault> {
        self.change(name, |callers, now| {
            if callers.contains_key(name) {
                return Err(CallersFault::Exists(name.clone()));
            }
            if callers.len() >= MAX_CALLERS {
                return Err(CallersFault::Full);
            }
            let (key, shown) = make(callers, now)?;
            callers.insert(name.clone(), vec![key]);
            Ok(shown)
        })
        .await
    }

    async fn renew<T>(
        &self,
        name: &CallerName,
        grace: Duration,
        make: impl FnOnce(&Keys, u64) -> Result<(Key, T), CallersFault>,
    ) -> Result<T, CallersFault> {
        if grace > MAX_GRACE {
            return Err(CallersFault::Grace);
        }
        self.change(name, |callers, now| {
            let (key, shown) = make(callers, now)?;
            let keys = callers.get_mut(name).ok_or_else(|| CallersFault::Unknown(name.clone()))?;
            let end = now.saturating_add(grace.as_secs());
            for key in keys.iter_mut() {
                key.expires = Some(key.expires.map_or(end, |before| before.min(end)));
            }
            keys.retain(|key| key.is_live(now));
            // The oldest go first, so that rotating in a loop can't fill the file.
            let surplus = (keys.len() + 1).saturating_sub(MAX_KEYS);
            keys.drain(..surplus);
            keys.push(key);
            Ok(shown)
        })
        .await
    }

    /// Removes a caller; its keys stop working at once.
    pub async fn remove(&self, name: &CallerName) -> Result<(), CallersFault> {
        self.change(name, |callers, _| {
            callers.remove(name).map(|_| ()).ok_or_else(|| CallersFault::Unknown(name.clone()))
        })
        .await
    }

    /// A change of one caller counts only once it is on the disk.
    async fn change<T>(
        &self,
        name: &CallerName,
        change: impl FnOnce(&mut Keys, u64) -> Result<T, CallersFault>,
    ) -> Result<T, CallersFault> {
        let _one = self.change.lock().await;
        let mut callers = self.table.load().callers.clone();
        let done = change(&mut callers, self.clock.unix_seconds())?;
        let keys = callers.get(name).map(|keys| keys.iter().map(StoredKey::from).collect());
        self.store.set_caller(name, keys).await?;
        self.table.store(Arc::new(Table::index(callers)));
        Ok(done)
    }
}

impl Table {
    fn index(callers: Keys) -> Self {
        let pairs = callers.iter().flat_map(|(name, keys)| keys.iter().map(move |key| (name, key)));
        let by_id = pairs.map(|(name, key)| (key.id.clone(), (name.clone(), key.clone()))).collect();
        Self { callers, by_id }
    }
}

impl UnknownKey {
    /// The refusal that the caller sees.
    pub fn problem(self) -> Problem {
        Problem::new(
            Code::CallerUnknown,
            "This key is not one of this site's, or no longer valid. Get one with `outhaul-agent caller add` or `caller rotate` on the site.",
        )
    }
}

impl CallersFault {
    /// For the command line.
    pub fn report(&self) -> Report {
        let exit = match self {
            Self::Exists(_) | Self::Unknown(_) | Self::Taken(_) | Self::Full | Self::Grace => Exit::Data,
            Self::Random(_) => Exit::System,
            Self::Store(fault) => return fault.report(),
        };
        Report::from_error(exit, self)
    }
}

impl std::fmt::Debug for Callers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.table.load().callers.keys()).finish()
    }
}

const MAX_CALLERS: usize = 1_000;
/// Of one caller, old ones in their grace time among them.
const MAX_KEYS: usize = 4;
const MAX_GRACE: Duration = Duration::from_secs(30 * 86_400);

#[cfg(test)]
mod tests;
