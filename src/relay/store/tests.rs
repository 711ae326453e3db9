use super::*;
use crate::common::ids::{AgentId, SiteName};
use crate::identity::audit_head::{ChainHead, SignedHead, Succession};
use crate::identity::encoded::Encoded;
use crate::identity::handshake::join::{CloneFault, Join};
use crate::identity::keys::SigningKey;

fn site(name: &str) -> SiteName {
    name.parse().unwrap()
}

fn mark(counter: u64, byte: u8) -> Join {
    Join { counter, value: Encoded([byte; 32]) }
}

fn new_agent(byte: u8) -> NewAgent {
    NewAgent { id: AgentId::generate(), public_key: [byte; 32], software: "test/1".to_owned() }
}

struct Bench {
    store: Store,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("relay.db")).unwrap();
        assert!(store.add_site(site("acme"), 100).await.unwrap());
        Self { store, folder }
    }

    async fn register(&self, byte: u8, role: Role) -> [u8; 32] {
        let registration =
            Registration { site: site("acme"), secret_hash: [byte; 32], role, created: 100, expires: 3700 };
        assert!(self.store.add_registration(registration).await.unwrap());
        [byte; 32]
    }

    async fn enrol(&self, secret: [u8; 32], agent: NewAgent, now: u64) -> Enrolled {
        self.store.enrol(site("acme"), secret, agent, mark(1, 1), now).await.unwrap()
    }
}

#[tokio::test]
async fn sites_are_added_paused_and_removed() {
    let bench = Bench::new().await;
    let store = &bench.store;
    assert!(!store.add_site(site("acme"), 200).await.unwrap(), "twice");
    assert!(store.pause_site(site("acme"), true).await.unwrap());
    assert!(!store.pause_site(site("other"), true).await.unwrap());
    assert_eq!(store.sites().await.unwrap(), [Site { name: site("acme"), created: 100, paused: true }]);
    let secret = bench.register(1, Role::Active).await;
    bench.enrol(secret, new_agent(1), 200).await.unwrap();
    assert!(store.remove_site(site("acme")).await.unwrap());
    assert!(store.agents().await.unwrap().is_empty(), "agents go with their site");
    assert!(!store.remove_site(site("acme")).await.unwrap());
}

#[tokio::test]
async fn a_token_is_used_once() {
    let bench = Bench::new().await;
    let secret = bench.register(1, Role::Active).await;
    assert_eq!(bench.enrol([9; 32], new_agent(1), 200).await, Err(TokenFault::Unknown));
    bench.store.add_site(site("other"), 100).await.unwrap();
    let wrong = bench.store.enrol(site("other"), secret, new_agent(1), mark(1, 1), 200).await.unwrap();
    assert_eq!(wrong, Err(TokenFault::WrongSite));
    assert_eq!(bench.enrol(secret, new_agent(1), 3700).await, Err(TokenFault::Expired));
    let agent = bench.enrol(secret, new_agent(1), 3699).await.unwrap();
    assert_eq!(bench.enrol(secret, new_agent(2), 3699).await, Err(TokenFault::Used));
    // The same key may ask again until it has confirmed: its answer may have been lost.
    assert_eq!(bench.enrol(secret, new_agent(1), 3699).await.unwrap().id, agent.id);
    assert!(bench.store.confirm_enrolment(agent.id, mark(1, 1)).await.unwrap());
    assert_eq!(bench.enrol(secret, new_agent(1), 3699).await, Err(TokenFault::Used));
}

#[tokio::test]
async fn a_token_lets_in_one_of_many_at_once() {
    let bench = Bench::new().await;
    let secret = bench.register(1, Role::Active).await;
    let attempts = (0..50).map(|byte| bench.enrol(secret, new_agent(byte), 200));
    let results = futures_util::future::join_all(attempts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
}

#[tokio::test]
async fn one_agent_is_active() {
    let bench = Bench::new().await;
    let first = bench.register(1, Role::Active).await;
    let second = bench.register(2, Role::Active).await;
    let third = bench.register(3, Role::Standby).await;
    let first = bench.enrol(first, new_agent(1), 200).await.unwrap();
    let second = bench.enrol(second, new_agent(2), 201).await.unwrap();
    let third = bench.enrol(third, new_agent(3), 202).await.unwrap();
    let roles = async || {
        let mut agents = bench.store.agents().await.unwrap();
        agents.sort_by_key(|agent| agent.created);
        agents.iter().map(|agent| agent.role).collect::<Vec<_>>()
    };
    assert_eq!(roles().await, [Role::Standby, Role::Active, Role::Standby]);
    bench.store.activate_agent(third.id).await.unwrap().unwrap();
    assert_eq!(roles().await, [Role::Standby, Role::Standby, Role::Active]);
    let revoked = bench.store.revoke_agent(first.id, 300).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(300));
    assert_eq!(bench.store.activate_agent(first.id).await.unwrap().unwrap().role, Role::Standby);
    assert_eq!(bench.store.revoke_agent(second.id, 300).await.unwrap().unwrap().revoked_at, Some(300));
    assert!(bench.store.revoke_agent(AgentId::generate(), 300).await.unwrap().is_none());
}

#[tokio::test]
async fn a_connect_shows_the_last_or_the_pending_state_and_no_older_one() {
    let bench = Bench::new().await;
    let secret = bench.register(1, Role::Active).await;
    let agent = bench.enrol(secret, new_agent(1), 200).await.unwrap().id;
    let store = &bench.store;
    let admit =
        async |slot, shown, fresh| store.admit(agent, slot, Some(shown), Encoded([fresh; 32])).await.unwrap();
    // CONFIRM of the enrolment got lost: the agent has the state nevertheless, in every slot.
    assert_eq!(admit(0, mark(1, 1), 2).await, Ok(mark(2, 2)));
    assert_eq!(admit(1, mark(1, 1), 3).await, Ok(mark(2, 3)));
    assert!(!store.confirm(agent, 0, mark(2, 3)).await.unwrap(), "another slot's");
    assert!(store.confirm(agent, 0, mark(2, 2)).await.unwrap());
    let stale = CloneFault::Stale { shown: 1, current: 2 };
    assert_eq!(admit(0, mark(1, 1), 4).await, Err(stale));
    // Of two connects at once the later one counts.
    assert_eq!(admit(0, mark(2, 2), 5).await, Ok(mark(3, 5)));
    assert_eq!(admit(0, mark(2, 2), 6).await, Ok(mark(4, 6)));
    assert!(!store.confirm(agent, 0, mark(3, 5)).await.unwrap());
    assert!(store.confirm(agent, 0, mark(4, 6)).await.unwrap());
    assert_eq!(store.admit(agent, 0, None, Encoded([7; 32])).await.unwrap(), Err(CloneFault::Unknown));
}

#[tokio::test]
async fn alarms_are_counted_and_cleared() {
    let bench = Bench::new().await;
    let secret = bench.register(1, Role::Active).await;
    let agent = bench.enrol(secret, new_agent(1), 200).await.unwrap().id;
    for now in [300, 400] {
        bench
            .store
            .raise_alarm(agent, AlarmKind::CloneSuspected, "from 192.0.2.1".to_owned(), now)
            .await
            .unwrap();
    }
    let alarms = bench.store.alarms().await.unwrap();
    assert_eq!((alarms.len(), alarms[0].count, alarms[0].first_at, alarms[0].last_at), (1, 2, 300, 400));
    bench.store.clear_alarms(agent).await.unwrap();
    assert!(bench.store.alarms().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_highest_audit_head_of_an_agent_is_kept() {
    let bench = Bench::new().await;
    let secret = bench.register(1, Role::Active).await;
    let agent = bench.enrol(secret, new_agent(1), 200).await.unwrap().id;
    let (key, _) = SigningKey::generate().unwrap();
    let head = |number, byte| SignedHead::sign(agent, &key, number, ChainHead([byte; 32]), 5);
    let keep = async |head, now| bench.store.keep_anchor(agent, head, now).await.unwrap();
    assert_eq!(keep(head(7, 7), 300).await, (Succession::Newer, None));
    let kept = Anchor { head: head(7, 7), seen: 300 };
    assert_eq!(keep(head(7, 7), 400).await, (Succession::Same, Some(kept)));
    assert_eq!(keep(head(7, 8), 400).await, (Succession::Rewritten, Some(kept)));
    assert_eq!(keep(head(6, 6), 400).await, (Succession::WentBack, Some(kept)));
    assert_eq!(bench.store.anchors().await.unwrap()[&agent], kept, "the highest is what it is held to");
    assert_eq!(keep(head(8, 8), 500).await, (Succession::Newer, Some(kept)));
    assert_eq!(bench.store.anchors().await.unwrap()[&agent], Anchor { head: head(8, 8), seen: 500 });
    bench.store.remove_site(site("acme")).await.unwrap();
    assert!(bench.store.anchors().await.unwrap().is_empty(), "it goes with its agent");
}

#[tokio::test]
async fn what_is_answered_survives_a_new_start() {
    let bench = Bench::new().await;
    let path = bench.folder.path().join("relay.db");
    drop(bench.store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.sites().await.unwrap().len(), 1);
    store.check().await.unwrap();
}
