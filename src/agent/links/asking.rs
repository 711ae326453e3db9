//! Which attempts have an account asked for at this moment. A process that died under one leaves it at that stage, and
//! its person must be able to try again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::common::ids::LinkId;

/// The attempts, each with the number of its rounds under way. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Asking(Arc<Mutex<HashMap<LinkId, usize>>>);

/// Held as long as the application is asked.
#[derive(Debug)]
pub(super) struct Asked {
    all: Asking,
    id: LinkId,
}

impl Asking {
    /// An account of this attempt is asked for, until what this gives is dropped.
    pub(super) fn begin(&self, id: LinkId) -> Asked {
        *self.all().entry(id).or_default() += 1;
        Asked { all: self.clone(), id }
    }

    /// Whether one is asked for.
    pub(super) fn is_under_way(&self, id: LinkId) -> bool {
        self.all().contains_key(&id)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<LinkId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut all = self.all.all();
        if let Some(rounds) = all.get_mut(&self.id) {
            *rounds -= 1;
            if *rounds == 0 {
                all.remove(&self.id);
            }
        }
    }
}
