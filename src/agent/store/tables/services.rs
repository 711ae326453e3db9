//! The secrets of service accounts that lie in the store.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, params};
use zeroize::Zeroize as _;

use crate::agent::store::{Place, Store, StoreFault, row_id};
use crate::common::ids::ServiceName;
use crate::common::secret::Secret;
use crate::sqlite::{signed, unsigned};

pub(in crate::agent::store) const SECRET: Place = Place { table: "services", column: "secret" };

/// What a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// A personal access token.
    Pat,
    /// The account's password.
    Password,
    /// The secret of an OAuth client.
    ClientSecret,
}

/// A service's secret, and what is known of it.
#[derive(Debug, Clone)]
pub struct StoredSecret {
    /// What it is.
    pub kind: SecretKind,
    /// The secret.
    pub secret: Secret<String>,
    /// When it was given, in seconds since 1970.
    pub set: u64,
    /// When the application lets it expire, where that is known.
    pub expires: Option<u64>,
}

impl SecretKind {
    /// As in the table, and for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pat => "pat",
            Self::Password => "password",
            Self::ClientSecret => "client-secret",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pat => "personal access token",
            Self::Password => "password",
            Self::ClientSecret => "client secret",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Pat, Self::Password, Self::ClientSecret].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Store {
    /// All secrets of services. One that does not open is left out and told beside, so that it stops no other.
    pub async fn services(
        &self,
    ) -> Result<(BTreeMap<ServiceName, StoredSecret>, BTreeMap<ServiceName, StoreFault>), StoreFault> {
        self.call(|session| {
            let (mut whole, mut broken) = (BTreeMap::new(), BTreeMap::new());
            let mut select =
                session.connection().prepare("SELECT name, kind, secret, set_at, expires FROM services")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let (name, kind, sealed): (String, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let row_id = row_id(&[name.as_bytes()]);
                let name: ServiceName = name.parse().map_err(|_| StoreFault::Corrupt("a service's name"))?;
                let secret = session.open(SECRET, &row_id, &sealed).and_then(|secret| text(&secret));
                let kind = SecretKind::parse(&kind).ok_or(StoreFault::Corrupt("a secret's kind"));
                match (kind, secret) {
                    (Ok(kind), Ok(secret)) => {
                        let (set, expires) = (unsigned(row.get(3)?), row.get::<_, Option<i64>>(4)?);
                        let expires = expires.map(unsigned);
                        whole.insert(name, StoredSecret { kind, secret, set, expires });
                    }
                    (Err(fault), _) | (_, Err(fault)) => {
                        broken.insert(name, fault);
                    }
                }
            }
            Ok((whole, broken))
        })
        .await
    }

    /// Puts a service's secret in the place of the one before.
    pub async fn set_service(&self, name: &ServiceName, given: &StoredSecret) -> Result<(), StoreFault> {
        let (name, given) = (name.clone(), given.clone());
        self.call(move |session| {
            let secret = given.secret.expose().as_bytes();
            let sealed = session.seal(SECRET, &row_id(&[name.as_str().as_bytes()]), secret)?;
            session.connection().execute(
                "INSERT INTO services (name, kind, secret, set_at, expires) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, secret = excluded.secret,
                     set_at = excluded.set_at, expires = excluded.expires",
                params![
                    name.as_str(),
                    given.kind.as_str(),
                    sealed,
                    signed(given.set),
                    given.expires.map(signed)
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Notes when the secret that was given at `set` expires. One that came in its place meanwhile is left as it is.
    pub async fn note_expiry(
        &self,
        name: &ServiceName,
        set: u64,
        expires: Option<u64>,
    ) -> Result<(), StoreFault> {
        let name = name.clone();
        self.call(move |session| {
            session.connection().execute(
                "UPDATE services SET expires = ?3 WHERE name = ?1 AND set_at = ?2",
                params![name.as_str(), signed(set), expires.map(signed)],
            )?;
            Ok(())
        })
        .await
    }

    /// Forgets a service's secret; says whether there was one.
    pub async fn remove_service(&self, name: &ServiceName) -> Result<bool, StoreFault> {
        let name = name.clone();
        self.call(move |session| {
            let gone = session
                .connection()
                .query_row("DELETE FROM services WHERE name = ?1 RETURNING 1", [name.as_str()], |_| Ok(()))
                .optional()?;
            Ok(gone.is_some())
        })
        .await
    }
}

fn text(secret: &Secret<Vec<u8>>) -> Result<Secret<String>, StoreFault> {
    String::from_utf8(secret.expose().clone()).map(Secret::new).map_err(|fault| {
        fault.into_bytes().zeroize();
        StoreFault::Corrupt("a service's secret")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_is_kept_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::for_tests(folder.path());
        let name: ServiceName = "reader".parse().unwrap();
        let secret = |kind, text: &str, set| StoredSecret {
            kind,
            secret: Secret::new(text.to_owned()),
            set,
            expires: None,
        };
        assert!(!store.remove_service(&name).await.unwrap());
        store.set_service(&name, &secret(SecretKind::Password, "one", 7)).await.unwrap();
        store.set_service(&name, &secret(SecretKind::Pat, "marker-two", 8)).await.unwrap();
        // Of the one before: too late.
        store.note_expiry(&name, 7, Some(70)).await.unwrap();
        assert_eq!(store.services().await.unwrap().0[&name].expires, None);
        store.note_expiry(&name, 8, Some(80)).await.unwrap();
        drop(store);

        let store = Store::for_tests(folder.path());
        let (whole, broken) = store.services().await.unwrap();
        let found = &whole[&name];
        assert_eq!((found.kind, found.set, found.expires), (SecretKind::Pat, 8, Some(80)));
        assert_eq!(found.secret.expose(), "marker-two");
        assert!(broken.is_empty() && !format!("{whole:?}").contains("marker"));
        assert!(store.verify().await.unwrap().secrets >= 1, "a sealed column that is known to the sweep");
        assert!(store.remove_service(&name).await.unwrap());
        assert!(store.services().await.unwrap().0.is_empty());
    }

    #[tokio::test]
    async fn one_that_does_not_open_stops_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::for_tests(folder.path());
        let (one, two): (ServiceName, ServiceName) = ("one".parse().unwrap(), "two".parse().unwrap());
        for name in [&one, &two] {
            let secret = Secret::new("s".to_owned());
            let given = StoredSecret { kind: SecretKind::Pat, secret, set: 1, expires: None };
            store.set_service(name, &given).await.unwrap();
        }
        let swap = "UPDATE services SET secret = (SELECT secret FROM services WHERE name = 'one') WHERE name = 'two'";
        store
            .call(move |session| {
                session.connection().execute(swap, [])?;
                Ok(())
            })
            .await
            .unwrap();
        let (whole, broken) = store.services().await.unwrap();
        assert!(whole.contains_key(&one) && !whole.contains_key(&two));
        assert!(matches!(broken[&two], StoreFault::Seal { table: "services", .. }));
    }
}
