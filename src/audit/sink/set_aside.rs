//! What the trail is to hear of deliveries that were set aside.
//!
//! A sink for events is sent that event as well, and may refuse it in its turn. So a delivery of nothing but such events is told in
//! the log only: each event that is told is caused by one of another kind, and there is an end of it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::heading::lines;

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
    /// Why the last of them.
    why: String,
}

impl SetAside {
    /// From now on `teller` hears when there is something to tell.
    pub(in crate::audit) fn tell(&self, teller: Arc<Notify>) {
        let _ = self.teller.set(teller);
        // What came before.
        self.notify();
    }

    /// One more was set aside.
    pub(super) fn add(&self, delivery: &[u8], why: &str) {
        if lines(delivery).all(is_of_this) {
            return;
        }
        let mut news = self.lock();
        let deliveries = news.as_ref().map_or(0, |news| news.deliveries) + 1;
        *news = Some(News { deliveries, why: why.to_owned() });
        drop(news);
        self.notify();
    }

    /// The sentence for the trail, if there is anything to tell; once.
    pub(in crate::audit) fn take(&self, sink: &str) -> Option<String> {
        let News { deliveries, why } = self.lock().take()?;
        let what = match deliveries {
            1 => "a delivery is set aside".to_owned(),
            many => format!("{many} deliveries are set aside, the last one"),
        };
        Some(format!("{sink}: {what} ({why}); `lockgate audit redeliver` tries again"))
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
