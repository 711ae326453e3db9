//! `policy explain`, `test`, `diff` and `suggest` as an administrator uses them, with the real programs. What
//! `docs/admin/policy.md` shows of a terminal is what they print: each of its blocks is compared here.

use std::path::Path;

use http::{Method, StatusCode};
use serde_json::json;

use crate::support::client::Answer;
use crate::support::process::{AGENT, Outcome, run, text};
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

const DOCUMENT: &str = include_str!("../../docs/admin/policy.md");

/// The rules that every world begins with.
const RULES: &str = r#"[[policy.rule]]
allow = "GET /rest/api/2/**"
why = "Reading"
as = { service = "reader" }

[[policy.rule]]
allow = "POST /rest/api/2/issue/*/comment"
why = "Commenting"
as = { service = "reader" }
"#;

/// A site that reads for Teams, and has forgotten that people also comment.
const READING: &str = r#"[policy]
profiles = ["jira-read"]

[policy.profile.jira-read]
as = { service = "reader" }
caller = ["teams-bot"]
"#;

/// What was shown on the terminal, with everything that differs from run to run written as in the document.
struct Terminal {
    from: Vec<(String, String)>,
    blocks: Vec<String>,
}

impl Terminal {
    fn new(world: &World, upstream: &Upstream) -> Self {
        let from = vec![
            (text(world.path()).to_owned(), "/etc/outhaul".to_owned()),
            (upstream.url(), "http://127.0.0.1:8080".to_owned()),
            (format!("{}:{}", host(), world.port), "acme.relay.example.com".to_owned()),
            (host(), "acme.relay.example.com".to_owned()),
            (format!("outhaul-agent/{}", env!("CARGO_PKG_VERSION")), "outhaul-agent/VERSION".to_owned()),
        ];
        Self { from, blocks: Vec::new() }
    }

    fn as_documented(&self, said: &str) -> String {
        let mut said = said.to_owned();
        for (from, to) in &self.from {
            said = said.replace(from, to);
        }
        without_times(&said)
    }

    fn shown(&mut self, command: &str, said: &str) {
        let block = self.as_documented(&format!("$ {command}\n{}\n", said.trim_end()));
        self.blocks.push(block);
    }

    fn ran(&mut self, arguments: &[&str], outcome: &Outcome) {
        let quoted = |word: &&str| {
            let plain = |one: char| one.is_ascii_alphanumeric() || "/-_.:=?".contains(one);
            if word.chars().all(plain) { (*word).to_owned() } else { format!("'{word}'") }
        };
        let words: Vec<String> = arguments.iter().map(quoted).collect();
        let said = format!("{}{}", outcome.out, outcome.err);
        self.shown(&format!("outhaul-agent {}", words.join(" ")), &said);
    }

    fn called(&mut self, answer: &Answer) {
        let document = answer.json();
        let said = format!(
            "{} {}\n{}",
            document["status"],
            document["title"].as_str().unwrap(),
            document["detail"].as_str().unwrap()
        );
        self.blocks.push(self.as_documented(&said));
    }

    /// Every block stands in the document, in this order.
    fn is_in_the_document(&self) {
        let mut rest = DOCUMENT;
        for block in &self.blocks {
            let found = rest.find(block.as_str());
            let all = self.blocks.join("\n");
            rest = &rest
                [found.unwrap_or_else(|| panic!("this is not in the document:\n{block}\n\nall:\n{all}"))..];
        }
    }
}

/// `2026-11-24T17:01:02Z` becomes `…T…Z`.
fn without_times(said: &str) -> String {
    let mut out = String::new();
    let mut rest = said;
    while let Some(at) = rest.find('Z') {
        let start = at.checked_sub(19).filter(|start| {
            let stamp = rest.get(*start..at).unwrap_or_default().as_bytes();
            stamp.len() == 19 && stamp[10] == b'T' && stamp[4] == b'-' && stamp[13] == b':'
        });
        match start {
            Some(start) => {
                out.push_str(&rest[..start]);
                out.push_str("2026-03-02T09:14:05Z");
            }
            None => out.push_str(&rest[..=at]),
        }
        rest = &rest[at + 1..];
    }
    out + rest
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn from_teams_can_not_comment_to_the_one_missing_rule() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    world.edit_agent(RULES, READING);
    let mut terminal = Terminal::new(&world, &upstream);
    let site = Running::start(world).await;
    let world = &site.world;
    let added = world.agent(&["caller", "add", "teams-bot", "--json"]).await.json();
    let teams = site.client.with_key(added["key"].as_str().unwrap());
    let comment = async |issue: &str| {
        let path = format!("/jira/rest/api/2/issue/{issue}/comment?secret=very-private");
        teams.send(Method::POST, &host(), &path, &json!({"body": "very-private"})).await.unwrap()
    };

    // What people see.
    let refused = comment("DEMO-1").await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::FORBIDDEN, Some("policy-refused")));
    terminal.called(&refused);
    assert_eq!(comment("DEMO-2").await.status, StatusCode::FORBIDDEN);
    assert_eq!(comment("WEB-17").await.status, StatusCode::FORBIDDEN);
    // Others try their luck.
    let tokens = teams.get(&host(), "/jira/rest/pat/latest/tokens").await.unwrap();
    assert_eq!(tokens.problem(), Some("policy-refused"));
    let users = teams.send(Method::POST, &host(), "/jira/rest/api/2/user", &json!({})).await.unwrap();
    assert_eq!(users.problem(), Some("policy-refused"));
    assert!(upstream.seen().is_empty(), "nothing reached the application");

    // Which rule decides?
    let url = format!("https://{}:{}/jira/rest/api/2/issue/DEMO-1/comment", host(), world.port);
    let explain = ["policy", "explain", "POST", &url, "--caller", "teams-bot"];
    let explained = world.agent(&explain).await;
    assert_eq!(explained.code, 0, "{explained:?}");
    terminal.ran(&explain, &explained);

    // Which one is missing?
    let suggested = world.agent(&["policy", "suggest"]).await;
    assert_eq!(suggested.code, 0, "{suggested:?}");
    terminal.ran(&["policy", "suggest"], &suggested);
    let suggestions = world.agent(&["policy", "suggest", "--caller", "teams-bot", "--json"]).await;
    assert!(
        !suggestions.out.contains("very-private") && !suggestions.out.contains("DEMO"),
        "{suggestions:?}"
    );
    let suggestions = suggestions.json();
    let first = &suggestions["suggestions"][0];
    assert_eq!((&first["refused"]["calls"], &first["advice"]["advice"]), (&json!(3), &json!("add")));
    let block = first["advice"]["toml"].as_str().unwrap().to_owned();
    let advised = |index: usize| suggestions["suggestions"][index]["advice"]["advice"].as_str().unwrap();
    assert_eq!([advised(1), advised(2)], ["held-back", "denied"]);

    // Pasted as it is, it is refused: only the administrator knows the reason.
    let before = std::fs::read_to_string(&world.agent_config).unwrap();
    let fresh = world.path().join("agent.new.toml");
    write(&fresh, &format!("{before}\n{block}"));
    let check = ["--config", text(&fresh), "check-config"];
    let checked = run(AGENT, &check).await;
    assert_eq!(checked.code, 78, "{checked:?}");
    terminal.ran(&check, &checked);
    let note = block.lines().find(|line| line.starts_with("why")).unwrap();
    let block = block.replace(note, "why = \"Teams users comment on issues\"");
    write(&fresh, &format!("{before}\n{block}"));

    // What would change, before it does.
    let calls = world.path().join("calls.txt");
    write(
        &calls,
        "GET /rest/api/2/issue/DEMO-1 teams-bot\nPOST /rest/api/2/issue/DEMO-1/comment teams-bot\n\
         DELETE /rest/api/2/issue/DEMO-1 teams-bot\n",
    );
    let diff = ["policy", "diff", text(&world.agent_config), text(&fresh), "--calls", text(&calls)];
    let differs = run(AGENT, &diff).await;
    assert_eq!(differs.code, 1, "{differs:?}");
    terminal.ran(&diff, &differs);
    let table = world.path().join("expectations.toml");
    write(
        &table,
        "[[expect]]\ncall = \"POST /rest/api/2/issue/DEMO-1/comment\"\ncaller = \"teams-bot\"\nresult = \"allow\"\n\n\
         [[expect]]\ncall = \"DELETE /rest/api/2/issue/DEMO-1\"\ncaller = \"teams-bot\"\nresult = \"deny\"\n",
    );
    let test = ["policy", "test", text(&table)];
    let wrong = world.agent(&test).await;
    assert_eq!(wrong.code, 1, "{wrong:?}");
    terminal.ran(&test, &wrong);
    let test = ["--config", text(&fresh), "policy", "test", text(&table)];
    let right = run(AGENT, &test).await;
    assert_eq!(right.code, 0, "{right:?}");
    terminal.ran(&test, &right);

    // The running agent goes by the old one still, and explain says so.
    let explained = run(AGENT, &[&["--config", text(&fresh)][..], &explain].concat()).await;
    assert!(explained.out.contains("allowed: POST"), "{explained:?}");
    assert!(explained.out.contains("NOTE      the running agent decides by another policy"), "{explained:?}");

    let told = world.agent(&[&explain[..], &["--json"]].concat()).await.json();
    assert_eq!((&told["running"]["policy"], &told["allowed"]), (&json!("same"), &json!(false)), "{told}");
    assert_eq!(told["reading"], json!({ "caller": "/jira" }));

    // In place, at once.
    std::fs::rename(&fresh, &world.agent_config).unwrap();
    let reloaded = world.agent(&["reload"]).await;
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    terminal.ran(&["reload"], &reloaded);
    let answer = comment("DEMO-1").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(upstream.seen()[0]["headers"]["authorization"], "Bearer pat-reader");
    let explained = world.agent(&explain).await;
    terminal.ran(&explain, &explained);
    let suggested = world.agent(&["policy", "suggest"]).await;
    assert!(suggested.out.contains("Allowed by now, by agent.toml:"), "{suggested:?}");

    // What the running agent would do otherwise is said.
    let misspelt = world.agent(&["policy", "explain", "GET", "/status", "--caller", "teams-bt"]).await;
    assert!(misspelt.out.contains("NOTE      the running agent knows no caller teams-bt"), "{misspelt:?}");
    assert_eq!(world.agent(&["pause"]).await.code, 0);
    let paused = world.agent(&explain).await;
    assert!(paused.out.contains("NOTE      the running agent is paused"), "{paused:?}");
    assert_eq!(world.agent(&["resume"]).await.code, 0);

    // A bad edit keeps the old policy, and whoever explains by the bad file is told.
    world.edit_agent("why = \"Teams users", "wy = \"Teams users");
    let explained = world.agent(&explain).await;
    assert_eq!(explained.code, 78, "{explained:?}");
    assert!(explained.err.contains("The running agent goes on by the policy it read at"), "{explained:?}");
    assert_eq!(comment("DEMO-1").await.status, StatusCode::OK);
    terminal.is_in_the_document();
}

#[tokio::test]
async fn the_shipped_profiles_and_the_example_do_what_their_tables_say() {
    for (config, table) in [
        ("tests/policy/jira-read.agent.toml", "tests/policy/jira-read.toml"),
        ("tests/policy/jira-teams.agent.toml", "tests/policy/jira-teams.toml"),
        ("config.example.toml", "docs/examples/policy-expectations.toml"),
    ] {
        let held = run(AGENT, &["--config", config, "policy", "test", table]).await;
        assert!(held.code == 0 && held.out.contains("expectations hold"), "{table}: {held:?}");
    }
    // And a table can fail: the other profile's does.
    let config = "tests/policy/jira-read.agent.toml";
    let wrong = run(AGENT, &["--config", config, "policy", "test", "tests/policy/jira-teams.toml"]).await;
    assert!(wrong.code == 1 && wrong.out.lines().count() >= 20, "{wrong:?}");
    let line =
        "POST /rest/api/2/issue/DEMO-1/comment as app: allow was expected, but refused as policy-refused";
    assert!(wrong.out.contains(line), "{wrong:?}");
    let json =
        run(AGENT, &["--config", config, "policy", "test", "tests/policy/jira-teams.toml", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["expectations"], 62);
}

#[tokio::test]
async fn what_is_no_table_no_call_and_no_daemon_is_said() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let file = world.path().join("table.toml");
    for (written, says) in [
        ("", "the file lacks expect"),
        ("[[expect]]\ncall = \"GET /x\"", "[expect] lacks result"),
        ("[[expect]]\ncall = \"GET\"\nresult = \"deny\"", "this is no call"),
        ("[[expect]]\ncall = \"GET /x\"\nresult = \"maybe\"", "“maybe” is no result"),
        ("[[expect]]\ncall = \"GET https://x/wiki/y\"\nresult = \"deny\"", "“/wiki” is no application"),
        ("[[expect]]\ncall = \"GET /x\"\nresult = \"allow\"\ncode = \"x\"", "an allowed call has no code"),
        ("[[expect]]\ncall = \"GET /x\"\nresult = \"deny\"\nproof = \"word\"", "“word” is no proof"),
        (
            "[[expect]]\ncall = \"GET /x\"\nresult = \"deny\"\ncode = \"policy-refusd\"",
            "did you mean “policy-refused”?",
        ),
        ("[[expect]]\ncall = \"GET /x\"\nresult = \"deny\"\nidentity = \"anonymous\"", "made as nobody"),
        ("[[expect]]\ncall = \"GET /x\"\nresult = \"deny\"\nclaer = \"x\"", "did you mean caller?"),
    ] {
        write(&file, written);
        let told = world.agent(&["policy", "test", text(&file)]).await;
        assert!(told.code == 78 && told.err.contains(says), "{written}: {told:?}");
    }
    write(&file, "GET\nGET /x\n");
    let config = text(&world.agent_config);
    let told = world.agent(&["policy", "diff", config, config, "--calls", text(&file)]).await;
    assert!(told.code == 65 && told.err.contains("line 1: write METHOD PATH"), "{told:?}");
    write(&file, "GET /rest/api/2/x bot\n{\"method\":\"GET\",\"path\":\"/jira/x\"}\n");
    let told = world.agent(&["policy", "diff", config, config, "--calls", text(&file)]).await;
    assert!(told.code == 0 && told.out.contains("Nothing changes for 2 calls"), "{told:?}");
    write(&file, "{\"method\":\"GET\",\"path\":\"/x\",\"proof\":[\"word\"]}\n");
    let told = world.agent(&["policy", "diff", config, config, "--calls", text(&file)]).await;
    assert!(told.code == 65 && told.err.contains("“word” is no proof"), "{told:?}");
    let told = world.agent(&["policy", "suggest"]).await;
    assert!(told.code == 69 && told.err.contains("is not running"), "{told:?}");
    let told = world.agent(&["policy", "explain", "GET", "/x", "--upstream", "wiki"]).await;
    assert!(told.code == 64 && told.err.contains("there are: jira"), "{told:?}");
    let told = world.agent(&["policy", "explain", "GET", "/x", "--as", "alice"]).await;
    assert!(told.code == 64 && told.err.contains("PROVIDER:SUBJECT"), "{told:?}");
    let told = world.agent(&["policy", "explain", "GET", "/x", "--header", "nonsense"]).await;
    assert!(told.code == 64 && told.err.contains("write 'Name: value'"), "{told:?}");
    // A body that is larger than the application takes is told, as is what is not passed of the head.
    world.edit_agent("why = \"Commenting\"", "why = \"Commenting\"\nmax-body = \"10 B\"");
    write(&file, "{\"body\": \"a long comment\"}");
    let explain = ["policy", "explain", "POST", "/rest/api/2/issue/A-1/comment", "--body", text(&file)];
    let told = world.agent(&[&explain[..], &["-H", "Cookie: a=b", "-H", "Accept: */*"]].concat()).await;
    for part in [
        "answer    413 body-too-large",
        "drops     cookie (A session is a credential",
        "passes    accept: */*",
        "identity  service reader, which is the account reader",
        "sets      authorization: the credential of reader, which is not shown",
    ] {
        assert!(told.out.contains(part), "{part}: {told:?}");
    }
    assert!(!told.out.contains("pat-reader"), "{told:?}");
    // What the head says of the body counts as it does at the agent.
    world.edit_agent("max-body = \"10 B\"", "body = { \"/body\" = { present = true } }");
    let told = world.agent(&explain).await;
    assert!(told.out.starts_with("allowed:"), "{told:?}");
    let told = world.agent(&[&explain[..], &["-H", "Content-Encoding: gzip"]].concat()).await;
    assert!(told.out.starts_with("refused:") && told.out.contains("without Content-Encoding"), "{told:?}");
    // Methods are read in small letters too, as explain does.
    write(&file, "[[expect]]\ncall = \"get /rest/api/2/x\"\nresult = \"allow\"\n");
    let told = world.agent(&["policy", "test", text(&file)]).await;
    assert_eq!(told.code, 0, "{told:?}");
}

#[tokio::test]
async fn what_a_call_for_a_person_would_hear_is_explained() {
    let world = World::new("http://127.0.0.1:1");
    world.edit_agent(
        "[[policy.rule]]\nallow = \"GET",
        "[caller.bot]\nact-as = [\"teams\"]\n\n[[policy.rule]]\nallow = \"GET /rest/api/2/myself\"\nwhy = \"Who\"\n\
         as = \"user\"\naccept-relay-trust = true\n\n[[policy.rule]]\nallow = \"GET",
    );
    for (person, answer) in [
        (None, "400 act-as-required"),
        (Some("entra:a"), "403 act-as-refused"),
        (Some("teams:a"), "the application's own, unchanged; or 403 link-required"),
    ] {
        let mut arguments = vec!["policy", "explain", "GET", "/rest/api/2/myself", "--caller", "bot"];
        arguments.extend(person.iter().flat_map(|person| ["--as", person]));
        let told = world.agent(&arguments).await;
        assert!(told.code == 0 && told.out.contains(answer), "{person:?}: {told:?}");
    }
}
