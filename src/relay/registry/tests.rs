use std::num::NonZeroU32;
use std::sync::atomic::AtomicBool;

use super::*;

#[derive(Debug, Clone, Default)]
struct FakeLine(Arc<(AtomicBool, Mutex<Option<CloseCode>>, AtomicBool)>);

impl FakeLine {
    fn closed(&self) -> Option<CloseCode> {
        *self.0.1.lock().unwrap()
    }
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Line for FakeLine {
    fn is_usable(&self) -> bool {
        !self.0.0.load(Ordering::Relaxed) && self.closed().is_none()
    }
    fn has_room(&self) -> bool {
        self.is_usable() && !self.0.2.load(Ordering::Relaxed)
    }
    fn drain(&self, _: DrainCode, _: &str) {
        self.0.0.store(true, Ordering::Relaxed);
    }
    fn close(&self, code: CloseCode, _: &str) {
        *self.0.1.lock().unwrap() = Some(code);
    }
    fn stats(&self) -> Stats {
        Stats::default()
    }
}

struct Bench {
    registry: Registry<FakeLine>,
    clock: Clock,
    name: SiteName,
}

impl Bench {
    fn new() -> Self {
        Self::with_waiters(10)
    }

    fn with_waiters(callers: usize) -> Self {
        let clock = Clock::manual();
        let waiting =
            Waiting { seen_within: Duration::from_secs(10), at_most: Duration::from_secs(3), callers };
        let many = NonZeroU32::new(1000).unwrap();
        let limits = tenancy::Limits {
            calls_at_once: 100,
            calls_a_second: many,
            burst: many,
            connections_at_once: 100,
            connections_a_second: many,
        };
        let registry = Registry::new(waiting, limits, clock.clone());
        let name: SiteName = "acme".parse().unwrap();
        registry.set_site(&name, false, false);
        Self { registry, clock, name }
    }

    fn join(&self, agent: AgentId, role: Role, slot: u8) -> (FakeLine, Place, Arc<AgentStatus>) {
        let line = FakeLine::default();
        let status = Arc::new(AgentStatus::default());
        let session = Session {
            agent,
            role,
            slot,
            peer: "192.0.2.1:5".parse().unwrap(),
            software: String::new(),
            layer: Layer::Outer,
            outer: None,
            since: self.clock.wall(),
            status: status.clone(),
        };
        let place = self.registry.join(&self.name, session, line.clone()).unwrap();
        (line, place, status)
    }

    fn site(&self) -> Arc<Site<FakeLine>> {
        self.registry.site("acme").unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn the_active_agents_lowest_usable_slot_is_taken() {
    let bench = Bench::new();
    let agent = AgentId::generate();
    assert_eq!(bench.site().find(None).await.unwrap_err(), Missing::Offline);
    let (second, ..) = bench.join(agent, Role::Active, 1);
    assert!(bench.site().find(None).await.unwrap().line.is(&second));
    let (first, ..) = bench.join(agent, Role::Active, 0);
    assert!(bench.site().find(None).await.unwrap().line.is(&first));
    first.drain(DrainCode::Operator, "");
    assert!(bench.site().find(None).await.unwrap().line.is(&second));
}

#[tokio::test(start_paused = true)]
async fn a_full_tunnel_leaves_the_call_to_the_next_slot() {
    let bench = Bench::new();
    let agent = AgentId::generate();
    let (first, ..) = bench.join(agent, Role::Active, 0);
    let (second, ..) = bench.join(agent, Role::Active, 1);
    first.0.2.store(true, Ordering::Relaxed);
    assert!(bench.site().find(None).await.unwrap().line.is(&second));
    second.0.2.store(true, Ordering::Relaxed);
    assert!(bench.site().find(None).await.unwrap().line.is(&first), "the first says that all are full");
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_only_stateless_upstreams() {
    let bench = Bench::new();
    let (line, place, status) = bench.join(AgentId::generate(), Role::Standby, 0);
    assert_eq!(bench.site().find(Some("jira")).await.unwrap_err(), Missing::StandbyOnly);
    status.take(br#"{"version":"9","upstreams":{"jira":{"stateless":true,"health":"odd"},"wiki":{}}}"#);
    assert!(bench.site().find(Some("jira")).await.unwrap().line.is(&line));
    assert_eq!(bench.site().find(Some("wiki")).await.unwrap_err(), Missing::StandbyOnly);
    status.take(b"rubbish");
    assert_eq!((status.version().as_str(), status.upstreams()["jira"].health), ("9", Health::Unknown));
    let (active, ..) = bench.join(AgentId::generate(), Role::Active, 0);
    assert!(bench.site().find(Some("jira")).await.unwrap().line.is(&active));
    bench.registry.leave(&place);
    assert_eq!(bench.registry.sessions().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_newer_connect_takes_the_slot_and_the_older_one_leaves_quietly() {
    let bench = Bench::new();
    let agent = AgentId::generate();
    let (old, old_place, _) = bench.join(agent, Role::Active, 0);
    let (new, new_place, _) = bench.join(agent, Role::Active, 0);
    assert_eq!(old.closed(), Some(CloseCode::Replaced));
    bench.registry.leave(&old_place);
    assert!(bench.site().find(None).await.unwrap().line.is(&new));
    bench.registry.leave(&new_place);
    assert!(bench.registry.sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drained_tunnel_is_not_cut_off_by_its_successor() {
    let bench = Bench::new();
    let agent = AgentId::generate();
    let (old, ..) = bench.join(agent, Role::Active, 0);
    old.drain(DrainCode::Operator, "");
    let (new, ..) = bench.join(agent, Role::Active, 0);
    assert_eq!(old.closed(), None, "it finishes what it has");
    assert!(bench.site().find(None).await.unwrap().line.is(&new));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_an_agent_that_was_just_here() {
    let bench = Bench::new();
    let agent = AgentId::generate();
    let (_, place, _) = bench.join(agent, Role::Active, 0);
    bench.registry.leave(&place);
    let site = bench.site();
    let call = async { site.find(None).await };
    let back = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bench.join(agent, Role::Active, 1).0
    };
    let (found, line) = tokio::join!(call, back);
    assert!(found.unwrap().line.is(&line));
    line.close(CloseCode::Broken, "");
    bench.registry.close_agent(agent, CloseCode::Broken, "");
    assert_eq!(site.find(None).await.unwrap_err(), Missing::Waited);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_site_long_gone_and_only_so_many_at_once() {
    let bench = Bench::with_waiters(1);
    let (_, place, _) = bench.join(AgentId::generate(), Role::Active, 0);
    bench.registry.leave(&place);
    let site = bench.site();
    let (first, second) = tokio::join!(site.find(None), site.find(None));
    assert_eq!((first.unwrap_err(), second.unwrap_err()), (Missing::Waited, Missing::Crowded));
    bench.clock.advance(Duration::from_secs(11));
    assert_eq!(site.find(None).await.unwrap_err(), Missing::Offline);
}

#[tokio::test(start_paused = true)]
async fn after_a_start_calls_wait_for_sites_that_have_agents() {
    let bench = Bench::new();
    let name: SiteName = "other".parse().unwrap();
    bench.registry.set_site(&name, true, true);
    let site = bench.registry.site("other").unwrap();
    assert!(site.is_paused());
    assert_eq!(site.find(None).await.unwrap_err(), Missing::Waited);
}

#[tokio::test(start_paused = true)]
async fn revoking_removing_and_roles_take_effect_at_once() {
    let bench = Bench::new();
    let (one, two) = (AgentId::generate(), AgentId::generate());
    let (first, ..) = bench.join(one, Role::Active, 0);
    let (second, ..) = bench.join(two, Role::Standby, 0);
    bench.registry.set_roles(&bench.name, |agent| if agent == two { Role::Active } else { Role::Standby });
    assert!(bench.site().find(None).await.unwrap().line.is(&second));
    assert_eq!(bench.registry.close_agent(one, CloseCode::Revoked, ""), 1);
    assert_eq!((first.closed(), second.closed()), (Some(CloseCode::Revoked), None));
    bench.registry.remove_site(&bench.name);
    assert_eq!(second.closed(), Some(CloseCode::Revoked));
    assert!(bench.registry.site("acme").is_none());
}
