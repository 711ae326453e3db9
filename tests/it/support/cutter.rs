//! The line between agent and relay: it passes bytes on until it is cut, at either end first.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outhaul::common::tasks::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Which end hears of a cut by a reset; the other sees an orderly end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Agent,
    Relay,
    Both,
}

/// A line that can be cut.
pub(crate) struct Cutter {
    /// Where the agent dials.
    pub(crate) port: u16,
    lines: Arc<Mutex<Vec<mpsc::Sender<Cut>>>>,
    refusing: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    tasks: Tasks,
}

impl Cutter {
    /// Before the relay that listens, or will listen, here.
    pub(crate) async fn start(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = Arc::<Mutex<Vec<mpsc::Sender<Cut>>>>::default();
        let (refusing, refused) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let tasks = Tasks::new();
        let (kept, spawner) = (Arc::clone(&lines), tasks.clone());
        let (closed, counter) = (Arc::clone(&refusing), Arc::clone(&refused));
        tasks.spawn_detached(async move {
            loop {
                let accepted = tokio::select! {
                    () = spawner.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((mut near, _)) = accepted else { continue };
                if closed.load(Ordering::SeqCst) {
                    counter.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let Ok(mut far) = TcpStream::connect(relay).await else { continue };
                let (sender, mut receiver) = mpsc::channel(1);
                let mut lines = kept.lock().unwrap();
                lines.retain(|line: &mpsc::Sender<Cut>| !line.is_closed());
                lines.push(sender);
                drop(lines);
                for socket in [&near, &far] {
                    socket.set_nodelay(true).unwrap();
                }
                let stop = spawner.token();
                spawner.spawn_detached(async move {
                    let cut = tokio::select! {
                        () = stop.cancelled() => return,
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                        cut = receiver.recv() => cut,
                    };
                    let reset = |socket: &TcpStream| {
                        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
                    };
                    match cut {
                        Some(Cut::Agent) => reset(&near),
                        Some(Cut::Relay) => reset(&far),
                        _ => {
                            reset(&near);
                            reset(&far);
                        }
                    }
                });
            }
        });
        Self { port, lines, refusing, refused, tasks }
    }

    /// Cuts the line made so many connections ago, if it is there.
    pub(crate) fn cut(&self, ago: usize, how: Cut) -> bool {
        let mut lines = self.lines.lock().unwrap();
        lines.retain(|line| !line.is_closed());
        let index = lines.len().checked_sub(ago + 1);
        index.is_some_and(|index| lines[index].try_send(how).is_ok())
    }

    /// Whether new lines are refused from now on.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::SeqCst);
    }

    /// How many were refused.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// Lines that are there now.
    pub(crate) fn lines(&self) -> usize {
        let mut lines = self.lines.lock().unwrap();
        lines.retain(|line| !line.is_closed());
        lines.len()
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}
