//! `[issuer.NAME]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::egress::way;
use super::named;
use crate::agent::issuers::config::{Caller, Config, HttpsUrl, KeysAt, Limits, Person};
use crate::common::ids::IssuerName;
use crate::config::diagnose::{Located, Source, Span};
use crate::config::table::Table;
use crate::config::value::{FromValue, show_duration};
use crate::identity::claims::{Condition, Expected, Test};
use crate::identity::jws::Algorithm;

crate::read_as_text!(HttpsUrl, Algorithm);

/// All issuers without faults, in the file's order. Those of one `iss` are one too many: a token could be judged by
/// either. `has_proxy` says whether `[relay]` names one.
pub(super) fn issuers(top: &mut Table<'_>, has_proxy: bool) -> Vec<Config> {
    let source = top.source();
    let mut seen: Vec<String> = Vec::new();
    let mut all = Vec::new();
    for (name, mut table) in named::<IssuerName>(top, "issuer") {
        let at = table.at();
        let Some(config) = issuer(name, &mut table, has_proxy) else { continue };
        if seen.contains(&config.expected.issuer) {
            let help = "put both into one table: audience and callers are lists";
            source.fault(at, "another table is about the same issuer", help);
        }
        seen.push(config.expected.issuer.clone());
        all.push(config);
    }
    all
}

fn issuer(name: IssuerName, table: &mut Table<'_>, has_proxy: bool) -> Option<Config> {
    let source = table.source();
    let issuer: Option<Located<String>> =
        table.required("issuer", "\"the iss of its tokens, letter by letter\"");
    let audiences: Option<Located<Vec<Located<String>>>> =
        table.required("audience", "\"the aud of tokens for this site\"");
    let keys = keys(table);
    let algorithms: Option<Located<Vec<Located<Algorithm>>>> = table.optional("algorithms");
    let skew =
        table.duration("clock-skew", Duration::ZERO..=Duration::from_secs(300), Duration::from_secs(60));
    let required = table.or("require", Vec::new());
    let callers: Option<Located<Vec<Caller>>> =
        table.required("callers", "[{ claim = \"azp\", value = \"…\", caller = \"NAME\" }]");
    let person = table.optional("person");
    let egress = way(table, "egress", has_proxy);
    let ca_file = table.optional("ca-file");
    let limits = limits(table);
    if let Some(Located { value, at }) = &issuer
        && !is_plain(value)
    {
        source.fault(*at, "this can't be an issuer", "write the iss of its tokens, letter by letter");
    }
    if let Some(audiences) = &audiences {
        not_empty("audience", audiences, source);
        once(&audiences.value, source);
        for audience in audiences.value.iter().filter(|audience| !is_plain(&audience.value)) {
            source.fault(audience.at, "this can't be an audience", "write the aud of tokens for this site");
        }
    }
    if let Some(algorithms) = &algorithms {
        not_empty("algorithms", algorithms, source);
        once(&algorithms.value, source);
    }
    if let Some(callers) = &callers {
        not_empty("callers", callers, source);
    }
    let plain = |list: Vec<Located<String>>| list.into_iter().map(|one| one.value).collect();
    let algorithms = algorithms.map_or_else(
        || DEFAULT.to_vec(),
        |given| given.value.into_iter().map(|algorithm| algorithm.value).collect(),
    );
    let expected = Expected { issuer: issuer?.value, audiences: plain(audiences?.value), skew, required };
    let callers = callers?.value;
    Some(Config { name, expected, algorithms, keys: keys?, callers, person, egress, ca_file, limits })
}

fn keys(table: &mut Table<'_>) -> Option<KeysAt> {
    let (had_set, had_discovery) = (table.has("key-set"), table.has("discovery"));
    let set = table.optional("key-set").map(KeysAt::Set);
    let discovery = table.optional("discovery").map(KeysAt::Discovery);
    let help = "write one of key-set and discovery";
    match (had_set, had_discovery) {
        (true, true) => {
            table.source().fault(table.at(), "it says twice where the keys are", help);
            None
        }
        (false, false) => {
            table.source().fault(table.at(), "it does not say where the keys are", help);
            None
        }
        _ => set.or(discovery),
    }
}

fn limits(table: &mut Table<'_>) -> Limits {
    let usual = Limits::default();
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let mut duration = |key, bounds: RangeInclusive<Duration>, usual| table.duration(key, bounds, usual);
    let min_age = duration("min-age", 60 * second..=day, usual.min_age);
    let max_age = duration("max-age", 60 * second..=7 * day, usual.max_age);
    let max_stale = duration("max-stale", Duration::ZERO..=7 * day, usual.max_stale);
    let refetch_after = duration("refetch-after", second..=3600 * second, usual.refetch_after);
    if max_age < min_age {
        let what = format!("max-age is below min-age, which is {}", show_duration(min_age));
        table.source().fault(table.at(), what, "write a longer max-age, or a shorter min-age");
    }
    Limits { min_age, max_age, max_stale, refetch_after }
}

fn not_empty<T>(key: &str, list: &Located<Vec<T>>, source: &Source<'_>) {
    if list.value.is_empty() {
        source.fault(list.at, format!("the list of {key} is empty"), "name at least one");
    }
}

fn once<T: PartialEq>(list: &[Located<T>], source: &Source<'_>) {
    for (index, item) in list.iter().enumerate() {
        if list.iter().take(index).any(|before| before.value == item.value) {
            source.fault(item.at, "this is listed twice", "remove one of the two");
        }
    }
}

/// What can be the text of a claim that is compared: visible, and no space that somebody overlooks.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1000 && !text.chars().any(|one| one.is_control() || one.is_whitespace())
}

/// The name of a claim.
fn claim(table: &mut Table<'_>, example: &str) -> Option<String> {
    let claim: Located<String> = table.required("claim", example)?;
    if !is_plain(&claim.value) {
        table.source().fault(claim.at, "this can't be a claim", format!("write its name, as in {example}"));
    }
    Some(claim.value)
}

/// A value that stands as a table.
fn inline<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>, help: &str) -> Option<Table<'d>> {
    if let DeValue::Table(entries) = value {
        return Some(Table::inline(source, entries, at));
    }
    source.fault(at, "this is no table", help);
    None
}

impl FromValue for Caller {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let help = "write { claim = \"azp\", value = \"…\", caller = \"NAME\" }";
        let mut table = inline(value, at, source, help)?;
        let claim = claim(&mut table, "\"azp\"");
        let value: Option<Located<String>> =
            table.required("value", "\"what the claim says for this caller\"");
        let caller = table.required("caller", "\"NAME\"");
        let value = value?;
        if value.value.is_empty() {
            source.fault(value.at, "the value is empty", "write what the claim says for this caller");
        }
        Some(Self { claim: claim?, value: value.value, caller: caller? })
    }
}

impl FromValue for Person {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let help = "write { claim = \"oid\", provider = \"entra\" }";
        let mut table = inline(value, at, source, help)?;
        let claim = claim(&mut table, "\"oid\"");
        let provider = table.required("provider", "\"entra\"");
        let conditions = table.or("if", Vec::new());
        Some(Self { claim: claim?, provider: provider?, conditions })
    }
}

impl FromValue for Condition {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let help = "write { claim = \"tid\", value = \"…\" } or { claim = \"scp\", contains = \"…\" }";
        let mut table = inline(value, at, source, help)?;
        let claim = claim(&mut table, "\"tid\"");
        let had = (table.has("value"), table.has("contains"));
        let values: Option<Located<Vec<String>>> = table.optional("value");
        let contains: Option<Located<String>> = table.optional("contains");
        if had.0 == had.1 {
            source.fault(at, "it says not exactly one thing that the claim must be", help);
            return None;
        }
        if let Some(values) = &values {
            not_empty("value", values, source);
        }
        let test = match contains {
            Some(Located { value, at }) => {
                if !is_plain(&value) {
                    source.fault(at, "this can't be one word of a claim", "write one word, without spaces");
                }
                Test::Contains(value)
            }
            None => Test::OneOf(values?.value),
        };
        Some(Self { claim: claim?, test })
    }
}

const DEFAULT: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::Config as File;
    use crate::agent::egress::Way;

    const TOP: &str = "[relay]\nurl = \"wss://relay.example.com\"\n[upstream.jira]\nurl = \"http://127.0.0.1:1\"\nbase-url = \"https://jira.example\"\n";
    const ISSUER: &str =
        "[issuer.entra]\nissuer = \"https://login.example/t/v2.0\"\naudience = \"api://outhaul\"\n";
    const KEYS: &str = "key-set = \"https://login.example/t/keys\"\n";
    const CALLERS: &str = "callers = [{ claim = \"azp\", value = \"1111\", caller = \"teams-bot\" }]\n";

    fn read(text: &str) -> Result<Vec<Config>, String> {
        let read = File::parse("agent.toml", &format!("{TOP}{text}"));
        read.map(|config| config.issuers).map_err(|report| report.to_string())
    }

    #[test]
    fn a_table_reads_with_its_defaults_and_whole() {
        let least = read(&format!("{ISSUER}{KEYS}{CALLERS}")).unwrap();
        assert_eq!(least[0].algorithms, DEFAULT);
        assert_eq!(least[0].expected.skew, Duration::from_secs(60));
        assert_eq!(least[0].limits, Limits::default());
        assert_eq!((least[0].person.clone(), least[0].egress), (None, None));
        let whole = format!(
            "{}{ISSUER}discovery = \"https://login.example/t/.well-known/openid-configuration\"\n\
             algorithms = [\"PS256\", \"EdDSA\"]\nclock-skew = \"5 m\"\negress = \"proxy\"\nca-file = \"/etc/ca.pem\"\n\
             require = [{{ claim = \"tid\", value = [\"a\", \"b\"] }}, {{ claim = \"scp\", contains = \"jira\" }}]\n\
             person = {{ claim = \"oid\", provider = \"entra\", if = {{ claim = \"idtyp\", value = \"user\" }} }}\n\
             min-age = \"10 m\"\nmax-age = \"2 h\"\nmax-stale = \"0 s\"\nrefetch-after = \"5 m\"\n{CALLERS}",
            "[caller.teams-bot]\nact-as = [\"entra\"]\n"
        );
        let text = format!("{TOP}{whole}").replace("[upstream", "proxy = \"http://proxy:1\"\n[upstream");
        let whole = File::parse("agent.toml", &text).unwrap().issuers.remove(0);
        assert_eq!(whole.algorithms, [Algorithm::Ps256, Algorithm::EdDsa]);
        assert_eq!(whole.expected.required.len(), 2);
        assert_eq!(whole.person.unwrap().conditions.len(), 1);
        assert_eq!(whole.egress, Some(Way::Proxy));
        assert!(matches!(whole.keys, KeysAt::Discovery(_)));
        assert_eq!(whole.limits.max_stale, Duration::ZERO);
    }

    #[test]
    fn each_fault_is_shown_at_its_line() {
        let all = |more: &str| format!("{ISSUER}{KEYS}{CALLERS}{more}");
        for (text, says) in [
            (format!("{ISSUER}{CALLERS}"), "does not say where the keys are"),
            (all("discovery = \"https://a/b\"\n"), "says twice where the keys are"),
            (format!("{ISSUER}{CALLERS}key-set = \"http://a/b\"\n"), "must begin with https://"),
            (format!("{ISSUER}{CALLERS}discovery = \"https://u:p@a/b\"\n"), "no user name or password"),
            (format!("{ISSUER}{KEYS}"), "lacks callers"),
            (format!("{ISSUER}{KEYS}callers = []\n"), "list of callers is empty"),
            (format!("{ISSUER}{KEYS}callers = [{{ claim = \"azp\" }}]\n"), "lacks value"),
            (format!("{ISSUER}{KEYS}callers = \"bot\"\n"), "no table"),
            (
                format!("{ISSUER}{KEYS}callers = [{{ claim = \"\", value = \"1\", caller = \"b\" }}]\n"),
                "can't be a claim",
            ),
            (
                format!("{ISSUER}{KEYS}callers = [{{ claim = \"a\", value = \"\", caller = \"b\" }}]\n"),
                "value is empty",
            ),
            (
                format!("{ISSUER}{KEYS}callers = [{{ claim = \"a\", value = \"1\", caller = \"B\" }}]\n"),
                "no caller name",
            ),
            (format!("[issuer.x]\n{KEYS}{CALLERS}"), "lacks issuer"),
            (
                format!("[issuer.x]\nissuer = \"a b\"\naudience = \"a\"\n{KEYS}{CALLERS}"),
                "can't be an issuer",
            ),
            (
                format!("[issuer.x]\nissuer = \"a\"\naudience = []\n{KEYS}{CALLERS}"),
                "list of audience is empty",
            ),
            (format!("[issuer.x]\nissuer = \"a\"\naudience = \"\"\n{KEYS}{CALLERS}"), "can't be an audience"),
            (format!("[issuer.X]\n{KEYS}"), "no issuer name"),
            (all("algorithms = [\"none\"]\n"), "“none” is no algorithm"),
            (all("algorithms = [\"HS256\"]\n"), "“HS256” is no algorithm"),
            (all("algorithms = []\n"), "list of algorithms is empty"),
            (all("algorithms = [\"RS256\", \"RS256\"]\n"), "listed twice"),
            (all("clock-skew = \"6 m\"\n"), "too large"),
            (all("min-age = \"1 s\"\n"), "too small"),
            (all("min-age = \"2 h\"\nmax-age = \"1 h\"\n"), "max-age is below min-age"),
            (all("require = [{ claim = \"tid\" }]\n"), "not exactly one thing"),
            (
                all("require = [{ claim = \"t\", value = \"a\", contains = \"b\" }]\n"),
                "not exactly one thing",
            ),
            (all("require = [{ claim = \"t\", contains = \"a b\" }]\n"), "one word"),
            (all("require = [{ claim = \"t\", value = [] }]\n"), "list of value is empty"),
            (all("person = { claim = \"oid\" }\n"), "lacks provider"),
            (all("person = { claim = \"oid\", provider = \"Entra\" }\n"), "no provider"),
            (all("egress = \"proxy\"\n"), "[relay] names none"),
            (all("egress = \"pigeon\"\n"), "“pigeon” is no way out"),
            (all("audiences = \"x\"\n"), "did you mean audience"),
            (
                format!("{}{}", all(""), all("").replace("[issuer.entra]", "[issuer.other]")),
                "another table is about the same issuer",
            ),
        ] {
            let fault = read(&text).unwrap_err();
            assert!(fault.contains(says), "{text}\n{fault}");
            assert!(fault.contains('^'), "{fault}");
        }
    }
}
