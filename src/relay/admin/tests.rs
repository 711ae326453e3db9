use std::num::NonZeroU32;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::common::ids::AgentId;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::identity::encoded::Encoded;
use crate::identity::handshake::join::Join;
use crate::identity::keys::SigningKey;
use crate::identity::token::EnrolmentToken;
use crate::net::local::{Client, Server};
use crate::relay::config::Config;
use crate::relay::egress::System;
use crate::relay::metrics::RelayMetrics;
use crate::relay::registry::Waiting;
use crate::relay::store::NewAgent;
use crate::relay::tenancy;

const CONFIG: &str = "[server]\ncertificate = \"/c\"\nprivate-key = \"/k\"\nzone = \"relay.example.com\"\n\
                      [egress]\nallow = \"graph.example.com:443\"\n";

struct Bench {
    client: Client,
    store: Store,
    registry: Registry,
    names: PassThroughNames,
    fingerprint: Fingerprint,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("relay.db")).unwrap();
        let many = NonZeroU32::new(1000).unwrap();
        let limits = tenancy::Limits {
            calls_at_once: 10,
            calls_a_second: many,
            burst: many,
            connections_at_once: 10,
            connections_a_second: many,
        };
        let wait = Duration::from_secs(1);
        let waiting = Waiting { seen_within: wait, at_most: wait, callers: 1 };
        let registry = Registry::new(waiting, limits, Clock::system());
        let fingerprint = SigningKey::generate().unwrap().0.public().fingerprint();
        let url = "wss://relay.example.com".parse().unwrap();
        let tasks = Tasks::new();
        let settings = Config::parse("relay.toml", CONFIG).unwrap().egress;
        let network = Arc::new(System::new(tasks.clone()));
        let metrics = RelayMetrics::new();
        let egress = Egress::new(settings, Vec::new(), network, metrics, Clock::system(), tasks.clone());
        let made = rcgen::generate_simple_self_signed(["*.relay.example.com".into(), "own.example".into()]);
        let made = made.unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let names = PassThroughNames::new(Some("direct.relay.example.com".parse().unwrap()));
        let direct = Direct {
            names: names.clone(),
            zone: "relay.example.com".to_owned(),
            certificates: Certificates::load(&certificate, &key).unwrap(),
        };
        let operations = Operations::new(
            store.clone(),
            registry.clone(),
            egress,
            Clock::system(),
            url,
            fingerprint,
            direct,
        );
        let socket = folder.path().join("admin.sock");
        let server = Server::bind(&socket).unwrap();
        let group = tasks.clone();
        tasks.spawn("admin", async move { server.serve(routes(operations), &group).await });
        let client = Client::new(&socket, "outhaul-relay");
        Self { client, store, registry, names, fingerprint, _folder: folder }
    }

    async fn post(&self, path: &str, json: Value) -> Result<Value, Report> {
        self.client.request(Method::POST, path, Some(&json)).await
    }

    async fn enrolled(&self, byte: u8) -> AgentId {
        let made =
            self.post("/sites/acme/enrol", json!({"role": "active", "valid_seconds": 3600})).await.unwrap();
        let token: EnrolmentToken = made["token"].as_str().unwrap().parse().unwrap();
        let agent =
            NewAgent { id: AgentId::generate(), public_key: [byte; 32], software: "test/1".to_owned() };
        let mark = Join { counter: 1, value: Encoded([1; 32]) };
        let now = Clock::system().unix_seconds();
        let enrolled = self.store.enrol(token.site, token.secret.hash().0, agent, mark, now).await;
        enrolled.unwrap().unwrap().id
    }
}

#[tokio::test]
async fn sites_come_pause_and_go() {
    let bench = Bench::new();
    bench.post("/sites", json!({"name": "acme"})).await.unwrap();
    let twice = bench.post("/sites", json!({"name": "acme"})).await.unwrap_err();
    assert_eq!(twice.exit(), Exit::CannotCreate);
    let bad = bench.post("/sites", json!({"name": "Bad name"})).await.unwrap_err();
    assert!(bad.to_string().contains("a-z") && bad.exit() == Exit::Data, "{bad}");
    assert!(!bench.registry.site("acme").unwrap().is_paused());
    bench.post("/sites/acme/pause", json!(null)).await.unwrap();
    assert!(bench.registry.site("acme").unwrap().is_paused());
    let listed = bench.client.get("/sites").await.unwrap();
    assert_eq!(listed["sites"][0]["paused"], true);
    bench.post("/sites/acme/resume", json!(null)).await.unwrap();
    assert!(!bench.registry.site("acme").unwrap().is_paused());
    bench.post("/sites/acme/remove", json!({"force": false})).await.unwrap();
    assert!(bench.registry.site("acme").is_none());
    let gone = bench.post("/sites/acme/remove", json!({"force": false})).await.unwrap_err();
    assert!(gone.to_string().contains("site list"), "{gone}");
}

#[tokio::test]
async fn a_token_names_relay_and_site_and_the_line_can_be_pasted() {
    let bench = Bench::new();
    bench.post("/sites", json!({"name": "acme"})).await.unwrap();
    let made =
        bench.post("/sites/acme/enrol", json!({"role": "active", "valid_seconds": 3600})).await.unwrap();
    let text = made["token"].as_str().unwrap();
    let token: EnrolmentToken = text.parse().unwrap();
    assert_eq!((token.site.as_str(), token.url.as_str()), ("acme", "wss://relay.example.com"));
    assert_eq!(token.relay, bench.fingerprint);
    let line = format!("sudo outhaul-agent enrol --relay wss://relay.example.com --token {text}");
    assert_eq!(made["command"], line);
    for (path, body) in [
        ("/sites/other/enrol", json!({"role": "active", "valid_seconds": 3600})),
        ("/sites/acme/enrol", json!({"role": "active", "valid_seconds": 5})),
        ("/sites/acme/enrol", json!({"role": "king", "valid_seconds": 3600})),
    ] {
        assert_eq!(bench.post(path, body).await.unwrap_err().exit(), Exit::Data);
    }
}

#[tokio::test]
async fn agents_are_shown_activated_and_revoked() {
    let bench = Bench::new();
    bench.post("/sites", json!({"name": "acme"})).await.unwrap();
    let first = bench.enrolled(1).await;
    let second = bench.enrolled(2).await;
    let listed = bench.client.get("/agents").await.unwrap();
    assert_eq!(listed["agents"][0]["agent"], second.to_string(), "the active one first");
    assert_eq!(listed["agents"][1]["role"], "standby");
    assert_eq!(listed["agents"][1]["state"], "offline");
    bench.post(&format!("/agents/{first}/activate"), json!(null)).await.unwrap();
    assert_eq!(bench.client.get(&format!("/agents/{first}")).await.unwrap()["role"], "active");
    let drain = bench.post(&format!("/agents/{first}/drain"), json!(null)).await.unwrap_err();
    assert!(drain.to_string().contains("not connected"), "{drain}");
    bench.post(&format!("/agents/{first}/revoke"), json!(null)).await.unwrap();
    let shown = bench.client.get(&format!("/agents/{first}")).await.unwrap();
    assert_eq!(shown["state"], "revoked");
    let again = bench.post(&format!("/agents/{first}/activate"), json!(null)).await.unwrap_err();
    assert!(again.to_string().contains("revoked"), "{again}");
    assert_eq!(bench.client.get("/agents/zzz").await.unwrap_err().exit(), Exit::Data);
    let unclear = bench.client.get("/agents/0").await.unwrap_err();
    assert!(unclear.to_string().contains("more of it"), "{unclear}");
}

#[tokio::test]
async fn hosts_are_allowed_and_denied_for_a_site() {
    let bench = Bench::new();
    bench.post("/sites", json!({"name": "acme"})).await.unwrap();
    let list = async || bench.client.get("/sites/acme/egress").await.unwrap();
    assert_eq!(list().await["hosts"], json!([]));
    assert_eq!(list().await["every_site"], json!(["graph.example.com:443"]));
    let host = |host: &str| json!({ "host": host });
    let allow = async |text: &str| bench.post("/sites/acme/egress/allow", host(text)).await;
    allow("LOGIN.example.com:443").await.unwrap();
    allow("login.example.com:443").await.unwrap();
    let allowed = allow("*.example.org:443").await.unwrap();
    assert_eq!(allowed["hosts"], json!(["*.example.org:443", "login.example.com:443"]));
    for (bad, says) in
        [("login.example.com", "needs a port"), ("*.com:443", "no pattern"), ("a:1", "no host")]
    {
        let refused = allow(bad).await.unwrap_err();
        assert!(refused.to_string().contains(says) && refused.exit() == Exit::Data, "{refused}");
    }
    let deny = async |text: &str| bench.post("/sites/acme/egress/deny", host(text)).await;
    assert_eq!(deny("*.example.org:443").await.unwrap()["hosts"], json!(["login.example.com:443"]));
    let refused = deny("graph.example.com:443").await.unwrap_err().to_string();
    assert!(refused.contains("[egress] allow"), "{refused}");
    let refused = deny("other.example.com:443").await.unwrap_err().to_string();
    assert!(refused.contains("site egress list acme"), "{refused}");
    for path in ["/sites/none/egress/allow", "/sites/none/egress/deny"] {
        assert!(bench.post(path, host("login.example.com:443")).await.is_err());
    }
    assert!(bench.client.get("/sites/none/egress").await.is_err());
    // Gone with the site.
    bench.post("/sites/acme/remove", json!({"force": false})).await.unwrap();
    bench.post("/sites", json!({"name": "acme"})).await.unwrap();
    assert_eq!(list().await["hosts"], json!([]));
}

#[tokio::test]
async fn a_name_belongs_to_one_site_and_is_none_of_the_relays() {
    let bench = Bench::new();
    for site in ["acme", "other"] {
        bench.post("/sites", json!({ "name": site })).await.unwrap();
    }
    let add = async |site: &str, name: &str| {
        bench.post(&format!("/sites/{site}/names"), json!({ "name": name })).await
    };
    let found = |name: &str| bench.names.find(name).map(|found| found.site);
    assert_eq!(add("acme", "Jira.Acme.example.").await.unwrap()["name"], "jira.acme.example");
    assert_eq!(found("jira.acme.example").as_deref(), Some("acme"));
    for (site, name, why) in [
        ("other", "jira.acme.example", "of the site “acme”"),
        ("acme", "jira.acme.example", "of the site “acme”"),
        ("nobody", "jira.nobody.example", "no site “nobody”"),
        ("acme", "acme.relay.example.com", "this relay's own"),
        ("acme", "relay.example.com", "this relay's own"),
        ("acme", "x.direct.relay.example.com", "this relay's own"),
        ("acme", "own.example", "certificate is for own.example"),
        ("acme", "jira", "no host name"),
        ("acme", "https://jira.acme.example/", "no host name"),
        ("acme", "192.0.2.1", "no host name"),
    ] {
        let refused = add(site, name).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{site} {name}: {refused}");
    }
    let listed = bench.client.get("/names").await.unwrap();
    let rows: Vec<_> =
        listed["names"].as_array().unwrap().iter().map(|row| (&row["site"], &row["name"])).collect();
    let expected = [
        (json!("acme"), json!("jira.acme.example")),
        (json!("acme"), json!("acme.direct.relay.example.com")),
        (json!("other"), json!("other.direct.relay.example.com")),
    ];
    assert_eq!(rows, expected.iter().map(|(site, name)| (site, name)).collect::<Vec<_>>());

    let remove = async |site: &str, name: &str| {
        bench.post(&format!("/sites/{site}/names/remove"), json!({ "name": name })).await
    };
    assert!(remove("other", "jira.acme.example").await.is_err());
    remove("acme", "jira.acme.example").await.unwrap();
    assert_eq!(found("jira.acme.example"), None);
    // With a site its names go.
    add("acme", "jira.acme.example").await.unwrap();
    bench.post("/sites/acme/remove", json!({ "force": false })).await.unwrap();
    assert_eq!(found("jira.acme.example"), None);
    assert!(bench.store.names().await.unwrap().is_empty());
}
