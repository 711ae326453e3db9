//! Accounts at certificate authorities, certificates that came by ACME with their keys, and what was tried.

use rusqlite::{OptionalExtension as _, params};

use crate::agent::store::{Place, Session, Store, StoreFault, row_id};
use crate::common::secret::Secret;
use crate::sqlite::{signed, unsigned};

pub(in crate::agent::store) const ACCOUNT_KEY: Place = Place { table: "acme_accounts", column: "key" };
pub(in crate::agent::store) const KEY: Place = Place { table: "acme_certificates", column: "key" };
pub(in crate::agent::store) const NEXT_KEY: Place = Place { table: "acme_certificates", column: "next_key" };

/// A private key, PKCS #8 in DER.
pub type PrivateKey = Secret<Vec<u8>>;

/// An account at one authority.
#[derive(Debug, Clone)]
pub struct Account {
    /// The authority: the URL of its directory.
    pub directory: String,
    /// What the authority calls the account.
    pub uri: String,
    /// Its key.
    pub key: PrivateKey,
    /// What the authority calls itself in CAA records.
    pub identities: Vec<String>,
    /// Whom the authority may write to.
    pub contact: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

/// What is kept for one name.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The key of its certificate.
    pub key: PrivateKey,
    /// The key that the next certificate will be for, where it is to be another.
    pub next_key: Option<PrivateKey>,
    /// The certificate, once there is one.
    pub chain: Option<Chain>,
}

/// A certificate as the authority gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// PEM, the certificate itself first.
    pub pem: String,
    /// The directory of the authority.
    pub directory: String,
    /// When it was given, in seconds since 1970.
    pub issued: u64,
}

/// What came of the tries for one name since the last success. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TriesRow {
    /// How many failed.
    pub failures: u32,
    /// No further one before, unless asked for.
    pub not_before: u64,
    /// The authority wants none before.
    pub refused_until: u64,
    /// Why the last one failed.
    pub error: Option<String>,
    /// When the last one was.
    pub tried: u64,
}

impl Store {
    /// The account at the authority with this directory.
    pub async fn acme_account(&self, directory: &str) -> Result<Option<Account>, StoreFault> {
        let directory = directory.to_owned();
        self.call(move |session| {
            let row = session
                .connection()
                .query_row(
                    "SELECT uri, key, identities, contact, created FROM acme_accounts WHERE directory = ?1",
                    [&directory],
                    |row| {
                        let sealed: Vec<u8> = row.get(1)?;
                        let (identities, contact): (String, String) = (row.get(2)?, row.get(3)?);
                        Ok((row.get::<_, String>(0)?, sealed, identities, contact, row.get::<_, i64>(4)?))
                    },
                )
                .optional()?;
            let Some((uri, sealed, identities, contact, created)) = row else { return Ok(None) };
            let key = session.open(ACCOUNT_KEY, &row_id(&[directory.as_bytes()]), &sealed)?;
            let (identities, contact) = (lines(&identities), lines(&contact));
            Ok(Some(Account { directory, uri, key, identities, contact, created: unsigned(created) }))
        })
        .await
    }

    /// Keeps an account in the place of the one before at that authority.
    pub async fn keep_acme_account(&self, account: &Account) -> Result<(), StoreFault> {
        let account = account.clone();
        self.call(move |session| {
            let row = row_id(&[account.directory.as_bytes()]);
            let sealed = session.seal(ACCOUNT_KEY, &row, account.key.expose())?;
            session.connection().execute(
                "INSERT INTO acme_accounts (directory, uri, key, identities, contact, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (directory) DO UPDATE SET uri = excluded.uri, key = excluded.key,
                     identities = excluded.identities, contact = excluded.contact, created = excluded.created",
                params![
                    account.directory,
                    account.uri,
                    sealed,
                    account.identities.join("\n"),
                    account.contact.join("\n"),
                    signed(account.created)
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Forgets the account at an authority that does not know it any more.
    pub async fn forget_acme_account(&self, directory: &str) -> Result<(), StoreFault> {
        let directory = directory.to_owned();
        self.call(move |session| {
            session.connection().execute("DELETE FROM acme_accounts WHERE directory = ?1", [directory])?;
            Ok(())
        })
        .await
    }

    /// What is kept for a name; where there is nothing, `fresh` becomes its key.
    pub async fn acme_certificate(&self, name: &str, fresh: &PrivateKey) -> Result<Kept, StoreFault> {
        let (name, fresh) = (name.to_owned(), fresh.clone());
        self.call(move |session| {
            let row = row_id(&[name.as_bytes()]);
            let kept = session
                .connection()
                .query_row(
                    "SELECT key, next_key, chain, directory, issued FROM acme_certificates WHERE name = ?1",
                    [&name],
                    |row| {
                        let (key, next): (Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
                        let (pem, directory): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
                        Ok((key, next, pem.zip(directory), row.get::<_, Option<i64>>(4)?))
                    },
                )
                .optional()?;
            let Some((key, next_key, chain, issued)) = kept else {
                let sealed = session.seal(KEY, &row, fresh.expose())?;
                session.connection().execute(
                    "INSERT INTO acme_certificates (name, key) VALUES (?1, ?2)",
                    params![name, sealed],
                )?;
                return Ok(Kept { key: fresh, next_key: None, chain: None });
            };
            let key = session.open(KEY, &row, &key)?;
            let next_key = next_key.map(|sealed| session.open(NEXT_KEY, &row, &sealed)).transpose()?;
            let issued = issued.map_or(0, unsigned);
            let chain = chain.map(|(pem, directory)| Chain { pem, directory, issued });
            Ok(Kept { key, next_key, chain })
        })
        .await
    }

    /// Keeps the key that the name's next certificate is to be for.
    pub async fn set_acme_next_key(&self, name: &str, key: &PrivateKey) -> Result<(), StoreFault> {
        let (name, key) = (name.to_owned(), key.clone());
        self.call(move |session| {
            let sealed = session.seal(NEXT_KEY, &row_id(&[name.as_bytes()]), key.expose())?;
            session.connection().execute(
                "UPDATE acme_certificates SET next_key = ?2 WHERE name = ?1",
                params![name, sealed],
            )?;
            Ok(())
        })
        .await
    }

    /// Keeps a certificate and the key it is for, and forgets the tries that led to it. A next key that was used is
    /// the key from now on; one that was made meanwhile stays the next one.
    pub async fn keep_acme_certificate(
        &self,
        name: &str,
        key: &PrivateKey,
        chain: &Chain,
    ) -> Result<(), StoreFault> {
        let (name, key, chain) = (name.to_owned(), key.clone(), chain.clone());
        self.call(move |session| {
            let row = row_id(&[name.as_bytes()]);
            let used = next_is(session, &name, &row, &key)?;
            let sealed = session.seal(KEY, &row, key.expose())?;
            session.connection().execute(
                "UPDATE acme_certificates SET key = ?2, chain = ?3, directory = ?4, issued = ?5,
                     next_key = CASE WHEN ?6 THEN NULL ELSE next_key END WHERE name = ?1",
                params![name, sealed, chain.pem, chain.directory, signed(chain.issued), used],
            )?;
            session.connection().execute("DELETE FROM acme_tries WHERE name = ?1", [&name])?;
            Ok(())
        })
        .await
    }

    /// What came of the tries for a name, and when orders were made since this time.
    pub async fn acme_tries(&self, name: &str, since: u64) -> Result<(TriesRow, Vec<u64>), StoreFault> {
        let name = name.to_owned();
        self.call(move |session| {
            let connection = session.connection();
            let tries = connection
                .query_row(
                    "SELECT failures, not_before, refused_until, error, tried FROM acme_tries WHERE name = ?1",
                    [&name],
                    |row| {
                        Ok(TriesRow {
                            failures: row.get(0)?,
                            not_before: unsigned(row.get(1)?),
                            refused_until: unsigned(row.get(2)?),
                            error: row.get(3)?,
                            tried: unsigned(row.get(4)?),
                        })
                    },
                )
                .optional()?;
            let mut select =
                connection.prepare("SELECT made FROM acme_orders WHERE name = ?1 AND made >= ?2")?;
            let orders = select
                .query_map(params![name, signed(since)], |row| row.get::<_, i64>(0))?
                .map(|made| made.map(unsigned))
                .collect::<Result<_, _>>()?;
            Ok((tries.unwrap_or_default(), orders))
        })
        .await
    }

    /// Notes what came of a try.
    pub async fn set_acme_tries(&self, name: &str, tries: &TriesRow) -> Result<(), StoreFault> {
        let (name, tries) = (name.to_owned(), tries.clone());
        self.call(move |session| {
            session.connection().execute(
                "INSERT INTO acme_tries (name, failures, not_before, refused_until, error, tried)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (name) DO UPDATE SET failures = excluded.failures, not_before = excluded.not_before,
                     refused_until = excluded.refused_until, error = excluded.error, tried = excluded.tried",
                params![
                    name,
                    tries.failures,
                    signed(tries.not_before),
                    signed(tries.refused_until),
                    tries.error,
                    signed(tries.tried)
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Notes an order that is about to be made; forgets those before `since`.
    pub async fn note_acme_order(&self, name: &str, made: u64, since: u64) -> Result<(), StoreFault> {
        let name = name.to_owned();
        self.call(move |session| {
            let connection = session.connection();
            connection.execute("DELETE FROM acme_orders WHERE made < ?1", [signed(since)])?;
            connection.execute(
                "INSERT INTO acme_orders (name, made) VALUES (?1, ?2)",
                params![name, signed(made)],
            )?;
            Ok(())
        })
        .await
    }
}

/// Whether the name's next key is this one.
fn next_is(session: &Session<'_>, name: &str, row: &[u8], key: &PrivateKey) -> Result<bool, StoreFault> {
    let sealed: Option<Option<Vec<u8>>> = session
        .connection()
        .query_row("SELECT next_key FROM acme_certificates WHERE name = ?1", [name], |row| row.get(0))
        .optional()?;
    let Some(sealed) = sealed.flatten() else { return Ok(false) };
    Ok(session.open(NEXT_KEY, row, &sealed)?.expose() == key.expose())
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PrivateKey {
        Secret::new(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn an_account_is_kept_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::for_tests(folder.path());
        let directory = "https://ca.example/dir";
        assert!(store.acme_account(directory).await.unwrap().is_none());
        let account = Account {
            directory: directory.to_owned(),
            uri: "https://ca.example/acct/1".to_owned(),
            key: key("marker"),
            identities: vec!["ca.example".to_owned(), "two.example".to_owned()],
            contact: Vec::new(),
            created: 7,
        };
        store.keep_acme_account(&account).await.unwrap();
        drop(store);
        let store = Store::for_tests(folder.path());
        let found = store.acme_account(directory).await.unwrap().unwrap();
        assert_eq!((found.uri, found.identities), (account.uri, account.identities));
        assert_eq!((found.key.expose().as_slice(), found.contact.len()), (b"marker".as_slice(), 0));
        assert!(store.acme_account("https://other.example/dir").await.unwrap().is_none());
        store.forget_acme_account(directory).await.unwrap();
        assert!(store.acme_account(directory).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_key_stays_until_a_certificate_is_for_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::for_tests(folder.path());
        let name = "jira.example.com";
        store.acme_certificate(name, &key("one")).await.unwrap();
        let kept = store.acme_certificate(name, &key("other")).await.unwrap();
        assert_eq!(kept.key.expose(), b"one");
        let chain = |pem: &str| Chain { pem: pem.to_owned(), directory: "d".to_owned(), issued: 9 };
        store.set_acme_tries(name, &TriesRow { failures: 3, ..TriesRow::default() }).await.unwrap();
        store.keep_acme_certificate(name, &key("one"), &chain("first")).await.unwrap();
        assert_eq!(store.acme_tries(name, 0).await.unwrap().0, TriesRow::default());

        store.set_acme_next_key(name, &key("two")).await.unwrap();
        // An order that was under way when the next key was made.
        store.keep_acme_certificate(name, &key("one"), &chain("second")).await.unwrap();
        let kept = store.acme_certificate(name, &key("other")).await.unwrap();
        assert_eq!(kept.next_key.as_ref().unwrap().expose(), b"two");
        assert_eq!(store.verify().await.unwrap().secrets, 2, "sealed columns that are known to the sweep");
        store.keep_acme_certificate(name, &key("two"), &chain("third")).await.unwrap();
        let kept = store.acme_certificate(name, &key("other")).await.unwrap();
        assert_eq!(kept.key.expose(), b"two");
        assert!(kept.next_key.is_none());
        assert_eq!(kept.chain.unwrap(), chain("third"));
        assert!(!format!("{:?}", store.acme_certificate(name, &key("x")).await.unwrap().key).contains("two"));
    }

    #[tokio::test]
    async fn tries_and_orders_outlive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::for_tests(folder.path());
        let tries = TriesRow {
            failures: 2,
            not_before: 40,
            refused_until: 50,
            error: Some("refused".to_owned()),
            tried: 30,
        };
        store.set_acme_tries("a.example", &tries).await.unwrap();
        for made in [10, 20, 30] {
            store.note_acme_order("a.example", made, 0).await.unwrap();
        }
        store.note_acme_order("b.example", 31, 15).await.unwrap();
        drop(store);
        let store = Store::for_tests(folder.path());
        assert_eq!(store.acme_tries("a.example", 25).await.unwrap(), (tries, vec![30]));
        assert_eq!(store.acme_tries("a.example", 0).await.unwrap().1, [20, 30], "older ones are gone");
    }
}
