//! The thread that owns the connection and empties a bounded queue.
//!
//! What has gathered meanwhile runs in one transaction with one fsync, so a thousand that wait don't wait for a
//! thousand fsyncs. An answer is given only after the commit. A copy of the whole file is made in steps between the
//! commits, so that a large one holds nobody up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use tokio::sync::{mpsc, oneshot};

/// What goes wrong between a caller and the thread.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WorkerFault {
    /// SQLite's own word.
    #[error(transparent)]
    Sql(Arc<rusqlite::Error>),
    /// The thread has ended.
    #[error("it is closed")]
    Closed,
    /// Too much is waiting already.
    #[error("it is overloaded")]
    Overloaded,
}

impl From<rusqlite::Error> for WorkerFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(Arc::new(error))
    }
}

type Delivery = Box<dyn FnOnce(Result<(), WorkerFault>) + Send>;
/// Is given the fault where no transaction could begin.
type Work = Box<dyn FnOnce(Result<&Connection, WorkerFault>) -> Delivery + Send>;
type AtEnd = Box<dyn FnOnce(Result<(), WorkerFault>) + Send>;

enum Job {
    /// In the transaction of its batch.
    Batched(Work),
    /// By itself, outside a transaction.
    Alone(Box<dyn FnOnce(&Connection) + Send>),
    /// The whole file into another, in steps.
    Copy(Box<Connection>, AtEnd),
}

/// A handle to the thread; cheap to clone. With the last handle the file is closed and the thread ends.
#[derive(Debug, Clone)]
pub struct Worker(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    /// Always there until the end.
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Waits for the thread: a process that ends while SQLite still works tears down the cipher's library under it.
impl Drop for Handle {
    fn drop(&mut self) {
        self.queue = None;
        // A job may hold the last handle, on the thread itself.
        let thread = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Worker {
    /// Starts the thread.
    pub fn start(name: &str, connection: Connection) -> Result<Self, WorkerFault> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work_off(&connection, receiver))
            .map_err(|_| WorkerFault::Closed)?;
        Ok(Self(Arc::new(Handle { queue: Some(sender), thread: Some(thread) })))
    }

    /// Runs `work` on the thread, in a savepoint of its own: it takes effect whole or not at all. On return that is
    /// on disk.
    pub async fn call<R, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<WorkerFault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Work = Box::new(move |connection| {
            let result = connection.map_err(E::from).and_then(|connection| in_savepoint(connection, work));
            Box::new(move |committed| {
                // Its own fault says more than that of the commit, which may only follow from it.
                let answer = result.and_then(|done| committed.map(|()| done).map_err(E::from));
                // Nobody may wait any more; the work is done all the same.
                let _ = reply.send(answer);
            })
        });
        self.send(Job::Batched(job)).await?;
        answer.await.map_err(|_| E::from(WorkerFault::Closed))?
    }

    /// Runs `work` on the thread, outside a transaction; everybody else waits for it.
    pub async fn alone<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> R + Send + 'static,
    ) -> Result<R, WorkerFault> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Alone(Box::new(move |connection| {
            let _ = reply.send(work(connection));
        }));
        self.send(job).await?;
        answer.await.map_err(|_| WorkerFault::Closed)
    }

    /// Copies the whole file, as it is at the end of the copying; gives what `at_end` gives at that very moment. Others
    /// go on working meanwhile.
    pub async fn copy<R: Send + 'static>(
        &self,
        into: Connection,
        at_end: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, WorkerFault> {
        let (reply, answer) = oneshot::channel();
        let at_end = move |copied: Result<(), WorkerFault>| {
            let _ = reply.send(copied.map(|()| at_end()));
        };
        self.send(Job::Copy(Box::new(into), Box::new(at_end))).await?;
        answer.await.map_err(|_| WorkerFault::Closed)?
    }

    async fn send(&self, job: Job) -> Result<(), WorkerFault> {
        let queue = self.0.queue.as_ref().ok_or(WorkerFault::Closed)?;
        match tokio::time::timeout(PATIENCE, queue.send(job)).await {
            Ok(sent) => sent.map_err(|_| WorkerFault::Closed),
            Err(_) => Err(WorkerFault::Overloaded),
        }
    }
}

fn work_off(connection: &Connection, mut queue: mpsc::Receiver<Job>) {
    // What could not run when its turn came.
    let mut kept = VecDeque::new();
    loop {
        let Some(job) = kept.pop_front().or_else(|| queue.blocking_recv()) else { return };
        match job {
            Job::Batched(first) => kept.extend(batch(connection, first, &mut queue)),
            Job::Alone(work) => work(connection),
            Job::Copy(mut into, at_end) => {
                let copied = copy(connection, &mut into, &mut queue, &mut kept);
                drop(into);
                at_end(copied);
            }
        }
    }
}

/// Runs what has gathered in one transaction. Gives back a job that does not belong into one.
fn batch(connection: &Connection, first: Work, queue: &mut mpsc::Receiver<Job>) -> Option<Job> {
    let mut deliveries = Vec::new();
    let begun = connection.execute_batch("BEGIN IMMEDIATE").map_err(WorkerFault::from);
    let (mut next, mut kept) = (Some(first), None);
    while let Some(work) = next.take() {
        deliveries.push(work(begun.clone().map(|()| connection)));
        if deliveries.len() < BATCH {
            match queue.try_recv() {
                Ok(Job::Batched(work)) => next = Some(work),
                Ok(other) => kept = Some(other),
                Err(_) => {}
            }
        }
    }
    let done = begun.and_then(|()| connection.execute_batch("COMMIT").map_err(WorkerFault::from));
    if let Err(error) = &done {
        tracing::error!(%error, "the store could not commit");
        // Without a transaction there is nothing to roll back, and that is fine too.
        let _ = connection.execute_batch("ROLLBACK");
    }
    for deliver in deliveries.drain(..) {
        deliver(done.clone());
    }
    kept
}

/// What this connection writes between two steps goes into the copy too. What must run alone waits for its end.
fn copy(
    connection: &Connection,
    into: &mut Connection,
    queue: &mut mpsc::Receiver<Job>,
    kept: &mut VecDeque<Job>,
) -> Result<(), WorkerFault> {
    let backup = Backup::new(connection, into)?;
    loop {
        if backup.step(PAGES)? == StepResult::Done {
            return Ok(());
        }
        while kept.len() < KEPT {
            match queue.try_recv() {
                Ok(Job::Batched(work)) => kept.extend(batch(connection, work, queue)),
                Ok(other) => kept.push_back(other),
                Err(_) => break,
            }
        }
    }
}

fn in_savepoint<R, E: From<WorkerFault>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<R, E>,
) -> Result<R, E> {
    if connection.is_autocommit() {
        // The transaction could not begin; without it nothing would be whole.
        return Err(WorkerFault::Overloaded.into());
    }
    let run = |sql| connection.execute_batch(sql).map_err(|error| E::from(error.into()));
    run("SAVEPOINT job")?;
    let result = work(connection);
    if result.is_ok() {
        run("RELEASE job")?;
    } else if run("ROLLBACK TO job; RELEASE job").is_err() {
        // On a full disk SQLite undoes the whole transaction by itself; what is left of one must not be committed.
        let _ = connection.execute_batch("ROLLBACK");
    }
    result
}

/// How many jobs may wait.
const QUEUE: usize = 512;
/// How many that run alone may wait for the end of a copy, before everything waits for it.
const KEPT: usize = 64;
/// How many jobs share a commit.
const BATCH: usize = 128;
/// How long a job waits for room in the queue.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many pages a copy takes at a time: less than a megabyte.
const PAGES: std::ffi::c_int = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fault(WorkerFault);
    impl From<WorkerFault> for Fault {
        fn from(fault: WorkerFault) -> Self {
            Self(fault)
        }
    }

    async fn count(worker: &Worker) -> i64 {
        let count = |connection: &Connection| {
            Ok::<i64, Fault>(
                connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap_or(-1),
            )
        };
        worker.call(count).await.unwrap()
    }

    #[tokio::test]
    async fn a_failed_job_takes_nothing_of_its_batch_with_it() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x INTEGER) STRICT").unwrap();
        let worker = Worker::start("test", connection).unwrap();
        let insert = |good: bool| {
            let worker = worker.clone();
            async move {
                worker
                    .call(move |connection| {
                        connection.execute("INSERT INTO t VALUES (1)", []).map_err(WorkerFault::from)?;
                        if good { Ok(()) } else { Err(Fault(WorkerFault::Closed)) }
                    })
                    .await
            }
        };
        let (one, two, three) = tokio::join!(insert(true), insert(false), insert(true));
        assert!(one.is_ok() && two.is_err() && three.is_ok());
        assert_eq!(count(&worker).await, 2);
        assert!(worker.alone(Connection::is_autocommit).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_disk_is_called_so_and_leaves_nothing_half_done() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x BLOB) STRICT; PRAGMA max_page_count = 10").unwrap();
        let worker = Worker::start("test", connection).unwrap();
        let insert = |bytes: u32| {
            worker.call(move |connection| {
                let insert = "INSERT INTO t VALUES (zeroblob(?1))";
                connection.execute(insert, [bytes]).map_err(WorkerFault::from)?;
                Ok::<(), Fault>(())
            })
        };
        let (one, two) = tokio::join!(insert(10), insert(1 << 20));
        // SQLite undoes the whole transaction: if the two shared one, the first did not happen either.
        let first = i64::from(one.is_ok());
        assert!(matches!(
            two.unwrap_err().0,
            WorkerFault::Sql(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
        ));
        assert_eq!(count(&worker).await, first, "what was said to be done is done, and nothing else");
        insert(10).await.unwrap();
        assert_eq!(count(&worker).await, first + 1);
    }

    #[tokio::test]
    async fn a_copy_holds_what_was_written_while_it_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("a")).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (x BLOB) STRICT;
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
                 INSERT INTO t SELECT randomblob(2000) FROM n",
            )
            .unwrap();
        let worker = Worker::start("test", connection).unwrap();
        let into = Connection::open(folder.path().join("b")).unwrap();
        let write = async {
            for _ in 0..50 {
                let insert = |connection: &Connection| {
                    connection.execute("INSERT INTO t VALUES (x'00')", []).map_err(WorkerFault::from)?;
                    Ok::<(), Fault>(())
                };
                worker.call(insert).await.unwrap();
            }
        };
        let (copied, ()) = tokio::join!(worker.copy(into, || 7), write);
        assert_eq!(copied.unwrap(), 7);
        let copy = Worker::start("copy", Connection::open(folder.path().join("b")).unwrap()).unwrap();
        let (here, there) = (count(&worker).await, count(&copy).await);
        assert_eq!(here, 4050);
        assert!((4000..=4050).contains(&there), "{there}");
    }
}
