//! The value of an `issue` property (RFC 8659 section 4.2), with the parameters of RFC 8657.

/// What it says. One that is malformed lets nobody issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issue<'a> {
    /// The authority; empty: nobody.
    pub(super) issuer: &'a str,
    /// `accounturi`.
    pub(super) account: Option<&'a str>,
    /// `validationmethods`.
    pub(super) methods: Option<Vec<&'a str>>,
}

impl<'a> Issue<'a> {
    /// Reads it; nothing where it is malformed.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split(';').map(|part| part.trim_matches(SPACE));
        let issuer = parts.next()?;
        if !issuer.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) {
            return None;
        }
        let mut issue = Self { issuer, account: None, methods: None };
        for part in parts.filter(|part| !part.is_empty()) {
            let (tag, value) = part.split_once('=')?;
            let (tag, value) = (tag.trim_matches(SPACE), value.trim_matches(SPACE));
            if tag.is_empty() || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return None;
            }
            if !fits(value) {
                return None;
            }
            // Given twice it binds to nothing that can be met (RFC 8657 sections 3 and 4).
            if tag.eq_ignore_ascii_case("accounturi") {
                if issue.account.replace(value).is_some() {
                    return None;
                }
            } else if tag.eq_ignore_ascii_case("validationmethods")
                && issue.methods.replace(value.split(',').collect()).is_some()
            {
                return None;
            }
        }
        Some(issue)
    }
}

/// Whether a text can be the value of a parameter.
pub(super) fn fits(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, 0x21..=0x3a | 0x3c..=0x7e))
}

const SPACE: [char; 2] = [' ', '\t'];
