//! B11: the agent's local port shows and reloads its rules for whoever asks. Ours opens no TCP port; its admin
//! socket is a file with rights; and the metrics port, where asked for, only shows figures.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::free_port;
use crate::support::odd_site::OddSite;

/// Local addresses, in hexadecimal, on which a process listens: its sockets in `/proc/net/tcp` that are in state 0A.
/// Nothing where we may not look: the programs are closed to other processes of their user, so only root sees their files.
fn listening(process: u32) -> Option<Vec<String>> {
    let mut own = HashSet::new();
    let files = match std::fs::read_dir(format!("/proc/{process}/fd")) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("only root may see which ports the agent listens on: that part is left out");
            return None;
        }
        files => files.unwrap(),
    };
    for file in files {
        let target = std::fs::read_link(file.unwrap().path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        own.extend(
            target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned),
        );
    }
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[3] == "0A" && own.contains(words[9]) {
                found.push(words[1].to_owned());
            }
        }
    }
    Some(found)
}

#[tokio::test]
async fn the_agent_opens_no_port_and_its_socket_has_rights() {
    let site = OddSite::start().await;
    if let Some(relay) = listening(site.running.relay.id()) {
        assert_eq!(relay.len(), 2, "the way of looking finds the relay's two: {relay:?}");
        assert_eq!(listening(site.running.agent.id()), Some(Vec::new()));
    }
    let socket = site.running.world.path().join("agent.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o007, 0, "others may not connect: {mode:o}");
}

#[tokio::test]
async fn the_metrics_port_changes_nothing_and_shows_no_rule() {
    let port = free_port();
    let site = OddSite::start_with(|world| {
        world.edit_agent("[admin]", &format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n[admin]"));
    })
    .await;
    if let Some(agent) = listening(site.running.agent.id()) {
        assert_eq!(agent, [format!("0100007F:{port:04X}")]);
    }
    let ask = async |method: &str, path: &str| {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    for path in ["/filters", "/reload", "/pause", "/resume", "/callers", "/status", "/policy", "/config"] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = ask(method, path).await;
            assert!(answer.starts_with("HTTP/1.1 404"), "{method} {path}: {answer}");
        }
    }
    for path in ["/metrics", "/health"] {
        assert!(ask("GET", path).await.starts_with("HTTP/1.1 200"));
        assert!(ask("POST", path).await.starts_with("HTTP/1.1 405"));
        let shown = ask("GET", path).await;
        for word in ["pat-reader", "rest/api", &site.door.key, "jira.example"] {
            assert!(!shown.contains(word), "{path} shows {word}");
        }
    }
    assert_eq!(site.running.world.status().await["paused"], false);
}
