//! A gateway inside another program: `cargo run --example embedded -- FOLDER "$(cat ~/.ssh/id_ed25519.pub)"`, then
//! `sftp -P PORT ann@127.0.0.1`.

use std::error::Error;

use lockgate::{Gateway, Home, Settings, User};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embedded FOLDER PUBLIC_KEY".into());
    };
    lockgate::make_host_key(std::path::Path::new(&folder).join("host_key"))?;

    let ann = User::new("ann").key(&key)?.home(Home::new("/", "files", "ann")?);
    let settings = Settings::new()
        .folder(folder)
        .listen("127.0.0.1:0".parse()?)
        .host_key("host_key")
        .store("files", "file:data")
        .user(ann)
        .set("events", json!([{ "sink": "file", "path": "events.ndjson" }]))
        .set("limits", json!({ "staging_folder": "staging", "drain": "10s" }));
    let gateway = Gateway::builder(settings).start().await?;
    println!("listening on {}", gateway.addresses()[0]);

    tokio::signal::ctrl_c().await?;
    println!("draining; {} sessions are live", gateway.handle().sessions().len());
    gateway.drain().await;
    Ok(())
}
