//! `lockgate check`: every problem of a configuration, and with `--online` whether its stores and sinks can be reached.

mod advice;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{Access, access};

use super::progress::Steps;
use super::{Failure, block_on};
use crate::admin::reach_provider;
use crate::audit::ArchivePlace;
use crate::gateway::{Settings, reach_users};
use crate::stores::LockRule;
use crate::{config, fleet, stores};

/// How long one store may take to answer.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Checks `file`; prints a summary when all is well.
pub(super) fn check(file: &Path, online: bool) -> Result<(), Failure> {
    let settings = config::check(file)?;
    for note in advice::advice(&settings) {
        eprintln!("{note}");
    }
    if online {
        block_on(reach(&settings))?;
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "OK: {}", summary(&settings, online)).context("standard output cannot be written")?;
    Ok(())
}

fn summary(settings: &Settings, online: bool) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let listen: Vec<String> = settings.ssh.listen.iter().map(ToString::to_string).collect();
    let sources = match settings.users_from.len() {
        0 => String::new(),
        1 => " and 1 source of users".to_owned(),
        more => format!(" and {more} sources of users"),
    };
    let reached = if online { "; each store and sink was reached" } else { "" };
    format!(
        "{}, {}{sources}, {}; listens on {}{reached}",
        count(settings.stores.len(), "store"),
        count(settings.users.len(), "user"),
        count(settings.audit.sinks.len(), "sink"),
        listen.join(", ")
    )
}

/// Reaches every store and every sink, and reports all that fail.
async fn reach(settings: &Settings) -> anyhow::Result<()> {
    let (mut failures, mut notes) = (Vec::new(), Vec::new());
    let sources = usize::from(!settings.users_from.is_empty());
    let providers = usize::from(settings.admin.oidc.is_some());
    let archives = settings.audit.archives().count();
    let fleets = usize::from(settings.fleet.is_some());
    let sinks = settings.audit.sinks.len();
    let mut steps = Steps::new(settings.stores.len() + sources + providers + archives + sinks + fleets);
    for store in &settings.stores {
        steps.next(&format!("reaching the store {:?}", store.name));
        match reach_store(store).await {
            Ok(found) => notes.extend(found.map(|found| format!("the store {:?}: {found}", store.name))),
            Err(what) => failures.push(format!("the store {:?} cannot be used: {what}", store.name)),
        }
    }
    if !settings.users_from.is_empty() {
        steps.next("reaching the sources of users");
        let reached = reach_users(settings).await;
        notes.extend(reached.notes);
        failures.extend(reached.failures);
    }
    if let Some(oidc) = &settings.admin.oidc {
        steps.next("reaching the identity provider of the admin door");
        failures.extend(reach_provider(oidc).await.err());
    }
    failures.extend(settings.audit.chain.as_ref().and_then(|chain| reach_folder(&chain.folder).err()));
    for place in settings.audit.archives() {
        steps.next("looking for Object Lock");
        match reach_lock(place, &settings.stores).await {
            Ok(note) => notes.extend(note),
            Err(what) => failures.push(what),
        }
    }
    for sink in &settings.audit.sinks {
        steps.next("reaching a sink");
        match sink.reach().await {
            Ok(note) => notes.extend(note),
            Err(what) => failures.push(what),
        }
    }
    if let Some(fleet) = &settings.fleet {
        steps.next("reaching the shared state of the fleet");
        failures.extend(fleet::reach(fleet).await.err());
    }
    drop(steps);
    for note in notes {
        eprintln!("{note}");
    }
    match failures.len() {
        0 => Ok(()),
        1 => bail!("{}", failures.join("\n")),
        n => bail!("{n} failures\n  {}", failures.join("\n  ")),
    }
}

/// Reaches a store; gives what there is to tell of it.
async fn reach_store(settings: &stores::Settings) -> Result<Option<String>, String> {
    let reaching = async {
        let store = stores::open_aside(settings, None).await?;
        store.check().await.map(|()| store.found())
    };
    match tokio::time::timeout(STORE_ANSWERS_WITHIN, reaching).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it does not answer within {} s", STORE_ANSWERS_WITHIN.as_secs())),
    }
}

/// Whether the bucket of a folder of the trail has Object Lock where the configuration wants it; otherwise a note of what it has.
async fn reach_lock(place: &ArchivePlace, settings: &[stores::Settings]) -> Result<Option<String>, String> {
    // A store that cannot be opened is reported as such.
    let Some(settings) = settings.iter().find(|store| store.name == place.store) else { return Ok(None) };
    let Ok(store) = stores::open_aside(settings, None).await else { return Ok(None) };
    let name = &place.store;
    let rule = match (store.locks(), place.lock) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(format!("the store {name:?} cannot lock objects")),
        (Some(locks), _) => tokio::time::timeout(STORE_ANSWERS_WITHIN, locks.rule()).await,
    };
    let folder = format!("{name}:/{}", place.folder);
    match (rule, place.lock) {
        (Ok(Ok(LockRule::On(_))), Some(_)) => Ok(None),
        (Ok(Ok(LockRule::On(rule))), None) => {
            let rule = rule.unwrap_or_else(|| "none: objects of the trail are not locked".to_owned());
            Ok(Some(format!("{folder} is in a bucket with Object Lock; its default retention is {rule}")))
        }
        (Ok(Ok(LockRule::Off)), Some(_)) => Err(format!(
            "{folder} is to be locked (`object_lock`), and its bucket was made without Object Lock: make one with it"
        )),
        // Who may write objects may not always read how the bucket is.
        (Ok(Ok(LockRule::Off)), None) | (Err(_), None) | (Ok(Err(_)), None) => Ok(None),
        (Ok(Err(error)), Some(_)) => {
            Ok(Some(format!("{folder}: it is not known whether its bucket has Object Lock: {error}")))
        }
        (Err(_), Some(_)) => Err(format!("{folder} does not answer within {} s", STORE_ANSWERS_WITHIN.as_secs())),
    }
}

/// Whether the state of the event chain can be kept. A gateway that runs may be using the folder.
fn reach_folder(folder: &Path) -> Result<(), String> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("the folder {} cannot be written: {error}", folder.display()))
}
