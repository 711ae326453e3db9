//! `rewrite-links`.

use super::*;

const DOCUMENT: &str = r#"{"self":"https://jira.corp.example/jira/rest/1","next":"https:\/\/jira.corp.example\/jira\/rest\/2","other":"https://jira.corp.example/jirax"}"#;

/// Sends the document in pieces of seven bytes; `/png` says it is a picture.
async fn linking() -> SocketAddr {
    let (address, _) = upstream(|mut peer, head| async move {
        assert!(
            head.contains("accept-encoding: identity\r\n") == head.contains("x-experimentalapi"),
            "{head}"
        );
        let kind = if head.contains("/png ") { "image/png" } else { "application/json;charset=UTF-8" };
        let length = DOCUMENT.len();
        peer.send(&format!(
            "HTTP/1.1 201 Created\r\nContent-Type: {kind}\r\nETag: \"1\"\r\nContent-Length: {length}\r\n\
             Connection: close\r\nLocation: https://jira.corp.example/jira/rest/1\r\n\r\n"
        ))
        .await;
        if head.starts_with("HEAD") {
            return;
        }
        for piece in DOCUMENT.as_bytes().chunks(7) {
            peer.socket.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    address
}

#[tokio::test]
async fn links_lead_to_the_address_the_caller_used() {
    let world = world(&[linking().await], |wish| wish.rewrite = true);
    for (route, mount) in [("", "/jira"), ("/s/acme", "/jira")] {
        let request = Request::get(format!("{mount}/anon/x")).header("accept-encoding", "gzip");
        let request = request.header("x-experimentalapi", "1").body(Full::<Bytes>::default()).unwrap();
        let answer = read(world.call_on(route, request).await).await;
        let base = format!("https://acme.relay.example:8443{route}{mount}");
        let escaped = base.replace('/', "\\/");
        assert_eq!(
            std::str::from_utf8(&answer.body).unwrap(),
            format!(
                r#"{{"self":"{base}/rest/1","next":"{escaped}\/rest\/2","other":"https://jira.corp.example/jirax"}}"#
            )
        );
        assert_eq!(answer.headers["location"], format!("{base}/rest/1"));
        assert_eq!(answer.headers["etag"], "W/\"1\"");
        assert!(!answer.headers.contains_key("content-length"));
    }
    let request = Request::get("/jira/anon/png").header("x-experimentalapi", "1");
    let picture = read(world.call(request.body(Full::<Bytes>::default()).unwrap()).await).await;
    assert_eq!(
        (&picture.body[..], &picture.headers["etag"]),
        (DOCUMENT.as_bytes(), &"\"1\"".parse().unwrap())
    );
    let request = Request::head("/jira/anon/x").header("x-experimentalapi", "1");
    let head = read(world.call(request.body(Full::<Bytes>::default()).unwrap()).await).await;
    assert!(head.body.is_empty() && !head.headers.contains_key("content-length"));
}

#[tokio::test]
async fn without_the_wish_answers_pass_byte_for_byte() {
    let world = world(&[linking().await], |_| {});
    let answer = world.get("/jira/anon/x").await;
    assert_eq!(&answer.body[..], DOCUMENT.as_bytes());
    assert_eq!(answer.headers["location"], "https://jira.corp.example/jira/rest/1");
    assert_eq!(answer.headers["etag"], "\"1\"");
}
