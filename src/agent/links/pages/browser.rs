//! The cookie by which a browser is known again.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::agent::links::attempt::{CODE_LIFE, LIFE};
use crate::agent::links::secrets::Token;

/// Reads and writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jar {
    is_tls: bool,
}

impl Jar {
    pub(super) fn new(is_tls: bool) -> Self {
        Self { is_tls }
    }

    /// With the prefix no other host, and no page in the clear, can set it (RFC 6265bis, section 4.1.3.2). In the clear
    /// it is for development on one machine only.
    fn name(self) -> &'static str {
        if self.is_tls { "__Host-outhaul-link" } else { "outhaul-link-development" }
    }

    /// The browser's; none if there are several, since one of them was planted.
    pub(super) fn read(self, headers: &HeaderMap) -> Option<Token> {
        let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = pairs
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name());
        match (values.next(), values.next()) {
            (Some((_, value)), None) => value.parse().ok(),
            _ => None,
        }
    }

    /// A fresh one. `Lax`, because the application's answer comes by a link from its host.
    pub(super) fn write(self, browser: &Token) -> Option<HeaderValue> {
        let (name, value) = (self.name(), browser.expose());
        let secure = if self.is_tls { "; Secure" } else { "" };
        let life = (LIFE + CODE_LIFE).as_secs();
        let text =
            format!("{name}={}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax{secure}", value.expose());
        let mut cookie = HeaderValue::from_str(&text).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_is_read_and_two_are_none() {
        let jar = Jar::new(true);
        let token = Token::generate().unwrap();
        let set = jar.write(&token).unwrap();
        let text = set.to_str().unwrap();
        assert!(text.starts_with("__Host-outhaul-link=") && text.contains("; Path=/;"), "{text}");
        assert!(text.ends_with("; HttpOnly; SameSite=Lax; Secure") && !text.contains("Domain"), "{text}");
        let pair = text.split(';').next().unwrap();
        let headers = |lines: &[&str]| {
            lines.iter().map(|line| (header::COOKIE, line.parse().unwrap())).collect::<HeaderMap>()
        };
        let found = |lines: &[&str]| jar.read(&headers(lines)).map(|token| token.hash());
        assert_eq!(found(&[pair]), Some(token.hash()));
        assert_eq!(found(&[&format!("a=b; {pair}; c=d")]), Some(token.hash()));
        assert_eq!(found(&["x=y", pair]), Some(token.hash()));
        for lines in
            [&[][..], &["a=b"], &[&format!("{pair}; {pair}")], &[pair, pair], &["__Host-outhaul-link=x"]]
        {
            assert_eq!(found(lines), None, "{lines:?}");
        }
        assert_eq!(Jar::new(false).read(&headers(&[pair])).map(|token| token.hash()), None);
    }
}
