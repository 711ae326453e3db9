//! What stands between agent and relay as processes: mitmproxy and nginx. And a caller who goes through a proxy.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::interceptor::Recording;
use crate::support::pki::write_private;
use crate::support::process::text;
use crate::support::{eventually, free_port};

const PATIENCE: Duration = Duration::from_secs(60);

/// The secret of a token, as PROOF carries it.
pub(super) fn read_token(token: &str) -> String {
    let document = URL_SAFE_NO_PAD.decode(token.strip_prefix("oht_").unwrap()).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    document["k"].as_str().unwrap().to_owned()
}

async fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

/// A process of this test, gone with it.
struct Guard(Child);

impl Guard {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let log = (log.try_clone().unwrap(), log);
        Self(command.stdin(Stdio::null()).stdout(log.0).stderr(log.1).spawn().unwrap())
    }

    fn terminate(&self) {
        let line = format!("kill -TERM {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real one, with the authority that it makes for itself. It writes all that it sees to a file.
pub(super) struct Mitmproxy {
    process: Guard,
    pub(super) port: u16,
    pub(super) authority: PathBuf,
    flows: PathBuf,
}

impl Mitmproxy {
    pub(super) async fn start(folder: &Path, trusted: &Path) -> Self {
        std::fs::create_dir(folder).unwrap();
        Self::again(folder, trusted, free_port()).await
    }

    /// Another one in its place, with the same authority.
    pub(super) async fn again(folder: &Path, trusted: &Path, port: u16) -> Self {
        let program = std::env::var("MITMDUMP").expect("MITMDUMP names the program");
        let flows = folder.join(format!("flows-{}", free_port()));
        let mut command = Command::new(program);
        command.args([
            "--listen-host",
            "127.0.0.1",
            "--listen-port",
            &port.to_string(),
            "--flow-detail",
            "0",
        ]);
        command.args(["--set", &format!("confdir={}", text(folder))]);
        command.args(["--set", &format!("ssl_verify_upstream_trusted_ca={}", text(trusted))]);
        command.args(["--save-stream-file", text(&flows)]);
        let process = Guard::start(&mut command, &folder.join("log"));
        eventually("mitmproxy listens", PATIENCE, async || listens(port).await).await;
        Self { process, port, authority: folder.join("mitmproxy-ca-cert.pem"), flows }
    }

    /// Ends it; all that it has seen. Whole flows: heads, bodies, WebSocket messages unmasked.
    pub(super) async fn end(&mut self) -> Recording {
        self.process.terminate();
        eventually("mitmproxy ends", PATIENCE, async || self.process.0.try_wait().unwrap().is_some()).await;
        // Its file keeps a head in parts.
        let flows = std::fs::read(&self.flows).unwrap();
        let mut seen = Recording::new(flows);
        if seen.holds("/agent/v1") {
            seen.add(b"GET /agent/v1 HTTP/1.1");
        }
        seen
    }
}

/// Debian's nginx, which ends TLS and goes on to the relay with TLS of its own.
pub(super) struct Nginx {
    _process: Guard,
}

impl Nginx {
    pub(super) async fn start(
        folder: &Path,
        port: u16,
        (chain, key): (&Path, &Path),
        relay: u16,
        trusted: &Path,
    ) -> Self {
        std::fs::create_dir(folder).unwrap();
        let (at, chain, key, trusted) = (text(folder), text(chain), text(key), text(trusted));
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("  {name}_temp_path {at}/{name};\n"))
            .collect();
        let config = format!(
            r"daemon off;
user root;
worker_processes 1;
pid {at}/pid;
error_log {at}/error.log;
events {{}}
http {{
{temporary}  access_log {at}/access.log;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass https://127.0.0.1:{relay};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $http_host;
      proxy_ssl_server_name on;
      proxy_ssl_name localhost;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {trusted};
      proxy_read_timeout 1h;
    }}
  }}
}}
"
        );
        let file = folder.join("nginx.conf");
        write_private(&file, &config);
        let program = std::env::var("NGINX").unwrap_or_else(|_| "nginx".to_owned());
        let process = Guard::start(
            Command::new(program).args(["-p", at, "-c", text(&file), "-e", &format!("{at}/error.log")]),
            &folder.join("log"),
        );
        eventually("nginx listens", PATIENCE, async || listens(port).await).await;
        Self { _process: process }
    }
}

/// A caller behind the same proxy.
pub(super) struct Call<'a> {
    pub(super) port: u16,
    pub(super) authority: &'a Path,
    pub(super) relay: u16,
    pub(super) key: &'a str,
}

impl Call<'_> {
    /// POST with a JSON body; the whole answer as text.
    pub(super) async fn post(&self, path: &str, body: &str) -> String {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let host = format!("localhost:{}", self.relay);
        stream
            .write_all(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Some end without TLS's own goodbye.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}
