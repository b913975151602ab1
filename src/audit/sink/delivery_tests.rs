//! A collector that refuses what it refuses: what passes, what waits, what is set aside, and in which order.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use async_trait::async_trait;

use super::super::held_paths::HeldPaths;
use super::*;

/// Takes what it does not refuse.
#[derive(Clone, Default)]
struct Place {
    arrived: Arc<Mutex<Vec<String>>>,
    /// Lines with such a text are refused.
    refuses: Arc<Mutex<Vec<&'static str>>>,
    is_away: Arc<Mutex<bool>>,
    one_by_one: bool,
    gives_up_after: Option<Duration>,
}

#[async_trait]
impl Carrier for Place {
    fn name(&self) -> String {
        "the place".into()
    }

    fn is_one_by_one(&self) -> bool {
        self.one_by_one
    }

    fn gives_up_after(&self) -> Option<Duration> {
        self.gives_up_after
    }

    async fn deliver(&self, batch: &Bytes) -> Result<(), Refusal> {
        let text = String::from_utf8(batch.to_vec()).unwrap();
        if *self.is_away.lock().unwrap() {
            return Err(Refusal::of("away"));
        }
        if self.refuses.lock().unwrap().iter().any(|refused| text.contains(refused)) {
            return Err(Refusal { why: "400".into(), after: None, is_of_this_one: true });
        }
        self.arrived.lock().unwrap().extend(text.lines().map(str::to_owned));
        Ok(())
    }
}

impl Place {
    fn arrived(&self) -> Vec<String> {
        self.arrived.lock().unwrap().clone()
    }
}

fn courier(place: &Place, folder: &Path) -> Courier<Place> {
    Courier::new(place.clone(), None, Undelivered::of(folder, 1 << 20), &Arc::default())
}

fn told(line: &str, path: &str) -> Told {
    Told { line: line.as_bytes().to_vec(), paths: vec![path.into()] }
}

fn lines(place: &Place) -> (Vec<Told>, Courier<Place>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let told = vec![told("a1", "/a"), told("b1", "/b"), told("a2", "/a"), told("c1", "/c"), told("b2", "/b")];
    let courier = courier(place, folder.path());
    (told, courier, folder)
}

async fn all(courier: &mut Courier<Place>, units: &mut VecDeque<Unit>) {
    let mut refused = 0;
    while !units.is_empty() {
        match courier.deliver(units).await {
            Outcome::Arrived | Outcome::SetAside => refused = 0,
            Outcome::Refused(_) => refused += 1,
        }
        assert!(refused < LEAST_TRIES, "it is not set aside");
    }
}

fn set_aside(folder: &Path) -> Vec<String> {
    let mut undelivered = Undelivered::of(folder, 1 << 20);
    let mut locked = undelivered.lock().unwrap();
    let (mut after, mut all) = (None, Vec::new());
    while let Some((name, _, lines)) = locked.next(after.as_deref(), &mut HeldPaths::default()).unwrap() {
        all.push(String::from_utf8(lines.to_vec()).unwrap().trim_end().to_owned());
        after = Some(name);
    }
    all
}

/// Those of other files pass; those of the same file wait behind it, in their order.
#[tokio::test]
async fn what_is_refused_holds_up_its_own_file_only() {
    for one_by_one in [true, false] {
        let place = Place { one_by_one, gives_up_after: Some(Duration::ZERO), ..Place::default() };
        let (told, mut courier, folder) = lines(&place);
        place.refuses.lock().unwrap().push("b1");
        let mut units = courier.packed(told);
        all(&mut courier, &mut units).await;
        assert_eq!(
            (place.arrived(), set_aside(folder.path())),
            (["a1", "a2", "c1"].map(String::from).to_vec(), vec!["b1".into(), "b2".into()])
        );
    }
}

/// Until its time is over it comes again; without such a time, for ever.
#[tokio::test]
async fn before_its_time_nothing_is_set_aside() {
    for gives_up_after in [None, Some(Duration::from_secs(3600))] {
        let place = Place { one_by_one: true, gives_up_after, ..Place::default() };
        let (mut told, mut courier, folder) = lines(&place);
        told[0].line = format!(r#"{{"id":"a1","time":"{}"}}"#, Utc::now().to_rfc3339()).into();
        place.refuses.lock().unwrap().push("a1");
        let mut units = courier.packed(told);
        for _ in 0..5 {
            assert!(matches!(courier.deliver(&mut units).await, Outcome::Refused(_)));
        }
        assert_eq!((units.len(), set_aside(folder.path()).len()), (5, 0));
        place.refuses.lock().unwrap().clear();
        all(&mut courier, &mut units).await;
        assert_eq!(place.arrived()[1..], ["b1", "a2", "c1", "b2"]);
    }
}

/// Those that wait behind it have waited as long: they get their tries, and no hour of their own.
#[tokio::test]
async fn what_is_refused_next_does_not_wait_as_long_again() {
    let place = Place { one_by_one: true, gives_up_after: Some(Duration::from_secs(3600)), ..Place::default() };
    let (_, mut courier, folder) = lines(&place);
    place.refuses.lock().unwrap().push("bad");
    let hours_ago = (Utc::now() - chrono::TimeDelta::hours(2)).to_rfc3339();
    let old = |id: &str, path: &str| told(&format!(r#"{{"id":"bad{id}","time":"{hours_ago}"}}"#), path);
    let mut units = courier.packed(vec![old("1", "/a"), old("2", "/b"), told("c", "/c")]);
    all(&mut courier, &mut units).await;
    assert_eq!((place.arrived(), set_aside(folder.path()).len()), (vec!["c".to_owned()], 2));
}

/// A place that is away refuses nothing, however long.
#[tokio::test]
async fn an_outage_sets_nothing_aside() {
    let place = Place { one_by_one: true, gives_up_after: Some(Duration::ZERO), ..Place::default() };
    let (told, mut courier, folder) = lines(&place);
    *place.is_away.lock().unwrap() = true;
    let mut units = courier.packed(told);
    for _ in 0..5 {
        assert!(matches!(courier.deliver(&mut units).await, Outcome::Refused(_)));
    }
    *place.is_away.lock().unwrap() = false;
    all(&mut courier, &mut units).await;
    assert_eq!((place.arrived().len(), set_aside(folder.path()).len()), (5, 0));
}

/// Killed after any number of steps: the batch comes again whole. Nothing is lost, nothing overtakes another one of its file.
#[tokio::test]
async fn a_kill_at_any_step_loses_nothing_and_keeps_the_order_of_each_file() {
    for one_by_one in [true, false] {
        for killed_after in 0..12 {
            let place = Place { one_by_one, gives_up_after: Some(Duration::ZERO), ..Place::default() };
            let (told, mut courier_before, folder) = lines(&place);
            place.refuses.lock().unwrap().push("b1");
            let mut units = courier_before.packed(told.clone());
            for _ in 0..killed_after {
                courier_before.deliver(&mut units).await;
            }
            drop(courier_before);
            // By now it would be taken; what is set aside of this file still has to be first.
            place.refuses.lock().unwrap().clear();
            let was_set_aside = !set_aside(folder.path()).is_empty();
            let mut courier = courier(&place, folder.path());
            let mut units = courier.packed(told);
            all(&mut courier, &mut units).await;
            let (arrived, aside) = (place.arrived(), set_aside(folder.path()));
            for line in ["a1", "a2", "c1", "b1", "b2"] {
                assert!(arrived.iter().chain(&aside).any(|one| one == line), "{line} is lost: {arrived:?} {aside:?}");
            }
            let first = |line: &str| arrived.iter().position(|one| one == line);
            assert!(first("a1") < first("a2"), "{arrived:?}");
            assert_eq!(aside, if was_set_aside { vec!["b1", "b2"] } else { vec![] });
            assert!(!was_set_aside || (first("b1").is_none() && first("b2").is_none()), "{arrived:?}");
        }
    }
}

/// After a kill the batch comes again, and one of its later ones is set aside: what stands before that is not put behind it.
#[tokio::test]
async fn what_comes_again_does_not_wait_behind_what_came_after_it() {
    for one_by_one in [true, false] {
        let place = Place { one_by_one, gives_up_after: Some(Duration::ZERO), ..Place::default() };
        let (told, mut before, folder) = lines(&place);
        place.refuses.lock().unwrap().push("b2");
        let mut units = before.packed(told.clone());
        all(&mut before, &mut units).await;
        assert_eq!(set_aside(folder.path()), ["b2"]);
        drop(before);
        let mut again = courier(&place, folder.path());
        let later = [&told[..], &[told_of_b()]].concat();
        let mut units = again.packed(later);
        place.arrived.lock().unwrap().clear();
        all(&mut again, &mut units).await;
        assert_eq!(set_aside(folder.path()), ["b2", "b3"]);
        assert_eq!(place.arrived(), ["a1", "b1", "a2", "c1"]);
    }
}

fn told_of_b() -> Told {
    told("b3", "/b")
}

/// One of a later place of the same request waits behind another, and the request has to come again.
#[tokio::test]
async fn what_is_posted_together_does_not_wait_behind_its_own_end() {
    let place = Place { gives_up_after: Some(Duration::ZERO), ..Place::default() };
    let folder = tempfile::tempdir().unwrap();
    let mut courier = courier(&place, folder.path());
    place.refuses.lock().unwrap().push("bad");
    let mut units = courier.packed(vec![told("bad", "/a")]);
    all(&mut courier, &mut units).await;
    let renamed = Told { line: b"renamed".to_vec(), paths: vec!["/a".into(), "/b".into()] };
    let mut units = courier.packed(vec![told("of b", "/b"), renamed]);
    *place.is_away.lock().unwrap() = true;
    assert!(matches!(courier.deliver(&mut units).await, Outcome::Refused(_)));
    *place.is_away.lock().unwrap() = false;
    all(&mut courier, &mut units).await;
    assert_eq!(
        (place.arrived(), set_aside(folder.path())),
        (vec!["of b".into()], vec!["bad".into(), "renamed".into()])
    );
}

/// A command that was stopped keeps the folder's lock: the sink says what it waits for, and goes on afterwards.
#[tokio::test]
async fn a_lock_that_another_process_keeps_is_said() {
    let place = Place { gives_up_after: Some(Duration::ZERO), ..Place::default() };
    let folder = tempfile::tempdir().unwrap();
    let undelivered = || Undelivered::of(folder.path(), 1 << 20).waiting(Duration::from_millis(50));
    place.refuses.lock().unwrap().push("bad");
    let mut courier = Courier::new(place.clone(), None, undelivered(), &Arc::default());
    let mut units = courier.packed(vec![told("bad", "/a")]);
    all(&mut courier, &mut units).await;
    let mut stopped = undelivered();
    let lock = stopped.lock().unwrap();
    let mut units = courier.packed(vec![told("good", "/b")]);
    let Outcome::Refused(refusal) = courier.deliver(&mut units).await else { panic!("nobody has looked") };
    assert!(refusal.why.contains("audit redeliver") && !refusal.is_of_this_one, "{refusal:?}");
    assert_eq!((units.len(), place.arrived().len()), (1, 0));
    drop(lock);
    all(&mut courier, &mut units).await;
    assert_eq!(place.arrived(), ["good"]);
}

/// A batch of the trail is set aside whole, and what comes after it is delivered.
#[tokio::test]
async fn a_batch_of_the_trail_is_set_aside_whole() {
    let place = Place { gives_up_after: Some(Duration::ZERO), ..Place::default() };
    let (_, mut courier, folder) = lines(&place);
    place.refuses.lock().unwrap().push("bad");
    for batch in ["x\nbad\n", "y\n"] {
        let mut units = courier.units(Bytes::from_static(batch.as_bytes())).await.unwrap();
        all(&mut courier, &mut units).await;
    }
    assert_eq!((place.arrived(), set_aside(folder.path())), (vec!["y".into()], vec!["x\nbad".into()]));
}

/// Neither the rename of its folder nor what is told under the new name overtakes what is refused of a file.
#[tokio::test]
async fn a_folder_waits_behind_its_files() {
    for one_by_one in [true, false] {
        let place = Place { one_by_one, gives_up_after: Some(Duration::ZERO), ..Place::default() };
        let folder = tempfile::tempdir().unwrap();
        let mut courier = courier(&place, folder.path());
        place.refuses.lock().unwrap().push("bad");
        let paths = vec!["/lake/in".to_owned(), "/lake/out".into()];
        let renamed = Told { line: b"folder".to_vec(), paths };
        let told = [told("bad", "/lake/in/a"), renamed, told("file", "/lake/out/a"), told("other", "/lake/b")];
        let mut units = courier.packed(told.to_vec());
        all(&mut courier, &mut units).await;
        assert_eq!(
            (place.arrived(), set_aside(folder.path())),
            (vec!["other".to_owned()], ["bad", "folder", "file"].map(String::from).to_vec())
        );
    }
}

/// What is set aside has not arrived: nobody is told that the collector is well again.
#[tokio::test]
async fn nothing_that_is_set_aside_counts_as_arrived() {
    let place = Place { one_by_one: true, gives_up_after: Some(Duration::ZERO), ..Place::default() };
    let folder = tempfile::tempdir().unwrap();
    let mut courier = courier(&place, folder.path());
    place.refuses.lock().unwrap().push("bad");
    let mut units = courier.packed(vec![told("bad", "/a"), told("behind", "/a"), told("good", "/b")]);
    let mut outcomes = Vec::new();
    while !units.is_empty() && outcomes.len() < 9 {
        outcomes.push(match courier.deliver(&mut units).await {
            Outcome::Arrived => "arrived",
            Outcome::SetAside => "set aside",
            Outcome::Refused(_) => "refused",
        });
    }
    assert_eq!(outcomes, ["refused", "refused", "set aside", "set aside", "arrived"]);
}
