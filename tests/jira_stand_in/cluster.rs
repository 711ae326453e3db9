//! The nodes of the cluster: one world, and for each node its own state, rate limits and search index.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::app::App;
use crate::index::Index;
use crate::rate::Buckets;
use crate::wire::Fault;

/// One node: a port of its own.
pub(crate) struct Node {
    /// As in `X-ANODEID`.
    pub(crate) id: String,
    /// Requests other than for `/status`.
    pub(crate) calls: AtomicU64,
    state: Mutex<String>,
    buckets: Mutex<Buckets>,
    index: Mutex<Index>,
}

impl Node {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            id: format!("node{number}"),
            calls: AtomicU64::new(0),
            state: Mutex::new("RUNNING".to_owned()),
            buckets: Mutex::default(),
            index: Mutex::default(),
        }
    }

    /// What `/status` says.
    pub(crate) fn state(&self) -> String {
        lock(&self.state).clone()
    }

    pub(crate) fn set_state(&self, state: &str) {
        state.clone_into(&mut lock(&self.state));
    }

    pub(crate) fn buckets(&self) -> MutexGuard<'_, Buckets> {
        lock(&self.buckets)
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// What a node that does not run says to everything but `/status`.
    pub(crate) fn refusal(&self, app: &App, path: &str) -> Option<Fault> {
        let serves = self.state() == "RUNNING" || app.is("calls-while-not-running", "served");
        if serves || path == "/status" {
            return None;
        }
        let title = format!("Jira is not available: {}", self.state());
        Some(Fault::Page(http::StatusCode::SERVICE_UNAVAILABLE, title))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
