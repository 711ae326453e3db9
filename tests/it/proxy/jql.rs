//! Every query that a client library makes of JQL arrives byte for byte, and none is refused.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};

use super::spellings::{first_lines, open_world};

/// How a library percent-encodes a value.
struct Library {
    name: &'static str,
    /// What stands as it is, beside letters and digits.
    bare: &'static str,
    space: &'static str,
    lower_case: bool,
}

const LIBRARIES: &[Library] = &[
    Library { name: "Python requests, Go net/url", bare: "_.-~", space: "+", lower_case: false },
    Library { name: "Python urllib quote", bare: "_.-~/", space: "%20", lower_case: false },
    Library { name: "encodeURIComponent", bare: "-_.!~*'()", space: "%20", lower_case: false },
    Library { name: "axios", bare: "-_.!~*'():$,[]", space: "+", lower_case: false },
    Library { name: "URLSearchParams", bare: "*-._", space: "+", lower_case: false },
    Library { name: "curl --data-urlencode", bare: "-._~", space: "%20", lower_case: false },
    Library { name: "Java URLEncoder", bare: ".-*_", space: "+", lower_case: false },
    Library { name: ".NET HttpUtility", bare: "-_.!*()", space: "+", lower_case: true },
    // No more than what would end the value or the target, as a person types it into a script. A ; is encoded: some
    // servers end a pair there, so a name and password for the application behind it would be refused.
    Library { name: "by hand", bare: "-._~!$'()*,:@/?[]{}|^`\\=", space: "%20", lower_case: false },
];

impl Library {
    fn encode(&self, value: &str) -> String {
        let mut encoded = String::new();
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || self.bare.as_bytes().contains(&byte) {
                encoded.push(char::from(byte));
            } else if byte == b' ' {
                encoded.push_str(self.space);
            } else if self.lower_case {
                write!(encoded, "%{byte:02x}").unwrap();
            } else {
                write!(encoded, "%{byte:02X}").unwrap();
            }
        }
        encoded
    }
}

/// As Jira's container decodes a parameter: proves that the tables above encode.
fn decode(value: &str) -> String {
    let mut decoded = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).unwrap()
}

fn quoted() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "\\PC{0,6}".prop_map(|text| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\'', "\\'")),
        1 => prop_oneof![
            Just("\\\""), Just("\\\\"), Just("\\'"), Just("\\n"), Just("\\t"), Just("\\u00e4"), Just("%"), Just("%41"),
            Just("a&b=c"), Just("#"), Just(";"), Just("+"), Just("os_username=x"), Just("Ünïcode"), Just("日本"),
            Just("\u{1f680}"), Just("?*~"), Just("../.."), Just("//"),
        ]
        .prop_map(str::to_owned),
    ];
    let text = proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat());
    (text, any::<bool>())
        .prop_map(|(text, double)| if double { format!("\"{text}\"") } else { format!("'{text}'") })
}

fn operand() -> impl Strategy<Value = String> {
    let function = prop_oneof![
        Just("currentUser()"),
        Just("membersOf(\"jira-users\")"),
        Just("startOfDay(\"-1d\")"),
        Just("issueHistory()"),
        Just("updatedBy(fred, \"-8d\")"),
        Just("linkedIssues(\"DEMO-1\", \"is blocked by\")"),
        Just("EMPTY"),
        Just("null"),
        Just("-7d"),
        Just("\"2024/05/23 14:47\""),
        Just("10001"),
    ];
    let one = prop_oneof![
        3 => quoted(),
        1 => "[A-Za-z][A-Za-z0-9_-]{0,8}",
        1 => function.prop_map(str::to_owned),
    ];
    prop_oneof![
        3 => one.clone(),
        1 => proptest::collection::vec(one, 1..4).prop_map(|list| format!("({})", list.join(", "))),
    ]
}

fn clause() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        Just("project"),
        Just("text"),
        Just("assignee"),
        Just("cf[10001]"),
        Just("\"Epic Link\""),
        Just("issue.property[\"outhaul.link\"].id"),
        Just("\"Größe\""),
        Just("fixVersion"),
    ];
    let operator = prop_oneof![
        Just("="),
        Just("!="),
        Just(">"),
        Just("<"),
        Just(">="),
        Just("<="),
        Just("~"),
        Just("!~"),
        Just(" in "),
        Just(" NOT IN "),
        Just(" is "),
        Just(" is not "),
        Just(" was "),
        Just(" was not in "),
        Just(" CHANGED FROM "),
    ];
    (field, operator, operand(), any::<bool>()).prop_map(|(field, operator, operand, spaced)| {
        if spaced { format!("{field} {operator} {operand}") } else { format!("{field}{operator}{operand}") }
    })
}

fn jql() -> impl Strategy<Value = String> {
    let inner = clause().prop_recursive(3, 12, 3, |inner| {
        let joint = prop_oneof![
            Just(" AND "),
            Just(" OR "),
            Just(" && "),
            Just("||"),
            Just("\n&\n"),
            Just(" and not ")
        ];
        prop_oneof![
            (inner.clone(), joint, inner.clone()).prop_map(|(one, joint, two)| format!("{one}{joint}{two}")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    });
    (inner, prop_oneof![Just(""), Just(" ORDER BY created DESC"), Just(" order by \"Größe\" asc, key")])
        .prop_map(|(clauses, order)| format!("{clauses}{order}"))
}

#[test]
fn every_legal_query_arrives_byte_for_byte() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (world, log) = runtime.block_on(async {
        let (address, log) = first_lines().await;
        (open_world(address), log)
    });
    let mut runner = TestRunner::new(Runs::with_cases(400));
    let outcome = runner.run(&jql(), |jql| {
        for library in LIBRARIES {
            let value = library.encode(&jql);
            prop_assert_eq!(&decode(&value), &jql, "{} encodes", library.name);
            let query =
                format!("jql={value}&startAt=0&maxResults=50&fields=summary%2Cstatus&validateQuery=true");
            log.lock().unwrap().clear();
            let answer = runtime.block_on(world.get_target(&format!("/jira/rest/api/2/search?{query}")));
            prop_assert_eq!(answer.status, 200, "{}: {:?}", library.name, answer);
            let seen = log.lock().unwrap().concat();
            prop_assert_eq!(
                seen,
                format!("GET /jira/rest/api/2/search?{query} HTTP/1.1"),
                "{}",
                library.name
            );
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[tokio::test]
async fn queries_that_programs_send_arrive_byte_for_byte() {
    let (address, log) = first_lines().await;
    let world = open_world(address);
    let endless = format!("jql=key%20in%20({})", vec!["DEMO-12345"; 2000].join("%2C"));
    for query in [
        "",
        "&",
        "=",
        "a",
        "a=",
        "=a",
        "a&&b",
        "a=1&a=2",
        "?",
        "a?b=/c",
        "jql=",
        "jql=project+%3D+DEMO+AND+text+~+%22a%26b%22",
        "jql=project%20=%20DEMO",
        "jql=summary~%22100%25%22",
        "jql=created%3E%3D-7d&jql=x",
        "jql=a%0Aand%20b",
        "fields=*all,-comment&expand=names;schema",
        "username=fred%40example.com&includeInactive=true",
        "query=%C3%BC&query=%fc",
        "a=%zz&b=%",
        "a[]=1&b{}|^`\\",
        endless.as_str(),
    ] {
        let answer = world.get_target(&format!("/jira/rest/api/2/search?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let seen = log.lock().unwrap().pop().unwrap();
        assert_eq!(seen, format!("GET /jira/rest/api/2/search?{query} HTTP/1.1"));
    } // No URI may hold these (RFC 3986, section 2), and no common library leaves them as they are: said, not mended.
    for query in [
        "jql=summary~\"quoted\"",
        "jql=votes>4",
        "jql=votes<4",
        "jql=a b",
        "jql=\u{fc}",
        "jql=a\rb",
        "jql=a#b",
    ] {
        let answer = world.get_target(&format!("/jira/rest/api/2/search?{query}")).await;
        assert_eq!((answer.status, answer.problem().1.as_str()), (400, "not-sent"), "{query}");
    }
    assert!(log.lock().unwrap().is_empty());
}
