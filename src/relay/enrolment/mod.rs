//! Who may come in: the relay's half of the handshake, with the store behind it.
//!
//! Entry point: [`Gate::handshake`], called by `ingress` with a fresh WebSocket. What it lets in, `ingress` hands
//! to the registry. It answers every refusal with a code the agent can explain, and never says more to a stranger
//! than what the stranger already knows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;

use crate::common::clock::Clock;
use crate::common::ids::AgentId;
use crate::identity::encoded::{Encoded, RandomFault};
use crate::identity::handshake::join::Join;
use crate::identity::handshake::messages::{Limits, Refuse, RefuseCode, Standing, Welcome};
use crate::identity::handshake::relay::{Challenged, Claim, Credential, Opened, Proven, read_confirm};
use crate::identity::handshake::transcript::Exporter;
use crate::identity::keys::{PublicKey, SigningKey};
use crate::net::tunnel::Settings;
use crate::net::websocket::{FrameError, receive_frame, send_frame};
use crate::relay::store::{Agent, AlarmKind, NewAgent, Role, Store, StoreFault, TokenFault};
use crate::tunnel::frame::Kind;

/// What the gate decides by.
pub struct Gate {
    /// Agents, tokens, join states.
    pub store: Store,
    /// The relay's identity.
    pub key: Arc<SigningKey>,
    /// The time.
    pub clock: Clock,
    /// Whether agents may come whose TLS is opened on the way.
    pub allow_unbound: bool,
    /// What a tunnel may hold.
    pub tunnel: Settings,
}

/// What came of a handshake that was not refused.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// An agent is in: start its tunnel.
    Connected(Box<Connected>),
    /// An agent became known; it will connect by itself.
    Enrolled(Box<Agent>),
}

/// An agent that proved itself.
#[derive(Debug, Clone)]
pub struct Connected {
    /// As the store has it.
    pub agent: Agent,
    /// Which of its tunnels.
    pub slot: u8,
    /// What it says it runs.
    pub software: String,
    /// Whether both ends share one TLS session.
    pub bound: bool,
}

/// Why nobody came in.
#[derive(Debug, thiserror::Error)]
pub enum GateFault {
    /// Refused, and told so.
    #[error("refused: {0}")]
    Refused(Refuse),
    /// The peer broke off or sent something else.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The store failed; the peer was told to come again.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomFault),
}

impl From<Refuse> for GateFault {
    fn from(refuse: Refuse) -> Self {
        Self::Refused(refuse)
    }
}

impl Gate {
    /// Leads one agent through the handshake. A refusal is sent to it before this returns; the caller closes.
    pub async fn handshake<S>(
        &self,
        socket: &mut WebSocketStream<S>,
        exporter: Option<Exporter>,
        peer: SocketAddr,
        within: Duration,
    ) -> Result<Outcome, GateFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let deadline = self.clock.now() + within;
        let result = self.steps(socket, exporter, peer, deadline).await;
        let refuse = match &result {
            Err(GateFault::Refused(refuse)) => refuse.clone(),
            Err(GateFault::Store(_) | GateFault::Random(_)) => Refuse {
                retry_after: Some(5),
                ..Refuse::new(RefuseCode::Busy, "the relay has a fault of its own; try again")
            },
            Ok(_) | Err(GateFault::Frame(_)) => return result,
        };
        let _ = send_frame(socket, Kind::Refuse, refuse.encode(), Duration::from_secs(2)).await;
        result
    }

    async fn steps<S>(
        &self,
        socket: &mut WebSocketStream<S>,
        exporter: Option<Exporter>,
        peer: SocketAddr,
        deadline: std::time::Instant,
    ) -> Result<Outcome, GateFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let left = || deadline.saturating_duration_since(self.clock.now());
        let opened = Opened::read(&receive(socket, Kind::Hello, left()).await?)?;
        let (challenge, challenged) =
            opened.challenge(&self.key, exporter, self.allow_unbound, Encoded::random()?)?;
        send_frame(socket, Kind::Challenge, challenge, left()).await?;
        let proof = receive(socket, Kind::Proof, left()).await?;
        let (proven, agent, given) = match challenged.claim() {
            Claim::Connect(id) => self.connect(challenged, &proof, id, peer).await?,
            Claim::Enrol(key) => self.enrol(challenged, &proof, key).await?,
        };
        let welcome = proven.welcome(&self.key, &self.welcome(&agent, given));
        send_frame(socket, Kind::Welcome, welcome, left()).await?;
        read_confirm(&receive(socket, Kind::Confirm, left()).await?)?;
        let slot = proven.hello().slot;
        let kept = hashed(given);
        let confirmed = match proven.credential() {
            Credential::Join(_) => self.store.confirm(agent.id, slot, kept).await?,
            Credential::Secret(_) => self.store.confirm_enrolment(agent.id, kept).await?,
        };
        if !confirmed {
            return Err(Refuse::new(RefuseCode::Busy, "a later connect of this agent was faster").into());
        }
        Ok(match proven.credential() {
            Credential::Secret(_) => Outcome::Enrolled(Box::new(agent)),
            Credential::Join(_) => Outcome::Connected(Box::new(Connected {
                agent,
                slot,
                software: printable(&proven.hello().software),
                bound: proven.is_bound(),
            })),
        })
    }

    async fn connect(
        &self,
        challenged: Challenged,
        proof: &Bytes,
        id: AgentId,
        peer: SocketAddr,
    ) -> Result<(Proven, Agent, Join), GateFault> {
        let agent = self.store.agent(id).await?;
        let agent =
            agent.ok_or_else(|| Refuse::new(RefuseCode::UnknownAgent, "this relay knows no such agent"))?;
        let key = PublicKey::from_slice(&agent.public_key)
            .map_err(|_| StoreFault::Corrupt("an agent's public key"))?;
        // The proof first: only the agent itself is told what has become of it.
        let proven = challenged.verify(proof, &key)?;
        if agent.revoked_at.is_some() {
            return Err(Refuse::new(RefuseCode::Revoked, "the relay's operator revoked this agent").into());
        }
        if proven.hello().site != agent.site {
            let text = format!("this agent was enrolled for site {}", agent.site);
            return Err(Refuse::new(RefuseCode::WrongSite, text).into());
        }
        let Credential::Join(shown) = proven.credential() else {
            return Err(Refuse::new(RefuseCode::BadProof, "PROOF is for another purpose than HELLO").into());
        };
        let fresh = Encoded::random()?;
        let slot = proven.hello().slot;
        match self.store.admit(id, slot, shown.map(hashed), hash(&fresh)).await? {
            Ok(next) => Ok((proven, agent, Join { counter: next.counter, value: fresh })),
            Err(fault) => {
                let detail = format!("from {}, slot {slot}: {fault}", peer.ip());
                let now = self.clock.unix_seconds();
                self.store.raise_alarm(id, AlarmKind::CloneSuspected, detail, now).await?;
                // Only somebody with the agent's key comes here, so this is no stranger's to repeat at will.
                tracing::warn!(site = %agent.site, agent = %id, from = %peer.ip(), %fault, "a copy of an agent tried to connect");
                Err(Refuse::new(RefuseCode::CloneSuspected, fault.to_string()).into())
            }
        }
    }

    async fn enrol(
        &self,
        challenged: Challenged,
        proof: &Bytes,
        key: PublicKey,
    ) -> Result<(Proven, Agent, Join), GateFault> {
        let proven = challenged.verify(proof, &key)?;
        let Credential::Secret(secret) = proven.credential() else {
            return Err(Refuse::new(RefuseCode::BadProof, "PROOF is for another purpose than HELLO").into());
        };
        let first = Join::first()?;
        let software = printable(&proven.hello().software);
        let new = NewAgent { id: AgentId::generate(), public_key: *key.as_bytes(), software };
        let site = proven.hello().site.clone();
        let now = self.clock.unix_seconds();
        let enrolled = self.store.enrol(site, secret.hash().0, new, hashed(first), now).await?;
        let agent = enrolled.map_err(|fault| match fault {
            TokenFault::Unknown => {
                Refuse::new(RefuseCode::TokenUnknown, "this relay made no such token, or its site is gone")
            }
            TokenFault::Expired => Refuse::new(RefuseCode::TokenExpired, "the token has expired"),
            TokenFault::Used => Refuse::new(RefuseCode::TokenUsed, "the token was used already"),
            TokenFault::WrongSite => Refuse::new(RefuseCode::WrongSite, "the token is for another site"),
            TokenFault::Full => Refuse::new(
                RefuseCode::Busy,
                "the site has as many agents as it may: let the relay's operator revoke old ones",
            ),
        })?;
        Ok((proven, agent, first))
    }

    fn welcome(&self, agent: &Agent, join: Join) -> Welcome {
        Welcome {
            agent: agent.id,
            site: agent.site.clone(),
            join,
            limits: Limits {
                max_streams: self.tunnel.max_streams_out,
                max_agent_streams: self.tunnel.max_streams_in,
            },
            ping_seconds: u16::try_from(self.tunnel.ping_every.as_secs()).unwrap_or(15),
            retry_hint: None,
            standing: match agent.role {
                Role::Active => Standing::Active,
                Role::Standby => Standing::Standby,
            },
        }
    }
}

async fn receive<S>(socket: &mut WebSocketStream<S>, kind: Kind, within: Duration) -> Result<Bytes, GateFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = receive_frame(socket, within).await?;
    if frame.kind == kind {
        return Ok(frame.payload);
    }
    if frame.kind == Kind::Refuse {
        // The agent will not go on, and says why; it is its own to tell its administrator.
        return Err(FrameError::Closed { reason: Some("the agent refused the relay".to_owned()) }.into());
    }
    Err(FrameError::NotAFrame.into())
}

/// Join states are stored and compared as hashes.
fn hashed(join: Join) -> Join {
    Join { counter: join.counter, value: hash(&join.value) }
}

fn hash(value: &Encoded<32>) -> Encoded<32> {
    Encoded::sha256(&[b"outhaul join state v1", &value.0])
}

fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(128).collect()
}
