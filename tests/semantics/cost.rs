//! What an operation costs: requests to the store, and round trips.

use std::thread;
use std::time::Duration;

use crate::bench::{Bench, Builder, assert_same};
use crate::support::plain_proxy::Proxy;
use crate::support::s3;
use crate::support::sftp::{APPEND, Attributes, CREATE, EXCLUSIVE, WRITING};

fn bench() -> (Proxy, Bench) {
    let proxy = Proxy::start(s3::new_store().port());
    let bench = Builder::new().s3_through(&proxy, &[]).start();
    (proxy, bench)
}

/// The methods of the requests that something costs; LIST stands for itself.
fn methods_of(proxy: &Proxy, act: impl FnOnce()) -> Vec<String> {
    proxy.forget();
    act();
    let name = |request: crate::support::plain_proxy::Request| match request.target.contains("list-type=2") {
        true => "LIST".to_owned(),
        false => request.method,
    };
    proxy.requests().into_iter().map(name).collect()
}

#[test]
fn a_stat_of_a_file_costs_one_request_a_stat_of_a_directory_or_of_a_name_that_does() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        session.put(&place.path("file"), b"x");
        session.put(&place.path("folder/file"), b"x");
        for (name, wanted) in [("file", &["HEAD"][..]), ("folder", &["HEAD", "LIST"]), ("missing", &["HEAD", "LIST"])] {
            let stat = || assert_eq!(session.stat(&place.path(name)).is_ok(), name != "missing");
            assert_eq!(methods_of(&proxy, stat), wanted, "{name}");
        }
    });
}

/// Longer than a connection remembers what it has looked up.
const LATER: Duration = Duration::from_millis(2_100);

#[test]
fn a_connection_remembers_for_two_seconds_what_it_has_looked_up_or_done_for_at_most() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        let (file, missing) = (place.path("file"), place.path("missing"));
        let mut look_at_both = || {
            methods_of(&proxy, || {
                session.stat(&file).unwrap();
                session.stat(&missing).unwrap_err();
            })
        };
        place.bench.connect().put(&file, b"x");
        assert_eq!(look_at_both(), ["HEAD", "HEAD", "LIST"]);
        assert_eq!(look_at_both(), [""; 0]);
        thread::sleep(LATER);
        assert_eq!(look_at_both(), ["HEAD", "HEAD", "LIST"]);
        for number in 0..128 {
            session.stat(&place.path(&format!("{number}"))).unwrap_err();
        }
        assert_eq!(methods_of(&proxy, || assert!(session.stat(&file).is_ok())), ["HEAD"]);
    });
}

#[test]
fn changes_by_others_in_the_store_may_appear_in_stat_two_seconds_late() {
    let (_proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        let store = place.s3().expect("S3");
        let (old, new) = (place.path("old"), place.path("new"));
        session.put(&old, b"x");
        session.stat(&new).unwrap_err();
        assert!(store.put(&place.key("new"), &[], b"theirs"));
        store.remove(&place.key("old"));
        thread::sleep(LATER);
        session.stat(&old).unwrap_err();
        assert_eq!(session.stat(&new).unwrap().size, Some(6));
    });
}

#[test]
fn the_gateway_never_decides_from_memory_about_content_of_others_open_for_reading() {
    let (_proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        let store = place.s3().expect("S3");
        let theirs = |name: &str| assert!(store.put(&place.key(name), &[], b"theirs"));
        for name in ["read", "exclusive", "appended", "removed", "made"] {
            session.stat(&place.path(name)).unwrap_err();
        }
        for name in ["read", "exclusive", "appended", "removed", "made"] {
            theirs(name);
        }
        assert_same(&session.get(&place.path("read")), b"theirs");
        session.open(&place.path("exclusive"), WRITING | CREATE | EXCLUSIVE).unwrap_err();
        let handle = session.open(&place.path("appended"), WRITING | CREATE | APPEND).unwrap();
        session.write(&handle, 0, b" and ours").unwrap();
        session.close(&handle).unwrap();
        assert_same(&session.get(&place.path("appended")), b"theirs and ours");
        session.remove(&place.path("removed")).unwrap();
        session.make_directory(&place.path("made")).unwrap_err();
        session.make_directory(&place.path("folder")).unwrap();
        theirs("folder/within");
        session.remove_directory(&place.path("folder")).unwrap_err();
        assert_eq!(place.keys().unwrap(), ["appended", "exclusive", "folder/", "folder/within", "made", "read"]);
    });
}

#[test]
fn a_rename_or_setstat_after_the_connections_own_upload_carries_the_uploaded() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        let store = place.s3().expect("S3");
        for name in ["renamed", "dated"] {
            session.put(&place.path(name), b"ours");
            assert!(store.put(&place.key(name), &[], b"theirs"));
        }
        session.rename(&place.path("renamed"), &place.path("new")).unwrap();
        session.set_attributes(&place.path("dated"), &Attributes::mtime(1_000_000_000)).unwrap();
        for name in ["new", "dated"] {
            assert_same(&place.content(name).unwrap(), b"theirs");
        }
        assert_eq!(session.stat(&place.path("dated")).unwrap().mtime, Some(1_000_000_000));
        // Where nobody came between, the condition spares the look.
        session.put(&place.path("file"), b"ours");
        let dated = || session.set_attributes(&place.path("file"), &Attributes::mtime(1_000_000_000)).unwrap();
        assert_eq!(methods_of(&proxy, dated), ["PUT"]);
    });
}

#[test]
fn the_second_new_file_in_a_folder_costs_one_list_of_it_those_that_follow_within() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, _| {
        // The connection that made the folder knows what is in it.
        let mut session = place.bench.connect();
        let mut put = |name: &str| methods_of(&proxy, || session.put(&place.path(name), b"x"));
        assert_eq!(put("1"), ["HEAD", "LIST", "PUT"]);
        assert_eq!(put("2"), ["LIST", "PUT"]);
        for number in 3..10 {
            assert_eq!(put(&number.to_string()), ["PUT"], "{number}");
        }
    });
}

#[test]
fn in_a_folder_with_more_than_1000_names_the_gateway_looks_up_each_new_file() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, _| {
        place.s3().expect("S3").make_many(&place.key("old"), "[0001-1001]");
        let mut session = place.bench.connect();
        let mut put = |name: &str| methods_of(&proxy, || session.put(&place.path(name), b"x"));
        put("1");
        put("2");
        assert_eq!(put("3"), ["HEAD", "LIST", "PUT"]);
    });
}

#[test]
fn changes_by_this_gateway_are_visible_immediately_on_every_connection() {
    let (_proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        let mut other = place.bench.connect();
        let (file, new) = (place.path("file"), place.path("new"));
        session.put(&file, b"x");
        for looking in [&mut *session, &mut other] {
            assert_eq!(looking.stat(&file).unwrap().size, Some(1));
            looking.stat(&new).unwrap_err();
        }
        other.put(&file, b"longer");
        assert_eq!(session.stat(&file).unwrap().size, Some(6));
        other.rename(&file, &new).unwrap();
        session.stat(&file).unwrap_err();
        assert_eq!(session.stat(&new).unwrap().size, Some(6));
        session.remove(&new).unwrap();
        other.stat(&new).unwrap_err();
    });
}

#[test]
fn a_stat_of_a_directory_with_a_marker_costs_a_third_one_on_s3_until_its_time_is() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        session.make_directory(&place.path("folder")).unwrap();
        let mut stat = || methods_of(&proxy, || assert!(session.stat(&place.path("folder")).is_ok())).len();
        assert_eq!(stat(), 3);
        // What has settled is remembered.
        thread::sleep(Duration::from_secs(12));
        assert_eq!(stat(), 3);
        thread::sleep(LATER);
        assert_eq!(stat(), 2);
    });
}

#[test]
fn a_new_small_file_costs_one_put_and_at_most_the_look_ups_of_one_stat() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        proxy.forget();
        session.stat(&place.path("missing")).unwrap_err();
        let look_ups = proxy.requests().len();
        for flags in [2 | 8 | 16, 2 | 8, 2 | 8 | 32] {
            proxy.forget();
            let path = place.path(&format!("file-{flags}"));
            let handle = session.open(&path, flags).unwrap();
            session.write(&handle, 0, b"some bytes").unwrap();
            session.close(&handle).unwrap();
            let requests = proxy.requests();
            let puts = requests.iter().filter(|request| request.method == "PUT").count();
            assert_eq!(puts, 1, "{requests:?}");
            assert!(requests.len() - puts <= look_ups, "{requests:?} for {look_ups} look-ups of a stat");
        }
    });
}
