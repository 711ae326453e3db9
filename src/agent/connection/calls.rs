//! Calls from the tunnel to the agent's service, and the answers back.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Extensions, Request, Response, Uri};
use http_body::Body;
use http_body_util::Full;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::common::ids::SiteName;
use crate::common::problem::{Code, Problem};
use crate::common::tasks::Tasks;
use crate::net::tunnel::{Acceptor, ByteStream, IncomingCall, TunnelBody};
use crate::tunnel::code::{DrainCode, ResetCode};
use crate::tunnel::head::{BytesHead, RequestHead};

/// Puts what the tunnel knows about a call into its extensions.
pub type Announce = fn(RequestHead, &mut Extensions);

/// Takes the byte streams that the relay opens.
pub trait Streams: Send + Sync + 'static {
    /// Must not block: spawn. `draining` is cancelled once the tunnel is to end: nothing new then.
    fn take(&self, head: BytesHead, stream: ByteStream, draining: CancellationToken);
}

/// What becomes of all that the relay opens, beside the service for calls.
#[derive(Clone)]
pub struct Arrivals {
    /// Puts what the tunnel knows of a call into its extensions.
    pub announce: Announce,
    /// Takes byte streams; without it there are none.
    pub streams: Option<Arc<dyn Streams>>,
}

/// Hands each call to its own clone of the service. One for each tunnel.
pub struct Calls<S> {
    service: S,
    arrivals: Arrivals,
    /// What a relay may cut off a path: `/s/` and this site's name.
    route: Arc<str>,
    tasks: Tasks,
    draining: Arc<Notify>,
    /// Cancelled with the tunnel's draining, and with the tasks.
    leaving: CancellationToken,
}

impl<S> Calls<S> {
    /// Calls for `site` go to `service`.
    pub fn new(service: S, arrivals: Arrivals, site: &SiteName, tasks: Tasks) -> Self {
        Self::on(service, arrivals, format!("/s/{site}").into(), tasks)
    }

    fn on(service: S, arrivals: Arrivals, route: Arc<str>, tasks: Tasks) -> Self {
        let leaving = tasks.token().child_token();
        Self { service, arrivals, route, tasks, draining: Arc::new(Notify::new()), leaving }
    }

    /// The same for another tunnel, with a drain signal of its own.
    #[must_use]
    pub fn another(&self) -> Self
    where
        S: Clone,
    {
        Self::on(self.service.clone(), self.arrivals.clone(), Arc::clone(&self.route), self.tasks.clone())
    }

    /// Notified once the relay asks for a new connection.
    pub fn draining_signal(&self) -> Arc<Notify> {
        Arc::clone(&self.draining)
    }
}

impl<S, B> Acceptor for Calls<S>
where
    S: Service<Request<TunnelBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    fn http(&self, call: IncomingCall) {
        let (service, announce) = (self.service.clone(), self.arrivals.announce);
        let uri = uri(&call.head.target, call.head.route_length, &self.route);
        self.tasks.spawn_detached(answer(service, announce, call, uri));
    }

    fn bytes(&self, head: BytesHead, stream: ByteStream) {
        let Some(streams) = &self.arrivals.streams else {
            tracing::debug!(purpose = %head.purpose, "a byte stream that this agent does not take");
            return stream.reset(ResetCode::Unsupported);
        };
        streams.take(head, stream, self.leaving.clone());
    }

    fn status(&self, _: Bytes) {}

    fn draining(&self, code: DrainCode, text: String) {
        tracing::debug!(%code, text, "draining");
        self.draining.notify_one();
        self.leaving.cancel();
    }
}

async fn answer<S, B>(mut service: S, announce: Announce, call: IncomingCall, uri: Option<Uri>)
where
    S: Service<Request<TunnelBody>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    let IncomingCall { mut head, body, mut reply } = call;
    let id = head.request_id;
    let Some(uri) = uri else {
        let text = "The path holds bytes that must be percent-encoded: encode them. Or the relay cut it where no route of \
                    this site ends.";
        let problem = Problem::new(Code::BadRequest, text);
        let _ = reply.send(problem.to_response(id).map(Full::new)).await;
        return;
    };
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = std::mem::take(&mut head.headers);
    announce(head, request.extensions_mut());
    let answering = async {
        match poll_fn(|context| service.poll_ready(context)).await {
            Ok(()) => service.call(request).await,
            Err(never) => match never {},
        }
    };
    let Ok(response) = tokio::select! {
        biased;
        // Dropping the service's future lets go of the upstream too.
        code = reply.cancelled() => {
            tracing::debug!(request = %id, %code, "the caller is gone");
            return;
        }
        response = answering => response,
    };
    if let Err(code) = reply.send(response).await {
        tracing::debug!(request = %id, %code, "an answer was not taken whole");
    }
}

/// The target without what led the relay to the site. Cut at any other place it would be another call than its caller made.
fn uri(target: &str, route_length: u16, route: &str) -> Option<Uri> {
    let (cut, rest) = target.split_at_checked(usize::from(route_length))?;
    if !cut.is_empty() && cut != route {
        return None;
    }
    let rest = if rest.is_empty() || rest.starts_with('?') { format!("/{rest}") } else { rest.to_owned() };
    if !rest.starts_with('/') && rest != "*" {
        return None;
    }
    PathAndQuery::try_from(rest).ok().map(Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_is_cut_off_and_the_rest_stays_as_written() {
        let table = [
            ("/jira/rest?a=%20b&c", 0, Some("/jira/rest?a=%20b&c")),
            ("/s/acme/jira/x", 7, Some("/jira/x")),
            ("/s/acme", 7, Some("/")),
            ("/s/acme?x=1", 7, Some("/?x=1")),
            ("//jira/../x", 0, Some("//jira/../x")),
            ("*", 0, Some("*")),
            ("", 0, Some("/")),
            ("/s/acmejira", 7, None),
            ("/s/acmejira/x", 11, None),
            ("/s/other/x", 8, None),
            ("/jira/jira/x", 5, None),
            ("http://elsewhere/x", 0, None),
            ("/x", 9, None),
            ("/a b", 0, None),
        ];
        for (target, route, expected) in table {
            let uri = uri(target, route, "/s/acme");
            assert_eq!(uri.as_ref().map(ToString::to_string).as_deref(), expected, "{target}");
        }
    }
}
