//! Relay and agent as real processes before an odd upstream, with a policy that lets the tests' calls pass.

use std::time::Duration;

use http::{Method, Request};

use super::cutter::Cutter;
use super::door::{AnyBody, Door, Line, Version, Whole, empty, whole};
use super::eventually;
use super::odd_upstream::Odd;
use super::world::{Running, World, direct_host, host};

/// What leads to the upstream's `/rest/api/2/odd` through the relay, in host form.
pub(crate) const MOUNT: &str = "/jira";
/// Where the odd upstream is called.
pub(crate) const PATH: &str = "/rest/api/2/odd";

/// All of it.
pub(crate) struct OddSite {
    /// The upstream.
    pub(crate) odd: Odd,
    /// Files and processes.
    pub(crate) running: Running,
    /// The caller's ways in.
    pub(crate) door: Door,
    /// Whether callers' TLS ends at the agent.
    pub(crate) passed: bool,
}

impl OddSite {
    /// Starts it. With `OUTHAUL_TEST_WAY=pass-through` every test takes that way.
    pub(crate) async fn start() -> Self {
        if std::env::var_os("OUTHAUL_TEST_WAY").is_some_and(|way| way == "pass-through") {
            return Self::start_passed().await;
        }
        Self::start_with(|_| {}).await
    }

    /// Starts it; callers' TLS ends at its agent.
    pub(crate) async fn start_passed() -> Self {
        let mut site = Self::start_by(&direct_host(), World::pass_through).await;
        site.passed = true;
        site
    }

    /// Starts it with a line between agent and relay that can be cut.
    pub(crate) async fn start_behind(cutter: &mut Option<Cutter>) -> Self {
        let odd = Odd::start().await;
        let world = World::new(&odd.url());
        let line = Cutter::start(([127, 0, 0, 1], world.port).into()).await;
        let (from, to) =
            (format!("wss://localhost:{}", world.port), format!("wss://localhost:{}", line.port));
        world.edit_agent(&from, &to);
        world.edit_relay(&from, &to);
        *cutter = Some(line);
        Self::allow(&world);
        Self::run(odd, world, &host()).await
    }

    /// Starts it with changes to the files.
    pub(crate) async fn start_with(change: impl FnOnce(&World)) -> Self {
        Self::start_by(&host(), change).await
    }

    /// Starts it with changes to the files; callers come by this name of the site.
    pub(crate) async fn start_by(host: &str, change: impl FnOnce(&World)) -> Self {
        let odd = Odd::start().await;
        let world = World::new(&odd.url());
        Self::allow(&world);
        change(&world);
        Self::run(odd, world, host).await
    }

    /// Lets the tests' calls pass.
    fn allow(world: &World) {
        world.edit_agent(
            "base-url = \"https://jira.example/\"\n",
            "base-url = \"https://jira.example/\"\nidentity-header = \"none\"\nmax-connections = 256\n",
        );
        world.edit_agent(
            "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
            &format!(
                "[[policy.rule]]\nallow = \"GET|POST|PUT|PATCH|DELETE {PATH}/**\"\nwhy = \"Tests\"\n\
                 as = {{ service = \"reader\" }}\n\n[[policy.rule]]\nallow = \"GET /rest/api/2/**\""
            ),
        );
    }

    async fn run(odd: Odd, world: World, host: &str) -> Self {
        let running = Running::start(world).await;
        let door = Door::new(&running.world.authority.file, running.world.port, &running.key).by(host);
        let site = Self { odd, running, door, passed: false };
        let ready = async || site.get(Version::One, "ready").await.is_ok_and(|answer| answer.status == 200);
        eventually("the first call passes", Duration::from_secs(20), ready).await;
        site
    }

    /// A request for a segment below the mount.
    pub(crate) fn request(method: Method, segment: &str, body: AnyBody) -> Request<AnyBody> {
        let uri = format!("{MOUNT}{PATH}/{segment}");
        Request::builder().method(method).uri(uri).body(body).unwrap()
    }

    /// One call on a connection of its own, read to its end; an error if anything breaks off.
    pub(crate) async fn call(&self, version: Version, request: Request<AnyBody>) -> Result<Whole, String> {
        let one = async {
            let mut line = self.door.line(version).await.map_err(|error| error.to_string())?;
            let response = self.door.send(&mut line, request).await.map_err(|error| error.to_string())?;
            whole(response).await.map_err(|error| error.to_string())
        };
        tokio::time::timeout(Duration::from_secs(120), one).await.expect("an answer or an end within 120 s")
    }

    /// GET.
    pub(crate) async fn get(&self, version: Version, segment: &str) -> Result<Whole, String> {
        self.call(version, Self::request(Method::GET, segment, empty())).await
    }

    /// Such a call straight to the upstream.
    pub(crate) async fn direct(&self, mut request: Request<AnyBody>) -> Result<Whole, String> {
        let path = request.uri().to_string();
        *request.uri_mut() = path.strip_prefix(MOUNT).unwrap().parse().unwrap();
        let mut line = Line::direct(self.odd.address).await.map_err(|error| error.to_string())?;
        let response = line.send("jira.example", request).await.map_err(|error| error.to_string())?;
        whole(response).await.map_err(|error| error.to_string())
    }

    /// What both daemons have logged.
    pub(crate) fn logs(&self) -> String {
        format!("agent:\n{}\nrelay:\n{}", self.running.agent.log(), self.running.relay.log())
    }
}
