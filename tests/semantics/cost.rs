//! What an operation costs: requests to the store, and round trips.

use std::time::Duration;

use crate::bench::{Bench, Builder};
use crate::support::plain_proxy::Proxy;
use crate::support::s3;

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
fn a_stat_of_a_file_costs_one_request_that_of_a_directory_or_of_nothing_a_second_one() {
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

#[test]
fn what_a_connection_has_looked_up_or_done_it_remembers_for_two_seconds() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        let (file, missing) = (place.path("file"), place.path("missing"));
        session.put(&file, b"x");
        session.stat(&file).unwrap();
        session.stat(&missing).unwrap_err();
        let again = methods_of(&proxy, || {
            session.stat(&file).unwrap();
            session.stat(&missing).unwrap_err();
        });
        assert_eq!(again, [""; 0]);
        std::thread::sleep(Duration::from_millis(2_100));
        let later = methods_of(&proxy, || {
            session.stat(&file).unwrap();
            session.stat(&missing).unwrap_err();
        });
        assert_eq!(later, ["HEAD", "HEAD", "LIST"]);
    });
}

#[test]
fn what_this_gateway_changes_shows_at_once_on_every_connection() {
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
fn a_stat_of_a_directory_with_a_marker_costs_a_third_one_on_s3_until_its_time_is_remembered() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        session.make_directory(&place.path("folder")).unwrap();
        let mut stat = || methods_of(&proxy, || assert!(session.stat(&place.path("folder")).is_ok())).len();
        assert_eq!(stat(), 3);
        // What has settled is remembered.
        std::thread::sleep(Duration::from_secs(12));
        assert_eq!(stat(), 3);
        std::thread::sleep(Duration::from_millis(2_100));
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
