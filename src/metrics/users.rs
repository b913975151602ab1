//! Numbers of each user, for alarms on single partners. Bounded: whoever has been idle longest makes room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::Text;

/// Users whose numbers are kept.
const MOST: usize = 2000;

/// The numbers of all users.
#[derive(Debug, Default)]
pub struct Users(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    users: HashMap<Arc<str>, Numbers>,
    /// Grows with each use.
    turn: u64,
}

/// The numbers of one user, since the process began or the user was heard of.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    turn: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Attempts to log in that failed.
    pub failures: u64,
    /// Bytes received in transfers that ended.
    pub bytes_in: u64,
    /// Bytes sent in transfers that ended.
    pub bytes_out: u64,
    /// Uploads that succeeded.
    pub files_in: u64,
    /// Downloads that ended well.
    pub files_out: u64,
    /// When the last login succeeded.
    pub last_login: Option<SystemTime>,
    /// When the last upload succeeded.
    pub last_upload: Option<SystemTime>,
}

impl Users {
    /// Changes the numbers of a user, who exists.
    pub fn count(&self, user: &Arc<str>, change: impl FnOnce(&mut Numbers)) {
        let mut table = self.lock();
        if !table.users.contains_key(user) && table.users.len() >= MOST {
            let idle = table.users.iter().min_by_key(|(_, numbers)| numbers.turn).map(|(name, _)| name.clone());
            idle.map(|name| table.users.remove(&name));
        }
        table.change(user, change);
    }

    /// The same of a name that may be nobody's: whoever invents names gets no numbers of them.
    pub fn count_if_known(&self, user: &Arc<str>, change: impl FnOnce(&mut Numbers)) {
        let mut table = self.lock();
        if table.users.contains_key(user) {
            table.change(user, change);
        }
    }

    /// Notes what was before this process began, of a user who existed then. Nobody makes room for it, and it is the first to make room.
    pub fn recall(&self, user: &str, note: impl FnOnce(&mut Numbers)) {
        let mut table = self.lock();
        if let Some(numbers) = table.users.get_mut(user) {
            note(numbers);
        } else if table.users.len() < MOST {
            note(table.users.entry(user.into()).or_default());
        }
    }

    pub(super) fn render(&self, text: &mut Text) {
        let mut users: Vec<(Arc<str>, Numbers)> =
            self.lock().users.iter().map(|(name, numbers)| (name.clone(), numbers.clone())).collect();
        users.sort_by(|a, b| a.0.cmp(&b.0));
        let mut family = |name, help, kind, value: fn(&Numbers) -> Option<f64>| {
            let samples = users.iter().filter_map(|(user, numbers)| Some((user, value(numbers)?)));
            text.labelled(name, help, kind, samples.map(|(user, value)| ([("user", &**user)], value)));
        };
        family("user_logins_total", "Logins of a user that succeeded.", "counter", |of| count(of.logins));
        family("user_auth_failures_total", "Attempts of a user to log in that failed.", "counter", |of| {
            count(of.failures)
        });
        family("user_received_bytes_total", "Bytes received from a user.", "counter", |of| count(of.bytes_in));
        family("user_sent_bytes_total", "Bytes sent to a user.", "counter", |of| count(of.bytes_out));
        family("user_files_received_total", "Uploads of a user that succeeded.", "counter", |of| count(of.files_in));
        family("user_files_sent_total", "Downloads of a user that ended well.", "counter", |of| count(of.files_out));
        family("last_login_timestamp_seconds", "When a user last logged in.", "gauge", |of| moment(of.last_login));
        family("last_upload_timestamp_seconds", "When a user last uploaded a file.", "gauge", |of| {
            moment(of.last_upload)
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn change(&mut self, user: &Arc<str>, change: impl FnOnce(&mut Numbers)) {
        self.turn += 1;
        let numbers = self.users.entry(user.clone()).or_default();
        numbers.turn = self.turn;
        change(numbers);
    }
}

#[allow(clippy::cast_precision_loss)]
#[allow(clippy::unnecessary_wraps)]
fn count(number: u64) -> Option<f64> {
    Some(number as f64)
}

/// In seconds since 1970.
fn moment(time: Option<SystemTime>) -> Option<f64> {
    let since = time?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some((since.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(users: &Users) -> Vec<String> {
        let mut names: Vec<String> = users.lock().users.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn the_idle_ones_leave_and_strangers_make_nobody_leave() {
        let users = Users::default();
        for number in 0..MOST {
            users.count(&format!("u{number}").into(), |numbers| numbers.logins += 1);
        }
        users.count(&"u0".into(), |numbers| numbers.logins += 1);
        users.count(&"new".into(), |numbers| numbers.logins += 1);
        users.count_if_known(&"stranger".into(), |numbers| numbers.failures += 1);
        users.count_if_known(&"u0".into(), |numbers| numbers.failures += 1);
        let names = names(&users);
        assert_eq!(names.len(), MOST);
        let is_there = |name: &str| names.iter().any(|known| known == name);
        assert!(is_there("u0") && is_there("new") && !is_there("u1") && !is_there("stranger"));
        let numbers = users.lock().users["u0"].clone();
        assert_eq!((numbers.logins, numbers.failures), (2, 1));
    }

    #[test]
    fn what_was_before_makes_nobody_leave_and_leaves_first() {
        let users = Users::default();
        users.count(&"now".into(), |numbers| numbers.logins += 1);
        for number in 0..2 * MOST {
            users.recall(&format!("before{number}"), |numbers| numbers.last_upload = Some(SystemTime::UNIX_EPOCH));
        }
        users.recall("now", |numbers| numbers.last_upload = Some(SystemTime::UNIX_EPOCH));
        assert_eq!(names(&users).len(), MOST);
        users.count(&"new".into(), |numbers| numbers.logins += 1);
        let names = names(&users);
        assert!(names.len() == MOST && ["now", "new"].iter().all(|name| names.contains(&(*name).to_owned())));
        assert!(users.lock().users["now"].last_upload.is_some());
    }

    #[test]
    fn a_stranger_has_no_numbers_however_much_room_there_is() {
        let users = Users::default();
        for number in 0..10 {
            users.count_if_known(&format!("stranger{number}").into(), |numbers| numbers.failures += 1);
        }
        assert_eq!(names(&users), Vec::<String>::new());
    }

    #[test]
    fn a_name_cannot_break_out_of_its_label() {
        let users = Users::default();
        users.count(&"a\"} 1\n\\".into(), |numbers| {
            numbers.failures += 1;
            numbers.last_upload = Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1500));
        });
        let mut text = Text::default();
        users.render(&mut text);
        let text = text.finish();
        for line in [
            r#"lockgate_user_auth_failures_total{user="a\"} 1\n\\"} 1"#,
            r#"lockgate_last_upload_timestamp_seconds{user="a\"} 1\n\\"} 1.5"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("last_login_timestamp_seconds{"), "{text}");
    }
}
