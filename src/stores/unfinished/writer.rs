//! Who writes a journal: whoever has a line, as long as the disk is quick, and else a thread, so that a disk that stalls keeps nobody
//! waiting but who asked for a line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::{Begun, Line, create};
use crate::in_place::InPlace;

/// A journal longer than this, in bytes, is written anew without what is settled.
pub(super) const LONGEST: u64 = 1 << 20;

/// Writes the lines that it is given. Those of one upload are written in their order if each is awaited; a name that comes behind the
/// line that settles it means nothing.
#[derive(Debug)]
pub(super) struct Writer {
    journal: Arc<Mutex<Journal>>,
    /// Whether a line is written quickly.
    place: Arc<InPlace>,
    lines: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// A line to write, and what is done then.
type Order = (Line, Box<dyn FnOnce() + Send>);

impl Writer {
    /// Begins to write a new journal in a folder.
    pub(super) fn start(folder: &Path, path: PathBuf, file: File) -> std::io::Result<Writer> {
        let (lines, orders) = mpsc::channel();
        let journal = Journal { folder: folder.to_owned(), path, file, written: 0, open: BTreeMap::new() };
        let (journal, place) = (Arc::new(Mutex::new(journal)), Arc::new(InPlace::of_notes()));
        let thread = {
            let (journal, place) = (Arc::clone(&journal), Arc::clone(&place));
            std::thread::Builder::new()
                .name("uploads-journal".to_owned())
                .spawn(move || write_all(&journal, &place, &orders))?
        };
        Ok(Writer { journal, place, lines: Some(lines), thread: Some(thread) })
    }

    /// Writes a line now or some time soon.
    pub(super) fn write(&self, line: Line) {
        if let Err(line) = self.write_here(line) {
            self.send((line, Box::new(|| {})));
        }
    }

    /// Writes a line; the answer comes when it is written, or cannot be.
    pub(super) fn written(&self, line: Line) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        match self.write_here(line) {
            Ok(()) => done.send(()).unwrap_or_default(),
            // One that has given up waits no longer.
            Err(line) => self.send((line, Box::new(|| done.send(()).unwrap_or_default()))),
        }
        answer
    }

    /// Writes a line, and waits for that on this thread.
    pub(super) fn write_now(&self, line: Line) {
        let (done, answer) = mpsc::channel();
        self.send((line, Box::new(move || done.send(()).unwrap_or_default())));
        answer.recv().unwrap_or_default();
    }

    /// Writes a line, if that is quick; gives it back otherwise.
    fn write_here(&self, line: Line) -> Result<(), Line> {
        let Some(_stay) = self.place.enter() else { return Err(line) };
        // Whoever has the journal may wait for the disk.
        let Ok(mut journal) = self.journal.try_lock() else { return Err(line) };
        if journal.is_to_be_written_anew(&line) {
            return Err(line);
        }
        self.place.measure(|| journal.note(&line));
        Ok(())
    }

    fn send(&self, order: Order) {
        if let Some(lines) = &self.lines {
            // The thread ends after this only.
            drop(lines.send(order));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        locked(&self.journal).end();
    }
}

fn locked(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_all(journal: &Mutex<Journal>, place: &InPlace, orders: &mpsc::Receiver<Order>) {
    while let Ok((line, done)) = orders.recv() {
        {
            let mut journal = locked(journal);
            place.measure(|| journal.note(&line));
            if journal.is_to_be_written_anew(&line) {
                journal.write_anew();
            }
        }
        done();
    }
}

/// A journal, as whoever writes it has it.
#[derive(Debug)]
struct Journal {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    written: u64,
    open: BTreeMap<u64, Begun>,
}

impl Journal {
    fn note(&mut self, line: &Line) {
        self.write(line);
        line.apply(&mut self.open);
    }

    /// Whether it is long, and this line makes it longer than it need be.
    fn is_to_be_written_anew(&self, line: &Line) -> bool {
        self.written > LONGEST && matches!(line, Line::Settled { .. })
    }

    /// Nothing more is written.
    fn end(&mut self) {
        if self.open.is_empty() {
            // Left behind, the file is empty, and the next start removes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// A journal that cannot be written costs the operator parts that stay, never a client its upload.
    fn write(&mut self, line: &Line) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        match self.file.write_all(&text) {
            Ok(()) => self.written += text.len() as u64,
            Err(error) => {
                let path = self.path.display().to_string();
                tracing::warn!(%error, path, "an unfinished upload cannot be noted; if this process is killed, its parts stay");
            }
        }
    }

    /// Goes on in a new file with what is open.
    fn write_anew(&mut self) {
        let (path, file) = match create(&self.folder) {
            Ok(new) => new,
            Err(error) => {
                tracing::warn!(%error, "the journal of unfinished uploads cannot be shortened");
                self.written = 0;
                return;
            }
        };
        let old = std::mem::replace(&mut self.path, path);
        self.file = file;
        for (number, upload) in self.open.clone() {
            self.write(&Line::Begun { number, upload });
        }
        if let Err(error) = std::fs::remove_file(&old) {
            tracing::warn!(%error, path = %old.display(), "an old journal of unfinished uploads cannot be removed");
        }
        // However many are open, the next shortening is as far away.
        self.written = 0;
    }
}
