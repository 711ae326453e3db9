//! Which upstream a path names, and what of the path is the upstream's own.

use std::collections::HashMap;

use crate::agent::policy::route;
use crate::agent::proxy::Proxy;
use crate::common::ids::UpstreamName;

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
