//! The body of a signed call: judged by its digest before its last byte goes on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::signed::mismatch;
use crate::agent::signed::{LITTLE, Room, Signing};
use crate::agent::upstream::{BoxError, WrongDigest};
use crate::common::problem::{Code, Fault, Problem};
use crate::identity::signatures::{Digests, Hashing};

/// A body whose last piece is held back until all of it has been hashed. If it is not the one that was signed, it breaks
/// off there: nobody behind it ever sees a whole one.
pub(super) struct Digested<B> {
    body: Pin<Box<B>>,
    digests: Digests,
    /// None once it was judged.
    hashing: Option<Hashing>,
    ready: VecDeque<Bytes>,
    /// What can't go on yet: it may be the last.
    held: Option<Bytes>,
    /// As long as much is held.
    room: Option<Room>,
}

/// A body of up to `hold` is read and judged here; a longer one on its way.
pub(super) async fn judge<B>(
    request: Request<B>,
    digests: Digests,
    signing: &Signing,
    patience: Duration,
) -> Result<Request<Digested<B>>, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let declared =
        head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    // Where no place is free to hold much, a longer body is judged on its way.
    let hold = signing.settings().hold;
    // What is longer than what is held takes no place: it passes.
    let may_be_held = |length: u64| length > LITTLE as u64 && length <= hold.0;
    let much = declared.is_none_or(may_be_held) && hold.as_usize() > LITTLE;
    let room = if much { signing.room_for_body() } else { None };
    let hold = if much && room.is_none() { LITTLE as u64 } else { hold.0 };
    let (hashing, body) = (Some(digests.begin()), Box::pin(body));
    let mut body = Digested { body, digests, hashing, ready: VecDeque::new(), held: None, room };
    if declared.is_none_or(|length| length <= hold) {
        let filled =
            tokio::time::timeout(patience, body.fill(usize::try_from(hold).unwrap_or(usize::MAX))).await;
        filled.map_err(|_| {
            let text = format!("The body was not there within {patience:?}; nothing was sent.");
            Problem::new(Code::CallerTooSlow, text)
        })??;
        let read = body.ready.iter().chain(&body.held).map(|piece| piece.len() as u64).sum::<u64>();
        let is_wrong = if body.hashing.is_none() { declared != Some(read) } else { true };
        if declared.is_some() && is_wrong {
            return Err(Problem::new(Code::BadRequest, "The body is not as long as Content-Length says."));
        }
    }
    Ok(Request::from_parts(head, body))
}

impl<B> Digested<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Reads to the end and judges, or reads more than `limit` bytes and holds them back. Into memory of its own, as
    /// [`super::hold`] does.
    async fn fill(&mut self, limit: usize) -> Result<(), Problem> {
        let mut bytes = Vec::new();
        while bytes.len() <= limit {
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.data_ref() {
                    Some(data) => {
                        if let Some(hashing) = &mut self.hashing {
                            hashing.update(data);
                        }
                        bytes.extend_from_slice(data);
                    }
                    // Trailers end a body; nobody signed them, and they stay here.
                    None => return self.whole(bytes),
                },
                None => return self.whole(bytes),
                Some(Err(_)) => {
                    let text = "The body broke off before its end; nothing was sent.";
                    return Err(Problem::new(Code::BadRequest, text).with_fault(Fault::Network));
                }
            }
        }
        self.held = Some(bytes.into());
        Ok(())
    }

    fn whole(&mut self, bytes: Vec<u8>) -> Result<(), Problem> {
        if !self.fits() {
            return Err(mismatch());
        }
        if !bytes.is_empty() {
            self.ready.push_back(bytes.into());
        }
        Ok(())
    }
}

impl<B> Digested<B> {
    fn fits(&mut self) -> bool {
        self.hashing.take().is_some_and(|hashing| self.digests.fit(hashing))
    }
}

impl<B> Unpin for Digested<B> {}

impl<B> Body for Digested<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(hashing) = &mut this.hashing else { return Poll::Ready(None) };
            match ready!(this.body.as_mut().poll_frame(context)) {
                Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => {
                        hashing.update(&piece);
                        // What was held at first goes on now; from here on it is a piece at a time.
                        this.ready.extend(this.held.replace(piece));
                        this.room = None;
                    }
                    Err(_) if this.fits() => this.ready.extend(this.held.take()),
                    Err(_) => return Poll::Ready(Some(Err(WrongDigest.into()))),
                },
                None if this.fits() => this.ready.extend(this.held.take()),
                None => return Poll::Ready(Some(Err(WrongDigest.into()))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.hashing.is_none() && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let there = self.ready.iter().map(|piece| piece.len() as u64).sum();
        if self.hashing.is_none() {
            return SizeHint::with_exact(there);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(there + self.held.as_ref().map_or(0, |piece| piece.len() as u64));
        hint
    }
}
