//! The public keys of an issuer (RFC 7517): which of them may verify which token.
//!
//! [`KeySet::read`] takes what it can use and says of each other key why not: an issuer may have keys for other
//! purposes. A key is for one kind of algorithm by its own type, and for one algorithm only where it says so.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::jws::{Algorithm, MAX_KEY_NAME, Material};
use crate::common::strict_json;

/// The usable keys of an issuer.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    ignored: Vec<String>,
}

/// A document that is no key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Too large.
    #[error("the key set is larger than {} KB", MAX_SET >> 10)]
    Size,
    /// No JSON, or one with two readings.
    #[error("the key set can't be read: {0}")]
    Json(String),
    /// Not of its form.
    #[error("the document is no key set: it has no list `keys`")]
    Shape,
    /// Too many keys.
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooMany,
    /// None that can be used.
    #[error("the key set has no key that can verify a token{0}")]
    Empty(String),
}

/// Why no key is there for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum Missing {
    /// None of this name.
    Unknown,
    /// It is for something else.
    Unfit,
    /// The token gives no name, and not exactly one key could be meant.
    Unnamed,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    name: Option<String>,
    only: Option<Algorithm>,
    material: Material,
}

impl KeySet {
    /// Reads a document.
    pub fn read(bytes: &[u8]) -> Result<Self, KeySetFault> {
        if bytes.len() > MAX_SET {
            return Err(KeySetFault::Size);
        }
        let read = strict_json::read(bytes, MAX_DEPTH);
        let document =
            read.map_err(|error| KeySetFault::Json(error.to_string().chars().take(200).collect()))?;
        let Some(Value::Array(keys)) = document.get("keys") else { return Err(KeySetFault::Shape) };
        if keys.len() > MAX_KEYS {
            return Err(KeySetFault::TooMany);
        }
        let mut set = Self::default();
        for (index, key) in keys.iter().enumerate() {
            match Key::read(key) {
                Ok(key) => set.keys.push(key),
                Err(why) => set.ignored.push(format!("{}: {why}", shown(key, index))),
            }
        }
        if set.keys.is_empty() {
            let why = set.ignored.first().map(|why| format!(" ({why})"));
            return Err(KeySetFault::Empty(why.unwrap_or_default()));
        }
        Ok(set)
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that can't be used, and why, for people.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The keys that may have signed a token of this algorithm that names this key. A name may stand for several, one
    /// for each algorithm; a token without a name is taken only where one key can be meant.
    pub(in crate::identity) fn candidates(
        &self,
        name: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<&Material>, Missing> {
        let fits =
            |key: &&Key| algorithm.takes(&key.material) && key.only.is_none_or(|only| only == algorithm);
        let Some(name) = name else {
            let mut all = self.keys.iter().filter(fits);
            return match (all.next(), all.next()) {
                (Some(only), None) => Ok(vec![&only.material]),
                _ => Err(Missing::Unnamed),
            };
        };
        let mut named = self.keys.iter().filter(|key| key.name.as_deref() == Some(name)).peekable();
        if named.peek().is_none() {
            return Err(Missing::Unknown);
        }
        let fitting: Vec<_> = named.filter(fits).take(MAX_SAME).map(|key| &key.material).collect();
        if fitting.is_empty() { Err(Missing::Unfit) } else { Ok(fitting) }
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.keys.iter().map(|key| &key.name)).finish()
    }
}

impl Key {
    fn read(key: &Value) -> Result<Self, &'static str> {
        let Value::Object(members) = key else { return Err("it is no JSON object") };
        if ["d", "p", "q", "k"].iter().any(|secret| members.contains_key(*secret)) {
            return Err("it holds a secret or private key, which must never be published");
        }
        match members.get("use") {
            None => {}
            Some(Value::String(purpose)) if purpose == "sig" => {}
            Some(_) => return Err("it is not for signatures (use)"),
        }
        match members.get("key_ops") {
            None => {}
            Some(Value::Array(operations)) if operations.iter().any(|one| one == "verify") => {}
            Some(_) => return Err("it is not for verifying (key_ops)"),
        }
        let name = match members.get("kid") {
            None => None,
            Some(Value::String(name)) if name.len() <= MAX_KEY_NAME => Some(name.clone()),
            Some(_) => return Err("its name (kid) is no text, or too long"),
        };
        let only = match members.get("alg") {
            None => None,
            Some(Value::String(name)) => {
                Some(name.parse::<Algorithm>().map_err(|_| "its algorithm (alg) is not taken")?)
            }
            Some(_) => return Err("its algorithm (alg) is no text"),
        };
        let material = material(members)?;
        if only.is_some_and(|only| !only.takes(&material)) {
            return Err("its algorithm (alg) is not for its type (kty)");
        }
        Ok(Self { name, only, material })
    }
}

fn material(members: &Map<String, Value>) -> Result<Material, &'static str> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            let (n, e) = (bytes(members, "n")?, bytes(members, "e")?);
            if !(256..=1024).contains(&n.len()) || bits(&n) < 2048 {
                return Err("an RSA key must have 2048 to 8192 bits");
            }
            if bits(&e) < 17 || bits(&e) > 33 || e.last().is_none_or(|last| last % 2 == 0) {
                // FIPS 186-5, section 5.1, and what the verifier takes at most.
                return Err("an RSA exponent must be odd, above 65536 and of at most 33 bits");
            }
            Ok(Material::Rsa { n, e })
        }
        (Some("EC"), Some("P-256")) => point(members, 32).map(Material::P256),
        (Some("EC"), Some("P-384")) => point(members, 48).map(Material::P384),
        (Some("OKP"), Some("Ed25519")) => {
            let key = bytes(members, "x")?;
            if key.len() == 32 { Ok(Material::Ed25519(key)) } else { Err("an Ed25519 key has 32 bytes") }
        }
        (Some("EC" | "OKP"), _) => Err("its curve (crv) is not taken: P-256, P-384 and Ed25519 are"),
        _ => Err("its type (kty) is not taken: RSA, EC and OKP are"),
    }
}

/// An uncompressed point (SEC 1, section 2.3.3). Whether it lies on the curve is asked when it is used.
fn point(members: &Map<String, Value>, width: usize) -> Result<Vec<u8>, &'static str> {
    let (x, y) = (bytes(members, "x")?, bytes(members, "y")?);
    // RFC 7518, section 6.2.1.2: whole width, zeros in front kept.
    if x.len() != width || y.len() != width {
        return Err("its coordinates are not of the curve's width");
    }
    Ok([&[4][..], &x, &y].concat())
}

fn bytes(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, &'static str> {
    let text = members.get(name).and_then(Value::as_str).ok_or("a part of it is missing")?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| "a part of it is not base64url")?;
    // Numbers have no zero in front (RFC 7518, section 6.3.1), but some programs write the one of a sign.
    match (name, bytes.split_first()) {
        ("n" | "e", Some((0, rest))) if rest.first().is_some_and(|first| *first != 0) => Ok(rest.to_vec()),
        _ => Ok(bytes),
    }
}

/// How many bits a number has.
fn bits(number: &[u8]) -> usize {
    let Some(first) = number.first() else { return 0 };
    (8 * number.len()).saturating_sub(first.leading_zeros() as usize)
}

fn shown(key: &Value, index: usize) -> String {
    match key.get("kid").and_then(Value::as_str) {
        Some(name) => {
            format!("key “{}”", name.chars().take(60).flat_map(char::escape_debug).collect::<String>())
        }
        None => format!("key {}", index + 1),
    }
}

/// No key set is larger, in bytes.
pub const MAX_SET: usize = 256 << 10;
/// No key set has more keys.
pub const MAX_KEYS: usize = 100;
const MAX_DEPTH: usize = 8;
/// Of keys with the same name and kind, so many are tried.
const MAX_SAME: usize = 4;

#[cfg(test)]
mod tests;
