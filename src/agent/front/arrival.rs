//! How a request reached the agent, beside what HTTP itself says.

use crate::agent::policy::{Channel, Trust};
use crate::common::ids::RequestId;
use crate::tunnel::head::Scheme;

/// Which of the ways in a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// The relay ended the caller's TLS.
    Terminated,
    /// The caller's TLS ended here, under a name of this level.
    PassThrough(Channel),
}

impl Way {
    /// What is proved by coming this way.
    pub fn trust(self) -> Trust {
        match self {
            Self::Terminated => Trust { channel: Channel::Relay, ..Trust::default() },
            Self::PassThrough(channel) => Trust { channel, ..Trust::default() },
        }
    }
}

/// What the tunnel tells about a request; put into its extensions. A request without it is not served.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Given by the relay; repeated in every answer of ours and in the log.
    pub request_id: RequestId,
    /// The scheme the caller used.
    pub scheme: Scheme,
    /// Host and port as the caller wrote them.
    pub authority: String,
    /// Path and query as the caller wrote them, byte for byte.
    pub target: String,
    /// How many bytes of `target` led the relay to the site: `/s/{site}`, or none in host form.
    pub route_length: u16,
    /// The caller's address, as the relay claims it: no proof of anything.
    pub peer: String,
    /// Which way it came.
    pub way: Way,
}

impl Arrival {
    /// What of the target only led to the site.
    pub fn route(&self) -> &str {
        self.target.get(..usize::from(self.route_length)).unwrap_or("")
    }

    /// Whether the site is named by the host: then an upstream's own context path leads to it too.
    pub fn is_host_form(&self) -> bool {
        self.route_length == 0
    }
}
