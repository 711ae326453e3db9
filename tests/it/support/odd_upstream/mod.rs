//! An upstream that does on request what no good one does, and keeps every byte it was sent.
//!
//! A request is answered by the script put up for the last segment of its path, or, without one, by [`plain`]: the
//! body is read whole and answered with a body made from a seed. `/status` is answered as Jira does.

pub(crate) mod once;
mod peer;
mod plain;
mod script;
pub(crate) mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use outhaul::common::tasks::Tasks;
use tokio::net::TcpListener;

pub(crate) use peer::Peer;
pub(crate) use plain::{hash, seeded};
pub(crate) use script::{Gate, Step};

/// What is kept of one connection's bytes; the rest is only counted.
const KEPT: usize = 512 << 10;

/// How many connections are remembered: the last ones.
const MOST: usize = 2000;

/// The upstream; gone when dropped.
pub(crate) struct Odd {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
    tasks: Tasks,
}

#[derive(Default)]
struct Inner {
    scripts: Mutex<HashMap<String, Arc<[Step]>>>,
    connections: Mutex<Vec<Arc<Heard>>>,
    requests: AtomicUsize,
    ledger: once::Ledger,
}

/// One connection, as it was heard.
#[derive(Default)]
pub(crate) struct Heard {
    raw: Mutex<Vec<u8>>,
    count: AtomicU64,
    /// The other side closed it, or broke it off.
    closed: AtomicBool,
    requests: AtomicUsize,
    /// It only asked for the health so far.
    health: AtomicBool,
}

impl Heard {
    /// The bytes as they came, up to half a megabyte.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.raw.lock().unwrap().clone()
    }

    /// The whole requests in them, but those for the health; an error if there is anything else.
    pub(crate) fn parsed(&self) -> Result<Vec<(wire::Head, Vec<u8>)>, String> {
        let wire::Reading { mut whole, cut, fault } = wire::read(&self.raw());
        whole.retain(|(head, _)| head.target != "/status");
        match (cut, fault) {
            (None, None) => Ok(whole),
            (cut, fault) => Err(format!("{cut:?} {fault:?}")),
        }
    }

    /// How many came in all.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Whether the other side has ended it.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn hear(&self, bytes: &[u8]) {
        let mut raw = self.raw.lock().unwrap();
        let room = KEPT.saturating_sub(raw.len()).min(bytes.len());
        raw.extend_from_slice(&bytes[..room]);
        self.count.fetch_add(bytes.len() as u64, Ordering::SeqCst);
    }
}

impl Odd {
    /// Starts one on loopback.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::<Inner>::default();
        let tasks = Tasks::new();
        let (shared, spawner) = (Arc::clone(&inner), tasks.clone());
        tasks.spawn("odd upstream", async move {
            loop {
                let accepted = tokio::select! {
                    () = spawner.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((socket, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                let stop = spawner.token();
                spawner.spawn_detached(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = serve(shared, socket) => {}
                    }
                });
            }
        });
        Self { address, inner, tasks }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it does from now on when a path ends in this segment.
    pub(crate) fn on(&self, segment: &str, steps: impl Into<Arc<[Step]>>) {
        self.inner.scripts.lock().unwrap().insert(segment.to_owned(), steps.into());
    }

    /// Requests whose head arrived, but those for the health.
    pub(crate) fn requests(&self) -> usize {
        self.inner.requests.load(Ordering::SeqCst)
    }

    /// All connections so far that carried anything but the asking for the health.
    pub(crate) fn connections(&self) -> Vec<Arc<Heard>> {
        let all = self.inner.connections.lock().unwrap();
        let carried = |heard: &&Arc<Heard>| heard.count() > 0 && !heard.health.load(Ordering::SeqCst);
        all.iter().filter(carried).cloned().collect()
    }

    /// The connection whose bytes hold this text.
    pub(crate) fn heard(&self, text: &str) -> Option<Arc<Heard>> {
        self.connections().into_iter().find(|heard| wire::find(&heard.raw(), text.as_bytes()).is_some())
    }

    /// How often each numbered call was seen.
    pub(crate) fn ledger(&self) -> &once::Ledger {
        &self.inner.ledger
    }

    /// Forgets what it heard.
    pub(crate) fn forget(&self) {
        for heard in self.inner.connections.lock().unwrap().iter() {
            heard.raw.lock().unwrap().clear();
            heard.count.store(0, Ordering::SeqCst);
        }
        self.inner.requests.store(0, Ordering::SeqCst);
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

async fn serve(inner: Arc<Inner>, socket: tokio::net::TcpStream) {
    let heard = Arc::<Heard>::default();
    {
        let mut connections = inner.connections.lock().unwrap();
        if connections.len() == MOST {
            connections.remove(0);
        }
        connections.push(Arc::clone(&heard));
    }
    let mut peer = Peer::new(socket, Arc::clone(&heard));
    while let Some(head) = peer.head().await {
        let path = head.target.split('?').next().unwrap_or("").to_owned();
        if path == "/status" {
            if heard.requests.load(Ordering::SeqCst) == 0 {
                heard.health.store(true, Ordering::SeqCst);
            }
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"state\":\"RUNNING\"}").await;
            continue;
        }
        inner.requests.fetch_add(1, Ordering::SeqCst);
        heard.requests.fetch_add(1, Ordering::SeqCst);
        heard.health.store(false, Ordering::SeqCst);
        if let Some(id) = once::id(&path) {
            inner.ledger.see(id);
            if once::answer(&mut peer, &head, id).await {
                continue;
            }
            return;
        }
        let segment = path.rsplit('/').next().unwrap_or("");
        let script = inner.scripts.lock().unwrap().get(segment).cloned();
        let goes_on = match script {
            Some(steps) => script::run(&mut peer, &head, &steps).await,
            None => plain::answer(&mut peer, &head).await,
        };
        if !goes_on {
            return;
        }
    }
    inner.ledger.see_piece(peer.left());
}
