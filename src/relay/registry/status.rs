//! What an agent tells about itself in STATUS frames.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::lock;
use crate::identity::audit_head::SignedHead;

/// An application at the site, as its agent sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// A standby may take its calls.
    #[serde(default)]
    pub stateless: bool,
    /// Whether it answers.
    #[serde(default)]
    pub health: Health,
}

/// Whether an application answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It does.
    Up,
    /// It does not.
    Down,
    /// Nobody has asked yet.
    #[default]
    #[serde(other)]
    Unknown,
}

/// The latest STATUS of a tunnel.
#[derive(Debug, Default)]
pub struct AgentStatus(Mutex<Told>);

#[derive(Debug, Clone, Default, Deserialize)]
struct Told {
    #[serde(default)]
    version: String,
    #[serde(default)]
    upstreams: BTreeMap<String, UpstreamStatus>,
    /// Of an agent that keeps an audit.
    #[serde(default)]
    audit: Option<SignedHead>,
}

impl AgentStatus {
    /// Takes a STATUS frame's payload; what can't be read changes nothing. The frame's own limit of 4 KB bounds it.
    pub fn take(&self, payload: &[u8]) {
        match serde_json::from_slice::<Told>(payload) {
            Ok(told) => *lock(&self.0) = told,
            Err(error) => tracing::debug!(%error, "a STATUS frame could not be read"),
        }
    }

    /// The head of its audit chain, as it says; nobody has checked the signature yet.
    pub fn audit(&self) -> Option<SignedHead> {
        lock(&self.0).audit
    }

    /// Whether a standby may take calls to an upstream.
    pub fn is_stateless(&self, upstream: &str) -> bool {
        lock(&self.0).upstreams.get(upstream).is_some_and(|status| status.stateless)
    }

    /// The agent's version, as it says; empty until it has said so.
    pub fn version(&self) -> String {
        lock(&self.0).version.clone()
    }

    /// The agent's upstreams, as it says.
    pub fn upstreams(&self) -> BTreeMap<String, UpstreamStatus> {
        lock(&self.0).upstreams.clone()
    }
}
