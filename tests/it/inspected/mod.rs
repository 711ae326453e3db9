//! A whole site whose TLS is opened between agent and relay: by a proxy of our own that keeps all it sees, by the real
//! mitmproxy, and by nginx as a balancer. Enrolment, connects, calls and reconnects go through; what is in between
//! sees that agent and relay talk, and nothing of what they say.

mod middle;

use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::cutter::{Cut, Cutter};
use crate::support::interceptor::{Interceptor, Recording};
use crate::support::process::text;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, SITE, World, host};
use crate::support::{eventually, free_port};
use middle::{Mitmproxy, Nginx, read_token};

const PATIENCE: Duration = Duration::from_secs(30);
/// What must be seen by nobody in between.
const PATH: &str = "/jira/rest/api/2/issue/CANARY-4711/comment";
const BODY: &str = "the canary sings at midnight";

/// A site whose agent goes through a line that can be cut, to what is in between.
struct Inspected {
    site: Running,
    upstream: Upstream,
    cutter: Cutter,
    token: String,
}

impl Inspected {
    /// `world` leads to what is in between already.
    async fn start(world: World, upstream: Upstream, cutter: Cutter) -> Self {
        let mut relay = world.start_relay();
        relay.line("the relay is ready").await;
        let token = world.token().await;
        let enrolled = world.agent_with_input(&["enrol", "--json"], &format!("{token}\n")).await;
        assert_eq!(enrolled.json()["binding"], "inner-tls", "{enrolled:?}\n{}", relay.log());
        let mut agent = world.start_agent();
        agent.line("connected to the relay").await;
        let key = world.agent(&["caller", "add", "bot", "--json"]).await.json();
        let key = key["key"].as_str().unwrap().to_owned();
        let client = world.client().with_key(&key);
        Self { site: Running { world, relay, agent, client, key }, upstream, cutter, token }
    }

    async fn call(&self) {
        let body = json!({ "body": BODY });
        let answer = self.site.client.send(Method::POST, &host(), PATH, &body).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}\n{}", self.site.agent.log());
        assert_eq!(answer.json()["body"], body.to_string());
    }

    /// Calls, loses its connections, is back, calls; and says whose TLS it is in the middle.
    async fn story(&mut self, issuer: &str) {
        self.connected().await;
        self.call().await;
        for how in [Cut::Agent, Cut::Relay, Cut::Both] {
            let mark = self.site.agent.mark();
            assert!(self.cutter.cut(0, how) && self.cutter.cut(1, how));
            for _ in 0..2 {
                self.site.agent.line_after(mark, "connected to the relay").await;
            }
            self.connected().await;
            self.call().await;
        }
        assert_eq!(self.upstream.seen().len(), 4);

        let world = &self.site.world;
        let status = world.status().await;
        for tunnel in status["relay"]["tunnels"].as_array().unwrap() {
            assert_eq!(tunnel["binding"], "inner-tls");
            assert!(tunnel["outer"]["issuer"].as_str().unwrap().contains(issuer), "{tunnel}");
            assert_eq!(tunnel["outer"]["sha256"].as_str().unwrap().len(), 64);
        }
        let shown = world.agent(&["status"]).await.out;
        assert!(shown.contains("TLS IS INSPECTED") && shown.contains(issuer), "{shown}");
        // Said once, however often it connects.
        let warned = self.site.agent.log().matches("something in between opens TLS").count();
        assert_eq!(warned, 1, "{}", self.site.agent.log());

        let id = status["relay"]["agent"].as_str().unwrap();
        let told = world.relay(&["agent", "show", id, "--json"]).await.json();
        for tunnel in told["tunnels"].as_array().unwrap() {
            assert_eq!(tunnel["binding"], "inner-tls");
            assert!(tunnel["outer"]["issuer"].as_str().unwrap().contains(issuer), "{tunnel}");
        }
        let told = world.relay(&["agent", "show", id]).await.out;
        assert!(told.contains("INNER TLS") && told.contains(issuer), "{told}");

        let doctor = world.agent(&["doctor", "--json"]).await;
        let doctor: Value = serde_json::from_str(&doctor.out).unwrap();
        let found = doctor["findings"].as_array().unwrap();
        let finding = found.iter().find(|finding| finding["check"] == "relay: inspection").unwrap();
        assert_eq!(finding["level"], "note", "{finding}");
        assert!(finding["text"].as_str().unwrap().contains(issuer), "{finding}");
    }

    async fn connected(&self) {
        eventually("both tunnels", PATIENCE, async || {
            let status = self.site.world.status().await;
            status["relay"]["tunnels"].as_array().unwrap().iter().all(|tunnel| tunnel["connected"] == true)
        })
        .await;
    }

    /// What is in between saw the agent come, and nothing of this.
    fn nothing_seen(&self, seen: &Recording) {
        for there in
            ["GET /agent/v1 HTTP/1.1", "\"purpose\":\"enrol\"", "\"purpose\":\"connect\"", "\"binding\":"]
        {
            assert!(seen.holds(there), "{there} in what it saw");
        }
        let secret = read_token(&self.token);
        let hidden =
            ["CANARY-4711", "canary sings", "/comment", "\"secret\"", "\"join\"", "\"counter\"", &secret];
        for hidden in hidden.into_iter().chain([self.site.key.as_str(), self.token.as_str()]) {
            assert!(!seen.holds(hidden), "{hidden} in what it saw");
        }
    }

    /// The same call by a caller who goes through the same proxy is seen: so it would have been found.
    async fn control(&self, port: u16, authority: &Path, seen: impl AsyncFn() -> Recording) {
        let call = middle::Call { port, authority, relay: self.site.world.port, key: &self.site.key };
        let answer = call.post(&format!("/s/{SITE}{PATH}"), &json!({ "body": BODY }).to_string()).await;
        assert!(answer.contains(" 200 OK\r\n") && answer.contains("canary sings"), "{answer}");
        let seen = seen().await;
        for there in ["CANARY-4711", "canary sings", "/comment", self.site.key.as_str()] {
            assert!(seen.holds(there), "{there} in what it saw of a caller");
        }
    }
}

/// The agent dials this proxy, and trusts this authority beside the system's.
fn lead(world: &World, proxy: u16, authority: &Path) {
    let own = format!("ca-file = \"{}\"", text(&world.authority.file));
    let other = format!("ca-file = \"{}\"\nproxy = \"http://127.0.0.1:{proxy}\"", text(authority));
    world.edit_agent(&own, &other);
}

#[tokio::test]
async fn a_proxy_that_opens_tls_sees_nothing_of_what_is_said() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let folder = world.path().join("proxy");
    std::fs::create_dir(&folder).unwrap();
    let relay = ([127, 0, 0, 1], world.port).into();
    let proxy = Interceptor::start(&folder, &world.authority.file, relay).await;
    let cutter = Cutter::start(([127, 0, 0, 1], proxy.port).into()).await;

    // Without the proxy's authority there is no way in, and the error says what to do.
    let own = world.authority.file.clone();
    lead(&world, cutter.port, &own);
    let mut relay = world.start_relay();
    relay.line("the relay is ready").await;
    let token = world.token().await;
    let refused = world.agent_with_input(&["enrol"], &format!("{token}\n")).await;
    assert!(refused.code != 0 && refused.err.contains("ca-file"), "{refused:?}");
    assert!(refused.err.contains("inspecting proxy"), "{refused:?}");
    relay.kill();
    drop(relay);

    world.edit_agent(
        &format!("ca-file = \"{}\"", text(&own)),
        &format!("ca-file = \"{}\"", text(&proxy.authority.file)),
    );
    let mut inspected = Inspected::start(world, upstream, cutter).await;
    inspected.story("Outhaul test authority").await;
    inspected.nothing_seen(&proxy.recording());
    inspected.control(proxy.port, &proxy.authority.file, async || proxy.recording()).await;
}

#[tokio::test]
#[ignore = "needs mitmproxy"]
async fn mitmproxy_sees_nothing_of_what_is_said() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let mut proxy = Mitmproxy::start(&world.path().join("mitmproxy"), &world.authority.file).await;
    let cutter = Cutter::start(([127, 0, 0, 1], proxy.port).into()).await;
    lead(&world, cutter.port, &proxy.authority);
    let mut inspected = Inspected::start(world, upstream, cutter).await;
    inspected.story("mitmproxy").await;
    // It writes flows when they end; those of the tunnels with it.
    let (port, authority) = (proxy.port, proxy.authority.clone());
    let seen = proxy.end().await;
    inspected.nothing_seen(&seen);

    let world = &inspected.site.world;
    let folder = world.path().join("mitmproxy");
    let again = Mitmproxy::again(&folder, &world.authority.file, port).await;
    let again = tokio::sync::Mutex::new(again);
    inspected.connected().await;
    inspected.control(port, &authority, async || again.lock().await.end().await).await;
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn a_balancer_that_ends_tls_before_the_relay_is_no_hindrance() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let (chain, key) = world.authority.issue("balancer", &["localhost", &host()]);
    let port = free_port();
    let folder = world.path().join("nginx");
    let _nginx = Nginx::start(&folder, port, (&chain, &key), world.port, &world.authority.file).await;
    let cutter = Cutter::start(([127, 0, 0, 1], port).into()).await;
    // Agents know the balancer's address only.
    world.edit_relay(
        &format!("public-url = \"wss://localhost:{}\"", world.port),
        &format!("public-url = \"wss://localhost:{}\"", cutter.port),
    );
    world.edit_agent(
        &format!("url = \"wss://localhost:{}\"", world.port),
        &format!("url = \"wss://localhost:{}\"", cutter.port),
    );
    let mut inspected = Inspected::start(world, upstream, cutter).await;
    inspected.story("Outhaul test authority").await;
    // Callers come through it as well.
    let client = crate::support::client::Client::new(&inspected.site.world.authority.file, port);
    let client = client.with_key(&inspected.site.key);
    let answer = client.get(&host(), "/jira/rest/api/2/issue/TEST-1").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}
