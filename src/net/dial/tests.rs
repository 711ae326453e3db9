use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::proxy::{MAX_HEAD, connect};
use super::race::{first_of, interleave};
use super::{ProxyFault, Target};
use crate::common::clock::Clock;
use crate::common::secret::Secret;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn families_take_turns_beginning_with_the_preferred_one() {
    let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(address);
    let ordered = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(address);
    assert_eq!(interleave(given.into_iter()), ordered);
    assert!(interleave(std::iter::empty()).is_empty());
    let many = (0..100).map(|port| SocketAddr::from(([1, 1, 1, 1], port)));
    assert_eq!(interleave(many).len(), 16);
}

#[tokio::test]
async fn a_silent_address_delays_by_a_stagger_and_a_failing_one_not_at_all() {
    let stagger = Duration::from_millis(60);
    for (bad, at_least) in [(true, Duration::ZERO), (false, stagger)] {
        let clock = Clock::system();
        let start = clock.now();
        let both = ["[::1]:1", "1.1.1.1:1"].map(address);
        let won = first_of(&both, stagger, |to| async move {
            match to {
                SocketAddr::V6(_) if bad => Err(std::io::ErrorKind::ConnectionRefused.into()),
                SocketAddr::V6(_) => std::future::pending().await,
                SocketAddr::V4(_) => Ok(to),
            }
        });
        assert_eq!(won.await.unwrap(), address("1.1.1.1:1"));
        let took = clock.now() - start;
        assert!(took >= at_least && took < Duration::from_secs(5), "{took:?}");
    }
}

#[tokio::test]
async fn when_all_fail_the_last_error_is_told() {
    let both = ["[::1]:1", "1.1.1.1:1"].map(address);
    let failed = first_of(&both, Duration::from_secs(9), |to| async move {
        Err::<(), _>(std::io::Error::other(to.to_string()))
    });
    assert_eq!(failed.await.unwrap_err().to_string(), "1.1.1.1:1");
    let none = first_of(&[], Duration::from_secs(9), |_| async { Ok(()) });
    assert!(none.await.unwrap_err().to_string().contains("no address"));
}

async fn answered(answer: &[u8], credentials: Option<&str>) -> (Result<Vec<u8>, ProxyFault>, String) {
    let target = Target { host: "relay.example".to_owned(), port: 443 };
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    theirs.write_all(answer).await.unwrap();
    theirs.shutdown().await.unwrap();
    let credentials = credentials.map(|text| Secret::new(text.to_owned()));
    let result = match connect(ours, &target, credentials.as_ref()).await {
        Ok(mut stream) => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            Ok(rest)
        }
        Err(fault) => Err(fault),
    };
    let mut request = String::new();
    theirs.read_to_string(&mut request).await.unwrap();
    (result, request)
}

#[tokio::test]
async fn a_proxy_that_agrees_gives_all_that_follows_its_head() {
    let (rest, request) = answered(b"HTTP/1.1 200 Connection established\r\n\r\nhello", None).await;
    assert_eq!(rest.unwrap(), b"hello");
    assert!(request.starts_with("CONNECT relay.example:443 HTTP/1.1\r\nHost: relay.example:443\r\n"));
    assert!(request.ends_with("\r\n\r\n") && !request.contains("Authorization"), "{request}");
    let (rest, request) =
        answered(b"HTTP/1.0 100 x\r\n\r\nHTTP/1.0 200\r\nContent-Length: 9\r\n\r\nx", Some("u:p")).await;
    assert_eq!(rest.unwrap(), b"x");
    assert!(request.contains("\r\nProxy-Authorization: Basic dTpw\r\n"), "{request}");
}

#[tokio::test]
async fn every_refusal_says_what_to_do() {
    let ntlm = b"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n";
    let basic = b"HTTP/1.1 407 No\r\nproxy-authenticate: Basic realm=\"x\"\r\nContent-Length: 3\r\n\r\nabc";
    let huge = [b"HTTP/1.1 200 ".as_slice(), &vec![b'x'; MAX_HEAD + 100]].concat();
    let table: [(&[u8], Option<&str>, &str); 14] = [
        (basic, None, "set proxy-credentials"),
        (basic, Some("u:p"), "does not accept the user name"),
        (ntlm, Some("u:p"), "only Basic"),
        (ntlm, None, "NTLM, Negotiate"),
        (b"HTTP/1.1 407 No\r\n\r\n", None, "set proxy-credentials"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", None, "have CONNECT to that host and port allowed"),
        (b"HTTP/1.1 502 Bad\r\n\r\n<html>", None, "can't reach that host"),
        (b"HTTP/1.1 302 Found\r\n\r\n", None, "login page"),
        (b"HTTP/1.1 418 Tea\x07pot\r\n\r\n", None, "418 Teapot"),
        (b"SSH-2.0-OpenSSH_9\r\n", None, "does not answer as an HTTP proxy"),
        (b"HTTP/1.1 2x0 Ok\r\n\r\n", None, "does not answer as an HTTP proxy"),
        (&huge, None, "more than 16384 bytes"),
        (b"HTTP/1.1 200 OK\r\n", None, "broke the connection off"),
        (b"", None, "broke the connection off"),
    ];
    for (answer, credentials, says) in table {
        let (result, _) = answered(answer, credentials).await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains(says), "{text}\n  should say: {says}");
    }
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(answered(&bytes, None));
        let _ = runtime.block_on(answered(&[b"HTTP/1.1 ".as_slice(), &bytes].concat(), None));
    }
}
