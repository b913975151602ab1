//! Networks that clients come from: `10.0.0.0/8`, `2001:db8::/32`, single addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A network, or a single address. An IPv4 address in IPv6 form (`::ffff:192.0.2.1`) is the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/BITS`. The address must be the network's first one, as in OpenSSH.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let example = "write an address or a network, as in 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32";
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| format!("this is not an IP address; {example}"))?;
        let whole = IpNet::from(address);
        let network = match bits {
            None => whole,
            Some(bits) => {
                let plain = bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
                let network = bits.parse().ok().filter(|_| plain).and_then(|bits| IpNet::new(address, bits).ok());
                let most = whole.max_prefix_len();
                network
                    .ok_or_else(|| format!("the number of bits after the slash must be from 0 to {most}; {example}"))?
            }
        };
        if network.trunc() != network {
            return Err(format!("the address has bits outside its network; write {}", network.trunc()));
        }
        Ok(Network(without_mapping(network)))
    }

    /// The networks of the machine itself.
    pub fn loopback() -> Vec<Network> {
        let v4 = IpNet::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8);
        let v6 = IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST));
        v4.into_iter().chain([v6]).map(Network).collect()
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn without_mapping(network: IpNet) -> IpNet {
    match network.addr().to_canonical() {
        address @ IpAddr::V4(_) if network.prefix_len() >= 96 && network.addr().is_ipv6() => {
            IpNet::new(address, network.prefix_len() - 96).unwrap_or(network)
        }
        _ => network,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_in_either_form() {
        for (network, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
            ("::1", "::1", "::2"),
            ("127.0.0.0/31", "127.0.0.1", "127.0.0.2"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_says_what_would_be_right() {
        for (wrong, words) in [
            ("", "not an IP address"),
            ("example.org", "not an IP address"),
            ("10.0.0", "not an IP address"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/+8", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("2001:db8::1/64", "write 2001:db8::/64"),
            (" 10.0.0.0/8", "not an IP address"),
        ] {
            let problem = Network::parse(wrong).unwrap_err();
            assert!(problem.contains(words), "{wrong:?}: {problem}");
        }
    }
}
