//! Many callers at once, some of whom leave: nobody gets another's answer, and no connection is lost for good.

use super::*;
use crate::support::eventually;

/// Answers with the request's target and body, in two pieces.
async fn echo() -> (SocketAddr, Arc<Seen>) {
    upstream(|mut peer, head| async move {
        let mut next = Some(head);
        while let Some(head) = next {
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().unwrap());
            let body = String::from_utf8(peer.take(length).await).unwrap();
            let answer = format!("{target} {body}");
            peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len())).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            peer.send(&answer).await;
            next = peer.head().await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_callers_gets_each_its_own_answer() {
    let (address, seen) = echo().await;
    let world = Arc::new(world(&[address], |wish| wish.config.max_connections = 8));
    let tasks = Tasks::new();
    let callers: Vec<_> = (0..32)
        .map(|caller| {
            let world = Arc::clone(&world);
            tasks.spawn_detached(async move {
                for call in 0..40 {
                    let path = format!("/jira/anon/{caller}/{call}");
                    let body = if call % 2 == 0 { format!("body {caller} {call}") } else { String::new() };
                    let request = if body.is_empty() {
                        Request::get(&path).body(Full::default()).unwrap()
                    } else {
                        let request = Request::post(&path).header(header::CONTENT_LENGTH, body.len());
                        request.body(Full::from(body.clone())).unwrap()
                    };
                    let whole = async { read(world.call(request).await).await };
                    if call % 7 == 3 {
                        // Leaves in the middle of it.
                        let _ = tokio::time::timeout(Duration::from_micros(700), whole).await;
                    } else {
                        let answer = whole.await;
                        assert_eq!(answer.status, 200, "{answer:?}");
                        assert_eq!(answer.body, format!("{path} {body}"));
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(seen.requests() <= 32 * 40, "nothing is sent twice: {}", seen.requests());
    eventually("calls end", Duration::from_secs(5), async || world.metrics.under_way() == 0).await;
    // All places are free again: as many calls at once as there are connections.
    let again = futures_util::future::join_all((0..8).map(|_| world.get("/jira/anon/x"))).await;
    assert!(again.iter().all(|answer| answer.status == 200));
    assert!(world.upstream.idle_connections() <= 8);
}
