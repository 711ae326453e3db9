//! One request and its answer, over a stream that is there already.

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, USER_AGENT};
use http::header::{EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::target::Url;
use super::{AskFault, Stream};
use crate::common::limits::ByteSize;

/// The request as it goes on the wire: origin form, and with the fields that are this client's own.
pub(super) fn prepare(request: Request<Bytes>, url: &Url) -> Request<Full<Bytes>> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    head.version = Version::HTTP_11;
    for own in [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT, TE, TRAILER, UPGRADE] {
        head.headers.remove(own);
    }
    if let Ok(host) = HeaderValue::from_str(&url.authority) {
        head.headers.insert(HOST, host);
    }
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    head.headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(NAME));
    Request::from_parts(head, Full::new(body))
}

/// Sends it and reads the answer to its end. Dropped, it closes the connection.
pub(super) async fn exchange<S: Stream>(
    stream: S,
    request: Request<Full<Bytes>>,
    host: &str,
    limit: ByteSize,
) -> Result<Response<Bytes>, AskFault> {
    let broken = |source| AskFault::Broken { host: host.to_owned(), source };
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        read(answer, host, limit).await
    };
    let asking = std::pin::pin!(asking);
    match select(asking, connection).await {
        Either::Left((answered, _)) => answered,
        // The last of the answer may still lie between the two; a fault of the connection reaches the asking too.
        Either::Right((_, asking)) => asking.await,
    }
}

async fn read(answer: Response<Incoming>, host: &str, limit: ByteSize) -> Result<Response<Bytes>, AskFault> {
    let too_large = || AskFault::TooLarge { host: host.to_owned(), limit };
    let (head, body) = answer.into_parts();
    for coding in head.headers.get_all(CONTENT_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"identity") {
            let coding = String::from_utf8_lossy(coding.as_bytes()).chars().take(40).collect();
            return Err(AskFault::Encoded { host: host.to_owned(), coding });
        }
    }
    if body.size_hint().lower() > limit.0 {
        return Err(too_large());
    }
    match Limited::new(body, limit.as_usize()).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(source) => Err(AskFault::Cut { host: host.to_owned(), source }),
    }
}

/// Room for an answer's head.
const HEAD: usize = 64 * 1024;
/// What it calls itself.
const NAME: &str = concat!("outhaul-agent/", env!("CARGO_PKG_VERSION"));
