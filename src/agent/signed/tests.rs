use super::memory::{Memory, Refused};
use super::*;

fn name(text: &str) -> CallerName {
    text.parse().unwrap()
}

const NOW: u64 = 1_764_000_000;

fn take(memory: &mut Memory, nonce: u8, times: (u64, u64), now: u64) -> Result<(), Refused> {
    memory.take(&name("ci"), [nonce; 16], times, now, &Settings::default())
}

#[test]
fn a_nonce_passes_once_for_each_caller() {
    let mut memory = Memory::default();
    assert_eq!(take(&mut memory, 1, (NOW, NOW + 60), NOW), Ok(()));
    assert_eq!(take(&mut memory, 1, (NOW, NOW + 60), NOW), Err(Refused::Again));
    assert_eq!(take(&mut memory, 1, (NOW + 1, NOW + 100), NOW), Err(Refused::Again), "with other times too");
    assert_eq!(take(&mut memory, 2, (NOW, NOW + 60), NOW), Ok(()));
    let other = memory.take(&name("other"), [1; 16], (NOW, NOW + 60), NOW, &Settings::default());
    assert_eq!(other, Ok(()));
}

#[test]
fn a_clock_that_is_set_back_opens_nothing() {
    let mut memory = Memory::default();
    let times = (NOW, NOW + 60);
    assert_eq!(take(&mut memory, 1, times, NOW), Ok(()));
    // The clock jumps a year ahead, what is over is forgotten, and the clock is put right again.
    let ahead = NOW + 365 * 86_400;
    assert_eq!(take(&mut memory, 2, (ahead, ahead + 60), ahead), Ok(()));
    assert_eq!(take(&mut memory, 1, times, NOW + 10), Err(Refused::Late(0)));
    // It does no lasting harm: only what ends as early as the forgotten one is refused.
    assert_eq!(take(&mut memory, 3, (NOW + 10, NOW + 70), NOW + 10), Ok(()));
    // And back in time nothing from today counts.
    assert_eq!(take(&mut memory, 4, (NOW, NOW + 60), NOW - 86_400), Err(Refused::Early(86_400)));
}

#[test]
fn what_is_over_makes_room() {
    let few = Settings { max_nonces: 2, ..Settings::default() };
    let mut memory = Memory::default();
    let mut take =
        |nonce: u8, expires: u64, now: u64| memory.take(&name("ci"), [nonce; 16], (now, expires), now, &few);
    assert_eq!(take(1, NOW + 30, NOW), Ok(()));
    assert_eq!(take(2, NOW + 200, NOW), Ok(()));
    assert_eq!(take(3, NOW + 30, NOW), Err(Refused::Full(90)));
    assert_eq!(take(3, NOW + 100, NOW + 89), Err(Refused::Full(1)));
    assert_eq!(take(3, NOW + 200, NOW + 120), Ok(()));
    assert_eq!(take(2, NOW + 200, NOW + 120), Err(Refused::Again));
}

#[tokio::test]
async fn the_store_remembers_until_it_is_over_and_no_lower_than_its_floor() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::for_tests(folder.path());
    let row = |nonce: u8, expires: u64| NonceRow { caller: name("ci"), nonce: [nonce; 16], expires };
    store.use_nonce(row(1, 100), None).await.unwrap();
    store.use_nonce(row(2, 200), None).await.unwrap();
    store.use_nonce(row(2, 150), None).await.unwrap();
    store.use_nonce(row(3, 300), Some(150)).await.unwrap();
    let known = store.nonces().await.unwrap();
    assert_eq!((known.floor, known.rows), (100, vec![row(2, 200), row(3, 300)]));
    store.use_nonce(row(4, 400), Some(50)).await.unwrap();
    assert_eq!(store.nonces().await.unwrap().floor, 100, "nothing was forgotten");
    store.use_nonce(row(5, 500), Some(10_000)).await.unwrap();
    let known = store.nonces().await.unwrap();
    assert_eq!((known.floor, known.rows), (400, vec![row(5, 500)]));
    let memory = Signing::load(
        store,
        Clock::manual(),
        (AgentId::generate(), SigningKey::generate().unwrap().0),
        Settings::default(),
    )
    .await
    .unwrap();
    let taken =
        memory.0.memory.lock().unwrap().take(&name("ci"), [9; 16], (350, 400), 360, &Settings::default());
    assert_eq!(taken, Err(Refused::Late(0)));
}
