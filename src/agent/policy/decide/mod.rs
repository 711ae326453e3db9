//! The decision.

mod permit;

use std::sync::Arc;
use std::time::Instant;

use crate::common::limits::ByteSize;

use super::query::Reading;
use super::refusal::{self, Reason, Refusal, Unclear};
use super::{
    Call, Compiled, Denial, GUARDED_DEMANDS, Identity, Lack, MediaType, Meters, Methods, Policy, Rule, Trust,
    always_denied, guarded,
};
pub use permit::Permit;

/// Decides a call and counts it where its rule has a rate.
pub fn authorise(policy: &Policy, meters: &Meters, call: Call, now: Instant) -> Result<Permit, Refusal> {
    let rule = match decide(policy, &call) {
        Ok(rule) => rule,
        Err(reason) => return Err(Refusal::new(call, reason)),
    };
    if let Some(rate) = rule.terms().rate
        && let Err(wait) = meters.take(rule.fingerprint(), rate, call.caller.as_ref(), now)
    {
        return Err(Refusal::new(call, Reason::Rate { rule: Arc::clone(rule), wait }));
    }
    let rule = Arc::clone(rule);
    Ok(Permit::new(call, rule))
}

/// The rule that allows the call, or why there is none. Rates are not looked at.
pub fn decide<'p>(policy: &'p Policy, call: &Call) -> Result<&'p Arc<Rule>, Reason> {
    let compiled = prohibit(policy, call)?;
    let found = first(policy, compiled, call);
    let Some((_, rule, fit)) = found else {
        return Err(Reason::NoRule { near: refusal::near(policy, &compiled.allowed, call) });
    };
    match fit {
        Fit::Unclear(fault) => return Err(Reason::Unclear { rule: Arc::clone(rule), fault }),
        Fit::NeedsBody => return Err(Reason::BodyNeeded { rule: Arc::clone(rule) }),
        Fit::Yes | Fit::No => {}
    }
    match lack(rule, call) {
        Some(lack) => Err(Reason::Trust { rule: Arc::clone(rule), lack }),
        None => Ok(rule),
    }
}

impl Policy {
    /// How much of the call's body must be held before it can be decided; nothing where no rule looks into it.
    pub fn holds_body(&self, call: &Call) -> Option<ByteSize> {
        // Most sites never ask, and then a call is looked up once.
        if call.body.is_some() || !self.upstreams.get(&call.upstream)?.looks_into_bodies {
            return None;
        }
        let compiled = prohibit(self, call).ok()?;
        let (_, _, fit) = first(self, compiled, call)?;
        matches!(fit, Fit::NeedsBody).then_some(self.max_held_body)
    }
}

/// What no rule can allow, or a denial forbids; else the rules of the upstream.
fn prohibit<'p>(policy: &'p Policy, call: &Call) -> Result<&'p Compiled, Reason> {
    if !Methods::knows(&call.method) {
        return Err(Reason::Method);
    }
    always_denied(&call.path)?;
    let nothing = || Reason::NoRule { near: Vec::new() };
    let compiled = policy.upstreams.get(&call.upstream).ok_or_else(nothing)?;
    if policy.denials.is_empty() {
        return Ok(compiled);
    }
    let mut found: Option<(u32, Option<Unclear>)> = None;
    compiled.denied.visit_wide(&call.path, 0, |ends| {
        for numbers in ends.of(call.caller.as_ref()) {
            for &number in numbers {
                if found.as_ref().is_some_and(|(best, _)| *best <= number) {
                    break;
                }
                let Some(denial) = policy.denial(number) else { continue };
                match denies(denial, call) {
                    Ok(true) => found = Some((number, None)),
                    Ok(false) => {}
                    Err(fault) => found = Some((number, Some(fault))),
                }
            }
        }
    });
    match found {
        None => Ok(compiled),
        Some((number, fault)) => {
            let denial = policy.denial(number).ok_or_else(nothing)?;
            Err(Reason::Denied { denial: Arc::clone(denial), fault })
        }
    }
}

fn denies(denial: &Denial, call: &Call) -> Result<bool, Unclear> {
    if !denial.deny().methods().contains(&call.method) {
        return Ok(false);
    }
    if denial.query().is_empty() {
        return Ok(true);
    }
    call.content.check_no_form(&[])?;
    Ok(denial.query().first_miss(&call.query, Reading::Some)?.is_none())
}

/// Whether a rule fits a call.
enum Fit {
    Yes,
    No,
    /// It can't be told.
    Unclear(Unclear),
    /// All but the body, which was not held.
    NeedsBody,
}

/// The earliest rule that fits, or that can't be told apart from one that does.
fn first<'p>(policy: &'p Policy, compiled: &Compiled, call: &Call) -> Option<(u32, &'p Arc<Rule>, Fit)> {
    let mut found: Option<(u32, &Arc<Rule>, Fit)> = None;
    compiled.allowed.visit(&call.path, |ends| {
        for numbers in ends.of(call.caller.as_ref()) {
            for &number in numbers {
                if found.as_ref().is_some_and(|(best, ..)| *best <= number) {
                    break;
                }
                let Some(rule) = policy.rule(number) else { continue };
                match fits(rule, call) {
                    Fit::No => {}
                    fit => found = Some((number, rule, fit)),
                }
            }
        }
    });
    found
}

/// Path and caller fit already.
fn fits(rule: &Rule, call: &Call) -> Fit {
    if !rule.allow().methods().contains(&call.method) {
        return Fit::No;
    }
    match tests(rule, call) {
        Ok(fit) => fit,
        Err(fault) => Fit::Unclear(fault),
    }
}

fn tests(rule: &Rule, call: &Call) -> Result<Fit, Unclear> {
    let tests = rule.tests();
    if !fits_content(rule, call)? {
        return Ok(Fit::No);
    }
    if !tests.query.is_empty() {
        call.content.check_no_form(&tests.content_types)?;
        if tests.query.first_miss(&call.query, Reading::Every)?.is_some() {
            return Ok(Fit::No);
        }
    }
    if tests.body.is_empty() {
        return Ok(Fit::Yes);
    }
    call.content.check_json()?;
    let Some(body) = &call.body else { return Ok(Fit::NeedsBody) };
    Ok(if tests.body.first_miss(body)?.is_none() { Fit::Yes } else { Fit::No })
}

/// A rule that looks into bodies takes JSON only, even if it names no type: what is JSON under one type may be
/// something else under another. One that names no type takes no form: an application may find another user's name and
/// password in it, and act as that user.
pub(super) fn fits_content(rule: &Rule, call: &Call) -> Result<bool, Unclear> {
    let tests = rule.tests();
    if !tests.content_types.is_empty() {
        return Ok(call.content.is_among(&tests.content_types)?);
    }
    if tests.body.is_empty() {
        // With conditions on the query it is worse: it can't be judged at all.
        return Ok(!tests.query.is_empty() || !call.content.is_form()?);
    }
    Ok(call.content.is_among(&[MediaType::json()])?)
}

/// What the rule asks for and the call does not prove.
fn lack(rule: &Rule, call: &Call) -> Option<Lack> {
    let found = lack_of(rule, call, call.trust)?;
    let unexposed = Trust { key_is_exposed: false, ..call.trust };
    let by_exposure = call.trust.key_is_exposed && lack_of(rule, call, unexposed).is_none();
    Some(if by_exposure { Lack::Exposed(Box::new(found)) } else { found })
}

fn lack_of(rule: &Rule, call: &Call, trust: Trust) -> Option<Lack> {
    let terms = rule.terms();
    let required = &terms.require;
    if !required.is_empty() && !required.iter().any(|demand| trust.meets(*demand)) {
        return Some(Lack::Required(required.clone()));
    }
    if required.is_empty()
        && !terms.accept_relay_trust
        && !GUARDED_DEMANDS.iter().any(|demand| trust.meets(*demand))
        && let Some(what) = guarded(&call.method, &call.path)
    {
        return Some(Lack::Guarded(what));
    }
    let person = *rule.identity() == Identity::User;
    (person && !terms.accept_relay_trust && !trust.holds_against_the_relay()).then_some(Lack::Person)
}

impl Policy {
    pub(super) fn rule(&self, number: u32) -> Option<&Arc<Rule>> {
        self.rules.get(usize::try_from(number).ok()?)
    }

    fn denial(&self, number: u32) -> Option<&Arc<Denial>> {
        self.denials.get(usize::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests;
