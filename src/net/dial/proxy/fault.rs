//! What a proxy does wrong.

use std::io;
use std::time::Duration;

use super::answer::{MAX_HEAD, MAX_INTERIM};
use super::{DialFault, LoginFault, MAX_LEGS, Target};
use crate::net::tls::HandshakeFault;

/// What a proxy does wrong; reads on after "the proxy HOST:PORT".
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    /// No connection to it.
    #[error("can't be reached: check `proxy` in [relay]")]
    Unreachable(#[source] DialFault),
    /// No TLS with it, where it is to be reached over https.
    #[error(
        "can't be spoken to over TLS: check `proxy` in [relay], which says https, and name its authority with ca-file"
    )]
    Tls(#[source] HandshakeFault),
    /// It broke the connection off.
    #[error(
        "broke the connection off before it answered CONNECT: check that it is an HTTP proxy and allows CONNECT to the host and port that it was asked for"
    )]
    Broken(#[source] io::Error),
    /// No answer in time.
    #[error(
        "did not answer CONNECT to {target} within {within:?}: check that it is an HTTP proxy, and that it can reach that host"
    )]
    TooSlow {
        /// Where to.
        target: Target,
        /// The time it had.
        within: Duration,
    },
    /// The login.
    #[error(transparent)]
    Login(#[from] LoginFault),
    /// It closes the connection on which a login is under way.
    #[error(
        "closes the connection in the middle of a login that needs one connection from its first message to its last: have it keep \
         connections alive after a 407"
    )]
    LoginCutOff,
    /// It asks again and again.
    #[error(
        "asked for a login {MAX_LEGS} times (407), whatever it was answered: ask whoever runs it what it waits for"
    )]
    Loop,
    /// It will not connect us.
    #[error("refused to connect to {target} ({status} {reason}): {hint}")]
    Refused {
        /// Where to.
        target: Target,
        /// The status.
        status: u16,
        /// Its words.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// It agreed, and then sent a page of its own.
    #[error(
        "agreed to connect to {0} and then sent a web page instead: perhaps somebody must log in at it in a browser; have that host exempted"
    )]
    Page(Target),
    /// Not HTTP.
    #[error("does not answer as an HTTP proxy: check `proxy` in [relay]")]
    NotAProxy,
    /// Its head is too large.
    #[error("sent a head of more than {MAX_HEAD} bytes: check `proxy` in [relay]")]
    HeadTooLarge,
    /// It never comes to the point.
    #[error("sent {MAX_INTERIM} interim answers (1xx) and no final one: check that it is an HTTP proxy")]
    Interim,
}
