//! Each spelling of a path through the front, and what then reaches the application.

use std::sync::Mutex;

use super::*;
use crate::path_vectors::{Fate, spellings};

/// An upstream that keeps the first line of each request, and answers with nothing.
pub(super) async fn first_lines() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let log = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&log);
    let (address, _) = upstream(move |mut peer, head| {
        let kept = Arc::clone(&kept);
        async move {
            let mut next = Some(head);
            while let Some(head) = next {
                kept.lock().unwrap().push(head.lines().next().unwrap().to_owned());
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                next = peer.head().await;
            }
        }
    })
    .await;
    (address, log)
}

/// A site whose only rule lets every path pass: what is refused then is refused for its spelling.
pub(super) fn open_world(address: SocketAddr) -> World {
    let world = world(&[address], |_| {});
    world.follow("[[policy.rule]]\nallow = \"GET /**\"\nwhy = \"a test\"\nas = \"anonymous\"\naccept-relay-trust = true\n");
    world
}

impl World {
    /// GET with a target that need not be one: as it would arrive from the tunnel.
    pub(super) async fn get_target(&self, target: &str) -> Answer {
        let mut request = Request::new(Full::<Bytes>::default());
        request.extensions_mut().insert(Arrival {
            request_id: RequestId::generate(),
            scheme: Scheme::Https,
            authority: "acme.relay.example:8443".to_owned(),
            target: target.to_owned(),
            route_length: 0,
            peer: "192.0.2.1:4711".to_owned(),
            way: Way::Terminated,
        });
        let bearer = format!("Bearer {}", self.key).parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let Ok(response) = self.front.clone().call(request).await;
        read(response).await
    }
}

#[tokio::test]
async fn what_is_matched_is_sent_and_what_is_refused_stays_here() {
    let (address, log) = first_lines().await;
    let world = open_world(address);
    let mut passed = Vec::new();
    for spelling in spellings() {
        let (line, raw) = (spelling.line, &spelling.raw);
        match spelling.fate {
            Fate::Allowed { sent, segments } => {
                assert!(!segments.is_empty(), "{line}");
                assert_eq!(world.get_target(&format!("/jira{raw}")).await.status, 200, "{line}");
                passed.push(format!("GET /jira{sent} HTTP/1.1"));
            }
            // In a target a ? begins the query.
            Fate::Refused(_) if raw.contains('?') => {}
            Fate::Refused(reason) if raw.starts_with('/') => {
                let answer = world.get_target(&format!("/jira{raw}")).await;
                let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(document["reason"], reason, "{line}: {document}");
                assert_eq!((answer.status, answer.problem().1.as_str()), (400, "not-sent"), "{line}");
            }
            // The other forms of a target name no application.
            Fate::Refused(_) => {
                let answer = world.get_target(raw).await;
                assert!(matches!(answer.status, 400 | 404), "{line}: {answer:?}");
                assert_eq!(answer.problem().1, "not-sent", "{line}");
            }
        }
        assert_eq!(log.lock().unwrap().len(), passed.len(), "{line}");
    }
    assert_eq!(*log.lock().unwrap(), passed);
}

#[tokio::test]
async fn a_spelling_can_t_choose_another_application() {
    let (address, log) = first_lines().await;
    let world = open_world(address);
    for target in [
        "/%6aira/a",
        "/JIRA/a",
        "/jira;x/a",
        "//jira/a",
        "/./jira/a",
        "/x/../jira/a",
        "/x/%2e%2e/jira/a",
        "/jira%2fa",
        "/jira\\a",
        "jira/a",
        "http://acme.relay.example/jira/a",
        "acme.relay.example:443",
        "*",
        "",
    ] {
        let answer = world.get_target(target).await;
        assert!(matches!(answer.code().as_str(), "not-found" | "ambiguous-path"), "{target}: {answer:?}");
    }
    assert!(log.lock().unwrap().is_empty());
}
