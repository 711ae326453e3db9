//! What the admin socket may do with the way out.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};

use super::stamp;
use crate::agent::admin::Answer;
use crate::agent::admin::egress::{EgressDesk, Reached};
use crate::agent::admin::status::{EgressStatus, UnreachedStatus};
use crate::agent::egress::{Clients, Way};
use crate::common::clock::Clock;
use crate::common::limits::ByteSize;
use crate::common::report::{Exit, Report};
use crate::net::http_client::Bounds;
use crate::net::local::Refused;

/// The agent's way to the internet.
pub struct EgressRoom {
    clients: Clients,
    clock: Clock,
}

impl EgressRoom {
    /// For these clients.
    pub fn new(clients: Clients, clock: Clock) -> Self {
        Self { clients, clock }
    }

    /// For `status`.
    pub fn status(&self) -> EgressStatus {
        let state = self.clients.state();
        EgressStatus {
            way: state.way.as_str().to_owned(),
            connections: state.connections,
            bytes_today: state.bytes_today,
            unreached: state
                .unreached
                .into_iter()
                .map(|entry| UnreachedStatus {
                    host: entry.target.to_string(),
                    since: stamp(entry.at),
                    why: entry.why,
                })
                .collect(),
        }
    }
}

impl EgressDesk for EgressRoom {
    fn test<'a>(&'a self, url: &'a str, way: Option<&'a str>) -> Answer<'a, Reached> {
        Box::pin(async move {
            let wrong = |text: String| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, text);
            let way: Option<Way> = way
                .map(str::parse)
                .transpose()
                .map_err(|fault: crate::agent::egress::WayFault| wrong(fault.to_string()))?;
            let client = self
                .clients
                .for_trial(way)
                .map_err(|fault| wrong(Report::from_error(Exit::Config, &fault).to_string()))?;
            let request = Request::get(url).body(Bytes::new());
            let request =
                request.map_err(|_| wrong(format!("“{url}” is no URL: write https://HOST/PATH")))?;
            let begun = self.clock.now();
            let answer = client.ask(request, BOUNDS).await.map_err(|fault| {
                let text = Report::from_error(Exit::Unavailable, &fault).to_string();
                Refused::new(StatusCode::SERVICE_UNAVAILABLE, text)
            })?;
            let took = self.clock.now().saturating_duration_since(begun);
            Ok(Reached {
                url: url.to_owned(),
                way: way.unwrap_or_else(|| self.clients.state().way).as_str().to_owned(),
                status: answer.status().as_u16(),
                bytes: answer.body().len(),
                milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            })
        })
    }
}

/// Shorter than the command line waits.
const BOUNDS: Bounds = Bounds { answer: ByteSize::mib(4), within: Duration::from_secs(25) };
