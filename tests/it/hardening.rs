//! What other processes see of the programs' memory.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::eventually;
use crate::support::process::{AGENT, Daemon, text};
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World};

/// With as large a core as this shell may allow, so that the programs' own limit is seen.
fn with_cores(program: &str, arguments: &[&str]) -> Daemon {
    let script = "ulimit -S -c $(ulimit -H -c); exec \"$0\" \"$@\"";
    Daemon::start("sh", &[&["-c", script, program], arguments].concat())
}

fn core_limit(process: u32) -> Vec<String> {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    line.split_whitespace().skip(4).take(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn an_abort_leaves_no_core_and_the_environment_no_secret() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let status = site.world.status().await;
    assert_eq!(status["process"], serde_json::json!({ "no_core_file": true, "closed": true }));
    let shown = site.world.agent(&["status"]).await.out;
    assert!(shown.contains("no core dumps"), "{shown}");
    assert_eq!(core_limit(site.relay.id()), ["0", "0"]);
    site.agent.kill();

    // The secret comes as systemd would pass it.
    site.world.edit_agent(
        &format!("{{ file = \"{}/reader.pat\" }}", text(site.world.path())),
        "{ credential = \"reader.pat\" }",
    );
    let script = format!(
        "export CREDENTIALS_DIRECTORY='{}'; ulimit -S -c $(ulimit -H -c); exec \"$0\" \"$@\"",
        text(site.world.path())
    );
    let mut agent =
        Daemon::start("sh", &["-c", &script, AGENT, "--config", text(&site.world.agent_config), "run"]);
    agent.line("connected to the relay").await;
    assert_eq!(core_limit(agent.id()), ["0", "0"]);
    // Only root may look: see below.
    if let Ok(environment) = std::fs::read(format!("/proc/{}/environ", agent.id())) {
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(environment.contains("CREDENTIALS_DIRECTORY="), "it is the right place to look");
        let key = std::fs::read_to_string(site.world.path().join("store.key")).unwrap();
        for secret in ["pat-reader", key.trim(), &site.key] {
            assert!(!environment.contains(secret));
        }
    }
    agent.signal("ABRT");
    let end = agent.end().await;
    assert_eq!(end.signal(), Some(6), "{end}");
    assert!(!end.core_dumped(), "{end}");
    site.relay.signal("ABRT");
    assert!(!site.relay.end().await.core_dumped());

    // Where cores are written at all, another program's is.
    let folder = tempfile::tempdir().unwrap();
    let mut other = with_cores("sh", &["-c", &format!("cd '{}'; kill -ABRT $$", text(folder.path()))]);
    let end = other.end().await;
    assert_eq!(end.signal(), Some(6));
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let hard = core_limit(std::process::id())[1] != "0";
    if hard && !pattern.starts_with('|') && !pattern.trim().is_empty() {
        assert!(end.core_dumped(), "cores are written here ({pattern}), so the look would show one");
    }
}

/// Somebody without root's rights: the one who runs the tests, or nobody where that is root.
struct Somebody(Option<u32>);

impl Somebody {
    fn new() -> Self {
        let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        Self(root.then_some(65534))
    }

    fn owns(&self, path: &Path) {
        chown(path, self.0, self.0).unwrap();
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(id) = self.0 {
            command.uid(id).gid(id);
        }
        command
    }

    /// Whether they can read the memory and the environment of a process of theirs.
    fn reads(&self, process: u32) -> [bool; 2] {
        ["maps", "environ"].map(|file| {
            let mut look = self.command(Path::new("head"));
            let look = look.args(["-c", "1", &format!("/proc/{process}/{file}")]).output().unwrap();
            look.status.success() && !look.stdout.is_empty()
        })
    }
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn another_process_of_the_same_user_cannot_look_inside() {
    let somebody = Somebody::new();
    let world = World::new("http://127.0.0.1:1");
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let program = at.join("outhaul-agent");
    std::fs::copy(AGENT, &program).unwrap();
    let config = std::fs::read_to_string(&world.agent_config).unwrap();
    let file = at.join("agent.toml");
    std::fs::write(&file, config.replace(text(world.path()), text(at))).unwrap();
    for path in [at, &program, &file] {
        somebody.owns(path);
    }
    // It waits for its secret, with the store open.
    let mut waiting = somebody.command(&program);
    waiting.args(["--config", text(&file), "credential", "set", "reader"]).env("PATH", "/usr/bin:/bin");
    let waiting = Ended(waiting.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap());
    eventually("the store is open", Duration::from_secs(20), async || {
        at.join("agent-state/store.db").exists()
    })
    .await;
    assert_eq!(somebody.reads(waiting.0.id()), [false, false]);
    // What tells only how it fares stays open: memory and time used.
    let status = std::fs::read_to_string(format!("/proc/{}/status", waiting.0.id())).unwrap();
    assert!(status.contains("VmRSS:"), "{status}");
    let mut look = somebody.command(Path::new("cat"));
    let look = look.args([format!("/proc/{}/status", waiting.0.id())]).output().unwrap();
    assert!(String::from_utf8_lossy(&look.stdout).contains("VmRSS:"), "{look:?}");

    let mut control = somebody.command(Path::new("sleep"));
    let control = Ended(control.arg("60").env("PATH", "/usr/bin:/bin").spawn().unwrap());
    eventually("another one's can be read", Duration::from_secs(20), async || {
        somebody.reads(control.0.id()) == [true, true]
    })
    .await;
}
