//! The port of the pages, and their certificate, which follows its files.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::config::{Config, Files};
use super::desk::LinkDesk;
use super::pages::router;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::net::reload::{POLL_EVERY, keep_certificate};
use crate::net::tls::{Certificates, TlsFault, http1_server_config};
use crate::net::{listen, pages};

/// An open port that does not answer yet.
pub struct Listener {
    port: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    config: Config,
}

impl Listener {
    /// Opens it. Must run inside a runtime.
    pub fn open(config: &Config, tasks: &Tasks) -> Result<Self, Report> {
        let tls = config.tls.as_ref().map(|files| tls(files, tasks)).transpose().map_err(|fault| {
            Report::from_error(Exit::Config, &fault)
                .with_remedy("It is named in [pages] of the configuration.")
        })?;
        let port = listen::listen(config.listen).map_err(|error| {
            Report::new(Exit::System, format!("the pages can't listen on {}: {error}", config.listen))
                .with_remedy("Choose another address under [pages] listen.")
        })?;
        Ok(Self { port, tls, config: config.clone() })
    }

    /// Answers until the group is told to stop.
    pub async fn serve(self, desk: LinkDesk, tasks: &Tasks) {
        let pages = router(desk, &self.config);
        pages::serve_browsers(&self.port, self.tls, pages, tasks).await;
    }
}

fn tls(files: &Files, tasks: &Tasks) -> Result<Arc<ServerConfig>, TlsFault> {
    let Files { certificate, key } = files;
    let certificates = Certificates::load(certificate, key)?;
    keep_certificate(certificates.clone(), certificate.clone(), key.clone(), POLL_EVERY, tasks);
    http1_server_config(certificates)
}
