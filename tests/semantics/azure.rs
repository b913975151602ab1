//! What only Azure does.

use crate::bench::{Behind, Bench, Place, assert_refused, assert_same, shared};
use crate::support::data::{MIB, noise};
use crate::support::sftp::{FAILURE, Sftp};

#[track_caller]
fn on_azure(bench: &Bench, check: impl Fn(&Place<'_>, &mut Sftp)) {
    bench.on(|behind| matches!(behind, Behind::Server(server) if server.url().starts_with("az")), check);
}

#[test]
fn azure_discards_all_other_unfinished_parts_of_a_name_when_a_file_of_that_name_is() {
    on_azure(shared(), |place, session| {
        // Finished from parts: the emulator does not discard them when it is one put.
        let (path, theirs) = (place.path("file"), noise(6 * MIB, 2));
        let handle = session.create(&path);
        session.write(&handle, 0, &noise(11 * MIB, 1)).unwrap();
        let mut other = place.bench.connect();
        other.put(&path, &theirs);
        assert_refused(session.close(&handle), FAILURE);
        assert_same(&session.get(&path), &theirs);
    });
}

#[test]
fn azure_has_no_request_that_removes_the_parts_of_a_cut_off_upload_nobody_ever_sees() {
    on_azure(shared(), |place, session| {
        let mut leaver = place.bench.connect();
        let handle = leaver.create(&place.path("file"));
        leaver.write(&handle, 0, &noise(11 * MIB, 1)).unwrap();
        drop(leaver);
        place.await_cut_off("file");
        assert!(!session.exists(&place.path("file")));
        assert!(session.names(&place.path("")).is_empty());
        assert_eq!(place.keys().unwrap(), Vec::<String>::new());
        // They do not get into the next file of that name.
        session.put(&place.path("file"), &noise(6 * MIB, 2));
        assert_same(&session.get(&place.path("file")), &noise(6 * MIB, 2));
    });
}

#[test]
fn on_azure_it_is_the_empty_blob_dir_with_the_metadata_hdi_isfolder_which_other() {
    // That other tools' markers are understood, and ours by them, is shown in tests/conformance: it takes their requests.
    on_azure(shared(), |place, session| {
        session.make_directory(&place.path("ours")).unwrap();
        assert_eq!(place.keys().unwrap(), ["ours"]);
        assert!(session.stat(&place.path("ours")).unwrap().is_directory());
        assert_eq!(session.names(&place.path("")), ["ours/"]);
    });
}

#[test]
fn azure_would_change_a_backslash_to_a_slash_and_drop_a_dot_at_the_end_of_a() {
    on_azure(shared(), |place, session| {
        for name in ["back\\slash", "dot.", "...", "folder./file"] {
            let refusal = assert_refused(session.open(&place.path(name), 2 | 8), FAILURE);
            assert!(refusal.message.contains("name"), "{refusal:?}");
        }
        assert!(session.names(&place.path("")).is_empty());
    });
}
