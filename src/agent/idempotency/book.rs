//! What is remembered of which key, and what a call that brings it gets. Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::{Answer, BodyPrint, HeadPrint, Limits, Scope};
use crate::common::ids::{CallerName, RequestId};
use crate::common::problem::Problem;

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The application answered, and here is its answer.
    Answered(Answer),
    /// The application answered with this status; the rest is not kept.
    Gone {
        /// The status.
        status: StatusCode,
        /// Why not.
        why: Loss,
    },
    /// Nobody knows whether the application acted; this is what the caller was told.
    Unknown(Problem),
}

/// Why an answer is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is larger than [`Limits::max_answer`].
    TooLarge,
    /// With it there would be more than [`Limits::max_answers`].
    NoRoom,
    /// It broke off before its end.
    BrokeOff,
    /// Its caller had left, and it went on for too long.
    Endless,
    /// The store did not take it.
    NotStored,
}

/// A call that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The body it was sent with.
    pub body: BodyPrint,
    /// What became of it, where the store does not know; never an answer.
    pub unstored: Option<Outcome>,
}

/// A call that a process before this one made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its key.
    pub scope: Scope,
    /// Its request.
    pub first: RequestId,
    /// All but its body.
    pub head: HeadPrint,
    /// Its body.
    pub body: BodyPrint,
    /// The bytes of its answer.
    pub bytes: u64,
}

/// What a call with a key gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nobody used the key: the call is to be sent, and its end told under this number.
    First(u64),
    /// The same call is under way still, since this request.
    UnderWay(RequestId),
    /// Another call used the key.
    Mismatch(RequestId),
    /// The same call is finished, unless the bodies differ.
    Finished(RequestId, Arc<Finished>),
    /// There is no room for a further key.
    Full(Full),
}

/// Which bound is reached, and when the first of the keys in the way is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// [`Limits::max_keys`].
    Keys(Option<Duration>),
    /// [`Limits::max_keys_per_caller`].
    Caller(Option<Duration>),
    /// [`Limits::max_answers`]: an answer might find no room.
    Answers(Option<Duration>),
}

/// All keys that are remembered.
#[derive(Debug)]
pub struct Book {
    limits: Limits,
    records: HashMap<Arc<Scope>, Record>,
    callers: HashMap<CallerName, Keys>,
    /// Finished calls in the order of their ends, which is that in which they are forgotten.
    finished: BTreeMap<u64, (Instant, Arc<Scope>)>,
    next: u64,
    /// Of answers, kept or arriving.
    bytes: u64,
    /// Those whose time is over, until they are gone from the store too.
    forgotten: Vec<(Arc<Scope>, RequestId)>,
}

#[derive(Debug)]
struct Record {
    number: u64,
    first: RequestId,
    head: HeadPrint,
    finished: Option<Arc<Finished>>,
    bytes: u64,
}

/// One caller's.
#[derive(Debug, Default)]
struct Keys {
    count: usize,
    /// As in [`Book::finished`].
    finished: BTreeSet<u64>,
}

impl Book {
    /// Remembers nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            records: HashMap::new(),
            callers: HashMap::new(),
            finished: BTreeMap::new(),
            next: 0,
            bytes: 0,
            forgotten: Vec::new(),
        }
    }

    /// A call of a process before this one, which ended then. They come in the order of their ends, before any other.
    pub fn restore(&mut self, earlier: Earlier, ended: Instant) {
        let Earlier { scope, first, head, body, bytes } = earlier;
        let (number, order, scope) = (self.number(), self.number(), Arc::new(scope));
        let finished = Some(Arc::new(Finished { body, unstored: None }));
        let record = Record { number, first, head, finished, bytes };
        if self.records.insert(Arc::clone(&scope), record).is_none() {
            self.bytes = self.bytes.saturating_add(bytes);
            let keys = self.callers.entry(scope.caller.clone()).or_default();
            keys.count += 1;
            keys.finished.insert(order);
            self.finished.insert(order, (ended, scope));
        }
    }

    /// Some of those whose time is over, to be removed from the store.
    pub fn take_forgotten(&mut self, most: usize) -> Vec<(Arc<Scope>, RequestId)> {
        let from = self.forgotten.len().saturating_sub(most);
        self.forgotten.split_off(from)
    }

    /// They could not be removed.
    pub fn put_back(&mut self, forgotten: Vec<(Arc<Scope>, RequestId)>) {
        self.forgotten.extend(forgotten);
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Other bounds from now on. What is remembered is not forgotten for it, unless its time is over.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many keys are remembered.
    pub fn keys(&self) -> usize {
        self.records.len()
    }

    /// How many bytes of answers are kept, or arriving.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A call arrives.
    pub fn begin(&mut self, scope: Scope, head: HeadPrint, id: RequestId, now: Instant) -> Begun {
        self.forget(now);
        if let Some(record) = self.records.get(&scope) {
            return match &record.finished {
                _ if record.head != head => Begun::Mismatch(record.first),
                None => Begun::UnderWay(record.first),
                Some(finished) => Begun::Finished(record.first, Arc::clone(finished)),
            };
        }
        if let Some(full) = self.full(&scope.caller, now) {
            return Begun::Full(full);
        }
        let number = self.number();
        self.callers.entry(scope.caller.clone()).or_default().count += 1;
        let record = Record { number, first: id, head, finished: None, bytes: 0 };
        self.records.insert(Arc::new(scope), record);
        Begun::First(number)
    }

    /// Makes room for further bytes of the answer to a call that is under way; says whether there is.
    pub fn reserve(&mut self, scope: &Scope, number: u64, bytes: u64) -> bool {
        if self.bytes + bytes > self.limits.max_answers.0 {
            return false;
        }
        let Some(record) = self.under_way(scope, number) else { return false };
        record.bytes += bytes;
        self.bytes += bytes;
        true
    }

    /// A call came to its end, with its answer kept or not. From now on its key is remembered for [`Limits::keep`].
    pub fn settle(&mut self, scope: &Scope, number: u64, finished: Finished, kept: bool, now: Instant) {
        let order = self.number();
        let Some(record) = self.under_way(scope, number) else { return };
        record.finished = Some(Arc::new(finished));
        let given_back = if kept { 0 } else { std::mem::take(&mut record.bytes) };
        self.bytes -= given_back;
        let Some((scope, _)) = self.records.get_key_value(scope) else { return };
        self.finished.insert(order, (now, Arc::clone(scope)));
        self.callers.entry(scope.caller.clone()).or_default().finished.insert(order);
    }

    /// A call was certainly not sent: its key is free.
    pub fn free(&mut self, scope: &Scope, number: u64) {
        if self.under_way(scope, number).is_some() {
            self.remove(scope);
        }
    }

    fn under_way(&mut self, scope: &Scope, number: u64) -> Option<&mut Record> {
        self.records.get_mut(scope).filter(|record| record.number == number && record.finished.is_none())
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Lets go of what is over; each call does so too.
    pub fn forget(&mut self, now: Instant) {
        while let Some(entry) = self.finished.first_entry() {
            if now.saturating_duration_since(entry.get().0) < self.limits.keep {
                return;
            }
            let (order, (_, scope)) = entry.remove_entry();
            if let Some(keys) = self.callers.get_mut(&scope.caller) {
                keys.finished.remove(&order);
            }
            if let Some(first) = self.remove(&scope) {
                self.forgotten.push((scope, first));
            }
        }
    }

    fn remove(&mut self, scope: &Scope) -> Option<RequestId> {
        let record = self.records.remove(scope)?;
        self.bytes -= record.bytes;
        if let Some(keys) = self.callers.get_mut(&scope.caller) {
            keys.count -= 1;
            if keys.count == 0 {
                self.callers.remove(&scope.caller);
            }
        }
        Some(record.first)
    }

    fn full(&self, caller: &CallerName, now: Instant) -> Option<Full> {
        let until = |when: Instant| self.limits.keep.saturating_sub(now.saturating_duration_since(when));
        let first = || self.finished.first_key_value().map(|(_, (when, _))| until(*when));
        let keys = self.callers.get(caller);
        if keys.is_some_and(|keys| keys.count >= self.limits.max_keys_per_caller) {
            let order = keys.and_then(|keys| keys.finished.first());
            let when = order.and_then(|order| self.finished.get(order));
            return Some(Full::Caller(when.map(|(when, _)| until(*when))));
        }
        if self.records.len() >= self.limits.max_keys {
            return Some(Full::Keys(first()));
        }
        // Room for one answer, so that a repeat finds it. Those of calls under way may take it before: then this
        // one's is lost, and never its key.
        let one = self.limits.max_answer.0.min(self.limits.max_answers.0);
        (self.bytes + one > self.limits.max_answers.0).then(|| Full::Answers(first()))
    }
}
