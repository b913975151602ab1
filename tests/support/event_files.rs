//! The files of a file sink as they grow, end and are compressed: what is new in them, line by line.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::chain::Chain;
use super::events::field;
use super::schema;

/// The event files and how far they were read.
pub struct Trail {
    path: PathBuf,
    /// Bytes that were read of the file that was live at that time.
    offset: u64,
    /// Old files that were read to their end, without `.gz`.
    done: BTreeSet<PathBuf>,
    /// The last line that was read has no end; the next start puts one behind it.
    is_torn: bool,
    pub chain: Chain,
    pub lines: u64,
    pub torn: u64,
}

impl Trail {
    /// `path` is the live file, `keys` the folder of the key that signs.
    pub fn of(path: PathBuf, keys: &Path) -> Trail {
        let (done, chain) = (BTreeSet::new(), Chain::of(keys));
        Trail { path, offset: 0, done, is_torn: false, chain, lines: 0, torn: 0 }
    }

    /// How many files have ended.
    pub fn ended(&self) -> usize {
        self.done.len()
    }

    /// The old files in their order, by the numbers of their last lines.
    fn old_files(&self) -> Vec<PathBuf> {
        let live = format!("{}.", self.path.file_name().unwrap().to_str().unwrap());
        let mut old = BTreeSet::new();
        for entry in fs::read_dir(self.path.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            let Some(rest) = path.file_name().unwrap().to_str().unwrap().strip_prefix(&live) else { continue };
            if rest.ends_with(".tmp") {
                continue;
            }
            let name = rest.trim_end_matches(".gz");
            let last: u64 = name.split_once('-').and_then(|(_, last)| last.parse().ok()).expect("a number");
            old.insert((last, path.with_file_name(format!("{live}{name}"))));
        }
        old.into_iter().map(|(_, path)| path).collect()
    }

    /// What is in the files since the last call. A file may end meanwhile.
    fn fresh(&mut self) -> String {
        loop {
            let old: Vec<PathBuf> = self.old_files().into_iter().filter(|path| !self.done.contains(path)).collect();
            let (mut text, mut skip) = (String::new(), self.offset);
            for path in &old {
                text.push_str(&read_old(path, skip));
                skip = 0;
            }
            let live = read_from(&self.path, skip);
            if self.old_files().into_iter().filter(|path| !self.done.contains(path)).eq(old.iter().cloned()) {
                text.push_str(&live);
                self.done.extend(old);
                self.offset = skip + live.len() as u64;
                return text;
            }
        }
    }

    /// Reads the events of the last run, in order, and the start of the next, if there was one.
    pub fn read(&mut self) -> Vec<Value> {
        let text = self.fresh();
        let mut fresh = text.as_str();
        if self.is_torn && !fresh.is_empty() {
            fresh = fresh.strip_prefix('\n').expect("a torn line is ended before the next is written");
        }
        let (whole, torn) = fresh.rsplit_once('\n').map_or(("", fresh), |(whole, torn)| (whole, torn));
        self.is_torn = !torn.is_empty() || (self.is_torn && text.is_empty());
        let mut events = Vec::new();
        let mut lines = whole.lines().peekable();
        while let Some(line) = lines.next() {
            let next = lines.peek().and_then(|next| serde_json::from_str::<Value>(next).ok());
            // A line that death has cut stands before the start that ended it, and nowhere else.
            if !line.ends_with('}') && next.is_some_and(|next| field(&next, "reason") == "start") {
                self.torn += 1;
                continue;
            }
            self.chain.follow(line);
            events.push(schema::event(line).unwrap_or_else(|why| panic!("{why}")));
        }
        self.lines += events.len() as u64;
        events
    }
}

/// What a file has from an offset on.
fn read_from(path: &Path, skip: u64) -> String {
    let mut text = String::new();
    let Ok(mut file) = File::open(path) else { return text };
    file.seek(SeekFrom::Start(skip)).unwrap();
    file.read_to_string(&mut text).expect("UTF-8");
    text
}

/// The same of an old file, which may be compressed, or become so.
fn read_old(plain: &Path, skip: u64) -> String {
    let bytes = fs::read(plain).or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{}", plain.display());
        let mut bytes = Vec::new();
        MultiGzDecoder::new(File::open(format!("{}.gz", plain.display()))?).read_to_end(&mut bytes).map(|_| bytes)
    });
    String::from_utf8(bytes.unwrap_or_else(|error| panic!("{}: {error}", plain.display())))
        .expect("UTF-8")
        .split_off(skip as usize)
}
