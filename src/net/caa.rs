//! CAA records, asked of a resolver: the system's, or one that is named. What they mean is no matter of this room.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

/// One record as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaRecord {
    /// Its critical flag.
    pub critical: bool,
    /// Its property tag.
    pub tag: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// Why nothing is known of a name's records. An authority that hears this must not issue (RFC 8659 section 6.2).
#[derive(Debug, thiserror::Error)]
pub enum CaaFault {
    /// No resolver can be asked.
    #[error("this machine's resolver configuration can't be used: {0}")]
    Resolver(String),
    /// Not a name.
    #[error("“{0}” is no host name")]
    Name(String),
    /// The resolver does not answer, or not well.
    #[error("the CAA records of {name} can't be looked up: {error}")]
    Lookup {
        /// The name asked for.
        name: String,
        /// What the resolver says.
        error: String,
    },
}

/// Asks for CAA records. Remembers nothing from one to the next.
pub struct CaaResolver(TokioResolver);

impl CaaResolver {
    /// By the system's resolver, or by this one.
    pub fn new(server: Option<SocketAddr>) -> Result<Self, CaaFault> {
        let fault = |error: &dyn std::fmt::Display| CaaFault::Resolver(error.to_string());
        let mut builder = match server {
            None => TokioResolver::builder_tokio().map_err(|error| fault(&error))?,
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.timeout = PATIENCE;
        options.attempts = 2;
        builder.build().map(Self).map_err(|error| fault(&error))
    }

    /// The records at this name; none is an answer too. An alias is followed, as the resolver does.
    pub async fn records(&self, name: &str) -> Result<Vec<CaaRecord>, CaaFault> {
        // With a dot at its end: no search domains.
        let full = Name::from_ascii(format!("{}.", name.trim_end_matches('.')))
            .map_err(|_| CaaFault::Name(name.to_owned()))?;
        match self.0.lookup(full, RecordType::CAA).await {
            Ok(found) => {
                let records = found.answers().iter().filter_map(|record| match &record.data {
                    RData::CAA(caa) => Some(CaaRecord {
                        critical: caa.issuer_critical,
                        tag: caa.tag.clone(),
                        value: caa.value.clone(),
                    }),
                    _ => None,
                });
                Ok(records.collect())
            }
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(CaaFault::Lookup { name: name.to_owned(), error: error.to_string() }),
        }
    }
}

impl std::fmt::Debug for CaaResolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CaaResolver")
    }
}

const PATIENCE: Duration = Duration::from_secs(3);
