//! The agent's half: [`Start::hello`] → [`Waiting::answer`] → [`Proved::welcomed`] → [`confirm`]. Where TLS is opened on
//! the way, the second step says to begin TLS inside and to start anew there.

use bytes::Bytes;

use super::join::Join;
use super::messages::{
    Challenge, Confirm, Hello, INNER_TLS, OuterCertificate, Proof, Purpose, Refuse, VERSION, Welcome,
    decode_document, encode_document, put_signed, split_signed,
};
use super::transcript::{Label, Layer, Session, digest, same_session};
use crate::common::ids::{AgentId, BootId, SiteName};
use crate::identity::encoded::Encoded;
use crate::identity::keys::{Fingerprint, PublicKey, SigningKey};
use crate::identity::token::EnrolmentSecret;

/// What the agent brings to a handshake.
#[derive(Debug, Clone)]
pub struct Start {
    /// To connect or to enrol.
    pub intent: Intent,
    /// The site.
    pub site: SiteName,
    /// Which tunnel.
    pub slot: u8,
    /// This start of the process.
    pub boot: BootId,
    /// Name and version of the program.
    pub software: String,
}

/// What the agent comes for, with what it needs for that.
#[derive(Debug, Clone)]
pub enum Intent {
    /// To open a tunnel to the relay whose key was pinned at enrolment.
    Connect {
        /// Its id.
        agent: AgentId,
        /// The pinned key.
        relay: PublicKey,
        /// The join state of this slot.
        join: Option<Join>,
    },
    /// To become known to the relay whose fingerprint the token names.
    Enrol {
        /// The fingerprint of the relay's key.
        relay: Fingerprint,
        /// The token's secret.
        secret: EnrolmentSecret,
    },
}

/// After HELLO, waiting for CHALLENGE.
#[derive(Debug)]
pub struct Waiting {
    intent: Intent,
    hello: Hello,
    raw: Bytes,
}

/// After PROOF, waiting for WELCOME.
#[derive(Debug)]
pub struct Proved {
    hello: Hello,
    relay: PublicKey,
    session: Session,
    transcript: [Bytes; 3],
}

/// What the agent does after CHALLENGE.
#[derive(Debug)]
pub enum Answer {
    /// Sends this PROOF.
    Proof(Bytes, Box<Proved>),
    /// Something opens the TLS under the WebSocket: begins TLS inside, and starts anew in there.
    StartTls,
}

/// Where a handshake would go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// Here: both ends see one TLS session.
    Same,
    /// Inside: something opens TLS on the way.
    StartTls,
    /// Nowhere.
    Stop,
}

/// Let in.
#[derive(Debug, Clone)]
pub struct Welcomed {
    /// What the relay says.
    pub welcome: Welcome,
    /// The relay's key: pin it at enrolment.
    pub relay: PublicKey,
    /// Which TLS session it is bound to.
    pub layer: Layer,
}

/// Why the agent will not go on. Nothing secret has been sent by then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// A message that can't be read.
    #[error("the relay's {0} can't be read: is the address that of an Outhaul relay, of about this version?")]
    Malformed(&'static str),
    /// A version we do not speak.
    #[error("the relay chose protocol version {0}, which this agent does not speak: update the agent")]
    Version(u16),
    /// Another key.
    #[error(
        "the relay shows key {shown}, not the one this agent trusts ({trusted}): \
         something in between plays relay, or the relay was set up anew and this agent must be enrolled anew"
    )]
    WrongKey {
        /// Fingerprint of the key shown.
        shown: Fingerprint,
        /// Fingerprint of the key trusted.
        trusted: Fingerprint,
    },
    /// TLS is opened on the way, and the relay offers none inside.
    #[error(
        "TLS between agent and relay is opened by something in between, such as an inspecting proxy, and the relay \
         does not offer to run another TLS session inside: let its operator update it, or exempt the relay's host \
         from inspection"
    )]
    Intercepted,
    /// The inner session is not the same at both ends.
    #[error(
        "the TLS session inside the WebSocket is opened by something in between: something on the way has the key of \
         agent or relay, or breaks TLS on purpose; tell the relay's operator"
    )]
    InterceptedInside,
    /// A signature does not fit.
    #[error("the relay's signature on {0} does not fit its key: something on the way changed the messages")]
    Signature(&'static str),
    /// WELCOME is for somebody else.
    #[error("the relay's WELCOME is for another agent or site")]
    WrongWelcome,
}

impl Start {
    /// The payload of HELLO. `nonce` is fresh.
    pub fn hello(self, key: &SigningKey, nonce: Encoded<32>) -> (Bytes, Waiting) {
        let (purpose, agent, public_key) = match &self.intent {
            Intent::Connect { agent, .. } => (Purpose::Connect, Some(*agent), None),
            Intent::Enrol { .. } => (Purpose::Enrol, None, Some(key.public())),
        };
        let hello = Hello {
            versions: (VERSION, VERSION),
            capabilities: vec![INNER_TLS.to_owned()],
            purpose,
            site: self.site,
            agent,
            public_key,
            slot: self.slot,
            boot: self.boot,
            nonce,
            software: self.software,
        };
        let raw = encode_document(&hello);
        (raw.clone(), Waiting { intent: self.intent, hello, raw })
    }
}

impl Waiting {
    /// Checks CHALLENGE and says how to go on. `outer` is told to the relay, inside an inner session only.
    pub fn answer(
        self,
        payload: &Bytes,
        key: &SigningKey,
        session: Session,
        outer: Option<&OuterCertificate>,
    ) -> Result<Answer, Distrust> {
        let malformed = || Distrust::Malformed("CHALLENGE");
        // A relay of before may put a second signature here, for a way that is no more.
        let (document, signature, _) = split_signed(payload).ok_or_else(malformed)?;
        let challenge: Challenge = decode_document(document).ok_or_else(malformed)?;
        if challenge.version != VERSION {
            return Err(Distrust::Version(challenge.version));
        }
        let shown = challenge.relay_key.fingerprint();
        let trusted = match &self.intent {
            Intent::Connect { relay, .. } => relay.fingerprint(),
            Intent::Enrol { relay, .. } => *relay,
        };
        if shown != trusted {
            return Err(Distrust::WrongKey { shown, trusted });
        }
        match self.where_to(&challenge, session) {
            Glance::Same => {}
            Glance::StartTls => return Ok(Answer::StartTls),
            Glance::Stop if session.layer == Layer::Outer => return Err(Distrust::Intercepted),
            Glance::Stop => return Err(Distrust::InterceptedInside),
        }
        let hash = digest(Label::Relay, &[&self.raw, document], &session);
        if !challenge.relay_key.verifies(&hash, signature) {
            return Err(Distrust::Signature("CHALLENGE"));
        }
        let (join, secret) = match &self.intent {
            Intent::Connect { join, .. } => (*join, None),
            Intent::Enrol { secret, .. } => (None, Some(secret.to_bytes())),
        };
        let outer = outer.filter(|_| session.layer == Layer::Inner).map(OuterCertificate::printable);
        let proof = encode_document(&Proof { bound: true, join, secret, outer });
        let hash = digest(Label::Agent, &[&self.raw, payload, &proof], &session);
        let proof = put_signed(&proof, &[key.sign(&hash).0]);
        let transcript = [self.raw, payload.clone(), proof.clone()];
        let proved = Proved { hello: self.hello, relay: challenge.relay_key, session, transcript };
        Ok(Answer::Proof(proof, Box::new(proved)))
    }
}

impl Waiting {
    /// Nothing is believed of a CHALLENGE that came through other hands, but that TLS inside is worth a try: in there all
    /// is asked and signed anew.
    fn where_to(&self, challenge: &Challenge, session: Session) -> Glance {
        let offered = challenge.capabilities.iter().any(|name| name == INNER_TLS);
        match session.layer {
            _ if same_session(challenge, &self.hello, &session.exporter) => Glance::Same,
            Layer::Outer if offered => Glance::StartTls,
            _ => Glance::Stop,
        }
    }

    /// Where it would go on. Checks no signature: to look from outside, not to go on.
    pub fn glance(&self, payload: &[u8], session: Session) -> Result<Glance, Distrust> {
        let document =
            split_signed(payload).and_then(|(document, ..)| decode_document::<Challenge>(document));
        document.map(|challenge| self.where_to(&challenge, session)).ok_or(Distrust::Malformed("CHALLENGE"))
    }
}

impl Proved {
    /// Checks WELCOME. Store the join state in it, durably, before [`confirm`] is sent.
    pub fn welcomed(self, payload: &Bytes) -> Result<Welcomed, Distrust> {
        let malformed = || Distrust::Malformed("WELCOME");
        let (document, signature, None) = split_signed(payload).ok_or_else(malformed)? else {
            return Err(malformed());
        };
        let [hello, challenge, proof] = &self.transcript;
        let hash = digest(Label::Welcome, &[hello, challenge, proof, document], &self.session);
        if !self.relay.verifies(&hash, signature) {
            return Err(Distrust::Signature("WELCOME"));
        }
        let welcome: Welcome = decode_document(document).ok_or_else(malformed)?;
        let same_agent = self.hello.agent.is_none_or(|agent| agent == welcome.agent);
        if !same_agent || welcome.site != self.hello.site {
            return Err(Distrust::WrongWelcome);
        }
        Ok(Welcomed { welcome, relay: self.relay, layer: self.session.layer })
    }
}

/// The payload of CONFIRM.
pub fn confirm() -> Bytes {
    encode_document(&Confirm {})
}

/// Reads REFUSE.
pub fn refused(payload: &[u8]) -> Refuse {
    Refuse::decode(payload)
}
