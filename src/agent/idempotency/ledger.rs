//! One book for all calls, and a ticket for each call that is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{
    Answer, Begun, BodyPrint, Book, Earlier, Finished, Full, Hashing, HeadPrint, Limits, Loss, Outcome, Scope,
};
use crate::common::clock::Clock;
use crate::common::ids::RequestId;
use crate::common::problem::{Code, Problem};

/// The book, shared; clones are the same one.
#[derive(Debug, Clone)]
pub struct Ledger {
    book: Arc<Mutex<Book>>,
    clock: Clock,
}

/// What a call with a key gets.
#[derive(Debug)]
pub enum Entry {
    /// It is the first: to be sent.
    First(Box<Ticket>),
    /// It is under way, since this request.
    UnderWay(RequestId),
    /// Its key is another call's.
    Mismatch(RequestId),
    /// It is finished, unless the bodies differ.
    Finished(RequestId, Arc<Finished>),
    /// There is no room.
    Full(Full),
}

/// How much is remembered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Keys.
    pub keys: usize,
    /// Bytes of answers.
    pub bytes: u64,
    /// The bounds.
    pub limits: Limits,
}

impl Ledger {
    /// An empty book.
    pub fn new(limits: Limits, clock: Clock) -> Self {
        Self { book: Arc::new(Mutex::new(Book::new(limits))), clock }
    }

    /// Other bounds from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.book().set_limits(limits);
    }

    /// How much is remembered now.
    pub fn usage(&self) -> Usage {
        let now = self.clock.now();
        let mut book = self.book();
        book.forget(now);
        Usage { keys: book.keys(), bytes: book.bytes(), limits: book.limits() }
    }

    /// A call of a process before this one, which ended so long ago.
    pub fn restore(&self, earlier: Earlier, age: Duration) {
        let now = self.clock.now();
        // Where the clock does not reach back that far, it is remembered for longer.
        self.book().restore(earlier, now.checked_sub(age).unwrap_or(now));
    }

    /// Some of those whose time is over, to be removed from the store.
    pub fn take_forgotten(&self, most: usize) -> Vec<(Arc<Scope>, RequestId)> {
        let now = self.clock.now();
        let mut book = self.book();
        book.forget(now);
        book.take_forgotten(most)
    }

    /// They could not be removed.
    pub fn put_back(&self, forgotten: Vec<(Arc<Scope>, RequestId)>) {
        self.book().put_back(forgotten);
    }

    /// A call arrives.
    pub fn begin(&self, scope: Scope, head_print: HeadPrint, id: RequestId) -> Entry {
        let begun = self.book().begin(scope.clone(), head_print, id, self.clock.now());
        match begun {
            Begun::First(number) => Entry::First(Box::new(Ticket {
                ledger: self.clone(),
                scope,
                first: id,
                head: head_print,
                number,
                hashing: None,
                answer: None,
                body: Vec::new(),
                end: None,
                over: false,
            })),
            Begun::UnderWay(first) => Entry::UnderWay(first),
            Begun::Mismatch(first) => Entry::Mismatch(first),
            Begun::Finished(first, finished) => Entry::Finished(first, finished),
            Begun::Full(full) => Entry::Full(full),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that is under way. Whatever is told first is its end, which holds from [`Ticket::settle`] on; dropped
/// without, the outcome is unknown.
pub struct Ticket {
    ledger: Ledger,
    scope: Scope,
    first: RequestId,
    head: HeadPrint,
    number: u64,
    hashing: Option<Hashing>,
    answer: Option<Answer>,
    body: Vec<u8>,
    end: Option<(BodyPrint, Outcome)>,
    over: bool,
}

impl Ticket {
    /// Its key.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Its request.
    pub fn first(&self) -> RequestId {
        self.first
    }

    /// All but its body.
    pub fn head_print(&self) -> HeadPrint {
        self.head
    }

    /// Its end, where it was told and is not settled.
    pub fn end(&self) -> Option<(&BodyPrint, &Outcome)> {
        self.end.as_ref().map(|(body, outcome)| (body, outcome))
    }

    /// What was told as the end holds from now on. `stored` says whether the store knows.
    pub fn settle(&mut self, stored: bool) {
        let Some((body, outcome)) = self.end.take() else { return };
        let kept = stored && matches!(outcome, Outcome::Answered(_));
        let unstored = (!stored).then(|| match outcome {
            Outcome::Answered(answer) => Outcome::Gone { status: answer.status, why: Loss::NotStored },
            other => other,
        });
        let now = self.ledger.clock.now();
        self.ledger.book().settle(&self.scope, self.number, Finished { body, unstored }, kept, now);
    }

    /// The hash of the body that is sent.
    pub fn watch(&mut self, hashing: Hashing) {
        self.hashing = Some(hashing);
    }

    /// Whether the call's end was told.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The answer's head. `length` is that of its body, where the application says.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap, length: Option<u64>) {
        let answer = Answer::begin(status, headers);
        let size = answer.size();
        self.answer = Some(answer);
        let limit = self.ledger.book().limits().max_answer.0;
        if size.saturating_add(length.unwrap_or(0)) > limit {
            self.lost(Loss::TooLarge);
        } else {
            self.reserve(size);
        }
    }

    /// The next bytes of the answer's body.
    pub fn body(&mut self, bytes: &[u8]) {
        let Some(answer) = self.answer.as_ref().filter(|_| !self.over) else { return };
        let size = answer.size() + (self.body.len() + bytes.len()) as u64;
        if size > self.ledger.book().limits().max_answer.0 {
            self.lost(Loss::TooLarge);
        } else if self.reserve(bytes.len() as u64) {
            self.body.extend_from_slice(bytes);
        }
    }

    /// The answer is whole.
    pub fn answered(&mut self) {
        let body = std::mem::take(&mut self.body).into_boxed_slice();
        if let Some(mut answer) = self.answer.take() {
            answer.body = Bytes::from(body);
            self.ended(Outcome::Answered(answer));
        }
    }

    /// The answer can't be kept; its status is known.
    pub fn lost(&mut self, why: Loss) {
        self.body = Vec::new();
        if let Some(answer) = self.answer.take() {
            self.ended(Outcome::Gone { status: answer.status, why });
        }
    }

    /// Nobody knows what became of the call.
    pub fn unknown(&mut self, problem: Problem) {
        self.ended(Outcome::Unknown(problem));
    }

    /// It was not sent, or the application did not take it: the key may be used again.
    pub fn free(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.ledger.book().free(&self.scope, self.number);
        }
    }

    fn reserve(&mut self, bytes: u64) -> bool {
        let room = self.ledger.book().reserve(&self.scope, self.number, bytes);
        if !room {
            self.lost(Loss::NoRoom);
        }
        room
    }

    fn ended(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.over, true) {
            let body = self.hashing.as_ref().map_or_else(BodyPrint::nothing, Hashing::print);
            self.end = Some((body, outcome));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.answer.is_some() {
            self.lost(Loss::BrokeOff);
        } else if !self.over {
            self.unknown(out_of_sight());
        }
        // What the store was not told it can't know.
        self.settle(false);
    }
}

/// What is said of a call whose process ended before it, or whose task did.
pub fn out_of_sight() -> Problem {
    Problem::new(
        Code::Internal,
        "The agent lost sight of the call while it was under way. Look at its state before sending another.",
    )
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Ticket({})", self.number)
    }
}
