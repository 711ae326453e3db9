//! Calls of every usual kind.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outhaul::common::tasks::Tasks;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::client::TlsStream;

use super::site::{Speaks, connect, start};
use crate::support::process::{run, text};
use crate::support::upstream::Upstream;
use crate::support::world::{CUSTOMER, Running, direct_host};

/// One call over an open connection, by whichever version of HTTP it agreed on.
pub(super) async fn call(
    stream: TlsStream<tokio::net::TcpStream>,
    request: Request<Bytes>,
) -> hyper::Result<(http::response::Parts, Bytes)> {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let tasks = Tasks::new();
    let response = if http2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tasks.spawn_detached(connection);
        sender.send_request(request.map(Full::new)).await?
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tasks.spawn_detached(connection);
        sender.send_request(request.map(Full::new)).await?
    };
    let (head, body) = response.into_parts();
    Ok((head, body.collect().await?.to_bytes()))
}

/// A request for a host, with the caller's key; with the whole URL for HTTP/2.
pub(super) fn request(
    site: &Running,
    speaks: &Speaks,
    method: Method,
    host: &str,
    path: &str,
) -> http::request::Builder {
    let authority = format!("{host}:{}", site.world.port);
    let bearer = format!("Bearer {}", site.key);
    let builder = Request::builder().method(method).header(header::AUTHORIZATION, bearer);
    if speaks.protocols.contains(&&b"h2"[..]) {
        builder.uri(format!("https://{authority}{path}"))
    } else {
        builder.uri(path).header(header::HOST, authority)
    }
}

#[tokio::test]
async fn both_versions_of_http_and_of_tls_reach_the_application() {
    let upstream = Upstream::start().await;
    let site = start(&upstream.url()).await;
    for name in [direct_host(), CUSTOMER.to_owned()] {
        for speaks in [Speaks::http1(), Speaks::http2()] {
            for versions in [vec![&TLS12], vec![&TLS13]] {
                let speaks = Speaks { versions, ..speaks.clone() };
                let stream = connect(&site, &name, &speaks).await.unwrap();
                let version = stream.get_ref().1.protocol_version();
                let wanted = request(&site, &speaks, Method::GET, &name, "/jira/rest/api/2/myself");
                let (head, body) = call(stream, wanted.body(Bytes::new()).unwrap()).await.unwrap();
                assert_eq!(head.status, StatusCode::OK, "{name} {version:?} {body:?}");
                assert_eq!(head.headers["x-content-type-options"], "nosniff");
            }
        }
    }
}

#[tokio::test]
async fn curl_works_with_both_versions_of_http() {
    let upstream = Upstream::start().await;
    let site = start(&upstream.url()).await;
    let (port, name) = (site.world.port, direct_host());
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let outcome = run(
            "curl",
            &[
                "-sS",
                flag,
                "--cacert",
                text(&site.world.authority.file),
                "--resolve",
                &format!("{name}:{port}:127.0.0.1"),
                "-H",
                &format!("Authorization: Bearer {}", site.key),
                "-o",
                "/dev/null",
                "-w",
                "%{http_version} %{http_code}",
                &format!("https://{name}:{port}/jira/rest/api/2/myself"),
            ],
        )
        .await;
        assert_eq!((outcome.code, outcome.out.as_str()), (0, &*format!("{version} 200")), "{outcome:?}");
    }
}
