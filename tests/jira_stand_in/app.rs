//! What every handler is given: the application, the caller, and the query.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::extract::FromRequestParts;
use http::request::Parts;
use outhaul::common::clock::Clock;
use serde_json::Value;

use crate::cluster::Node;
use crate::identity::Who;
use crate::index::Lag;
use crate::oauth;
use crate::options::{Options, Profile};
use crate::rate::Limits;
use crate::read_only::ReadOnly;
use crate::troubles::Trouble;
use crate::world::World;

/// The running stand-in.
pub(crate) struct App {
    pub(crate) options: Options,
    /// Without a slash at the end; context path included.
    pub(crate) base: String,
    /// `/jira`, or nothing.
    pub(crate) context: String,
    pub(crate) clock: Clock,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) counters: Counters,
    pub(crate) oauth_gate: oauth::Gate,
    /// At least one.
    pub(crate) nodes: Vec<Arc<Node>>,
    world: Mutex<World>,
    switches: Mutex<BTreeMap<&'static str, &'static str>>,
    troubles: Mutex<Vec<Trouble>>,
    limits: Mutex<Option<Limits>>,
    read_only: Mutex<Option<ReadOnly>>,
    lag: Mutex<Lag>,
    log: Mutex<VecDeque<Value>>,
    /// Changes when every open connection is to be closed.
    pub(crate) hang_up: tokio::sync::watch::Sender<u64>,
}

/// What a test counts.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) open_connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) broken_uploads: AtomicU64,
    pub(crate) broken_answers: AtomicU64,
}

/// How many requests the log remembers.
const LOG_LENGTH: usize = 500;

impl App {
    pub(crate) fn new(options: Options, base: &str, world: World) -> std::io::Result<Self> {
        let base = base.trim_end_matches('/').to_owned();
        let uri: http::Uri =
            base.parse().map_err(|fault| std::io::Error::other(format!("base URL: {fault}")))?;
        let context = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            switches: Mutex::new(options.set.clone()),
            nodes: (1..=options.nodes.len() + 1).map(|number| Arc::new(Node::new(number))).collect(),
            clock: if options.manual_clock { Clock::manual() } else { Clock::system() },
            options,
            base,
            context,
            folder: tempfile::tempdir()?,
            counters: Counters::default(),
            oauth_gate: oauth::Gate::new(),
            world: Mutex::new(world),
            troubles: Mutex::default(),
            limits: Mutex::default(),
            read_only: Mutex::default(),
            lag: Mutex::default(),
            log: Mutex::default(),
            hang_up: tokio::sync::watch::Sender::new(0),
        })
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn troubles(&self) -> MutexGuard<'_, Vec<Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn limits(&self) -> MutexGuard<'_, Option<Limits>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read_only(&self) -> MutexGuard<'_, Option<ReadOnly>> {
        self.read_only.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lag(&self) -> MutexGuard<'_, Lag> {
        self.lag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By the name that `X-ANODEID` gives it.
    pub(crate) fn node(&self, id: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Is this switch set so?
    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner).get(name) == Some(&value)
    }

    pub(crate) fn set(&self, name: &'static str, value: &'static str) {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner).insert(name, value);
    }

    pub(crate) fn switches(&self) -> BTreeMap<&'static str, &'static str> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn profile(&self) -> Profile {
        self.options.profile
    }

    pub(crate) fn remember(&self, entry: Value) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LENGTH {
            log.pop_front();
        }
        log.push_back(entry);
    }

    pub(crate) fn log(&self, clear: bool) -> Vec<Value> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = log.iter().cloned().collect();
        if clear {
            log.clear();
        }
        entries
    }

    /// The time as Jira writes it.
    pub(crate) fn now(&self) -> String {
        let since = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        stamp(u64::try_from(since.as_millis()).unwrap_or_default())
    }

    /// An absolute link into the REST interface.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}/rest/api/2/{path}", self.base)
    }
}

/// Milliseconds since 1970 as `2024-05-23T14:47:28.592+0000`.
pub(crate) fn stamp(milliseconds: u64) -> String {
    let at = i64::try_from(milliseconds).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}

pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

/// One call: the application, the node it came to, who calls, and the decoded query.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) node: Arc<Node>,
    pub(crate) who: Who,
    pub(crate) query: Vec<(String, String)>,
}

impl Call {
    /// The first value of a query parameter, by any of these names.
    pub(crate) fn query(&self, names: &[&str]) -> Option<&str> {
        self.query.iter().find(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value.as_str())
    }

    /// A number in the query.
    pub(crate) fn number(&self, name: &str, default: usize) -> usize {
        self.query(&[name]).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}

impl FromRequestParts<Arc<App>> for Call {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Self::Rejection> {
        let who = parts.extensions.get::<Who>().cloned().unwrap_or(Who::Anonymous);
        let node = parts.extensions.get::<Arc<Node>>().or_else(|| app.nodes.first());
        let node = node.expect("there is at least one").clone();
        Ok(Self { app: app.clone(), node, who, query: decode_query(parts.uri.query().unwrap_or_default()) })
    }
}

/// `a=b&c=d`, percent-decoded.
pub(crate) fn decode_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(a, b)| (decode(a), decode(b)))
        .collect()
}

/// Percent-decoding of a form value.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let hex = (first == b'%').then(|| after.get(..2)).flatten();
        let hex = hex
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (first, hex) {
            (_, Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', None) => bytes.push(b' '),
            (byte, None) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
