//! Checks `certificate` and `CAA`: is there a certificate for each name that one is ordered for, and who else could get one?

use super::finding::shown;
use super::{Context, Finding};
use crate::agent::acme::caa::{self, OpenTo, Record, Wanted};
use crate::agent::acme::{CertificateLine, CertificatesReport, Config};
use crate::net::caa::{CaaFault, CaaResolver};

const CERTIFICATE: &str = "certificate";
const CAA: &str = "CAA";

/// Nothing where none are ordered.
pub(super) async fn check(context: &Context) -> Vec<Finding> {
    let Some(config) = &context.config.acme else { return Vec::new() };
    let report = match &context.daemon {
        Ok(status) => status.certificates.as_ref(),
        Err(_) => None,
    };
    let Some(report) = report else {
        let text = "certificates and CAA records are not looked at: only the running agent knows its account";
        return vec![Finding::note(CERTIFICATE, text)];
    };
    let mut findings = certificates(report);
    findings.extend(records(config, report).await);
    findings
}

fn certificates(report: &CertificatesReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(failure) = &report.account_error {
        let action = failure.action.clone().unwrap_or_default();
        let text = format!("there is no account at {}: {}", report.directory, shown(&failure.text));
        findings.push(Finding::failure(CERTIFICATE, text, action));
    }
    findings.extend(report.certificates.iter().map(certificate));
    findings
}

fn certificate(line: &CertificateLine) -> Finding {
    let name = &line.name;
    let look = || "Look at `outhaul-agent certificate`, and at the agent's log.".to_owned();
    let why = line.error.as_ref().map(|failure| shown(&failure.text));
    let action = line.error.as_ref().and_then(|failure| failure.action.clone()).unwrap_or_else(look);
    match (&line.ends, why) {
        (None, Some(why)) => {
            Finding::failure(CERTIFICATE, format!("there is none for {name}: {why}"), action)
        }
        (None, None) => {
            let text =
                format!("there is none for {name} yet: it is ordered as soon as the tunnel is connected");
            Finding::warning(CERTIFICATE, text, look())
        }
        (Some(ends), why) if line.ends_soon => {
            let why = why.unwrap_or_else(|| "it was not renewed".to_owned());
            Finding::failure(CERTIFICATE, format!("that of {name} is valid only until {ends}: {why}"), action)
        }
        (Some(ends), Some(why)) => {
            let text =
                format!("that of {name} is valid until {ends}, but {} tries failed: {why}", line.failures);
            Finding::warning(CERTIFICATE, text, action)
        }
        (Some(ends), None) => Finding::ok(CERTIFICATE, format!("{name} is valid until {ends}")),
    }
}

/// For the customer's own names; those of the operator are in the operator's zone.
async fn records(config: &Config, report: &CertificatesReport) -> Vec<Finding> {
    let customer: Vec<&CertificateLine> = report.certificates.iter().filter(|line| line.customer).collect();
    let Some(account) = &report.account else { return Vec::new() };
    if customer.is_empty() {
        return Vec::new();
    }
    if report.caa_identities.is_empty() {
        let text = "the authority does not say what it calls itself in CAA records";
        let action = "Ask it, and set caa-identity under [pass-through.acme].";
        return vec![Finding::warning(CAA, text, action)];
    }
    let resolver = match CaaResolver::new(config.resolver) {
        Ok(resolver) => resolver,
        Err(fault) => {
            let action = "Look at /etc/resolv.conf, or set resolver under [pass-through.acme].";
            return vec![Finding::failure(CAA, fault.to_string(), action)];
        }
    };
    let wanted = Wanted { identities: &report.caa_identities, account };
    let mut findings = Vec::new();
    for line in customer {
        match climb(&resolver, &line.name).await {
            Ok((at, records)) => findings.extend(judge(line, &at, &records, &wanted)),
            Err(fault) => findings.push(Finding::failure(
                CAA,
                fault.to_string(),
                "An authority must not issue while it can't look them up either (RFC 8659): mend the zone's name \
                 servers, or, if only this machine's resolver is at fault, set resolver under [pass-through.acme].",
            )),
        }
    }
    findings
}

/// The records that count for a name, and where they stand (RFC 8659 section 3).
async fn climb(resolver: &CaaResolver, name: &str) -> Result<(String, Vec<Record>), CaaFault> {
    for at in caa::climb(name) {
        let found = resolver.records(at).await?;
        if !found.is_empty() {
            let record = |found: crate::net::caa::CaaRecord| Record {
                critical: found.critical,
                tag: found.tag,
                value: found.value,
            };
            return Ok((at.to_owned(), found.into_iter().map(record).collect()));
        }
    }
    Ok((name.to_owned(), Vec::new()))
}

fn judge(line: &CertificateLine, at: &str, records: &[Record], wanted: &Wanted<'_>) -> Vec<Finding> {
    let name = &line.name;
    let set = || {
        let lines = line.caa.join("\n");
        format!("Set this record, and remove others of {name} that let anybody issue:\n{lines}")
    };
    let finding = |found: caa::Finding| match found {
        caa::Finding::Bound => {
            Finding::ok(CAA, format!("only this agent's account may issue for {name} (at {at})"))
        }
        caa::Finding::Absent => Finding::warning(
            CAA,
            format!(
                "{name} has no record, nor has a domain above it: whoever the name leads to, the relay, can get a certificate from any authority"
            ),
            set(),
        ),
        caa::Finding::NobodyNamed => Finding::warning(
            CAA,
            format!("the records at {at} say nothing of who may issue for {name}: anybody may"),
            set(),
        ),
        caa::Finding::Shut => Finding::failure(
            CAA,
            format!(
                "the records at {at} let this agent's account issue nothing for {name}: the next renewal will be refused"
            ),
            set(),
        ),
        caa::Finding::Critical { tag } => Finding::failure(
            CAA,
            format!(
                "the records at {at} have a critical property “{tag}”: an authority that does not know it must refuse"
            ),
            format!("Remove it, unless the authority of {name} knows it."),
        ),
        caa::Finding::AnyMethod => Finding::note(
            CAA,
            format!(
                "only this agent's account may issue for {name} (at {at}), but by any way of validation; validationmethods={} would narrow it",
                caa::METHOD
            ),
        ),
        caa::Finding::Open { value, to } => {
            let who = match to {
                OpenTo::AnyAccount => "any account of the authority, so the relay too",
                OpenTo::OtherAccount => "another account: right if it is that of another agent of this site",
                OpenTo::OtherAuthority => {
                    "another authority, and through it the relay, unless it is bound there too"
                }
            };
            Finding::warning(CAA, format!("at {at} \"{value}\" lets issue for {name}: {who}"), set())
        }
    };
    caa::evaluate(records, wanted).into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::acme::Failure;
    use crate::agent::doctor::Level;

    fn line() -> CertificateLine {
        CertificateLine {
            name: "jira.example.com".to_owned(),
            customer: true,
            issuer: None,
            serial: None,
            begins: None,
            ends: None,
            ends_at: None,
            ends_soon: false,
            pin: None,
            next_pin: None,
            caa: vec!["jira.example.com. IN CAA 0 issue \"…\"".to_owned()],
            next: None,
            next_why: "first".to_owned(),
            under_way: false,
            failures: 0,
            error: None,
            orders_today: 0,
            ended: 0,
        }
    }

    #[test]
    fn a_certificate_that_fails_is_told_before_it_ends() {
        let failure = Failure {
            at: String::new(),
            text: "the authority refuses: no (caa)".to_owned(),
            action: Some("Set the lines.".to_owned()),
        };
        let ends = Some("2026-01-01T00:00:00Z".to_owned());
        let (none, good) = (line(), CertificateLine { ends: ends.clone(), ..line() });
        let failed = CertificateLine { failures: 1, error: Some(failure), ..line() };
        let warned = CertificateLine { ends: ends.clone(), ..failed.clone() };
        let late = CertificateLine { ends_soon: true, ..warned.clone() };
        let cases = [
            (good, Level::Ok),
            (none, Level::Warning),
            (warned, Level::Warning),
            (failed, Level::Failure),
            (late, Level::Failure),
        ];
        for (line, level) in cases {
            let found = certificate(&line);
            assert_eq!(found.level, level, "{found:?}");
            assert_eq!(found.action.is_some(), level > Level::Note, "{found:?}");
            assert!(line.error.is_none() || found.text.contains("(caa)"), "{found:?}");
        }
    }

    #[test]
    fn the_line_to_set_is_in_the_action() {
        let identities = ["ca.example".to_owned()];
        let wanted = Wanted { identities: &identities, account: "https://ca.example/acct/1" };
        let found = judge(&line(), "jira.example.com", &[], &wanted);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].level, Level::Warning);
        assert!(found[0].action.as_ref().unwrap().contains("IN CAA 0 issue"), "{found:?}");
    }
}
