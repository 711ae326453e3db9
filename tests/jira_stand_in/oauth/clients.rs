//! Clients of the provider: what an administrator enters for an incoming application link.

use serde::{Deserialize, Serialize};

use super::Scope;

/// A registered client.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// As the consent page shows it.
    pub(crate) name: String,
    /// The most that may be asked for; names separated by spaces.
    pub(crate) scope: String,
    /// A request must name one of these, letter by letter.
    pub(crate) redirect_uris: Vec<String>,
    /// Who is meant by the client's own credentials.
    pub(crate) service_account: String,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            secret: crate::seed::random_token(),
            name: "Outhaul".to_owned(),
            scope: "WRITE".to_owned(),
            redirect_uris: Vec::new(),
            service_account: "svc-outhaul".to_owned(),
        }
    }
}

impl Client {
    /// `id=…,secret=…,scope=READ+WRITE,redirect=…,redirect=…,name=…,service-account=…`
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut client = Self::default();
        for member in text.split(',') {
            let (name, value) =
                member.split_once('=').ok_or_else(|| format!("“{member}” is not of the form name=value"))?;
            let value = value.to_owned();
            match name {
                "id" => client.id = value,
                "secret" => client.secret = value,
                "name" => client.name = value,
                "scope" => client.scope = value.replace('+', " "),
                "redirect" => client.redirect_uris.push(value),
                "service-account" => client.service_account = value,
                _ => return Err(format!("a client has no “{name}”")),
            }
        }
        client.checked()
    }

    pub(crate) fn checked(self) -> Result<Self, String> {
        if Scope::parse(&self.scope).is_none() {
            return Err(format!("“{}” is no scope: READ, WRITE, ADMIN, SYSTEM_ADMIN", self.scope));
        }
        if self.redirect_uris.is_empty() {
            return Err("a client needs a redirect URI".to_owned());
        }
        Ok(self)
    }

    pub(crate) fn cap(&self) -> Scope {
        Scope::parse(&self.scope).unwrap_or(Scope::Read)
    }
}
