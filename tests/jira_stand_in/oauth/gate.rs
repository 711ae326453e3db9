//! Token requests held or left unanswered on a test's order.

use tokio::sync::watch;

/// At which point a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    Before,
    After,
}

#[derive(Default)]
struct Held {
    ordered: Option<Point>,
    waiting: usize,
    releases: u64,
}

/// The gate that token requests pass twice.
pub(crate) struct Gate(watch::Sender<Held>);

/// A mark on an answer that must not be sent.
#[derive(Clone)]
pub(crate) struct DropAnswer;

/// Counts a held request off.
struct Waiting<'a>(&'a Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|held| held.waiting -= 1);
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Held::default()))
    }

    pub(crate) fn order(&self, point: Point) {
        self.0.send_modify(|held| held.ordered = Some(point));
    }

    pub(crate) fn release(&self) {
        self.0.send_modify(|held| {
            held.ordered = None;
            held.releases += 1;
        });
    }

    /// Waits where a test ordered it; one request uses the order up.
    pub(crate) async fn pass(&self, point: Point) {
        let mut ticket = None;
        self.0.send_if_modified(|held| {
            if held.ordered != Some(point) {
                return false;
            }
            held.ordered = None;
            held.waiting += 1;
            ticket = Some(held.releases);
            true
        });
        if let Some(ticket) = ticket {
            let _waiting = Waiting(self);
            // The sender is ours and lives as long.
            let _ = self.0.subscribe().wait_for(|held| held.releases > ticket).await;
        }
    }

    /// How many are held, as soon as there is one.
    pub(crate) async fn held(&self, wait: std::time::Duration) -> usize {
        let mut watched = self.0.subscribe();
        let _ = tokio::time::timeout(wait, watched.wait_for(|held| held.waiting > 0)).await;
        self.0.borrow().waiting
    }
}
