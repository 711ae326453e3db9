//! Puts pass-through together: where TLS ends, and where its certificates come from.

use std::sync::Arc;
use std::time::Duration;

use super::acme::Acme;
use super::audit::Audit;
use super::config::Config;
use super::connection::Connection;
use super::egress::Clients;
use super::front::Front;
use super::pass_through::{self, PassThrough};
use super::store::Store;
use crate::common::clock::Clock;
use crate::common::host::HostPort;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::identity::handshake::messages::Standing;
use crate::net::reload::{POLL_EVERY, keep_certificate};
use crate::net::tls::by_name::CertificateSource;
use crate::net::tls::{Certificates, TlsFault};

/// The certificates by ACME, where any are ordered. Connects to nothing yet.
pub async fn acme(
    config: &Config,
    store: &Store,
    audit: &Audit,
    egress: &Clients,
    clock: &Clock,
) -> Result<Option<Acme>, Report> {
    let Some(wanted) = &config.acme else { return Ok(None) };
    let named = HostPort::of_url(&wanted.directory).into_iter().collect();
    let client = egress.client(wanted.egress, wanted.ca_file.as_deref(), named).map_err(|fault| {
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
/// connected for a moment already, and of the site's agents the active one.
pub fn keep_certificates(acme: &Acme, connection: &Arc<Connection>, clock: &Clock, tasks: &Tasks) {
    let (connection, clock) = (connection.clone(), clock.clone());
    let reached = move || {
        let now = clock.wall();
        let settled = |since| now.duration_since(since).is_ok_and(|connected| connected >= SETTLED);
        connection
            .snapshots()
            .iter()
            .any(|tunnel| tunnel.since.is_some_and(settled) && tunnel.standing == Some(Standing::Active))
    };
    acme.start(reached, tasks);
}

/// An order is too dear for the first moments of a tunnel, in which others are replaced and standings change.
const SETTLED: Duration = Duration::from_secs(2);
