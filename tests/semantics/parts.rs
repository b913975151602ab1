//! How an upload travels: one request, or parts while it arrives.

use std::time::Duration;

use crate::bench::{Bench, Builder};
use crate::support::data::{KIB, MIB, noise};
use crate::support::plain_proxy::{Proxy, Request};
use crate::support::process::{LIMIT, until};
use crate::support::s3;

fn bench() -> (Proxy, Bench) {
    let proxy = Proxy::start(s3::new_store().port());
    let bench = Builder::new().s3_through(&proxy, &[]).start();
    (proxy, bench)
}

fn writes(proxy: &Proxy) -> Vec<Request> {
    proxy.requests().into_iter().filter(|request| !["GET", "HEAD"].contains(&request.method.as_str())).collect()
}

#[test]
fn a_small_file_is_one_request_to_the_store() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        for size in [0, 1, 100 * KIB, 5 * MIB] {
            proxy.forget();
            session.put(&place.path("file"), &noise(size, size));
            let writes = writes(&proxy);
            assert_eq!(writes.len(), 1, "{writes:?}");
            assert_eq!((writes[0].method.as_str(), writes[0].body_length), ("PUT", size));
        }
    });
}

#[test]
fn a_larger_file_is_sent_in_parts_while_it_arrives_several_at_once() {
    let (proxy, bench) = bench();
    bench.on_every_store(|place, session| {
        let handle = session.create(&place.path("file"));
        proxy.forget();
        // Long enough for the next part to be there before the last has gone.
        proxy.delay(Duration::from_secs(2));
        session.write(&handle, 0, &noise(22 * MIB, 1)).unwrap();
        let parts = || {
            let requests = proxy.requests().into_iter();
            requests.filter(|r| r.method == "PUT" && r.target.contains("partNumber=")).collect::<Vec<_>>()
        };
        // The file is not closed yet.
        let sent = until("four parts", LIMIT, || Some(parts()).filter(|parts| parts.len() == 4));
        assert!(sent.iter().all(|part| part.body_length == 5 * MIB), "{sent:?}");
        proxy.delay(Duration::ZERO);
        session.close(&handle).unwrap();
        let sent = parts();
        assert_eq!(sent.iter().map(|part| part.body_length).sum::<u64>(), 22 * MIB);
        let at_once = |part: &Request| {
            let during = |other: &&Request| other.began <= part.began && other.ended.is_none_or(|end| end > part.began);
            sent.iter().filter(during).count()
        };
        assert!(sent.iter().map(at_once).max() > Some(1), "one after the other: {sent:?}");
    });
}
