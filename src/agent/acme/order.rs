//! One order, from the account to the chain (RFC 8555 section 7.4). It keeps nothing: where it is cut off, the
//! authority drops the order by itself, and the next try makes another.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, ExternalAccountKey, Identifier, Key, NewAccount, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::certificate::{Leaf, pin_of_key, request};
use super::fault::Fault;
use super::http::Http;
use super::shown::Shown;
use crate::agent::store::tables::acme;
use crate::common::secret::Secret;

/// The authority, and how it is asked.
pub(super) struct Authority<'a> {
    pub(super) http: &'a Http,
    pub(super) directory: &'a str,
}

/// Whom the authority may write to, and by whose leave an account is made.
pub(super) struct NewOne<'a> {
    pub(super) contact: &'a [String],
    /// Key id and decoded HMAC key (RFC 8555 section 7.3.4).
    pub(super) external: Option<(&'a str, &'a Secret<Vec<u8>>)>,
}

impl Authority<'_> {
    /// Makes an account. The administrator's agreement to the terms of service is in the configuration.
    pub(super) async fn register(&self, new: &NewOne<'_>, now: u64) -> Result<acme::Account, Fault> {
        let meta = self.http.meta(self.directory).await?;
        if meta.external_account_required && new.external.is_none() {
            return Err(Fault::ExternalAccountRequired);
        }
        let terms = meta.terms_of_service.as_deref().map(super::certificate::printable);
        tracing::info!(directory = self.directory, ?terms, "an account is made at the certificate authority");
        let contact: Vec<&str> = new.contact.iter().map(String::as_str).collect();
        let account =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = new.external.map(|(id, key)| ExternalAccountKey::new(id.to_owned(), key.expose()));
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let made = builder.create(&account, self.directory.to_owned(), external.as_ref()).await;
        let (account, credentials) = made.map_err(|error| self.fault(error))?;
        let identities = meta.caa_identities.iter().filter(|name| is_host(name));
        Ok(acme::Account {
            directory: self.directory.to_owned(),
            uri: account.id().to_owned(),
            key: Secret::new(credentials.private_key().secret_pkcs8_der().to_vec()),
            identities: identities.cloned().collect(),
            contact: new.contact.to_vec(),
            created: now,
        })
    }

    /// The account as the library knows it. Asks for the directory.
    pub(super) async fn open(&self, account: &acme::Account) -> Result<Account, Fault> {
        let key = PrivatePkcs8KeyDer::from(account.key.expose().as_slice());
        // Read here, so that a key which does not serve is told apart from an authority that does not answer.
        Key::from_pkcs8_der(key.clone_key())
            .map_err(|error| Fault::Local(format!("the account's key: {error}")))?;
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let opened = builder.from_parts(account.uri.clone(), key, self.directory.to_owned()).await;
        opened.map_err(|error| self.fault(error))
    }

    /// Tells the authority whom it may write to from now on.
    pub(super) async fn tell_contact(&self, account: &Account, contact: &[String]) -> Result<(), Fault> {
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        account.update_contacts(&contact).await.map_err(|error| self.fault(error))
    }

    /// Orders a certificate for one name and this key; gives the chain in PEM and what it says.
    pub(super) async fn certificate(
        &self,
        account: &Account,
        name: &str,
        key: &Secret<Vec<u8>>,
        shown: &Arc<Shown>,
        now: u64,
    ) -> Result<(String, Leaf), Fault> {
        let pin = pin_of_key(key).map_err(Fault::Local)?;
        let request = request(name, key).map_err(Fault::Local)?;
        let identifiers = [Identifier::Dns(name.to_owned())];
        let order = account.new_order(&NewOrder::new(&identifiers)).await;
        let mut order = order.map_err(|error| self.fault(error))?;
        self.prove(&mut order, name, shown).await?;
        order.finalize_csr(&request).await.map_err(|error| self.fault(error))?;
        let pem = order.poll_certificate(&POLL).await.map_err(|error| self.fault(error))?;
        let leaf = Leaf::parse(&pem).map_err(Fault::Wrong)?;
        leaf.check(name, &pin, now).map_err(Fault::Wrong)?;
        Ok((pem, leaf))
    }

    /// Shows the authority that the name leads here. What it wants shown is shown only as long as this runs.
    async fn prove(&self, order: &mut Order, name: &str, shown: &Arc<Shown>) -> Result<(), Fault> {
        if order.state().status == OrderStatus::Ready {
            return Ok(());
        }
        let mut offers = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.fault(error))?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(Fault::Odd(format!("an authorization is {other:?} from the beginning"))),
            }
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(Fault::NoChallenge(name.to_owned()));
            };
            let digest = challenge.key_authorization().digest();
            offers.push(shown.offer(name, digest.as_ref()).map_err(Fault::Local)?);
            challenge.set_ready().await.map_err(|error| self.fault(error))?;
        }
        let polled = order.poll_ready(&POLL).await;
        match polled {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) => Err(self.why_invalid(order, None).await),
            Err(error) => {
                let fault = self.fault(error);
                match fault {
                    Fault::Refused { .. } => Err(self.why_invalid(order, Some(fault)).await),
                    fault => Err(fault),
                }
            }
        }
    }

    /// The challenge knows best why the order is none.
    async fn why_invalid(&self, order: &mut Order, known: Option<Fault>) -> Fault {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { break };
            let told = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = told {
                return Fault::problem(problem, None);
            }
        }
        known.unwrap_or_else(|| Fault::Odd("the order is invalid, and nothing says why".to_owned()))
    }

    fn fault(&self, error: instant_acme::Error) -> Fault {
        Fault::of(error, self.http.take_retry_after())
    }
}

/// What may stand as an authority's name in a record.
fn is_host(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

/// For each of the two decisions: whether the name is ours, and the certificate.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
const POLL: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(PATIENCE);
