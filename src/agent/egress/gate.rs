//! What every connection of every client passes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::metered::{Metered, Place};
use super::through::through_relay;
use super::{Inner, Way, lock};
use crate::common::host::HostPort;
use crate::common::report::{Exit, Report};
use crate::net::dial::{self, Purpose, Target};
use crate::net::http_client::{OpenFault, Opener, Stream};

/// One client's.
pub(super) struct Gate {
    pub(super) inner: Arc<Inner>,
    /// Its own way, if it has one.
    pub(super) way: Option<Way>,
    /// The hosts that its configuration names.
    pub(super) named: Vec<HostPort>,
}

impl Opener for Gate {
    fn open<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Box<dyn Stream>, OpenFault>> {
        Box::pin(async move {
            let host = HostPort::new(&target.host, target.port)
                .map_err(|fault| OpenFault::Closed(format!("{target} can't be reached: {fault}")))?;
            // A client may give up at any time; what it waited for is noted then, too.
            let mut watch = Watch { inner: &self.inner, host: &host, done: false };
            let opened = self.pass(target, &host).await;
            watch.done = true;
            match &opened {
                Ok(_) => lock(&self.inner.book).reached(&host),
                Err(fault) => {
                    let why = Report::from_error(Exit::Unavailable, fault).to_string();
                    note(&self.inner, &host, &why);
                }
            }
            opened
        })
    }
}

impl Gate {
    async fn pass(&self, target: &Target, host: &HostPort) -> Result<Box<dyn Stream>, OpenFault> {
        let inner = &self.inner;
        let settings = inner.settings.load_full();
        if !settings.allows(host, &self.named) {
            let to_do = if settings.allow.is_empty() {
                "no table of the configuration that asks hosts names it; name it there, or list it under [egress] allow"
            } else {
                "it is not listed under [egress] allow; list it there if it is meant to be reached"
            };
            return Err(OpenFault::Closed(format!("{host} is not reached: {to_do}")));
        }
        if settings
            .bytes_a_day
            .is_some_and(|limit| lock(&inner.day).used(inner.clock.unix_seconds()) >= limit.0)
        {
            return Err(OpenFault::Closed(format!(
                "{host} is not reached before midnight (UTC): [egress] bytes-a-day is used up; raise it if this is \
                 the normal load"
            )));
        }
        let Some(place) = Place::take(inner, settings.connections) else {
            return Err(OpenFault::Closed(format!(
                "{host} is not reached now: as many connections are open as [egress] connections allows"
            )));
        };
        let stream: Box<dyn Stream> = match self.way.unwrap_or(settings.way) {
            Way::Direct => Box::new(dial::dial(target, None, Purpose::Calls, CONNECT).await?),
            Way::Proxy => {
                let Some(proxy) = &inner.proxy else {
                    let text = format!("{host} is not reached: the way is a proxy, and [relay] names none");
                    return Err(OpenFault::Closed(text));
                };
                Box::new(dial::dial(target, Some(proxy), Purpose::Calls, CONNECT).await?)
            }
            Way::Relay => through_relay(inner, host).await?,
        };
        Ok(Box::new(Metered::new(stream, place)))
    }
}

/// Notes an attempt that was given up before it came to anything.
struct Watch<'a> {
    inner: &'a Inner,
    host: &'a HostPort,
    done: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.done {
            let why = format!(
                "{} did not take the connection in time: it may be down, or a firewall drops it",
                self.host
            );
            note(self.inner, self.host, &why);
        }
    }
}

fn note(inner: &Inner, host: &HostPort, why: &str) {
    if lock(&inner.book).failed(host, inner.clock.wall(), why) {
        tracing::warn!(%host, why, "a host on the internet is not reached");
    }
}

impl Place {
    /// One connection more, if there may be one.
    fn take(inner: &Arc<Inner>, at_most: u32) -> Option<Self> {
        let place = Self(Arc::clone(inner));
        // The guard counts even where there is no room: its drop takes the same one off again.
        (inner.open.fetch_add(1, Ordering::AcqRel) < at_most).then_some(place)
    }
}

/// For resolving and connecting.
const CONNECT: Duration = Duration::from_secs(10);
