//! A connection whose TLS is not ended here: its bytes go to the site's agent as they come, and back.
//!
//! What can't be passed is told to the client by a TLS alert, which at this point still goes in the clear (RFC 8446,
//! section 6). The relay holds nothing of such a connection but the name it asked for and its address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Inner;
use super::connection::{Held, address_text};
use crate::net::tls::fatal_alert;
use crate::net::tunnel::{ExchangeFault, Patience, SpliceEnd, Tunnel, splice};
use crate::relay::registry::{NamedSite, Site};
use crate::relay::tenancy::{Admitted, Crowded};
use crate::tunnel::code::ResetCode;
use crate::tunnel::head::{BytesHead, PASS_THROUGH};

/// A connection that passes.
pub(super) struct Passing {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    /// The ClientHello, and what else was read.
    pub(super) read: Bytes,
    /// The name it asks for.
    pub(super) name: String,
    /// Whose that is.
    pub(super) to: NamedSite,
    pub(super) held: Held,
}

/// Why a connection is not passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    SiteUnknown,
    SitePaused,
    SiteOffline,
    Crowded,
    RateLimited,
    NameUnknown,
    AgentRefused,
    AgentLost,
}

impl Refusal {
    /// As it is counted.
    fn as_str(self) -> &'static str {
        match self {
            Self::SiteUnknown => "site-unknown",
            Self::SitePaused => "site-paused",
            Self::SiteOffline => "site-offline",
            Self::Crowded => "connections-at-once",
            Self::RateLimited => "connections-a-second",
            Self::NameUnknown => "name-unknown",
            Self::AgentRefused => "agent-refused",
            Self::AgentLost => "agent-lost",
        }
    }

    /// As the client hears it.
    fn alert(self) -> AlertDescription {
        match self {
            Self::SiteUnknown | Self::NameUnknown => AlertDescription::UnrecognisedName,
            Self::SitePaused => AlertDescription::AccessDenied,
            Self::SiteOffline | Self::Crowded | Self::RateLimited | Self::AgentRefused | Self::AgentLost => {
                AlertDescription::InternalError
            }
        }
    }
}

/// Passes a connection until it ends.
pub(super) async fn pass(inner: Arc<Inner>, passing: Passing) {
    let Passing { mut socket, peer, read, name, to, held: _held } = passing;
    let known = inner.registry.site(&to.site);
    let site_name = known.as_ref().map(|site| site.name().to_string()).unwrap_or_default();
    let passed = match known {
        None => Err(Refusal::SiteUnknown),
        Some(site) => Box::pin(through(&inner, &site, &mut socket, read, &name, peer)).await,
    };
    let result = match passed {
        Ok(result) => result,
        Err(refusal) => {
            tracing::debug!(%name, %peer, why = refusal.as_str(), "a connection was not passed");
            say_and_close(&mut socket, refusal.alert()).await;
            refusal.as_str()
        }
    };
    inner.metrics.passed(&site_name, result);
}

async fn through(
    inner: &Inner,
    site: &Site<Tunnel>,
    socket: &mut TcpStream,
    read: Bytes,
    name: &str,
    peer: SocketAddr,
) -> Result<&'static str, Refusal> {
    if site.is_paused() {
        return Err(Refusal::SitePaused);
    }
    let admitted: Admitted = site.quota().admit_connection().map_err(|crowded| match crowded {
        Crowded::AtOnce => Refusal::Crowded,
        Crowded::Rate => Refusal::RateLimited,
    })?;
    let counted = inner.metrics.passing();
    let found = site.find(None).await.map_err(|_| Refusal::SiteOffline)?;
    let head = BytesHead {
        purpose: PASS_THROUGH.to_owned(),
        target: name.to_ascii_lowercase(),
        peer: address_text(peer),
    };
    let stream = found.line.open_bytes(head).map_err(|fault| match fault {
        ExchangeFault::TooMany => Refusal::Crowded,
        _ => Refusal::AgentLost,
    })?;
    let limits = &inner.limits;
    let patience = Patience { idle: limits.pass_through_idle_time, stuck: limits.http.answer_idle_time };
    let joined = tokio::select! {
        joined = splice(socket, read, stream, patience, &inner.clock) => joined,
        // What was let in goes no further either; and nothing can be said inside.
        () = site.until_paused() => return Ok("site-paused"),
    };
    drop((admitted, counted));
    inner.metrics.passed_bytes(joined.sent, joined.received);
    match joined.end {
        // The client has heard nothing yet, so it can be told.
        SpliceEnd::Reset(ResetCode::Unsupported) if joined.received == 0 => Err(Refusal::NameUnknown),
        SpliceEnd::Reset(ResetCode::Refused) if joined.received == 0 => Err(Refusal::AgentRefused),
        SpliceEnd::Lost | SpliceEnd::Reset(_) if joined.received == 0 => Err(Refusal::AgentLost),
        SpliceEnd::Finished => Ok("finished"),
        SpliceEnd::Reset(_) => Ok("reset"),
        SpliceEnd::Lost => Ok("agent-lost"),
        SpliceEnd::Socket(_) => Ok("caller-gone"),
        SpliceEnd::Idle => Ok("idle"),
        SpliceEnd::Stuck => Ok("stuck"),
    }
}

/// Sends a fatal alert, and hears the client out for a moment: closed with bytes unread, the socket would be reset, and
/// the reset could overtake the alert.
async fn say_and_close(socket: &mut TcpStream, alert: AlertDescription) {
    let farewell = async {
        socket.write_all(&fatal_alert(alert)).await?;
        socket.shutdown().await?;
        let mut rest = [0; 1024];
        while socket.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Whoever is gone already needs no alert.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// How long a client is heard out after an alert.
const FAREWELL: Duration = Duration::from_secs(1);
