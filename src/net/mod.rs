//! The only room that opens sockets.

pub mod dial;
pub mod http_client;
pub mod http_server;
pub mod listen;
pub mod local;
pub mod pages;
pub mod reload;
pub mod tls;
pub mod tunnel;
pub mod websocket;
