//! A TLS-inspecting proxy with an authority of its own: it ends TLS on both sides and keeps all that it sees, WebSocket
//! frames unmasked. It takes `CONNECT` requests and, for who comes without one, leads to the relay.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use outhaul::common::tasks::Tasks;
use outhaul::net::tls::{Certificates, Peer, client_config, http1_server_config};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use super::pki::Authority;

/// The proxy. It ends when dropped.
pub(crate) struct Interceptor {
    /// Who signs what it shows.
    pub(crate) authority: Authority,
    /// Where it listens.
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    acceptor: TlsAcceptor,
    onward: TlsConnector,
    relay: SocketAddr,
    seen: Mutex<Recording>,
    cut: Mutex<CancellationToken>,
    tasks: Tasks,
}

/// All that went through, as the proxy understands it.
#[derive(Clone, Default)]
pub(crate) struct Recording {
    bytes: Vec<u8>,
}

impl Recording {
    /// What another one has kept.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Puts something behind.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether this text went through.
    pub(crate) fn holds(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

impl Interceptor {
    /// Makes an authority in `folder`; `trusted` is who signed the relay's certificate.
    pub(crate) async fn start(folder: &Path, trusted: &Path, relay: SocketAddr) -> Self {
        let authority = Authority::new(folder);
        let (chain, key) =
            authority.issue("intercepted", &["localhost", "relay.localhost", "*.relay.localhost"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            // HTTP/1.1 alone: it is what its parser of frames reads.
            acceptor: http1_server_config(Certificates::load(&chain, &key).unwrap()).unwrap().into(),
            onward: client_config(Peer::Upstream, Some(trusted)).unwrap().into(),
            relay,
            seen: Mutex::default(),
            cut: Mutex::default(),
            tasks: Tasks::new(),
        });
        let serving = Arc::clone(&shared);
        shared.tasks.spawn_detached(async move {
            loop {
                let accepted = tokio::select! {
                    () = serving.tasks.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { continue };
                let cut = serving.cut.lock().unwrap().clone();
                let one = Arc::clone(&serving);
                serving.tasks.spawn_detached(async move {
                    tokio::select! {
                        () = one.tasks.cancelled() => {}
                        () = cut.cancelled() => {}
                        _ = serve(&one, stream) => {}
                    }
                });
            }
        });
        Self { authority, port, shared }
    }

    /// Cuts every connection that goes through now.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.shared.cut.lock().unwrap()).cancel();
    }

    /// What it has seen so far.
    pub(crate) fn recording(&self) -> Recording {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for Interceptor {
    fn drop(&mut self) {
        self.shared.tasks.cancel();
    }
}

async fn serve(shared: &Arc<Shared>, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0; 1];
    stream.peek(&mut first).await?;
    if first == *b"C" {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    }
    let near = shared.acceptor.accept(stream).await?;
    let far = TcpStream::connect(shared.relay).await?;
    far.set_nodelay(true)?;
    let name = near.get_ref().1.server_name().unwrap_or("localhost").to_owned();
    let far = shared.onward.connect(name.try_into().map_err(std::io::Error::other)?, far).await?;
    let (near_in, near_out) = tokio::io::split(near);
    let (far_in, far_out) = tokio::io::split(far);
    tokio::try_join!(pass(shared, near_in, far_out), pass(shared, far_in, near_out))?;
    Ok(())
}

async fn pass(
    shared: &Shared,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let mut reader = Reader::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let understood = reader.read(&buffer[..count]);
        shared.seen.lock().unwrap().bytes.extend(understood);
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}

/// One direction: a head; behind one that speaks of a WebSocket, frames.
#[derive(Default)]
struct Reader {
    pending: Vec<u8>,
    frames: Option<bool>,
}

impl Reader {
    fn read(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        if self.frames.is_none() {
            let Some(end) = self.pending.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Vec::new();
            };
            let head = String::from_utf8_lossy(&self.pending[..end]).to_ascii_lowercase();
            self.frames = Some(head.contains("upgrade: websocket"));
            let mut out: Vec<u8> = self.pending.drain(..end + 4).collect();
            out.extend(self.read(&[]));
            return out;
        }
        if self.frames == Some(false) {
            return std::mem::take(&mut self.pending);
        }
        let mut out = Vec::new();
        while let Some((whole, payload)) = frame(&self.pending) {
            out.extend(payload);
            self.pending.drain(..whole);
        }
        out
    }
}

/// The first frame (RFC 6455, section 5.2): its length, and its payload unmasked.
fn frame(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let second = *bytes.get(1)?;
    let (length, mut at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        mask.copy_from_slice(bytes.get(at..at + 4)?);
        at += 4;
    }
    let payload = bytes.get(at..at + length)?;
    Some((at + length, payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()))
}
