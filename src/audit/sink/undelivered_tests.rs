//! What is set aside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn heading(paths: &[&str]) -> Heading {
    Heading { why: "400".into(), since: "now".into(), paths: paths.iter().map(|&path| path.into()).collect() }
}

fn all(undelivered: &mut Undelivered) -> Vec<String> {
    let locked = undelivered.lock().unwrap();
    let (mut after, mut all) = (None, Vec::new());
    while let Some((name, _, lines)) = locked.next(after.as_deref(), &[]).unwrap() {
        all.push(String::from_utf8(lines.to_vec()).unwrap());
        after = Some(name);
    }
    all
}

#[test]
fn deliveries_keep_their_order_and_are_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut here = Undelivered::of(folder.path(), 1 << 20);
    assert!(here.lock_unless_empty().unwrap().is_none() && here.count().unwrap() == 0);
    for text in ["c\n", "a\n", "c\n", "b\n"] {
        here.lock().unwrap().put(&heading(&["/x"]), text.as_bytes()).unwrap();
    }
    // The process was killed while it wrote.
    fs::write(folder.path().join(FOLDER).join("new"), "{torn").unwrap();
    let mut other = Undelivered::of(folder.path(), 1 << 20);
    assert_eq!((all(&mut other), other.count().unwrap()), (vec!["c\n".into(), "a\n".into(), "b\n".into()], 3));
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
    let (name, heading, _) = locked.next(None, &[]).unwrap().unwrap();
    assert_eq!(heading.paths, ["/x"]);
    assert_eq!(locked.next(None, &["/x".into()]).unwrap().unwrap().1.paths, ["/y"]);
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
    assert_eq!((error.kind(), here.count().unwrap()), (io::ErrorKind::StorageFull, 1));
}
