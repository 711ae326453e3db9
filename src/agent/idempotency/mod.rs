//! Remembers calls that bring an `Idempotency-Key`, so that a caller may send one again and it still happens once.
//!
//! [`Book`] decides: it is told what time it is and what became of a call, and says what a further call with the same
//! key gets. [`Ledger`] shares one book and hands out [`Ticket`]s, which see to it that no call stays under way for
//! ever. Nothing here knows how a call is sent; `agent::front` does that.
//!
//! The header is that of the IETF draft `draft-ietf-httpapi-idempotency-key-header`. What lies here is an index within
//! [`Limits`]: answers lie in the store, whose driver is `agent::remembered`. Between what a [`Ticket`] is told as the
//! end and [`Ticket::settle`] the driver stores it.

mod answer;
mod book;
mod fingerprint;
mod key;
mod ledger;
mod limits;
mod note;

pub use answer::Answer;
pub use book::{Begun, Book, Earlier, Finished, Full, Loss, Outcome};
pub use fingerprint::{BodyPrint, Comparison, Hashed, Hashing, HeadPrint};
pub use key::{HEADER, Key, KeyFault, Scope};
pub use ledger::{Entry, Ledger, Ticket, Usage, out_of_sight};
pub use limits::Limits;
pub use note::{read_loss, read_problem, write_loss, write_problem};

#[cfg(test)]
mod tests;
