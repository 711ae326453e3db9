//! The search index of a node, which learns of writes later than the database does.
//!
//! Without a lag there is none: searches then look at the world itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::cluster::Node;
use crate::world::{Issue, World};

/// A write on its way into an index. No issue means that it was deleted.
struct Pending {
    due: Instant,
    number: u64,
    id: u64,
    issue: Option<Arc<Issue>>,
}

/// What one node finds.
#[derive(Default)]
pub(crate) struct Index {
    issues: BTreeMap<u64, Arc<Issue>>,
    /// The number of the last write seen for each issue: an older one must not undo it.
    seen: BTreeMap<u64, u64>,
    pending: VecDeque<Pending>,
}

/// The lag, and what all nodes have been told of so far.
#[derive(Default)]
pub(crate) struct Lag {
    delay: Duration,
    told: BTreeMap<u64, Arc<Issue>>,
    writes: u64,
}

impl Index {
    fn take(&mut self, write: Pending) {
        if self.seen.get(&write.id).is_some_and(|seen| *seen > write.number) {
            return;
        }
        self.seen.insert(write.id, write.number);
        match write.issue {
            Some(issue) => self.issues.insert(write.id, issue),
            None => self.issues.remove(&write.id),
        };
    }

    fn take_due(&mut self, now: Instant) {
        while let Some(write) = self.pending.pop_front() {
            if write.due > now {
                self.pending.push_front(write);
                return;
            }
            self.take(write);
        }
    }

    /// Learns of everything at once.
    pub(crate) fn catch_up(&mut self) {
        for write in std::mem::take(&mut self.pending) {
            self.take(write);
        }
    }
}

/// Sets the lag; zero ends it. What is there now is in every index.
pub(crate) fn set_lag(app: &App, delay: Duration) {
    let world = app.world();
    let issues: BTreeMap<u64, Arc<Issue>> = if delay.is_zero() {
        BTreeMap::new()
    } else {
        world.issues.iter().map(|(id, issue)| (*id, Arc::new(issue.clone()))).collect()
    };
    for node in &app.nodes {
        *node.index() = Index { issues: issues.clone(), ..Index::default() };
    }
    *app.lag() = Lag { delay, told: issues, writes: 0 };
}

/// After a request that may have written: sends every index what has changed.
pub(crate) fn after_write(app: &App, writer: &Node) {
    let world = app.world();
    let mut lag = app.lag();
    if lag.delay.is_zero() {
        return;
    }
    let mut changes: Vec<(u64, Option<Arc<Issue>>)> = Vec::new();
    for (id, issue) in &world.issues {
        if lag.told.get(id).is_none_or(|told| **told != *issue) {
            changes.push((*id, Some(Arc::new(issue.clone()))));
        }
    }
    changes.extend(lag.told.keys().filter(|id| !world.issues.contains_key(id)).map(|id| (*id, None)));
    let due = app.clock.now() + lag.delay;
    for (id, issue) in changes {
        lag.writes += 1;
        for node in &app.nodes {
            let write = Pending { due, number: lag.writes, id, issue: issue.clone() };
            let mut index = node.index();
            if node.id == writer.id && app.is("index-lag", "other-nodes") {
                index.take(write);
            } else {
                index.pending.push_back(write);
            }
        }
        match issue {
            Some(issue) => lag.told.insert(id, issue),
            None => lag.told.remove(&id),
        };
    }
}

/// The issues that this node finds, as they were when its index learnt of them, and which are still there. None
/// without a lag: the world itself is what is found then.
pub(crate) fn lagging(app: &App, node: &Node, world: &World) -> Option<Vec<Arc<Issue>>> {
    if app.lag().delay.is_zero() {
        return None;
    }
    let mut index = node.index();
    index.take_due(app.clock.now());
    Some(index.issues.values().filter(|issue| world.issues.contains_key(&issue.id)).cloned().collect())
}
