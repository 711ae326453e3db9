//! Which upstream a path names, and what of the path is the upstream's own.

use std::collections::HashMap;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response};

use super::FrontBody;
use crate::agent::policy::route;
use crate::agent::proxy::Proxy;
use crate::common::ids::UpstreamName;
use crate::common::problem::{Code, Problem};

/// The path `/.well-known/outhaul`: says who answers, and needs no key.
pub(super) const WELL_KNOWN: &str = "/.well-known/outhaul";

/// A path, split.
pub(super) struct Route<'a> {
    pub(super) proxy: &'a Proxy,
    /// What led to the upstream: `/jira`, or its context path.
    pub(super) mount: &'a str,
    /// The rest, from its slash.
    pub(super) rest: &'a str,
}

/// Splits a path: by the upstream's name, or in host form by its context path, the longest first.
pub(super) fn split<'a>(
    path: &'a str,
    upstreams: &'a HashMap<UpstreamName, Proxy>,
    host_form: bool,
) -> Option<Route<'a>> {
    let contexts = upstreams.values().filter(|_| host_form);
    let contexts = contexts.map(|proxy| (proxy, proxy.upstream().config().base_url.path.as_str()));
    let split = route::split(path, |name| upstreams.get(name), contexts)?;
    Some(Route { proxy: split.to, mount: split.mount, rest: split.rest })
}

/// What stands there.
pub(super) fn well_known(method: &Method) -> Result<Response<FrontBody>, Problem> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Problem::new(Code::MethodRefused, "Use GET or HEAD here."));
    }
    let text = concat!(r#"{"software":"outhaul-agent","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
    let body = if *method == Method::HEAD { Bytes::new() } else { Bytes::from_static(text.as_bytes()) };
    let mut response = Response::new(FrontBody::whole(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A path that leads to no upstream.
pub(super) fn nothing_here(path: &str) -> Problem {
    let first: String = path.split('/').nth(1).unwrap_or("").chars().take(63).collect();
    Problem::new(
        Code::NotFound,
        format!(
            "“/{first}” is no application of this site. The first part of the path names one, as in /jira/rest/…; \
             the site's administrator sets them as [upstream.NAME]."
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::agent::proxy::Verdicts;
    use crate::agent::upstream::{Config, Upstream};
    use crate::common::clock::Clock;
    use crate::common::limits::ByteSize;
    use crate::common::tasks::Tasks;

    fn proxy(name: &str, base_url: &str, tasks: &Tasks) -> (UpstreamName, Proxy) {
        let name: UpstreamName = name.parse().unwrap();
        let config = Config {
            name: name.clone(),
            nodes: vec!["http://127.0.0.1:9".parse().unwrap()],
            base_url: base_url.parse().unwrap(),
            ca_file: None,
            identity_header: false,
            affinity_cookie: None,
            stateless: false,
            via_proxy: false,
            connect_timeout: Duration::from_secs(1),
            first_byte_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            max_request_body: ByteSize::kib(1),
            max_connections: 1,
        };
        let upstream = Upstream::start(config, None, Clock::manual(), tasks).unwrap();
        (name, Proxy::new(upstream, Arc::new(Verdicts::default())))
    }

    #[tokio::test]
    async fn names_win_and_a_shared_context_path_leads_nowhere() {
        let tasks = Tasks::new();
        let upstreams = HashMap::from([
            proxy("one", "https://a/jira", &tasks),
            proxy("two", "https://b/jira", &tasks),
            proxy("wiki", "https://a/docs", &tasks),
            proxy("deep", "https://a/docs/deep", &tasks),
        ]);
        let to = |path: &'static str, host_form: bool| {
            let route = split(path, &upstreams, host_form)?;
            Some((route.proxy.upstream().config().name.to_string(), route.mount, route.rest))
        };
        assert_eq!(to("/one/x", true), Some(("one".into(), "/one", "/x")));
        assert_eq!(to("/two", false), Some(("two".into(), "/two", "/")));
        assert_eq!(to("/jira/x", true), None);
        assert_eq!(to("/docs/x", true), Some(("wiki".into(), "/docs", "/x")));
        assert_eq!(to("/docs/deep/x", true), Some(("deep".into(), "/docs/deep", "/x")));
        assert_eq!(to("/docsx", true), None);
        assert_eq!(to("/docs/x", false), None);
        tasks.cancel();
    }
}
