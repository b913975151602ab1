//! Events of any text.

use std::net::{IpAddr, Ipv6Addr};

use lockgate::internals::audit::{
    Activity, AdminCall, Algorithms, AuthFailure, AuthFailureReason, CertificateIdentity, Connected, Denied,
    Disconnected, FileOperation, Jump, KeyIdentity, Note, Origin, Outcome, Person, Protocol, Rejected, RenameOperation,
    TransferEnd, TransferStart, UserChange,
};

use super::channel::{PATIENCE, world};
use super::cursor::Cursor;

/// Whatever stands in an event, it is one line: one JSON object of bounded length without a raw control character.
pub fn events(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let kind = cursor.byte();
    let origin = origin(&mut cursor);
    let activity = activity(kind, &mut cursor);
    let name = activity.name();
    let world = world();
    world.runtime.block_on(async {
        let recorded = tokio::time::timeout(PATIENCE, world.recorder.record_late(&origin, &activity)).await;
        recorded.expect("it is recorded in time").expect("memory does not fail");
        // Comes back when the sink has written what was recorded before.
        world.recorder.reopen().await;
    });
    let lines = world.sink.lines();
    world.sink.take();
    let [line] = &lines[..] else { panic!("{} lines: {lines:?}", lines.len()) };
    assert!(line.len() <= 64 * 1024, "a line of {} bytes", line.len());
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).expect("one object");
    assert_eq!(event["activity-type"], name);
    assert!(event.values().all(|value| !value.is_null() && value != ""), "{line}");
    // A field that stands twice would be one in the map.
    let fields =
        line.matches("\":\"").count() + event.values().filter(|value| value.is_number() || value.is_boolean()).count();
    assert!(fields >= event.len());
}

fn origin(cursor: &mut Cursor<'_>) -> Origin {
    let flags = cursor.byte();
    let address = u128::from(cursor.number()) << 64 | u128::from(cursor.number());
    Origin {
        session_id: cursor.text().into(),
        source_ip: if flags & 1 == 0 { IpAddr::from([192, 0, 2, flags]) } else { Ipv6Addr::from_bits(address).into() },
        source_port: u16::from(flags),
        user: cursor.maybe().map(Into::into),
        protocol: [None, Some(Protocol::Sftp), Some(Protocol::Scp), None][usize::from(flags >> 6)],
        client: cursor.maybe().map(Into::into),
        person: cursor.maybe().map(|name| Person::of(None, Some(&name))),
        jump: (flags & 2 == 2).then(|| {
            let account = cursor.maybe().map(Into::into);
            Jump::new(cursor.text().into(), account, cursor.text().into())
        }),
    }
}

fn activity(kind: u8, cursor: &mut Cursor<'_>) -> Activity {
    match kind % 23 {
        0 => Activity::Connected(Box::new(Connected {
            role: cursor.maybe(),
            method: "publickey",
            second_factor: cursor.byte().is_multiple_of(2).then_some("totp"),
            algorithms: algorithms(cursor),
            key: key(cursor),
            proxy_header: None,
        })),
        1 => Activity::AuthFailure(Box::new(AuthFailure {
            method: "password",
            reason: AuthFailureReason::BadPassword,
            cause: cursor.maybe(),
            key: key(cursor),
            attempt: u32::from(cursor.byte()),
            algorithms: algorithms(cursor),
        })),
        2 => Activity::KexFailure(rejected(cursor)),
        3 => Activity::ConnectionRejected(rejected(cursor)),
        4 => Activity::Disconnected(Disconnected {
            reason: cursor.text(),
            ended_by: cursor.maybe(),
            message: cursor.maybe(),
            duration_ms: cursor.number(),
            bytes_in: cursor.number(),
            bytes_out: cursor.number(),
            files_in: cursor.number(),
            files_out: cursor.number(),
        }),
        5 => Activity::Open(TransferStart {
            path: cursor.maybe(),
            logical_path: cursor.text(),
            mode: cursor.text(),
            write: cursor.byte() & 1 == 1,
            outcome: outcome(cursor),
            duration_ms: cursor.number(),
        }),
        6 => Activity::Close(end(cursor)),
        7 => Activity::PartialClose(end(cursor)),
        8 => Activity::Delete(file(cursor)),
        9 => Activity::Rename(rename(cursor)),
        10 => Activity::Mkdir(file(cursor)),
        11 => Activity::Rmdir(file(cursor)),
        12 => Activity::Setstat(file(cursor)),
        13 => Activity::CreateSymlink(rename(cursor)),
        14 => Activity::List(file(cursor)),
        15 => {
            Activity::RequestDenied(Denied { request: cursor.text(), message: cursor.text(), target: cursor.maybe() })
        }
        16 => Activity::Error(note(cursor)),
        17 => Activity::UserAdded(change(cursor)),
        18 => Activity::UserChanged(change(cursor)),
        19 => Activity::UserRemoved(change(cursor)),
        20 => Activity::CloseFailed(end(cursor)),
        21 => Activity::AdminCall(Box::new(AdminCall {
            caller: cursor.maybe(),
            role: Some("operator"),
            method: cursor.text(),
            path: cursor.text(),
            http_status: u16::from(cursor.byte()),
            reason: cursor.maybe(),
            outcome: outcome(cursor),
            source: (cursor.byte() & 1 == 1).then(|| ([192, 0, 2, cursor.byte()], 7).into()),
            duration_ms: cursor.number(),
        })),
        _ => Activity::ExitReason(note(cursor)),
    }
}

fn change(cursor: &mut Cursor<'_>) -> UserChange {
    let keys = |cursor: &mut Cursor<'_>| (0..cursor.byte() % 4).map(|_| cursor.text()).collect();
    UserChange {
        source: cursor.text(),
        keys: keys(cursor),
        added: keys(cursor),
        removed: keys(cursor),
        message: cursor.maybe(),
    }
}

fn outcome(cursor: &mut Cursor<'_>) -> Outcome {
    match cursor.byte() % 4 {
        0 => Outcome::Success,
        1 => Outcome::SuccessBut(cursor.text()),
        2 => Outcome::Denied(cursor.text()),
        _ => Outcome::Failure(cursor.text()),
    }
}

fn algorithms(cursor: &mut Cursor<'_>) -> Option<Algorithms> {
    let is_there = cursor.byte() & 1 == 1;
    is_there.then(|| Algorithms {
        kex: cursor.text(),
        ciphers: (cursor.text(), cursor.text()),
        macs: (cursor.text(), cursor.text()),
        host_key: cursor.text(),
        compression: (cursor.text(), cursor.text()),
        hassh: cursor.text(),
    })
}

fn key(cursor: &mut Cursor<'_>) -> Option<KeyIdentity> {
    let is_there = cursor.byte() & 1 == 1;
    is_there.then(|| KeyIdentity {
        key_type: cursor.text(),
        fingerprint: cursor.text(),
        blob: cursor.text(),
        comment: cursor.maybe(),
        certificate: certificate(cursor),
    })
}

fn certificate(cursor: &mut Cursor<'_>) -> Option<CertificateIdentity> {
    let is_there = cursor.byte() & 1 == 1;
    is_there.then(|| CertificateIdentity {
        serial: cursor.byte().into(),
        key_id: cursor.text(),
        authority: cursor.text(),
        authority_blob: String::new(),
    })
}

fn rejected(cursor: &mut Cursor<'_>) -> Rejected {
    Rejected {
        reason: cursor.text(),
        message: cursor.text(),
        unmatched: cursor.maybe(),
        client_kex: cursor.maybe(),
        client_host_keys: cursor.maybe(),
        client_ciphers: cursor.maybe(),
        client_macs: cursor.maybe(),
        // Made by the gateway itself.
        connections: None,
        source_ips: None,
        span: None,
    }
}

fn end(cursor: &mut Cursor<'_>) -> TransferEnd {
    TransferEnd {
        path: cursor.maybe(),
        logical_path: cursor.text(),
        write: cursor.byte() & 1 == 1,
        bytes_in: (cursor.byte() & 1 == 1).then(|| cursor.number()),
        bytes_out: (cursor.byte() & 1 == 1).then(|| cursor.number()),
        bytes_copied: (cursor.byte() & 1 == 1).then(|| cursor.number()),
        outcome: outcome(cursor),
        duration_ms: cursor.number(),
        sha256: cursor.maybe(),
        etag: cursor.maybe(),
        unchanged: cursor.byte() & 1 == 1,
    }
}

fn file(cursor: &mut Cursor<'_>) -> FileOperation {
    FileOperation {
        path: cursor.maybe(),
        logical_path: cursor.text(),
        size: (cursor.byte() & 1 == 1).then(|| cursor.number()),
        outcome: outcome(cursor),
        duration_ms: cursor.number(),
    }
}

fn rename(cursor: &mut Cursor<'_>) -> RenameOperation {
    RenameOperation {
        path: cursor.maybe(),
        new_path: cursor.maybe(),
        logical_path: cursor.text(),
        new_logical_path: cursor.text(),
        outcome: outcome(cursor),
        duration_ms: cursor.number(),
    }
}

fn note(cursor: &mut Cursor<'_>) -> Note {
    Note { message: cursor.text(), operation: cursor.maybe(), path: cursor.maybe(), logical_path: cursor.maybe() }
}
