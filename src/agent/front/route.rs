//! Which upstream a path names, and what of the path is the upstream's own.

use std::collections::HashMap;

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
    let after = path.strip_prefix('/')?;
    let name = after.split('/').next().unwrap_or("");
    let named = upstreams.get(name).map(|proxy| (proxy, name.len() + 1));
    let found = named.or_else(|| {
        let contexts = upstreams.values().filter(|_| host_form).filter_map(|proxy| {
            let context = proxy.upstream().config().base_url.path.as_str();
            let rest = path.strip_prefix(context)?;
            let whole = !context.is_empty() && (rest.is_empty() || rest.starts_with('/'));
            whole.then_some((proxy, context.len()))
        });
        contexts.max_by_key(|(_, length)| *length)
    });
    let (proxy, length) = found?;
    let (mount, rest) = path.split_at_checked(length)?;
    Some(Route { proxy, mount, rest: if rest.is_empty() { "/" } else { rest } })
}
