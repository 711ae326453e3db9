//! For whoever must look at addresses before they are dialled: the lookup and the connection apart, so that exactly
//! what was looked at is reached.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::net::TcpStream;

use super::race;

/// The addresses of a name, as the system's resolver gives them. The name counts as whole: no search list is tried.
/// A lookup can't be cancelled; a caller bounds how many it begins.
pub async fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let whole = format!("{name}.");
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in tokio::net::lookup_host((whole.as_str(), 0)).await? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    Ok(addresses)
}

/// Connects to the first of these addresses that takes the connection (RFC 8305), and to no other. The caller bounds
/// the time.
pub async fn connect_to(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let stream = race::connect(&race::interleave(addresses.iter().copied())).await?;
    super::prepare(&stream, super::Purpose::Calls);
    Ok(stream)
}

/// Whether an address is this machine's own, now.
pub fn is_own(address: IpAddr) -> bool {
    if !can_bind(address) {
        return false;
    }
    // Where the system lets programs bind to addresses that it does not have (`ip_nonlocal_bind`), that says nothing;
    // then the address from which it would reach itself tells.
    let nobodys: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    !can_bind(nobodys) || reaches_itself(address)
}

fn can_bind(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Nothing is sent: connecting a datagram socket only chooses a route.
fn reaches_itself(address: IpAddr) -> bool {
    let unspecified: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((unspecified, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_knows_its_own_addresses() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()) && reaches_itself(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_own(Ipv4Addr::new(192, 0, 2, 7).into()));
        assert!(!is_own(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into()));
    }
}
