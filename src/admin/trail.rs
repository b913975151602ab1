//! The newest events of the trail, from the file sink that holds all of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State as Shared};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::problem::{Asked, Problem};
use super::reads::{Waiting, What};
use super::state::State;
use crate::audit::read::Span;
use crate::audit::read::newest::{GivenUp, Newest, Page, Reader, newest};
use crate::audit::read::within::Since;
use crate::audit::schema;
use crate::audit::search::{self, AddressTest, Fingerprint, PathPattern, Query, UserPattern, session_prefix};
use crate::audit::spreadsheet;
use crate::users::Network;

/// The most events of one answer, and how many there are if nothing is said.
const MOST: usize = 10_000;
const USUAL: usize = 100;

/// The most bytes of the events of one answer; then it says where the next one goes on.
const MOST_BYTES: usize = 8 << 20;

/// What an answer usually stays below: the lines, one that is longer than expected, and what a form adds. One that does not asks for more.
const MOST_OF_ANSWER: usize = 2 * MOST_BYTES;

/// How long one answer may look for events that fit; then it says where the next one goes on.
pub(super) const LOOKED_FOR: Duration = Duration::from_secs(5);

/// Which events, as `lockgate audit search`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The user's name; `*` and `?` stand for any characters
    pub(super) user: Option<String>,
    /// The person behind the user's name: a certificate's key id, a key's comment, or what the identity provider says; a pattern, as for `user`
    pub(super) identity: Option<String>,
    /// A path that the client named or where it is kept; `*` stays within a component, `**` does not
    pub(super) path: Option<String>,
    /// From when on (RFC 3339)
    pub(super) since: Option<String>,
    /// Until when, not included (RFC 3339)
    pub(super) until: Option<String>,
    /// What happened: one or more of the activities, joined by commas
    pub(super) activity: Option<String>,
    /// The kind of operation: one or more of `upload`, `download`, `copy`, `delete`, `rename`, `mkdir`, `rmdir`, `setstat`, `list` and
    /// `symlink`, joined by commas
    pub(super) operation: Option<String>,
    /// The client's address or network
    pub(super) address: Option<String>,
    /// The session's id
    pub(super) session: Option<String>,
    /// The target that was jumped to
    pub(super) target: Option<String>,
    /// The account at a target
    pub(super) account: Option<String>,
    /// The fingerprint of a key or an authority, or its first four characters or more behind `SHA256:`
    #[serde(alias = "key")]
    pub(super) fingerprint: Option<String>,
    /// `success`, `denied` or `failure`; of an event without the field, what its activity says
    pub(super) status: Option<String>,
    /// A text somewhere in the event, in small or capital letters
    pub(super) text: Option<String>,
    /// At most so many, 100 if left out
    #[param(minimum = 1, maximum = 10000)]
    pub(super) limit: Option<usize>,
    /// Older than this: the `next` of the page before, an `event-id`
    pub(super) before: Option<String>,
    /// `json` (a page, the default), `ndjson` (the lines as they are) or `csv` (a table for spreadsheets); with these the next page is in
    /// the header `Link`
    pub(super) format: Option<String>,
}

/// Events, newest first
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Events {
    /// Each as `lockgate audit schema` describes it
    #[schema(value_type = Vec<Object>)]
    events: Vec<Value>,
    /// What `before` is for the next page; absent when there is nothing older. A page with less than `limit` may have one: then no more
    /// was found within the time of one call, or there is no room for more in one answer
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How they come.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Lines,
    Table,
}

/// The newest events that fit
#[utoipa::path(get, path = "/events", tag = "events", params(Which), responses(
    (status = 200, description = "A page of them, newest first", content((Events = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    (status = 400, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "No sink keeps the whole trail in a file of this machine", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn events(
    Shared(state): Shared<Arc<State>>,
    Extension(waiting): Extension<Waiting>,
    RawQuery(asked): RawQuery,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    let format = match which.format.as_deref() {
        None | Some("json") => Format::Json,
        Some("ndjson") => Format::Lines,
        Some("csv") => Format::Table,
        Some(_) => return Err(Problem::wrong("format is json, ndjson or csv")),
    };
    let query = which.query()?;
    let (span, page) = (query.span, which.page()?.in_span(query.span));
    let judge = query.judge();
    let path = path(&state)?;
    let read = move |given_up| {
        let fitting = Since::of(span, move |line: &[u8]| judge.fits(line).map(|_| line.to_vec()));
        let found = seek(&path, page, given_up, fitting)?;
        let next = found.next.clone();
        Ok((written(found, format)?, next))
    };
    let room = state.reads.room(&waiting, MOST_OF_ANSWER).await?;
    let (content, next) = state.reads.read(&waiting, What::Page, read).await?;
    let content_type = match format {
        Format::Json => "application/json",
        Format::Lines => "application/x-ndjson",
        Format::Table => "text/csv; charset=utf-8; header=present",
    };
    let mut response = ([(CONTENT_TYPE, content_type)], room.answer(content).await?).into_response();
    let next = next.filter(|_| !matches!(format, Format::Json));
    if let Some(link) = next.and_then(|next| next_page(&asked.unwrap_or_default(), &next).parse().ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn written(found: Newest<Vec<u8>>, format: Format) -> Result<Vec<u8>, Problem> {
    let failed = |what: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, what);
    match format {
        Format::Json => {
            let events = found.found.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
            let events = Events { events, next: found.next };
            serde_json::to_vec(&events).map_err(|error| failed(error.to_string()))
        }
        Format::Lines => Ok(found.found.into_iter().flat_map(|line| [line, b"\n".to_vec()].concat()).collect()),
        Format::Table => spreadsheet::table(&found.found).map_err(failed),
    }
}

/// The header `Link` (RFC 8288) to the next page of what was asked for in this query.
fn next_page(asked: &str, next: &str) -> String {
    let others = asked.split('&').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("before"));
    let before = format!("before={next}");
    let query: Vec<&str> = others.chain([before.as_str()]).collect();
    format!("<?{}>; rel=\"next\"", query.join("&"))
}

/// Reads the trail from its end when it is this call's turn, in a thread that may wait for a disk.
pub(super) async fn look<R>(
    state: &State,
    waiting: &Waiting,
    page: Page,
    reader: R,
) -> Result<Newest<R::Taken>, Problem>
where
    R: Reader + Send + 'static,
    R::Taken: Send + 'static,
{
    let path = path(state)?;
    state.reads.read(waiting, What::Page, move |given_up| seek(&path, page, given_up, reader)).await
}

/// Reads the trail from its end, in this thread.
pub(super) fn seek<R: Reader>(
    path: &Path,
    page: Page,
    given_up: GivenUp,
    reader: R,
) -> Result<Newest<R::Taken>, Problem> {
    let read = newest(path, &Page { given_up, ..page }, reader);
    read.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Where the trail is.
pub(super) fn path(state: &State) -> Result<PathBuf, Problem> {
    state.around.trail.clone().ok_or_else(|| {
        let what = "no sink keeps the whole trail in a file of this machine; add { sink: file, path: … } to `events`";
        Problem::new(StatusCode::CONFLICT, what)
    })
}

/// Whether a text has the form of an `event-id`.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// A page of so many, as long as one call may look.
pub(super) fn page_of(limit: usize, before: Option<String>) -> Page {
    Page { before, most_bytes: MOST_BYTES, ..Page::newest(limit, LOOKED_FOR) }
}

impl Which {
    fn page(&self) -> Result<Page, Problem> {
        let limit = self.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::wrong(format!("limit must be from 1 to {MOST}")));
        }
        if self.before.as_deref().is_some_and(|before| !is_id(before)) {
            return Err(Problem::wrong("before is the `next` of another page, an event-id"));
        }
        Ok(page_of(limit, self.before.as_ref().map(|id| id.to_ascii_lowercase())))
    }

    /// What judges a line.
    pub(super) fn query(&self) -> Result<Query, Problem> {
        let wrong = |name: &'static str| move |what: String| Problem::wrong(format!("{name}: {what}"));
        let time = |name: &'static str, text: &Option<String>| -> Result<Option<DateTime<Utc>>, Problem> {
            let read = |text: &String| DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
            text.as_ref()
                .map(read)
                .transpose()
                .map_err(|error| wrong(name)(format!("{error}; write 2026-07-31T08:00:00Z")))
        };
        let activities = self.activity.as_deref().unwrap_or_default().split(',').filter(|name| !name.is_empty());
        let activities: Vec<String> = activities.map(str::to_ascii_uppercase).collect();
        if let Some(odd) = activities.iter().find(|name| !schema::activities().any(|known| known == **name)) {
            return Err(Problem::wrong(format!("activity: there is no {odd:.40?}")));
        }
        let operations = self.operation.as_deref().unwrap_or_default().split(',').filter(|word| !word.is_empty());
        let operations = operations.map(search::operation).collect::<Result<_, _>>().map_err(wrong("operation"))?;
        let address = self.address.as_deref().map(Network::parse).transpose().map_err(wrong("address"))?;
        Ok(Query {
            user: self.user.as_deref().map(UserPattern::parse).transpose().map_err(wrong("user"))?,
            identity: self.identity.as_deref().map(UserPattern::parse).transpose().map_err(wrong("identity"))?,
            path: self.path.as_deref().map(PathPattern::parse).transpose().map_err(wrong("path"))?,
            span: Span { since: time("since", &self.since)?, until: time("until", &self.until)? },
            activities,
            address: address.map(|network| -> AddressTest { Box::new(move |ip| network.contains(ip)) }),
            session: self.session.as_deref().map(session_prefix).transpose().map_err(wrong("session"))?,
            with_jumps: false,
            target: self.target.clone(),
            account: self.account.clone(),
            fingerprint: self
                .fingerprint
                .as_deref()
                .map(Fingerprint::parse)
                .transpose()
                .map_err(wrong("fingerprint"))?,
            operations,
            status: self.status.as_deref().map(search::status).transpose().map_err(wrong("status"))?,
            server: None,
            text: self.text.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_of_the_same_question() {
        for (asked, link) in [
            ("", "<?before=019f>; rel=\"next\""),
            ("user=a%26b&limit=7&format=csv", "<?user=a%26b&limit=7&format=csv&before=019f>; rel=\"next\""),
            ("before=019e&text=before%3D1&&user=a", "<?text=before%3D1&user=a&before=019f>; rel=\"next\""),
        ] {
            assert_eq!(next_page(asked, "019f"), link);
        }
    }
}
