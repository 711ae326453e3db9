//! The trap: Jira serves a dead bearer as nobody, with 200 where everybody may look, and does what everybody may do.
//! With all processes running: that never reaches a caller as success, for any account, and any way a credential dies.

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::free_port;
use crate::support::jira::Jira;
use crate::support::person::{Linking, Person};
use crate::support::pki::write_private;
use crate::support::process::text;
use crate::support::world::{Running, World, host};

struct Site {
    running: Running,
    jira: Jira,
    pages_port: u16,
}

/// Whose credential dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    Service,
    Pat,
    OAuth,
}

/// What is asked for: open to everybody, or not.
#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    ReadOpen,
    ReadHidden,
    WriteOpen,
    WriteHidden,
}

const ALL: [What; 4] = [What::ReadOpen, What::ReadHidden, What::WriteOpen, What::WriteHidden];

impl Site {
    async fn start(switches: &[&str]) -> Self {
        let pages_port = free_port();
        let redirect = format!("https://localhost:{pages_port}/link/callback");
        let client = format!("id=outhaul,secret=s3cret,scope=READ+WRITE,redirect={redirect}");
        let trap = ["--switch", "invalid-bearer=anonymous", "--switch", "anonymous-comment=yes"];
        let mut arguments = vec!["--oauth-client", &client];
        arguments.extend(trap.into_iter().chain(switches.iter().flat_map(|one| ["--switch", one])));
        let jira = Jira::start(1, &arguments).await;
        let world = World::new("NODES");
        let at = text(world.path()).to_owned();
        write_private(&world.path().join("oauth"), "s3cret\n");
        let (chain, key) = world.authority.issue("pages", &["localhost"]);
        world.edit_agent("\"NODES\"", &jira.list());
        world.edit_agent(
            &format!("user = \"reader\"\npat = {{ file = \"{at}/reader.pat\" }}"),
            &format!(
                "user = \"svc-outhaul\"\npat = \"stored\"\n\
                 [upstream.jira.oauth]\nclient-id = \"outhaul\"\nclient-secret = {{ file = \"{at}/oauth\" }}\n\
                 [pages]\nlisten = \"127.0.0.1:{pages_port}\"\nurl = \"https://localhost:{pages_port}\"\n\
                 certificate = \"{}\"\nprivate-key = \"{}\"\naccept-relay-trust = true\n\
                 [caller.bot]\nact-as = [\"t\"]",
                text(&chain),
                text(&key)
            ),
        );
        world.edit_agent("/rest/api/2/**", "/rest/api/latest/**");
        world.edit_agent("POST /rest/api/2/issue/*/comment", "POST /rest/api/latest/issue/*/comment");
        world.edit_agent(
            "[[policy.rule]]\nallow = \"GET",
            "[[policy.rule]]\nallow = \"GET|POST /rest/api/2/**\"\nwhy = \"As themselves\"\nas = \"user\"\n\
             accept-relay-trust = true\n\n[[policy.rule]]\nallow = \"GET",
        );
        Self { running: Running::start(world).await, jira, pages_port }
    }

    /// A fresh credential of the account.
    async fn make_ready(&self, of: Of) {
        let world = &self.running.world;
        let done = match of {
            Of::Service => {
                let token = self.jira.fresh_token("svc-outhaul").await;
                world.agent_with_input(&["credential", "set", "reader"], &format!("{token}\n")).await
            }
            Of::Pat => {
                let token = self.jira.fresh_token("alice").await;
                world.agent_with_input(&["link", "create", "t:alice"], &format!("{token}\n")).await
            }
            Of::OAuth => return Person::new(self, "alice").consents().await,
        };
        assert_eq!(done.code, 0, "{done:?}");
    }

    async fn call(&self, of: Of, what: What, person: &str) -> Answer {
        let version = if of == Of::Service { "latest" } else { "2" };
        let issue = if matches!(what, What::ReadOpen | What::WriteOpen) { "OPEN-1" } else { "DEMO-1" };
        let path = format!("/jira/rest/api/{version}/issue/{issue}");
        let request = if matches!(what, What::ReadOpen | What::ReadHidden) {
            Request::get(path).body(Bytes::new())
        } else {
            let request = Request::post(format!("{path}/comment"));
            request.header(header::CONTENT_TYPE, "application/json").body(r#"{"body":"hello"}"#.into())
        };
        let mut request = request.unwrap();
        if of != Of::Service {
            let name = format!("t:{person}").parse().unwrap();
            request.headers_mut().insert("outhaul-act-as", name);
        }
        self.running.client.call(&host(), request).await.unwrap()
    }

    /// The same, and what its caller heard: the code and what became of the call, or whose the answer is.
    async fn heard(&self, of: Of, what: What) -> String {
        let answer = self.call(of, what, "alice").await;
        let heard = heard(&answer);
        assert!(
            !answer.status.is_success() || ["alice", "svc-outhaul"].contains(&heard.as_str()),
            "{of:?} {what:?}: nobody's answer as a success: {answer:?}"
        );
        heard
    }

    /// The comments that were made here.
    async fn comments(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for issue in ["OPEN-1", "DEMO-1"] {
            let path = format!("/rest/api/2/issue/{issue}/comment");
            let list = self.jira.direct(0, Method::GET, &path, "").await.json();
            all.extend(
                list["comments"].as_array().unwrap().iter().filter(|one| one["body"] == "hello").cloned(),
            );
        }
        all
    }
}

impl Linking for Site {
    fn caller(&self) -> &Client {
        &self.running.client
    }

    fn pages(&self) -> Client {
        Client::new(&self.running.world.authority.file, self.pages_port)
    }

    async fn consent(&self, user: &str, authorize: &str) -> String {
        let wish = json!({ "user": user, "authorize": authorize }).to_string();
        let answer = self.jira.ask(Method::POST, "/oauth/consent", &wish).await;
        answer["location"].as_str().unwrap().to_owned()
    }
}

fn heard(answer: &Answer) -> String {
    match answer.problem() {
        Some(code) => {
            format!("{} {code} {}", answer.status.as_u16(), answer.json()["outcome"].as_str().unwrap())
        }
        None => match answer.headers.get("x-ausername") {
            Some(name) => name.to_str().unwrap().to_owned(),
            None => format!("{}", answer.status),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_services_dead_token_is_never_a_success() {
    let site = Site::start(&[]).await;
    for order in ["/tokens/svc-outhaul/revoke", "/tokens/svc-outhaul/expire", "/users/svc-outhaul/deactivate"]
    {
        for what in ALL {
            site.make_ready(Of::Service).await;
            assert_eq!(site.heard(Of::Service, what).await, "svc-outhaul");
            site.jira.post(order).await;
            let heard = site.heard(Of::Service, what).await;
            assert_eq!(heard, "502 identity-mismatch outcome-unknown", "{order} {what:?}");
            site.jira.post("/users/svc-outhaul/reactivate").await;
        }
    }
}

/// How a person's credential dies, and what its calls hear from then on.
struct Death {
    of: Of,
    order: &'static str,
    /// What each call hears that was not made for the person, but for a write that nobody was refused: that may have
    /// been done.
    code: &'static str,
    /// What the next one hears.
    then: &'static str,
}

const MAY_BE_DONE: &str = "502 identity-mismatch outcome-unknown";
const REAUTH: &str = "403 needs-reauth not-sent";
const SUSPENDED: &str = "403 user-suspended not-sent";

async fn dies(site: &Site, death: &Death) {
    let Death { of, order, code, then } = *death;
    for what in ALL {
        site.make_ready(of).await;
        assert_eq!(site.heard(of, what).await, "alice", "{of:?} {order} {what:?}");
        site.jira.post(order).await;
        let expected = match what {
            What::WriteOpen => MAY_BE_DONE,
            // A renewed token helps what only reads; a write is left to its caller.
            What::WriteHidden if code == "alice" => "503 credential-renewed not-sent",
            _ => code,
        };
        assert_eq!(site.heard(of, what).await, expected, "{of:?} {order} {what:?}");
        assert_eq!(site.heard(of, what).await, then, "{of:?} {order} {what:?}, once more");
        site.jira.post("/users/alice/reactivate").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_dead_credential_is_never_a_success() {
    let site = Site::start(&[]).await;
    for (of, order, code, then) in [
        (Of::Pat, "/tokens/alice/revoke", REAUTH, REAUTH),
        (Of::Pat, "/tokens/alice/expire", REAUTH, REAUTH),
        (Of::Pat, "/users/alice/deactivate", REAUTH, REAUTH),
        (Of::OAuth, "/oauth/users/alice/revoke", REAUTH, REAUTH),
        (Of::OAuth, "/oauth/users/alice/expire", "alice", "alice"),
        (Of::OAuth, "/users/alice/deactivate", REAUTH, REAUTH),
    ] {
        dies(&site, &Death { of, order, code, then }).await;
    }
    // Whatever was done by nobody, its caller heard that it may have been.
    let comments = site.comments().await;
    let of_nobody = comments.iter().filter(|one| one["author"]["name"].is_null()).count();
    let of_alice = comments.iter().filter(|one| one["author"]["name"] == "alice").count();
    assert_eq!((of_nobody, of_alice), (6, 12 + 2), "{comments:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_switched_off_is_told_apart_where_jira_does() {
    let site = Site::start(&["inactive-myself=403"]).await;
    for of in [Of::Pat, Of::OAuth] {
        let order = "/users/alice/deactivate";
        dies(&site, &Death { of, order, code: SUSPENDED, then: SUSPENDED }).await;
    }
}

/// A provider that goes on giving tokens which Jira takes for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_dead_from_the_first_end_the_mapping_too() {
    let site = Site::start(&["oauth-inactive-refresh=answered"]).await;
    let order = "/users/alice/deactivate";
    dies(&site, &Death { of: Of::OAuth, order, code: REAUTH, then: REAUTH }).await;
    let counters = site.jira.ask(Method::GET, "/counters", "").await;
    assert_eq!(counters["refreshes"]["alice"], ALL.len(), "one for each mapping that ended: {counters}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_is_revoked_in_the_middle_and_the_others_go_on() {
    let site = Site::start(&[]).await;
    for name in ["alice", "bob", "carol"] {
        Person::new(&site, name).consents().await;
    }
    let works = async |name: &'static str| {
        let mut heard_all = Vec::new();
        for round in 0..ROUNDS {
            if name == "bob" && round == ROUNDS / 2 {
                site.jira.post("/oauth/users/bob/revoke").await;
            }
            heard_all.push(heard(&site.call(Of::OAuth, What::WriteHidden, name).await));
        }
        heard_all
    };
    let (alice, bob, carol) = tokio::join!(works("alice"), works("bob"), works("carol"));
    let (before, after) = bob.split_at(ROUNDS / 2);
    assert_eq!((alice, carol), (vec!["alice".to_owned(); ROUNDS], vec!["carol".to_owned(); ROUNDS]));
    assert!(
        before.iter().all(|heard| heard == "bob") && after.iter().all(|heard| heard == REAUTH),
        "{bob:?}"
    );
    let comments = site.comments().await;
    let by = |name: &str| comments.iter().filter(|one| one["author"]["name"] == name).count();
    assert_eq!(
        (by("alice"), by("bob"), by("carol"), comments.len()),
        (ROUNDS, ROUNDS / 2, ROUNDS, ROUNDS * 5 / 2)
    );
}

const ROUNDS: usize = 12;
