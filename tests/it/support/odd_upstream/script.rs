//! What the odd upstream does with one request, step by step.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::Peer;
use super::wire::Head;

/// Holds a script up until the test lets it go on, and tells the test that it has come so far.
#[derive(Clone)]
pub(crate) struct Gate {
    reached: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Gate {
    /// A closed one.
    pub(crate) fn new() -> Self {
        Self { reached: Arc::new(Semaphore::new(0)), opened: Arc::new(Semaphore::new(0)) }
    }

    /// Lets one call through.
    pub(crate) fn open(&self) {
        self.opened.add_permits(1);
    }

    /// Waits until a call stands at it.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.opened.acquire().await.unwrap().forget();
    }
}

/// One step.
#[derive(Clone)]
pub(crate) enum Step {
    /// Reads so many bytes of the body, raw.
    Take(usize),
    /// Reads the body to its end.
    TakeBody,
    /// Sends bytes.
    Say(Bytes),
    /// Sends bytes one by one, each as a packet of its own.
    Drip(Bytes),
    /// Sends the same for as long as somebody takes it.
    Endless(Bytes),
    /// Waits for the test.
    Wait(Gate),
    /// Waits until the other side has gone.
    UntilClosed,
    /// Closes in order.
    Close,
    /// Closes with a reset, what was sent perhaps lost.
    Reset,
}

impl Step {
    /// Sends this text.
    pub(crate) fn say(text: &str) -> Self {
        Self::Say(Bytes::copy_from_slice(text.as_bytes()))
    }
}

/// Runs a script; says whether the connection serves another request.
pub(super) async fn run(peer: &mut Peer, head: &Head, steps: &[Step]) -> bool {
    for step in steps {
        match step {
            Step::Take(count) => {
                if !peer.take(*count).await {
                    return false;
                }
            }
            Step::TakeBody => {
                if !peer.body(head, |_| {}).await {
                    return false;
                }
            }
            Step::Say(bytes) => {
                peer.send(bytes).await;
            }
            Step::Drip(bytes) => {
                for byte in bytes.chunks(1) {
                    peer.send(byte).await;
                    tokio::task::yield_now().await;
                }
            }
            Step::Endless(bytes) => while peer.send(bytes).await {},
            Step::Wait(gate) => gate.pass().await,
            Step::UntilClosed => peer.until_closed().await,
            Step::Close => return false,
            Step::Reset => {
                peer.will_reset();
                return false;
            }
        }
    }
    true
}
