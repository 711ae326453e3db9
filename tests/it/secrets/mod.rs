//! Where secrets must not be found: relay and agent with every kind of secret that there is, driven through all that is
//! done with them, and then searched, with their files, logs and pages. And that the search finds what is there.

mod application;
mod canary;
mod controls;
mod needles;
mod places;

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, StatusCode, header};

use application::{Application, Tokens};
use needles::{Needles, marker};
use places::{Found, in_environment, in_folder, in_memory, in_open_files, in_text, may_look};

use crate::support::client::{Answer, Client, plain_get};
use crate::support::door::{Door, Version, empty};
use crate::support::person::{Linking, Person};
use crate::support::pki::write_private;
use crate::support::process::{Daemon, text};
use crate::support::world::{World, host};
use crate::support::{eventually, free_port};

const PATIENCE: Duration = Duration::from_secs(20);

/// Relay and agent, which log all they can, and the application.
struct Site {
    world: World,
    application: Application,
    relay: Daemon,
    agent: Daemon,
    client: Client,
    client_key: String,
    pages_port: u16,
    metrics_port: u16,
    /// What the relay sees in passing, since it ends the callers' TLS: that it keeps nothing of it is searched for in
    /// its files and logs, and not in its memory.
    passed: RefCell<Vec<(String, Vec<u8>)>>,
    found: RefCell<Found>,
    /// What agents that were killed have logged.
    logged: RefCell<String>,
}

impl Site {
    async fn start() -> Self {
        let application = Application::start().await;
        let (pages_port, metrics_port) = (free_port(), free_port());
        let world = World::new(application.url());
        let at = text(world.path()).to_owned();
        for name in ["oauth", "robot"] {
            let secret = application.secret(&format!("client secret of {name}"));
            write_private(&world.path().join(name), &format!("{secret}\n"));
        }
        let (chain, key) = world.authority.issue("pages", &["localhost"]);
        let old = format!("user = \"reader\"\npat = {{ file = \"{at}/reader.pat\" }}");
        let new = format!(
            "user = \"reader\"\npat = \"stored\"\n[service.old]\nuser = \"old\"\nbasic-password = \"stored\"\n\
             [service.robot]\nuser = \"robot\"\n\
             client-credentials = {{ client-id = \"robot\", client-secret = {{ file = \"{at}/robot\" }} }}\n\
             [upstream.jira.oauth]\nclient-id = \"outhaul\"\nclient-secret = {{ file = \"{at}/oauth\" }}\n\
             [pages]\nlisten = \"127.0.0.1:{pages_port}\"\nurl = \"https://localhost:{pages_port}\"\n\
             certificate = \"{}\"\nprivate-key = \"{}\"\naccept-relay-trust = true\n\
             [caller.bot]\nact-as = [\"t\"]\n[metrics]\nlisten = \"127.0.0.1:{metrics_port}\"\n\
             [log]\nfilter = \"trace\"",
            text(&chain),
            text(&key)
        );
        world.edit_agent(&old, &new);
        world.edit_agent(
            "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
            "[[policy.rule]]\nallow = [\"GET /rest/api/2/myself\", \"PUT /rest/api/2/issue/*\"]\nwhy = \"Theirs\"\n\
             as = \"user\"\naccept-relay-trust = true\n\n[[policy.rule]]\nallow = \"GET /rest/api/old/**\"\n\
             why = \"Old\"\nas = { service = \"old\" }\n\n[[policy.rule]]\nallow = \"GET /rest/api/robot/**\"\n\
             why = \"Robot\"\nas = { service = \"robot\" }\n\n[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
        );
        world.edit_relay("[admin]", "[log]\nfilter = \"trace\"\nformat = \"json\"\n\n[admin]");

        let mut relay = world.start_relay();
        relay.line("the relay is ready").await;
        let token = world.token().await;
        application.saw("enrolment token", &token);
        let enrolled = world.agent_with_input(&["enrol"], &format!("{token}\n")).await;
        assert_eq!(enrolled.code, 0, "{enrolled:?}");
        let mut agent = world.start_agent();
        agent.line("connected to the relay").await;
        let added = world.agent(&["caller", "add", "bot", "--json"]).await.json();
        let key = added["key"].as_str().unwrap().to_owned();
        let client = world.client().with_key(&key);
        let site = Self {
            world,
            application,
            relay,
            agent,
            client,
            client_key: key.clone(),
            pages_port,
            metrics_port,
            passed: RefCell::default(),
            found: RefCell::default(),
            logged: RefCell::default(),
        };
        // Its beginning, `ohk_` and the id, may be shown.
        site.passed("caller's key", key.splitn(3, '_').nth(2).unwrap());
        site.saw_store_key();
        site
    }

    /// Notes a secret that comes through the relay.
    fn passed(&self, name: &str, secret: &str) {
        let mut passed = self.passed.borrow_mut();
        passed.push((name.to_owned(), secret.as_bytes().to_vec()));
        passed.extend(application::raw(secret).map(|raw| (format!("{name}, its bytes"), raw)));
    }

    fn saw_store_key(&self) {
        let key = std::fs::read_to_string(self.world.path().join("store.key")).unwrap();
        self.application.saw("store key", key.trim());
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.get(&host(), &format!("/jira/rest/api/{path}")).await.unwrap()
    }

    async fn person(&self, method: Method, path: &str, person: &str) -> Answer {
        let request = Request::builder().method(method).uri(format!("/jira/rest/api/2/{path}"));
        let request = request.header("outhaul-act-as", format!("t:{person}"));
        let body = if path == "myself" { "" } else { "{}" };
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.client.call(&host(), request.body(body.into()).unwrap()).await.unwrap()
    }

    /// Who the calls of this person are made as.
    async fn whoami(&self, person: &str) -> String {
        let answer = self.person(Method::GET, "myself", person).await;
        match answer.problem() {
            Some(code) => code.to_owned(),
            None => answer.json()["name"].as_str().unwrap().to_owned(),
        }
    }

    fn needles(&self) -> Needles {
        Needles::of(self.application.secrets().iter().chain(self.passed.borrow().iter()))
    }

    /// Runs a command of the agent's; what it prints must hold no secret.
    async fn command(&self, arguments: &[&str], input: &str, code: i32) -> String {
        let done = self.world.agent_with_input(arguments, input).await;
        assert_eq!(done.code, code, "{arguments:?}: {done:?}");
        self.look(in_text(&arguments.join(" "), &format!("{}{}", done.out, done.err), &self.needles()));
        done.out
    }

    fn look(&self, found: Found) {
        self.found.borrow_mut().extend(found);
    }

    /// Looks into all that lies on disk.
    fn look_at_files(&self) {
        let needles = self.needles();
        for folder in ["agent-state", "relay-state", "backups"] {
            let folder = self.world.path().join(folder);
            let (found, files) = in_folder(&folder, &needles);
            self.look(found);
            let control = folder.join("control");
            std::fs::write(&control, self.application.secret("control")).unwrap();
            let (found, with_control) = in_folder(&folder, &self.needles());
            assert!(!found.is_empty() && with_control > files, "{found:?}");
            std::fs::remove_file(control).unwrap();
        }
    }

    /// Looks into what runs: its open files, environment and pages, and the relay's memory.
    async fn look_at_processes(&self) {
        let needles = self.needles();
        for (port, known) in [(self.metrics_port, "outhaul_"), (self.world.operator_port, "outhaul_")] {
            let page = plain_get(port, "/metrics").await;
            assert!(page.contains(known), "{page}");
            self.look(in_text("metrics", &page, &needles));
        }
        for page in ["/agents", "/ready"] {
            let page = plain_get(self.world.operator_port, page).await;
            self.look(in_text("operator page", &page, &needles));
        }
        if !may_look() {
            eprintln!("memory, environment and open files are not searched: only root may look");
            return;
        }
        for process in [self.agent.id(), self.relay.id()] {
            let (found, nameless) = in_open_files(process, &needles);
            assert_eq!(nameless, Vec::<String>::new(), "a file without a name would be a temporary one");
            self.look(found);
            self.look(in_environment(process, &needles));
        }
        let kept = Needles::of(&self.application.secrets());
        let (found, searched) = in_memory(self.relay.id(), &kept);
        self.look(found);
        let mut known = Needles::new();
        known.add("the relay's zone", b"relay.localhost");
        let (control, _) = in_memory(self.relay.id(), &known);
        assert!(!control.is_empty() && searched > 1 << 20, "{searched} bytes were searched");
    }
}

impl Linking for Site {
    fn caller(&self) -> &Client {
        &self.client
    }

    fn pages(&self) -> Client {
        Client::new(&self.world.authority.file, self.pages_port)
    }

    async fn consent(&self, user: &str, authorize: &str) -> String {
        let (_, query) = authorize.split_once('?').unwrap();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, state) = pairs.find(|(name, _)| name == "state").unwrap();
        let code = self.application.code(user);
        let code: String = form_urlencoded::byte_serialize(code.as_bytes()).collect();
        format!("/link/callback?code={code}&state={state}")
    }

    fn saw(&self, what: &str, secret: &str, passes: bool) {
        if passes {
            self.passed(what, secret);
        } else {
            self.application.saw(what, secret);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_where_it_does_not_belong() {
    let mut site = Site::start().await;
    let application = &site.application;
    let backups = site.world.path().join("backups");
    std::fs::create_dir(&backups).unwrap();

    // The accounts.
    let [pat, password] = [application.pat("reader"), application.password("old")];
    site.command(&["credential", "set", "reader"], &format!("{pat}\n"), 0).await;
    site.command(&["credential", "set", "old"], &format!("{password}\n"), 0).await;
    for name in ["reader", "old"] {
        site.command(&["credential", "test", name], "", 0).await;
    }
    for (path, name) in [("2/serverInfo", "reader"), ("old/x", "old"), ("robot/x", "robot")] {
        let answer = site.get(path).await;
        assert_eq!((answer.status, answer.json()["name"].as_str()), (StatusCode::OK, Some(name)));
    }

    // The caller's key as the password of a library that knows Basic only, and in HTTP/2.
    let door = Door::new(&site.world.authority.file, site.world.port, &site.client_key);
    let basic = format!("Basic {}", STANDARD.encode(format!("any:{}", site.client_key)));
    for (version, authorization) in
        [(Version::One, Some(basic.as_str())), (Version::Two, Some(&basic)), (Version::Two, None)]
    {
        let mut request = Request::get("/jira/rest/api/2/serverInfo");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let mut line = door.line(version).await.unwrap();
        let answer = door.send(&mut line, request.body(empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    // The people: by a token at the command line, by one on the page, by consent.
    let token = application.pat("pat");
    site.command(&["link", "create", "t:pat"], &format!("{token}\n"), 0).await;
    Person::new(&site, "paste").pastes(&application.pat("paste")).await;
    for name in ["alice", "bob", "carol", "dave"] {
        Person::new(&site, name).consents().await;
    }
    let said = marker().replace(['+', '/'], "x");
    Person::new(&site, "eve").declines(&said).await;
    for name in ["pat", "paste", "alice", "bob", "carol", "dave"] {
        assert_eq!(site.whoami(name).await, name);
        assert_eq!(site.person(Method::PUT, "issue/A-1", name).await.status, StatusCode::OK);
    }
    if may_look() {
        let (found, _) = in_memory(site.agent.id(), &token_of(&application.token("alice")));
        assert!(!found.is_empty(), "what is in use is in the agent's memory, and found there");
    }

    // To the end of the tokens, and beyond it, once a second time.
    for round in 1..=2 {
        application.expire("alice");
        let calls = (0..8).map(|_| site.whoami("alice"));
        for name in futures_util::future::join_all(calls).await {
            assert_eq!(name, "alice");
        }
        assert_eq!(application.refreshes(), round);
    }
    site.command(&["store", "backup", text(&backups.join("before"))], "", 0).await;
    site.look_at_files();
    site.look_at_processes().await;

    // A new key, and everything sealed anew.
    site.command(&["store", "rekey"], "", 0).await;
    site.saw_store_key();
    eventually("everything is sealed anew", PATIENCE, async || {
        site.world.status().await["store"]["resealing"] == false
    })
    .await;
    site.command(&["store", "backup", text(&backups.join("after"))], "", 0).await;

    // Killed while calls and a renewal are under way.
    application.expire("alice");
    {
        let calls = futures_util::future::join_all((0..8).map(|_| async {
            let request = Request::get("/jira/rest/api/2/myself").header("outhaul-act-as", "t:alice");
            site.client.call(&host(), request.body(bytes::Bytes::new()).unwrap()).await
        }));
        let process = site.agent.id().to_string();
        let kill = async {
            let renewed = async || site.application.refreshes() == 3;
            eventually("a renewal is under way", PATIENCE, renewed).await;
            assert!(std::process::Command::new("kill").args(["-9", &process]).status().unwrap().success());
        };
        tokio::join!(calls, kill);
    }
    site.agent.kill();
    let log = site.world.path().join("agent-state/store.db-wal");
    assert!(log.metadata().unwrap().len() > 0, "what was written last lies in the write-ahead log");
    site.look_at_files();
    site.logged.borrow_mut().push_str(&site.agent.log());
    site.agent = site.world.start_agent();
    site.agent.line("connected to the relay").await;
    let application = &site.application;
    assert_eq!(site.whoami("pat").await, "pat");

    // Renewals that fail, also by a provider that repeats what it was sent.
    for (person, how, problem) in [
        ("bob", Tokens::Busy, "credential-unavailable"),
        ("carol", Tokens::Refused("invalid_client"), "credential-unavailable"),
        ("dave", Tokens::Refused("invalid_grant"), "needs-reauth"),
    ] {
        assert_eq!(site.whoami(person).await, person);
        application.tokens(how);
        application.expire(person);
        assert_eq!(site.whoami(person).await, problem);
        application.tokens(Tokens::Given);
    }
    application.tokens(Tokens::Refused("invalid_grant"));
    Person::new(&site, "eve").consents_in_vain().await;
    application.expire("robot");
    assert_eq!(site.get("robot/x").await.problem(), Some("credential-unavailable"));
    application.tokens(Tokens::Given);
    // A token that died, of a person and of a service.
    for name in ["paste", "reader", "old"] {
        application.expire(name);
    }
    assert_eq!(site.whoami("paste").await, "needs-reauth");
    assert_eq!(site.get("2/serverInfo").await.problem(), Some("needs-reauth"));
    assert_eq!(site.get("old/x").await.problem(), Some("needs-reauth"));
    site.command(&["link", "create", "t:x"], &format!("{}\n", application.secret("dead PAT")), 65).await;
    // Keys that are none: the relay can't know that for all of them.
    let start = site.client_key.get(..17).unwrap();
    for key in [marker(), format!("{start}{}", &marker()[..43].replace(['+', '/'], "x"))] {
        site.passed("wrong key of a caller", key.rsplit('_').next().unwrap());
        let answer =
            site.world.client().with_key(&key).get(&host(), "/jira/rest/api/2/myself").await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }

    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["check-config"],
        &["policy", "list"],
        &["policy", "explain", "GET", "/rest/api/2/myself"],
        &["caller", "list"],
        &["credential", "list"],
        &["link", "list"],
        &["link", "list", "--json"],
        &["link", "export"],
        &["audit", "list", "--json"],
        &["audit", "export"],
        &["store", "verify"],
        &["reload"],
        &["link", "remove", "t:pat"],
        &["credential", "remove", "old"],
    ] {
        let out = site.command(arguments, "", 0).await;
        assert!(!out.is_empty(), "{arguments:?}");
    }
    for arguments in [&["agents", "--json"][..], &["site", "list", "--json"]] {
        let done = site.world.relay(arguments).await;
        site.look(in_text(&arguments.join(" "), &format!("{}{}", done.out, done.err), &site.needles()));
    }
    site.look_at_files();
    site.look_at_processes().await;

    // Aborted, as a fault in a library would do it.
    site.agent.signal("ABRT");
    let end = site.agent.end().await;
    assert!(end.signal() == Some(6) && !end.core_dumped(), "{end}");
    site.relay.signal("ABRT");
    assert!(!site.relay.end().await.core_dumped());
    site.look_at_files();
    let needles = site.needles();
    for (log, log_of) in [
        (&*site.logged.borrow(), "log of the agent that was killed"),
        (&site.agent.log(), "log of the agent"),
        (&site.relay.log(), "log of the relay"),
    ] {
        assert!(log.contains("TRACE"), "everything is logged");
        site.look(in_text(log_of, log, &needles));
    }
    let mut control = Needles::new();
    control.add("the application's word", said.as_bytes());
    let logged = in_text("log", &site.logged.borrow(), &control);
    assert!(!logged.is_empty(), "what is in the log is found there");
    let found = site.found.borrow();
    assert!(found.is_empty(), "{found:#?}");
}

fn token_of(token: &str) -> Needles {
    let mut needles = Needles::new();
    needles.add("token", token.as_bytes());
    needles
}
