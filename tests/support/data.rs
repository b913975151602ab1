//! Test data: files of any size that compress badly, trees with odd names, and comparison byte by byte.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// A file that is there, for tests that need no more.
pub const SMALL_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

/// Sizes at which something changes: nothing, one byte, about one SFTP packet, about one part of an S3 upload.
pub const EDGES: [u64; 8] = [0, 1, 32 * KIB - 1, 32 * KIB, 32 * KIB + 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1];

/// A stream of bytes that looks random and is the same for the same seed (xorshift64).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        // Zero would stay zero.
        Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// `length` bytes of noise.
pub fn noise(length: u64, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    Noise::new(seed).fill(&mut bytes);
    bytes
}

/// Writes a file of `length` bytes of noise.
pub fn write_noise(path: &Path, length: u64, seed: u64) {
    let mut file = File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut noise = Noise::new(seed);
    let mut buffer = vec![0; MIB as usize];
    let mut left = length;
    while left > 0 {
        let piece = &mut buffer[..usize::try_from(left.min(MIB)).unwrap()];
        noise.fill(piece);
        file.write_all(piece).expect("room for test data");
        left -= piece.len() as u64;
    }
}

/// Writes one file for each size of [`EDGES`], named after it.
pub fn write_edges(folder: &Path) -> Vec<PathBuf> {
    EDGES
        .iter()
        .map(|size| {
            let path = folder.join(format!("{size}.bin"));
            write_noise(&path, *size, *size + 1);
            path
        })
        .collect()
}

/// Panics at the first byte in which two files differ.
#[track_caller]
pub fn assert_same_bytes(got: &Path, expected: &Path) {
    let open = |path: &Path| File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (mut a, mut b) = (open(got), open(expected));
    let lengths = (a.metadata().unwrap().len(), b.metadata().unwrap().len());
    assert!(lengths.0 == lengths.1, "{} has {} bytes, not {}", got.display(), lengths.0, lengths.1);
    let (mut left, mut right) = (vec![0; MIB as usize], vec![0; MIB as usize]);
    let mut offset = 0;
    while offset < lengths.0 {
        let length = usize::try_from((lengths.0 - offset).min(MIB)).unwrap();
        a.read_exact(&mut left[..length]).expect("a readable file");
        b.read_exact(&mut right[..length]).expect("a readable file");
        if let Some(at) = (0..length).find(|i| left[*i] != right[*i]) {
            panic!("{} differs from {} at byte {}", got.display(), expected.display(), offset + at as u64);
        }
        offset += length as u64;
    }
}

/// A tree with folders in folders, an empty folder, an empty file and names that shells, URLs and stores trip over.
pub fn write_tree(folder: &Path) {
    let files = [
        "plain.txt",
        "empty",
        "with space.txt",
        "per%20cent%.txt",
        "hash#1",
        "x#1",
        "~tilde~",
        "-dash",
        ".hidden",
        "..dots",
        "brackets[ab].txt",
        "quote'\"s.txt",
        "dollar$HOME`id`;ls",
        "ümläut-日本語-🙂.txt",
        "plus+&=?,:@!",
        "deep/er/and/deeper/leaf.bin",
        "deep/er/leaf.bin",
        "deep/beside.bin",
        "deep.beside",
        "many/0",
        "many/1",
        "many/2",
        "many/3",
        "many/4",
        "many/5",
        "many/6",
        "many/7",
        "many/8",
        "many/9",
    ];
    for (i, name) in files.iter().enumerate() {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).expect("a folder");
        let length = if *name == "empty" { 0 } else { (i as u64 * 7919) % (100 * KIB) + 1 };
        write_noise(&path, length, i as u64);
    }
    fs::create_dir_all(folder.join("empty folder")).expect("a folder");
}

/// Panics unless two trees have the same folders and the same files with the same bytes.
#[track_caller]
pub fn assert_same_tree(got: &Path, expected: &Path) {
    let (mut a, mut b) = (BTreeMap::new(), BTreeMap::new());
    walk(got, got, &mut a);
    walk(expected, expected, &mut b);
    let missing: Vec<_> = b.keys().filter(|k| !a.contains_key(*k)).collect();
    let extra: Vec<_> = a.keys().filter(|k| !b.contains_key(*k)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{}: missing {missing:?}, extra {extra:?}", got.display());
    for (name, is_folder) in &b {
        assert!(a[name] == *is_folder, "{} is not the kind it was", name.display());
        if !is_folder {
            assert_same_bytes(&got.join(name), &expected.join(name));
        }
    }
}

fn walk(root: &Path, folder: &Path, into: &mut BTreeMap<PathBuf, bool>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        into.insert(path.strip_prefix(root).unwrap().to_path_buf(), path.is_dir());
        if path.is_dir() {
            walk(root, &path, into);
        }
    }
}
