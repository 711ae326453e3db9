//! The secrets of services that lie in the store: given by `credential set`, in force from the next call on.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use toml::de::DeValue;

use super::{Config, CredentialFault, Credentials, Proof, Service};
use crate::agent::store::tables::services::{SecretKind, StoredSecret};
use crate::agent::store::{Store, StoreFault};
use crate::common::ids::ServiceName;
use crate::common::secret::Secret;
use crate::config::diagnose::{Source, Span};
use crate::config::value::FromValue;
use crate::config::values::SecretRef;

/// Where the secret of a service lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// `"stored"`: in the store.
    Stored,
    /// `{ credential = … }` or `{ file = … }`.
    Outside(SecretRef),
}

/// The store's secrets as this process knows them. Nobody else changes them while it holds the store.
#[derive(Debug, Default)]
pub struct StoredSecrets {
    pub(super) secrets: BTreeMap<ServiceName, StoredSecret>,
    pub(super) broken: BTreeMap<ServiceName, StoreFault>,
}

/// Why a secret is not stored.
#[derive(Debug, thiserror::Error)]
pub enum SetFault {
    /// The configuration has no such service, so nobody knows what the secret is for.
    #[error(
        "there is no service “{name}”: add a table [service.{name}] with its user first, then set its secret"
    )]
    Unknown {
        /// The name given.
        name: ServiceName,
    },
    /// It can't be what it is said to be.
    #[error("this can't be a {}: {reason}", kind.title())]
    Unfit {
        /// What it should be.
        kind: SecretKind,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// What it is.
    pub kind: SecretKind,
    /// When. Seconds since 1970.
    pub set: u64,
    /// Whether another one was there.
    pub replaced: bool,
    /// Whether the configuration looks for it there.
    pub in_use: bool,
}

/// One service, or one secret without a service, in a list.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: ServiceName,
    /// What the configuration says; nothing for a secret whose service is gone.
    pub config: Option<Config>,
    /// What is known of the secret in the store, if there is one: its kind, when it was set, when it expires.
    pub stored: Option<(SecretKind, u64, Option<u64>)>,
    /// Why it can't be used.
    pub fault: Option<String>,
}

impl StoredSecrets {
    /// Reads all of them.
    pub async fn load(store: &Store) -> Result<Self, StoreFault> {
        let (secrets, broken) = store.services().await?;
        Ok(Self { secrets, broken })
    }

    /// The secret of this service, if it is what its configuration says.
    pub(super) fn get(&self, config: &Config) -> Result<&Secret<String>, CredentialFault> {
        let name = &config.name;
        if let Some(fault) = self.broken.get(name) {
            return Err(CredentialFault::Sealed { name: name.clone(), fault: fault.clone() });
        }
        let stored =
            self.secrets.get(name).ok_or_else(|| CredentialFault::NotStored { name: name.clone() })?;
        let wanted = config.proof.kind();
        if stored.kind != wanted {
            return Err(CredentialFault::OtherKind { name: name.clone(), stored: stored.kind, wanted });
        }
        Ok(&stored.secret)
    }
}

impl Credentials {
    /// Keeps a service's secret, on disk before it returns, and uses it from the next call on. What kind of secret it is, the
    /// configuration says.
    pub async fn set(
        &self,
        store: &Store,
        name: &ServiceName,
        secret: Secret<String>,
        now: u64,
    ) -> Result<Put, SetFault> {
        // What is known here follows the store's order.
        let _turn = self.changing.lock().await;
        let config = self.services.load().get(name).map(|service| service.config.clone());
        let config = config.ok_or_else(|| SetFault::Unknown { name: name.clone() })?;
        let kind = config.proof.kind();
        fit(kind, secret.expose()).map_err(|reason| SetFault::Unfit { kind, reason })?;
        let given = StoredSecret { kind, secret, set: now, expires: None };
        store.set_service(name, &given).await?;
        let in_use = *config.proof.place() == SecretPlace::Stored;
        let replaced = self.change(name, |stored| {
            let broken = stored.broken.remove(name).is_some();
            stored.secrets.insert(name.clone(), given).is_some() || broken
        });
        Ok(Put { kind, set: now, replaced, in_use })
    }

    /// Forgets the secret in the store; calls that need it are refused from the next one on. Says whether there was one.
    pub async fn remove(&self, store: &Store, name: &ServiceName) -> Result<bool, StoreFault> {
        let _turn = self.changing.lock().await;
        let there = store.remove_service(name).await?;
        self.change(name, |stored| {
            stored.secrets.remove(name);
            stored.broken.remove(name);
        });
        Ok(there)
    }

    /// Notes when the application lets a stored secret expire: that which was set at `set`.
    pub async fn note_expiry(
        &self,
        store: &Store,
        name: &ServiceName,
        set: u64,
        expires: Option<u64>,
    ) -> Result<(), StoreFault> {
        let _turn = self.changing.lock().await;
        store.note_expiry(name, set, expires).await?;
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = stored.secrets.get_mut(name).filter(|known| known.set == set) {
            known.expires = expires;
        }
        Ok(())
    }

    /// Every service of the configuration, and what else the store holds, by name.
    pub fn list(&self) -> Vec<Listed> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let services = self.services.load();
        let known = |name: &ServiceName| {
            stored.secrets.get(name).map(|secret| (secret.kind, secret.set, secret.expires))
        };
        let mut all: BTreeMap<ServiceName, Listed> = BTreeMap::new();
        for (name, service) in services.iter() {
            let fault = service.credential.as_ref().err().map(ToString::to_string);
            let (name, config) = (name.clone(), Some(service.config.clone()));
            all.insert(name.clone(), Listed { stored: known(&name), name, config, fault });
        }
        for name in stored.secrets.keys().chain(stored.broken.keys()) {
            if !all.contains_key(name) {
                let fault = stored.broken.get(name).map(ToString::to_string);
                let listed = Listed { name: name.clone(), config: None, stored: known(name), fault };
                all.insert(name.clone(), listed);
            }
        }
        all.into_values().collect()
    }

    /// Changes what is known of the store, and makes the service ready anew.
    fn change<R>(&self, name: &ServiceName, change: impl FnOnce(&mut StoredSecrets) -> R) -> R {
        // Held until the services are in place: a reload at the same time must not bring the old secret back.
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut stored);
        let mut services = HashMap::clone(&self.services.load());
        if let Some(service) = services.get_mut(name)
            && *service.config.proof.place() == SecretPlace::Stored
        {
            *service = Service::read(&service.config, &stored);
            self.services.store(services.into());
        }
        result
    }
}

impl Proof {
    /// Where its secret lies.
    pub fn place(&self) -> &SecretPlace {
        match self {
            Self::Pat(place) | Self::Password(place) => place,
        }
    }

    /// What its secret is.
    pub fn kind(&self) -> SecretKind {
        match self {
            Self::Pat(_) => SecretKind::Pat,
            Self::Password(_) => SecretKind::Password,
        }
    }
}

impl From<SecretRef> for SecretPlace {
    fn from(outside: SecretRef) -> Self {
        Self::Outside(outside)
    }
}

impl std::fmt::Display for SecretPlace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stored => formatter.write_str("store"),
            Self::Outside(outside) => outside.fmt(formatter),
        }
    }
}

impl FromValue for SecretPlace {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        match value {
            DeValue::String(text) if text == "stored" => Some(Self::Stored),
            value @ DeValue::Table(_) => SecretRef::from_value(value, at, source).map(Self::Outside),
            _ => {
                // Whatever it is, it may be the secret itself.
                source.hide(at);
                source.fault(at, "a secret must not stand in this file", HOW);
                None
            }
        }
    }
}

/// What can't be sent is not stored: a wrong paste is best told to the one who pastes.
fn fit(kind: SecretKind, secret: &str) -> Result<(), &'static str> {
    if secret.is_empty() {
        return Err("it is empty");
    }
    if secret.len() > MAX_SECRET {
        return Err("it is longer than 16 KB");
    }
    if secret.chars().any(char::is_control) {
        return Err("it must be one line of printable text");
    }
    // RFC 6750, section 2.1.
    if kind == SecretKind::Pat && !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it holds a space or a letter outside ASCII; paste the token alone");
    }
    Ok(())
}

const MAX_SECRET: usize = 16 << 10;
const HOW: &str = "write \"stored\" for one given with `outhaul-agent credential set`, { credential = \"name\" } for a \
                   systemd credential, or { file = \"/path\" } for a file with mode 600";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::problem::Code;

    fn config(name: &str, proof: Proof) -> Config {
        Config { name: name.parse().unwrap(), user: "svc".to_owned(), proof }
    }

    async fn set(credentials: &Credentials, store: &Store, name: &str, text: &str) -> Result<Put, SetFault> {
        credentials.set(store, &name.parse().unwrap(), Secret::new(text.to_owned()), 7).await
    }

    fn sent(credentials: &Credentials, name: &str) -> Option<String> {
        let credential = credentials.service(&name.parse().unwrap()).ok()?;
        Some(credential.authorization().to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn what_is_set_is_used_at_once_and_what_is_removed_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::for_tests(folder.path());
        let configs =
            [config("a", Proof::Pat(SecretPlace::Stored)), config("b", Proof::Pat(SecretPlace::Stored))];
        let credentials = Credentials::load_with(&configs, StoredSecrets::load(&store).await.unwrap());
        let fault = credentials.service(&"a".parse().unwrap()).unwrap_err();
        assert!(
            matches!(*fault, CredentialFault::NotStored { .. })
                && fault.to_string().contains("credential set a")
        );
        assert_eq!(fault.problem().code, Code::CredentialMissing);

        let put = set(&credentials, &store, "a", "one").await.unwrap();
        assert_eq!(put, Put { kind: SecretKind::Pat, set: 7, replaced: false, in_use: true });
        assert!(set(&credentials, &store, "a", "two").await.unwrap().replaced);
        assert_eq!(sent(&credentials, "a").unwrap(), "Bearer two");
        assert_eq!(sent(&credentials, "b"), None, "one stops no other, and lends it nothing");
        assert!(credentials.reload(&configs[..1]).is_empty());
        assert_eq!(sent(&credentials, "a").unwrap(), "Bearer two");

        let again = Credentials::load_with(&configs, StoredSecrets::load(&store).await.unwrap());
        assert_eq!(sent(&again, "a").unwrap(), "Bearer two");
        let name = "a".parse().unwrap();
        again.note_expiry(&store, &name, 7, Some(70)).await.unwrap();
        assert_eq!(again.list()[0].stored, Some((SecretKind::Pat, 7, Some(70))));
        assert!(again.remove(&store, &name).await.unwrap());
        assert_eq!(sent(&again, "a"), None);
        assert_eq!(again.reload(&configs).len(), 2, "and no reload brings it back");
        assert_eq!(sent(&again, "a"), None);
        assert!(!again.remove(&store, &name).await.unwrap());
    }

    #[tokio::test]
    async fn a_secret_is_used_only_as_what_it_was_given_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::for_tests(folder.path());
        let password = [config("a", Proof::Password(SecretPlace::Stored))];
        let credentials = Credentials::load(&password);
        set(&credentials, &store, "a", "pass word").await.unwrap();
        let token = [config("a", Proof::Pat(SecretPlace::Stored))];
        assert_eq!(credentials.reload(&token).len(), 1);
        let fault = credentials.service(&"a".parse().unwrap()).unwrap_err();
        assert!(fault.to_string().contains("holds a password"), "{fault}");
        assert!(matches!(set(&credentials, &store, "a", "pass word").await, Err(SetFault::Unfit { .. })));
        assert!(matches!(set(&credentials, &store, "x", "t").await, Err(SetFault::Unknown { .. })));
        // One that is no longer in the configuration is still shown.
        credentials.reload(&[]);
        let list = credentials.list();
        assert!(list[0].config.is_none() && list[0].stored.is_some());
    }

    #[test]
    fn what_can_not_be_sent_is_not_stored() {
        for (kind, secret, fits) in [
            (SecretKind::Pat, "Njg4:+/=", true),
            (SecretKind::Pat, "a b", false),
            (SecretKind::Pat, "ä", false),
            (SecretKind::Password, "pässword with spaces ", true),
            (SecretKind::Password, "two\nlines", false),
            (SecretKind::Password, "", false),
        ] {
            assert_eq!(fit(kind, secret).is_ok(), fits, "{secret:?}");
        }
        assert!(fit(SecretKind::Pat, &"x".repeat(MAX_SECRET + 1)).is_err());
    }
}
