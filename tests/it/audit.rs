//! `audit …` with the real programs: what is recorded, read, exported, anchored, and found when somebody changes it.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::eventually;
use crate::support::process::Outcome;
use crate::support::store::store_in;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World};

const PATIENCE: Duration = Duration::from_secs(20);

/// The program in docs/audit.md, fed with an export.
async fn python(lines: &str, before: Option<&str>) -> (bool, String) {
    let document = include_str!("../../docs/audit.md");
    let program = document.split("```python\n").nth(1).unwrap().split("```").next().unwrap().to_owned();
    assert!(program.lines().count() <= 10);
    let (lines, before) = (lines.to_owned(), before.map(str::to_owned));
    let run = move || {
        let mut command = Command::new("python3");
        command.args(["-c", &program]).args(before);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let written = std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes());
        let done = child.wait_with_output().unwrap();
        // It may leave at the first fault.
        assert!(written.is_ok() || !done.status.success());
        let said = if done.status.success() { done.stdout } else { done.stderr };
        (done.status.success(), String::from_utf8(said).unwrap().trim().to_owned())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// `Records 1 to 9. Head before: 0:00…. Head after: 9:ab…`
fn head(export: &Outcome, which: &str) -> String {
    let rest = export.err.split(which).nth(1).unwrap_or_else(|| panic!("{export:?}"));
    rest.trim_start_matches(": ").trim().split(['\n', ' ']).next().unwrap().trim_end_matches('.').to_owned()
}

async fn events(world: &World) -> Vec<String> {
    let listed = world.agent(&["audit", "list", "--json"]).await.json();
    let event = |record: &Value| record["event"].as_str().unwrap().to_owned();
    listed["records"].as_array().unwrap().iter().map(event).collect()
}

#[tokio::test]
async fn what_administrators_do_is_recorded_and_an_auditor_needs_ten_lines() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let world = &site.world;
    world.agent(&["pause"]).await;
    world.agent(&["resume"]).await;
    world.agent(&["caller", "rotate", "bot", "--grace", "1h"]).await;
    world.agent(&["reload"]).await;
    world.agent(&["store", "backup"]).await;
    world.agent(&["store", "rekey"]).await;
    assert_eq!(
        events(world).await,
        [
            "enrolled",
            "start",
            "caller-added",
            "pause",
            "resume",
            "caller-rotated",
            "reload",
            "store-backup",
            "store-rekey"
        ]
    );
    let rotated = world.agent(&["audit", "list", "--json", "--event", "caller-rotated"]).await.json();
    let uid = Command::new("id").arg("-u").output().unwrap().stdout;
    let by = format!("uid {}", String::from_utf8(uid).unwrap().trim());
    assert_eq!(rotated["records"][0]["by"], by.as_str());
    assert_eq!(rotated["records"][0]["caller"], "bot");
    let reloaded = world.agent(&["audit", "list", "--json", "--event", "reload"]).await.json();
    assert_eq!(reloaded["records"][0]["by"], by.as_str());
    let paused = world.path().join("agent-state/paused");
    for (event, change) in [("pause", true), ("resume", false)] {
        if change {
            std::fs::write(&paused, "").unwrap();
        } else {
            std::fs::remove_file(&paused).unwrap();
        }
        eventually("a switch by hand is recorded too", PATIENCE, async || {
            let listed = world.agent(&["audit", "list", "--json", "--limit", "1"]).await.json();
            listed["records"][0]["event"] == event
                && listed["records"][0]["by"] == "the file in the state folder"
        })
        .await;
    }
    let table = world.agent(&["audit", "list", "--limit", "4"]).await;
    assert!(
        table.code == 0 && table.out.lines().count() == 4 && table.out.contains("store-rekey"),
        "{table:?}"
    );
    assert_eq!(world.agent(&["audit", "list", "--event", "odd"]).await.code, 64);
    assert!(world.agent(&["audit", "list", "--until", "1h"]).await.out.contains("No record"));

    let export = world.agent(&["audit", "export"]).await;
    assert!(export.code == 0 && export.out.lines().count() == 11, "{export:?}");
    let (good, said) = python(&export.out, None).await;
    assert!(good && said == head(&export, "Head after"), "{said} {export:?}");
    let middle: Value = serde_json::from_str(export.out.lines().nth(4).unwrap()).unwrap();
    let piece = world.agent(&["audit", "export", "--since", middle["time"].as_str().unwrap()]).await;
    assert!(piece.out.lines().count() <= 7 && export.out.ends_with(&piece.out), "{piece:?}");
    assert_eq!(python(&piece.out, Some(&head(&piece, "Head before"))).await, (true, said.clone()));
    let cut: String = export
        .out
        .lines()
        .filter(|line| !line.contains("\"pause\""))
        .fold(String::new(), |all, line| all + line + "\n");
    assert_eq!(python(&cut, None).await, (false, "record 4 is missing".to_owned()));
    let forged = export.out.replace("\"bot\"", "\"bob\"");
    assert_ne!(python(&forged, None).await, (true, said.clone()), "another head");
    let syslog = world.agent(&["audit", "export", "--format", "syslog"]).await;
    assert_eq!(syslog.out.lines().filter(|line| line.starts_with("<109>1 20")).count(), 11, "{syslog:?}");

    let verified = world.agent(&["audit", "verify", "--anchor", &said]).await;
    assert!(verified.code == 0 && verified.out.contains("Records 1 to 11 are"), "{verified:?}");
    assert_eq!(world.agent(&["audit", "verify", "--anchor", "7"]).await.code, 64);

    // The agent stops; the commands work on the store.
    site.agent.signal("TERM");
    site.agent.end().await;
    assert!(site.agent.log().contains("audit head"), "{}", site.agent.log());
    let world = &site.world;
    assert_eq!(events(world).await.last().unwrap(), "stop");
    let found = world.agent(&["audit", "verify", "--json", "--anchor", &said]).await.json();
    assert!(
        found["broken"].is_null()
            && found["records"] == 12
            && found["anchors"].as_array().unwrap().len() == 2,
        "{found}"
    );
}

#[tokio::test]
async fn the_relay_keeps_the_head_and_what_was_changed_is_named() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let mut anchor = String::new();
    eventually("the head is at the relay", PATIENCE, async || {
        let agents = site.world.relay(&["agents", "--json"]).await.json();
        let audit = &agents["agents"][0]["audit"];
        anchor = format!("{}:{}", audit["number"], audit["head"].as_str().unwrap_or_default());
        audit["number"].as_u64() >= Some(2)
    })
    .await;
    let shown = site.world.relay(&["agents"]).await;
    assert!(shown.out.contains("AUDIT"), "{shown:?}");
    let verified = site.world.agent(&["audit", "verify", "--anchor", &anchor]).await;
    assert!(verified.code == 0 && verified.out.contains("the given anchor"), "{verified:?}");
    let journal = site.agent.line("audit head").await;
    assert!(journal.contains(anchor.split(':').nth(1).unwrap()), "{journal}");
    site.agent.signal("TERM");
    site.agent.end().await;

    let world = &site.world;
    let spoil = async |sql: &'static str| {
        let store = store_in(&world.path().join("agent-state"));
        store.call(move |session| Ok(session.connection().execute_batch(sql)?)).await.unwrap();
    };
    spoil("UPDATE audit_blocks SET bytes = CAST(replace(CAST(bytes AS TEXT), 'bot', 'bob') AS BLOB)").await;
    let broken = world.agent(&["audit", "verify"]).await;
    assert!(broken.code == 1 && broken.err.contains("broken at record 3 (20"), "{broken:?}");
    let all = world.agent(&["store", "verify"]).await;
    assert!(all.code != 0 && all.err.contains("broken at record 3"), "{all:?}");
    spoil("DELETE FROM audit_blocks WHERE first >= 2; DELETE FROM audit_heads").await;
    assert_eq!(world.agent(&["audit", "verify"]).await.code, 0, "a clean cut leaves no trace here");
    let cut = world.agent(&["audit", "verify", "--anchor", &anchor]).await;
    assert!(cut.code == 1 && cut.err.contains("cut off"), "{cut:?}");
}

#[tokio::test]
async fn a_reload_that_is_wrong_is_recorded_too() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    site.world.edit_agent("[relay]", "[relay");
    site.agent.signal("HUP");
    site.agent.line("the changed configuration is wrong").await;
    site.world.edit_agent("[relay", "[relay]");
    let listed = site.world.agent(&["audit", "list", "--json", "--event", "reload"]).await.json();
    // The change of the file may have been seen before the signal.
    let first = &listed["records"][0];
    assert!(["SIGHUP", "a change of the file"].contains(&first["by"].as_str().unwrap()), "{listed}");
    assert!(first["detail"].as_str().unwrap().starts_with("not taken"), "{listed}");
}
