//! Listings of folders, a page at a time, in memory that does not grow with the folder.
//!
//! Between two pages the folder stays open, so that names are neither lost nor repeated while others come and go. Only so
//! many listings are kept; one that was pushed out goes on from the file system's cookie of its last entry.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType};

use super::failure::at;
use super::root::{RESERVED, Root, stat_of};
use crate::stores::error::hidden_in;
use crate::stores::{Entry, Key, Kind, Page, PageToken, Stat, StoreError, StoreErrorKind, StoreResult};

/// The most entries of one page.
const PAGE: usize = 1_000;

/// The most names that one page looks at, shown or not.
const SCAN: usize = 4 * PAGE;

/// Folders that are open between two pages, oldest first.
#[derive(Debug)]
pub(super) struct OpenListings {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    listings: VecDeque<(u64, Dir)>,
    last: u64,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} listings", self.listings.len())
    }
}

impl OpenListings {
    /// So many at most.
    pub(super) fn new(most: usize) -> OpenListings {
        OpenListings { most, kept: Mutex::default() }
    }

    fn take(&self, number: u64) -> Option<Dir> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.listings.iter().position(|(other, _)| *other == number)?;
        kept.listings.remove(place).map(|(_, folder)| folder)
    }

    fn keep(&self, folder: Dir) -> u64 {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last += 1;
        let number = kept.last;
        kept.listings.push_back((number, folder));
        if kept.listings.len() > self.most {
            kept.listings.pop_front();
        }
        number
    }
}

/// One page of a folder.
pub(super) fn page(root: &Root, key: &Key, from: Option<&PageToken>) -> StoreResult<Page> {
    let mut folder = resume(root, key, from)?;
    let mut page = Page::default();
    if from.is_none() {
        let own = folder.stat().map_err(at("list", key))?;
        page.changed = system_time(own.st_mtime, own.st_mtime_nsec);
    }
    let mut cookie = 0;
    for _ in 0..SCAN {
        let Some(entry) = folder.read() else { return Ok(page) };
        let entry = entry.map_err(at("list", key))?;
        cookie = entry.offset();
        if !is_own(root, &folder, entry.file_name()) {
            add(&mut page, root, key, &folder, entry.file_name(), entry.file_type());
        }
        if page.entries.len() == PAGE {
            break;
        }
    }
    let number = root.listings.keep(folder);
    page.next = Some(PageToken(format!("{number}:{cookie}")));
    Ok(page)
}

/// Why a folder cannot be removed: names that are shown need no words, those that are not do.
pub(super) fn not_empty(root: &Root, key: &Key) -> StoreError {
    match page(root, key, None) {
        Ok(page) if page.entries.is_empty() && page.next.is_none() => hidden_in(key, &page.skipped),
        _ => StoreError::plain(StoreErrorKind::DirectoryNotEmpty, format!("\"{key}\" is not empty")),
    }
}

fn resume(root: &Root, key: &Key, from: Option<&PageToken>) -> StoreResult<Dir> {
    let place = from.map(|token| {
        let (number, cookie) = token.0.split_once(':')?;
        Some((number.parse::<u64>().ok()?, cookie.parse::<i64>().ok()?))
    });
    match place {
        None => Dir::new(root.read_folder(key)?).map_err(at("list", key)),
        Some(None) => Err(StoreError::new(StoreErrorKind::Other, "the place in the listing is not one of this store")),
        Some(Some((number, cookie))) => match root.listings.take(number) {
            Some(folder) => Ok(folder),
            None => {
                let mut folder = Dir::new(root.read_folder(key)?).map_err(at("list", key))?;
                folder.seek(cookie).map_err(at("list", key))?;
                Ok(folder)
            }
        },
    }
}

/// Whether it is the gateway's own folder; a link may have led to the root.
fn is_own(root: &Root, folder: &Dir, name: &CStr) -> bool {
    let is_named = name.to_bytes().eq_ignore_ascii_case(RESERVED.as_bytes());
    is_named && folder.stat().is_ok_and(|found| (found.st_dev, found.st_ino) == root.identity)
}

/// Adds a name to the page, or counts it as skipped.
fn add(page: &mut Page, root: &Root, key: &Key, folder: &Dir, name: &CStr, kind: FileType) {
    let bytes = name.to_bytes();
    if bytes == b"." || bytes == b".." {
        return;
    }
    let child = std::str::from_utf8(bytes).ok().and_then(|text| Some((text, key.join(text).ok()?)));
    let Some((text, child)) = child else {
        return page.skipped.add(bytes);
    };
    let stat = match kind {
        FileType::Symlink => root.metadata(&child).ok().and_then(|found| stat_of(&found)),
        FileType::RegularFile | FileType::Directory | FileType::Unknown => match own_stat(folder, name) {
            Ok(Some(found)) => Some(found),
            Ok(None) => root.metadata(&child).ok().and_then(|found| stat_of(&found)),
            // Deleted since its name was read.
            Err(rustix::io::Errno::NOENT) => return,
            Err(_) => None,
        },
        _ => None,
    };
    match stat {
        Some(stat) => page.entries.push(Entry { name: text.to_owned(), stat }),
        None => page.skipped.add(bytes),
    }
}

/// Attributes of a name itself; `None` for a link.
fn own_stat(folder: &Dir, name: &CStr) -> rustix::io::Result<Option<Stat>> {
    let found = rustix::fs::statat(folder.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mtime = system_time(found.st_mtime, found.st_mtime_nsec);
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {
            Some(Stat { kind: Kind::File, size: u64::try_from(found.st_size).unwrap_or(0), mtime, etag: None })
        }
        FileType::Directory => Some(Stat { kind: Kind::Directory, size: 0, mtime, etag: None }),
        _ => None,
    })
}

fn system_time(seconds: i64, nanoseconds: u64) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    start?.checked_add(Duration::from_nanos(nanoseconds))
}
