//! Lists that people write, and files that ssh-keygen makes.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI laptop";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA9OY0qV6XYVHaaOiWAcj2spDJVbgjrqDPY4pxd6GnHl";

fn key(line: &str) -> AuthorizedKey {
    AuthorizedKey::parse(line).unwrap()
}

fn read(bytes: &[u8]) -> Result<Revoked, String> {
    Revoked::read(&[("list".into(), bytes.to_vec())]).map_err(|(_, what)| what)
}

/// A certificate by the key of `authority`.
fn facts<'a>(authority: &'a str, serial: u64, key_id: &'a str) -> CertificateFacts<'a> {
    CertificateFacts { authority, serial, key_id }
}

#[test]
fn a_list_has_keys_and_fingerprints() {
    let (one, other) = (key(KEY), key(OTHER));
    let print = one.fingerprint();
    for list in [KEY.to_owned(), format!("# stolen\n\n  {print}  ann, stolen in May\n"), format!("{print}=\r\n")] {
        let revoked = read(list.as_bytes()).unwrap();
        assert!(revoked.revokes(one.blob(), None) && !revoked.revokes(other.blob(), None), "{list}");
        // In a certificate as well, and as the authority of one.
        assert!(revoked.revokes(one.blob(), Some(facts(&other.fingerprint(), 1, "x"))));
        assert!(revoked.revokes(other.blob(), Some(facts(&print, 1, "x"))));
    }
    assert!(read(b"").unwrap().is_empty());
    for (wrong, words) in [
        (b"SHA256:abc".as_slice(), "line 1: it is not a fingerprint"),
        (b"\n# x\nssh-ed25519 AAAA", "line 3: "),
        (b"\xff\xfe", "neither text nor"),
        (b"MD5:aa:bb", "line 1: "),
    ] {
        let what = read(wrong).unwrap_err();
        assert!(what.starts_with("list: ") && what.contains(words), "{what}");
    }
}

/// Runs ssh-keygen in a folder.
fn keygen(folder: &Path, words: &[&str]) {
    let done = Command::new("ssh-keygen").args(words).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{words:?}: {done:?}");
}

#[test]
fn files_of_ssh_keygen_say_what_ssh_keygen_says() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["ca", "one", "two", "three"] {
        keygen(folder, &["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name]);
    }
    let blob = |name: &str| key(&fs::read_to_string(folder.join(format!("{name}.pub"))).unwrap());
    let authority = blob("ca").fingerprint();
    let spec = "serial: 7\nserial: 100-200\nserial: 1000\nserial: 1002\nserial: 1004\nserial: 1017\nid: ann@corp\n";
    fs::write(folder.join("spec"), spec).unwrap();
    fs::write(
        folder.join("hashes"),
        format!(
            "sha1: {}\nsha256: {}\n",
            fs::read_to_string(folder.join("two.pub")).unwrap().trim(),
            fs::read_to_string(folder.join("three.pub")).unwrap().trim()
        ),
    )
    .unwrap();
    keygen(folder, &["-q", "-k", "-f", "krl", "-s", "ca.pub", "spec"]);
    keygen(folder, &["-q", "-k", "-u", "-f", "krl", "one.pub", "hashes"]);
    let revoked = read(&fs::read(folder.join("krl")).unwrap()).unwrap();
    for name in ["one", "two", "three"] {
        assert!(revoked.revokes(blob(name).blob(), None), "{name}");
    }
    assert!(!revoked.revokes(blob("ca").blob(), None));
    let fresh = key(OTHER);
    let judge = |authority: &str, serial, id: &str| revoked.revokes(fresh.blob(), Some(facts(authority, serial, id)));
    for (serial, is_revoked) in [
        (0, false),
        (6, false),
        (7, true),
        (100, true),
        (200, true),
        (201, false),
        (1002, true),
        (1003, false),
        (1017, true),
    ] {
        assert_eq!(judge(&authority, serial, "x"), is_revoked, "{serial}");
        assert!(!judge(&key(KEY).fingerprint(), serial, "x"), "of another authority");
    }
    assert!(judge(&authority, 0, "ann@corp") && !judge(&authority, 0, "ann"));
    // Of any authority.
    keygen(folder, &["-q", "-k", "-f", "any", "-s", "none", "spec"]);
    let any = read(&fs::read(folder.join("any")).unwrap()).unwrap();
    assert!(any.revokes(fresh.blob(), Some(facts("SHA256:?", 0, "ann@corp"))));
}

#[test]
fn a_file_that_breaks_off_or_is_not_understood_revokes_nothing_by_halves() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    keygen(folder, &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
    fs::write(folder.join("spec"), "serial: 1-5\nserial: 9\nid: x\n").unwrap();
    keygen(folder, &["-q", "-k", "-f", "krl", "-s", "ca.pub", "spec"]);
    let whole = fs::read(folder.join("krl")).unwrap();
    read(&whole).unwrap();
    let header = 8 + 4 + 8 * 3 + 4 + 4;
    for end in 0..whole.len() {
        // Without sections it is whole; the text before its number is text.
        if end != header && end > 0 {
            assert!(read(&whole[..end]).is_err(), "{end} of {}", whole.len());
        }
    }
    let with = |section: &[u8]| read(&[&whole[..], section].concat());
    assert!(with(&[9, 0, 0, 0, 0]).unwrap_err().contains("kind 9"));
    assert!(with(&[4, 0, 0, 0, 0]).unwrap_err().contains("signed"));
    let extension = |critical: u8| [&[255, 0, 0, 0, 10, 0, 0, 0, 1, b'x', critical, 0, 0, 0, 0][..], &[][..]].concat();
    assert!(with(&extension(1)).unwrap_err().contains("\"x\""));
    with(&extension(0)).unwrap();
    let mut newer = whole.clone();
    newer[11] = 2;
    assert!(read(&newer).unwrap_err().contains("version 2"));
}
