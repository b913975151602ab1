//! The last login of each of many users, in one look at the trail.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use super::problem::Problem;
use super::reads::{Waiting, What};
use super::state::State;
use super::trail::{self, LOOKED_FOR};
use crate::audit::read::newest::{GivenUp, Page, Reader, id_of};
use crate::audit::search::{Judge, Query};

/// What the trail says of the users.
#[derive(Debug, Default)]
pub(super) struct LastLogins {
    /// The time of the last login that succeeded, by user.
    pub(super) of: HashMap<String, String>,
    /// Why others may have logged in as well, if they may.
    pub(super) trail: Option<String>,
}

/// Looks for the last login of each of these users, as long as one call may look.
pub(super) async fn of(state: &State, waiting: &Waiting, users: HashSet<String>) -> LastLogins {
    let looked = async {
        let path = trail::path(state)?;
        let look = move |given_up| find(&path, &users, LOOKED_FOR, given_up);
        state.reads.read(waiting, What::Page, look).await
    };
    let unread = |problem: Problem| LastLogins { trail: Some(problem.sentence()), ..LastLogins::default() };
    looked.await.unwrap_or_else(unread)
}

fn find(path: &Path, users: &HashSet<String>, within: Duration, given_up: GivenUp) -> Result<LastLogins, Problem> {
    let mut last = HashMap::new();
    let activities = vec!["CONNECTED".to_owned()];
    let search = Search { users, last: &mut last, judge: Query { activities, ..Query::default() }.judge() };
    let found = trail::seek(path, Page::newest(usize::MAX, within), given_up, search)?;
    let is_cut = found.next.is_some() && last.len() < users.len();
    let trail = is_cut.then(|| {
        "the search for last logins ended before the trail did; `lockgate users show` looks for one user".to_owned()
    });
    Ok(LastLogins { of: last.into_iter().map(|(user, (_, time))| (user, time)).collect(), trail })
}

/// Keeps the newest login of each user: of a file that another program packed, lines come oldest first.
struct Search<'a> {
    users: &'a HashSet<String>,
    /// The id and the time of the newest one.
    last: &'a mut HashMap<String, (String, String)>,
    judge: Judge,
}

impl Reader for Search<'_> {
    type Taken = ();

    fn take(&mut self, line: &[u8]) -> Option<()> {
        let event = self.judge.fits(line)?;
        let (user, id) = (event.text("user"), id_of(line)?);
        let is_newer = self.last.get(user).is_none_or(|(known, _)| known.as_str() < id);
        if is_newer && self.users.contains(user) {
            self.last.insert(user.to_owned(), (id.to_owned(), event.text("timestamp").to_owned()));
        }
        None
    }

    fn has_enough(&self, _: &str) -> bool {
        self.last.len() == self.users.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(number: u32, user: &str, activity: &str) -> String {
        format!(
            "{{\"activity-type\":\"{activity}\",\"event-id\":\"019fb73e-20fa-7b3d-8f21-{number:012}\",\
             \"timestamp\":\"2026-07-31T08:15:{number:02}.000Z\",\"user\":\"{user}\"}}\n"
        )
    }

    fn looked(lines: &str, within: Duration) -> LastLogins {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.ndjson");
        std::fs::write(&path, lines).unwrap();
        let users = ["ann", "ben", "carl"].map(str::to_owned).into();
        find(&path, &users, within, GivenUp::default()).unwrap()
    }

    #[test]
    fn the_last_login_of_each_user_is_found() {
        let lines = [
            line(1, "ann", "CONNECTED"),
            line(2, "ben", "CONNECTED"),
            line(3, "ann", "CONNECTED"),
            line(4, "stranger", "CONNECTED"),
            line(5, "ben", "AUTH_FAILURE"),
            line(6, "carl", "AUTH_FAILURE"),
        ];
        let found = looked(&lines.concat(), Duration::from_secs(60));
        let mut times: Vec<_> = found.of.iter().map(|(user, time)| format!("{user} {time}")).collect();
        times.sort();
        assert_eq!(times, ["ann 2026-07-31T08:15:03.000Z", "ben 2026-07-31T08:15:02.000Z"]);
        // The whole trail was searched.
        assert_eq!(found.trail, None);
        let cut = looked(&lines.concat(), Duration::ZERO);
        assert!(cut.of.len() < 3 && cut.trail.unwrap().contains("ended before the trail"));
    }
}
