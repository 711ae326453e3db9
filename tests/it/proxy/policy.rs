//! The policy through the front: what it lets reach the upstream, and what it leaves of the bytes.

use std::sync::Mutex;

use http::{Method, Request};
use http_body_util::StreamBody;

use super::calls::recording;
use super::*;

type Log = Arc<Mutex<Vec<String>>>;

async fn site(tables: &str) -> (World, Log) {
    let (address, log) = recording().await;
    let world = world(&[address], |_| {});
    world.follow(tables);
    (world, log)
}

fn rule(keys: &str) -> String {
    format!("[[policy.rule]]\nwhy = \"a test\"\nas = \"anonymous\"\n{keys}\n")
}

fn sent(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

impl World {
    async fn json(&self, path: &str, kind: &str, body: &'static str) -> Answer {
        let request = Request::post(path).header("content-type", kind);
        let request = request.header(header::CONTENT_LENGTH, body.len());
        read(self.call(request.body(Full::from(body)).unwrap()).await).await
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        read(self.call(request.body(Full::<Bytes>::default()).unwrap()).await).await
    }
}

const JSON: &str = "application/json; charset=utf-8";
const IN_DEMO: &str = "allow = \"POST /issue\"\nbody = { \"/fields/project/key\" = \"DEMO\" }";

#[tokio::test]
async fn a_body_is_judged_and_passed_on_as_it_came() {
    let (world, log) = site(&rule(IN_DEMO)).await;
    // Spaces, escapes and order stay.
    let body = "{ \"fields\" : {\"summary\":\"\\u00e9 é\",\"project\":{\"key\":\"D\\u0045MO\"} } }\n";
    assert_eq!(world.json("/jira/issue", JSON, body).await.status, 200);
    let seen = sent(&log);
    assert_eq!(seen.len(), 1);
    assert!(seen[0].contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{}", seen[0]);
    assert!(seen[0].ends_with(&format!("\r\n\r\n{body}")), "{}", seen[0]);
    for (kind, body, code) in [
        (JSON, r#"{"fields":{"project":{"key":"OTHER"}}}"#, "policy-refused"),
        (JSON, r#"{"fields":{"project":{"id":"10000"}}}"#, "policy-refused"),
        (JSON, r#"{"fields":{"project":{"key":"DEMO"},"project":{"key":"OTHER"}}}"#, "bad-request"),
        (JSON, r#"{"fields":{"project":{"key":"DEMO"}},"x":[{"y":1,"y":2}]}"#, "bad-request"),
        (JSON, r#"{"fields":{"project":{"key":"DEMO"}}} {}"#, "bad-request"),
        (JSON, "", "policy-refused"),
        ("text/plain", r#"{"fields":{"project":{"key":"DEMO"}}}"#, "policy-refused"),
        ("application/json; charset=utf-16", r#"{"fields":{"project":{"key":"DEMO"}}}"#, "bad-request"),
    ] {
        let answer = world.json("/jira/issue", kind, body).await;
        assert_eq!(answer.problem(), problem(code, "not-sent", "never"), "{kind} {body}");
    }
    let encoded =
        Request::post("/jira/issue").header("content-type", JSON).header("content-encoding", "gzip");
    let encoded = encoded.body(Full::from(r#"{"fields":{"project":{"key":"DEMO"}}}"#)).unwrap();
    assert_eq!(read(world.call(encoded).await).await.code(), "bad-request");
    let dropped =
        Request::post("/jira/issue").header("content-type", JSON).header("connection", "Content-Type");
    let dropped = dropped.body(Full::from(r#"{"fields":{"project":{"key":"DEMO"}}}"#)).unwrap();
    assert_eq!(read(world.call(dropped).await).await.code(), "bad-request");
    assert_eq!(sent(&log), [""; 0], "nothing of it reached the upstream");
}

/// The kill switch holds for calls that were waiting for their body when it was thrown.
#[tokio::test]
async fn a_call_that_is_held_while_all_calls_are_stopped_is_not_sent() {
    let (world, log) = site(&rule(IN_DEMO)).await;
    let body = r#"{"fields":{"project":{"key":"DEMO"}}}"#;
    let pause = world.pause.clone();
    let late = futures_util::stream::once(async move {
        pause.pause().unwrap();
        Ok::<_, BoxError>(http_body::Frame::data(Bytes::from_static(body.as_bytes())))
    });
    let request = Request::post("/jira/issue").header("content-type", JSON);
    let answer = read(world.call(request.body(StreamBody::new(Box::pin(late))).unwrap()).await).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "paused"));
    world.pause.resume().unwrap();
    assert_eq!(world.json("/jira/issue", JSON, body).await.status, 200);
    assert_eq!(sent(&log).len(), 1);
}

#[tokio::test]
async fn a_held_body_in_pieces_stays_chunked_and_its_trailers_end_here() {
    let (address, log) = {
        let log = Log::default();
        let kept = Arc::clone(&log);
        let (address, _) = upstream(move |mut peer, head| {
            let kept = Arc::clone(&kept);
            async move {
                let body = peer.until("\r\n\r\n").await;
                kept.lock().unwrap().push(format!("{head}{body}"));
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        })
        .await;
        (address, log)
    };
    let world = world(&[address], |_| {});
    world.follow(&rule(IN_DEMO));
    let piece =
        |text: &'static str| Ok::<_, BoxError>(http_body::Frame::data(Bytes::from_static(text.as_bytes())));
    let mut trailers = http::HeaderMap::new();
    trailers.insert("content-digest", "x".parse().unwrap());
    let pieces = [
        piece("{\"fields\":{\"project\""),
        piece(":{\"key\":\"DEMO\"}}}"),
        Ok(http_body::Frame::trailers(trailers)),
    ];
    let request =
        Request::post("/jira/issue").header("content-type", JSON).header("trailer", "content-digest");
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    assert_eq!(read(world.call(request.body(body).unwrap()).await).await.status, 200);
    let seen = sent(&log).remove(0);
    assert!(seen.contains("transfer-encoding: chunked"), "{seen}");
    assert!(seen.contains("{\"fields\":{\"project\":{\"key\":\"DEMO\"}}}"), "{seen}");
    assert!(seen.ends_with("0\r\n\r\n") && !seen.contains("content-digest"), "{seen}");
}

#[tokio::test]
async fn a_body_that_is_looked_into_has_a_bound_and_others_have_not() {
    let rules = format!(
        "[policy]\nmax-held-body = \"1 KB\"\n{}{}",
        rule(IN_DEMO),
        rule("allow = \"POST /issue\"\ncontent-type = \"text/plain\"")
    );
    let (world, log) = site(&rules).await;
    let large = "x".repeat(1025);
    for declared in [true, false] {
        let mut request = Request::post("/jira/issue").header("content-type", JSON);
        if declared {
            request = request.header(header::CONTENT_LENGTH, large.len());
        }
        let answer = read(world.call(request.body(Full::from(large.clone())).unwrap()).await).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body-too-large"), "{declared}");
        let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(document["detail"].as_str().unwrap().contains("max-held-body"), "{document}");
        assert_eq!(document["limit"], 1024);
    }
    assert_eq!(sent(&log), [""; 0]);
    let request = Request::post("/jira/issue").header("content-type", "text/plain");
    let request = request.header(header::CONTENT_LENGTH, large.len());
    assert_eq!(read(world.call(request.body(Full::from(large)).unwrap()).await).await.status, 200);
    // The rule's own limit is the smaller one: also without a length it is kept before anything is sent.
    sent(&log);
    world.follow(&rule(&format!("{IN_DEMO}\nmax-body = \"20 B\"")));
    let request = Request::post("/jira/issue").header("content-type", JSON);
    let request = request.body(Full::from(r#"{"fields":{"project":{"key":"DEMO"}}}"#)).unwrap();
    assert_eq!(
        read(world.call(request).await).await.problem(),
        problem("body-too-large", "not-sent", "never")
    );
    world.follow(&rules);
    // A length that is not true is found out before anything is sent.
    sent(&log);
    let request =
        Request::post("/jira/issue").header("content-type", JSON).header(header::CONTENT_LENGTH, 50);
    let short = request.body(Full::from(r#"{"fields":{"project":{"key":"DEMO"}}}"#)).unwrap();
    assert_eq!(read(world.call(short).await).await.code(), "bad-request");
    assert_eq!(sent(&log), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let (world, log) = site(&rule(IN_DEMO)).await;
    let body = StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<Bytes>, BoxError>>());
    let request = Request::post("/jira/issue").header("content-type", JSON).body(body).unwrap();
    assert_eq!(read(world.call(request).await).await.code(), "caller-too-slow");
    assert_eq!(sent(&log), [""; 0]);
}

#[tokio::test]
async fn a_query_is_judged_decoded_and_passed_byte_for_byte() {
    let conditions = "query = { expand = { optional = [\"names\", \"schema\"] } }\nquery-only = [\"jql\"]";
    let (world, log) = site(&rule(&format!("allow = \"GET /search\"\n{conditions}"))).await;
    let passed = ["?jql=a+%3d%20%22b%26c%22%0A&ex%70and=n%61mes", "?jql=x&jql=y", "", "?"];
    for query in passed {
        assert_eq!(world.get(&format!("/jira/search{query}")).await.status, 200, "{query}");
    }
    let seen = sent(&log);
    for (query, seen) in passed.iter().zip(&seen) {
        assert!(seen.starts_with(&format!("GET /jira/search{query} HTTP/1.1\r\n")), "{seen}");
    }
    for (query, code) in [
        ("?expand=all", "policy-refused"),
        ("?jql=x&fields=y", "policy-refused"),
        ("?expand=names&expand=schema", "bad-request"),
        ("?expand=names&e%78pand=all", "bad-request"),
        ("?jql=x;expand=all", "bad-request"),
        ("?jql=%zz", "bad-request"),
        ("?expand=names%00", "bad-request"),
    ] {
        let answer = world.get(&format!("/jira/search{query}")).await;
        assert_eq!(answer.problem(), problem(code, "not-sent", "never"), "{query}");
    }
    assert_eq!(sent(&log), [""; 0]);
    // A form could say the same thing again.
    world.follow(&rule(&format!("allow = \"POST /search\"\n{conditions}")));
    let form = world.json("/jira/search", "application/x-www-form-urlencoded", "expand=all").await;
    assert_eq!(form.code(), "bad-request");
    assert_eq!(sent(&log), [""; 0]);
}

#[tokio::test]
async fn more_calls_than_the_rate_hear_when_to_come_again() {
    let (address, log) = recording().await;
    let clock = Clock::manual();
    let world = world(&[address], |wish| wish.clock = clock.clone());
    let tables = rule("allow = \"GET /a\"\nrate = \"2/m\"") + &rule("allow = \"GET /b\"");
    world.follow(&tables);
    assert_eq!((world.get("/jira/a").await.status, world.get("/jira/a").await.status), (200, 200));
    let refused = world.get("/jira/a").await;
    assert_eq!((refused.status, refused.headers[header::RETRY_AFTER].to_str().unwrap()), (429, "30"));
    assert_eq!(refused.problem(), problem("rate-limited", "not-sent", "after"));
    assert_eq!(world.get("/jira/b").await.status, 200, "another rule");
    // A reload that leaves the rule as it is forgives nothing; time does.
    world.follow(&(rule("allow = \"GET /c\"") + &tables));
    assert_eq!(world.get("/jira/a").await.code(), "rate-limited");
    clock.advance(Duration::from_secs(30));
    assert_eq!(world.get("/jira/a").await.status, 200);
    assert_eq!(sent(&log).len(), 4);
}

#[tokio::test]
async fn what_is_always_denied_no_rule_allows() {
    let (world, log) = site(&rule("allow = \"GET|POST|PUT|PATCH|DELETE /**\"")).await;
    for method in ["GET", "POST", "PUT", "DELETE"] {
        for path in [
            "/rest/pat/latest/tokens",
            "/Rest/PAT/latest/tokens",
            "/rest/pat",
            "/rest/pat/",
            "/rest/pat.json",
            "/rest/%70%61%74/x",
            "/rest/auth/1/session",
            "/rest/api/2/application-properties",
            "/rest/api/latest/Reindex",
            "/secure/admin/WebSudoAuthenticate.jspa",
            "/secure/WebSudoAuthenticate.jspa",
            "/any/where/UserBrowser.jspa",
            "/s/x/_/rest/pat/latest/tokens",
            "/rest/api/2/user/password",
            "/plugins/servlet/oauth",
            // An application whose context path the url does not name.
            "/jira/rest/pat/latest/tokens",
        ] {
            let answer = world.ask(method, &format!("/jira{path}")).await;
            assert_eq!(answer.problem(), problem("policy-refused", "not-sent", "never"), "{method} {path}");
        }
    }
    assert_eq!(sent(&log), [""; 0]);
    assert_eq!(world.get("/jira/rest/api/2/myself").await.status, 200);
}

#[tokio::test]
async fn a_rule_that_denies_wins() {
    let deny = "[[policy.rule]]\ndeny = \"* /issue/*/worklog/**\"\nwhy = \"by hand only\"\n";
    let (world, log) = site(&(rule("allow = \"GET|POST /**\"") + deny)).await;
    for path in ["/issue/A-1/worklog", "/Issue/A-1/Worklog/5", "/issue/A-1/worklog.json"] {
        let answer = world.get(&format!("/jira{path}")).await;
        assert_eq!(answer.code(), "policy-refused", "{path}");
        assert!(String::from_utf8_lossy(&answer.body).contains("by hand only"), "{path}");
    }
    assert_eq!(world.get("/jira/issue/A-1").await.status, 200);
    assert_eq!(sent(&log).len(), 1);
}

#[tokio::test]
async fn what_must_be_proved_is_asked_for() {
    let rules = rule("allow = \"GET /a\"\nrequire = [\"signed\", \"pass-through\"]")
        + "[[policy.rule]]\nallow = \"GET /b\"\nwhy = \"w\"\nas = \"user\"\n"
        + "[[policy.rule]]\nallow = \"GET /c\"\nwhy = \"w\"\nas = \"user\"\naccept-relay-trust = true\n"
        + &rule("allow = \"GET /**\"");
    let (world, log) = site(&rules).await;
    for (path, code) in
        [("a", (403, "trust-required")), ("b", (403, "trust-required")), ("c", (400, "act-as-required"))]
    {
        let answer = world.get(&format!("/jira/{path}")).await;
        assert_eq!((answer.status, answer.code().as_str()), code, "{path}");
    }
    assert_eq!(sent(&log), [""; 0], "no other rule took them");
    assert_eq!(world.get("/jira/d").await.status, 200);
}

#[tokio::test]
async fn each_profile_lets_pass_what_it_says_and_nothing_else() {
    for (name, passes, refused) in [
        ("jira-read", "GET /rest/api/2/issue/DEMO-1?fields=summary", "POST /rest/api/2/issue"),
        ("jira-read", "POST /rest/api/2/search", "GET /secure/attachment/1/a"),
        ("jira-teams", "POST /rest/api/2/issue/DEMO-1/comment", "DELETE /rest/api/2/issue/DEMO-1"),
        (
            "jira-teams",
            "PUT /rest/api/2/issue/A/properties/outhaul.x",
            "PUT /rest/api/2/issue/A/properties/x",
        ),
        ("confluence-read", "GET /rest/api/content/1", "DELETE /rest/api/content/1"),
        ("bitbucket-read", "GET /rest/api/1.0/projects/P/repos/r", "GET /rest/api/1.0/admin/users"),
        ("bamboo-read", "GET /rest/api/latest/result/P-A/1", "POST /rest/api/latest/queue/P-A"),
    ] {
        let tables = format!(
            "[policy]\nprofiles = [\"{name}\"]\n[policy.profile.{name}]\nas = \"anonymous\"\ncaller = \"bot\"\n"
        );
        let (world, log) = site(&tables).await;
        for (call, allowed) in [(passes, true), (refused, false)] {
            let (method, path) = call.split_once(' ').unwrap();
            let answer = world.ask(method, &format!("/jira{path}")).await;
            assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{name}: {call}");
        }
        assert_eq!(sent(&log).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn what_provisioning_uses_no_caller_reaches() {
    let (world, log) = site("[policy]\nprofiles = [\"jira-read\", \"jira-teams\"]\n[policy.profile.jira-read]\nas = \"anonymous\"\n[policy.profile.jira-teams]\nas = \"anonymous\"\n").await;
    for call in [
        "GET /rest/api/2/user?username=a",
        "POST /rest/api/2/user",
        "PUT /rest/api/2/user?username=a",
        "POST /rest/api/2/group",
        "POST /rest/api/2/group/user?groupname=jira-administrators",
        "DELETE /rest/api/2/group/user?groupname=a&username=b",
        "GET /rest/api/2/applicationrole",
        "POST /rest/api/2/project/DEMO/role/1",
        "PUT /rest/api/2/user/properties/outhaul.id?username=a",
        "DELETE /rest/api/2/user/session/a",
        "POST /rest/usermanagement/1/user",
    ] {
        let (method, path) = call.split_once(' ').unwrap();
        assert_eq!(world.ask(method, &format!("/jira{path}")).await.status, 403, "{call}");
    }
    assert_eq!(sent(&log), [""; 0]);
}
