//! Logging in at a proxy: [`Login`] is one login, on one connection; [`Credentials`] makes it.

mod basic;
#[cfg(feature = "proxy-login")]
mod negotiate;
mod ntlm;

use futures_util::future::BoxFuture;

#[cfg(feature = "proxy-login")]
use super::Target;
use super::proxy::Challenge;
use crate::common::secret::Secret;

/// How to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// User and password in every request (RFC 7617).
    Basic,
    /// NTLM version 2, over three messages on one connection (MS-NLMP, MS-NTHT).
    Ntlm,
    /// Kerberos inside SPNEGO (RFC 4559).
    #[cfg(feature = "proxy-login")]
    Negotiate,
}

impl Scheme {
    /// As in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Ntlm => "NTLM",
            #[cfg(feature = "proxy-login")]
            Self::Negotiate => "Negotiate",
        }
    }
}

/// Who logs in, and how.
#[derive(Debug, Clone)]
pub struct Credentials {
    scheme: Scheme,
    pair: Secret<String>,
    #[cfg(feature = "proxy-login")]
    kdc: Option<Target>,
}

/// Why there is no login; reads on after "the proxy HOST:PORT".
#[derive(Debug, thiserror::Error)]
pub enum LoginFault {
    /// It wants one, and none is configured.
    #[error("wants a login (407, {offered}): {hint}")]
    Needed {
        /// What it offers.
        offered: String,
        /// What to do.
        hint: &'static str,
    },
    /// It does not take the login.
    #[error(
        "does not accept the user name and password of proxy-credentials (407, {offered}): correct them, and look whether the account is locked"
    )]
    Refused {
        /// What it offers.
        offered: String,
    },
    /// It wants another kind of login than is configured.
    #[error("wants a login by {offered} (407), not by {}: {hint}", scheme.as_str())]
    NotOffered {
        /// What is configured.
        scheme: Scheme,
        /// What it offers.
        offered: String,
        /// What to do.
        hint: &'static str,
    },
    /// It asks for a login, and does not go on with it.
    #[error("asks for a login by {} (407), and does not go on with the one that it is offered: ask whoever runs it, or try another proxy-login", scheme.as_str())]
    Unheeded {
        /// Which kind of login.
        scheme: Scheme,
    },
    /// Its part of the login makes no sense.
    #[error("sent a {} message that {what}: ask whoever runs it, or try another proxy-login", scheme.as_str())]
    Challenge {
        /// Of which kind of login.
        scheme: Scheme,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No ticket for it.
    #[cfg(feature = "proxy-login")]
    #[error(
        "needs a Kerberos ticket for {service}, and the KDC {kdc} gave none ({why}): check proxy-credentials, proxy-kdc and this machine's clock"
    )]
    Ticket {
        /// Whom was asked.
        kdc: String,
        /// Whom the ticket was to be for.
        service: String,
        /// What went wrong.
        why: String,
    },
    /// No random bytes.
    #[error("can't be logged in at: the operating system gave no random bytes")]
    Random,
}

/// One login, for one CONNECT. The values are those of `Proxy-Authorization`.
pub trait Login: Send {
    /// What the first request says, unasked.
    fn begin(&mut self) -> BoxFuture<'_, Result<Option<Secret<String>>, LoginFault>>;

    /// What the next request says, given the challenges of a 407. Giving up is a fault.
    fn answer<'a>(
        &'a mut self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<Secret<String>, LoginFault>>;

    /// Whether the next request counts only on the connection of the last one.
    fn holds_connection(&self) -> bool;
}

impl Credentials {
    /// A user and a password, as `user:password`; for NTLM as `DOMAIN\user:password` or `user@REALM:password` too.
    pub fn new(scheme: Scheme, pair: Secret<String>) -> Self {
        Self {
            scheme,
            pair,
            #[cfg(feature = "proxy-login")]
            kdc: None,
        }
    }

    /// A user with realm and a password, as `user@REALM:password`, for a ticket of that KDC.
    #[cfg(feature = "proxy-login")]
    pub fn kerberos(pair: Secret<String>, kdc: Target) -> Self {
        Self { scheme: Scheme::Negotiate, pair, kdc: Some(kdc) }
    }

    /// A login at the proxy with that name.
    pub(super) fn login(&self, proxy: &str) -> Box<dyn Login> {
        #[cfg(feature = "proxy-login")]
        if let Some(kdc) = &self.kdc {
            return Box::new(negotiate::Kerberos::new(&self.pair, kdc, proxy));
        }
        match self.scheme {
            Scheme::Basic => Box::new(basic::Basic::new(&self.pair)),
            Scheme::Ntlm => Box::new(ntlm::Ntlm::new(&self.pair, proxy)),
            // Without a KDC there is no ticket.
            #[cfg(feature = "proxy-login")]
            Scheme::Negotiate => Box::new(Nobody),
        }
    }
}

/// For where there are no credentials: nothing is said, and a 407 is the end.
pub(super) struct Nobody;

impl Login for Nobody {
    fn begin(&mut self) -> BoxFuture<'_, Result<Option<Secret<String>>, LoginFault>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn answer<'a>(
        &'a mut self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<Secret<String>, LoginFault>> {
        let hint = match usable(challenges) {
            _ if challenges.is_empty() => "set proxy-credentials in [relay]",
            Some(Scheme::Basic) => "set proxy-credentials in [relay]",
            Some(Scheme::Ntlm) => "set proxy-credentials and proxy-login = \"ntlm\" in [relay]",
            #[cfg(feature = "proxy-login")]
            Some(Scheme::Negotiate) => {
                "set proxy-credentials, proxy-login = \"negotiate\" and proxy-kdc in [relay]"
            }
            None => HELPER,
        };
        let fault = LoginFault::Needed { offered: offered(challenges), hint };
        Box::pin(std::future::ready(Err(fault)))
    }

    fn holds_connection(&self) -> bool {
        false
    }
}

/// The best of what is offered that this program speaks.
fn usable(challenges: &[Challenge]) -> Option<Scheme> {
    SPOKEN.iter().copied().find(|scheme| of(challenges, *scheme).is_some())
}

/// In the order in which they are advised: what takes the least first, but no password in the clear before one that
/// is not.
const SPOKEN: &[Scheme] = &[
    Scheme::Ntlm,
    Scheme::Basic,
    #[cfg(feature = "proxy-login")]
    Scheme::Negotiate,
];

/// The challenge of this scheme.
fn of(challenges: &[Challenge], scheme: Scheme) -> Option<&Challenge> {
    challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme.as_str()))
}

/// The fault for a 407 that does not offer what is configured.
fn not_offered(scheme: Scheme, challenges: &[Challenge]) -> LoginFault {
    let hint = match usable(challenges) {
        Some(Scheme::Basic) => "set proxy-login = \"basic\" in [relay]",
        Some(Scheme::Ntlm) => "set proxy-login = \"ntlm\" in [relay]",
        #[cfg(feature = "proxy-login")]
        Some(Scheme::Negotiate) => "set proxy-login = \"negotiate\" and proxy-kdc in [relay]",
        None => HELPER,
    };
    LoginFault::NotOffered { scheme, offered: offered(challenges), hint }
}

/// The schemes, fit to be shown.
fn offered(challenges: &[Challenge]) -> String {
    if challenges.is_empty() {
        return "no scheme named".to_owned();
    }
    challenges.iter().map(|challenge| challenge.scheme.as_str()).collect::<Vec<_>>().join(", ")
}

const HELPER: &str = "have the host that it was asked for exempted from login there, or run a local helper proxy such as cntlm";
