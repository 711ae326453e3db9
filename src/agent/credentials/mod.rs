//! The accounts that calls are made as: their secrets, read from where the configuration says ([`stored`]: the store).
//!
//! [`Credentials::service`] gives the proxy what to put into `Authorization`, and the user that the answer must name.
//! Never logs a secret, and never hands one account out for another. [`tokens`] and [`myself`] are how an application is
//! asked about a credential; whose it is decides who asks.

pub mod application;
mod credential;
pub mod fetched;
pub mod myself;
pub mod renewal;
pub mod tokens;

pub mod probe;
pub mod stored;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
pub use credential::{Asked, Credential, Keeper, Refusal, Unsendable};

use fetched::ServiceTokens;
use stored::{SecretPlace, StoredSecrets};

use crate::agent::store::StoreFault;
use crate::agent::store::tables::services::SecretKind;
use crate::common::ids::ServiceName;
use crate::common::problem::{Code, Problem};
use crate::common::secret::Secret;
use crate::config::values::{SecretFault, SecretRef};

/// What `[service.NAME]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// As in a rule's `as = { service = "NAME" }`.
    pub name: ServiceName,
    /// The account's user name at the application; answers must be made for it.
    pub user: String,
    /// How it proves itself, and where that lies.
    pub proof: Proof,
}

/// How an account proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// With a personal access token, sent as a bearer token.
    Pat(SecretPlace),
    /// With its password, sent as Basic authentication.
    Password(SecretPlace),
}

/// Why an account can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialFault {
    /// No such account.
    #[error("there is no service “{0}”: add a table [service.{0}]")]
    Unknown(ServiceName),
    /// Its secret can't be read.
    #[error("service “{name}”: {fault}")]
    Secret {
        /// Which account.
        name: ServiceName,
        /// Why.
        fault: Arc<SecretFault>,
    },
    /// It should lie in the store, and does not.
    #[error(
        "service “{name}”: its secret is to lie in the store, and none does: run `outhaul-agent credential set {name}`"
    )]
    NotStored {
        /// Which account.
        name: ServiceName,
    },
    /// What lies in the store is something else.
    #[error(
        "service “{name}”: the store holds a {}, and the configuration asks for a {}: run \
         `outhaul-agent credential set {name}`", stored.title(), wanted.title()
    )]
    OtherKind {
        /// Which account.
        name: ServiceName,
        /// What was given.
        stored: SecretKind,
        /// What the configuration asks for.
        wanted: SecretKind,
    },
    /// What lies in the store does not open.
    #[error("service “{name}”: {fault}")]
    Sealed {
        /// Which account.
        name: ServiceName,
        /// Why.
        fault: StoreFault,
    },
    /// Its secret can't be sent.
    #[error("service “{0}”: the secret holds a space or a letter outside ASCII, so it is no token")]
    Unsendable(ServiceName),
}

/// All accounts of the configuration. Cheap to ask at each call.
pub struct Credentials {
    services: ArcSwap<HashMap<ServiceName, Service>>,
    fetched: ServiceTokens,
    stored: Mutex<StoredSecrets>,
    /// Held by whoever changes the store's secrets.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Service {
    config: Config,
    credential: Result<Arc<Credential>, Arc<CredentialFault>>,
}

impl Credentials {
    /// Reads every account's secret, without a store. One that can't be read is kept as a fault: the others work.
    pub fn load(configs: &[Config]) -> Self {
        Self::load_with(configs, StoredSecrets::default())
    }

    /// The same, with what the store holds.
    pub fn load_with(configs: &[Config], stored: StoredSecrets) -> Self {
        let read = |config: &Config| (config.name.clone(), Service::read(config, &stored));
        let services = ArcSwap::from_pointee(configs.iter().map(read).collect());
        let (fetched, stored) = (ServiceTokens::default(), Mutex::new(stored));
        Self { services, fetched, stored, changing: tokio::sync::Mutex::default() }
    }

    /// Those whose tokens are fetched.
    pub fn fetched(&self) -> &ServiceTokens {
        &self.fetched
    }

    /// What a call as this account is sent with. Waits only for a token that must be fetched first.
    pub async fn credential(&self, name: &ServiceName) -> Result<Arc<Credential>, Problem> {
        let fault = match self.service(name) {
            Ok(credential) => return Ok(credential),
            Err(fault) => fault,
        };
        match self.fetched.get(name) {
            Some(fetched) => Box::pin(fetched.credential()).await,
            None => Err(fault.problem()),
        }
    }

    /// The account of this name.
    pub fn service(&self, name: &ServiceName) -> Result<Arc<Credential>, Arc<CredentialFault>> {
        match self.services.load().get(name) {
            Some(service) => service.credential.clone(),
            None => Err(Arc::new(CredentialFault::Unknown(name.clone()))),
        }
    }

    /// Reads everything again: after the configuration or one of [`Credentials::files`] changed. An account whose
    /// secret can no longer be read keeps the old one, so that a half-written file stops nothing; the faults are
    /// for the log.
    pub fn reload(&self, configs: &[Config]) -> Vec<Arc<CredentialFault>> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.services.load();
        let mut faults = Vec::new();
        let read = |config: &Config| {
            let mut service = Service::read(config, &stored);
            if let Err(fault) = &service.credential {
                faults.push(Arc::clone(fault));
                if let Some(before) = old.get(&config.name).filter(|before| before.config == *config) {
                    service = before.clone();
                }
            }
            (config.name.clone(), service)
        };
        let services = configs.iter().map(read).collect();
        self.services.store(Arc::new(services));
        faults
    }

    /// The accounts that can't be used now, and why.
    pub fn faults(&self) -> Vec<Arc<CredentialFault>> {
        self.services
            .load()
            .values()
            .filter_map(|service| service.credential.as_ref().err().cloned())
            .collect()
    }

    /// The files to watch.
    pub fn files(&self) -> Vec<PathBuf> {
        let file = |service: &Service| match service.config.proof.place() {
            SecretPlace::Outside(SecretRef::File(path)) => Some(path.clone()),
            SecretPlace::Outside(SecretRef::Credential(_)) | SecretPlace::Stored => None,
        };
        self.services.load().values().filter_map(file).chain(self.fetched.files()).collect()
    }
}

impl CredentialFault {
    /// The refusal that the caller sees: not where the secret lies.
    pub fn problem(&self) -> Problem {
        let name = match self {
            Self::Unknown(name)
            | Self::Secret { name, .. }
            | Self::NotStored { name }
            | Self::OtherKind { name, .. }
            | Self::Sealed { name, .. }
            | Self::Unsendable(name) => name,
        };
        let detail = format!(
            "The rule makes this call as service {name}, whose secret can't be used. Ask the site's administrator to run `outhaul-agent credential list`."
        );
        Problem::new(Code::CredentialMissing, detail)
    }
}

impl Config {
    /// Reads the secret and makes the account ready.
    pub fn read(&self, stored: &StoredSecrets) -> Result<Credential, CredentialFault> {
        match self.proof.place() {
            SecretPlace::Stored => self.credential(stored.get(self)?),
            SecretPlace::Outside(place) => {
                let name = self.name.clone();
                let secret =
                    place.read().map_err(|fault| CredentialFault::Secret { name, fault: fault.into() })?;
                self.credential(&secret)
            }
        }
    }

    fn credential(&self, secret: &Secret<String>) -> Result<Credential, CredentialFault> {
        let credential = match &self.proof {
            Proof::Pat(_) => Credential::bearer(&self.user, secret),
            Proof::Password(_) => Credential::basic(&self.user, secret),
        };
        credential.map_err(|Unsendable| CredentialFault::Unsendable(self.name.clone()))
    }
}

impl Service {
    fn read(config: &Config, stored: &StoredSecrets) -> Self {
        let credential = config.read(stored).map(Arc::new).map_err(Arc::new);
        Self { config: config.clone(), credential }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.services.load().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn config(name: &str, proof: Proof) -> Config {
        Config { name: name.parse().unwrap(), user: "svc-reader".into(), proof }
    }

    #[test]
    fn each_proof_has_its_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        write(&path, "Njg4:pässword\n");
        let place = SecretRef::File(path.clone());
        let configs =
            [config("basic", Proof::Password(place.clone().into())), config("pat", Proof::Pat(place.into()))];
        let credentials = Credentials::load(&configs);
        let basic = credentials.service(&"basic".parse().unwrap()).unwrap();
        let pair = STANDARD.encode("svc-reader:Njg4:pässword");
        assert_eq!(basic.authorization().to_str().unwrap(), format!("Basic {pair}"));
        assert!(basic.authorization().is_sensitive() && !format!("{basic:?}").contains(&pair));
        assert_eq!(basic.user(), "svc-reader");
        let fault = credentials.service(&"pat".parse().unwrap()).unwrap_err();
        assert!(matches!(*fault, CredentialFault::Unsendable(_)));
        write(&path, "Njg4");
        assert!(credentials.reload(&configs).is_empty());
        let pat = credentials.service(&"pat".parse().unwrap()).unwrap();
        assert_eq!(pat.authorization().to_str().unwrap(), "Bearer Njg4");
        assert_eq!(credentials.files().len(), 2);
    }

    #[test]
    fn a_secret_that_vanishes_keeps_working_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        write(&path, "one");
        let configs = [config("a", Proof::Pat(SecretRef::File(path.clone()).into()))];
        let credentials = Credentials::load(&configs);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(credentials.reload(&configs).len(), 1);
        assert!(credentials.service(&"a".parse().unwrap()).is_ok());
        let other = [Config { user: "other".into(), ..configs[0].clone() }];
        assert_eq!(credentials.reload(&other).len(), 1);
        assert!(credentials.service(&"a".parse().unwrap()).is_err(), "never the old secret for another user");
        assert_eq!(credentials.faults().len(), 1);
        assert!(credentials.reload(&[]).is_empty());
        assert!(matches!(
            *credentials.service(&"a".parse().unwrap()).unwrap_err(),
            CredentialFault::Unknown(_)
        ));
    }

    #[test]
    fn the_caller_is_not_told_where_secrets_lie() {
        let credentials =
            Credentials::load(&[config("a", Proof::Pat(SecretRef::File("/nowhere/x".into()).into()))]);
        let fault = credentials.service(&"a".parse().unwrap()).unwrap_err();
        assert!(fault.to_string().contains("/nowhere/x"));
        let problem = fault.problem();
        assert_eq!(problem.code, Code::CredentialMissing);
        assert!(!problem.detail.contains("nowhere"), "{}", problem.detail);
    }
}
