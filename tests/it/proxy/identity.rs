//! As whom the upstream answered.

use http::Method;
use outhaul::agent::mapping::{Account, Link, Secrets};
use outhaul::common::secret::Secret;

use super::*;

/// An upstream that takes the token `pat-reader` while `alive`, and names whom it answers.
async fn jira(alive: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    let (address, _) = upstream(move |mut peer, head| {
        let counter = Arc::clone(&counter);
        async move {
            let mut next = Some(head);
            while let Some(head) = next {
                let path = head.split(' ').nth(1).unwrap();
                let known = alive && head.contains("authorization: Bearer pat-reader\r\n");
                let (status, user) = match path {
                    "/jira/rest/api/2/myself" => {
                        counter.fetch_add(1, Ordering::SeqCst);
                        if known { ("200 OK", "reader%40corp") } else { ("401 Unauthorized", "anonymous") }
                    }
                    "/jira/svc/assignee" => ("401 Unauthorized", "reader%40corp"),
                    "/jira/svc/refused" => ("401 Unauthorized", "anonymous"),
                    "/jira/svc/other" | "/jira/anon/other" | "/jira/person/other" => ("200 OK", "admin"),
                    "/jira/svc/silent" | "/jira/person/silent" => ("200 OK", ""),
                    _ if known => ("200 OK", "READER%40corp"),
                    _ => ("200 OK", "anonymous"),
                };
                let named = if user.is_empty() { String::new() } else { format!("X-AUSERNAME: {user}\r\n") };
                peer.send(&format!("HTTP/1.1 {status}\r\n{named}Content-Length: 4\r\n\r\nbody")).await;
                if head.starts_with("POST") {
                    peer.take(1).await;
                }
                next = peer.head().await;
            }
        }
    })
    .await;
    (address, asked)
}

#[tokio::test]
async fn an_answer_made_as_somebody_else_is_withheld() {
    let (address, _) = jira(true).await;
    let world = world(&[address], |_| {});
    assert_eq!(&world.get("/jira/svc/x").await.body[..], b"body");
    assert_eq!(world.get("/jira/anon/x").await.status, 200);
    for path in ["/jira/svc/other", "/jira/svc/silent", "/jira/anon/other"] {
        let answer = world.get(path).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (502, problem("identity-mismatch", "outcome-unknown", "never")),
            "{path}"
        );
        assert!(!String::from_utf8_lossy(&answer.body).contains("admin"));
    }
    let write = world.post("/jira/svc/other", "1").await;
    assert_eq!(write.problem(), problem("identity-mismatch", "outcome-unknown", "never"));
}

#[tokio::test]
async fn a_dead_token_on_an_open_resource_is_no_success() {
    let (address, _) = jira(false).await;
    let world = world(&[address], |_| {});
    assert_eq!(world.get("/jira/svc/x").await.code(), "identity-mismatch");
}

#[tokio::test]
async fn an_upstream_that_names_nobody_can_be_excepted() {
    let (address, asked) = jira(true).await;
    let world = world(&[address], |wish| wish.config.identity_header = false);
    for path in ["/jira/svc/silent", "/jira/svc/other", "/jira/anon/other"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
    assert_eq!(world.get("/jira/svc/refused").await.status, 401);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_refusal_is_looked_at_once_and_called_by_its_name() {
    let (address, asked) = jira(false).await;
    let clock = Clock::manual();
    let moved = clock.clone();
    let world = world(&[address], |wish| wish.clock = moved);
    for _ in 0..3 {
        let answer = world.get("/jira/svc/refused").await;
        assert_eq!(
            (answer.status, answer.problem()),
            (502, problem("needs-reauth", "outcome-unknown", "never"))
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    clock.advance(Duration::from_secs(31));
    assert_eq!(world.get("/jira/svc/refused").await.code(), "needs-reauth");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_missing_right_stays_jiras_own_answer() {
    let (address, asked) = jira(true).await;
    let world = world(&[address], |_| {});
    for path in ["/jira/svc/assignee", "/jira/svc/refused", "/jira/svc/assignee"] {
        let answer = world.get(path).await;
        assert_eq!((answer.status, &answer.body[..]), (401, &b"body"[..]), "{path}");
        assert!(!answer.headers.contains_key("outhaul-problem"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// Links a person with the token that the upstream took once.
async fn link(world: &World) {
    let site = world.site.load_full();
    site.mappings.configure([(Arc::clone(&world.upstream), None)]);
    let link = Link {
        upstream: "jira".parse().unwrap(),
        act_as: "entra:reader".parse().unwrap(),
        account: Account {
            key: "K1".to_owned(),
            name: "reader@corp".to_owned(),
            display_name: String::new(),
        },
        secrets: Secrets::Pat(Secret::new("pat-reader".to_owned())),
        allow_shared: false,
    };
    site.mappings.create(link).await.unwrap();
}

async fn as_reader(world: &World, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header("outhaul-act-as", "entra:reader");
    read(world.call(request.body(Full::<Bytes>::default()).unwrap()).await).await
}

#[tokio::test]
async fn what_nobody_did_in_a_persons_place_is_not_called_undone() {
    let (address, asked) = jira(false).await;
    let world = world(&[address], |_| {});
    link(&world).await;
    // The application answers 200 as anonymous: it may have acted, so this must not be sent again.
    let answer = as_reader(&world, Method::POST, "/jira/person/x").await;
    assert_eq!(
        (answer.status, answer.problem()),
        (502, problem("identity-mismatch", "outcome-unknown", "never"))
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1, "and the token was looked at");
    let answer = as_reader(&world, Method::POST, "/jira/person/x").await;
    assert_eq!((answer.status, answer.problem()), (403, problem("needs-reauth", "not-sent", "never")));
}

#[tokio::test]
async fn a_person_is_who_the_answer_names_and_nobody_else() {
    let (address, asked) = jira(true).await;
    let world = world(&[address], |_| {});
    link(&world).await;
    assert_eq!(as_reader(&world, Method::GET, "/jira/person/x").await.status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "a call in good order asks nothing");
    for path in ["/jira/person/other", "/jira/person/silent"] {
        let answer = as_reader(&world, Method::GET, path).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "identity-mismatch"), "{path}");
        assert!(!answer.body.windows(6).any(|window| window == b"reader"), "no name is told: {answer:?}");
    }
}
