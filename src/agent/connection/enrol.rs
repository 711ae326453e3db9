//! First contact: with a one-time token, the agent becomes known to its relay.

use std::sync::Arc;
use std::time::Duration;

use super::open::{Opener, greet, send_confirm};
use super::status::Binding;
use super::{Config, ConnectFault, SOFTWARE};
use crate::agent::store::tables::identity::Enrolment;
use crate::agent::store::{Store, StoreFault};
use crate::common::clock::Clock;
use crate::common::ids::BootId;
use crate::identity::handshake::agent::{Intent, Start};
use crate::identity::token::EnrolmentToken;
use crate::net::tls::TlsFault;
use crate::tunnel::code::CloseCode;

/// What came of it.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Who this agent is now.
    pub enrolment: Enrolment,
    /// How it was bound to TLS, and who opens TLS on the way.
    pub binding: Binding,
}

/// Why there was no enrolment.
#[derive(Debug, thiserror::Error)]
pub enum EnrolFault {
    /// There is one already.
    #[error("this agent is enrolled already, as agent {agent} of site {site}: give --replace to give that up", agent = .0.agent, site = .0.site)]
    Already(Box<Enrolment>),
    /// The CA file or the system's store.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// No contact, or refused.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
}

/// Enrols. The token's address has been checked against the configuration. Tried again with the same token after
/// it was cut off, it finishes what was begun.
pub async fn enrol(
    config: &Config,
    store: &Store,
    token: &EnrolmentToken,
    replace: bool,
    clock: &Clock,
) -> Result<Enrolled, EnrolFault> {
    match store.identity().await {
        Ok(Some(identity)) if !replace => return Err(EnrolFault::Already(Box::new(identity.enrolment))),
        Err(fault) if !replace => return Err(fault.into()),
        // A damaged identity is what --replace is for.
        _ => {}
    }
    let opener = Opener::new(config)?;
    let key = Arc::new(store.enrolling_key(&token.secret).await?);
    let enrolling = async {
        let mut contact = opener.open().await?;
        let start = Start {
            intent: Intent::Enrol { relay: token.relay, secret: token.secret.clone() },
            site: token.site.clone(),
            slot: 0,
            boot: BootId::generate(),
            software: SOFTWARE.to_owned(),
        };
        let welcomed = greet(&mut contact, start, &key).await?;
        let enrolment = Enrolment {
            relay_url: config.url.to_string(),
            relay_key: welcomed.relay,
            site: welcomed.welcome.site.clone(),
            agent: welcomed.welcome.agent,
            enrolled: clock.unix_seconds(),
        };
        store.enrolled(&token.secret, &enrolment, welcomed.welcome.join).await?;
        // On disk: from here on the agent is enrolled. If the relay never hears it, the first connect tells.
        if let Err(error) = send_confirm(&mut contact.line).await {
            tracing::debug!(%error, "CONFIRM could not be sent");
        } else {
            contact.line.close(CloseCode::Stopping, Duration::from_secs(2)).await;
        }
        Ok(Enrolled { enrolment, binding: Binding { layer: welcomed.layer, outer: contact.outer } })
    };
    match tokio::time::timeout(WHOLE, enrolling).await {
        Ok(enrolled) => enrolled,
        Err(_) => Err(ConnectFault::TooSlow(WHOLE).into()),
    }
}

const WHOLE: Duration = Duration::from_secs(60);
