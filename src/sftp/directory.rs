//! One open directory: what serves it owns the listing and answers READDIR, in order.

use std::sync::Arc;
use std::time::SystemTime;

use russh_sftp::protocol::StatusCode;

use super::extension;
use super::handle::{Channel, Handle};
use super::limits::{NAMES_PER_REPLY, NAMES_SIZE};
use super::outbox::Hold;
use super::queue::{Job, Work};
use super::reply::{Names, Reply};
use crate::session::{Attributes, Directory, SessionResult};

/// The longest entry: two names of 255 bytes, a user's name twice, and the numbers.
const LONGEST_ENTRY: usize = 1024;

/// An open directory.
pub(super) struct Listing {
    channel: Arc<Channel>,
    handle: Arc<Handle>,
    directory: Directory,
    /// Its place among the open handles.
    room: Hold,
    /// What was fetched and not sent yet.
    page: std::vec::IntoIter<(String, Attributes)>,
    /// The entry that did not fit into the last reply.
    left_over: Option<(String, Attributes)>,
    has_begun: bool,
}

impl Listing {
    pub(super) fn new(channel: Arc<Channel>, handle: Arc<Handle>, directory: Directory, room: Hold) -> Self {
        let page = Vec::new().into_iter();
        Listing { channel, handle, directory, room, page, left_over: None, has_begun: false }
    }

    /// Serves the directory until it is closed or cut off.
    pub(super) async fn serve(mut self) {
        while let Some(job) = self.handle.queue.next().await {
            match job {
                Job::Read { id, .. } => {
                    let reply = Reply::failure(id, StatusCode::Failure, "the handle is a directory");
                    if let Some(hold) = self.channel.outbox.reserve(reply.size()).await {
                        self.channel.outbox.send(reply, hold);
                    }
                }
                Job::Other { id, work: Work::ReadDirectory, .. } => self.read(id).await,
                Job::Other { id, hold, work: Work::Close(_) } => {
                    let Listing { channel, directory, room, .. } = self;
                    drop((directory, room));
                    return channel.outbox.send(Reply::ok(id), hold);
                }
                Job::Other { id, hold, work } => {
                    let reply = self.work(id, work).await;
                    self.channel.outbox.send(reply, hold);
                }
            }
        }
    }

    async fn work(&mut self, id: u32, work: Work) -> Reply {
        let path = &self.handle.path;
        match work {
            Work::Stat => match self.channel.session.stat(path).await {
                Ok(attributes) => Reply::Attributes { id, attributes },
                Err(error) => Reply::error(id, error),
            },
            Work::SetStat(change) => Reply::of(id, self.channel.session.set_attributes(path, &change).await),
            Work::FileSystem => extension::file_system_reply(id, self.channel.session.capacity(path).await),
            Work::Write { .. }
            | Work::Sync
            | Work::Check(_)
            | Work::Mark(_)
            | Work::CopyOut { .. }
            | Work::CopyIn { .. }
            | Work::ReadDirectory
            | Work::Close(_) => Reply::failure(id, StatusCode::Failure, "the handle is a directory"),
        }
    }

    /// Answers READDIR with what is there: the first names go out after the first page.
    async fn read(&mut self, id: u32) {
        let Some(hold) = self.channel.outbox.reserve(NAMES_SIZE + LONGEST_ENTRY).await else {
            return;
        };
        let reply = match self.names().await {
            Ok(names) if names.count() == 0 => Reply::end(id),
            Ok(names) => Reply::Names { id, names },
            Err(error) => Reply::error(id, error),
        };
        self.channel.outbox.send_reserved(reply, hold);
    }

    async fn names(&mut self) -> SessionResult<Names> {
        while self.left_over.is_none() && self.page.len() == 0 {
            let Some(page) = self.directory.next_page().await? else {
                break;
            };
            self.page = page.into_iter();
        }
        let mut names = Names::default();
        let now = SystemTime::now();
        let user = self.channel.session.user();
        if !self.has_begun {
            self.has_begun = true;
            let [this, above] = self.directory.dots();
            names.push(".", &this, user, now);
            names.push("..", &above, user, now);
        }
        while let Some((name, attributes)) = self.left_over.take().or_else(|| self.page.next()) {
            if names.count() >= NAMES_PER_REPLY || names.size() + LONGEST_ENTRY > NAMES_SIZE {
                self.left_over = Some((name, attributes));
                break;
            }
            names.push(&name, &attributes, user, now);
        }
        Ok(names)
    }
}
