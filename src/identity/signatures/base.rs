//! The signature base (RFC 9421, section 2.5): what is really signed, line by line.

use http::{HeaderMap, HeaderName, Method};

use super::SignatureFault;

/// Where a request goes, as its caller wrote it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The method.
    pub method: &'a Method,
    /// `https` or `http`.
    pub scheme: &'a str,
    /// Host and port.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
}

impl Target<'_> {
    /// The value of a derived component (RFC 9421, section 2.2); none of one that is not of the profile.
    pub(super) fn derived(&self, name: &str) -> Result<Option<String>, SignatureFault> {
        Ok(Some(match name {
            "@method" => self.method.as_str().to_owned(),
            "@scheme" => self.scheme.to_owned(),
            "@authority" => self.host()?,
            "@target-uri" => self.uri()?,
            "@request-target" => self.path_and_query()?.to_owned(),
            "@path" => split(self.path_and_query()?).0.to_owned(),
            // A bare question mark and none at all have the same value; so these never stand for the target alone.
            "@query" => format!("?{}", split(self.path_and_query()?).1),
            _ => return Ok(None),
        }))
    }

    /// The whole address. It can be taken apart in one way only: no host holds a slash, and every target begins with one.
    pub(super) fn uri(&self) -> Result<String, SignatureFault> {
        Ok(format!("{}://{}{}", self.scheme, self.host()?, self.path_and_query()?))
    }

    /// In lower case and without the scheme's own port (RFC 9421, section 2.2.3).
    fn host(&self) -> Result<String, SignatureFault> {
        let fault = SignatureFault::Target("host");
        let part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:".contains(&byte);
        if self.authority.is_empty() || self.authority.len() > MAX_HOST || !self.authority.bytes().all(part) {
            return Err(fault);
        }
        let host = self.authority.to_ascii_lowercase();
        let own = if self.scheme == "https" { ":443" } else { ":80" };
        let bare = host.strip_suffix(own).or_else(|| host.strip_suffix(':')).unwrap_or(&host);
        if bare.is_empty() || bare.ends_with(':') { Err(fault) } else { Ok(bare.to_owned()) }
    }

    /// Byte for byte. A fragment is no part of a request, and what reads it would not agree.
    fn path_and_query(&self) -> Result<&str, SignatureFault> {
        let visible = self.target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if self.target.starts_with('/') && visible {
            Ok(self.target)
        } else {
            Err(SignatureFault::Target("path"))
        }
    }
}

fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// The value of a field that is there once, without white space around it (RFC 9421, section 2.1). A field in several
/// lines can be joined and split on the way, so it is refused.
pub(super) fn field<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, SignatureFault> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(SignatureFault::NotOnce(name.to_string()));
    };
    let bytes = value.as_bytes();
    if !bytes.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t')) {
        return Err(SignatureFault::Bytes(name.to_string()));
    }
    std::str::from_utf8(bytes.trim_ascii()).map_err(|_| SignatureFault::Bytes(name.to_string()))
}

/// One line. The identifier is written as in the list of components.
pub(super) fn line(base: &mut String, identifier: &str, value: &str) {
    base.push_str(identifier);
    base.push_str(": ");
    base.push_str(value);
    base.push('\n');
}

/// The last line, which has no end of its own.
pub(super) fn close(base: &mut String, parameters: &str) {
    base.push_str("\"@signature-params\": ");
    base.push_str(parameters);
}

/// A host name has at most 253 characters (RFC 1035, section 2.3.4), and a port six.
const MAX_HOST: usize = 260;
