//! Who gets a descriptor when there are few.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A file that knows whether it is open.
#[derive(Debug, Default)]
struct File {
    closed: AtomicBool,
}

impl Idle for File {
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// An open file that is read now and then.
struct Reader {
    file: Arc<File>,
    kept: Kept,
}

impl Reader {
    fn open(account: &Account) -> Reader {
        let file = Arc::<File>::default();
        let kept = account.keep(&(Arc::clone(&file) as Arc<dyn Idle>));
        Reader { file, kept }
    }

    fn is_open(&self) -> bool {
        !self.file.closed.load(Ordering::Relaxed)
    }

    fn read(&self) -> bool {
        let may = self.kept.is_used().is_ok();
        if may {
            self.file.closed.store(false, Ordering::Relaxed);
        }
        may
    }
}

fn open(readers: &[Reader]) -> usize {
    readers.iter().filter(|reader| reader.is_open()).count()
}

#[test]
fn one_who_opens_without_end_leaves_half_of_them() {
    let all = Descriptors::new(100);
    let greedy = all.account("greedy");
    let held: Vec<_> = (0..200).map_while(|_| greedy.hold().ok()).collect();
    assert_eq!(held.len(), 50);
    let other = all.account("other");
    let theirs: Vec<_> = (0..200).map_while(|_| other.hold().ok()).collect();
    assert_eq!(theirs.len(), 25);
    let spent = greedy.hold().unwrap_err();
    assert_eq!(spent, Spent { used: 50, free: 25, total: 100 });
    drop((held, theirs));
    assert_eq!(all.used(), 0);
    assert!(all.lock().accounts.is_empty(), "an account that has nothing is not remembered");
}

#[test]
fn files_that_are_read_are_closed_oldest_first_and_open_again() {
    let all = Descriptors::new(20);
    let account = all.account("reader");
    let readers: Vec<_> = (0..4096).map(|_| Reader::open(&account)).collect();
    assert_eq!((open(&readers), all.used()), (10, 10));
    assert!(readers[4086..].iter().all(Reader::is_open), "the last ones");
    assert!(readers[4086].read(), "it was used again, so that another one is the oldest");
    assert!(readers[0].read());
    assert!(readers[4086].is_open() && !readers[4087].is_open());
    assert_eq!((open(&readers), all.used()), (10, 10));
    drop(readers);
    assert_eq!(all.used(), 0);
}

#[test]
fn what_is_held_is_not_closed_for_what_is_read() {
    let all = Descriptors::new(20);
    let account = all.account("both");
    let reader = Reader::open(&account);
    let held: Vec<_> = (0..100).map_while(|_| account.hold().ok()).collect();
    assert_eq!(held.len(), 10);
    assert!(!reader.is_open(), "it made room");
    assert!(!reader.read(), "and gets none");
    let late = Reader::open(&account);
    assert!(!late.is_open());
    drop(held);
    assert!(reader.read() && late.read());
}

/// There are as many users as descriptors: one more still gets one, from whoever has most.
#[test]
fn there_is_one_for_whoever_has_none() {
    let all = Descriptors::new(16);
    let heavy = all.account("heavy");
    let many: Vec<_> = (0..8).map(|_| Reader::open(&heavy)).collect();
    let others: Vec<_> = (0..8).map(|n| Reader::open(&all.account(format!("user {n}")))).collect();
    assert_eq!((open(&many), open(&others), all.used()), (8, 8, 16));
    let last = Reader::open(&all.account("last"));
    assert!(last.is_open());
    assert_eq!((open(&many), open(&others), all.used()), (7, 8, 16));
}

#[test]
fn a_file_that_is_dropped_while_it_is_closed_counts_once() {
    let all = Descriptors::new(4);
    let account = all.account("reader");
    let (first, second) = (Reader::open(&account), Reader::open(&account));
    let third = Reader::open(&account);
    assert!(!first.is_open());
    drop((first, second));
    assert_eq!(all.used(), 1);
    drop(third);
    assert_eq!(all.used(), 0);
}

#[test]
fn threads_that_open_read_and_drop_leave_nothing() {
    let all = Descriptors::new(12);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let account = all.account(format!("user {}", n % 2));
            scope.spawn(move || {
                for round in 0..500 {
                    let readers: Vec<_> = (0..6).map(|_| Reader::open(&account)).collect();
                    let held = account.hold();
                    readers.iter().skip(round % 6).for_each(|reader| {
                        reader.read();
                    });
                    drop((readers, held));
                }
            });
        }
    });
    assert_eq!(all.used(), 0);
    assert!(all.lock().accounts.is_empty());
}
