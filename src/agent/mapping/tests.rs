//! Renewal, refusals and names, with an application that answers what the test says and a clock that it moves.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use super::*;
use crate::agent::audit::written;
use crate::agent::credentials::Refusal;
use crate::agent::credentials::myself::Myself;
use crate::agent::credentials::tokens::RequestFault;
use crate::agent::store::StoreFault;
use crate::common::problem::{Code, Outcome};
use crate::common::secret::Secret;
use crate::identity::oauth::{ErrorCode, TokenFault, Tokens};

/// What the application does, and what it was asked.
struct Script {
    answers: Mutex<VecDeque<Result<Tokens, RequestFault>>>,
    whose: Mutex<Myself>,
    /// Tokens that are refused, whosever they are.
    dead: Mutex<Vec<&'static str>>,
    forms: Mutex<Vec<String>>,
    asked: AtomicUsize,
    revoked: Mutex<Vec<String>>,
    /// One permit lets one token request be answered.
    gate: Semaphore,
}

struct Scripted(Arc<Script>);

impl Application for Scripted {
    fn place(&self) -> String {
        "https://jira.example".to_owned()
    }

    fn tokens<'a>(&'a self, _: &'a str, form: Secret<String>) -> Answer<'a, Result<Tokens, RequestFault>> {
        self.0.forms.lock().unwrap().push(form.expose().clone());
        Box::pin(async {
            self.0.gate.acquire().await.unwrap().forget();
            let answer = self.0.answers.lock().unwrap().pop_front();
            answer.unwrap_or(Err(RequestFault::Unsent("no answer is planned".to_owned())))
        })
    }

    fn revoke<'a>(&'a self, _: &'a str, form: Secret<String>) -> Answer<'a, Result<(), RequestFault>> {
        self.0.revoked.lock().unwrap().push(form.expose().clone());
        Box::pin(async { Ok(()) })
    }

    fn myself<'a>(&'a self, authorization: &'a HeaderValue) -> Answer<'a, Myself> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let dead = self
            .0
            .dead
            .lock()
            .unwrap()
            .iter()
            .any(|token| authorization == format!("Bearer {token}").as_str());
        Box::pin(async move { if dead { Myself::Refused } else { self.0.whose.lock().unwrap().clone() } })
    }
}

struct Bench {
    mappings: Mappings,
    script: Arc<Script>,
    clock: Clock,
    tasks: Tasks,
    folder: tempfile::TempDir,
}

fn jira() -> UpstreamName {
    "jira".parse().unwrap()
}

fn alice() -> ActAs {
    ActAs::parse("teams:alice").unwrap()
}

fn account(key: &str, name: &str) -> Account {
    Account { key: key.to_owned(), name: name.to_owned(), display_name: name.to_uppercase() }
}

fn tokens(access: &str, refresh: &str) -> Tokens {
    Tokens {
        access: Secret::new(access.to_owned()),
        refresh: Some(Secret::new(refresh.to_owned())),
        lifetime: Duration::from_secs(3600),
        scope: None,
    }
}

fn refused(code: ErrorCode) -> RequestFault {
    RequestFault::Answered(TokenFault::Refused { code, description: None })
}

fn link(act_as: ActAs, secrets: Secrets) -> Link {
    Link { upstream: jira(), act_as, account: account("K1", "alice"), secrets, allow_shared: false }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, tasks) = (Clock::manual(), Tasks::new());
        let mappings = Mappings::start(Store::for_tests(folder.path()), clock.clone(), &tasks);
        let script = Arc::new(Script {
            answers: Mutex::default(),
            whose: Mutex::new(Myself::Is(account("K1", "alice"))),
            dead: Mutex::default(),
            forms: Mutex::default(),
            asked: AtomicUsize::new(0),
            revoked: Mutex::default(),
            gate: Semaphore::new(1000),
        });
        let bench = Self { mappings, script, clock, tasks, folder };
        bench.configure();
        bench
    }

    fn configure(&self) {
        let config = OAuthConfig {
            client_id: "outhaul".to_owned(),
            client_secret: SecretRef::Credential("none".to_owned()),
            scope: "READ WRITE".to_owned(),
            redirect_url: "https://outhaul.example/oauth/callback".to_owned(),
            authorize_path: OAuthConfig::AUTHORIZE_PATH.to_owned(),
            token_path: "/token".to_owned(),
            revoke_path: Some("/revoke".to_owned()),
        };
        let client = Ok(Client { id: "outhaul".to_owned(), secret: Secret::new("s3cret".to_owned()) });
        let application: Box<dyn Application> = Box::new(Scripted(Arc::clone(&self.script)));
        let oauth = Some(OAuth { config, client });
        self.mappings.set(vec![(jira(), "https://jira.example".to_owned(), application, oauth)]);
    }

    /// The same store, and nothing in memory.
    fn again(&self) -> Mappings {
        let mappings = Mappings::start(self.mappings.0.store.clone(), self.clock.clone(), &self.tasks);
        let sites = self.mappings.0.sites.load_full();
        let old = &sites[&jira()];
        let config = old.oauth.as_ref().unwrap().config.clone();
        let client = old.oauth.as_ref().unwrap().client.clone();
        let application: Box<dyn Application> = Box::new(Scripted(Arc::clone(&self.script)));
        mappings.set(vec![(jira(), old.base_url.clone(), application, Some(OAuth { config, client }))]);
        mappings
    }

    fn plan(&self, answers: impl IntoIterator<Item = Result<Tokens, RequestFault>>) {
        self.script.answers.lock().unwrap().extend(answers);
    }

    async fn with_pair(&self) {
        let pair = Pair {
            access: Secret::new("a0".to_owned()),
            refresh: Some(Secret::new("r0".to_owned())),
            expires: self.clock.unix_seconds() + 3600,
            scope: Some("WRITE".to_owned()),
        };
        self.mappings.create(link(alice(), Secrets::OAuth(pair))).await.unwrap();
    }

    async fn token(&self) -> Result<String, Code> {
        token_of(&self.mappings).await
    }

    async fn credential(&self) -> Arc<Credential> {
        self.mappings.credential(&jira(), &alice()).await.unwrap()
    }

    async fn row(&self) -> (MappingRow, Option<Secrets>) {
        self.mappings.0.store.mapping(&jira(), &alice()).await.unwrap().unwrap()
    }

    fn forms(&self) -> Vec<String> {
        self.script.forms.lock().unwrap().clone()
    }

    fn kill(&self, token: &'static str) {
        self.script.dead.lock().unwrap().push(token);
    }

    fn say(&self, myself: Myself) {
        *self.script.whose.lock().unwrap() = myself;
    }
}

async fn token_of(mappings: &Mappings) -> Result<String, Code> {
    let found = mappings.credential(&jira(), &alice()).await;
    found
        .map(|credential| credential.authorization().to_str().unwrap().to_owned())
        .map_err(|fault| fault.problem().code)
}

async fn refusal(credential: &Credential) -> Refusal {
    credential.keeper().unwrap().refused(credential).await
}

fn lost(refusal: Refusal) -> Code {
    match refusal {
        Refusal::Lost(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nobody_is_taken_for_somebody_else() {
    let bench = Bench::new();
    assert_eq!(bench.token().await, Err(Code::LinkRequired));
    bench.with_pair().await;
    assert_eq!(bench.token().await.unwrap(), "Bearer a0");
    let (elsewhere, other) = ("wiki".parse().unwrap(), ActAs::parse("teams:bob").unwrap());
    assert!(matches!(bench.mappings.credential(&elsewhere, &alice()).await, Err(MappingFault::LinkRequired)));
    assert!(matches!(bench.mappings.credential(&jira(), &other).await, Err(MappingFault::LinkRequired)));
    assert_eq!(bench.mappings.site(&jira()).unwrap().people.len(), 1, "strangers leave no trace in memory");
    let credential = bench.credential().await;
    assert_eq!(credential.user(), "alice");
    assert!(credential.keeper().is_some() && !format!("{credential:?}").contains("a0"));
}

#[tokio::test]
async fn sixty_four_at_the_end_of_a_token_make_one_request() {
    let bench = Bench::new();
    bench.with_pair().await;
    bench.plan([Ok(tokens("a1", "r1"))]);
    bench.clock.advance(Duration::from_secs(3596));
    let mut calls = Vec::new();
    for _ in 0..64 {
        let mappings = bench.mappings.clone();
        calls.push(bench.tasks.spawn_detached(async move { token_of(&mappings).await }));
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "Bearer a1");
    }
    assert_eq!(
        bench.forms(),
        [
            "grant_type=refresh_token&refresh_token=r0&redirect_uri=https%3A%2F%2Fouthaul.example%2Foauth%2Fcallback\
          &client_id=outhaul&client_secret=s3cret"
        ]
    );
    // It was on disk before: another process would use the same.
    assert_eq!(token_of(&bench.again()).await.unwrap(), "Bearer a1");
    let (row, secrets) = bench.row().await;
    assert_eq!(row.scope.as_deref(), Some("WRITE"), "what was granted stays known");
    let Some(Secrets::OAuth(pair)) = secrets else { panic!() };
    assert_eq!(pair.refresh.unwrap().expose(), "r1");
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_cut_a_renewal_off() {
    let bench = Bench::new();
    bench.with_pair().await;
    bench.plan([Ok(tokens("a1", "r1"))]);
    bench.script.gate.forget_permits(1000);
    bench.clock.advance(Duration::from_secs(3600));
    {
        let mut call = std::pin::pin!(bench.token());
        while bench.forms().is_empty() {
            assert!(futures_util::poll!(call.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
    }
    bench.script.gate.add_permits(1);
    assert_eq!(bench.token().await.unwrap(), "Bearer a1");
    assert_eq!(bench.forms().len(), 1);
}

#[tokio::test]
async fn people_about_have_their_tokens_renewed_ahead() {
    let bench = Bench::new();
    bench.with_pair().await;
    bench.plan([Ok(tokens("a1", "r1")), Ok(tokens("a2", "r2"))]);
    let due = || renew::due(&bench.mappings.0);
    bench.clock.advance(Duration::from_secs(3400));
    assert_eq!(bench.token().await.unwrap(), "Bearer a0");
    due();
    assert_eq!(bench.forms().len(), 0, "not yet");
    bench.clock.advance(Duration::from_secs(145));
    due();
    while bench.token().await.unwrap() != "Bearer a1" {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.forms().len(), 1);
    // Somebody who went away is not renewed for.
    bench.clock.advance(Duration::from_secs(3599));
    due();
    tokio::task::yield_now().await;
    assert_eq!(bench.forms().len(), 1);
    assert_eq!(bench.token().await.unwrap(), "Bearer a2");
}

#[tokio::test]
async fn a_dead_or_lost_grant_ends_the_mapping_and_wipes_it() {
    for fault in [
        refused(ErrorCode::InvalidGrant),
        RequestFault::Lost("the connection broke".to_owned()),
        RequestFault::Answered(TokenFault::Unusable("it is too large")),
    ] {
        let bench = Bench::new();
        bench.with_pair().await;
        bench.plan([Err(fault), Ok(tokens("never", "asked"))]);
        bench.clock.advance(Duration::from_secs(3600));
        assert_eq!(bench.token().await, Err(Code::NeedsReauth));
        let (row, secrets) = bench.row().await;
        assert_eq!((row.state, secrets.is_none()), (MappingState::NeedsReauth, true));
        assert!(row.reason.unwrap().len() > 10);
        for mappings in [bench.mappings.clone(), bench.again()] {
            assert_eq!(token_of(&mappings).await, Err(Code::NeedsReauth), "for good");
        }
        assert_eq!(bench.forms().len(), 1, "a refresh token is sent once");
        let problem = bench.mappings.credential(&jira(), &alice()).await.unwrap_err().problem();
        assert_eq!((problem.status, problem.outcome), (StatusCode::FORBIDDEN, Outcome::NotSent));
        // A new consent makes it whole.
        bench.with_pair().await;
        assert_eq!(bench.token().await.unwrap(), "Bearer a0");
        assert_eq!(bench.row().await.0.reason, None);
    }
}

#[tokio::test]
async fn a_try_that_reached_nobody_is_made_again_later() {
    let status = |code| RequestFault::Answered(TokenFault::Status(StatusCode::from_u16(code).unwrap()));
    let bench = Bench::new();
    bench.with_pair().await;
    bench.plan([
        Err(RequestFault::Unsent("no route".to_owned())),
        Err(status(503)),
        Err(RequestFault::Answered(TokenFault::Page)),
        Ok(tokens("a1", "r1")),
    ]);
    // Ahead of the end a failure costs nobody anything.
    bench.clock.advance(Duration::from_secs(3545));
    assert_eq!(bench.token().await.unwrap(), "Bearer a0");
    renew::due(&bench.mappings.0);
    while bench.forms().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.token().await.unwrap(), "Bearer a0");
    bench.clock.advance(Duration::from_secs(55));
    assert_eq!(bench.token().await, Err(Code::CredentialUnavailable));
    let fault = bench.mappings.credential(&jira(), &alice()).await.unwrap_err();
    let MappingFault::Unavailable { retry_after, .. } = fault else { panic!("{fault}") };
    assert!((1..=121).contains(&retry_after), "{retry_after}");
    assert_eq!(bench.forms().len(), 2, "not before the pause is over");
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.token().await, Err(Code::CredentialUnavailable));
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(bench.token().await.unwrap(), "Bearer a1");
    assert_eq!(bench.forms().len(), 4);
    assert!(bench.forms().iter().all(|form| form.contains("refresh_token=r0&")), "the old one was kept");
}

#[tokio::test]
async fn nobodys_lock_is_held_for_ever() {
    let bench = Bench::new();
    bench.with_pair().await;
    bench.script.gate.forget_permits(1000);
    bench.clock.advance(Duration::from_secs(3600));
    let mappings = bench.mappings.clone();
    let call = bench.tasks.spawn_detached(async move { token_of(&mappings).await });
    while bench.forms().is_empty() {
        tokio::task::yield_now().await;
    }
    // From here on only the request and those who wait for it pass the time.
    tokio::time::pause();
    assert_eq!(call.await.unwrap(), Err(Code::CredentialUnavailable), "the caller leaves first");
    let removed = bench.mappings.remove(&jira(), &alice()).await;
    assert!(matches!(removed, Err(StoreFault::Overloaded)), "{removed:?}");
    let site = bench.mappings.site(&jira()).unwrap();
    drop(site.people.hold(&alice(), bench.clock.now()).await);
    tokio::time::resume();
    // It may have been used up.
    assert_eq!(bench.token().await, Err(Code::NeedsReauth));
    assert_eq!(bench.row().await.0.state, MappingState::NeedsReauth);
}

#[tokio::test]
async fn a_provider_that_refuses_without_a_reason_is_not_asked_for_ever() {
    let page = || RequestFault::Answered(TokenFault::Status(StatusCode::BAD_REQUEST));
    let bench = Bench::new();
    bench.with_pair().await;
    bench.plan((0..100).map(|_| Err(page())));
    bench.clock.advance(Duration::from_secs(3600));
    for _ in 0..12 {
        assert_eq!(bench.token().await, Err(Code::CredentialUnavailable));
        bench.clock.advance(Duration::from_secs(299));
    }
    assert_eq!(bench.row().await.0.state, MappingState::Active);
    bench.clock.advance(Duration::from_secs(12));
    assert_eq!(bench.token().await, Err(Code::NeedsReauth));
    assert_eq!(bench.row().await.0.state, MappingState::NeedsReauth);
}

#[tokio::test]
async fn new_tokens_that_cannot_be_stored_are_kept_and_not_used() {
    let bench = Bench::new();
    bench.with_pair().await;
    let block = |on: bool| {
        let sql = if on {
            "CREATE TRIGGER full BEFORE UPDATE ON mappings BEGIN SELECT raise(ABORT, 'full'); END"
        } else {
            "DROP TRIGGER full"
        };
        let store = bench.mappings.0.store.clone();
        async move { store.call(move |session| Ok(session.connection().execute_batch(sql)?)).await.unwrap() }
    };
    block(true).await;
    bench.plan([Ok(tokens("a1", "r1"))]);
    bench.clock.advance(Duration::from_secs(3600));
    assert_eq!(bench.token().await, Err(Code::CredentialUnavailable));
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.token().await, Err(Code::CredentialUnavailable));
    block(false).await;
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.token().await.unwrap(), "Bearer a1");
    assert_eq!(bench.forms().len(), 1, "the old refresh token is not sent again");
    assert_eq!(token_of(&bench.again()).await.unwrap(), "Bearer a1");
}

#[tokio::test]
async fn a_refusal_is_believed_when_myself_confirms_it() {
    let bench = Bench::new();
    bench.with_pair().await;
    let credential = bench.credential().await;
    // A missing right looks the same.
    for _ in 0..3 {
        assert!(matches!(refusal(&credential).await, Refusal::Alive));
    }
    assert_eq!(bench.script.asked.load(Ordering::Relaxed), 1, "an answer holds for a while");
    bench.clock.advance(Duration::from_secs(31));
    bench.say(Myself::Unknown("busy".to_owned()));
    assert!(matches!(refusal(&credential).await, Refusal::Alive));
    // Dead before its time, with a good refresh token.
    bench.kill("a0");
    bench.plan([Ok(tokens("a1", "r1"))]);
    let both = tokio::join!(refusal(&credential), refusal(&credential));
    for said in [both.0, both.1] {
        let Refusal::Renewed(renewed) = said else { panic!("{said:?}") };
        assert_eq!(renewed.authorization(), "Bearer a1");
    }
    assert_eq!(bench.forms().len(), 1);
    // And with a dead one.
    bench.kill("a1");
    bench.plan([Err(refused(ErrorCode::InvalidGrant))]);
    let credential = bench.credential().await;
    assert_eq!(lost(refusal(&credential).await), Code::NeedsReauth);
    assert_eq!(lost(refusal(&credential).await), Code::NeedsReauth, "the next call hears the same");
    assert_eq!(bench.token().await, Err(Code::NeedsReauth));
}

#[tokio::test]
async fn a_dead_token_is_not_used_while_it_cannot_be_renewed() {
    let bench = Bench::new();
    bench.with_pair().await;
    bench.say(Myself::Refused);
    bench.plan([Err(RequestFault::Unsent("no route".to_owned())), Ok(tokens("a1", "r1"))]);
    let credential = bench.credential().await;
    assert_eq!(lost(refusal(&credential).await), Code::CredentialUnavailable);
    assert_eq!(bench.token().await, Err(Code::CredentialUnavailable));
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.token().await.unwrap(), "Bearer a1");
}

#[tokio::test]
async fn a_new_token_that_is_refused_too_ends_the_mapping() {
    for (said, code) in [(Myself::Refused, Code::NeedsReauth), (Myself::SwitchedOff, Code::UserSuspended)] {
        let bench = Bench::new();
        bench.with_pair().await;
        bench.kill("a0");
        bench.say(said);
        bench.plan([Ok(tokens("a1", "r1")), Ok(tokens("a2", "r2"))]);
        let credential = bench.credential().await;
        assert_eq!(lost(refusal(&credential).await), code);
        assert_eq!(bench.token().await, Err(code));
        assert_eq!(bench.forms().len(), 1, "renewed once, and not again");
        assert!(bench.row().await.1.is_none(), "its secrets are wiped");
    }
}

#[tokio::test]
async fn an_account_that_was_switched_off_is_suspended() {
    let bench = Bench::new();
    bench.with_pair().await;
    bench.say(Myself::SwitchedOff);
    let credential = bench.credential().await;
    assert_eq!(lost(refusal(&credential).await), Code::UserSuspended);
    let (row, secrets) = bench.row().await;
    assert_eq!((row.state, secrets.is_none()), (MappingState::Suspended, true));
    assert_eq!(token_of(&bench.again()).await, Err(Code::UserSuspended));
}

#[tokio::test]
async fn a_personal_access_token_that_died_needs_a_new_one() {
    let bench = Bench::new();
    let pat = || Secrets::Pat(Secret::new("p0".to_owned()));
    bench.mappings.create(link(alice(), pat())).await.unwrap();
    bench.clock.advance(Duration::from_secs(10 * 365 * 24 * 3600));
    let credential = bench.credential().await;
    bench.say(Myself::Refused);
    assert_eq!(lost(refusal(&credential).await), Code::NeedsReauth);
    assert!(bench.forms().is_empty());
}

#[tokio::test]
async fn a_renamed_account_is_the_same_and_another_one_is_not() {
    let bench = Bench::new();
    bench.with_pair().await;
    let credential = bench.credential().await;
    let keeper = credential.keeper().unwrap();
    assert!(keeper.other_name(&credential).await.is_none(), "its name is the known one");
    bench.clock.advance(Duration::from_secs(31));
    bench.say(Myself::Is(account("K2", "mallory")));
    assert!(keeper.other_name(&credential).await.is_none(), "another account");
    bench.say(Myself::Is(account("K1", "alice.new")));
    let renamed = keeper.other_name(&credential).await.unwrap();
    assert_eq!((renamed.user(), renamed.authorization()), ("alice.new", credential.authorization()));
    assert_eq!(keeper.other_name(&credential).await.unwrap().user(), "alice.new", "and is not asked again");
    assert_eq!(bench.script.asked.load(Ordering::Relaxed), 3);
    assert_eq!(bench.again().credential(&jira(), &alice()).await.unwrap().user(), "alice.new");
    assert_eq!(bench.row().await.0.account.display_name, "ALICE.NEW");
}

#[tokio::test]
async fn who_was_linked_anew_under_way_is_not_called_as_another_account() {
    let bench = Bench::new();
    bench.with_pair().await;
    let before = bench.credential().await;
    let pat = || Secrets::Pat(Secret::new("p0".to_owned()));
    let bob = Link { account: account("K2", "bob"), ..link(alice(), pat()) };
    bench.mappings.create(bob).await.unwrap();
    assert_eq!(lost(refusal(&before).await), Code::CredentialRenewed, "and not made as bob");
    assert!(before.keeper().unwrap().other_name(&before).await.is_none());
    assert_eq!(bench.script.asked.load(Ordering::Relaxed), 0);
    // The same account with a new credential is what a call may go on with.
    let now = bench.credential().await;
    let again =
        Link { account: account("K2", "bob"), ..link(alice(), Secrets::Pat(Secret::new("p1".to_owned()))) };
    bench.mappings.create(again).await.unwrap();
    let Refusal::Renewed(renewed) = refusal(&now).await else { panic!() };
    assert_eq!(renewed.authorization(), "Bearer p1");
}

#[tokio::test]
async fn one_account_is_one_persons_unless_an_administrator_says_otherwise() {
    let bench = Bench::new();
    bench.with_pair().await;
    let bob = ActAs::parse("teams:bob").unwrap();
    let pat = || Secrets::Pat(Secret::new("p0".to_owned()));
    let fault = bench.mappings.create(link(bob.clone(), pat())).await.unwrap_err();
    assert!(matches!(&fault, CreateFault::Taken { other, .. } if *other == alice()), "{fault}");
    let allowed = Link { allow_shared: true, ..link(bob.clone(), pat()) };
    assert!(bench.mappings.create(allowed).await.unwrap().shared);
    bench.mappings.create(link(bob.clone(), pat())).await.expect("who was let in stays in");
    bench.with_pair().await;
    assert!(matches!(
        bench.mappings.create(link(ActAs::parse("teams:eve").unwrap(), pat())).await,
        Err(CreateFault::Taken { .. })
    ));
    assert_eq!(bench.mappings.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_removed_is_gone_and_told_to_jira() {
    let bench = Bench::new();
    bench.with_pair().await;
    assert_eq!(bench.token().await.unwrap(), "Bearer a0");
    let removed = bench.mappings.remove(&jira(), &alice()).await.unwrap().unwrap();
    assert_eq!(removed.account.name, "alice");
    let revoked = bench.script.revoked.lock().unwrap().clone();
    assert_eq!(revoked, ["token=r0&token_type_hint=refresh_token&client_id=outhaul&client_secret=s3cret"]);
    for mappings in [bench.mappings.clone(), bench.again()] {
        assert_eq!(token_of(&mappings).await, Err(Code::LinkRequired));
    }
    assert!(bench.mappings.remove(&jira(), &alice()).await.unwrap().is_none());
    // Ended from outside.
    bench.with_pair().await;
    let ended = bench.mappings.end(&jira(), &alice(), MappingState::Suspended, "left the company").await;
    assert!(ended.unwrap());
    assert_eq!(bench.token().await, Err(Code::UserSuspended));
    bench.configure();
    assert_eq!(bench.token().await, Err(Code::UserSuspended), "a reload changes nothing");
}

#[tokio::test]
async fn each_use_of_a_secret_other_than_for_a_call_is_recorded() {
    let bench = Bench::new();
    let (audit, written) =
        written::start(&bench.folder.path().join("audit"), &bench.clock, &bench.tasks).await;
    bench.mappings.record_in(audit);
    bench.plan([Ok(tokens("a1", "r1")), Ok(tokens("a2", "r2"))]);
    let verifier = crate::identity::oauth::Verifier::generate().unwrap();
    let secrets = bench.mappings.redeem(&jira(), "c0", &verifier).await.unwrap();
    bench.mappings.create(link(alice(), secrets)).await.unwrap();
    assert!(matches!(refusal(&*bench.credential().await).await, Refusal::Alive));
    bench.clock.advance(Duration::from_secs(3600));
    assert_eq!(bench.token().await.unwrap(), "Bearer a2");
    bench.mappings.remove(&jira(), &alice()).await.unwrap().unwrap();
    assert_eq!(
        written.secret_used().await,
        [
            "- - jira: the secret of the application link was sent with a person's code",
            "user:K1 alice jira: asked whose it is, after a refusal",
            "user:K1 alice jira: the access token was renewed",
            "user:K1 alice jira: the grant is given back at Jira",
        ]
    );
}

#[tokio::test]
async fn a_list_is_taken_whole_or_not_and_waits_for_credentials() {
    let bench = Bench::new();
    bench.with_pair().await;
    let one = |person: &str, key: &str| Import {
        upstream: jira(),
        act_as: ActAs::parse(person).unwrap(),
        account: account(key, key),
    };
    let fault = bench.mappings.import(vec![one("teams:bob", "K2"), one("teams:eve", "K1")], false).await;
    assert!(matches!(fault, Err(ImportFault::Taken { index: 1, .. })), "{fault:?}");
    let twice = bench.mappings.import(vec![one("teams:bob", "K2"), one("teams:eve", "K2")], false).await;
    assert!(matches!(twice, Err(ImportFault::Taken { index: 1, .. })), "{twice:?}");
    assert_eq!(bench.mappings.list().await.unwrap().len(), 1, "nothing of it was taken");
    let list = vec![one("teams:alice", "K9"), one("teams:bob", "K2")];
    assert_eq!(bench.mappings.import(list, false).await.unwrap(), 1, "who is there stays as they are");
    assert_eq!(bench.token().await.unwrap(), "Bearer a0");
    let bob = ActAs::parse("teams:bob").unwrap();
    let waiting = bench.mappings.credential(&jira(), &bob).await.unwrap_err();
    assert!(matches!(waiting, MappingFault::NeedsReauth(_)), "{waiting}");
    // The list says who Bob is: another account is not taken for his.
    let pat = || Secrets::Pat(Secret::new("p0".to_owned()));
    let as_key = |key: &str| Link { account: account(key, key), ..link(bob.clone(), pat()) };
    let other = bench.mappings.create(as_key("K3")).await.unwrap_err();
    assert!(matches!(other, CreateFault::OtherAccount { .. }), "{other}");
    assert_eq!(bench.mappings.create(as_key("K2")).await.unwrap().state, MappingState::Active);
}

#[tokio::test]
async fn a_code_is_redeemed_and_proved() {
    use crate::identity::oauth::Verifier;
    let bench = Bench::new();
    let verifier = Verifier::generate().unwrap();
    let url = bench.mappings.authorization_url(&jira(), "st", verifier.challenge()).unwrap();
    assert!(url.starts_with("https://jira.example/rest/oauth2/latest/authorize?client_id=outhaul&"), "{url}");
    bench.plan([Ok(tokens("a1", "r1")), Err(refused(ErrorCode::InvalidGrant))]);
    let secrets = bench.mappings.redeem(&jira(), "c0", &verifier).await.unwrap();
    assert!(bench.forms()[0].contains(&format!("code_verifier={}", verifier.expose())));
    assert_eq!(bench.mappings.prove(&jira(), &secrets).await.unwrap(), account("K1", "alice"));
    let late = bench.mappings.redeem(&jira(), "c0", &verifier).await.unwrap_err();
    assert!(matches!(late, LinkFault::CodeExpired));
    bench.say(Myself::Refused);
    assert!(matches!(bench.mappings.prove(&jira(), &secrets).await, Err(ProveFault::Refused)));
    let odd = Secrets::Pat(Secret::new("a b".to_owned()));
    assert!(matches!(bench.mappings.prove(&jira(), &odd).await, Err(ProveFault::Unsendable)));
}

#[tokio::test]
async fn secrets_are_sealed_and_bound_to_their_person() {
    let bench = Bench::new();
    bench.with_pair().await;
    let sealed: Vec<u8> = bench
        .mappings
        .0
        .store
        .call(|session| {
            Ok(session.connection().query_row("SELECT token FROM mappings", [], |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert!(!sealed.windows(2).any(|window| window == b"a0"));
    bench
        .mappings
        .0
        .store
        .call(|session| Ok(session.connection().execute("UPDATE mappings SET subject = 'mallory'", [])?))
        .await
        .unwrap();
    let mallory = ActAs::parse("teams:mallory").unwrap();
    let stolen = bench.again().credential(&jira(), &mallory).await.unwrap_err();
    assert!(matches!(stolen, MappingFault::Store(StoreFault::Seal { .. })), "{stolen}");
    assert!(bench.folder.path().exists());
}

#[tokio::test]
async fn memory_is_bounded_and_the_forgotten_are_read_again() {
    let clock = Clock::manual();
    let people = People::new(clock.now(), 100);
    for number in 0..1000 {
        clock.advance(Duration::from_millis(1));
        let person = ActAs::new(&"t".parse().unwrap(), &number.to_string()).unwrap();
        drop(people.hold(&person, clock.now()).await);
        assert!(people.len() <= 100);
    }
    // Whoever is busy stays.
    let busy = ActAs::parse("t:busy").unwrap();
    let held = people.hold(&busy, clock.now()).await;
    for number in 0..1000 {
        clock.advance(Duration::from_millis(1));
        let person = ActAs::new(&"u".parse().unwrap(), &number.to_string()).unwrap();
        drop(people.hold(&person, clock.now()).await);
    }
    let person = Arc::clone(&held.person);
    drop(held);
    assert!(Arc::ptr_eq(&people.hold(&busy, clock.now()).await.person, &person));
}
