//! Connections, open and closed: who came from where, when, and who ended it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State as Shared;
use axum::{Extension, Json};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::everyone::{Everyone, Of};
use super::problem::{Asked, Problem};
use super::reads::Waiting;
use super::state::{State, time};
use super::trail;
use crate::audit::read::Event;
use crate::audit::read::newest::Newest;
use crate::audit::search::{AddressTest, Query, UserPattern};
use crate::session::{LiveSession, Progress};
use crate::users::Network;

/// The most closed connections of one answer, and how many there are if nothing is said; of open ones as many come with the first page.
const MOST: usize = 1000;
const USUAL: usize = 100;

/// Which connections.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Of this user only
    user: Option<String>,
    /// From this address or network only
    address: Option<String>,
    /// `open` or `closed`; both if left out
    status: Option<String>,
    /// At most so many of each kind, 100 if left out
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Closed before this: the `next` of the page before, an `event-id`
    before: Option<String>,
}

/// A connection
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Connection {
    /// The session's id: 20 hex digits, as in the events
    id: String,
    /// `open` or `closed`
    status: &'static str,
    /// The user, also one who did not get in; absent when none was named
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The person behind the login name, as in the events
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// From where
    address: String,
    /// The client's port
    port: u16,
    /// The target that was jumped to, or the server's name; of open ones in a fleet, that of the gateway that has it
    target: String,
    /// The account at the target
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// The client's version line
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// When it began; of an open one the login
    start: String,
    /// When it ended; absent if its gateway was killed
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    /// Who or what ended it: `client`, `idle`, `administrator`, … as in DISCONNECTED, or `gateway-killed`: there is no DISCONNECTED, and so no
    /// sums
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The administrator who ended it
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<String>,
    /// More about the end
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Bytes of files received
    bytes_in: u64,
    /// Bytes of files sent
    bytes_out: u64,
    /// Uploads that succeeded
    files_in: u64,
    /// Downloads that ended
    files_out: u64,
}

/// Connections: the open ones that began last, then those that ended last. One whose gateway was killed stands where it began
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Connections {
    connections: Vec<Connection>,
    /// How many that fit are open, whatever `limit` is
    open: usize,
    /// What `before` is for the next page; absent when there is nothing older
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Connections, open and closed
#[utoipa::path(get, path = "/connections", tag = "sessions", params(Which), responses(
    (status = 200, description = "A page of them", body = Connections),
    (status = 400, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "No sink keeps the whole trail in a file of this machine, where closed ones are found; `status=open` needs none", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    Shared(state): Shared<Arc<State>>,
    Extension(waiting): Extension<Waiting>,
    Asked(which): Asked<Which>,
) -> Result<Json<Connections>, Problem> {
    let limit = which.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::wrong(format!("limit must be from 1 to {MOST}")));
    }
    let (open, closed) = match which.status.as_deref() {
        None => (true, true),
        Some("open") => (true, false),
        Some("closed") => (false, true),
        Some(_) => return Err(Problem::wrong("status is open or closed")),
    };
    if which.before.as_deref().is_some_and(|before| !trail::is_id(before)) {
        return Err(Problem::wrong("before is the `next` of another page, an event-id"));
    }
    let network = which.address.as_deref().map(Network::parse).transpose();
    let network = network.map_err(|what| Problem::wrong(format!("address: {what}")))?;
    // Live ones first: who leaves meanwhile is found in the trail.
    let everyone = if open && which.before.is_none() { Some(Everyone::of(&state).await) } else { None };
    let live = everyone.iter().flat_map(|everyone| live(everyone, &which, network.as_ref())).collect::<Vec<_>>();
    let Newest { found: ended, next } = match closed {
        true => {
            let page = trail::page_of(limit, which.before.as_ref().map(|id| id.to_ascii_lowercase()));
            let began = Arc::new(Mutex::new(Began::before(state.since.into(), which.before.is_none())));
            let (judge, noted) = (query(&which, network).judge(), began.clone());
            let found = trail::look(&state, &waiting, page, move |line: &[u8]| {
                let mut began = noted.lock().unwrap_or_else(PoisonError::into_inner);
                began.note_start(line);
                let event = judge.fits(line)?;
                if event.activity() == "CONNECTED" {
                    began.note(&event);
                    return None;
                }
                Some(Connection::closed(&event))
            });
            let found = found.await?;
            let mut began = began.lock().unwrap_or_else(PoisonError::into_inner);
            Newest { found: began.with_killed(found.found), ..found }
        }
        false => Newest { found: Vec::new(), next: None },
    };
    let gone: HashSet<&str> = ended.iter().map(|connection| connection.id.as_str()).collect();
    let live: Vec<Of<'_>> = live.into_iter().filter(|one| !gone.contains(&*one.live().session_id)).collect();
    let count = live.len();
    let shown = live.iter().take(limit).filter_map(|one| match one {
        Of::Here(live) => {
            let (live, progress) = state.around.registry.look(&live.session_id, 0)?;
            Some(Connection::open(&live, &progress, &state.around.server))
        }
        Of::There(distant) => Some(Connection::open(&distant.session, &distant.progress, &distant.server)),
    });
    let connections = shown.collect::<Vec<_>>().into_iter().chain(ended).collect();
    Ok(Json(Connections { connections, open: count, next }))
}

/// The live sessions that fit, those that began last first.
fn live<'a>(everyone: &'a Everyone, which: &Which, network: Option<&Network>) -> Vec<Of<'a>> {
    let fits = |one: &Of<'_>| {
        let live = one.live();
        which.user.as_deref().is_none_or(|user| *live.user == *user)
            && network.is_none_or(|network| network.contains(live.source_ip))
    };
    let mut live = everyone.all();
    live.retain(fits);
    // They are in the order of their ids.
    live.sort_by_key(|one| std::cmp::Reverse(one.live().since));
    live
}

fn query(which: &Which, network: Option<Network>) -> Query {
    Query {
        user: which.user.as_deref().map(UserPattern::exactly),
        address: network.map(|network| -> AddressTest { Box::new(move |ip: IpAddr| network.contains(ip)) }),
        activities: ["CONNECTED", "DISCONNECTED"].map(str::to_owned).to_vec(),
        ..Query::default()
    }
}

/// How each start of a gateway begins, by which the sessions of the process before are over.
const CHECKPOINT: &[u8] = br#"{"activity-type":"CHECKPOINT""#;
const START: &[u8] = br#","reason":"start","#;

/// Connections that began in what a page looked at. Those of an earlier process that have no end were ended by its kill.
#[derive(Debug)]
struct Began {
    /// A process had begun anew by then, and what began before and ended has its end in what the page looked at.
    before: Option<DateTime<Utc>>,
    all: Vec<(DateTime<Utc>, Connection)>,
}

impl Began {
    /// `since`: when this process began. On the first page, everything that ended after that is known; on a later one, the starts that are
    /// found there say so.
    fn before(since: DateTime<Utc>, is_first: bool) -> Began {
        Began { before: is_first.then_some(since), all: Vec::new() }
    }

    /// Takes a line that may be the start of a process.
    fn note_start(&mut self, line: &[u8]) {
        let is_start = || line.windows(START.len()).any(|window| window == START);
        if self.before.is_none() && line.starts_with(CHECKPOINT) && is_start() {
            self.before = Event::parse(line).and_then(|event| event.time());
        }
    }

    /// Takes a CONNECTED.
    fn note(&mut self, event: &Event) {
        if self.all.len() < MOST
            && let Some(time) = event.time().filter(|time| self.before.is_some_and(|before| *time < before))
        {
            self.all.push((time, Connection::killed(event)));
        }
    }

    /// The connections of a page, with those that have no end.
    fn with_killed(&mut self, ended: Vec<Connection>) -> Vec<Connection> {
        let known: HashSet<&str> = ended.iter().map(|connection| connection.id.as_str()).collect();
        self.all.retain(|(_, connection)| !known.contains(&*connection.id));
        self.all.sort_by(|(one, _), (other, _)| other.cmp(one));
        let mut killed = std::mem::take(&mut self.all).into_iter().map(|(_, connection)| connection).peekable();
        let mut all = Vec::with_capacity(ended.len() + killed.len());
        for connection in ended {
            let end = connection.end.clone().unwrap_or_default();
            while let Some(earlier) = killed.next_if(|killed| killed.start > end) {
                all.push(earlier);
            }
            all.push(connection);
        }
        all.extend(killed);
        all
    }
}

impl Connection {
    fn open(live: &LiveSession, progress: &Progress, server: &str) -> Connection {
        Connection {
            id: live.session_id.to_string(),
            status: "open",
            user: Some(live.user.to_string()),
            identity: live.identity.as_deref().map(str::to_owned),
            address: live.source_ip.to_canonical().to_string(),
            port: live.source_port,
            target: live.jump.as_ref().map_or(server, |jump| jump.target()).to_owned(),
            account: live.jump.as_ref().and_then(|jump| jump.account()).map(ToString::to_string),
            client: live.client.as_deref().map(str::to_owned),
            start: time(live.since),
            end: None,
            reason: None,
            ended_by: None,
            message: None,
            bytes_in: progress.bytes_in,
            bytes_out: progress.bytes_out,
            files_in: progress.files_in,
            files_out: progress.files_out,
        }
    }

    /// As its CONNECTED says.
    fn killed(event: &Event) -> Connection {
        let start = event.text("timestamp").to_owned();
        Connection { start, end: None, reason: Some("gateway-killed".to_owned()), ..Connection::closed(event) }
    }

    /// As its DISCONNECTED says.
    fn closed(event: &Event) -> Connection {
        let text = |name: &str| Some(event.text(name)).filter(|text| !text.is_empty()).map(str::to_owned);
        let number = |name: &str| event.number(name).unwrap_or(0);
        let life = i64::try_from(number("duration-ms")).ok().and_then(TimeDelta::try_milliseconds).unwrap_or_default();
        let start = event.time().and_then(|end| end.checked_sub_signed(life));
        Connection {
            id: event.text("session-id").to_owned(),
            status: "closed",
            user: text("user"),
            identity: text("identity"),
            address: event.text("source-ip").to_owned(),
            port: u16::try_from(number("source-port")).unwrap_or(0),
            target: text("target").unwrap_or_else(|| event.text("server").to_owned()),
            account: text("account"),
            client: text("client"),
            start: start.map_or_else(|| event.text("timestamp").to_owned(), shown),
            end: text("timestamp"),
            reason: text("reason"),
            ended_by: text("ended-by"),
            message: text("message"),
            bytes_in: event.text("bytes-in").parse().unwrap_or(0),
            bytes_out: event.text("bytes-out").parse().unwrap_or(0),
            files_in: number("files-in"),
            files_out: number("files-out"),
        }
    }
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::Jump;

    #[test]
    fn a_closed_connection_is_what_its_end_says() {
        let line = br#"{"activity-type":"DISCONNECTED","session-id":"0049cd844c7536c06a89","timestamp":"2026-07-31T08:16:00.042Z","server":"edge-1","user":"ann","identity":"ann@laptop","source-ip":"192.0.2.1","source-port":50022,"reason":"administrator","ended-by":"night-shift","message":"key reported stolen","duration-ms":61250,"bytes-in":"121","bytes-out":"0","files-in":1,"files-out":0}"#;
        let shown = serde_json::to_value(Connection::closed(&Event::parse(line).unwrap())).unwrap();
        let expected = serde_json::json!({
            "id": "0049cd844c7536c06a89", "status": "closed", "user": "ann", "identity": "ann@laptop", "address": "192.0.2.1", "port": 50022,
            "target": "edge-1", "start": "2026-07-31T08:14:58.792Z", "end": "2026-07-31T08:16:00.042Z",
            "reason": "administrator", "ended_by": "night-shift", "message": "key reported stolen",
            "bytes_in": 121, "bytes_out": 0, "files_in": 1, "files_out": 0,
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_session_whose_gateway_was_killed_is_closed_without_an_end() {
        let event = |activity: &str, id: &str, time: &str| {
            let line = format!(
                r#"{{"activity-type":"{activity}","session-id":"{id}","timestamp":"2026-07-31T{time}.000Z","user":"ann","server":"edge-1"}}"#
            );
            Event::parse(line.as_bytes()).unwrap()
        };
        let connected = |id: &str, time: &str| event("CONNECTED", id, time);
        let closed = |id: &str, time: &str| Connection::closed(&event("DISCONNECTED", id, time));
        let since = "2026-07-31T09:00:00Z".parse().unwrap();
        let mut began = Began::before(since, true);
        for (id, time) in [("here", "09:01:00"), ("ended", "08:10:00"), ("killed", "08:00:00"), ("early", "07:40:00")] {
            began.note(&connected(id, time));
        }
        let all = began.with_killed(vec![closed("ended", "08:20:00"), closed("other", "07:50:00")]);
        assert_eq!(all.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["ended", "killed", "other", "early"]);
        let killed = serde_json::to_value(&all[1]).unwrap();
        assert_eq!((&killed["status"], &killed["reason"]), (&"closed".into(), &"gateway-killed".into()));
        assert_eq!((&killed["start"], killed.get("end")), (&"2026-07-31T08:00:00.000Z".into(), None));
        // What ended after the page is not known there, until a start is found.
        let mut began = Began::before(since, false);
        let checkpoint = |reason: &str, time: &str| {
            format!(
                r#"{{"activity-type":"CHECKPOINT","timestamp":"2026-07-31T{time}.000Z","server":"edge-1","chain":"c","reason":"{reason}","clean":false}}"#
            )
        };
        began.note(&connected("unknown", "08:40:00"));
        began.note_start(checkpoint("interval", "08:35:00").as_bytes());
        began.note(&connected("unknown-too", "08:34:00"));
        began.note_start(checkpoint("start", "08:30:00").as_bytes());
        began.note(&connected("killed", "08:00:00"));
        assert_eq!(began.with_killed(Vec::new()).iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["killed"]);
    }

    #[test]
    fn a_connection_to_a_target_names_it() {
        let line = br#"{"activity-type":"DISCONNECTED","session-id":"0049cd844c7536c06a89","timestamp":"2026-07-31T08:16:00.042Z","server":"edge-1","user":"ann","target":"db-1","account":"deploy","jump-session-id":"0049cd844c7536c06a88"}"#;
        let closed = Connection::closed(&Event::parse(line).unwrap());
        assert_eq!((closed.target.as_str(), closed.account.as_deref()), ("db-1", Some("deploy")));
        let live = LiveSession {
            session_id: "0049cd844c7536c06a89".into(),
            user: "ann".into(),
            identity: None,
            source_ip: [192, 0, 2, 1].into(),
            source_port: 50022,
            client: None,
            method: "inherited".into(),
            key: None,
            since: std::time::SystemTime::UNIX_EPOCH,
            source: "configuration".into(),
            credential: None,
            jump: Some(Jump::new("db-1".into(), Some("deploy".into()), "0049cd844c7536c06a88".into())),
            proof_ends: None,
        };
        let progress = Progress::default();
        let open = Connection::open(&live, &progress, "edge-1");
        assert_eq!((open.target.as_str(), open.account.as_deref()), ("db-1", Some("deploy")));
        let plain = LiveSession { jump: None, ..live };
        let open = Connection::open(&plain, &progress, "edge-1");
        assert_eq!((open.target.as_str(), open.account), ("edge-1", None));
    }
}
