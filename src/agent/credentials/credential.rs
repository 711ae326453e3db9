//! One account, ready to be used: what goes into `Authorization`, and who watches over it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::common::problem::Problem;
use crate::common::secret::Secret;

/// An account, ready to be used.
pub struct Credential {
    user: String,
    key: Option<Box<str>>,
    authorization: HeaderValue,
    keeper: Option<Arc<dyn Keeper>>,
}

/// A secret that holds what a header field can't carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret holds a space or a letter outside ASCII, so it is no token")]
pub struct Unsendable;

/// Watches over credentials that change: those of people, and those that are fetched.
pub trait Keeper: Send + Sync {
    /// The application answered 401, or served the call as nobody. It does so for a missing right too, so this asks
    /// before it counts the credential as dead.
    fn refused<'a>(&'a self, credential: &'a Credential) -> Asked<'a, Refusal>;

    /// The application answered as somebody of another name. If that is the same account, renamed, this gives the
    /// credential under its new name.
    fn other_name<'a>(&'a self, credential: &'a Credential) -> Asked<'a, Option<Arc<Credential>>>;
}

/// What a keeper says, once it knows.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What becomes of a credential that was refused.
#[derive(Debug)]
pub enum Refusal {
    /// It still works, or nobody could be asked: the answer is the application's own.
    Alive,
    /// It was dead, and this one is in its place.
    Renewed(Arc<Credential>),
    /// It is dead, and there is no other: what the caller is told.
    Lost(Box<Problem>),
}

impl Credential {
    /// A token of this user's, sent as RFC 6750, section 2.1, has it.
    pub fn bearer(user: &str, token: &Secret<String>) -> Result<Self, Unsendable> {
        if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Unsendable);
        }
        Self::new(user, Zeroizing::new(format!("Bearer {}", token.expose())))
    }

    /// This user's password, sent as RFC 7617 has it.
    pub fn basic(user: &str, password: &Secret<String>) -> Result<Self, Unsendable> {
        let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
        Self::new(user, Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
    }

    fn new(user: &str, value: Zeroizing<String>) -> Result<Self, Unsendable> {
        // The bytes are wiped once the last request that carries them is gone.
        let mut authorization =
            HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(value))).map_err(|_| Unsendable)?;
        authorization.set_sensitive(true);
        Ok(Self { user: user.to_owned(), key: None, authorization, keeper: None })
    }

    /// The same, watched over.
    #[must_use]
    pub fn kept_by(self, keeper: Arc<dyn Keeper>) -> Self {
        Self { keeper: Some(keeper), ..self }
    }

    /// The same, of the account with this key.
    #[must_use]
    pub fn of_account(self, key: &str) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same secret, for an account that is called otherwise now.
    #[must_use]
    pub fn renamed(&self, user: &str) -> Self {
        let (authorization, keeper) = (self.authorization.clone(), self.keeper.clone());
        Self { user: user.to_owned(), key: self.key.clone(), authorization, keeper }
    }

    /// The value of `Authorization`; marked sensitive.
    pub fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// The user that answers must be made for.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The account's key, which outlives its name; known of people's accounts.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Who watches over it; nobody where a file says what it is.
    pub fn keeper(&self) -> Option<&dyn Keeper> {
        self.keeper.as_deref()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credential({})", self.user)
    }
}

struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
