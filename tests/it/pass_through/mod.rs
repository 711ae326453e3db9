//! TLS that passes the relay unopened and ends at the agent: real relay, real agent, real TLS clients.

mod calls;
mod edges;
mod ends;
mod exposed;
mod site;
