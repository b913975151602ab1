//! Several writers of one name.

use crate::bench::{assert_refused, assert_same, shared};
use crate::support::data::{KIB, MIB, noise};
use crate::support::sftp::{Attributes, CREATE, EXCLUSIVE, FAILURE, READING_AND_WRITING, WRITING};

/// One put, and one in parts.
const SIZES: [u64; 2] = [100 * KIB, 6 * MIB];

#[test]
fn excl_never_overwrites() {
    let flags = WRITING | CREATE | EXCLUSIVE;
    shared().on_every_store(|place, session| {
        let mut other = place.bench.connect();
        session.put(&place.path("old"), b"old");
        assert_refused(session.open(&place.path("old"), flags), FAILURE);
        assert_refused(session.open(&place.path("old"), flags | READING_AND_WRITING), FAILURE);
        assert_same(&session.get(&place.path("old")), b"old");
        for size in SIZES {
            // Two at once: both find nothing, both write, one of them is the first to close.
            let path = place.path(&format!("race-{size}"));
            let contents = [noise(size, 1), noise(size, 2)];
            let handles = [session.open(&path, flags).unwrap(), other.open(&path, flags).unwrap()];
            session.write(&handles[0], 0, &contents[0]).unwrap();
            other.write(&handles[1], 0, &contents[1]).unwrap();
            // Neither waits for the other's answer.
            let (first, second) = std::thread::scope(|scope| {
                let second = scope.spawn(|| other.close(&handles[1]));
                (session.close(&handles[0]), second.join().unwrap())
            });
            let winner = match (&first, &second) {
                (Ok(()), Err(_)) => 0,
                (Err(_), Ok(())) => 1,
                both => panic!("of {size} bytes not exactly one has won: {both:?}"),
            };
            assert_refused(if winner == 0 { second } else { first }, FAILURE);
            assert_same(&session.get(&path), &contents[winner]);

            // Somebody else's file comes in between.
            let path = place.path(&format!("late-{size}"));
            let handle = session.open(&path, flags).unwrap();
            session.write(&handle, 0, &contents[0]).unwrap();
            other.put(&path, b"theirs");
            assert_refused(session.close(&handle), FAILURE);
            assert_same(&session.get(&path), b"theirs");
            assert_eq!(place.unfinished(&format!("late-{size}")).filter(|_| place.s3().is_some()).unwrap_or(0), 0);
        }
    });
}

#[test]
fn if_two_clients_write_the_same_name_the_last_close_wins_with_its_whole_file() {
    shared().on_every_store(|place, session| {
        let mut other = place.bench.connect();
        for (size, first_closes_last) in SIZES.into_iter().flat_map(|size| [(size, true), (size, false)]) {
            let path = place.path(&format!("file-{size}"));
            let (ours, theirs) = (noise(size, 3), noise(size + 1, 4));
            let (handle, their_handle) = (session.create(&path), other.create(&path));
            // Turn by turn, a piece each.
            let piece = size as usize / 4 + 1;
            for (i, data) in ours.chunks(piece).enumerate() {
                session.write(&handle, (i * piece) as u64, data).unwrap();
                let start = i * piece;
                other.write(&their_handle, start as u64, &theirs[start..theirs.len().min(start + piece)]).unwrap();
            }
            let outcome = if first_closes_last {
                other.close(&their_handle).unwrap();
                session.close(&handle)
            } else {
                session.close(&handle).unwrap();
                other.close(&their_handle)
            };
            let last = match outcome {
                // The last CLOSE loses there, and says so.
                Err(_) if place.has_one_upload_of_a_name() && size > MIB => !first_closes_last,
                outcome => outcome.map(|()| first_closes_last).unwrap(),
            };
            let last = if last { &ours } else { &theirs };
            assert_same(&session.get(&path), last);
            drop(place.content(&format!("file-{size}")).inspect(|content| assert_same(content, last)));
        }
    });
}

#[test]
fn a_file_that_keeps_old_content_one_that_is_appended_to_resumed_cut_or_changed_in() {
    shared().on_every_store(|place, session| {
        let mut other = place.bench.connect();
        for (size, flags) in SIZES.into_iter().flat_map(|size| [(size, WRITING), (size, READING_AND_WRITING)]) {
            for change in ["appended", "cut", "changed"] {
                let path = place.path(&format!("{change}-{size}-{flags}"));
                let old = noise(size, 5);
                session.put(&path, &old);
                let handle = session.open(&path, flags).unwrap();
                match change {
                    "appended" => session.write(&handle, size, b"more").unwrap(),
                    "cut" => session.set_open_attributes(&handle, &Attributes::size(size / 2)).unwrap(),
                    _ => session.write(&handle, 10, b"middle").unwrap(),
                }
                other.put(&path, b"published meanwhile");
                assert_refused(session.close(&handle), FAILURE);
                assert_eq!(session.get(&path), b"published meanwhile", "{change} {size} {flags}");
                // Nobody comes between.
                let handle = session.open(&path, flags).unwrap();
                session.write(&handle, 19, b" and more").unwrap();
                session.close(&handle).unwrap();
                assert_eq!(session.get(&path), b"published meanwhile and more");
                // What is emptied keeps nothing.
                let handle = session.open(&path, flags).unwrap();
                session.set_open_attributes(&handle, &Attributes::size(0)).unwrap();
                session.write(&handle, 0, b"all new").unwrap();
                other.put(&path, b"published meanwhile");
                session.close(&handle).unwrap();
                assert_eq!(session.get(&path), b"all new");
            }
        }
    });
}
