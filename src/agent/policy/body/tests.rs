use super::super::value::{Pattern, Wanted};
use super::*;
use proptest::prelude::*;

fn test(pointer: &str, test: Test) -> BodyTest {
    BodyTest(vec![(pointer.parse().unwrap(), test)])
}

fn text(text: &str) -> Vec<Wanted> {
    vec![Wanted::Text(Pattern::new(text))]
}

fn fits(test: &BodyTest, body: &str) -> Option<bool> {
    test.first_miss(&HeldBody::read(body.as_bytes())).ok().map(|miss| miss.is_none())
}

#[test]
fn a_place_is_compared_with_what_it_should_be() {
    let key = test("/fields/project/key", Test::Is(text("DEMO")));
    for (body, expected) in [
        (r#"{"fields":{"project":{"key":"DEMO"},"summary":"x"}}"#, Some(true)),
        (r#" {"fields" : {"project":{"k\u0065y":"D\u0045MO"}}} "#, Some(true)),
        (r#"{"fields":{"project":{"key":"OTHER"}}}"#, Some(false)),
        (r#"{"fields":{"project":{"key":["DEMO"]}}}"#, Some(false)),
        (r#"{"fields":{"project":{"id":"1"}}}"#, Some(false)),
        (r#"{"fields":{"project":null}}"#, Some(false)),
        ("{}", Some(false)),
        ("[]", Some(false)),
        ("", Some(false)),
    ] {
        assert_eq!(fits(&key, body), expected, "{body}");
    }
}

#[test]
fn what_applications_could_read_differently_is_not_judged() {
    let any = test("/a", Test::Present);
    for body in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":1,"b":{"c":[{"d":1,"d":1}]}}"#,
        r#"{"a":1}x"#,
        r#"{"a":1}{"a":2}"#,
        "\u{feff}{\"a\":1}",
        r#"{"a":1,}"#,
        "{a:1}",
        "{'a':1}",
        r#"{"a":NaN}"#,
        r#"{"a":1e999}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1/*"*/}"#,
        "a=1",
        "{\"a\":\"\n\"}",
    ] {
        assert_eq!(fits(&any, body), None, "{body}");
    }
    assert!(HeldBody::read(b"{\"a\":\"\xff\"}").document().is_err());
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let zero = test("/0", Test::Present);
    assert_eq!(fits(&zero, &nested(MAX_DEPTH)), Some(true));
    assert_eq!(fits(&zero, &nested(MAX_DEPTH + 1)), None);
    assert_eq!(fits(&zero, &nested(100_000)), None);
}

#[test]
fn absent_and_optional_mean_what_they_say() {
    let absent = test("/a/b", Test::Absent);
    assert_eq!(fits(&absent, r#"{"a":{}}"#), Some(true));
    assert_eq!(fits(&absent, r#"{"a":{"b":null}}"#), Some(false));
    assert_eq!(fits(&absent, ""), Some(false), "no body is no JSON");
    let optional = test("/a", Test::AbsentOr(vec![Wanted::Truth(false)]));
    assert_eq!(fits(&optional, "{}"), Some(true));
    assert_eq!(fits(&optional, r#"{"a":false}"#), Some(true));
    assert_eq!(fits(&optional, r#"{"a":true}"#), Some(false));
    assert_eq!(fits(&optional, r#"{"a":null}"#), Some(false));
}

#[test]
fn pointers_read_as_rfc_6901_says() {
    for (pointer, body, found) in [
        ("/a~1b", r#"{"a/b":1}"#, true),
        ("/m~0n", r#"{"m~n":1}"#, true),
        ("/", r#"{"":1}"#, true),
        ("/a/1", r#"{"a":[0,1]}"#, true),
        ("/a/01", r#"{"a":[0,1]}"#, false),
        ("/a/+1", r#"{"a":[0,1]}"#, false),
        ("/a/-", r#"{"a":[0,1]}"#, false),
        ("/a/1", r#"{"a":{"1":0}}"#, true),
    ] {
        assert_eq!(fits(&test(pointer, Test::Present), body), Some(found), "{pointer}");
    }
    for bad in ["", "a", "a/b", "/a~", "/a~2", "/~"] {
        assert!(bad.parse::<Pointer>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_not_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = test("/a", Test::Present).first_miss(&HeldBody::read(&bytes));
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads(body in r#"[\[\]{}":,a01]{0,24}"#) {
        // Where we read, the common reader reads the same.
        if let Ok(Some(value)) = HeldBody::read(body.as_bytes()).document() {
            prop_assert_eq!(value, &serde_json::from_str::<Value>(&body).unwrap());
        }
    }
}
