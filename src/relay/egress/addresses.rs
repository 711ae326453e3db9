//! Which addresses the relay reaches for a site: those of the public internet, and networks that the operator adds.
//!
//! Judged is what a name was resolved to, so a name says nothing and a lying DNS gains nothing. The tables follow the
//! IANA registries of special-purpose addresses (RFC 6890, RFC 8190).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Gives the address to dial, which is that of IPv4 where one is mapped into IPv6; or what kind of address it is that
/// is not dialled. `also`: networks that the operator permits beside the public ones.
pub(super) fn judge(address: IpAddr, also: &[IpNet]) -> Result<IpAddr, &'static str> {
    match address {
        IpAddr::V4(address) => ipv4(address, also).map(|()| address.into()),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(inner) => ipv4(inner, also).map(|()| inner.into()),
            None => ipv6(address, also).map(|()| address.into()),
        },
    }
}

/// Whether the operator permits this very address.
pub(super) fn is_listed(address: IpAddr, also: &[IpNet]) -> bool {
    also.iter().any(|network| network.contains(&address))
}

/// The address of IPv4 to which a translator (NAT64) carries what is sent to this one.
pub(super) fn translated(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

fn ipv4(address: Ipv4Addr, also: &[IpNet]) -> Result<(), &'static str> {
    if METADATA4.contains(&address) {
        return Err("a cloud's metadata service");
    }
    if is_listed(address.into(), also) {
        return Ok(());
    }
    let kind = SPECIAL4.iter().find(|(network, _)| network.contains(&address));
    kind.map_or(Ok(()), |(_, kind)| Err(kind))
}

fn ipv6(address: Ipv6Addr, also: &[IpNet]) -> Result<(), &'static str> {
    if METADATA6.contains(&address) {
        return Err("a cloud's metadata service");
    }
    let listed = is_listed(address.into(), also);
    if address.is_loopback() {
        return if listed { Ok(()) } else { Err("loopback") };
    }
    // What leads into IPv4 is judged as that, or not dialled: no list of IPv6 networks opens a way around.
    if let Some(inner) = translated(address.into()) {
        return ipv4(inner, also);
    }
    if let Some((_, kind)) = EMBEDDED.iter().find(|(network, _)| network.contains(&address)) {
        return Err(kind);
    }
    // RFC 5214, section 6.1: an IPv4 address behind 00-00-5E-FE or 02-00-5E-FE.
    let [.., five, six, _, _] = address.segments();
    if matches!(five, 0 | 0x200) && six == 0x5efe {
        return Err("ISATAP");
    }
    if listed {
        return Ok(());
    }
    if let Some((_, kind)) = SPECIAL6.iter().find(|(network, _)| network.contains(&address)) {
        return Err(kind);
    }
    if GLOBAL6.contains(&address) { Ok(()) } else { Err("not a public address") }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(first: u16, second: u16, third: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0), length)
}

/// Never dialled, whatever the operator permits: what answers there hands out the machine's own rights. Amazon,
/// Google, Azure, Oracle, Alibaba.
pub(super) const METADATA4: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(100, 100, 100, 200),
];

/// The same with IPv6: Amazon (two) and Google.
pub(super) const METADATA6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

pub(super) const SPECIAL4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "“this network”"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "shared (carrier-grade NAT)"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "reserved for protocols"),
    (v4(192, 0, 2, 0, 24), "for documentation"),
    (v4(192, 88, 99, 0, 24), "6to4"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "for benchmarks"),
    (v4(198, 51, 100, 0, 24), "for documentation"),
    (v4(203, 0, 113, 0, 24), "for documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved, or broadcast"),
];

/// RFC 6052, section 2.1: the address of IPv4 stands in the last four bytes.
pub(super) const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Further forms with an address of IPv4 inside. No public service has one; the loopback address is told before.
pub(super) const EMBEDDED: &[(Ipv6Net, &str)] = &[
    (v6(0, 0, 0, 96), "unspecified, or IPv4-compatible"),
    (Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96), "IPv4-translated"),
    (v6(0x64, 0xff9b, 1, 48), "a local NAT64 prefix"),
    (v6(0x2001, 0, 0, 32), "Teredo"),
    (v6(0x2002, 0, 0, 16), "6to4"),
];

/// All that is handed out to networks; what lies outside is special, or nothing yet.
pub(super) const GLOBAL6: Ipv6Net = v6(0x2000, 0, 0, 3);

pub(super) const SPECIAL6: &[(Ipv6Net, &str)] = &[
    (v6(0x100, 0, 0, 64), "discarded"),
    (v6(0x2001, 0, 0, 23), "reserved for protocols, or for benchmarks"),
    (v6(0x2001, 0xdb8, 0, 32), "for documentation"),
    (v6(0x3fff, 0, 0, 20), "for documentation"),
    (v6(0xfc00, 0, 0, 7), "unique-local"),
    (v6(0xfe80, 0, 0, 10), "link-local"),
    (v6(0xfec0, 0, 0, 10), "site-local"),
    (v6(0xff00, 0, 0, 8), "multicast"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every form in which an address of IPv4 can stand in one of IPv6.
    fn embeddings(inner: Ipv4Addr) -> Vec<Ipv6Addr> {
        let [a, b, c, d] = inner.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        let v6 = Ipv6Addr::new;
        vec![
            v6(0, 0, 0, 0, 0, 0xffff, high, low),
            v6(0, 0, 0, 0, 0, 0, high, low),
            v6(0, 0, 0, 0, 0xffff, 0, high, low),
            v6(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            v6(0x64, 0xff9b, 1, 0, 0, 0, high, low),
            v6(0x64, 0xff9b, 1, high, low >> 8, low << 8, 0, 0),
            v6(0x2002, high, low, 0, 0, 0, 0, 1),
            v6(0x2001, 0, high, low, 0, 0, 0xffff, 0xffff),
            v6(0x2001, 0, 0x0101, 0x0101, 0, 0, !high, !low),
            v6(0x2a00, 1, 2, 3, 0, 0x5efe, high, low),
            v6(0x2a00, 1, 2, 3, 0x200, 0x5efe, high, low),
            v6(0xfe80, 0, 0, 0, 0, 0x5efe, high, low),
        ]
    }

    fn judged(text: &str, also: &[&str]) -> Result<IpAddr, &'static str> {
        let also: Vec<IpNet> = also.iter().map(|network| network.parse().unwrap()).collect();
        judge(text.parse().unwrap(), &also)
    }

    #[test]
    fn the_internet_is_reached() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "20.190.160.1",
            "100.63.255.255",
            "100.128.0.0",
            "126.1.1.1",
            "128.0.0.1",
            "169.253.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "192.169.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a01:111:f400::1",
            "2001:4860::8888",
            "2003::1",
            "2600::1",
        ] {
            assert_eq!(judged(text, &[]), Ok(text.parse().unwrap()), "{text}");
        }
        assert_eq!(judged("::ffff:1.1.1.1", &[]), Ok("1.1.1.1".parse().unwrap()), "dialled as what it is");
        assert!(judged("64:ff9b::1.1.1.1", &[]).is_ok(), "a relay behind NAT64 reaches the internet so");
    }

    #[test]
    fn each_kind_of_address_is_refused_by_its_name() {
        for (text, kind) in [
            ("0.0.0.0", "this network"),
            ("0.1.2.3", "this network"),
            ("10.0.0.1", "private"),
            ("100.64.0.1", "shared"),
            ("100.127.255.255", "shared"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("169.254.1.1", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.8", "protocols"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.0.1", "private"),
            ("198.18.0.1", "benchmarks"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::a00:1", "IPv4-compatible"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:0:10.0.0.1", "IPv4-translated"),
            ("64:ff9b::10.0.0.1", "private"),
            ("64:ff9b:1::1", "NAT64"),
            ("100::1", "discarded"),
            ("2001::1", "Teredo"),
            ("2001:2::1", "benchmarks"),
            ("2001:10::1", "protocols"),
            ("2001:db8::1", "documentation"),
            ("2002:101:101::1", "6to4"),
            ("3fff::1", "documentation"),
            ("fc00::1", "unique-local"),
            ("fdff::1", "unique-local"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("5f00::1", "not a public"),
            ("4000::1", "not a public"),
            ("2a00::200:5efe:101:101", "ISATAP"),
        ] {
            let refused = judged(text, &[]).expect_err(text);
            assert!(refused.contains(kind), "{text}: {refused}");
        }
    }

    #[test]
    fn a_listed_network_opens_that_network_and_no_way_around() {
        assert!(judged("10.1.2.3", &["10.1.0.0/16"]).is_ok());
        assert!(judged("::ffff:10.1.2.3", &["10.1.0.0/16"]).is_ok());
        assert!(judged("10.2.2.3", &["10.1.0.0/16"]).is_err());
        assert!(judged("::1", &["127.0.0.0/8"]).is_err());
        assert!(judged("::1", &["::1/128"]).is_ok());
        assert!(judged("fd12::1", &["fd12::/16"]).is_ok());
        // A whole family: still no metadata, and no other family's private networks inside.
        let all6 = ["::/0"];
        for inner in ["10.0.0.1", "127.0.0.1", "192.168.1.1", "169.254.169.254"] {
            for address in embeddings(inner.parse().unwrap()) {
                assert!(judged(&address.to_string(), &all6).is_err(), "{address}");
            }
        }
    }

    #[test]
    fn metadata_services_are_never_reached() {
        for inner in METADATA4 {
            for also in [&[][..], &["0.0.0.0/0", "::/0"]] {
                assert!(judged(&inner.to_string(), also).is_err());
                for address in embeddings(*inner) {
                    assert!(judged(&address.to_string(), also).is_err(), "{address}");
                }
            }
        }
        for address in METADATA6 {
            assert!(judged(&address.to_string(), &["::/0"]).is_err());
        }
    }

    fn inside4() -> impl Strategy<Value = Ipv4Addr> {
        (0..SPECIAL4.len(), any::<u32>()).prop_map(|(index, bits)| {
            let network = SPECIAL4[index].0;
            Ipv4Addr::from(u32::from(network.network()) | (bits & u32::from(network.hostmask())))
        })
    }

    fn inside6() -> impl Strategy<Value = Ipv6Addr> {
        let all: Vec<Ipv6Net> = SPECIAL6.iter().chain(EMBEDDED).map(|(network, _)| *network).collect();
        (0..all.len(), any::<u128>()).prop_map(move |(index, bits)| {
            let network = all[index];
            Ipv6Addr::from(u128::from(network.network()) | (bits & u128::from(network.hostmask())))
        })
    }

    proptest! {
        #[test]
        fn no_special_address_passes_in_any_embedding(address in inside4()) {
            prop_assert!(judge(address.into(), &[]).is_err(), "{}", address);
            for embedded in embeddings(address) {
                prop_assert!(judge(embedded.into(), &[]).is_err(), "{}", embedded);
            }
        }

        #[test]
        fn no_special_address_of_ipv6_passes(address in inside6()) {
            prop_assert!(judge(address.into(), &[]).is_err(), "{}", address);
        }

        #[test]
        fn outside_of_the_global_range_only_nat64_passes(bits in any::<u128>()) {
            let address = Ipv6Addr::from(bits);
            let passes = judge(address.into(), &[]).is_ok();
            prop_assert!(!passes || GLOBAL6.contains(&address) || address.to_ipv4_mapped().is_some(), "{}", address);
        }

        /// The standard library's own idea of what is not public is never wider than ours.
        #[test]
        fn what_the_standard_library_calls_special_does_not_pass(bits in any::<u32>()) {
            let address = Ipv4Addr::from(bits);
            let special = address.is_private() || address.is_loopback() || address.is_link_local()
                || address.is_broadcast() || address.is_documentation() || address.is_multicast()
                || address.is_unspecified();
            prop_assert!(!special || judge(address.into(), &[]).is_err(), "{}", address);
        }
    }
}
