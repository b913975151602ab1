//! Rounds over a folder that a test holds in its hands.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Mutex as StdMutex;

use super::*;

const KEYS: [&str; 3] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI one",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EJ two",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EK three",
];

#[derive(Debug, Default)]
struct Desk {
    files: StdMutex<BTreeMap<String, (u64, String)>>,
    fetched: StdMutex<Vec<String>>,
    locked: StdMutex<bool>,
    broken: StdMutex<HashSet<String>>,
}

impl Desk {
    fn put(&self, name: &str, text: impl Into<String>) {
        let mut files = self.files.lock().unwrap();
        let version = files.get(name).map_or(0, |(version, _)| version + 1);
        files.insert(name.to_owned(), (version, text.into()));
    }

    fn remove(&self, name: &str) {
        self.files.lock().unwrap().remove(name);
    }

    fn fetched(&self) -> Vec<String> {
        let mut fetched = std::mem::take(&mut *self.fetched.lock().unwrap());
        fetched.sort();
        fetched
    }
}

#[async_trait]
impl KeyFolder for Desk {
    fn describe(&self) -> String {
        "desk".into()
    }

    async fn list(&self, most: usize) -> Result<Vec<KeyFile>, String> {
        if *self.locked.lock().unwrap() {
            return Err("the desk is locked".into());
        }
        let files = self.files.lock().unwrap();
        assert!(files.len() <= most);
        let file = |(name, (version, text)): (&String, &(u64, String))| KeyFile {
            name: name.clone(),
            version: Version { size: text.len() as u64, mtime: None, etag: Some(version.to_string()) },
        };
        Ok(files.iter().map(file).collect())
    }

    async fn get(&self, name: &str, most: u64) -> Result<Bytes, KeyFileError> {
        self.fetched.lock().unwrap().push(name.to_owned());
        if self.broken.lock().unwrap().contains(name) {
            return Err(KeyFileError::Failed("it does not come".into()));
        }
        match self.files.lock().unwrap().get(name) {
            None => Err(KeyFileError::Gone),
            Some((_, text)) if text.len() as u64 > most => Err(KeyFileError::TooLarge),
            Some((_, text)) => Ok(text.clone().into()),
        }
    }
}

fn settings() -> KeysSettings {
    let entry = HomeEntry {
        entry: crate::path::LogicalPath::parse_str("/").unwrap(),
        store: "lake".into(),
        target: "home/${user}/x".into(),
        permissions: crate::policy::Permissions::READ_WRITE,
    };
    KeysSettings {
        folder: "lake:/keys".into(),
        store: "lake".into(),
        key: "keys".into(),
        every: Duration::from_secs(60),
        template: Template {
            role: Some("partner".into()),
            bounds: Bounds::default(),
            home: vec![entry],
            targets: Vec::new(),
            ..Template::default()
        },
    }
}

fn start(desk: &Arc<Desk>) -> KeysDirectory {
    KeysDirectory::new(settings(), desk.clone(), Told::default())
}

/// A round whose changes are told; each as `kind user added removed`.
async fn told_round(directory: &KeysDirectory) -> (Round, Vec<String>) {
    let round = directory.round().await;
    let mut said = Vec::new();
    for change in &round.changes {
        directory.was_told(change).await;
        let Change { kind, user, keys, added, removed, .. } = change;
        said.push(format!("{kind:?} {user} {} +{} -{}", keys.len(), added.len(), removed.len()));
    }
    (round, said)
}

#[tokio::test]
async fn users_come_change_and_go() {
    let desk = Arc::new(Desk::default());
    desk.put("ann.pub", KEYS[0]);
    desk.put("ben.pub", format!("{}\n{}", KEYS[0], KEYS[1]));
    let directory = start(&desk);
    let attempt = Attempt { source_ip: [127, 0, 0, 1].into() };
    assert!(directory.find("ann", &attempt).await.is_err(), "nothing is known before the first round");
    assert_eq!(told_round(&directory).await.1, ["Added ann 1 +0 -0", "Added ben 2 +0 -0"]);
    let ann = directory.find("ann", &attempt).await.unwrap().unwrap();
    assert_eq!((ann.home[0].target.as_str(), ann.role.as_deref()), ("home/ann/x", Some("partner")));
    assert_eq!(&*ann.source, "keys:lake:/keys");
    assert_eq!(desk.fetched(), ["ann.pub", "ben.pub"]);

    assert!(told_round(&directory).await.1.is_empty());
    assert_eq!(desk.fetched(), Vec::<String>::new(), "what did not change is not fetched");

    desk.put("ben.pub", format!("{}\n{}", KEYS[1], KEYS[2]));
    desk.put("carl.pub", KEYS[2]);
    assert_eq!(told_round(&directory).await.1, ["Changed ben 2 +1 -1", "Added carl 1 +0 -0"]);
    assert_eq!(desk.fetched(), ["ben.pub", "carl.pub"]);

    desk.put("carl.pub", format!("from=\"10.0.0.0/8\" {}", KEYS[2]));
    desk.remove("ann.pub");
    let (round, said) = told_round(&directory).await;
    assert_eq!(said, ["Changed carl 1 +0 -0", "Removed ann 1 +0 -0"]);
    assert!(round.changes[0].message.as_ref().unwrap().contains("options"));
    assert_eq!(round.changes[1].message.as_deref(), Some("ann.pub is no longer there"));
    assert!(directory.find("ann", &attempt).await.unwrap().is_none());
    assert!(directory.find("ben.pub", &attempt).await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_not_told_is_told_again() {
    let desk = Arc::new(Desk::default());
    desk.put("ann.pub", KEYS[0]);
    let directory = start(&desk);
    let first = directory.round().await.changes;
    assert_eq!(directory.round().await.changes, first);
    assert_eq!(first[0].message.as_deref(), Some("found at the first round"));
    directory.was_told(&first[0]).await;
    assert!(directory.round().await.changes.is_empty());
    desk.remove("ann.pub");
    assert_eq!(directory.round().await.changes.len(), 1);
    // In a folder that was empty at first, nobody is found later "at the first round".
    let empty = start(&Arc::new(Desk::default()));
    assert!(empty.round().await.changes.is_empty());
    assert_ne!(empty.told().await, Told::default());
    assert!(directory.user("ann").is_none(), "gone, whether told or not");
    assert_eq!(directory.round().await.changes.len(), 1);
}

#[tokio::test]
async fn a_folder_that_fails_keeps_what_was_known() {
    let desk = Arc::new(Desk::default());
    desk.put("ann.pub", KEYS[0]);
    let directory = start(&desk);
    told_round(&directory).await;
    *desk.locked.lock().unwrap() = true;
    let (round, said) = told_round(&directory).await;
    assert_eq!((round.outage.as_deref(), said.len()), (Some("the desk is locked"), 0));
    assert!(directory.user("ann").is_some());
    *desk.locked.lock().unwrap() = false;

    // One file that does not come: the others are read, this one's user stays as it was.
    desk.put("ann.pub", KEYS[1]);
    desk.put("ben.pub", KEYS[2]);
    desk.broken.lock().unwrap().insert("ann.pub".into());
    let (round, said) = told_round(&directory).await;
    assert_eq!(round.outage.as_deref(), Some("ann.pub: it does not come"));
    assert_eq!(said, ["Added ben 1 +0 -0"]);
    assert_eq!(directory.user("ann").unwrap().keys[0].comment(), Some("one"));
    desk.broken.lock().unwrap().clear();
    let (round, said) = told_round(&directory).await;
    assert_eq!((round.outage, said), (None, vec!["Changed ann 1 +1 -1".to_owned()]));
}

#[tokio::test]
async fn many_files_that_fail_are_not_all_tried() {
    let desk = Arc::new(Desk::default());
    for n in 0..100 {
        desk.put(&format!("u{n}.pub"), KEYS[0]);
        desk.broken.lock().unwrap().insert(format!("u{n}.pub"));
    }
    let directory = start(&desk);
    assert!(directory.round().await.outage.is_some());
    assert!(desk.fetched().len() < MOST_FAILURES + AT_ONCE);
    desk.broken.lock().unwrap().clear();
    assert_eq!(directory.round().await.changes.len(), 100);
}

#[tokio::test]
async fn what_is_passed_over_is_said_once_and_gives_no_access() {
    let desk = Arc::new(Desk::default());
    for (name, text) in [("Ann.pub", KEYS[0]), ("README", "hello"), ("ben.pub", "no key"), ("carl.pub", KEYS[0])] {
        desk.put(name, text);
    }
    desk.put("dora.pub", "#".repeat(70_000));
    let directory = start(&desk);
    let (round, said) = told_round(&directory).await;
    assert_eq!(said, ["Added carl 1 +0 -0"]);
    assert_eq!(round.passed_over.len(), 4, "{:?}", round.passed_over);
    assert!(round.passed_over.iter().any(|text| text.starts_with("dora.pub: it has more than 64 KiB")));
    assert!(!desk.fetched().contains(&"README".to_owned()));
    assert!(told_round(&directory).await.0.passed_over.is_empty());

    // What replaces a good file counts at once, and the removal says why.
    desk.put("carl.pub", "ssh-ed25519 AAAA broken");
    let (round, said) = told_round(&directory).await;
    assert_eq!(said, ["Removed carl 1 +0 -0"]);
    assert!(round.changes[0].message.as_ref().unwrap().starts_with("carl.pub: line 1: "));
    assert_eq!(round.passed_over.len(), 1);
    assert!(directory.user("carl").is_none());
    desk.put("carl.pub", KEYS[0]);
    assert_eq!(told_round(&directory).await.1, ["Added carl 1 +0 -0"]);
}

#[tokio::test]
async fn a_new_process_tells_only_what_changed_meanwhile() {
    let desk = Arc::new(Desk::default());
    desk.put("ann.pub", KEYS[0]);
    desk.put("ben.pub", KEYS[1]);
    let directory = start(&desk);
    told_round(&directory).await;
    let kept = serde_json::to_string(&directory.told().await).unwrap();
    desk.remove("ann.pub");
    desk.put("ben.pub", KEYS[2]);
    desk.put("carl.pub", KEYS[0]);
    let next = KeysDirectory::new(settings(), desk.clone(), serde_json::from_str(&kept).unwrap());
    // What could not be read is not told to be gone.
    desk.broken.lock().unwrap().insert("ben.pub".into());
    let (round, said) = told_round(&next).await;
    assert_eq!(said, ["Added carl 1 +0 -0", "Removed ann 1 +0 -0"]);
    assert_eq!(round.changes[0].message, None, "not at the first round ever");
    desk.broken.lock().unwrap().clear();
    assert_eq!(told_round(&next).await.1, ["Changed ben 1 +1 -1"]);
}

#[tokio::test]
async fn who_takes_over_knows_what_was_known() {
    let desk = Arc::new(Desk::default());
    desk.put("ann.pub", KEYS[0]);
    let directory = start(&desk);
    told_round(&directory).await;
    let mut other = settings();
    other.template.role = None;
    let next = directory.replaced(other, desk.clone()).await;
    assert_eq!(next.user("ann").unwrap().role, None, "the new template holds at once");
    *desk.locked.lock().unwrap() = true;
    assert!(next.round().await.outage.is_some());
    assert!(next.user("ann").is_some());
    assert_eq!(next.told().await, directory.told().await);
}
