//! Unfinished uploads and their names.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bench::{Builder, Place, assert_refused, assert_same, shared};
use crate::support::data::{KIB, MIB, noise};
use crate::support::setup::User;
use crate::support::sftp::{
    Attributes, CREATE, FAILURE, Handle, NO_SUCH_FILE, PERMISSION_DENIED, READING_AND_WRITING, Sftp, TRUNCATE,
    UNSUPPORTED, WRITING,
};

/// One put, and one in parts.
const SIZES: [u64; 2] = [100 * KIB, 6 * MIB];

fn begun(session: &mut Sftp, path: &str, data: &[u8]) -> Handle {
    let handle = session.create(path);
    session.write(&handle, 0, data).unwrap();
    handle
}

/// What another connection sees.
fn published(place: &Place<'_>, name: &str) -> Option<Vec<u8>> {
    place.bench.connect().try_get(&place.path(name)).ok()
}

#[test]
fn stat_and_setstat_refer_to_the_newest_upload_of_the_name() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        let older = begun(session, &path, &noise(5_120, 1));
        let newer = begun(session, &path, &noise(100, 2));
        assert_eq!(session.stat(&path).unwrap().size, Some(100));
        session.set_attributes(&path, &Attributes::mtime(1_300_000_000)).unwrap();
        session.set_attributes(&path, &Attributes::size(60)).unwrap();
        assert_eq!(session.stat(&path).unwrap().size, Some(60));
        session.close(&newer).unwrap();
        assert_same(&published(place, "file").unwrap(), &noise(100, 2)[..60]);
        assert_eq!(place.bench.connect().stat(&path).unwrap().mtime, Some(1_300_000_000));
        session.remove(&path).unwrap();
        session.close(&older).unwrap();
    });
}

#[test]
fn remove_discards_it_together_with_an_old_file_requests_on_its_handle_still() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        for (n, size) in SIZES.into_iter().enumerate() {
            if n == 1 {
                session.put(&path, b"old");
            }
            let handle = begun(session, &path, &noise(size, 1));
            session.remove(&path).unwrap();
            assert_refused(session.stat(&path), NO_SUCH_FILE);
            session.write(&handle, size, b"more").unwrap();
            session.set_open_attributes(&handle, &Attributes::mtime(1_300_000_000)).unwrap();
            session.close(&handle).unwrap();
            assert_eq!(published(place, "file"), None, "{size}");
            assert_refused(session.remove(&path), NO_SUCH_FILE);
            place.await_event("PARTIAL_CLOSE", "file", |event| {
                event["message"].as_str().is_some_and(|message| message.contains("removed"))
            });
        }
    });
}

#[test]
fn rename_of_an_upload_or_of_a_folder_above_it_changes_where_it_will_be_published() {
    shared().on_every_store(|place, session| {
        for (n, size) in SIZES.into_iter().enumerate() {
            let (temporary, last) = (place.path(&format!("file-{n}.part")), place.path(&format!("file-{n}")));
            let handle = begun(session, &temporary, &noise(size, 1));
            session.rename(&temporary, &last).unwrap();
            assert_refused(session.stat(&temporary), NO_SUCH_FILE);
            assert_eq!(session.stat(&last).unwrap().size, Some(size));
            assert_eq!(published(place, &format!("file-{n}")), None);
            session.close(&handle).unwrap();
            assert_same(&published(place, &format!("file-{n}")).unwrap(), &noise(size, 1));
            assert_eq!(published(place, &format!("file-{n}.part")), None);

            let (folder, other) = (place.path(&format!("folder-{n}")), place.path(&format!("other-{n}")));
            let handle = begun(session, &format!("{folder}/inner/file"), &noise(size, 2));
            session.rename(&folder, &other).unwrap();
            session.close(&handle).unwrap();
            assert_same(&published(place, &format!("other-{n}/inner/file")).unwrap(), &noise(size, 2));
            assert_refused(session.stat(&folder), NO_SUCH_FILE);
        }
    });
}

#[test]
fn an_old_file_of_the_name_moves_immediately() {
    shared().on_every_store(|place, session| {
        let (old, new) = (place.path("old"), place.path("new"));
        session.put(&old, b"old content");
        let handle = begun(session, &old, b"new content");
        session.posix_rename(&old, &new).unwrap();
        assert_same(&published(place, "new").unwrap(), b"old content");
        assert_eq!(published(place, "old"), None);
        session.close(&handle).unwrap();
        assert_same(&published(place, "new").unwrap(), b"new content");
        assert_eq!(published(place, "old"), None);
    });
}

#[test]
fn a_new_name_in_another_store_is_refused_while_the_file_is_being_written() {
    shared().on_every_store(|place, session| {
        let elsewhere = if place.path("").starts_with("/local") { "/memory" } else { "/local" };
        let other = place.in_other_entry(elsewhere, "moved");
        let path = place.path("file");
        let handle = begun(session, &path, b"content");
        assert_refused(session.rename(&path, &other), UNSUPPORTED);
        session.close(&handle).unwrap();
        assert_same(&published(place, "file").unwrap(), b"content");
        session.rename(&path, &other).unwrap();
        session.remove(&other).unwrap();
    });
}

#[test]
fn an_object_store_identifies_the_parts_of_a_large_upload_by_its_first_name() {
    shared().on_object_stores(|place, session| {
        let path = place.path("first");
        let handle = begun(session, &path, &noise(12 * MIB, 1));
        session.rename(&path, &place.path("second")).unwrap();
        session.rename(&place.path("second"), &place.path("third")).unwrap();
        session.write(&handle, 12 * MIB, &noise(MIB, 2)).unwrap();
        session.close(&handle).unwrap();
        let expected = [noise(12 * MIB, 1), noise(MIB, 2)].concat();
        assert_same(&published(place, "third").unwrap(), &expected);
        for name in ["first", "second"] {
            assert_eq!(published(place, name), None, "{name}");
        }
    });
}

#[test]
fn so_a_large_file_that_was_renamed_before_close_is_published_under_its_first_name() {
    shared().on_every_store(|place, session| {
        let (first, last) = (place.path("first"), place.path("last"));
        session.put(&last, b"old");
        let handle = begun(session, &first, &noise(12 * MIB, 1));
        session.posix_rename(&first, &last).unwrap();
        assert_same(&published(place, "last").unwrap(), b"old");
        session.close(&handle).unwrap();
        assert_same(&published(place, "last").unwrap(), &noise(12 * MIB, 1));
        assert_eq!(published(place, "first"), None);
    });
}

#[test]
fn if_the_first_name_is_in_use_again_by_then_close_fails() {
    shared().on_object_stores(|place, session| {
        let (first, last) = (place.path("first"), place.path("last"));
        let handle = begun(session, &first, &noise(12 * MIB, 1));
        session.rename(&first, &last).unwrap();
        place.bench.connect().put(&first, b"theirs");
        session.close(&handle).unwrap_err();
        assert_same(&published(place, "first").unwrap(), b"theirs");
        assert_eq!(published(place, "last"), None);
    });
}

#[test]
fn a_second_open_without_truncation_shares_the_unfinished_file() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        session.put(&path, b"old");
        let one = session.open(&path, READING_AND_WRITING | TRUNCATE | CREATE).unwrap();
        session.write(&one, 0, b"0123456789").unwrap();
        let other = session.open(&path, READING_AND_WRITING).unwrap();
        assert_same(&session.read(&other, 0, 100).unwrap(), b"0123456789");
        session.close(&one).unwrap();
        assert_same(&published(place, "file").unwrap(), b"0123456789");
        session.write(&other, 4, b"ab").unwrap();
        session.close(&other).unwrap();
        assert_same(&published(place, "file").unwrap(), b"0123ab6789");
    });
}

#[test]
fn with_truncation_it_begins_an_upload_of_its_own() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        let one = begun(session, &path, &noise(5_120, 1));
        let other = begun(session, &path, &noise(100, 2));
        session.close(&other).unwrap();
        assert_same(&published(place, "file").unwrap(), &noise(100, 2));
        session.close(&one).unwrap();
        assert_same(&published(place, "file").unwrap(), &noise(5_120, 1));
    });
}

#[test]
fn bytes_that_were_sent_to_an_object_store_cannot_be_read_back_before_close() {
    shared().on_object_stores(|place, session| {
        let path = place.path("file");
        let handle = begun(session, &path, &noise(12 * MIB, 1));
        let reader = session.open_to_read(&path);
        assert_refused(session.read(&reader, 0, 100), UNSUPPORTED);
        session.close(&handle).unwrap();
        assert_same(&session.read(&reader, 0, 100).unwrap(), &noise(12 * MIB, 1)[..100]);
        session.close(&reader).unwrap();
    });
}

#[test]
fn when_a_newer_upload_was_published_the_name_refers_to_it_whatever_an_older_handle() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        let abandoned = begun(session, &path, &noise(5_120, 1));
        session.put(&path, &noise(100, 2));
        assert_eq!(session.stat(&path).unwrap().size, Some(100));
        session.set_attributes(&path, &Attributes::mtime(1_300_000_000)).unwrap();
        assert_eq!(place.bench.connect().stat(&path).unwrap().mtime, Some(1_300_000_000));
        session.remove(&path).unwrap();
        assert_refused(session.stat(&path), NO_SUCH_FILE);
        session.close(&abandoned).unwrap();
        assert_eq!(published(place, "file"), None);
    });
}

#[test]
fn a_handle_that_was_opened_without_truncation_and_never_written_to_is_not_an() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        session.put(&path, b"12345");
        let idle: Vec<Handle> = (0..20).map(|_| session.open(&path, WRITING).unwrap()).collect();
        session.set_attributes(&path, &Attributes::mtime(1_300_000_000)).unwrap();
        assert_eq!(session.stat(&path).unwrap().mtime, Some(1_300_000_000));
        session.put(&path, b"1234567");
        assert_eq!(session.stat(&path).unwrap().size, Some(7));
        for handle in &idle {
            session.close(handle).unwrap();
        }
        assert_same(&published(place, "file").unwrap(), b"1234567");
    });
}

#[test]
fn open_remove_and_rename_of_a_name_that_is_being_written_wait_for_its_close() {
    shared().on_every_store(|place, session| {
        // As sshfs sends them: the request of the same name goes out before the CLOSE.
        let path = place.path("file");
        session.put(&path, b"old");
        let one = session.open(&path, READING_AND_WRITING).unwrap();
        session.set_open_attributes(&one, &Attributes::size(0)).unwrap();
        session.write(&one, 0, b"fresh").unwrap();
        let other = session.open_before_close(&path, READING_AND_WRITING, &one).unwrap();
        session.write(&other, 0, b"F").unwrap();
        session.close(&other).unwrap();
        assert_same(&published(place, "file").unwrap(), b"Fresh");

        let one = begun(session, &place.path("a"), b"content");
        session.rename_before_close(&place.path("a"), &place.path("b"), &one).unwrap();
        assert_eq!((published(place, "a"), published(place, "b").as_deref()), (None, Some(&b"content"[..])));
    });
}

#[test]
fn open_waits_a_second_for_it_to_arrive_the_others_a_quarter_of_a_second_and_then() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        let handle = begun(session, &path, b"content");
        let began = Instant::now();
        session.rename(&path, &place.path("other")).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(250), "RENAME waits for the CLOSE");
        let opened = begun(session, &place.path("opened"), b"content");
        let began = Instant::now();
        let reader = session.open_to_read(&place.path("opened"));
        assert!(began.elapsed() >= Duration::from_secs(1), "OPEN waits for the CLOSE");
        session.close(&reader).unwrap();
        session.close(&opened).unwrap();
        session.close(&handle).unwrap();
        assert_same(&published(place, "other").unwrap(), b"content");
    });
}

#[test]
fn if_the_close_of_an_upload_does_not_arrive_in_that_time_nobody_waits_for_that() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        let handle = begun(session, &path, b"content");
        let began = Instant::now();
        let readers: Vec<Handle> = (0..100).map(|_| session.open_to_read(&path)).collect();
        assert!(began.elapsed() < Duration::from_secs(90), "each has waited");
        session.close(&handle).unwrap();
        for reader in &readers {
            session.close(reader).unwrap();
        }
    });
}

#[test]
fn a_folder_in_which_a_file_is_being_written_is_not_empty() {
    shared().on_every_store(|place, session| {
        session.make_directory(&place.path("folder")).unwrap();
        let handle = begun(session, &place.path("folder/file"), b"content");
        assert_refused(session.remove_directory(&place.path("folder")), FAILURE);
        session.close(&handle).unwrap();
        assert_same(&published(place, "folder/file").unwrap(), b"content");
    });
}

#[test]
fn a_user_with_only_write_can_rename_a_file_that_the_same_connection_has_uploaded() {
    let drop_box = |user: User, store: &str| {
        user.home_with(&format!("/drop-{store}"), &format!("{store}:/drop"), json!(["list", "write"]))
    };
    let bench = Builder::new().every_store().for_each_store(drop_box).start();
    bench.on_every_store(|place, session| {
        let entry = format!("/drop-{}", &place.store[1..]);
        let path = |name: &str| format!("{entry}/{name}");
        session.put(&path("file.filepart"), b"content");
        session.set_attributes(&path("file.filepart"), &Attributes::mtime(1_300_000_000)).unwrap();
        session.rename(&path("file.filepart"), &path("file")).unwrap();
        assert_eq!(session.stat(&path("file")).unwrap().size, Some(7));
        session.put(&path("file.filepart"), b"again");
        assert_refused(session.rename(&path("file.filepart"), &path("file")), FAILURE);
        assert_refused(session.posix_rename(&path("file.filepart"), &path("file")), FAILURE);
        let mut other = place.bench.connect();
        assert_refused(other.rename(&path("file.filepart"), &path("theirs")), PERMISSION_DENIED);
    });
}
