//! One new connection to one node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::body::Outgoing;
use super::fault::SendFault;
use super::io::{Counted, Counters, Stream};
use crate::common::tasks::Tasks;

/// Room for an answer's head, and the largest chunk read at once.
const BUFFER: usize = 64 * 1024;
const MAX_HEADERS: usize = 256;

/// How to reach one node.
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) timeout: Duration,
}

impl Target {
    /// Host and port, for people.
    pub(super) fn label(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Connects within the timeout, TLS included.
    pub(super) async fn connect(&self, tasks: &Tasks) -> Result<Connection, SendFault> {
        match tokio::time::timeout(self.timeout, self.open(tasks)).await {
            Ok(result) => result,
            Err(_) => Err(self.unreachable(format!("no connection within {:?}", self.timeout))),
        }
    }

    async fn open(&self, tasks: &Tasks) -> Result<Connection, SendFault> {
        let socket =
            dial(&self.host, self.port).await.map_err(|error| self.unreachable(error.to_string()))?;
        match &self.tls {
            None => http(socket, tasks).await,
            Some((connector, name)) => {
                let stream = connector
                    .connect(name.clone(), socket)
                    .await
                    .map_err(|error| SendFault::Tls { node: self.label(), reason: error.to_string() })?;
                http(stream, tasks).await
            }
        }
    }

    fn unreachable(&self, reason: String) -> SendFault {
        SendFault::Connect { node: self.label(), reason }
    }
}

async fn dial(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect((host, port)).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A live connection. Dropping it closes the socket at once, whatever is under way on it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) counters: Arc<Counters>,
    /// Whether a request was ever sent on it: only then can it be stale.
    pub(super) used: bool,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn http<S: Stream>(stream: S, tasks: &Tasks) -> Result<Connection, SendFault> {
    let (stream, counters) = Counted::new(stream);
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| SendFault::Unsendable(error.to_string()))?;
    // Its errors reach whoever waits for the answer.
    let driver = tasks.spawn_detached(async { drop(connection.await) }).abort_handle();
    Ok(Connection { sender, counters, used: false, driver })
}

/// TLS as a client: the system's authorities, and those of the file.
pub(super) fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let shown = path.display();
        let certificates = CertificateDer::pem_file_iter(path)
            .map_err(|error| format!("ca-file {shown} can't be read: {error}"))?;
        for certificate in certificates {
            let certificate =
                certificate.map_err(|error| format!("ca-file {shown} is no PEM certificate: {error}"))?;
            roots.add(certificate).map_err(|error| format!("ca-file {shown}: {error}"))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
