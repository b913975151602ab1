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

#[test]
fn a_stat_costs_one_round_trip_in_time() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        session.put(&place.path("file"), b"x");
        session.put(&place.path("folder/file"), b"x");
        // Long enough that each request is under way while the others begin, if none of them waits for another.
        proxy.delay(Duration::from_secs(2));
        for name in ["file", "folder", "missing"] {
            proxy.forget();
            let found = session.stat(&place.path(name));
            assert_eq!(found.is_ok(), name != "missing");
            let requests = proxy.requests();
            let last_began = requests.iter().map(|request| request.began).max().unwrap();
            let first_ended = requests.iter().filter_map(|request| request.ended).min();
            assert!(first_ended.is_none_or(|ended| last_began < ended), "{name}: {requests:?}");
        }
        proxy.delay(Duration::ZERO);
    });
}

#[test]
fn that_of_a_directory_with_a_marker_costs_a_second_one_on_s3_until_its_time_is() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        session.make_directory(&place.path("folder")).unwrap();
        let mut requests_of_a_stat = || {
            proxy.forget();
            session.stat(&place.path("folder")).unwrap();
            proxy.requests().len()
        };
        assert_eq!(requests_of_a_stat(), 3);
        // What has settled is remembered.
        std::thread::sleep(Duration::from_secs(12));
        assert_eq!((requests_of_a_stat(), requests_of_a_stat()), (3, 2));
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
