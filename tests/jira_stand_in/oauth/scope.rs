//! What an OAuth access token may do: never more than its user may, and no more than its scope.

use http::Method;

use crate::app::App;
use crate::identity::{Means, Who};
use crate::wire::{Fault, code};

/// Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Read,
    Write,
    Admin,
    SystemAdmin,
}

const NAMES: [(Scope, &str); 4] = [
    (Scope::Read, "READ"),
    (Scope::Write, "WRITE"),
    (Scope::Admin, "ADMIN"),
    (Scope::SystemAdmin, "SYSTEM_ADMIN"),
];

impl Scope {
    /// The widest of the names, which are separated by spaces; nothing if there is none or an unknown one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let one = |name: &str| NAMES.iter().find(|(_, known)| *known == name).map(|(scope, _)| *scope);
        let all: Option<Vec<Self>> = text.split(' ').filter(|name| !name.is_empty()).map(one).collect();
        all?.into_iter().max()
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(scope, _)| *scope == self).map_or("", |(_, name)| name)
    }
}

/// The refusal of what a caller's scope does not cover.
pub(crate) fn refusal(app: &App, who: &Who, method: &Method, path: &str) -> Option<Fault> {
    let Who::User { by: Means::OAuth { scope, service }, .. } = who else { return None };
    let refused = |message: &str| Some(Fault::Message(code(403), message.to_owned()));
    let open = path.starts_with("/rest/api/2/") || app.is("service-account-paths", "any");
    if *service && !open {
        return refused("A service account may not call this resource.");
    }
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || path.ends_with("/search");
    if *scope < Scope::Write && !reads {
        return refused("The scope of this token does not allow changes.");
    }
    None
}
