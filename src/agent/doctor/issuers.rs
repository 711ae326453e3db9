//! Check `issuer`: does each issuer of tokens give its keys, asked as the agent asks?

use futures_util::future::join_all;

use super::finding::{sentence, shown};
use super::{Context, Finding};
use crate::agent::egress::{Clients, Way};
use crate::agent::issuers::{Config, client, probe};

const CHECK: &str = "issuer";

/// All of them at once.
pub(super) async fn check(context: &Context) -> Vec<Finding> {
    join_all(context.config.issuers.iter().map(|issuer| one(context, issuer))).await.concat()
}

async fn one(context: &Context, config: &Config) -> Vec<Finding> {
    let name = &config.name;
    let egress = &context.config.egress;
    if config.egress.unwrap_or(egress.way) == Way::Relay {
        let text = format!("{name} is reached through the relay, which only the running agent can try");
        let action = "Run `outhaul-agent egress test URL` with its key-set or discovery; `status` tells how its keys are.";
        return vec![Finding::note(CHECK, format!("{text}. {action}"))];
    }
    let proxy = context.relay.as_ref().ok().and_then(|relay| relay.proxy.clone());
    let clients = Clients::new(egress.clone(), proxy, context.clock.clone());
    let client = match client(config, &clients) {
        Ok(client) => client,
        Err(fault) => {
            let action = format!("Correct ca-file in [issuer.{name}].");
            return vec![Finding::failure(CHECK, sentence(&fault), action)];
        }
    };
    match probe(config, &client).await {
        Ok(found) => {
            let keys = if found.keys == 1 { "key" } else { "keys" };
            let ok = Finding::ok(CHECK, format!("{name} gives its keys: {} {keys} can be used", found.keys));
            let ignored = found.ignored.iter().take(MAX_IGNORED);
            let notes = ignored.map(|why| Finding::note(CHECK, format!("{name}: not used: {}", shown(why))));
            std::iter::once(ok).chain(notes).collect()
        }
        Err(fault) => {
            let action = format!(
                "See that this machine reaches it, or correct key-set, discovery, egress or ca-file in [issuer.{name}]; \
                 callers with its tokens are refused once the keys known before are too old."
            );
            vec![Finding::failure(CHECK, format!("{name}: {}", sentence(&fault)), action)]
        }
    }
}

/// More keys that are not used than a person reads.
const MAX_IGNORED: usize = 3;
