//! A whole SCP channel over memory stores: an upload, and then what a second command makes of it.

use std::sync::Arc;

use bytes::Bytes;
use lockgate::internals::scp::{self, Command};
use lockgate::internals::session::{Login, Protocol};

use super::channel::{Answers, Discarded, Pieces, converse, login};
use super::cursor::Cursor;

/// Command lines with what their clients send. Each channel ends.
pub fn scp_channel(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let login = login();
    for _ in 0..2 {
        let (line, size) = (cursor.piece(), usize::from(cursor.byte()).max(1));
        let sent = cursor.piece();
        if let Ok(command) = Command::parse(line) {
            run(&login, command, sent.chunks(size).map(Bytes::copy_from_slice).collect());
        }
    }
}

fn run(login: &Arc<Login>, command: Command, pieces: Vec<Bytes>) {
    let incoming = Pieces { pieces: pieces.into_iter(), patient: false, answers: Arc::new(Answers::default()) };
    let session = login.session(Protocol::Scp);
    converse(login, async move {
        scp::serve(session, command, incoming, Discarded { limit: 1 << 20 }).await;
    });
}
