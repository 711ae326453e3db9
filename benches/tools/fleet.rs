//! Many agents in one process, each with its own site, key and tunnels, and nothing behind them.
//!
//! It enrols them, says so, and waits. `connect` on standard input dials all of them, a few at a time; from then on
//! each tunnel that is lost is dialled anew as an agent does it. `wait` answers once all are up; `alive` at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use outhaul::common::backoff::Backoff;
use outhaul::common::clock::Clock;
use outhaul::common::tasks::Tasks;
use outhaul::net::local;
use outhaul::net::tunnel::{Acceptor, ByteStream, IncomingCall, Role, Settings, Tunnel};
use outhaul::tunnel::code::DrainCode;
use outhaul::tunnel::head::BytesHead;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::handshake::{Enrolled, Way};
use crate::{Outcome, words};

/// Which relay, and how many agents.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The relay's admin socket.
    #[arg(long)]
    admin: PathBuf,
    #[arg(long)]
    relay: SocketAddr,
    #[arg(long)]
    authority: PathBuf,
    #[arg(long)]
    agents: usize,
    /// Of each agent.
    #[arg(long, default_value_t = 1)]
    tunnels: u8,
}

/// What is known of all tunnels.
#[derive(Default)]
struct Counts {
    up: usize,
    attempts: u64,
    faults: BTreeMap<String, u64>,
}

struct Fleet {
    way: Way,
    counts: Mutex<Counts>,
    /// At first few dial at a time; after a loss all do, as agents would.
    gate: Arc<Semaphore>,
    tasks: Tasks,
}

pub(crate) async fn run(arguments: Arguments) -> Outcome<()> {
    let fleet = Arc::new(Fleet {
        way: Way::new(arguments.relay, "localhost", &arguments.authority)?,
        counts: Mutex::default(),
        gate: Arc::new(Semaphore::new(DIALS_AT_ONCE)),
        tasks: Tasks::new(),
    });
    let began = Instant::now();
    let agents = enrol(&fleet, &arguments).await?;
    let tunnels = agents.len() * usize::from(arguments.tunnels);
    say(&json!({ "enrolled": agents.len(), "seconds": began.elapsed().as_secs_f64() }));

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(words)? {
        match line.trim() {
            "connect" => {
                let began = Instant::now();
                for agent in &agents {
                    for slot in 0..arguments.tunnels {
                        let task = Arc::clone(&fleet).hold(Arc::clone(agent), slot);
                        fleet.tasks.spawn_detached(Box::pin(task));
                    }
                }
                say(&fleet.all_up(tunnels, began).await);
            }
            "wait" => say(&fleet.all_up(tunnels, Instant::now()).await),
            "alive" => say(&fleet.report(None)),
            other => return Err(format!("“{other}” is no command")),
        }
    }
    Ok(())
}

async fn enrol(fleet: &Fleet, arguments: &Arguments) -> Outcome<Vec<Arc<Enrolled>>> {
    let admin = local::Client::new(&arguments.admin, "outhaul-relay");
    let one = async |number: usize| {
        let site = format!("fleet-{number}");
        admin.post("/sites", &json!({ "name": site })).await.map_err(words)?;
        let asked = json!({ "role": "active", "valid_seconds": 3600 });
        let made = admin.post(&format!("/sites/{site}/enrol"), &asked).await.map_err(words)?;
        let token = made.get("token").and_then(Value::as_str).unwrap_or_default();
        fleet.way.enrol(token).await.map(Arc::new)
    };
    let enrolling = stream::iter(0..arguments.agents).map(one).buffer_unordered(ENROLMENTS_AT_ONCE);
    enrolling.collect::<Vec<_>>().await.into_iter().collect()
}

impl Fleet {
    /// One tunnel, for as long as the process runs.
    async fn hold(self: Arc<Self>, agent: Arc<Enrolled>, slot: u8) {
        let (mut join, mut backoff, clock) = (agent.join, Backoff::default(), Clock::system());
        let mut outage = Instant::now();
        let mut first = true;
        loop {
            let gate = if first { Arc::clone(&self.gate).acquire_owned().await.ok() } else { None };
            self.with_counts(|counts| counts.attempts += 1);
            match Box::pin(self.way.connect(&agent, slot, join)).await {
                Ok((socket, next)) => {
                    join = next;
                    let (settings, clock) = (Settings::default(), clock.clone());
                    let tunnel =
                        Tunnel::start(socket, Role::Agent, settings, clock, &self.tasks, Arc::new(Nobody));
                    drop(gate);
                    first = false;
                    self.with_counts(|counts| counts.up += 1);
                    tunnel.closed().await;
                    self.with_counts(|counts| counts.up -= 1);
                    outage = Instant::now();
                    backoff.reset();
                }
                Err(fault) => self.with_counts(|counts| *counts.faults.entry(fault).or_default() += 1),
            }
            tokio::time::sleep(backoff.next(outage.elapsed(), rand::random())).await;
        }
    }

    async fn all_up(&self, tunnels: usize, began: Instant) -> Value {
        while self.with_counts(|counts| counts.up) < tunnels && began.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.report(Some(began.elapsed()))
    }

    fn report(&self, took: Option<Duration>) -> Value {
        self.with_counts(|counts| {
            let faults = std::mem::take(&mut counts.faults);
            let attempts = std::mem::take(&mut counts.attempts);
            let seconds = took.map(|took| took.as_secs_f64());
            json!({ "up": counts.up, "attempts": attempts, "faults": faults, "seconds": seconds })
        })
    }

    fn with_counts<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Idle agents are not called.
struct Nobody;

impl Acceptor for Nobody {
    fn http(&self, call: IncomingCall) {
        drop(call);
    }
    fn bytes(&self, _: BytesHead, stream: ByteStream) {
        drop(stream);
    }
    fn status(&self, _: Bytes) {}
    fn draining(&self, _: DrainCode, _: String) {}
}

fn say(answer: &Value) {
    println!("{answer}");
}

const DIALS_AT_ONCE: usize = 32;
const ENROLMENTS_AT_ONCE: usize = 16;
/// Longer than any run may take.
const PATIENCE: Duration = Duration::from_secs(180);
