//! The verdict on a range of time: what was done to the trail within it or up to its anchors is found, and what was done elsewhere is told.

use std::io::Cursor;

use chrono::{DateTime, TimeDelta, Utc};
use lockgate::internals::audit::read::{Source, Span, Trail};
use lockgate::internals::audit::verify::{Kind, Options, PublicKey, Report, verify};

use crate::support::trail::{ChainMaker, SigningKey, text};

/// Ten hours: in each four events, and a checkpoint at its end. Lines of hour `n`: 5n+1 to 5n+4, and the checkpoint 5n+5.
pub fn hours(server: &str) -> ChainMaker {
    let mut chain = ChainMaker::start(server, Some(SigningKey::new(7)));
    for hour in 0..10 {
        (0..4).for_each(|number| chain.close(&format!("/{hour}/{number}")));
        chain.checkpoint("interval", None);
        chain.pass(TimeDelta::hours(1) - TimeDelta::milliseconds(5 * 250));
    }
    chain
}

pub fn at(hour: i64) -> DateTime<Utc> {
    "2026-07-31T08:00:00.200Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hour)
}

fn judge(lines: &[String], span: Span) -> Report {
    let source = Source::Stream("events".into(), Box::new(Cursor::new(text(lines).into_bytes())));
    let keys = vec![PublicKey::from_pem(&SigningKey::new(7).public_pem()).unwrap()];
    let options = Options { keys, span, ..Options::default() };
    verify(&mut Trail::new(vec![source], Span::default(), None), options, |_| ()).unwrap()
}

pub fn hours_4_and_5() -> Span {
    Span { since: Some(at(4)), until: Some(at(6)) }
}

#[test]
fn a_range_hangs_between_the_checkpoints_around_it() {
    let chain = hours("edge-1");
    let report = judge(&chain.lines, hours_4_and_5());
    assert!(report.is_whole(), "{report}");
    let json = report.to_json();
    let range = &json["chains"][0]["range"];
    assert_eq!((&range["events"], &range["first"], &range["last"]), (&10.into(), &22.into(), &31.into()), "{json:#}");
    assert_eq!(range["anchor-before"]["sequence"], 21, "{json:#}");
    assert_eq!(range["anchor-after"]["sequence"], 36, "{json:#}");
    assert!(report.to_string().contains("INTACT IN THE RANGE"), "{report}");
    // Open at one end.
    let report = judge(&chain.lines, Span { since: Some(at(8)), until: None });
    assert!(report.is_whole() && report.to_string().contains("after it: no checkpoint in these sources"), "{report}");
}

#[test]
fn a_range_that_the_sources_do_not_reach_is_not_said_to_be_whole() {
    let chain = hours("edge-1");
    let days = TimeDelta::days(2);
    for span in [
        Span { since: Some(at(8) + days), until: None },
        Span { since: Some(at(0) - days), until: Some(at(0) - days / 2) },
    ] {
        let report = judge(&chain.lines, span);
        assert!(report.to_string().contains("NOTHING IN THE RANGE: "), "{report}");
        assert!(report.is_beside_the_range());
    }
    // Lines before and after it show that nothing happened in it.
    let between = Span { since: Some(at(4) + TimeDelta::seconds(1)), until: Some(at(4) + TimeDelta::seconds(2)) };
    let report = judge(&chain.lines, between);
    assert!(report.to_string().contains("INTACT IN THE RANGE"), "{report}");
    assert!(!report.is_beside_the_range());
}

#[test]
fn what_was_done_elsewhere_is_told_and_does_not_count() {
    let chain = hours("edge-1");
    for removed in [7, 17, 42] {
        let mut lines = chain.lines.clone();
        lines.remove(removed);
        let report = judge(&lines, hours_4_and_5());
        assert!(report.is_whole() && report.outside > 0, "{removed}: {report}");
        assert!(report.to_string().contains("outside of the range, not judged: "), "{report}");
        assert!(!judge(&lines, Span::default()).is_whole());
    }
}

#[test]
fn what_was_done_within_counts_whatever_times_the_lines_say() {
    let chain = hours("edge-1");
    // From the anchor before the range to the one after it.
    for number in 21..35 {
        let mut lines = chain.lines.clone();
        lines.remove(number);
        assert!(!judge(&lines, hours_4_and_5()).is_whole(), "{number} was removed");
        let mut lines = chain.lines.clone();
        let time = format!("\"timestamp\":\"{}", &lines[number].split_once("\"timestamp\":\"").unwrap().1[..10]);
        lines[number] = lines[number].replace(&time, "\"timestamp\":\"1999-01-01");
        assert!(!judge(&lines, hours_4_and_5()).is_whole(), "the time of {number} was changed");
    }
    // All of the range, up to a signature of it.
    let mut lines = chain.lines.clone();
    lines.drain(21..31);
    assert!(!judge(&lines, hours_4_and_5()).is_whole());
}

#[test]
fn a_range_that_begins_before_its_sources_is_not_whole() {
    let chain = hours("edge-1");
    let report = judge(&chain.lines[25..], hours_4_and_5());
    assert_eq!((report.found, report.findings[0].kind), (1, Kind::Beginning), "{report}");
    // A line before the range is enough.
    assert!(judge(&chain.lines[18..], hours_4_and_5()).is_whole());
    // So is the first line of the chain.
    assert!(judge(&chain.lines, Span { since: Some(at(-100)), until: Some(at(2)) }).is_whole());
}

#[test]
fn a_chain_whose_lines_of_the_range_are_all_gone_is_found_beside_another() {
    let (mut first, second) = (hours("edge-1").lines, hours("edge-2").lines);
    let whole = judge(&[first.clone(), second.clone()].concat(), hours_4_and_5());
    assert!(whole.is_whole(), "{whole}");
    first.drain(21..31);
    for lines in [[first.clone(), second.clone()].concat(), [second.clone(), first.clone()].concat()] {
        let report = judge(&lines, hours_4_and_5());
        assert_eq!((report.found, report.findings[0].kind), (1, Kind::Missing), "{report}");
    }
    // What is wrong with the other one elsewhere still does not count.
    let mut other = second.clone();
    other.remove(42);
    let report = judge(&[hours("edge-1").lines, other].concat(), hours_4_and_5());
    assert!(report.is_whole() && report.outside > 0, "{report}");
    // The sources begin after the range, with what came later.
    let report = judge(&[first[25..].to_vec(), second].concat(), hours_4_and_5());
    assert_eq!((report.found, report.findings[0].kind), (1, Kind::Beginning), "{report}");
}
