//! What the provider remembers: clients, open questions, codes, grants.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Client, Scope};
use crate::identity::Means;
use crate::seed;

/// The whole of it; part of the world.
pub(crate) struct Provider {
    pub(crate) clients: BTreeMap<String, Client>,
    /// Consent pages that were shown and not answered, by their token.
    pub(crate) asked: BTreeMap<String, Asked>,
    pub(crate) codes: BTreeMap<String, Code>,
    pub(crate) grants: BTreeMap<u64, Grant>,
    /// In seconds.
    pub(crate) access_lifetime: u64,
    pub(crate) code_lifetime: Duration,
    pub(crate) drop_answers: u32,
    pub(crate) requests: BTreeMap<String, u64>,
    pub(crate) issued: BTreeMap<String, u64>,
    /// By user key.
    pub(crate) refreshes: BTreeMap<String, u64>,
    next_grant: u64,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            clients: BTreeMap::new(),
            asked: BTreeMap::new(),
            codes: BTreeMap::new(),
            grants: BTreeMap::new(),
            access_lifetime: 7200,
            code_lifetime: Duration::from_secs(10),
            drop_answers: 0,
            requests: BTreeMap::new(),
            issued: BTreeMap::new(),
            refreshes: BTreeMap::new(),
            next_grant: 0,
        }
    }
}

/// What a client asks a person for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) client: String,
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) scope: Scope,
    pub(crate) challenge: Option<String>,
}

/// A consent page, and to whom it was shown.
pub(crate) struct Asked {
    pub(crate) user_key: String,
    pub(crate) wish: Wish,
}

/// An authorization code. A used one is kept, so that a second use is known as such.
pub(crate) struct Code {
    pub(crate) user_key: String,
    pub(crate) wish: Wish,
    pub(crate) issued_at: Instant,
    pub(crate) life: Duration,
    pub(crate) used_for: Option<u64>,
}

/// A consent that was given, or a service account's own, with its living tokens.
pub(crate) struct Grant {
    pub(crate) user_key: String,
    pub(crate) client: String,
    pub(crate) redirect_uri: String,
    pub(crate) scope: Scope,
    pub(crate) service: bool,
    pub(crate) access: String,
    pub(crate) access_expires_at: u64,
    /// Whether the present access token was ever used for a call.
    pub(crate) access_used: Cell<bool>,
    pub(crate) refresh: Option<String>,
}

impl Provider {
    /// A new grant with fresh tokens.
    pub(crate) fn grant(&mut self, user_key: &str, wish: &Wish, service: bool, now: u64) -> u64 {
        self.grants.retain(|_, grant| !grant.service || grant.access_expires_at > now);
        self.next_grant += 1;
        let grant = Grant {
            user_key: user_key.to_owned(),
            client: wish.client.clone(),
            redirect_uri: wish.redirect_uri.clone(),
            scope: wish.scope,
            service,
            access: seed::random_token(),
            access_expires_at: now + self.access_lifetime,
            access_used: Cell::new(false),
            refresh: (!service).then(seed::random_token),
        };
        self.grants.insert(self.next_grant, grant);
        self.next_grant
    }

    /// New tokens in the place of the old ones, which are dead from now on.
    pub(crate) fn rotate(&mut self, id: u64, now: u64) {
        let expires_at = now + self.access_lifetime;
        if let Some(grant) = self.grants.get_mut(&id) {
            grant.access = seed::random_token();
            grant.access_expires_at = expires_at;
            grant.access_used.set(false);
            grant.refresh = Some(seed::random_token());
            *self.refreshes.entry(grant.user_key.clone()).or_default() += 1;
        }
    }

    /// Whose a living access token is, by user key.
    pub(crate) fn access(&self, secret: &str, now: u64) -> Option<(&str, Means)> {
        let grant = self.grants.values().find(|grant| grant.access == secret)?;
        grant.access_used.set(true);
        let means = Means::OAuth { scope: grant.scope, service: grant.service };
        (grant.access_expires_at > now).then_some((grant.user_key.as_str(), means))
    }

    /// The grant of a living refresh token.
    pub(crate) fn refresh(&self, secret: &str) -> Option<u64> {
        self.grants.iter().find(|(_, grant)| grant.refresh.as_deref() == Some(secret)).map(|(id, _)| *id)
    }
}
