//! What the admin socket and the metrics page see of the running agent.

mod audit;
mod certificates;
mod credentials;
mod egress;
mod pass_through;
mod store;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::StatusCode;

use super::admin::audit::AuditDesk;
use super::admin::certificates::CertificateDesk;
use super::admin::credentials::CredentialDesk;
use super::admin::egress::EgressDesk;
use super::admin::refusals::{RefusalsReport, RefusedLine};
use super::admin::status::{
    AuditStatus, ConfigStatus, IdempotencyStatus, IssuerStatus, NodeStatus, OuterStatus, PolicyStatus,
    ProcessStatus, RelayStatus, Status, StoreStatus, TunnelStatus, UpstreamStatus,
};
use super::admin::store::StoreDesk;
use super::admin::{Answer, CallerLine, House, KeyLine, Made};
use super::audit::AuditState;
use super::callers::{Callers, CallersFault, ListedKey};
use super::connection::{Connection, Snapshot};
use super::counters::CallMetrics;
use super::front::Site;
use super::idempotency::{Ledger, Usage};
use super::issuers::IssuerReport;
use super::pass_through::PassThrough;
use super::pause::Pause;
use super::policy::Policy;
use super::policy::tools::{digest, refusals};
use super::reload;
use super::signed::Signing;
use super::store::tables::identity::Enrolment;
use super::upstream::Upstream;
use crate::common::clock::Clock;
use crate::common::ids::CallerName;
use crate::common::report::{Exit, Report};
use crate::hardening::{self, Hardening};
use crate::identity::handshake::messages::Standing;
use crate::identity::keys::PublicKey;
use crate::net::local::Refused;
pub use audit::AuditRoom;
pub use certificates::CertificateRoom;
pub use credentials::{CredentialRoom, View};
pub use egress::EgressRoom;
pub use store::StoreRoom;

/// The parts that there is something to say about, or to do with.
pub struct Running {
    /// When the process started.
    pub started: SystemTime,
    /// The time.
    pub clock: Clock,
    /// The relay's address.
    pub relay: String,
    /// Who this agent is.
    pub enrolment: Enrolment,
    /// The tunnels.
    pub connection: Arc<Connection>,
    /// Where callers' TLS ends that passes the relay.
    pub passing: Option<PassThrough>,
    /// What is in force.
    pub site: Arc<ArcSwap<Site>>,
    /// The callers' keys.
    pub callers: Arc<Callers>,
    /// The kill switch.
    pub pause: Pause,
    /// What calls count.
    pub calls: CallMetrics,
    /// The calls that are remembered by their key.
    pub ledger: Ledger,
    /// What answers to signed calls are signed by.
    pub signing: Signing,
    /// The audit.
    pub audit: AuditRoom,
    /// The certificates by ACME.
    pub certificates: CertificateRoom,
    /// The services' secrets.
    pub credentials: CredentialRoom,
    /// The way to hosts on the internet.
    pub egress: EgressRoom,
    /// The store.
    pub store: StoreRoom,
    /// The configuration file.
    pub reload: reload::Handle,
}

impl House for Running {
    fn status(&self) -> Status {
        let record = self.reload.record();
        let site = self.site.load();
        let mut upstreams: Vec<UpstreamStatus> =
            site.upstreams.values().map(|proxy| upstream(proxy.upstream())).collect();
        upstreams.sort_by(|one, other| one.name.cmp(&other.name));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: stamp(self.started),
            pid: std::process::id(),
            process: process(hardening::state()),
            paused: self.pause.is_on(),
            calls: self.calls.under_way(),
            config: ConfigStatus {
                file: record.file.display().to_string(),
                loaded: stamp(record.loaded),
                error: record.error,
                restart_needed: record.restart_needed,
            },
            relay: RelayStatus {
                url: self.relay.clone(),
                site: Some(self.enrolment.site.to_string()),
                agent: Some(self.enrolment.agent.to_string()),
                tunnels: self.connection.snapshots().into_iter().map(tunnel).collect(),
            },
            egress: self.egress.status(),
            pass_through: pass_through::status(self.passing.as_ref(), self.clock.wall()),
            upstreams,
            policy: policy_status(&site.policy),
            callers: self.callers.list().len(),
            issuers: site.issuers.reports().into_iter().map(issuer).collect(),
            idempotency: idempotency(self.ledger.usage()),
            store: StoreStatus {
                resealing: self.store.is_resealing(),
                key_exposed: self.store.key_is_exposed(),
            },
            audit: audit_status(&self.audit.audit.state()),
            certificates: self.certificates.report(),
        }
    }

    fn pause(&self) -> Result<(), Refused> {
        self.pause.pause().map_err(|error| {
            let text = format!("calls are refused now, but would not be after a restart: {error}");
            Refused::new(StatusCode::INTERNAL_SERVER_ERROR, text)
                .with_remedy("Make the file `paused` in the state folder by hand.")
        })
    }

    fn resume(&self) -> Result<(), Refused> {
        self.pause.resume().map_err(|error| {
            let text = format!("the file `paused` in the state folder can't be removed: {error}");
            Refused::new(StatusCode::INTERNAL_SERVER_ERROR, text).with_remedy("Remove it by hand.")
        })
    }

    fn reload(&self, by: String) -> Answer<'_, Vec<String>> {
        let reload = self.reload.clone();
        Box::pin(async move {
            reload.reload(by).await.map_err(|error| {
                let text =
                    format!("the configuration is wrong, so what was read before stays in force.\n{error}");
                Refused::new(StatusCode::UNPROCESSABLE_ENTITY, text)
            })
        })
    }

    fn refusals(&self) -> RefusalsReport {
        let line = |refused: refusals::Refused| RefusedLine {
            caller: refused.caller.to_string(),
            upstream: refused.upstream.to_string(),
            method: refused.method.to_string(),
            shape: refused.shape,
            calls: refused.calls,
            code: refused.code.to_string(),
            first: stamp(refused.first),
            last: stamp(refused.last),
        };
        let (refused, other) = self.calls.by_policy().list();
        RefusalsReport { since: stamp(self.started), refused: refused.into_iter().map(line).collect(), other }
    }

    fn callers(&self) -> Vec<CallerLine> {
        let seconds = |seconds| stamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let key = |key: ListedKey| KeyLine {
            id: key.id,
            signs: key.signs,
            created: seconds(key.created),
            expires: key.expires.map(seconds),
            last_used: key.last_used.map(seconds),
            sent_through_relay: key.exposed,
        };
        let line = |caller: super::callers::ListedCaller| CallerLine {
            name: caller.name.to_string(),
            keys: caller.keys.into_iter().map(key).collect(),
        };
        self.callers.list().into_iter().map(line).collect()
    }

    fn add_caller<'a>(&'a self, name: &'a CallerName, public: Option<PublicKey>) -> Answer<'a, Made> {
        Box::pin(async move {
            let made = match public {
                None => self.callers.add(name).await.map(Made::Secret),
                Some(public) => self.callers.add_public(name, public).await.map(Made::Signs),
            };
            made.map_err(|fault| refused(&fault))
        })
    }

    fn rotate_caller<'a>(
        &'a self,
        name: &'a CallerName,
        public: Option<PublicKey>,
        grace: Duration,
    ) -> Answer<'a, Made> {
        Box::pin(async move {
            let made = match public {
                None => self.callers.rotate(name, grace).await.map(Made::Secret),
                Some(public) => self.callers.rotate_public(name, public, grace).await.map(Made::Signs),
            };
            made.map_err(|fault| refused(&fault))
        })
    }

    fn answers_by(&self) -> PublicKey {
        self.signing.signer().1.public()
    }

    fn audit(&self) -> &dyn AuditDesk {
        &self.audit
    }

    fn certificates(&self) -> &dyn CertificateDesk {
        &self.certificates
    }

    fn credentials(&self) -> &dyn CredentialDesk {
        &self.credentials
    }

    fn egress(&self) -> &dyn EgressDesk {
        &self.egress
    }

    fn store(&self) -> &dyn StoreDesk {
        &self.store
    }

    fn remove_caller<'a>(&'a self, name: &'a CallerName) -> Answer<'a, ()> {
        Box::pin(async { self.callers.remove(name).await.map_err(|fault| refused(&fault)) })
    }
}

fn issuer(report: IssuerReport) -> IssuerStatus {
    IssuerStatus {
        name: report.name,
        issuer: report.issuer,
        usable: report.usable,
        keys: report.keys,
        ignored: report.ignored,
        fetched: report.fetched.map(stamp),
        age_seconds: report.age.map(|age| age.as_secs()),
        error: report.fault,
        verified: report.verified,
        remembered: report.remembered,
        refused: report.refused,
        fetches: report.fetches,
        failed_fetches: report.failures,
    }
}

fn audit_status(state: &AuditState) -> AuditStatus {
    AuditStatus {
        number: state.number,
        waiting_bytes: state.waiting_bytes,
        error: state.failed.as_ref().map(ToString::to_string),
        lost: state.lost,
        anchor: state.anchor.map(|anchor| format!("{}:{}", anchor.number, anchor.head)),
    }
}

fn process(state: Hardening) -> ProcessStatus {
    ProcessStatus { no_core_file: state.no_core_file, closed: state.closed }
}

fn idempotency(usage: Usage) -> IdempotencyStatus {
    IdempotencyStatus {
        keys: usage.keys,
        max_keys: usage.limits.max_keys,
        answer_bytes: usage.bytes,
        max_answer_bytes: usage.limits.max_answers.0,
    }
}

/// RFC 3339, to the second.
pub fn stamp(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|stamp| stamp.to_string()).unwrap_or_default()
}

fn tunnel(snapshot: Snapshot) -> TunnelStatus {
    let standing = snapshot.standing.map(|standing| match standing {
        Standing::Active => "active",
        Standing::Standby => "standby",
    });
    TunnelStatus {
        slot: snapshot.slot.into(),
        connected: snapshot.since.is_some(),
        since: snapshot.since.map(stamp),
        role: standing.map(str::to_owned),
        binding: snapshot.binding.as_ref().map(|binding| binding.layer.as_str().to_owned()),
        outer: snapshot.binding.and_then(|binding| binding.outer).map(|outer| OuterStatus {
            subject: outer.subject,
            issuer: outer.issuer,
            sha256: outer.sha256,
        }),
        round_trip_ms: snapshot.round_trip.map(|time| time.as_secs_f64() * 1000.0),
        streams: snapshot.streams,
        error: snapshot.error,
        next_try_seconds: snapshot.next_try.map(|wait| wait.as_secs()),
        losses: snapshot.losses.count,
        last_loss: snapshot.losses.last.map(|(at, why)| format!("{}, {why}", stamp(at))),
    }
}

fn upstream(upstream: &Upstream) -> UpstreamStatus {
    let node = |node: super::upstream::NodeReport| NodeStatus {
        url: node.url,
        health: node.health.as_str().to_owned(),
        detail: node.detail,
    };
    UpstreamStatus {
        name: upstream.config().name.to_string(),
        base_url: upstream.config().base_url.to_string(),
        health: upstream.health().as_str().to_owned(),
        nodes: upstream.nodes().into_iter().map(node).collect(),
    }
}

fn refused(fault: &CallersFault) -> Refused {
    let status = match fault {
        CallersFault::Exists(_) | CallersFault::Taken(_) => StatusCode::CONFLICT,
        CallersFault::Unknown(_) => StatusCode::NOT_FOUND,
        CallersFault::Full | CallersFault::Grace => StatusCode::UNPROCESSABLE_ENTITY,
        CallersFault::Random(_) | CallersFault::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let text = Report::from_error(Exit::Data, fault).to_string();
    Refused::new(status, text)
}

fn policy_status(policy: &Policy) -> PolicyStatus {
    let trusting = policy.rules().iter().filter(|rule| rule.terms().accept_relay_trust);
    PolicyStatus {
        rules: policy.rules().len(),
        denials: policy.denials().len(),
        accept_relay_trust: trusting.count(),
        digest: digest(policy),
    }
}
