//! The one reading of a request path: parsed once, matched as parsed, sent as matched.
//!
//! Proxies and applications disagree about paths such as `/a/..;/b`, `/a%2fb` or `/a//b`; whoever checks one reading
//! and sends another has no policy. So anything that could be read in two ways is refused here, with the reason, and
//! what is sent is written anew from the very segments that the rules were compared with.
//!
//! The rules, beyond what is refused by name in [`PathFault`]:
//! - A slash at the end is kept, as an empty last segment: `/a/` is not `/a`. `/` alone is one empty segment.
//! - Only the characters that RFC 3986 allows in a segment may stand unencoded; spaces, letters outside ASCII and
//!   the like must be percent-encoded UTF-8. `;` is refused in both spellings, because applications cut there.
//! - Sent unencoded are letters, digits and `-._~!$&'()*,=:@`; all else is `%XX` in capitals.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::common::problem::{Code, Problem};

/// A path with exactly one reading.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    /// The decoded segments, each after a slash; a segment never holds a slash, so this splits without loss.
    decoded: Arc<str>,
    sent: Arc<str>,
}

/// Why a path or query is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathFault {
    /// Does not begin with a slash.
    #[error("the path must begin with /")]
    NotAbsolute,
    /// A whole URL where a path belongs.
    #[error("the request names a whole URL where only its path belongs")]
    AbsoluteForm,
    /// Two slashes in a row.
    #[error("the path holds two slashes in a row")]
    EmptySegment,
    /// `.` or `..`, in any spelling.
    #[error("a segment of the path is . or ..")]
    DotSegment,
    /// `%2F` or `%5C`.
    #[error("the path holds an encoded slash or backslash")]
    EncodedSlash,
    /// A control character, encoded or not.
    #[error("the path holds a control character")]
    Control,
    /// What is still percent-encoded after decoding once.
    #[error("the path is percent-encoded twice")]
    DoubleEncoding,
    /// A path parameter.
    #[error("the path holds a semicolon")]
    Semicolon,
    /// A backslash.
    #[error("the path holds a backslash")]
    Backslash,
    /// `%` without two hex digits.
    #[error("a % in the path is not followed by two hex digits")]
    BadPercent,
    /// Bytes that are no UTF-8.
    #[error("the path is not UTF-8 once decoded")]
    BadUtf8,
    /// A character that must be encoded.
    #[error("the path holds a space or another character that must be percent-encoded")]
    Unencoded,
    /// A `#`.
    #[error("the request target holds a #")]
    Fragment,
    /// Over the limit.
    #[error("the path is longer than {MAX_PATH} bytes")]
    TooLong,
    /// A query with bytes that may not be in one.
    #[error(
        "the query holds a space, a control character or a letter outside ASCII that is not percent-encoded"
    )]
    Query,
    /// Credentials in the query: they would change who the call is made as.
    #[error("the query holds a user name or password for the application")]
    QueryCredentials,
}

impl PathFault {
    /// A stable name, for tests and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAbsolute => "not-absolute",
            Self::AbsoluteForm => "absolute-form",
            Self::EmptySegment => "empty-segment",
            Self::DotSegment => "dot-segment",
            Self::EncodedSlash => "encoded-slash",
            Self::Control => "control",
            Self::DoubleEncoding => "double-encoding",
            Self::Semicolon => "semicolon",
            Self::Backslash => "backslash",
            Self::BadPercent => "bad-percent",
            Self::BadUtf8 => "bad-utf8",
            Self::Unencoded => "unencoded",
            Self::Fragment => "fragment",
            Self::TooLong => "too-long",
            Self::Query => "query",
            Self::QueryCredentials => "query-credentials",
        }
    }

    /// The refusal that the caller sees.
    pub fn problem(self) -> Problem {
        let code = match self {
            Self::Query | Self::QueryCredentials | Self::AbsoluteForm | Self::NotAbsolute | Self::TooLong => {
                Code::BadRequest
            }
            _ => Code::AmbiguousPath,
        };
        let remedy = match self {
            Self::QueryCredentials => "Send only your own key; the agent adds the application's credentials.",
            Self::Query | Self::Unencoded => "Percent-encode it as UTF-8.",
            Self::TooLong => "Send a shorter path.",
            _ => "Send the path in its plain form.",
        };
        let sentence = self.to_string();
        let mut letters = sentence.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter();
        let sentence: String = first.chain(letters).collect();
        Problem::new(code, format!("{sentence}. {remedy}")).with_extra("reason", self.as_str())
    }
}

impl CanonicalPath {
    /// Reads a path as it stands in a request, without its query.
    pub fn parse(raw: &str) -> Result<Self, PathFault> {
        if raw.len() > MAX_PATH {
            return Err(PathFault::TooLong);
        }
        let Some(rest) = raw.strip_prefix('/') else {
            return Err(match raw.split_once("://") {
                Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    PathFault::AbsoluteForm
                }
                _ => PathFault::NotAbsolute,
            });
        };
        if is_plain(raw) {
            let path: Arc<str> = raw.into();
            return Ok(Self { decoded: Arc::clone(&path), sent: path });
        }
        let mut decoded = String::with_capacity(raw.len());
        let mut sent = String::with_capacity(raw.len());
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err(PathFault::EmptySegment);
            }
            let segment = decode(segment)?;
            decoded.push('/');
            decoded.push_str(&segment);
            sent.push('/');
            encode(&segment, &mut sent);
        }
        Ok(Self { decoded: decoded.into(), sent: sent.into() })
    }

    /// The decoded segments. There is always at least one; only the last may be empty.
    pub fn segments(&self) -> impl Iterator<Item = &str> + Clone {
        // Byte by byte: each call walks its path several times, and a search made for long texts takes longer.
        let mut rest = self.decoded.get(1..);
        std::iter::from_fn(move || {
            let whole = rest?;
            let Some(end) = whole.bytes().position(|byte| byte == b'/') else { return rest.take() };
            rest = whole.get(end + 1..);
            whole.get(..end)
        })
    }

    /// The path to send: written from the segments, with one spelling for each.
    pub fn as_str(&self) -> &str {
        &self.sent
    }
}

impl std::fmt::Display for CanonicalPath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.sent)
    }
}

/// Whether the path is already what the careful reading would make of it: most are. A dot begins no segment here, so that
/// none can be `.` or `..`.
fn is_plain(raw: &str) -> bool {
    let mut before = 0;
    raw.bytes().all(|byte| {
        let after_slash = std::mem::replace(&mut before, byte) == b'/';
        match byte {
            b'/' | b'.' => !after_slash,
            b'+' => false,
            _ => is_segment_byte(byte),
        }
    })
}

fn decode(segment: &str) -> Result<String, PathFault> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let hex = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                let (Some(high), Some(low)) = hex else { return Err(PathFault::BadPercent) };
                match high << 4 | low {
                    b'/' | b'\\' => return Err(PathFault::EncodedSlash),
                    byte => byte,
                }
            }
            b'\\' => return Err(PathFault::Backslash),
            b'#' => return Err(PathFault::Fragment),
            b';' => return Err(PathFault::Semicolon),
            0..=0x1f | 0x7f => return Err(PathFault::Control),
            _ if is_segment_byte(byte) => byte,
            _ => return Err(PathFault::Unencoded),
        };
        decoded.push(byte);
    }
    let decoded = String::from_utf8(decoded).map_err(|_| PathFault::BadUtf8)?;
    if decoded == "." || decoded == ".." {
        return Err(PathFault::DotSegment);
    }
    if decoded.contains(';') {
        return Err(PathFault::Semicolon);
    }
    if decoded.chars().any(char::is_control) {
        return Err(PathFault::Control);
    }
    let is_hex = |byte: Option<&u8>| byte.copied().and_then(hex).is_some();
    let twice =
        |triple: &[u8]| triple.first() == Some(&b'%') && is_hex(triple.get(1)) && is_hex(triple.get(2));
    if decoded.as_bytes().windows(3).any(twice) {
        return Err(PathFault::DoubleEncoding);
    }
    Ok(decoded)
}

fn encode(segment: &str, sent: &mut String) {
    for byte in segment.bytes() {
        // A + is a space to some decoders, so it never stands unencoded.
        if is_segment_byte(byte) && byte != b'+' {
            sent.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(sent, "%{byte:02X}");
        }
    }
}

/// `pchar` of RFC 3986, section 3.3, without `%` and `;`.
fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// No path is longer.
pub const MAX_PATH: usize = 8 << 10;

#[cfg(test)]
mod tests;
