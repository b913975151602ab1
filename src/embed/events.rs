//! A sink of events that the program brings along.

use std::fmt;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::audit::{self, LineSink, OnFailure, OwnSink, SinkSettings, SinkTarget};

/// Where events go: a queue, a database, a channel of one's own.
///
/// Each sink has a thread of its own, which calls [`EventSink::record`] with one event after the other, in the order of the trail, and may
/// be blocked. When `record` has returned without an error, the event is recorded, and what it tells of may happen. An event that was not
/// taken is given again a moment later, and until then, operations that need a record are refused: the gateway does nothing that it cannot
/// record.
///
/// An event may come twice when the process was killed in between, and is the same then, with its id.
///
/// ```
/// use lockgate::{Event, EventSink};
/// use std::sync::mpsc::Sender;
///
/// #[derive(Debug)]
/// struct Logins(Sender<String>);
///
/// impl EventSink for Logins {
///     fn name(&self) -> &str {
///         "logins"
///     }
///
///     fn record(&self, event: &Event<'_>) -> std::io::Result<()> {
///         if event.activity() == "CONNECTED" {
///             let user = event.text("user").unwrap_or_default().to_owned();
///             self.0.send(user).map_err(std::io::Error::other)?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait EventSink: Send + Sync + fmt::Debug + 'static {
    /// How messages and metrics name it.
    fn name(&self) -> &str;

    /// Takes one event.
    ///
    /// # Errors
    /// Why it was not taken. It is given again.
    fn record(&self, event: &Event<'_>) -> io::Result<()>;
}

/// One event of the trail. docs/EVENTS.md describes every activity and field; [`event_schema`] is the same for programs.
#[derive(Debug)]
pub struct Event<'a> {
    line: &'a str,
    fields: Map<String, Value>,
}

impl Event<'_> {
    /// The event as one line of JSON, without its newline, byte by byte as it is in the chain of the trail: `lockgate audit verify` checks
    /// lines, not values.
    pub fn line(&self) -> &str {
        self.line
    }

    /// What happened: `CONNECTED`, `CLOSE`, `AUTH_FAILURE` and so on.
    pub fn activity(&self) -> &str {
        self.text("activity-type").unwrap_or_default()
    }

    /// A field that is text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// All fields.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }
}

/// The JSON Schema of all events.
///
/// ```
/// assert_eq!(lockgate::event_schema()["$schema"], "https://json-schema.org/draft/2020-12/schema");
/// ```
pub fn event_schema() -> Value {
    audit::schema::schema()
}

/// The sink as the recorder uses it. Operations wait for it.
pub(super) fn sink_of(sink: Arc<dyn EventSink>) -> SinkSettings {
    SinkSettings::of(SinkTarget::Own(OwnSink::new(Arc::new(Own(sink)))), OnFailure::Refuse)
}

struct Own(Arc<dyn EventSink>);

impl LineSink for Own {
    fn name(&self) -> String {
        self.0.name().to_owned()
    }

    fn take(&self, line: &str) -> io::Result<()> {
        let fields = serde_json::from_str(line)?;
        self.0.record(&Event { line, fields })
    }
}
