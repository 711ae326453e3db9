//! The whole way with real processes.

use bytes::Bytes;
use http::{Method, Request};

use super::signer::{Draft, Signer};
use crate::support::client::Answer;
use crate::support::door::{Door, Version, full, pieces, whole};
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

/// A running site with one caller that signs.
struct Site {
    upstream: Upstream,
    running: Running,
    signer: Signer,
    authority: String,
}

impl Site {
    async fn start() -> Self {
        let upstream = Upstream::start().await;
        let world = World::new(&upstream.url());
        world.edit_agent("why = \"Commenting\"\n", "why = \"Commenting\"\nrequire = [\"signed\"]\n");
        let running = Running::start(world).await;
        let mut signer = Signer::new();
        let file = running.world.path().join("caller.pub");
        signer.write(&file);
        let added = running
            .world
            .agent(&["caller", "add", "ci", "--public-key", file.to_str().unwrap(), "--json"])
            .await;
        signer.learn(&added.json());
        let authority = format!("{}:{}", host(), running.world.port);
        Self { upstream, running, signer, authority }
    }

    async fn send(&self, request: &Request<Bytes>) -> Answer {
        self.running.world.client().call(&host(), request.clone()).await.unwrap()
    }

    fn check(&self, request: &Request<Bytes>, answer: &Answer) -> Result<(), String> {
        self.signer.verify(request, &self.authority, answer.status, &answer.headers, &answer.body)
    }
}

const COMMENT: &str = "/jira/rest/api/2/issue/TEST-1/comment";

#[tokio::test]
async fn a_signed_call_passes_once_and_its_answer_is_signed() {
    let mut site = Site::start().await;
    let draft = site.signer.draft(Method::POST, &site.authority, COMMENT, "{\"body\":\"hello\"}");
    let request = site.signer.request(&draft);
    let answer = site.send(&request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(site.check(&request, &answer), Ok(()));
    assert_eq!(site.upstream.seen().len(), 1);
    assert_eq!(site.upstream.seen()[0]["headers"]["content-type"], "application/json");

    // The same bytes again are refused, and nothing in the refusal claims that nothing was done.
    let again = site.send(&request).await;
    assert_eq!(again.problem(), Some("signature-replayed"), "{again:?}");
    assert_eq!(again.json()["outcome"], "outcome-unknown");
    assert!(site.check(&request, &again).is_err(), "a refusal of a copy is not signed");

    // What the policy refuses is refused with a signature.
    let other = site.signer.request(&site.signer.draft(
        Method::POST,
        &site.authority,
        "/jira/rest/api/2/other",
        "{}",
    ));
    let refused = site.send(&other).await;
    assert_eq!(refused.problem(), Some("policy-refused"));
    assert_eq!(site.check(&other, &refused), Ok(()));
    // An answer of another call is not this one's.
    assert!(site.check(&request, &refused).is_err());
    assert!(site.check(&other, &answer).is_err());

    // The rule wants a signature, and a key sent along is none.
    let by_key = Request::post(COMMENT).header("content-type", "application/json").body("{}".into()).unwrap();
    let by_key = site.running.client.call(&host(), by_key).await.unwrap();
    assert_eq!(by_key.problem(), Some("trust-required"));
    assert_eq!(site.upstream.seen().len(), 1);

    // A restart forgets no nonce.
    site.running.agent.kill();
    site.running.agent = site.running.world.start_agent();
    site.running.agent.line("connected to the relay").await;
    assert_eq!(site.send(&request).await.problem(), Some("signature-replayed"));
    assert_eq!(site.upstream.seen().len(), 1);

    let audit = site.running.world.agent(&["audit", "list", "--json"]).await;
    assert!(audit.out.contains(&format!("\"signed\": \"{}\"", site.signer.key_id)), "{}", audit.out);
    let callers = site.running.world.agent(&["caller", "list"]).await;
    assert!(callers.out.contains(&site.signer.key_id) && callers.out.contains("signs"), "{}", callers.out);
}

/// Over both versions of HTTP, in both forms of the address, with a length and in pieces.
#[tokio::test]
async fn every_way_of_sending_a_signed_call_is_the_same_call() {
    let site = Site::start().await;
    let world = &site.running.world;
    let door = Door::new(&world.authority.file, world.port, "");
    let mut calls = 0;
    for version in [Version::One, Version::Two] {
        let mut line = door.line(version).await.unwrap();
        for in_pieces in [false, true] {
            for route in ["", "/s/acme"] {
                let authority = if route.is_empty() {
                    site.authority.clone()
                } else {
                    format!("localhost:{}", world.port)
                };
                // The query is signed as it is written.
                let target = format!("{route}{COMMENT}?expand=a%2Cb&x=%C3%A9");
                let draft = site.signer.draft(Method::POST, &authority, &target, "{\"body\":\"hello\"}");
                let request = site.signer.request(&draft);
                let (head, body) = request.clone().into_parts();
                let body = if in_pieces { pieces(body, 3) } else { full(body) };
                let response = line.send(&authority, Request::from_parts(head, body)).await.unwrap();
                let answer = whole(response).await.unwrap();
                let what = format!("{version:?} {in_pieces} {route}");
                assert_eq!(answer.status, 200, "{what} {answer:?}");
                let proved =
                    site.signer.verify(&request, &authority, answer.status, &answer.headers, &answer.body);
                assert_eq!(proved, Ok(()), "{what}");
                calls += 1;
                assert_eq!(site.upstream.seen().len(), calls, "{what}");
                assert_eq!(site.upstream.seen()[calls - 1]["query"], "expand=a%2Cb&x=%C3%A9", "{what}");
            }
        }
    }
}

/// A caller that heard nothing signs anew and sends the same key: the call is made once, and its answer proved.
#[tokio::test]
async fn the_same_key_signed_anew_gets_the_first_answer() {
    let site = Site::start().await;
    let draft = || -> Draft {
        site.signer.draft(Method::POST, &site.authority, COMMENT, "{}").with("idempotency-key", "\"k-1\"")
    };
    let (first, again) = (site.signer.request(&draft()), site.signer.request(&draft()));
    let (one, two) = (site.send(&first).await, site.send(&again).await);
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200), "{two:?}");
    assert_eq!(two.headers["outhaul-replayed"], "true");
    assert_eq!(one.body, two.body);
    assert_eq!((site.check(&first, &one), site.check(&again, &two)), (Ok(()), Ok(())));
    assert!(two.headers["signature-input"].to_str().unwrap().contains("\"outhaul-replayed\""));
    assert_eq!(site.upstream.seen().len(), 1);
}
