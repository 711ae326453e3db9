//! A program that signs its calls and checks the answers, written from docs/signed.md alone.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use ring::digest::{SHA256, SHA512, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// A caller's key pair and what `caller add` told it.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    pub(crate) key_id: String,
    pub(crate) agent: String,
    pub(crate) agent_key: Vec<u8>,
}

/// A call before it is signed; every part can be changed by a test.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) method: Method,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) components: Vec<String>,
    pub(crate) created: u64,
    pub(crate) expires: u64,
    pub(crate) nonce: String,
    pub(crate) key_id: String,
    pub(crate) label: String,
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the caller's own clock")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// One that nobody used.
pub(crate) fn nonce() -> String {
    STANDARD.encode(rand::random::<[u8; 16]>())
}

pub(crate) fn sha256_field(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body)))
}

pub(crate) fn sha512_field(body: &[u8]) -> String {
    format!("sha-512=:{}:", STANDARD.encode(digest(&SHA512, body)))
}

impl Signer {
    /// A fresh pair; nobody knows it yet.
    pub(crate) fn new() -> Self {
        let seed: [u8; 32] = rand::random();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        Self { pair, key_id: String::new(), agent: String::new(), agent_key: Vec::new() }
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().unwrap()
    }

    /// Writes its public half for `caller add --public-key`.
    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, STANDARD.encode(self.public())).unwrap();
    }

    /// What `caller add --json` said.
    pub(crate) fn learn(&mut self, added: &serde_json::Value) {
        let text =
            |name: &str| added[name].as_str().unwrap_or_else(|| panic!("{name} in {added}")).to_owned();
        self.key_id = text("key_id");
        self.agent = text("agent");
        let pem = text("agent_public_key");
        let document: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        self.agent_key = STANDARD.decode(document).unwrap()[12..].to_vec();
    }

    /// A call as the profile wants it.
    pub(crate) fn draft(&self, method: Method, authority: &str, target: &str, body: &str) -> Draft {
        let mut fields = vec![("outhaul-agent".to_owned(), self.agent.clone())];
        if !method.is_safe() || !body.is_empty() {
            fields.push(("content-digest".to_owned(), sha256_field(body.as_bytes())));
        }
        if !body.is_empty() {
            fields.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let derived = ["@method", "@target-uri"].map(str::to_owned);
        let components = derived.into_iter().chain(fields.iter().map(|(name, _)| name.clone())).collect();
        Draft {
            method,
            scheme: "https".to_owned(),
            authority: authority.to_owned(),
            target: target.to_owned(),
            fields,
            body: Bytes::from(body.to_owned()),
            components,
            created: now(),
            expires: now() + 120,
            nonce: nonce(),
            key_id: self.key_id.clone(),
            label: "sig1".to_owned(),
        }
    }

    /// The fields `Signature-Input` and `Signature` over a draft.
    pub(crate) fn sign(&self, draft: &Draft) -> (String, String) {
        let parameters = draft.parameters();
        let mut base = String::new();
        for component in &draft.components {
            let value = draft.value(component);
            let _ = writeln!(base, "\"{component}\": {value}");
        }
        let _ = write!(base, "\"@signature-params\": {parameters}");
        let signature = STANDARD.encode(self.pair.sign(base.as_bytes()));
        (format!("{}={parameters}", draft.label), format!("{}=:{signature}:", draft.label))
    }

    /// The whole signed request; its URI is the target.
    pub(crate) fn request(&self, draft: &Draft) -> Request<Bytes> {
        let (input, signature) = self.sign(draft);
        let mut request = Request::builder().method(draft.method.clone()).uri(&draft.target);
        for (name, value) in &draft.fields {
            request = request.header(name, value);
        }
        request
            .header("signature-input", input)
            .header("signature", signature)
            .body(draft.body.clone())
            .unwrap()
    }

    /// Whether an answer is the agent's, to this very call.
    pub(crate) fn verify(
        &self,
        request: &Request<Bytes>,
        authority: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), String> {
        let one = |headers: &HeaderMap, name: &str| {
            headers.get(name).map(|value| value.to_str().unwrap().to_owned()).ok_or(format!("no {name}"))
        };
        let input = one(headers, "signature-input")?;
        let signature = one(headers, "signature")?;
        let parameters = input.strip_prefix("outhaul=").ok_or("no label")?;
        if one(headers, "content-digest")? != sha256_field(body) {
            return Err("the body does not fit its digest".to_owned());
        }
        let (list, rest) =
            parameters.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or("no list")?;
        let given: HashMap<&str, &str> =
            rest.split(';').filter_map(|parameter| parameter.split_once('=')).collect();
        if given.get("keyid") != Some(&&*format!("\"{}\"", self.agent))
            || given.get("tag") != Some(&"\"outhaul\"")
        {
            return Err(format!("not this agent's: {rest}"));
        }
        let mut base = String::new();
        for component in list.split(' ') {
            let value = match component {
                "\"@status\"" => status.as_u16().to_string(),
                "\"@method\";req" => request.method().to_string(),
                "\"@target-uri\";req" => format!("https://{authority}{}", request.uri()),
                other if other.starts_with("\"signature\";req;key=") => {
                    let sent = one(request.headers(), "signature")?;
                    sent.split_once('=').ok_or("no label")?.1.to_owned()
                }
                field => one(headers, field.trim_end_matches(";tr").trim_matches('"'))?,
            };
            let _ = writeln!(base, "{component}: {value}");
        }
        for must in
            ["\"@status\"", "\"@method\";req", "\"@target-uri\";req", "\"signature\";req;key=\"sig1\""]
        {
            if !list.split(' ').any(|component| component == must) {
                return Err(format!("{must} is not covered"));
            }
        }
        if !list.contains("\"content-digest\"") {
            return Err("the digest is not covered".to_owned());
        }
        if headers.contains_key("outhaul-problem") && !list.contains("\"outhaul-problem\"") {
            return Err("the problem is not covered".to_owned());
        }
        let _ = write!(base, "\"@signature-params\": {parameters}");
        let signature = signature.strip_prefix("outhaul=:").and_then(|rest| rest.strip_suffix(':'));
        let signature = STANDARD.decode(signature.ok_or("no bytes")?).map_err(|error| error.to_string())?;
        UnparsedPublicKey::new(&ED25519, &self.agent_key)
            .verify(base.as_bytes(), &signature)
            .map_err(|_| format!("the agent did not sign this:\n{base}"))
    }
}

impl Draft {
    /// Covers one more field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self.components.push(name.to_owned());
        self
    }

    fn parameters(&self) -> String {
        let list: Vec<String> = self.components.iter().map(|component| format!("\"{component}\"")).collect();
        format!(
            "({});created={};expires={};nonce=\"{}\";keyid=\"{}\";alg=\"ed25519\";tag=\"outhaul\"",
            list.join(" "),
            self.created,
            self.expires,
            self.nonce,
            self.key_id
        )
    }

    fn value(&self, component: &str) -> String {
        match component {
            "@method" => self.method.to_string(),
            "@scheme" => self.scheme.clone(),
            "@authority" => self.authority.to_lowercase(),
            "@request-target" => self.target.clone(),
            "@target-uri" => format!("{}://{}{}", self.scheme, self.authority.to_lowercase(), self.target),
            "@path" => self.target.split('?').next().unwrap().to_owned(),
            "@query" => format!("?{}", self.target.split_once('?').map_or("", |(_, query)| query)),
            name => {
                let field = self.fields.iter().find(|(field, _)| field == name);
                field.map_or_else(String::new, |(_, value)| value.clone())
            }
        }
    }
}
