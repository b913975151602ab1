//! The CLOSE of a file: an upload is published, and the end is on record before anything else is done.

use tokio::sync::OwnedMutexGuard;

use super::super::uploads::Upload;
use super::super::{SessionError, SessionResult, outcome_of};
use super::{File, NOT_STORED, OpenMode, Transfer};
use crate::audit::{NOTHING_WAS_PUBLISHED, Outcome};
use crate::path::LogicalPath;
use crate::stores::StoreErrorKind;
use crate::vfs::{self, Committed, Writer};

/// An upload that the store has by now, and that nobody else writes or publishes until this is dropped.
struct Published {
    committed: Committed,
    path: LogicalPath,
    upload: Upload,
    content: OwnedMutexGuard<Option<Writer>>,
    /// It was not only closed: there is another version.
    has_content: bool,
}

impl Transfer {
    /// Ends the transfer: an upload is published. Records CLOSE, or ERROR when it could not be published. When this returns
    /// `Ok`, the store has the object and the event is recorded.
    ///
    /// # Errors
    /// What the store says to the publication, or that the end cannot be recorded; when that is known before, nothing is
    /// published.
    pub async fn close(mut self) -> SessionResult<()> {
        let session = self.account.session.clone();
        let _busy = session.login.busy("CLOSE");
        if self.is_upload()
            && let Err(unrecorded) = self.account.reserve().await
        {
            return Err(self.refuse_to_publish(unrecorded.into()));
        }
        let mut published = None;
        let (result, etag) = match &self.file {
            Some(File::Write(_)) => match self.publish().await {
                Ok(Some(done)) => {
                    let (note, etag) = (self.account.note(&done.committed), done.committed.etag.clone());
                    // Another handle may have published what this one wrote.
                    self.account.unchanged = done.committed.unchanged && !self.account.has_taken_bytes();
                    published = Some(done);
                    (Ok(note), etag)
                }
                Ok(None) => {
                    self.account.removed().await?;
                    return Ok(());
                }
                Err(error) => (Err(error), None),
            },
            Some(File::Read(reader)) => {
                self.account.settle_digest(reader.attributes().size);
                (Ok(None), reader.etag().map(str::to_owned))
            }
            Some(File::Unfinished(_)) => (Ok(None), None),
            None => return Ok(()),
        };
        self.file = None;
        let outcome = match &result {
            Ok(note) => outcome_of(&Ok(()), note.clone()),
            Err(error) => error.outcome(),
        };
        if result.is_ok() {
            self.account.count_file();
        }
        let recorded = self.account.closed(outcome, etag);
        // After the record: a store that does not answer any more keeps no deed from it.
        if let Some(published) = published {
            self.follow_up(published).await;
        }
        recorded.await?;
        result.map(|_| ())
    }

    /// What comes of a publication for the rest of the connection.
    async fn follow_up(&self, published: Published) {
        let Published { committed, path, upload, mut content, has_content } = published;
        let session = &self.account.session;
        if has_content {
            session.note_own_file(&path, &committed).await;
        }
        if upload.has_others() {
            // They go on with what is published now.
            let again = session.vfs().open_write(&path, self.account.mode.again()).await;
            *content = again.inspect(|writer| upload.start_again(writer)).ok();
            if content.is_none() {
                upload.give_up();
            }
        }
    }

    /// Publishes what was written; `None` when the file was removed meanwhile.
    ///
    /// Dropped while it waits for others, it has done nothing: the upload is cut off as any other.
    async fn publish(&mut self) -> SessionResult<Option<Published>> {
        let mut content = match &self.file {
            Some(File::Write(upload)) => {
                upload.begin_closing();
                upload.lock().await
            }
            Some(File::Read(_) | File::Unfinished(_)) | None => return Ok(None),
        };
        let completed = self.complete_digest(&mut content).await;
        let Some(File::Write(upload)) = self.file.take() else { return Ok(None) };
        if let Err(error) = completed {
            *content = None;
            upload.give_up();
            return Err(error.into());
        }
        let Some(place) = upload.place().filter(|place| !place.is_discarded) else { return Ok(None) };
        self.account.path = place.path.clone();
        let mut writer = content.take().ok_or_else(|| self.account.wrong(NOT_STORED))?;
        if let Some(mtime) = upload.wanted_mtime() {
            writer.set_mtime(mtime);
        }
        let has_content = writer.has_content();
        if let Some(sha256) = self.account.settle_digest(writer.size()) {
            writer.set_sha256(sha256);
        }
        self.account.publishing();
        let committed =
            writer.commit().await.map_err(|error| refusal_at_commit(self.account.placed(error), self.account.mode));
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                upload.give_up();
                return Err(error);
            }
        };
        if has_content {
            upload.published();
        }
        Ok(Some(Published { committed, path: place.path, upload, content, has_content }))
    }

    /// Reads what the digest lacks. Nothing has happened to the file when this is dropped.
    async fn complete_digest(&mut self, content: &mut Option<Writer>) -> vfs::VfsResult<()> {
        match (&self.file, content) {
            (Some(File::Write(upload)), Some(writer)) if !upload.is_discarded() => {
                self.account.complete_digest(writer, upload.is_shared()).await
            }
            _ => Ok(()),
        }
    }

    /// Gives an upload up at its CLOSE. The event waits for the trail; the client does not.
    fn refuse_to_publish(&mut self, error: SessionError) -> SessionError {
        self.file = None;
        drop(self.account.closed(Outcome::Failure(format!("{}; {NOTHING_WAS_PUBLISHED}", error.chain())), None));
        error
    }
}

fn refusal_at_commit(error: vfs::VfsError, mode: OpenMode) -> SessionError {
    if error.kind() == StoreErrorKind::AlreadyExists && !mode.exclusive {
        return SessionError::denied(&error.path, "it exists already and may not be replaced");
    }
    error.into()
}
