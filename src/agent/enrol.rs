//! `enrol`: makes this agent known to its relay, without a running daemon.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::audit::{Event, Record, record_alone};
use super::cli::Enrol;
use super::cli::enrol as arguments;
use super::config::Config;
use super::connection::ConnectFault;
use super::connection::enrol::{EnrolFault, Enrolled, enrol as make_known};
use super::run::relay;
use super::store::{Store, give_to_owner};
use crate::common::clock::Clock;
use crate::common::report::{Exit, Report};
use crate::identity::handshake::transcript::Layer;
use crate::terminal;

/// Takes the token in, checks that it is meant for this agent's relay, makes first contact, and says what next.
pub fn enrol(file: &Path, how: &Enrol, json: bool) -> Result<(), Report> {
    let config = Config::load(file)?;
    let relay = relay(&config)?;
    let store = Store::open(&config.state, &config.store.key).map_err(|fault| fault.report())?;
    let token = arguments::token(how)?;
    arguments::relay(how, &token, &config.relay.url)?;
    let contact = async {
        make_known(&relay, &store, &token, how.replace, &Clock::system())
            .await
            .map_err(|fault| report(&fault))
    };
    let contact = async {
        let enrolled = contact.await?;
        let detail = format!("agent {} of site {}", enrolled.enrolment.agent, enrolled.enrolment.site);
        let record = Record::new(Event::Enrolled).by("the command line").detail(&detail);
        let recorded = record_alone(&store, &Clock::system(), &record).await;
        recorded.map_err(|fault| fault.report())?;
        Ok(enrolled)
    };
    let enrolled = terminal::block_on(contact)?;
    give_to_owner(&config.state);
    say(&enrolled, json);
    Ok(())
}

fn say(enrolled: &Enrolled, json: bool) {
    let binding = &enrolled.binding;
    let (site, agent) = (&enrolled.enrolment.site, enrolled.enrolment.agent);
    if json {
        terminal::say_json(
            &json!({ "site": site, "agent": agent, "binding": binding.layer.as_str(), "outer": binding.outer }),
        );
        return;
    }
    let mut text = format!("Enrolled: this is agent {agent} of site {site}.\n");
    if binding.layer == Layer::Inner {
        let issuer = binding.outer.as_ref().map_or("an unknown authority", |outer| outer.issuer.as_str());
        let _ = writeln!(
            text,
            "TLS IS INSPECTED: something between agent and relay opens the TLS connection, with a certificate of \
             “{issuer}”. All went through a TLS session inside, which it can't open."
        );
    }
    text.push_str("Start it with `systemctl start outhaul-agent`, or by hand with `outhaul-agent run`.");
    terminal::say(&text);
}

fn report(fault: &EnrolFault) -> Report {
    let exit = match fault {
        EnrolFault::Already(_) => Exit::CannotCreate,
        EnrolFault::Tls(_) => Exit::Config,
        EnrolFault::Store(fault) => return fault.report(),
        EnrolFault::Connect(ConnectFault::Refused(_)) => Exit::Permission,
        EnrolFault::Connect(ConnectFault::Distrust(_)) => Exit::Protocol,
        EnrolFault::Connect(_) => Exit::Unavailable,
    };
    Report::from_error(exit, fault)
}
