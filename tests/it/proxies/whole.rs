//! The whole way through proxies of the test's own: one that cuts what is idle, and one that is reached over TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use outhaul::common::tasks::Tasks;
use outhaul::net::tls::{Certificates, http1_server_config};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::eventually;
use crate::support::process::text;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

/// An ordinary CONNECT proxy that cuts a connection over which nothing came from either side for so long.
#[derive(Clone)]
struct Connecting {
    idle: Duration,
    connects: Arc<AtomicUsize>,
    cuts: Arc<AtomicUsize>,
}

impl Connecting {
    fn new(idle: Duration) -> Self {
        Self { idle, connects: Arc::default(), cuts: Arc::default() }
    }

    async fn start(&self, tls: Option<TlsAcceptor>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = self.clone();
        Tasks::new().spawn_detached(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (proxy, tls) = (proxy.clone(), tls.clone());
                Tasks::new().spawn_detached(async move {
                    match tls {
                        None => Box::pin(proxy.serve(stream)).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::pin(proxy.serve(stream)).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        address
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
        let behind = TcpStream::connect(&target).await.ok()?;
        self.connects.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
        let ((mut from, mut to), (mut back, mut on)) = (split(stream), split(behind));
        let (mut one, mut other) = ([0; 16 * 1024], [0; 16 * 1024]);
        loop {
            tokio::select! {
                read = from.read(&mut one) => match read.ok()? {
                    0 => return None,
                    count => on.write_all(&one[..count]).await.ok()?,
                },
                read = back.read(&mut other) => match read.ok()? {
                    0 => return None,
                    count => {
                        to.write_all(&other[..count]).await.ok()?;
                        to.flush().await.ok()?;
                    }
                },
                () = tokio::time::sleep(self.idle) => {
                    self.cuts.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
            }
        }
    }
}

fn through(world: &World, proxy: &str) {
    world.edit_agent("ca-file", &format!("proxy = \"{proxy}\"\nca-file"));
}

#[tokio::test]
async fn a_proxy_that_cuts_idle_connections_costs_a_reconnect_and_status_says_so() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let proxy = Connecting::new(Duration::from_secs(2));
    let address = proxy.start(None).await;
    through(&world, &format!("http://{address}"));
    let site = Running::start(world).await;
    let call = async || site.client.get(&host(), "/jira/rest/api/2/issue/A-1").await.unwrap().status;
    assert_eq!(call().await, StatusCode::OK);

    eventually("an idle tunnel is cut and comes back", Duration::from_secs(20), async || {
        let status = site.world.status().await;
        let tunnels = status["relay"]["tunnels"].as_array().unwrap().clone();
        proxy.cuts.load(Ordering::Relaxed) >= 2
            && tunnels
                .iter()
                .all(|tunnel| tunnel["connected"] == true && tunnel["losses"].as_u64() >= Some(1))
    })
    .await;
    let shown = site.world.agent(&["status"]).await.out;
    let says = format!(
        "the way leads through the proxy {address}: if this comes again after the same time, it cuts"
    );
    assert!(shown.contains("connected since") && shown.contains("before; last at"), "{shown}");
    assert!(shown.contains(&says), "{shown}");
    assert_eq!(call().await, StatusCode::OK, "{}", site.agent.log());
    let found = site.world.agent(&["doctor"]).await;
    assert_eq!(found.code, 0, "{found:?}");
    let connects = format!("{address} connects to localhost:{}", site.world.port);
    assert!(found.out.contains(&connects), "{}", found.out);
    assert!(found.out.contains(&says), "{}", found.out);
}

#[tokio::test]
async fn an_application_is_reached_through_the_proxy_only_where_its_table_says_so() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let proxy = Connecting::new(Duration::from_secs(60));
    let address = proxy.start(None).await;
    through(&world, &format!("http://{address}\"\nno-proxy = \"localhost"));
    let site = Running::start(world).await;
    let call = async || site.client.get(&host(), "/jira/rest/api/2/issue/A-1").await.unwrap();
    assert_eq!(call().await.status, StatusCode::OK);
    assert_eq!(proxy.connects.load(Ordering::Relaxed), 0, "neither the relay nor the application");

    site.world.edit_agent("base-url =", "via-proxy = true\nbase-url =");
    assert_eq!(site.world.agent(&["reload"]).await.code, 0);
    let answer = call().await;
    assert_eq!((answer.status, &answer.json()["path"]), (StatusCode::OK, &"/rest/api/2/issue/A-1".into()));
    assert!(proxy.connects.load(Ordering::Relaxed) >= 1);
    assert_eq!(site.world.agent(&["doctor"]).await.code, 0);
}

#[tokio::test]
async fn a_proxy_behind_tls_sees_the_relays_tls_inside_its_own() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let (chain, key) = world.authority.issue("proxy", &["localhost"]);
    let certificates = Certificates::load(&chain, &key).unwrap();
    let proxy = Connecting::new(Duration::from_secs(60));
    let acceptor = TlsAcceptor::from(http1_server_config(certificates).unwrap());
    let address = proxy.start(Some(acceptor)).await;
    through(&world, &format!("https://localhost:{}", address.port()));
    let site = Running::start(world).await;
    let answer = site.client.get(&host(), "/jira/rest/api/2/issue/A-1").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    // Bound to the relay's TLS, which the proxy's own has no part in.
    eventually("both tunnels are bound", Duration::from_secs(20), async || {
        let status = site.world.status().await;
        status["relay"]["tunnels"].as_array().unwrap().iter().all(|tunnel| tunnel["binding"] == "direct")
    })
    .await;
    assert!(proxy.connects.load(Ordering::Relaxed) >= 2, "enrolment and tunnels went through it");

    // Spoken to in plain HTTP, or under another name, it is named as what is at fault.
    for (from, to, says) in [
        ("https://localhost", "http://localhost", "relay: proxy"),
        ("http://localhost", "https://127.0.0.1", "its certificate is for another host name"),
    ] {
        site.world.edit_agent(&format!("proxy = \"{from}"), &format!("proxy = \"{to}"));
        let found = site.world.agent(&["doctor"]).await;
        assert_eq!(found.code, 1, "{found:?}");
        assert!(found.out.contains(says), "{}", found.out);
    }
}

#[tokio::test]
async fn hosts_of_no_proxy_are_reached_without_it_and_the_environment_counts_when_asked() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let proxy = Connecting::new(Duration::from_secs(60));
    let address = proxy.start(None).await;
    through(&world, &format!("http://{address}\"\nno-proxy = [\".example\", \"localhost"));
    // The list is closed in the line that was there.
    let file = std::fs::read_to_string(&world.agent_config).unwrap();
    std::fs::write(&world.agent_config, file.replace("\"localhost\"\nca-file", "\"localhost\"]\nca-file"))
        .unwrap();
    let site = Running::start(world).await;
    let found = site.world.agent(&["doctor"]).await.out;
    assert!(found.contains("is reached without") && found.contains("no-proxy says so"), "{found}");
    assert_eq!(proxy.connects.load(Ordering::Relaxed), 0);

    let doctor = |value: &str| {
        let mut command = std::process::Command::new(crate::support::process::AGENT);
        command.args(["--config", text(&site.world.agent_config), "doctor"]).env("HTTPS_PROXY", value);
        for name in ["https_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
            command.env_remove(name);
        }
        command
    };
    let run = async |mut command: std::process::Command| {
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let found = run(doctor(&format!("http://{address}"))).await;
    assert!(found.contains("HTTPS_PROXY is set in this environment and does not count"), "{found}");
    site.world.edit_agent("no-proxy = [\".example\", \"localhost\"]\n", "");
    site.world.edit_agent(&format!("proxy = \"http://{address}\""), "proxy = \"environment\"");
    let found = run(doctor(&format!("http://{address}"))).await;
    assert!(found.contains(&format!("{address} connects to localhost")), "{found}");
    assert_eq!(proxy.connects.load(Ordering::Relaxed), 1);
    let found = run(doctor("")).await;
    assert!(found.contains("this environment names none"), "{found}");
}
