use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::open::MIGRATIONS;
use super::*;
use crate::common::ids::AgentId;
use crate::config::values::SecretRef;
use crate::identity::encoded::Encoded;
use crate::identity::handshake::join::Join;
use crate::identity::token::EnrolmentSecret;
use tables::identity::Enrolment;

impl Store {
    /// A store in `FOLDER/state`, with its key in `FOLDER/store.key`.
    pub(crate) fn for_tests(folder: &Path) -> Self {
        Self::open(&folder.join("state"), &test_key(folder)).unwrap()
    }

    /// The same store again, as soon as its last handle is gone.
    pub(crate) async fn again_for_tests(folder: &Path) -> Self {
        loop {
            match Self::open(&folder.join("state"), &test_key(folder)) {
                Ok(store) => return store,
                Err(StoreFault::Folder(_) | StoreFault::Busy) => tokio::task::yield_now().await,
                Err(fault) => panic!("{fault}"),
            }
        }
    }
}

fn test_key(folder: &Path) -> KeySource {
    KeySource::At(SecretRef::File(folder.join("store.key")))
}

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Result<Store, StoreFault> {
        Store::open(&self.path("state"), &test_key(self.folder.path()))
    }

    fn open_as(&self, migrations: &[&str]) -> Result<Store, StoreFault> {
        Store::open_as(Folder::open(&self.path("state"))?, &test_key(self.folder.path()), migrations)
    }

    /// The store's thread, and with it the file, lives a moment longer than the last handle.
    async fn close(&self, store: Store) {
        store.0.worker.alone(|_| ()).await.unwrap();
        drop(store);
        let lock = std::fs::File::options().write(true).open(self.path("state/lock")).unwrap();
        while lock.try_lock().is_err() {
            tokio::task::yield_now().await;
        }
        drop(lock);
        // SQLite takes the log away when it closes the file.
        while self.path("state/store.db-wal").exists() {
            tokio::task::yield_now().await;
        }
    }

    fn state_files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(self.path("state")).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.is_file());
        let mut files: Vec<_> = files
            .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
            .filter(|(name, _)| !name.ends_with("lock"))
            .collect();
        files.sort();
        files
    }
}

async fn enrol(store: &Store) -> Enrolment {
    let secret = EnrolmentSecret::generate().unwrap();
    let key = store.enrolling_key(&secret).await.unwrap();
    assert_eq!(
        store.enrolling_key(&secret).await.unwrap().public(),
        key.public(),
        "the same token, the same key"
    );
    let enrolment = Enrolment {
        relay_url: "wss://relay.example".to_owned(),
        relay_key: key.public(),
        site: "acme".parse().unwrap(),
        agent: AgentId::generate(),
        enrolled: 7,
    };
    store.enrolled(&secret, &enrolment, mark(1)).await.unwrap();
    assert_eq!(store.identity().await.unwrap().unwrap().key.public(), key.public());
    enrolment
}

fn mark(counter: u64) -> Join {
    Join { counter, value: Encoded([u8::try_from(counter).unwrap(); 32]) }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_again() {
    let bench = Bench::new();
    let store = bench.open().unwrap();
    assert!(store.identity().await.unwrap().is_none());
    let enrolment = enrol(&store).await;
    store.store_join(enrolment.agent, 1, mark(9)).await.unwrap();
    assert!(matches!(bench.open(), Err(StoreFault::Folder(_))), "one process at a time");
    bench.close(store).await;
    for (name, bytes) in bench.state_files() {
        assert!(!bytes.windows(6).any(|window| window == b"SQLite"), "{name} shows what it is");
        assert!(!bytes.windows(13).any(|window| window == b"relay.example"), "{name} is readable");
        assert_eq!(std::fs::metadata(&name).unwrap().permissions().mode() & 0o77, 0, "{name}");
    }
    let store = bench.open().unwrap();
    assert_eq!(store.identity().await.unwrap().unwrap().enrolment, enrolment);
    assert_eq!(store.join(enrolment.agent, 0).await.unwrap(), Some(mark(1)));
    assert_eq!(store.join(enrolment.agent, 1).await.unwrap(), Some(mark(9)));
    let again = enrol(&store).await;
    assert_eq!(store.join(enrolment.agent, 1).await.unwrap(), None, "the old identity's");
    assert_eq!(store.join(again.agent, 1).await.unwrap(), Some(mark(1)));
}

#[tokio::test]
async fn what_is_wrong_is_told_and_nothing_is_made_anew() {
    let bench = Bench::new();
    let store = bench.open().unwrap();
    enrol(&store).await;
    bench.close(store).await;
    let (good, key) = (bench.state_files(), std::fs::read(bench.path("store.key")).unwrap());
    let restore = || {
        for (name, bytes) in &good {
            std::fs::write(name, bytes).unwrap();
        }
        std::fs::write(bench.path("store.key"), &key).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(bench.path("store.key"), mode).unwrap();
    };
    let (database, keys) = (bench.path("state/store.db"), bench.path("state/store.keys"));
    let cut = |length| std::fs::File::options().write(true).open(&database).unwrap().set_len(length).unwrap();
    let cases: [(&str, &dyn Fn(), &str); 8] = [
        ("wrong key", &|| std::fs::write(bench.path("store.key"), "ab".repeat(32)).unwrap(), "not the one"),
        ("no key", &|| std::fs::remove_file(bench.path("store.key")).unwrap(), "there is no key"),
        ("no keyring", &|| std::fs::remove_file(&keys).unwrap(), "store.keys is missing"),
        ("no database", &|| std::fs::remove_file(&database).unwrap(), "store.db is missing"),
        ("cut keyring", &|| std::fs::write(&keys, "{\"format\":1").unwrap(), "damaged"),
        ("cut database", &|| cut(1000), "damaged"),
        ("emptied database", &|| cut(0), "damaged"),
        ("other database", &|| std::fs::write(&database, vec![7; 8192]).unwrap(), "damaged"),
    ];
    for (name, breaking, words) in cases {
        breaking();
        let before = bench.state_files();
        let fault = bench.open().unwrap_err();
        assert!(fault.to_string().contains(words), "{name}: {fault}");
        assert_eq!(bench.state_files(), before, "{name}: nothing is touched");
        restore();
    }
    assert!(bench.open().unwrap().identity().await.unwrap().is_some());
}

#[tokio::test]
async fn what_a_crash_left_in_the_log_stays_there_if_the_file_is_damaged() {
    let bench = Bench::new();
    let store = bench.open().unwrap();
    assert_ne!(bench.path("state/store.db").metadata().unwrap().len(), 0, "a file in use is never empty");
    enrol(&store).await;
    let (crashed, state) = (Bench::new(), bench.path("state"));
    std::fs::create_dir(crashed.path("state")).unwrap();
    std::fs::set_permissions(crashed.path("state"), std::fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["store.db", "store.db-wal", "store.keys"] {
        std::fs::copy(state.join(name), crashed.path("state").join(name)).unwrap();
    }
    std::fs::copy(bench.path("store.key"), crashed.path("store.key")).unwrap();
    for emptied in ["store.db", "store.db-wal"] {
        let path = crashed.path("state").join(emptied);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        let before = crashed.state_files();
        let fault = crashed.open().unwrap_err();
        assert!(matches!(fault, StoreFault::Damaged(_)), "{emptied}: {fault}");
        assert_eq!(crashed.state_files(), before, "{emptied}");
        std::fs::write(&path, whole).unwrap();
    }
    assert!(crashed.open().unwrap().identity().await.unwrap().is_some());
    bench.close(store).await;
}

#[tokio::test]
async fn a_newer_form_is_made_after_a_backup_and_an_older_program_refuses_it() {
    let bench = Bench::new();
    let store = bench.open().unwrap();
    let enrolment = enrol(&store).await;
    bench.close(store).await;
    let further: Vec<&str> =
        MIGRATIONS.iter().copied().chain(["CREATE TABLE further (x INTEGER) STRICT"]).collect();
    let broken: Vec<&str> = MIGRATIONS.iter().copied().chain(["NONSENSE"]).collect();
    assert!(bench.open_as(&broken).is_err());
    let store = bench.open_as(&further).unwrap();
    assert_eq!(store.identity().await.unwrap().unwrap().enrolment, enrolment);
    bench.close(store).await;
    let fault = bench.open().unwrap_err();
    assert!(
        matches!(fault, StoreFault::TooNew { .. }) && fault.to_string().contains("newer version"),
        "{fault}"
    );
    // The backup has the old form, and this program can use it.
    let backup = bench.path(&format!("state/before-form-{}.backup", MIGRATIONS.len() + 1));
    let restored =
        restore(&backup, &bench.path("state"), &test_key(bench.folder.path()), true, "aside").unwrap();
    assert!(restored.moved.unwrap().join("store.db").exists());
    assert_eq!(bench.open().unwrap().identity().await.unwrap().unwrap().enrolment, enrolment);
}

#[tokio::test]
async fn keys_change_while_the_store_is_used() {
    let bench = Bench::new();
    let (state, source) = (bench.path("state"), test_key(bench.folder.path()));
    let store = bench.open().unwrap();
    let enrolment = enrol(&store).await;
    let old = std::fs::read(bench.path("store.key")).unwrap();
    let next = source.make_next(&state).unwrap().unwrap();
    store.rekey(next).await.unwrap();
    assert!(store.is_resealing());
    assert!(store.identity().await.unwrap().is_some(), "what the old data key sealed still opens");
    store.store_join(enrolment.agent, 0, mark(5)).await.unwrap();
    bench.close(store).await;
    // Cut off before the key file was put in its place: opening finishes it.
    assert_eq!(std::fs::read(bench.path("store.key")).unwrap(), old);
    let store = bench.open().unwrap();
    assert_ne!(std::fs::read(bench.path("store.key")).unwrap(), old);
    assert!(store.is_resealing(), "goes on after a restart");
    while store.reseal().await.unwrap() == Resealed::More {}
    assert!(!store.is_resealing());
    let verified = store.verify().await.unwrap();
    assert_eq!(verified.broken, Vec::<String>::new());
    assert_eq!(verified.data_keys.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [2]);
    assert!(verified.secrets >= 3);
    bench.close(store).await;
    std::fs::write(bench.path("store.key"), &old).unwrap();
    assert!(bench.open().unwrap_err().to_string().contains("not the one"), "the old key opens nothing");
}

#[tokio::test]
async fn two_changes_of_the_key_at_once_lose_none() {
    let bench = Bench::new();
    let (state, source) = (bench.path("state"), test_key(bench.folder.path()));
    let store = bench.open().unwrap();
    enrol(&store).await;
    let one = source.make_next(&state).unwrap().unwrap();
    store.rekey(one).await.unwrap();
    // The second begins before the first has put its key into place.
    let two = source.make_next(&state).unwrap().unwrap();
    source.take_next(&state).unwrap();
    store.rekey(two).await.unwrap();
    source.take_next(&state).unwrap();
    source.take_next(&state).unwrap();
    bench.close(store).await;
    let store = bench.open().unwrap();
    // One whose key was never used leaves it for the next.
    let three = source.make_next(&state).unwrap().unwrap();
    source.take_next(&state).unwrap();
    let again = source.make_next(&state).unwrap().unwrap();
    assert_eq!(three.check(), again.check());
    bench.close(store).await;
    bench.open().unwrap();
}

#[tokio::test]
async fn a_backup_behind_a_change_of_keys_opens_with_the_new_key() {
    let bench = Bench::new();
    let (state, source) = (bench.path("state"), test_key(bench.folder.path()));
    let store = bench.open().unwrap();
    let enrolment = enrol(&store).await;
    let next = source.make_next(&state).unwrap().unwrap();
    let backup = bench.path("store.backup");
    let seal = async {
        store.rekey(next).await.unwrap();
        store.store_join(enrolment.agent, 0, mark(9)).await.unwrap();
    };
    let (made, ()) = tokio::join!(store.backup(&backup), seal);
    made.unwrap();
    source.take_next(&state).unwrap();
    let key = std::fs::read_to_string(bench.path("store.key")).unwrap();
    let other = Bench::new();
    std::fs::write(other.path("store.key"), &key).unwrap();
    std::fs::set_permissions(other.path("store.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let put = restore(&backup, &other.path("state"), &test_key(other.folder.path()), false, "aside");
    // Whether the copy came before the change or after it, the backup is whole: one of the two keys opens it.
    if let Err(fault) = put {
        assert!(fault.to_string().contains("not the one"), "{fault}");
        return;
    }
    let restored = other.open().unwrap();
    assert!(restored.join(enrolment.agent, 0).await.unwrap().is_some());
    assert_eq!(restored.verify().await.unwrap().broken, Vec::<String>::new());
}

#[tokio::test]
async fn a_backup_is_encrypted_and_comes_back_with_its_key_only() {
    let bench = Bench::new();
    let store = bench.open().unwrap();
    let enrolment = enrol(&store).await;
    let backup = bench.path("store.backup");
    store.backup(&backup).await.unwrap();
    assert!(matches!(store.backup(&backup).await, Err(BackupFault::Exists(_))));
    store.store_join(enrolment.agent, 0, mark(8)).await.unwrap();
    let bytes = std::fs::read(&backup).unwrap();
    assert!(!bytes.windows(13).any(|window| window == b"relay.example"));
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let other = Bench::new();
    let state = other.path("state");
    let key = test_key(other.folder.path());
    let put = |replace| restore(&backup, &state, &key, replace, "aside");
    std::fs::write(other.path("store.key"), "cd".repeat(32)).unwrap();
    std::fs::set_permissions(other.path("store.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(put(false).unwrap_err().to_string().contains("not the one"));
    std::fs::copy(bench.path("store.key"), other.path("store.key")).unwrap();
    for cut in [0, 10, 30, 300, bytes.len() - 5000, bytes.len() - 1] {
        std::fs::write(&backup, &bytes[..cut]).unwrap();
        assert!(put(false).is_err(), "cut at {cut}");
        assert!(!state.join("store.db").exists() && !state.join("store.keys").exists());
    }
    std::fs::write(&backup, &bytes).unwrap();
    put(false).unwrap();
    assert!(matches!(put(false), Err(BackupFault::Occupied(_))));
    let restored = other.open().unwrap();
    assert_eq!(restored.identity().await.unwrap().unwrap().enrolment, enrolment);
    assert_eq!(restored.join(enrolment.agent, 0).await.unwrap(), Some(mark(1)), "as it was then");
}

#[tokio::test]
async fn a_secret_that_was_moved_is_found() {
    let bench = Bench::new();
    let store = bench.open().unwrap();
    let enrolment = enrol(&store).await;
    store
        .call(move |session| {
            let sql = "UPDATE joins SET value = (SELECT value FROM joins WHERE slot = 0) WHERE slot = 1";
            session.connection().execute(sql, [])?;
            Ok(())
        })
        .await
        .unwrap();
    assert!(matches!(store.join(enrolment.agent, 1).await, Err(StoreFault::Seal { table: "joins", .. })));
    let broken = store.verify().await.unwrap().broken;
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].contains("joins"), "{broken:?}");
}

#[tokio::test]
async fn keys_from_before_it_was_noted_count_as_sent_through_the_relay() {
    let bench = Bench::new();
    let before = MIGRATIONS.iter().position(|sql| sql.contains("ADD COLUMN exposed")).unwrap();
    let store = bench.open_as(&MIGRATIONS[..before]).unwrap();
    let sql = "INSERT INTO callers (name) VALUES ('bot');
               INSERT INTO caller_keys (id, caller, hash, created, place)
               VALUES ('abcdefghjkmn', 'bot', zeroblob(32), 1, 0);
               INSERT INTO caller_keys (id, caller, public_key, created, place)
               VALUES ('abcdefghjkmp', 'bot', zeroblob(32), 1, 1)";
    store.call(move |session| Ok(session.connection().execute_batch(sql)?)).await.unwrap();
    bench.close(store).await;
    let callers = bench.open().unwrap().callers().await.unwrap();
    let keys = callers.into_values().next().unwrap();
    assert_eq!(
        keys.iter().map(|key| key.exposed).collect::<Vec<_>>(),
        [true, false],
        "no key that signs is sent"
    );
}
