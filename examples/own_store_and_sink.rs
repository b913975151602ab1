//! A store, a sink of events and a decision on logins of the program's own:
//! `cargo run --example own_store_and_sink -- FOLDER "$(cat ~/.ssh/id_ed25519.pub)"`. Files live in memory and events are printed.

use std::collections::HashSet;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use lockgate::object_store::memory::InMemory;
use lockgate::{Decision, Event, EventSink, Gateway, Home, LoginGate, ProvenLogin, Settings, User, async_trait};
use serde_json::json;

/// Prints what happened, with whom and with which file.
#[derive(Debug)]
struct Printer;

impl EventSink for Printer {
    fn name(&self) -> &str {
        "printer"
    }

    fn record(&self, event: &Event<'_>) -> io::Result<()> {
        let field = |name| event.text(name).unwrap_or("-");
        // What is returned as an error is given again: no event is lost because the reader of a pipe was slow.
        writeln!(io::stdout(), "event {} {} {}", event.activity(), field("user"), field("path"))
    }
}

/// Lets only those in who accepted the terms of use.
#[derive(Debug)]
struct TermsOfUse(HashSet<String>);

#[async_trait]
impl LoginGate for TermsOfUse {
    async fn decide(&self, login: &ProvenLogin) -> Decision {
        if self.0.contains(&login.user) {
            return Decision::Allow;
        }
        Decision::refuse("the terms of use were not accepted")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("usage: own_store_and_sink FOLDER PUBLIC_KEY".into());
    };
    lockgate::make_host_key(Path::new(&folder).join("host_key"))?;
    let user =
        |name: &str| Ok::<_, lockgate::InvalidUser>(User::new(name).key(&key)?.home(Home::new("/", "mine", name)?));
    let settings = Settings::new()
        .folder(folder)
        .listen("127.0.0.1:0".parse()?)
        .host_key("host_key")
        .user(user("ann")?)
        .user(user("ben")?)
        .set("limits", json!({ "staging_folder": "staging" }));
    let gateway = Gateway::builder(settings)
        .store("mine", InMemory::new())
        .events(Printer)
        .login_gate(TermsOfUse(HashSet::from(["ann".to_owned()])))
        .start()
        .await?;
    println!("listening on {}", gateway.addresses()[0]);

    tokio::signal::ctrl_c().await?;
    gateway.drain().await;
    Ok(())
}
