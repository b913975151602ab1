//! Users in a database: `cargo run --example users_in_sqlite -- FOLDER`. Whoever is in the table `users` of FOLDER/users.db may log in; a row
//! that is added or removed counts from the next login on.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate::{DirectoryError, Gateway, Home, LoginAttempt, Settings, User, UserDirectory, async_trait};
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY,
    public_key TEXT,
    password_hash TEXT,
    folder TEXT NOT NULL
)";

/// The table `users`.
#[derive(Debug)]
struct Database(Arc<Mutex<Connection>>);

impl Database {
    fn open(file: &Path) -> rusqlite::Result<Database> {
        let connection = Connection::open(file)?;
        connection.execute(TABLE, ())?;
        Ok(Database(Arc::new(Mutex::new(connection))))
    }
}

#[async_trait]
impl UserDirectory for Database {
    fn label(&self) -> &str {
        "sqlite"
    }

    async fn find(&self, name: &str, _: &LoginAttempt) -> Result<Option<User>, DirectoryError> {
        let (connection, name) = (self.0.clone(), name.to_owned());
        // A query may wait for the disk, so it does not run on a thread that serves connections.
        let found = tokio::task::spawn_blocking(move || {
            find(&connection.lock().unwrap_or_else(PoisonError::into_inner), &name).map_err(|error| error.to_string())
        });
        found.await.map_err(|error| error.to_string()).and_then(|found| found).map_err(DirectoryError::new)
    }
}

fn find(connection: &Connection, name: &str) -> Result<Option<User>, Box<dyn Error>> {
    let mut query = connection.prepare_cached("SELECT public_key, password_hash, folder FROM users WHERE name = ?1")?;
    let row = query.query_row([name], |row| {
        Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, String>(2)?))
    });
    let Some((key, hash, folder)) = row.optional()? else { return Ok(None) };
    let mut user = User::new(name).home(Home::new("/", "files", &folder)?);
    if let Some(key) = key {
        user = user.key(&key)?;
    }
    if let Some(hash) = hash {
        user = user.password_hash(&hash)?;
    }
    Ok(Some(user))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: users_in_sqlite FOLDER")?;
    let folder = Path::new(&folder);
    lockgate::make_host_key(folder.join("host_key"))?;
    let settings = Settings::new()
        .folder(folder)
        .listen("127.0.0.1:0".parse()?)
        .host_key("host_key")
        .store("files", "file:data")
        .set("events", json!([{ "sink": "file", "path": "events.ndjson" }]))
        .set("limits", json!({ "staging_folder": "staging" }));
    let database = Database::open(&folder.join("users.db"))?;
    let gateway = Gateway::builder(settings).users(database).start().await?;
    println!("listening on {}", gateway.addresses()[0]);

    tokio::signal::ctrl_c().await?;
    gateway.drain().await;
    Ok(())
}
