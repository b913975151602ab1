//! The source of a connection before a login: an address, and the network around it.

use std::net::{IpAddr, Ipv6Addr};

/// What is counted as one source: an IPv4 address, or the 64 bits of an IPv6 address that a customer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source that an address belongs to.
    pub fn of(address: IpAddr) -> Source {
        Source(first_bits(address, 32, 64))
    }

    /// Its address, or the first of its addresses.
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// Its neighbourhood.
    pub(super) fn network(self) -> Neighbourhood {
        Neighbourhood(first_bits(self.0, 24, 48))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = if self.0.is_ipv6() { "/64" } else { "" };
        write!(f, "{}{width}", self.0)
    }
}

/// What one customer of a provider may have many sources in: 256 IPv4 addresses (a /24), or the first 48 bits of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Neighbourhood(IpAddr);

fn first_bits(address: IpAddr, of_v4: u32, of_v6: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() & (u32::MAX << (32 - of_v4))).into()),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - of_v6))).into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_their_neighbourhoods() {
        for (address, source, network) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.0"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::"),
        ] {
            let found = Source::of(address.parse().unwrap());
            assert_eq!(found.to_string(), source);
            assert_eq!(found.network(), Neighbourhood(network.parse().unwrap()), "{address}");
        }
    }
}
