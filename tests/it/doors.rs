//! Wrong input at the agent's doors: each time a clear error that names what to do, and the right exit code.

use std::os::unix::fs::PermissionsExt;

use crate::support::process::{AGENT, run, text};
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World};

fn world() -> World {
    World::new("http://127.0.0.1:1")
}

/// Base64url of a token's JSON, as the relay makes it.
fn token(url: &str) -> String {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let half = encode(&[7; 32]);
    let json = format!(r#"{{"u":"{url}","s":"acme","f":"{half}","k":"{half}"}}"#);
    format!("oht_{}", encode(json.as_bytes()))
}

#[tokio::test]
async fn a_wrong_file_is_shown_line_by_line() {
    let world = world();
    for (from, to, words) in [
        ("[relay]", "[relay", vec!["agent.toml:1"]),
        ("why = \"Reading\"", "why = 7\nwy = \"x\"", vec!["wy", "why"]),
        ("url = \"wss://", "url = \"https://", vec!["wss://"]),
        ("service = \"reader\" }", "service = \"raeder\" }", vec!["raeder", "did you mean “reader”"]),
        ("[[policy.rule]]\nallow = \"GET", "[[policy.rule]]\nallow = \"FETCH", vec!["FETCH"]),
    ] {
        let whole = std::fs::read_to_string(&world.agent_config).unwrap();
        world.edit_agent(from, to);
        for command in [vec!["run"], vec!["check-config"], vec!["policy", "list"], vec!["enrol"]] {
            let outcome = world.agent(&command).await;
            assert_eq!(outcome.code, 78, "{from} {command:?} {outcome:?}");
            for word in &words {
                assert!(outcome.err.contains(word), "{word} in {}", outcome.err);
            }
        }
        std::fs::write(&world.agent_config, whole).unwrap();
    }
}

#[tokio::test]
async fn a_missing_file_and_a_wrong_command_line() {
    let missing = run(AGENT, &["run", "--config", "/nowhere/agent.toml"]).await;
    assert_eq!(missing.code, 78, "{missing:?}");
    assert!(missing.err.contains("/nowhere/agent.toml") && missing.err.contains("--config"), "{missing:?}");
    for line in [vec![], vec!["rum"], vec!["caller", "add"], vec!["status", "--yaml"]] {
        let outcome = run(AGENT, &line).await;
        assert_eq!(outcome.code, 64, "{line:?}: {outcome:?}");
        assert!(outcome.err.contains("Usage"), "{outcome:?}");
    }
    let version = run(AGENT, &["--version"]).await;
    assert!(version.code == 0 && version.out.starts_with("outhaul-agent "), "{version:?}");
}

#[tokio::test]
async fn bad_tokens() {
    let world = world();
    for (input, code, word) in [
        ("", 64, "Paste the token"),
        ("hello\n", 65, "oht_"),
        ("oht_%%%\n", 65, "damaged"),
        ("ohk_abcdefghijkl_x\n", 65, "oht_"),
        (&*token("ws://localhost"), 65, "names no relay"),
        (&*token("wss://other.example.com"), 78, "[relay]"),
    ] {
        let outcome = world.agent_with_input(&["enrol"], input).await;
        assert_eq!(outcome.code, code, "{input}: {outcome:?}");
        assert!(outcome.err.contains(word), "{word} in {outcome:?}");
    }
    let given = token(&format!("wss://localhost:{}", world.port));
    let outcome = world.agent(&["enrol", "--relay", "wss://other.example.com", "--token", &given]).await;
    assert!(outcome.code == 65 && outcome.err.contains("--relay says"), "{outcome:?}");
    let outcome = world.agent(&["enrol", "--token-file", "/nowhere/token"]).await;
    assert!(outcome.code == 78 && outcome.err.contains("/nowhere/token"), "{outcome:?}");
    // A good one, and nobody there.
    let outcome = world.agent(&["enrol", "--token", &given]).await;
    assert!(outcome.code == 69 && outcome.err.contains("can't be reached"), "{outcome:?}");
}

#[tokio::test]
async fn a_relay_that_does_not_take_the_token() {
    let world = world();
    let mut relay = world.start_relay();
    relay.line("the relay is ready").await;
    // Its key is not the one this token names.
    let forged = token(&format!("wss://localhost:{}", world.port));
    let outcome = world.agent(&["enrol", "--token", &forged]).await;
    assert!(outcome.code == 76 && outcome.err.contains("shows key"), "{outcome:?}");
    // A token works once.
    let good = world.token().await;
    let outcome = world.agent(&["enrol", "--token", &good, "--json"]).await;
    assert_eq!(outcome.json()["site"], "acme");
    assert_eq!(outcome.json()["binding"], "direct");
    let again = world.agent(&["enrol", "--token", &good]).await;
    assert!(again.code == 73 && again.err.contains("--replace"), "{again:?}");
    let used = world.agent(&["enrol", "--token", &good, "--replace"]).await;
    assert!(used.code == 77 && used.err.contains("refused"), "{used:?}");
    // A certificate that nobody here trusts.
    let fresh = world.token().await;
    let ca = format!("ca-file = \"{}\"\n", text(&world.authority.file));
    world.edit_agent(&ca, "");
    let outcome = world.agent(&["enrol", "--token", &fresh, "--replace"]).await;
    assert!(outcome.code == 69 && outcome.err.contains("ca-file"), "{outcome:?}");
    assert!(relay.is_running());
}

#[tokio::test]
async fn commands_that_need_the_daemon_say_so() {
    let world = world();
    for command in [vec!["status"], vec!["pause"], vec!["caller", "list"], vec!["caller", "add", "bot"]] {
        let outcome = world.agent(&command).await;
        assert_eq!(outcome.code, 69, "{command:?}: {outcome:?}");
        assert!(outcome.err.contains("systemctl start outhaul-agent"), "{outcome:?}");
    }
    let run = world.agent(&["run"]).await;
    assert!(run.code == 78 && run.err.contains("outhaul-agent enrol"), "{run:?}");
}

#[tokio::test]
async fn what_others_may_read_is_not_taken() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    site.agent.kill();
    let world = &site.world;
    let state = world.path().join("agent-state");
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, wrong, right) in [(&world.path().join("store.key"), 0o640, 0o600), (&state, 0o750, 0o700)] {
        mode(path, wrong);
        let outcome = world.agent(&["run"]).await;
        assert!(outcome.code == 78 && outcome.err.contains("chmod"), "{}: {outcome:?}", path.display());
        mode(path, right);
    }
    // A service's secret that others may read stops that service only, and check-config tells.
    mode(&world.path().join("reader.pat"), 0o644);
    let checked = world.agent(&["check-config"]).await;
    assert!(checked.code == 78 && checked.out.contains("chmod"), "{checked:?}");
    let mut agent = world.start_agent();
    agent.line("connected to the relay").await;
    let answer = site.client.get(&crate::support::world::host(), "/jira/rest/api/2/myself").await.unwrap();
    assert_eq!(answer.problem(), Some("credential-missing"));
}

#[tokio::test]
async fn callers_have_names_and_are_there_or_not() {
    let upstream = Upstream::start().await;
    let site = Running::start(World::new(&upstream.url())).await;
    for (command, code, word) in [
        (vec!["caller", "add", "Bot!"], 65, "“Bot!” is no caller name"),
        (vec!["caller", "add", "bot"], 73, "already"),
        (vec!["caller", "rotate", "nobody"], 65, "no caller “nobody”"),
        (vec!["caller", "remove", "nobody"], 65, "no caller “nobody”"),
        (vec!["caller", "rotate", "bot", "--grace", "1y"], 64, "duration"),
        (vec!["caller", "rotate", "bot", "--grace", "99999h"], 65, "days"),
    ] {
        let outcome = site.world.agent(&command).await;
        assert_eq!(outcome.code, code, "{command:?}: {outcome:?}");
        assert!(outcome.err.contains(word), "{word} in {outcome:?}");
    }
}

#[tokio::test]
async fn policy_is_explained_from_the_file() {
    let world = world();
    let explain = async |line: &[&str]| world.agent(&[&["policy", "explain"], line].concat()).await;
    let allowed = explain(&["GET", "/rest/api/2/issue/T-1?fields=x", "--json"]).await.json();
    assert_eq!((&allowed["allowed"], &allowed["rule"]["why"]), (&true.into(), &"Reading".into()));
    let refused = explain(&["DELETE", "/rest/api/2/issue/T-1"]).await;
    assert!(refused.code == 0 && refused.out.starts_with("refused"), "{refused:?}");
    assert_eq!(explain(&["GET /rest", "/x"]).await.code, 64);
    assert_eq!(explain(&["GET", "/x", "--upstream", "wiki"]).await.code, 64);
    assert_eq!(explain(&["GET", "/x", "--caller", "Bad Name"]).await.code, 64);
    let list = world.agent(&["policy", "list", "--json"]).await.json();
    assert_eq!((list["rules"].as_array().unwrap().len(), &list["denied"]), (2, &serde_json::json!([])));
}
