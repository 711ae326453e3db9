//! The people who called of late, in memory: one look-up finds the credential, and one lock a person orders all that
//! changes it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tokio::sync::OwnedMutexGuard;

use super::fault::MappingFault;
use crate::agent::credentials::Credential;
use crate::agent::credentials::renewal::Ends;
use crate::agent::store::tables::mappings::{Account, Pair};
use crate::common::act_as::ActAs;

/// The people of one application.
pub(super) struct People {
    known: Mutex<HashMap<ActAs, Arc<Person>, RandomState>>,
    began: Instant,
    at_most: usize,
}

/// One of them.
pub(super) struct Person {
    view: ArcSwap<View>,
    turn: Arc<tokio::sync::Mutex<Turn>>,
    /// In milliseconds since the beginning.
    used: AtomicU64,
}

/// What calls see.
pub(super) enum View {
    /// Nobody has looked into the store yet.
    Unread,
    /// There is a credential.
    Ready(Ready),
    /// There is none.
    Fault(MappingFault),
}

/// A credential in use.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) credential: Arc<Credential>,
    pub(super) account: Account,
    /// None for a personal access token: only the application knows.
    pub(super) ends: Option<Ends>,
}

/// What only the holder of a person's lock sees and changes.
#[derive(Default)]
pub(super) struct Turn {
    /// No longer in the list: look it up again.
    pub(super) retired: bool,
    /// Failed renewals in a row.
    pub(super) failures: u32,
    /// No renewal before.
    pub(super) not_before: Option<Instant>,
    /// Since when the provider refuses without saying that the grant is dead.
    pub(super) doubted: Option<Instant>,
    /// Why the last one failed.
    pub(super) why: Option<String>,
    /// A pair that was given and could not be stored: nothing uses it before it is.
    pub(super) unsaved: Option<Pair>,
    /// When `myself` last took the credential.
    pub(super) alive: Option<Instant>,
    /// When `myself` last said that the account's name is the known one.
    pub(super) named: Option<Instant>,
}

/// A person whose lock is held.
pub(super) struct Held {
    pub(super) person: Arc<Person>,
    pub(super) turn: OwnedMutexGuard<Turn>,
}

impl People {
    pub(super) fn new(now: Instant, at_most: usize) -> Self {
        Self { known: Mutex::default(), began: now, at_most }
    }

    /// The warm path: the credential of somebody who is known, and none that has run out.
    pub(super) fn look(&self, act_as: &ActAs, now: Instant) -> Option<Result<Arc<Credential>, MappingFault>> {
        let known = self.known();
        let person = known.get(act_as)?;
        person.used.store(self.stamp(now), Ordering::Relaxed);
        person.usable(now)
    }

    /// Waits for a person's lock. Whoever is not known yet becomes so.
    pub(super) async fn hold(&self, act_as: &ActAs, now: Instant) -> Held {
        loop {
            let person = self.enter(act_as, now);
            let turn = Arc::clone(&person.turn).lock_owned().await;
            if !turn.retired {
                return Held { person, turn };
            }
        }
    }

    /// Takes a person whose lock is held off the list.
    pub(super) fn retire(&self, act_as: &ActAs, held: &mut Held) {
        held.turn.retired = true;
        self.known().remove(act_as);
    }

    /// Those who called within `recent` and whose token is to be renewed; with their lock, where it is free.
    pub(super) fn due(&self, now: Instant, recent: Duration, at_most: usize) -> Vec<(ActAs, Held)> {
        let since = self.stamp(now).saturating_sub(recent.as_millis() as u64);
        let known = self.known();
        let due = known.iter().filter_map(|(act_as, person)| {
            if person.used.load(Ordering::Relaxed) < since || !person.is_due(now) {
                return None;
            }
            let turn = Arc::clone(&person.turn).try_lock_owned().ok()?;
            let waits = turn.not_before.is_some_and(|not_before| now < not_before);
            (!waits && !turn.retired).then(|| (act_as.clone(), Held { person: Arc::clone(person), turn }))
        });
        due.take(at_most).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known().len()
    }

    fn enter(&self, act_as: &ActAs, now: Instant) -> Arc<Person> {
        let mut known = self.known();
        if let Some(person) = known.get(act_as) {
            person.used.store(self.stamp(now), Ordering::Relaxed);
            return Arc::clone(person);
        }
        if known.len() >= self.at_most {
            make_room(&mut known, self.at_most);
        }
        let person = Arc::new(Person {
            view: ArcSwap::from_pointee(View::Unread),
            turn: Arc::default(),
            used: AtomicU64::new(self.stamp(now)),
        });
        known.insert(act_as.clone(), Arc::clone(&person));
        person
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ActAs, Arc<Person>, RandomState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamp(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis() as u64
    }
}

/// Forgets the tenth that did not call for the longest time; never one whom somebody is busy with, or whose tokens are
/// not stored yet, since a second lock would let two renewals run.
fn make_room(known: &mut HashMap<ActAs, Arc<Person>, RandomState>, at_most: usize) {
    let mut used: Vec<u64> = known.values().map(|person| person.used.load(Ordering::Relaxed)).collect();
    let tenth = (at_most / 10).min(used.len().saturating_sub(1));
    let (_, oldest, _) = used.select_nth_unstable(tenth);
    let oldest = *oldest;
    known.retain(|_, person| {
        let idle = Arc::strong_count(person) == 1
            && person.turn.try_lock().is_ok_and(|turn| turn.unsaved.is_none() && turn.not_before.is_none());
        !idle || person.used.load(Ordering::Relaxed) > oldest
    });
}

impl Person {
    pub(super) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub(super) fn show(&self, view: View) {
        self.view.store(Arc::new(view));
    }

    /// What a call gets without waiting; nothing where the store or the application must be asked.
    pub(super) fn usable(&self, now: Instant) -> Option<Result<Arc<Credential>, MappingFault>> {
        match &**self.view.load() {
            View::Ready(ready) if ready.ends.is_none_or(|ends| now < ends.stop) => {
                Some(Ok(Arc::clone(&ready.credential)))
            }
            View::Ready(_) | View::Unread => None,
            View::Fault(fault) => Some(Err(fault.clone())),
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        match &**self.view.load() {
            View::Ready(ready) => ready.ends.is_some_and(|ends| ends.renew <= now),
            View::Unread | View::Fault(_) => false,
        }
    }
}
