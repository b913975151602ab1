//! What a gateway says to its fleet and hears from it, in turns over one connection.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use super::calls::{Calls, Failed, Heard, MOST_BANS, WRITTEN_AT_ONCE};
use super::described::{Said, milliseconds, write_session};
use super::member::Member;
use super::news::{End, News};
use crate::session::Farewell;
use crate::session::gate::{Ban, Gate};

/// How often everything is said and heard again, whatever was lost or changed by somebody else.
const ALL_AGAIN_EVERY: Duration = Duration::from_secs(60);

/// How many sources' points are told in one turn.
const SOURCES: usize = 128;

/// The most pages of bans, and of news in one turn: however many Redis says that there are.
const MOST_PAGES: usize = 1024;
const MOST_PAGES_OF_NEWS: usize = 8;

/// How many open files of a session are looked at; the others see the first ones.
const FILES: usize = 3;

/// One connection's turns.
#[derive(Debug)]
pub(super) struct Turns {
    member: Arc<Member>,
    gate: Arc<Gate>,
    calls: Calls,
    draining: watch::Receiver<bool>,
    /// Whether sessions came or went.
    changes: watch::Receiver<u64>,
    /// The last news that was heard.
    heard: String,
    /// What was said last.
    said: String,
    /// The sessions that the others know, and a digest of what they know of each.
    written: HashMap<Arc<str>, u64>,
    next_beat: Instant,
    next_all: Instant,
}

impl Turns {
    /// Nothing was said or heard yet.
    pub(super) fn begin(member: Arc<Member>, gate: Arc<Gate>, calls: Calls, draining: watch::Receiver<bool>) -> Turns {
        let now = Instant::now();
        let changes = member.registry.changes();
        Turns {
            member,
            gate,
            calls,
            draining,
            changes,
            heard: String::new(),
            said: String::new(),
            written: HashMap::new(),
            next_beat: now,
            next_all: now + ALL_AGAIN_EVERY,
        }
    }

    /// The first turn: everything is said, and everything that counts is heard.
    pub(super) async fn enter(&mut self) -> Result<(), Failed> {
        // From here on news are heard; what was told before stands elsewhere.
        let (newest, tampered) = self.calls.newest().await?;
        self.member.note_tampering(tampered, "the news");
        self.heard = newest;
        self.beat().await?;
        self.say_all().await
    }

    /// With the next turn, the gateway says how it is.
    pub(super) fn say_soon(&mut self) {
        self.next_beat = Instant::now();
    }

    /// The next turn: what has changed is told; `with_news`, what the others tell is heard as well.
    pub(super) async fn turn(&mut self, with_news: bool) -> Result<(), Failed> {
        if with_news {
            self.hear().await?;
        }
        self.tell_of_sources().await?;
        if self.changes.has_changed().unwrap_or(true) {
            self.changes.mark_unchanged();
            self.say_sessions(false).await?;
            self.give_places_back().await?;
        }
        let now = Instant::now();
        if now >= self.next_beat && !self.beat().await? {
            self.say_all().await?;
        }
        if now >= self.next_all {
            self.say_all().await?;
        }
        Ok(())
    }

    /// Says that the gateway ends.
    pub(super) async fn leave(&self) {
        let sources = self.member.told_sources();
        let others_tell = try_join_all(sources.iter().map(|source| self.calls.tell_no_more(source)));
        if let Err(error) = self.calls.leave().await.map(drop).and(others_tell.await.map(drop)) {
            tracing::debug!(%error, "the fleet does not learn that this gateway stops");
        }
    }

    async fn say_all(&mut self) -> Result<(), Failed> {
        self.next_all = Instant::now() + ALL_AGAIN_EVERY;
        self.write_all_sessions().await?;
        self.keep_places().await?;
        self.exchange_bans().await
    }

    /// Says that the gateway is there, and what its sessions do. False when the others had forgotten it.
    async fn beat(&mut self) -> Result<bool, Failed> {
        let is_first = self.said.is_empty();
        self.next_beat = Instant::now() + self.member.settings.lease / 3;
        let says = Said {
            name: self.member.server.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: milliseconds(self.member.began),
            draining: *self.draining.borrow(),
        };
        let says = says.write();
        let (beaten, tampered) = self.calls.beat(&says, &self.said).await?;
        self.member.note_tampering(tampered, "what this gateway says of itself");
        self.said = says;
        if is_first {
            return Ok(true);
        }
        if !beaten.was_known {
            let fleet = self.member.settings.name.as_str();
            tracing::warn!(
                fleet,
                "the shared state of the fleet was emptied, or this gateway was late; everything is written again"
            );
            return Ok(false);
        }
        if usize::try_from(beaten.sessions).ok() != Some(self.written.len()) {
            self.member.note_tampering(1, "the sessions of this gateway");
            self.write_all_sessions().await?;
        }
        self.say_sessions(true).await?;
        self.keep_places().await?;
        Ok(true)
    }

    /// Tells which sessions came and went, and with `progress` what all of them do.
    async fn say_sessions(&mut self, progress: bool) -> Result<(), Failed> {
        let live = self.member.registry.list();
        let ids: HashSet<&Arc<str>> = live.iter().map(|session| &session.session_id).collect();
        let gone: Vec<Arc<str>> = self.written.keys().filter(|id| !ids.contains(id)).cloned().collect();
        let told = live.iter().filter(|session| progress || !self.written.contains_key(&session.session_id));
        let texts = told.filter_map(|session| {
            let (session, does) = self.member.registry.look(&session.session_id, FILES)?;
            let text = write_session(&session, &does);
            let digest = digest(&text);
            let is_new = self.written.get(&session.session_id) != Some(&digest);
            is_new.then_some((session.session_id, text, Some(digest)))
        });
        let changes: Vec<_> = texts.chain(gone.into_iter().map(|id| (id, String::new(), None))).collect();
        for part in changes.chunks(WRITTEN_AT_ONCE) {
            let pairs: Vec<(&str, &str)> = part.iter().map(|(id, text, _)| (&**id, text.as_str())).collect();
            let ((), tampered) = self.calls.write_sessions(&pairs, false).await?;
            self.member.note_tampering(tampered, "the sessions of this gateway");
            for (id, _, digest) in part {
                match digest {
                    Some(digest) => _ = self.written.insert(id.clone(), *digest),
                    None => _ = self.written.remove(id),
                }
            }
        }
        Ok(())
    }

    async fn write_all_sessions(&mut self) -> Result<(), Failed> {
        let ((), tampered) = self.calls.write_sessions(&[], true).await?;
        self.member.note_tampering(tampered, "the sessions of this gateway");
        self.written.clear();
        self.say_sessions(true).await
    }

    /// Says that the sessions which have a place still have it.
    async fn keep_places(&self) -> Result<(), Failed> {
        self.settle_places(false).await
    }

    /// Gives back the places of sessions that have ended.
    async fn give_places_back(&self) -> Result<(), Failed> {
        self.settle_places(true).await
    }

    async fn settle_places(&self, ended_only: bool) -> Result<(), Failed> {
        let sorted = self.member.places.sort(&self.member.registry, ended_only);
        for part in sorted.chunks(WRITTEN_AT_ONCE) {
            let calls = part.iter().map(|of_user| self.calls.keep_places(&of_user.key, &of_user.live, &of_user.ended));
            let tampered: u64 = try_join_all(calls).await?.into_iter().map(|((), tampered)| tampered).sum();
            self.member.note_tampering(tampered, "the places of a user");
            part.iter().for_each(|of_user| self.member.places.forget(of_user));
        }
        Ok(())
    }

    /// Tells the points and bans of sources; who has too many over all is banned.
    async fn tell_of_sources(&self) -> Result<(), Failed> {
        let (points, bans) = self.gate.take_news(SOURCES);
        self.tell_bans(&bans).await?;
        let Some(within) = self.gate.counts_within() else { return Ok(()) };
        let calls = points.iter().map(|(source, points)| self.calls.count(*source, *points, within));
        let sums = try_join_all(calls).await?;
        for ((source, _), (sum, tampered)) in points.iter().zip(sums) {
            self.member.note_tampering(tampered, "the points of a source");
            self.gate.hear_points(*source, sum);
        }
        // Those that this led to.
        let (_, bans) = self.gate.take_news(0);
        self.tell_bans(&bans).await
    }

    async fn tell_bans(&self, bans: &[Ban]) -> Result<(), Failed> {
        for part in bans.chunks(WRITTEN_AT_ONCE) {
            let told = try_join_all(part.iter().map(|ban| self.calls.ban(ban))).await?;
            self.member.note_tampering(told.into_iter().map(|((), tampered)| tampered).sum(), "the bans");
        }
        Ok(())
    }

    /// Hears the bans of all, and tells those of this gateway that the others do not know.
    async fn exchange_bans(&self) -> Result<(), Failed> {
        let (mut known, mut cursor) = (HashSet::new(), Some(0));
        for _ in 0..MOST_PAGES {
            let Some(from) = cursor.filter(|_| known.len() < MOST_BANS) else { break };
            let ((bans, next), tampered) = self.calls.bans(from).await?;
            self.member.note_tampering(tampered, "the bans");
            for ban in bans {
                known.insert(ban.source);
                if ban.by != self.member.id {
                    self.gate.hear_ban(ban.source, ban.left, ban.number);
                }
            }
            cursor = next;
        }
        let unknown: Vec<Ban> = self.gate.own_bans().into_iter().filter(|ban| !known.contains(&ban.source)).collect();
        self.tell_bans(&unknown).await
    }

    /// Hears what the others tell.
    async fn hear(&mut self) -> Result<(), Failed> {
        for _ in 0..MOST_PAGES_OF_NEWS {
            let (Heard { news, last, is_followed }, tampered) = self.calls.news(&self.heard).await?;
            self.member.note_tampering(tampered, "the news");
            if is_followed {
                self.member.is_followed();
            }
            let has_more = last != self.heard && !news.is_empty();
            self.heard = last;
            news.into_iter().for_each(|one| self.heed(one));
            if !has_more {
                break;
            }
        }
        Ok(())
    }

    fn heed(&self, news: News) {
        match news {
            News::Ban(ban) if ban.by != self.member.id => {
                if self.gate.hear_ban(ban.source, ban.left, ban.number) {
                    let (address, seconds) = (ban.source, ban.left.as_secs());
                    tracing::warn!(%address, seconds, by = ban.by, "banned: another gateway of the fleet has banned it");
                }
            }
            News::Lift(source, by) if by != self.member.id => {
                if self.gate.lift(source.address()) {
                    tracing::info!(address = %source, by, "a ban was lifted at another gateway of the fleet");
                }
            }
            News::End(end) if end.gateway == self.member.id => self.end(&end),
            News::Ban(_) | News::Lift(..) | News::End(_) => {}
        }
    }

    fn end(&self, end: &End) {
        let End { session, reason, by, through, .. } = end;
        // The trail of the other gateway has the call; a DISCONNECTED without one was not an administrator's.
        let farewell = Farewell {
            reason: "administrator".into(),
            message: reason.clone(),
            by: Some(format!("{by} (through {through})")),
        };
        if self.member.registry.end(|live| (*live.session_id == **session).then(|| farewell.clone())) > 0 {
            tracing::info!(
                session,
                by,
                through,
                reason,
                "an administrator ends a session, through another gateway of the fleet"
            );
        }
    }
}

/// Tells apart what was written of a session before.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
