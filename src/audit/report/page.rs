//! The report as one page of HTML: to look at, to print, and to keep. It loads nothing.

use std::io::{self, Write};

use base16ct::lower::encode_string;
use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::uses::text_of;
use super::{Report, UserReport, Uses};
use crate::audit::read::shown;

/// Of pages that are looked at and printed.
pub const STYLE: &str = include_str!("page.css");

/// Writes the page.
///
/// # Errors
/// When it cannot be written.
pub fn write_html(report: &Report, mut out: impl Write) -> io::Result<()> {
    out.write_all(page(report).into_string().as_bytes())?;
    out.flush()
}

fn page(report: &Report) -> Markup {
    let title = match (report.users.as_slice(), &report.pattern) {
        ([one], _) => format!("Activity of {}", shown(&one.user)),
        (_, Some(pattern)) => format!("Activity of the users {}", shown(pattern)),
        _ => "Activity of all users".to_owned(),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p { (covered(report)) }
                }
                main {
                    @if report.users.len() != 1 { (overview(report)) }
                    @for user in &report.users { (section(user)) }
                    @if !report.strangers.is_empty() { (strangers(report)) }
                }
                footer { (origin(report)) }
            }
        }
    }
}

/// The time that it covers.
fn covered(report: &Report) -> String {
    match (report.since, report.until) {
        (None, None) => "All events on record. Times are UTC.".to_owned(),
        (Some(since), None) => format!("From {}. Times are UTC.", at(since)),
        (None, Some(until)) => format!("Until {}. Times are UTC.", at(until)),
        (Some(since), Some(until)) => format!("From {} until {}. Times are UTC.", at(since), at(until)),
    }
}

/// What it was made from.
fn origin(report: &Report) -> Markup {
    let servers = report.servers.join(", ");
    html! {
        p {
            "Made " (at(report.made)) " from " (report.events) " events"
            @if !servers.is_empty() { " of " (shown(&servers)) }
            "."
            @if report.unreadable > 0 {
                " " strong { (report.unreadable) " lines or files could not be read as events: this report may be incomplete." }
            }
            " This report does not verify the trail. Use " code { "lockgate audit verify" } " for that."
        }
    }
}

fn overview(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Users" }
            @if report.users.is_empty() { p { "No event fits." } }
            @else {
                table {
                    thead { tr {
                        th { "User" } th { "Last seen" } th.number { "Silent, days" } th.number { "Logins" }
                        th.number { "Failed logins" } th.number { "Files in" } th.number { "Bytes in" }
                        th.number { "Files out" } th.number { "Bytes out" } th.number { "Denied" } th.number { "Failed" }
                    } }
                    tbody {
                        @for user in &report.users {
                            tr {
                                td { a href={ "#user-" (anchor(&user.user)) } { (shown(&user.user)) } }
                                td { (time(user.last_seen)) }
                                td.number { (user.silent_days.map(|days| days.to_string()).unwrap_or_default()) }
                                @for count in [
                                    user.logins, user.failed_logins, user.files_in, user.bytes_in, user.files_out,
                                    user.bytes_out, user.denied, user.failed,
                                ] { td.number { (grouped(count)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn section(user: &UserReport) -> Markup {
    html! {
        section.user id={ "user-" (anchor(&user.user)) } {
            h2 { (shown(&user.user)) }
            (facts(user))
            @if !user.failed_logins_by_reason.is_empty() {
                h3 { "Failed logins" }
                table {
                    thead { tr { th { "Reason" } th.number { "Attempts" } } }
                    tbody { @for (reason, count) in &user.failed_logins_by_reason {
                        tr { td { (shown(reason)) } td.number { (grouped(*count)) } }
                    } }
                }
            }
            (uses("People", "Identity", &user.identities))
            (uses("Keys", "Fingerprint", &user.keys))
            (uses("Addresses", "Address", &user.addresses))
            (uses("Clients", "Version", &user.clients))
            (refused(user))
        }
    }
}

/// The numbers of a user.
fn facts(user: &UserReport) -> Markup {
    let silent = user.silent_days.map_or("never seen".to_owned(), |days| format!("{days} days"));
    let counts = [
        ("Logins", user.logins),
        ("Jumps to targets", user.jumps),
        ("Failed logins", user.failed_logins),
        ("Active days", user.active_days),
        ("Longest silence, days", user.longest_silence_days),
        ("Files received", user.files_in),
        ("Bytes received", user.bytes_in),
        ("Files sent", user.files_out),
        ("Bytes sent", user.bytes_out),
        ("Transfers cut off", user.cut_off),
        ("Files deleted", user.deleted),
        ("Renames", user.renamed),
        ("Folders made", user.folders_made),
        ("Folders removed", user.folders_removed),
        ("Operations denied", user.denied),
        ("Operations failed", user.failed),
    ];
    html! {
        dl {
            div { dt { "First seen" } dd { (time(user.first_seen)) } }
            div { dt { "Last seen" } dd { (time(user.last_seen)) } }
            div { dt { "Silent for" } dd { (silent) } }
            @for (name, count) in counts { div { dt { (name) } dd { (grouped(count)) } } }
        }
    }
}

fn uses(title: &str, name: &str, uses: &Uses) -> Markup {
    html! {
        @if !uses.list.is_empty() {
            h3 { (title) }
            table {
                thead { tr {
                    th { (name) } th.number { "Logins" } th.number { "Failures" } th { "First" } th { "Last" }
                } }
                tbody {
                    @for entry in &uses.list {
                        tr {
                            td.name { (shown(&entry.name)) }
                            td.number { (grouped(entry.logins)) }
                            td.number { (grouped(entry.failures)) }
                            td { (time(entry.first)) }
                            td { (time(entry.last)) }
                        }
                    }
                }
            }
            @if uses.of_others > 0 { p { "Attempts with further ones: " (grouped(uses.of_others)) } }
        }
    }
}

fn refused(user: &UserReport) -> Markup {
    html! {
        @if !user.refused.is_empty() {
            h3 { "Last operations that were denied or failed" }
            table {
                thead { tr {
                    th { "Time" } th { "Operation" } th { "Path" } th { "Status" } th { "Message" } th { "Session" }
                } }
                tbody {
                    @for refused in &user.refused {
                        tr {
                            td.time { (time(refused.time)) }
                            td { (shown(&refused.activity)) }
                            td.name { (shown(&refused.path)) }
                            td { (shown(&refused.status)) }
                            td.name { (shown(&refused.message)) }
                            td { (shown(&refused.session_id)) }
                        }
                    }
                }
            }
        }
    }
}

fn strangers(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Names without a user" }
            table {
                thead { tr { th { "Name" } th.number { "Attempts" } } }
                tbody {
                    @for stranger in &report.strangers {
                        tr { td.name { (shown(&stranger.name)) } td.number { (grouped(stranger.attempts)) } }
                    }
                }
            }
            @if report.attempts_of_other_strangers > 0 {
                p { "Attempts with other names: " (grouped(report.attempts_of_other_strangers)) }
            }
        }
    }
}

fn time(time: Option<DateTime<Utc>>) -> String {
    time.map(at).unwrap_or_default()
}

fn at(time: DateTime<Utc>) -> String {
    text_of(time).trim_end_matches('Z').replace('T', " ")
}

/// A name as part of a link within the page.
fn anchor(name: &str) -> String {
    encode_string(name.as_bytes())
}

/// A number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}
