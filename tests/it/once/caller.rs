//! One caller: call after call on a kept connection, and what became of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request};

use crate::support::dice::Dice;
use crate::support::door::{AnyBody, Door, Line, Version, empty, full, pieces, whole};
use crate::support::odd_site::{MOUNT, PATH};
use crate::support::odd_upstream::once::WAYS;
use crate::support::odd_upstream::seeded;

/// Nothing here takes the agent or the relay as long, but for one: a killed agent that is just flushing to a slow disk
/// keeps its sockets, and only 40 s of silence tell the relay.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a caller heard of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// The upstream's own answer, whole, to this call.
    Own,
    /// An answer that is not this call's.
    Others(String),
    /// A problem of ours: code and outcome.
    Problem(String, String),
    /// The answer began, and broke off.
    Broken,
    /// The connection ended without a byte of an answer.
    Silence(String),
    /// The caller left by itself.
    Left,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) way: &'static str,
    pub(super) heard: Heard,
}

/// One caller.
pub(super) struct Caller {
    door: Door,
    dice: Dice,
    version: Version,
    line: Option<Line>,
}

impl Caller {
    pub(super) fn new(door: Door, dice: Dice, number: u64) -> Self {
        let version = if number.is_multiple_of(2) { Version::One } else { Version::Two };
        Self { door, dice, version, line: None }
    }

    /// Takes numbers until there are no more.
    pub(super) async fn run(mut self, next: Arc<AtomicU64>, calls: u64) -> Vec<Call> {
        let mut made = Vec::new();
        loop {
            let id = next.fetch_add(1, Ordering::Relaxed);
            if id >= calls {
                return made;
            }
            // Two in five are faulted by the upstream; cuts, kills and leaving come on top.
            let way = if self.dice.below(5) < 3 {
                *self.dice.one_of(&WAYS[..2])
            } else {
                *self.dice.one_of(&WAYS[2..])
            };
            let heard = self.call(id, way).await;
            if !matches!(heard, Heard::Own | Heard::Problem(..))
                || self.version == Version::One && self.dice.once_in(20)
            {
                self.line = None;
            }
            made.push(Call { id, way, heard });
        }
    }

    fn request(&mut self, id: u64, way: &str) -> Request<AnyBody> {
        let method = self.dice.one_of(&[Method::POST, Method::PUT, Method::PATCH, Method::DELETE]).clone();
        let wait = self.dice.below(30);
        let body = match self.dice.below(12) {
            0..=2 => empty(),
            3..=7 => full(seeded(id, 60)),
            8 => full(seeded(id, 20_000)),
            9 => pieces(seeded(id, 30_000), 7000),
            10 => pieces(seeded(id, 50), 9),
            _ => full(seeded(id, 300_000)),
        };
        let uri = format!("{MOUNT}{PATH}/once/{id}?way={way}&wait={wait}");
        Request::builder().method(method).uri(uri).body(body).unwrap()
    }

    async fn call(&mut self, id: u64, way: &str) -> Heard {
        if self.line.as_ref().is_none_or(Line::is_closed) {
            self.line = Some(self.door.line(self.version).await.unwrap());
        }
        let request = self.request(id, way);
        let leaves = self.dice.once_in(12).then(|| Duration::from_micros(self.dice.below(15_000)));
        let Some(line) = self.line.as_mut() else { return Heard::Silence("no line".to_owned()) };
        let door = &self.door;
        let exchange = async {
            let response = match door.send(line, request).await {
                Ok(response) => response,
                Err(error) => return Heard::Silence(format!("{error:?}")),
            };
            let Ok(answer) = whole(response).await else { return Heard::Broken };
            if let Some((code, outcome)) = answer.problem() {
                return Heard::Problem(code, outcome);
            }
            if answer.body == id.to_string() { Heard::Own } else { Heard::Others(format!("{answer:?}")) }
        };
        if let Some(after) = leaves {
            return tokio::time::timeout(after, exchange).await.unwrap_or(Heard::Left);
        }
        let silence = Heard::Silence(format!("no answer within {PATIENCE:?}, over {:?}", self.version));
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(silence)
    }
}
