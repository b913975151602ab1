//! What the trail is to hear of deliveries that were set aside.
//!
//! A sink for events is sent that event as well, and may refuse it in its turn, and so with the checkpoint that follows it. So a
//! delivery of nothing but such events and checkpoints is told in the log only: each event that is told is caused by one of another
//! kind, and there is an end of it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::heading::{Heading, lines};
use crate::audit::checkpoint;

/// `operation` of the ERROR that tells of it.
pub(in crate::audit) const OPERATION: &str = "DELIVER";

/// What of one sink is to be told.
#[derive(Debug, Default)]
pub(in crate::audit) struct SetAside {
    news: Mutex<Option<News>>,
    teller: OnceLock<Arc<Notify>>,
}

/// What was set aside since it was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct News {
    deliveries: u64,
    /// Why the last of them; `None` when all were there before this process.
    why: Option<String>,
}

impl SetAside {
    /// So many were found at the start. The process before may have been killed before it told of them.
    pub(super) fn found(deliveries: u64) -> Self {
        let news = (deliveries > 0).then_some(News { deliveries, why: None });
        SetAside { news: Mutex::new(news), teller: OnceLock::new() }
    }

    /// From now on `teller` hears when there is something to tell.
    pub(in crate::audit) fn tell(&self, teller: Arc<Notify>) {
        let _ = self.teller.set(teller);
        // What came before.
        self.notify();
    }

    /// One more was set aside.
    pub(super) fn add(&self, delivery: &[u8], why: &str) {
        if lines(delivery).all(|line| is_of_this(line) || is_checkpoint(line)) {
            return;
        }
        let mut news = self.lock();
        let deliveries = news.as_ref().map_or(0, |news| news.deliveries) + 1;
        *news = Some(News { deliveries, why: Some(why.to_owned()) });
        drop(news);
        self.notify();
    }

    /// The sentence for the trail, if there is anything to tell; once.
    pub(in crate::audit) fn take(&self, sink: &str) -> Option<String> {
        let News { deliveries, why } = self.lock().take()?;
        let what = match (deliveries, why) {
            (1, Some(why)) => format!("a delivery is set aside ({why})"),
            (many, Some(why)) => format!("{many} deliveries are set aside, the last one ({why})"),
            (many, None) => format!("set aside before this start: {many}"),
        };
        Some(format!("{sink}: {what}; `lockgate audit redeliver` tries again"))
    }

    fn notify(&self) {
        if let Some(teller) = self.teller.get().filter(|_| self.lock().is_some()) {
            teller.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<News>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a line, in whatever format, is an event that tells of deliveries. A text that is this word, and no more, stands in no other
/// event but where a client chose it: it hides nothing from the log and the metrics.
fn is_of_this(line: &[u8]) -> bool {
    let word = format!("\"{OPERATION}\"");
    line.windows(word.len()).any(|part| part == word.as_bytes())
}

/// A checkpoint covers the event that told of a delivery, so one follows each.
fn is_checkpoint(line: &[u8]) -> bool {
    Heading::of(line).activity.as_deref() == Some(checkpoint::ACTIVITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_told_once_and_summed_up() {
        let told = SetAside::default();
        assert_eq!(told.take("http"), None);
        told.add(b"{\"a\":1}\n", "422");
        assert_eq!(
            told.take("http").as_deref(),
            Some("http: a delivery is set aside (422); `lockgate audit redeliver` tries again")
        );
        assert_eq!(told.take("http"), None);
        told.add(b"{\"a\":1}\n", "422");
        told.add(b"{\"a\":2}\n", "400");
        assert!(told.take("http").is_some_and(|text| text.contains("2 deliveries") && text.contains("(400)")));
    }

    #[test]
    fn what_tells_of_it_causes_no_further_one() {
        let told = SetAside::default();
        let own = "{\"activity-type\":\"ERROR\",\"operation\":\"DELIVER\"}\n";
        told.add(own.as_bytes(), "422");
        assert_eq!(told.take("http"), None);
        told.add(format!("{own}{{\"activity-type\":\"CLOSE\",\"path\":\"/DELIVER\"}}\n").as_bytes(), "422");
        assert!(told.take("http").is_some(), "others are in it");
    }

    #[test]
    fn a_checkpoint_behind_it_causes_no_further_one() {
        let told = SetAside::default();
        for checkpoint in [
            "{\"activity-type\":\"CHECKPOINT\",\"sequence\":7}\n",
            "{\"metadata\":{\"event_code\":\"CHECKPOINT\",\"sequence\":7}}\n",
            "{\"event\":{\"code\":\"CHECKPOINT\",\"sequence\":7}}\n",
        ] {
            told.add(checkpoint.as_bytes(), "422");
            let own = "{\"activity-type\":\"ERROR\",\"operation\":\"DELIVER\"}\n";
            told.add(format!("{own}{checkpoint}").as_bytes(), "422");
            assert_eq!(told.take("http"), None, "{checkpoint}");
        }
        told.add(b"{\"activity-type\":\"CLOSE\",\"path\":\"CHECKPOINT\"}\n", "422");
        assert!(told.take("http").is_some(), "an event of a client's file");
    }

    #[test]
    fn what_was_there_at_the_start_is_told() {
        assert_eq!(SetAside::found(0).take("http"), None);
        let told = SetAside::found(2);
        told.tell(Arc::default());
        let text = told.take("http");
        assert_eq!(
            text.as_deref(),
            Some("http: set aside before this start: 2; `lockgate audit redeliver` tries again")
        );
        assert_eq!(told.take("http"), None);
        let told = SetAside::found(2);
        told.add(b"{\"a\":1}\n", "422");
        assert!(told.take("http").is_some_and(|text| text.contains("3 deliveries") && text.contains("(422)")));
    }

    #[tokio::test]
    async fn whoever_comes_late_hears_of_it_too() {
        let (told, teller) = (SetAside::default(), Arc::<Notify>::default());
        told.add(b"{}\n", "422");
        told.tell(Arc::clone(&teller));
        teller.notified().await;
        assert!(told.take("http").is_some());
        told.add(b"{}\n", "422");
        teller.notified().await;
    }
}
