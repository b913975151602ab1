//! The bounds of one SFTP channel. All sizes are bytes.
//!
//! Together they bound the memory that one channel can hold, whatever its client sends and however little it reads.

use std::time::Duration;

/// The longest packet that a client may send, without its length field: `max-packet-length` of `limits@openssh.com`. The
/// same as OpenSSH's `SFTP_MAX_MSG_LENGTH`.
pub(super) const MAX_PACKET: usize = 256 * 1024;

/// The longest packet that is taken. Some clients count only the data of a WRITE against [`MAX_PACKET`], so there is room for
/// the fields around it.
pub(super) const MAX_FRAME: usize = MAX_PACKET + 1024;

/// The most bytes of one READ: `max-read-length`, and `max-write-length` beside it. OpenSSH's value.
pub(super) const MAX_DATA: usize = 255 * 1024;

/// Bytes of file data and names that were fetched and wait to be sent. A usual client window: more would only wait elsewhere.
pub(super) const REPLY_BUDGET: usize = 2 * 1024 * 1024;

/// Bytes of WRITE data that wait for the store. The reader waits when they are spent.
pub(super) const WRITE_BUDGET: usize = 2 * 1024 * 1024;

/// Bytes of WRITE data that wait behind unanswered READs of the same handle. Those wait for the client to read, so the
/// reader must not wait for them: a client that sends more ends its channel. sshfs keeps at most this much under way.
pub(super) const BEHIND_READS_BUDGET: usize = 8 * 1024 * 1024;

/// Bytes of requests that wait to be done and of small replies that wait to be sent. A client that is further ahead of the
/// answers than this ends its channel.
pub(super) const BACKLOG: usize = 16 * 1024 * 1024;

/// What one request takes from [`BACKLOG`], besides the names that it holds: 65,536 of them fill it.
pub(super) const REQUEST_COST: usize = 256;

/// The most files and directories that are open at once, those included whose CLOSE is under way. Some clients leave a handle open
/// for each question that they ask (phpseclib's `is_writable`).
pub(super) const MAX_HANDLES: usize = 4_096;

/// The most requests on paths that run at once.
pub(super) const MAX_PATH_REQUESTS: usize = 64;

/// How many of the requests on paths that wait are looked at for one that may start before those that came before it.
pub(super) const LOOK_AHEAD: usize = 64;

/// How much is gathered into one send, so that the SSH layer can fill its packets.
pub(super) const SEND_SIZE: usize = 256 * 1024;

/// The data of one SSH packet that OpenSSH's clients take, and most others.
pub(super) const SSH_PACKET: usize = 32 * 1024;

/// Data from this size on is sent as it lies in memory. Of less, a copy costs no more than the SSH packet that it saves.
pub(super) const LONG_DATA: usize = 2 * SSH_PACKET;

/// The most names of one READDIR reply, and the most bytes. OpenSSH sends 100 names, so every client takes about that.
pub(super) const NAMES_PER_REPLY: usize = 128;

/// The most bytes of the names of one READDIR reply; a single entry is far smaller.
pub(super) const NAMES_SIZE: usize = 32 * 1024;

/// The longest message of a STATUS reply.
pub(super) const MAX_MESSAGE: usize = 512;

/// The most ids of one `users-groups-by-id@openssh.com`.
pub(super) const MAX_IDS: usize = 512;

/// The most bytes of digests in one `check-file` reply: 2,048 of SHA-512, 8,192 of MD5.
pub(super) const MAX_DIGESTS: usize = 128 * 1024;

/// The most `check-file` requests of a channel that run at once; each has a piece of a file in memory.
pub(super) const MAX_CHECKS: usize = 4;

/// The most pieces of files that the whole process hashes at once.
pub(super) const MAX_HASHERS: usize = 4;

/// How long the requests that a client left behind may take to end after it has gone; what is left then is cut off.
pub(super) const END_LIMIT: Duration = Duration::from_secs(30);

/// How long the last replies may take to be sent after the client's last byte.
pub(super) const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// WRITE data below this size is copied out of what arrived, so that a small piece does not hold on to a large buffer.
pub(super) const SMALL_WRITE: usize = 16 * 1024;
