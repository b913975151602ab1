//! The PROXY protocol, versions 1 and 2: how a balancer says where a connection really comes from.
//!
//! A header is believed only when it comes from a trusted address; from anywhere else it is not read at all.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ppp::v2::Command;
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::users::Network;

/// The longest header of version 1 with its line end (PROXY protocol, section 2.1).
const LONGEST_V1: usize = 107;

/// The bytes of a header of version 2 before what its length counts (section 2.2).
const FIXED_V2: usize = 16;

/// The longest header of version 2 that is read: addresses, and more than balancers add to them.
const LONGEST_V2: usize = 16 * 1024;

/// How long a client that may come without a header may stay silent. A balancer sends the header at once, and some clients
/// wait for the server's greeting before they say anything.
const SILENCE: Duration = Duration::from_secs(1);

/// Whose PROXY headers are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxyProtocol {
    /// Nobody's.
    #[default]
    Off,
    /// Those of these addresses, which may also connect without one. Everybody else connects without one.
    Optional(Vec<Network>),
    /// Those of these addresses; every other connection is refused.
    Required(Vec<Network>),
    /// As [`ProxyProtocol::Optional`], but what they say is not used: a balancer can be changed over while connections come with and
    /// without them.
    Ignored(Vec<Network>),
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyStart {
    /// A header of so many bytes; the client's address, if it names one. It names none for the balancer's own connections
    /// (`UNKNOWN`, `LOCAL`) and for families that are no IP.
    Header {
        /// Its length in bytes.
        length: usize,
        /// The client's address and port.
        source: Option<SocketAddr>,
    },
    /// The beginning of a header.
    Partial,
    /// Anything else.
    NoHeader,
    /// It begins like a header and is none; why.
    Invalid(&'static str),
}

impl ProxyStart {
    /// Looks at the first bytes of a connection.
    pub fn of(bytes: &[u8]) -> ProxyStart {
        if begins(bytes, v2::PROTOCOL_PREFIX) {
            second_version(bytes)
        } else if begins(bytes, b"PROXY ") {
            first_version(bytes)
        } else {
            ProxyStart::NoHeader
        }
    }
}

/// Whether one is the beginning of the other.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    let common = bytes.len().min(prefix.len());
    bytes.get(..common) == prefix.get(..common)
}

fn first_version(bytes: &[u8]) -> ProxyStart {
    let within = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < LONGEST_V1 {
            true => ProxyStart::Partial,
            false => ProxyStart::Invalid("a PROXY header of version 1 has at most 107 bytes"),
        };
    };
    let length = end + 2;
    let source = match v1::Header::try_from(within.get(..length).unwrap_or_default()) {
        Ok(header) => match header.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(tcp) => Some(SocketAddr::new(tcp.source_address.into(), tcp.source_port)),
            v1::Addresses::Tcp6(tcp) => Some(SocketAddr::new(tcp.source_address.into(), tcp.source_port)),
        },
        Err(_) => return ProxyStart::Invalid("the PROXY header of version 1 cannot be read"),
    };
    ProxyStart::Header { length, source }
}

fn second_version(bytes: &[u8]) -> ProxyStart {
    let Some(declared) = bytes.get(FIXED_V2 - 2..FIXED_V2) else { return ProxyStart::Partial };
    let declared = declared.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let length = FIXED_V2 + declared;
    if length > LONGEST_V2 {
        return ProxyStart::Invalid("the PROXY header of version 2 is longer than 16 KiB");
    }
    let Some(header) = bytes.get(..length) else { return ProxyStart::Partial };
    let source = match v2::Header::try_from(header) {
        Ok(header) if header.command == Command::Local => None,
        Ok(header) => match header.addresses {
            v2::Addresses::IPv4(ip) => Some(SocketAddr::new(ip.source_address.into(), ip.source_port)),
            v2::Addresses::IPv6(ip) => Some(SocketAddr::new(ip.source_address.into(), ip.source_port)),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        },
        Err(_) => return ProxyStart::Invalid("the PROXY header of version 2 cannot be read"),
    };
    ProxyStart::Header { length, source }
}

/// How a connection that is taken begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// Where it comes from.
    pub(super) source: SocketAddr,
    /// What was read and is the client's.
    pub(super) rest: Vec<u8>,
    /// What became of a header of version 2, if one came: `applied` or `ignored`.
    pub(super) header: Option<&'static str>,
}

impl Opening {
    /// Without a header.
    fn plain(source: SocketAddr, rest: Vec<u8>) -> Opening {
        Opening { source, rest, header: None }
    }
}

/// Why a connection is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unopened {
    /// It ended without a byte: a health check.
    Silent,
    /// The `reason` and the `message` of its CONNECTION_REJECTED.
    Refused(&'static str, String),
}

impl ProxyProtocol {
    /// Whether it is a balancer's header that says where a connection of this peer comes from.
    pub(super) fn expects_header(&self, peer: IpAddr) -> bool {
        match self {
            ProxyProtocol::Required(networks) | ProxyProtocol::Optional(networks) => {
                networks.iter().any(|network| network.contains(peer))
            }
            ProxyProtocol::Ignored(_) | ProxyProtocol::Off => false,
        }
    }

    /// Reads the header, if one is read from `peer`.
    ///
    /// # Errors
    /// Why the connection cannot be taken.
    pub(super) async fn open<S>(&self, socket: &mut S, peer: SocketAddr) -> Result<Opening, Unopened>
    where
        S: AsyncRead + Unpin,
    {
        let trusted = |networks: &[Network]| networks.iter().any(|network| network.contains(peer.ip()));
        match self {
            ProxyProtocol::Required(networks) if trusted(networks) => read_header(socket, peer, true).await,
            ProxyProtocol::Required(_) => Err(Unopened::Refused(
                "proxy-source-not-trusted",
                "connections come through a balancer, and this one comes from an address that is none".into(),
            )),
            ProxyProtocol::Optional(networks) if trusted(networks) => read_header(socket, peer, false).await,
            ProxyProtocol::Ignored(networks) if trusted(networks) => {
                let opening = read_header(socket, peer, false).await?;
                Ok(Opening { source: peer, header: opening.header.map(|_| "ignored"), ..opening })
            }
            ProxyProtocol::Optional(_) | ProxyProtocol::Ignored(_) | ProxyProtocol::Off => {
                Ok(Opening::plain(peer, Vec::new()))
            }
        }
    }
}

async fn read_header<S>(socket: &mut S, peer: SocketAddr, required: bool) -> Result<Opening, Unopened>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = Vec::with_capacity(1024);
    loop {
        match ProxyStart::of(&bytes) {
            ProxyStart::Header { length, source } => {
                let rest = bytes.split_off(length);
                let header = bytes.starts_with(v2::PROTOCOL_PREFIX).then_some("applied");
                return Ok(Opening { source: source.unwrap_or(peer), rest, header });
            }
            ProxyStart::NoHeader if required => return Err(missing("the connection begins without a PROXY header")),
            ProxyStart::NoHeader => return Ok(Opening::plain(peer, bytes)),
            ProxyStart::Invalid(why) => return Err(Unopened::Refused("proxy-header-invalid", why.into())),
            ProxyStart::Partial => {}
        }
        let silent = bytes.is_empty();
        let reading = socket.read_buf(&mut bytes);
        let read = match silent && !required {
            true => match timeout(SILENCE, reading).await {
                Ok(read) => read,
                Err(_) => return Ok(Opening::plain(peer, Vec::new())),
            },
            false => reading.await,
        };
        match read {
            Ok(0) | Err(_) if silent => return Err(Unopened::Silent),
            Ok(0) | Err(_) => return Err(missing("the connection ended within its PROXY header")),
            Ok(_) => {}
        }
    }
}

fn missing(what: &str) -> Unopened {
    Unopened::Refused("proxy-header-missing", what.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &length, payload].concat()
    }

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn headers_of_both_versions_are_read_to_their_end() {
        let v4 = [[198, 51, 100, 7], [10, 0, 0, 1]].concat();
        let ports = [0xd4, 0x31, 0, 22];
        let mut v6 = [0u8; 32];
        v6[..2].copy_from_slice(&[0x20, 0x01]);
        v6[15] = 9;
        let tlv = [0x04, 0, 3, 1, 2, 3];
        for (header, source) in [
            (b"PROXY TCP4 198.51.100.7 10.0.0.1 54321 22\r\n".to_vec(), address("198.51.100.7:54321")),
            (b"PROXY TCP6 2001::9 ::1 54321 22\r\n".to_vec(), address("[2001::9]:54321")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ff:: ff:: 1 2\r\n".to_vec(), None),
            (v2(1, 0x11, &[&v4[..], &ports].concat()), address("198.51.100.7:54321")),
            (v2(1, 0x11, &[&v4[..], &ports, &tlv].concat()), address("198.51.100.7:54321")),
            (v2(1, 0x21, &[&v6[..], &ports].concat()), address("[2001::9]:54321")),
            (v2(0, 0x11, &[&v4[..], &ports].concat()), None),
            (v2(0, 0, &[]), None),
            (v2(1, 0x31, &[0; 216]), None),
        ] {
            let length = header.len();
            let whole = ProxyStart::Header { length, source };
            assert_eq!(ProxyStart::of(&header), whole, "{}", header.escape_ascii());
            assert_eq!(ProxyStart::of(&[&header[..], b"SSH-2.0-x\r\n"].concat()), whole);
            for cut in 0..length {
                assert_eq!(ProxyStart::of(&header[..cut]), ProxyStart::Partial, "{cut}: {}", header.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_header_is_told_from_what_is_a_wrong_one() {
        for other in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"GET / HTTP/1.1\r\n", b"PROXIES ", b"\r\n\r\nno", b"\0"] {
            assert_eq!(ProxyStart::of(other), ProxyStart::NoHeader, "{}", other.escape_ascii());
        }
        for wrong in [
            b"PROXY TCP4 198.51.100.7 10.0.0.1 54321\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.7 10.0.0.1 54321 65536\r\n".to_vec(),
            b"PROXY TCP4 2001::9 10.0.0.1 54321 22\r\n".to_vec(),
            b"PROXY UDP4 198.51.100.7 10.0.0.1 1 2\r\n".to_vec(),
            [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
            v2(2, 0x11, &[0; 12]),
            v2(1, 0x11, &[0; 11]),
            v2(1, 0x41, &[0; 300]),
            v2(1, 0x11, &[0; 20_000]),
        ] {
            let start = ProxyStart::of(&wrong);
            assert!(matches!(start, ProxyStart::Invalid(_)), "{start:?} {}", wrong.escape_ascii());
        }
    }

    fn balancer() -> Vec<Network> {
        vec![Network::parse("10.0.0.0/8").unwrap()]
    }

    /// What becomes of a connection from `peer` that sends `bytes` in two pieces.
    async fn opened(protocol: &ProxyProtocol, peer: &str, bytes: &[u8]) -> Result<Opening, Unopened> {
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let sending = async {
            far.write_all(first).await.unwrap();
            tokio::task::yield_now().await;
            far.write_all(second).await.unwrap();
            drop(far);
        };
        tokio::join!(protocol.open(&mut near, peer.parse().unwrap()), sending).0
    }

    #[tokio::test]
    async fn only_a_trusted_address_is_believed() {
        let header = b"PROXY TCP4 198.51.100.7 10.0.0.1 54321 22\r\nSSH-2.0-x";
        let (required, optional) = (ProxyProtocol::Required(balancer()), ProxyProtocol::Optional(balancer()));
        let through = Opening::plain("198.51.100.7:54321".parse().unwrap(), b"SSH-2.0-x".to_vec());
        for protocol in [&required, &optional] {
            assert_eq!(opened(protocol, "10.1.2.3:9", header).await.as_ref(), Ok(&through));
            assert_eq!(opened(protocol, "10.1.2.3:9", b"").await, Err(Unopened::Silent));
            for (bytes, reason) in
                [(&b"PROXY TC"[..], "proxy-header-missing"), (b"PROXY x\r\n", "proxy-header-invalid")]
            {
                let refused = opened(protocol, "10.1.2.3:9", bytes).await;
                assert!(matches!(&refused, Err(Unopened::Refused(why, _)) if *why == reason), "{refused:?}");
            }
        }
        let refused = opened(&required, "10.1.2.3:9", b"SSH-2.0-x\r\n").await;
        assert!(matches!(refused, Err(Unopened::Refused("proxy-header-missing", _))), "{refused:?}");
        let refused = opened(&required, "192.0.2.1:9", header).await;
        assert!(matches!(refused, Err(Unopened::Refused("proxy-source-not-trusted", _))), "{refused:?}");
        let direct = |peer: &str, rest: &[u8]| Ok(Opening::plain(peer.parse().unwrap(), rest.to_vec()));
        assert_eq!(opened(&optional, "10.1.2.3:9", b"SSH-2.0-x").await, direct("10.1.2.3:9", b"SSH-2.0-x"));
        // What an untrusted address sends stays unread, for the SSH library to refuse.
        assert_eq!(opened(&optional, "192.0.2.1:9", header).await, direct("192.0.2.1:9", b""));
        assert_eq!(opened(&ProxyProtocol::Off, "10.1.2.3:9", header).await, direct("10.1.2.3:9", b""));
    }

    #[tokio::test]
    async fn a_header_is_read_and_ignored_where_that_is_wanted() {
        let ignored = ProxyProtocol::Ignored(balancer());
        let addresses = [&[198, 51, 100, 7, 10, 0, 0, 1][..], &[0xd4, 0x31, 0, 22]].concat();
        let second = [&v2(1, 0x11, &addresses)[..], b"SSH-2.0-x"].concat();
        let first = b"PROXY TCP4 198.51.100.7 10.0.0.1 54321 22\r\nSSH-2.0-x";
        let from_peer =
            |header| Ok(Opening { source: "10.1.2.3:9".parse().unwrap(), rest: b"SSH-2.0-x".to_vec(), header });
        assert_eq!(opened(&ignored, "10.1.2.3:9", &second).await, from_peer(Some("ignored")));
        assert_eq!(opened(&ignored, "10.1.2.3:9", first).await, from_peer(None), "the field speaks of version 2");
        assert_eq!(opened(&ignored, "10.1.2.3:9", b"SSH-2.0-x").await, from_peer(None));
        let optional = opened(&ProxyProtocol::Optional(balancer()), "10.1.2.3:9", &second).await.unwrap();
        assert_eq!((optional.header, optional.source.ip().to_string()), (Some("applied"), "198.51.100.7".into()));
        let invalid = opened(&ignored, "10.1.2.3:9", b"PROXY x\r\n").await;
        assert!(matches!(invalid, Err(Unopened::Refused("proxy-header-invalid", _))), "{invalid:?}");
    }

    #[tokio::test]
    async fn a_silent_client_that_needs_no_header_is_greeted() {
        let (mut near, _far) = tokio::io::duplex(64);
        let peer = "10.0.0.1:9".parse().unwrap();
        let opening = ProxyProtocol::Optional(balancer()).open(&mut near, peer).await.unwrap();
        assert_eq!(opening, Opening::plain(peer, Vec::new()));
    }
}
