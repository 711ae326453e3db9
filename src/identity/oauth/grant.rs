//! The form of a token request (RFC 6749, sections 4.1.3, 4.4.2 and 6).
//!
//! Id and secret of the client stand in the form (section 2.3.1): Jira's provider documents no other way, and a
//! query would end up in its access log.

use std::fmt;

use super::Verifier;
use crate::common::secret::Secret;

/// The media type of the form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Who asks: the incoming application link at Jira.
#[derive(Clone)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: Secret<String>,
}

/// What tokens are asked for.
#[derive(Debug, Clone)]
pub enum Grant<'a> {
    /// For a code that a person's browser brought.
    AuthorizationCode {
        /// The code. It may live for ten seconds only.
        code: &'a str,
        /// As in the authorization request.
        redirect_uri: &'a str,
        /// Whose challenge was in the authorization request.
        verifier: &'a Verifier,
    },
    /// For a refresh token.
    RefreshToken {
        /// The token; dead once this was answered.
        refresh_token: &'a Secret<String>,
        /// As in the authorization request.
        redirect_uri: &'a str,
    },
    /// For the client itself: a service account.
    ClientCredentials {
        /// What is asked for; names separated by spaces.
        scope: &'a str,
    },
}

impl Grant<'_> {
    /// The body of the request.
    pub fn form(&self, client: &Client) -> Secret<String> {
        let pairs: &[(&str, &str)] = match self {
            Self::AuthorizationCode { code, redirect_uri, verifier } => &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", redirect_uri),
                ("code_verifier", verifier.expose()),
            ],
            Self::RefreshToken { refresh_token, redirect_uri } => &[
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh_token.expose()),
                ("redirect_uri", redirect_uri),
            ],
            Self::ClientCredentials { scope } => &[("grant_type", "client_credentials"), ("scope", scope)],
        };
        form(pairs, client)
    }
}

/// The body of a revocation request (RFC 7009, section 2.1).
pub fn revocation(client: &Client, token: &Secret<String>, hint: &str) -> Secret<String> {
    form(&[("token", token.expose()), ("token_type_hint", hint)], client)
}

fn form(pairs: &[(&str, &str)], client: &Client) -> Secret<String> {
    let client = [("client_id", client.id.as_str()), ("client_secret", client.secret.expose().as_str())];
    let all = || pairs.iter().chain(&client);
    // Three characters for each byte at most: a text that had to grow would leave a copy behind.
    let room = all().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(room));
    form.extend_pairs(all());
    Secret::new(form.finish())
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Client({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grant_has_its_form() {
        let client = Client { id: "outhaul".to_owned(), secret: Secret::new("s&=+ü".to_owned()) };
        let verifier = Verifier::parse(&"v".repeat(43)).unwrap();
        let token = Secret::new("r/1+2==".to_owned());
        let (uri, end) = ("https://a/cb?x=1", "client_id=outhaul&client_secret=s%26%3D%2B%C3%BC");
        let v = "v".repeat(43);
        for (grant, form) in [
            (
                Grant::AuthorizationCode { code: "c d", redirect_uri: uri, verifier: &verifier },
                format!(
                    "grant_type=authorization_code&code=c+d&redirect_uri=https%3A%2F%2Fa%2Fcb%3Fx%3D1\
                     &code_verifier={v}&{end}"
                ),
            ),
            (
                Grant::RefreshToken { refresh_token: &token, redirect_uri: uri },
                format!(
                    "grant_type=refresh_token&refresh_token=r%2F1%2B2%3D%3D\
                     &redirect_uri=https%3A%2F%2Fa%2Fcb%3Fx%3D1&{end}"
                ),
            ),
            (
                Grant::ClientCredentials { scope: "READ WRITE" },
                format!("grant_type=client_credentials&scope=READ+WRITE&{end}"),
            ),
        ] {
            let made = grant.form(&client);
            assert_eq!(made.expose(), &form);
            assert!(!format!("{client:?} {grant:?} {made:?}").contains("r/1"), "nothing secret is shown");
        }
    }
}
