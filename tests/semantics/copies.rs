//! Copies (`copy-data`).

use std::time::{SystemTime, UNIX_EPOCH};

use crate::bench::{Builder, Place, assert_refused, assert_same, shared};
use crate::support::data::{MIB, noise};
use crate::support::plain_proxy::Proxy;
use crate::support::s3;
use crate::support::sftp::{Answered, Attributes, FAILURE, Sftp};

/// 2001, in seconds since 1970.
const THEN: u32 = 1_000_000_000;

/// As OpenSSH's `cp`: all of a file into a new one.
fn copy(session: &mut Sftp, from: &str, to: &str) -> Answered<()> {
    let (source, target) = (session.open_to_read(from), session.create(to));
    session.copy_data(&source, 0, 0, &target, 0)?;
    session.close(&source)?;
    session.close(&target)
}

#[test]
fn an_object_store_copies_a_whole_file_by_itself_at_close_in_one_step_copy_data() {
    let proxy = Proxy::start(s3::new_store().port());
    let bench = Builder::new().s3_through(&proxy, &[]).start();
    bench.on_every_store(|place, session| {
        let data = noise(12 * MIB, 3);
        session.put(&place.path("from"), &data);
        session.put(&place.path("to"), b"old");
        proxy.forget();
        let (source, target) = (session.open_to_read(&place.path("from")), session.create(&place.path("to")));
        session.copy_data(&source, 0, 0, &target, 0).unwrap();
        assert_eq!(session.fstat(&target).unwrap().size, Some(12 * MIB));
        assert_same(&place.bench.connect().get(&place.path("to")), b"old");
        proxy.forget();
        session.close(&target).unwrap();
        let requests = proxy.requests();
        assert!(requests.iter().all(|request| request.method != "GET" && request.body_length == 0), "{requests:?}");
        assert_eq!(requests.iter().filter(|request| request.header("x-amz-copy-source").is_some()).count(), 1);
        session.close(&source).unwrap();
        assert_same(&session.get(&place.path("to")), &data);
        // An empty file has nothing to copy.
        session.put(&place.path("empty"), b"");
        copy(session, &place.path("empty"), &place.path("to")).unwrap();
        assert_same(&session.get(&place.path("to")), b"");
    });
}

#[test]
fn parts_of_files_copies_from_one_store_to_another_and_copies_in_the_local_store() {
    shared().on_every_store(|place, session| {
        let data = noise(6 * MIB, 4);
        let from = place.path("from");
        session.put(&from, &data);
        for target in place.bench.stores().into_iter().map(|store| place.in_other_entry(store, "copies")) {
            for (name, start, length, at) in [
                ("whole", 0, 0, 0),
                ("exact", 0, 6 * MIB, 0),
                ("end", MIB, 0, 0),
                ("middle", 5, 2 * MIB, 0),
                ("later", 0, 0, 9),
            ] {
                let to = format!("{target}/{name}");
                let (source, copy) = (session.open_to_read(&from), session.create(&to));
                if at > 0 {
                    session.write(&copy, 0, &[b'x'; 9]).unwrap();
                }
                session.copy_data(&source, start, length, &copy, at).unwrap();
                session.write(&copy, at + 1, b"changed").unwrap();
                session.close(&copy).unwrap();
                session.close(&source).unwrap();
                let end = if length == 0 { data.len() } else { (start + length) as usize };
                let mut expected = [vec![b'x'; at as usize], data[start as usize..end].to_vec()].concat();
                expected[at as usize + 1..at as usize + 8].copy_from_slice(b"changed");
                assert_same(&session.get(&to), &expected);
            }
            copy(session, &from, &format!("{target}/plain")).unwrap();
            assert_same(&session.get(&format!("{target}/plain")), &data);
        }
    });
}

#[test]
fn if_a_file_changes_before_the_close_of_its_copy_that_close_fails_on_an_object() {
    shared().on_object_stores(|place, session| {
        let (from, to) = (place.path("from"), place.path("to"));
        session.put(&from, b"content");
        session.put(&to, b"kept");
        let (source, target) = (session.open_to_read(&from), session.create(&to));
        session.copy_data(&source, 0, 0, &target, 0).unwrap();
        session.put(&from, b"changed");
        let refusal = assert_refused(session.close(&target), FAILURE);
        let says = format!("Failure: {from}: the file was replaced meanwhile; start again; {to} was not made");
        assert_eq!(refusal.message, says);
        session.close(&source).unwrap();
        assert_same(&session.get(&to), b"kept");
    });
}

#[test]
fn in_that_case_nothing_is_published() {
    shared().on_object_stores(|place, session| {
        let (from, to) = (place.path("from"), place.path("new"));
        session.put(&from, b"content");
        let (source, target) = (session.open_to_read(&from), session.create(&to));
        session.copy_data(&source, 0, 0, &target, 0).unwrap();
        session.remove(&from).unwrap();
        session.close(&target).unwrap_err();
        session.close(&source).unwrap();
        assert_eq!(session.names(&place.path("")), [] as [&str; 0]);
    });
}

#[test]
fn the_time_of_a_copy_is_the_time_at_which_it_was_made_or_the_one_that_the_client() {
    shared().on_every_store(|place: &Place<'_>, session| {
        let from = place.path("from");
        session.put(&from, b"content");
        session.set_attributes(&from, &Attributes::mtime(THEN)).unwrap();
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        copy(session, &from, &place.path("made")).unwrap();
        let made = session.stat(&place.path("made")).unwrap().mtime.expect("a time");
        assert!(u64::from(made) + 2 >= began, "{made}");

        let (source, target) = (session.open_to_read(&from), session.create(&place.path("set")));
        session.copy_data(&source, 0, 0, &target, 0).unwrap();
        session.set_open_attributes(&target, &Attributes::mtime(THEN + 5)).unwrap();
        session.close(&target).unwrap();
        session.close(&source).unwrap();
        assert_eq!(session.stat(&place.path("set")).unwrap().mtime, Some(THEN + 5));
        assert_eq!(session.stat(&from).unwrap().mtime, Some(THEN));
    });
}
