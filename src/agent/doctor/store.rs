//! Check `store key`: is it there, and does it open what lies in the state folder?

use super::finding::sentence;
use super::{Context, Finding};
use crate::agent::store::Store;

const CHECK: &str = "store key";

/// Opens the keyring only: the store itself may be in the hands of the running agent.
pub(super) fn check(context: &Context) -> Vec<Finding> {
    let (state, source) = (&context.config.state, &context.config.store.key);
    let finding = match Store::key_fits(state, source) {
        Ok(true) if source.is_exposed() => Finding::warning(
            CHECK,
            "opens the store, and comes from the environment, where others on this machine can read it",
            "Keep it in a systemd credential or a file: docs/store.md says how.",
        ),
        Ok(true) => Finding::ok(CHECK, format!("opens the store in {}", state.display())),
        Ok(false) => Finding::failure(
            CHECK,
            format!("there is no store in {}: this agent is not enrolled", state.display()),
            "Get a token from the relay's operator (`outhaul-relay site enrol SITE`) and run `outhaul-agent enrol`.",
        ),
        Err(fault) => Finding::failure(
            CHECK,
            sentence(&fault),
            "Run this as root or as the service's user. If the key is lost or another one, put the right one back: \
             docs/store.md says where it comes from. Without it nothing in the store can be read.",
        ),
    };
    vec![finding]
}
