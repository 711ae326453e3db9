//! Calls that bring an `Idempotency-Key`: each is made by a task of its own, so that it comes to its end and is
//! remembered although its caller goes away; a second one with the same key gets what became of the first.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot};

use crate::agent::audit::{Answered, UnderWay};
use crate::agent::credentials::Credential;
use crate::agent::idempotency::{
    Entry, Finished, Full, Hashed, HeadPrint, Key, KeyFault, Loss, Outcome as Kept, Scope, Ticket,
};
use crate::agent::policy::Permit;
use crate::agent::proxy::{FrontBody, Links, Means, Piece, Proxy};
use crate::agent::remembered::Remembered;
use crate::agent::upstream::{BoxError, WrongDigest};
use crate::common::ids::RequestId;
use crate::common::problem::{Code, Outcome, Problem};
use crate::common::tasks::Tasks;

/// Marks an answer that was given before.
pub(super) const REPLAYED: &str = "outhaul-replayed";
/// How long an answer is still read for the record after its caller left.
const ABANDONED: Duration = Duration::from_secs(60);
/// Seconds after which to try again where the store fails: somebody must mend it first.
const STORE_DOWN: u32 = 30;
/// Nobody is told to come back later than that.
const LATEST: u32 = 3600;

/// What remembers, and what runs the calls.
pub(super) struct Keyed {
    pub(super) remembered: Remembered,
    pub(super) tasks: Tasks,
}

/// All that a call is sent with.
pub(super) struct Sending<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) permit: Permit,
    pub(super) credential: Option<Arc<Credential>>,
    pub(super) links: Option<Links>,
    pub(super) request_id: RequestId,
    pub(super) record: UnderWay,
}

/// An answer of the upstream's.
pub(super) enum Sent {
    /// That came just now.
    Fresh(Response<FrontBody>),
    /// That was kept.
    Replayed(Response<FrontBody>),
}

type Answer = Result<Response<FrontBody>, Problem>;

/// The key of a request that may act; others need none.
pub(super) fn key<B>(request: &Request<B>) -> Result<Option<Key>, Problem> {
    if request.method().is_safe() {
        return Ok(None);
    }
    Key::read(request.headers()).map_err(|fault: KeyFault| {
        let mut sentence = fault.to_string();
        if let Some(first) = sentence.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let text =
            format!("{sentence}. Send one of 1 to 255 characters, such as a UUID, for each call of its own.");
        Problem::new(Code::BadRequest, text).with_extra("reason", "idempotency-key")
    })
}

impl Keyed {
    /// Sends the call, unless one with its key was or is: then says what became of that.
    pub(super) async fn send<B>(
        &self,
        key: Key,
        mut sending: Sending<'_>,
        request: Request<B>,
    ) -> Result<Sent, Problem>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let permit = &sending.permit;
        let Some(caller) = permit.caller().cloned() else {
            return Err(Problem::new(
                Code::Internal,
                "A call with a key has no caller. Report this as a bug.",
            )
            .with_outcome(Outcome::NotSent));
        };
        let scope = Scope::new(caller, permit.upstream().clone(), &key);
        let head = HeadPrint::of(permit.method(), permit.path().as_str(), permit.query(), request.headers());
        match self.remembered.ledger().begin(scope.clone(), head, sending.request_id) {
            Entry::First(ticket) => self.first(ticket, sending, request).await.map(Sent::Fresh),
            other => {
                let patience = sending.proxy.upstream().config().idle_timeout;
                let told = self.again(&scope, other, request, patience).await;
                match &told {
                    Ok(response) => {
                        sending.record.ended.result = Some(Answered::Status(response.status().as_u16()));
                        sending.record.ended.outcome = Some(Outcome::NotSent);
                    }
                    Err(problem) => sending.record.refused(problem),
                }
                told.map(Sent::Replayed)
            }
        }
    }

    /// From here to the task nothing waits: a caller that leaves can't leave the key behind.
    async fn first<B>(&self, mut ticket: Box<Ticket>, sending: Sending<'_>, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let declared = number(request.headers());
        let request = request.map(|body| Hashed::new(body, declared));
        ticket.watch(request.body().hashing());
        let (answer, answered) = oneshot::channel();
        let (proxy, remembered) = (sending.proxy.clone(), self.remembered.clone());
        let Sending { permit, credential, links, request_id, record, .. } = sending;
        self.tasks.spawn_detached(async move {
            if remembered.begin(&ticket).await.is_err() {
                let problem = not_remembered();
                record.not_made(&problem);
                // If it is on disk after all, the next process takes its outcome for unknown: a call too few.
                ticket.free();
                let _ = answer.send(Err(problem));
                return;
            }
            let means = Means { credential: credential.as_deref(), links, request_id, record };
            let made = Box::pin(proxy.forward(permit, request, means)).await;
            Keeping { remembered, ticket }.keep(made, answer).await;
        });
        answered.await.unwrap_or_else(|_| {
            Err(Problem::new(
                Code::Internal,
                "The agent lost sight of the call. Look at its state at the application.",
            ))
        })
    }

    /// What a call hears whose key is known already: it is not made.
    async fn again<B>(&self, scope: &Scope, entry: Entry, request: Request<B>, patience: Duration) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        match entry {
            Entry::UnderWay(first) => Err(under_way(first)),
            Entry::Full(full) => Err(no_room(full)),
            Entry::Finished(first, finished) if same_body(&finished, request, patience).await? => {
                match &finished.unstored {
                    Some(outcome) => replay(first, outcome),
                    None => match self.remembered.recall(scope, first).await {
                        Ok(outcome) => replay(first, &outcome),
                        Err(_) => Err(told(not_recalled(), first)),
                    },
                }
            }
            Entry::Mismatch(first) | Entry::Finished(first, _) => Err(mismatch(first)),
            Entry::First(_) => {
                Err(Problem::new(Code::Internal, "A first call was taken for a repeated one.")
                    .with_outcome(Outcome::NotSent))
            }
        }
    }
}

/// A call that is under way, and where its end is kept.
struct Keeping {
    remembered: Remembered,
    ticket: Box<Ticket>,
}

impl Keeping {
    /// The end of a call, told to the record before it is told to the caller.
    async fn keep(mut self, made: Answer, answer: oneshot::Sender<Answer>) {
        match made {
            Ok(response) if not_taken(response.status()) => {
                self.free().await;
                let _ = answer.send(Ok(response));
            }
            Ok(response) => self.carry(response, answer).await,
            Err(problem) => {
                match problem.outcome {
                    Outcome::NotSent => self.free().await,
                    // The application's 401: it did not act, and the same call must pass once the credential is renewed.
                    _ if problem.code == Code::NeedsReauth => self.free().await,
                    Outcome::OutcomeUnknown | Outcome::Answered => {
                        self.ticket.unknown(problem.clone());
                        self.store().await;
                    }
                }
                let _ = answer.send(Err(problem));
            }
        }
    }

    /// Passes an answer on piece by piece and keeps it. The record is on disk before the caller sees the end.
    async fn carry(mut self, response: Response<FrontBody>, answer: oneshot::Sender<Answer>) {
        let (head, mut body) = response.into_parts();
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = number(&head.headers).filter(|_| !bodiless);
        self.ticket.head(head.status, &head.headers, length);
        if body.is_end_stream() {
            self.ticket.answered();
            self.store().await;
            let _ = answer.send(Ok(Response::from_parts(head, body)));
            return;
        }
        self.store().await;
        let (pieces, taken) = mpsc::channel::<Piece>(1);
        let present = answer.send(Ok(Response::from_parts(head, FrontBody::handed(taken)))).is_ok();
        let mut caller = Some(pieces).filter(|_| present);
        while let Some(pieces) = caller {
            caller = tokio::select! {
                () = pieces.closed() => None,
                frame = body.frame() => match frame {
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            self.ticket.body(data);
                        }
                        if body.is_end_stream() {
                            self.ticket.answered();
                        }
                        self.store().await;
                        pieces.send(Ok(Some(frame))).await.ok().map(|()| pieces)
                    }
                    Some(Err(fault)) => {
                        self.ticket.lost(Loss::BrokeOff);
                        self.store().await;
                        let _ = pieces.send(Err(fault)).await;
                        return;
                    }
                    None => {
                        self.ticket.answered();
                        self.store().await;
                        let _ = pieces.send(Ok(None)).await;
                        return;
                    }
                },
            };
        }
        // Nobody listens; what is left is read for the record alone.
        let rest = tokio::time::timeout(ABANDONED, read_out(&mut self.ticket, &mut body)).await;
        if rest.is_err() {
            self.ticket.lost(Loss::Endless);
        }
        self.store().await;
    }

    /// Stores the call's end, once it was told.
    async fn store(&mut self) {
        self.remembered.finish(&mut self.ticket).await;
    }

    async fn free(&mut self) {
        self.remembered.free(&mut self.ticket).await;
    }
}

/// The application did not act (RFC 9110, section 15.5.2; RFC 6585, section 4): the same call may yet succeed.
fn not_taken(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS)
}

async fn read_out(ticket: &mut Ticket, body: &mut FrontBody) {
    while !ticket.is_over() {
        match body.frame().await {
            Some(Ok(frame)) => ticket.body(frame.data_ref().map_or(&[][..], |data| data)),
            Some(Err(_)) => ticket.lost(Loss::BrokeOff),
            None => ticket.answered(),
        }
    }
}

/// Reads the body of a repeated call, no further than that of the first went.
async fn same_body<B>(finished: &Finished, request: Request<B>, patience: Duration) -> Result<bool, Problem>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let declared = number(request.headers());
    if finished.body.whole && declared.is_some_and(|length| length != finished.body.length) {
        return Ok(false);
    }
    let mut comparison = finished.body.compare();
    let mut body = Box::pin(request.into_body());
    loop {
        let frame = tokio::time::timeout(patience, body.frame()).await.map_err(|_| {
            Problem::new(Code::CallerTooSlow, format!("No byte of the body arrived for {patience:?}."))
        })?;
        let verdict = match frame {
            None => Some(comparison.finish()),
            Some(Ok(frame)) => frame.data_ref().and_then(|data| comparison.push(data)),
            Some(Err(error)) => {
                return Err(if error.into().is::<WrongDigest>() {
                    super::signed::mismatch()
                } else {
                    Problem::new(Code::BadRequest, "The body broke off before its end; nothing was sent.")
                });
            }
        };
        if let Some(same) = verdict {
            return Ok(same);
        }
    }
}

fn replay(first: RequestId, outcome: &Kept) -> Answer {
    match outcome {
        Kept::Answered(answer) => {
            let mut response = Response::new(FrontBody::whole(answer.body.clone()));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers();
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Kept::Unknown(problem) => Err(told(problem.clone(), first).with_extra("replayed", true)),
        Kept::Gone { status, why } => {
            let why = match why {
                Loss::TooLarge => "it was larger than `max-answer` in [idempotency] at the site",
                Loss::NoRoom => {
                    "all that is kept together would have been more than `max-answers` in [idempotency]"
                }
                Loss::BrokeOff => "it broke off before its end",
                Loss::Endless => "it had no end while its caller was there",
                Loss::NotStored => "the agent's store could not take it",
            };
            let status = status.as_u16();
            let detail = format!(
                "The call was made once, and the application answered {status}. Its answer is not kept: {why}. Look at \
                 the state at the application; use another key only for another call."
            );
            Err(told(Problem::new(Code::IdempotencyAnswerGone, detail), first).with_extra("answered", status))
        }
    }
}

fn under_way(first: RequestId) -> Problem {
    let text = "Send the same call with the same key again a little later: it gets the answer of the first.";
    told(Problem::new(Code::IdempotencyInFlight, text), first)
}

fn mismatch(first: RequestId) -> Problem {
    let text = "This Idempotency-Key was used for a call with another method, path, query, content type or body. This \
                call was not made. Use one key for each call, and the same only to send it again.";
    told(Problem::new(Code::IdempotencyMismatch, text), first)
}

/// Without a record on disk a crash would let the call be sent twice.
fn not_remembered() -> Problem {
    let detail = "The agent can't put on disk that this call is under way, so it was not made. Send it again later with \
                  the same key. The agent's journal at the site says what is wrong with its store.";
    Problem::new(Code::StoreUnavailable, detail).with_retry_after(STORE_DOWN)
}

fn not_recalled() -> Problem {
    let detail = "A call with this key was made before, and what became of it can't be read now. This one was not made. \
                  Send it again later with the same key. The agent's journal at the site says what is wrong.";
    Problem::new(Code::StoreUnavailable, detail).with_retry_after(STORE_DOWN)
}

fn told(problem: Problem, first: RequestId) -> Problem {
    problem.with_extra("first_request_id", first.to_string())
}

fn no_room(full: Full) -> Problem {
    let (bound, after) = match full {
        Full::Caller(after) => ("max-keys-per-caller", after),
        Full::Keys(after) => ("max-keys", after),
        Full::Answers(after) => ("max-answers", after),
    };
    let detail = format!(
        "The agent remembers as many calls as `{bound}` in [idempotency] at the site allows, and forgets none early. The \
         call was not made. Send it again later, or without a key; or ask the site's administrator for more room."
    );
    // Where none is finished, the first may be at any moment.
    let seconds = after.map_or(2, |after| u32::try_from(after.as_secs()).unwrap_or(LATEST).clamp(1, LATEST));
    Problem::new(Code::IdempotencyFull, detail).with_retry_after(seconds)
}

/// A length that is one number; others are refused where the request is made ready.
fn number(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
