//! The room on a real store: durability, failure and recovery, retention, reading.

use std::time::Duration;

use super::tests::facts;
use super::*;
use crate::agent::store::tables::audit::{AuditFrom, HeadKind};
use crate::agent::store::{Store, StoreFault};
use crate::common::clock::Clock;
use crate::common::ids::AgentId;
use crate::common::limits::ByteSize;
use crate::common::tasks::Tasks;
use crate::identity::audit_head::ChainHead;
use crate::identity::keys::SigningKey;

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    clock: Clock,
    audit: Audit,
    tasks: Tasks,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::for_tests(folder.path());
        let (clock, tasks) = (Clock::manual(), Tasks::new());
        let audit = Audit::open(store.clone(), clock.clone(), settings).await.unwrap();
        Writer::start(&audit, signer(), &tasks);
        Self { folder, store, clock, audit, tasks }
    }

    /// All there is, oldest first.
    async fn lines(&self) -> Vec<String> {
        let (mut lines, mut query) = (Vec::new(), Query::default());
        loop {
            let page = page(&self.store, &query).await.unwrap();
            lines.extend(page.records);
            if page.next.is_none() {
                return lines;
            }
            query.next = page.next;
        }
    }

    async fn sql(&self, sql: &'static str) {
        let ran = self.store.call(move |session| Ok(session.connection().execute_batch(sql)?));
        ran.await.unwrap();
    }

    /// Until what failed works again.
    async fn recovered(&self) {
        until("what failed works again", async || self.audit.failure().is_none()).await;
    }
}

/// The writer works by itself: its state is asked for until it is there, for a minute at most.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within a minute");
}

fn signer() -> Signer {
    Signer { agent: AgentId::generate(), key: SigningKey::generate().unwrap().0 }
}

fn call(path: &str) -> Prepared {
    Facts { path: Some(path), caller: Some("bot"), ..Facts::default() }.prepare()
}

fn member(line: &str, key: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(line).unwrap()[key].clone()
}

#[tokio::test]
async fn an_intent_is_on_disk_when_it_is_acknowledged_and_many_share_a_commit() {
    let bench = Bench::new().await;
    bench.audit.started("0.1.0").await.unwrap();
    let intents = (0..300).map(|number| {
        let audit = bench.audit.clone();
        async move {
            let mut call = audit.begin(call(&format!("/{number}")));
            call.intent().await.unwrap();
            let number = audit.0.store.audit_end().await.unwrap().number;
            call.ended.result = Some(Answered::Status(201));
            number
        }
    });
    let ends = futures_util::future::join_all(intents).await;
    assert!(ends.iter().all(|end| *end >= 301), "all of them, when the first is acknowledged");
    bench.audit.flush().await.unwrap();
    let lines = bench.lines().await;
    assert_eq!(lines.len(), 601);
    assert!(lines[1].contains("call-intent") && lines[600].contains("\"result\":201"), "{}", lines[600]);
    let blocks = bench.store.audit_blocks(AuditFrom::default(), usize::MAX).await.unwrap();
    assert!(blocks.len() < 20, "{} blocks", blocks.len());
    let found = verify(&bench.store, vec![]).await.unwrap();
    assert_eq!((found.broken, found.records), (None, 601));
}

#[tokio::test]
async fn a_call_whose_caller_went_away_is_recorded_and_a_refusal_as_one() {
    let bench = Bench::new().await;
    drop(bench.audit.begin(facts().prepare()));
    let problem = AuditFault::Full.problem();
    bench.audit.begin(call("/x")).not_made(&problem);
    bench.audit.flush().await.unwrap();
    let lines = bench.lines().await;
    assert_eq!((member(&lines[0], "event"), member(&lines[0], "ms")), ("call".into(), 0.into()));
    assert_eq!(member(&lines[1], "event"), "refused");
    assert_eq!(
        (member(&lines[1], "result"), member(&lines[1], "outcome")),
        ("audit-unavailable".into(), "not-sent".into())
    );
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart_and_after_a_command_without_a_daemon() {
    let bench = Bench::new().await;
    bench.audit.started("0.1.0").await.unwrap();
    bench.audit.note(&Record::new(Event::Reload));
    bench.tasks.cancel();
    assert!(bench.tasks.drain(Duration::from_secs(5)).await, "what was noted is written at the end");
    assert!(matches!(bench.audit.intent(&Record::new(Event::Stop)).await, Err(AuditFault::Closed)));
    record_alone(&bench.store, &bench.clock, &Record::new(Event::StoreBackup).detail("x")).await.unwrap();
    let (tasks, audit) = (
        Tasks::new(),
        Audit::open(bench.store.clone(), bench.clock.clone(), Settings::default()).await.unwrap(),
    );
    Writer::start(&audit, signer(), &tasks);
    audit.started("0.1.1").await.unwrap();
    let events: Vec<_> = bench.lines().await.iter().map(|line| member(line, "event")).collect();
    assert_eq!(events, ["start", "reload", "store-backup", "start"]);
    assert_eq!(verify(&bench.store, vec![]).await.unwrap().broken, None);
}

#[tokio::test]
async fn while_nothing_can_be_written_writes_are_refused_and_what_is_lost_is_told() {
    let bench = Bench::new().await;
    bench.audit.started("0.1.0").await.unwrap();
    bench.sql("PRAGMA max_page_count = 1").await;
    let long = "x".repeat(3000);
    let fault = loop {
        // There may be room in the pages that are there.
        match bench.audit.intent(&Record::new(Event::Call).detail(&long)).await {
            Ok(()) => {}
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault, AuditFault::Store(StoreFault::Full)), "{fault}");
    let problem = fault.problem();
    assert_eq!((problem.code.as_str(), problem.code.status().as_u16()), ("audit-unavailable", 503));
    assert!(bench.audit.check(false).is_err() && bench.audit.check(true).is_ok(), "refuse-writes");
    bench.audit.configure(Settings { when_unavailable: WhenUnavailable::Refuse, ..Settings::default() });
    assert!(bench.audit.check(true).is_err(), "refuse");
    assert!(bench.audit.intent(&Record::new(Event::Call)).await.is_err(), "at once");
    let mut noted = 0u64;
    while bench.audit.state().lost < 5 {
        bench.audit.note(&Record::new(Event::Call).detail(&long));
        noted += 1;
    }
    let state = bench.audit.state();
    assert!(state.waiting_bytes <= 33 << 20, "{state:?}");
    bench.sql("PRAGMA max_page_count = 1000000").await;
    bench.recovered().await;
    bench.audit.flush().await.unwrap();
    assert!(bench.audit.check(false).is_ok());
    let lines = bench.lines().await;
    let gap = lines.iter().find(|line| line.contains("\"gap\"")).unwrap();
    assert_eq!(member(gap, "lost"), 5);
    // All that was kept is there: what was noted less what was lost, the intents that failed, start and gap.
    assert!(lines.len() as u64 >= noted - 5 + 3, "{} of {noted}", lines.len());
    let found = verify(&bench.store, vec![]).await.unwrap();
    assert_eq!((found.broken, found.records), (None, lines.len() as u64));
}

#[tokio::test]
async fn retention_leaves_a_signed_checkpoint() {
    let keep = Settings { keep: Duration::from_secs(3600), ..Settings::default() };
    let bench = Bench::with(keep).await;
    bench.audit.started("0.1.0").await.unwrap();
    for number in 0..5 {
        let detail = number.to_string();
        bench.audit.intent(&Record::new(Event::Reload).detail(&detail)).await.unwrap();
    }
    let before = verify(&bench.store, vec![]).await.unwrap();
    bench.clock.advance(Duration::from_secs(7200));
    // The writer looks when there is something to write, then notes what it removed.
    bench.audit.intent(&Record::new(Event::Pause)).await.unwrap();
    let checkpoint = async || bench.lines().await.into_iter().find(|line| line.contains("\"checkpoint\""));
    until("old records are removed", async || checkpoint().await.is_some()).await;
    let removed = checkpoint().await.unwrap();
    assert_eq!(
        (member(&removed, "removed_to"), member(&removed, "head")),
        (6.into(), before.head.to_string().into())
    );
    let lines = bench.lines().await;
    assert!(lines[0].contains("\"n\":7,") && lines.len() == 2, "{lines:?}");
    let kept = bench.store.audit_head(HeadKind::Checkpoint).await.unwrap().unwrap();
    assert!(kept.signed.number == 6 && kept.signed.is_by(kept.agent, &kept.key));
    let anchors = vec![Anchor { number: 6, head: before.head, from: "the journal".to_owned() }];
    let found = verify(&bench.store, anchors).await.unwrap();
    assert_eq!((found.broken, found.first, found.last), (None, 7, 8));
    assert!(found.anchors.iter().any(|anchor| anchor == "the journal at record 6"), "{:?}", found.anchors);
    let wrong = vec![Anchor { number: 6, head: ChainHead([1; 32]), from: "x".to_owned() }];
    assert_eq!(verify(&bench.store, wrong).await.unwrap().broken.unwrap().number, 6);
}

#[tokio::test]
async fn beyond_its_size_the_oldest_go_and_the_newest_block_stays() {
    let bench = Bench::with(Settings { max_size: ByteSize(1), ..Settings::default() }).await;
    let long = "x".repeat(3000);
    for _ in 0..20 {
        bench.audit.intent(&Record::new(Event::Reload).detail(&long)).await.unwrap();
    }
    // One page of the writer's tending is behind us at the start; the next comes with time.
    bench.clock.advance(Duration::from_secs(601));
    bench.audit.intent(&Record::new(Event::Pause)).await.unwrap();
    until("two records are left", async || bench.store.audit_size().await.unwrap().records <= 2).await;
    let found = verify(&bench.store, vec![]).await.unwrap();
    assert!(found.broken.is_none() && found.first > 1, "{found:?}");
}

#[tokio::test]
async fn somebody_with_the_stores_key_is_found_by_what_was_kept_elsewhere() {
    let bench = Bench::new().await;
    bench.audit.started("0.1.0").await.unwrap();
    for _ in 0..3 {
        bench.audit.intent(&Record::new(Event::Reload)).await.unwrap();
    }
    let whole = verify(&bench.store, vec![]).await.unwrap();
    let kept = vec![Anchor { number: 4, head: whole.head, from: "the journal".to_owned() }];
    bench.sql("DELETE FROM audit_blocks WHERE first = 4; DELETE FROM audit_heads").await;
    assert_eq!(
        verify(&bench.store, vec![]).await.unwrap().broken,
        None,
        "a cut tail leaves no trace in the chain"
    );
    let broken = verify(&bench.store, kept.clone()).await.unwrap().broken.unwrap();
    assert!(
        broken.number == 4 && broken.what.contains("cut off") && broken.what.contains("the journal"),
        "{broken:?}"
    );
    bench.sql("UPDATE audit_blocks SET bytes = CAST(replace(CAST(bytes AS TEXT), 'reload', 'pause_') AS BLOB) WHERE first = 2").await;
    let broken = verify(&bench.store, kept).await.unwrap().broken.unwrap();
    assert!(broken.number == 2 && broken.time.is_some(), "{broken:?}");
    drop(bench.folder);
}

#[tokio::test]
async fn pages_filter_and_an_export_is_a_piece_of_the_chain() {
    let bench = Bench::new().await;
    for number in 0..700u64 {
        let caller = if number % 100 == 0 { "rare" } else { "bot" };
        let facts = Facts {
            caller: Some(caller),
            identity: Some(As::User("JIRAUSER1")),
            jira_user: Some("mia"),
            act_as: Some(("entra", "x")),
            ..Facts::default()
        };
        bench.audit.note(&Record::new(Event::Call).about(facts));
        if number == 349 {
            bench.audit.flush().await.unwrap();
            bench.clock.advance(Duration::from_secs(10));
        }
    }
    bench.audit.flush().await.unwrap();
    let list = async |query: Query| {
        let (mut records, mut query) = (Vec::new(), query);
        loop {
            let page = page(&bench.store, &query).await.unwrap();
            records.extend(page.records);
            query.next = page.next;
            if page.next.is_none() {
                return records;
            }
        }
    };
    let of = |caller: &str| Query { caller: Some(caller.to_owned()), ..Query::default() };
    assert_eq!(list(of("rare")).await.len(), 7);
    assert_eq!(list(of("nobody")).await.len(), 0);
    let newest = list(Query { newest: Some(3), ..of("rare") }).await;
    let numbers: Vec<_> = newest.iter().map(|line| member(line, "n")).collect();
    assert_eq!(numbers, [601, 501, 401]);
    for user in ["mia", "JIRAUSER1"] {
        let query =
            Query { user: Some(user.to_owned()), act_as: Some("entra:x".to_owned()), ..Query::default() };
        assert_eq!(list(query).await.len(), 700);
    }
    assert_eq!(list(Query { event: Some("start".to_owned()), ..Query::default() }).await.len(), 0);
    let middle = parse_time(member(&newest[0], "time").as_str().unwrap());
    assert_eq!(list(Query { until: middle, ..Query::default() }).await.len(), 350);
    let since = Query { since: middle, ..Query::default() };
    let first = page(&bench.store, &since).await.unwrap();
    let exported = list(since).await;
    assert_eq!((exported.len(), member(&exported[0], "n")), (350, 351.into()));
    let head = exported.iter().fold(first.before.unwrap(), |head, line| head.then(line.as_bytes()));
    assert_eq!(head, verify(&bench.store, vec![]).await.unwrap().head);
}

/// Writes until it is killed, and says what was acknowledged. Runs only as a child of the test below, in its folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the half of another test that is killed"]
async fn writes_until_it_is_killed() {
    let folder = std::env::current_dir().unwrap();
    if !folder.join("state").exists() {
        return;
    }
    let store = Store::for_tests(&folder);
    let audit = Audit::open(store.clone(), Clock::system(), Settings::default()).await.unwrap();
    let tasks = Tasks::new();
    Writer::start(&audit, signer(), &tasks);
    let one = |worker: u64| {
        let audit = audit.clone();
        async move {
            for number in 0..u64::MAX {
                let path = format!("/{}/{worker}/{number}", std::process::id());
                audit.begin(call(&path)).intent().await.unwrap();
                println!("acknowledged {path}");
            }
        }
    };
    futures_util::future::join_all((0..4).map(one)).await;
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_and_the_chain_is_whole() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let folder = tempfile::tempdir().unwrap();
    drop(Store::for_tests(folder.path()));
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let name = "agent::audit::store_tests::writes_until_it_is_killed";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored", "--nocapture"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // The kill falls where it falls; what was said before it counts, also what is still in the pipe.
        for (index, line) in lines.enumerate() {
            if let Some(path) = line.split("acknowledged ").nth(1) {
                acknowledged.push(path.to_owned());
            }
            if index == 7 * round + 5 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = reopened(folder.path()).await;
        let found = verify(&store, vec![]).await.unwrap();
        assert_eq!(found.broken, None, "round {round}");
        let written: std::collections::HashSet<_> = intents(&store).await.into_iter().collect();
        for path in &acknowledged {
            assert!(written.contains(path), "round {round}: {path} is gone");
        }
    }
    assert!(acknowledged.len() > ROUNDS * 5);
}

const ROUNDS: usize = 5;

async fn reopened(folder: &std::path::Path) -> Store {
    // The killed process may hold the folder for a moment.
    for _ in 0..500 {
        let source = crate::agent::store::KeySource::At(crate::config::values::SecretRef::File(
            folder.join("store.key"),
        ));
        if let Ok(store) = Store::open(&folder.join("state"), &source) {
            return store;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the store does not open");
}

async fn intents(store: &Store) -> Vec<String> {
    let (mut paths, mut query) =
        (Vec::new(), Query { event: Some("call-intent".to_owned()), ..Query::default() });
    loop {
        let page = page(store, &query).await.unwrap();
        paths.extend(page.records.iter().map(|line| member(line, "path").as_str().unwrap().to_owned()));
        query.next = page.next;
        if page.next.is_none() {
            return paths;
        }
    }
}

/// `cargo test --release --lib -- --ignored --nocapture what_a_record_costs`: for people; judges nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement"]
async fn what_a_record_costs() {
    let bench = Bench::new().await;
    let (system, records) = (Clock::system(), 200_000u32);
    let ended = Ended {
        result: Some(Answered::Status(200)),
        bytes_in: Some(0),
        bytes_out: Some(1024),
        ..Ended::default()
    };
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
    };
    for round in 0..3 {
        let mut gathered = gather::Gathered::after(0, 0);
        let used = cpu();
        for number in 0..records {
            let prepared = facts().prepare();
            gathered.add_prepared(i64::from(number / 45), Event::Call, &prepared, &ended);
            if gathered.len() > 1 << 20 {
                gathered.take();
            }
        }
        let encoding = (cpu() - used) * 1000 / u64::from(records);
        let mut gathered = gather::Gathered::after(0, 0);
        (0..10_000).for_each(|_| gathered.add_prepared(0, Event::Call, &facts().prepare(), &ended));
        let (batch, used) = (gathered.take(), cpu());
        let bytes = batch.len() / 10_000;
        (0..records / 10_000).for_each(|_| drop(batch.blocks(ChainHead::default())));
        let chaining = (cpu() - used) * 1000 / u64::from(records);
        let used = cpu();
        for _ in 0..records / 10_000 {
            for _ in 0..10_000 {
                let mut call = bench.audit.begin(facts().prepare());
                call.ended = ended;
            }
            bench.audit.flush().await.unwrap();
        }
        let whole = (cpu() - used) * 1000 / u64::from(records);
        let began = system.now();
        for _ in 0..200 {
            bench.audit.begin(facts().prepare()).intent().await.unwrap();
        }
        let intent = system.now().duration_since(began).as_micros() / 200;
        println!(
            "round {round}: {bytes} bytes a record; processor time: encoding {encoding} ns, blocks and chain {chaining} \
             ns, all with the store {whole} ns a record; an intent alone waits {intent} µs"
        );
    }
}

#[tokio::test]
async fn a_caller_that_is_refused_all_the_time_takes_little_room() {
    let bench = Bench::new().await;
    let refuse = || {
        let problem = crate::common::problem::Problem::new(crate::common::problem::Code::PolicyRefused, "no");
        bench.audit.begin(call("/x")).not_made(&problem);
    };
    (0..100_000).for_each(|_| refuse());
    bench.audit.flush().await.unwrap();
    assert_eq!(bench.lines().await.len(), 60);
    assert!(bench.audit.failure().is_none(), "the flood stops nobody's calls");
    bench.clock.advance(Duration::from_secs(61));
    refuse();
    bench.audit.flush().await.unwrap();
    let lines = bench.lines().await;
    assert_eq!(lines.len(), 62);
    let more = &lines[60];
    assert_eq!((member(more, "event"), member(more, "caller")), ("refused".into(), "bot".into()), "{more}");
    assert_eq!(member(more, "more"), 99_940, "{more}");
    assert_eq!(member(&lines[61], "path"), "/x");
    (0..100).for_each(|_| refuse());
    bench.tasks.cancel();
    assert!(bench.tasks.drain(Duration::from_secs(10)).await);
    assert_eq!(member(bench.lines().await.last().unwrap(), "more"), 41, "a stop tells what is left");
}
