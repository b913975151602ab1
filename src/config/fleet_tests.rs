//! `fleet`: what it may be, and what is said of what it may not.

use std::path::{Path, PathBuf};

use super::out_of_reach::InForce;
use super::problem::Problems;
use super::read_from;
use super::resolve::Surroundings;
use crate::fleet::Settings;
use crate::secret::Secret;

fn read(fleet: &str) -> Result<Option<Settings>, Problems> {
    let around = Surroundings {
        folder: PathBuf::from("/etc/lockgate"),
        host_name: "h".into(),
        look_at_files: false,
        others_read: false,
        in_force: InForce::default(),
    };
    let text =
        format!("server: {{ listen: ['127.0.0.1:0'], host_keys: [k] }}\nstores: {{}}\nusers: []\nfleet: {fleet}\n");
    read_from(&text, &around, &|_| None, Problems::new(Path::new("c"))).map(|settings| settings.fleet)
}

#[test]
fn a_fleet_has_a_server_a_name_and_a_lease() {
    let least = read("{ url: 'redis://cache', name: prod }").unwrap().unwrap();
    assert_eq!(
        (least.place().as_str(), least.name.as_str(), least.lease.as_secs()),
        ("redis://cache:6379", "prod", 15)
    );
    let all = "{ url: ['rediss://a:1', 'rediss://b:2/3'], name: prod, lease: 30s, username: gw, password: x, ca_file: ca.pem, sentinel: { master: m, password: y } }";
    let all = read(all).unwrap().unwrap();
    assert_eq!(all.place(), "rediss://a:1, rediss://b:2 (sentinels of m)");
    assert_eq!((all.addresses[1].database, all.lease.as_secs()), (3, 30));
    assert_eq!(all.ca_file.unwrap(), Path::new("/etc/lockgate/ca.pem"));
    assert_eq!(
        (all.credentials.username.as_deref(), all.credentials.password),
        (Some("gw"), Some(Secret::new("x".into())))
    );
    assert_eq!(all.sentinel.unwrap().credentials.password, Some(Secret::new("y".into())));
    assert!(read("").unwrap().is_none());
}

#[test]
fn what_is_wrong_is_said_and_no_password_is_repeated() {
    for (fleet, says) in [
        ("{ name: prod }", "is missing"),
        ("{ url: 'redis://c' }", "is missing"),
        ("{ url: [], name: prod }", "is empty"),
        ("{ url: 'http://hunter2@c', name: prod }", "is not a URL of Redis"),
        ("{ url: 'redis://c', name: 'a b' }", "a fleet's name"),
        ("{ url: 'redis://c', name: prod, lease: 1s }", "3s"),
        ("{ url: 'redis://c', name: prod, username: gw }", "needs a password"),
        ("{ url: 'redis://:hunter2@c', name: prod, password: hunter2 }", "leave out one of the two"),
        ("{ url: ['redis://:hunter2@c', 'redis://d'], name: prod }", "with several URLs"),
        ("{ url: ['redis://c', 'redis://c'], name: prod }", "appears twice"),
        ("{ url: 'redis://c', name: prod, ca_file: ca.pem }", "without TLS"),
        ("{ url: 'redis://c', name: prod, sentinel: {} }", "is missing"),
        ("{ url: 'redis://c', name: prod, port: 1 }", "unknown key"),
    ] {
        let problems = read(fleet).unwrap_err().to_string();
        assert!(problems.contains(says) && !problems.contains("hunter2"), "{fleet}: {problems}");
    }
}
