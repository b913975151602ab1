//! Keys of a trail that follow one another. Each signs the next one (an endorsement), and the first checkpoint of each process and of each key
//! carries these signatures. So whoever knows an earlier key can follow to the present one, and a key that somebody else put in its place has no
//! signature to show.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base16ct::lower::encode_string;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{FlockOperation, flock};

use super::signing::{SigningKey, fingerprint, judge_file};
use crate::regular_file;

/// The file of the endorsements in the folder of the chain, one a line.
const NAME: &str = "signing_key.endorsed";
/// Where the next key lies until it is the present one; locked while a key is changed.
const NEXT: &str = "signing_key.next";

/// How many endorsements are kept: with a change each day, those of eleven years. For a signature by a key that is older by more changes,
/// nothing in the folder says any more that its key was this gateway's.
pub const MOST_KEY_CHANGES: usize = 4096;
/// How many of them a checkpoint shows, the newest: collectors of syslog cut lines of more than 8 KiB. Whoever reads a trail from its
/// beginning sees each change as it comes.
pub(super) const SHOWN: usize = 32;
/// The largest file of endorsements that is read, in bytes; [`MOST_KEY_CHANGES`] have 733,184.
const MAX_FILE: u64 = 1 << 20;

/// What stands before the two keys in the text that is signed.
const PURPOSE: &str = "lockgate-trail-key-1";

/// An Ed25519 public key.
pub(super) type RawKey = [u8; 32];

/// The signature of one key under the next.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endorsement {
    old: RawKey,
    new: RawKey,
    signature: [u8; 64],
}

impl Endorsement {
    fn by(old: &SigningKey, new: RawKey) -> Option<Endorsement> {
        let signature = old.sign_raw(text(&old.raw_public(), &new).as_bytes()).try_into().ok()?;
        Some(Endorsement { old: old.raw_public(), new, signature })
    }

    /// Reads `OLD:NEW:SIGNATURE`, each in base64; `None` when it is something else.
    pub(super) fn read(text: &str) -> Option<Endorsement> {
        let mut parts = text.split(':').map(|part| STANDARD.decode(part).ok());
        let mut part = || parts.next().flatten();
        let (old, new, signature) = (part()?, part()?, part()?);
        let read =
            Endorsement { old: old.try_into().ok()?, new: new.try_into().ok()?, signature: signature.try_into().ok()? };
        parts.next().is_none().then_some(read)
    }

    /// Whether the old key signed the new one.
    pub(super) fn is_right(&self) -> bool {
        let signed = text(&self.old, &self.new);
        UnparsedPublicKey::new(&ED25519, &self.old).verify(signed.as_bytes(), &self.signature).is_ok()
    }

    /// The key that signs.
    pub(super) fn old(&self) -> &RawKey {
        &self.old
    }

    /// The key that it is followed by.
    pub(super) fn new_key(&self) -> &RawKey {
        &self.new
    }
}

/// What an endorsement signs.
fn text(old: &RawKey, new: &RawKey) -> String {
    format!("{PURPOSE} {} {}", STANDARD.encode(old), STANDARD.encode(new))
}

impl fmt::Display for Endorsement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [old, new] = [self.old, self.new].map(|key| STANDARD.encode(key));
        write!(f, "{old}:{new}:{}", STANDARD.encode(self.signature))
    }
}

impl fmt::Debug for Endorsement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} endorses {}", fingerprint(&self.old), fingerprint(&self.new))
    }
}

/// The endorsements that lead to a key, the oldest first: each is of the key that makes the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Succession(Vec<Endorsement>);

impl Succession {
    /// Those in the folder of a chain that lead to `key`, its present one. A key that was made otherwise has none.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub(super) fn of_key(folder: &Path, key: &RawKey) -> Result<Succession, String> {
        let (all, found) = read(folder)?;
        found.map_or(Ok(()), |found| judge_file(&folder.join(NAME), &found))?;
        Ok(Succession::leading_to(&all, key))
    }

    /// The newest ones that end with `key`; a circle leads nowhere.
    fn leading_to(all: &[Endorsement], key: &RawKey) -> Succession {
        let by_new: HashMap<&RawKey, &Endorsement> = all.iter().map(|one| (&one.new, one)).collect();
        let (mut led, mut wanted) = (Vec::new(), key);
        while let Some(endorsement) = by_new.get(wanted).filter(|_| led.len() < MOST_KEY_CHANGES) {
            wanted = &endorsement.old;
            led.push((*endorsement).clone());
        }
        led.reverse();
        Succession(led)
    }

    /// Keeps the newest `most`; how many of the oldest are no longer kept.
    fn keep(&mut self, most: usize) -> usize {
        let surplus = self.0.len().saturating_sub(most);
        self.0.drain(..surplus);
        surplus
    }

    /// The keys before the present one, the oldest first.
    pub(super) fn predecessors(&self) -> impl Iterator<Item = &RawKey> {
        self.0.iter().map(|endorsement| &endorsement.old)
    }

    /// The newest [`SHOWN`], as the first checkpoint of a process or of a key has them; `None` when there is no earlier key.
    pub(super) fn field(&self) -> Option<String> {
        let newest = self.0.iter().skip(self.0.len().saturating_sub(SHOWN));
        let shown: Vec<String> = newest.map(ToString::to_string).collect();
        (!shown.is_empty()).then(|| shown.join(" "))
    }

    fn write(&self, folder: &Path, owner: &fs::Metadata) -> io::Result<()> {
        let lines: String = self.0.iter().map(|endorsement| format!("{endorsement}\n")).collect();
        put(folder, NAME, lines.as_bytes(), 0o644, owner)
    }
}

/// All endorsements in the folder of a chain, whoever may write there: they prove nothing beyond their signatures.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub(super) fn all_in(folder: &Path) -> Result<Vec<Endorsement>, String> {
    read(folder).map(|(all, _)| all)
}

/// The endorsements in a folder, each with the right signature, and what is known of their file; `None` when there is none.
fn read(folder: &Path) -> Result<(Vec<Endorsement>, Option<fs::Metadata>), String> {
    let path = folder.join(NAME);
    let named = |what: String| format!("{}: {what}", path.display());
    let (text, found) = match regular_file::read_known_text(&path, MAX_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
        read => read.map_err(|error| named(error.to_string()))?,
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let all: Option<Vec<Endorsement>> = lines.map(Endorsement::read).collect();
    let all = all.ok_or_else(|| named("it contains something other than endorsements of keys".into()))?;
    if let Some(wrong) = all.iter().find(|endorsement| !endorsement.is_right()) {
        return Err(named(format!("{wrong:?} is signed wrongly: somebody else wrote it")));
    }
    Ok((all, Some(found)))
}

/// A key that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The fingerprint of the key before.
    pub old: String,
    /// The fingerprint of the present key.
    pub new: String,
    /// Where the public half of the key before is kept.
    pub old_public: PathBuf,
    /// Whether the endorsement by the oldest key was dropped, because the folder keeps no more of them.
    pub is_oldest_dropped: bool,
}

/// Gives the folder of a chain another key, which the present one endorses, and takes the private half of the present one away. The
/// gateway signs with it from its next reload or start on ([`Recorder::take_key`](super::Recorder::take_key)); until then one that runs goes on
/// with the key that it has.
///
/// Killed at any step, the folder has one of the two keys, and with the new one its endorsement.
///
/// # Errors
/// A sentence that names the file, what is wrong with it, and what to do. Nothing is left in the folder then.
pub fn rotate(folder: &Path) -> Result<Rotated, String> {
    let private = SigningKey::private_in(folder);
    let owner = fs::metadata(&private).map_err(|error| format!("{}: {error}", private.display()))?;
    judge_user(folder, &owner)?;
    // Before anything is written: the file of the next key would be that of a user who may not change it.
    present(folder)?;
    let next = lock_next(folder)?;
    let changed = change(folder, &owner, &next);
    if changed.is_err() {
        remove_next(folder, &next);
    }
    changed
}

/// Changes the key while nobody else does.
fn change(folder: &Path, owner: &fs::Metadata, next: &File) -> Result<Rotated, String> {
    let old = present(folder)?;
    let made = SigningKey::make()?;
    let new = SigningKey::from_private(&made.private).ok_or("the key that was made cannot be read")?;
    let mut succession = Succession::of_key(folder, &old.raw_public())?;
    succession.0.extend(Endorsement::by(&old, new.raw_public()));
    let is_oldest_dropped = succession.keep(MOST_KEY_CHANGES) > 0;
    let failed = |error: io::Error| format!("the key in {} was not changed: {error}", folder.display());
    write_next(next, made.private.as_bytes(), owner).map_err(failed)?;
    let kept = format!("signing_key.{}.pub", short(&old.raw_public()));
    put(folder, &kept, old.public().as_bytes(), 0o644, owner).map_err(failed)?;
    // The endorsement goes before the key: a key without one would be a stranger's.
    succession.write(folder, owner).map_err(failed)?;
    fs::rename(folder.join(NEXT), SigningKey::private_in(folder)).and_then(|()| sync(folder)).map_err(failed)?;
    publish(folder, &new, owner).map_err(|error| {
        format!(
            "the key was changed, but {} could not be written: {error}; the next start of the gateway writes it",
            SigningKey::public_in(folder).display()
        )
    })?;
    let (old, new) = (old.fingerprint().to_owned(), new.fingerprint().to_owned());
    Ok(Rotated { old, new, old_public: folder.join(kept), is_oldest_dropped })
}

/// The present key, if everything about it is in order.
fn present(folder: &Path) -> Result<SigningKey, String> {
    let key = SigningKey::read(folder)?;
    key.judge_public(folder)?;
    Ok(key)
}

/// The gateway refuses a key of another user. Whoever may write anything, as root, would leave one.
fn judge_user(folder: &Path, private: &fs::Metadata) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    let found = fs::metadata(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let other = [found.uid(), private.uid()].into_iter().find(|user| *user != own && *user != 0);
    other.map_or(Ok(()), |user| {
        let shown = folder.display();
        Err(format!(
            "{shown} belongs to the user {user}, which runs the gateway; change the key as that user: sudo -u '#{user}' lockgate audit \
             rotate-key {shown}"
        ))
    })
}

/// Writes the public half of the present key, if the file has that of one before it: whoever changed the key was killed.
///
/// # Errors
/// What the system says.
pub(super) fn heal_public(folder: &Path, key: &SigningKey) -> io::Result<()> {
    let path = SigningKey::public_in(folder);
    if fs::read_to_string(&path).is_ok_and(|text| text.trim() != key.public().trim()) {
        publish(folder, key, &fs::metadata(&path)?)?;
    }
    Ok(())
}

fn publish(folder: &Path, key: &SigningKey, owner: &fs::Metadata) -> io::Result<()> {
    let name = SigningKey::public_in(folder);
    let name = name.file_name().and_then(|name| name.to_str()).unwrap_or("signing_key.pub");
    put(folder, name, key.public().as_bytes(), 0o644, owner)
}

/// The file of the next key, which nobody else changes meanwhile.
fn lock_next(folder: &Path) -> Result<File, String> {
    let path = folder.join(NEXT);
    let named = |error: io::Error| match (error.kind(), path.exists()) {
        (io::ErrorKind::PermissionDenied, true) => {
            let shown = path.display();
            format!("{shown}: {error}; another user left it there when the key was not changed: rm -f {shown}")
        }
        _ => format!("{}: {error}", path.display()),
    };
    let mut options = OpenOptions::new();
    let next = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(named)?;
    flock(&next, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => "somebody else is changing the key".to_owned(),
        error => named(error.into()),
    })?;
    // Whoever had the lock before may have made it the present key meanwhile.
    if is_next(folder, &next) { Ok(next) } else { Err("somebody else has just changed the key".to_owned()) }
}

/// Whether this open file is that of the next key still.
fn is_next(folder: &Path, next: &File) -> bool {
    let same = next.metadata().and_then(|open| Ok(open.ino() == fs::metadata(folder.join(NEXT))?.ino()));
    same.is_ok_and(|same| same)
}

/// Removes the next key, which is locked. One that cannot be removed is written over by the next change.
fn remove_next(folder: &Path, next: &File) {
    if is_next(folder, next) {
        let _ = fs::remove_file(folder.join(NEXT));
    }
}

fn write_next(mut next: &File, private: &[u8], owner: &fs::Metadata) -> io::Result<()> {
    // One that is there already may be open to others.
    next.set_permissions(fs::Permissions::from_mode(0o600))?;
    next.set_len(0)?;
    next.write_all(private)?;
    give(next, owner)?;
    next.sync_all()
}

/// Whoever runs the gateway has to be able to read it, also when somebody else changed the key.
fn give(file: &File, owner: &fs::Metadata) -> io::Result<()> {
    let found = file.metadata()?;
    if (found.uid(), found.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Replaces a file of the folder in one step.
fn put(folder: &Path, name: &str, content: &[u8], mode: u32, owner: &fs::Metadata) -> io::Result<()> {
    let (path, beside) = (folder.join(name), folder.join(format!("{name}.new")));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    give(&file, owner)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    sync(folder)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The first digits of a key, for the name of its file.
fn short(key: &RawKey) -> String {
    encode_string(&key[..4])
}

/// The same key endorses the one of the tests in every test.
#[cfg(test)]
pub(super) fn of_tests() -> Succession {
    let old = SigningKey::of_seed(6);
    Succession(Endorsement::by(&old, SigningKey::of_tests().raw_public()).into_iter().collect())
}

#[cfg(test)]
#[path = "succession_tests.rs"]
mod tests;
