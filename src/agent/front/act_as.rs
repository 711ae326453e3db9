//! For whom a call is: the header `Outhaul-Act-As`.

use http::{HeaderMap, HeaderName};

use crate::agent::callers::Options;
use crate::common::act_as::ActAs;
use crate::common::ids::CallerName;
use crate::common::problem::{Code, Problem};

/// Names the person, as `provider:subject`.
const HEADER: HeaderName = HeaderName::from_static("outhaul-act-as");

/// The person the caller names, if it may name those of that provider. Most calls name nobody.
pub(super) fn named(
    headers: &HeaderMap,
    caller: &CallerName,
    options: Option<&Options>,
) -> Result<Option<ActAs>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(unreadable("Outhaul-Act-As is there more than once. Name one person."));
    }
    let text = value.to_str().map_err(|_| unreadable("Outhaul-Act-As holds bytes outside ASCII."))?;
    let act_as = ActAs::parse(text).map_err(|fault| unreadable(&format!("Outhaul-Act-As: {fault}.")))?;
    let nothing = Options::default();
    let refused = options.unwrap_or(&nothing).refuses(caller, &act_as);
    if let Some(problem) = refused {
        return Err(problem);
    }
    Ok(Some(act_as))
}

fn unreadable(detail: &str) -> Problem {
    Problem::new(Code::BadRequest, detail).with_extra("reason", "act-as")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&str], may: &[&str]) -> Result<Option<String>, (Code, String)> {
        let headers = values.iter().map(|value| (HEADER, value.parse().unwrap())).collect();
        let act_as = may.iter().map(|provider| provider.parse().unwrap()).collect();
        let options = Options { act_as, ..Options::default() };
        let caller = "bot".parse().unwrap();
        named(&headers, &caller, Some(&options))
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
}
