//! Networks of addresses.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A network, as in `10.0.0.0/8` or `fd12:3456::/32`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(pub IpNet);

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkFault {
    /// Not an address with a length.
    #[error("“{0}” is no network: write an address and a length, as in \"10.0.0.0/8\", or one address")]
    Form(String),
    /// It names an address inside.
    #[error("“{given}” is an address within a network: write \"{meant}\" for all of it")]
    Inside {
        /// What was written.
        given: String,
        /// The network that holds it.
        meant: IpNet,
    },
}

impl FromStr for Network {
    type Err = NetworkFault;
    fn from_str(text: &str) -> Result<Self, NetworkFault> {
        let shown = || text.chars().take(80).collect::<String>();
        let alone = || text.parse::<IpAddr>().map(IpNet::from);
        let network: IpNet = text.parse().or_else(|_| alone().map_err(|_| NetworkFault::Form(shown())))?;
        if network != network.trunc() {
            return Err(NetworkFault::Inside { given: shown(), meant: network.trunc() });
        }
        Ok(Self(network))
    }
}

crate::read_as_text!(Network);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_read() {
        for (text, shown) in [("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128"), ("127.0.0.1", "127.0.0.1/32")]
        {
            assert_eq!(text.parse::<Network>().unwrap().0.to_string(), shown);
        }
        assert!("10.0.0.1/8".parse::<Network>().unwrap_err().to_string().contains("\"10.0.0.0/8\""));
        for bad in ["", "10.0.0.0/33", "10.0.0", "localhost", "10.0.0.0/", "/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
