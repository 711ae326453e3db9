//! The relay's half: [`Opened::read`] → [`Opened::challenge`] → [`Challenged::verify`] → [`Proven::welcome`]. Where the agent
//! wants TLS inside, [`Challenged::start_tls`] is the end of the outer handshake, and another begins in there.
//!
//! Between the steps the caller looks up the agent's key, the enrolment secret and the join state.

use bytes::Bytes;

use super::join::Join;
use super::messages::{
    Challenge, Confirm, Hello, INNER_TLS, OuterCertificate, Proof, Purpose, Refuse, RefuseCode, SLOTS,
    VERSION, Welcome, decode_document, encode_document, put_signed, split_signed,
};
use super::transcript::{Label, Layer, Session, binding, digest};
use crate::common::ids::AgentId;
use crate::identity::encoded::Encoded;
use crate::identity::keys::{PublicKey, SigningKey};
use crate::identity::token::EnrolmentSecret;

/// A HELLO that can be read.
#[derive(Debug)]
pub struct Opened {
    hello: Hello,
    claim: Claim,
    raw: Bytes,
}

/// What a HELLO claims; nothing of it is proved yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A known agent wants to connect.
    Connect(AgentId),
    /// A new agent with this key wants to enrol.
    Enrol(PublicKey),
}

/// After CHALLENGE, waiting for PROOF.
#[derive(Debug)]
pub struct Challenged {
    opened: Opened,
    session: Session,
    challenge: Bytes,
}

/// The agent holds the key; whether it may come in is for the caller to say.
#[derive(Debug)]
pub struct Proven {
    hello: Hello,
    credential: Credential,
    session: Session,
    outer: Option<OuterCertificate>,
    transcript: [Bytes; 3],
}

/// What the agent shows beside its signature.
#[derive(Debug, Clone)]
pub enum Credential {
    /// To connect: its join state, if it has one.
    Join(Option<Join>),
    /// To enrol: the token's secret.
    Secret(EnrolmentSecret),
}

impl Opened {
    /// Reads HELLO.
    pub fn read(payload: &Bytes) -> Result<Self, Refuse> {
        let hello: Hello = decode_document(payload).ok_or_else(|| Refuse::malformed("HELLO"))?;
        let (lowest, highest) = hello.versions;
        if VERSION < lowest || VERSION > highest {
            return Err(Refuse::new(
                RefuseCode::Version,
                format!("this relay speaks version {VERSION}, the agent {lowest} to {highest}"),
            ));
        }
        if hello.slot >= SLOTS {
            return Err(Refuse::new(RefuseCode::BadProof, format!("an agent has at most {SLOTS} tunnels")));
        }
        let claim = match (hello.purpose, hello.agent, hello.public_key) {
            (Purpose::Connect, Some(agent), _) => Claim::Connect(agent),
            (Purpose::Enrol, _, Some(key)) => Claim::Enrol(key),
            (Purpose::Connect, None, _) => return Err(Refuse::malformed("HELLO without an agent id")),
            (Purpose::Enrol, _, None) => return Err(Refuse::malformed("HELLO without a public key")),
        };
        if hello.software.len() > MAX_TEXT || hello.capabilities.len() > MAX_CAPABILITIES {
            return Err(Refuse::malformed("HELLO with overlong lists"));
        }
        Ok(Self { hello, claim, raw: payload.clone() })
    }

    /// What it says. Not proved yet.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Who it claims to be.
    pub fn claim(&self) -> Claim {
        self.claim
    }

    /// The payload of CHALLENGE. `session` is where this handshake runs; `nonce` is fresh.
    pub fn challenge(self, key: &SigningKey, session: Session, nonce: Encoded<32>) -> (Bytes, Challenged) {
        let document = encode_document(&Challenge {
            version: VERSION,
            relay_key: key.public(),
            nonce,
            binding: Some(binding(&session.exporter, &self.hello, &nonce)),
            capabilities: vec![INNER_TLS.to_owned()],
        });
        let hash = digest(Label::Relay, &[&self.raw, &document], &session);
        let challenge = put_signed(&document, &[key.sign(&hash).0]);
        (challenge.clone(), Challenged { opened: self, session, challenge })
    }
}

impl Challenged {
    /// What HELLO said. Not proved yet.
    pub fn hello(&self) -> &Hello {
        &self.opened.hello
    }

    /// Who it claims to be.
    pub fn claim(&self) -> Claim {
        self.opened.claim
    }

    /// The agent wants TLS inside: who it claims to be, and so whose key it must show there. What was said so far counts
    /// for nothing else.
    pub fn start_tls(self) -> Result<Claim, Refuse> {
        let able = self.opened.hello.capabilities.iter().any(|name| name == INNER_TLS);
        match self.session.layer {
            Layer::Outer if able => Ok(self.opened.claim),
            Layer::Outer => Err(Refuse::malformed("TLS inside without the capability for it")),
            Layer::Inner => Err(Refuse::malformed("TLS inside of TLS inside")),
        }
    }

    /// Checks PROOF against the agent's key: the pinned one to connect, the one of HELLO to enrol.
    pub fn verify(self, payload: &Bytes, agent: &PublicKey) -> Result<Proven, Refuse> {
        let (document, signature, None) = split_signed(payload).ok_or_else(|| Refuse::malformed("PROOF"))?
        else {
            return Err(Refuse::malformed("PROOF"));
        };
        let proof: Proof = decode_document(document).ok_or_else(|| Refuse::malformed("PROOF"))?;
        if !proof.bound {
            return Err(Refuse::new(
                RefuseCode::Unbound,
                "something in between opens the agent's TLS session, and the agent can't run another one inside",
            ));
        }
        let parts: [&[u8]; 3] = [&self.opened.raw, &self.challenge, document];
        if !agent.verifies(&digest(Label::Agent, &parts, &self.session), signature) {
            return Err(Refuse::new(RefuseCode::BadProof, "the agent's signature does not fit its key"));
        }
        let credential = match (self.opened.claim, proof.secret) {
            (Claim::Connect(_), _) => Credential::Join(proof.join),
            (Claim::Enrol(_), Some(secret)) => Credential::Secret(EnrolmentSecret::from_bytes(secret)),
            (Claim::Enrol(_), None) => return Err(Refuse::malformed("PROOF without the token's secret")),
        };
        let transcript = [self.opened.raw, self.challenge, payload.clone()];
        let outer = proof.outer.filter(|_| self.session.layer == Layer::Inner);
        let outer = outer.as_ref().map(OuterCertificate::printable);
        Ok(Proven { hello: self.opened.hello, credential, session: self.session, outer, transcript })
    }
}

impl Proven {
    /// What HELLO said; now signed by the agent.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// What it shows.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Which TLS session it is bound to.
    pub fn layer(&self) -> Layer {
        self.session.layer
    }

    /// Who opens the TLS under the WebSocket, as the agent sees it. Fit to be shown.
    pub fn outer(&self) -> Option<&OuterCertificate> {
        self.outer.as_ref()
    }

    /// The payload of WELCOME. Send it only once the join state in it is stored.
    pub fn welcome(&self, key: &SigningKey, welcome: &Welcome) -> Bytes {
        let document = encode_document(welcome);
        let [hello, challenge, proof] = &self.transcript;
        let hash = digest(Label::Welcome, &[hello, challenge, proof, &document], &self.session);
        put_signed(&document, &[key.sign(&hash).0])
    }
}

/// Reads CONFIRM.
pub fn read_confirm(payload: &[u8]) -> Result<(), Refuse> {
    decode_document::<Confirm>(payload).map(|_| ()).ok_or_else(|| Refuse::malformed("CONFIRM"))
}

const MAX_TEXT: usize = 128;
const MAX_CAPABILITIES: usize = 64;
