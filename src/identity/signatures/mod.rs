//! HTTP Message Signatures (RFC 9421) with Ed25519 and Content-Digest (RFC 9530), in the one profile of
//! `docs/signed.md`. Pure.
//!
//! A call: [`Claim::read`] finds the signature that is meant for us, [`Claim::cover`] says what exactly it speaks of,
//! and [`Covered::is_signed_by`] whether a key made it. What it does not speak of is not in [`Covered::headers`], so
//! nobody on the way can add to a call. An answer is bound to the call by [`Binding`].

mod answer;
mod base;
mod digest;
mod fault;
mod fields;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{Binding, SignedFields};
pub use base::Target;
pub use digest::{Digests, Hashing};
pub use fault::SignatureFault;
pub use request::{Claim, Covered, KEY_PREFIX, MUST_COVER, NONCE, is_claimed};

/// The value of `tag`, by which a signature is ours (RFC 9421, section 2.3).
pub const TAG: &str = "outhaul";
/// The value of `alg` (RFC 9421, section 3.3.6).
pub const ALGORITHM: &str = "ed25519";
