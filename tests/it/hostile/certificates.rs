//! A relay that answers acme-tls/1 itself: every validation of a name that leads to it, it can pass. What keeps it from a
//! certificate is the authority, which must look at the name's CAA records (RFC 8659, RFC 8657), account by account.

use outhaul::agent::acme::caa::{Finding, OpenTo, Record, Wanted, evaluate, lines};

const NAME: &str = "jira.acme.example";
const AGENTS: &str = "https://ca.example/acct/17";
const RELAYS: &str = "https://ca.example/acct/99";

/// The value within a line as in a zone file.
fn record(line: &str) -> Record {
    let value = line.split('"').nth(1).unwrap();
    Record { critical: false, tag: "issue".to_owned(), value: value.into() }
}

/// Where the lines that the agent prints are set, an authority finds that the relay's account may not issue, by no method
/// and not for a wildcard; the agent's may.
#[test]
fn where_caa_binds_the_agents_account_a_relays_may_not_issue() {
    let identities = ["ca.example".to_owned()];
    let wanted = |account| Wanted { identities: &identities, account };
    let set: Vec<Record> = lines(NAME, &wanted(AGENTS)).iter().map(|line| record(line)).collect();
    assert_eq!(set.len(), 1);
    assert_eq!(evaluate(&set, &wanted(AGENTS)), [Finding::Bound], "control");
    let relays = evaluate(&set, &wanted(RELAYS));
    assert!(relays.contains(&Finding::Shut), "{relays:?}");
    // Another authority, where the relay has an account too.
    let other = ["other-ca.example".to_owned()];
    let relays = evaluate(&set, &Wanted { identities: &other, account: RELAYS });
    assert!(relays.contains(&Finding::Shut), "{relays:?}");
}

/// Control, and why `doctor` looks: with no records, or such without an account, nothing keeps the relay from one.
#[test]
fn without_caa_a_relay_can_have_a_certificate_and_doctor_says_so() {
    let identities = ["ca.example".to_owned()];
    let wanted = |account| Wanted { identities: &identities, account };
    assert_eq!(evaluate(&[], &wanted(AGENTS)), [Finding::Absent]);
    let by_authority = record("x. IN CAA 0 issue \"ca.example\"");
    let agents = evaluate(std::slice::from_ref(&by_authority), &wanted(AGENTS));
    let opens = |finding: &Finding| matches!(finding, Finding::Open { to: OpenTo::AnyAccount, .. });
    assert!(agents.iter().any(opens), "{agents:?}");
    assert!(!evaluate(&[by_authority], &wanted(RELAYS)).contains(&Finding::Shut), "the relay may too");
}
