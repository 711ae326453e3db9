//! A signed call: which signature is ours, what it must cover, and what of the request it leaves over.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, InnerList, ListEntry};

use super::base::{self, Target};
use super::{ALGORITHM, Binding, Digests, SignatureFault, TAG, fields};
use crate::common::ids::AgentId;
use crate::identity::keys::PublicKey;

/// How the id of a caller's public key begins in `keyid`.
pub const KEY_PREFIX: &str = "ohs_";
/// How long a nonce is, in characters: 22 of base64 hold 128 bits.
pub const NONCE: std::ops::RangeInclusive<usize> = 22..=128;
/// Fields that must be covered where they are there: without them, or with others in their place, the call would be
/// another one.
pub const MUST_COVER: &[&str] = &[
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "outhaul-act-as",
    "outhaul-agent",
    "range",
];

const AGENT: HeaderName = HeaderName::from_static("outhaul-agent");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE: &str = "signature";
const INPUT: &str = "signature-input";
/// Never covered: they hold the signature itself, or speak of the connection.
const NEVER: [&str; 6] = [SIGNATURE, INPUT, "connection", "te", "transfer-encoding", "trailer"];

/// Whether a request claims to be signed.
pub fn is_claimed(headers: &HeaderMap) -> bool {
    headers.contains_key(INPUT) || headers.contains_key(SIGNATURE)
}

/// The one signature of a request that is for us, read and not judged yet.
#[derive(Debug, Clone)]
pub struct Claim {
    label: String,
    components: Vec<Component>,
    parameters: String,
    signature: [u8; 64],
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Until when it counts.
    pub expires: u64,
    /// Makes it the only one of its kind.
    pub nonce: String,
    /// Whose it says it is.
    pub key_id: String,
}

#[derive(Debug, Clone)]
enum Component {
    Derived(String),
    Field(HeaderName),
}

/// What a signature speaks of.
#[derive(Debug)]
pub struct Covered {
    /// All that is left of the request's fields: those covered, each once, and the length of the body.
    pub headers: HeaderMap,
    /// What the body must be.
    pub digests: Digests,
    /// What binds the answer to it.
    pub binding: Binding,
    base: String,
    signature: [u8; 64],
}

impl Claim {
    /// Finds it. Signatures of others, with another tag, are left aside.
    pub fn read(headers: &HeaderMap) -> Result<Self, SignatureFault> {
        let inputs = fields::dictionary(headers, "signature-input", MAX_INPUT)?;
        let mut values = fields::dictionary(headers, "signature", MAX_SIGNATURE)?;
        let is_ours = |entry: &ListEntry| match entry {
            ListEntry::InnerList(list) => text(list, "tag") == Some(TAG),
            ListEntry::Item(_) => false,
        };
        let count = inputs.values().filter(|entry| is_ours(entry)).count();
        let ours = inputs.into_iter().find(|(_, entry)| is_ours(entry));
        let (1, Some((label, ListEntry::InnerList(list)))) = (count, ours) else {
            return Err(SignatureFault::Count(count));
        };
        let signature = take_signature(&mut values, label.as_str()).ok_or(SignatureFault::NoSignature)?;
        Self::of(label.into(), list, signature)
    }

    fn of(label: String, list: InnerList, signature: [u8; 64]) -> Result<Self, SignatureFault> {
        let known = ["alg", "created", "expires", "keyid", "nonce", "tag"];
        if list.params.keys().any(|name| !known.contains(&name.as_str())) {
            return Err(SignatureFault::OtherParameter);
        }
        if text(&list, "alg") != Some(ALGORITHM) {
            return Err(SignatureFault::Parameter("alg must be \"ed25519\""));
        }
        let created = seconds(&list, "created")
            .ok_or(SignatureFault::Parameter("created must be the time in seconds since 1970"))?;
        let expires = seconds(&list, "expires")
            .ok_or(SignatureFault::Parameter("expires must be a time in seconds since 1970"))?;
        let nonce = text(&list, "nonce").filter(|nonce| NONCE.contains(&nonce.len()));
        let nonce =
            nonce.ok_or(SignatureFault::Parameter("nonce must be 22 to 128 characters, all random"))?;
        let key_id = text(&list, "keyid").filter(|id| id.len() <= MAX_KEY_ID);
        let key_id = key_id.ok_or(SignatureFault::Parameter("keyid must be the id of the caller's key"))?;
        let (nonce, key_id) = (nonce.to_owned(), key_id.to_owned());
        let components = components(&list)?;
        let parameters = fields::written(list).ok_or(SignatureFault::Unreadable("signature-input"))?;
        Ok(Self { label, components, parameters, signature, created, expires, nonce, key_id })
    }

    /// What it covers of this request, which must be all that the profile asks for. `agent` is who reads it.
    pub fn cover(
        &self,
        target: Target<'_>,
        headers: &HeaderMap,
        agent: AgentId,
    ) -> Result<Covered, SignatureFault> {
        self.covers_the_target()?;
        let mut base = String::with_capacity(512);
        let mut left = HeaderMap::with_capacity(self.components.len());
        for component in &self.components {
            match component {
                Component::Derived(name) => {
                    let value = target.derived(name)?;
                    let value = value.ok_or_else(|| SignatureFault::Component(name.clone()))?;
                    base::line(&mut base, &format!("\"{name}\""), &value);
                }
                Component::Field(name) => {
                    let value = base::field(headers, name)?;
                    base::line(&mut base, &format!("\"{name}\""), value);
                    let value =
                        HeaderValue::from_str(value).map_err(|_| SignatureFault::Bytes(name.to_string()))?;
                    left.insert(name.clone(), value);
                }
            }
        }
        base::close(&mut base, &self.parameters);
        let uncovered =
            MUST_COVER.iter().find(|name| headers.contains_key(**name) && !left.contains_key(**name));
        if let Some(name) = uncovered {
            return Err(SignatureFault::NotCovered((*name).to_owned()));
        }
        let meant = left.get(&AGENT).ok_or_else(|| SignatureFault::NotCovered(AGENT.to_string()))?;
        if meant.as_bytes() != agent.to_string().as_bytes() {
            return Err(SignatureFault::OtherAgent);
        }
        let digests = match left.get(&CONTENT_DIGEST) {
            Some(value) => Digests::read(value.as_bytes())?,
            // What may act says so even where it brings no body.
            None if !target.method.is_safe() => {
                return Err(SignatureFault::NotCovered(CONTENT_DIGEST.to_string()));
            }
            None => Digests::of_nothing(),
        };
        // What frames the body passes uncovered; the digest speaks for the body.
        if !left.contains_key(header::CONTENT_LENGTH) {
            for value in headers.get_all(header::CONTENT_LENGTH) {
                left.append(header::CONTENT_LENGTH, value.clone());
            }
        }
        let binding = Binding::new(&self.label, &self.signature, target)?;
        Ok(Covered { headers: left, digests, binding, base, signature: self.signature })
    }

    /// The method, and the target: as one address, or in the parts that make it up.
    fn covers_the_target(&self) -> Result<(), SignatureFault> {
        let has = |wanted: &str| {
            self.components
                .iter()
                .any(|component| matches!(component, Component::Derived(name) if name == wanted))
        };
        let parts = ["@scheme", "@authority", "@request-target"];
        if !has("@method") {
            return Err(SignatureFault::NotCovered("@method".to_owned()));
        }
        if has("@target-uri") || parts.iter().all(|part| has(part)) {
            return Ok(());
        }
        Err(SignatureFault::NotCovered("@target-uri".to_owned()))
    }
}

impl Covered {
    /// Whether this key made the signature.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verifies(self.base.as_bytes(), &self.signature)
    }

    /// What was signed, for tests and documents.
    pub fn base(&self) -> &str {
        &self.base
    }
}

fn components(list: &InnerList) -> Result<Vec<Component>, SignatureFault> {
    if list.items.len() > MAX_COMPONENTS {
        return Err(SignatureFault::Components);
    }
    let mut seen: Vec<&str> = Vec::with_capacity(list.items.len());
    let mut found = Vec::with_capacity(list.items.len());
    for item in &list.items {
        let BareItem::String(name) = &item.bare_item else {
            return Err(SignatureFault::Unreadable("signature-input"));
        };
        let name = name.as_str();
        let refused = || SignatureFault::Component(name.chars().take(40).collect());
        // Parameters make other values of a component: parts of it, or those of another message.
        if !item.params.is_empty() || NEVER.contains(&name) {
            return Err(refused());
        }
        if seen.contains(&name) {
            return Err(SignatureFault::ComponentTwice(name.chars().take(40).collect()));
        }
        seen.push(name);
        found.push(if name.starts_with('@') {
            Component::Derived(name.to_owned())
        } else if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(refused());
        } else {
            Component::Field(HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?)
        });
    }
    Ok(found)
}

fn take_signature(values: &mut Dictionary, label: &str) -> Option<[u8; 64]> {
    let item = match values.get(label)? {
        ListEntry::Item(item) if item.params.is_empty() => item,
        _ => return None,
    };
    match &item.bare_item {
        BareItem::ByteSequence(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

fn text<'l>(list: &'l InnerList, name: &str) -> Option<&'l str> {
    match list.params.get(name)? {
        BareItem::String(text) => Some(text.as_str()),
        _ => None,
    }
}

fn seconds(list: &InnerList, name: &str) -> Option<u64> {
    match list.params.get(name)? {
        BareItem::Integer(number) => u64::try_from(i64::from(*number)).ok(),
        _ => None,
    }
}

/// Room for every component of the profile and more.
const MAX_INPUT: usize = 4 << 10;
const MAX_SIGNATURE: usize = 1 << 10;
const MAX_COMPONENTS: usize = 40;
const MAX_KEY_ID: usize = 64;
