//! What every program is asked to do, as far as it can.

use std::fs;
use std::path::Path;

use crate::place::{Place, mtime, set_mtime};
use crate::scripted::Scripted;
use crate::support::data::{KIB, MIB, assert_same_bytes, assert_same_tree, noise, write_noise, write_tree};
use crate::support::events::field;

/// A time in the past that no file has by chance: 4 March 2015, 05:06:07 UTC.
pub const LONG_AGO: u64 = 1_425_445_567;

/// Several packets, several windows, and on S3 more than one part.
pub const LARGE: u64 = 6 * MIB + 1;

/// How much of a file was there when its transfer was cut off.
const PARTIAL: usize = 2_500_000;

/// Remote paths are absolute; local ones too.
pub trait Files {
    fn put(&self, local: &str, remote: &str);
    fn get(&self, remote: &str, local: &str);
}

/// The last component is that of the target and is not there yet.
pub trait Trees {
    fn put_tree(&self, local: &str, remote: &str);
    fn get_tree(&self, remote: &str, local: &str);
}

pub trait Names {
    /// Some text in which each name stands.
    fn list(&self, remote: &str) -> String;
    fn rename(&self, from: &str, to: &str);
    fn remove(&self, remote: &str);
    fn mkdir(&self, remote: &str);
    fn rmdir(&self, remote: &str);
}

/// Continues a transfer that was cut off.
pub trait Resumes {
    fn reput(&self, local: &str, remote: &str);
    fn reget(&self, remote: &str, local: &str);
}

impl Files for Scripted {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["put", local, remote]);
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["get", remote, local]);
    }
}

impl Trees for Scripted {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["put_tree", local, remote]);
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["get_tree", remote, local]);
    }
}

impl Names for Scripted {
    fn list(&self, remote: &str) -> String {
        self.run(&["list", remote])
    }

    fn rename(&self, from: &str, to: &str) {
        self.run(&["rename", from, to]);
    }

    fn remove(&self, remote: &str) {
        self.run(&["remove", remote]);
    }

    fn mkdir(&self, remote: &str) {
        self.run(&["mkdir", remote]);
    }

    fn rmdir(&self, remote: &str) {
        self.run(&["rmdir", remote]);
    }
}

impl Resumes for Scripted {
    fn reput(&self, local: &str, remote: &str) {
        self.run(&["reput", local, remote]);
    }

    fn reget(&self, remote: &str, local: &str) {
        self.run(&["reget", remote, local]);
    }
}

/// What every library can do.
#[track_caller]
pub fn check_library(place: &Place, library: &Scripted) {
    check_files(place, library);
    check_names(place, library);
    check_upload_time(place, |local, remote| drop(library.run(&["put_timed", local, remote])));
    check_download_time(place, |remote, local| drop(library.run(&["get_timed", remote, local])));
    assert_eq!(library.run(&["stat", "/timed"]).trim(), format!("40000 {LONG_AGO}"));
    check_tree_removal(place, |folder| drop(library.run(&["remove_tree", folder])));
}

/// An empty file, one of a single byte, about one packet, several parts; under names that need quotes; each twice, so that the
/// second replaces.
#[track_caller]
pub fn check_files(place: &Place, program: &impl Files) {
    let files = [
        ("file 0.bin", 0),
        ("größe 1.bin", 1),
        ("it's 2.bin", 32 * KIB - 1),
        ("say \"3\".bin", 32 * KIB + 1),
        ("large 4.bin", LARGE),
    ];
    for (i, (name, length)) in (0..).zip(files) {
        for round in 0..2 {
            let source = place.local("source");
            // The second is shorter: nothing of the first may show.
            write_noise(&source, length - length.min(round), 10 * i + round);
            let remote = format!("/{name}");
            program.put(source.to_str().unwrap(), &remote);
            place.assert_holds(name, &source);
            let back = place.local("back");
            program.get(&remote, back.to_str().unwrap());
            assert_same_bytes(&back, &source);
            fs::remove_file(back).unwrap();
        }
    }
    place.assert_all_closed();
    place.assert_all_proven();
}

#[track_caller]
pub fn check_trees(place: &Place, program: &impl Trees) {
    let tree = place.setup.subfolder("tree");
    write_tree(&tree);
    program.put_tree(tree.to_str().unwrap(), "/tree");
    place.assert_holds_tree("tree", &tree);
    let back = place.local("tree-back");
    program.get_tree("/tree", back.to_str().unwrap());
    assert_same_tree(&back, &tree);
    place.assert_all_closed();
}

#[track_caller]
pub fn check_names(place: &Place, program: &impl Names) {
    place.write_many("name", 300);
    program.mkdir("/folder");
    assert!(place.has_folder("folder"));
    let list = program.list("/");
    let missing: Vec<String> = (0..300).map(|i| format!("name-{i:04}")).filter(|n| !list.contains(n)).collect();
    assert!(missing.is_empty() && list.contains("folder"), "missing {missing:?} in\n{list}");
    program.rename("/name-0000", "/folder/renamed");
    assert!(!place.has("name-0000") && place.has("folder/renamed"));
    program.rename("/folder", "/moved");
    assert!(!place.has_folder("folder") && place.has("moved/renamed"));
    program.remove("/moved/renamed");
    assert!(!place.has("moved/renamed"));
    let empty = program.list("/moved");
    assert!(!empty.contains("renamed"), "{empty}");
    program.rmdir("/moved");
    assert!(!place.has_folder("moved"));
}

/// A tree whose folders have no markers on S3 is removed as the program does it: what is in a folder, and then the folder.
#[track_caller]
pub fn check_tree_removal(place: &Place, remove: impl Fn(&str)) {
    for name in ["gone/one", "gone/deep/er/two", "gone/deep/three", "gone/beside/four", "stays/five"] {
        place.write(name, b"x");
    }
    remove("/gone");
    assert!(!place.has_folder("gone") && place.has("stays/five"));
}

/// An upload and a download that were cut off in the middle are resumed: only what is missing is sent.
#[track_caller]
pub fn check_resume(place: &Place, program: &impl Resumes) {
    let source = place.local("resumed");
    let whole = noise(LARGE, 77);
    fs::write(&source, &whole).unwrap();
    // FileZilla sets the time afterwards.
    set_mtime(&source, LONG_AGO);
    place.write("resumed", &whole[..PARTIAL]);
    program.reput(source.to_str().unwrap(), "/resumed");
    place.assert_holds("resumed", &source);
    let sent = transferred(place, "write", "bytes-in");
    assert!(sent < LARGE - PARTIAL as u64 + MIB, "{sent} bytes were sent: not resumed");
    let back = place.local("resumed-back");
    fs::write(&back, &whole[..PARTIAL]).unwrap();
    program.reget("/resumed", back.to_str().unwrap());
    assert_same_bytes(&back, &source);
    let sent = transferred(place, "read", "bytes-out");
    assert!(sent < LARGE - PARTIAL as u64 + MIB, "{sent} bytes came back: not resumed");
}

/// The bytes of the last transfer that has ended.
#[track_caller]
fn transferred(place: &Place, operation: &str, count: &str) -> u64 {
    place.gateway.events.until("end of a transfer", |events| {
        let ended = |event: &&serde_json::Value| {
            field(event, "operation") == operation && field(event, "activity-type").ends_with("CLOSE")
        };
        events.iter().rfind(ended).map(|event| field(event, count).parse().unwrap())
    })
}

/// A program that is asked to keep times does: in the store, and when it fetches the file.
#[track_caller]
pub fn check_upload_time(place: &Place, put: impl Fn(&str, &str)) {
    let source = place.local("timed");
    write_noise(&source, 40_000, 5);
    set_mtime(&source, LONG_AGO);
    put(source.to_str().unwrap(), "/timed");
    place.assert_holds("timed", &source);
    assert_eq!(place.mtime("timed"), LONG_AGO, "the time of the upload");
}

/// Of the file that [`check_upload_time`] has put there.
#[track_caller]
pub fn check_download_time(place: &Place, get: impl Fn(&str, &str)) {
    let back = place.local("timed-back");
    get("/timed", back.to_str().unwrap());
    assert_same_bytes(&back, &place.local("timed"));
    assert_eq!(mtime(&back), LONG_AGO, "the time of the download");
}

/// Both, for a program that keeps times whenever it is told to.
#[track_caller]
pub fn check_times(place: &Place, program: &impl Files) {
    check_upload_time(place, |local, remote| program.put(local, remote));
    check_download_time(place, |remote, local| program.get(remote, local));
}

/// A path of the client's side, as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
