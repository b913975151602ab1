//! The KEXINIT reader: what both sides offered and what follows from it.
//!
//! The library tells nobody what it negotiated, so the cleartext start of a connection is read along: both version lines
//! and both first KEXINIT packets (RFC 4253 sections 4.2, 6 and 7.1). The rule of selection is then the library's own: the
//! first name of the client that the server has too.

use base16ct::lower::encode_string;
use md5::{Digest as _, Md5};

use crate::audit::Algorithms;

/// The longest version line, with its end (RFC 4253 section 4.2).
const MAX_VERSION_LINE: usize = 255;

/// Lines that may come before the version line are skipped, up to this many bytes in all.
const MAX_BEFORE_VERSION: usize = 8 * 1024;

/// The longest packet that is read along (RFC 4253 section 6.1).
const MAX_PACKET: usize = 35_000;

/// The message number of KEXINIT.
const KEXINIT: u8 = 20;

/// SSH_MSG_IGNORE, SSH_MSG_UNIMPLEMENTED and SSH_MSG_DEBUG, which may come before KEXINIT and say nothing (RFC 4253 section 11).
const SKIPPED: [u8; 3] = [2, 3, 4];

/// Reads one direction of a connection up to its first KEXINIT. It keeps at most one line or packet and is done for good after
/// either the packet or bytes that cannot be one. Messages that say nothing are passed over, however many: a client that sent one
/// more than a limit would hide what it offers. Whoever sends them without end has no longer than the time to log in.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    skipped: usize,
    version: Option<String>,
    outcome: Option<Option<KexInit>>,
}

/// The name lists of a KEXINIT packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KexInit {
    /// `kex_algorithms`.
    pub kex: Vec<String>,
    /// `server_host_key_algorithms`.
    pub host_keys: Vec<String>,
    /// `encryption_algorithms_client_to_server` and `…_server_to_client`.
    pub ciphers: (Vec<String>, Vec<String>),
    /// `mac_algorithms_…`.
    pub macs: (Vec<String>, Vec<String>),
    /// `compression_algorithms_…`.
    pub compression: (Vec<String>, Vec<String>),
}

impl Reader {
    /// Takes the next bytes of this direction.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.outcome.is_none() {
            let rest = match self.version {
                None => self.take_line(bytes),
                Some(_) => self.take_packet(bytes),
            };
            bytes = rest;
        }
    }

    /// The version line without its end, once it has come.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The KEXINIT, once it has come.
    pub fn kexinit(&self) -> Option<&KexInit> {
        self.outcome.as_ref().and_then(Option::as_ref)
    }

    /// Whether nothing more can come of further bytes.
    pub fn is_done(&self) -> bool {
        self.outcome.is_some()
    }

    fn give_up(&mut self) {
        self.outcome = Some(None);
        self.buffer = Vec::new();
    }

    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        self.buffer.extend_from_slice(&part[..part.len().min(MAX_VERSION_LINE + 1)]);
        if self.buffer.len() > MAX_VERSION_LINE {
            self.give_up();
            return &[];
        }
        if end.is_none() {
            return rest;
        }
        let line = std::mem::take(&mut self.buffer);
        if line.starts_with(b"SSH-") {
            let text = String::from_utf8_lossy(&line);
            self.version = Some(text.trim_end_matches(['\r', '\n']).to_owned());
        } else {
            self.skipped += line.len();
            if self.skipped > MAX_BEFORE_VERSION {
                self.give_up();
            }
        }
        rest
    }

    fn take_packet<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let wanted = match packet_length(&self.buffer) {
            None => 4,
            Some(length) if length > MAX_PACKET => {
                self.give_up();
                return &[];
            }
            Some(length) => 4 + length,
        };
        let (part, rest) = bytes.split_at(bytes.len().min(wanted.saturating_sub(self.buffer.len())));
        self.buffer.extend_from_slice(part);
        if self.buffer.len() == wanted && wanted > 4 {
            let packet = std::mem::take(&mut self.buffer);
            let payload = payload_of(&packet[4..]);
            if !payload.is_some_and(|payload| payload.first().is_some_and(|number| SKIPPED.contains(number))) {
                self.outcome = Some(payload.and_then(KexInit::parse));
            }
        } else if self.buffer.len() == 4 && packet_length(&self.buffer) == Some(0) {
            self.give_up();
        }
        rest
    }
}

fn packet_length(buffer: &[u8]) -> Option<usize> {
    let head: [u8; 4] = buffer.get(..4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(head)).ok()
}

/// The payload of an unencrypted packet behind its length: padding length, payload, padding (RFC 4253 section 6).
fn payload_of(packet: &[u8]) -> Option<&[u8]> {
    let (padding, rest) = packet.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

impl KexInit {
    /// Parses a payload: message number, 16 bytes of cookie, ten name lists, a flag and a reserved number. `None` for anything
    /// else.
    pub fn parse(payload: &[u8]) -> Option<KexInit> {
        let mut rest = payload.strip_prefix(&[KEXINIT])?.get(16..)?;
        let mut lists = Vec::with_capacity(10);
        for _ in 0..10 {
            let (list, after) = name_list(rest)?;
            lists.push(list);
            rest = after;
        }
        let mut lists = lists.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        Some(KexInit {
            kex: next(),
            host_keys: next(),
            ciphers: (next(), next()),
            macs: (next(), next()),
            compression: (next(), next()),
        })
    }

    /// HASSH: the MD5 of the client's lists, client to server, as text.
    pub fn hassh(&self) -> String {
        md5_of_lists([&self.kex, &self.ciphers.0, &self.macs.0, &self.compression.0])
    }

    /// The HASSH of a server: as [`KexInit::hassh`] of its lists, server to client.
    pub fn hassh_of_server(&self) -> String {
        md5_of_lists([&self.kex, &self.ciphers.1, &self.macs.1, &self.compression.1])
    }
}

fn md5_of_lists(lists: [&Vec<String>; 4]) -> String {
    let text = lists.map(|list| list.join(",")).join(";");
    encode_string(&Md5::digest(text.as_bytes()))
}

/// Splits a name-list (RFC 4251 section 5) off the front.
fn name_list(bytes: &[u8]) -> Option<(Vec<String>, &[u8])> {
    let length = packet_length(bytes)?;
    let list = bytes.get(4..4usize.checked_add(length)?)?;
    let text = std::str::from_utf8(list).ok()?;
    let names = if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect() };
    Some((names, &bytes[4 + length..]))
}

/// Which list had no common name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCommon {
    /// Key exchange methods.
    Kex,
    /// Host key algorithms.
    HostKey,
    /// Ciphers.
    Cipher,
    /// MACs.
    Mac,
    /// Compression.
    Compression,
}

impl NoCommon {
    /// The word for machines.
    pub fn reason(self) -> &'static str {
        match self {
            NoCommon::Kex => "no-common-kex",
            NoCommon::HostKey => "no-common-host-key",
            NoCommon::Cipher => "no-common-cipher",
            NoCommon::Mac => "no-common-mac",
            NoCommon::Compression => "no-common-compression",
        }
    }

    /// The list of a client that this is about; of ciphers and the like, client to server.
    pub fn list_of(self, client: &KexInit) -> &[String] {
        match self {
            NoCommon::Kex => &client.kex,
            NoCommon::HostKey => &client.host_keys,
            NoCommon::Cipher => &client.ciphers.0,
            NoCommon::Mac => &client.macs.0,
            NoCommon::Compression => &client.compression.0,
        }
    }

    /// The sentence of Transfer Family's KEX_FAILURE and of OpenSSH's log.
    pub fn message(self) -> &'static str {
        match self {
            NoCommon::Kex => "no matching key exchange method found",
            NoCommon::HostKey => "no matching host key type found",
            NoCommon::Cipher => "no matching cipher found",
            NoCommon::Mac => "no matching MAC found",
            NoCommon::Compression => "no matching compression method found",
        }
    }
}

/// What the two offers come to.
///
/// # Errors
/// The first list without a common name.
pub fn negotiate(client: &KexInit, server: &KexInit) -> Result<Algorithms, NoCommon> {
    let kex = first_common(&client.kex, &server.kex, is_marker).ok_or(NoCommon::Kex)?;
    let host_key = first_common(&client.host_keys, &server.host_keys, |_| false).ok_or(NoCommon::HostKey)?;
    // The library takes one cipher, from the client-to-server lists, for both directions.
    let cipher = first_common(&client.ciphers.0, &server.ciphers.0, |_| false).ok_or(NoCommon::Cipher)?;
    let mac = |client: &[String], server: &[String]| {
        if is_aead(&cipher) {
            return Ok("<implicit>".to_owned());
        }
        first_common(client, server, |_| false).ok_or(NoCommon::Mac)
    };
    let macs = (mac(&client.macs.0, &server.macs.0)?, mac(&client.macs.1, &server.macs.1)?);
    let compression =
        |client: &[String], server: &[String]| first_common(client, server, |_| false).ok_or(NoCommon::Compression);
    Ok(Algorithms {
        kex,
        ciphers: (cipher.clone(), cipher),
        macs,
        host_key,
        compression: (
            compression(&client.compression.0, &server.compression.0)?,
            compression(&client.compression.1, &server.compression.1)?,
        ),
        hassh: client.hassh(),
    })
}

fn first_common(client: &[String], server: &[String], skip: fn(&str) -> bool) -> Option<String> {
    client.iter().find(|name| !skip(name) && server.contains(name)).cloned()
}

/// Names in the key exchange list that are no methods.
fn is_marker(name: &str) -> bool {
    name.starts_with("ext-info-") || name.starts_with("kex-strict-")
}

/// Ciphers that authenticate by themselves.
fn is_aead(cipher: &str) -> bool {
    cipher.ends_with("-gcm@openssh.com") || cipher == "chacha20-poly1305@openssh.com"
}

#[cfg(test)]
#[path = "kexinit_tests.rs"]
mod tests;
