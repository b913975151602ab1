//! `lockgate status`, `reload` and `drain`, and how answers are laid out.

use serde_json::Value;

use super::Where;
use crate::admin::client::method::{GET, POST};
use crate::audit::read::shown;
use crate::cli::Failure;

/// Shows the gateway in one look; a failure when it is not ready.
pub(in crate::cli) fn status(place: &Where) -> Result<(), Failure> {
    let answer = place.call(async |client| client.call(GET, &["api", "v1", "status"], &[], None).await)?;
    place.print(&answer, describe)?;
    if answer["readiness"]["ready"] == true { Ok(()) } else { Err(Failure::Told) }
}

fn describe(status: &Value) -> String {
    let readiness = &status["readiness"];
    let list = |value: &Value| {
        let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(|text| shown(text).into_owned()).collect::<Vec<_>>()
    };
    let mut lines = vec![
        format!(
            "server    {} (lockgate {}), since {}",
            text(status, "server"),
            text(status, "version"),
            text(status, "since")
        ),
        format!("listens   {}", list(&status["listens"]).join(", ")),
        format!("sessions  {}", status["sessions"]),
        format!("ready     {}", if readiness["ready"] == true { "yes" } else { "no" }),
    ];
    lines.extend(list(&readiness["reasons"]).into_iter().map(|reason| format!("          {reason}")));
    let trail = &status["trail"];
    let checkpoint = trail.get("checkpoint").map(|number| {
        let what = if trail["signed"] == true { "signed" } else { "not signed" };
        format!("; the last checkpoint is {number}, {what}, at {}", text(trail, "checkpoint_time"))
    });
    lines.push(format!("trail     {} events{}", trail["sequence"], checkpoint.unwrap_or_default()));
    for sink in status["sinks"].as_array().into_iter().flatten() {
        let state = sink["failure"].as_str().map_or("writes".into(), |why| format!("fails: {}", shown(why)));
        lines.push(format!("sink      {}: {state}", text(sink, "name")));
    }
    if let Some(fleet) = status.get("fleet") {
        let (name, since) = (text(fleet, "name"), text(fleet, "since"));
        lines.push(match fleet["alone"].as_str() {
            None => format!("fleet     {name}: together since {since}"),
            Some(why) => format!("fleet     {name}: ALONE since {since}: {}", shown(why)),
        });
    }
    lines.join("\n")
}

/// Makes the gateway read its configuration again.
pub(in crate::cli) fn reload(place: &Where) -> Result<(), Failure> {
    post(place, "reload")
}

/// Makes the gateway end once transfers have.
pub(in crate::cli) fn drain(place: &Where) -> Result<(), Failure> {
    post(place, "drain")
}

fn post(place: &Where, what: &str) -> Result<(), Failure> {
    let answer = place.call(async |client| client.call(POST, &["api", "v1", what], &[], None).await)?;
    place.print(&answer, |answer| text(answer, "done"))
}

/// A field that is text, as a terminal may show it; empty when it is absent.
pub(super) fn text(value: &Value, name: &str) -> String {
    shown(value[name].as_str().unwrap_or_default()).into_owned()
}

/// `192.0.2.1:50022`, `[2001:db8::1]:50022`
pub(super) fn address_of(value: &Value) -> String {
    let (address, port) = (text(value, "address"), value["port"].as_u64().unwrap_or(0));
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Bytes as a person reads them: at most four digits and a unit.
pub(in crate::cli) fn amount(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = usize::try_from(bytes.ilog2() / 10).unwrap_or(1);
    let tenths = u128::from(bytes) * 10 / (1 << (10 * power));
    let unit = UNITS.get(power - 1).copied().unwrap_or_default();
    if tenths < 100 { format!("{}.{} {unit}", tenths / 10, tenths % 10) } else { format!("{} {unit}", tenths / 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_239, "9.9 KiB"),
            (10_240, "10 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 30) - 1, "1023 MiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(amount(bytes), shown);
        }
    }
}
