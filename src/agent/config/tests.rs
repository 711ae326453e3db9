use std::time::Duration;

use super::*;
use crate::agent::credentials::Proof;
use crate::agent::policy::{Call, CanonicalPath, Identity, Query, decide};
use crate::common::limits::ByteSize;
use crate::common::report::Exit;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

const HEAD: &str = "\
[relay]
url = \"wss://r\"
[upstream.jira]
url = \"http://j\"
[service.reader]
user = \"svc\"
pat = { file = \"/x\" }
";

fn rule(keys: &str) -> String {
    format!("[[policy.rule]]\nallow = \"GET /a\"\nwhy = \"w\"\nas = \"anonymous\"\n{keys}\n")
}

fn faults(text: &str) -> String {
    let report = Config::parse("agent.toml", text).unwrap_err();
    assert_eq!(report.exit(), Exit::Config);
    report.to_string()
}

#[test]
fn the_example_reads() {
    let config = Config::parse("config.example.toml", EXAMPLE).unwrap();
    assert_eq!(config.relay.url.to_string(), "wss://relay.example.com");
    assert_eq!(config.upstreams[0].base_url.to_string(), "https://jira.corp.example");
    assert_eq!(config.policy.denials().len(), 1);
    assert!(config.policy.rules().len() > 30, "a profile and rules of its own");
    assert_eq!(config.callers.len(), 1);
}

#[test]
fn a_secret_can_lie_in_the_store() {
    use crate::agent::credentials::stored::SecretPlace;
    for (key, proof) in
        [("pat", Proof::Pat(SecretPlace::Stored)), ("basic-password", Proof::Password(SecretPlace::Stored))]
    {
        let text = HEAD.replace("pat = { file = \"/x\" }", &format!("{key} = \"stored\""));
        assert_eq!(Config::parse("x", &text).unwrap().services[0].proof, proof);
        // Any other text may be the secret itself.
        let faults = faults(&text.replace("\"stored\"", "\"hunter2\""));
        assert!(faults.contains("write \"stored\"") && !faults.contains("hunter2"), "{faults}");
    }
}

/// Each line like `# key = value` or `# [table]`, but not sentences.
fn commented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("# ")?;
    if rest.starts_with('[') && rest.ends_with(']') {
        return Some(rest);
    }
    let (key, _) = rest.split_once(" = ")?;
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-').then_some(rest)
}

#[test]
fn every_key_that_the_example_comments_out_reads_and_shows_its_default() {
    // A certificate comes from files or by ACME.
    let lines = EXAMPLE.lines().map(|line| commented(line).unwrap_or(line));
    let lines: Vec<&str> = lines.filter(|line| !line.contains("/etc/outhaul/direct.")).collect();
    let open = lines.join("\n");
    let (open, given) = (Config::parse("x", &open).unwrap(), Config::parse("x", EXAMPLE).unwrap());
    assert!(
        open.relay.proxy.as_ref().is_some_and(|proxy| proxy.credentials.is_some()) && open.metrics.is_some()
    );
    // What has no default is an example; all else must be the same.
    let mut relay = open.relay.clone();
    (relay.proxy, relay.ca_file) = (None, None);
    assert_eq!(relay, given.relay);
    assert_eq!((&open.state, &open.admin_socket, &open.log), (&given.state, &given.admin_socket, &given.log));
    let link = &open.oauth[&"jira".parse::<UpstreamName>().unwrap()];
    assert_eq!((link.scope.as_str(), link.token_path.as_str()), ("READ WRITE", "/rest/oauth2/latest/token"));
    assert_eq!(link.authorize_path, "/rest/oauth2/latest/authorize");
    assert!(given.oauth.is_empty() && given.pages.is_none());
    assert!(!open.pages.as_ref().unwrap().accept_relay_trust);
    assert_eq!(link.redirect_url, open.pages.unwrap().callback());
    let mut upstream = open.upstreams[0].clone();
    (upstream.ca_file, upstream.affinity_cookie) = (None, None);
    assert_eq!(upstream, given.upstreams[0]);
    let acme = open.acme.unwrap();
    assert_eq!(
        (acme.egress, acme.names.len(), given.acme),
        (Some(crate::agent::egress::Way::Relay), 2, None)
    );
    assert_eq!((open.services, open.callers), (given.services, given.callers));
    let entra = &open.issuers[0];
    assert_eq!((open.issuers.len(), given.issuers.len()), (2, 0));
    assert_eq!(entra.limits, issuers::config::Limits::default());
    assert_eq!((entra.expected.skew, entra.algorithms.len()), (Duration::from_secs(60), 2));
    assert_eq!(open.idempotency, given.idempotency);
    assert_eq!(given.idempotency, idempotency::Limits::default());
    assert_eq!((open.audit, given.audit), (given.audit, crate::agent::audit::Settings::default()));
    assert!(open.egress.ca_file.is_some() && open.egress.bytes_a_day.is_some());
    let egress = crate::agent::egress::Settings { ca_file: None, bytes_a_day: None, ..open.egress };
    assert_eq!((egress, given.egress), Default::default());
}

#[test]
fn a_key_that_is_no_more_says_what_to_do() {
    let text = "[relay]\nurl = \"wss://relay.example.com\"\nallow-unbound = true\n";
    let fault = faults(text);
    assert!(fault.contains("allow-unbound is no more") && fault.contains("remove it"), "{fault}");
    assert!(fault.contains("3 | allow-unbound = true"), "{fault}");
}

#[test]
fn the_example_names_every_key() {
    // Whatever a reader asks for is named in the list of known keys beside an unknown one.
    for (table, unknown) in [
        ("relay", "[relay]\nqqqqqqqq = 1"),
        ("upstream", "[upstream.jira]\nqqqqqqqq = 1"),
        ("audit", "[audit]\nqqqqqqqq = 1"),
        ("egress", "[egress]\nqqqqqqqq = 1"),
        ("oauth", "[upstream.jira.oauth]\nqqqqqqqq = 1"),
        ("policy", "[policy]\nqqqqqqqq = 1"),
        ("profile", "[policy]\nprofiles = [\"jira-read\"]\n[policy.profile.jira-read]\nqqqqqqqq = 1"),
        ("rule", "[[policy.rule]]\nqqqqqqqq = 1"),
        ("denying rule", "[[policy.rule]]\ndeny = \"GET /a\"\nqqqqqqqq = 1"),
        ("service", "[service.x]\nqqqqqqqq = 1"),
        ("client credentials", "[service.x.client-credentials]\nqqqqqqqq = 1"),
        ("caller", "[caller.x]\nqqqqqqqq = 1"),
        ("issuer", "[issuer.x]\nqqqqqqqq = 1"),
        ("idempotency", "[idempotency]\nqqqqqqqq = 1"),
        ("pages", "[pages]\nqqqqqqqq = 1"),
        ("pass-through", "[pass-through]\nqqqqqqqq = 1"),
        ("acme", "[pass-through.acme]\nqqqqqqqq = 1"),
        ("external account", "[pass-through.acme.external-account]\nqqqqqqqq = 1"),
        ("log", "[log]\nqqqqqqqq = 1"),
        ("top", "qqqqqqqq = 1"),
    ] {
        let faults = faults(unknown);
        let known = faults.split("known here: ").nth(1).unwrap_or_else(|| panic!("{table}: {faults}"));
        for key in known.lines().next().unwrap().split(", ") {
            let named = |line: &str| {
                line.starts_with(&format!("{key} ="))
                    || line.starts_with(&format!("# {key} ="))
                    || line.trim_start_matches('[').starts_with(key)
                    || line.contains(&format!("{key} = {{"))
                    || line.contains(&format!("{{ {key} ="))
                    || line == format!("# [{key}]")
                    || line.contains(&format!("[policy.{key}"))
                    || line.contains(&format!("[pass-through.{key}"))
                    || line.contains(&format!("[upstream.jira.{key}"))
            };
            assert!(EXAMPLE.lines().any(named), "{table}: {key}");
        }
    }
}

#[test]
fn defaults_are_these() {
    let config = Config::parse("x", HEAD).unwrap();
    assert_eq!(config.relay.tunnels, 2);
    assert_eq!(config.state.to_str(), Some("/var/lib/outhaul-agent"));
    assert_eq!(config.admin_socket.to_str(), Some("/run/outhaul-agent/admin.sock"));
    assert_eq!((config.log.filter.as_str(), config.log.format), ("info", Format::Text));
    let jira = &config.upstreams[0];
    assert_eq!(jira.base_url, jira.nodes[0]);
    assert!(jira.identity_header && !jira.stateless);
    assert_eq!(jira.connect_timeout, Duration::from_secs(5));
    assert_eq!(jira.first_byte_timeout, Duration::from_secs(120));
    assert_eq!(jira.idle_timeout, Duration::from_secs(60));
    assert_eq!(jira.max_request_body, ByteSize::mib(256));
    assert!(config.policy.rules().is_empty(), "no rule, nothing passes");
}

#[test]
fn the_memory_of_keys_is_bounded_as_the_file_says() {
    let text = format!(
        "{HEAD}[idempotency]\nkeep = \"1 h\"\nmax-keys = 5\nmax-answer = \"1 KB\"\nmax-answers = \"1 MB\""
    );
    let limits = Config::parse("x", &text).unwrap().idempotency;
    assert_eq!(
        (limits.keep, limits.max_keys, limits.max_keys_per_caller),
        (Duration::from_secs(3600), 5, 50_000)
    );
    assert_eq!((limits.max_answer, limits.max_answers), (ByteSize::kib(1), ByteSize::mib(1)));
    for bad in
        ["keep = \"1 s\"", "max-keys = 0", "max-answer = \"1 GB\"", "max-answers = \"1 KB\"", "max-key = 1"]
    {
        let faults = faults(&format!("{HEAD}[idempotency]\n{bad}"));
        assert!(faults.contains(bad.split(' ').next().unwrap()), "{faults}");
    }
}

#[test]
fn a_rule_becomes_what_it_says() {
    let text = format!(
        "{HEAD}[[policy.rule]]\nallow = \"POST /a/*\"\nwhy = \"w\"\nas = {{ service = \"reader\" }}\ncaller = \"bot\"\nmax-body = \"1 KB\""
    );
    let config = Config::parse("/etc/outhaul/agent.toml", &text).unwrap();
    let path = CanonicalPath::parse("/a/b").unwrap();
    let (upstream, caller) = ("jira".parse().unwrap(), "bot".parse().unwrap());
    let call = Call::new(http::Method::POST, upstream, path, Query::none(), Some(caller));
    let rule = decide(&config.policy, &call).unwrap();
    assert_eq!(rule.identity(), &Identity::Service("reader".parse().unwrap()));
    assert_eq!(rule.max_body(), Some(ByteSize::kib(1)));
    assert_eq!(rule.place().to_string(), "agent.toml:9");
}

#[test]
fn each_fault_says_what_to_do() {
    let two = format!("{HEAD}[upstream.wiki]\nurl = \"http://w\"\n");
    let head = |keys: &str| format!("{HEAD}{keys}");
    for (text, says) in [
        (String::new(), "[relay] lacks url"),
        (String::new(), "names no application to reach"),
        ("[relay]\nurl = \"https://r\"".into(), "must begin with wss://"),
        (HEAD.replace("[upstream.jira]", "[upstream.Jira]"), "“Jira” is no upstream name"),
        (HEAD.replace("[upstream.jira]", "[upstream.scim]"), "choose another name"),
        (HEAD.replace("\"http://j\"", "[]"), "the list of nodes is empty"),
        (HEAD.replace("\"http://j\"", "[\"http://j\", \"http://J/\"]"), "this node is listed twice"),
        (HEAD.replace("\"http://j\"", "[\"http://j\", \"http://k\"]"), "[upstream.jira] lacks base-url"),
        (HEAD.replace("\"http://j\"", "\"http://j?a=b\""), "must end before the ?"),
        (HEAD.replace("\"http://j\"", "\"http://j\"\nbase-url = \"https://j#x\""), "must end before the #"),
        (
            HEAD.replace("\"http://j\"", "\"http://j\"\nconnect-timeout = \"0 s\""),
            "connect-timeout is too small",
        ),
        (HEAD.replace("\"http://j\"", "\"http://j\"\nmax-connections = 0"), "max-connections is too small"),
        (HEAD.replace("\"http://j\"", "\"http://j\"\nidentity-header = \"x\""), "no identity header we know"),
        (HEAD.replace("\"http://j\"", "\"http://j\"\naffinity-cookie = \"a=b\""), "no name of a cookie"),
        (HEAD.replace("\"wss://r\"", "\"wss://r\"\nproxy = \"https://p/x\""), "write http://HOST:PORT"),
        (
            HEAD.replace("\"wss://r\"", "\"wss://r\"\nproxy = \"socks5://p\""),
            "must begin with http:// or https://",
        ),
        (HEAD.replace("\"wss://r\"", "\"wss://r\"\nno-proxy = [\"x\"]"), "but no proxy"),
        (
            format!("{HEAD}\n").replace("[upstream.jira]", "[upstream.jira]\nvia-proxy = true"),
            "through the proxy, but there is none",
        ),
        (HEAD.replace("\"wss://r\"", "\"wss://r\"\nproxy-login = \"ntlm\""), "but no proxy"),
        (
            HEAD.replace("\"wss://r\"", "\"wss://r\"\nproxy = \"http://p\"\nproxy-login = \"ntlm\""),
            "nothing to log in with",
        ),
        (
            HEAD.replace("\"wss://r\"", "\"wss://r\"\nproxy = \"http://p\"\nproxy-login = \"digest\""),
            "\"basic\", \"ntlm\" or \"negotiate\"",
        ),
        (
            HEAD.replace("\"wss://r\"", "\"wss://r\"\nproxy = \"http://p\"\nno-proxy = [\"a b\"]"),
            "is no host, address or network",
        ),
        (HEAD.replace("\"wss://r\"", "\"wss://r\"\nproxy-credentials = { file = \"/p\" }"), "but no proxy"),
        (HEAD.replace("\"wss://r\"", "\"wss://r\"\ntunnels = 0"), "tunnels is too small"),
        (HEAD.replace("pat = { file = \"/x\" }", ""), "has no secret"),
        (HEAD.replace("pat =", "basic-password = { file = \"/y\" }\npat ="), "has two secrets"),
        (HEAD.replace("{ file = \"/x\" }", "\"hunter2\""), "a secret must not stand in this file"),
        (HEAD.replace("\"svc\"", "\"a:b\""), "this can't be a user name"),
        (head("[log]\nformat = \"xml\""), "write \"text\" or \"json\""),
        (head("[log]\nfilter = \"a=b=c\""), "is no log filter"),
        (head("[policy]\nprofils = []"), "unknown key profils in [policy]"),
        (head("[[policy.rule]]"), "[policy.rule] lacks why"),
        (head(&rule("upstream = \"jria\"")), "did you mean “jira”?"),
        (head(&rule("caller = []")), "name callers, or remove the key"),
        (head(&rule("caller = [\"a\", \"a\"]")), "“a” is listed twice"),
        (head(&rule("caller = \"A\"")), "“A” is no caller name"),
        (head(&rule("").replace("\"w\"", "\" \"")), "the reason is empty"),
        (
            head(&rule("").replace("\"anonymous\"", "\"reader\"")),
            "write \"user\", \"anonymous\" or { service",
        ),
        (head(&rule("").replace("\"anonymous\"", "{ service = \"raeder\" }")), "did you mean “reader”?"),
        (head(&rule("").replace("\"anonymous\"", "{ servise = \"reader\" }")), "did you mean service?"),
        (head(&rule("").replace("GET /a", "GET /a/../b")), "a segment of the path is . or .."),
        (head(&rule("").replace("GET /a", "get /a")), "“get” is no method"),
        (format!("{two}{}", rule("")), "[policy.rule] lacks upstream"),
        (head(&format!("{}{}", rule(""), rule("caller = \"x\""))), "the one at line 9 fits every call"),
        (
            head(&format!(
                "{}{}",
                rule("").replace("/a", "/**"),
                rule("").replace("\"anonymous\"", "\"user\"")
            )),
            "this rule never decides",
        ),
    ] {
        let faults = faults(&text);
        assert!(faults.contains(says), "{says}\n{faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
    }
}

#[test]
fn one_fault_is_not_reported_twice_in_other_words() {
    let text = HEAD.replace("\"http://j\"", "5") + &rule("upstream = \"jira\"");
    assert!(faults(&text).contains("agent.toml has a fault\n"), "{}", faults(&text));
    let text = HEAD.replace("\"/x\"", "5") + &rule("").replace("\"anonymous\"", "{ service = \"reader\" }");
    let faults = faults(&text);
    assert!(!faults.contains("there is no service"), "{faults}");
}

#[test]
fn a_needless_rule_is_left_alone() {
    let text = format!("{HEAD}{}{}", rule("").replace("/a", "/**"), rule("caller = \"x\""));
    assert_eq!(Config::parse("x", &text).unwrap().policy.rules().len(), 2);
    let narrower_first = format!("{HEAD}{}{}", rule("caller = \"x\""), rule(""));
    assert!(Config::parse("x", &narrower_first).is_ok());
}

#[test]
fn a_running_agent_knows_what_takes_a_restart() {
    let config = Config::parse("x", HEAD).unwrap();
    let other = HEAD.replace("wss://r", "wss://s") + "[log]\nfilter = \"debug\"\n" + &rule("");
    let other = Config::parse("x", &other).unwrap();
    assert_eq!(config.needs_restart(&other), ["relay", "log"]);
    assert!(config.needs_restart(&config.clone()).is_empty());
}

#[test]
fn a_missing_file_has_a_remedy() {
    let report = Config::load(Path::new("/nowhere/agent.toml")).unwrap_err().to_string();
    assert!(report.contains("there is no configuration file at /nowhere/agent.toml"), "{report}");
    assert!(report.contains("Copy config.example.toml"), "{report}");
}

#[test]
fn what_the_file_names_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, "not a certificate").unwrap();
    let text = format!(
        "{}[state]\ndirectory = \"{}\"\n",
        HEAD.replace("\"http://j\"", &format!("\"https://j\"\nca-file = \"{}\"", ca.display())),
        folder.path().display()
    );
    let config = Config::parse("x", &text).unwrap();
    let findings: Vec<(String, bool)> =
        config.check().into_iter().map(|finding| (finding.subject, finding.fault.is_none())).collect();
    assert_eq!(
        findings,
        [
            ("state folder".to_owned(), true),
            ("store key".to_owned(), true),
            ("egress (direct, to hosts that other tables name)".to_owned(), true),
            ("upstream jira ca-file".to_owned(), false),
            ("service reader".to_owned(), false),
        ]
    );
}

#[test]
fn an_application_link_is_checked() {
    let link = |keys: &str| {
        format!(
            "[relay]\nurl = \"wss://r\"\n[upstream.jira]\nurl = \"http://j\"\n[upstream.jira.oauth]\n\
             client-secret = {{ file = \"/x\" }}\n{keys}\n"
        )
    };
    let good = "client-id = \"a b\"\nredirect-url = \"https://a.example/cb/\"";
    let config = Config::parse("x", &link(&good.replace("a b", "ab"))).unwrap();
    let oauth = &config.oauth[&"jira".parse::<UpstreamName>().unwrap()];
    assert_eq!(oauth.redirect_url, "https://a.example/cb/", "letter by letter");
    assert_eq!((oauth.scope.as_str(), &oauth.revoke_path), ("READ WRITE", &None));
    for (keys, fault) in [
        (good, "this can't be a client id"),
        ("client-id = \"a\"", "lacks redirect-url"),
        ("client-id = \"a\"\nredirect-url = \"http://a.example/cb\"", "not HTTPS"),
        ("client-id = \"a\"\nredirect-url = \"a.example\"", "must begin with"),
        ("client-id = \"a\"\nredirect-url = \"https://a\"\nscope = \"READ  WRITE\"", "this is no scope"),
        ("client-id = \"a\"\nredirect-url = \"https://a\"\ntoken-path = \"x\"", "is no path"),
        ("client-id = \"a\"\nredirect-url = \"https://a\"\nrevoke-path = \"/x?y\"", "is no path"),
    ] {
        let said = faults(&link(keys));
        assert!(said.contains(fault), "{keys}: {said}");
    }
    let local = "client-id = \"a\"\nredirect-url = \"http://127.0.0.1:9/cb\"";
    assert!(Config::parse("x", &link(local)).is_ok());
}

#[test]
fn a_service_may_have_its_tokens_fetched() {
    let head = |keys: &str| HEAD.replace("pat = { file = \"/x\" }", keys);
    let client = "client-credentials = { client-id = \"c\", client-secret = { file = \"/x\" } }";
    let config = Config::parse("x", &head(client)).unwrap();
    assert!(config.services.is_empty());
    let fetched = &config.client_credentials[0];
    assert_eq!((fetched.user.as_str(), fetched.scope.as_str()), ("svc", "READ WRITE"));
    assert_eq!(
        (fetched.upstream.as_str(), fetched.token_path.as_str()),
        ("jira", "/rest/oauth2/latest/token")
    );
    for (keys, fault) in [
        (format!("pat = {{ file = \"/y\" }}\n{client}"), "has two secrets"),
        (client.replace("client-id = \"c\", ", ""), "lacks client-id"),
        (client.replace("client-secret = { file = \"/x\" }", "scope = \"READ\""), "lacks client-secret"),
        (client.replace("{ file = \"/x\" }", "\"s3cret\""), "a secret must not stand in this file"),
        (client.replace("\"c\"", "\"c d\""), "this can't be a client id"),
        (client.replace("\"c\"", "\"c\", upstream = \"wiki\""), "there is no application “wiki”"),
    ] {
        let said = faults(&head(&keys));
        assert!(said.contains(fault) && !said.contains("s3cret"), "{keys}: {said}");
    }
    let two = head(client).replace("[service", "[upstream.wiki]\nurl = \"http://w\"\n[service");
    assert!(faults(&two).contains("lacks upstream"));
}

#[test]
fn pages_are_over_tls_but_on_loopback_and_the_redirect_url_is_theirs() {
    let pages = |keys: &str| format!("{HEAD}[pages]\n{keys}\n");
    let certificate = "certificate = \"/c.pem\"\nprivate-key = \"/k.pem\"";
    let whole =
        format!("listen = \"10.0.0.5:8443\"\nurl = \"https://outhaul.corp.example:8443/\"\n{certificate}");
    let config = Config::parse("x", &pages(&whole)).unwrap();
    let read = config.pages.unwrap();
    assert_eq!(read.callback(), "https://outhaul.corp.example:8443/link/callback");
    assert!(read.tls.is_some() && !read.accept_relay_trust);

    let oauth = "[upstream.jira.oauth]\nclient-id = \"a\"\nclient-secret = { file = \"/x\" }\n";
    let config = Config::parse("x", &format!("{}{oauth}", pages(&whole))).unwrap();
    let jira: UpstreamName = "jira".parse().unwrap();
    assert_eq!(config.oauth[&jira].redirect_url, "https://outhaul.corp.example:8443/link/callback");
    let other =
        format!("{}{oauth}redirect-url = \"https://outhaul.corp.example/link/callback\"\n", pages(&whole));
    assert!(faults(&other).contains("leads elsewhere"), "{}", faults(&other));

    // For development, and behind a proxy on the same machine that speaks TLS.
    for local in ["http://localhost:8080", "https://outhaul.corp.example"] {
        let local = pages(&format!("listen = \"127.0.0.1:8080\"\nurl = \"{local}\""));
        assert!(Config::parse("x", &local).unwrap().pages.unwrap().tls.is_none());
    }
    for (keys, fault) in [
        (String::new(), "lacks listen"),
        (format!("listen = \"10.0.0.5:1\"\nurl = \"http://a.example\"\n{certificate}"), "in the clear"),
        ("listen = \"10.0.0.5:1\"\nurl = \"https://a.example\"".to_owned(), "answered in the clear"),
        ("listen = \"[::]:1\"\nurl = \"https://a.example\"".to_owned(), "answered in the clear"),
        (
            format!("listen = \"127.0.0.1:1\"\nurl = \"http://localhost:1\"\n{certificate}"),
            "the address is http",
        ),
        ("listen = \"127.0.0.1:1\"\nurl = \"https://a\"\nprivate-key = \"/k\"".to_owned(), "go together"),
        (whole.replace(":8443/", ":8443/pages"), "no path"),
    ] {
        let shown = faults(&pages(&keys));
        assert!(shown.contains(fault), "{fault} in {shown}");
    }
}

#[test]
fn the_way_out_is_read_and_a_proxy_must_be_there() {
    use crate::agent::egress::Way;
    let egress = |keys: &str| format!("{HEAD}[egress]\n{keys}\n");
    let config = Config::parse("x", &egress("way = \"relay\"\nallow = [\"*.Example.com:443\"]")).unwrap();
    assert_eq!(
        (config.egress.way, config.egress.allow[0].to_string().as_str()),
        (Way::Relay, "*.example.com:443")
    );
    let shown: Vec<String> = config.check().into_iter().map(|finding| finding.subject).collect();
    assert!(shown.contains(&"egress (relay, to *.example.com:443)".to_owned()), "{shown:?}");
    assert!(faults(&egress("way = \"proxy\"")).contains("[relay] names none"));
    let with_proxy =
        egress("way = \"proxy\"").replace("\"wss://r\"", "\"wss://r\"\nproxy = \"http://p:3128\"");
    assert_eq!(Config::parse("x", &with_proxy).unwrap().egress.way, Way::Proxy);
    for (keys, says) in [
        ("way = \"tunnel\"", "is no way out"),
        ("allow = [\"login.example.com\"]", "needs a port"),
        ("allow = [\"https://login.example.com:443\"]", "is no host"),
        ("allow = [\"*:443\"]", "is no pattern"),
        ("connections = 0", "too small"),
        ("bytes-a-day = \"1 KB\"", "too small"),
    ] {
        let faults = faults(&egress(keys));
        assert!(faults.contains(says), "{keys}: {faults}");
    }
}
