//! Who calls, and what is proved about it.

use http::HeaderMap;
use http::request::Parts;

use super::signed::{self, Signed};
use super::{Arrival, Site, Way};
use crate::agent::callers::{Authenticated, Callers, Presented, UnknownKey, presented};
use crate::agent::issuers::Known;
use crate::agent::policy::Trust;
use crate::agent::signed::Signing;
use crate::common::act_as::ActAs;
use crate::common::ids::{CallerName, IssuerName};
use crate::common::problem::{Code, Problem};
use crate::identity::signatures;

/// A caller that is known.
pub(super) struct Identified {
    /// Its name.
    pub(super) caller: CallerName,
    /// What way and credential prove together.
    pub(super) trust: Trust,
    /// The person whom the credential itself names; the header may then only name the same.
    pub(super) person: Option<ActAs>,
    /// Whose token says so, where it is a token.
    pub(super) issuer: Option<IssuerName>,
    /// What its signature proves, of a call that is signed.
    pub(super) signed: Option<Signed>,
}

/// Takes note of the key that a request shows to the relay. Before all else, and whatever becomes of the request.
pub(super) async fn note_exposure(headers: &HeaderMap, way: Way, callers: &Callers) {
    if way == Way::Terminated
        && let Presented::Key(key) = presented(headers)
    {
        callers.sent_through_relay(key.expose()).await;
    }
}

/// The caller whose credential a request brings, or the refusal.
///
/// Of a signed call `head` keeps only the fields that were signed.
pub(super) async fn identify(
    head: &mut Parts,
    arrival: &Arrival,
    site: &Site,
    signing: Option<&Signing>,
) -> Result<Identified, Problem> {
    if signatures::is_claimed(&head.headers) {
        return Box::pin(signed::identify(head, arrival, site, signing)).await;
    }
    let trust = arrival.way.trust();
    match presented(&head.headers) {
        Presented::Token(token) => {
            let known = site.issuers.identify(token.expose()).await.map_err(|fault| fault.problem())?;
            let Known { issuer, caller, person } = known.as_ref().clone();
            let trust = Trust { proves_person: person.is_some(), ..trust };
            Ok(Identified { caller, trust, person, issuer: Some(issuer), signed: None })
        }
        Presented::Key(key) => {
            let known = site.callers.authenticate(key.expose()).map_err(UnknownKey::problem)?;
            let Authenticated { caller, key_is_exposed } = known;
            let trust = Trust { key_is_exposed, ..trust };
            Ok(Identified { caller, trust, person: None, issuer: None, signed: None })
        }
        other => Err(other.problem().unwrap_or_else(|| Problem::new(Code::CallerUnknown, "Send a key."))),
    }
}
