//! A proxy that says what a table tells it to, byte by byte, and what we make of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outhaul::common::report::{Exit, Report};
use outhaul::common::secret::Secret;
use outhaul::common::tasks::Tasks;
use outhaul::net::dial::{Credentials, Proxy, Purpose, Scheme, Target, dial};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the proxy does next on a connection.
#[derive(Clone, Copy)]
enum Step {
    /// Waits for a whole request, which must hold this.
    Asked(&'static str),
    /// Says this at once.
    Says(&'static str),
    /// Says this a byte at a time, so many milliseconds apart.
    Drips(&'static str, u64),
    /// Says a 407 with NTLM's challenge and these fields behind it, and this body.
    Challenges(&'static str, &'static str),
    /// Echoes whatever comes, as the origin would.
    Echoes,
    /// Neither says nor closes anything.
    Stalls,
}
use Step::{Asked, Challenges, Drips, Echoes, Says, Stalls};

/// NTLM's second message, from a server that tells its domain, its name and the time.
fn challenge() -> String {
    let pairs = b"\x02\x00\x08\x00C\0O\0R\0P\0\x01\x00\x06\x00D\0C\x001\0\x07\x00\x08\x00\x00\x00\x11\x22\x33\x44\xd5\x01\0\0\0\0";
    let length = u16::try_from(pairs.len()).unwrap().to_le_bytes();
    let head = [
        b"NTLMSSP\0".as_slice(),
        &2_u32.to_le_bytes(),
        &[0; 8],
        &0x0088_8205_u32.to_le_bytes(),
        b"\x01\x23\x45\x67\x89\xab\xcd\xef",
        &[0; 8],
        &length,
        &length,
        &48_u32.to_le_bytes(),
    ];
    STANDARD.encode([head.concat().as_slice(), pairs].concat())
}

/// Serves each connection by its own script; gives the proxy's target and what went wrong in the scripts.
async fn proxy(scripts: &[&[Step]]) -> (Target, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut scripts: VecDeque<Vec<Step>> = scripts.iter().map(|steps| steps.to_vec()).collect();
    let faults = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&faults);
    Tasks::new().spawn_detached(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match scripts.pop_front() {
                Some(steps) => {
                    let faults = Arc::clone(&kept);
                    Tasks::new().spawn_detached(play(stream, steps, faults));
                }
                None => kept.lock().unwrap().push("one connection too many".to_owned()),
            }
        }
    });
    (Target { host: address.ip().to_string(), port: address.port() }, faults)
}

async fn play(mut stream: TcpStream, steps: Vec<Step>, faults: Arc<Mutex<Vec<String>>>) {
    for step in steps {
        match step {
            Asked(what) => {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return faults.lock().unwrap().push(format!("never asked for {what}")),
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                if !head.contains(what) {
                    faults.lock().unwrap().push(format!("{head} has no {what}"));
                }
            }
            Says(what) => drop(stream.write_all(what.as_bytes()).await),
            Challenges(fields, body) => {
                let head = format!(
                    "HTTP/1.1 407 Login\r\nProxy-Authenticate: NTLM {}\r\n{fields}\r\n\r\n{body}",
                    challenge()
                );
                drop(stream.write_all(head.as_bytes()).await);
            }
            Drips(what, apart) => {
                for byte in what.bytes() {
                    tokio::time::sleep(Duration::from_millis(apart)).await;
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            }
            Echoes => {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                return;
            }
            Stalls => return std::future::pending().await,
        }
    }
}

const OK: Step = Says("HTTP/1.1 200 Connection established\r\n\r\n");
const FIRST: Step = Asked("Proxy-Authorization: NTLM TlRMTVNTUAABAAAA");
const THIRD: Step = Asked("Proxy-Authorization: NTLM TlRMTVNTUAADAAAA");
const LONG: &str =
    "HTTP/1.1 407 Login\r\nProxy-Authenticate: NTLM\r\nContent-Length: 99999999\r\n\r\nand so on";

struct Case {
    name: &'static str,
    login: Option<(Scheme, &'static str)>,
    connections: &'static [&'static [Step]],
    /// What the fault says; none where the connection comes to be and echoes.
    says: Option<&'static str>,
}

const NTLM: Option<(Scheme, &str)> = Some((Scheme::Ntlm, "CORP\\svc:secret"));
const BASIC: Option<(Scheme, &str)> = Some((Scheme::Basic, "svc:secret"));

const TABLE: &[Case] = &[
    Case {
        name: "plain",
        login: None,
        connections: &[&[Asked("CONNECT relay.example:443 HTTP/1.1\r\n"), OK, Echoes]],
        says: None,
    },
    Case {
        name: "interim answers and a length that does not count",
        login: BASIC,
        connections: &[&[
            Asked("Proxy-Authorization: Basic c3ZjOnNlY3JldA==\r\n"),
            Says(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
            ),
            Echoes,
        ]],
        says: None,
    },
    Case {
        name: "NTLM behind a body with a length",
        login: NTLM,
        connections: &[&[FIRST, Challenges("Content-Length: 6", "<html>"), THIRD, OK, Echoes]],
        says: None,
    },
    Case {
        name: "NTLM behind a chunked body that drips",
        login: NTLM,
        connections: &[&[
            FIRST,
            Challenges("Transfer-Encoding: chunked", ""),
            Drips("6;x=\"y\"\r\n<html>\r\n0\r\nExpires: 0\r\n\r\n", 2),
            THIRD,
            OK,
            Echoes,
        ]],
        says: None,
    },
    Case {
        name: "NTLM of HTTP/1.0 with keep-alive, after one 407 that asks",
        login: NTLM,
        connections: &[&[
            FIRST,
            Says(
                "HTTP/1.0 407 Login\r\nProxy-Authenticate: Basic realm=\"NTLM\", NTLM\r\nProxy-Connection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            ),
            FIRST,
            Challenges("Content-Length: 0", ""),
            THIRD,
            OK,
            Echoes,
        ]],
        says: None,
    },
    Case {
        name: "NTLM where the first 407 closes the connection",
        login: NTLM,
        connections: &[
            &[
                FIRST,
                Says("HTTP/1.1 407 Login\r\nProxy-Authenticate: NTLM\r\nConnection: close\r\n\r\n<html>"),
            ],
            &[FIRST, Challenges("Content-Length: 0", ""), THIRD, OK, Echoes],
        ],
        says: None,
    },
    Case {
        name: "a page without end behind the first 407 is not waited for",
        login: NTLM,
        connections: &[
            &[FIRST, Says(LONG), Stalls],
            &[FIRST, Challenges("Content-Length: 0", ""), THIRD, OK, Echoes],
        ],
        says: None,
    },
    Case {
        name: "NTLM on a connection that is not kept",
        login: NTLM,
        connections: &[&[FIRST, Challenges("Connection: close", "")]],
        says: Some("closes the connection in the middle of a login"),
    },
    Case {
        name: "NTLM with a wrong password",
        login: NTLM,
        connections: &[&[
            FIRST,
            Challenges("Content-Length: 0", ""),
            THIRD,
            Says("HTTP/1.1 407 Login\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"),
        ]],
        says: Some("does not accept the user name and password"),
    },
    Case {
        name: "challenge upon challenge",
        login: NTLM,
        connections: &[&[
            FIRST,
            Challenges("Content-Length: 0", ""),
            THIRD,
            Challenges("Content-Length: 0", ""),
            Stalls,
        ]],
        says: Some("does not accept the user name and password"),
    },
    Case {
        name: "a body that ends in the middle of the login",
        login: NTLM,
        connections: &[&[FIRST, Challenges("Content-Length: 10", "<ht")]],
        says: Some("closes the connection in the middle of a login"),
    },
    Case {
        name: "a head that drips",
        login: None,
        connections: &[&[
            Asked("CONNECT"),
            Drips("HTTP/1.1 200 OK\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", 100),
            Stalls,
        ]],
        says: Some("did not answer CONNECT to"),
    },
    Case {
        name: "a body that drips",
        login: NTLM,
        connections: &[&[
            FIRST,
            Challenges("Content-Length: 1000", ""),
            Drips("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 100),
            Stalls,
        ]],
        says: Some("did not answer CONNECT to"),
    },
    Case { name: "silence", login: None, connections: &[&[Stalls]], says: Some("did not answer CONNECT to") },
    Case {
        name: "the port is not allowed",
        login: None,
        connections: &[&[Asked("CONNECT"), Says("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno.")]],
        says: Some(
            "refused to connect to relay.example:443 (403 Forbidden): have CONNECT to that host and port allowed",
        ),
    },
    Case {
        name: "a captive portal",
        login: None,
        connections: &[&[
            Asked("CONNECT"),
            Says("HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n"),
        ]],
        says: Some("it leads elsewhere, perhaps to a login page"),
    },
    Case {
        name: "a captive portal that agrees first",
        login: None,
        connections: &[&[Asked("CONNECT"), Says("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>")]],
        says: Some("sent a web page instead"),
    },
    Case {
        name: "a proxy that has no way out",
        login: None,
        connections: &[&[
            Asked("CONNECT"),
            Says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        ]],
        says: Some("it can't reach that host itself"),
    },
    Case { name: "closed at once", login: None, connections: &[&[]], says: Some("broke the connection off") },
];

#[tokio::test]
async fn every_misbehaviour_ends_well_or_in_a_sentence() {
    let target = Target { host: "relay.example".to_owned(), port: 443 };
    for case in TABLE {
        let name = case.name;
        let (address, faults) = proxy(case.connections).await;
        let login = case.login.map(|(scheme, pair)| Credentials::new(scheme, Secret::new(pair.to_owned())));
        let way = Proxy { login, ..Proxy::new(address) };
        let within = Duration::from_millis(1500);
        let dialled = dial(&target, Some(&way), Purpose::Tunnel, within).await;
        match (dialled, case.says) {
            (Ok(mut stream), None) => {
                stream.write_all(b"ping").await.unwrap();
                let mut answer = [0; 4];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"ping", "{name}");
            }
            (Err(fault), Some(says)) => {
                let text = Report::from_error(Exit::Unavailable, &fault).to_string();
                assert!(text.contains(says), "{name}: {text}\n  should say: {says}");
                assert!(
                    text.starts_with(&format!("the proxy {}", way.address)),
                    "{name}: whose fault: {text}"
                );
                assert!(!text.contains("secret"), "{name}: {text}");
            }
            (dialled, says) => panic!("{name}: {:?} instead of {says:?}", dialled.map(drop)),
        }
        assert_eq!(*faults.lock().unwrap(), Vec::<String>::new(), "{name}");
    }
}

/// Whatever a proxy does, the number of requests is bounded.
#[tokio::test]
async fn a_proxy_that_asks_for_ever_is_left() {
    const AGAIN: &[Step] =
        &[FIRST, Says("HTTP/1.1 407 Login\r\nProxy-Authenticate: NTLM\r\nConnection: close\r\n\r\n")];
    let (address, faults) = proxy(&[AGAIN; 8]).await;
    let login = NTLM.map(|(scheme, pair)| Credentials::new(scheme, Secret::new(pair.to_owned())));
    let way = Proxy { login, ..Proxy::new(address) };
    let target = Target { host: "relay.example".to_owned(), port: 443 };
    let fault = dial(&target, Some(&way), Purpose::Tunnel, Duration::from_secs(5)).await.unwrap_err();
    let text = Report::from_error(Exit::Unavailable, &fault).to_string();
    assert!(text.contains("does not go on with the one that it is offered"), "{text}");
    assert_eq!(*faults.lock().unwrap(), Vec::<String>::new());
}
