//! An answer's body on its way to the caller.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::headers;
use super::rewrite::Rewriter;
use crate::agent::audit::UnderWay as Recorded;
use crate::agent::counters::UnderWay;
use crate::agent::upstream::{AnswerBody, AnswerFault, BoxError};
use crate::common::problem::Outcome;

/// The body of any answer of the front.
pub struct FrontBody {
    kind: Kind,
    /// Counts the call until its answer is through.
    _under_way: Option<UnderWay>,
    /// Kept until then too.
    _kept: Option<Box<dyn Send + Sync>>,
    /// Its record, which is written when the answer is through.
    record: Option<Box<Recorded>>,
}

/// A piece of a body that another task reads; nothing is its end.
pub type Piece = Result<Option<Frame<Bytes>>, AnswerFault>;

/// Sees each piece of a body, and gives trailers for it.
pub trait Seal: Send {
    /// The next piece.
    fn piece(&mut self, data: &[u8]);
    /// The trailers, once all have come.
    fn trailers(self: Box<Self>) -> HeaderMap;
}

enum Kind {
    Whole(Option<Bytes>),
    Passed {
        body: AnswerBody,
        trailers: bool,
    },
    /// Pieces that a task reads; the end is said, so that a task that is gone is no end.
    Handed {
        pieces: mpsc::Receiver<Piece>,
        ended: bool,
    },
    /// What was read already, and the rest.
    Begun {
        read: VecDeque<Result<Frame<Bytes>, AnswerFault>>,
        rest: Option<Box<FrontBody>>,
    },
    /// A body that something is said of behind its end.
    Sealed {
        body: Box<FrontBody>,
        seal: Option<Box<dyn Seal>>,
    },
    Rewritten {
        body: AnswerBody,
        rewriter: Box<Rewriter>,
        trailers: bool,
        held: Option<Frame<Bytes>>,
    },
}

impl FrontBody {
    /// Bytes of the agent's own.
    pub fn whole(bytes: Bytes) -> Self {
        Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())).into()
    }

    pub(super) fn passed(body: AnswerBody, trailers: bool) -> Self {
        Kind::Passed { body, trailers }.into()
    }

    pub(super) fn rewritten(body: AnswerBody, rewriter: Rewriter, trailers: bool) -> Self {
        Kind::Rewritten { body, rewriter: Box::new(rewriter), trailers, held: None }.into()
    }

    /// What another task reads, piece by piece.
    pub fn handed(pieces: mpsc::Receiver<Piece>) -> Self {
        Kind::Handed { pieces, ended: false }.into()
    }

    /// The same, with trailers that are made of it. They go to a caller that takes some; the body's own stay here.
    #[must_use]
    pub fn sealed(self, seal: Box<dyn Seal>) -> Self {
        Kind::Sealed { body: Box::new(self), seal: Some(seal) }.into()
    }

    /// What was read of a body already, and its rest.
    pub fn begun(read: VecDeque<Result<Frame<Bytes>, AnswerFault>>, rest: Option<Self>) -> Self {
        Kind::Begun { read, rest: rest.map(Box::new) }.into()
    }

    /// The same, which completes the record of its call.
    pub(super) fn recorded(self, record: Recorded) -> Self {
        Self { record: Some(Box::new(record)), ..self }
    }

    /// The same, which keeps the call counted until it is dropped.
    #[must_use]
    pub fn counted(self, under_way: UnderWay) -> Self {
        Self { _under_way: Some(under_way), ..self }
    }
}

impl FrontBody {
    /// The same, which keeps something until it is dropped.
    #[must_use]
    pub fn keeping(self, kept: Option<impl Send + Sync + 'static>) -> Self {
        Self { _kept: kept.map(|kept| Box::new(kept) as _), ..self }
    }
}

impl From<Kind> for FrontBody {
    fn from(kind: Kind) -> Self {
        Self { kind, _under_way: None, _kept: None, record: None }
    }
}

impl Body for FrontBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let this = &mut *self;
        let polled = this.kind.poll(context);
        if let (Some(record), Poll::Ready(Some(ended))) = (&mut this.record, &polled) {
            match ended {
                Ok(frame) => {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    *record.ended.bytes_out.get_or_insert(0) += length;
                }
                // What had come is what the caller got.
                Err(_) => record.ended.outcome = Some(Outcome::OutcomeUnknown),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.kind.size_hint()
    }
}

impl Kind {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        match self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passed { body, trailers } => loop {
                match ready!(Pin::new(&mut *body).poll_frame(context)) {
                    Some(Ok(frame)) => {
                        if let Some(frame) = pass(frame, *trailers) {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                    }
                    other => return Poll::Ready(other),
                }
            },
            Self::Begun { read, rest } => match (read.pop_front(), rest) {
                (Some(frame), _) => Poll::Ready(Some(frame)),
                (None, Some(rest)) => Pin::new(rest.as_mut()).poll_frame(context),
                (None, None) => Poll::Ready(None),
            },
            Self::Sealed { body, seal } => loop {
                let Some(sealing) = seal.as_mut() else { return Poll::Ready(None) };
                match ready!(Pin::new(body.as_mut()).poll_frame(context)) {
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            sealing.piece(data);
                            return Poll::Ready(Some(Ok(frame)));
                        }
                    }
                    Some(Err(fault)) => {
                        *seal = None;
                        return Poll::Ready(Some(Err(fault)));
                    }
                    None => {
                        let trailers = seal.take().map(|seal| Ok(Frame::trailers(seal.trailers())));
                        return Poll::Ready(trailers);
                    }
                }
            },
            Self::Handed { ended: true, .. } => Poll::Ready(None),
            Self::Handed { pieces, ended } => Poll::Ready(match ready!(pieces.poll_recv(context)) {
                Some(Ok(Some(frame))) => Some(Ok(frame)),
                other => {
                    *ended = true;
                    let gone = || AnswerFault::Broken("the agent lost sight of it".to_owned());
                    other.unwrap_or_else(|| Err(gone())).err().map(Err)
                }
            }),
            Self::Rewritten { body, rewriter, trailers, held } => loop {
                if let Some(frame) = held.take() {
                    return Poll::Ready(Some(Ok(frame)));
                }
                let last = match ready!(Pin::new(&mut *body).poll_frame(context)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            let data = rewriter.push(data);
                            if data.is_empty() {
                                continue;
                            }
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                        Err(frame) => pass(frame, *trailers),
                    },
                    Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                    None => None,
                };
                let rest = rewriter.finish();
                if rest.is_empty() {
                    return Poll::Ready(last.map(Ok));
                }
                *held = last;
                return Poll::Ready(Some(Ok(Frame::data(rest))));
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Passed { body, .. } => body.is_end_stream(),
            Self::Begun { read, rest } => read.is_empty() && rest.as_ref().is_none_or(Body::is_end_stream),
            Self::Sealed { seal, .. } => seal.is_none(),
            Self::Handed { ended, .. } => *ended,
            // The rewriter may hold something back; only the end itself tells.
            Self::Rewritten { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Passed { body, .. } => body.size_hint(),
            Self::Begun { .. } | Self::Sealed { .. } | Self::Handed { .. } | Self::Rewritten { .. } => {
                SizeHint::default()
            }
        }
    }
}

/// Trailers pass where the caller takes them, and without what may not stand in a head either.
fn pass(frame: Frame<Bytes>, trailers: bool) -> Option<Frame<Bytes>> {
    match frame.into_trailers() {
        Err(frame) => Some(frame),
        Ok(_) if !trailers => None,
        Ok(mut fields) => {
            headers::trailers(&mut fields);
            Some(Frame::trailers(fields))
        }
    }
}

/// A request body whose first piece, or whose end, has arrived.
pub(super) struct Begun<B> {
    pub(super) ended: bool,
    pub(super) first: Option<Result<Frame<Bytes>, BoxError>>,
    pub(super) body: Pin<Box<B>>,
}

impl<B> Unpin for Begun<B> {}

impl<B> Body for Begun<B>
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
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None if self.ended => Poll::Ready(None),
            None => self.body.as_mut().poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && (self.ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.ended { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
