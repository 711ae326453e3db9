use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower_service::Service as _;

use super::audit::{Action, AuditDesk, LookAsk};
use super::certificates::{Asked, CertificateDesk, NewKeyPin};
use super::credentials::{CredentialDesk, CredentialLine, ExpiringLine, RemovedLine, StoredLine, TestedLine};
use super::egress::{EgressDesk, Reached};
use super::pass_through::PassThroughStatus;
use super::refusals::{RefusalsReport, RefusedLine};
use super::status::{
    AuditStatus, ConfigStatus, EgressStatus, IdempotencyStatus, PolicyStatus, ProcessStatus, RelayStatus,
    Status, StoreStatus,
};
use super::store::StoreDesk;
use super::{Answer, CallerLine, House, Made, router};
use crate::agent::acme::CertificatesReport;
use crate::agent::audit::{Look, Page, Query};
use crate::agent::mapping::Mappings;
use crate::agent::store::Store;
use crate::common::clock::Clock;
use crate::common::ids::{CallerName, ServiceName, UpstreamName};
use crate::common::report::Exit;
use crate::common::secret::Secret;
use crate::common::tasks::Tasks;
use crate::identity::keys::PublicKey;
use crate::net::local::{Client, Refused, Right, Server};

#[derive(Default)]
struct Doll(Mutex<(bool, Vec<String>)>, Mutex<Vec<String>>);

impl House for Doll {
    fn status(&self) -> Status {
        Status {
            version: "0".to_owned(),
            started: String::new(),
            pid: 1,
            process: ProcessStatus::default(),
            paused: self.0.lock().unwrap().0,
            calls: 0,
            config: ConfigStatus {
                file: "x".to_owned(),
                loaded: String::new(),
                error: None,
                restart_needed: Vec::new(),
            },
            relay: RelayStatus {
                url: "wss://relay.example.com:8443".to_owned(),
                site: Some("acme".to_owned()),
                agent: None,
                tunnels: Vec::new(),
            },
            egress: EgressStatus::default(),
            pass_through: PassThroughStatus::default(),
            upstreams: Vec::new(),
            policy: PolicyStatus { rules: 0, denials: 0, accept_relay_trust: 0, digest: String::new() },
            callers: 0,
            issuers: Vec::new(),
            idempotency: IdempotencyStatus::default(),
            store: StoreStatus::default(),
            audit: AuditStatus::default(),
            certificates: None,
        }
    }
    fn pause(&self) -> Result<(), Refused> {
        self.0.lock().unwrap().0 = true;
        Ok(())
    }
    fn resume(&self) -> Result<(), Refused> {
        self.0.lock().unwrap().0 = false;
        Ok(())
    }
    fn reload(&self, by: String) -> Answer<'_, Vec<String>> {
        self.1.lock().unwrap().push(format!("reload {}", by.split(' ').next().unwrap()));
        Box::pin(async { Ok(vec!["relay.url".to_owned()]) })
    }
    fn refusals(&self) -> RefusalsReport {
        let line = RefusedLine {
            caller: "bot".to_owned(),
            upstream: "jira".to_owned(),
            method: "POST".to_owned(),
            shape: "/a/*".to_owned(),
            calls: 3,
            code: "policy-refused".to_owned(),
            first: String::new(),
            last: String::new(),
        };
        RefusalsReport { since: String::new(), refused: vec![line], other: 1 }
    }
    fn callers(&self) -> Vec<CallerLine> {
        let line = |name: &String| CallerLine { name: name.clone(), keys: Vec::new() };
        self.0.lock().unwrap().1.iter().map(line).collect()
    }
    fn add_caller<'a>(&'a self, name: &'a CallerName, public: Option<PublicKey>) -> Answer<'a, Made> {
        let names = &mut self.0.lock().unwrap().1;
        let there = names.iter().any(|known| known == name.as_str());
        if !there {
            names.push(name.to_string());
        }
        Box::pin(async move {
            if there {
                return Err(Refused::new(StatusCode::CONFLICT, "there already"));
            }
            Ok(match public {
                None => Made::Secret(Secret::new("ohk_abc_secret".to_owned())),
                Some(_) => Made::Signs("ohs_abc".to_owned()),
            })
        })
    }
    fn rotate_caller<'a>(
        &'a self,
        _: &'a CallerName,
        _: Option<PublicKey>,
        grace: Duration,
    ) -> Answer<'a, Made> {
        Box::pin(async move { Ok(Made::Secret(Secret::new(format!("ohk_{}_secret", grace.as_secs())))) })
    }
    fn answers_by(&self) -> PublicKey {
        PublicKey::from_slice(&[7; 32]).unwrap()
    }
    fn audit(&self) -> &dyn AuditDesk {
        self
    }
    fn certificates(&self) -> &dyn CertificateDesk {
        self
    }
    fn credentials(&self) -> &dyn CredentialDesk {
        self
    }
    fn egress(&self) -> &dyn EgressDesk {
        self
    }
    fn store(&self) -> &dyn StoreDesk {
        self
    }
    fn remove_caller<'a>(&'a self, name: &'a CallerName) -> Answer<'a, ()> {
        self.0.lock().unwrap().1.retain(|known| known != name.as_str());
        Box::pin(async { Ok(()) })
    }
}

impl EgressDesk for Doll {
    fn test<'a>(&'a self, url: &'a str, way: Option<&'a str>) -> Answer<'a, Reached> {
        let way = way.unwrap_or("direct").to_owned();
        Box::pin(
            async move { Ok(Reached { url: url.to_owned(), way, status: 204, bytes: 0, milliseconds: 1 }) },
        )
    }
}

/// Gives what was recorded as pages.
impl AuditDesk for Doll {
    fn page(&self, query: Query) -> Answer<'_, Page> {
        let records = self.1.lock().unwrap().clone();
        Box::pin(async move { Ok(Page { records, next: query.next, before: None }) })
    }
    fn look(&self, ask: LookAsk) -> Answer<'_, Look> {
        Box::pin(async move {
            let fault = || Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "no look");
            ask.look.ok_or_else(fault)
        })
    }
    fn record<'a>(&'a self, action: Action<'a>) -> Answer<'a, ()> {
        let Action { event, by, caller, detail } = action;
        let line = [
            event.as_str(),
            by.split(' ').next().unwrap(),
            caller.unwrap_or("-"),
            &detail.unwrap_or_default(),
        ]
        .join(" ");
        self.1.lock().unwrap().push(line);
        Box::pin(async { Ok(()) })
    }
}

impl CertificateDesk for Doll {
    fn report(&self) -> Option<CertificatesReport> {
        None
    }
    fn renew(&self, name: Option<&str>) -> Result<Asked, Refused> {
        Ok(Asked { name: name.unwrap_or_default().to_owned(), ended: 3 })
    }
    fn rotate_key<'a>(&'a self, name: Option<&'a str>) -> Answer<'a, NewKeyPin> {
        let name = name.unwrap_or_default().to_owned();
        Box::pin(async { Ok(NewKeyPin { name, next_pin: "sha256//x".to_owned() }) })
    }
}

impl CredentialDesk for Doll {
    fn list(&self) -> Vec<CredentialLine> {
        Vec::new()
    }
    fn set<'a>(&'a self, name: &'a ServiceName, secret: Secret<String>) -> Answer<'a, StoredLine> {
        Box::pin(async move {
            if secret.expose() != "s3cret" {
                return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "unfit"));
            }
            Ok(StoredLine {
                service: name.to_string(),
                kind: "pat".to_owned(),
                set: String::new(),
                replaced: false,
                in_use: true,
                note: None,
            })
        })
    }
    fn test<'a>(
        &'a self,
        name: &'a ServiceName,
        upstream: Option<&'a UpstreamName>,
    ) -> Answer<'a, Vec<TestedLine>> {
        let upstream = upstream.map_or_else(|| "all".to_owned(), ToString::to_string);
        Box::pin(async move {
            Ok(vec![TestedLine {
                service: name.to_string(),
                upstream,
                ok: true,
                outcome: "works".to_owned(),
                detail: String::new(),
                user: String::new(),
                account: None,
                expires: None,
                tokens: None,
                expiring: vec![ExpiringLine { name: "old".to_owned(), expires: String::new() }],
            }])
        })
    }
    fn remove<'a>(&'a self, name: &'a ServiceName) -> Answer<'a, RemovedLine> {
        Box::pin(async move { Ok(RemovedLine { service: name.to_string(), was_in_use: true }) })
    }
}

impl StoreDesk for Doll {
    fn backup(&self) -> Answer<'_, String> {
        Box::pin(async { Ok("/x.backup".to_owned()) })
    }
    fn verify(&self) -> Answer<'_, Value> {
        Box::pin(async { Ok(json!({ "broken": [] })) })
    }
    fn rekey(&self, key: Option<Secret<String>>) -> Answer<'_, ()> {
        Box::pin(async move {
            if key.is_some_and(|key| key.expose() == "good") {
                return Ok(());
            }
            Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "no key"))
        })
    }
}

#[tokio::test]
async fn every_route_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let server = Server::bind(&path).unwrap();
    let tasks = Tasks::new();
    let group = tasks.clone();
    let routes = router(Arc::new(Doll::default()));
    tasks.spawn("admin", async move { server.serve(routes, &group).await });
    let client = Client::new(&path, "outhaul-agent");

    assert_eq!(client.post("/pause", &Value::Null).await.unwrap()["paused"], true);
    assert_eq!(client.get("/status").await.unwrap()["paused"], true);
    assert_eq!(client.post("/resume", &Value::Null).await.unwrap()["paused"], false);
    assert_eq!(client.post("/reload", &Value::Null).await.unwrap()["restart_needed"], json!(["relay.url"]));

    let refusals = client.get("/policy/refusals").await.unwrap();
    assert_eq!((&refusals["refused"][0]["shape"], &refusals["other"]), (&json!("/a/*"), &json!(1)));

    let key = client.post("/callers", &json!({"name": "bot"})).await.unwrap();
    assert_eq!(key["key"], "ohk_abc_secret");
    assert_eq!(key["base_url"], "https://relay.example.com:8443/s/acme");
    let taken = client.post("/callers", &json!({"name": "bot"})).await.unwrap_err();
    assert_eq!(taken.exit(), Exit::CannotCreate);
    let bad = client.post("/callers", &json!({"name": "Bot!"})).await.unwrap_err();
    assert!(bad.exit() == Exit::Data && bad.to_string().contains("“Bot!” is no caller name"), "{bad}");
    assert_eq!(
        client.post("/callers/bot/rotate", &json!({"grace_seconds": 60})).await.unwrap()["key"],
        "ohk_60_secret"
    );
    assert_eq!(client.post("/callers/bot/rotate", &json!({})).await.unwrap()["key"], "ohk_0_secret");
    assert_eq!(client.get("/callers").await.unwrap()[0]["name"], "bot");
    let stored = client.post("/credentials/reader", &json!({"secret": "s3cret"})).await.unwrap();
    assert!(stored["service"] == "reader" && !stored.to_string().contains("s3cret"), "{stored}");
    let unfit = client.post("/credentials/reader", &json!({"secret": "x"})).await.unwrap_err();
    assert_eq!(unfit.exit(), Exit::Data);
    assert_eq!(client.get("/credentials").await.unwrap(), json!([]));
    for (body, upstream) in [(json!({}), "all"), (json!({"upstream": "jira"}), "jira")] {
        let tested = client.post("/credentials/reader/test", &body).await.unwrap();
        assert_eq!(tested[0]["upstream"], upstream);
    }
    let removed = client.request(Method::DELETE, "/credentials/reader", None).await.unwrap();
    assert_eq!(removed["was_in_use"], true);
    let bad = client.request(Method::DELETE, "/credentials/Re!", None).await.unwrap_err();
    assert_eq!(bad.exit(), Exit::Data);

    client.request(Method::DELETE, "/callers/bot", None).await.unwrap();
    assert_eq!(client.get("/callers").await.unwrap(), json!([]));

    client.post("/store/backup", &json!({})).await.unwrap();
    client.post("/store/rekey", &json!({ "key": "good" })).await.unwrap();
    client.post("/store/rekey", &json!({ "key": "bad" })).await.unwrap_err();
    let page = client.post("/audit/records", &json!({})).await.unwrap();
    assert_eq!(
        page["records"],
        json!([
            "pause uid - ",
            "resume uid - ",
            "reload uid",
            "caller-added uid bot ",
            "caller-rotated uid bot the old key works for 60 s",
            "caller-rotated uid bot the old key works for 0 s",
            "credential-set uid - service reader, pat",
            "secret-used uid - service reader tested at all: works",
            "secret-used uid - service reader tested at jira: works",
            "credential-removed uid - service reader",
            "caller-removed uid bot ",
            "store-backup uid - /x.backup",
            "store-rekey uid - ",
        ]),
        "each change that was made, and no other"
    );
    assert_eq!(client.post("/audit/records", &json!({ "odd": 1 })).await.unwrap_err().exit(), Exit::Data);
    assert_eq!(client.post("/audit/verify", &json!({})).await.unwrap_err().exit(), Exit::Data);
}

#[tokio::test]
async fn people_are_shown_to_administrators_only() {
    let folder = tempfile::tempdir().unwrap();
    let (tasks, clock) = (Tasks::new(), Clock::manual());
    let mappings = Mappings::start(Store::for_tests(folder.path()), clock, &tasks);
    let house: Arc<dyn House> = Arc::new(Doll::default());
    let routes = router(house.clone()).merge(super::links::router(house, mappings));
    let ask = async |right: Right, method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path).extension(right);
        let request = request.header(http::header::CONTENT_TYPE, "application/json");
        let answer = routes.clone().call(request.body(axum::body::Body::from("{}")).unwrap()).await;
        answer.unwrap().status()
    };
    for (method, path) in
        [(Method::GET, "/links"), (Method::GET, "/links/export"), (Method::POST, "/audit/records")]
    {
        assert_eq!(ask(Right::Read, method.clone(), path).await, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(ask(Right::Change, method, path).await, StatusCode::OK, "{path}");
    }
    for (method, path) in [(Method::GET, "/status"), (Method::POST, "/audit/verify")] {
        assert_ne!(ask(Right::Read, method, path).await, StatusCode::FORBIDDEN, "{path}");
    }
    tasks.cancel();
}
