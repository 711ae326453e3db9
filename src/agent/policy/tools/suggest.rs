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
mod tests {
    use super::*;
    use crate::agent::policy::{Denial, DeniedTarget, Place, Terms};

    fn rule(file: &str, line: usize, allow: &str, service: &str, callers: &[&str]) -> Rule {
        let identity = Identity::Service(service.parse().unwrap());
        let place = Place { file: file.into(), line };
        Rule::new(allow.parse().unwrap(), "why", "jira".parse().unwrap(), identity, place)
            .for_callers(callers.iter().map(|caller| caller.parse().unwrap()).collect())
    }

    fn policy() -> Policy {
        let rate = Terms {
            rate: Some("1/h".parse().unwrap()),
            require: vec!["signed".parse().unwrap()],
            ..Terms::default()
        };
        let denied: DeniedTarget = "* /rest/hr/**".parse().unwrap();
        let place = Place { file: "agent.toml".into(), line: 90 };
        Policy::with_denials(
            vec![
                rule("agent.toml", 10, "GET /rest/api/2/issue/*", "reader", &["teams", "bi"]),
                rule("agent.toml", 20, "PUT /rest/api/2/issue/*", "reader", &["teams"]).with_terms(rate),
                rule("agent.toml", 30, "POST /rest/api/2/issue/*/worklog", "writer", &["bi"]),
                rule("agent.toml", 40, "GET /status", "reader", &[]),
            ],
            vec![Denial::new(denied, "nobody's business", None, place)],
        )
    }

    fn advise(method: &str, shape: &str, caller: &str) -> Advice {
        advise_after("policy-refused", method, shape, caller)
    }

    fn advise_after(code: &str, method: &str, shape: &str, caller: &str) -> Advice {
        let policy = policy();
        let shipped = |profile, line, allow: &str| Shipped {
            profile,
            for_callers: profile != "jira-provisioning",
            part: None,
            rule: rule(&format!("profile {profile}"), line, allow, "x", &[]),
            count: 9,
        };
        let shipped = [
            shipped("jira-teams", 31, "POST /rest/api/2/issue/*/comment"),
            shipped("jira-read", 4, "GET /rest/api/2/user/search"),
            shipped("jira-provisioning", 5, "GET|POST /rest/api/2/user"),
            shipped("jira-provisioning", 6, "GET /rest/api/2/user/search"),
        ];
        let ground = Ground { policy: &policy, shipped: &shipped, several: false };
        let kind = Kind {
            caller: caller.parse().unwrap(),
            upstream: "jira".parse().unwrap(),
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            shape: shape.to_owned(),
            code: code.to_owned(),
        };
        super::advise(&ground, &kind)
    }

    #[test]
    fn a_missing_rule_is_ready_to_paste_but_for_its_reason() {
        let Advice::Add(proposal) = advise("POST", "/rest/api/2/issue/*/comment", "teams") else { panic!() };
        assert_eq!(
            proposal.toml,
            "[[policy.rule]]\n\
             allow = \"POST /rest/api/2/issue/*/comment\"\n\
             why = \"\"  # write what teams needs this for: without it the file is refused\n\
             caller = [\"teams\"]\n\
             as = { service = \"reader\" }  # as agent.toml:10 makes this caller's calls\n"
        );
        assert_eq!(proposal.in_profiles[0].place, "profile jira-teams:31");
        assert!(
            proposal
                .text("x")
                .contains("The shipped profile jira-teams has this rule: profile jira-teams:31: POST")
        );
    }

    #[test]
    fn where_the_identity_is_not_clear_it_is_left_open() {
        let Advice::Add(proposal) = advise("POST", "/rest/api/2/issue/*/comment", "bi") else { panic!() };
        assert_eq!(proposal.identity, None);
        assert!(proposal.toml.contains("\nas = \"\"  # write \"user\""), "{}", proposal.toml);
        // One that no rule names has the identity that all have who are not named.
        let Advice::Add(proposal) = advise("POST", "/rest/api/2/issue/*/worklog", "new") else { panic!() };
        assert_eq!(proposal.identity_from.as_deref(), Some("agent.toml:40"));
        assert_eq!(proposal.for_others[0].place, "agent.toml:30");
    }

    #[test]
    fn what_should_not_pass_or_does_already_is_not_suggested() {
        for (method, shape, caller, says) in [
            ("GET", "/rest/api/2/issue/*", "teams", "Allowed by now, by agent.toml:10"),
            (
                "PUT",
                "/rest/api/2/issue/*",
                "teams",
                "agent.toml:20 (PUT /rest/api/2/issue/*) is about these calls",
            ),
            ("GET", "/rest/pat/latest/tokens", "teams", "No rule is suggested: always-denied:"),
            ("GET", "/rest/hr/*", "teams", "agent.toml:90 denies it (* /rest/hr/**): nobody's business"),
            (
                "POST",
                "/rest/api/2/user",
                "teams",
                "profile jira-provisioning:5 (GET|POST /rest/api/2/user) is for the agent's own",
            ),
            ("TRACE", "/x", "teams", "none could say this"),
        ] {
            let text = advise(method, shape, caller).text("agent.toml");
            assert!(text.contains(says), "{method} {shape}: {text}");
        }
        assert!(matches!(advise("GET", "/rest/api/2/user/search", "teams"), Advice::Add(_)));
        // What a rule allows and was refused all the same was refused for something else.
        for code in ["rate-limited", "bad-request"] {
            let advice = advise_after(code, "GET", "/rest/api/2/issue/*", "teams");
            assert!(matches!(advice, Advice::LookCloser { .. }), "{code}: {advice:?}");
        }
    }
}
