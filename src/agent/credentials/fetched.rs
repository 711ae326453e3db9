//! Service accounts by OAuth client credentials (RFC 6749, section 4.4; Jira 11): their tokens are fetched, kept in
//! memory only, and fetched anew ahead of their end. One request at a time for each account.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::application::Application;
use super::myself::Myself;
use super::renewal::{self, Ends};
use super::tokens::within;
use super::{Asked, Credential, Keeper, Refusal};
use crate::agent::audit::{As, Audit, Event, Facts, Record};
use crate::common::clock::Clock;
use crate::common::ids::{ServiceName, UpstreamName};
use crate::common::problem::{Code, Problem};
use crate::common::tasks::Tasks;
use crate::config::values::SecretRef;
use crate::identity::oauth::{Client, Grant};

/// What `client-credentials = { … }` of a `[service.NAME]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// As in a rule's `as = { service = "NAME" }`.
    pub name: ServiceName,
    /// The account's user name at the application; answers must be made for it.
    pub user: String,
    /// Whose provider gives the tokens.
    pub upstream: UpstreamName,
    /// `client-id`.
    pub client_id: String,
    /// Where `client-secret` lies.
    pub client_secret: SecretRef,
    /// `scope`; names separated by spaces.
    pub scope: String,
    /// Where the provider takes token requests, below the base URL.
    pub token_path: String,
}

/// All such accounts.
#[derive(Default)]
pub struct ServiceTokens {
    all: ArcSwap<HashMap<ServiceName, Arc<Fetched>>>,
    audit: Arc<OnceLock<Audit>>,
}

/// One of them.
pub struct Fetched {
    config: ClientCredentials,
    client: Result<Client, String>,
    application: Box<dyn Application>,
    place: String,
    clock: Clock,
    tasks: Tasks,
    audit: Arc<OnceLock<Audit>>,
    view: ArcSwapOption<Token>,
    turn: Arc<Mutex<Turn>>,
}

struct Token {
    credential: Arc<Credential>,
    ends: Ends,
}

/// What only the holder of the lock sees and changes.
#[derive(Default)]
struct Turn {
    failures: u32,
    not_before: Option<Instant>,
    /// When `myself` last took the token.
    alive: Option<Instant>,
}

impl ServiceTokens {
    /// From here on each use of a secret, other than for a call, is recorded there.
    pub fn record_in(&self, audit: Audit) {
        // The first one stays: there is one audit.
        let _ = self.audit.set(audit);
    }

    /// Puts a configuration in force. An account that did not change, and whose provider is where it was, keeps its
    /// token. Gives what can't be used.
    pub fn configure<A: Application + 'static>(
        &self,
        configs: &[ClientCredentials],
        application: impl Fn(&UpstreamName) -> Option<A>,
        clock: &Clock,
        tasks: &Tasks,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let old = self.all.load();
        let mut all = HashMap::new();
        for config in configs {
            let client = match config.client_secret.read() {
                Ok(secret) => Ok(Client { id: config.client_id.clone(), secret }),
                Err(fault) => {
                    faults.push(format!("service “{}”: {fault}", config.name));
                    Err("its client secret can't be read at the agent".to_owned())
                }
            };
            let Some(application) = application(&config.upstream) else {
                faults.push(format!(
                    "service “{}”: there is no application “{}”",
                    config.name, config.upstream
                ));
                continue;
            };
            // Another application under the same name is another provider: the token is not its affair.
            let place = application.place();
            let same = |kept: &&Arc<Fetched>| {
                kept.config == *config && kept.place == place && kept.same_client(&client)
            };
            let kept = old.get(&config.name).filter(same);
            let fetched = Fetched {
                config: config.clone(),
                client,
                application: Box::new(application),
                place,
                clock: clock.clone(),
                tasks: tasks.clone(),
                audit: Arc::clone(&self.audit),
                view: ArcSwapOption::empty(),
                turn: Arc::default(),
            };
            let fetched = Arc::new(fetched);
            if let Some(token) = kept.and_then(|kept| kept.view.load_full()) {
                fetched.keep(token.credential.renamed(&config.user), token.ends);
            }
            all.insert(config.name.clone(), fetched);
        }
        self.all.store(Arc::new(all));
        faults
    }

    /// The account of this name, if it is of this kind.
    pub fn get(&self, name: &ServiceName) -> Option<Arc<Fetched>> {
        self.all.load().get(name).cloned()
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<ClientCredentials> {
        let mut list: Vec<_> = self.all.load().values().map(|fetched| fetched.config.clone()).collect();
        list.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        list
    }

    /// The files with secrets, to be watched.
    pub fn files(&self) -> Vec<PathBuf> {
        let file = |fetched: &Arc<Fetched>| match &fetched.config.client_secret {
            SecretRef::File(path) => Some(path.clone()),
            SecretRef::Credential(_) => None,
        };
        self.all.load().values().filter_map(file).collect()
    }
}

impl Fetched {
    /// Its credential; waits only if there is none that can be used.
    pub async fn credential(self: &Arc<Self>) -> Result<Arc<Credential>, Problem> {
        let now = self.clock.now();
        if let Some(token) = self.usable(now) {
            if now >= token.ends.renew
                && let Ok(turn) = Arc::clone(&self.turn).try_lock_owned()
                && turn.not_before.is_none_or(|not_before| now >= not_before)
            {
                let this = Arc::clone(self);
                self.tasks.spawn_detached(async move { this.fetch(turn).await });
            }
            return Ok(Arc::clone(&token.credential));
        }
        let held = tokio::time::timeout(PATIENCE, Arc::clone(&self.turn).lock_owned()).await;
        let turn = held.map_err(|_| self.unavailable(2))?;
        if let Some(token) = self.usable(self.clock.now()) {
            return Ok(Arc::clone(&token.credential));
        }
        self.fetched_by(turn).await
    }

    /// In a task of its own, so that a caller that leaves does not make the next one begin anew.
    async fn fetched_by(self: &Arc<Self>, turn: OwnedMutexGuard<Turn>) -> Result<Arc<Credential>, Problem> {
        let this = Arc::clone(self);
        let fetched = self.tasks.spawn_detached(async move { this.fetch(turn).await });
        match tokio::time::timeout(PATIENCE, fetched).await {
            Ok(Ok(result)) => result,
            _ => Err(self.unavailable(2)),
        }
    }

    async fn fetch(self: Arc<Self>, mut turn: OwnedMutexGuard<Turn>) -> Result<Arc<Credential>, Problem> {
        let asked = self.clock.now();
        if let Some(not_before) = turn.not_before.filter(|not_before| asked < *not_before) {
            return Err(self.unavailable((not_before - asked).as_secs()));
        }
        let result = match &self.client {
            Err(fault) => Err(fault.clone()),
            Ok(client) => {
                let form = Grant::ClientCredentials { scope: &self.config.scope }.form(client);
                let answer = within(REQUEST, self.application.tokens(&self.config.token_path, form)).await;
                let answer = answer.map_err(|fault| fault.to_string());
                match &answer {
                    Ok(_) => self.note("the client secret was sent, and an access token fetched"),
                    Err(reason) => {
                        self.note(&format!(
                            "the client secret was sent, and no access token fetched: {reason}"
                        ));
                    }
                }
                answer
            }
        };
        let made = result.and_then(|tokens| {
            let credential = Credential::bearer(&self.config.user, &tokens.access);
            let credential = credential.map_err(|unsendable| unsendable.to_string())?;
            Ok((credential, Ends::of(asked, tokens.lifetime, rand::random())))
        });
        match made {
            Ok((credential, ends)) => {
                *turn = Turn::default();
                Ok(self.keep(credential, ends))
            }
            Err(reason) => {
                turn.failures = turn.failures.saturating_add(1);
                let pause = renewal::pause(turn.failures, rand::random());
                turn.not_before = Some(self.clock.now() + pause);
                tracing::warn!(service = %self.config.name, reason, "no token could be fetched");
                Err(self.unavailable(pause.as_secs()))
            }
        }
    }

    /// Notes a use of its secret other than for a call.
    fn note(&self, words: &str) {
        let facts = Facts {
            identity: Some(As::Service(self.config.name.as_str())),
            jira_user: Some(&self.config.user),
            upstream: Some(self.config.upstream.as_str()),
            ..Facts::default()
        };
        if let Some(audit) = self.audit.get() {
            audit.note(&Record::new(Event::SecretUsed).about(facts).detail(words));
        }
    }

    /// From here on calls use it.
    fn keep(self: &Arc<Self>, credential: Credential, ends: Ends) -> Arc<Credential> {
        let keeper = FetchedKeeper(Arc::downgrade(self));
        let credential = Arc::new(credential.kept_by(Arc::new(keeper)));
        self.view.store(Some(Arc::new(Token { credential: Arc::clone(&credential), ends })));
        credential
    }

    fn usable(&self, now: Instant) -> Option<Arc<Token>> {
        self.view.load_full().filter(|token| now < token.ends.stop)
    }

    fn same_client(&self, other: &Result<Client, String>) -> bool {
        match (&self.client, other) {
            (Ok(one), Ok(other)) => one.secret.expose() == other.secret.expose(),
            _ => false,
        }
    }

    /// Without the reason: it may name a node, and what a caller is told passes the relay.
    fn unavailable(&self, seconds: u64) -> Problem {
        let detail = format!(
            "The rule makes this call as service {}, and no token for it can be fetched for now, so the call was not \
             made. At the site, the agent's log says why; check its client-credentials.",
            self.config.name
        );
        let seconds = u32::try_from(seconds.saturating_add(1)).unwrap_or(u32::MAX);
        Problem::new(Code::CredentialUnavailable, detail).with_retry_after(seconds)
    }

    async fn refused(self: Arc<Self>, used: http::HeaderValue) -> Refusal {
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        let now = self.clock.now();
        if let Some(token) = self.view.load_full()
            && token.credential.authorization() != used
        {
            return Refusal::Renewed(Arc::clone(&token.credential));
        }
        if turn.alive.is_some_and(|when| now.saturating_duration_since(when) < HOLDS) {
            return Refusal::Alive;
        }
        let said = self.application.myself(&used).await;
        self.note("asked whose it is, after a refusal");
        match said {
            Myself::Is(_) => {
                turn.alive = Some(self.clock.now());
                Refusal::Alive
            }
            Myself::Unknown(_) => Refusal::Alive,
            Myself::Refused | Myself::SwitchedOff => {
                self.view.store(None);
                match self.fetch(turn).await {
                    Ok(credential) => Refusal::Renewed(credential),
                    Err(problem) => Refusal::Lost(Box::new(problem)),
                }
            }
        }
    }
}

struct FetchedKeeper(Weak<Fetched>);

impl Keeper for FetchedKeeper {
    fn refused<'a>(&'a self, credential: &'a Credential) -> Asked<'a, Refusal> {
        let used = credential.authorization().clone();
        Box::pin(async move {
            let Some(fetched) = self.0.upgrade() else { return Refusal::Alive };
            let tasks = fetched.tasks.clone();
            let asked = tasks.spawn_detached(fetched.refused(used));
            match tokio::time::timeout(PATIENCE * 2, asked).await {
                Ok(Ok(refusal)) => refusal,
                _ => Refusal::Alive,
            }
        })
    }

    fn other_name<'a>(&'a self, _: &'a Credential) -> Asked<'a, Option<Arc<Credential>>> {
        // The configuration says who it is.
        Box::pin(async { None })
    }
}

/// A token request takes no longer; the next one is a new try, since nothing is used up.
const REQUEST: Duration = Duration::from_secs(60);
/// A call waits no longer for a token.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer of `myself` holds.
const HOLDS: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Mutex as StdMutex;

    use super::super::application::Answer;
    use super::super::tokens::RequestFault;
    use super::*;
    use crate::agent::audit::written;
    use crate::agent::store::tables::mappings::Account;
    use crate::common::secret::Secret;
    use crate::identity::oauth::Tokens;

    #[derive(Clone)]
    struct Scripted(Arc<Script>);

    struct Script {
        place: StdMutex<String>,
        forms: StdMutex<Vec<String>>,
        whose: StdMutex<Myself>,
        up: std::sync::atomic::AtomicBool,
    }

    impl Application for Scripted {
        fn place(&self) -> String {
            self.0.place.lock().unwrap().clone()
        }

        fn tokens<'a>(
            &'a self,
            path: &'a str,
            form: Secret<String>,
        ) -> Answer<'a, Result<Tokens, RequestFault>> {
            assert_eq!(path, "/token");
            let mut forms = self.0.forms.lock().unwrap();
            forms.push(form.expose().clone());
            let number = forms.len();
            let up = self.0.up.load(std::sync::atomic::Ordering::Relaxed);
            Box::pin(async move {
                tokio::task::yield_now().await;
                if !up {
                    return Err(RequestFault::Unsent("no connection to jira-node-2:8443".to_owned()));
                }
                Ok(Tokens {
                    access: Secret::new(format!("a{number}")),
                    refresh: None,
                    lifetime: Duration::from_secs(3600),
                    scope: None,
                })
            })
        }

        fn revoke<'a>(&'a self, _: &'a str, _: Secret<String>) -> Answer<'a, Result<(), RequestFault>> {
            Box::pin(async { Ok(()) })
        }

        fn myself<'a>(&'a self, _: &'a http::HeaderValue) -> Answer<'a, Myself> {
            Box::pin(async { self.0.whose.lock().unwrap().clone() })
        }
    }

    struct Bench {
        all: ServiceTokens,
        script: Scripted,
        clock: Clock,
        tasks: Tasks,
        config: ClientCredentials,
        folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let secret = folder.path().join("secret");
            std::fs::write(&secret, "s3cret\n").unwrap();
            std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
            let account =
                Account { key: "K".to_owned(), name: "svc".to_owned(), display_name: String::new() };
            let script = Scripted(Arc::new(Script {
                place: StdMutex::new("https://jira.example".to_owned()),
                forms: StdMutex::default(),
                whose: StdMutex::new(Myself::Is(account)),
                up: true.into(),
            }));
            let config = ClientCredentials {
                name: "reader".parse().unwrap(),
                user: "svc".to_owned(),
                upstream: "jira".parse().unwrap(),
                client_id: "outhaul".to_owned(),
                client_secret: SecretRef::File(secret),
                scope: "READ WRITE".to_owned(),
                token_path: "/token".to_owned(),
            };
            let bench = Self {
                all: ServiceTokens::default(),
                script,
                clock: Clock::manual(),
                tasks: Tasks::new(),
                config,
                folder,
            };
            assert!(bench.configure().is_empty());
            bench
        }

        fn configure(&self) -> Vec<String> {
            let application = |_: &UpstreamName| Some(self.script.clone());
            self.all.configure(std::slice::from_ref(&self.config), application, &self.clock, &self.tasks)
        }

        async fn credential(&self) -> Result<Arc<Credential>, Problem> {
            self.all.get(&self.config.name).unwrap().credential().await
        }

        async fn token(&self) -> String {
            self.credential().await.unwrap().authorization().to_str().unwrap().to_owned()
        }

        fn requests(&self) -> usize {
            self.script.0.forms.lock().unwrap().len()
        }
    }

    #[tokio::test]
    async fn a_token_is_fetched_once_and_again_ahead_of_its_end() {
        let bench = Bench::new();
        let tokens = futures_util::future::join_all((0..64).map(|_| bench.token())).await;
        assert!(tokens.iter().all(|token| token == "Bearer a1"));
        assert_eq!(bench.requests(), 1);
        assert_eq!(
            bench.script.0.forms.lock().unwrap()[0],
            "grant_type=client_credentials&scope=READ+WRITE&client_id=outhaul&client_secret=s3cret"
        );
        bench.configure();
        assert_eq!(bench.token().await, "Bearer a1", "a reload keeps it");
        bench.clock.advance(Duration::from_secs(3545));
        assert_eq!(bench.token().await, "Bearer a1", "nobody waits for the next one");
        while bench.token().await != "Bearer a2" {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.requests(), 2);
        bench.clock.advance(Duration::from_secs(3600));
        assert_eq!(bench.token().await, "Bearer a3");
        assert_eq!(bench.credential().await.unwrap().user(), "svc");
    }

    #[tokio::test]
    async fn a_provider_that_is_away_is_asked_again_after_a_pause() {
        let bench = Bench::new();
        bench.script.0.up.store(false, std::sync::atomic::Ordering::Relaxed);
        for _ in 0..5 {
            let problem = bench.credential().await.unwrap_err();
            assert_eq!(problem.code, Code::CredentialUnavailable);
            assert!(!problem.detail.contains("s3cret") && !problem.detail.contains("jira-node-2"));
        }
        assert_eq!(bench.requests(), 1);
        bench.script.0.up.store(true, std::sync::atomic::Ordering::Relaxed);
        bench.clock.advance(Duration::from_secs(3));
        assert_eq!(bench.token().await, "Bearer a2");
    }

    #[tokio::test]
    async fn a_token_that_died_is_fetched_anew() {
        let bench = Bench::new();
        bench.credential().await.unwrap();
        bench.configure();
        let credential = bench.credential().await.unwrap();
        let keeper = credential.keeper().unwrap();
        assert!(matches!(keeper.refused(&credential).await, Refusal::Alive));
        bench.clock.advance(Duration::from_secs(31));
        *bench.script.0.whose.lock().unwrap() = Myself::Refused;
        for _ in 0..2 {
            let Refusal::Renewed(renewed) = keeper.refused(&credential).await else { panic!() };
            assert_eq!(renewed.authorization(), "Bearer a2");
        }
        assert_eq!(bench.requests(), 2);
    }
    #[tokio::test]
    async fn another_provider_of_the_same_name_never_sees_the_token() {
        let bench = Bench::new();
        assert_eq!(bench.token().await, "Bearer a1");
        bench.configure();
        assert_eq!(bench.token().await, "Bearer a1");
        *bench.script.0.place.lock().unwrap() = "https://other.example".to_owned();
        bench.configure();
        assert_eq!(bench.token().await, "Bearer a2");
    }
    #[tokio::test]
    async fn each_use_of_its_secret_is_recorded() {
        let bench = Bench::new();
        let (audit, written) = written::start(bench.folder.path(), &bench.clock, &bench.tasks).await;
        bench.all.record_in(audit);
        let credential = bench.credential().await.unwrap();
        assert!(matches!(credential.keeper().unwrap().refused(&credential).await, Refusal::Alive));
        bench.script.0.up.store(false, std::sync::atomic::Ordering::Relaxed);
        bench.clock.advance(Duration::from_secs(3600));
        bench.credential().await.unwrap_err();
        assert_eq!(
            written.secret_used().await,
            [
                "service:reader svc jira: the client secret was sent, and an access token fetched",
                "service:reader svc jira: asked whose it is, after a refusal",
                "service:reader svc jira: the client secret was sent, and no access token fetched: the application could \
                 not be asked: no connection to jira-node-2:8443",
            ]
        );
    }
}
