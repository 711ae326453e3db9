//! What the handshake says: JSON documents, and how signatures are put beside them.
//!
//! A signed payload is `length of the document (u16) · document · signature(s)`; HELLO, CONFIRM and REFUSE are bare
//! documents. Unknown members are ignored, so that a newer peer can say more.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::join::Join;
use crate::common::ids::{AgentId, BootId, SiteName};
use crate::identity::encoded::Encoded;
use crate::identity::keys::PublicKey;
use crate::tunnel::frame::MAX_CONTROL;

/// The only version of the protocol so far.
pub const VERSION: u16 = 1;
/// The capability to run TLS inside the WebSocket where the TLS under it is opened on the way.
pub const INNER_TLS: &str = "inner-tls";
/// How many tunnels one agent may hold: slots 0 to `SLOTS - 1`.
pub const SLOTS: u8 = 4;

/// What the agent comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To open a tunnel.
    Connect,
    /// To become known.
    Enrol,
}

/// The agent's first word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest and the highest version the agent speaks.
    pub versions: (u16, u16),
    /// What it can do beyond the version.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What it comes for.
    pub purpose: Purpose,
    /// For which site.
    pub site: SiteName,
    /// Who it is; only to connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Its key; only to enrol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// Which of the agent's tunnels this is.
    pub slot: u8,
    /// This start of the process.
    pub boot: BootId,
    /// 32 random bytes.
    pub nonce: Encoded<32>,
    /// Name and version of the program, for display.
    pub software: String,
}

/// The relay's answer to HELLO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The version that both will speak.
    pub version: u16,
    /// The relay's key.
    pub relay_key: PublicKey,
    /// 32 random bytes.
    pub nonce: Encoded<32>,
    /// The relay's view of the TLS session, hashed with both nonces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Encoded<32>>,
    /// What the relay can do beyond the version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

/// The agent's proof.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proof {
    /// That the signature covers the TLS session: always so.
    pub bound: bool,
    /// The join state; only to connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// The secret of the enrolment token; only to enrol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Encoded<32>>,
    /// Who opens the TLS under the WebSocket, as far as the agent can see; only inside an inner session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outer: Option<OuterCertificate>,
}

/// The certificate that the agent was shown under the WebSocket. Where something opens that TLS, it is that
/// something's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OuterCertificate {
    /// Whom it names.
    pub subject: String,
    /// Whose it is: the authority.
    pub issuer: String,
    /// SHA-256 of the whole certificate, in hexadecimal.
    pub sha256: String,
}

impl OuterCertificate {
    /// The same, with texts that are fit to be shown.
    #[must_use]
    pub fn printable(&self) -> Self {
        let cut = |text: &str, most: usize| -> String {
            text.chars().filter(|letter| !letter.is_control()).take(most).collect()
        };
        Self {
            subject: cut(&self.subject, MAX_NAME),
            issuer: cut(&self.issuer, MAX_NAME),
            sha256: cut(&self.sha256, 64),
        }
    }
}

/// What the two ends agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How many streams the relay may have open at the agent at once.
    pub max_streams: u32,
    /// How many streams the agent may have open at the relay at once.
    #[serde(default = "default_streams_out")]
    pub max_agent_streams: u32,
}

/// Whether calls come here or to another agent of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Calls come here.
    Active,
    /// Calls come here only when no active agent can take them.
    Standby,
}

/// The relay lets the agent in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The agent's id, given at enrolment.
    pub agent: AgentId,
    /// Its site.
    pub site: SiteName,
    /// The join state to show at the next connect. At enrolment: the first one, of every slot.
    pub join: Join,
    /// Bounds.
    pub limits: Limits,
    /// A PING this often. Seconds.
    pub ping_seconds: u16,
    /// After a loss, wait about so many seconds before connecting anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_hint: Option<u32>,
    /// Active or standby.
    #[serde(rename = "role")]
    pub standing: Standing,
}

/// The agent has stored the join state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {}

/// One side will not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// Why, for programs.
    pub code: RefuseCode,
    /// Why, for people.
    pub detail: String,
    /// Not before so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

macro_rules! refuse_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $slow:literal, $remedy:literal;)*) => {
        /// Why a handshake was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum RefuseCode {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)*
            /// A code of a newer version.
            #[serde(other, rename = "other")]
            Other,
        }

        impl RefuseCode {
            /// All that have a meaning in this version.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* Self::Other => "other" }
            }
            /// What the administrator should do.
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)*
                    Self::Other => "Update the agent, and ask the relay's operator.",
                }
            }
            /// Whether only a person can change the answer, so that asking often is useless.
            pub fn needs_a_person(self) -> bool {
                match self { $(Self::$variant => $slow,)* Self::Other => true }
            }
        }
    };
}

refuse_codes! {
    /// No common version.
    Version = "version", true, "Update the older of agent and relay.";
    /// The relay does not know the agent.
    UnknownAgent = "unknown-agent", true,
        "Enrol this agent with a new token from `outhaul-relay site enrol SITE`.";
    /// The operator revoked the agent.
    Revoked = "revoked", true, "Ask the relay's operator why; a new enrolment needs a new token.";
    /// The token's secret is not known.
    TokenUnknown = "token-unknown", true, "Check that the token is of this relay, or ask for a new one.";
    /// The token is too old.
    TokenExpired = "token-expired", true, "Ask the relay's operator for a new token: one is good for an hour.";
    /// The token was used.
    TokenUsed = "token-used", true,
        "Ask the relay's operator for a new token; if it was not you who used this one, tell them.";
    /// Agent or token belong to another site.
    WrongSite = "wrong-site", true, "Use the token of this site, or enrol this agent anew.";
    /// A signature or a message is wrong.
    BadProof = "bad-proof", true,
        "The key at the agent is not the enrolled one, or something on the way changed the messages.";
    /// TLS is opened on the way, and one side can't run a session of its own inside.
    Unbound = "unbound", true,
        "Something in between opens the TLS connection. Agent and relay run one of their own inside it if both are of \
         a version that can: update the older one, or exempt the relay's host from TLS inspection.";
    /// The join state is an old one.
    CloneSuspected = "clone-suspected", true,
        "This agent was copied or restored from a backup. Stop the copy; then enrol this one anew, or let the \
         operator revoke it.";
    /// The operator paused the site.
    SitePaused = "site-paused", true, "Ask the relay's operator.";
    /// Too much at once.
    Busy = "busy", false, "Nothing to do: the agent tries again by itself.";
}

impl std::fmt::Display for RefuseCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Refuse {
    /// A refusal in words.
    pub fn new(code: RefuseCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after: None }
    }

    /// A message that can't be read.
    pub(super) fn malformed(what: &str) -> Self {
        Self::new(RefuseCode::BadProof, format!("{what} can't be read"))
    }

    /// The payload of REFUSE.
    pub fn encode(&self) -> Bytes {
        encode_document(self)
    }

    /// Reads the payload of REFUSE. One that can't be read is still a refusal.
    pub fn decode(payload: &[u8]) -> Self {
        let mut refuse: Self = serde_json::from_slice(payload).unwrap_or_else(|_| {
            Self::new(RefuseCode::Other, "the other side refused without a readable reason")
        });
        refuse.detail =
            refuse.detail.chars().filter(|letter| !letter.is_control()).take(MAX_DETAIL).collect();
        refuse
    }
}

impl std::fmt::Display for Refuse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.detail, self.code)
    }
}

impl std::error::Error for Refuse {}

/// A document as a payload.
pub(super) fn encode_document(document: &impl Serialize) -> Bytes {
    // Our own documents hold only texts, numbers and options: writing them can't fail.
    serde_json::to_vec(document).map(Bytes::from).unwrap_or_default()
}

/// Reads a bare document.
pub(super) fn decode_document<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    if payload.len() > MAX_CONTROL {
        return None;
    }
    serde_json::from_slice(payload).ok()
}

/// Puts signatures behind a document.
pub(super) fn put_signed(document: &[u8], signatures: &[[u8; 64]]) -> Bytes {
    let mut payload = BytesMut::with_capacity(2 + document.len() + 64 * signatures.len());
    payload.put_u16(u16::try_from(document.len()).unwrap_or(u16::MAX));
    payload.put_slice(document);
    for signature in signatures {
        payload.put_slice(signature);
    }
    payload.freeze()
}

/// A document, its signature, and a second one.
type Signed<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>);

/// Takes document and signatures apart: at least one signature, at most two, and nothing else.
pub(super) fn split_signed(payload: &[u8]) -> Option<Signed<'_>> {
    if payload.len() > MAX_CONTROL {
        return None;
    }
    let (length, rest) = payload.split_first_chunk::<2>()?;
    let (document, signatures) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    match signatures.len() {
        64 => Some((document, signatures, None)),
        128 => signatures.split_at_checked(64).map(|(first, second)| (document, first, Some(second))),
        _ => None,
    }
}

fn default_streams_out() -> u32 {
    64
}

/// A name in a certificate is told and shown only up to here.
const MAX_NAME: usize = 300;
/// A peer's text is shown to people only up to here.
const MAX_DETAIL: usize = 500;
