//! Files that were not closed: what becomes of an upload, and what is recorded of it.

use tokio::sync::OwnedMutexGuard;

use super::super::SessionError;
use super::super::uploads::Upload;
use super::File;
use super::account::Account;
use crate::audit::{NOTHING_WAS_PUBLISHED, Outcome, Recorded, WHAT_ARRIVED_WAS_PUBLISHED};
use crate::vfs::Writer;

impl Account {
    /// Ends a file that was not closed, and records it. Where this is dropped, the account records the end by itself.
    pub(super) async fn cut_off(&mut self, file: File, why: &str) {
        let recorded = match file {
            File::Read(reader) => self.cut_off_reading(&reader, why),
            File::Unfinished(_) => self.cut_off_now(why),
            File::Write(upload) => self.cut_off_upload(upload, why).await,
        };
        if let Err(error) = recorded.await {
            tracing::error!(path = %self.path, %error, "the end of a transfer could not be recorded at once");
        }
    }

    /// Ends an upload, unless other handles go on with it: publishes what arrived where the operator chose that and it can be
    /// recorded.
    async fn cut_off_upload(&mut self, upload: Upload, why: &str) -> Recorded {
        // Room comes before the content is held: a CLOSE takes both in this order, too.
        let unrecorded = match self.session.vfs().publishes_partial_uploads() {
            true => self.reserve().await.err(),
            false => None,
        };
        let mut content = upload.lock().await;
        let Some((writer, is_wanted)) = self.take_content(&upload, &mut content) else {
            return self.cut_off_now(&format!("{why}; {NOTHING_WAS_PUBLISHED}"));
        };
        let would_publish = is_wanted && writer.is_published_when_cut_off();
        if unrecorded.is_some() || !would_publish {
            let refusal =
                unrecorded.filter(|_| would_publish).map(|error| format!("; {}", SessionError::from(error).chain()));
            // Before the store is asked to remove what it has: that may take its time, and nobody waits for it.
            let message = format!("{why}{}; {NOTHING_WAS_PUBLISHED}", refusal.unwrap_or_default());
            let recorded = self.cut_off_now(&message).sent();
            drop((content, upload));
            writer.discard().await;
            return recorded;
        }
        self.publishing();
        let (what, etag) = match writer.cut_off().await {
            Ok(None) => (NOTHING_WAS_PUBLISHED.into(), None),
            Ok(Some(committed)) => {
                upload.published();
                (WHAT_ARRIVED_WAS_PUBLISHED.into(), committed.etag)
            }
            Err(error) => (SessionError::from(error).chain(), None),
        };
        self.partly_closed(Outcome::Failure(format!("{why}; {what}")), etag)
    }

    /// What was written, if no other handle goes on writing it, and whether it is still the file of its name.
    fn take_content(
        &mut self,
        upload: &Upload,
        content: &mut OwnedMutexGuard<Option<Writer>>,
    ) -> Option<(Writer, bool)> {
        let place = upload.place()?;
        self.path = place.path;
        if upload.has_other_writers() {
            return None;
        }
        let writer = content.take()?;
        let is_wanted = !place.is_discarded && !upload.has_newer();
        if upload.has_others() {
            // They only read, and what they read goes.
            upload.give_up();
        }
        Some((writer, is_wanted))
    }
}
