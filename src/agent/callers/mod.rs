//! The programs that may call this site, and their keys.
//!
//! [`Callers::authenticate`] tells the front who calls, from memory; the admin socket adds, rotates and removes. Keys
//! are kept in the store, as hashes. What a caller may do is the policy's affair.

mod presented;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::agent::store::tables::callers::{StoredCallers, StoredKey};
use crate::agent::store::{Store, StoreFault};
use crate::common::act_as::ActAs;
use crate::common::clock::Clock;
use crate::common::ids::{CallerName, Provider};
use crate::common::problem::{Code, Problem};
use crate::common::report::{Exit, Report};
use crate::common::secret::Secret;
use crate::identity::api_key::{ApiKey, ApiKeyHash, ApiKeyId};

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

/// A key was not taken. Says no more, so that nobody learns which part was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key of a caller of this site")]
pub struct UnknownKey;

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
    /// Its public part.
    pub id: ApiKeyId,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it stops working, if a newer one has replaced it.
    pub expires: Option<u64>,
    /// When it was last used since the agent started.
    pub last_used: Option<u64>,
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
    /// No random bytes.
    #[error("no key could be made: {0}")]
    Random(#[from] crate::identity::encoded::RandomFault),
    /// The store can't take it, so nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

#[derive(Clone, Default)]
struct Table {
    callers: BTreeMap<CallerName, Vec<Key>>,
    by_id: HashMap<ApiKeyId, (CallerName, Key)>,
}

#[derive(Clone)]
struct Key {
    id: ApiKeyId,
    hash: ApiKeyHash,
    created: u64,
    expires: Option<u64>,
    /// Seconds since 1970; 0 where it was not used yet.
    last_used: Arc<AtomicU64>,
}

impl Callers {
    /// Reads the callers from the store.
    pub async fn load(store: Store, clock: Clock) -> Result<Self, CallersFault> {
        let table = Table::index(taken(store.callers().await?));
        Ok(Self { store, clock, table: ArcSwap::from_pointee(table), change: Mutex::new(()) })
    }

    /// Whose key this is.
    pub fn authenticate(&self, key: &str) -> Result<CallerName, UnknownKey> {
        let key: ApiKey = key.parse().map_err(|_| UnknownKey)?;
        let table = self.table.load();
        let Some((name, known)) = table.by_id.get(key.id()) else { return Err(UnknownKey) };
        let now = self.clock.unix_seconds();
        let is_over = known.expires.is_some_and(|end| end <= now);
        if !key.matches(&known.hash) || is_over {
            return Err(UnknownKey);
        }
        known.last_used.store(now, Ordering::Relaxed);
        Ok(name.clone())
    }

    /// All callers, by name.
    pub fn list(&self) -> Vec<ListedCaller> {
        let now = self.clock.unix_seconds();
        let key = |key: &Key| ListedKey {
            id: key.id.clone(),
            created: key.created,
            expires: key.expires,
            last_used: Some(key.last_used.load(Ordering::Relaxed)).filter(|used| *used > 0),
        };
        let table = self.table.load();
        let caller = |(name, keys): (&CallerName, &Vec<Key>)| ListedCaller {
            name: name.clone(),
            keys: keys.iter().rev().filter(|key| key.is_live(now)).map(key).collect(),
        };
        table.callers.iter().map(caller).collect()
    }

    /// Makes a caller; gives its key, which nobody can show again.
    pub async fn add(&self, name: &CallerName) -> Result<Secret<String>, CallersFault> {
        self.change(name, |callers, now| {
            if callers.contains_key(name) {
                return Err(CallersFault::Exists(name.clone()));
            }
            if callers.len() >= MAX_CALLERS {
                return Err(CallersFault::Full);
            }
            let (key, text) = Key::make(now)?;
            callers.insert(name.clone(), vec![key]);
            Ok(text)
        })
        .await
    }

    /// Gives a caller a new key. The old ones go on working for `grace`, so that the program can be changed over.
    pub async fn rotate(&self, name: &CallerName, grace: Duration) -> Result<Secret<String>, CallersFault> {
        if grace > MAX_GRACE {
            return Err(CallersFault::Grace);
        }
        self.change(name, |callers, now| {
            let keys = callers.get_mut(name).ok_or_else(|| CallersFault::Unknown(name.clone()))?;
            let end = now.saturating_add(grace.as_secs());
            for key in keys.iter_mut() {
                key.expires = Some(key.expires.map_or(end, |before| before.min(end)));
            }
            keys.retain(|key| key.is_live(now));
            // The oldest go first, so that rotating in a loop can't fill the file.
            let surplus = (keys.len() + 1).saturating_sub(MAX_KEYS);
            keys.drain(..surplus);
            let (key, text) = Key::make(now)?;
            keys.push(key);
            Ok(text)
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
        change: impl FnOnce(&mut BTreeMap<CallerName, Vec<Key>>, u64) -> Result<T, CallersFault>,
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
    fn index(callers: BTreeMap<CallerName, Vec<Key>>) -> Self {
        let pairs = callers.iter().flat_map(|(name, keys)| keys.iter().map(move |key| (name, key)));
        let by_id = pairs.map(|(name, key)| (key.id.clone(), (name.clone(), key.clone()))).collect();
        Self { callers, by_id }
    }
}

impl Key {
    fn make(now: u64) -> Result<(Self, Secret<String>), CallersFault> {
        let key = ApiKey::generate()?;
        let stored = Self {
            id: key.id().clone(),
            hash: key.hash(),
            created: now,
            expires: None,
            last_used: Arc::default(),
        };
        Ok((stored, key.to_secret_text()))
    }

    fn is_live(&self, now: u64) -> bool {
        self.expires.is_none_or(|end| end > now)
    }
}

fn taken(stored: StoredCallers) -> BTreeMap<CallerName, Vec<Key>> {
    stored.into_iter().map(|(name, keys)| (name, keys.into_iter().map(Key::from).collect())).collect()
}

impl From<StoredKey> for Key {
    fn from(key: StoredKey) -> Self {
        Self {
            id: key.id,
            hash: key.hash,
            created: key.created,
            expires: key.expires,
            last_used: Arc::default(),
        }
    }
}

impl From<&Key> for StoredKey {
    fn from(key: &Key) -> Self {
        Self { id: key.id.clone(), hash: key.hash, created: key.created, expires: key.expires }
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
            Self::Exists(_) | Self::Unknown(_) | Self::Full | Self::Grace => Exit::Data,
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
