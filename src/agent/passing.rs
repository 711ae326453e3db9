//! Puts pass-through together: where TLS ends, and where its certificates come from.

use std::sync::Arc;

use super::acme::{Acme, Egress};
use super::audit::Audit;
use super::config::Config;
use super::connection::Connection;
use super::front::Front;
use super::pass_through::{self, PassThrough};
use super::store::Store;
use crate::common::clock::Clock;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::identity::handshake::messages::Standing;
use crate::net::http_client::{HttpClient, Way};
use crate::net::reload::{POLL_EVERY, keep_certificate};
use crate::net::tls::by_name::CertificateSource;
use crate::net::tls::{Certificates, TlsFault};

/// The certificates by ACME, where any are ordered. Connects to nothing yet.
pub async fn acme(
    config: &Config,
    store: &Store,
    audit: &Audit,
    clock: &Clock,
) -> Result<Option<Acme>, Report> {
    let Some(wanted) = &config.acme else { return Ok(None) };
    let way = match (wanted.egress, super::run::relay(config)?.proxy) {
        (Egress::Proxy, Some(proxy)) => Way::Proxy(proxy),
        _ => Way::Direct,
    };
    let client = HttpClient::new(way, wanted.ca_file.as_deref()).map_err(|fault| {
        Report::from_error(Exit::Config, &fault).with_remedy("It is named as ca-file in [pass-through.acme].")
    })?;
    let acme = Acme::load(wanted.clone(), client, store.clone(), audit.clone(), clock.clone()).await;
    acme.map(Some).map_err(|fault| fault.report())
}

/// Where callers' TLS that passes the relay ends. A certificate from files follows them.
pub fn pass_through(
    config: &Config,
    acme: Option<&Acme>,
    front: &Front,
    clock: &Clock,
    (tasks, tunnels): (&Tasks, &Tasks),
) -> Result<Option<PassThrough>, Report> {
    let Some(wanted) = &config.pass_through else { return Ok(None) };
    let wrong = |fault: TlsFault| {
        Report::from_error(Exit::Config, &fault)
            .with_remedy("It is named in [pass-through] of the configuration.")
    };
    let source: Arc<dyn CertificateSource> = match (&wanted.files, acme) {
        (_, Some(acme)) => acme.shown(),
        (Some(pass_through::Files { certificate, private_key }), None) => {
            let certificates = Certificates::load(certificate, private_key).map_err(wrong)?;
            let (certificate, private_key) = (certificate.clone(), private_key.clone());
            keep_certificate(certificates.clone(), certificate, private_key, POLL_EVERY, tasks);
            certificates
        }
        (None, None) => {
            return Err(Report::new(Exit::Software, "[pass-through] has no source of certificates"));
        }
    };
    let passing = PassThrough::new(wanted, source, front.clone(), clock.clone(), tunnels.clone());
    passing.map(Some).map_err(wrong)
}

/// Orders certificates whenever they are due and an authority that comes for a name would reach this agent: it is
/// connected, and of the site's agents the active one.
pub fn keep_certificates(acme: &Acme, connection: &Arc<Connection>, tasks: &Tasks) {
    let connection = connection.clone();
    let reached = move || {
        connection
            .snapshots()
            .iter()
            .any(|tunnel| tunnel.since.is_some() && tunnel.standing == Some(Standing::Active))
    };
    acme.start(reached, tasks);
}
