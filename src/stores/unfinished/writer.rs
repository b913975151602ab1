//! The thread that writes a journal. A disk that stalls keeps nobody waiting but who asked for a line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::{Begun, Line, create};

/// A journal longer than this, in bytes, is written anew without what is settled.
pub(super) const LONGEST: u64 = 1 << 20;

/// Writes the lines that it is given, in their order.
#[derive(Debug)]
pub(super) struct Writer {
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
        let thread =
            std::thread::Builder::new().name("uploads-journal".to_owned()).spawn(|| journal.write_all(orders))?;
        Ok(Writer { lines: Some(lines), thread: Some(thread) })
    }

    /// Writes a line some time soon.
    pub(super) fn write(&self, line: Line) {
        self.send((line, Box::new(|| {})));
    }

    /// Writes a line; the answer comes when it is written, or cannot be.
    pub(super) fn written(&self, line: Line) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        // One that has given up waits no longer.
        self.send((line, Box::new(|| done.send(()).unwrap_or_default())));
        answer
    }

    /// Writes a line, and waits for that on this thread.
    pub(super) fn write_now(&self, line: Line) {
        let (done, answer) = mpsc::channel();
        self.send((line, Box::new(move || done.send(()).unwrap_or_default())));
        answer.recv().unwrap_or_default();
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
    }
}

/// A journal, as its thread has it.
struct Journal {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    written: u64,
    open: BTreeMap<u64, Begun>,
}

impl Journal {
    fn write_all(mut self, orders: mpsc::Receiver<Order>) {
        while let Ok((line, done)) = orders.recv() {
            self.write(&line);
            line.apply(&mut self.open);
            if self.written > LONGEST && matches!(line, Line::Settled { .. }) {
                self.write_anew();
            }
            done();
        }
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
