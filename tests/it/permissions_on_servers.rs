//! Sets of permissions against every request on a path, on the stores of servers. Those of the process have the same table in
//! `src/sftp/tests/permissions.rs`.

use std::thread;

use serde_json::{Value, json};

use crate::support::campaign::{Dice, is_long, report, seed};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::permission_table::{Channel, NAMES, SETS, Trial};
use crate::support::process::LIMIT;
use crate::support::raw_sftp::{RawSftp, string};
use crate::support::setup::{Setup, User};
use crate::support::{azure, gcs, s3};

const MKDIR: u8 = 14;

impl Channel for RawSftp {
    async fn call(&mut self, kind: u8, fields: &[&[u8]]) -> (u8, Vec<u8>) {
        let answer = RawSftp::call(self, kind, 1, fields);
        (answer.kind, answer.body)
    }
}

/// All sets in the long form; otherwise none and all permissions, each alone, each left out, and some by chance.
fn sets() -> Vec<u32> {
    if is_long() {
        return (0..SETS).collect();
    }
    let single = (0..NAMES.len()).map(|place| 1 << place);
    let seed = seed();
    report(&format!("permissions with LOCKGATE_SEED={seed}"));
    let mut dice = Dice::new(seed);
    let mut sets: Vec<u32> = single.clone().chain(single.map(|one| SETS - 1 - one)).collect();
    sets.extend([0, SETS - 1]);
    sets.extend((0..4).map(|_| dice.below(u64::from(SETS)) as u32));
    sets.sort_unstable();
    sets.dedup();
    sets
}

fn permissions(set: u32) -> Value {
    let names = NAMES.iter().enumerate().filter(|(place, _)| set & (1 << place) != 0);
    names.map(|(_, name)| *name).collect()
}

/// A user for each set, whose home is a folder of the owner's.
fn try_on(name: &str, url: &str, options: &Value) {
    let mut setup = Setup::new();
    setup.store("main", json!({ "url": url, "options": options }));
    let key = setup.key("alice");
    setup.user(User::new("owner").key(&key).home("/", "main:/"));
    let sets = sets();
    for set in &sets {
        let user = User::new(&format!("user-{set}")).key(&key);
        setup.user(user.home_with("/", &format!("main:/set-{set}"), permissions(*set)));
    }
    let gateway = setup.start();
    for set in sets {
        try_set(name, &gateway, &key, set);
    }
    gateway.stop();
}

fn try_set(name: &str, gateway: &Gateway, key: &Key, set: u32) {
    let mut owner = RawSftp::connect(&gateway.client("owner", key), LIMIT);
    let folder = format!("/set-{set}");
    let made = owner.call(MKDIR, 1, &[&string(folder.as_bytes()), &[0; 4]]);
    assert_eq!(made.status(), 0, "{folder}");
    let client = RawSftp::connect(&gateway.client(&format!("user-{set}"), key), LIMIT);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Trial::run(client, owner, &folder, set, name));
}

#[test]
fn sets_of_permissions_allow_on_servers_what_the_table_says() {
    thread::scope(|scope| {
        let (on_s3, on_azure, on_gcs) = (s3::new_store(), azure::new_store(), gcs::new_store());
        scope.spawn(move || try_on("s3", &on_s3.url(), &on_s3.options()));
        scope.spawn(move || try_on("azure", &on_azure.url(), &on_azure.options()));
        scope.spawn(move || try_on("gcs", &on_gcs.url(), &on_gcs.options()));
    });
}
