//! The audit: who called what, as whom, by which rule, and what came of it. Append-only and chained.
//!
//! What decides ([`gather`], [`verify`], [`record`]) takes times and numbers as arguments. `docs/audit.md` describes
//! the records and the chain for auditors.

mod crowd;
mod encode;
mod fault;
mod gather;
mod guard;
mod handle;
mod read;
mod record;
mod settings;
#[cfg(test)]
mod store_tests;
mod syslog;
#[cfg(test)]
mod tests;
mod under_way;
mod verify;
mod writer;
#[cfg(test)]
pub mod written;

pub use fault::AuditFault;
pub use handle::{Audit, AuditState, record_alone};
pub use read::{Look, Page, Query, look, look_on, page, parse_time, verify};
pub use record::{Answered, As, ByRule, Ended, Event, Facts, Prepared, Record};
pub use settings::{Settings, WhenUnavailable};
pub use syslog::syslog;
pub use under_way::UnderWay;
pub use verify::{Anchor, Broken, Verified, Verifier};
pub use writer::{Signer, Writer};
