//! HTTP exchanges: a request sent through the tunnel, and the answer to one that came through it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body, Frame};

use super::ExchangeFault;
use super::body::TunnelBody;
use super::shared::{Shared, StreamFault, StreamHandle, keep_waker};
use crate::tunnel::code::ResetCode;
use crate::tunnel::head::{RequestHead, ResponseHead};

pub(super) async fn request<B>(
    shared: &Arc<Shared>,
    head: &RequestHead,
    body: B,
    hold: bool,
) -> Result<Response<TunnelBody>, ExchangeFault>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let ended = body.is_end_stream();
    let to_head = head.method == Method::HEAD;
    let handle = Arc::new(shared.open(|session| session.open_http(head, hold && !ended), ended)?);
    let guard = CancelOnDrop(Some(Arc::clone(&handle)));
    if !ended {
        let mut upload = Box::pin(upload(Arc::clone(&handle), body));
        // A body that is all there goes out with its head, without a task of its own.
        let pending = poll_fn(|context| Poll::Ready(upload.as_mut().poll(context).is_pending())).await;
        if pending {
            shared.tasks.spawn_detached(upload);
        }
    }
    let head = poll_fn(|context| poll_head(&handle, context)).await?;
    guard.disarm();
    let mut body = TunnelBody::answer(handle, &head.headers);
    if to_head || head.status == StatusCode::NOT_MODIFIED {
        // Content-Length tells what a GET would bring (RFC 9110, section 9.3.2), not what follows here.
        body.expect_nothing();
    }
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

fn poll_head(handle: &StreamHandle, context: &mut Context<'_>) -> Poll<Result<ResponseHead, ExchangeFault>> {
    let mut mail = handle.inbox.lock();
    // An answer that has broken off already is told as that: its head alone might not even reach the caller.
    let begun = mail.head.is_some();
    if (mail.fault.is_none() || mail.ended)
        && let Some(head) = mail.head.take()
    {
        return Poll::Ready(Ok(head));
    }
    match &mail.fault {
        None => {}
        Some(StreamFault::Reset { code: ResetCode::Refused }) if !begun => {
            let text = ResetCode::Refused.to_string();
            return Poll::Ready(Err(ExchangeFault::NotSent(text)));
        }
        Some(StreamFault::Reset { code }) => return Poll::Ready(Err(ExchangeFault::Reset(*code))),
        Some(StreamFault::Lost { unsent: true, code }) => {
            return Poll::Ready(Err(ExchangeFault::NotSent(code.to_string())));
        }
        Some(StreamFault::Lost { unsent: false, code }) => {
            return Poll::Ready(Err(ExchangeFault::OutcomeUnknown(code.to_string())));
        }
    }
    keep_waker(&mut mail.reader, context);
    Poll::Pending
}

async fn upload<B>(handle: Arc<StreamHandle>, body: B)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if let Err(SendFault::Body(error)) = send_body(&handle, body).await {
        tracing::debug!(stream = handle.id, %error, "the caller's body broke off");
        handle.reset(ResetCode::Cancel);
    }
}

/// Why a body could not be sent to its end.
enum SendFault {
    /// The body itself broke off.
    Body(String),
    /// The stream is gone.
    Stream,
}

/// Sends a body with the peer's back-pressure. Ends early, in good order, when the peer needs no more of it.
async fn send_body<B>(handle: &StreamHandle, mut body: B) -> Result<(), SendFault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        if body.is_end_stream() {
            return end(handle, None);
        }
        // Room first: a held body is not touched before the peer asks for it.
        let step = poll_fn(|context| match handle.poll_room(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Err(SendFault::Stream)),
            Poll::Ready(Ok(false)) => Poll::Ready(Ok(Step::Stopped)),
            Poll::Ready(Ok(true)) => Pin::new(&mut body).poll_frame(context).map(step),
        })
        .await?;
        let mut bytes = match step {
            // The session ends this direction by itself.
            Step::Stopped => return Ok(()),
            Step::End(trailers) => return end(handle, trailers.as_ref()),
            Step::Data(bytes) => bytes,
        };
        while !bytes.is_empty() {
            match poll_fn(|context| handle.poll_send(&mut bytes, context)).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(_) => return Err(SendFault::Stream),
            }
        }
    }
}

/// What comes next of a body that is being sent.
enum Step {
    Data(Bytes),
    End(Option<HeaderMap>),
    Stopped,
}

fn step<E: std::fmt::Display>(frame: Option<Result<Frame<Bytes>, E>>) -> Result<Step, SendFault> {
    match frame {
        None => Ok(Step::End(None)),
        Some(Err(error)) => Err(SendFault::Body(error.to_string())),
        Some(Ok(frame)) => match frame.into_data() {
            Ok(bytes) => Ok(Step::Data(bytes)),
            Err(frame) => Ok(Step::End(frame.into_trailers().ok())),
        },
    }
}

fn end(handle: &StreamHandle, trailers: Option<&HeaderMap>) -> Result<(), SendFault> {
    let ended = handle.shared.with_session(|session, _| session.send_end(handle.id, trailers));
    ended.map_err(|fault| SendFault::Body(fault.to_string()))
}

/// Cancels an exchange whose asker went away before the answer's head came.
struct CancelOnDrop(Option<Arc<StreamHandle>>);

impl CancelOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.reset(ResetCode::Cancel);
        }
    }
}

/// Where the answer to a call goes. Dropped unused, it resets the stream: the caller hears of a fault, not silence.
pub struct Reply {
    handle: Arc<StreamHandle>,
    used: bool,
}

impl Reply {
    pub(super) fn new(handle: Arc<StreamHandle>) -> Self {
        Self { handle, used: false }
    }

    /// Sends head, body and trailers with the peer's back-pressure; ends when all is handed to the tunnel. A body
    /// that breaks off resets the stream with [`ResetCode::Upstream`]; a head too large for a frame with
    /// [`ResetCode::TooLarge`]. The error says why the peer does not get all of it.
    pub async fn send<B>(mut self, response: Response<B>) -> Result<(), ResetCode>
    where
        B: Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        self.used = true;
        let (parts, body) = response.into_parts();
        let head = ResponseHead { status: parts.status, headers: parts.headers };
        let ended = body.is_end_stream();
        let handle = &self.handle;
        let sent = handle.shared.with_session(|session, _| {
            let sent = session.send_head(handle.id, &head)?;
            if sent && ended {
                session.send_end(handle.id, None)?;
            }
            Ok::<_, crate::tunnel::head::HeadFault>(sent)
        });
        match sent {
            Err(_) => return Err(self.give_up(ResetCode::TooLarge)),
            // Gone already: the peer reset it.
            Ok(false) => return Err(self.fault()),
            Ok(true) if ended => return Ok(()),
            Ok(true) => {}
        }
        match send_body(&self.handle, body).await {
            Ok(()) => Ok(()),
            Err(SendFault::Stream) => Err(self.fault()),
            Err(SendFault::Body(error)) => {
                tracing::debug!(stream = self.handle.id, %error, "an answer's body broke off");
                Err(self.give_up(ResetCode::Upstream))
            }
        }
    }

    /// Resolves when the peer no longer wants the answer: it reset the stream, or the tunnel died. Cancel-safe.
    pub async fn cancelled(&mut self) -> ResetCode {
        poll_fn(|context| {
            let mut mail = self.handle.inbox.lock();
            if mail.fault.is_some() {
                return Poll::Ready(());
            }
            keep_waker(&mut mail.watcher, context);
            Poll::Pending
        })
        .await;
        self.fault()
    }

    fn fault(&self) -> ResetCode {
        match self.handle.inbox.lock().fault {
            Some(StreamFault::Reset { code }) => code,
            _ => ResetCode::Cancel,
        }
    }

    fn give_up(&self, code: ResetCode) -> ResetCode {
        self.handle.reset(code);
        code
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.used {
            self.handle.reset(ResetCode::Internal);
        }
    }
}
