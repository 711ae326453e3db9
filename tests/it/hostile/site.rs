//! A site whose relay lies: the real agent's process before an upstream that keeps every byte.

use http::HeaderMap;
use outhaul::tunnel::frame::{END_STREAM, Frame, Kind, MAX_DATA};

use super::liar_relay::{LiarRelay, Tunnel};
use super::wire::{Heard, RawHead, flagged, frame};
use crate::support::odd_upstream::Odd;
use crate::support::process::Daemon;
use crate::support::world::{World, host};

/// What leads to the upstream's `/rest/api/2/odd`.
pub(crate) const PATH: &str = "/jira/rest/api/2/odd";

/// All of it.
pub(crate) struct LiarSite {
    pub(crate) world: World,
    pub(crate) odd: Odd,
    pub(crate) relay: LiarRelay,
    pub(crate) agent: Daemon,
    /// The tunnel that the agent made.
    pub(crate) tunnel: Tunnel,
    /// The key of the caller `bot`, as the relay sees it pass.
    pub(crate) key: String,
    next: u64,
}

impl LiarSite {
    /// Enrols the agent at the liar and lets it connect.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with changes to the agent's configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&World)) -> Self {
        let odd = Odd::start().await;
        let world = World::new(&odd.url());
        world.edit_agent("[state]", "tunnels = 1\n\n[state]");
        world.edit_agent(
            "base-url = \"https://jira.example/\"\n",
            "base-url = \"https://jira.example/\"\nidentity-header = \"none\"\nmax-connections = 256\n",
        );
        change(&world);
        let mut relay = LiarRelay::start(&world).await;
        let enrolled = world.agent_with_input(&["enrol"], &format!("{}\n", relay.token(&world))).await;
        assert_eq!(enrolled.code, 0, "{enrolled:?}");
        let mut agent = world.start_agent();
        agent.line("connected to the relay").await;
        let tunnel = relay.tunnel().await;
        let key = world.agent(&["caller", "add", "bot", "--json"]).await.json();
        let key = key["key"].as_str().unwrap().to_owned();
        Self { world, odd, relay, agent, tunnel, key, next: 0 }
    }

    /// A lawful head for a segment of the upstream's, with the stolen key.
    pub(crate) fn head(&self, method: &str, segment: &str) -> RawHead {
        RawHead::new(method, &host(), &format!("{PATH}/{segment}")).bearer(&self.key)
    }

    /// The next stream's number.
    pub(crate) fn stream(&mut self) -> u64 {
        self.next += 2;
        self.next
    }

    /// Sends one request whole and hears its answer.
    pub(crate) async fn ask(&mut self, head: &RawHead, body: &[u8]) -> Heard {
        let stream = self.stream();
        self.tunnel.say(&request(stream, head, body)).await;
        self.tunnel.heard(stream).await
    }

    /// Sends one request without a body, and hears its answer.
    pub(crate) async fn get(&mut self, segment: &str) -> Heard {
        let head = self.head("GET", segment);
        self.ask(&head, b"").await
    }

    /// Every request that came to the upstream whole: method, target, header fields, body.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        for connection in self.odd.connections() {
            for (head, body) in connection.parsed().unwrap_or_else(|fault| panic!("{fault}")) {
                let mut headers = HeaderMap::new();
                for (name, value) in &head.fields {
                    let name: http::HeaderName = name.parse().unwrap();
                    headers.append(name, http::HeaderValue::from_bytes(value).unwrap());
                }
                arrived.push(Arrived { line: format!("{} {}", head.method, head.target), headers, body });
            }
        }
        arrived
    }

    /// The agent still serves a lawful call on this tunnel.
    pub(crate) async fn still_serves(&mut self) {
        let reply = self.get("x?seed=3&length=100").await;
        assert_eq!((reply.status, reply.body.len()), (Some(200), 100), "{reply:?}\n{}", self.agent.log());
    }

    /// The agent connects anew after its tunnel was ended, and serves.
    pub(crate) async fn comes_back(&mut self) {
        self.tunnel = self.relay.tunnel().await;
        self.next = 0;
        self.still_serves().await;
    }
}

/// A request as the upstream reply it.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The frames of one request.
pub(crate) fn request(stream: u64, head: &RawHead, body: &[u8]) -> Vec<Frame> {
    let open = head.payload();
    if body.is_empty() {
        return vec![flagged(Kind::Open, END_STREAM, stream, open)];
    }
    let mut frames = vec![frame(Kind::Open, stream, open)];
    frames.extend(body.chunks(MAX_DATA).map(|piece| frame(Kind::Data, stream, piece)));
    if let Some(last) = frames.last_mut() {
        last.flags = END_STREAM;
    }
    frames
}

/// A process's memory in bytes: the most so far since it began.
pub(crate) fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}
