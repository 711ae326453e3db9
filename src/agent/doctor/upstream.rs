//! Check `upstream`: does each application answer, by the very requests with which the agent watches it?

use futures_util::future::join_all;

use super::finding::{sentence, shown};
use super::{Context, Finding};
use crate::agent::upstream::{Config, Health, Upstream};

const CHECK: &str = "upstream";

/// All of them at once.
pub(super) async fn check(context: &Context) -> Vec<Finding> {
    join_all(context.config.upstreams.iter().map(|upstream| one(context, upstream))).await.concat()
}

async fn one(context: &Context, config: &Config) -> Vec<Finding> {
    let name = &config.name;
    let proxy = match context.config.proxy_to(config) {
        Ok(proxy) => proxy,
        Err(report) => {
            return vec![Finding::reported(CHECK, &report, "Correct proxy-credentials in [relay].")];
        }
    };
    let upstream = match Upstream::start(config.clone(), proxy, context.clock.clone(), &context.tasks) {
        Ok(upstream) => upstream,
        Err(fault) => {
            let action = format!("Correct ca-file in [upstream.{name}].");
            return vec![Finding::failure(CHECK, sentence(&fault), action)];
        }
    };
    let finding = |node: &crate::agent::upstream::NodeReport| {
        let url = &node.url;
        if node.health == Health::Up {
            return Finding::ok(CHECK, format!("{name} at {url} answers"));
        }
        let why = node.detail.as_deref().unwrap_or("it gave no answer");
        let text = format!("{name} at {url}: {}", shown(why));
        let action = format!(
            "See that it runs and that this machine reaches it (`curl -i {url}/status`), or correct url in \
             [upstream.{name}]."
        );
        Finding::failure(CHECK, text, action)
    };
    upstream.examine().await.iter().map(finding).collect()
}
