//! Calls made as people, at the stand-in with its OAuth provider: a process of its own, real connections, and the
//! agent's front with the clock in the test's hand.

mod administrator;
mod calls;
mod renewal;
mod service;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use outhaul::agent::callers::Options;
use outhaul::agent::counters::CallMetrics;
use outhaul::agent::credentials::Credentials;
use outhaul::agent::front::{Arrival, Front, Site, Way};
use outhaul::agent::issuers::Issuers;
use outhaul::agent::mapping::{ActAs, Link, MappingRow, Mappings, OAuthConfig, Secrets};
use outhaul::agent::pause::Pause;
use outhaul::agent::policy::{Identity, Place, Policy, Rule, Terms};
use outhaul::agent::proxy::Proxy;
use outhaul::agent::store::Store;
use outhaul::agent::upstream::{Config, Upstream};
use outhaul::common::clock::Clock;
use outhaul::common::ids::{RequestId, UpstreamName};
use outhaul::common::limits::ByteSize;
use outhaul::common::tasks::Tasks;
use outhaul::config::values::SecretRef;
use outhaul::identity::oauth::Verifier;
use outhaul::tunnel::head::Scheme;
use serde_json::{Value, json};
use tower_service::Service;

use crate::proxy::{Answer, read};
use crate::support::jira::Jira;
use crate::support::pki::write_private;
use crate::support::store::{callers_in, store_in, write_audit};

const REDIRECT: &str = "https://agent.invalid/oauth/callback";

/// A site whose upstream `jira` is a stand-in, where everything is done as a person of provider `t`.
struct World {
    front: Front,
    mappings: Mappings,
    store: Store,
    jira: Jira,
    clock: Clock,
    key: String,
    tasks: Tasks,
    folder: tempfile::TempDir,
}

fn name() -> UpstreamName {
    "jira".parse().unwrap()
}

fn person(subject: &str) -> ActAs {
    ActAs::new(&"t".parse().unwrap(), subject).unwrap()
}

impl World {
    async fn new(switches: &[&str]) -> Self {
        Self::with_header(switches, true).await
    }

    async fn with_header(switches: &[&str], identity_header: bool) -> Self {
        let client = format!("id=outhaul,secret=s3cret,scope=READ+WRITE,redirect={REDIRECT}");
        let mut arguments = vec!["--oauth-client", &client, "--pat", "alice=pat-alice"];
        arguments.extend(switches.iter().flat_map(|switch| ["--switch", switch]));
        let jira = Jira::start(1, &arguments).await;
        let config = Config {
            name: name(),
            nodes: vec![jira.nodes[0].parse().unwrap()],
            base_url: "https://jira.example".parse().unwrap(),
            ca_file: None,
            identity_header,
            affinity_cookie: None,
            stateless: false,
            via_proxy: false,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(20),
            max_request_body: ByteSize::mib(1),
            // With those that may wait for one, enough for 64 calls at once.
            max_connections: 16,
        };
        let folder = tempfile::tempdir().unwrap();
        let (tasks, clock) = (Tasks::new(), Clock::manual());
        let upstream = Upstream::start(config, None, clock.clone(), &tasks).unwrap();
        let secret = folder.path().join("oauth");
        write_private(&secret, "s3cret\n");
        let link = OAuthConfig {
            client_id: "outhaul".to_owned(),
            client_secret: SecretRef::File(secret),
            scope: "READ WRITE".to_owned(),
            redirect_url: REDIRECT.to_owned(),
            authorize_path: OAuthConfig::AUTHORIZE_PATH.to_owned(),
            token_path: "/rest/oauth2/latest/token".to_owned(),
            revoke_path: Some("/rest/oauth2/latest/revoke".to_owned()),
        };
        let store = store_in(&folder.path().join("people"));
        let mappings = Mappings::start(store.clone(), clock.clone(), &tasks);
        assert!(mappings.configure([(Arc::clone(&upstream), Some(link))]).is_empty());
        let (callers, audit, [key]) = callers_in(folder.path(), ["bot"]);
        write_audit(&audit, &tasks);
        let rule = |allow: &str| {
            let place = Place { file: "agent.toml".into(), line: 1 };
            let rule = Rule::new(allow.parse().unwrap(), "a test", name(), Identity::User, place);
            rule.with_terms(Terms { accept_relay_trust: true, ..Terms::default() })
        };
        let site = Site {
            policy: Policy::compile(vec![rule("GET|POST|PUT /rest/api/2/**")]).into(),
            meters: Arc::default(),
            upstreams: [(name(), Proxy::new(upstream, Arc::default()))].into(),
            callers: Arc::new(callers),
            issuers: Arc::new(Issuers::none(Clock::system())),
            credentials: Arc::new(Credentials::load(&[])),
            mappings: mappings.clone(),
            options: [(
                "bot".parse().unwrap(),
                Options { act_as: vec!["t".parse().unwrap()], ..Options::default() },
            )]
            .into(),
        };
        let site = Arc::new(ArcSwap::from_pointee(site));
        let front = Front::new(site, Pause::load(folder.path()), CallMetrics::new(), audit);
        Self { front, mappings, store, jira, clock, key, tasks, folder }
    }

    /// Somebody consents at Jira, and the code is redeemed, proved and stored.
    async fn link(&self, user: &str) -> MappingRow {
        let verifier = Verifier::generate().unwrap();
        let url = self.mappings.authorization_url(&name(), "st4te", verifier.challenge()).unwrap();
        let wish = json!({ "user": user, "authorize": url }).to_string();
        let answer = self.jira.ask(Method::POST, "/oauth/consent", &wish).await;
        let location = answer["location"].as_str().unwrap();
        assert!(location.starts_with(REDIRECT) && location.contains("state=st4te"), "{location}");
        let (_, query) = location.split_once('?').unwrap();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, code) = pairs.find(|(name, _)| name == "code").unwrap();
        let secrets = self.mappings.redeem(&name(), &code, &verifier).await.unwrap();
        self.store_link(user, secrets).await
    }

    async fn store_link(&self, user: &str, secrets: Secrets) -> MappingRow {
        let account = self.mappings.prove(&name(), &secrets).await.unwrap();
        let act_as = person(user);
        let link = Link { upstream: name(), act_as, account, secrets, allow_shared: false };
        self.mappings.create(link).await.unwrap()
    }

    async fn call(&self, method: Method, path: &str, user: &str, body: &str) -> Answer {
        let request =
            Request::builder().method(method).uri(path).header("outhaul-act-as", format!("t:{user}"));
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.key));
        let request = if body.is_empty() {
            request
        } else {
            request
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::CONTENT_LENGTH, body.len())
        };
        let mut request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        request.extensions_mut().insert(Arrival {
            request_id: RequestId::generate(),
            scheme: Scheme::Https,
            authority: "acme.relay.example".to_owned(),
            target: format!("/jira{path}"),
            route_length: 0,
            peer: "192.0.2.1:4711".to_owned(),
            way: Way::Terminated,
        });
        match self.front.clone().call(request).await {
            Ok(response) => read(response).await,
            Err(never) => match never {},
        }
    }

    async fn myself(&self, user: &str) -> Answer {
        self.call(Method::GET, "/rest/api/2/myself", user, "").await
    }

    async fn comment(&self, user: &str) -> Answer {
        self.call(Method::POST, "/rest/api/2/issue/DEMO-1/comment", user, r#"{"body":"hello"}"#).await
    }

    async fn counter(&self, pointer: &str) -> u64 {
        self.jira
            .ask(Method::GET, "/counters", "")
            .await
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }

    async fn state(&self, user: &str) -> (String, bool) {
        let (row, secrets) = self.store.mapping(&name(), &person(user)).await.unwrap().unwrap();
        (row.state.as_str().to_owned(), secrets.is_some())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.cancel();
        let _ = &self.folder;
    }
}

/// The name that an answer of `myself` holds.
fn who(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    document["name"].as_str().unwrap().to_owned()
}
