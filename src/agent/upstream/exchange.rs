//! One request on one connection: waiting for the answer's head, and what becomes of both when nobody waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::answer::AnswerBody;
use super::body::{Outgoing, Progress, Stand};
use super::fault::{SendFault, chain};
use super::framing::{self, Framing};
use super::pool::Lease;
use crate::common::clock::Clock;
use crate::common::tasks::Tasks;

/// How long a call that nobody waits for any more is still read, so that its end is known.
const ABANDONED: Duration = Duration::from_secs(60);
/// How long a broken body may take to surface as the connection's error.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) first_byte: Duration,
    pub(super) idle: Duration,
}

type Pending =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>> + Send>>;

/// Why an exchange brought no head.
pub(super) enum Failed {
    /// The connection was gone before it took the request, which is handed back whole.
    Untouched(Box<Request<Outgoing>>),
    /// The connection ended before any byte of the request left or of an answer came.
    Unsent(String),
    /// A kept connection ended without a byte of an answer: the upstream had probably closed it before.
    Stale(String),
    /// Anything else.
    Fault(SendFault),
}

/// A request under way. Dropped early, an unsafe one that was sent whole is read to its end; any other ends with
/// its connection.
pub(super) struct Exchange {
    pending: Option<Pending>,
    lease: Option<Lease>,
    progress: Arc<Progress>,
    repeatable: bool,
    was_used: bool,
    read_before: u64,
    written_before: u64,
    tasks: Tasks,
    clock: Clock,
}

impl Exchange {
    pub(super) fn start(mut lease: Lease, request: Request<Outgoing>, clock: Clock, tasks: Tasks) -> Self {
        let progress = Arc::clone(request.body().progress());
        let repeatable = request.method().is_safe();
        let connection = &mut lease.connection;
        let was_used = std::mem::replace(&mut connection.used, true);
        let (read_before, written_before) = (connection.counters.read(), connection.counters.written());
        let pending: Pending = Box::pin(connection.sender.try_send_request(request));
        Self {
            pending: Some(pending),
            lease: Some(lease),
            progress,
            repeatable,
            was_used,
            read_before,
            written_before,
            tasks,
            clock,
        }
    }

    /// Waits for the answer's head.
    pub(super) async fn answer(mut self, patience: Patience) -> Result<Response<AnswerBody>, Failed> {
        loop {
            let Some(pending) = self.pending.as_mut() else {
                return Err(Failed::Fault(SendFault::Broken("nothing is under way".to_owned())));
            };
            let (stand, moved) = (self.progress.stand(), self.progress.moved());
            let (deadline, fault) = match stand {
                Stand::Done => (moved + patience.first_byte, SendFault::TooSlow(patience.first_byte)),
                Stand::OnUpstream => (moved + patience.idle, SendFault::TooSlow(patience.idle)),
                Stand::OnCaller => (moved + patience.idle, SendFault::CallerTooSlow(patience.idle)),
                Stand::Broken(fault) => (moved + GRACE, SendFault::Body(fault)),
            };
            let left = deadline.saturating_duration_since(self.clock.now());
            let still_sending = matches!(stand, Stand::OnCaller | Stand::OnUpstream);
            tokio::select! {
                biased;
                result = pending => {
                    self.pending = None;
                    return self.finish(result, patience);
                }
                // From here on another patience counts.
                () = self.progress.over(), if still_sending => {}
                () = tokio::time::sleep(left) => {
                    if self.progress.stand() == stand && self.progress.moved() == moved {
                        return Err(Failed::Fault(fault));
                    }
                }
            }
        }
    }

    fn finish(
        &mut self,
        result: Result<Response<Incoming>, TrySendError<Request<Outgoing>>>,
        patience: Patience,
    ) -> Result<Response<AnswerBody>, Failed> {
        let Some(lease) = self.lease.take() else {
            return Err(Failed::Fault(SendFault::Broken("no connection".to_owned())));
        };
        match result {
            Ok(response) => {
                let (mut head, incoming) = response.into_parts();
                let framing = framing::settle(&mut head.headers)
                    .map_err(|reason| Failed::Fault(SendFault::Answer(reason.to_owned())))?;
                let closes = framing == Framing::Doubtful
                    || head.version == http::Version::HTTP_10
                    || says_close(&head.headers);
                let lease_ends = closes || head.status.as_u16() < 200;
                let body = AnswerBody::new(incoming, lease, lease_ends, self, patience.idle);
                Ok(Response::from_parts(head, body))
            }
            Err(mut error) => {
                if let Some(request) = error.take_message() {
                    return Err(Failed::Untouched(Box::new(request)));
                }
                let counters = &lease.connection.counters;
                let silent = counters.read() == self.read_before;
                let unsent = silent && counters.written() == self.written_before;
                Err(self.judge(&error.into_error(), silent, unsent))
            }
        }
    }

    fn judge(&self, error: &hyper::Error, silent: bool, unsent: bool) -> Failed {
        if let Stand::Broken(fault) = self.progress.stand()
            && error.is_user()
        {
            return Failed::Fault(SendFault::Body(fault));
        }
        let text = chain(error);
        if error.is_parse() || error.is_parse_too_large() {
            return Failed::Fault(SendFault::Answer(text));
        }
        if unsent {
            return Failed::Unsent(text);
        }
        if silent && self.was_used {
            return Failed::Stale(text);
        }
        Failed::Fault(SendFault::Broken(text))
    }

    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
    pub(super) fn repeatable(&self) -> bool {
        self.repeatable
    }
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let (Some(pending), Some(lease)) = (self.pending.take(), self.lease.take()) else { return };
        if self.repeatable || !self.progress.is_done() {
            return;
        }
        abandon(&self.tasks, lease, async move {
            match pending.await {
                Ok(response) => read_out(response.into_body()).await,
                Err(_) => false,
            }
        });
    }
}

/// Lets an unsafe call come to its end without anybody waiting. The lease keeps its place in the pool taken, so
/// there are never more of these than connections.
pub(super) fn abandon(tasks: &Tasks, lease: Lease, rest: impl Future<Output = bool> + Send + 'static) {
    // Without a runtime the program is ending, and the connection with it.
    if tokio::runtime::Handle::try_current().is_err() {
        return;
    }
    tasks.spawn_detached(async move {
        if tokio::time::timeout(ABANDONED, rest).await == Ok(true) {
            lease.hand_back();
        }
    });
}

/// Reads a body to its end and forgets it. Says whether it came to a good end.
pub(super) async fn read_out(mut body: Incoming) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

fn says_close(headers: &http::HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}
