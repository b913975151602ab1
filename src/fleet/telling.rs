//! Tells the events of this gateway to those who follow at another one, and only while somebody does.
//!
//! They are read from the file of the trail, so that whoever records an event neither waits for Redis nor knows of it. Nothing is kept but
//! what is under way: what Redis does not accept is lost to those who follow, and the numbers of the lines show them that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::lines::{LONGEST_LINE, Line};
use super::member::Member;
use crate::audit::read::follow::{Follow, Next};

/// How often the trail is looked at for new lines.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);

/// How often a gateway says that it tells its events, and how many lines there were.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// The most bytes, and the most lines, that are told in one call.
const PIECE: usize = 256 << 10;
const LINES: usize = 200;

/// How long a gateway tells lines without a pause, before it leaves out what it does not keep up with: what is told is what happens now.
const BEHIND_FOR: Duration = Duration::from_secs(20);

/// How long to wait after the trail could not be read.
const FAILED: Duration = Duration::from_secs(5);

/// Runs until it is dropped.
pub(super) async fn tell(member: Arc<Member>, trail: PathBuf) {
    let mut number = 0;
    loop {
        member.until_followed().await;
        // What was recorded before is not told: whoever followed all the time misses it.
        number += 1;
        if let Err(error) = tell_now(&member, &trail, &mut number).await {
            tracing::warn!(error, "the live events of this gateway cannot be sent to the others");
            sleep(FAILED).await;
        }
    }
}

/// What is told in one call.
struct Piece {
    told: Vec<String>,
    /// The number of the last line.
    number: u64,
    /// Whether there may be more without waiting.
    is_more: bool,
}

/// Tells the events from now on, as long as somebody follows and it keeps up.
async fn tell_now(member: &Member, trail: &Path, number: &mut u64) -> Result<(), String> {
    let path = trail.to_owned();
    let mut follow = aside(move || Follow::start(&path, None).map_err(|error| error.to_string())).await?;
    let (mut sign, mut busy_since) = (Instant::now(), None);
    while member.has_followers() {
        let (gateway, last) = (member.id.clone(), *number);
        let (looked_with, mut piece) = aside(move || {
            let piece = Piece::read(&mut follow, &gateway, last)?;
            Ok((follow, piece))
        })
        .await?;
        follow = looked_with;
        *number = piece.number;
        if Instant::now() >= sign {
            piece.told.push(Line::write(&member.id, piece.number, ""));
            sign = Instant::now() + SIGN_OF_LIFE;
        }
        let since = piece.is_more.then(|| busy_since.unwrap_or_else(Instant::now));
        busy_since = since;
        if since.is_some_and(|since| since.elapsed() >= BEHIND_FOR) {
            return Ok(());
        }
        send(member, &piece.told).await;
        if !piece.is_more {
            sleep(LOOKED_AT_EVERY).await;
        }
    }
    Ok(())
}

async fn send(member: &Member, told: &[String]) {
    let Some(calls) = member.calls().filter(|_| !told.is_empty()) else { return };
    match calls.tell_events(told).await {
        Ok(((), tampered)) => member.note_tampering(tampered, "the live events"),
        Err(error) => {
            tracing::debug!(%error, lines = told.len(), "live events could not be sent to the other gateways")
        }
    }
}

impl Piece {
    fn read(follow: &mut Follow, gateway: &str, mut number: u64) -> Result<Piece, String> {
        let (mut told, mut bytes) = (Vec::new(), 0);
        let mut is_more = true;
        for _ in 0..LINES {
            match follow.advance().map_err(|error| error.to_string())? {
                Next::Nothing => {
                    is_more = false;
                    break;
                }
                // What is left out has a number, so that it is missed.
                Next::Gap => number += 1,
                Next::Line(line) => {
                    number += 1;
                    let line = std::str::from_utf8(&line).ok().filter(|line| line.len() <= LONGEST_LINE);
                    if let Some(line) = line {
                        bytes += line.len();
                        told.push(Line::write(gateway, number, line));
                    }
                }
            }
            if bytes >= PIECE {
                break;
            }
        }
        Ok(Piece { told, number, is_more })
    }
}

/// Work that may wait for a disk.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
