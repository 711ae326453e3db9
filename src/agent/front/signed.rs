//! A signed call: who made it, that it is meant for us and comes once, and what of it counts.

use http::header;
use http::request::Parts;

use super::caller::Identified;
use super::{Arrival, Site};
use crate::agent::callers::UnknownSigner;
use crate::agent::policy::Trust;
use crate::agent::proxy::headers;
use crate::agent::signed::{Signing, wrong};
use crate::common::problem::{Code, Problem};
use crate::identity::signatures::{Binding, Claim, Digests, SignatureFault, Target};

/// What a signature proved, beside who calls.
pub(super) struct Signed {
    /// What the body must be.
    pub(super) digests: Digests,
    /// The key that made it.
    pub(super) key_id: String,
    /// What the answer is bound to.
    pub(super) binding: Binding,
    /// The caller takes trailers, as whoever brought the call says.
    pub(super) takes_trailers: bool,
}

/// The caller who signed a request, or the refusal. From here on the request has no field but those that were signed,
/// and the length of its body.
pub(super) async fn identify(
    head: &mut Parts,
    arrival: &Arrival,
    site: &Site,
    signing: Option<&Signing>,
) -> Result<Identified, Problem> {
    let Some(signing) = signing else {
        return Err(Problem::new(
            Code::SignatureInvalid,
            "This agent has no key to answer a signed call by.",
        ));
    };
    if head.headers.contains_key(header::AUTHORIZATION) {
        let text = "The call is signed and brings a key in Authorization too. Send one of them.";
        return Err(Problem::new(Code::BadRequest, text).with_extra("reason", "signature"));
    }
    let claim = Claim::read(&head.headers).map_err(|fault| wrong(&fault))?;
    let target = Target {
        method: &head.method,
        scheme: arrival.scheme.as_str(),
        authority: &arrival.authority,
        target: &arrival.target,
    };
    let covered = claim.cover(target, &head.headers, signing.agent()).map_err(|fault| wrong(&fault))?;
    let found = site.callers.signer(&claim.key_id, |key| covered.is_signed_by(key));
    let caller = found.map_err(|unknown| match unknown {
        UnknownSigner::Wrong => wrong(&SignatureFault::Wrong),
        UnknownSigner::NoKey => Problem::new(
            Code::SignatureInvalid,
            "The keyid is not that of a caller's public key here, or no longer. Get one with `outhaul-agent caller add \
             NAME --public-key FILE` on the site.",
        ),
    })?;
    signing.admit(&caller, &claim).await?;
    let takes_trailers = headers::takes_trailers(&head.headers);
    head.headers = covered.headers;
    let (digests, binding) = (covered.digests, covered.binding);
    let signed = Signed { digests, key_id: claim.key_id, binding, takes_trailers };
    let trust = Trust { is_signed: true, ..arrival.way.trust() };
    Ok(Identified { caller, trust, person: None, issuer: None, signed: Some(signed) })
}

/// A body that is not the one that was signed; nothing of it was sent.
pub(super) fn mismatch() -> Problem {
    Problem::new(
        Code::DigestMismatch,
        "The body does not fit Content-Digest: it was changed on the way, or signed wrongly. Nothing was sent.",
    )
}
