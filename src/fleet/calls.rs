//! The calls of Redis, and what their answers mean. Answers are read into types here; nobody above sees a value of Redis.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind};

use super::described::{LONGEST_GATEWAY, LONGEST_SESSION, Said, cut};
use super::keys::Keys;
use super::lines::LONGEST_TOLD;
use super::news::{LONGEST_NEWS, News};
use super::scripts::{
    BAN, BANS, BEAT, CLAIM, COUNT, FOLLOW, GATEWAYS, KEEP_PLACES, LEAVE, LIFT, READ_NEWS, SESSIONS, Script, TELL,
    TELL_EVENTS, TELL_NO_MORE, USERS, WRITE_SESSIONS,
};
use super::settings::Address;
use crate::session::Teller;
use crate::session::gate::{Ban, Source};

/// How many news are kept: what each gateway reads several times a second.
const NEWS_KEPT: usize = 10_000;

/// How many news, sessions and bans come in one answer.
const IN_A_PAGE: usize = 256;

/// How many bytes of news and events come in one answer.
const BYTES_IN_A_PAGE: usize = 2 << 20;

/// How many events of all gateways are kept for those who follow, and for how long: until each of them has read them.
const EVENTS_KEPT: usize = 4096;
const EVENTS_KEPT_FOR: Duration = Duration::from_secs(60);

/// How long it is believed that somebody follows.
const FOLLOWED_FOR: Duration = Duration::from_secs(10);

/// How long what was told of users is kept after the last change: gateways that were away meanwhile do not tell of it again.
const USERS_NOTED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The most bans that are kept in Redis; each gateway has as many records.
pub(super) const MOST_BANS: usize = 65_536;

/// The most gateways that are shown.
const MOST_GATEWAYS: usize = 1000;

/// How many sessions are written in one call: up to half a megabyte.
pub(super) const WRITTEN_AT_ONCE: usize = 100;

/// A call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(super) struct Failed {
    /// A sentence.
    pub(super) what: String,
    /// Where in a cluster the keys are, if they are elsewhere.
    pub(super) moved: Option<(String, u16)>,
}

impl Failed {
    pub(super) fn of(what: String) -> Failed {
        Failed { what, moved: None }
    }

    /// With the server that it is about.
    pub(super) fn at(self, address: &Address) -> Failed {
        Failed { what: format!("{address}: {}", self.what), ..self }
    }
}

/// What came back, and how much was found meanwhile that no gateway wrote.
pub(super) type Answer<T> = Result<(T, u64), Failed>;

/// What Redis had when a gateway said that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beaten {
    /// Whether its lease was still there.
    pub(super) was_known: bool,
    /// How many sessions it has there.
    pub(super) sessions: u64,
}

/// A gateway, as it is in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: String,
    /// How long its lease still lasts.
    pub(super) left: Duration,
    /// What it says; `None` when that makes no sense.
    pub(super) said: Option<Said>,
    pub(super) sessions: u64,
}

/// What the others told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) news: Vec<News>,
    /// The id of the last of them.
    pub(super) last: String,
    /// Whether somebody follows the events of all gateways.
    pub(super) is_followed: bool,
}

/// A page of the sessions of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// As they are written.
    pub(super) sessions: Vec<Vec<u8>>,
    /// How many were too long.
    pub(super) left_out: u64,
    /// The next page's cursor, unless this is the last one.
    pub(super) next: Option<u64>,
}

/// A ban that the fleet knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) source: Source,
    pub(super) left: Duration,
    pub(super) number: u32,
    /// The gateway that banned.
    pub(super) by: String,
}

/// Calls of one gateway over one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) connection: MultiplexedConnection,
    pub(super) keys: Keys,
    /// The gateway's own id.
    pub(super) id: String,
    pub(super) lease: Duration,
}

impl Calls {
    /// Whether the server can be written: it forgets the sessions of this gateway.
    pub(super) async fn probe(&self) -> Result<(), Failed> {
        self.write_sessions(&[], true).await.map(drop)
    }

    /// Says that the gateway is there.
    pub(super) async fn beat(&self, says: &str, before: &str) -> Answer<Beaten> {
        let mut call = self.own(BEAT);
        call.arg(&self.id).arg(self.lease_ms()).arg(says).arg(before);
        let (_, known, sessions, tampered): (u64, u8, u64, u64) = self.ask(&call).await?;
        Ok((Beaten { was_known: known == 1, sessions }, tampered))
    }

    /// Says that the gateway is not there any more.
    pub(super) async fn leave(&self) -> Answer<()> {
        let mut call = self.own(LEAVE);
        call.arg(&self.id);
        self.done(&call).await
    }

    fn own(&self, script: Script) -> Cmd {
        script.on(&[&self.keys.gateways(), &self.keys.gateway(&self.id), &self.keys.sessions(&self.id)])
    }

    /// The gateways that are there.
    pub(super) async fn gateways(&self) -> Answer<Vec<Found>> {
        let mut call = GATEWAYS.on(&[&self.keys.gateways()]);
        call.arg(self.keys.prefix()).arg(MOST_GATEWAYS).arg(LONGEST_GATEWAY);
        type Row = (Vec<u8>, Vec<u8>, Vec<u8>, u64);
        let (now, rows, tampered): (u64, Vec<Row>, u64) = self.ask(&call).await?;
        let found = rows.into_iter().filter_map(|(id, till, says, sessions)| {
            let till = std::str::from_utf8(&till).ok()?.parse::<f64>().ok().filter(|till| till.is_finite())?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let till = till as u64;
            let left = Duration::from_millis(till.saturating_sub(now));
            let id = String::from_utf8(id).ok().filter(|id| !super::described::has_control(id))?;
            Some(Found { id, left, said: Said::read(&says), sessions })
        });
        Ok((found.collect(), tampered))
    }

    /// A page of the sessions of a gateway.
    pub(super) async fn sessions(&self, gateway: &str, cursor: u64) -> Result<Page, Failed> {
        let mut call = SESSIONS.on(&[&self.keys.sessions(gateway)]);
        call.arg(cursor).arg(IN_A_PAGE).arg(LONGEST_SESSION);
        let (next, sessions, left_out): (u64, Vec<Vec<u8>>, u64) = self.ask(&call).await?;
        Ok(Page { sessions, left_out, next: Some(next).filter(|next| *next != 0) })
    }

    /// Writes sessions of this gateway; one without a text is removed. With `anew`, there are no others.
    pub(super) async fn write_sessions(&self, sessions: &[(&str, &str)], anew: bool) -> Answer<()> {
        let mut call = WRITE_SESSIONS.on(&[&self.keys.sessions(&self.id)]);
        call.arg(self.lease_ms()).arg(if anew { "all" } else { "some" });
        for (id, text) in sessions {
            call.arg(*id).arg(*text);
        }
        self.done(&call).await
    }

    /// Takes one of `limit` places for a session, after those that have ended gave theirs back.
    pub(super) async fn claim(&self, places: &str, limit: usize, session: &str, ended: &[String]) -> Answer<bool> {
        let mut call = CLAIM.on(&[places]);
        call.arg(limit).arg(self.lease_ms()).arg(session).arg(ended);
        let (given, tampered): (u8, u64) = self.ask(&call).await?;
        Ok((given == 1, tampered))
    }

    /// Keeps the places of sessions, and gives back those of others.
    pub(super) async fn keep_places(&self, places: &str, kept: &[String], ended: &[String]) -> Answer<()> {
        let mut call = KEEP_PLACES.on(&[places]);
        call.arg(self.lease_ms()).arg(kept.len()).arg(kept).arg(ended);
        self.done(&call).await
    }

    /// The id of the newest news.
    pub(super) async fn newest(&self) -> Answer<String> {
        let (heard, tampered) = self.news("$").await?;
        Ok((heard.last, tampered))
    }

    /// What is new after an id.
    pub(super) async fn news(&self, after: &str) -> Answer<Heard> {
        let mut call = READ_NEWS.on(&[&self.keys.news(), &self.keys.followed()]);
        call.arg(after).arg(IN_A_PAGE).arg(LONGEST_NEWS).arg(BYTES_IN_A_PAGE);
        let (now, last, told, followed, tampered): (u64, String, Vec<Vec<u8>>, u8, u64) = self.ask(&call).await?;
        let news: Vec<News> = told.iter().filter_map(|text| News::read(text, now)).collect();
        let odd = (told.len() - news.len()) as u64;
        Ok((Heard { news, last, is_followed: followed == 1 }, tampered + odd))
    }

    /// Says that somebody follows the events of all gateways; those after an id, as they are there, and the id of the last one.
    pub(super) async fn follow(&self, after: &str) -> Answer<(Vec<Vec<u8>>, String)> {
        let mut call = FOLLOW.on(&[&self.keys.followed(), &self.keys.events()]);
        call.arg(milliseconds(FOLLOWED_FOR)).arg(after).arg(IN_A_PAGE).arg(LONGEST_TOLD).arg(BYTES_IN_A_PAGE);
        let (last, told, tampered): (String, Vec<Vec<u8>>, u64) = self.ask(&call).await?;
        Ok(((told, last), tampered))
    }

    /// Tells events to those who follow.
    pub(super) async fn tell_events(&self, told: &[String]) -> Answer<()> {
        let mut call = TELL_EVENTS.on(&[&self.keys.events()]);
        call.arg(EVENTS_KEPT).arg(milliseconds(EVENTS_KEPT_FOR)).arg(told);
        self.done(&call).await
    }

    /// Tells the others something.
    pub(super) async fn tell(&self, text: &str) -> Answer<()> {
        let mut call = TELL.on(&[&self.keys.news()]);
        call.arg(NEWS_KEPT).arg(text);
        self.done(&call).await
    }

    /// Adds points to a source; how many it has over all.
    pub(super) async fn count(&self, source: Source, points: u32, within: Duration) -> Answer<u32> {
        let mut call = COUNT.on(&[&self.keys.points(source)]);
        call.arg(points).arg(milliseconds(within));
        let (all, tampered): (i64, u64) = self.ask(&call).await?;
        Ok((u32::try_from(all.max(0)).unwrap_or(u32::MAX), tampered))
    }

    /// Bans a source everywhere.
    pub(super) async fn ban(&self, ban: &Ban) -> Answer<()> {
        let mut call = BAN.on(&[&self.keys.bans(), &self.keys.points(ban.source), &self.keys.news()]);
        call.arg(ban.source.address().to_string()).arg(milliseconds(ban.left)).arg(ban.number).arg(&self.id);
        call.arg(NEWS_KEPT).arg(MOST_BANS);
        self.done(&call).await
    }

    /// Lifts a ban everywhere.
    pub(super) async fn lift(&self, source: Source) -> Answer<()> {
        let mut call = LIFT.on(&[&self.keys.bans(), &self.keys.points(source), &self.keys.news()]);
        call.arg(source.address().to_string()).arg(&self.id).arg(NEWS_KEPT);
        self.done(&call).await
    }

    /// A page of the bans that are in force; the next page's cursor, unless it is the last one.
    pub(super) async fn bans(&self, cursor: u64) -> Answer<(Vec<Known>, Option<u64>)> {
        let mut call = BANS.on(&[&self.keys.bans()]);
        call.arg(cursor).arg(IN_A_PAGE);
        let (now, next, texts, tampered): (u64, u64, Vec<Vec<u8>>, u64) = self.ask(&call).await?;
        let known: Vec<Known> = texts.iter().filter_map(|text| super::news::read_ban(text, now)).collect();
        let odd = (texts.len() - known.len()) as u64;
        Ok(((known, Some(next).filter(|next| *next != 0)), tampered + odd))
    }

    /// Notes what was told of users of a source, by their names; which gateway tells of others for `tells` from now on, and what was noted of
    /// those who are `asked` for.
    pub(super) async fn users(
        &self,
        source: &str,
        tells: Duration,
        noted: &[(&str, String)],
        asked: &[&str],
    ) -> Answer<(Teller, Vec<Vec<u8>>)> {
        let mut call = USERS.on(&[&self.keys.teller(source), &self.keys.told_users(source)]);
        call.arg(&self.id).arg(milliseconds(tells)).arg(milliseconds(USERS_NOTED_FOR)).arg(noted.len());
        for (user, note) in noted {
            call.arg(*user).arg(note);
        }
        call.arg(asked);
        let (tells, all, tampered): (u8, Vec<Vec<u8>>, u64) = self.ask(&call).await?;
        let teller = match tells {
            2 => Teller::Own,
            1 => Teller::OwnFromNow,
            _ => Teller::Other,
        };
        Ok(((teller, all), tampered))
    }

    /// Tells no more of a source's users: another gateway may.
    pub(super) async fn tell_no_more(&self, source: &str) -> Answer<()> {
        let mut call = TELL_NO_MORE.on(&[&self.keys.teller(source)]);
        call.arg(&self.id);
        self.done(&call).await
    }

    fn lease_ms(&self) -> u64 {
        milliseconds(self.lease)
    }

    async fn done(&self, call: &Cmd) -> Answer<()> {
        let (_, tampered): (u64, u64) = self.ask(call).await?;
        Ok(((), tampered))
    }

    async fn ask<T: FromRedisValue>(&self, call: &Cmd) -> Result<T, Failed> {
        let answer = call.query_async(&mut self.connection.clone()).await;
        answer.map_err(|error| {
            let moved = error.redirect_node().map(|(address, _)| address.to_owned());
            Failed { what: sentence(&error), moved: moved.and_then(|address| split(&address)) }
        })
    }
}

/// `HOST:PORT`, as a node of a cluster names another one.
fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

/// A duration as Redis takes it.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(MOST_MILLISECONDS)
}

/// A hundred years: more makes Redis compute beyond its numbers.
const MOST_MILLISECONDS: u64 = 100 * 366 * 24 * 60 * 60 * 1000;

/// The longest text of Redis that a sentence repeats, in bytes.
const LONGEST_ERROR: usize = 200;

/// What went wrong, in words that may stand in a log.
pub(super) fn sentence(error: &redis::RedisError) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", super::dial::ANSWERS_WITHIN.as_secs());
    }
    let hint = match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly) => "this is a replica, which cannot be written: ",
        ErrorKind::Server(ServerErrorKind::NoPerm) => "the user of Redis may not do this: ",
        ErrorKind::AuthenticationFailed => "the user or the password is wrong: ",
        _ => "",
    };
    let text: String = error.to_string().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    format!("{hint}{}", cut(&text, LONGEST_ERROR))
}
