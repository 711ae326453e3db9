//! Whom a connection is for: what is refused, by whom, and how the client hears of it.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::calls::{call, request};
use super::site::{Speaks, connect, start, start_with};
use crate::support::eventually;
use crate::support::process::{RELAY, run, text};
use crate::support::upstream::Upstream;
use crate::support::world::{CUSTOMER, DIRECT, Running, SITE, World, direct_host, host};

/// The alert by which a handshake ended.
fn alert(outcome: std::io::Result<tokio_rustls::client::TlsStream<TcpStream>>) -> AlertDescription {
    let error = outcome.map(|_| ()).unwrap_err();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert: {error}"),
    }
}

async fn status(site: &Running, name: &str, speaks: &Speaks) -> StatusCode {
    let stream = connect(site, name, speaks).await.unwrap();
    let wanted = request(site, speaks, Method::GET, name, "/jira/rest/api/2/myself");
    call(stream, wanted.body(Bytes::new()).unwrap()).await.unwrap().0.status
}

#[tokio::test]
async fn what_can_not_be_passed_is_told_by_an_alert() {
    let upstream = Upstream::start().await;
    // The agent does not know the operator's name of its site.
    let mut site = start_with(&upstream.url(), |world| {
        world.edit_agent(&format!("\"{}\"", direct_host()), "\"other.direct.relay.localhost\"");
    })
    .await;
    let speaks = Speaks::http1();
    let refused = async |site: &Running, name: &str| alert(connect(site, name, &speaks).await);
    let nobody = format!("nobody.{DIRECT}");
    assert_eq!(refused(&site, &nobody).await, AlertDescription::UnrecognisedName, "no such site");
    assert_eq!(refused(&site, &direct_host()).await, AlertDescription::UnrecognisedName, "not the agent's");
    assert_eq!(status(&site, CUSTOMER, &speaks).await, 200, "the other name goes on");

    let mut open = connect(&site, CUSTOMER, &speaks).await.unwrap();
    assert_eq!(site.world.relay(&["site", "pause", SITE]).await.code, 0);
    let cut = open.read(&mut [0; 10]).await;
    assert!(cut.is_err(), "an open connection is cut: {cut:?}");
    assert_eq!(refused(&site, CUSTOMER).await, AlertDescription::AccessDenied, "paused");
    assert_eq!(site.world.relay(&["site", "resume", SITE]).await.code, 0);
    assert_eq!(status(&site, CUSTOMER, &speaks).await, 200);

    site.agent.kill();
    assert_eq!(refused(&site, CUSTOMER).await, AlertDescription::InternalError, "no agent");
    let metrics = crate::support::client::plain_get(site.world.operator_port, "/metrics").await;
    for counted in [
        "passed_connections_total{site=\"\",result=\"site-unknown\"} 1",
        "passed_connections_total{site=\"acme\",result=\"name-unknown\"} 1",
        "passed_connections_total{site=\"acme\",result=\"site-paused\"} 2",
        "passed_connections_total{site=\"acme\",result=\"site-offline\"} 1",
        "passed_connections_now 0",
    ] {
        assert!(metrics.contains(counted), "{counted} in\n{metrics}");
    }
}

#[tokio::test]
async fn connections_of_a_site_are_bounded() {
    let upstream = Upstream::start().await;
    let site = start_with(&upstream.url(), |world| {
        world.edit_relay("[operator]", "[limits]\nsite-connections-at-once = 2\n\n[operator]");
    })
    .await;
    let speaks = Speaks::http1();
    let first = connect(&site, CUSTOMER, &speaks).await.unwrap();
    let _second = connect(&site, &direct_host(), &speaks).await.unwrap();
    assert_eq!(alert(connect(&site, CUSTOMER, &speaks).await), AlertDescription::InternalError);
    let sites = site.world.relay(&["site", "list", "--json"]).await.json();
    assert_eq!(sites["sites"][0]["connections"], 2);
    // The terminated way has a bound of its own.
    assert_eq!(site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap().status, 200);
    drop(first);
    eventually("its place is given back", std::time::Duration::from_secs(10), async || {
        connect(&site, CUSTOMER, &speaks).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn connections_of_the_agent_are_bounded_too_and_the_bound_follows_the_file() {
    let upstream = Upstream::start().await;
    let mut site = start_with(&upstream.url(), |world| {
        world.edit_agent("[pass-through]", "[pass-through]\nconnections = 2");
    })
    .await;
    let speaks = Speaks::http1();
    let first = connect(&site, CUSTOMER, &speaks).await.unwrap();
    let _second = connect(&site, &direct_host(), &speaks).await.unwrap();
    assert_eq!(alert(connect(&site, CUSTOMER, &speaks).await), AlertDescription::InternalError);
    let metrics = crate::support::client::plain_get(site.world.operator_port, "/metrics").await;
    let counted = "passed_connections_total{site=\"acme\",result=\"agent-refused\"} 1";
    assert!(metrics.contains(counted), "{counted} in\n{metrics}");
    // Those that are open, and the terminated way, go on.
    assert_eq!(site.world.status().await["pass_through"]["connections"], 2);
    assert_eq!(site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap().status, 200);
    let wanted = request(&site, &speaks, Method::GET, CUSTOMER, "/jira/rest/api/2/myself");
    assert_eq!(call(first, wanted.body(Bytes::new()).unwrap()).await.unwrap().0.status, 200);
    // That one's place is free again.
    eventually("its place is given back", std::time::Duration::from_secs(10), async || {
        connect(&site, CUSTOMER, &speaks).await.is_ok()
    })
    .await;
    let mark = site.agent.mark();
    site.world.edit_agent("connections = 2", "connections = 1");
    site.agent.line_after(mark, "read again and in force").await;
    assert_eq!(alert(connect(&site, CUSTOMER, &speaks).await), AlertDescription::InternalError);
}

/// The windows that a server of HTTP/2 gives at once: of each stream, and of the connection (RFC 9113, section 6.5.2
/// and 6.9).
async fn windows(site: &Running, name: &str) -> (u32, u32) {
    let mut stream = connect(site, name, &Speaks::http2()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let (mut of_stream, mut of_connection) = (None, None);
    while of_stream.is_none() || of_connection.is_none() {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        match head[3] {
            4 if head[4] == 0 => {
                let initial = payload.chunks_exact(6).find(|setting| setting[..2] == [0, 4]);
                of_stream = Some(initial.map_or(65_535, |setting| number(&setting[2..])));
            }
            8 if head[5..] == [0; 4] => of_connection = Some(65_535 + number(&payload)),
            _ => {}
        }
    }
    (of_stream.unwrap(), of_connection.unwrap())
}

#[tokio::test]
async fn the_agent_gives_smaller_windows_than_the_relay() {
    let upstream = Upstream::start().await;
    let site = start(&upstream.url()).await;
    assert_eq!(windows(&site, CUSTOMER).await, (256 << 10, 1 << 20));
    assert_eq!(windows(&site, &host()).await, (1 << 20, 16 << 20));
}

#[tokio::test]
async fn without_a_name_or_for_another_one_tls_ends_at_the_relay() {
    let upstream = Upstream::start().await;
    let site = start(&upstream.url()).await;
    // The relay's own certificate is shown, and the call goes the terminated way.
    let speaks = Speaks { sni: false, ..Speaks::http1() };
    let stream = connect(&site, "localhost", &speaks).await.unwrap();
    let wanted = request(&site, &speaks, Method::GET, &host(), "/jira/rest/api/2/myself");
    assert_eq!(call(stream, wanted.body(Bytes::new()).unwrap()).await.unwrap().0.status, 200);
    for name in [host(), "localhost".to_owned(), "relay.localhost".to_owned()] {
        let stream = connect(&site, &name, &Speaks::http2()).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "{name}");
    }
    // What is no TLS is told so.
    let mut plain = TcpStream::connect(("127.0.0.1", site.world.port)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said).await;
    assert_eq!(said.first(), Some(&21), "an alert: {said:?}");
}

#[tokio::test]
async fn a_request_for_another_host_is_misdirected_on_both_sides() {
    let upstream = Upstream::start().await;
    let site = start(&upstream.url()).await;
    for speaks in [Speaks::http1(), Speaks::http2()] {
        // (the connection's name, the request's host)
        for (name, asked) in [
            (host(), direct_host()),
            (host(), CUSTOMER.to_owned()),
            (direct_host(), host()),
            (direct_host(), CUSTOMER.to_owned()),
            (CUSTOMER.to_owned(), direct_host()),
            (CUSTOMER.to_owned(), "elsewhere.example".to_owned()),
        ] {
            let stream = connect(&site, &name, &speaks).await.unwrap();
            let wanted = request(&site, &speaks, Method::GET, &asked, "/jira/rest/api/2/myself");
            let (head, body) = call(stream, wanted.body(Bytes::new()).unwrap()).await.unwrap();
            assert_eq!(head.status, StatusCode::MISDIRECTED_REQUEST, "{name} {asked} {body:?}");
            assert_eq!(head.headers["outhaul-problem"], "misdirected");
        }
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    // Without a host, or with two, it is no request.
    let stream = connect(&site, CUSTOMER, &Speaks::http1()).await.unwrap();
    let two = Request::get("/jira/rest/api/2/myself").header("host", CUSTOMER).header("host", CUSTOMER);
    assert_eq!(call(stream, two.body(Bytes::new()).unwrap()).await.unwrap().0.status, 400);
}

#[tokio::test]
async fn names_that_are_taken_away_are_refused_from_then_on() {
    let upstream = Upstream::start().await;
    let mut site = start(&upstream.url()).await;
    let speaks = Speaks::http1();
    // At the agent, a connection that is open answers no further request by that name.
    let stream = connect(&site, &direct_host(), &speaks).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    outhaul::common::tasks::Tasks::new().spawn_detached(connection);
    let mut ask = async |site: &Running| {
        let wanted = request(site, &speaks, Method::GET, &direct_host(), "/jira/rest/api/2/myself");
        sender.ready().await.unwrap();
        let answer = sender.send_request(wanted.body(http_body_util::Empty::<Bytes>::new()).unwrap()).await;
        let answer = answer.unwrap();
        let status = answer.status();
        http_body_util::BodyExt::collect(answer).await.unwrap();
        status
    };
    assert_eq!(ask(&site).await, 200);
    let mark = site.agent.mark();
    site.world.edit_agent(&format!("operator-names = [\"{}\"]", direct_host()), "operator-names = []");
    site.agent.line_after(mark, "read again and in force").await;
    assert_eq!(ask(&site).await, 421);
    assert_eq!(alert(connect(&site, &direct_host(), &speaks).await), AlertDescription::UnrecognisedName);
    // At the relay: its own TLS end answers then, with a certificate that is not the name's.
    assert_eq!(status(&site, CUSTOMER, &speaks).await, 200);
    assert_eq!(site.world.relay(&["site", "name", "remove", SITE, CUSTOMER]).await.code, 0);
    let refused = connect(&site, CUSTOMER, &speaks).await.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("NotValidForName") || refused.contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart() {
    let upstream = Upstream::start().await;
    let mut site = start(&upstream.url()).await;
    let shown = async |site: &Running| {
        let stream = connect(site, CUSTOMER, &Speaks::http1()).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let before = shown(&site).await;
    let mark = site.agent.mark();
    site.world.authority.issue("direct", &[&direct_host(), CUSTOMER]);
    site.agent.line_after(mark, "new certificate in use").await;
    assert_ne!(shown(&site).await, before);
    let status = site.world.status().await;
    let names = status["pass_through"]["names"].as_array().unwrap();
    let levels: Vec<_> = names.iter().map(|name| (&name["name"], &name["level"])).collect();
    assert_eq!(levels, [(&direct_host().into(), &"operator".into()), (&CUSTOMER.into(), &"customer".into())]);
    assert!(names.iter().all(|name| name["certificate_ends"].is_string()), "{names:?}");
}

#[tokio::test]
async fn a_relay_that_could_answer_itself_does_not_start() {
    let world = World::new("http://127.0.0.1:1");
    world.pass_through();
    let refused = async |world: &World, why: &str| {
        for command in ["check-config", "run"] {
            let outcome = run(RELAY, &["--config", text(&world.relay_config), command]).await;
            assert!(outcome.code == 78 && outcome.err.contains(why), "{command}: {outcome:?}");
        }
    };
    world.authority.issue("relay", &["relay.localhost", &format!("*.{DIRECT}"), "localhost"]);
    refused(&world, "covers a name that passes through").await;
    // Nor can it be taken in while it runs.
    world.authority.issue("relay", &["relay.localhost", "*.relay.localhost", "localhost", "127.0.0.1"]);
    let mut relay = world.start_relay();
    relay.line("the relay is ready").await;
    world.authority.issue("relay", &["relay.localhost", &direct_host(), "localhost"]);
    relay.line("the new certificate can't be used").await;
    drop(relay);
    world.authority.issue("relay", &["relay.localhost", "*.relay.localhost", "localhost", "127.0.0.1"]);
    world.edit_relay(&format!("zone = \"{DIRECT}\""), "zone = \"relay.localhost\"");
    refused(&world, "the relay itself is in this zone").await;
}
