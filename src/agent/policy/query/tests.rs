use super::super::value::{Pattern, Test, Wanted};
use super::conditions::Reading;
use super::*;

#[test]
fn what_jql_needs_passes_unchanged() {
    for raw in [
        "",
        "jql=project%20%3D%20DEMO%20AND%20text%20~%20%22a%26b%22&maxResults=50",
        "jql=project+=+X&fields=a,b;c",
        "a=%zz&a=%&b=\"<>[]{}|^`\\",
        "x=os_username",
    ] {
        assert_eq!(Query::parse(Some(raw)).unwrap().as_str(), Some(raw));
    }
    assert_eq!(Query::parse(None).unwrap().as_str(), None);
}

#[test]
fn what_no_query_may_hold_is_refused() {
    for (raw, fault) in [
        ("a=b c", PathFault::Query),
        ("a=\r\nX: y", PathFault::Query),
        ("a=\u{0}", PathFault::Query),
        ("a=\u{7f}", PathFault::Query),
        ("a=ä", PathFault::Query),
        ("a#b", PathFault::Fragment),
        ("os_username=admin&os_password=x", PathFault::QueryCredentials),
        ("a=b&os%5Fpassword=x", PathFault::QueryCredentials),
        ("a;OS_USERNAME", PathFault::QueryCredentials),
    ] {
        assert_eq!(Query::parse(Some(raw)), Err(fault), "{raw}");
    }
}

fn test(name: &str, test: Test) -> QueryTest {
    QueryTest { tests: vec![(name.into(), test)], only: None }
}

fn is(values: &[&str]) -> Test {
    Test::Is(values.iter().map(|value| Wanted::Text(Pattern::new(value))).collect())
}

fn fits(test: &QueryTest, raw: &str, reading: Reading) -> Result<bool, QueryFault> {
    let query = Query::parse(Some(raw).filter(|raw| !raw.is_empty())).unwrap();
    test.first_miss(&query, reading).map(|miss| miss.is_none())
}

#[test]
fn parameters_are_compared_decoded() {
    let expand = test("expand", is(&["names", "rendered fields"]));
    for (raw, expected) in [
        ("expand=names", true),
        ("a=b&ex%70and=n%61mes&c", true),
        ("expand=rendered%20fields", true),
        ("expand=names,schema", false),
        ("expand=Names", false),
        ("Expand=names", false),
        ("expand", false),
        ("", false),
        ("a=expand=names", false),
        // JQL in another parameter may hold what it likes.
        ("jql=a+%3D+%22b%0Ac%FF%22&expand=names", true),
    ] {
        assert_eq!(fits(&expand, raw, Reading::Every), Ok(expected), "{raw}");
    }
}

#[test]
fn a_plus_must_fit_both_ways_to_allow_and_one_way_to_deny() {
    let spaced = test("a", is(&["x y"]));
    assert_eq!(fits(&spaced, "a=x+y", Reading::Every), Ok(false));
    assert_eq!(fits(&spaced, "a=x+y", Reading::Some), Ok(true));
    let plus = test("a", is(&["x+y"]));
    assert_eq!(fits(&plus, "a=x%2By", Reading::Every), Ok(true));
    assert_eq!(fits(&plus, "a=x+y", Reading::Every), Ok(false));
    assert_eq!(fits(&plus, "a=x+y", Reading::Some), Ok(true));
    assert_eq!(fits(&test("a", is(&["x*"])), "a=x+y", Reading::Every), Ok(true));
}

#[test]
fn what_applications_could_read_differently_is_not_judged() {
    let used = test("a", Test::Present);
    for (raw, fault) in [
        ("a=1&a=2", QueryFault::Twice("a".into())),
        ("a=1&%61", QueryFault::Twice("a".into())),
        ("a=1;b=2", QueryFault::Semicolon),
        ("a=%", QueryFault::Percent),
        ("b=%zz&a=1", QueryFault::Percent),
        ("b%5=1", QueryFault::Percent),
        ("a=%00", QueryFault::Text),
        ("a=%0d%0aX", QueryFault::Text),
        ("a=%ff", QueryFault::Text),
        ("b%00=1", QueryFault::Text),
        ("a+=1", QueryFault::Plus),
    ] {
        assert_eq!(fits(&used, raw, Reading::Every), Err(fault), "{raw}");
    }
    for raw in ["a=1&b=2&b=3", "a=1&b=%ff", "a=1&b=%0a", "a=1&&"] {
        assert_eq!(fits(&used, raw, Reading::Every), Ok(true), "{raw}");
    }
    assert_eq!(fits(&QueryTest::default(), "a=1&a=%zz;;", Reading::Every), Ok(true), "nothing asked");
}

#[test]
fn only_the_listed_parameters_pass() {
    let only = QueryTest {
        tests: vec![("expand".into(), Test::AbsentOr(vec![Wanted::Text(Pattern::new("names"))]))],
        only: Some(vec!["fields".into()]),
    };
    for (raw, expected) in [
        ("", true),
        ("fields=a&fields=b", true),
        ("expand=names&fields=a", true),
        ("expand=all", false),
        ("fields=a&properties=b", false),
        ("FIELDS=a", false),
        ("=x", false),
    ] {
        assert_eq!(fits(&only, raw, Reading::Every), Ok(expected), "{raw}");
    }
    let query = Query::parse(Some("x%20y=1")).unwrap();
    let miss = only.first_miss(&query, Reading::Every).unwrap().unwrap().to_string();
    assert_eq!(miss, "the parameter “x y” is not among those it takes");
    assert_eq!(
        only.to_string(),
        "expand must be \"names\" or not be there; no parameters but expand, fields"
    );
}

#[test]
fn absent_means_under_any_spelling() {
    let absent = test("notifyUsers", Test::Absent);
    assert_eq!(fits(&absent, "a=1", Reading::Every), Ok(true));
    assert_eq!(fits(&absent, "notify%55sers=false", Reading::Every), Ok(false));
    assert_eq!(fits(&absent, "notifyUsers", Reading::Every), Ok(false));
}

proptest::proptest! {
    #[test]
    fn what_is_decoded_is_what_was_encoded(name in "\\PC{0,8}", value in "\\PC{0,12}") {
        proptest::prop_assume!(!name.is_empty() && !name.chars().chain(value.chars()).any(char::is_control));
        let encode = |text: &str| text.bytes().flat_map(|byte| format!("%{byte:02x}").into_bytes()).map(char::from).collect::<String>();
        let query = Query::parse(Some(&format!("x=1&{}={}", encode(&name), encode(&value))));
        proptest::prop_assume!(query.is_ok() && name != "x");
        let exact = value.replace('\\', "\\\\").replace('*', "\\*");
        let test = test(&name, is(&[&exact]));
        let miss = test.first_miss(&query.unwrap(), Reading::Every);
        proptest::prop_assert_eq!(miss, Ok(None));
    }

    #[test]
    fn no_query_panics_and_every_accepted_one_is_unchanged(raw in "\\PC{0,60}|[%=&;0-9a-f_os]{0,60}") {
        if let Ok(query) = Query::parse(Some(&raw)) {
            proptest::prop_assert_eq!(query.as_str(), Some(raw.as_str()));
        }
    }
}
