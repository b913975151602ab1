//! What is done to a trail behind its witness's back, and what the witness says.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use lockgate::internals::audit::read::{Source, Span, Trail};
use lockgate::internals::audit::verify::{Options, PublicKey, Report, WitnessKind, Witnessed, verify};
use lockgate::internals::audit::{Archive, Kept, LockMode, Locking};

use crate::support::trail::{ChainMaker, SigningKey, text};
use crate::verify_range::{at, hours, hours_4_and_5};

/// A store with locks, in memory: what was deleted stays, hidden.
#[derive(Debug, Default)]
struct Vault {
    objects: BTreeMap<String, Bytes>,
    deleted: Vec<String>,
}

#[async_trait]
impl Archive for Vault {
    fn describe(&self) -> String {
        "/vault".into()
    }

    async fn put_new(&self, _: &str, _: Bytes) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.objects.iter().map(|(name, content)| (name.clone(), content.len() as u64)).collect())
    }

    async fn get(&self, name: &str, _: u64) -> io::Result<Bytes> {
        self.objects.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    async fn locking(&self) -> io::Result<Locking> {
        Ok(Locking::On(None))
    }

    async fn versions(&self) -> io::Result<Vec<Kept>> {
        let kept = |(name, content): (&String, &Bytes)| Kept {
            name: name.clone(),
            version: Some("1".into()),
            size: content.len() as u64,
            is_hidden: self.deleted.contains(name),
        };
        Ok(self.objects.iter().map(kept).collect())
    }

    async fn lock_of(&self, kept: &Kept) -> io::Result<Option<(LockMode, SystemTime)>> {
        let until = SystemTime::now() + Duration::from_secs(3600);
        Ok((!kept.name.starts_with("bare")).then_some((LockMode::Compliance, until)))
    }
}

impl Vault {
    /// One that saw these checkpoints, by the numbers of the lines.
    fn saw(lines: &[String], seen: &[usize]) -> Vault {
        let mut vault = Vault::default();
        for number in seen {
            vault.add(&format!("{number:04}.json"), &format!("{}\n", lines[*number]));
        }
        vault
    }

    fn add(&mut self, name: &str, content: &str) {
        self.objects.insert(name.into(), content.to_owned().into());
    }

    fn read(self) -> Witnessed {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let archive: Arc<dyn Archive> = Arc::new(self);
        runtime.block_on(Witnessed::read(&archive)).unwrap()
    }
}

fn options(vault: Vault) -> Options {
    let keys = vec![PublicKey::from_pem(&SigningKey::new(7).public_pem()).unwrap()];
    Options { keys, witness: Some(vault.read()), ..Options::default() }
}

fn judge(lines: &[String], options: Options) -> Report {
    let source = Source::Stream("events".into(), Box::new(Cursor::new(text(lines).into_bytes())));
    verify(&mut Trail::new(vec![source], Span::default(), None), options, |_| ()).unwrap()
}

#[track_caller]
fn assert_kinds(report: &Report, kinds: &[WitnessKind]) {
    let witness = report.witness.as_ref().unwrap();
    let found: Vec<_> = witness.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(found, kinds, "{report}");
    assert_eq!(report.found, 0, "the trail by itself fits: {report}");
    assert_eq!(report.is_whole(), kinds.is_empty(), "{report}");
    let json = report.to_json();
    assert_eq!(json["witness"]["finding-count"], kinds.len(), "{json:#}");
    assert_eq!(json["whole"], kinds.is_empty(), "{json:#}");
}

/// Two days of a gateway: checkpoints at lines 0, 4, 8, 9, 13, 17.
fn two_days(server: &str) -> ChainMaker {
    let mut chain = ChainMaker::start(server, Some(SigningKey::new(7)));
    for day in 0..2 {
        for round in 0..2 {
            (0..3).for_each(|number| chain.close(&format!("/{day}/{round}/{number}")));
            if round == 0 {
                chain.checkpoint("interval", None);
            }
        }
        if day == 0 { chain.restart() } else { chain.checkpoint("shutdown", None) }
    }
    chain
}

const SEEN: [usize; 6] = [0, 4, 8, 9, 13, 17];

#[test]
fn a_trail_that_nobody_touched_fits_its_witness() {
    let chain = two_days("edge-1");
    for seen in [&SEEN[..], &SEEN[..2]] {
        let report = judge(&chain.lines, options(Vault::saw(&chain.lines, seen)));
        assert_kinds(&report, &[]);
        let witness = report.witness.unwrap();
        assert_eq!((witness.checkpoints, witness.met), (seen.len() as u64, seen.len() as u64));
        let after = seen.last().map(|last| 17 - *last as u64);
        assert_eq!(witness.newest.first().and_then(|newest| newest.events_after), after);
        assert_eq!(witness.locks.unwrap().locked, seen.len() as u64);
    }
    // Without what stands before: the beginning may be elsewhere.
    let report = judge(&chain.lines[9..], options(Vault::saw(&chain.lines, &SEEN)));
    assert_kinds(&report, &[]);
    assert_eq!(report.witness.unwrap().before_sources, 3);
}

#[test]
fn an_end_that_was_cut_off_is_told_with_what_was_there() {
    let chain = two_days("edge-1");
    for end in [9, 12, 14, 17] {
        let report = judge(&chain.lines[..end], options(Vault::saw(&chain.lines, &SEEN)));
        assert_kinds(&report, &[WitnessKind::CutOff]);
        let said = report.to_string();
        assert!(said.contains(&format!("these sources end before it, at sequence {end}")), "{said}");
        assert!(!said.contains("the trail ends there"), "{said}");
        let finding = &report.witness.unwrap().findings[0];
        assert_eq!(finding.sequence, Some(18));
        assert!(finding.what.contains(&format!("ends at sequence {end}")), "{}", finding.what);
    }
    // What no witness saw yet can be cut off unseen: the report says from where on.
    let report = judge(&chain.lines[..14], options(Vault::saw(&chain.lines, &SEEN[..5])));
    assert_kinds(&report, &[]);
    assert!(report.to_string().contains("the newest is sequence 14"), "{report}");
}

#[test]
fn an_older_copy_that_was_put_back_and_went_on_is_told() {
    let first = two_days("edge-1");
    // The copy is of the first day; then another second day is written on it.
    let mut other = ChainMaker::start("edge-1", Some(SigningKey::new(7)));
    for round in 0..2 {
        (0..3).for_each(|number| other.close(&format!("/0/{round}/{number}")));
        if round == 0 {
            other.checkpoint("interval", None);
        }
    }
    other.restart();
    assert_eq!(first.lines[..10], other.lines[..], "one copy");
    (0..20).for_each(|number| other.close(&format!("/other/{number}")));
    other.checkpoint("interval", None);
    let report = judge(&other.lines, options(Vault::saw(&first.lines, &SEEN)));
    assert_kinds(&report, &[WitnessKind::Replaced]);
    let finding = &report.witness.unwrap().findings[0];
    assert!(finding.what.contains("saw sequence 14") && finding.what.contains("sequence 10 ("), "{}", finding.what);
    // Shorter than what was seen: both are told.
    let report = judge(&other.lines[..15], options(Vault::saw(&first.lines, &SEEN)));
    assert_kinds(&report, &[WitnessKind::Replaced, WitnessKind::CutOff]);
}

#[test]
fn a_trail_that_was_begun_anew_or_removed_is_told() {
    let first = two_days("edge-1");
    let mut anew = ChainMaker::start("edge-1", Some(SigningKey::new(7)));
    anew.begin_anew();
    let second = &anew.lines[2..];
    let report = judge(second, options(Vault::saw(&first.lines, &SEEN)));
    assert_kinds(&report, &[WitnessKind::BegunAnew]);
    assert!(report.to_string().contains("up to sequence 18"), "{report}");
    let report = judge(&[], options(Vault::saw(&first.lines, &SEEN)));
    assert_kinds(&report, &[WitnessKind::Removed]);
    // Another gateway shares the witness; only who is asked about it misses it.
    let mut shared = Vault::saw(&first.lines, &SEEN);
    let mut other = ChainMaker::start("edge-2", Some(SigningKey::new(7)));
    other.begin_anew();
    other.checkpoint("shutdown", None);
    shared.add("other.json", other.lines.last().unwrap());
    let report = judge(&first.lines, options(shared));
    assert_kinds(&report, &[]);
    assert_eq!(report.witness.unwrap().unseen.iter().collect::<Vec<_>>(), ["edge-2"]);
    let asked = Options { servers: vec!["edge-1".into()], ..options(Vault::saw(&first.lines, &SEEN)) };
    assert_kinds(&judge(&other.lines[2..], asked), &[WitnessKind::Removed]);
}

#[test]
fn what_is_no_testimony_is_told() {
    let chain = two_days("edge-1");
    let stranger = {
        let mut chain = ChainMaker::start("edge-1", Some(SigningKey::new(8)));
        (0..30).for_each(|number| chain.close(&format!("/{number}")));
        chain.checkpoint("interval", None);
        chain.lines.last().unwrap().clone()
    };
    let unsigned = {
        let mut chain = ChainMaker::start("edge-1", None);
        chain.checkpoint("interval", None);
        chain.lines.last().unwrap().clone()
    };
    for (content, kind) in [
        (stranger.as_str(), WitnessKind::ForeignKey),
        (unsigned.as_str(), WitnessKind::Signature),
        (&chain.lines[13].replace("\"sequence\":14", "\"sequence\":15"), WitnessKind::Signature),
        (&chain.lines[3], WitnessKind::Unreadable),
        ("", WitnessKind::Unreadable),
    ] {
        let mut vault = Vault::saw(&chain.lines, &SEEN);
        vault.add("9999.json", content);
        assert_kinds(&judge(&chain.lines, options(vault)), &[kind]);
    }
}

#[test]
fn a_checkpoint_that_was_deleted_under_its_lock_still_testifies() {
    let chain = two_days("edge-1");
    let mut vault = Vault::saw(&chain.lines, &SEEN);
    vault.deleted.push("0017.json".into());
    let report = judge(&chain.lines[..14], options(vault));
    assert_kinds(&report, &[WitnessKind::Hidden, WitnessKind::CutOff]);
    // Without a lock, a version that went is what its owner may do.
    let mut vault = Vault::saw(&chain.lines, &SEEN[..5]);
    vault.add("bare.json", &chain.lines[17]);
    vault.deleted.push("bare.json".into());
    let report = judge(&chain.lines, options(vault));
    assert_kinds(&report, &[]);
    assert!(report.to_string().contains("NOT LOCKED: bare.json"), "{report}");
}

#[test]
fn batches_that_are_on_their_way_are_no_finding() {
    let mut chain = ChainMaker::start("edge-1", Some(SigningKey::new(7)));
    let now = chrono::Utc::now();
    chain.pass(now - chain.time() - TimeDelta::minutes(1));
    chain.close("/a");
    chain.checkpoint("interval", None);
    let folder = tempfile::tempdir().unwrap();
    let hour = folder.path().join("year=2026/month=07/day=31/hour=08");
    std::fs::create_dir_all(&hour).unwrap();
    std::fs::write(hour.join("edge-1-1-2.ndjson"), text(&chain.lines[..2])).unwrap();
    let batches = || Source::Files(vec![hour.join("edge-1-1-2.ndjson")].into());
    let options = || options(Vault::saw(&chain.lines, &[0, 2]));
    let report = verify(&mut Trail::new(vec![batches()], Span::default(), None), options(), |_| ()).unwrap();
    assert_kinds(&report, &[]);
    assert_eq!(report.witness.unwrap().on_their_way, 1);
    // Of a file, nothing is on its way.
    assert_kinds(&judge(&chain.lines[..2], options()), &[WitnessKind::CutOff]);
}

/// A line that nobody signed, of a later time and number than all that the witness saw.
fn forged(server: &str) -> String {
    let mut chain = ChainMaker::start(server, None);
    chain.pass(TimeDelta::hours(1));
    (0..50).for_each(|number| chain.close(&format!("/forged/{number}")));
    chain.lines.pop().unwrap()
}

#[test]
fn a_line_that_nobody_signed_excuses_nothing() {
    let chain = two_days("edge-1");
    let report = judge(&[forged("edge-1")], options(Vault::saw(&chain.lines, &SEEN)));
    assert_kinds(&report, &[WitnessKind::BegunAnew]);
    let report = judge(&[forged("other")], options(Vault::saw(&chain.lines, &SEEN)));
    assert_kinds(&report, &[WitnessKind::Removed]);
}

#[test]
fn a_new_beginning_shows_without_its_own_beginning() {
    let first = two_days("edge-1");
    let mut anew = ChainMaker::start("edge-1", Some(SigningKey::new(7)));
    anew.pass(TimeDelta::hours(1));
    anew.begin_anew();
    (0..3).for_each(|number| anew.close(&format!("/anew/{number}")));
    anew.checkpoint("interval", None);
    let second = &anew.lines[2..];
    let seen = |anew_too: bool| {
        let mut vault = Vault::saw(&first.lines, &SEEN);
        for number in [0, 4].iter().filter(|_| anew_too) {
            vault.add(&format!("anew-{number}.json"), &second[*number]);
        }
        options(vault)
    };
    for anew_too in [true, false] {
        assert_kinds(&judge(&second[1..], seen(anew_too)), &[WitnessKind::BegunAnew]);
    }
    // Its owner meant it, and asks from then on.
    let since = Span { since: Some(first.time() + TimeDelta::minutes(1)), until: None };
    assert_kinds(&judge(second, Options { span: since, ..seen(true) }), &[]);
}

#[test]
fn a_witness_that_saw_nothing_of_the_sources_is_a_finding() {
    let chain = two_days("edge-1");
    assert_kinds(&judge(&chain.lines, options(Vault::default())), &[WitnessKind::Empty]);
    assert_kinds(&judge(&[], options(Vault::default())), &[WitnessKind::Empty]);
    let mut other = ChainMaker::start("edge-2", Some(SigningKey::new(7)));
    other.begin_anew();
    assert_kinds(&judge(&chain.lines, options(Vault::saw(&other.lines, &[2]))), &[WitnessKind::Empty]);
}

#[test]
fn a_filter_does_not_hide_what_was_cut_off_or_replaced() {
    let chain = two_days("edge-1");
    let filtered = || Options { filtered: true, ..options(Vault::saw(&chain.lines, &SEEN)) };
    let mut lines = chain.lines.clone();
    lines.remove(11);
    lines.remove(2);
    assert_kinds(&judge(&lines, filtered()), &[]);
    // A filter explains the gap before the forged line.
    let cut = [&lines[..8], &[forged("edge-1")]].concat();
    assert_kinds(&judge(&cut, filtered()), &[WitnessKind::CutOff]);
    let replaced: Vec<_> = lines.iter().filter(|line| !line.contains("\"sequence\":14,")).cloned().collect();
    assert_kinds(&judge(&replaced, filtered()), &[WitnessKind::Replaced]);
}

#[test]
fn a_range_goes_as_far_as_the_witness_saw() {
    let chain = hours("edge-1");
    let seen: Vec<usize> = (0..=50).step_by(5).collect();
    let kinds = |lines: &[String], span: Span| {
        let report = judge(lines, Options { span, ..options(Vault::saw(&chain.lines, &seen)) });
        let found: Vec<_> = report.witness.as_ref().unwrap().findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(report.is_whole(), found.is_empty() && report.found == 0, "{report}");
        found
    };
    // Three events and no checkpoint are in it: only the one after it tells that these were cut off.
    let second = Span { since: Some(at(4)), until: Some(at(4) + TimeDelta::seconds(1)) };
    for span in [hours_4_and_5(), second, Span { since: None, ..second }] {
        assert_eq!(kinds(&chain.lines, span), []);
        assert_eq!(kinds(&chain.lines[..21], span), [WitnessKind::CutOff], "{span:?}");
    }
    // What begins after the range has nothing of it, or only its end.
    for begin in [28, 33] {
        assert_eq!(kinds(&chain.lines[begin..], hours_4_and_5()), [WitnessKind::Replaced], "{begin}");
    }
    // Without a beginning of the range, it may be elsewhere.
    assert_eq!(kinds(&chain.lines[28..], Span { since: None, ..hours_4_and_5() }), []);
}

#[test]
fn a_checkpoint_under_two_names_is_one() {
    let chain = two_days("edge-1");
    let mut vault = Vault::saw(&chain.lines, &SEEN);
    vault.add("copy.json", &chain.lines[0]);
    let report = judge(&chain.lines, options(vault));
    assert_kinds(&report, &[]);
    assert_eq!(report.witness.unwrap().checkpoints, 6);
}
