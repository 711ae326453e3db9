use super::*;
use crate::agent::store::tables::mappings::{Account, Pair, Secrets};
use crate::common::ids::CallerName;

const LIMITS: LinkLimits = LinkLimits { of_caller: 3, open: 5, kept: 8 };

fn hash(text: &str) -> Hash {
    Hash::sha256(&[text.as_bytes()])
}

fn new(caller: &str, person: &str, url: &str) -> LinkRow {
    LinkRow {
        id: LinkId::generate(),
        caller: caller.parse().unwrap(),
        upstream: "jira".parse().unwrap(),
        act_as: ActAs::parse(person).unwrap(),
        display_name: Some("Zoë".to_owned()),
        stage: LinkStage::Open,
        created: 1000,
        url: hash(url),
        browser: None,
        rounds: 0,
        consent: None,
        verifier: None,
        pending: None,
        code: None,
        confirmed: None,
        tries: 0,
    }
}

fn replace(row: &mut LinkRow) {
    row.stage = LinkStage::Ended(LinkEnd::Replaced);
    (row.consent, row.verifier, row.pending, row.code) = (None, None, None, None);
}

async fn add(store: &Store, row: LinkRow) -> bool {
    store.add_link(row, LIMITS, replace).await.unwrap()
}

fn pending(secrets: Secrets) -> Pending {
    let account = Account { key: "K1".into(), name: "zoe".into(), display_name: "Zoë \"Z\" Ω".into() };
    Pending { account, secrets }
}

#[tokio::test]
async fn all_of_a_row_comes_back_and_the_secrets_lie_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::for_tests(folder.path());
    assert!(add(&store, new("bot", "teams:a", "u")).await);
    let pair = Pair {
        access: Secret::new("access-marker".to_owned()),
        refresh: Some(Secret::new("refresh\"\\marker".to_owned())),
        expires: 99,
        scope: Some("READ WRITE".to_owned()),
    };
    for secrets in [Secrets::OAuth(pair), Secrets::Pat(Secret::new("pat-marker".to_owned()))] {
        let wanted = pending(secrets);
        let given = wanted.clone();
        let changed = store.change_link(LinkKey::Url(hash("u")), move |row| {
            row.stage = LinkStage::Confirmed;
            row.browser = Some(hash("b"));
            row.rounds = 3;
            row.verifier = Some(Secret::new("verifier-marker".to_owned()));
            row.pending = Some(given);
            row.code = Some(hash("c"));
            row.confirmed = Some(1200);
            row.tries = 2;
            row.id
        });
        let id = changed.await.unwrap().unwrap();
        let row = store.link(LinkKey::Id(id)).await.unwrap().unwrap();
        assert_eq!((row.caller.as_str(), row.upstream.as_str()), ("bot", "jira"));
        assert_eq!((row.act_as.to_string().as_str(), row.display_name.as_deref()), ("teams:a", Some("Zoë")));
        assert_eq!(
            (row.stage, row.browser, row.code),
            (LinkStage::Confirmed, Some(hash("b")), Some(hash("c")))
        );
        assert_eq!((row.rounds, row.tries, row.confirmed, row.created), (3, 2, Some(1200), 1000));
        assert_eq!(row.verifier.unwrap().expose(), "verifier-marker");
        let found = row.pending.unwrap();
        assert_eq!(found.account, wanted.account);
        match (found.secrets, wanted.secrets) {
            (Secrets::Pat(found), Secrets::Pat(wanted)) => assert_eq!(found.expose(), wanted.expose()),
            (Secrets::OAuth(found), Secrets::OAuth(wanted)) => {
                assert_eq!(found.access.expose(), wanted.access.expose());
                assert_eq!(found.refresh.unwrap().expose(), wanted.refresh.unwrap().expose());
                assert_eq!((found.expires, found.scope), (wanted.expires, wanted.scope));
            }
            (found, wanted) => panic!("{found:?} for {wanted:?}"),
        }
        let sealed = store.call(|session| {
            let connection = session.connection();
            Ok(connection.query_row("SELECT CAST(verifier || pending AS BLOB) FROM links", [], |row| {
                row.get::<_, Vec<u8>>(0)
            })?)
        });
        assert!(!sealed.await.unwrap().windows(6).any(|window| window == b"marker"));
    }
}

#[tokio::test]
async fn a_person_has_one_open_attempt_and_a_caller_not_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::for_tests(folder.path());
    assert!(add(&store, new("bot", "teams:a", "1")).await);
    assert!(add(&store, new("other", "teams:a", "2")).await, "a newer one, by whomever");
    let stage = async |url: &str| store.link(LinkKey::Url(hash(url))).await.unwrap().unwrap().stage;
    assert_eq!(stage("1").await, LinkStage::Ended(LinkEnd::Replaced));
    assert_eq!(stage("2").await, LinkStage::Open);
    let of_person = store.link(LinkKey::Person(ActAs::parse("teams:a").unwrap())).await.unwrap().unwrap();
    assert_eq!(of_person.url, hash("2"));

    for (person, url) in [("teams:b", "3"), ("teams:c", "4"), ("teams:d", "5")] {
        assert!(add(&store, new("bot", person, url)).await);
    }
    assert!(!add(&store, new("bot", "teams:e", "6")).await, "three of one caller's");
    assert!(add(&store, new("bot", "teams:d", "7")).await, "in the place of its own");
    assert!(add(&store, new("other", "teams:f", "8")).await);
    assert!(!add(&store, new("third", "teams:g", "9")).await, "five in all");
    assert!(store.link(LinkKey::Url(hash("9"))).await.unwrap().is_none());

    // What has ended makes room, the oldest first.
    for round in 0..9 {
        assert!(add(&store, new("bot", "teams:d", &format!("again {round}"))).await);
    }
    let count = store.call(|session| {
        Ok(session.connection().query_row("SELECT count(*) FROM links", [], |row| row.get::<_, i64>(0))?)
    });
    assert_eq!(count.await.unwrap(), 8);
    assert_eq!(stage("2").await, LinkStage::Open);
}

#[tokio::test]
async fn a_sweep_ends_what_is_over_and_forgets_it_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::for_tests(folder.path());
    let old =
        LinkRow { pending: Some(pending(Secrets::Pat(Secret::new("x".into())))), ..new("bot", "t:a", "1") };
    assert!(add(&store, old).await);
    assert!(add(&store, LinkRow { created: 2000, ..new("bot", "t:b", "2") }).await);
    let settle = |row: &mut LinkRow| {
        if row.created < 1500 {
            replace(row);
        }
    };
    assert_eq!(store.sweep_links(settle, 1000..=3000, 500).await.unwrap(), 0, "not looked at");
    assert_eq!(store.sweep_links(settle, 1001..=3000, 500).await.unwrap(), 1);
    let row = store.link(LinkKey::Url(hash("1"))).await.unwrap().unwrap();
    assert!(row.pending.is_none() && row.stage.ending().is_some());
    assert_eq!(store.sweep_links(settle, 1001..=3000, 1500).await.unwrap(), 0);
    assert!(store.link(LinkKey::Url(hash("1"))).await.unwrap().is_none());
    assert!(store.link(LinkKey::Url(hash("2"))).await.unwrap().is_some());
}

#[tokio::test]
async fn steps_at_once_are_taken_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::for_tests(folder.path());
    let row = new("bot", "t:a", "1");
    let (id, caller): (LinkId, CallerName) = (row.id, row.caller.clone());
    assert!(add(&store, row).await);
    let take = async || {
        let taken = store.change_link(LinkKey::Id(id), |row| {
            let first = row.stage == LinkStage::Open;
            row.stage = LinkStage::Ended(LinkEnd::Finished);
            first
        });
        taken.await.unwrap().unwrap()
    };
    let taken: Vec<bool> = futures_util::future::join_all((0..64).map(|_| take())).await;
    assert_eq!(taken.iter().filter(|first| **first).count(), 1, "{caller}");
    let gone = store.change_link(LinkKey::Id(LinkId::generate()), |_| ()).await.unwrap();
    assert!(gone.is_none());
}
