use std::time::Duration;

use http_body_util::{Empty, Full};
use hyper::client::conn::http2;

use super::*;

#[tokio::test]
async fn a_caller_that_takes_no_answers_does_not_stay_for_ever() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let tasks = Tasks::new();
    let limits = Limits {
        answer_idle_time: Duration::from_millis(200),
        connection_idle_time: Duration::from_millis(200),
        ..Limits::default()
    };
    let serving = {
        let (session, tasks) = (Arc::new(Session::<Full<Bytes>>::new(true)), tasks.clone());
        let answer = |_| std::future::ready(Response::new(AnswerBody::from(Bytes::from_static(b"no"))));
        let clock = Clock::system();
        async move { serve(near, session, &limits, &clock, tasks, CancellationToken::new(), answer).await }
    };
    let serving = tasks.spawn_detached(serving);
    let (mut sender, connection) = http2::Builder::new(Spawn(tasks.clone()))
        .initial_stream_window_size(0)
        .handshake(TokioIo::new(far))
        .await
        .unwrap();
    tasks.spawn_detached(connection);
    let asked = Request::get("https://site.example/").body(Empty::<Bytes>::new()).unwrap();
    // The head comes, the body can't.
    let answer = sender.send_request(asked).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), serving).await.expect("the connection ended").unwrap();
    drop((answer, sender));
}
