//! `lockgate events follow`: events as they come, a row each on a terminal and as they are in a pipe.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde_json::Value;
use tokio::time::timeout;

use super::Where;
use crate::admin::client::{CallError, Client};
use crate::audit::read::newest::id_of;
use crate::audit::read::{Event, shown};
use crate::audit::table::Table;
use crate::cli::{Failure, block_on};

/// How long to wait before the gateway is asked again after a connection was lost, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How long nothing may come before the connection counts as lost: the gateway gives a sign of life every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// The longest line of the stream, in bytes; no event is nearly as long.
const MOST: usize = 4 << 20;

/// Which events.
#[derive(Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Filters")]
pub(in crate::cli) struct Filters {
    /// Login name; `*` and `?` stand for any characters, as in a sink's filter
    #[arg(long, value_name = "GLOB")]
    user: Option<String>,
    /// Person behind the login name: a certificate's key id, a key's comment, or what the identity provider says; `*` and `?` as for --user
    #[arg(long, value_name = "GLOB")]
    identity: Option<String>,
    /// Logical path or stored path; `*` stays within a component, `**` does not
    #[arg(long, value_name = "GLOB")]
    path: Option<String>,
    /// Activity type (`CLOSE`); can be repeated
    #[arg(long, value_name = "TYPE")]
    activity: Vec<String>,
    /// Kind of operation, as in a sink's filter (`upload`); can be repeated
    #[arg(long, value_name = "WORD")]
    operation: Vec<String>,
    /// Client address or network (`10.0.0.0/8`)
    #[arg(long, value_name = "CIDR")]
    address: Option<String>,
    /// Session id, or its first digits
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Target of a jump
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Account at a target
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Fingerprint of a key or an authority, or its beginning, with or without `SHA256:`
    #[arg(long, visible_alias = "key")]
    fingerprint: Option<String>,
    /// `success`, `denied` or `failure`
    #[arg(long)]
    status: Option<String>,
    /// Text anywhere in the event, ignoring case
    #[arg(long)]
    text: Option<String>,
    /// Start after the event with this `event-id` instead of now
    #[arg(long, value_name = "EVENT-ID")]
    after: Option<String>,
    /// Only events of the gateway that is asked, not of all gateways of its fleet
    #[arg(long)]
    own: bool,
    /// First show the last N events that fit, up to 1000
    #[arg(long, value_name = "N", conflicts_with = "after", value_parser = clap::value_parser!(u16).range(1..=1000))]
    last: Option<u16>,
}

pub(super) fn follow(place: &Where, filters: &Filters) -> Result<(), Failure> {
    let client = place.client()?;
    let as_rows = io::stdout().is_terminal() && !place.json;
    let table = as_rows.then(Table::of_terminal);
    if let Some(table) = &table {
        super::print(&table.head())?;
    }
    let mut printer = Printer { table, is_over: false, fleet: None };
    Ok(block_on(async { follow_on(&client, filters, &mut printer).await })?)
}

async fn follow_on(client: &Client, filters: &Filters, printer: &mut Printer) -> anyhow::Result<()> {
    let query = filters.query();
    let gateways = [("gateways", if filters.own { "own" } else { "all" }.to_owned())];
    let of_all = [&query[..], &gateways[..]].concat();
    let mut last = match filters.last {
        Some(most) => show_last(client, &query, most, printer).await?,
        None => filters.after.clone(),
    };
    if printer.is_over {
        return Ok(());
    }
    let mut pause = PAUSES.0;
    let mut was_in = false;
    loop {
        match client.stream(&["api", "v1", "events", "stream"], &of_all, last.as_deref()).await {
            Ok(mut response) => {
                was_in = true;
                let (mut parser, began) = (Parser::default(), Instant::now());
                // A connection of which only this side is left neither ends nor says anything.
                while let Ok(Ok(Some(chunk))) = timeout(SILENCE, response.chunk()).await {
                    for message in parser.take(&chunk)? {
                        last = message.id.clone().or(last);
                        if message.is_event() {
                            pause = PAUSES.0;
                        }
                        printer.show(&message)?;
                        if printer.is_over {
                            return Ok(());
                        }
                    }
                }
                // A stream that ends as soon as it has begun is asked for less and less often.
                if began.elapsed() > PAUSES.1 {
                    pause = PAUSES.0;
                }
            }
            Err(error) if !was_in || is_refusal(&error) => return Err(error.into()),
            Err(_) => {}
        }
        eprintln!("the connection was lost; connecting again{}", printer.what_is_missed());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Shows the newest events that fit, oldest first. Gives the id to go on after: no event comes twice, and none in between is missed.
async fn show_last(
    client: &Client,
    query: &[(&'static str, String)],
    most: u16,
    printer: &mut Printer,
) -> anyhow::Result<Option<String>> {
    let path = ["api", "v1", "events"];
    let page = |query: &[(&'static str, String)], limit: u16| {
        let own = [("limit", limit.to_string()), ("format", "ndjson".to_owned())];
        [query, &own[..]].concat()
    };
    let id = |line: &String| id_of(line.as_bytes()).map(str::to_owned);
    // Where the trail is now, whatever fits; what comes from here on is shown by the stream, unless the page below has it already.
    let newest = client.lines(&path, &page(&[], 1)).await?;
    let lines = client.lines(&path, &page(query, most)).await?;
    // Ids ascend.
    let last = lines.first().and_then(id).max(newest.first().and_then(id));
    for line in lines.into_iter().rev() {
        printer.show(&Message { id: None, kind: String::new(), data: line })?;
        if printer.is_over {
            break;
        }
    }
    Ok(last)
}

/// Whether asking again would be answered the same.
fn is_refusal(error: &CallError) -> bool {
    error.status.is_some_and(|status| (400..500).contains(&status))
}

impl Filters {
    fn query(&self) -> Vec<(&'static str, String)> {
        let joined = |words: &[String]| Some(words.join(",")).filter(|words| !words.is_empty());
        let all = [
            ("user", self.user.clone()),
            ("identity", self.identity.clone()),
            ("path", self.path.clone()),
            ("activity", joined(&self.activity)),
            ("operation", joined(&self.operation)),
            ("address", self.address.clone()),
            ("session", self.session.clone()),
            ("target", self.target.clone()),
            ("account", self.account.clone()),
            ("fingerprint", self.fingerprint.clone()),
            ("status", self.status.clone()),
            ("text", self.text.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Puts events on standard output.
struct Printer {
    /// `None`: the lines as they are.
    table: Option<Table>,
    /// The reader has seen enough.
    is_over: bool,
    /// What the gateway said of its fleet.
    fleet: Option<String>,
}

impl Printer {
    fn show(&mut self, message: &Message) -> anyhow::Result<()> {
        if message.data.is_empty() {
            return Ok(());
        }
        let text = match (message.kind.as_str(), &self.table) {
            ("" | "elsewhere", None) => message.data.clone(),
            ("" | "elsewhere", Some(table)) => match Event::parse(message.data.as_bytes()) {
                Some(event) => table.row_of_terminal(&event),
                None => return Ok(()),
            },
            ("fleet", _) => {
                self.say_fleet(&message.data);
                return Ok(());
            }
            (kind, _) => {
                let told: Value = serde_json::from_str(&message.data).unwrap_or_default();
                let detail = shown(told["detail"].as_str().unwrap_or_default()).into_owned();
                // Asking again would be answered the same.
                anyhow::ensure!(kind != "failed", "the gateway cannot go on: {detail}");
                eprintln!("{}: {detail}", shown(kind));
                return Ok(());
            }
        };
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.is_over = true,
            outcome => outcome.context("standard output cannot be written")?,
        }
        Ok(())
    }
}

impl Printer {
    /// Says whether the events of the other gateways are there, when that has changed.
    fn say_fleet(&mut self, data: &str) {
        let fleet: Value = serde_json::from_str(data).unwrap_or_default();
        let text = match fleet["incomplete"].as_str() {
            Some(why) => format!("events of other gateways may be missing: {}", shown(why)),
            None => {
                let gateways = fleet["gateways"].as_array().map(Vec::as_slice).unwrap_or_default();
                let names: Vec<_> = gateways.iter().filter_map(Value::as_str).map(shown).collect();
                if names.is_empty() { String::new() } else { format!("with the events of {}", names.join(", ")) }
            }
        };
        let is_new = self.fleet.as_ref() != Some(&text);
        if is_new && !text.is_empty() {
            eprintln!("{text}");
        }
        self.fleet = Some(text);
    }

    /// What a lost connection means beside a pause.
    fn what_is_missed(&self) -> &'static str {
        if self.fleet.is_some() { "; what other gateways record meanwhile is only in their trails" } else { "" }
    }
}

/// A server-sent event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Message {
    id: Option<String>,
    /// Empty for an event of the trail.
    kind: String,
    /// Empty when it only says how far the stream is.
    data: String,
}

impl Message {
    /// Whether it is an event of a trail.
    fn is_event(&self) -> bool {
        matches!(self.kind.as_str(), "" | "elsewhere") && !self.data.is_empty()
    }
}

/// Takes the stream apart.
#[derive(Debug, Default)]
struct Parser {
    rest: Vec<u8>,
    message: Message,
}

impl Parser {
    fn take(&mut self, chunk: &[u8]) -> anyhow::Result<Vec<Message>> {
        self.rest.extend_from_slice(chunk);
        let mut whole = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            match line.split_once(": ") {
                None if line.is_empty() => {
                    let message = std::mem::take(&mut self.message);
                    whole.extend(Some(message).filter(|message| !message.data.is_empty() || message.id.is_some()));
                }
                Some(("id", id)) => self.message.id = Some(id.to_owned()),
                Some(("event", kind)) => kind.clone_into(&mut self.message.kind),
                Some(("data", data)) => data.clone_into(&mut self.message.data),
                _ => {}
            }
        }
        anyhow::ensure!(self.rest.len() <= MOST, "the gateway sends a line that is too long");
        Ok(whole)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_whole_wherever_the_stream_was_cut() {
        let stream = b": hello\n\nid: 0\n\n: still\n\nid: 1\ndata: {\"a\": \"b: c\"}\n\nevent: gap\ndata: {}\n\nid: 2\ndata: {}\n\nid: 3\n";
        let message = |id: Option<&str>, kind: &str, data: &str| Message {
            id: id.map(str::to_owned),
            kind: kind.to_owned(),
            data: data.to_owned(),
        };
        let expected = [
            message(Some("0"), "", ""),
            message(Some("1"), "", "{\"a\": \"b: c\"}"),
            message(None, "gap", "{}"),
            message(Some("2"), "", "{}"),
        ];
        for size in [1, 2, 7, 1000] {
            let mut parser = Parser::default();
            let found: Vec<Message> = stream.chunks(size).flat_map(|chunk| parser.take(chunk).unwrap()).collect();
            assert_eq!(found, expected, "{size}");
        }
        assert!(Parser::default().take(&vec![b'x'; MOST + 1]).is_err());
    }
}
