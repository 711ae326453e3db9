//! Remembers calls that bring an `Idempotency-Key`, so that a caller may send one again and it still happens once.
//!
//! [`Book`] decides: it is told what time it is and what became of a call, and says what a further call with the same
//! key gets. [`Ledger`] shares one book and hands out [`Ticket`]s, which see to it that no call stays under way for
//! ever. Nothing here knows how a call is sent; `agent::front` does that.
//!
//! The header is that of the IETF draft `draft-ietf-httpapi-idempotency-key-header`. Everything lies in memory, within
//! [`Limits`]. [`Finished`] is all that must outlive a restart, and [`Book::begin`] and [`Book::settle`] are the two
//! moments a durable store has to be told of.

mod answer;
mod book;
mod fingerprint;
mod key;
mod ledger;
mod limits;

pub use answer::Answer;
pub use book::{Begun, Book, Finished, Full, Loss, Outcome, Scope};
pub use fingerprint::{BodyPrint, Comparison, Hashed, Hashing, HeadPrint};
pub use key::{HEADER, Key, KeyFault};
pub use ledger::{Entry, Ledger, Ticket, Usage};
pub use limits::Limits;

#[cfg(test)]
mod tests;
