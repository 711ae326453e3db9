//! The agent's half: [`Start::hello`] → [`Waiting::prove`] → [`Proved::welcomed`] → [`confirm`].

use bytes::Bytes;

use super::join::Join;
use super::messages::{
    Challenge, Confirm, Hello, Proof, Purpose, Refuse, VERSION, Welcome, decode_document, encode_document,
    put_signed, split_signed,
};
use super::transcript::{Exporter, Label, digest, same_session};
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
    bound: Option<Exporter>,
    transcript: [Bytes; 3],
}

/// Let in.
#[derive(Debug, Clone)]
pub struct Welcomed {
    /// What the relay says.
    pub welcome: Welcome,
    /// The relay's key: pin it at enrolment.
    pub relay: PublicKey,
    /// Whether both ends share one TLS session.
    pub bound: bool,
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
    /// TLS is opened on the way.
    #[error(
        "TLS between agent and relay is opened by something in between, such as an inspecting proxy: \
         exempt the relay's host from inspection; or, if you trust what opens it, set allow-unbound = true in \
         [relay] here, and let the relay's operator set it in [agents]"
    )]
    Intercepted,
    /// TLS is opened on the way; we would allow it, the relay does not.
    #[error(
        "TLS between agent and relay is opened by something in between, and the relay does not allow that: \
         exempt the relay's host from inspection, or ask the operator to set allow-unbound = true in [agents]"
    )]
    RelayForbidsUnbound,
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
            capabilities: Vec::new(),
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
    /// Checks CHALLENGE and gives the payload of PROOF.
    pub fn prove(
        self,
        payload: &Bytes,
        key: &SigningKey,
        exporter: Option<Exporter>,
        allow_unbound: bool,
    ) -> Result<(Bytes, Proved), Distrust> {
        let malformed = || Distrust::Malformed("CHALLENGE");
        let (document, first, second) = split_signed(payload).ok_or_else(malformed)?;
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
        // The bound signature comes first, the unbound one is last: alone if the relay has no TLS session.
        let bound = exporter.filter(|_| same_session(&challenge, &self.hello, exporter.as_ref()));
        if bound.is_none() && !allow_unbound {
            return Err(Distrust::Intercepted);
        }
        let signature = match (&bound, challenge.binding, second) {
            (None, Some(_), Some(unbound)) => unbound,
            (None, Some(_), None) => return Err(Distrust::RelayForbidsUnbound),
            (None, None, Some(_)) => return Err(malformed()),
            (Some(_), _, _) | (None, None, None) => first,
        };
        let hash = digest(Label::Relay, &[&self.raw, document], bound.as_ref());
        if !challenge.relay_key.verifies(&hash, signature) {
            return Err(Distrust::Signature("CHALLENGE"));
        }
        let (join, secret) = match &self.intent {
            Intent::Connect { join, .. } => (*join, None),
            Intent::Enrol { secret, .. } => (None, Some(secret.to_bytes())),
        };
        let proof = encode_document(&Proof { bound: bound.is_some(), join, secret });
        let hash = digest(Label::Agent, &[&self.raw, payload, &proof], bound.as_ref());
        let proof = put_signed(&proof, &[key.sign(&hash).0]);
        let transcript = [self.raw, payload.clone(), proof.clone()];
        Ok((proof, Proved { hello: self.hello, relay: challenge.relay_key, bound, transcript }))
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
        let hash = digest(Label::Welcome, &[hello, challenge, proof, document], self.bound.as_ref());
        if !self.relay.verifies(&hash, signature) {
            return Err(Distrust::Signature("WELCOME"));
        }
        let welcome: Welcome = decode_document(document).ok_or_else(malformed)?;
        let same_agent = self.hello.agent.is_none_or(|agent| agent == welcome.agent);
        if !same_agent || welcome.site != self.hello.site {
            return Err(Distrust::WrongWelcome);
        }
        Ok(Welcomed { welcome, relay: self.relay, bound: self.bound.is_some() })
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
