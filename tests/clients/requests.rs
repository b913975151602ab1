//! What a bucket is asked when OpenSSH's `sftp` and rclone do one thing each: every request passes a proxy that counts. A bucket bills a
//! LIST, a PUT and a copy about twelve times a HEAD or a GET.

use std::fmt::Write;
use std::fs;

use serde_json::json;

use crate::checks::text;
use crate::openssh::Sftp;
use crate::place::{Kind, Place, place_with};
use crate::rclone::Rclone;
use crate::support::plain_proxy::Proxy;
use crate::support::s3;

/// A home on S3 that is reached through a proxy. The server ignores conditions on deletions, so the gateway looks before each.
fn counted() -> (Place, Proxy) {
    let store = s3::new_store();
    let proxy = Proxy::start(store.port());
    let endpoint = proxy.endpoint();
    let place = place_with(Kind::S3, move |setup| {
        let options = store.options_through(&endpoint);
        setup.store("main", json!({ "url": store.url(), "options": options }));
    });
    (place, proxy)
}

/// How many requests there were, how many of them were LIST, and each.
fn count(proxy: &Proxy) -> (usize, usize, String) {
    let (mut lists, mut each) = (0, String::new());
    for request in proxy.requests() {
        lists += usize::from(request.target.contains("list-type=2"));
        let copied = request.header("x-amz-copy-source").map_or("", |_| " (copy)");
        writeln!(each, "{} {}{copied}", request.method, request.target).unwrap();
    }
    (proxy.requests().len(), lists, each)
}

#[test]
fn one_operation_of_sftp_or_rclone_costs_a_few_requests() {
    let (place, proxy) = counted();
    let local = place.local("local");
    fs::write(&local, vec![b'x'; 500]).unwrap();
    let (sftp, rclone, local) = (Sftp(&place), Rclone(&place), text(&local));
    let scripts = [
        ("put of a new file", format!("put {local} /f\n"), 4, 1),
        ("stat", "ls -l /f\n".to_owned(), 1, 0),
        ("overwrite", format!("put {local} /f\n"), 3, 0),
        ("get", format!("get /f {local}.back\n"), 3, 0),
        ("rename", "rename /f /g\n".to_owned(), 6, 1),
        ("rm", "rm /g\n".to_owned(), 3, 0),
    ];
    let mut wrong = String::new();
    let mut judge = |what: &str, most: usize, most_lists: usize| {
        let (all, lists, each) = count(&proxy);
        println!("{what}: {all} ({lists} LIST)\n{each}");
        if all == 0 || all > most || lists > most_lists {
            writeln!(wrong, "{what}: {all} ({lists} LIST), not {most} ({most_lists}):\n{each}").unwrap();
        }
    };
    for (what, script, most, most_lists) in scripts {
        proxy.forget();
        sftp.run(&script);
        judge(what, most, most_lists);
    }
    proxy.forget();
    rclone.command(&["copyto", local, ":sftp:/new"]).succeeded();
    judge("rclone copyto", 14, 4);
    assert_eq!(fs::read(format!("{local}.back")).unwrap().len(), 500);
    assert!(wrong.is_empty(), "more requests than there were:\n{wrong}");
}

/// Who makes many files in one folder asks nothing for most of them.
#[test]
fn many_new_files_cost_a_put_each_and_a_few_looks_in_all() {
    let (place, proxy) = counted();
    let folder = place.setup.subfolder("many");
    for number in 0..100 {
        fs::write(folder.join(format!("{number}")), "x").unwrap();
    }
    let sftp = Sftp(&place);
    for (what, script, looks) in [
        ("into a new folder", format!("put -r {} /new\n", text(&folder)), 8),
        ("into one that is there", format!("cd /new\nput {}/* /new/\n", text(&folder)), 210),
    ] {
        proxy.forget();
        sftp.run(&script);
        let (all, lists, each) = count(&proxy);
        println!("{what}: {all} ({lists} LIST)");
        assert!(all <= 101 + looks, "{what}: {all} ({lists} LIST):\n{each}");
    }
}
