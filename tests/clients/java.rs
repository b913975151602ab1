//! JSch, which most Java programs that speak SFTP use.

use std::path::Path;

use crate::checks::{
    LARGE, check_download_time, check_files, check_names, check_resume, check_trees, check_upload_time, text,
};
use crate::place::{Place, on_each_store};
use crate::scripted::Scripted;
use crate::support::data::write_noise;
use crate::support::process::{program, tool};

pub fn jsch_at(place: &Place) -> Scripted {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/JschClient.java");
    let mut command = program("java");
    // Names are UTF-8 whatever the locale is.
    command.args(["-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8"]).env("LC_ALL", "C.UTF-8");
    command.arg("-cp").arg(tool("java/jsch.jar")).arg(source);
    Scripted::start(command.args([&place.port(), "alice"]).arg(&place.key.private).arg(place.gateway.known_hosts()))
}

#[test]
fn jsch() {
    on_each_store(|place| {
        let jsch = jsch_at(place);
        check_files(place, &jsch);
        check_trees(place, &jsch);
        check_names(place, &jsch);
        check_resume(place, &jsch);
        check_upload_time(place, |local, remote| drop(jsch.run(&["put_timed", local, remote])));
        check_download_time(place, |remote, local| drop(jsch.run(&["get_timed", remote, local])));
        let source = place.local("source");
        write_noise(&source, LARGE, 12);
        jsch.run(&["stream", text(&source), "/stream"]);
        place.assert_holds("stream", &source);
        std::fs::write(&source, "more").unwrap();
        place.write("appended", b"some ");
        jsch.run(&["append", text(&source), "/appended"]);
        place.assert_holds_bytes("appended", b"some more");
        assert_eq!(jsch.run(&["attributes", "/appended"]).trim(), "-rw-r--r-- / true");
        let folder = place.setup.subfolder("many");
        jsch.run(&["mget", "/app*", text(&folder)]);
        assert_eq!(std::fs::read(folder.join("appended")).unwrap(), b"some more");
        jsch.finish();
        place.assert_all_closed();
    });
}
