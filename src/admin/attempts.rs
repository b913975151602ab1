//! The last attempts of a user to log in, as the trail has them: why a partner cannot.

use std::path::Path;
use std::time::{Duration, Instant};

use super::problem::Problem;
use super::reads::{Waiting, What};
use super::state::State;
use super::trail::{self, LOOKED_FOR, page_of, seek};
use crate::audit::read::Event;
use crate::audit::read::newest::{GivenUp, Page};
use crate::audit::read::within::time_of;
use crate::audit::search::{Judge, Query, UserPattern};

/// How many of the last attempts are looked at.
const ATTEMPTS: usize = 20;

/// What the trail says of a user.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The last login that succeeded.
    pub(super) success: Option<Event>,
    /// Those of the last attempts that failed, newest first.
    pub(super) failures: Vec<Event>,
    /// Why there may be more, if there may.
    pub(super) trail: Option<String>,
}

impl Attempts {
    /// None, for the trail cannot be read.
    pub(super) fn unread(problem: Problem) -> Attempts {
        Attempts { trail: Some(problem.sentence()), ..Attempts::default() }
    }
}

/// The last attempts of a user, and the last login that succeeded, however many have failed since.
///
/// # Errors
/// What [`trail::look`] says.
pub(super) async fn of(state: &State, waiting: &Waiting, user: &str) -> Result<Attempts, Problem> {
    let (path, user) = (trail::path(state)?, user.to_owned());
    state.reads.read(waiting, What::Page, move |given_up| find(&path, &user, ATTEMPTS, LOOKED_FOR, given_up)).await
}

fn find(path: &Path, user: &str, most: usize, within: Duration, given_up: GivenUp) -> Result<Attempts, Problem> {
    let began = Instant::now();
    let all = judge(user, &["CONNECTED", "AUTH_FAILURE"]);
    let page = Page { within, ..page_of(most, None) };
    let found = seek(path, page, given_up.clone(), |line: &[u8]| all.fits(line))?;
    // Fewer came than were asked for, and there may be older ones.
    let cut = found.next.clone().filter(|_| found.found.len() < most);
    let is_success = |event: &Event| event.activity() == "CONNECTED";
    let (successes, failures): (Vec<Event>, Vec<Event>) = found.found.into_iter().partition(is_success);
    let (mut success, mut next) = (successes.into_iter().next(), found.next);
    if success.is_none() && next.is_some() {
        // Of a partner who fails every minute, the last success is far behind: that it was is what is asked for.
        let page = Page { within: within.saturating_sub(began.elapsed()), ..page_of(1, next) };
        let logins = judge(user, &["CONNECTED"]);
        let further = seek(path, page, given_up, |line: &[u8]| logins.fits(line))?;
        (success, next) = (further.found.into_iter().next(), further.next);
    }
    let unfound = next.filter(|_| success.is_none());
    let trail = searched_until(user, cut.as_deref(), unfound.as_deref());
    Ok(Attempts { success, failures, trail })
}

fn judge(user: &str, activities: &[&str]) -> Judge {
    let activities = activities.iter().map(|name| (*name).to_owned()).collect();
    Query { user: Some(UserPattern::exactly(user)), activities, ..Query::default() }.judge()
}

/// What a search says that ended before the trail did: it looked for attempts back to the event `cut`, and for a login that succeeded back to
/// `unfound`. `None` where it found what it looked for.
fn searched_until(user: &str, cut: Option<&str>, unfound: Option<&str>) -> Option<String> {
    let failures = cut.map(|id| format!("failed attempts were searched back to {}", time_of(id)));
    let success =
        unfound.map(|id| format!("no successful login was found back to {}, where the search ended", time_of(id)));
    let activity = if success.is_some() { "CONNECTED" } else { "AUTH_FAILURE" };
    let said: Vec<String> = failures.into_iter().chain(success).collect();
    let rest = format!("`lockgate audit search --user {user} --activity {activity}` reads the whole trail");
    (!said.is_empty()).then(|| format!("{}; {rest}", said.join("; ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(number: u32, user: &str, activity: &str) -> String {
        format!(
            "{{\"activity-type\":\"{activity}\",\"event-id\":\"019fb73e-20fa-7b3d-8f21-{number:012}\",\"user\":\"{user}\"}}\n"
        )
    }

    fn attempts(lines: &str, within: Duration) -> Attempts {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.ndjson");
        std::fs::write(&path, lines).unwrap();
        find(&path, "ann", 3, within, GivenUp::default()).unwrap()
    }

    #[test]
    fn the_last_success_is_found_behind_any_number_of_failures() {
        let mut lines = line(1, "ann", "CONNECTED") + &line(2, "ann", "CONNECTED");
        for number in 3..2000 {
            lines += &line(2 * number, "ann", "AUTH_FAILURE");
            lines += &line(2 * number + 1, "bob", "CONNECTED");
        }
        let found = attempts(&lines, Duration::from_secs(600));
        let id = |event: &Event| event.text("event-id").to_owned();
        assert!(id(found.success.as_ref().unwrap()).ends_with("000000000002"));
        assert_eq!((found.failures.len(), found.trail), (3, None));
        assert!(id(&found.failures[0]).ends_with("000000003998"));
        // A success among the last ones.
        let recent = attempts(&(lines.clone() + &line(5000, "ann", "CONNECTED")), Duration::from_secs(600));
        assert!(id(recent.success.as_ref().unwrap()).ends_with("000000005000"));
        assert_eq!(recent.failures.len(), 2);
        // Where there was none, the whole trail was searched.
        let none = attempts(&line(3, "ann", "AUTH_FAILURE"), Duration::from_secs(600));
        assert!(none.success.is_none() && none.trail.is_none() && none.failures.len() == 1);
        // Where there was no time for it, nothing is known.
        let late = attempts(&line(3, "ann", "CONNECTED"), Duration::ZERO);
        let said = late.trail.unwrap();
        assert!(said.contains("failed attempts") && said.contains("no successful login"), "{said}");
    }

    #[test]
    fn a_search_that_ended_early_says_how_far_it_came() {
        let id = |number: u32| format!("019fb7{number:02}-20fa-7b3d-8f21-000000000003");
        assert_eq!(searched_until("ann", None, None), None);
        let said = searched_until("ann", None, Some(&id(30))).unwrap();
        assert!(said.starts_with("no successful login was found back to 2026-07-31T"), "{said}");
        assert!(said.contains("audit search --user ann --activity CONNECTED"), "{said}");
        // A success among few attempts, and others may lie before it.
        let said = searched_until("ann", Some(&id(30)), None).unwrap();
        assert!(said.starts_with("failed attempts were searched back to 2026-07-31T"), "{said}");
        assert!(said.contains("--activity AUTH_FAILURE"), "{said}");
        let said = searched_until("ann", Some(&id(35)), Some(&id(30))).unwrap();
        assert!(said.contains("failed attempts") && said.contains("; no successful login"), "{said}");
    }
}
