//! `store …` and the store's life, with the real programs.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::support::eventually;
use crate::support::pki::write_private;
use crate::support::process::text;
use crate::support::store::store_in;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_key_changes_while_calls_go_on_and_the_old_one_opens_nothing() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let world = &site.world;
    let key = world.path().join("store.key");
    let old = std::fs::read_to_string(&key).unwrap();
    let before = world.agent(&["store", "verify", "--json"]).await.json();
    assert!(
        before["broken"].as_array().unwrap().is_empty() && before["secrets"].as_u64() >= Some(3),
        "{before}"
    );
    let rekeyed = world.agent(&["store", "rekey"]).await;
    assert!(rekeyed.code == 0 && rekeyed.out.contains("new key"), "{rekeyed:?}");
    assert_ne!(std::fs::read_to_string(&key).unwrap(), old);
    assert!(!rekeyed.out.contains(std::fs::read_to_string(&key).unwrap().trim()), "the key is not shown");
    eventually("everything is sealed anew", PATIENCE, async || {
        world.status().await["store"]["resealing"] == false
    })
    .await;
    let after = world.agent(&["store", "verify", "--json"]).await.json();
    assert_eq!(after["data_keys"][0][0], 2, "{after}");
    assert_eq!(site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap().status, 200);
    site.agent.kill();

    let new = std::fs::read_to_string(&key).unwrap();
    write_private(&key, &old);
    let refused = world.agent(&["run"]).await;
    assert!(refused.code == 78 && refused.err.contains("not the one"), "{refused:?}");
    write_private(&key, &new);
    // Without a daemon the command works on the files.
    let verified = world.agent(&["store", "verify"]).await;
    assert!(verified.code == 0 && verified.out.contains("is whole"), "{verified:?}");
    assert_eq!(world.agent(&["store", "rekey"]).await.code, 0);
    site.agent = world.start_agent();
    site.agent.line("connected to the relay").await;
    assert_eq!(site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_backup_put_back_elsewhere_is_a_copy_to_the_relay() {
    let upstream = Upstream::start().await;
    let site = Running::start(World::new(&upstream.url())).await;
    let world = &site.world;
    let backup = world.path().join("site.backup");
    let made = world.agent(&["store", "backup", text(&backup)]).await;
    assert!(made.code == 0 && made.out.contains("only with the store's key"), "{made:?}");
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = world.agent(&["store", "backup", text(&backup)]).await;
    assert!(again.code == 73 && again.err.contains("overwrites nothing"), "{again:?}");
    let held = world.agent(&["store", "restore", text(&backup)]).await;
    assert!(held.code == 75 && held.err.contains("stop it first"), "{held:?}");

    // A second machine: its own folder and socket, the same key.
    let config = std::fs::read_to_string(&world.agent_config).unwrap();
    let second = world.path().join("second.toml");
    let config = config.replace("/agent-state", "/second-state").replace("/agent.sock", "/second.sock");
    std::fs::write(&second, config).unwrap();
    let run = |arguments: Vec<&'static str>| {
        let second = text(&second).to_owned();
        let backup = text(&backup).to_owned();
        async move {
            let arguments: Vec<&str> =
                arguments.iter().map(|one| if *one == "BACKUP" { backup.as_str() } else { one }).collect();
            crate::support::process::run(
                crate::support::process::AGENT,
                &[&["--config", second.as_str()], arguments.as_slice()].concat(),
            )
            .await
        }
    };
    let put = run(vec!["store", "restore", "BACKUP"]).await;
    assert!(put.code == 0 && put.out.contains("copy"), "{put:?}");
    let occupied = run(vec!["store", "restore", "BACKUP"]).await;
    assert!(occupied.code == 73 && occupied.err.contains("--replace"), "{occupied:?}");
    assert_eq!(run(vec!["store", "restore", "--replace", "BACKUP"]).await.code, 0);

    // The first has connected since, so what the backup shows is old.
    let mut first = site.agent;
    first.kill();
    let mut first = world.start_agent();
    first.line("connected to the relay").await;
    let mut copy = crate::support::process::Daemon::start(
        crate::support::process::AGENT,
        &["--config", text(&second), "run"],
    );
    copy.line("refused this agent").await;
    let status = run(vec!["status", "--json"]).await.json();
    let error = status["relay"]["tunnels"][0]["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("clone") || error.contains("copy"), "{status}");
    let agents = world.relay(&["agents", "--json"]).await;
    assert!(agents.out.contains("clone"), "{agents:?}");
    assert_eq!(
        site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap().status,
        200,
        "the first one goes on"
    );
}

#[tokio::test]
async fn what_is_no_store_or_no_key_is_told_by_every_command() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    for command in ["verify", "backup", "rekey"] {
        let told = world.agent(&["store", command]).await;
        assert!(told.code == 78 && told.err.contains("never enrolled"), "{command}: {told:?}");
        assert!(!world.path().join("agent-state").exists(), "{command} makes nothing");
    }
    let nothing = world.path().join("nothing");
    std::fs::write(&nothing, "OUTHAUL-STORE-BACKUP 1\n{}\n").unwrap();
    write_private(&world.path().join("store.key"), &"0".repeat(64));
    let told = world.agent(&["store", "restore", text(&nothing)]).await;
    assert_ne!(told.code, 0, "{told:?}");
    assert!(!world.path().join("agent-state/store.db").exists());
}

/// Changes the store as another version of the program would have left it. The agent must be stopped.
async fn left_as(world: &World, sql: &'static str) {
    let store = store_in(&world.path().join("agent-state"));
    store.call(move |session| Ok(session.connection().execute_batch(sql)?)).await.unwrap();
}

fn files(world: &World) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(world.path().join("agent-state")).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .filter(|entry| entry.path().is_file() && entry.file_name() != "lock")
        .map(|entry| (entry.path().display().to_string(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn an_older_store_is_taken_over_after_a_backup_and_a_newer_one_is_left_alone() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    site.agent.signal("TERM");
    site.agent.end().await;
    let world = &site.world;
    left_as(world, "ALTER TABLE caller_keys DROP COLUMN exposed; PRAGMA user_version = 8").await;
    let backup = world.path().join("agent-state/before-form-9.backup");
    site.agent = world.start_agent();
    site.agent.line("connected to the relay").await;
    assert!(backup.metadata().unwrap().len() > 4096, "the old form is kept");
    let comment = || {
        let request = Request::post("/jira/rest/api/2/issue/DEMO-1/comment")
            .header("content-type", "application/json")
            .header("idempotency-key", "k");
        request.body(Bytes::from_static(b"{}")).unwrap()
    };
    assert_eq!(site.client.call(&host(), comment()).await.unwrap().status, 200, "its callers are known");
    let again = site.client.call(&host(), comment()).await.unwrap();
    assert_eq!(again.headers["outhaul-replayed"], "true", "what is new works");
    let audit = world.agent(&["audit", "verify"]).await;
    assert_eq!(audit.code, 0, "{audit:?}");

    site.agent.signal("TERM");
    site.agent.end().await;
    left_as(world, "PRAGMA user_version = 99").await;
    let before = files(world);
    for command in [&["run"][..], &["store", "verify"], &["audit", "list"]] {
        let refused = world.agent(command).await;
        assert!(refused.code == 78 && refused.err.contains("a newer version wrote it"), "{refused:?}");
        assert!(files(world) == before, "{command:?} leaves the files as they are");
    }
}
