//! For whom a call is: the header `Outhaul-Act-As`, or the caller's own credential.

use http::{HeaderMap, HeaderName};

use crate::agent::callers::Options;
use crate::common::act_as::ActAs;
use crate::common::ids::CallerName;
use crate::common::problem::{Code, Problem};

/// Names the person, as `provider:subject`.
const HEADER: HeaderName = HeaderName::from_static("outhaul-act-as");

/// The person the caller names, if it may name those of that provider. Most calls name nobody. Whom the credential
/// itself proves is that person, and no header names another.
pub(super) fn named(
    headers: &HeaderMap,
    caller: &CallerName,
    options: Option<&Options>,
    proved: Option<ActAs>,
) -> Result<Option<ActAs>, Problem> {
    let nothing = Options::default();
    let options = options.unwrap_or(&nothing);
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return match proved.as_ref().and_then(|person| options.refuses(caller, person)) {
            Some(problem) => Err(problem),
            None => Ok(proved),
        };
    };
    if values.next().is_some() {
        return Err(unreadable("Outhaul-Act-As is there more than once. Name one person."));
    }
    let text = value.to_str().map_err(|_| unreadable("Outhaul-Act-As holds bytes outside ASCII."))?;
    let act_as = ActAs::parse(text).map_err(|fault| unreadable(&format!("Outhaul-Act-As: {fault}.")))?;
    if proved.is_some_and(|person| person != act_as) {
        return Err(Problem::new(
            Code::ActAsRefused,
            "The token names one person and Outhaul-Act-As another. Leave the header out.",
        ));
    }
    match options.refuses(caller, &act_as) {
        Some(problem) => Err(problem),
        None => Ok(Some(act_as)),
    }
}

fn unreadable(detail: &str) -> Problem {
    Problem::new(Code::BadRequest, detail).with_extra("reason", "act-as")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&str], may: &[&str]) -> Result<Option<String>, (Code, String)> {
        proved(None, values, may)
    }

    fn proved(proved: Option<&str>, values: &[&str], may: &[&str]) -> Result<Option<String>, (Code, String)> {
        let headers = values.iter().map(|value| (HEADER, value.parse().unwrap())).collect();
        let act_as = may.iter().map(|provider| provider.parse().unwrap()).collect();
        let options = Options { act_as, ..Options::default() };
        let caller = "bot".parse().unwrap();
        named(&headers, &caller, Some(&options), proved.map(|person| ActAs::parse(person).unwrap()))
            .map(|found| found.map(|act_as| act_as.to_string()))
            .map_err(|problem| (problem.code, problem.detail))
    }

    #[test]
    fn a_caller_names_people_of_its_providers_only() {
        assert_eq!(asked(&[], &[]), Ok(None));
        assert_eq!(asked(&["teams:a"], &["teams"]), Ok(Some("teams:a".to_owned())));
        assert_eq!(asked(&["teams:a%20b"], &["scim", "teams"]), Ok(Some("teams:a%20b".to_owned())));
        for may in [&[][..], &["scim"], &["team"]] {
            let (code, detail) = asked(&["teams:a"], may).unwrap_err();
            assert_eq!(code, Code::ActAsRefused);
            assert!(detail.contains("act-as = [\"teams\"]"), "{detail}");
        }
        for values in
            [&["teams:a", "teams:a"][..], &["teams"], &["teams:"], &[":a"], &["Teams:a"], &["teams:a b"]]
        {
            assert_eq!(asked(values, &["teams"]).unwrap_err().0, Code::BadRequest, "{values:?}");
        }
    }

    #[test]
    fn a_proved_person_is_the_only_one() {
        let found = Ok(Some("teams:a".to_owned()));
        assert_eq!(proved(Some("teams:a"), &[], &["teams"]), found);
        assert_eq!(proved(Some("teams:a"), &["teams:a"], &["teams"]), found);
        for (values, may) in [(&["teams:b"][..], &["teams"][..]), (&[], &["scim"]), (&["teams:a"], &[])] {
            assert_eq!(proved(Some("teams:a"), values, may).unwrap_err().0, Code::ActAsRefused, "{values:?}");
        }
    }
}
