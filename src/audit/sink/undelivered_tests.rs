//! What is set aside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn heading(paths: &[&str]) -> Heading {
    Heading { why: "400".into(), since: "now".into(), paths: paths.iter().map(|&path| path.into()).collect() }
}

fn all(undelivered: &mut Undelivered) -> Vec<String> {
    let mut locked = undelivered.lock().unwrap();
    let (mut after, mut all) = (None, Vec::new());
    while let Some((name, _, lines)) = locked.next(after.as_deref(), &mut HeldPaths::default()).unwrap() {
        all.push(String::from_utf8(lines.to_vec()).unwrap());
        after = Some(name);
    }
    all
}

#[test]
fn deliveries_keep_their_order_and_are_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut here = Undelivered::of(folder.path(), 1 << 20);
    assert!(here.lock_unless_empty().unwrap().is_none() && count(folder.path()).unwrap() == 0);
    for text in ["c\n", "a\n", "c\n", "b\n"] {
        here.lock().unwrap().put(&heading(&["/x"]), text.as_bytes()).unwrap();
    }
    // The process was killed while it wrote.
    fs::write(folder.path().join(FOLDER).join("new"), "{torn").unwrap();
    let mut other = Undelivered::of(folder.path(), 1 << 20);
    assert_eq!((all(&mut other), count(folder.path()).unwrap()), (vec!["c\n".into(), "a\n".into(), "b\n".into()], 3));
    let locked = other.lock().unwrap();
    assert!(locked.has(b"a\n") && !locked.has(b"d\n"));
    assert!(locked.holds(&["/y".into(), "/x".into()]) && !locked.holds(&["/y".into()]) && !locked.holds(&[]));
}

#[test]
fn what_another_process_removed_is_held_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (mut gateway, mut command) = (Undelivered::of(folder.path(), 1 << 20), Undelivered::of(folder.path(), 1 << 20));
    gateway.lock().unwrap().put(&heading(&["/x"]), b"a\n").unwrap();
    gateway.lock().unwrap().put(&heading(&["/y"]), b"b\n").unwrap();
    let mut locked = command.lock().unwrap();
    let (name, heading, _) = locked.next(None, &mut HeldPaths::default()).unwrap().unwrap();
    assert_eq!(heading.paths, ["/x"]);
    let mut without = HeldPaths::default();
    without.add(&["/x".into()]);
    assert_eq!(locked.next(None, &mut without).unwrap().unwrap().1.paths, ["/y"]);
    locked.remove(&name).unwrap();
    drop(locked);
    let locked = gateway.lock().unwrap();
    assert!(!locked.holds(&["/x".into()]) && locked.holds(&["/y".into()]));
}

#[test]
fn the_folder_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut here = Undelivered::of(folder.path(), 200);
    here.lock().unwrap().put(&heading(&[]), &[b'x'; 150]).unwrap();
    let error = here.lock().unwrap().put(&heading(&[]), &[b'y'; 150]).unwrap_err();
    assert_eq!((error.kind(), count(folder.path()).unwrap()), (io::ErrorKind::StorageFull, 1));
}

#[test]
fn so_are_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut here = Undelivered { most: 2, ..Undelivered::of(folder.path(), 1 << 20) };
    for text in ["a\n", "b\n"] {
        here.lock().unwrap().put(&heading(&[]), text.as_bytes()).unwrap();
    }
    let error = here.lock().unwrap().put(&heading(&[]), b"c\n").unwrap_err();
    assert_eq!((error.kind(), here.count.load(Ordering::Relaxed)), (io::ErrorKind::StorageFull, 2));
    // What is here already needs no room, and one that has arrived makes some.
    let mut locked = here.lock().unwrap();
    locked.put(&heading(&[]), b"a\n").unwrap();
    let (name, ..) = locked.next(None, &mut HeldPaths::default()).unwrap().unwrap();
    locked.remove(&name).unwrap();
    locked.put(&heading(&[]), b"c\n").unwrap();
    drop(locked);
    assert_eq!((all(&mut here), here.count.load(Ordering::Relaxed)), (vec!["b\n".into(), "c\n".into()], 2));
    assert_eq!(
        here.bytes,
        here.known.keys().map(|name| fs::metadata(here.folder.join(name)).unwrap().len()).sum::<u64>()
    );
}

/// Strange files stop nothing and change no order.
#[test]
fn files_that_are_not_ours_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut here = Undelivered::of(folder.path(), 1 << 20);
    here.lock().unwrap().put(&heading(&["/x"]), b"a\n").unwrap();
    let hash = Hash::of_line(b"?");
    let path = |name: &str| folder.path().join(FOLDER).join(name);
    for name in [
        "zzz.refused",
        "copy of 1.refused",
        &format!("99999999999999999999-{hash}.refused"),
        "1-2.refused",
        "é.refused",
    ] {
        fs::write(path(name), "{odd").unwrap();
    }
    for mut one in [here, Undelivered::of(folder.path(), 1 << 20)] {
        let mut locked = one.lock().unwrap();
        assert_eq!(locked.count(), u64::from(locked.has(b"b\n")) + 1);
        locked.put(&heading(&["/x"]), b"b\n").unwrap();
        drop(locked);
        assert_eq!(all(&mut one), ["a\n", "b\n"]);
    }
}

/// They are counted, for somebody has to look; those behind them go on.
#[test]
fn those_that_cannot_be_read_are_counted_and_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut here = Undelivered::of(folder.path(), 1 << 20);
    for (text, about) in [("a\n", "/a"), ("b\n", "/b"), ("c\n", "/c")] {
        here.lock().unwrap().put(&heading(&[about]), text.as_bytes()).unwrap();
    }
    let names: Vec<String> = here.known.keys().cloned().collect();
    fs::write(folder.path().join(FOLDER).join(&names[0]), "{torn").unwrap();
    fs::remove_file(folder.path().join(FOLDER).join(&names[1])).unwrap();
    let mut new = Undelivered::of(folder.path(), 1 << 20);
    for one in [&mut here, &mut new] {
        assert_eq!(all(one), ["c\n"]);
        let mut locked = one.lock().unwrap();
        assert_eq!(locked.count(), 2);
        assert!(!locked.holds(&["/a".into(), "/b".into()]) && locked.holds(&["/c".into()]));
        assert!(!locked.has(b"a\n"));
        locked.put(&heading(&["/c"]), b"c\n").unwrap();
    }
}

/// One that looks reads nothing again while nothing has changed.
#[test]
fn what_has_not_changed_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut other) = (Undelivered::of(folder.path(), 1 << 20), Undelivered::of(folder.path(), 1 << 20));
    one.lock().unwrap().put(&heading(&["/x"]), b"a\n").unwrap();
    assert!(other.lock().unwrap().holds(&["/x".into()]));
    // Forgotten on purpose: only a look at the folder would find it.
    let name = one.known.keys().next().unwrap().clone();
    one.forget(&name);
    assert!(!one.lock().unwrap().holds(&["/x".into()]));
    // The other one changed something, at whatever time of the clock.
    other.lock().unwrap().put(&heading(&["/y"]), b"b\n").unwrap();
    assert!(one.lock().unwrap().holds(&["/x".into()]));
}
