//! An agent's connection: upgrade, handshake, and its tunnel for as long as it lasts.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::sync::OwnedSemaphorePermit;

use super::anchor::Keeper;
use super::connection::{Connection, Socket};
use super::route::Host;
use crate::common::ids::{AgentId, RequestId, SiteName};
use crate::common::problem::{Code, Problem};
use crate::identity::keys::PublicKey;
use crate::net::http_server::checks::authority;
use crate::net::inner_tls::Line;
use crate::net::tls::exporter;
use crate::net::tunnel::{Acceptor, ByteStream, IncomingCall, Role as End, Tunnel};
use crate::net::websocket::{self, UpgradeFault, answer_upgrade};
use crate::relay::egress::{Egress, From};
use crate::relay::enrolment::{Connected, GateFault, Outcome};
use crate::relay::metrics::Counted;
use crate::relay::registry::{AgentStatus, Registry, Session};
use crate::relay::store::Role;
use crate::tunnel::code::{CloseCode, DrainCode, ResetCode};
use crate::tunnel::egress::PURPOSE as EGRESS;
use crate::tunnel::head::BytesHead;

/// Whether a request for the agents' path is meant for the relay, not for a site in host form.
pub(super) fn is_for_relay(connection: &Connection, request: &Request<Incoming>) -> bool {
    let authority = authority(request.uri(), request.headers(), connection.session.http2);
    let host = authority.ok().map(|(_, host)| host);
    host.is_some_and(|host| !matches!(connection.inner.names.host(&host), Host::Site(_)))
}

/// Answers the upgrade, and goes on with the agent once hyper has let go of the socket.
pub(super) fn answer(connection: &Arc<Connection>, mut request: Request<Incoming>) -> Response<Bytes> {
    let inner = &connection.inner;
    let refuse = |problem: &Problem| problem.to_response(RequestId::generate());
    let upgrade = answer_upgrade(&request).and_then(|response| {
        // HTTP/2 has its own way to open a WebSocket, which agents don't use.
        if connection.session.http2 { Err(UpgradeFault::NotAnUpgrade) } else { Ok(response) }
    });
    let response = match upgrade {
        Ok(response) => response,
        Err(fault @ UpgradeFault::NotAnUpgrade) => {
            let text = format!(
                "{fault}. If you are an agent's administrator: something between agent and relay \
                                may remove the WebSocket headers."
            );
            let mut response = refuse(&Problem::new(Code::UpgradeRequired, text));
            if !connection.session.http2 {
                let headers = response.headers_mut();
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            return response;
        }
        Err(fault) => {
            return refuse(&Problem::new(
                Code::BadRequest,
                format!("{fault}. Use an agent of a version that fits."),
            ));
        }
    };
    let Ok(permit) = Arc::clone(&inner.handshakes).try_acquire_owned() else {
        inner.metrics.handshake_ended("crowded");
        return refuse(&Problem::new(Code::RelayBusy, "Too many agents are connecting at once. Try again."));
    };
    let waiting = Waiting { _permit: permit, _counted: inner.metrics.handshake() };
    let upgraded = hyper::upgrade::on(&mut request);
    inner.tasks.spawn_detached(Box::pin(go_on(Arc::clone(connection), upgraded, waiting)));
    response.map(|()| Bytes::new())
}

/// A place among those in their handshake.
struct Waiting {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

async fn go_on(connection: Arc<Connection>, upgraded: OnUpgrade, waiting: Waiting) {
    // In a box that goes with the handshake: what is left is all that an idle agent costs.
    if let Some(taken) = Box::pin(shake(&connection, upgraded, waiting)).await {
        run(&connection, taken).await;
    }
}

/// An agent that was let in, and its tunnel.
struct Taken {
    connected: Box<Connected>,
    status: Arc<AgentStatus>,
    tunnel: Tunnel,
}

async fn shake(connection: &Connection, upgraded: OnUpgrade, waiting: Waiting) -> Option<Taken> {
    let inner = &connection.inner;
    let within = inner.limits.agent_handshake_time;
    let Ok(Ok(upgraded)) = tokio::time::timeout(within, upgraded).await else {
        inner.metrics.handshake_ended("broken");
        return None;
    };
    // Taken apart, so that the tunnel keeps the bare TLS stream and none of hyper's buffers.
    let Ok(parts) = downcast::<Socket>(upgraded) else {
        tracing::error!("an upgraded connection is of an unexpected kind");
        return None;
    };
    let tls = parts.io.into_inner().into_inner();
    crate::net::dial::prepare(tls.get_ref().0.get_ref(), crate::net::dial::Purpose::Tunnel);
    let Ok(exporter) = exporter(tls.get_ref().1) else {
        tracing::error!("a TLS session gives no exporter");
        return None;
    };
    let mut line = Line::new(websocket::accept(tls, parts.read_buf.into()).await);
    let handshake = inner.gate.handshake(&mut line, exporter, connection.peer, within);
    // Each step has what is left of the time; the whole gets a little more, to say why it ends.
    let outcome = tokio::time::timeout(within + within / 4, handshake).await;
    drop(waiting);
    let connected = match outcome {
        Ok(Ok(Outcome::Connected(connected))) => connected,
        Ok(Ok(Outcome::Enrolled(agent))) => {
            inner.metrics.handshake_ended("enrolled");
            tracing::info!(site = %agent.site, agent = %agent.id, role = agent.role.as_str(), "an agent enrolled");
            // It may have taken the active role over from another one.
            if agent.role == Role::Active {
                let active = agent.id;
                let role = |id| if id == active { Role::Active } else { Role::Standby };
                inner.registry.set_roles(&agent.site, role);
            }
            line.close(CloseCode::Stopping, CLOSE_WITHIN).await;
            return None;
        }
        Ok(Err(fault)) => {
            inner.metrics.handshake_ended(result(&fault));
            if let GateFault::Store(error) = &fault {
                tracing::error!(%error, "an agent could not be let in");
            }
            tracing::debug!(error = %fault, peer = %connection.peer, "an agent's handshake failed");
            line.close(CloseCode::Refused, CLOSE_WITHIN).await;
            return None;
        }
        Err(_) => {
            inner.metrics.handshake_ended("too-slow");
            return None;
        }
    };
    inner.metrics.handshake_ended("connected");
    let status = Arc::new(AgentStatus::default());
    let anchors = PublicKey::from_slice(&connected.agent.public_key).ok().map(|key| {
        Arc::new(Keeper {
            agent: connected.agent.id,
            key,
            store: inner.gate.store.clone(),
            clock: inner.clock.clone(),
            tasks: inner.tasks.clone(),
            last: Mutex::default(),
        })
    });
    let acceptor = Arc::new(RelaySide {
        site: connected.agent.site.clone(),
        agent: connected.agent.id,
        registry: inner.registry.clone(),
        egress: inner.egress.clone(),
        status: Arc::clone(&status),
        anchors,
    });
    let (settings, clock) = (inner.gate.tunnel.clone(), inner.clock.clone());
    let tunnel = line.start(End::Relay, settings, clock, &inner.tasks, acceptor)?;
    Some(Taken { connected, status, tunnel })
}

/// Keeps a tunnel in the registry until it ends.
async fn run(connection: &Connection, taken: Taken) {
    let inner = &connection.inner;
    let Taken { connected, status, tunnel } = taken;
    let Connected { agent, slot, software, layer, outer } = *connected;
    let session = Session {
        agent: agent.id,
        role: agent.role,
        slot,
        peer: connection.peer,
        software,
        layer,
        outer,
        since: inner.clock.wall(),
        status,
    };
    let Some(place) = inner.registry.join(&agent.site, session, tunnel.clone()) else { return };
    let binding = layer.as_str();
    tracing::info!(site = %agent.site, agent = %agent.id, slot, binding, from = %connection.peer, "an agent connected");
    // Revoked or given another role since the handshake looked: whoever changed it may not have seen this tunnel.
    check_again(connection, agent.id, &tunnel).await;
    let closed = tunnel.closed().await;
    inner.registry.leave(&place);
    tracing::info!(site = %agent.site, agent = %agent.id, slot, reason = %closed.code, "an agent's tunnel ended");
}

async fn check_again(connection: &Connection, id: AgentId, tunnel: &Tunnel) {
    let inner = &connection.inner;
    match inner.gate.store.agent(id).await {
        Ok(Some(agent)) if agent.revoked_at.is_none() => {
            inner.registry.set_role(&agent.site, id, agent.role);
        }
        Ok(_) => tunnel.close(CloseCode::Revoked, "the operator revoked this agent"),
        Err(error) => tracing::error!(%error, agent = %id, "an agent could not be looked up again"),
    }
}

/// What an agent may do on its own: tell its status, and go out through the relay.
struct RelaySide {
    /// As the handshake proved; nothing that an agent says later counts.
    site: SiteName,
    agent: AgentId,
    registry: Registry,
    egress: Egress,
    status: Arc<AgentStatus>,
    anchors: Option<Arc<Keeper>>,
}

impl Acceptor for RelaySide {
    fn http(&self, call: IncomingCall) {
        // Dropped unanswered, the stream is reset.
        drop(call);
    }
    fn bytes(&self, head: BytesHead, stream: ByteStream) {
        if head.purpose != EGRESS {
            return stream.reset(ResetCode::Unsupported);
        }
        let paused = self.registry.site(self.site.as_str()).is_none_or(|site| site.is_paused());
        let from = From { site: self.site.clone(), agent: self.agent, paused };
        self.egress.take(from, head.target, stream);
    }
    fn status(&self, payload: Bytes) {
        self.status.take(&payload);
        if let (Some(keeper), Some(head)) = (&self.anchors, self.status.audit()) {
            keeper.take(head);
        }
    }
    fn draining(&self, _: DrainCode, _: String) {
        // The registry asks the tunnel whether it is usable before each call.
    }
}

fn result(fault: &GateFault) -> &'static str {
    match fault {
        GateFault::Refused(refuse) => refuse.code.as_str(),
        GateFault::Frame(_) => "broken",
        GateFault::Inner(_) => "inner-tls",
        GateFault::Store(_) | GateFault::Random(_) => "internal",
    }
}

/// How long a refused agent may take to close.
const CLOSE_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);
