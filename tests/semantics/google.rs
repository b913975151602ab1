//! What only Google Cloud Storage does.

use crate::bench::{Behind, Place, assert_refused, shared};
use crate::support::data::{MIB, noise};
use crate::support::sftp::{CREATE, EXCLUSIVE, Sftp, TRUNCATE, UNSUPPORTED, WRITING};

#[track_caller]
fn on_google(check: impl Fn(&Place<'_>, &mut Sftp)) {
    shared().on(|behind| matches!(behind, Behind::Server(server) if server.url().starts_with("gs")), check);
}

#[test]
fn on_google_cloud_storage_it_is_the_same_key() {
    on_google(|place, session| {
        session.make_directory(&place.path("ours")).unwrap();
        assert_eq!(place.keys().unwrap(), ["ours/"]);
        assert!(session.stat(&place.path("ours")).unwrap().is_directory());
        assert!(session.names(&place.path("ours")).is_empty());
        session.remove_directory(&place.path("ours")).unwrap();
        assert_eq!(place.keys().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn on_google_cloud_storage_an_excl_upload_cannot_change_its_first_part_either() {
    on_google(|place, session| {
        let handle = session.open(&place.path("file"), WRITING | CREATE | TRUNCATE | EXCLUSIVE).unwrap();
        session.write(&handle, 0, &noise(11 * MIB, 1)).unwrap();
        assert_refused(session.write(&handle, 0, b"header"), UNSUPPORTED);
        assert!(session.close(&handle).is_err());
        assert!(!session.exists(&place.path("file")));
    });
}
