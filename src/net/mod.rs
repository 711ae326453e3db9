//! The only room that opens sockets.

#[cfg(feature = "agent")]
pub mod caa;
pub mod dial;
pub mod http_client;
pub mod http_server;
pub mod inner_tls;
pub mod listen;
pub mod local;
pub mod pages;
pub mod reload;
pub mod tls;
pub mod tunnel;
pub mod websocket;
