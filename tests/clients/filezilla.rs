//! FileZilla's engine, `fzsftp`, with the commands that FileZilla gives it.

use crate::checks::{check_files, check_names, check_resume, check_times, check_trees};
use crate::place::{Place, on_each_store};
use crate::putty::Putty;
use crate::scripted::Scripted;
use crate::support::process::{python, tool};

pub fn filezilla_at(place: &Place) -> Scripted {
    let mut command = python("filezilla_client.py");
    let key = Putty::new(place).key;
    Scripted::start(command.arg(tool("fzsftp")).args([&place.port(), "alice"]).arg(key))
}

#[test]
fn filezilla() {
    on_each_store(|place| {
        let filezilla = filezilla_at(place);
        check_files(place, &filezilla);
        check_trees(place, &filezilla);
        check_names(place, &filezilla);
        for entry in filezilla.run(&["list", "/"]).lines().filter(|entry| entry.starts_with('-')) {
            // A time that is not known would show as this.
            assert!(!entry.contains("1970"), "{entry}");
        }
        check_resume(place, &filezilla);
        check_times(place, &filezilla);
        filezilla.finish();
    });
}
