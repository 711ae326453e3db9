//! What a browser and a caller must bring: made here from random bytes, and kept by the agent as hashes only.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use crate::agent::store::tables::links::Hash;
use crate::common::ids::LinkId;
use crate::common::secret::Secret;
use crate::identity::encoded::{Encoded, EncodingFault, RandomFault};

/// 256 random bits, as base64url: the last part of an address, an OAuth `state`, or the cookie of a browser.
#[derive(Clone)]
pub(super) struct Token(Secret<[u8; 32]>);

impl Token {
    /// A fresh one.
    pub(super) fn generate() -> Result<Self, RandomFault> {
        Ok(Self(Secret::new(Encoded::<32>::random()?.0)))
    }

    /// What is kept of it.
    pub(super) fn hash(&self) -> Hash {
        Hash::sha256(&[self.0.expose()])
    }

    /// The characters, for the browser.
    pub(super) fn expose(&self) -> Secret<String> {
        Secret::new(URL_SAFE_NO_PAD.encode(self.0.expose()))
    }

    /// What a form must bring beside this cookie: nobody but the page that was given to this browser knows it.
    pub(super) fn form_token(&self, link: LinkId) -> String {
        URL_SAFE_NO_PAD.encode(self.sign(link).as_ref())
    }

    /// Whether a form brings it.
    pub(super) fn is_form_token(&self, link: LinkId, given: &str) -> bool {
        let known = self.form_token(link);
        bool::from(known.as_bytes().ct_eq(given.as_bytes()))
    }

    fn sign(&self, link: LinkId) -> hmac::Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        let mut context = hmac::Context::with_key(&key);
        context.update(b"outhaul link form\0");
        context.update(link.as_bytes());
        context.sign()
    }
}

impl FromStr for Token {
    type Err = EncodingFault;
    fn from_str(text: &str) -> Result<Self, EncodingFault> {
        Ok(Self(Secret::new(text.parse::<Encoded<32>>()?.0)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// What a person gives back through the caller: 40 random bits, as eight letters and digits that are not taken for
/// each other. Small and capital letters are the same, and so are `O` and `0`, `I`, `L` and `1`.
#[derive(Clone)]
pub(super) struct Code(Secret<String>);

/// A text that can't be a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code is eight letters and digits, as in 7KQM-2X9D")]
pub(super) struct CodeFault;

impl Code {
    /// A fresh one.
    pub(super) fn generate() -> Result<Self, RandomFault> {
        let bytes = Encoded::<5>::random()?;
        let bits = bytes.0.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        let letter = |place: u32| {
            let index = usize::try_from(bits >> (5 * place) & 31).unwrap_or(0);
            char::from(ALPHABET.get(index).copied().unwrap_or(b'0'))
        };
        Ok(Self(Secret::new((0..LENGTH).rev().map(letter).collect())))
    }

    /// What is kept of it, bound to the attempt.
    pub(super) fn hash(&self, link: LinkId) -> Hash {
        Hash::sha256(&[b"outhaul link code\0", link.as_bytes(), self.0.expose().as_bytes()])
    }

    /// In two groups, for a page.
    pub(super) fn shown(&self) -> String {
        let (first, second) = self.0.expose().split_at_checked(4).unwrap_or_default();
        format!("{first}-{second}")
    }
}

impl FromStr for Code {
    type Err = CodeFault;
    fn from_str(text: &str) -> Result<Self, CodeFault> {
        if text.len() > MAX_TYPED {
            return Err(CodeFault);
        }
        let typed = text.chars().filter(|one| !one.is_whitespace() && !matches!(one, '-' | '–'));
        let read = typed.map(|one| match one.to_ascii_uppercase() {
            'O' => Some('0'),
            'I' | 'L' => Some('1'),
            one => u8::try_from(one).is_ok_and(|byte| ALPHABET.contains(&byte)).then_some(one),
        });
        let code: String = read.collect::<Option<_>>().ok_or(CodeFault)?;
        if code.len() == LENGTH as usize { Ok(Self(Secret::new(code))) } else { Err(CodeFault) }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Code(…)")
    }
}

/// Without I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: u32 = 8;
/// People type spaces and hyphens too.
const MAX_TYPED: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let link = LinkId::generate();
        let code: Code = "7KQM-01XD".parse().unwrap();
        for typed in ["7KQM01XD", "7kqm 01xd", " 7kqm-OIxd\n", "7 k q m – o l x d"] {
            assert_eq!(typed.parse::<Code>().unwrap().hash(link), code.hash(link), "{typed}");
        }
        for typed in ["", "7KQM01X", "7KQM01XDD", "7KQM01XU", "7KQM01X!", "7KQM01Xé", &"-".repeat(50)] {
            assert!(typed.parse::<Code>().is_err(), "{typed}");
        }
        assert_ne!(code.hash(link), code.hash(LinkId::generate()), "a code is one attempt's");
    }

    #[test]
    fn fresh_ones_differ_and_read_back() {
        let (one, other) = (Code::generate().unwrap(), Code::generate().unwrap());
        assert_ne!(one.shown(), other.shown());
        assert_eq!(one.shown().len(), 9);
        let link = LinkId::generate();
        assert_eq!(one.shown().parse::<Code>().unwrap().hash(link), one.hash(link));
        let token = Token::generate().unwrap();
        assert_eq!(token.expose().expose().parse::<Token>().unwrap().hash(), token.hash());
        assert!(!format!("{one:?} {token:?}").contains(&one.shown()));
    }

    #[test]
    fn a_form_is_of_one_browser_and_one_attempt() {
        let (browser, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        let (link, another) = (LinkId::generate(), LinkId::generate());
        let given = browser.form_token(link);
        assert!(browser.is_form_token(link, &given));
        assert!(!browser.is_form_token(another, &given));
        assert!(!other.is_form_token(link, &given));
        assert!(!browser.is_form_token(link, ""));
    }
}
