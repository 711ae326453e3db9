//! Check `relay: inspection`: whether something opens TLS between agent and relay, and by whose certificate.

use super::finding::shown;
use super::{Context, Finding};
use crate::agent::admin::status::{OuterStatus, TunnelStatus};
use crate::agent::connection::Inspection;

const NAME: &str = "relay: inspection";

/// The running agent knows best: its tunnels have proved it. Without one that is connected, what the way to the relay
/// has shown counts (`probed`).
pub(super) fn judge(context: &Context, probed: &Inspection) -> Finding {
    let live = context.daemon.as_ref().ok().map(|status| status.relay.tunnels.as_slice());
    let live = live.unwrap_or_default().iter().filter(|tunnel| tunnel.connected).collect::<Vec<_>>();
    if let Some(tunnel) = live.iter().find(|tunnel| tunnel.is_inspected()) {
        return inspected(&whose(tunnel), "the agent's tunnels run");
    }
    if !live.is_empty() {
        return Finding::ok(NAME, "nothing opens TLS between agent and relay: its tunnels are bound to it");
    }
    match probed {
        Inspection::Direct => Finding::ok(
            NAME,
            "nothing seems to open TLS between here and the relay; a connected agent has it proved",
        ),
        Inspection::Inner(outer) => {
            let issuer = outer.as_ref().map_or_else(|| "?".to_owned(), |outer| shown(&outer.issuer));
            inspected(&format!("“{issuer}”"), "an agent's tunnels would run")
        }
        Inspection::Refused(why) => Finding::failure(
            NAME,
            why.clone(),
            "Do what the text says: agents can't connect through what is in between.",
        ),
    }
}

fn whose(tunnel: &TunnelStatus) -> String {
    let issuer = |outer: &OuterStatus| shown(&outer.issuer);
    format!("“{}”", tunnel.outer.as_ref().map_or_else(|| "?".to_owned(), issuer))
}

fn inspected(whose: &str, run: &str) -> Finding {
    let text = format!(
        "TLS is inspected: something between agent and relay opens it, with a certificate of {whose}; {run} in a TLS \
         session of their own inside, which it can't open"
    );
    Finding::note(NAME, text)
}
