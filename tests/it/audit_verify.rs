//! Whatever is done to one line of a trail is found, and a trail that nobody touched is whole.

use std::io::Cursor;

use chrono::TimeDelta;
use lockgate::internals::audit::read::{Source, Span, Trail};
use lockgate::internals::audit::verify::{Kind, Options, PublicKey, Report, verify};
use proptest::prelude::*;

use crate::support::trail::{ChainMaker, SigningKey, text};

/// How many trails are made and tampered with.
const CASES: u32 = 3000;

/// One thing that happens to a server.
#[derive(Debug, Clone)]
enum Step {
    Events(usize),
    Checkpoint,
    Rotation,
    Restart,
    Kill { lost: usize, unacknowledged: u64, torn: bool },
    Anew,
}

/// What is done to a trail.
#[derive(Debug, Clone)]
enum Deed {
    Remove(usize),
    Change(usize, usize, u8),
    Swap(usize, usize),
    Repeat(usize, usize),
    Add(usize, String),
}

/// Lines, and which of them begin a file.
#[derive(Debug, Clone, Default)]
struct Made {
    lines: Vec<String>,
    files: Vec<usize>,
    /// The last before lines that a kill took, if nobody was told of it: the line that follows is not there to tell that it was
    /// changed.
    unfollowed: Vec<usize>,
    /// The last before lines that a kill took.
    before_cuts: Vec<usize>,
    /// The last before a kill, of which nobody was told: it may be missing.
    untold: Vec<usize>,
    /// Lines that a kill tore.
    torn: Vec<usize>,
    cuts: usize,
}

fn key() -> SigningKey {
    SigningKey::new(7)
}

fn make(steps: &[Step]) -> Made {
    let mut chain = ChainMaker::start("edge-1", Some(key()));
    let mut made = Made { lines: Vec::new(), files: vec![0], ..Made::default() };
    for step in steps {
        match step {
            Step::Events(count) => (0..*count).for_each(|number| chain.close(&format!("/a \"b\\{number}"))),
            Step::Checkpoint => chain.checkpoint("interval", None),
            Step::Rotation => {
                chain.checkpoint("rotation", None);
                made.files.push(chain.lines.len());
            }
            Step::Restart => chain.restart(),
            Step::Kill { lost, unacknowledged, torn } => {
                let end = chain.lines.len();
                chain.kill(*lost, chain.last().saturating_sub(*unacknowledged), *torn);
                if *lost > 0 {
                    made.cuts += 1;
                    made.before_cuts.push(end - 1);
                }
                if *lost > 0 && *unacknowledged > 0 {
                    made.unfollowed.push(end - 1);
                }
                if *unacknowledged > 0 {
                    made.untold.push(end - 1);
                }
                if *lost > 0 && *torn {
                    made.torn.push(end);
                }
            }
            Step::Anew => chain.begin_anew(),
        }
    }
    chain.checkpoint("shutdown", None);
    made.lines = chain.lines;
    made
}

fn options(whole: bool) -> Options {
    Options { keys: vec![PublicKey::from_pem(&key().public_pem()).unwrap()], whole, ..Options::default() }
}

fn judge(files: Vec<String>, options: Options) -> Report {
    let sources = (0..)
        .zip(files)
        .map(|(number, content)| Source::Stream(format!("file-{number}"), Box::new(Cursor::new(content.into_bytes()))));
    verify(&mut Trail::new(sources.collect(), Span::default(), None), options, |_| ()).unwrap()
}

fn judge_made(made: &Made) -> Report {
    let ends = made.files.iter().skip(1).copied().chain([made.lines.len()]);
    judge(made.files.iter().zip(ends).map(|(from, to)| text(&made.lines[*from..to])).collect(), options(true))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kill = (0_usize..4, 0_u64..4, any::<bool>());
    let step = prop_oneof![
        4 => (1_usize..5).prop_map(Step::Events),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Rotation),
        1 => Just(Step::Restart),
        3 => kill.prop_map(|(lost, unacknowledged, torn)| Step::Kill { lost, unacknowledged, torn }),
        1 => Just(Step::Anew),
    ];
    prop::collection::vec(step, 1..8)
}

fn deed() -> impl Strategy<Value = Deed> {
    let line = 0_usize..1000;
    prop_oneof![
        line.clone().prop_map(Deed::Remove),
        (line.clone(), 0_usize..2000, 1_u8..=255).prop_map(|(line, at, by)| Deed::Change(line, at, by)),
        (line.clone(), line.clone()).prop_map(|(a, b)| Deed::Swap(a, b)),
        (line.clone(), line.clone()).prop_map(|(a, b)| Deed::Repeat(a, b)),
        (line, "(\\{\"activity-type\":\"CLOSE\"\\}|\\{\"x|x|\\{\\}|)").prop_map(|(line, text)| Deed::Add(line, text)),
    ]
}

/// Does it, by line numbers modulo their count. `None` when it changes nothing, or only what no line answers for.
fn tamper(made: &Made, deed: &Deed) -> Option<Made> {
    let mut changed = made.clone();
    let (lines, count) = (&mut changed.lines, made.lines.len());
    let may_miss = |line: usize| made.untold.contains(&line) || made.torn.contains(&line);
    let may_change = |line: usize| made.unfollowed.contains(&line) || made.torn.contains(&line);
    let by_kill = |line: usize| made.torn.contains(&line) || made.lines[line].contains("\"clean\":false");
    // Where a kill took lines, something that looks torn may stand.
    let in_cut = |at: usize| may_change(at) || made.before_cuts.contains(&at);
    let looks_torn = |at: usize, line: &str| !line.ends_with('}') && at > 0 && in_cut(at - 1);
    match deed {
        Deed::Remove(line) if !may_miss(line % count) => drop(lines.remove(line % count)),
        Deed::Change(line, at, by) if !may_change(line % count) => {
            let line = &mut lines[line % count];
            let mut bytes = line.clone().into_bytes();
            let at = at % bytes.len();
            // Stays in ASCII, and on its line.
            bytes[at] = (bytes[at] ^ (by % 128)) % 128;
            if bytes[at] == b'\n' {
                bytes[at] = b' ';
            }
            *line = String::from_utf8(bytes).unwrap();
        }
        // What a kill tore may as well have been torn by another kill.
        Deed::Swap(a, b) if !(by_kill(a % count) && by_kill(b % count)) => lines.swap(a % count, b % count),
        Deed::Repeat(line, at) if !looks_torn(at % count, &made.lines[line % count]) => {
            let line = lines[line % count].clone();
            lines.insert(at % count, line);
        }
        Deed::Add(at, line) if !looks_torn(at % count, line) => lines.insert(at % count, line.clone()),
        _ => return None,
    }
    (changed.lines != made.lines).then_some(changed)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]

    #[test]
    fn any_single_change_is_found(steps in steps(), deed in deed()) {
        let made = make(&steps);
        let report = judge_made(&made);
        prop_assert!(report.is_whole(), "nobody touched it: {}", report);
        prop_assert_eq!(report.chains.iter().map(|chain| chain.cuts.len()).sum::<usize>(), made.cuts);
        if let Some(tampered) = tamper(&made, &deed) {
            let report = judge_made(&tampered);
            prop_assert!(!report.is_whole(), "{}", report);
            prop_assert!(!report.findings.is_empty());
        }
    }
}

/// What a finding says.
fn first(lines: &[String]) -> (Kind, u64, Option<u64>) {
    let report = judge(vec![text(lines)], options(false));
    let finding = report.findings.first().unwrap_or_else(|| panic!("nothing was found: {report}"));
    assert_eq!(finding.place.offset, text(&lines[..usize::try_from(finding.place.line - 1).unwrap()]).len() as u64);
    (finding.kind, finding.place.line, finding.sequence)
}

fn ten() -> Vec<String> {
    make(&[Step::Events(4), Step::Checkpoint, Step::Events(3)]).lines
}

#[test]
fn the_first_bad_place_is_told() {
    let with = |change: fn(&mut Vec<String>)| {
        let mut lines = ten();
        change(&mut lines);
        first(&lines)
    };
    assert_eq!(with(|lines| lines[3] = lines[3].replace("121", "122")), (Kind::Changed, 4, Some(4)));
    assert_eq!(with(|lines| drop(lines.drain(3..5))), (Kind::Missing, 4, Some(4)));
    assert_eq!(with(|lines| lines.swap(3, 5)), (Kind::Misplaced, 4, Some(6)));
    assert_eq!(with(|lines| lines.insert(3, lines[2].clone())), (Kind::Misplaced, 4, Some(3)));
    assert_eq!(with(|lines| lines.insert(3, lines[7].clone())), (Kind::Misplaced, 4, Some(8)));
    assert_eq!(with(|lines| lines.insert(3, "{}".into())), (Kind::Foreign, 4, None));
    assert_eq!(with(|lines| lines.insert(3, "{\"a\":\"".into())), (Kind::Torn, 4, None));
    assert_eq!(with(|lines| lines.insert(3, "x".repeat(2 << 20))), (Kind::Foreign, 4, None));
    assert_eq!(
        with(|lines| lines[3] = lines[3].replace("sequence\":4", "sequence\":9")),
        (Kind::Misnumbered, 4, Some(9))
    );
    let last = |lines: &mut Vec<String>| *lines.last_mut().unwrap() = lines[9].replace("shutdown", "interval");
    assert_eq!(with(last), (Kind::Signature, 10, Some(10)));
}

#[test]
fn one_line_that_was_added_is_one_finding() {
    let mut lines = ten();
    lines.insert(4, lines[8].clone());
    let report = judge(vec![text(&lines)], options(true));
    assert_eq!((report.found, report.findings[0].place.line), (1, 5), "{report}");
    let mut lines = ten();
    lines.splice(9..9, ten().drain(2..6));
    let report = judge(vec![text(&lines)], options(true));
    assert_eq!((report.found, report.findings[0].lines), (1, 4), "{report}");
}

#[test]
fn servers_share_a_file() {
    let mut other = ChainMaker::start("edge-2", Some(key()));
    (0..9).for_each(|_| other.close("/x"));
    let lines: Vec<String> = ten().into_iter().zip(other.lines).flat_map(|(a, b)| [a, b]).collect();
    let report = judge(vec![text(&lines)], options(false));
    assert!(report.is_whole(), "{report}");
    let told: Vec<_> =
        report.chains.iter().map(|chain| (chain.server.as_str(), chain.events, chain.is_ended)).collect();
    assert_eq!(told, [("edge-1", 10, true), ("edge-2", 10, false)]);
    assert_eq!((report.chains[0].covered, report.chains[1].covered, report.chains[1].after_checkpoint), (10, 1, 9));
    assert_eq!(report.chains[1].uncovered, [(2, 10)]);
}

#[test]
fn a_cut_is_what_nobody_was_told_of() {
    let cut = |lost, unacknowledged, torn| {
        let lines = make(&[Step::Events(5), Step::Kill { lost, unacknowledged, torn }, Step::Events(2)]).lines;
        (judge(vec![text(&lines)], options(true)), lines)
    };
    let (report, lines) = cut(3, 2, true);
    assert!(report.is_whole(), "{report}");
    let found = &report.chains[0].cuts[0];
    assert_eq!((found.from, found.to, found.acknowledged, found.torn), (7, 9, 4, 1));
    assert!(report.to_string().contains("sequence 7 to 9 may be missing"), "{report}");
    assert_eq!(report.chains[0].uncovered, [(5, 6)], "what stands between what was told and the cut");
    // Two more are missing: still what nobody was told of. Three more: somebody was.
    for (removed, whole) in [(4..6, true), (3..6, false)] {
        let mut lines = lines.clone();
        lines.drain(removed);
        let report = judge(vec![text(&lines)], options(true));
        assert_eq!(report.is_whole(), whole, "{report}");
    }
    let mut forged = lines.clone();
    let start = forged.iter().position(|line| line.contains("\"clean\":false")).unwrap();
    forged[start] = forged[start].replace("\"acknowledged\":4", "\"acknowledged\":2");
    assert!(!judge(vec![text(&forged)], options(false)).is_whole(), "the start must be signed");
    let (report, _) = cut(0, 0, false);
    assert!(report.is_whole() && report.chains[0].cuts.is_empty());
    assert_eq!(report.chains[0].kills, 1);
}

#[test]
fn every_part_of_a_line_is_torn_and_no_other() {
    let mut chain = ChainMaker::start("edge-1", None);
    chain.close("/a \"b\\c é");
    let line = chain.lines.pop().unwrap();
    for end in (1..line.len()).filter(|end| line.is_char_boundary(*end)) {
        let report = judge(vec![text(&chain.lines) + &line[..end]], Options::default());
        assert!(report.is_whole() && report.torn.len() == 1, "{end}: {report}");
    }
    let again = judge(vec![text(&chain.lines) + &line[..40], line.clone()], Options::default());
    assert!(again.is_whole() && again.torn.is_empty() && again.written_again == 1, "{again}");
    let other = judge(vec![text(&chain.lines) + &line[..40], line.replacen("path", "Path", 1)], Options::default());
    assert_eq!(other.findings[0].kind, Kind::Torn, "{other}");
    let report = judge(vec![text(&chain.lines) + &line], Options::default());
    assert!(report.is_whole() && report.torn.is_empty() && report.chains[0].last == 2, "a line without its newline");
}

#[test]
fn keys_are_asked_for_and_told_apart() {
    let mut unsigned = ChainMaker::start("edge-1", None);
    unsigned.close("/x");
    let report = judge(vec![text(&unsigned.lines)], options(false));
    assert_eq!((report.found, report.findings[0].kind), (1, Kind::Signature), "{report}");
    let other = Options { keys: vec![PublicKey::from_pem(&SigningKey::new(8).public_pem()).unwrap()], ..options(true) };
    assert!(judge(vec![text(&ten())], other.clone()).to_string().contains("none of the given keys"));
    let both = Options { keys: [other.keys, options(true).keys].concat(), ..options(true) };
    assert!(judge(vec![text(&ten())], both).is_whole());
    let report = judge(vec![text(&ten())], Options { whole: true, ..Options::default() });
    assert!(report.is_whole() && report.to_string().contains("NOT CHECKED"), "{report}");
}

/// Who writes all lines after a checkpoint anew makes no mistake, but has no key to make the next checkpoint.
#[test]
fn lines_that_go_on_without_a_signature_are_found() {
    let forged = |pause: TimeDelta, count: usize| {
        let mut chain = ChainMaker::start("edge-1", Some(key()));
        for number in 0..count {
            chain.pass(pause);
            chain.close(&format!("/forged-{number}"));
        }
        judge(vec![text(&chain.lines)], options(false))
    };
    let report = forged(TimeDelta::seconds(2), 1250);
    assert_eq!((report.found, report.findings[0].kind), (1, Kind::Signature), "{report}");
    assert!(report.to_string().contains("the signatures reach sequence 1 ("), "{report}");
    assert_eq!(report.findings[0].sequence, Some(1251));
    // A gateway that lives has signed nothing yet, or was killed before it could.
    let report = forged(TimeDelta::zero(), 400);
    assert!(report.is_whole(), "{report}");
    let said = report.to_string();
    assert!(said.contains("they reach sequence 1 (") && said.contains("the next one was to come by"), "{said}");
    // Nothing was recorded for a long time, and then something.
    let mut chain = ChainMaker::start("edge-1", Some(key()));
    chain.pass(TimeDelta::days(3));
    chain.close("/late");
    assert!(judge(vec![text(&chain.lines)], options(false)).is_whole());
    chain.checkpoint("interval", None);
    chain.pass(TimeDelta::days(3));
    chain.close("/later");
    chain.pass(TimeDelta::seconds(100));
    chain.close("/in time");
    assert!(judge(vec![text(&chain.lines)], options(false)).is_whole());
    chain.pass(TimeDelta::seconds(100));
    chain.close("/too late");
    let report = judge(vec![text(&chain.lines)], options(false));
    assert!(report.to_string().contains("the signatures reach sequence 3 ("), "{report}");
}

/// Nothing says that a gateway wrote lines that begin in the middle and never have a signature.
#[test]
fn lines_that_begin_in_the_middle_and_have_no_signature_are_found() {
    let forged = |pause: i64| {
        let mut chain = ChainMaker::start("edge-1", None);
        for number in 0..20 {
            chain.pass(TimeDelta::seconds(pause));
            chain.close(&format!("/forged-{number}"));
        }
        judge(vec![text(&chain.lines[5..])], options(false))
    };
    let report = forged(10);
    assert_eq!((report.found, report.findings[0].kind), (1, Kind::Signature), "{report}");
    assert!(report.to_string().contains("there is no right signature"), "{report}");
    // So long a gateway may live before it signs.
    let report = forged(5);
    assert!(report.is_whole(), "{report}");
}

/// What one forged line says of its time switches nothing off.
#[test]
fn no_time_of_one_line_hides_lines_without_a_signature() {
    let far = TimeDelta::days(9000);
    type Forge = fn(&mut ChainMaker, usize, TimeDelta);
    let odd: [(&str, Forge, &[Kind]); 6] = [
        (
            "last is early",
            |chain, number, far| {
                if number == 1249 {
                    chain.pass(-far)
                }
            },
            &[Kind::Time, Kind::Signature],
        ),
        (
            "one is early",
            |chain, number, far| match number {
                500 => chain.pass(-far),
                501 => chain.pass(far),
                _ => {}
            },
            &[Kind::Time, Kind::Signature],
        ),
        (
            "first is late",
            |chain, number, far| match number {
                0 => chain.pass(far),
                1 => chain.pass(-far),
                _ => {}
            },
            &[Kind::Time],
        ),
        (
            "last has none",
            |chain, number, _| {
                if number == 1249 {
                    timeless(chain)
                }
            },
            &[Kind::Time, Kind::Signature],
        ),
        (
            "first has none",
            |chain, number, _| {
                if number == 0 {
                    timeless(chain)
                }
            },
            &[Kind::Time, Kind::Signature],
        ),
        ("as it should be", |_, _, _| (), &[Kind::Signature]),
    ];
    for (name, forge, kinds) in odd {
        for with_key in [true, false] {
            let mut chain = ChainMaker::start("edge-1", Some(key()));
            for number in 0..1250 {
                chain.pass(TimeDelta::seconds(2));
                forge(&mut chain, number, far);
                chain.close(&format!("/forged-{number}"));
            }
            let asked = if with_key { options(false) } else { Options::default() };
            let report = judge(vec![text(&chain.lines)], asked);
            let found: Vec<Kind> = report.findings.iter().map(|finding| finding.kind).collect();
            let timeless = name.ends_with("none");
            // Without a key nothing is known to be signed, and a clock may step.
            let expected: &[Kind] = if with_key {
                kinds
            } else if timeless {
                &[Kind::Time]
            } else {
                &[]
            };
            assert_eq!(found, expected, "{name} {with_key}: {report}");
        }
    }
    // A clock that was set back is no finding once the gateway has signed what follows.
    let mut chain = ChainMaker::start("edge-1", Some(key()));
    chain.close("/before");
    chain.pass(-TimeDelta::hours(1));
    chain.close("/after");
    assert_eq!(judge(vec![text(&chain.lines)], options(false)).findings[0].kind, Kind::Time);
    chain.checkpoint("interval", None);
    chain.close("/later");
    let report = judge(vec![text(&chain.lines)], options(false));
    assert!(report.is_whole(), "{report}");
}

/// A line whose time cannot be read.
fn timeless(chain: &mut ChainMaker) {
    chain.event(r#""path":"/x","activity-type":"CLOSE","timestamp":"never""#, r#""user":"user0001""#);
}

#[test]
fn a_trail_that_is_being_written_goes_as_far_as_its_state_says() {
    let mut chain = ChainMaker::start("edge-1", Some(key()));
    (0..5).for_each(|number| chain.close(&format!("/{number}")));
    let noted = Options { noted: Some(chain.noted()), ..options(true) };
    chain.close("/since then");
    assert!(!judge(vec![text(&chain.lines)], options(true)).is_whole(), "without the state its end is open");
    let report = judge(vec![text(&chain.lines)], noted.clone());
    assert!(report.is_whole(), "{report}");
    for kept in [6, 5, 1] {
        let report = judge(vec![text(&chain.lines[..kept])], noted.clone());
        let ends = report.findings.iter().filter(|finding| finding.kind == Kind::End).count();
        assert_eq!((report.is_whole(), ends), if kept == 6 { (true, 0) } else { (false, 1) }, "{kept}: {report}");
    }
    // Another chain stands there.
    let mut other = ChainMaker::start("edge-1", Some(key()));
    (0..9).for_each(|number| other.close(&format!("/other-{number}")));
    other.checkpoint("shutdown", None);
    let report = judge(vec![text(&other.lines)], Options { whole: false, ..noted });
    assert!(report.to_string().contains("as its state says"), "{report}");
}

#[test]
fn a_filter_leaves_gaps_and_nothing_else() {
    let filtered = Options { filtered: true, ..options(false) };
    let mut lines = ten();
    lines.drain(3..5);
    lines.remove(5);
    let report = judge(vec![text(&lines)], filtered.clone());
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.chains[0].left_out, 3);
    lines.swap(2, 3);
    assert!(!judge(vec![text(&lines)], filtered.clone()).is_whole());
    let mut lines = ten();
    lines[3] = lines[3].replace("121", "122");
    assert!(!judge(vec![text(&lines)], filtered).is_whole());
}

#[test]
fn what_begins_in_the_middle_is_said() {
    let lines = ten();
    let report = judge(vec![text(&lines[4..])], options(false));
    assert!(report.is_whole() && report.chains[0].first == 5);
    assert!(report.to_string().contains("begins in the middle"), "{report}");
    assert!(!judge(vec![text(&lines[4..])], options(true)).is_whole());
    assert!(!judge(vec![text(&lines[..9])], options(true)).is_whole());
    let anew = make(&[Step::Events(2), Step::Anew, Step::Events(2)]).lines;
    let report = judge(vec![text(&anew)], options(true));
    assert!(report.is_whole() && report.to_string().contains("not tied to it"), "{report}");
}
