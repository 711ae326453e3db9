//! Certificates by ACME, against a real ACME server (Pebble), through a real relay and tunnel. `tests/run` installs
//! Pebble and runs those that need it, as part `acme`.

pub(crate) mod dns;
mod failures;
mod issue;
mod limits;
mod pebble;
mod site;
