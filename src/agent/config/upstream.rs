//! `[upstream.NAME]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::named;
use crate::agent::links;
use crate::agent::mapping::OAuthConfig;
use crate::agent::upstream::Config;
use crate::common::ids::UpstreamName;
use crate::common::limits::ByteSize;
use crate::config::diagnose::Located;
use crate::config::table::Table;
use crate::config::values::HttpBase;

/// The names of all, also of those with faults, so that rules that name them have none.
pub(super) fn upstreams(top: &mut Table<'_>, pages: Option<&links::Config>, has_proxy: bool) -> Upstreams {
    let mut names = Vec::new();
    let mut upstreams = Vec::new();
    let mut links = BTreeMap::new();
    if !top.has("upstream") {
        top.source().fault(
            top.at(),
            "the file names no application to reach",
            "add a table [upstream.jira] with url and base-url",
        );
    }
    for (name, mut table) in named::<UpstreamName>(top, "upstream") {
        names.push(name.clone());
        if RESERVED.contains(&name.as_str()) {
            let what = format!("“{name}” is taken: Outhaul itself answers under this path");
            table.source().fault(table.at(), what, "choose another name");
        }
        links.extend(super::oauth::oauth(&mut table, pages).map(|link| (name.clone(), link)));
        upstreams.extend(upstream(name, &mut table, has_proxy));
    }
    Upstreams { names, all: upstreams, links }
}

/// What the tables hold.
pub(super) struct Upstreams {
    pub(super) names: Vec<UpstreamName>,
    pub(super) all: Vec<Config>,
    /// `[upstream.NAME.oauth]`.
    pub(super) links: BTreeMap<UpstreamName, OAuthConfig>,
}

fn upstream(name: UpstreamName, table: &mut Table<'_>, has_proxy: bool) -> Option<Config> {
    let source = table.source();
    let nodes: Option<Located<Vec<Located<HttpBase>>>> = table.required("url", "\"http://127.0.0.1:8080\"");
    let has_base_url = table.has("base-url");
    let base_url: Option<HttpBase> = table.optional("base-url");
    if let Some(Located { value, at }) = &nodes {
        if value.is_empty() {
            source.fault(*at, "the list of nodes is empty", "write one URL, or a list of them");
        }
        if value.len() > MAX_NODES {
            source.fault(*at, format!("there are more than {MAX_NODES} nodes"), "put a balancer before them");
        }
        for (index, node) in value.iter().enumerate() {
            if value.iter().take(index).any(|before| before.value == node.value) {
                source.fault(node.at, "this node is listed twice", "remove one of the two");
            }
        }
    }
    let count = nodes.as_ref().map_or(0, |nodes| nodes.value.len());
    // One node without a base URL of its own calls itself what we call it.
    if count > 1 && !has_base_url {
        table.missing("base-url", "\"https://jira.example.com\"");
    }
    let ca_file = table.optional("ca-file");
    let identity: Option<Located<String>> = table.optional("identity-header");
    let identity_header = match &identity {
        Some(Located { value, .. }) if value == "none" => false,
        Some(Located { value, .. }) if value.eq_ignore_ascii_case("x-ausername") => true,
        None => true,
        Some(Located { value, at }) => {
            let help = "write \"X-AUSERNAME\", or \"none\" for an application that does not say";
            source.fault(*at, format!("“{value}” is no identity header we know"), help);
            true
        }
    };
    let affinity: Option<Located<String>> = table.optional("affinity-cookie");
    if let Some(Located { value, at }) = &affinity
        && !is_cookie_name(value)
    {
        source.fault(*at, "this is no name of a cookie", "write its name only, as in \"JSESSIONID\"");
    }
    let stateless = table.or("stateless", false);
    let via_proxy: Option<Located<bool>> = table.optional("via-proxy");
    if let Some(Located { value: true, at }) = via_proxy
        && !has_proxy
    {
        let help = "add proxy to [relay], or remove this";
        source.fault(at, "it is to be reached through the proxy, but there is none", help);
    }
    let second = Duration::from_secs(1);
    let connect_timeout = table.duration("connect-timeout", second / 10..=second * 60, second * 5);
    let first_byte_timeout = table.duration("first-byte-timeout", second..=second * 3600, second * 120);
    let idle_timeout = table.duration("idle-timeout", second..=second * 3600, second * 60);
    let max_request_body =
        table.size("max-request-body", ByteSize(0)..=ByteSize::mib(16 << 10), ByteSize::mib(256));
    let max_connections = table.integer("max-connections", 1..=4096, 64);
    let nodes: Vec<HttpBase> = nodes?.value.into_iter().map(|node| node.value).collect();
    let base_url = base_url.or_else(|| nodes.first().cloned())?;
    Some(Config {
        name,
        nodes,
        base_url,
        ca_file,
        identity_header,
        affinity_cookie: affinity.map(|affinity| affinity.value),
        stateless,
        via_proxy: via_proxy.is_some_and(|via_proxy| via_proxy.value),
        connect_timeout,
        first_byte_timeout,
        idle_timeout,
        max_request_body,
        max_connections: u32::try_from(max_connections).unwrap_or(u32::MAX),
    })
}

/// RFC 6265, section 4.1.1: a cookie's name is a token.
fn is_cookie_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 100 && name.bytes().all(token)
}

/// First segments that are, or will be, our own at agent or relay.
const RESERVED: [&str; 6] = ["agent", "events", "link", "s", "scim", "teams"];
const MAX_NODES: usize = 16;
