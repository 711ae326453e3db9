//! The book by tables and against a plain model; the ticket by what is told and what is not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::common::clock::Clock;
use crate::common::ids::RequestId;
use crate::common::limits::ByteSize;
use crate::common::problem::{Code, Problem};

const DAY: Duration = Duration::from_secs(24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

fn limits(max_keys: usize, max_keys_per_caller: usize, max_answers: u64) -> Limits {
    Limits {
        keep: DAY,
        max_keys,
        max_keys_per_caller,
        max_answer: ByteSize(100),
        max_answers: ByteSize(max_answers),
    }
}

fn scope(caller: &str, key: &str) -> Scope {
    scope_at(caller, "jira", key)
}

fn scope_at(caller: &str, upstream: &str, key: &str) -> Scope {
    Scope::new(caller.parse().unwrap(), upstream.parse().unwrap(), &Key::parse(key.as_bytes()).unwrap())
}

fn head(path: &str) -> HeadPrint {
    HeadPrint::of(&Method::POST, path, None, &HeaderMap::new())
}

/// What the store knows.
fn stored() -> Finished {
    Finished { body: BodyPrint::nothing(), unstored: None }
}

fn first(begun: Begun) -> u64 {
    match begun {
        Begun::First(number) => number,
        other => panic!("{other:?}"),
    }
}

fn now() -> Instant {
    Clock::manual().now()
}

#[test]
fn a_key_lives_from_its_first_call_to_a_day_after_its_end() {
    let (mut book, start, id) = (Book::new(limits(9, 9, 900)), now(), RequestId::generate());
    let (one, print) = (scope("bot", "k"), head("/a"));
    let number = first(book.begin(one.clone(), print, id, start));
    let other = RequestId::generate();
    assert_eq!(book.begin(one.clone(), print, other, start), Begun::UnderWay(id));
    assert_eq!(book.begin(one.clone(), head("/b"), other, start), Begun::Mismatch(id));
    // However long it takes: it is not forgotten while it is under way.
    let end = start + 9 * DAY;
    assert_eq!(book.begin(one.clone(), print, other, end), Begun::UnderWay(id));
    book.settle(&one, number, stored(), true, end);
    let almost = end + 86_399 * SECOND;
    assert_eq!(book.begin(one.clone(), print, other, almost), Begun::Finished(id, stored().into()));
    assert_eq!(book.begin(one.clone(), head("/b"), other, almost), Begun::Mismatch(id));
    // A repeat does not make it live longer.
    let over = end + DAY;
    let again = first(book.begin(one.clone(), print, other, over));
    assert!(again > number);
    assert_eq!(book.keys(), 1);
    // What the first call's task still says then is about another call.
    book.settle(&one, number, stored(), false, over);
    book.free(&one, number);
    assert_eq!(book.begin(one, print, id, over), Begun::UnderWay(other));
}

#[test]
fn keys_are_the_callers_own_and_the_upstreams() {
    let (mut book, start, id) = (Book::new(limits(9, 9, 900)), now(), RequestId::generate());
    let wiki = scope_at("bot", "wiki", "k");
    for scope in [scope("bot", "k"), scope("other", "k"), scope("bot", "K"), wiki] {
        first(book.begin(scope, head("/a"), id, start));
    }
    assert_eq!(book.keys(), 4);
}

#[test]
fn a_call_that_was_not_sent_frees_its_key_for_any_other() {
    let (mut book, start, id) = (Book::new(limits(9, 1, 900)), now(), RequestId::generate());
    let one = scope("bot", "k");
    let number = first(book.begin(one.clone(), head("/a"), id, start));
    assert!(book.reserve(&one, number, 50));
    book.free(&one, number);
    assert_eq!((book.keys(), book.bytes()), (0, 0));
    first(book.begin(one, head("/b"), id, start));
}

#[test]
fn what_is_full_refuses_and_forgets_nothing() {
    let (start, id) = (now(), RequestId::generate());
    // Two of one caller.
    let mut book = Book::new(limits(9, 2, 900));
    let one = first(book.begin(scope("bot", "1"), head("/a"), id, start));
    first(book.begin(scope("bot", "2"), head("/a"), id, start));
    let third = |book: &mut Book, caller, now| book.begin(scope(caller, "3"), head("/a"), id, now);
    assert_eq!(third(&mut book, "bot", start), Begun::Full(Full::Caller(None)));
    book.settle(&scope("bot", "1"), one, stored(), false, start);
    let later = start + 5 * SECOND;
    assert_eq!(third(&mut book, "bot", later), Begun::Full(Full::Caller(Some(86_395 * SECOND))));
    first(third(&mut book, "other", later));
    assert_eq!(book.begin(scope("bot", "2"), head("/a"), id, later), Begun::UnderWay(id), "known ones go on");
    first(third(&mut book, "bot", start + DAY));

    // Two of all.
    let mut book = Book::new(limits(2, 2, 900));
    let one = first(book.begin(scope("a", "1"), head("/a"), id, start));
    first(book.begin(scope("b", "1"), head("/a"), id, start));
    assert_eq!(third(&mut book, "c", start), Begun::Full(Full::Keys(None)));
    book.settle(&scope("a", "1"), one, stored(), true, start);
    assert_eq!(third(&mut book, "c", start), Begun::Full(Full::Keys(Some(DAY))));
    assert!(matches!(book.begin(scope("a", "1"), head("/a"), id, start), Begun::Finished(..)));

    // Answers of 250 bytes: no call begins whose answer of 100 might find no room.
    let mut book = Book::new(limits(9, 9, 250));
    let one = first(book.begin(scope("a", "1"), head("/a"), id, start));
    assert!(book.reserve(&scope("a", "1"), one, 150));
    let two = first(book.begin(scope("a", "2"), head("/a"), id, start));
    assert!(book.reserve(&scope("a", "2"), two, 1));
    assert_eq!(third(&mut book, "a", start), Begun::Full(Full::Answers(None)));
    assert!(!book.reserve(&scope("a", "2"), two, 100));
    book.settle(&scope("a", "1"), one, stored(), true, start);
    assert_eq!(third(&mut book, "a", start), Begun::Full(Full::Answers(Some(DAY))));
    // What came to nothing gives its room back.
    book.settle(&scope("a", "2"), two, stored(), false, start);
    assert_eq!(book.bytes(), 150);
    first(third(&mut book, "a", start));
    // And a day later all of it is free.
    first(book.begin(scope("a", "4"), head("/a"), id, start + DAY));
    assert_eq!((book.keys(), book.bytes()), (2, 0));
}

#[test]
fn narrower_bounds_forget_nothing() {
    let (mut book, start, id) = (Book::new(limits(9, 9, 900)), now(), RequestId::generate());
    let number = first(book.begin(scope("a", "1"), head("/a"), id, start));
    book.settle(&scope("a", "1"), number, stored(), true, start);
    book.set_limits(limits(0, 0, 0));
    assert!(matches!(book.begin(scope("a", "1"), head("/a"), id, start), Begun::Finished(..)));
    assert!(matches!(book.begin(scope("a", "2"), head("/a"), id, start), Begun::Full(_)));
    book.set_limits(Limits { keep: SECOND, ..limits(9, 9, 900) });
    first(book.begin(scope("a", "1"), head("/a"), id, start + SECOND));
}

#[derive(Debug, Clone)]
enum Step {
    Begin { caller: bool, key: u8, path: bool },
    Reserve { pick: u8, bytes: u64 },
    Settle { pick: u8, kept: bool },
    Free { pick: u8 },
    Wait { hours: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (any::<bool>(), 0_u8..4, any::<bool>()).prop_map(|(caller, key, path)| Step::Begin { caller, key, path }),
        2 => (any::<u8>(), 0_u64..60).prop_map(|(pick, bytes)| Step::Reserve { pick, bytes }),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(pick, kept)| Step::Settle { pick, kept }),
        1 => any::<u8>().prop_map(|pick| Step::Free { pick }),
        1 => (0_u8..30).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// What the model knows of a key.
#[derive(Debug, Clone, Copy)]
struct Known {
    path: bool,
    number: u64,
    ended: Option<Instant>,
    bytes: u64,
}

proptest! {
    /// No key is given to a second call before its time, no bound is passed, and nothing is kept that is forgotten.
    #[test]
    fn the_book_agrees_with_a_plain_model(steps in proptest::collection::vec(step(), 0..80)) {
        let limits = limits(5, 3, 250);
        let mut book = Book::new(limits);
        let mut model: HashMap<(bool, u8), Known> = HashMap::new();
        let (mut time, id) = (now(), RequestId::generate());
        let name = |caller: bool| if caller { "a" } else { "b" };
        let path = |path: bool| head(if path { "/a" } else { "/b" });
        let of = |(caller, key): (bool, u8)| scope(name(caller), &key.to_string());
        for step in steps {
            let open = |model: &HashMap<(bool, u8), Known>, pick: u8| {
                let mut open: Vec<_> = model.iter().filter(|(_, known)| known.ended.is_none()).map(|(at, _)| *at).collect();
                open.sort_unstable();
                let length = open.len().max(1);
                open.get(usize::from(pick) % length).copied()
            };
            match step {
                Step::Begin { caller, key, path: wanted } => {
                    model.retain(|_, known| known.ended.is_none_or(|ended| time < ended + DAY));
                    let begun = book.begin(of((caller, key)), path(wanted), id, time);
                    let own = model.keys().filter(|(one, _)| *one == caller).count();
                    let bytes: u64 = model.values().map(|known| known.bytes).sum();
                    match (model.get(&(caller, key)), begun) {
                        (Some(known), Begun::Mismatch(_)) => prop_assert!(known.path != wanted),
                        (Some(known), Begun::UnderWay(_)) => prop_assert!(known.path == wanted && known.ended.is_none()),
                        (Some(known), Begun::Finished(..)) => prop_assert!(known.path == wanted && known.ended.is_some()),
                        (None, Begun::First(number)) => {
                            prop_assert!(own < 3 && model.len() < 5 && bytes <= 150);
                            model.insert((caller, key), Known { path: wanted, number, ended: None, bytes: 0 });
                        }
                        (None, Begun::Full(_)) => prop_assert!(own == 3 || model.len() == 5 || bytes > 150),
                        (known, begun) => prop_assert!(false, "{:?} {:?}", known, begun),
                    }
                    prop_assert_eq!(book.keys(), model.len());
                }
                Step::Reserve { pick, bytes } => if let Some(at) = open(&model, pick) {
                    let all: u64 = model.values().map(|known| known.bytes).sum();
                    let known = model.get_mut(&at).unwrap();
                    let room = book.reserve(&of(at), known.number, bytes);
                    // What is forgotten only at the next call still takes room.
                    prop_assert!(!room || all + bytes <= 250);
                    if room { known.bytes += bytes; }
                },
                Step::Settle { pick, kept } => if let Some(at) = open(&model, pick) {
                    let known = model.get_mut(&at).unwrap();
                    book.settle(&of(at), known.number, stored(), kept, time);
                    known.ended = Some(time);
                    if !kept { known.bytes = 0; }
                },
                Step::Free { pick } => if let Some(at) = open(&model, pick) {
                    book.free(&of(at), model.remove(&at).unwrap().number);
                },
                Step::Wait { hours } => time += u32::from(hours) * 3600 * SECOND,
            }
            prop_assert!(book.keys() <= 5 && book.bytes() <= 250);
        }
        for (at, known) in &model {
            book.settle(&of(*at), known.number, stored(), false, time);
        }
        book.begin(scope("c", "last"), path(true), id, time + DAY);
        prop_assert_eq!((book.keys(), book.bytes()), (1, 0));
    }
}

fn ticket(ledger: &Ledger, key: &str) -> Box<Ticket> {
    match ledger.begin(scope("bot", key), head("/a"), RequestId::generate()) {
        Entry::First(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// The end as it was told, after the store took it.
fn stored_end(mut told: Box<Ticket>) -> Outcome {
    let (_, outcome) = told.end().expect("its end was told");
    let outcome = outcome.clone();
    told.settle(true);
    outcome
}

/// What is known without the store.
fn unstored(ledger: &Ledger, key: &str) -> Option<Outcome> {
    match ledger.begin(scope("bot", key), head("/a"), RequestId::generate()) {
        Entry::Finished(_, finished) => finished.unstored.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ticket_keeps_what_it_is_told() {
    let ledger = Ledger::new(limits(9, 9, 900), Clock::manual());
    let headers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))]);
    let mut told = ticket(&ledger, "1");
    told.head(StatusCode::CREATED, &headers, None);
    told.body(b"ab");
    told.body(b"c");
    told.answered();
    // Until the store has it, it is under way.
    let again = ledger.begin(scope("bot", "1"), head("/a"), RequestId::generate());
    assert!(matches!(again, Entry::UnderWay(_)), "{again:?}");
    let Outcome::Answered(answer) = stored_end(told) else { panic!() };
    assert_eq!(
        (answer.status, answer.headers(), &answer.body[..]),
        (StatusCode::CREATED, headers.clone(), &b"abc"[..])
    );
    assert_eq!(unstored(&ledger, "1"), None);
    assert_eq!((ledger.usage().keys, ledger.usage().bytes), (1, answer.size()));

    for (key, length, body, why) in [("2", None, 100, Loss::TooLarge), ("3", Some(100), 0, Loss::TooLarge)] {
        let mut told = ticket(&ledger, key);
        told.head(StatusCode::OK, &headers, length);
        told.body(&vec![0; body]);
        told.answered();
        assert_eq!(stored_end(told), Outcome::Gone { status: StatusCode::OK, why });
        assert_eq!(unstored(&ledger, key), None);
    }
    assert_eq!(ledger.usage().bytes, answer.size());
}

#[test]
fn what_the_store_does_not_take_is_no_answer() {
    let ledger = Ledger::new(limits(9, 9, 900), Clock::manual());
    let gone = |why| Some(Outcome::Gone { status: StatusCode::OK, why });
    let mut told = ticket(&ledger, "1");
    told.head(StatusCode::OK, &HeaderMap::new(), None);
    told.body(b"abc");
    told.answered();
    told.settle(false);
    assert_eq!(unstored(&ledger, "1"), gone(Loss::NotStored));
    let mut broken = ticket(&ledger, "2");
    broken.head(StatusCode::OK, &HeaderMap::new(), None);
    broken.body(b"abc");
    drop(broken);
    assert_eq!(unstored(&ledger, "2"), gone(Loss::BrokeOff));
    assert_eq!((ledger.usage().keys, ledger.usage().bytes), (2, 0));
}

#[test]
fn what_an_earlier_process_knew_counts_and_is_forgotten_in_its_time() {
    let clock = Clock::manual();
    let ledger = Ledger::new(limits(3, 9, 900), clock.clone());
    let id = RequestId::generate();
    // The second one's end lies further back than any clock reaches, the third's in the future.
    for (key, age) in [("0", Duration::MAX), ("1", 86_399 * SECOND), ("2", Duration::ZERO)] {
        let earlier = Earlier {
            scope: scope("bot", key),
            first: id,
            head: head("/a"),
            body: BodyPrint::nothing(),
            bytes: 50,
        };
        ledger.restore(earlier, age);
    }
    assert_eq!(
        (ledger.usage().keys, ledger.usage().bytes),
        (3, 150),
        "remembered for too long, never too short"
    );
    assert!(matches!(ledger.begin(scope("bot", "3"), head("/a"), id), Entry::Full(Full::Keys(_))));
    assert_eq!(unstored(&ledger, "1"), None);
    let other = ledger.begin(scope("bot", "1"), head("/b"), id);
    assert!(matches!(other, Entry::Mismatch(first) if first == id));
    clock.advance(DAY);
    assert_eq!(ledger.usage().keys, 0);
    let keys = |forgotten: &[(std::sync::Arc<Scope>, RequestId)]| {
        let mut keys: Vec<Scope> = forgotten.iter().map(|(scope, _)| (**scope).clone()).collect();
        keys.sort_by_key(|scope| scope.key);
        keys
    };
    let two = ledger.take_forgotten(2);
    assert_eq!(two.len(), 2);
    ledger.put_back(two);
    let mut wanted = ["0", "1", "2"].map(|key| scope("bot", key)).to_vec();
    wanted.sort_by_key(|scope| scope.key);
    assert_eq!(keys(&ledger.take_forgotten(9)), wanted);
    assert_eq!(ledger.take_forgotten(9), []);
}

#[test]
fn a_ticket_that_is_lost_leaves_an_unknown_outcome() {
    let ledger = Ledger::new(limits(9, 9, 900), Clock::manual());
    drop(ticket(&ledger, "1"));
    assert!(
        matches!(unstored(&ledger, "1"), Some(Outcome::Unknown(problem)) if problem.code == Code::Internal)
    );
    let mut freed = ticket(&ledger, "2");
    freed.free();
    drop(freed);
    drop(ticket(&ledger, "2"));
    let mut told = ticket(&ledger, "3");
    told.unknown(Problem::new(Code::UpstreamBroke, "x"));
    told.free();
    drop(told);
    assert!(
        matches!(unstored(&ledger, "3"), Some(Outcome::Unknown(problem)) if problem.code == Code::UpstreamBroke)
    );
}

#[test]
fn an_answer_that_finds_no_room_is_lost_and_its_key_is_not() {
    let ledger = Ledger::new(limits(9, 9, 130), Clock::manual());
    let (mut one, mut two) = (ticket(&ledger, "1"), ticket(&ledger, "2"));
    one.head(StatusCode::OK, &HeaderMap::new(), None);
    two.head(StatusCode::OK, &HeaderMap::new(), None);
    one.body(&[0; 90]);
    two.body(&[0; 90]);
    one.answered();
    assert!(two.is_over());
    two.answered();
    assert!(matches!(stored_end(one), Outcome::Answered(_)));
    assert_eq!(stored_end(two), Outcome::Gone { status: StatusCode::OK, why: Loss::NoRoom });
    assert!(matches!(
        ledger.begin(scope("bot", "3"), head("/a"), RequestId::generate()),
        Entry::Full(Full::Answers(Some(_)))
    ));
}
