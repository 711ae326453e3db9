//! Where a person's browser is sent to consent (RFC 6749, section 4.1.1).

use super::Challenge;

/// An authorization request for a code, with a proof key.
#[derive(Debug, Clone)]
pub struct Authorization<'a> {
    /// The client's id.
    pub client_id: &'a str,
    /// Where the browser comes back to; registered at Jira letter by letter.
    pub redirect_uri: &'a str,
    /// What is asked for; names separated by spaces.
    pub scope: &'a str,
    /// Ties the answer to this request.
    pub state: &'a str,
    /// Of the verifier that will go with the code.
    pub challenge: Challenge,
}

impl Authorization<'_> {
    /// The whole address; `endpoint` is that of the provider, without a query.
    pub fn url(&self, endpoint: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", self.client_id)
            .append_pair("redirect_uri", self.redirect_uri)
            .append_pair("response_type", "code")
            .append_pair("state", self.state)
            .append_pair("scope", self.scope)
            .append_pair("code_challenge", &self.challenge.to_string())
            .append_pair("code_challenge_method", "S256")
            .finish();
        format!("{endpoint}?{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::oauth::Verifier;

    #[test]
    fn every_parameter_is_there_and_encoded() {
        let verifier = Verifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        let authorization = Authorization {
            client_id: "c&d",
            redirect_uri: "https://outhaul.corp.example:8443/oauth/callback",
            scope: "READ WRITE",
            state: "a+b=c",
            challenge: verifier.challenge(),
        };
        assert_eq!(
            authorization.url("https://jira.example/jira/rest/oauth2/latest/authorize"),
            "https://jira.example/jira/rest/oauth2/latest/authorize?client_id=c%26d\
             &redirect_uri=https%3A%2F%2Fouthaul.corp.example%3A8443%2Foauth%2Fcallback&response_type=code\
             &state=a%2Bb%3Dc&scope=READ+WRITE\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
        );
    }
}
