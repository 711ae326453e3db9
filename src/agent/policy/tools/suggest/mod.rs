//! Proposes the rule that a caller lacks, or says why it should have none.

use std::fmt::Write as _;

use http::Method;
use serde::Serialize;

use crate::agent::policy::explain::{ShownDenial, ShownRule};
use crate::agent::policy::{
    Call, CanonicalPath, Identity, Part, Policy, Query, Reason, Rule, Target, Tests, decide,
};
use crate::common::ids::{CallerName, UpstreamName};
use crate::common::problem::Code;

/// A kind of call that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Who called.
    pub caller: CallerName,
    /// The application.
    pub upstream: UpstreamName,
    /// The method.
    pub method: Method,
    /// The path with its values taken out.
    pub shape: String,
    /// The code of the last refusal.
    pub code: String,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "advice")]
pub enum Advice {
    /// Add this rule, if the call should pass.
    Add(Box<Proposal>),
    /// Nothing: a rule allows it by now.
    Allowed {
        /// Which.
        rule: Box<ShownRule>,
    },
    /// Look closer: a rule is about these calls, but asks for more than these had.
    LookCloser {
        /// Which.
        rule: Box<ShownRule>,
    },
    /// Nothing: it is denied, whatever any rule allows.
    Denied {
        /// By what.
        denial: Box<ShownDenial>,
    },
    /// Nothing: only the agent's own provisioning does this.
    HeldBack {
        /// The rule of the profile.
        rule: Box<ShownRule>,
    },
    /// Nothing: no rule could say this.
    Unsayable,
}

/// A rule to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// The lines to paste. What only a person can say is left empty, and is refused until it is filled in.
    pub toml: String,
    /// As whom, if the caller's other rules say.
    pub identity: Option<String>,
    /// The rule the identity is from.
    pub identity_from: Option<String>,
    /// Rules for other callers that allow just this.
    pub for_others: Vec<ShownRule>,
    /// Rules of shipped profiles that allow just this.
    pub in_profiles: Vec<InProfile>,
}

/// A rule of a profile, shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InProfile {
    /// The profile.
    pub profile: &'static str,
    /// The optional part of it, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// How many rules the profile has.
    pub rules: usize,
    /// Where the rule stands.
    pub place: String,
    /// The rule, as written.
    pub allow: String,
    /// What else a call must be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
}

impl InProfile {
    fn of(shipped: &Shipped) -> Self {
        let ShownRule { place, allow, conditions, .. } = ShownRule::of(&shipped.rule);
        Self {
            profile: shipped.profile,
            part: shipped.part.clone(),
            rules: shipped.count,
            place,
            allow,
            conditions,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { profile, place, allow, rules, .. } = self;
        let part = self.part.as_ref().map(|part| format!(", in its optional part “{part}”"));
        let conditions = self.conditions.iter().fold(String::new(), |all, one| all + ", if " + one);
        format!(
            "The shipped profile {profile} has this rule{}: {place}: {allow}{conditions}. The profile has {rules} \
             rules: use it if the caller needs the others too.",
            part.unwrap_or_default()
        )
    }
}

/// A rule of a shipped profile.
#[derive(Debug, Clone)]
pub struct Shipped {
    /// The profile's name.
    pub profile: &'static str,
    /// Whether callers may be given it; else only the agent's own provisioning uses it.
    pub for_callers: bool,
    /// The optional part of the profile that it belongs to.
    pub part: Option<String>,
    /// The rule.
    pub rule: Rule,
    /// How many rules the profile has.
    pub count: usize,
}

/// What suggestions are made from.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'g> {
    /// The site's policy.
    pub policy: &'g Policy,
    /// The rules of the shipped profiles.
    pub shipped: &'g [Shipped],
    /// Whether the site has several applications, so that a rule must name one.
    pub several: bool,
}

/// What to do about a kind of refused call.
pub fn advise(ground: &Ground<'_>, kind: &Kind) -> Advice {
    // A path of this shape, for the rules that deny: those for everybody's values, at least.
    let sample = kind.shape.replace('*', "x");
    let read = (format!("{} {}", kind.method, kind.shape).parse::<Target>(), CanonicalPath::parse(&sample));
    let (Ok(target), Ok(path)) = read else { return Advice::Unsayable };
    let (method, upstream, caller) = (kind.method.clone(), kind.upstream.clone(), Some(kind.caller.clone()));
    let call = Call::new(method, upstream, path, Query::none(), caller);
    let of = |rule: &Rule| Box::new(ShownRule::of(rule));
    match decide(ground.policy, &call) {
        // A call of this shape would pass; whether these would, their query, body and number decide.
        Ok(rule) if *rule.tests() == Tests::default() && kind.code == Code::PolicyRefused.as_str() => {
            return Advice::Allowed { rule: of(rule) };
        }
        Ok(rule) => return Advice::LookCloser { rule: of(rule) },
        Err(Reason::Method) => return Advice::Unsayable,
        Err(Reason::AlwaysDenied(denial) | Reason::Denied { denial, .. }) => {
            return Advice::Denied { denial: Box::new(ShownDenial::of(&denial)) };
        }
        Err(
            Reason::Trust { rule, .. }
            | Reason::BodyNeeded { rule }
            | Reason::Unclear { rule, .. }
            | Reason::Rate { rule, .. },
        ) => return Advice::LookCloser { rule: of(&rule) },
        Err(Reason::NoRule { .. }) => {}
    }
    let covers = |rule: &&Rule| {
        rule.allow().methods().contains(&kind.method) && covers(rule.allow().pattern(), target.pattern())
    };
    let own = ground.policy.rules().iter().map(|rule| &**rule);
    let own: Vec<&Rule> = own.filter(|rule| *rule.upstream() == kind.upstream).collect();
    if let Some(rule) = own.iter().copied().filter(covers).find(|rule| rule.is_for(Some(&kind.caller))) {
        return Advice::LookCloser { rule: of(rule) };
    }
    let shipped = || ground.shipped.iter().filter(|shipped| covers(&&shipped.rule));
    let in_profiles: Vec<InProfile> = shipped().filter(|one| one.for_callers).map(InProfile::of).collect();
    if in_profiles.is_empty()
        && let Some(held_back) = shipped().next()
    {
        return Advice::HeldBack { rule: of(&held_back.rule) };
    }
    let identity = identity(&own, &kind.caller);
    Advice::Add(Box::new(Proposal {
        toml: toml(kind, identity, ground.several),
        identity: identity.map(|rule| rule.identity().to_string()),
        identity_from: identity.map(|rule| rule.place().to_string()),
        for_others: own.iter().copied().filter(covers).map(ShownRule::of).collect(),
        in_profiles,
    }))
}

/// A rule that makes the caller's calls as the one identity that all its rules have: those that name it, or else
/// those for any caller.
fn identity<'r>(rules: &[&'r Rule], caller: &CallerName) -> Option<&'r Rule> {
    let only = |named: bool| {
        let mut own = rules
            .iter()
            .filter(|rule| if named { rule.callers().contains(caller) } else { rule.callers().is_empty() });
        let first = own.next()?;
        own.all(|rule| rule.identity() == first.identity()).then_some(*first)
    };
    if rules.iter().any(|rule| rule.callers().contains(caller)) { only(true) } else { only(false) }
}

fn toml(kind: &Kind, identity: Option<&Rule>, several: bool) -> String {
    let mut text = format!("[[policy.rule]]\nallow = \"{} {}\"\n", kind.method, kind.shape);
    let _ = writeln!(
        text,
        "why = \"\"  # write what {} needs this for: without it the file is refused",
        kind.caller
    );
    if several {
        let _ = writeln!(text, "upstream = \"{}\"", kind.upstream);
    }
    let _ = writeln!(text, "caller = [\"{}\"]", kind.caller);
    let Some(rule) = identity else {
        text.push_str(
            "as = \"\"  # write \"user\", \"anonymous\" or { service = \"NAME\" }: the caller's rules do not say\n",
        );
        return text;
    };
    let value = match rule.identity() {
        Identity::User => "\"user\"".to_owned(),
        Identity::Anonymous => "\"anonymous\"".to_owned(),
        Identity::Service(name) => format!("{{ service = \"{name}\" }}"),
    };
    let _ = writeln!(text, "as = {value}  # as {} makes this caller's calls", rule.place());
    text
}

/// Whether each path of this shape fits the pattern.
fn covers(pattern: &[Part], shape: &[Part]) -> bool {
    match (pattern.split_first(), shape.split_first()) {
        (None, None) | (Some((Part::Rest, _)), Some(_)) => true,
        (Some((part, pattern)), Some((other, shape))) => {
            let fits = match (part, other) {
                (Part::Any, Part::Any) => true,
                (Part::Any, Part::Literal(text)) => !text.is_empty(),
                (Part::Literal(one), Part::Literal(other)) => one == other,
                (Part::Glob(before, after), Part::Literal(text)) => {
                    text.len() > before.len() + after.len()
                        && text.starts_with(&**before)
                        && text.ends_with(&**after)
                }
                _ => false,
            };
            fits && covers(pattern, shape)
        }
        _ => false,
    }
}

impl Advice {
    /// For people; `file` is where a rule would be pasted.
    pub fn text(&self, file: &str) -> String {
        let of = |rule: &ShownRule| format!("{} ({})", rule.place, rule.allow);
        match self {
            Self::Add(proposal) => proposal.text(file),
            Self::Allowed { rule } => format!("Allowed by now, by {}.", of(rule)),
            Self::LookCloser { rule } => {
                let mut text = format!("{} is about these calls, but asks for more than they had", of(rule));
                let asks: Vec<&str> = rule.conditions.iter().chain(&rule.terms).map(String::as_str).collect();
                if !asks.is_empty() {
                    let _ = write!(text, ": {}", asks.join("; "));
                }
                text.push_str(
                    ".\n`outhaul-agent policy explain` with the call's query and body tells what it lacked.",
                );
                text
            }
            Self::Denied { denial } => {
                format!("No rule is suggested: {} denies it ({}): {}.", denial.place, denial.deny, denial.why)
            }
            Self::HeldBack { rule } => format!(
                "No rule is suggested: {} is for the agent's own provisioning, which checks what a rule can't, and \
                 never for calls from outside.",
                of(rule)
            ),
            Self::Unsayable => "No rule is suggested: none could say this.".to_owned(),
        }
    }
}

impl Proposal {
    fn text(&self, file: &str) -> String {
        let mut text = String::new();
        for rule in &self.in_profiles {
            let _ = writeln!(text, "{}", rule.text());
        }
        for rule in &self.for_others {
            let _ = writeln!(
                text,
                "{}: {} allows it to {}: if the reason is the same, add this caller there.",
                rule.place,
                rule.allow,
                rule.who()
            );
        }
        let _ = write!(text, "If it should pass, append to {file} and write the reason:\n\n{}", self.toml);
        text
    }
}

#[cfg(test)]
mod tests;
