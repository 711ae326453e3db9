//! What is recorded of calls, and what happens to them while nothing can be.

use outhaul::agent::audit::{Query, Settings, WhenUnavailable, page, verify};
use outhaul::agent::store::StoreFault;
use serde_json::Value;

use super::*;
use crate::support::eventually;

const CREATED: &str =
    "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nthe-answer!";

impl World {
    async fn records(&self) -> Vec<Value> {
        // While nothing can be written there is nothing new.
        let _ = self.audit.flush().await;
        let (mut lines, mut query) = (Vec::new(), Query::default());
        loop {
            let page = page(self.audit.store(), &query).await.unwrap();
            lines.extend(page.records.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()));
            query.next = page.next;
            if page.next.is_none() {
                return lines;
            }
        }
    }

    /// How many pages the store may have, of which it has some already.
    async fn room(&self, pages: u32) {
        let sql = format!("PRAGMA max_page_count = {pages}");
        let set = move |session: &outhaul::agent::store::Session<'_>| {
            session.connection().execute_batch(&sql).map_err(StoreFault::from)
        };
        self.audit.store().call(set).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_is_recorded_without_what_it_carries() {
    let (address, _) = answering(CREATED).await;
    let world = world(&[address], |_| {});
    assert_eq!(world.get("/jira/anon/read?token=secret-query").await.status, 201);
    assert_eq!(world.post("/jira/anon/write?x=secret-query", "secret-body").await.status, 201);
    assert_eq!(world.post("/jira/nowhere?x=secret-query", "secret-body").await.status, 403);
    assert_eq!(world.get("/jira/none/x").await.code(), "credential-missing");
    let records = world.records().await;
    let told = |record: &Value| {
        let text = |key: &str| record[key].as_str().map_or_else(|| record[key].to_string(), str::to_owned);
        ["event", "method", "path", "result"].map(text).join(" ")
    };
    assert_eq!(
        records.iter().map(told).collect::<Vec<_>>(),
        [
            "call GET /anon/read 201",
            "call-intent POST /anon/write null",
            "call POST /anon/write 201",
            "refused POST /nowhere policy-refused",
            "refused GET /none/x credential-missing",
        ]
    );
    let (intent, call) = (&records[1], &records[2]);
    assert_eq!(intent["request"], call["request"]);
    assert_eq!((&call["bytes_in"], &call["bytes_out"]), (&11.into(), &11.into()));
    assert_eq!((&call["caller"], &call["identity"]), (&"bot".into(), &"anonymous".into()));
    assert_eq!(
        (&call["rule"], &call["place"]),
        (&"GET|POST|PUT|DELETE /anon/**".into(), &"agent.toml:1".into())
    );
    let all = serde_json::to_string(&records).unwrap();
    assert!(all.contains("/anon/write"), "the search finds what is there");
    for marker in ["secret-query", "secret-body", "the-answer!", world.key.as_str()] {
        assert!(!all.contains(marker), "{marker} in {all}");
    }
    assert_eq!(verify(world.audit.store(), vec![]).await.unwrap().broken, None);
}

#[tokio::test]
async fn while_nothing_can_be_recorded_no_write_leaves_the_agent() {
    let (address, seen) = answering(CREATED).await;
    let world = world(&[address], |_| {});
    assert_eq!(world.post("/jira/anon/before", "x").await.status, 201);
    world.room(1).await;
    let refused = loop {
        // There may be room in the pages that are there.
        let answer = world.post("/jira/anon/write", "x").await;
        if answer.status != 201 {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.problem()), (503, problem("audit-unavailable", "not-sent", "after")));
    assert_eq!(refused.headers[header::RETRY_AFTER], "5");
    let requests = seen.requests();
    assert_eq!(world.post("/jira/anon/write", "x").await.code(), "audit-unavailable");
    assert_eq!(seen.requests(), requests, "none was sent");
    assert_eq!(world.get("/jira/anon/read").await.status, 201, "reads pass");
    world.audit.configure(Settings { when_unavailable: WhenUnavailable::Refuse, ..Settings::default() });
    assert_eq!(
        world.get("/jira/anon/read").await.code(),
        "audit-unavailable",
        "unless all are to be refused"
    );
    assert_eq!(seen.requests(), requests + 1);
    world.room(1_000_000).await;
    eventually("it can be written again", Duration::from_secs(10), async || world.audit.failure().is_none())
        .await;
    assert_eq!(world.post("/jira/anon/after", "x").await.status, 201);
    let records = world.records().await;
    let of = |path: &str, event: &str| {
        records.iter().filter(|record| record["path"] == path && record["event"] == event).count()
    };
    assert_eq!(
        (of("/anon/read", "call"), of("/anon/after", "call-intent")),
        (2, 1),
        "what was kept is there"
    );
    let found = verify(world.audit.store(), vec![]).await.unwrap();
    assert_eq!((found.broken, found.records), (None, records.len() as u64));
}

#[tokio::test]
async fn whoever_is_known_is_recorded_when_refused_before_a_rule_decides() {
    let (address, seen) = answering(CREATED).await;
    let (world, ..) = idempotency::remembering(address, outhaul::agent::idempotency::Limits::default());
    world.follow(
        "[[policy.rule]]\nallow = \"POST /anon/issue\"\nwhy = \"a test\"\nas = \"anonymous\"\nbody = { \"/key\" = \"DEMO\" }\n\
         [[policy.rule]]\nallow = \"POST /anon/plain\"\nwhy = \"a test\"\nas = \"anonymous\"\n",
    );
    let post = |path: &str| Request::post(path).header(header::CONTENT_LENGTH, "1");
    let full = || Full::<Bytes>::from("x");
    let other = post("/jira/anon/plain").header("outhaul-act-as", "scim:somebody");
    assert_eq!(read(world.call(other.body(full()).unwrap()).await).await.code(), "act-as-refused");
    let large = Request::post("/jira/anon/issue").header(header::CONTENT_LENGTH, "9999999999");
    let large = large.header(header::CONTENT_TYPE, "application/json");
    assert_eq!(read(world.call(large.body(full()).unwrap()).await).await.code(), "body-too-large");
    let no_key = post("/jira/anon/plain").header("idempotency-key", "a b");
    assert_eq!(read(world.call(no_key.body(full()).unwrap()).await).await.code(), "bad-request");
    assert_eq!(seen.requests(), 0);
    let told: Vec<String> = world
        .records()
        .await
        .iter()
        .map(|record| {
            ["event", "caller", "path", "result", "outcome"]
                .map(|key| record[key].as_str().unwrap_or("?"))
                .join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "refused bot /anon/plain act-as-refused not-sent",
            "refused bot /anon/issue body-too-large not-sent",
            "refused bot /anon/plain bad-request not-sent",
        ]
    );
}

#[tokio::test]
async fn a_step_of_linking_that_is_refused_is_recorded() {
    let (address, _) = answering(CREATED).await;
    let mut world = world(&[address], |_| {});
    let (store, audit, clock) = (world.store.clone(), world.audit.clone(), Clock::system());
    let people = world.site.load().mappings.clone();
    let desk = outhaul::agent::links::LinkDesk::new(store, audit, people, None, clock, &world.tasks);
    world.front = world.front.clone().linking(desk);
    let mut codes = Vec::new();
    for (path, person) in [
        ("/link/start", "scim:a"),
        ("/link/start", "entra:a"),
        ("/link/finish", "entra:a"),
        ("/link/finish", ""),
    ] {
        let mut request = Request::post(path);
        if !person.is_empty() {
            request = request.header("outhaul-act-as", person);
        }
        let body = if path == "/link/start" { "{}" } else { "{\"code\":\"7KQM-2X9D\"}" };
        let answer = read(world.call(request.body(Full::<Bytes>::from(body)).unwrap()).await).await;
        codes.push(answer.code());
    }
    let records = world.records().await;
    let text = |record: &Value, key: &str| record[key].as_str().unwrap_or("-").to_owned();
    let told = |record: &Value| ["event", "caller", "act_as", "path"].map(|key| text(record, key)).join(" ");
    assert_eq!(
        records.iter().map(told).collect::<Vec<_>>(),
        [
            "refused bot - /link/start",
            "refused bot entra:a /link/start",
            "refused bot entra:a /link/finish",
            "refused bot - /link/finish",
        ]
    );
    assert_eq!(records.iter().map(|record| text(record, "result")).collect::<Vec<_>>(), codes);
    assert_eq!((codes[0].as_str(), codes[3].as_str()), ("act-as-refused", "act-as-required"));
}
