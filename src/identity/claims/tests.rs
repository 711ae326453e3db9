use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

fn expected() -> Expected {
    Expected {
        issuer: "https://issuer.example/v2.0".to_owned(),
        audiences: vec!["api://outhaul".to_owned(), "1111".to_owned()],
        skew: Duration::from_secs(60),
        required: Vec::new(),
    }
}

fn checked(changes: &Value, expected: &Expected) -> Result<Window, ClaimFault> {
    let mut claims =
        json!({ "iss": "https://issuer.example/v2.0", "aud": "api://outhaul", "exp": NOW + 600 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    // Nothing in place of a value takes the claim away.
    claims.as_object_mut().unwrap().retain(|_, value| *value != json!("(absent)"));
    expected.check(&Verified::for_tests(claims), NOW)
}

#[test]
fn whom_it_is_from_and_for_counts_letter_by_letter() {
    for (changes, result) in [
        (json!({}), Ok(())),
        (json!({ "iss": "https://issuer.example/v2.0/" }), Err(ClaimFault::Issuer)),
        (json!({ "iss": "https://ISSUER.example/v2.0" }), Err(ClaimFault::Issuer)),
        (json!({ "iss": ["https://issuer.example/v2.0"] }), Err(ClaimFault::Issuer)),
        (json!({ "iss": "(absent)" }), Err(ClaimFault::Issuer)),
        (json!({ "aud": "1111" }), Ok(())),
        (json!({ "aud": ["1111"] }), Ok(())),
        (json!({ "aud": ["other", "api://outhaul"] }), Ok(())),
        (json!({ "aud": "api://outhaul/" }), Err(ClaimFault::Audience)),
        (json!({ "aud": "API://outhaul" }), Err(ClaimFault::Audience)),
        (json!({ "aud": "api://outhaul other" }), Err(ClaimFault::Audience)),
        (json!({ "aud": "" }), Err(ClaimFault::Audience)),
        (json!({ "aud": [] }), Err(ClaimFault::Audience)),
        (json!({ "aud": ["other"] }), Err(ClaimFault::Audience)),
        (json!({ "aud": [["api://outhaul"]] }), Err(ClaimFault::Audience)),
        (json!({ "aud": ["api://outhaul", 1] }), Err(ClaimFault::Audience)),
        (json!({ "aud": ["api://outhaul", null] }), Err(ClaimFault::Audience)),
        (json!({ "aud": { "api://outhaul": true } }), Err(ClaimFault::Audience)),
        (json!({ "aud": 1111 }), Err(ClaimFault::Audience)),
        (json!({ "aud": true }), Err(ClaimFault::Audience)),
        (json!({ "aud": "(absent)" }), Err(ClaimFault::Audience)),
    ] {
        assert_eq!(checked(&changes, &expected()).map(|_| ()), result, "{changes}");
    }
}

#[test]
fn when_it_is_good_is_asked_with_what_clocks_may_differ() {
    for (changes, result) in [
        (json!({ "exp": NOW + 1 }), Ok(())),
        (json!({ "exp": NOW }), Ok(())),
        (json!({ "exp": NOW - 59 }), Ok(())),
        (json!({ "exp": NOW - 60 }), Err(ClaimFault::Expired)),
        (json!({ "exp": 0 }), Err(ClaimFault::Expired)),
        (json!({ "exp": 1_800_000_000.5 }), Ok(())),
        (json!({ "exp": "(absent)" }), Err(ClaimFault::Endless)),
        (json!({ "exp": null }), Err(ClaimFault::Time("exp"))),
        (json!({ "exp": "1900000000" }), Err(ClaimFault::Time("exp"))),
        (json!({ "exp": [1_900_000_000] }), Err(ClaimFault::Time("exp"))),
        (json!({ "exp": true }), Err(ClaimFault::Time("exp"))),
        (json!({ "exp": -1 }), Err(ClaimFault::Time("exp"))),
        (json!({ "exp": 1e300 }), Err(ClaimFault::Time("exp"))),
        (json!({ "exp": u64::MAX }), Err(ClaimFault::Time("exp"))),
        (json!({ "nbf": NOW + 60 }), Ok(())),
        (json!({ "nbf": NOW + 61 }), Err(ClaimFault::Early("nbf"))),
        (json!({ "nbf": "0" }), Err(ClaimFault::Time("nbf"))),
        (json!({ "iat": NOW - 86_400 }), Ok(())),
        (json!({ "iat": NOW + 60 }), Ok(())),
        (json!({ "iat": NOW + 61 }), Err(ClaimFault::Early("iat"))),
        (json!({ "iat": "now" }), Err(ClaimFault::Time("iat"))),
    ] {
        assert_eq!(checked(&changes, &expected()).map(|_| ()), result, "{changes}");
    }
    let window = checked(&json!({ "nbf": NOW - 5 }), &expected()).unwrap();
    assert_eq!(window.until(), NOW + 600);
    let skew = Duration::from_secs(60);
    assert_eq!(window.check(NOW + 659, skew), Ok(()));
    assert_eq!(window.check(NOW + 660, skew), Err(ClaimFault::Expired));
    assert_eq!(window.check(NOW - 66, skew), Err(ClaimFault::Early("nbf")));
    let none = Expected { skew: Duration::ZERO, ..expected() };
    assert_eq!(checked(&json!({ "exp": NOW }), &none), Err(ClaimFault::Expired));
}

#[test]
fn what_else_it_must_say_is_asked_all() {
    let one = |claim: &str, values: &[&str]| Condition {
        claim: claim.to_owned(),
        test: Test::OneOf(values.iter().map(|value| (*value).to_owned()).collect()),
    };
    let contains = |claim: &str, value: &str| Condition {
        claim: claim.to_owned(),
        test: Test::Contains(value.to_owned()),
    };
    for (condition, claims, holds) in [
        (one("tid", &["a", "b"]), json!({ "tid": "b" }), true),
        (one("tid", &["a"]), json!({ "tid": "A" }), false),
        (one("tid", &["a"]), json!({ "tid": ["a"] }), false),
        (one("tid", &["a"]), json!({}), false),
        (one("tid", &["1"]), json!({ "tid": 1 }), false),
        (contains("scp", "jira.call"), json!({ "scp": "openid jira.call" }), true),
        (contains("scp", "jira.call"), json!({ "scp": "jira.calls" }), false),
        (contains("scp", "jira.call"), json!({ "scp": "jira.call,openid" }), false),
        (contains("roles", "Call"), json!({ "roles": ["Read", "Call"] }), true),
        (contains("roles", "Call"), json!({ "roles": [["Call"]] }), false),
        (contains("roles", "Call"), json!({ "roles": { "Call": true } }), false),
        (contains("roles", "Call"), json!({}), false),
    ] {
        let expected = Expected { required: vec![condition.clone()], ..expected() };
        assert_eq!(checked(&claims, &expected).is_ok(), holds, "{condition:?} {claims}");
    }
    let both = Expected { required: vec![one("a", &["1"]), one("b", &["2"])], ..expected() };
    assert_eq!(checked(&json!({ "a": "1" }), &both), Err(ClaimFault::Required("b".to_owned())));
    assert!(checked(&json!({ "a": "1", "b": "2" }), &both).is_ok());
}

proptest! {
    #[test]
    fn no_times_make_it_panic_and_none_lengthens_a_token(exp in any::<f64>(), nbf in any::<i64>(), now in any::<u64>()) {
        let claims = json!({ "iss": "https://issuer.example/v2.0", "aud": "1111", "exp": exp, "nbf": nbf });
        if let Ok(window) = expected().check(&Verified::for_tests(claims), now) {
            #[expect(clippy::cast_precision_loss, reason = "a test")]
            let late = now as f64 >= exp + 60.0;
            prop_assert!(!late);
            prop_assert!(window.check(now, Duration::from_secs(60)).is_ok());
        }
    }
}
