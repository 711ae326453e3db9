//! The head of an agent's audit chain, signed: what an agent anchors and a relay or an auditor checks.
//!
//! The chain itself is the agent's (`docs/audit.md`). Whoever keeps a signed head can tell later whether the records
//! up to it were changed or cut off.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::keys::{PublicKey, Signature, SigningKey};
use crate::common::ids::AgentId;

/// The state of a chain after a record: SHA-256 of the state before and the record's bytes. Shows as hexadecimal
/// digits, as every tool for SHA-256 does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChainHead(pub [u8; 32]);

/// A text that is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a head of the audit chain is 64 hexadecimal digits")]
pub struct HeadFault;

impl ChainHead {
    /// The head after one more record.
    #[must_use]
    pub fn then(&self, record: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(record);
        let mut bytes = [0; 32];
        // SHA-256 gives 32 bytes, whatever goes in.
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

impl fmt::Display for ChainHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for ChainHead {
    type Err = HeadFault;
    fn from_str(text: &str) -> Result<Self, HeadFault> {
        let digits = text.as_bytes();
        let mut head = Self::default();
        if digits.len() != 64 {
            return Err(HeadFault);
        }
        for (byte, pair) in head.0.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16).ok_or(HeadFault)?;
                *byte = *byte << 4 | u8::try_from(value).map_err(|_| HeadFault)?;
            }
        }
        Ok(head)
    }
}

impl TryFrom<String> for ChainHead {
    type Error = HeadFault;
    fn try_from(text: String) -> Result<Self, HeadFault> {
        text.parse()
    }
}

impl From<ChainHead> for String {
    fn from(head: ChainHead) -> Self {
        head.to_string()
    }
}

/// A chain's head, signed by its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// How many records the chain has had.
    pub number: u64,
    /// Its head after that one.
    pub head: ChainHead,
    /// When it was signed, by the agent's clock. Milliseconds since 1970.
    pub time: u64,
    /// By the agent's identity key.
    pub signature: Signature,
}

/// What a head means beside an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// Records were added, as they should be.
    Newer,
    /// It is the same.
    Same,
    /// As many records, but not the same ones.
    Rewritten,
    /// Records that were there are not there any more.
    WentBack,
}

impl SignedHead {
    /// Signs a head.
    pub fn sign(agent: AgentId, key: &SigningKey, number: u64, head: ChainHead, time: u64) -> Self {
        Self { number, head, time, signature: key.sign(&text(agent, number, &head, time)) }
    }

    /// What a head means beside the highest one that was seen of the same agent.
    pub fn beside(&self, kept: &Self) -> Succession {
        match self.number.cmp(&kept.number) {
            Ordering::Greater => Succession::Newer,
            Ordering::Equal if self.head == kept.head => Succession::Same,
            Ordering::Equal => Succession::Rewritten,
            Ordering::Less => Succession::WentBack,
        }
    }

    /// Whether this agent's key signed it.
    pub fn is_by(&self, agent: AgentId, key: &PublicKey) -> bool {
        key.verifies(&text(agent, self.number, &self.head, self.time), &self.signature.0)
    }
}

/// What is signed. Its first line keeps it apart from all else that the key signs.
fn text(agent: AgentId, number: u64, head: &ChainHead, time: u64) -> Vec<u8> {
    format!("outhaul audit head v1\n{agent}\n{number}\n{head}\n{time}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_what_any_sha256_gives() {
        // Python: hashlib.sha256(bytes(32) + b'{"n":1}').hexdigest()
        let head = ChainHead::default().then(br#"{"n":1}"#);
        assert_eq!(head.to_string(), "29cecc91e68d3dffede939118bf4bbc6d970cf01aa0b9e6bde45692fabfdf661");
        assert_eq!(head.to_string().parse::<ChainHead>().unwrap(), head);
        for bad in ["", "ab", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert!(bad.parse::<ChainHead>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signature_holds_for_all_that_is_said_and_for_one_agent() {
        let (key, _) = SigningKey::generate().unwrap();
        let agent = AgentId::generate();
        let signed = SignedHead::sign(agent, &key, 7, ChainHead([7; 32]), 1000);
        assert!(signed.is_by(agent, &key.public()));
        let (other, _) = SigningKey::generate().unwrap();
        assert!(!signed.is_by(AgentId::generate(), &key.public()));
        assert!(!signed.is_by(agent, &other.public()));
        for changed in [
            SignedHead { number: 8, ..signed },
            SignedHead { head: ChainHead([8; 32]), ..signed },
            SignedHead { time: 1001, ..signed },
        ] {
            assert!(!changed.is_by(agent, &key.public()));
        }
        let json = serde_json::to_string(&signed).unwrap();
        assert_eq!(serde_json::from_str::<SignedHead>(&json).unwrap(), signed);
    }

    #[test]
    fn what_went_back_or_was_rewritten_is_told_from_what_grew() {
        let (key, _) = SigningKey::generate().unwrap();
        let signed =
            |number, byte| SignedHead::sign(AgentId::generate(), &key, number, ChainHead([byte; 32]), 1);
        let kept = signed(7, 7);
        for (head, means) in [
            (signed(8, 7), Succession::Newer),
            (signed(7, 7), Succession::Same),
            (signed(7, 8), Succession::Rewritten),
            (signed(6, 6), Succession::WentBack),
        ] {
            assert_eq!(head.beside(&kept), means);
        }
    }
}
