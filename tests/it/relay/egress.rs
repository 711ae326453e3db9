//! Agents that use the relay's way out, or try to: what they reach, and what they don't.

use std::time::Duration;

use outhaul::common::tasks::Tasks;
use outhaul::net::tunnel::{ByteStream, Tunnel};
use outhaul::tunnel::head::BytesHead;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::bench::Bench;
use super::fake_agent::connected;
use crate::support::eventually;

/// A host on loopback that gives back what it is sent, and counts who came.
struct Echo {
    port: u16,
    came: std::sync::Arc<std::sync::atomic::AtomicU32>,
    _tasks: Tasks,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, tasks) = (listener.local_addr().unwrap().port(), Tasks::new());
        let came = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let (count, each) = (came.clone(), tasks.clone());
        tasks.spawn_detached(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                each.spawn_detached(async move {
                    let (mut read, mut write) = stream.split();
                    // Half-close both ways: what was read to its end is answered to its end.
                    if tokio::io::copy(&mut read, &mut write).await.is_ok() {
                        let _ = write.shutdown().await;
                    }
                });
            }
        });
        Self { port, came, _tasks: tasks }
    }

    fn came(&self) -> u32 {
        self.came.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn target(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

const LOOPBACK: &str = "also-networks = [\"127.0.0.0/8\", \"::1\"]";

async fn bench(egress: &str) -> Bench {
    Bench::with("", &format!("[egress]\n{egress}\n")).await
}

fn open(tunnel: &Tunnel, purpose: &str, target: &str) -> ByteStream {
    let head =
        BytesHead { purpose: purpose.to_owned(), target: target.to_owned(), peer: "192.0.2.9".to_owned() };
    tunnel.open_bytes(head).unwrap()
}

async fn line(stream: &mut ByteStream) -> String {
    let reading = async {
        let mut line = Vec::new();
        loop {
            match stream.read_u8().await {
                Ok(b'\n') => return String::from_utf8(line).unwrap(),
                Ok(byte) => line.push(byte),
                Err(error) => return error.to_string(),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), reading).await.expect("a line within 15 s")
}

/// What the relay says first to a stream for this target.
async fn said(tunnel: &Tunnel, target: &str) -> String {
    line(&mut open(tunnel, "egress", target)).await
}

async fn to_end(stream: &mut ByteStream) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut all));
    reading.await.expect("an end within 15 s").map(|_| all).map_err(|error| error.to_string())
}

#[tokio::test]
async fn what_is_listed_is_carried_both_ways_with_half_close() {
    let echo = Echo::start().await;
    let bench = bench(LOOPBACK).await;
    let (_agent, tunnel) = connected(&bench).await;
    assert_eq!(said(&tunnel, &echo.target()).await, "no off", "none by default");
    let listed = bench.admin("/sites/acme/egress/allow", json!({ "host": echo.target() })).await;
    assert_eq!(listed["hosts"], json!([echo.target()]));
    let mut stream = open(&tunnel, "egress", &echo.target().to_uppercase());
    // Bytes need not wait for the line.
    let sent = vec![7_u8; 300_000];
    stream.write_all(&sent[..1000]).await.unwrap();
    assert_eq!(line(&mut stream).await, "ok");
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = async {
        write.write_all(&sent[1000..]).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let ((), read) = tokio::join!(writing, read.read_to_end(&mut back));
    assert_eq!((read.unwrap(), back == sent), (300_000, true));
    assert_eq!(said(&tunnel, "localhost:1").await, "no not-listed");

    eventually("the books are closed", Duration::from_secs(5), async || {
        bench.figure("outhaul_egress_connections_total{site=\"acme\",result=\"done\"}").await == 1
    })
    .await;
    assert_eq!(bench.figure("outhaul_egress_bytes_total{site=\"acme\",way=\"out\"}").await, 300_000);
    assert_eq!(bench.figure("outhaul_egress_connections_total{site=\"acme\",result=\"off\"}").await, 1);
    assert_eq!(bench.figure("outhaul_egress_connections_now").await, 0);
    let usage = bench.admin("/sites/acme/egress/allow", json!({ "host": echo.target() })).await;
    assert_eq!(
        (&usage["usage"]["bytes_back"], &usage["usage"]["bytes_today"]),
        (&json!(300_000), &json!(600_000))
    );
}

#[tokio::test]
async fn a_hostile_agent_reaches_no_other_host_and_nothing_of_the_relays() {
    let echo = Echo::start().await;
    let inside = [
        "localhost",
        "idp.localhost",
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::1]",
    ];
    let listed: Vec<String> = inside.iter().map(|host| format!("\"{host}:{}\"", echo.port)).collect();
    let bench = bench(&format!("allow = [{}]\nsite-connections-a-second = 1000", listed.join(", "))).await;
    let (_agent, tunnel) = connected(&bench).await;
    for host in inside {
        // Even where an operator lists it: no network inside is permitted.
        assert_eq!(said(&tunnel, &format!("{host}:{}", echo.port)).await, "no forbidden-address", "{host}");
    }
    for (target, says) in [
        ("example.com:443", "no not-listed"),
        ("127.0.0.2:443", "no not-listed"),
        ("127.1:443", "no bad-target"),
        ("0x7f000001:443", "no bad-target"),
        ("localhost.:443", "no bad-target"),
        ("localhost:443 ", "no bad-target"),
        ("localhost:0", "no bad-target"),
        ("metadata:80", "no bad-target"),
        ("", "no bad-target"),
        ("localhost:1\r\nHost: x", "no bad-target"),
    ] {
        assert_eq!(said(&tunnel, target).await, says, "{target:?}");
    }
    assert_eq!(said(&tunnel, &"a".repeat(60_000)).await, "no bad-target");
    for purpose in ["pass-through", "passthrough", "EGRESS", "egress ", ""] {
        let heard = line(&mut open(&tunnel, purpose, &echo.target())).await;
        assert!(heard.contains("a kind of stream this side does not take"), "{purpose}: {heard}");
    }
    assert_eq!(echo.came(), 0);
    assert!(tunnel.is_usable(), "the tunnel lives");
}

#[tokio::test]
async fn the_relays_own_ports_are_reached_by_no_setting() {
    let bench = bench(LOOPBACK).await;
    let (_agent, tunnel) = connected(&bench).await;
    let own = format!("localhost:{}", bench.address.port());
    bench.admin("/sites/acme/egress/allow", json!({ "host": own })).await;
    assert_eq!(said(&tunnel, &own).await, "no forbidden-address");
}

#[tokio::test]
async fn quotas_cut_off_and_stay_in_force() {
    let echo = Echo::start().await;
    let quotas = "site-bytes-a-day = \"64 KB\"\nsite-connections = 2\nidle-time = \"1 s\"\n\
                  site-connections-a-second = 100";
    let bench = bench(&format!("{LOOPBACK}\nallow = \"{}\"\n{quotas}", echo.target())).await;
    let (_agent, tunnel) = connected(&bench).await;
    let mut first = open(&tunnel, "egress", &echo.target());
    let mut second = open(&tunnel, "egress", &echo.target());
    assert_eq!((line(&mut first).await, line(&mut second).await), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(said(&tunnel, &echo.target()).await, "no too-many");
    // One that says nothing ends, and gives its place back.
    let heard = to_end(&mut second).await.unwrap_err();
    assert!(heard.contains("a time ran out"), "{heard}");
    drop(first);
    let mut stream = open(&tunnel, "egress", &echo.target());
    assert_eq!(line(&mut stream).await, "ok");
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = async { write.write_all(&vec![7; 100_000]).await.and(write.shutdown().await) };
    let mut back = Vec::new();
    let (_, read) = tokio::join!(writing, read.read_to_end(&mut back));
    assert!(read.unwrap_err().to_string().contains("a quota is used up"));
    assert!(back.len() < 64 * 1024, "{}", back.len());
    assert_eq!(said(&tunnel, &echo.target()).await, "no quota");
}

#[tokio::test]
async fn a_change_of_the_list_counts_at_once_for_open_connections_too() {
    let echo = Echo::start().await;
    let bench = bench(LOOPBACK).await;
    let (_agent, tunnel) = connected(&bench).await;
    let host = json!({ "host": echo.target() });
    bench.admin("/sites/acme/egress/allow", host.clone()).await;
    let mut stream = open(&tunnel, "egress", &echo.target());
    assert_eq!(line(&mut stream).await, "ok");
    bench.admin("/sites/acme/egress/deny", host.clone()).await;
    let heard = to_end(&mut stream).await.unwrap_err();
    assert!(heard.contains("no longer allowed"), "{heard}");
    assert_eq!(said(&tunnel, &echo.target()).await, "no off");
    bench.admin("/sites/acme/egress/allow", host).await;
    assert_eq!(said(&tunnel, &echo.target()).await, "ok");
    bench.admin("/sites/acme/pause", json!(null)).await;
    assert_eq!(said(&tunnel, &echo.target()).await, "no paused");
}

#[tokio::test]
async fn a_flood_of_streams_is_refused_and_leaves_the_calls_alone() {
    let echo = Echo::start().await;
    let bench = bench(&format!("{LOOPBACK}\nallow = \"{}\"", echo.target())).await;
    let (_agent, tunnel) = connected(&bench).await;
    let mut flood = Vec::new();
    for _ in 0..500 {
        // This end holds to what WELCOME allows only by its own choice.
        let head = BytesHead { purpose: "egress".to_owned(), target: echo.target(), peer: String::new() };
        match tunnel.open_bytes(head) {
            Ok(stream) => flood.push(stream),
            Err(_) => break,
        }
    }
    assert!(flood.len() > 100, "{}", flood.len());
    assert_eq!(bench.get("/jira/echo").await.status, 200);
    let mut lines = std::collections::BTreeMap::new();
    for mut stream in flood {
        *lines.entry(line(&mut stream).await).or_insert(0) += 1;
    }
    let connected = lines.remove("ok").unwrap_or(0);
    assert!((1..=64).contains(&connected), "{connected} and {lines:?}");
    assert!(lines.keys().all(|line| line == "no too-many" || line.contains("refused")), "{lines:?}");
    eventually("all are over", Duration::from_secs(10), async || {
        bench.figure("outhaul_egress_connections_now").await == 0
    })
    .await;
    assert_eq!(bench.get("/jira/echo").await.status, 200);
}
