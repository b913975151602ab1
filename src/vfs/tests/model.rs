//! Random operations on one file, compared with a vector of bytes.

use bytes::Bytes;

use crate::stores::StoreErrorKind;

use super::super::{WriteMode, Writer};
use super::home::{Home, NEW, Random, home_with, path, pattern};
use super::store::TestStore;

/// Files stay about this long: several parts of 64 KiB.
const LONG: u64 = 700_000;

/// What the writer is compared with.
struct Model {
    random: Random,
    content: Vec<u8>,
    source: Bytes,
}

impl Model {
    fn piece(&mut self) -> Bytes {
        let length = match self.random.below(4) {
            0 => 1 + self.random.below(100),
            1 => 1 + self.random.below(150_000),
            _ => 1 + self.random.below(40_000),
        } as usize;
        let start = self.random.below((self.source.len() - length) as u64) as usize;
        self.source.slice(start..start + length)
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let end = offset as usize + data.len();
        if self.content.len() < end {
            self.content.resize(end, 0);
        }
        self.content[offset as usize..end].copy_from_slice(data);
    }
}

/// One file's life. False when it ended early because bytes that were sent cannot be changed.
async fn live(home: &Home, store: &TestStore, seed: u64, mode: WriteMode, in_order: u64) -> bool {
    let mut model = Model { random: Random(seed), content: Vec::new(), source: pattern(1 << 20) };
    let old = model.random.below(3) * model.random.below(LONG / 2);
    if !mode.truncate && old > 0 {
        store.set("f", model.source.slice(..old as usize));
        model.content = model.source[..old as usize].to_vec();
    }
    let mut writer = home.vfs.open_write(&path("/f"), mode).await.unwrap();
    for step in 0..40 {
        match operate(&mut writer, &mut model, mode, in_order).await {
            Ok(()) => {}
            Err(StoreErrorKind::Unsupported) if !mode.read && store.get("f").is_none_or(|f| f.len() as u64 == old) => {
                return false;
            }
            Err(kind) => panic!("seed {seed} step {step}: {kind:?}"),
        }
        assert_eq!(writer.size(), model.content.len() as u64, "seed {seed} step {step}");
    }
    let committed = writer.commit().await.unwrap();
    assert_eq!(committed.size, model.content.len() as u64);
    let stored = store.get("f").unwrap();
    let differs = stored.iter().zip(&model.content).position(|(a, b)| a != b);
    assert_eq!((differs, stored.len()), (None, model.content.len()), "seed {seed}");
    true
}

async fn operate(writer: &mut Writer, model: &mut Model, mode: WriteMode, in_order: u64) -> Result<(), StoreErrorKind> {
    let size = model.content.len() as u64;
    match model.random.below(20) {
        0 => {
            let length = if model.random.below(4) == 0 { 0 } else { model.random.below(LONG) };
            model.content.resize(length as usize, 0);
            writer.set_length(length).await.map_err(|e| e.kind())
        }
        1..5 if mode.read => {
            let (offset, length) = (model.random.below(LONG), model.random.below(100_000) as usize);
            let read = writer.read_back(offset, length).await.map_err(|e| e.kind())?;
            let start = (offset as usize).min(model.content.len());
            let end = (start + length).min(model.content.len());
            assert!(read == model.content[start..end], "read {offset} {length}");
            Ok(())
        }
        _ => {
            let data = model.piece();
            let offset = if model.random.below(100) < in_order { size } else { model.random.below(LONG) };
            model.write(offset, &data);
            writer.write_at(offset, data).await.map_err(|e| e.kind())
        }
    }
}

async fn many(make: impl Fn(&str) -> TestStore, mode: WriteMode, in_order: u64, memory_spent: bool) -> u64 {
    let mut whole = 0;
    for seed in 1..=60 {
        let store = make("s");
        let home = home_with(&[("/", &store, "")], |_| {});
        let spent = memory_spent.then(|| home.transfers.budget.try_rest(home.transfers.budget.largest_part()).unwrap());
        whole += u64::from(live(&home, &store, seed, mode, in_order).await);
        drop(spent);
        home.assert_all_given_back().await;
        store.assert_no_uploads().await;
    }
    whole
}

#[tokio::test]
async fn a_local_file_takes_any_operation() {
    for memory_spent in [false, true] {
        for mode in [NEW, WriteMode { read: true, ..NEW }] {
            for truncate in [true, false] {
                let mode = WriteMode { truncate, ..mode };
                assert_eq!(many(TestStore::local, mode, 50, memory_spent).await, 60);
            }
        }
    }
}

#[tokio::test]
async fn an_object_that_is_read_as_well_takes_any_operation() {
    for memory_spent in [false, true] {
        for truncate in [true, false] {
            let mode = WriteMode { truncate, read: true, ..NEW };
            assert_eq!(many(TestStore::remote, mode, 50, memory_spent).await, 60);
        }
    }
}

#[tokio::test]
async fn an_object_that_is_only_written_is_right_or_refused() {
    for memory_spent in [false, true] {
        for truncate in [true, false] {
            let mode = WriteMode { truncate, ..NEW };
            let mostly_in_order = many(TestStore::remote, mode, 97, memory_spent).await;
            let in_no_order = many(TestStore::remote, mode, 50, memory_spent).await;
            println!("{mostly_in_order} and {in_no_order} of 60 were written whole");
            assert!(mostly_in_order >= 10);
        }
    }
}
