//! An authority's limits. A small authority of the test's own stands in: Pebble has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use http::{HeaderValue, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use outhaul::common::clock::Clock;
use outhaul::common::tasks::Tasks;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;

use super::site::{ZONE, name};
use crate::support::eventually;
use crate::support::process::text;
use crate::support::world::{Running, World};

/// Makes accounts, unless it refuses those too; and refuses every order.
struct Limited {
    directory: String,
    accounts: Arc<AtomicUsize>,
    orders: Arc<AtomicUsize>,
    tasks: Tasks,
}

/// What it says: status, type, Retry-After.
#[derive(Clone, Copy)]
struct Refusal(StatusCode, &'static str, Option<&'static str>);

/// Too many, come again in two hours.
const TOO_MANY: Refusal = Refusal(StatusCode::TOO_MANY_REQUESTS, "rateLimited", Some("7200"));

impl Limited {
    async fn start(world: &World, accounts_too: Option<Refusal>) -> Self {
        let (chain, key) = world.authority.issue("limited", &["localhost"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (orders, tasks) = (Arc::new(AtomicUsize::new(0)), Tasks::new());
        let accounts = Arc::new(AtomicUsize::new(0));
        let (at, tried) = (base.clone(), accounts.clone());
        let directory = json!({
            "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"),
            "newOrder": format!("{base}/order"), "meta": { "caaIdentities": ["limited.example", "bad\"name"] },
        });
        let router = Router::new()
            .route("/directory", get(async || Json(directory)))
            .route("/nonce", any(async || [("replay-nonce", "abc")]))
            .route(
                "/account",
                any(async move || {
                    tried.fetch_add(1, Ordering::Relaxed);
                    if let Some(refusal) = accounts_too {
                        return refuse(refusal);
                    }
                    let headers =
                        [("replay-nonce", "abc".to_owned()), ("location", format!("{at}/account/1"))];
                    (StatusCode::CREATED, headers, Json(json!({ "status": "valid" }))).into_response()
                }),
            )
            .route(
                "/order",
                any(async |State(orders): State<Arc<AtomicUsize>>| {
                    orders.fetch_add(1, Ordering::Relaxed);
                    refuse(TOO_MANY)
                }),
            )
            .with_state(orders.clone());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(chain).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let group = tasks.clone();
        tasks.spawn("authority", async move {
            loop {
                let (socket, _) = tokio::select! {
                    () = group.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                let (tls, router) = (tls.clone(), router.clone());
                group.spawn_detached(async move {
                    let Ok(stream) = tls.accept(socket).await else { return };
                    let service = TowerToHyperService::new(router);
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { directory: format!("{base}/directory"), accounts, orders, tasks }
    }

    fn accounts(&self) -> usize {
        self.accounts.load(Ordering::Relaxed)
    }
}

fn refuse(Refusal(status, kind, retry_after): Refusal) -> Response {
    let problem = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "not so" });
    let headers = [("replay-nonce", "abc"), ("content-type", "application/problem+json")];
    let mut response = (status, headers, problem.to_string()).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", HeaderValue::from_static(seconds));
    }
    response
}

/// An agent whose certificates come from there.
async fn site(accounts_too: Option<Refusal>) -> (Running, Limited) {
    let world = World::new("http://127.0.0.1:9");
    let limited = Limited::start(&world, accounts_too).await;
    world.edit_relay("[operator]", &format!("[pass-through]\nzone = \"{ZONE}\"\n\n[operator]"));
    let table = format!(
        "[pass-through]\ncustomer-names = [\"{}\"]\n[pass-through.acme]\ndirectory = \"{}\"\nca-file = \
         \"{}\"\nterms-of-service-agreed = true\n\n[admin]",
        name(),
        limited.directory,
        text(&world.authority.file)
    );
    world.edit_agent("[admin]", &table);
    (Running::start(world).await, limited)
}

async fn refused_account(running: &Running, kind: &str) {
    eventually("the refusal is told", Duration::from_secs(30), async || {
        running.world.agent(&["certificate"]).await.out.contains(kind)
    })
    .await;
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

#[tokio::test]
async fn an_authority_that_says_when_is_not_asked_before_by_hand_neither() {
    let (mut running, limited) = site(None).await;
    let line = async |running: &Running| {
        running.world.agent(&["certificate", "--json"]).await.json()["certificates"][0].clone()
    };
    eventually("the refusal is told", Duration::from_secs(30), async || {
        line(&running).await["error"]["text"].as_str().is_some_and(|text| text.contains("rateLimited"))
    })
    .await;
    let refused = line(&running).await;
    assert_eq!(refused["next_why"], "authority", "{refused}");
    let tried: jiff::Timestamp = refused["error"]["at"].as_str().unwrap().parse().unwrap();
    let next: jiff::Timestamp = refused["next"].as_str().unwrap().parse().unwrap();
    let wait = next.as_second() - tried.as_second();
    assert!((7199..7300).contains(&wait), "{wait} s: what the authority said, {refused}");
    // What the authority calls itself is in the lines; what can't stand there is not.
    assert!(refused["caa"][0].as_str().unwrap().contains("\"limited.example; accounturi="), "{refused}");
    let orders = limited.orders.load(Ordering::Relaxed);
    assert_eq!(orders, 1);

    let by_hand = running.world.agent(&["certificate", "renew"]).await;
    assert!(by_hand.code != 0 && by_hand.err.contains("the authority wants no order before"), "{by_hand:?}");
    running.agent.signal("TERM");
    running.agent.end().await;
    running.agent = running.world.start_agent();
    running.agent.line("connected to the relay").await;
    let by_hand = running.world.agent(&["certificate", "renew"]).await;
    assert!(by_hand.err.contains("the authority wants no order before"), "{by_hand:?}");
    assert_eq!(limited.orders.load(Ordering::Relaxed), orders, "a restart forgets nothing");
    let none = running.client.get(&name(), "/jira/rest/api/2/issue/X-1").await;
    assert!(none.is_err(), "there is no certificate, and none of another name is shown: {none:?}");
}

#[tokio::test]
async fn asking_by_hand_is_one_try_for_an_account_that_the_authority_refuses() {
    let (running, limited) = site(Some(Refusal(StatusCode::BAD_REQUEST, "invalidContact", None))).await;
    refused_account(&running, "invalidContact").await;
    assert_eq!(limited.accounts(), 1);
    for asked in 1..=2 {
        let by_hand = running.world.agent(&["certificate", "renew"]).await;
        assert!(by_hand.code == 1 && by_hand.err.contains("Correct contact"), "{by_hand:?}");
        assert_eq!(limited.accounts(), 1 + asked);
    }
    assert_eq!(limited.orders.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_authority_that_makes_no_account_for_years_is_not_asked_for_eight_days() {
    let years = Refusal(StatusCode::TOO_MANY_REQUESTS, "rateLimited", Some("99999999"));
    let (running, limited) = site(Some(years)).await;
    refused_account(&running, "rateLimited").await;
    let before = Clock::system().unix_seconds();
    let by_hand = running.world.agent(&["certificate", "renew"]).await;
    assert!(by_hand.code != 0 && by_hand.err.contains("the authority wants no order before"), "{by_hand:?}");
    let until = by_hand.err.split("go out at ").nth(1).unwrap().split('Z').next().unwrap();
    let until: jiff::Timestamp = format!("{until}Z").parse().unwrap();
    let hours = (until.as_second() - i64::try_from(before).unwrap()) / 3600;
    assert!((190..=192).contains(&hours), "{hours} h, {by_hand:?}");
    assert_eq!(limited.accounts(), 1);
}
