//! Proxies on the way out: those that misbehave by script, those that cut what is idle, and (`judged`, in the part
//! `proxies` of `make test`) those that others wrote.

mod judged;
mod scripted;
mod whole;
