//! The agent's way out with real processes: `outhaul-agent egress test` asks an HTTPS host as the agent's own clients do.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outhaul::common::tasks::Tasks;
use outhaul::net::tls::{Certificates, http1_server_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::eventually;
use crate::support::process::{Outcome, text};
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World};

/// An HTTPS host such as an identity provider: a page, and how many connections it saw.
struct Provider {
    port: u16,
    came: Arc<AtomicU32>,
    _tasks: Tasks,
}

impl Provider {
    async fn start((chain, key): (PathBuf, PathBuf)) -> Self {
        let config = http1_server_config(Certificates::load(&chain, &key).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, tasks) = (listener.local_addr().unwrap().port(), Tasks::new());
        let came = Arc::new(AtomicU32::new(0));
        let (count, each) = (came.clone(), tasks.clone());
        tasks.spawn_detached(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let acceptor = TlsAcceptor::from(config.clone());
                each.spawn_detached(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = Vec::new();
                    while let Ok(byte) = stream.read_u8().await {
                        head.push(byte);
                        if head.ends_with(b"\r\n\r\n") {
                            break;
                        }
                    }
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}";
                    let _ = stream.write_all(answer).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { port, came, _tasks: tasks }
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn url(&self) -> String {
        format!("https://{}/keys", self.host())
    }

    fn came(&self) -> u32 {
        self.came.load(Ordering::SeqCst)
    }
}

/// A site whose agent goes out through the relay to this host, and whose relay permits loopback.
async fn site(egress: impl FnOnce(&Provider, &str) -> String) -> (Running, Provider) {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let provider = Provider::start(world.authority.issue("provider", &["localhost"])).await;
    let ca = text(&world.authority.file).to_owned();
    world.edit_agent("[upstream.jira]", &format!("{}\n[upstream.jira]", egress(&provider, &ca)));
    world.edit_relay("[operator]", "[egress]\nalso-networks = [\"127.0.0.0/8\", \"::1\"]\n\n[operator]");
    let running = Running::start(world).await;
    (running, provider)
}

fn by_relay(provider: &Provider, ca: &str) -> String {
    format!("[egress]\nway = \"relay\"\nallow = \"{}\"\nca-file = \"{ca}\"\n", provider.host())
}

async fn test(site: &Running, provider: &Provider) -> Outcome {
    site.world.agent(&["egress", "test", &provider.url()]).await
}

#[tokio::test]
async fn a_host_is_reached_through_the_relay_while_both_lists_have_it() {
    let (mut site, provider) = site(by_relay).await;
    let host = provider.host();
    let refused = test(&site, &provider).await;
    assert_eq!(refused.code, 75, "{refused:?}");
    let line = format!("outhaul-relay site egress allow acme {host}");
    assert!(
        refused.err.contains("its operator lets this site reach no host") && refused.err.contains(&line),
        "{refused:?}"
    );
    assert_eq!(provider.came(), 0);
    // The operator's log has it, and the agent's status.
    let logged = site.relay.line("egress was refused").await;
    assert!(
        logged.contains("site=acme") && logged.contains("reason=\"off\"") && logged.contains(&host),
        "{logged}"
    );
    let status = site.world.status().await;
    assert_eq!(
        (&status["egress"]["way"], &status["egress"]["unreached"][0]["host"]),
        (&"relay".into(), &host.clone().into())
    );
    let shown = site.world.agent(&["status"]).await.out;
    assert!(shown.contains("Egress   relay") && shown.contains("NOT REACHED"), "{shown}");

    let allowed = site.world.relay(&["site", "egress", "allow", "acme", &host]).await;
    assert!(allowed.code == 0 && allowed.out.contains(&host), "{allowed:?}");
    let reached = test(&site, &provider).await;
    assert!(reached.code == 0 && reached.out.contains("status 200, 11 bytes"), "{reached:?}");
    assert!(reached.out.contains("by the way “relay”"), "{reached:?}");
    assert_eq!(provider.came(), 1);
    assert_eq!(site.world.status().await["egress"]["unreached"], serde_json::json!([]));
    let sites = site.world.relay(&["site", "list", "--json"]).await.json();
    assert!(sites["sites"][0]["egress"]["bytes_back"].as_u64().unwrap() > 11, "{sites}");
    let listed = site.world.relay(&["site", "egress", "list", "acme"]).await;
    assert!(listed.out.contains(&host) && listed.out.contains("this site"), "{listed:?}");

    // The relay restarts: its list stays, and the agent is back by itself.
    site.relay.signal("TERM");
    site.relay.end().await;
    let down = test(&site, &provider).await;
    assert!(down.code == 75 && down.err.contains("no tunnel to the relay is up"), "{down:?}");
    let mark = site.agent.mark();
    site.relay = site.world.start_relay();
    site.agent.line_after(mark, "connected to the relay").await;
    let reached = test(&site, &provider).await;
    assert_eq!(reached.code, 0, "{reached:?}");

    // The operator takes it off: at once.
    assert_eq!(site.world.relay(&["site", "egress", "deny", "acme", &host]).await.code, 0);
    assert_eq!(test(&site, &provider).await.code, 75);
    assert_eq!(provider.came(), 2);

    // The administrator's own list comes first: nothing is asked of the relay.
    assert_eq!(site.world.relay(&["site", "egress", "allow", "acme", &host]).await.code, 0);
    site.world.edit_agent(&format!("allow = \"{host}\""), "allow = \"login.example.com:443\"");
    eventually("the new list counts", Duration::from_secs(10), async || {
        let refused = test(&site, &provider).await;
        refused.code == 75 && refused.err.contains("not listed under [egress] allow")
    })
    .await;
}

#[tokio::test]
async fn the_relay_can_not_pose_as_the_host() {
    // The relay's operator could lead the stream anywhere; here the host's own certificate is for another name.
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let provider = Provider::start(world.authority.issue("provider", &["login.example.com"])).await;
    let egress = by_relay(&provider, text(&world.authority.file));
    world.edit_agent("[upstream.jira]", &format!("{egress}\n[upstream.jira]"));
    let permit = format!(
        "[egress]\nallow = \"{}\"\nalso-networks = [\"127.0.0.0/8\", \"::1\"]\n\n[operator]",
        provider.host()
    );
    world.edit_relay("[operator]", &permit);
    let site = Running::start(world).await;
    let refused = test(&site, &provider).await;
    assert!(refused.code == 75 && refused.err.contains("for another host name"), "{refused:?}");
    assert_eq!(provider.came(), 1);
}

#[tokio::test]
async fn the_direct_way_needs_no_relay_and_keeps_the_list() {
    let (site, provider) =
        site(|provider, ca| by_relay(provider, ca).replace("\"relay\"", "\"direct\"")).await;
    let reached = test(&site, &provider).await;
    assert!(reached.code == 0 && reached.out.contains("by the way “direct”"), "{reached:?}");
    let through = site.world.agent(&["egress", "test", &provider.url(), "--way", "relay"]).await;
    assert!(
        through.code == 75 && through.err.contains("its operator lets this site reach no host"),
        "{through:?}"
    );
    let other = format!("https://localhost:{}/", site.world.port);
    let refused = site.world.agent(&["egress", "test", &other]).await;
    assert!(refused.code == 75 && refused.err.contains("not listed under [egress] allow"), "{refused:?}");
    let wrong = site.world.agent(&["egress", "test", "http://localhost/"]).await;
    assert!(wrong.err.contains("must begin with https://"), "{wrong:?}");
    let no_proxy = site.world.agent(&["egress", "test", &provider.url(), "--way", "proxy"]).await;
    assert!(no_proxy.err.contains("[relay] names none"), "{no_proxy:?}");
}
