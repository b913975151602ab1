//! Answers to questions without a password, for a short time: a client asks once for each key that it offers, and once more
//! with the signature.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::User;

/// Answers that are remembered.
const MOST: usize = 10_000;

/// Answers, by whom was asked for, and from where.
#[derive(Debug)]
pub(super) struct Cache {
    life: Duration,
    answers: Mutex<HashMap<(Arc<str>, IpAddr), Answer>>,
}

#[derive(Debug)]
struct Answer {
    until: Instant,
    user: Option<Arc<User>>,
}

impl Cache {
    /// Remembers answers for `life`; not at all when it is zero.
    pub(super) fn new(life: Duration) -> Cache {
        Cache { life, answers: Mutex::default() }
    }

    /// What was answered, a refusal included; `None` when nobody remembers.
    pub(super) fn get(&self, name: &str, source: IpAddr) -> Option<Option<Arc<User>>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(&(Arc::from(name), source)).filter(|answer| answer.until > Instant::now())?;
        Some(answer.user.clone())
    }

    /// Remembers an answer, if there is room for it.
    pub(super) fn put(&self, name: &str, source: IpAddr, user: Option<Arc<User>>) {
        if self.life.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, answer| answer.until > now);
        }
        if answers.len() < MOST {
            answers.insert((Arc::from(name), source), Answer { until: now + self.life, user });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::testing::user;

    #[test]
    fn answers_are_remembered_for_a_while_and_not_without_end() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let cache = Cache::new(Duration::from_millis(50));
        cache.put("ann", here, Some(Arc::new(user("ann"))));
        cache.put("ben", here, None);
        assert!(cache.get("ann", here).is_some_and(|user| user.is_some()));
        assert!(cache.get("ben", here).is_some_and(|user| user.is_none()), "a refusal is an answer");
        assert!(cache.get("ann", IpAddr::from([127, 0, 0, 2])).is_none(), "the answer may depend on the address");
        std::thread::sleep(Duration::from_millis(60));
        assert!(cache.get("ann", here).is_none());
        for n in 0..MOST + 100 {
            cache.put(&format!("user{n}"), here, None);
        }
        assert!(cache.answers.lock().is_ok_and(|answers| answers.len() <= MOST));
        let none = Cache::new(Duration::ZERO);
        none.put("ann", here, None);
        assert!(none.get("ann", here).is_none());
    }
}
