//! Connections that pass the relay unopened, in the hands of a relay that lies: it has the bytes and nothing else.

use std::sync::Arc;

use outhaul::common::tasks::Tasks;
use outhaul::net::tls::{Certificates, server_config};
use outhaul::tunnel::frame::{END_STREAM, Kind};
use outhaul::tunnel::head::PASS_THROUGH;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::site::LiarSite;
use super::wire::{PATIENCE, RawHead, Said, bytes_open, frame};
use crate::support::odd_upstream::wire::find;
use crate::support::process::text;
use crate::support::world::{World, ZONE};

/// The customer's own name, and one of the operator's zone.
const CUSTOMER: &str = "jira.acme.example";
const OPERATOR: &str = "acme.direct.relay.localhost";
const CANARY: &str = "canary-5Qq9";

fn names(world: &World) {
    let (chain, key) = world.authority.issue("direct", &[CUSTOMER, OPERATOR]);
    world.edit_agent(
        "[admin]",
        &format!(
            "[pass-through]\ncustomer-names = [\"{CUSTOMER}\"]\noperator-names = [\"{OPERATOR}\"]\n\
             certificate = \"{}\"\nprivate-key = \"{}\"\n\n[admin]",
            text(&chain),
            text(&key)
        ),
    );
    world.edit_agent(
        "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
        "[[policy.rule]]\nallow = \"GET|POST /rest/api/2/odd/**\"\nwhy = \"Only past the relay\"\n\
         require = [\"pass-through\"]\nas = { service = \"reader\" }\n\n\
         [[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
    );
}

/// What a relay does with each piece that it carries: the piece may become others, or none.
type Tamper = Box<dyn FnMut(Way, usize, Vec<u8>) -> Vec<Vec<u8>> + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToAgent,
    ToCaller,
}

/// What was carried: to the agent record by record, to the caller as it came.
#[derive(Debug, Default)]
struct Carried {
    to_agent: Vec<Vec<u8>>,
    to_caller: Vec<Vec<u8>>,
}

fn honest() -> Tamper {
    Box::new(|_, _, piece| vec![piece])
}

/// Carries one connection until either side ends it.
async fn carry(site: &mut LiarSite, name: &str, mut end: DuplexStream, mut tamper: Tamper) -> Carried {
    let stream = site.stream();
    site.tunnel.say(&[frame(Kind::Open, stream, bytes_open(PASS_THROUGH, name))]).await;
    let mut carried = Carried::default();
    let mut buffer = vec![0; 16 << 10];
    let mut unsent = Vec::new();
    loop {
        tokio::select! {
            read = end.read(&mut buffer) => {
                let count = read.unwrap_or(0);
                if count == 0 {
                    site.tunnel.say(&[frame(Kind::End, stream, "")]).await;
                    break;
                }
                unsent.extend_from_slice(&buffer[..count]);
                while let Some(record) = record(&mut unsent) {
                    carried.to_agent.push(record.clone());
                    for piece in tamper(Way::ToAgent, carried.to_agent.len(), record) {
                        site.tunnel.say(&[frame(Kind::Data, stream, piece)]).await;
                    }
                }
            }
            said = site.tunnel.next() => match said {
                Said::Frame(said) if said.stream == stream => {
                    if said.kind == Kind::Data {
                        carried.to_caller.push(said.payload.to_vec());
                        for piece in tamper(Way::ToCaller, carried.to_caller.len(), said.payload.to_vec()) {
                            let _ = end.write_all(&piece).await;
                        }
                    }
                    if said.flags & END_STREAM != 0 || matches!(said.kind, Kind::End | Kind::Reset) {
                        break;
                    }
                }
                Said::Frame(_) => {}
                Said::Closed(code, text) => panic!("{code} {text}"),
            },
        }
    }
    drop(end);
    carried
}

/// The first whole TLS record (RFC 8446, section 5.1).
fn record(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?])) + 5;
    let rest = (bytes.len() >= length).then(|| bytes.split_off(length))?;
    Some(std::mem::replace(bytes, rest))
}

fn client(world: &World) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&world.authority.file).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// A caller's whole exchange over any bytes: TLS for `name`, one request with this host, and the answer as text.
async fn exchange<S>(
    tls: Arc<ClientConfig>,
    io: S,
    name: &str,
    host: &str,
    key: &str,
) -> std::io::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(tls).connect(server, io).await?;
    let body = format!("{{\"text\":\"{CANARY}\"}}");
    let request = format!(
        "POST /jira/rest/api/2/odd/{CANARY} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    stream.write_all(body.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Such an exchange as a task, and the relay's end of its line.
fn caller(
    site: &LiarSite,
    name: &'static str,
    host: &'static str,
) -> (JoinHandle<std::io::Result<String>>, DuplexStream) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (tls, key) = (client(&site.world), site.key.clone());
    let task = Tasks::new().spawn_detached(async move {
        tokio::time::timeout(PATIENCE, exchange(tls, near, name, host, &key))
            .await
            .map_err(std::io::Error::other)?
    });
    (task, far)
}

async fn call(
    site: &mut LiarSite,
    name: &'static str,
    host: &'static str,
    tamper: Tamper,
) -> (std::io::Result<String>, Carried) {
    let (task, end) = caller(site, name, host);
    let carried = carry(site, name, end, tamper).await;
    (task.await.unwrap(), carried)
}

fn arrived(site: &LiarSite) -> usize {
    let whole = |raw: &[u8]| {
        let reading = crate::support::odd_upstream::wire::read(raw);
        reading.whole.iter().filter(|(head, _)| head.target.contains(CANARY)).count()
    };
    site.odd.connections().iter().map(|connection| whole(&connection.raw())).sum()
}

/// Path, key, body and answer of a connection that passes are in none of the bytes that the relay carries; what it sees is
/// the name.
#[tokio::test]
async fn a_relay_reads_nothing_of_a_connection_that_passes() {
    let mut site = LiarSite::start_with(names).await;
    let (answer, carried) = call(&mut site, CUSTOMER, CUSTOMER, honest()).await;
    let answer = answer.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "control: it arrives: {answer}\n{}", site.agent.log());
    assert_eq!(arrived(&site), 1);
    let (there, back) = (carried.to_agent.concat(), carried.to_caller.concat());
    for secret in [CANARY.as_bytes(), site.key.as_bytes(), b"/jira/rest", b"pat-reader", b"x-up-hash"] {
        assert!(find(&there, secret).is_none() && find(&back, secret).is_none(), "{secret:?}");
    }
    assert!(find(&there, CUSTOMER.as_bytes()).is_some(), "control: the name goes in the clear");
}

/// A changed, lost, repeated or swapped piece ends the connection; no request of it arrives at Jira.
#[tokio::test]
async fn a_relay_changes_nothing_of_a_connection_that_passes() {
    let mut site = LiarSite::start_with(names).await;
    let (_, carried) = call(&mut site, CUSTOMER, CUSTOMER, honest()).await;
    assert_eq!(arrived(&site), 1, "control");
    site.odd.forget();
    // The last two records to the agent hold the request's head and its body.
    let body = carried.to_agent.len();
    assert!(body >= 3, "{}", carried.to_agent.len());
    let flip = |mut piece: Vec<u8>| {
        let last = piece.len() - 1;
        piece[last] ^= 1;
        vec![piece]
    };
    let at = |number: usize, change: fn(Vec<u8>) -> Vec<Vec<u8>>| -> Tamper {
        Box::new(
            move |way, count, piece| {
                if way == Way::ToAgent && count == number { change(piece) } else { vec![piece] }
            },
        )
    };
    let mut kept = None;
    let swap: Tamper = Box::new(move |way, count, piece| match (way, count) {
        (Way::ToAgent, count) if count == body - 1 => {
            kept = Some(piece);
            Vec::new()
        }
        (Way::ToAgent, count) if count == body => [Some(piece), kept.take()].into_iter().flatten().collect(),
        _ => vec![piece],
    });
    let tampers: Vec<(&str, Tamper)> = vec![
        ("a bit of the request's head", at(body - 1, flip)),
        ("a bit of its body", at(body, flip)),
        ("the body is lost", at(body, |_| Vec::new())),
        ("the head is lost", at(body - 1, |_| Vec::new())),
        ("the head comes twice", at(body - 1, |piece| vec![piece.clone(), piece])),
        ("the body is cut short", at(body, |piece| vec![piece[..piece.len() / 2].to_vec()])),
        ("bytes of the relay's own", at(body, |piece| vec![b"POST /x HTTP/1.1\r\n\r\n".to_vec(), piece])),
        ("head and body change places", swap),
    ];
    for (name, tamper) in tampers {
        let (task, end) = caller(&site, CUSTOMER, CUSTOMER);
        // Where a piece is missing both sides would wait for it: the relay ends what it holds.
        let carried =
            tokio::time::timeout(std::time::Duration::from_secs(1), carry(&mut site, CUSTOMER, end, tamper))
                .await;
        task.abort();
        if carried.is_err() {
            let stream = site.stream() - 2;
            site.tunnel.say(&[frame(Kind::Reset, stream, [0, 1])]).await;
            site.stream();
        }
        // Whoever comes next is served, and by then the agent is done with the one before.
        let (answer, _) = call(&mut site, CUSTOMER, CUSTOMER, honest()).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 200"), "{name}");
        assert_eq!(arrived(&site), 1, "{name}: only the honest one arrived");
        site.odd.forget();
    }
}

/// What was recorded of one connection is nothing when it is said again.
#[tokio::test]
async fn a_recorded_connection_can_not_be_replayed() {
    let mut site = LiarSite::start_with(names).await;
    let (_, carried) = call(&mut site, CUSTOMER, CUSTOMER, honest()).await;
    assert_eq!(arrived(&site), 1, "control");
    for _ in 0..2 {
        let stream = site.stream();
        site.tunnel.say(&[frame(Kind::Open, stream, bytes_open(PASS_THROUGH, CUSTOMER))]).await;
        for piece in &carried.to_agent {
            site.tunnel.say(&[frame(Kind::Data, stream, piece)]).await;
        }
        site.tunnel.say(&[frame(Kind::End, stream, "")]).await;
        site.tunnel.heard(stream).await;
    }
    assert_eq!(arrived(&site), 1, "still one");
}

/// A rule that asks for pass-through takes no call that the relay brings, nor one under the operator's name, whatever name the
/// relay says; a connection serves the name in its own ClientHello alone.
#[tokio::test]
async fn no_word_of_the_relays_makes_a_call_one_that_passed() {
    let mut site = LiarSite::start_with(names).await;
    // As `http`, under every name.
    for authority in [CUSTOMER, OPERATOR, ZONE] {
        let mut head = site.head("POST", CANARY).with("content-length", "2");
        head.authority = authority.into();
        let reply = site.ask(&head, b"{}").await;
        assert_eq!(reply.problem(), Some("trust-required"), "{authority}: {reply:?}");
    }
    let (answer, _) = call(&mut site, OPERATOR, OPERATOR, honest()).await;
    assert!(answer.unwrap().contains("outhaul-problem: trust-required"));
    // Another name inside than outside.
    for (name, host) in [(OPERATOR, CUSTOMER), (CUSTOMER, OPERATOR), (CUSTOMER, ZONE)] {
        let (answer, _) = call(&mut site, name, host, honest()).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 421"), "{name} {host}");
    }
    // The relay says that the connection is for another name than the client asks for.
    for (said, asked) in
        [(CUSTOMER, OPERATOR), (OPERATOR, CUSTOMER), ("other.example", CUSTOMER), ("", CUSTOMER)]
    {
        let (task, end) = caller(&site, asked, asked);
        carry(&mut site, said, end, honest()).await;
        assert!(task.await.unwrap().is_err(), "{said} {asked}");
    }
    assert_eq!(arrived(&site), 0);
    site.get("x").await;
}

/// A relay that answers for a name with a certificate of its own: a client sees that it is none for the customer's name. For
/// a name in the operator's zone the operator can have one, and only a client that pins the agent's key notices.
#[tokio::test]
async fn a_relays_own_certificate_is_none_for_the_customers_name() {
    let site = LiarSite::start_with(names).await;
    let world = &site.world;
    let (wildcard, wildcard_key) = world.authority.issue("wildcard", &["*.direct.relay.localhost"]);
    let relay = (world.path().join("relay.pem"), world.path().join("relay.key"));
    let agents = CertificateDer::from_pem_file(world.path().join("direct.pem")).unwrap();
    for (name, (chain, key), expected) in [
        (CUSTOMER, &relay, false),
        (CUSTOMER, &(wildcard.clone(), wildcard_key.clone()), false),
        (OPERATOR, &relay, false),
        // What the operator's level does not hold against.
        (OPERATOR, &(wildcard.clone(), wildcard_key.clone()), true),
    ] {
        let acceptor = TlsAcceptor::from(server_config(Certificates::load(chain, key).unwrap()).unwrap());
        let (near, far) = tokio::io::duplex(64 << 10);
        let accepting = Tasks::new().spawn_detached(async move { acceptor.accept(far).await.map(|_| ()) });
        let server = ServerName::try_from(name.to_owned()).unwrap();
        let connected = TlsConnector::from(client(world)).connect(server, near).await;
        assert_eq!(connected.is_ok(), expected, "{name} {}: {connected:?}", chain.display());
        if let Ok(stream) = &connected {
            let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
            assert_ne!(key_of(shown), key_of(&agents), "a client that pins the agent's key sees another one");
        }
        drop(connected);
        let _ = accepting.await;
    }
}

/// The public key of a certificate.
fn key_of(certificate: &CertificateDer<'_>) -> Vec<u8> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
    parsed.public_key().raw.to_vec()
}

/// A relay that connects by itself under the customer's name, with a key that it saw in a call whose TLS it ended: the agent was
/// handed that call too, whatever became of it, and takes the key for no proof any more.
#[tokio::test]
async fn a_key_seen_once_in_terminated_mode_proves_nothing_in_pass_through() {
    let mut site = LiarSite::start_with(names).await;
    for (method, target, refused) in [
        ("POST", "/jira/rest/api/2/odd/x", "trust-required"),
        ("POST", "/nowhere/rest/api/2/odd/x", "not-found"),
        ("POST", "/jira/rest/%2e%2e/odd/x", "ambiguous-path"),
        ("CONNECT", "/jira/rest/api/2/odd/x", "upgrade-refused"),
        ("GET", "/jira/rest/api/2/odd/x", "paused"),
    ] {
        let rotated = site.world.agent(&["caller", "rotate", "bot", "--json"]).await.json();
        rotated["key"].as_str().unwrap().clone_into(&mut site.key);
        let (answer, _) = call(&mut site, CUSTOMER, CUSTOMER, honest()).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 200"), "control: it was never sent through the relay");
        site.odd.forget();
        if refused == "paused" {
            assert_eq!(site.world.agent(&["pause"]).await.code, 0);
        }
        let head = RawHead::new(method, CUSTOMER, target).bearer(&site.key).with("content-length", "0");
        assert_eq!(site.ask(&head, b"").await.problem(), Some(refused));
        if refused == "paused" {
            assert_eq!(site.world.agent(&["resume"]).await.code, 0);
        }
        let (answer, _) = call(&mut site, CUSTOMER, CUSTOMER, honest()).await;
        let answer = answer.unwrap();
        assert!(answer.contains("outhaul-problem: trust-required"), "{target}: {answer}");
        assert!(answer.contains("outhaul-agent caller rotate bot"), "{target}: {answer}");
        assert_eq!(arrived(&site), 0, "{target}");
    }
}

/// Control, and a limit of keys: the agent knows only of calls that it was handed. A relay that keeps the call to itself, so that
/// its caller gets no answer of the site's, has a key that nobody else knows to be seen.
#[tokio::test]
async fn a_key_that_a_relay_kept_from_the_agent_is_the_relays_in_pass_through_too() {
    let mut site = LiarSite::start_with(names).await;
    // The caller sent its key, and the relay opened no stream for it.
    let (answer, _) = call(&mut site, CUSTOMER, CUSTOMER, honest()).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
    // The first call that it hands on tells.
    site.get("x").await;
    let (answer, _) = call(&mut site, CUSTOMER, CUSTOMER, honest()).await;
    assert!(answer.unwrap().contains("outhaul-problem: trust-required"));
    // Without the key it has nothing.
    site.key = "ohk_abcdefghijkl_wrong".to_owned();
    let (answer, _) = call(&mut site, CUSTOMER, CUSTOMER, honest()).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 401"));
}
