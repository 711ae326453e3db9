//! What no fault is and yet works for nobody: rules that ask for a proof that nothing in the file can bring.
//!
//! Whether a caller signs its calls is not in the file, so that is said and not judged.

use std::fmt::Write as _;

use super::Config;
use crate::agent::policy::{Demand, Identity, Rule, Trust};
use crate::common::ids::{CallerName, Provider};

impl Config {
    /// A sentence for each, with what to do.
    pub(super) fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        let refusing = |fits: &dyn Fn(&Rule) -> bool| -> Vec<&Rule> {
            let rules = self.policy.rules().iter().map(AsRef::as_ref);
            rules.filter(|rule| fits(rule)).collect()
        };
        let passes = self.passes_through();
        let people = refusing(&|rule| {
            let terms = rule.terms();
            let asks = *rule.identity() == Identity::User && terms.require.is_empty();
            asks && !terms.accept_relay_trust && !passes && !self.has_tokens_for_people(rule)
        });
        if let Some(places) = places(&people) {
            hints.push(format!(
                "{places} make calls as a person, and no issuer's tokens name one for their callers: all but signed calls \
                 and pass-through under a name of yours will be refused. Give the [issuer.NAME] of these callers a \
                 `person`, or write `accept-relay-trust = true` in rules that may take the relay's word"
            ));
        }
        let guarded = refusing(&|rule| !passes && rule.guards().is_some());
        if let Some(places) = places(&guarded) {
            hints.push(format!(
                "{places} reach what administrators do (docs/policy.md), where all but signed calls and pass-through \
                 under a name of yours will be refused, since they have no `require` of their own. Write one, or \
                 `accept-relay-trust = true`, or name fewer paths"
            ));
        }
        let required = refusing(&|rule| {
            let require = &rule.terms().require;
            !require.is_empty() && !require.iter().any(|demand| self.may_be_met(*demand))
        });
        if let Some(places) = places(&required) {
            hints.push(format!(
                "{places} require pass-through, and no such name is in [pass-through]: every call will be refused. Name \
                 one there, or add \"signed\" to `require`"
            ));
        }
        for issuer in &self.issuers {
            let Some(person) = &issuer.person else { continue };
            let may = |caller: &CallerName| self.caller(caller).act_as.contains(&person.provider);
            if !issuer.callers.iter().any(|one| may(&one.caller)) {
                hints.push(act_as(issuer.name.as_str(), &issuer.callers, &person.provider));
            }
        }
        hints
    }

    /// Whether calls may come under a name of the customer's own.
    fn passes_through(&self) -> bool {
        self.may_be_met(Demand::PassThrough)
    }

    /// Whether this file has what the proof takes. Which callers sign their calls is not in it.
    fn may_be_met(&self, demand: Demand) -> bool {
        let channels = self.pass_through.iter().flat_map(|names| names.names.values());
        let met = |channel| Trust { channel, ..Trust::default() }.meets(demand);
        demand == Demand::Signed || channels.copied().any(met)
    }

    /// Whether some token could prove for whom a call by this rule is.
    fn has_tokens_for_people(&self, rule: &Rule) -> bool {
        self.issuers
            .iter()
            .filter(|issuer| issuer.person.is_some())
            .any(|issuer| issuer.callers.iter().any(|one| rule.is_for(Some(&one.caller))))
    }
}

fn act_as(issuer: &str, callers: &[crate::agent::issuers::config::Caller], provider: &Provider) -> String {
    let name = callers.first().map_or("NAME", |one| one.caller.as_str());
    format!(
        "[issuer.{issuer}] names people of “{provider}”, and none of its callers may: every call with such a token will \
         be refused. Add act-as = [\"{provider}\"] to [caller.{name}]"
    )
}

/// How many rules, and where the first few stand; nothing where there are none.
fn places(rules: &[&Rule]) -> Option<String> {
    let (first, rest) = rules.split_first()?;
    let mut text =
        format!("{} rule{} ({}", rules.len(), if rest.is_empty() { "" } else { "s" }, first.place());
    for rule in rest.iter().take(SHOWN - 1) {
        let _ = write!(text, ", {}", rule.place());
    }
    text.push_str(if rules.len() > SHOWN { ", …)" } else { ")" });
    Some(text)
}

/// Of the rules that a hint is about.
const SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(tables: &str) -> Vec<String> {
        let text = format!(
            "[relay]\nurl = \"wss://r\"\n[upstream.jira]\nurl = \"http://j\"\n[service.s]\nuser = \"s\"\n\
             pat = {{ file = \"/x\" }}\n{tables}"
        );
        Config::parse("agent.toml", &text).unwrap_or_else(|report| panic!("{report}")).hints()
    }

    fn issuer(caller: &str, more: &str) -> String {
        format!(
            "[issuer.e]\nissuer = \"https://e\"\naudience = \"a\"\nkey-set = \"https://e/k\"\n\
             callers = [{{ claim = \"azp\", value = \"1\", caller = \"{caller}\" }}]\n{more}\n"
        )
    }

    fn passing(level: &str) -> String {
        format!(
            "[pass-through]\n{level}-names = [\"direct.example\"]\ncertificate = \"/c\"\nprivate-key = \"/k\"\n"
        )
    }

    const PERSON: &str = "person = { claim = \"oid\", provider = \"entra\" }";

    fn rule(allow: &str, identity: &str, more: &str) -> String {
        format!("[[policy.rule]]\nallow = \"{allow}\"\nwhy = \"x\"\nas = {identity}\n{more}\n")
    }

    #[test]
    fn a_rule_that_nothing_in_the_file_can_meet_is_told() {
        let as_person = |more: &str| rule("GET /rest/api/2/issue/*", "\"user\"", more);
        let may = "[caller.bot]\nact-as = [\"entra\"]\n";
        for (tables, says) in [
            (as_person(""), "make calls as a person"),
            (as_person("accept-relay-trust = true"), ""),
            (as_person("require = [\"signed\"]"), ""),
            (
                as_person("require = [\"pass-through-operator-name\"]"),
                "require pass-through, and no such name",
            ),
            (as_person("require = [\"signed\", \"pass-through\"]"), ""),
            (format!("{}{}", passing("operator"), as_person("")), "make calls as a person"),
            (format!("{}{}", passing("operator"), as_person("require = [\"pass-through\"]")), "no such name"),
            (
                format!("{}{}", passing("operator"), as_person("require = [\"pass-through-operator-name\"]")),
                "",
            ),
            (format!("{}{}", passing("customer"), as_person("")), ""),
            (
                format!(
                    "{}{}",
                    passing("customer"),
                    rule("POST /rest/api/2/user", "{ service = \"s\" }", "")
                ),
                "",
            ),
            (format!("{may}{}{}", issuer("bot", PERSON), as_person("")), ""),
            (format!("{may}{}{}", issuer("bot", PERSON), as_person("caller = [\"other\"]")), "as a person"),
            (format!("{}{}", issuer("bot", ""), as_person("")), "as a person"),
            (issuer("bot", PERSON), "names people of “entra”"),
            (format!("[caller.bot]\nact-as = [\"teams\"]\n{}", issuer("bot", PERSON)), "[caller.bot]"),
            (rule("POST /rest/api/2/user", "{ service = \"s\" }", ""), "reach what administrators do"),
            (rule("POST /rest/api/2/user", "{ service = \"s\" }", "accept-relay-trust = true"), ""),
            (rule("POST /rest/api/2/user", "{ service = \"s\" }", "require = [\"signed\"]"), ""),
            (rule("POST /rest/api/2/issue", "{ service = \"s\" }", ""), ""),
        ] {
            let hints = hints(&tables);
            match says {
                "" => assert_eq!(hints, [""; 0], "{tables}"),
                says => assert!(hints.len() == 1 && hints[0].contains(says), "{tables}: {hints:?}"),
            }
        }
        let profile = hints("[policy]\nprofiles = [\"jira-read\"]\n");
        assert!(profile[0].contains("profile jira-read:") && profile[0].contains(", …)"), "{profile:?}");
    }
}
