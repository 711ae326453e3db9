//! The only spawner: tasks have a name, are cancelled together, and are waited for.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks that stop together.
///
/// A task that panics cancels its group: an orderly stop is better than a daemon with a part missing.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that the program can't do without. It should watch [`Tasks::cancelled`] itself.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cancel = self.cancel.clone();
        let guarded = tokio::spawn(task);
        self.tracker.spawn(async move {
            match guarded.await {
                Ok(output) => Some(output),
                Err(error) => {
                    if error.is_panic() {
                        tracing::error!(task = name, "a task panicked; stopping");
                        cancel.cancel();
                    }
                    None
                }
            }
        })
    }

    /// Starts a short task for one connection or call: its failure is its own affair.
    pub fn spawn_detached<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Tells every task of the group to stop.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// The token that tasks watch.
    pub fn token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Resolves once the group is told to stop.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Waits for all tasks to end, at most so long. Says whether all did.
    pub async fn drain(&self, at_most: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(at_most, self.tracker.wait()).await.is_ok()
    }
}
