//! Who may come in: the relay's half of the handshake, with the store behind it.
//!
//! Entry point: [`Gate::handshake`], called by `ingress` with a fresh WebSocket. What it lets in, `ingress` hands
//! to the registry. It answers every refusal with a code the agent can explain, and never says more to a stranger
//! than what the stranger already knows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::common::clock::Clock;
use crate::common::ids::AgentId;
use crate::identity::encoded::{Encoded, RandomFault};
use crate::identity::handshake::join::Join;
use crate::identity::handshake::messages::{Limits, OuterCertificate, Refuse, RefuseCode, Standing, Welcome};
use crate::identity::handshake::relay::{Challenged, Claim, Credential, Opened, Proven, read_confirm};
use crate::identity::handshake::transcript::{Layer, Session};
use crate::identity::keys::{PublicKey, SigningKey};
use crate::net::inner_tls::{Identity, Line, PeerKey, StartFault};
use crate::net::tunnel::Settings;
use crate::net::websocket::FrameError;
use crate::relay::store::{Agent, AlarmKind, NewAgent, Role, Store, StoreFault, TokenFault};
use crate::tunnel::frame::{Frame, Kind};

/// What the gate decides by.
pub struct Gate {
    /// Agents, tokens, join states.
    pub store: Store,
    /// The relay's identity.
    pub key: Arc<SigningKey>,
    /// The time.
    pub clock: Clock,
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
    /// Which TLS session it is bound to.
    pub layer: Layer,
    /// Who opens the TLS under the WebSocket, as the agent sees it.
    pub outer: Option<OuterCertificate>,
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
    /// There is no TLS session inside.
    #[error(transparent)]
    Inner(#[from] StartFault),
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
    /// Leads one agent through the handshake. `exporter` is that of the TLS session under `line`. A refusal is sent to the
    /// agent before this returns; the caller closes.
    pub async fn handshake<S>(
        &self,
        line: &mut Line<S>,
        exporter: [u8; 32],
        peer: SocketAddr,
        within: Duration,
    ) -> Result<Outcome, GateFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let deadline = self.clock.now() + within;
        let result = self.layers(line, exporter, peer, deadline).await;
        let refuse = match &result {
            Err(GateFault::Refused(refuse)) => refuse.clone(),
            Err(GateFault::Store(_) | GateFault::Random(_)) => Refuse {
                retry_after: Some(5),
                ..Refuse::new(RefuseCode::Busy, "the relay has a fault of its own; try again")
            },
            Ok(_) | Err(GateFault::Frame(_) | GateFault::Inner(_)) => return result,
        };
        let _ = line.send(Kind::Refuse, refuse.encode(), Duration::from_secs(2)).await;
        result
    }

    /// The handshake where the WebSocket is; and once more inside, if the agent finds TLS opened on the way.
    async fn layers<S>(
        &self,
        line: &mut Line<S>,
        exporter: [u8; 32],
        peer: SocketAddr,
        deadline: Instant,
    ) -> Result<Outcome, GateFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let outer = Place { session: Session::outer(exporter), claim: None, peer, deadline };
        let claim = match self.steps(line, &outer).await? {
            Step::Done(outcome) => return Ok(outcome),
            Step::StartTls(claim) => claim,
        };
        let agent = match claim {
            Claim::Connect(id) => self.known(id).await?.1,
            // Whoever holds the key that is to be enrolled; the token's secret comes later.
            Claim::Enrol(key) => key,
        };
        let own: Arc<dyn Identity> = Arc::<SigningKey>::clone(&self.key);
        let left = deadline.saturating_duration_since(self.clock.now());
        let exporter = line.accept_inside(own, PeerKey::Key(*agent.as_bytes()), left).await?;
        let inner = Place { session: Session::inner(exporter), claim: Some(claim), peer, deadline };
        match self.steps(line, &inner).await? {
            Step::Done(outcome) => Ok(outcome),
            Step::StartTls(_) => Err(StartFault::Twice.into()),
        }
    }

    async fn steps<S>(&self, line: &mut Line<S>, place: &Place) -> Result<Step, GateFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let left = || place.deadline.saturating_duration_since(self.clock.now());
        let opened = Opened::read(&receive(line, &[Kind::Hello], left()).await?.payload)?;
        if place.claim.is_some_and(|claim| claim != opened.claim()) {
            let text = "HELLO inside is of another agent than the one outside";
            return Err(Refuse::new(RefuseCode::BadProof, text).into());
        }
        let (challenge, challenged) = opened.challenge(&self.key, place.session, Encoded::random()?);
        line.send(Kind::Challenge, challenge, left()).await?;
        let answer = receive(line, &[Kind::Proof, Kind::StartTls], left()).await?;
        if answer.kind == Kind::StartTls {
            return Ok(Step::StartTls(challenged.start_tls()?));
        }
        let proof = answer.payload;
        let (proven, agent, given) = match challenged.claim() {
            Claim::Connect(id) => self.connect(challenged, &proof, id, place.peer).await?,
            Claim::Enrol(key) => self.enrol(challenged, &proof, key).await?,
        };
        let welcome = proven.welcome(&self.key, &self.welcome(&agent, given));
        line.send(Kind::Welcome, welcome, left()).await?;
        read_confirm(&receive(line, &[Kind::Confirm], left()).await?.payload)?;
        let slot = proven.hello().slot;
        let kept = hashed(given);
        let confirmed = match proven.credential() {
            Credential::Join(_) => self.store.confirm(agent.id, slot, kept).await?,
            Credential::Secret(_) => self.store.confirm_enrolment(agent.id, kept).await?,
        };
        if !confirmed {
            return Err(Refuse::new(RefuseCode::Busy, "a later connect of this agent was faster").into());
        }
        Ok(Step::Done(match proven.credential() {
            Credential::Secret(_) => Outcome::Enrolled(Box::new(agent)),
            Credential::Join(_) => Outcome::Connected(Box::new(Connected {
                agent,
                slot,
                software: printable(&proven.hello().software),
                layer: proven.layer(),
                outer: proven.outer().cloned(),
            })),
        }))
    }

    /// An agent of the store, and its pinned key.
    async fn known(&self, id: AgentId) -> Result<(Agent, PublicKey), GateFault> {
        let agent = self.store.agent(id).await?;
        let agent =
            agent.ok_or_else(|| Refuse::new(RefuseCode::UnknownAgent, "this relay knows no such agent"))?;
        let key = PublicKey::from_slice(&agent.public_key)
            .map_err(|_| StoreFault::Corrupt("an agent's public key"))?;
        Ok((agent, key))
    }

    async fn connect(
        &self,
        challenged: Challenged,
        proof: &Bytes,
        id: AgentId,
        peer: SocketAddr,
    ) -> Result<(Proven, Agent, Join), GateFault> {
        let (agent, key) = self.known(id).await?;
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

/// Where a handshake runs.
struct Place {
    session: Session,
    /// Who was let in here: nobody else may go on.
    claim: Option<Claim>,
    peer: SocketAddr,
    deadline: Instant,
}

/// How far one came.
enum Step {
    Done(Outcome),
    /// The agent wants TLS inside.
    StartTls(Claim),
}

async fn receive<S>(line: &mut Line<S>, kinds: &[Kind], within: Duration) -> Result<Frame, GateFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let frame = line.receive(within).await?;
    if kinds.contains(&frame.kind) {
        return Ok(frame);
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
