//! Tokens that were verified, so that a call costs no signature each time.
//!
//! An entry says that this text was signed by a key of this issuer's set, and what it said. Its times are asked again
//! at each call, and it counts only as long as the very set is in use that it was verified with. So remembering a
//! token keeps nothing alive that verifying it again would not.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Known;
use super::issuer::Issuer;
use crate::identity::claims::Window;
use crate::identity::encoded::Encoded;

/// A verified token, by the hash of its text.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) issuer: Arc<Issuer>,
    /// Of the key set that it was verified with.
    pub(super) generation: u64,
    pub(super) window: Window,
    pub(super) known: Arc<Known>,
}

/// Bounded; the oldest go first.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Encoded<32>, Entry>,
    order: VecDeque<Encoded<32>>,
}

impl Cache {
    pub(super) fn get(&self, hash: &Encoded<32>) -> Option<Entry> {
        self.entries.get(hash).cloned()
    }

    pub(super) fn put(&mut self, hash: Encoded<32>, entry: Entry) {
        if self.entries.insert(hash, entry).is_some() {
            return;
        }
        self.order.push_back(hash);
        while self.order.len() > MAX_ENTRIES {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Only tokens that are right take a place, so that strangers can't fill them.
pub(super) const MAX_ENTRIES: usize = 10_000;
