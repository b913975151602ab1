//! Keys that follow one another, and changes of keys that are cut off.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let new = SigningKey::make().unwrap();
    let path = SigningKey::private_in(folder.path());
    fs::write(&path, new.private.as_bytes()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::write(SigningKey::public_in(folder.path()), &new.public).unwrap();
    folder
}

fn key(folder: &Path) -> SigningKey {
    SigningKey::read(folder).unwrap()
}

fn succession(folder: &Path) -> Succession {
    Succession::of_key(folder, &key(folder).raw_public()).unwrap()
}

#[test]
fn each_key_endorses_the_next_and_its_public_half_stays() {
    let folder = folder();
    let folder = folder.path();
    assert_eq!(succession(folder).field(), None);
    let first = key(folder);
    let mut olds = vec![first.raw_public()];
    for _ in 0..3 {
        let rotated = rotate(folder).unwrap();
        assert_eq!(rotated.new, key(folder).fingerprint());
        assert!(fs::read_to_string(&rotated.old_public).unwrap().contains("PUBLIC KEY"));
        key(folder).check_public(folder).unwrap();
        olds.push(key(folder).raw_public());
    }
    olds.pop();
    let succession = succession(folder);
    assert_eq!(succession.predecessors().copied().collect::<Vec<_>>(), olds);
    let field = succession.field().unwrap();
    let read: Vec<Endorsement> = field.split(' ').map(|one| Endorsement::read(one).unwrap()).collect();
    assert!(read.iter().all(Endorsement::is_right));
    assert!(!folder.join(NEXT).exists(), "the private half is in one file only");
    let mode = fs::metadata(SigningKey::private_in(folder)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_change_that_is_cut_off_leaves_a_key_that_can_be_followed() {
    // As killed before the key is renamed: the endorsement is of a key that is not there.
    let folder = folder();
    let folder = folder.path();
    let private = fs::read(SigningKey::private_in(folder)).unwrap();
    let public = fs::read(SigningKey::public_in(folder)).unwrap();
    let before = key(folder);
    rotate(folder).unwrap();
    let changed = fs::read(SigningKey::private_in(folder)).unwrap();
    fs::write(SigningKey::private_in(folder), &private).unwrap();
    fs::write(folder.join(NEXT), b"torn").unwrap();
    fs::write(SigningKey::public_in(folder), &public).unwrap();
    assert_eq!(succession(folder), Succession::default(), "nothing leads to the old key");
    key(folder).check_public(folder).unwrap();
    rotate(folder).unwrap();
    assert_eq!(succession(folder).predecessors().count(), 1, "the change that was cut off is forgotten");
    // As killed before the public half is written.
    fs::write(SigningKey::private_in(folder), &changed).unwrap();
    fs::write(folder.join(NAME), format!("{}\n", Endorsement::by(&before, key(folder).raw_public()).unwrap())).unwrap();
    fs::write(SigningKey::public_in(folder), &public).unwrap();
    key(folder).judge_public(folder).expect("it is that of the key before");
    heal_public(folder, &key(folder)).unwrap();
    assert_eq!(fs::read_to_string(SigningKey::public_in(folder)).unwrap(), key(folder).public());
    // Any other is somebody else's.
    fs::write(SigningKey::public_in(folder), SigningKey::make().unwrap().public).unwrap();
    assert!(key(folder).judge_public(folder).is_err());
}

#[test]
fn one_changes_a_key_at_a_time() {
    let folder = folder();
    let held = lock_next(folder.path()).unwrap();
    assert!(rotate(folder.path()).unwrap_err().contains("somebody else"));
    drop(held);
    rotate(folder.path()).unwrap();
}

#[test]
fn what_somebody_else_wrote_is_refused() {
    let folder = folder();
    let folder = folder.path();
    rotate(folder).unwrap();
    let path = folder.join(NAME);
    let text = fs::read_to_string(&path).unwrap();
    let stranger = SigningKey::from_private(&SigningKey::make().unwrap().private).unwrap();
    let theirs = Endorsement::by(&stranger, key(folder).raw_public()).unwrap().to_string();
    let forged = format!("{}:{}", text.trim().rsplit_once(':').unwrap().0, theirs.rsplit_once(':').unwrap().1);
    for wrong in [forged.as_str(), "no endorsement", &text[1..]] {
        fs::write(&path, wrong).unwrap();
        assert!(Succession::of_key(folder, &key(folder).raw_public()).is_err(), "{wrong}");
    }
    fs::write(&path, &text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    assert!(Succession::of_key(folder, &key(folder).raw_public()).unwrap_err().contains("others may write"));
    for wrong in ["", ":", "a:b:c", &format!("{theirs}:x"), &theirs.replace(':', ";")] {
        assert!(Endorsement::read(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn more_changes_than_a_checkpoint_shows_are_kept() {
    let folder = folder();
    let folder = folder.path();
    let first = key(folder).raw_public();
    for _ in 0..SHOWN + 3 {
        assert!(!rotate(folder).unwrap().is_oldest_dropped);
    }
    let succession = succession(folder);
    assert_eq!(succession.predecessors().count(), SHOWN + 3);
    assert_eq!(succession.predecessors().next(), Some(&first));
    assert_eq!(all_in(folder).unwrap(), succession.0);
    let field = succession.field().unwrap();
    let shown: Vec<Endorsement> = field.split(' ').map(|one| Endorsement::read(one).unwrap()).collect();
    assert_eq!(shown, succession.0[3..], "the newest");
    assert!(field.len() < 8192, "{}", field.len());
}

#[test]
fn as_many_endorsements_as_are_kept_can_be_read() {
    let longest = Endorsement::by(&SigningKey::of_seed(1), SigningKey::of_seed(2).raw_public()).unwrap().to_string();
    assert!((longest.len() as u64 + 1) * MOST_KEY_CHANGES as u64 <= MAX_FILE);
    let keys: Vec<SigningKey> = (0..20).map(SigningKey::of_seed).collect();
    let endorse = |pair: &[SigningKey]| Endorsement::by(&pair[0], pair[1].raw_public()).unwrap();
    let all: Vec<Endorsement> = keys.windows(2).map(endorse).collect();
    let mut succession = Succession::leading_to(&all, &keys[19].raw_public());
    assert_eq!(succession.0, all);
    assert_eq!((succession.keep(20), succession.keep(17)), (0, 2));
    assert_eq!(succession.0, all[2..], "the oldest go");
    let circle = [all, vec![endorse(&[SigningKey::of_seed(19), SigningKey::of_seed(0)])]].concat();
    assert_eq!(Succession::leading_to(&circle, &keys[0].raw_public()).0.len(), MOST_KEY_CHANGES);
}

#[test]
fn a_refusal_leaves_nothing_that_blocks_the_next_change() {
    let folder = folder();
    let folder = folder.path();
    let public = fs::read(SigningKey::public_in(folder)).unwrap();
    fs::write(SigningKey::public_in(folder), SigningKey::make().unwrap().public).unwrap();
    rotate(folder).unwrap_err();
    assert!(!folder.join(NEXT).exists());
    fs::write(SigningKey::public_in(folder), public).unwrap();
    // One that fails while it is changed.
    let kept = folder.join(format!("signing_key.{}.pub", short(&key(folder).raw_public())));
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("in the way"), "").unwrap();
    assert!(rotate(folder).unwrap_err().contains("was not changed"));
    assert!(!folder.join(NEXT).exists());
    fs::remove_dir_all(kept).unwrap();
    rotate(folder).unwrap();
}

/// Only root can be another user in a test.
#[test]
fn another_user_is_sent_to_the_right_one_before_anything_is_written() {
    let folder = folder();
    let folder = folder.path();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for path in [folder, &SigningKey::private_in(folder), &SigningKey::public_in(folder)] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let before = fs::read_dir(folder).unwrap().count();
    let what = rotate(folder).unwrap_err();
    assert!(
        what.contains("as that user: sudo -u '#65534' lockgate audit rotate-key") && !what.contains("chown"),
        "{what}"
    );
    assert_eq!(fs::read_dir(folder).unwrap().count(), before);
}
