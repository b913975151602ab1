//! A store in memory that is slow, fails and counts as a test wishes.

mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::stores::{
    Capacity, Change, Deletion, Entry, Existing, Key, Kind, Object, Page, PageToken, PartLimits, PutOptions, Skipped,
    Stat, Store, StoreError, StoreErrorKind, StoreResult, Upload, Written,
};

use upload::TestUpload;

/// The store; clones are the same store.
#[derive(Clone)]
pub(in crate::vfs) struct TestStore(Arc<Inner>);

struct Inner {
    name: String,
    limits: PartLimits,
    /// Uploads are files, reads are local.
    local: bool,
    /// Contents are dropped; objects have a length only.
    forgetful: bool,
    latency: Duration,
    page: usize,
    state: Mutex<State>,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    markers: BTreeSet<String>,
    calls: BTreeMap<&'static str, u64>,
    /// Operation → the calls of it that fail from now on: how they fail, how many succeed before, how many fail.
    failing: BTreeMap<&'static str, (StoreErrorKind, u64, u64)>,
    /// How many calls succeed before those that fail, whatever they are, and how many fail then.
    failing_calls: Option<(u64, u64)>,
    /// How many calls failed.
    failures: u64,
    reads: Vec<(u64, usize)>,
    open_uploads: u64,
    versions: u64,
    skipped: u64,
}

#[derive(Clone)]
struct Stored {
    data: Bytes,
    size: u64,
    mtime: Option<SystemTime>,
    etag: String,
}

pub(in crate::vfs) const SMALL_PARTS: PartLimits = PartLimits {
    smallest_part: 64 << 10,
    largest_part: 5 << 30,
    most_parts: 10_000,
    largest_object: 40 << 30,
    equal_parts: false,
};

impl TestStore {
    pub(in crate::vfs) fn remote(name: &str) -> Self {
        Self::with(name, SMALL_PARTS, |_| {})
    }

    pub(in crate::vfs) fn slow(name: &str, limits: PartLimits, latency: Duration) -> Self {
        Self::with(name, limits, |inner| inner.latency = latency)
    }

    pub(in crate::vfs) fn forgetful(name: &str, limits: PartLimits, latency: Duration) -> Self {
        Self::with(name, limits, |inner| (inner.latency, inner.forgetful) = (latency, true))
    }

    pub(in crate::vfs) fn local(name: &str) -> Self {
        Self::with(name, PartLimits { smallest_part: 1, ..SMALL_PARTS }, |inner| inner.local = true)
    }

    pub(in crate::vfs) fn paged(name: &str, page: usize) -> Self {
        Self::with(name, SMALL_PARTS, |inner| inner.page = page)
    }

    fn with(name: &str, limits: PartLimits, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner {
            name: name.into(),
            limits,
            local: false,
            forgetful: false,
            latency: Duration::ZERO,
            page: 1000,
            state: Mutex::default(),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        };
        change(&mut inner);
        TestStore(Arc::new(inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// After `good` more calls of `operation`, `bad` calls fail.
    pub(in crate::vfs) fn fail(&self, operation: &'static str, good: u64, bad: u64) {
        self.fail_as(operation, StoreErrorKind::Unavailable, good, bad);
    }

    pub(in crate::vfs) fn fail_as(&self, operation: &'static str, kind: StoreErrorKind, good: u64, bad: u64) {
        self.state().failing.insert(operation, (kind, good, bad));
    }

    /// After `good` more calls of any kind `bad` calls fail.
    pub(in crate::vfs) fn fail_calls(&self, good: u64, bad: u64) {
        self.state().failing_calls = Some((good, bad));
    }

    /// From now on nothing fails; how many calls failed so far.
    pub(in crate::vfs) fn heal(&self) -> u64 {
        let mut state = self.state();
        (state.failing_calls, state.failing) = (None, BTreeMap::new());
        std::mem::take(&mut state.failures)
    }

    /// The calls since the last time this was asked, such as `put=1 stat=1`.
    pub(in crate::vfs) fn calls(&self) -> String {
        let calls = std::mem::take(&mut self.state().calls);
        calls.iter().map(|(name, n)| format!("{name}={n}")).collect::<Vec<_>>().join(" ")
    }

    /// The reads since the last time this was asked: offset and length.
    pub(in crate::vfs) fn reads(&self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.state().reads)
    }

    pub(in crate::vfs) fn most_running(&self) -> usize {
        self.0.most_running.load(Ordering::SeqCst)
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub(in crate::vfs) fn open_uploads(&self) -> u64 {
        self.state().open_uploads
    }

    /// No upload stays open, at the latest soon.
    pub(in crate::vfs) async fn assert_no_uploads(&self) {
        for _ in 0..500 {
            if self.open_uploads() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} uploads stay open", self.open_uploads());
    }

    pub(in crate::vfs) fn hide_keys(&self, count: u64) {
        self.state().skipped = count;
    }

    pub(in crate::vfs) fn set(&self, key: &str, data: impl Into<Bytes>) {
        let data = data.into();
        self.state().store(key, data.len() as u64, data, None);
    }

    pub(in crate::vfs) fn remove(&self, key: &str) {
        self.state().objects.remove(key);
    }

    /// Makes a directory that lasts.
    pub(in crate::vfs) fn mark(&self, key: &str) {
        self.state().markers.insert(key.to_owned());
    }

    pub(in crate::vfs) fn get(&self, key: &str) -> Option<Bytes> {
        self.state().objects.get(key).map(|o| o.data.clone())
    }

    pub(in crate::vfs) fn size(&self, key: &str) -> Option<u64> {
        self.state().objects.get(key).map(|o| o.size)
    }

    pub(in crate::vfs) fn mtime(&self, key: &str) -> Option<SystemTime> {
        self.state().objects.get(key).and_then(|o| o.mtime)
    }

    /// All keys, markers with a slash at the end.
    pub(in crate::vfs) fn keys(&self) -> Vec<String> {
        let state = self.state();
        let markers = state.markers.iter().map(|m| format!("{m}/"));
        state.objects.keys().cloned().chain(markers).collect()
    }

    /// Counts the call, waits as long as the store is slow, and fails if it is to fail.
    async fn call(&self, operation: &'static str) -> StoreResult<()> {
        *self.state().calls.entry(operation).or_default() += 1;
        let running = self.0.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_running.fetch_max(running, Ordering::SeqCst);
        let _running = Running(&self.0.running);
        if self.0.latency > Duration::ZERO {
            tokio::time::sleep(self.0.latency).await;
        }
        match self.state().judge(operation) {
            Some(kind) => Err(StoreError::new(kind, format!("{operation} fails on purpose"))),
            None => Ok(()),
        }
    }

    fn publish(&self, key: &Key, size: u64, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        let mut state = self.state();
        if options.based_on.as_deref().is_some_and(|wanted| state.version(key.as_str()) != Some(wanted)) {
            return Err(StoreError::new(StoreErrorKind::Changed, "another version"));
        }
        if options.existing == Existing::Refuse && state.kind(key.as_str()).is_some() {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, "taken"));
        }
        let data = if self.0.forgetful { Bytes::new() } else { Bytes::from(data.concat()) };
        let etag = state.store(key.as_str(), size, data, options.mtime);
        Ok(Written {
            version: Some(etag.clone()),
            etag: Some(etag),
            mtime_kept: options.mtime.is_some(),
            provenance: options.provenance.clone(),
        })
    }
}

struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl State {
    /// How this call fails, if it does.
    fn judge(&mut self, operation: &'static str) -> Option<StoreErrorKind> {
        let of_any = self.failing_calls.as_mut().map(|(good, bad)| (StoreErrorKind::Unavailable, good, bad));
        let of_this = self.failing.get_mut(operation).map(|(kind, good, bad)| (*kind, good, bad));
        for (kind, good, bad) in of_any.into_iter().chain(of_this) {
            if *good > 0 {
                *good -= 1;
            } else if *bad > 0 {
                *bad -= 1;
                self.failures += 1;
                return Some(kind);
            }
        }
        None
    }

    fn store(&mut self, key: &str, size: u64, data: Bytes, mtime: Option<SystemTime>) -> String {
        self.versions += 1;
        let etag = format!("v{}", self.versions);
        self.objects.insert(key.to_owned(), Stored { data, size, mtime, etag: etag.clone() });
        etag
    }

    fn version(&self, key: &str) -> Option<&str> {
        self.objects.get(key).map(|object| object.etag.as_str())
    }

    fn kind(&self, key: &str) -> Option<Kind> {
        let prefix = if key.is_empty() { String::new() } else { format!("{key}/") };
        let below = |k: &String| k.starts_with(&prefix);
        let directory = key.is_empty() || self.markers.contains(key) || self.has_below(&prefix, below);
        if directory { Some(Kind::Directory) } else { self.objects.contains_key(key).then_some(Kind::File) }
    }

    fn has_below(&self, prefix: &str, below: impl Fn(&String) -> bool) -> bool {
        let objects = self.objects.range(prefix.to_owned()..).next().is_some_and(|(k, _)| below(k));
        objects || self.markers.range(prefix.to_owned()..).next().is_some_and(&below)
    }

    fn stat(&self, key: &str) -> StoreResult<Stat> {
        match self.kind(key) {
            None => Err(not_found()),
            Some(Kind::Directory) => Ok(Stat { kind: Kind::Directory, size: 0, mtime: None, etag: None }),
            Some(Kind::File) => Ok(self.objects[key].stat()),
        }
    }

    fn children(&self, key: &str) -> BTreeMap<String, Stat> {
        let prefix = if key.is_empty() { String::new() } else { format!("{key}/") };
        let mut found = BTreeMap::new();
        for name in self.objects.keys().chain(&self.markers).filter_map(|k| k.strip_prefix(&prefix)) {
            let name = name.split('/').next().unwrap();
            found.insert(name.to_owned(), self.stat(&format!("{prefix}{name}")).unwrap());
        }
        found
    }
}

impl Stored {
    fn stat(&self) -> Stat {
        Stat { kind: Kind::File, size: self.size, mtime: self.mtime, etag: Some(self.etag.clone()) }
    }
}

fn not_found() -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, "nothing there")
}

impl fmt::Debug for TestStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestStore({})", self.0.name)
    }
}

#[async_trait]
impl Store for TestStore {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn event_path(&self, key: &Key) -> String {
        format!("/{}/{key}", self.0.name)
    }

    fn part_limits(&self) -> PartLimits {
        self.0.limits
    }

    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        self.call("stat").await?;
        self.state().stat(key.as_str())
    }

    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        self.call("list").await?;
        let state = self.state();
        let start = from.map_or(Bound::Unbounded, |token| Bound::Excluded(token.0));
        let all = state.children(key.as_str());
        let mut rest = all.range((start, Bound::Unbounded));
        let taken = rest.by_ref().take(self.0.page);
        let entries: Vec<Entry> = taken.map(|(n, s)| Entry { name: n.clone(), stat: s.clone() }).collect();
        let next = rest.next().map(|_| PageToken(entries.last().unwrap().name.clone()));
        let skipped = Skipped { count: state.skipped, first: (state.skipped > 0).then(|| "a//b".into()) };
        Ok(Page { entries, skipped, next, changed: None, is_marked: false })
    }

    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        self.call("open").await?;
        let stored = self.state().objects.get(key.as_str()).cloned().ok_or_else(not_found)?;
        Ok(Arc::new(TestObject { store: self.clone(), stat: stored.stat(), stored }))
    }

    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        self.call("put").await?;
        self.publish(key, data.iter().map(|d| d.len() as u64).sum(), data, options)
    }

    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        self.call("begin").await?;
        self.state().open_uploads += 1;
        let upload = TestUpload {
            store: self.clone(),
            key: key.clone(),
            options: options.clone(),
            parts: Arc::default(),
            next: 0,
            open: true,
            file: Vec::new(),
        };
        Ok(if self.0.local { Upload::File(Box::new(upload)) } else { Upload::Parts(Box::new(upload)) })
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.call("delete").await?;
        self.state().objects.remove(key.as_str());
        Ok(())
    }

    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        self.call("delete").await?;
        let mut state = self.state();
        match state.version(key.as_str()) {
            None => return Ok(Deletion::WasGone),
            Some(found) if found == version => {}
            Some(_) => return Err(StoreError::new(StoreErrorKind::Changed, "another version")),
        }
        state.objects.remove(key.as_str());
        Ok(Deletion::Done)
    }

    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        self.call("make_directory").await?;
        self.state().markers.insert(key.as_str().to_owned());
        Ok(())
    }

    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        self.call("remove_directory").await?;
        let mut state = self.state();
        if !state.children(key.as_str()).is_empty() {
            return Err(StoreError::new(StoreErrorKind::DirectoryNotEmpty, "not empty"));
        }
        if state.markers.remove(key.as_str()) { Ok(()) } else { Err(not_found()) }
    }

    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change> {
        self.call("rename").await?;
        let mut state = self.state();
        if existing == Existing::Refuse && state.objects.contains_key(to.as_str()) {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, "taken"));
        }
        if only.is_some() && state.version(from.as_str()) != only {
            return Err(StoreError::new(StoreErrorKind::Changed, "another version"));
        }
        let stored = state.objects.remove(from.as_str()).ok_or_else(not_found)?;
        let version = Some(stored.etag.clone());
        state.objects.insert(to.as_str().to_owned(), stored);
        Ok(Change { before: version.clone(), after: version })
    }

    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        self.call("rename_directory").await?;
        let mut state = self.state();
        let renamed = |key: &String| match key.strip_prefix(from.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{to}{rest}"),
            _ => key.clone(),
        };
        let objects = std::mem::take(&mut state.objects);
        state.objects = objects.into_iter().map(|(k, v)| (renamed(&k), v)).collect();
        state.markers = state.markers.iter().map(renamed).collect();
        Ok(())
    }

    fn copies(&self) -> bool {
        !self.0.local
    }

    async fn copy(&self, from: &Key, version: &str, to: &Key, options: &PutOptions) -> StoreResult<Written> {
        self.call("copy").await?;
        let source = self.state().objects.get(from.as_str()).cloned().ok_or_else(not_found)?;
        if source.etag != version {
            return Err(StoreError::new(StoreErrorKind::Changed, "another version"));
        }
        self.publish(to, source.size, vec![source.data], options)
    }

    async fn set_mtime(&self, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Option<Change>> {
        self.call("set_mtime").await?;
        let mut state = self.state();
        let stored = state.objects.get_mut(key.as_str()).ok_or_else(not_found)?;
        if only.is_some_and(|only| only != stored.etag) {
            return Err(StoreError::new(StoreErrorKind::Changed, "another version"));
        }
        stored.mtime = Some(mtime);
        let version = Some(stored.etag.clone());
        Ok(Some(Change { before: version.clone(), after: version }))
    }

    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        Ok(Some(Capacity { total: 10, free: 5 }))
    }

    async fn check(&self) -> StoreResult<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct TestObject {
    store: TestStore,
    stat: Stat,
    stored: Stored,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.size)
    }
}

#[async_trait]
impl Object for TestObject {
    fn stat(&self) -> &Stat {
        &self.stat
    }

    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        self.store.state().reads.push((offset, length));
        self.store.call("read").await?;
        let start = offset.min(self.stat.size) as usize;
        let end = offset.saturating_add(length as u64).min(self.stat.size) as usize;
        if self.store.0.forgetful {
            return Ok(Bytes::from(vec![0; end - start]));
        }
        Ok(self.stored.data.slice(start..end))
    }

    fn is_remote(&self) -> bool {
        !self.store.0.local
    }
}
