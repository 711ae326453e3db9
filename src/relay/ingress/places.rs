//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections.
#[derive(Debug)]
pub(super) struct Places {
    taken: Mutex<Taken>,
    in_all: usize,
    per_address: u32,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by_address: HashMap<IpAddr, u32>,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Full {
    /// The relay has as many connections as it may.
    Relay,
    /// This address has as many as it may.
    Address,
}

impl Places {
    /// With these bounds.
    pub(super) fn new(in_all: usize, per_address: u32) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), in_all, per_address })
    }

    /// A place for a connection from this address.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let address = holder(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.in_all >= self.in_all {
            return Err(Full::Relay);
        }
        let count = taken.by_address.entry(address).or_default();
        if *count >= self.per_address {
            return Err(Full::Address);
        }
        *count += 1;
        taken.in_all += 1;
        drop(taken);
        Ok(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.in_all = taken.in_all.saturating_sub(1);
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// Who holds an address: in IPv6 one customer has a whole /64 (RFC 6177).
fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let places = Places::new(3, 2);
        let take = |address: &str| places.take(address.parse().unwrap());
        let first = take("192.0.2.1").unwrap();
        let _second = take("::ffff:192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").unwrap_err(), Full::Address);
        let third = take("2001:db8::1").unwrap();
        assert_eq!(take("192.0.2.2").unwrap_err(), Full::Relay);
        drop((first, third));
        let _fourth = take("2001:db8::2:1").unwrap();
        assert_eq!(places.taken.lock().unwrap().by_address.len(), 2);
        assert_eq!(holder("2001:db8::1".parse().unwrap()), holder("2001:db8::ffff".parse().unwrap()));
    }
}
