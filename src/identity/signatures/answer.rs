//! A signed answer, bound to the call that it answers (RFC 9421, section 2.4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::base::{self, Target};
use super::{ALGORITHM, SignatureFault, TAG};
use crate::common::ids::AgentId;
use crate::identity::keys::SigningKey;

/// The label of an answer's signature.
const LABEL: &str = "outhaul";
/// What is covered of an answer where it is there, beside the status and the digest.
pub(super) const COVERED: [&str; 11] = [
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "outhaul-problem",
    "outhaul-replayed",
    "retry-after",
];

/// The call that an answer is bound to.
#[derive(Debug, Clone)]
pub struct Binding {
    label: String,
    signature: String,
    method: Method,
    uri: String,
}

/// The fields that make an answer a signed one.
#[derive(Debug, Clone)]
pub struct SignedFields {
    /// `Content-Digest`.
    pub digest: HeaderValue,
    /// `Signature-Input`.
    pub input: HeaderValue,
    /// `Signature`.
    pub signature: HeaderValue,
}

impl Binding {
    pub(super) fn new(label: &str, signature: &[u8; 64], target: Target<'_>) -> Result<Self, SignatureFault> {
        Ok(Self {
            label: label.to_owned(),
            signature: format!(":{}:", STANDARD.encode(signature)),
            method: target.method.clone(),
            uri: target.uri()?,
        })
    }

    /// Signs an answer: its status, its body by the digest, those of its fields that say what the body is, and the call.
    /// `in_trailers` says where the digest will stand. None where a field can't be signed.
    pub fn sign(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        digest: &str,
        in_trailers: bool,
        (agent, key): (AgentId, &SigningKey),
        now: u64,
    ) -> Option<SignedFields> {
        let mut names = String::from("(");
        let mut base = String::with_capacity(1024);
        let mut cover = |identifier: &str, value: &str| {
            if names.len() > 1 {
                names.push(' ');
            }
            names.push_str(identifier);
            base::line(&mut base, identifier, value);
        };
        cover("\"@status\"", status.as_str());
        cover(if in_trailers { "\"content-digest\";tr" } else { "\"content-digest\"" }, digest);
        for name in COVERED {
            let name = HeaderName::from_static(name);
            if headers.contains_key(&name) {
                cover(&format!("\"{name}\""), base::field(headers, &name).ok()?);
            }
        }
        cover("\"@method\";req", self.method.as_str());
        cover("\"@target-uri\";req", &self.uri);
        cover(&format!("\"signature\";req;key=\"{}\"", self.label), &self.signature);
        let parameters =
            format!("{names});created={now};keyid=\"{agent}\";alg=\"{ALGORITHM}\";tag=\"{TAG}\"");
        base::close(&mut base, &parameters);
        let signature = STANDARD.encode(key.sign(base.as_bytes()).0);
        Some(SignedFields {
            digest: HeaderValue::from_str(digest).ok()?,
            input: HeaderValue::from_str(&format!("{LABEL}={parameters}")).ok()?,
            signature: HeaderValue::from_str(&format!("{LABEL}=:{signature}:")).ok()?,
        })
    }
}
