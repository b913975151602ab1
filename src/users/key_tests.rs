//! Tests of the reader of public keys, on keys made by ssh-keygen and on damaged ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use base64::engine::general_purpose::STANDARD;

use super::*;

/// Made by ssh-keygen.
const ED25519_256: &str = concat!(
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI ed25519-256 of a te",
    "st",
);

/// Made by ssh-keygen.
const ECDSA_256: &str = concat!(
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBF2odT49GzdS5P3KWyFUMpg50hHR",
    "11WWzjZxBwFc9/YnDnKvqZuc6a9HLQ2c7qnsBs8oynByhMyJ406qMn2LviE= ecdsa-256 of a test",
);

/// Made by ssh-keygen.
const ECDSA_384: &str = concat!(
    "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBOtsnnsud5nTImKGQ5v4iZTUqqDg",
    "f5hAXqbRFOKily/Q7n39YYcKOuuZFJc96u3PO4xGVFaXcDum9dDsR66lF/D9o/GEiCGVP0IqM6drfZ2QxDgMZ3VL69ldNoydke5f",
    "pg== ecdsa-384 of a test",
);

/// Made by ssh-keygen.
const ECDSA_521: &str = concat!(
    "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBADUoamz+8rHzw7VKybrm918rBoK",
    "KB7viXBMk73OsXczCgZBrbVXJDrFTYkMonYTsuZ/xkr9U3Z4B5Ib2fJmmJ9T9QCTP5eiU33cR/KC0dqs0sQkvzhpej+zzJZ2Awpp",
    "2qlLG080DDBHNA/o4bdUC21aFT1V0AboEh8PMvqsFGxoKZiHCQ== ecdsa-521 of a test",
);

/// Made by ssh-keygen.
const RSA_2048: &str = concat!(
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDlQC8fG47BVC9SFQlBdA+TiqxE0wANbBW9Jf1l1K9x7I6Inujcux1nycfiYODv",
    "XbP7hhnArYHWBUi0bgIA8dfj4jINPr+C87iawflkOC/guJc6urRUJAUag+RQpuLLUYlFEeBI24/mzuCmyZehDPKM/6+x5sv6CmTl",
    "lxMP0pY6TXbG9D3sgBZSKLaazhyeZzxQaPVzB+Y6MyzL5Bk94hiTc77d2LbsUiE9FZrS5Q7nvGzHT71Enf8+b4slMO0txoWkG4RO",
    "Uree/KnjLTYr1t0sYadsS8jPomJ442QEHMAbYPxF93JM97RRiD6KgO6r0YUFcCMDjteJTjY1gTv93ULx rsa-2048 of a test",
);

/// Made by ssh-keygen.
const RSA_3072: &str = concat!(
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC49NO7g9iZL56xgazDh5dPuJ8YAFVIfHJYc2KVvzKsF5xXRx0FpMBh4kkqUTsm",
    "9z//gFzCIJEMcUWUaW6sPVTIjM0MZUMxzAfoNTb5349E4HPiNIFSEvCS84jf7oDl3Jd1M/Wsp2B8Mp96OFqG6m1EBGLUUJqmoGlL",
    "5McUJUaUlJi/RPhplJqZiBPQkdy2XX2cwaioyiPrVQYUqqPbggDh8aj2mveySTvZSHmBaw2HCzeAQTcXEuxJa10o3MXSrlUm/p7K",
    "AOiW/nKzD/TiR5yqF4VjbT/Ajv73yMeJ4iNBWIJuu1v6pWMI8Vr7EaJAaB9d/zeY6aP238wmQkJknLgdum517pDuPA4BNHKTLubN",
    "mvAizFmdH7LVeGwQpy0Zc9yAtCLnMVik62Az3GUkWJY0OIV47Ncs0QxNqPgbvKeflXwqaIS03yPWL6s/oyEUx7nsfQE9hgi/fma9",
    "/H5ZBl803LUB9TZXyy5XZyBiRmGEtjPhNEOhFgQp36/7npwHD5M= rsa-3072 of a test",
);

/// Made by ssh-keygen; too weak.
const RSA_1024: &str = concat!(
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDJ/f3GumyqFs2xQYPQx6aacxjd6j0Lt0DFO22+y7cwY/9CDS3MZFgL6ooAGCQC",
    "dqhBmiqXYG5WPY/hOJ9LxFrHvjLOe4rxYWeI+QXL4MW7v3hvTweNKoiUXavSfRibBYrOK1I1ZNfbFHKa5bNW8d9Mf1j5vEwpx59Y",
    "+Qx8zAjL0Q== rsa-1024 of a test",
);

/// Made by ssh-keygen; of a type that is not served.
const DSA: &str = concat!(
    "ssh-dss AAAAB3NzaC1kc3MAAACBAJ41vHNEJQ6hqFuL0mwzIRz+gpSfEMEhAX8OA2iqIZLsxLg9Fm8myPGYqkZ3iqw3CzABX5oD",
    "RCFesahSPryI+/ZQ6r6krNI8gVapAFAlx7VbUCe802+4VhWip177rjy6Pum3cU14nR2QFDLmxKdtpkwc4RdWRPbQdotzErDgifCL",
    "AAAAFQD25x2I/V3P/WjxvvRycw4O3EFhZwAAAIBK/DJOW+kSaPA87N2azfVa6xYEKxwSQob+esMa0fUjSLsvw3DjQPXxlXkEiui0",
    "CRsqXq8V7KtUx9MyTQF1AvzspCVzt7P0EMC5ZKUTCgYFe0NuvmDd2p9jHUmvnPf9O9oGC4EAhh5IHiKzesGsk03gAifKhqr8MYIW",
    "b9mrpnsLWAAAAIBb/fQan2ciyYsvjUgIbrogc8cdA2jsvNe1uCodcT4fJDJzQP9Lu2wc/0a/BhsKx9Tz9iu6Iru40MhHn3ilmpKu",
    "J5mwfjByPTPoOVWBxzwK4aVdGg87WrIug4SBqEHeJ00CN5Nu/p9cuJch80Y2aNHprOuc/Jg+2erTJT3AyHtZBg==",
);

fn wire(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().flat_map(|f| [&u32::try_from(f.len()).unwrap().to_be_bytes()[..], f].concat()).collect()
}

fn line(key_type: &str, fields: &[&[u8]]) -> String {
    format!("{key_type} {}", STANDARD.encode(wire(fields)))
}

fn problem(line: &str) -> String {
    AuthorizedKey::parse(line).expect_err(line)
}

#[test]
fn keys_of_ssh_keygen_are_read_with_its_fingerprints() {
    for (line, key_type, fingerprint) in [
        (ED25519_256, "ssh-ed25519", "SHA256:AdSUf6FZ6CBLpzR0fbj5B9hoe+csxFp/v+OFc/cMMeU"),
        (ECDSA_256, "ecdsa-sha2-nistp256", "SHA256:pW7dMvwzyztrpKFBetlYkVihmzfBfL/Lp1W9OkZMTn0"),
        (ECDSA_384, "ecdsa-sha2-nistp384", "SHA256:BfoO1vK1dheSsHUqZ1dkYp55ax6+6nQ9X2KcOYv/tI8"),
        (ECDSA_521, "ecdsa-sha2-nistp521", "SHA256:TSZ69Il0WOjDPeYpuTbeJABYBYzQUmFN3dd11dUUzPg"),
        (RSA_2048, "ssh-rsa", "SHA256:RwsoJf/MpCBbOa8pQzRFNviBiygkh5sxu2fhDqZJI/I"),
        (RSA_3072, "ssh-rsa", "SHA256:1tFZ3nC3RsCFghjqkIKMCnys2rnK1kZMBPm3M9Ca1nI"),
    ] {
        let key = AuthorizedKey::parse(line).unwrap();
        assert_eq!(key.key_type(), key_type);
        assert_eq!(key.fingerprint(), fingerprint);
        assert_eq!(key.comment(), line.splitn(3, ' ').nth(2));
        assert_eq!(STANDARD.encode(key.blob()), line.split(' ').nth(1).unwrap());
    }
}

#[test]
fn security_keys_are_read() {
    let ed = line("sk-ssh-ed25519@openssh.com", &[b"sk-ssh-ed25519@openssh.com", &[7; 32], b"ssh:"]);
    assert_eq!(AuthorizedKey::parse(&ed).unwrap().key_type(), "sk-ssh-ed25519@openssh.com");
    let point = [&[4][..], &[9; 64]].concat();
    let name = "sk-ecdsa-sha2-nistp256@openssh.com";
    AuthorizedKey::parse(&line(name, &[name.as_bytes(), b"nistp256", &point, b"ssh:"])).unwrap();
    for (wrong, what) in [
        (line(name, &[name.as_bytes(), b"nistp256", &point]), "cut off"),
        (line(name, &[name.as_bytes(), b"nistp256", &point, b""]), "application is empty"),
        (line(name, &[name.as_bytes(), b"nistp384", &point, b"ssh:"]), "curve is not nistp256"),
    ] {
        assert!(problem(&wrong).contains(what), "{wrong}: {}", problem(&wrong));
    }
}

#[test]
fn spaces_comments_and_padding_may_vary() {
    let bare = ED25519_256.rsplit_once(" ed25519").unwrap().0;
    assert_eq!(AuthorizedKey::parse(bare).unwrap().comment(), None);
    let spaced = format!("  {}\t my  laptop \n", bare.replace(' ', "   "));
    assert_eq!(AuthorizedKey::parse(&spaced).unwrap().comment(), Some("my  laptop"));
    let padded = ECDSA_256.split(' ').take(2).collect::<Vec<_>>().join(" ");
    assert!(padded.ends_with('='));
    assert_eq!(AuthorizedKey::parse(padded.trim_end_matches('=')), AuthorizedKey::parse(&padded));
    assert!(problem(&format!("{bare} a\u{7}b")).contains("control character"));
    assert!(problem(&format!("{bare} {}", "x".repeat(1025))).contains("comment is longer"));
}

#[test]
fn what_is_no_served_key_is_refused_by_name() {
    let pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n-----END OPENSSH PRIVATE KEY-----";
    for (wrong, what) in [
        (String::new(), "the key is empty"),
        (pem.to_owned(), "this is a private key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1".to_owned(), "this is a private key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END".to_owned(), "ssh-keygen -i"),
        ("-----BEGIN PUBLIC KEY-----\nMIIB\n".to_owned(), "ssh-keygen -i"),
        (DSA.to_owned(), "DSA keys are too weak"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA x".to_owned(), "this is a certificate"),
        (format!("{ED25519_256}\n{ECDSA_256}"), "more than one line"),
        (format!("# {ED25519_256}"), "this is a comment"),
        (format!("restrict,pty {ED25519_256}"), "the option `pty` before the key"),
        (format!("from=\"10.0.0.0/8, ::1\",no-pty {ED25519_256}"), "host names are not resolved"),
        (format!("restrict {DSA}"), "DSA keys are too weak"),
        (format!("laptop {ED25519_256}"), "the option `laptop` before the key"),
        (format!("command=\"echo \\\"hi there\\\"\" {ED25519_256}"), "option `command`"),
        (ED25519_256.split_once(' ').unwrap().1.to_owned(), "key type is missing"),
        ("ssh-ed448 AAAA".to_owned(), "\"ssh-ed448\" is not a supported key type"),
        ("laptop.pub".to_owned(), "\"laptop.pub\" is not a supported key type"),
        ("ssh-ed25519".to_owned(), "there is nothing after ssh-ed25519"),
        ("ssh-ed25519 AAAA…".to_owned(), "not base64"),
        (format!("ssh-ed25519 {}", "A".repeat(20_000)), "longer than any supported key"),
        (RSA_1024.to_owned(), "1024 bits"),
    ] {
        assert!(problem(&wrong).contains(what), "{wrong}: {}", problem(&wrong));
    }
    assert!(!problem(pem).contains("b3BlbnNz"));
}

#[test]
fn options_belong_to_the_key_and_not_to_its_comment() {
    let line = format!("from=\"192.0.2.0/24\",no-pty,expiry-time=\"20300101Z\" \t{ED25519_256}");
    let key = AuthorizedKey::parse(&line).unwrap();
    let plain = AuthorizedKey::parse(ED25519_256).unwrap();
    assert_eq!((key.blob(), key.comment()), (plain.blob(), Some("ed25519-256 of a test")));
    let (inside, outside) = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
    assert!(key.allows_from(inside) && !key.allows_from(outside) && plain.allows_from(outside));
    let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
    assert!(!key.is_expired(at("2029-12-31T23:59:59Z")) && key.is_expired(at("2030-01-01T00:00:00Z")));
    assert!(!plain.is_expired(at("2030-01-01T00:00:00Z")));
}

#[test]
fn the_key_inside_must_be_what_the_line_says() {
    let swapped = ED25519_256.replacen("ssh-ed25519", "ssh-rsa", 1);
    assert!(problem(&swapped).contains("the key in it is of type ssh-ed25519"), "{}", problem(&swapped));
    let other = line("ssh-ed25519", &[b"ssh-\x1b[2J", &[1; 32]]);
    assert_eq!(problem(&other), "the line says ssh-ed25519, but the key in it is of another type");
    let point = [&[4][..], &[9; 64]].concat();
    let big = [&[0x80 | 0x40][..], &[1; 255]].concat();
    let modulus = [&[0][..], &big].concat();
    for (wrong, what) in [
        (line("ssh-ed25519", &[b"ssh-ed25519", &[1; 31]]), "this one has 31"),
        (line("ssh-ed25519", &[b"ssh-ed25519", &[1; 32], b""]), "4 bytes after the end"),
        (line("ssh-ed25519", &[b"ssh-ed25519"]), "cut off"),
        (line("ecdsa-sha2-nistp256", &[b"ecdsa-sha2-nistp256", b"nistp384", &point]), "curve is not nistp256"),
        (line("ecdsa-sha2-nistp256", &[b"ecdsa-sha2-nistp256", b"nistp256", &point[..33]]), "uncompressed point"),
        (line("ecdsa-sha2-nistp256", &[b"ecdsa-sha2-nistp256", b"nistp256", &[2; 65]]), "uncompressed point"),
        (line("ssh-rsa", &[b"ssh-rsa", &[1, 0, 1], &big]), "not positive"),
        (line("ssh-rsa", &[b"ssh-rsa", &[0, 1], &modulus]), "not positive"),
        (line("ssh-rsa", &[b"ssh-rsa", &[], &modulus]), "not positive"),
        (line("ssh-rsa", &[b"ssh-rsa", &[2], &modulus]), "cannot be"),
        (line("ssh-rsa", &[b"ssh-rsa", &[1], &modulus]), "cannot be"),
        (line("ssh-rsa", &[b"ssh-rsa", &[3], &[&[0x7f][..], &[1; 255]].concat()]), "2047 bits"),
        (line("ssh-rsa", &[b"ssh-rsa", &[3], &[&[1][..], &[1; 2048]].concat()]), "16385 bits"),
        ("ssh-rsa AAAAB3NzaC1yc2H/////".to_owned(), "cut off"),
        ("ssh-rsa /////w==".to_owned(), "cut off"),
    ] {
        assert!(problem(&wrong).contains(what), "{wrong}: {}", problem(&wrong));
    }
    AuthorizedKey::parse(&line("ssh-rsa", &[b"ssh-rsa", &[3], &modulus])).unwrap();
}

#[test]
fn every_cut_of_a_key_is_refused() {
    for whole in [ED25519_256, ECDSA_256, ECDSA_521, RSA_2048] {
        let key = AuthorizedKey::parse(whole).unwrap();
        for end in 0..key.blob().len() {
            let cut = format!("{} {}", key.key_type(), STANDARD.encode(&key.blob()[..end]));
            assert!(AuthorizedKey::parse(&cut).is_err(), "{end}");
        }
    }
}
