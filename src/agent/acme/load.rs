//! What is kept for a name, as it is found at the start.

use super::certificate::{Leaf, generate_key, pin_of_key};
use super::renewal::DAY;
use super::shown::Shown;
use super::state::Entry;
use crate::agent::store::tables::acme::Kept;
use crate::agent::store::{Store, StoreFault};

/// Reads it; a name that is new gets its key.
pub(super) async fn load(store: &Store, name: &str, now: u64) -> Result<Entry, StoreFault> {
    let kept = match generate_key() {
        Err(fault) => Err(format!("no key can be made: {fault}")),
        Ok(fresh) => match store.acme_certificate(name, &fresh).await {
            Ok(kept) => Ok(kept),
            // One that does not open stops no other.
            Err(fault @ StoreFault::Seal { .. }) => Err(fault.to_string()),
            Err(fault) => return Err(fault),
        },
    };
    if let Err(fault) = &kept {
        tracing::error!(%name, %fault, "the certificate's key can't be used");
    }
    let (tries, orders) = store.acme_tries(name, now.saturating_sub(KEEP_ORDERS)).await?;
    Ok(Entry { customer: false, kept, leaf: None, tries, orders, asked: false, under_way: false, ended: 0 })
}

/// Shows what is kept, if it is what it should be.
pub(super) fn show(name: &str, entry: &mut Entry, shown: &Shown) {
    let Ok(Kept { key, chain: Some(chain), .. }) = &entry.kept else { return };
    let read = pin_of_key(key).and_then(|pin| {
        let leaf = Leaf::parse(&chain.pem)?;
        leaf.check(name, &pin, 0)?;
        shown.set(name, &chain.pem, key)?;
        Ok(leaf)
    });
    match read {
        Ok(leaf) => entry.leaf = Some(leaf),
        Err(fault) => {
            tracing::error!(%name, %fault, "the kept certificate can't be used; a new one is ordered");
        }
    }
}

/// Orders are counted for so long.
pub(super) const KEEP_ORDERS: u64 = 7 * DAY;
