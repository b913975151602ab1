//! How far long work is, on a terminal and nowhere else: one line on standard error that is drawn over itself.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the line is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(200);

/// No estimate is made before: it would be a guess.
const ESTIMATED_AFTER: Duration = Duration::from_secs(1);

/// The longest beginning of a line that is held back until its end comes, in bytes.
const HELD_BACK: usize = 1 << 20;

/// What moves the cursor to the line's beginning and empties the line.
const CLEAR: &str = "\r\x1b[K";

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// Bytes that were read.
    pub(super) done: u64,
    /// Bytes there are, where that is known.
    pub(super) total: Option<u64>,
}

/// A line that a thread draws until this ends; nothing where standard error is no terminal.
#[derive(Debug, Default)]
pub(super) struct Progress {
    screen: Arc<Screen>,
    drawing: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Screen {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The line stands there.
    is_drawn: bool,
    /// Others have written the beginning of a line to the same terminal.
    is_taken: bool,
    is_over: bool,
}

impl Progress {
    /// Draws what `measure` says from now on.
    pub(super) fn start(measure: impl Fn() -> Measure + Send + 'static) -> Progress {
        let screen = Arc::new(Screen::default());
        if !io::stderr().is_terminal() {
            return Progress { screen, drawing: None };
        }
        // Before the work begins: the thread may get its turn late on a busy machine.
        screen.lock().draw(measure(), Duration::ZERO);
        let drawn = screen.clone();
        // Without a thread there is no line, and the work goes on.
        let drawing = thread::Builder::new().name("progress".into()).spawn(move || drawn.draw(measure)).ok();
        if drawing.is_none() {
            screen.lock().clear();
        }
        Progress { screen, drawing }
    }

    /// Removes the line. What is written from now on stays.
    pub(super) fn end(&mut self) {
        if let Some(drawing) = self.drawing.take() {
            self.screen.lock().is_over = true;
            self.screen.ended.notify_one();
            let _ = drawing.join();
        }
    }

    /// `out`, whose lines the drawn one makes room for where both are on one terminal.
    pub(super) fn beside<W: Write + IsTerminal>(&self, out: W) -> Beside<W> {
        let screen = (self.drawing.is_some() && out.is_terminal()).then(|| self.screen.clone());
        Beside { out, screen, held_back: Vec::new() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, measure: impl Fn() -> Measure) {
        let began = Instant::now();
        let mut state = self.lock();
        loop {
            let waited = self.ended.wait_timeout_while(state, DRAWN_EVERY, |state| !state.is_over);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.is_over {
                break;
            }
            state.draw(measure(), began.elapsed());
        }
        state.clear();
    }
}

impl State {
    fn draw(&mut self, measure: Measure, elapsed: Duration) {
        if !self.is_taken {
            write(&format!("{CLEAR}{}", line(measure, elapsed)));
            self.is_drawn = true;
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            write(CLEAR);
        }
    }
}

/// A writer to the terminal on which the line may be drawn. It writes whole lines: a buffer before it cuts them anywhere, and behind
/// the beginning of one there is no room for the line that is drawn.
#[derive(Debug)]
pub(super) struct Beside<W: Write> {
    out: W,
    screen: Option<Arc<Screen>>,
    /// The beginning of a line.
    held_back: Vec<u8>,
}

impl<W: Write> Drop for Beside<W> {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

impl<W: Write> Beside<W> {
    /// Writes so many of the bytes that are held back.
    fn release(&mut self, count: usize, screen: &Screen) -> io::Result<()> {
        let mut state = screen.lock();
        state.clear();
        let rest = self.held_back.split_off(count);
        let released = std::mem::replace(&mut self.held_back, rest);
        self.out.write_all(&released)?;
        self.out.flush()?;
        state.is_taken = released.last() != Some(&b'\n');
        Ok(())
    }
}

impl<W: Write> Write for Beside<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(screen) = self.screen.clone() else { return self.out.write(bytes) };
        self.held_back.extend_from_slice(bytes);
        let whole = self.held_back.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
        let is_long = self.held_back.len() > HELD_BACK;
        if let Some(count) = whole.or(is_long.then_some(self.held_back.len())) {
            self.release(count, &screen)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.screen.clone() {
            Some(screen) if !self.held_back.is_empty() => self.release(self.held_back.len(), &screen),
            _ => self.out.flush(),
        }
    }
}

/// Steps of which each takes as long as somebody else takes to answer.
#[derive(Debug)]
pub(super) struct Steps {
    began: Instant,
    done: usize,
    total: usize,
    is_watched: bool,
}

impl Steps {
    pub(super) fn new(total: usize) -> Steps {
        Steps { began: Instant::now(), done: 0, total, is_watched: io::stderr().is_terminal() }
    }

    /// Says that the next step begins.
    pub(super) fn next(&mut self, what: &str) {
        if self.is_watched {
            let left = left(self.done as u64, self.total as u64, self.began.elapsed());
            write(&format!("{CLEAR}{} of {}: {what} …{left}", self.done + 1, self.total));
        }
        self.done += 1;
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if self.is_watched {
            write(CLEAR);
        }
    }
}

/// A terminal that is gone is nobody's loss.
fn write(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What the line says.
pub(super) fn line(Measure { done, total }: Measure, elapsed: Duration) -> String {
    let Some(total) = total.filter(|total| *total > 0) else { return format!("{} read …", amount(done)) };
    // A file that is being written grows.
    let done = done.min(total);
    format!("{:3} %  {} of {}{}", done * 100 / total, amount(done), amount(total), left(done, total, elapsed))
}

/// How long it takes from here, if all goes on as until now.
fn left(done: u64, total: u64, elapsed: Duration) -> String {
    if done == 0 || done >= total || elapsed < ESTIMATED_AFTER {
        return String::new();
    }
    let seconds = elapsed.as_millis() * u128::from(total - done) / u128::from(done) / 1000 + 1;
    let words = match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3600, seconds / 60 % 60),
    };
    format!(", about {words} left")
}

fn amount(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes / 1000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_room_between_rows_however_they_are_cut() {
        let screen = Arc::new(Screen::default());
        let mut beside = Beside { out: Vec::new(), screen: Some(screen.clone()), held_back: Vec::new() };
        for (written, shown, is_taken) in
            [("one\ntw", "one\n", false), ("o", "one\n", false), ("\nthree\nfo", "one\ntwo\nthree\n", false)]
        {
            beside.write_all(written.as_bytes()).unwrap();
            assert_eq!((beside.out.as_slice(), screen.lock().is_taken), (shown.as_bytes(), is_taken), "{written}");
        }
        beside.flush().unwrap();
        assert_eq!((beside.out.as_slice(), screen.lock().is_taken), (&b"one\ntwo\nthree\nfo"[..], true));
        beside.write_all(b"ur\n").unwrap();
        assert!(beside.out.ends_with(b"\nfour\n") && !screen.lock().is_taken);
        beside.write_all(&vec![b'x'; HELD_BACK + 1]).unwrap();
        assert!(beside.out.ends_with(b"x") && screen.lock().is_taken, "a line without end is not held back for ever");
    }

    #[test]
    fn a_line_says_how_far_and_how_long_still() {
        let seconds = Duration::from_secs;
        let mb = |number: u64| number * 1_000_000;
        for (done, total, elapsed, expected) in [
            (0, Some(mb(200)), seconds(5), "  0 %  0 kB of 200 MB"),
            (mb(50), Some(mb(200)), Duration::from_millis(900), " 25 %  50 MB of 200 MB"),
            (mb(50), Some(mb(200)), seconds(10), " 25 %  50 MB of 200 MB, about 31 s left"),
            (mb(50), Some(mb(2500)), seconds(10), "  2 %  50 MB of 2.5 GB, about 8:11 min left"),
            (mb(1), Some(mb(2500)), seconds(10), "  0 %  1 MB of 2.5 GB, about 6:56 h left"),
            (mb(201), Some(mb(200)), seconds(10), "100 %  200 MB of 200 MB"),
            (mb(50), None, seconds(10), "50 MB read …"),
            (0, Some(0), seconds(10), "0 kB read …"),
        ] {
            assert_eq!(line(Measure { done, total }, elapsed), expected);
        }
    }
}
