//! An authority's limits. A small authority of the test's own stands in: Pebble has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use axum::{Json, Router};
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use outhaul::common::tasks::Tasks;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;

use super::site::{ZONE, name};
use crate::support::eventually;
use crate::support::process::text;
use crate::support::world::{Running, World};

/// Makes accounts, and refuses every order: too many, come again in two hours.
struct Limited {
    directory: String,
    orders: Arc<AtomicUsize>,
    tasks: Tasks,
}

impl Limited {
    async fn start(world: &World) -> Self {
        let (chain, key) = world.authority.issue("limited", &["localhost"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (orders, tasks) = (Arc::new(AtomicUsize::new(0)), Tasks::new());
        let at = base.clone();
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
                    let headers =
                        [("replay-nonce", "abc".to_owned()), ("location", format!("{at}/account/1"))];
                    (StatusCode::CREATED, headers, Json(json!({ "status": "valid" })))
                }),
            )
            .route("/order", any(refuse))
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
        Self { directory: format!("{base}/directory"), orders, tasks }
    }
}

async fn refuse(State(orders): State<Arc<AtomicUsize>>) -> impl IntoResponse {
    orders.fetch_add(1, Ordering::Relaxed);
    let problem =
        json!({ "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates" });
    let headers =
        [("replay-nonce", "abc"), ("retry-after", "7200"), ("content-type", "application/problem+json")];
    (StatusCode::TOO_MANY_REQUESTS, headers, problem.to_string())
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

#[tokio::test]
async fn an_authority_that_says_when_is_not_asked_before_by_hand_neither() {
    let world = World::new("http://127.0.0.1:9");
    let limited = Limited::start(&world).await;
    world.edit_relay("[operator]", &format!("[pass-through]\nzone = \"{ZONE}\"\n\n[operator]"));
    let table = format!(
        "[pass-through]\ncustomer-names = [\"{}\"]\n[pass-through.acme]\ndirectory = \"{}\"\nca-file = \
         \"{}\"\nterms-of-service-agreed = true\n\n[admin]",
        name(),
        limited.directory,
        text(&world.authority.file)
    );
    world.edit_agent("[admin]", &table);
    let mut running = Running::start(world).await;
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
