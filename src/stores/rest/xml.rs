//! Answers in XML, as S3, Google and Azure give them.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::client::Failure;
use crate::stores::object::{element, kind_of_code, kind_of_status};
use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// As [`walk`], of a page of a listing; `root` is the element that all of it stands in.
pub(in crate::stores) fn walk_listing(
    answer: &[u8],
    prefix: &str,
    root: &str,
    mut take: impl FnMut(&[String], &str),
) -> StoreResult<()> {
    let mut is_listing = false;
    let failed = |what: &str| {
        StoreError::new(StoreErrorKind::Other, format!("the store's listing of \"{prefix}\" cannot be read: {what}"))
    };
    walk(answer, |path, text| {
        is_listing |= path == [root];
        take(path, text);
    })
    .map_err(|what| failed(&what))?;
    if is_listing { Ok(()) } else { Err(failed("the answer is not a listing")) }
}

/// Calls `take` with the path and the text of every element, as it ends; before that, for each attribute, with its name after
/// an `@` as the last of the path, and its value.
pub(in crate::stores) fn walk(answer: &[u8], mut take: impl FnMut(&[String], &str)) -> Result<(), String> {
    /// Answers nest four deep.
    const DEEPEST: usize = 16;
    let mut reader = Reader::from_reader(answer);
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                if path.len() == DEEPEST {
                    return Err("it nests too deep".to_owned());
                }
                path.push(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
                attributes(&start, &mut path, &mut take);
                text.clear();
            }
            Event::Empty(start) => {
                path.push(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
                attributes(&start, &mut path, &mut take);
                take(&path, "");
                path.pop();
            }
            Event::Text(piece) => text.push_str(&piece.decode().map_err(|error| error.to_string())?),
            Event::CData(piece) => text.push_str(&String::from_utf8_lossy(&piece)),
            Event::GeneralRef(name) => match name.resolve_char_ref() {
                Ok(Some(character)) => text.push(character),
                // A control character, which XML cannot say: the key is odd in any case.
                Err(_) => text.push('\u{fffd}'),
                Ok(None) => {
                    let name = String::from_utf8_lossy(&name);
                    text.push_str(quick_xml::escape::resolve_predefined_entity(&name).unwrap_or("\u{fffd}"));
                }
            },
            Event::End(_) => {
                take(&path, &text);
                path.pop();
                text.clear();
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn attributes(start: &BytesStart<'_>, path: &mut Vec<String>, take: &mut impl FnMut(&[String], &str)) {
    for attribute in start.attributes().flatten() {
        path.push(format!("@{}", String::from_utf8_lossy(attribute.key.local_name().as_ref())));
        take(path, &String::from_utf8_lossy(&attribute.value));
        path.pop();
    }
}

/// What is wrong with an answer; `None` for a success.
pub(in crate::stores) fn failure(status: u16, body: &[u8]) -> Option<Failure> {
    let text = String::from_utf8_lossy(&body[..body.len().min(64 << 10)]);
    let success = (200..300).contains(&status);
    if success && !is_error(&text) {
        return None;
    }
    let code = element(&text, "Code");
    let kind = code.and_then(kind_of_code).unwrap_or_else(|| kind_of_status(status));
    let reason = match (code, element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code.to_owned(),
        _ => format!("the store answered with status {status}"),
    };
    Some(Failure { kind, reason, passing: passes(status, kind), after: None })
}

/// Whether the outermost element is `Error`.
fn is_error(text: &str) -> bool {
    let start = text.trim_start();
    let start = match start.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").map_or("", |(_, after)| after.trim_start()),
        None => start,
    };
    start.starts_with("<Error>") || start.starts_with("<Error ")
}

/// Whether another try may help.
pub(super) fn passes(status: u16, kind: StoreErrorKind) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504) || kind == StoreErrorKind::Unavailable
}

/// The text of the first element of this name.
pub(in crate::stores) fn first(answer: &[u8], name: &str) -> Option<String> {
    let mut found = None;
    walk(answer, |path, text| {
        if found.is_none() && path.last().is_some_and(|last| last == name) {
            found = Some(text.to_owned());
        }
    })
    .ok()?;
    found
}
