use proptest::prelude::*;

use super::*;

const ACCOUNT: &str = "https://ca.example/acct/17";

fn wanted(identities: &[String]) -> Wanted<'_> {
    Wanted { identities, account: ACCOUNT }
}

fn ours() -> Vec<String> {
    vec!["ca.example".to_owned(), "ca-two.example".to_owned()]
}

fn record(tag: &str, value: &str) -> Record {
    Record { critical: false, tag: tag.to_owned(), value: value.as_bytes().to_vec() }
}

fn open(value: &str, to: OpenTo) -> Finding {
    Finding::Open { value: value.to_owned(), to }
}

#[test]
fn what_records_mean() {
    let bound = format!("ca.example; accounturi={ACCOUNT}; validationmethods=tls-alpn-01");
    let method = format!("ca.example; accounturi={ACCOUNT}");
    let both = format!("ca.example;accounturi={ACCOUNT};validationmethods=dns-01,tls-alpn-01");
    let other_way = format!("ca.example; accounturi={ACCOUNT}; validationmethods=dns-01");
    let twice = format!("ca.example; accounturi={ACCOUNT}; accounturi={ACCOUNT}");
    let other = "ca.example; accounturi=https://ca.example/acct/18";
    let capitals = format!("CA.Example ; AccountURI = {ACCOUNT} ; validationmethods=tls-alpn-01");
    let second = format!("ca-two.example; accounturi={ACCOUNT}; validationmethods=tls-alpn-01");
    let cases: Vec<(&str, Vec<Record>, Vec<Finding>)> = vec![
        ("nothing at all", vec![], vec![Finding::Absent]),
        ("as printed", vec![record("issue", &bound)], vec![Finding::Bound]),
        ("in capitals", vec![record("ISSUE", &capitals)], vec![Finding::Bound]),
        ("the authority's other name", vec![record("issue", &second)], vec![Finding::Bound]),
        ("no method", vec![record("issue", &method)], vec![Finding::AnyMethod]),
        ("two methods", vec![record("issue", &both)], vec![Finding::AnyMethod]),
        ("another method", vec![record("issue", &other_way)], vec![Finding::Shut]),
        ("the account twice", vec![record("issue", &twice)], vec![Finding::Shut]),
        ("nobody", vec![record("issue", ";")], vec![Finding::Shut]),
        ("rubbish", vec![record("issue", "ca example/%%")], vec![Finding::Shut]),
        (
            "the authority alone",
            vec![record("issue", "ca.example")],
            vec![open("ca.example", OpenTo::AnyAccount)],
        ),
        (
            "another account",
            vec![record("issue", other)],
            vec![Finding::Shut, open(other, OpenTo::OtherAccount)],
        ),
        (
            "two agents",
            vec![record("issue", &bound), record("issue", other)],
            vec![open(other, OpenTo::OtherAccount)],
        ),
        (
            "another authority beside",
            vec![record("issue", &bound), record("issue", "evil.example")],
            vec![open("evil.example", OpenTo::OtherAuthority)],
        ),
        (
            "another authority alone",
            vec![record("issue", "evil.example")],
            vec![Finding::Shut, open("evil.example", OpenTo::OtherAuthority)],
        ),
        ("wildcards only", vec![record("issuewild", ";")], vec![Finding::NobodyNamed]),
        (
            "a property that must be known",
            vec![Record { critical: true, ..record("future", "x") }, record("issue", &bound)],
            vec![Finding::Critical { tag: "future".to_owned() }],
        ),
        ("issue, critical", vec![Record { critical: true, ..record("issue", &bound) }], vec![Finding::Bound]),
        (
            "control bytes are not printed",
            vec![record("issue", &bound), record("issue", "evil.example; x=\u{1b}[2J")],
            vec![Finding::Bound],
        ),
    ];
    let ours = ours();
    for (name, records, findings) in cases {
        assert_eq!(evaluate(&records, &wanted(&ours)), findings, "{name}");
    }
}

#[test]
fn the_printed_line_binds() {
    let ours = ours();
    let lines = lines("jira.example.com", &wanted(&ours));
    assert_eq!(
        lines,
        [format!(
            "jira.example.com. IN CAA 0 issue \"ca.example; accounturi={ACCOUNT}; validationmethods=tls-alpn-01\""
        )]
    );
    let value = lines[0].split('"').nth(1).unwrap();
    assert_eq!(evaluate(&[record("issue", value)], &wanted(&ours)), [Finding::Bound]);
    // What can't stand in a record is not printed as if it could.
    assert!(super::lines("a.example", &Wanted { identities: &ours, account: "https://a; issue" }).is_empty());
    assert!(super::lines("a.example", &Wanted { identities: &[], account: ACCOUNT }).is_empty());
}

#[test]
fn the_tree_is_climbed_to_below_the_root() {
    let climbed = |name| climb(name).collect::<Vec<_>>();
    assert_eq!(climbed("a.b.example."), ["a.b.example", "b.example", "example"]);
    assert_eq!(climbed("localhost"), ["localhost"]);
    assert!(climbed("").is_empty());
}

proptest! {
    #[test]
    fn no_record_of_a_stranger_is_ever_taken_for_a_bond(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let ours = ours();
        let found = evaluate(
            &[Record { critical: false, tag: "issue".to_owned(), value: value.clone() }],
            &wanted(&ours),
        );
        let text = String::from_utf8_lossy(&value);
        prop_assert!(text.contains(ACCOUNT) || !found.contains(&Finding::Bound));
        prop_assert!(!found.is_empty());
    }
}
