//! One HTTP call: to the relay on loopback whatever the name, or to a real Jira.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use outhaul::common::tasks::Tasks;
use outhaul::net::tls::{self, Peer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::{Outcome, words};

const LIMIT: usize = 4 * 1024 * 1024;
const TIME: Duration = Duration::from_secs(30);

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Calls `url` with a bearer token.
pub(crate) async fn call(
    method: Method,
    url: &str,
    bearer: &str,
    body: Option<&str>,
    ca_file: Option<&Path>,
) -> Outcome<Answer> {
    call_with(method, url, bearer, None, body, ca_file).await
}

/// The same with one more header field; names under `.localhost` lead to loopback (RFC 6761, section 6.3).
pub(crate) async fn call_with(
    method: Method,
    url: &str,
    bearer: &str,
    field: Option<(&str, &str)>,
    body: Option<&str>,
    ca_file: Option<&Path>,
) -> Outcome<Answer> {
    let uri: Uri = url.parse().map_err(words)?;
    let host = uri.host().ok_or("a URL without a host")?.to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let local = host == "localhost" || host.ends_with(".localhost");
    let address = if local { "127.0.0.1" } else { host.as_str() };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::builder().method(method).uri(target);
    request = request.header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()));
    request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    request = request.header(header::ACCEPT, "application/json");
    if let Some((name, value)) = field {
        request = request.header(name, value);
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(body.unwrap_or_default().to_owned()))).map_err(words)?;
    let exchange = async {
        let stream =
            TcpStream::connect((address, port)).await.map_err(|fault| format!("{host}:{port}: {fault}"))?;
        if secure {
            let config = tls::client_config(Peer::Upstream, ca_file).map_err(words)?;
            let stream = tls::connect(config, &host, stream, TIME).await.map_err(words)?;
            send(stream, request).await
        } else {
            send(stream, request).await
        }
    };
    tokio::time::timeout(TIME, exchange)
        .await
        .map_err(|_| format!("no answer from {host} within {TIME:?}"))?
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Outcome<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    Tasks::new().spawn_detached(connection);
    let response = sender.send_request(request).await.map_err(words)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LIMIT).collect().await.map_err(words)?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}
