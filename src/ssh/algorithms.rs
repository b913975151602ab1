//! Algorithms on offer: the security policies, their names, and what russh makes of them.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};

/// Algorithm names on offer, best first, as they stand in KEXINIT (RFC 4253 section 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlgorithmLists {
    /// Key exchange methods.
    pub kex: Vec<String>,
    /// Ciphers, both directions.
    pub ciphers: Vec<String>,
    /// MACs, both directions.
    pub macs: Vec<String>,
    /// Host key (and user key signature) algorithms.
    pub host_keys: Vec<String>,
}

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_GEX_SHA256,
    kex::DH_G14_SHA256,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

/// What a KEXINIT says besides methods: extension negotiation (RFC 8308) and strict key exchange (OpenSSH PROTOCOL 1.10).
const KEX_MARKERS: &[kex::Name] = &[kex::EXTENSION_SUPPORT_AS_SERVER, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER];

/// One security policy: its name and its four lists.
struct Policy {
    name: &'static str,
    kex: &'static [&'static str],
    ciphers: &'static [&'static str],
    macs: &'static [&'static str],
}

const ETM: &[&str] = &["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"];

/// Transfer Family's policies without the methods that no library here has (`mlkem768nistp256-sha256`,
/// `mlkem1024nistp384-sha384`).
const POLICIES: &[Policy] = &[
    Policy {
        name: "modern",
        kex: &[
            "mlkem768x25519-sha256",
            "curve25519-sha256",
            "curve25519-sha256@libssh.org",
            "diffie-hellman-group16-sha512",
            "diffie-hellman-group18-sha512",
            "diffie-hellman-group-exchange-sha256",
        ],
        ciphers: &[
            "aes256-gcm@openssh.com",
            "aes128-gcm@openssh.com",
            "chacha20-poly1305@openssh.com",
            "aes256-ctr",
            "aes192-ctr",
            "aes128-ctr",
        ],
        // The plain MACs are for libssh2 before 1.11 (Debian 12's curl), which has neither GCM nor EtM.
        macs: &["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"],
    },
    Policy {
        name: "transfer-2025-03",
        kex: &[
            "mlkem768x25519-sha256",
            "ecdh-sha2-nistp256",
            "ecdh-sha2-nistp384",
            "ecdh-sha2-nistp521",
            "curve25519-sha256",
            "curve25519-sha256@libssh.org",
            "diffie-hellman-group16-sha512",
            "diffie-hellman-group18-sha512",
            "diffie-hellman-group-exchange-sha256",
        ],
        ciphers: &["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes128-ctr", "aes256-ctr", "aes192-ctr"],
        macs: ETM,
    },
    Policy {
        name: "transfer-2024-01",
        kex: &[
            "ecdh-sha2-nistp256",
            "ecdh-sha2-nistp384",
            "ecdh-sha2-nistp521",
            "curve25519-sha256",
            "curve25519-sha256@libssh.org",
            "diffie-hellman-group18-sha512",
            "diffie-hellman-group16-sha512",
            "diffie-hellman-group-exchange-sha256",
        ],
        ciphers: &["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr", "aes192-ctr"],
        macs: ETM,
    },
    Policy {
        name: "ssh-audit",
        kex: &[
            "curve25519-sha256",
            "curve25519-sha256@libssh.org",
            "diffie-hellman-group18-sha512",
            "diffie-hellman-group16-sha512",
            "diffie-hellman-group-exchange-sha256",
        ],
        ciphers: &["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr", "aes192-ctr"],
        macs: ETM,
    },
];

/// Host key algorithms of every policy. SHA-1 `ssh-rsa` is not among them.
const HOST_KEYS: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

impl AlgorithmLists {
    /// The names of the security policies (`server.security_policy`).
    pub const POLICIES: &'static [&'static str] = &["modern", "transfer-2025-03", "transfer-2024-01", "ssh-audit"];

    /// The lists of a security policy; `None` for an unknown name.
    pub fn of_policy(name: &str) -> Option<AlgorithmLists> {
        let policy = POLICIES.iter().find(|policy| policy.name == name)?;
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Some(AlgorithmLists {
            kex: owned(policy.kex),
            ciphers: owned(policy.ciphers),
            macs: owned(policy.macs),
            host_keys: owned(HOST_KEYS),
        })
    }

    /// Checks that each name is one that Lockgate can do, and that no list is empty.
    ///
    /// # Errors
    /// One sentence for each wrong name, with the names that would be right.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        check_list("key exchange method", &self.kex, &names(KEX), &mut problems);
        check_list("cipher", &self.ciphers, &names(CIPHERS), &mut problems);
        check_list("MAC", &self.macs, &names(MACS), &mut problems);
        check_list("host key algorithm", &self.host_keys, HOST_KEYS, &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The lists as russh takes them. Names that [`AlgorithmLists::check`] would refuse are left out.
    pub(super) fn preferred(&self) -> Preferred {
        Preferred {
            kex: Cow::Owned(picked(&self.kex, KEX).chain(KEX_MARKERS.iter().copied()).collect()),
            key: Cow::Owned(self.host_keys.iter().filter_map(|name| host_key_algorithm(name)).collect()),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Owned(picked(&self.ciphers, CIPHERS).collect()),
            mac: Cow::Owned(picked(&self.macs, MACS).collect()),
            // Compression before a cipher has a history of advisories and of clients that lose step.
            compression: Cow::Borrowed(&[compression::NONE]),
        }
    }
}

fn names<N: AsRef<str>>(list: &'static [N]) -> Vec<&'static str> {
    list.iter().map(AsRef::as_ref).collect()
}

fn picked<'a, N: AsRef<str> + Copy>(wanted: &'a [String], known: &'a [N]) -> impl Iterator<Item = N> + 'a {
    wanted.iter().filter_map(|name| known.iter().find(|known| known.as_ref() == name).copied())
}

fn check_list(what: &str, list: &[String], known: &[&str], problems: &mut Vec<String>) {
    if list.is_empty() {
        problems.push(format!("no {what} is left; name at least one of {}", known.join(", ")));
    }
    for name in list {
        if !known.contains(&name.as_str()) {
            problems.push(format!("{name:?} is not a supported {what}; there are {}", known.join(", ")));
        }
    }
}

fn host_key_algorithm(name: &str) -> Option<Algorithm> {
    let ecdsa = |curve| Some(Algorithm::Ecdsa { curve });
    match name {
        "ssh-ed25519" => Some(Algorithm::Ed25519),
        "ecdsa-sha2-nistp256" => ecdsa(EcdsaCurve::NistP256),
        "ecdsa-sha2-nistp384" => ecdsa(EcdsaCurve::NistP384),
        "ecdsa-sha2-nistp521" => ecdsa(EcdsaCurve::NistP521),
        "rsa-sha2-512" => Some(Algorithm::Rsa { hash: Some(HashAlg::Sha512) }),
        "rsa-sha2-256" => Some(Algorithm::Rsa { hash: Some(HashAlg::Sha256) }),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_holds_only_what_can_be_done() {
        for name in AlgorithmLists::POLICIES {
            let lists = AlgorithmLists::of_policy(name).unwrap();
            assert_eq!(lists.check(), Ok(()), "{name}");
            let preferred = lists.preferred();
            assert_eq!(preferred.kex.len(), lists.kex.len() + KEX_MARKERS.len());
            assert_eq!(preferred.cipher.len(), lists.ciphers.len());
            assert_eq!(preferred.mac.len(), lists.macs.len());
            assert_eq!(preferred.key.len(), lists.host_keys.len());
            assert_eq!(preferred.compression.as_ref(), [compression::NONE]);
        }
        assert_eq!(POLICIES.iter().map(|p| p.name).collect::<Vec<_>>(), AlgorithmLists::POLICIES);
        assert_eq!(AlgorithmLists::of_policy("old"), None);
    }

    #[test]
    fn no_policy_offers_sha1() {
        for name in AlgorithmLists::POLICIES {
            let lists = AlgorithmLists::of_policy(name).unwrap();
            for algorithm in lists.kex.iter().chain(&lists.macs).chain(&lists.host_keys) {
                assert!(
                    !algorithm.ends_with("sha1") && algorithm != "ssh-rsa" && algorithm != "hmac-sha1",
                    "{algorithm}"
                );
            }
        }
    }

    #[test]
    fn wrong_names_are_all_reported() {
        let mut lists = AlgorithmLists::of_policy("modern").unwrap();
        lists.kex = vec!["diffie-hellman-group1-sha1".into(), "curve25519-sha256".into()];
        lists.macs.clear();
        lists.host_keys = vec!["ssh-rsa".into()];
        let problems = lists.check().unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("diffie-hellman-group1-sha1"));
    }
}
