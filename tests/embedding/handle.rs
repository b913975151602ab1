//! What a program does with the handle of its gateway, in this process.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lockgate::{Configuration, Gateway, Handle, Home, ReloadError, Settings, StartError, User};
use serde_json::json;

use super::support::client::Client;
use super::support::keys::Key;
use super::support::process::{LIMIT, program, run};

/// A gateway with these users, all of whom have the same key.
fn settings(folder: &Path, key: &Key, users: &[&str]) -> Settings {
    let settings = Settings::new()
        .folder(folder)
        .listen("127.0.0.1:0".parse().unwrap())
        .host_key("host_key")
        .store("files", "memory:///")
        .set("events", json!([{ "sink": "file", "path": "events.ndjson" }]))
        .set("limits", json!({ "staging_folder": "staging" }));
    let user = |name: &&str| User::new(*name).key(&key.public).unwrap().home(Home::new("/", "files", name).unwrap());
    users.iter().map(user).fold(settings, Settings::user)
}

fn client(folder: &Path, gateway: &Gateway, key: &Key, user: &str) -> Client {
    let (port, known_hosts) = (gateway.addresses()[0].port(), folder.join("known_hosts"));
    let public = run(program("ssh-keygen").arg("-y").arg("-f").arg(folder.join("host_key"))).succeeded().stdout;
    std::fs::write(&known_hosts, format!("[127.0.0.1]:{port} {}\n", public.trim())).unwrap();
    Client::new(port, &known_hosts, user).identity(&key.private)
}

/// An sftp that says nothing until its input ends. Killed when this is dropped.
struct Idle(Child);

impl Idle {
    fn start(client: &Client) -> Idle {
        let mut command = client.command("sftp");
        Idle(
            command
                .arg(client.host())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn live(handle: &Handle) -> Vec<String> {
    handle.sessions().into_iter().map(|session| session.user).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_shown_and_ended_and_users_changed() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::make(folder.path(), "key", "ed25519");
    lockgate::make_host_key(folder.path().join("host_key")).unwrap();
    let gateway = Gateway::builder(settings(folder.path(), &key, &["ann", "ben"])).start().await.unwrap();
    let handle = gateway.handle();
    let (ann, ben) = (client(folder.path(), &gateway, &key, "ann"), client(folder.path(), &gateway, &key, "ben"));
    let _sessions = [Idle::start(&ann), Idle::start(&ben)];
    until("both are there", || live(&handle).len() == 2).await;
    let session = handle.sessions().into_iter().find(|session| session.user == "ann").unwrap();
    assert_eq!(
        (session.source.as_str(), session.method.as_str(), session.id.len()),
        ("configuration", "publickey", 20)
    );
    assert!(session.source_ip.is_loopback() && session.client.is_some_and(|client| client.contains("OpenSSH")));
    until("the metrics say so", || handle.metrics().contains("\nlockgate_sessions 2\n")).await;

    assert_eq!(handle.end_sessions("it is late", |session| session.user == "ann"), 1);
    until("only ben is there", || live(&handle) == ["ben"]).await;
    assert_eq!(handle.end_sessions("nobody", |session| session.user == "ann"), 0);

    // A configuration that is wrong changes nothing.
    let wrong = handle.reload(settings(folder.path(), &key, &["ben"]).set("colour", json!("red"))).await.unwrap_err();
    assert!(matches!(&wrong, ReloadError::Configuration(_)) && wrong.to_string().contains("colour"), "{wrong}");
    assert_eq!(live(&handle), ["ben"]);
    // Whoever is gone from it is ended, and what cannot change is said.
    let without_ben = settings(folder.path(), &key, &["ann"]).set("partial_uploads", json!("publish"));
    let reloaded = handle.reload(without_ben).await.unwrap();
    assert_eq!(reloaded.waits_for_restart, ["partial_uploads"]);
    until("nobody is there", || live(&handle).is_empty()).await;
    tokio::task::spawn_blocking(move || {
        ann.sftp("ls\n").succeeded();
        ben.sftp("ls\n").failed();
    })
    .await
    .unwrap();

    gateway.drain().await;
    assert!(matches!(handle.reload(Configuration::file("none")).await, Err(ReloadError::Configuration(_))));
    let events = std::fs::read_to_string(folder.path().join("events.ndjson")).unwrap();
    for part in ["\"ended-by\":\"the embedding program\"", "\"message\":\"it is late\"", "\"reason\":\"user-removed\""]
    {
        assert!(events.contains(part), "{part} in {events}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::make(folder.path(), "key", "ed25519");
    let start = async |settings: Settings| Gateway::builder(settings).start().await.unwrap_err();
    let keyless = start(settings(folder.path(), &key, &["ann"])).await;
    assert!(matches!(&keyless, StartError::Unusable(what) if what.contains("host_key")), "{keyless}");
    lockgate::make_host_key(folder.path().join("host_key")).unwrap();
    let homeless = User::new("ann").key(&key.public).unwrap().home(Home::new("/", "nowhere", "").unwrap());
    let homeless = start(settings(folder.path(), &key, &[]).user(homeless)).await;
    assert!(
        matches!(&homeless, StartError::Configuration(_)) && homeless.to_string().contains("nowhere"),
        "{homeless}"
    );

    // One that is given up on gives its port back, and its trail can be continued.
    let gateway = Gateway::builder(settings(folder.path(), &key, &["ann"])).start().await.unwrap();
    let taken = gateway.addresses()[0];
    let second = settings(folder.path(), &key, &["ann"]).set("server", json!({ "listen": [taken.to_string()] }));
    let second = start(second.set("limits", json!({ "staging_folder": "another" }))).await;
    assert!(matches!(&second, StartError::Unusable(what) if what.contains(&taken.port().to_string())), "{second}");
    gateway.stop().await;
    for _ in 0..5 {
        let starting = Gateway::builder(settings(folder.path(), &key, &["ann"])).start();
        let _ = tokio::time::timeout(Duration::from_millis(1), starting).await;
    }
    // Each of them may still be on its way out.
    let begun = Instant::now();
    let last = loop {
        match Gateway::builder(settings(folder.path(), &key, &["ann"])).start().await {
            Ok(last) => break last,
            Err(error) => assert!(begun.elapsed() < LIMIT, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    last.drain().await;
}
