//! CONNECT through an HTTP proxy (RFC 9110, section 9.3.6), with a login where it wants one.
//!
//! [`connect`] leads the whole conversation: a request, and for each 407 another one, on the same connection where the
//! proxy keeps it and on a new one where it does not. Every answer has a bound in bytes and in time, and so has the
//! number of requests.

mod answer;
mod challenge;
mod fault;

use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::login::{Login, LoginFault};
use super::{DialFault, Prefixed, Target};
use crate::common::secret::Secret;
use answer::Head;

pub use challenge::Challenge;
pub use fault::ProxyFault;

#[cfg(test)]
pub(super) use answer::MAX_HEAD;

/// No login takes more requests: NTLM takes two, three where the proxy must ask first.
const MAX_LEGS: usize = 4;

/// Opens a connection to the proxy.
pub(super) type Open<'a, S> = Box<dyn FnMut() -> BoxFuture<'a, Result<S, ProxyFault>> + Send + 'a>;

/// Asks the proxy for a connection. What it sends after its head belongs to the connection. `within` bounds each of
/// its answers.
pub(super) async fn connect<S>(
    mut open: Open<'_, S>,
    target: &Target,
    mut login: Box<dyn Login>,
    within: Duration,
) -> Result<Prefixed<S>, ProxyFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let slow = || ProxyFault::TooSlow { target: target.clone(), within };
    let begun = tokio::time::timeout(within, login.begin()).await;
    let mut says = begun.map_err(|_| slow())??;
    let mut kept = None;
    for _ in 0..MAX_LEGS {
        let stream = match kept.take() {
            Some(stream) => stream,
            None => open().await?,
        };
        let asked = tokio::time::timeout(within, leg(stream, target, says.as_ref())).await;
        let challenges = match asked.map_err(|_| slow())?? {
            Leg::Connected(stream) => return Ok(stream),
            Leg::Login { challenges, stream } => {
                kept = stream;
                challenges
            }
        };
        let answered = tokio::time::timeout(within, login.answer(&challenges)).await;
        says = Some(answered.map_err(|_| slow())??);
        if kept.is_none() && login.holds_connection() {
            return Err(ProxyFault::LoginCutOff);
        }
    }
    Err(ProxyFault::Loop)
}

/// What one request came to.
enum Leg<S> {
    Connected(Prefixed<S>),
    /// A 407; the stream where it can carry another request.
    Login {
        challenges: Vec<Challenge>,
        stream: Option<S>,
    },
}

async fn leg<S>(
    mut stream: S,
    target: &Target,
    authorization: Option<&Secret<String>>,
) -> Result<Leg<S>, ProxyFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(target, authorization);
    stream.write_all(request.expose().as_bytes()).await.map_err(ProxyFault::Broken)?;
    stream.flush().await.map_err(ProxyFault::Broken)?;
    let mut buffer = BytesMut::with_capacity(1024);
    let head = answer::read(&mut stream, &mut buffer).await?;
    match head.status {
        // Who connects speaks first, and in TLS: a page is of the proxy's own.
        200..=299 if buffer.first() == Some(&b'<') => Err(ProxyFault::Page(target.clone())),
        // Content-Length and Transfer-Encoding do not count in a 2xx to CONNECT: there is no body.
        200..=299 => Ok(Leg::Connected(Prefixed::new(stream, buffer.freeze()))),
        407 => {
            let goes_on = head.drop_body(&mut stream, &mut buffer).await && buffer.is_empty();
            Ok(Leg::Login { challenges: head.challenges, stream: goes_on.then_some(stream) })
        }
        _ => Err(refused(head, target)),
    }
}

fn request(target: &Target, authorization: Option<&Secret<String>>) -> Secret<String> {
    let line = |value: &Secret<String>| format!("Proxy-Authorization: {}\r\n", value.expose());
    let authorization = Secret::new(authorization.map(line).unwrap_or_default());
    // Proxy-Connection is no standard, but older proxies keep the connection over a login for its sake only.
    Secret::new(format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}Proxy-Connection: Keep-Alive\r\nUser-Agent: \
         outhaul-agent\r\n\r\n",
        authorization.expose()
    ))
}

fn refused(head: Head, target: &Target) -> ProxyFault {
    let hint = match head.status {
        401 | 403 | 405 => "have CONNECT to that host and port allowed at the proxy",
        502..=504 => "it can't reach that host itself: check the host's address and the proxy's own way out",
        301..=399 => "it leads elsewhere, perhaps to a login page: have that host exempted",
        429 => "it has too many connections of this machine: the agent tries again by itself",
        _ => "ask whoever runs the proxy",
    };
    ProxyFault::Refused { target: target.clone(), status: head.status, reason: head.reason, hint }
}
