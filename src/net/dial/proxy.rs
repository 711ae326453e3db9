//! CONNECT through an HTTP proxy (RFC 9110, section 9.3.6), with Basic if the configuration has credentials.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{DialFault, Prefixed, Target};
use crate::common::secret::Secret;

/// What a proxy does wrong; reads on after "the proxy HOST:PORT".
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    /// No connection to it.
    #[error("can't be reached: check `proxy` in [relay]")]
    Unreachable(#[source] DialFault),
    /// It broke the connection off.
    #[error(
        "broke the connection off before it answered CONNECT: check that it is an HTTP proxy and allows CONNECT to port 443"
    )]
    Broken(#[source] io::Error),
    /// No answer in time.
    #[error(
        "did not answer CONNECT within {0:?}: check that it is an HTTP proxy, and that it can reach the relay"
    )]
    TooSlow(Duration),
    /// It wants a login and none is configured.
    #[error("wants a login (407, {schemes}): set proxy-credentials in [relay]")]
    LoginNeeded {
        /// What it offers.
        schemes: String,
    },
    /// It does not take the login.
    #[error("does not accept the user name and password of proxy-credentials (407, {schemes})")]
    LoginRefused {
        /// What it offers.
        schemes: String,
    },
    /// It wants a login we can't give.
    #[error(
        "wants a login by {schemes} (407), and this program speaks only Basic to proxies: have the relay's host \
         exempted from login, or run a local helper proxy such as cntlm"
    )]
    LoginUnsupported {
        /// What it offers.
        schemes: String,
    },
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
    /// Not HTTP.
    #[error("does not answer as an HTTP proxy: check `proxy` in [relay]")]
    NotAProxy,
    /// Its head is too large.
    #[error("sent a head of more than {limit} bytes: check `proxy` in [relay]", limit = MAX_HEAD)]
    HeadTooLarge,
}

/// No head of a proxy is longer.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// Asks the proxy for a connection. What it sends after its head belongs to the connection.
pub(super) async fn connect<S>(
    mut stream: S,
    target: &Target,
    credentials: Option<&Secret<String>>,
) -> Result<Prefixed<S>, ProxyFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Secret::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(credentials) = credentials {
        let login = Secret::new(STANDARD.encode(credentials.expose()));
        request =
            Secret::new(format!("{}Proxy-Authorization: Basic {}\r\n", request.expose(), login.expose()));
    }
    request = Secret::new(format!("{}User-Agent: outhaul-agent\r\n\r\n", request.expose()));
    stream.write_all(request.expose().as_bytes()).await.map_err(ProxyFault::Broken)?;
    stream.flush().await.map_err(ProxyFault::Broken)?;

    let mut buffer = BytesMut::with_capacity(1024);
    loop {
        let head = read_head(&mut stream, &mut buffer).await?;
        let head = parse(&head).ok_or(ProxyFault::NotAProxy)?;
        match head.status {
            // Interim answers mean nothing here; the whole wait is bounded by the caller.
            100..=199 => {}
            // Content-Length and Transfer-Encoding do not count in a 2xx to CONNECT: there is no body.
            200..=299 => return Ok(Prefixed::new(stream, buffer.freeze())),
            _ => return Err(judge(head, target, credentials.is_some())),
        }
    }
}

/// Reads up to the empty line; what follows stays in the buffer.
async fn read_head<S>(stream: &mut S, buffer: &mut BytesMut) -> Result<Bytes, ProxyFault>
where
    S: AsyncRead + Unpin,
{
    let mut looked = 0_usize;
    loop {
        if let Some(end) = end_of_head(buffer, looked) {
            return Ok(buffer.split_to(end).freeze());
        }
        // Rubbish is told from a head at once, and not when the time runs out.
        let begins = buffer.len().min(5);
        if buffer.get(..begins) != b"HTTP/".get(..begins) {
            return Err(ProxyFault::NotAProxy);
        }
        if buffer.len() >= MAX_HEAD {
            return Err(ProxyFault::HeadTooLarge);
        }
        looked = buffer.len().saturating_sub(3);
        let read = stream.read_buf(buffer).await.map_err(ProxyFault::Broken)?;
        if read == 0 {
            return Err(ProxyFault::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// The index after the first empty line, looking from `from`.
fn end_of_head(buffer: &[u8], from: usize) -> Option<usize> {
    let rest = buffer.get(from..)?;
    rest.windows(4).position(|window| window == b"\r\n\r\n").map(|at| from + at + 4)
}

struct Head {
    status: u16,
    reason: String,
    schemes: Vec<String>,
}

fn parse(head: &[u8]) -> Option<Head> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let (version, rest) = lines.next()?.split_once(' ')?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") || status.len() != 3 {
        return None;
    }
    let status = status.parse().ok().filter(|status| (100..600).contains(status))?;
    let reason = reason.chars().filter(|letter| !letter.is_control()).take(80).collect();
    let schemes = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|(_, value)| value.split_whitespace().next())
        .map(|scheme| scheme.chars().filter(char::is_ascii_alphanumeric).take(20).collect())
        .take(5)
        .collect();
    Some(Head { status, reason, schemes })
}

fn judge(head: Head, target: &Target, tried_login: bool) -> ProxyFault {
    let basic = head.schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    let schemes =
        if head.schemes.is_empty() { "no scheme named".to_owned() } else { head.schemes.join(", ") };
    let hint = match head.status {
        407 if !basic && !head.schemes.is_empty() => return ProxyFault::LoginUnsupported { schemes },
        407 if tried_login => return ProxyFault::LoginRefused { schemes },
        407 => return ProxyFault::LoginNeeded { schemes },
        401 | 403 | 405 => "have CONNECT to that host and port allowed at the proxy",
        502..=504 => "it can't reach that host itself: check the relay's address and the proxy's own way out",
        301..=399 => "it leads elsewhere, perhaps to a login page: have the relay's host exempted",
        _ => "ask whoever runs the proxy",
    };
    ProxyFault::Refused { target: target.clone(), status: head.status, reason: head.reason, hint }
}
