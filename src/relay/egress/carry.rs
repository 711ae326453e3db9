//! Bytes both ways between a stream and a host: counted, paced, and bounded in time.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Way};
use crate::common::clock::Clock;
use crate::relay::metrics::EgressBytes;
use crate::tunnel::code::ResetCode;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Both directions, in order.
    Done,
    /// The stream is gone: the agent, or its tunnel.
    Stream,
    /// The host broke it off.
    Host(io::Error),
    /// Nothing passed for too long.
    Idle,
    /// It lasted too long.
    Old,
    /// The site's bytes of the day are used up.
    Quota,
    /// The operator's list no longer has the host.
    Denied,
}

impl Ended {
    /// How the agent hears of it; `None` if there is nothing to tell.
    pub(super) fn code(&self) -> Option<ResetCode> {
        match self {
            Self::Done | Self::Stream => None,
            Self::Host(_) => Some(ResetCode::Upstream),
            Self::Idle | Self::Old => Some(ResetCode::Timeout),
            Self::Quota => Some(ResetCode::Quota),
            Self::Denied => Some(ResetCode::Denied),
        }
    }

    /// What the system said, where something broke.
    pub(super) fn error(&self) -> Option<&io::Error> {
        match self {
            Self::Host(error) => Some(error),
            _ => None,
        }
    }

    /// In metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stream => "left",
            Self::Host(_) => "broken",
            Self::Idle => "idle",
            Self::Old => "old",
            Self::Quota => "quota",
            Self::Denied => "denied",
        }
    }
}

/// Whom the bytes belong to, and their bounds.
pub(super) struct Terms<'a> {
    pub(super) account: &'a Account,
    pub(super) bytes: &'a EgressBytes,
    pub(super) clock: &'a Clock,
    /// Ended where nothing passes for so long.
    pub(super) idle: Duration,
    /// Ended after so long.
    pub(super) life: Duration,
    /// Ended at once.
    pub(super) denied: CancellationToken,
}

/// Carries until both directions have ended, or something ends it. Each direction ends by itself: half-close is normal.
pub(super) async fn carry<S, H>(stream: &mut S, host: &mut H, terms: &Terms<'_>) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: AsyncRead + AsyncWrite + Unpin,
{
    let moved = Mutex::new(Instant::now());
    let (mut stream_read, mut stream_write) = tokio::io::split(stream);
    let (mut host_read, mut host_write) = tokio::io::split(host);
    let both = async {
        let out = one_way(&mut stream_read, &mut host_write, Way::Out, terms, &moved);
        let back = one_way(&mut host_read, &mut stream_write, Way::Back, terms, &moved);
        tokio::try_join!(out, back)
    };
    tokio::select! {
        ended = both => match ended {
            Ok(((), ())) => Ended::Done,
            Err(ended) => ended,
        },
        () = still(terms.idle, &moved) => Ended::Idle,
        () = tokio::time::sleep(terms.life) => Ended::Old,
        () = terms.denied.cancelled() => Ended::Denied,
    }
}

async fn one_way<R, W>(
    from: &mut R,
    to: &mut W,
    way: Way,
    terms: &Terms<'_>,
    moved: &Mutex<Instant>,
) -> Result<(), Ended>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let at_stream = |_| Ended::Stream;
    let (reading, writing): (Fault, Fault) = match way {
        Way::Out => (at_stream, Ended::Host),
        Way::Back => (Ended::Host, at_stream),
    };
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await.map_err(reading)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
            return to.shutdown().await.map_err(writing);
        };
        let clock = terms.clock;
        let counted = terms.account.count(way, read as u64, clock.now(), clock.unix_seconds());
        let wait = counted.ok_or(Ended::Quota)?;
        terms.bytes.add(way == Way::Out, read as u64);
        to.write_all(piece).await.map_err(writing)?;
        to.flush().await.map_err(writing)?;
        touch(moved);
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
            // Whoever is made to wait does not idle.
            touch(moved);
        }
    }
}

type Fault = fn(io::Error) -> Ended;

fn touch(moved: &Mutex<Instant>) {
    *moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
}

/// Resolves once nothing has moved for so long.
async fn still(idle: Duration, moved: &Mutex<Instant>) {
    loop {
        let due = *moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner) + idle;
        if due <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(due).await;
    }
}

/// Read at once.
const PIECE: usize = 16 * 1024;
