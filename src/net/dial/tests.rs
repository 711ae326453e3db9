use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::login::Nobody;
use super::proxy::{MAX_HEAD, Open, connect};
use super::race::{first_of, interleave};
use super::{Challenge, Credentials, Login, LoginFault, ProxyFault, Scheme, Target};
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

/// What becomes of a CONNECT to a proxy that says this, one connection after the other, whatever it is asked.
async fn conversation(
    answers: &[&[u8]],
    credentials: Option<(Scheme, &str)>,
) -> (Result<Vec<u8>, ProxyFault>, Vec<String>) {
    let login: Box<dyn Login> = match credentials {
        Some((scheme, pair)) => Credentials::new(scheme, Secret::new(pair.to_owned())).login("proxy.example"),
        None => Box::new(Nobody),
    };
    conversation_of(answers, login).await
}

async fn conversation_of(
    answers: &[&[u8]],
    login: Box<dyn Login>,
) -> (Result<Vec<u8>, ProxyFault>, Vec<String>) {
    let target = Target { host: "idp.example".to_owned(), port: 8443 };
    let (far, mut near) = (Arc::new(Mutex::new(Vec::new())), Vec::new());
    for answer in answers {
        let (ours, mut theirs) = tokio::io::duplex(512 * 1024);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        near.push((ours, theirs));
    }
    let mut near = near.into_iter();
    let kept = Arc::clone(&far);
    let open: Open<'_, _> = Box::new(move || {
        let next = near.next();
        let kept = Arc::clone(&kept);
        Box::pin(async move {
            let broken = || ProxyFault::Broken(std::io::Error::other("no further connection was expected"));
            let (ours, theirs) = next.ok_or_else(broken)?;
            kept.lock().unwrap().push(theirs);
            Ok(ours)
        })
    });
    let result = match connect(open, &target, login, Duration::from_secs(5)).await {
        Ok(mut stream) => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            Ok(rest)
        }
        Err(fault) => Err(fault),
    };
    let mut requests = Vec::new();
    let far = std::mem::take(&mut *far.lock().unwrap());
    for mut theirs in far {
        let mut request = String::new();
        theirs.read_to_string(&mut request).await.unwrap();
        requests.push(request);
    }
    (result, requests)
}

async fn answered(answer: &[u8], credentials: Option<&str>) -> (Result<Vec<u8>, ProxyFault>, String) {
    let (result, requests) = conversation(&[answer], credentials.map(|pair| (Scheme::Basic, pair))).await;
    (result, requests.concat())
}

#[tokio::test]
async fn a_proxy_that_agrees_gives_all_that_follows_its_head() {
    let (rest, request) = answered(b"HTTP/1.1 200 Connection established\r\n\r\nhello", None).await;
    assert_eq!(rest.unwrap(), b"hello");
    assert!(request.starts_with("CONNECT idp.example:8443 HTTP/1.1\r\nHost: idp.example:8443\r\n"));
    assert!(request.ends_with("\r\n\r\n") && !request.contains("Authorization"), "{request}");
    let (rest, request) =
        answered(b"HTTP/1.0 100 x\r\n\r\nHTTP/1.0 200\r\nContent-Length: 9\r\n\r\nx", Some("u:p")).await;
    assert_eq!(rest.unwrap(), b"x");
    assert!(request.contains("\r\nProxy-Authorization: Basic dTpw\r\n"), "{request}");
}

#[tokio::test]
async fn every_refusal_says_what_to_do() {
    let both = b"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Kerberos\r\n\r\n";
    let strange = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"a, b\", nonce=x\r\n\r\n";
    let basic = b"HTTP/1.1 407 No\r\nproxy-authenticate: Basic realm=\"x\"\r\nContent-Length: 3\r\n\r\nabc";
    let huge = [b"HTTP/1.1 200 ".as_slice(), &vec![b'x'; MAX_HEAD + 100]].concat();
    let interim = b"HTTP/1.1 102 Wait\r\n\r\n".repeat(20);
    let table: [(&[u8], Option<&str>, &str); 18] = [
        (basic, None, "set proxy-credentials in [relay]"),
        (basic, Some("u:p"), "does not accept the user name"),
        (
            both,
            Some("u:p"),
            "wants a login by NTLM, Kerberos (407), not by Basic: set proxy-login = \"ntlm\"",
        ),
        (both, None, "(407, NTLM, Kerberos): set proxy-credentials and proxy-login = \"ntlm\""),
        (
            strange,
            Some("u:p"),
            "wants a login by Digest (407), not by Basic: have the host that it was asked for exempted",
        ),
        (b"HTTP/1.1 407 No\r\n\r\n", None, "set proxy-credentials"),
        (b"HTTP/1.1 407 No\r\n\r\n", Some("u:p"), "does not accept"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", None, "have CONNECT to that host and port allowed"),
        (b"HTTP/1.1 502 Bad\r\n\r\n<html>", None, "can't reach that host"),
        (b"HTTP/1.1 302 Found\r\n\r\n", None, "login page"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>log in", None, "sent a web page instead"),
        (b"HTTP/1.1 418 Tea\x07pot\r\n\r\n", None, "418 Teapot"),
        (b"SSH-2.0-OpenSSH_9\r\n", None, "does not answer as an HTTP proxy"),
        (b"HTTP/1.1 2x0 Ok\r\n\r\n", None, "does not answer as an HTTP proxy"),
        (&huge, None, "more than 16384 bytes"),
        (&interim, None, "interim answers (1xx) and no final one"),
        (b"HTTP/1.1 200 OK\r\n", None, "broke the connection off"),
        (b"", None, "broke the connection off"),
    ];
    for (answer, credentials, says) in table {
        let (result, _) = answered(answer, credentials).await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains(says), "{text}\n  should say: {says}");
        is_of_no_other_target(&text);
    }
}

/// The proxy was asked for an identity provider on 8443: a text that speaks of the relay, or of 443, misleads.
fn is_of_no_other_target(text: &str) {
    assert!(!text.replace("[relay]", "").contains("relay") && !text.contains(" 443"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_says_nothing_is_told_with_what_it_was_asked_for() {
    let target = Target { host: "idp.example".to_owned(), port: 8443 };
    let (ours, _theirs) = tokio::io::duplex(1024);
    let mut ours = Some(ours);
    let open: Open<'_, _> = Box::new(move || {
        let next = ours.take().ok_or_else(|| ProxyFault::Broken(std::io::ErrorKind::NotConnected.into()));
        Box::pin(std::future::ready(next))
    });
    let Err(fault) = connect(open, &target, Box::new(Nobody), Duration::from_secs(5)).await else {
        panic!("it connected");
    };
    let text = fault.to_string();
    assert!(text.contains("did not answer CONNECT to idp.example:8443 within 5s"), "{text}");
    is_of_no_other_target(&text);
}

/// A challenge in which the server tells no time.
const CHALLENGE: &str = "TlRMTVNTUAACAAAAAAAAADAAAAABAgAAASNFZ4mrze8AAAAAAAAAAAAAAAAwAAAA";

fn refusal(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 407 Login\r\nProxy-Authenticate: {fields}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_login_goes_on_no_connection_whose_end_of_body_is_in_doubt() {
    let ok = "HTTP/1.1 200 OK\r\n\r\nrest";
    for (fields, body) in [
        ("\r\nContent-Length: 5", "<html"),
        ("\r\nTransfer-Encoding: chunked", "5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n"),
        ("\r\nContent-Length: 0\r\nProxy-Connection: Keep-Alive", ""),
    ] {
        let first = refusal(&format!("NTLM {CHALLENGE}{fields}"), body);
        let whole = format!("{first}{ok}");
        let answers = [whole.as_bytes()];
        let (result, requests) = conversation(&answers, Some((Scheme::Ntlm, "D\\u:p"))).await;
        // All was there at once, so bytes lay behind the body: such a connection is not trusted with a login.
        assert!(matches!(result, Err(ProxyFault::LoginCutOff)), "{fields}: {result:?}");
        assert_eq!(requests[0].matches("CONNECT").count(), 1, "{requests:?}");
    }
    // Ends that can't be found, or come with the connection, cut the login off; and it is said so.
    for (fields, body) in [
        ("", "<html>"),
        ("\r\nContent-Length: 5\r\nConnection: close", "hello"),
        ("\r\nContent-Length: 5\r\nContent-Length: 6", "hello"),
        ("\r\nContent-Length: 99999999", "hello"),
        ("\r\nTransfer-Encoding: chunked", "zz\r\nhello\r\n0\r\n\r\n"),
        ("\r\nTransfer-Encoding: chunked", "ffffffffffffffff\r\n"),
        ("\r\nTransfer-Encoding: gzip", "hello"),
    ] {
        let first = refusal(&format!("NTLM {CHALLENGE}{fields}"), body);
        let (result, _) = conversation(&[first.as_bytes()], Some((Scheme::Ntlm, "D\\u:p"))).await;
        assert!(matches!(result, Err(ProxyFault::LoginCutOff)), "{fields}: {result:?}");
    }
}

/// A login that never gives up.
struct Stubborn;

impl Login for Stubborn {
    fn begin(&mut self) -> BoxFuture<'_, Result<Option<Secret<String>>, LoginFault>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn answer<'a>(&'a mut self, _: &'a [Challenge]) -> BoxFuture<'a, Result<Secret<String>, LoginFault>> {
        Box::pin(std::future::ready(Ok(Secret::new("Stubborn x".to_owned()))))
    }

    fn holds_connection(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_number_of_requests_is_bounded_whatever_a_login_thinks() {
    let refusal = refusal("Stubborn\r\nContent-Length: 0\r\nConnection: close", "");
    let (result, requests) = conversation_of(&[refusal.as_bytes(); 9], Box::new(Stubborn)).await;
    assert!(result.unwrap_err().to_string().contains("asked for a login 4 times (407)"));
    assert_eq!(requests.len(), 4);
}

#[tokio::test]
async fn logins_that_lead_nowhere_end() {
    let bare = refusal("NTLM\r\nContent-Length: 0\r\nConnection: close", "");
    let answers = [bare.as_bytes(); 5];
    let (result, requests) = conversation(&answers, Some((Scheme::Ntlm, "D\\u:p"))).await;
    assert!(result.unwrap_err().to_string().contains("does not go on with the one that it is offered"));
    assert_eq!(requests.len(), 2, "once more, on a new connection");
    for (token, says) in
        [("AAAA", "is no NTLM challenge"), ("A", "is no base64"), ("TlRMTVNTUAACAAAA", "is cut short")]
    {
        let (result, _) =
            conversation(&[refusal(&format!("NTLM {token}"), "").as_bytes()], Some((Scheme::Ntlm, "u:p")))
                .await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains(says) && text.contains("proxy-login"), "{text}");
    }
    let basic = refusal("Basic realm=x", "");
    let (result, _) = conversation(&[basic.as_bytes()], Some((Scheme::Ntlm, "u:p"))).await;
    assert!(result.unwrap_err().to_string().contains("set proxy-login = \"basic\""));
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(answered(&bytes, None));
        let _ = runtime.block_on(answered(&[b"HTTP/1.1 ".as_slice(), &bytes].concat(), None));
    }
}
