//! Every set of permissions against every request on a path, on the stores of this process. Servers have the same table in
//! `tests/it/permissions_on_servers.rs`.

use std::sync::Arc;

use super::pipe::Client;
use super::string;
use crate::path::LogicalPath;
use crate::policy::{Permission, Permissions};
use crate::secret::Secret;
use crate::session::testing::Home;
use crate::stores::{self, Store};
use table::{Channel, NAMES, SETS, Trial};

#[path = "../../../tests/support/permission_table.rs"]
mod table;

const OPEN: u8 = 3;
const STAT: u8 = 17;

const DENIED: u32 = 3;

const READ: u32 = 1;
const CREATE: u32 = 8;

impl Channel for Client {
    async fn call(&mut self, kind: u8, fields: &[&[u8]]) -> (u8, Vec<u8>) {
        let answer = Client::call(self, kind, fields).await;
        (answer.kind, answer.rest.to_vec())
    }
}

async fn try_all(kind: &'static str, open: impl Fn() -> (Arc<dyn Store>, Option<tempfile::TempDir>)) {
    assert_eq!(Permission::ALL.map(|one| format!("{one:?}").to_lowercase()), NAMES);
    for number in 0..SETS {
        let has = |place: usize| number & (1 << place) != 0;
        let set =
            Permission::ALL.into_iter().enumerate().filter(|(place, _)| has(*place)).map(|(_, one)| one).collect();
        let (store, _folder) = open();
        let owned = Home::over(Arc::clone(&store), &[("/", "", Permissions::READ_WRITE)]).await;
        let home = Home::over(store, &[("/", "", set)]).await;
        let (client, owner) = (Client::start(home.session()).await, Client::start(owned.session()).await);
        Trial::run(client, owner, "", number, kind).await;
    }
}

#[tokio::test]
async fn every_set_of_permissions_allows_what_the_table_says_in_memory() {
    let settings = stores::Settings { name: "memory".into(), url: "memory:///".into(), options: Vec::new() };
    try_all("memory", || (stores::open(&settings).unwrap(), None)).await;
}

#[tokio::test]
async fn every_set_of_permissions_allows_what_the_table_says_in_a_folder() {
    try_all("a folder", || {
        let folder = tempfile::tempdir().unwrap();
        let options = vec![("fsync".to_owned(), Secret::new("false".to_owned()))];
        let url = format!("file://{}", folder.path().display());
        let store = stores::open(&stores::Settings { name: "folder".into(), url, options }).unwrap();
        (store, Some(folder))
    })
    .await;
}

/// A drop box as programs use it: they look first, and look at what they have uploaded.
#[tokio::test]
async fn a_drop_box_shows_its_directories_and_own_files_only() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE), ("/drop", "drop", Permissions::WRITE_ONLY)]).await;
    let owned = Home::over(home.store().clone(), &[("/", "", Permissions::READ_WRITE)]).await;
    let mut owner = Client::start(owned.session()).await;
    owner.put("/drop/theirs", b"theirs").await;
    let mut client = Client::start(home.session()).await;
    client.put("/drop/mine", b"mine").await;
    let mut again = Client::start(home.session_of_another_connection()).await;
    for (path, here, there) in [("/drop", true, true), ("/drop/mine", true, false), ("/drop/theirs", false, false)] {
        assert_eq!(client.call(STAT, &[&string(path)]).await.kind == 105, here, "{path}");
        assert_eq!(again.call(STAT, &[&string(path)]).await.kind == 105, there, "{path} on another connection");
    }
    let refused = client.call(OPEN, &[&string("/drop/x"), &(READ | CREATE).to_be_bytes(), &[0; 4]]).await;
    assert_eq!(refused.status(), DENIED);
    assert!(owned.session().stat(&LogicalPath::parse_str("/drop/x").unwrap()).await.is_err(), "and nothing is made");
}
