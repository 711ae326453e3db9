//! What makes two requests the same: method, path, query, content type and body, by SHA-256.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};
use http_body::{Body, Frame, SizeHint};
use ring::digest::{self, SHA256};

type Digest = [u8; 32];

/// For whom a call is meant is a part of it, wherever that is heeded.
const ACT_AS: HeaderName = HeaderName::from_static("outhaul-act-as");

/// Of all but the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadPrint(pub [u8; 32]);

impl HeadPrint {
    /// `path` and `query` as they would be sent.
    pub fn of(method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap) -> Self {
        let mut context = digest::Context::new(&SHA256);
        // Each part with its length: no two requests run together into the same bytes.
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        part(method.as_str().as_bytes());
        part(path.as_bytes());
        part(&[u8::from(query.is_some())]);
        part(query.unwrap_or_default().as_bytes());
        for name in [header::CONTENT_TYPE, ACT_AS] {
            for value in headers.get_all(&name) {
                part(name.as_str().as_bytes());
                part(value.as_bytes());
            }
        }
        Self(bytes_of(&context.finish()))
    }
}

/// Of a body, as far as it was taken from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPrint {
    /// How many bytes were taken.
    pub length: u64,
    /// Whether these are all: an application may answer before it has taken the whole body.
    pub whole: bool,
    /// Their hash.
    pub digest: [u8; 32],
}

impl BodyPrint {
    /// Of a body of which nothing is known: every other is like it.
    pub fn nothing() -> Self {
        Hashing::new(false).print()
    }

    /// To be told the body of a further request.
    pub fn compare(self) -> Comparison {
        Comparison { wanted: self, context: digest::Context::new(&SHA256), seen: 0 }
    }
}

/// Whether another body is the same. It looks at no more bytes than were taken of the first.
pub struct Comparison {
    wanted: BodyPrint,
    context: digest::Context,
    seen: u64,
}

impl Comparison {
    /// The next bytes; gives the verdict as soon as there is one.
    pub fn push(&mut self, bytes: &[u8]) -> Option<bool> {
        let room = self.wanted.length.saturating_sub(self.seen);
        let length = bytes.len() as u64;
        if length > room && self.wanted.whole {
            return Some(false);
        }
        let taken = bytes.get(..usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(bytes);
        self.context.update(taken);
        self.seen += taken.len() as u64;
        // Of a first body that was not taken whole the rest made no difference.
        (!self.wanted.whole && self.seen == self.wanted.length).then(|| self.same())
    }

    /// At the body's end.
    pub fn finish(&self) -> bool {
        self.seen == self.wanted.length && self.same()
    }

    fn same(&self) -> bool {
        bytes_of(&self.context.clone().finish()) == self.wanted.digest
    }
}

fn bytes_of(digest: &digest::Digest) -> Digest {
    // SHA-256 has 32 bytes.
    digest.as_ref().try_into().unwrap_or_default()
}

/// The hash of a body that is on its way; shared with who wants to know.
#[derive(Clone)]
pub struct Hashing(Arc<Mutex<Taken>>);

struct Taken {
    context: digest::Context,
    length: u64,
    whole: bool,
}

impl Hashing {
    fn new(whole: bool) -> Self {
        let context = digest::Context::new(&SHA256);
        Self(Arc::new(Mutex::new(Taken { context, length: 0, whole })))
    }

    /// As far as the body has been taken.
    pub fn print(&self) -> BodyPrint {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        BodyPrint {
            length: taken.length,
            whole: taken.whole,
            digest: bytes_of(&taken.context.clone().finish()),
        }
    }

    /// Says how many bytes that makes.
    fn take(&self, bytes: &[u8]) -> u64 {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.context.update(bytes);
        taken.length += bytes.len() as u64;
        taken.length
    }

    fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).whole = true;
    }
}

/// A body, hashed as it passes.
pub struct Hashed<B> {
    body: Pin<Box<B>>,
    /// From `Content-Length`: who reads no further than that never sees the end itself.
    declared: Option<u64>,
    hashing: Hashing,
}

impl<B: Body<Data = Bytes>> Hashed<B> {
    /// Of a body whose length the caller may have declared.
    pub fn new(body: B, declared: Option<u64>) -> Self {
        let whole = body.is_end_stream() || declared == Some(0);
        Self { body: Box::pin(body), declared, hashing: Hashing::new(whole) }
    }

    /// Its hash, now and later.
    pub fn hashing(&self) -> Hashing {
        self.hashing.clone()
    }
}

impl<B: Body<Data = Bytes>> Body for Hashed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(self.body.as_mut().poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map(|data| self.hashing.take(data));
                if length.is_none() || length == self.declared || self.body.is_end_stream() {
                    self.hashing.end();
                }
            }
            Some(Err(_)) => {}
            None => self.hashing.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn print(body: &[u8], whole: bool) -> BodyPrint {
        let hashing = Hashing::new(whole);
        hashing.take(body);
        hashing.print()
    }

    fn verdict(first: BodyPrint, chunks: &[&[u8]]) -> bool {
        let mut comparison = first.compare();
        for chunk in chunks {
            if let Some(same) = comparison.push(chunk) {
                return same;
            }
        }
        comparison.finish()
    }

    #[test]
    fn heads_differ_by_each_of_their_parts() {
        let json =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let text = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        let person = HeaderMap::from_iter([(ACT_AS, HeaderValue::from_static("entra:1"))]);
        let none = HeaderMap::new();
        let prints = [
            HeadPrint::of(&Method::POST, "/a", None, &none),
            HeadPrint::of(&Method::PUT, "/a", None, &none),
            HeadPrint::of(&Method::POST, "/a/", None, &none),
            HeadPrint::of(&Method::POST, "/a", Some(""), &none),
            HeadPrint::of(&Method::POST, "/a", Some("b"), &none),
            HeadPrint::of(&Method::POST, "/ab", None, &none),
            HeadPrint::of(&Method::POST, "/a", None, &json),
            HeadPrint::of(&Method::POST, "/a", None, &text),
            HeadPrint::of(&Method::POST, "/a", None, &person),
        ];
        for (index, one) in prints.iter().enumerate() {
            assert!(prints.iter().skip(index + 1).all(|other| one != other), "{index}");
        }
        assert_eq!(HeadPrint::of(&Method::POST, "/a", None, &json), prints[6]);
    }

    #[test]
    fn a_body_is_compared_as_far_as_the_first_was_taken() {
        for (first, whole, other, same) in [
            (&b"abc"[..], true, &b"abc"[..], true),
            (b"abc", true, b"abcd", false),
            (b"abc", true, b"ab", false),
            (b"abc", true, b"abd", false),
            (b"", true, b"", true),
            (b"", true, b"a", false),
            (b"abc", false, b"abcd", true),
            (b"abc", false, b"abc", true),
            (b"abc", false, b"ab", false),
            (b"abc", false, b"xbcd", false),
            (b"", false, b"anything", true),
            (b"", false, b"", true),
        ] {
            let bytewise: Vec<&[u8]> = other.chunks(1).collect();
            assert_eq!(verdict(print(first, whole), &[other]), same, "{first:?} {whole} {other:?}");
            assert_eq!(verdict(print(first, whole), &bytewise), same, "{first:?} {whole} {other:?}");
        }
    }

    #[test]
    fn the_end_is_seen_however_it_comes() {
        use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
        assert!(Hashed::new(Empty::new(), None).hashing().print().whole);
        let mut full = Hashed::new(Full::from("abc"), None);
        let hashing = full.hashing();
        assert!(!hashing.print().whole);
        drop(futures_util::FutureExt::now_or_never(full.frame()).unwrap());
        assert_eq!(hashing.print(), print(b"abc", true));

        let frames = || {
            let frames = ["a", "bc"].map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from(text))));
            Box::pin(StreamBody::new(futures_util::stream::iter(frames)))
        };
        // Read no further than its declared length; and to its end.
        for (declared, reads, whole) in
            [(Some(3), 2, true), (None, 2, false), (None, 3, true), (Some(4), 2, false)]
        {
            let mut body = Hashed::new(frames(), declared);
            for _ in 0..reads {
                drop(futures_util::FutureExt::now_or_never(body.frame()).unwrap());
            }
            assert_eq!(body.hashing().print(), print(b"abc", whole), "{declared:?} {reads}");
        }
    }

    proptest! {
        #[test]
        fn cutting_makes_no_difference(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            taken in 0_usize..200,
            cuts in proptest::collection::vec(1_usize..50, 1..20),
        ) {
            let taken = taken.min(body.len());
            let (whole, part) = (print(&body, true), print(&body[..taken], false));
            let mut chunks = Vec::new();
            let mut rest = &body[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            prop_assert!(verdict(whole, &chunks));
            prop_assert!(verdict(part, &chunks));
        }
    }
}
