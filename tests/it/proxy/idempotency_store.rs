//! Calls with an `Idempotency-Key` and the store: what a later process knows of them, and a store that takes nothing.

use outhaul::agent::idempotency::{Key, Ledger, Limits, Scope};
use outhaul::agent::remembered::Remembered;
use outhaul::agent::store::{Session, StoreFault};

use super::idempotency::{CREATED, Gated, document, gated, kept, open, request, send};
use super::*;
use crate::support::eventually;
use crate::support::store::remembered_in;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// One site, whose memory of keys is read from its store as often as wanted.
struct Restarted {
    world: World,
    ledger: Ledger,
    remembered: Remembered,
}

impl Restarted {
    fn first(upstream: &Gated) -> Self {
        Self::at(world(&[upstream.address], |_| {}), Limits::default(), Clock::manual())
    }

    fn at(mut world: World, limits: Limits, clock: Clock) -> Self {
        let ledger = Ledger::new(limits, clock.clone());
        let remembered = remembered_in(world.store.clone(), ledger.clone(), clock);
        world.front = world.front.clone().remembering(remembered.clone(), world.tasks.clone());
        Self { world, ledger, remembered }
    }

    /// As the next process finds it, by this clock.
    fn again(self, clock: Clock) -> Self {
        Self::at(self.world, Limits::default(), clock)
    }

    async fn rows(&self) -> i64 {
        let count = |session: &Session<'_>| {
            let count =
                session.connection().query_row("SELECT count(*) FROM idempotency", [], |row| row.get(0));
            count.map_err(StoreFault::from)
        };
        self.world.store.call(count).await.unwrap()
    }

    /// From now on the store has this many pages at most; 0 stands for as many as it has.
    async fn most_pages(&self, pages: i64) {
        let narrow = move |session: &Session<'_>| {
            session
                .connection()
                .query_row(&format!("PRAGMA max_page_count = {}", pages.max(1)), [], |_| Ok(()))
                .map_err(StoreFault::from)
        };
        self.world.store.call(narrow).await.unwrap();
    }

    /// Whether SQLite refuses each write to the table; what lies there it still gives.
    async fn takes_nothing(&self, on: bool) {
        let sql = if on {
            "CREATE TEMP TRIGGER no_new BEFORE INSERT ON idempotency BEGIN SELECT RAISE(ABORT, 'refused'); END;
             CREATE TEMP TRIGGER no_end BEFORE UPDATE ON idempotency BEGIN SELECT RAISE(ABORT, 'refused'); END"
        } else {
            "DROP TRIGGER no_new; DROP TRIGGER no_end"
        };
        let switch =
            move |session: &Session<'_>| session.connection().execute_batch(sql).map_err(StoreFault::from);
        self.world.store.call(switch).await.unwrap();
    }
}

#[tokio::test]
async fn the_next_process_gives_the_same_answer() {
    let upstream = open(CREATED).await;
    let site = Restarted::first(&upstream);
    let first = send(&site.world, "k", "{}").await;
    let before = kept(&site.ledger);
    assert_eq!(before.0, 1);
    let site = site.again(Clock::manual());
    assert_eq!(kept(&site.ledger), before);
    let again = send(&site.world, "k", "{}").await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["outhaul-replayed"], "true");
    assert_eq!(again.headers.get_all("x-two").iter().count(), 2);
    assert_eq!(send(&site.world, "k", "other").await.code(), "idempotency-mismatch");
    assert_eq!(upstream.seen.requests(), 1);
    // The key itself is nowhere in the store, its hash is.
    let keyed = |session: &Session<'_>| {
        let key = session.connection().query_row("SELECT key FROM idempotency", [], |row| row.get(0));
        key.map_err(StoreFault::from)
    };
    let key: [u8; 32] = site.world.store.call(keyed).await.unwrap();
    let scope = Scope::new("bot".parse().unwrap(), "jira".parse().unwrap(), &Key::parse(b"k").unwrap());
    assert_eq!(key, scope.key);
}

#[tokio::test]
async fn a_call_that_the_process_died_under_is_not_made_again() {
    let upstream = gated(CREATED).await;
    let site = Restarted::first(&upstream);
    let front = site.world.tasks.spawn_detached({
        let call = site.world.front.clone();
        let request = site.world.arrived("", request("POST", "/jira/anon/issue?a=1", "k", "{}"));
        async move { Service::call(&mut call.clone(), request).await }
    });
    let patience = Duration::from_secs(10);
    eventually("the upstream has it", patience, async || upstream.seen.requests() == 1).await;
    // What lies in the store now is what a kill leaves; another process reads it.
    let site = site.again(Clock::manual());
    for body in ["{}", "any other"] {
        let again = send(&site.world, "k", body).await;
        assert_eq!(again.problem(), problem("internal", "outcome-unknown", "never"));
        assert_eq!(document(&again)["replayed"], true);
    }
    assert_eq!(upstream.seen.requests(), 1);
    front.abort();
}

#[tokio::test]
async fn an_unknown_outcome_and_a_lost_answer_stay_what_they_are() {
    for (sent, code, outcome) in [
        ("nonsense\r\n\r\n", "upstream-answer", "outcome-unknown"),
        ("HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nhalf", "idempotency-answer-gone", "answered"),
    ] {
        let (address, seen) = upstream(move |mut peer, _| async move {
            peer.take(2).await;
            peer.send(sent).await;
        })
        .await;
        let site = Restarted::at(world(&[address], |_| {}), Limits::default(), Clock::manual());
        let first = site.world.call(request("POST", "/jira/anon/issue?a=1", "k", "{}")).await;
        let _ = first.into_body().collect().await;
        let before = send(&site.world, "k", "{}").await;
        let site = site.again(Clock::manual());
        let again = send(&site.world, "k", "{}").await;
        assert_eq!(again.problem(), problem(code, outcome, "never"), "{sent}");
        let strip = |answer: &Answer| {
            let mut document = document(answer);
            document.as_object_mut().unwrap().remove("request_id");
            (answer.status, document)
        };
        assert_eq!(strip(&again), strip(&before));
        assert_eq!(seen.requests(), 1);
    }
}

#[tokio::test]
async fn what_is_free_is_gone_from_the_store() {
    let upstream = open("HTTP/1.1 429 T\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno").await;
    let site = Restarted::first(&upstream);
    assert_eq!(send(&site.world, "k", "{}").await.status, 429);
    assert_eq!((site.rows().await, kept(&site.ledger)), (0, (0, 0)));
}

#[tokio::test]
async fn a_day_later_the_store_forgets_too_and_a_clock_set_back_forgets_nothing() {
    let upstream = open(CREATED).await;
    let clock = Clock::manual();
    let before = Clock::manual();
    let site = Restarted::at(world(&[upstream.address], |_| {}), Limits::default(), clock.clone());
    clock.advance(DAY);
    assert_eq!(send(&site.world, "k", "{}").await.status, 201);
    // The next process starts a day before that end: the key is there, for a whole day more.
    let site = site.again(before.clone());
    before.advance(DAY.saturating_sub(Duration::from_secs(1)));
    assert!(send(&site.world, "k", "{}").await.headers.contains_key("outhaul-replayed"));
    assert_eq!((site.remembered.sweep().await.unwrap(), site.rows().await), (0, 1));
    before.advance(Duration::from_secs(2));
    assert_eq!((site.remembered.sweep().await.unwrap(), site.rows().await), (1, 0));
    assert_eq!(kept(&site.ledger), (0, 0));
    // One that was used again before the sweep is another call's, and stays.
    assert_eq!(send(&site.world, "k", "{}").await.status, 201);
    before.advance(DAY);
    assert!(!send(&site.world, "k", "other").await.headers.contains_key("outhaul-replayed"));
    assert_eq!((site.remembered.sweep().await.unwrap(), site.rows().await), (1, 1));
    // The process of a day later finds nothing that holds.
    before.advance(DAY);
    let site = site.again(before);
    assert_eq!(kept(&site.ledger), (0, 0));
    assert_eq!((site.remembered.sweep().await.unwrap(), site.rows().await), (1, 0));
    assert_eq!(upstream.seen.requests(), 3);
}

#[tokio::test]
async fn more_than_a_page_is_read_and_swept() {
    let upstream = open(CREATED).await;
    let clock = Clock::manual();
    let site = Restarted::at(world(&[upstream.address], |_| {}), Limits::default(), clock.clone());
    let many = |session: &Session<'_>| {
        let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2345)
                      INSERT INTO idempotency (caller, upstream, key, first_request, head)
                      SELECT 'bot', 'jira', randomblob(32), randomblob(16), randomblob(32) FROM n";
        session.connection().execute(insert, []).map_err(StoreFault::from)
    };
    assert_eq!(site.world.store.call(many).await.unwrap(), 2345);
    // Narrower bounds forget nothing, and let nothing more in.
    let limits = Limits { max_keys: 1000, ..Limits::default() };
    let site = Restarted::at(site.world, limits, clock.clone());
    assert_eq!(kept(&site.ledger), (2345, 0));
    assert_eq!(send(&site.world, "k", "{}").await.code(), "idempotency-full");
    clock.advance(DAY);
    assert_eq!((site.remembered.sweep().await.unwrap(), site.rows().await), (2345, 0));
    assert_eq!(send(&site.world, "k", "{}").await.status, 201);
}

#[tokio::test]
async fn where_the_store_takes_nothing_no_call_with_a_key_leaves() {
    let upstream = open(CREATED).await;
    let site = Restarted::first(&upstream);
    assert_eq!(send(&site.world, "before", "{}").await.status, 201);
    site.takes_nothing(true).await;
    for _ in 0..2 {
        let refused = send(&site.world, "k", "{}").await;
        assert_eq!(
            (refused.status, refused.problem()),
            (503, problem("store-unavailable", "not-sent", "after"))
        );
        assert_eq!(document(&refused)["fault"], "agent");
        assert_eq!(refused.headers["retry-after"], "30");
    }
    // What it knows it still gives.
    assert!(send(&site.world, "before", "{}").await.headers.contains_key("outhaul-replayed"));
    assert_eq!(kept(&site.ledger).0, 1);
    assert_eq!(upstream.seen.requests(), 1);
    site.takes_nothing(false).await;
    assert_eq!(send(&site.world, "k", "{}").await.status, 201);
    assert_eq!(upstream.seen.requests(), 2);
    // A file that became read-only begins no transaction: then neither is given what it knows.
    let read_only = |session: &Session<'_>| {
        session.connection().pragma_update(None, "query_only", true).map_err(StoreFault::from)
    };
    site.world.store.call(read_only).await.unwrap();
    for key in ["k", "new"] {
        let refused = send(&site.world, key, "{}").await;
        assert_eq!(refused.problem(), problem("store-unavailable", "not-sent", "after"));
        assert_eq!(document(&refused)["first_request_id"].is_string(), key == "k");
    }
    assert_eq!(upstream.seen.requests(), 2);
}

#[tokio::test]
async fn a_store_that_fails_under_a_call_costs_its_answer_and_never_its_key() {
    let upstream = gated(CREATED).await;
    let site = Restarted::first(&upstream);
    let made = site.world.tasks.spawn_detached({
        let mut front = site.world.front.clone();
        let request = site.world.arrived("", request("POST", "/jira/anon/issue?a=1", "k", "{}"));
        async move { Service::call(&mut front, request).await }
    });
    let patience = Duration::from_secs(10);
    eventually("the upstream has it", patience, async || upstream.seen.requests() == 1).await;
    site.takes_nothing(true).await;
    upstream.gate.add_permits(1);
    // The caller gets its answer all the same.
    let answer = read(made.await.unwrap().unwrap()).await;
    assert_eq!((answer.status, &answer.body[..]), (201, &b"{\"id\":\"1\"}"[..]));
    let again = send(&site.world, "k", "{}").await;
    assert_eq!(again.problem(), problem("idempotency-answer-gone", "answered", "never"));
    assert_eq!(document(&again)["answered"], 201);
    site.takes_nothing(false).await;
    // The next process knows only that it was under way.
    let site = site.again(Clock::manual());
    assert_eq!(send(&site.world, "k", "{}").await.problem(), problem("internal", "outcome-unknown", "never"));
    assert_eq!(upstream.seen.requests(), 1);
}

#[tokio::test]
async fn a_full_disk_stops_calls_with_a_key_and_sends_none_twice() {
    let body: &'static str = Box::leak(
        format!("HTTP/1.1 201 Created\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000))
            .into_boxed_str(),
    );
    let upstream = open(body).await;
    let site = Restarted::first(&upstream);
    site.most_pages(0).await;
    let mut made = 0;
    let refused = loop {
        let key = format!("k{made}");
        let answer = send(&site.world, &key, "{}").await;
        if answer.status != 201 {
            break answer;
        }
        made += 1;
        assert!(made < 200, "it fills");
    };
    assert_eq!(refused.problem(), problem("store-unavailable", "not-sent", "after"));
    for key in 0..made {
        let again = send(&site.world, &format!("k{key}"), "{}").await;
        let replayed = again.headers.contains_key("outhaul-replayed");
        assert!(replayed || again.code() == "idempotency-answer-gone", "{again:?}");
    }
    assert_eq!(upstream.seen.requests(), made);
    site.most_pages(1 << 30).await;
    assert_eq!(send(&site.world, &format!("k{made}"), "{}").await.status, 201);
    assert_eq!(upstream.seen.requests(), made + 1);
}
