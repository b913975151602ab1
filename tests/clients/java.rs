//! JSch, which most Java programs that speak SFTP use, and Apache MINA SSHD.

use std::path::Path;
use std::process::Command;

use crate::checks::{
    LARGE, check_download_time, check_files, check_names, check_resume, check_times, check_trees, check_upload_time,
    text,
};
use crate::place::{Place, on_each_store};
use crate::scripted::Scripted;
use crate::support::data::write_noise;
use crate::support::process::{program, tool};

fn java(source: &str) -> Command {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(source);
    let mut command = program("java");
    // Names are UTF-8 whatever the locale is.
    command.args(["-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8"]).env("LC_ALL", "C.UTF-8");
    let jars = ["jsch", "sshd-osgi", "sshd-sftp", "slf4j-api", "jcl-over-slf4j"];
    let jars = jars.map(|jar| text(&tool(&format!("java/{jar}.jar"))).to_owned());
    command.arg("-cp").arg(jars.join(":")).arg(source);
    command
}

pub fn jsch_at(place: &Place) -> Scripted {
    let mut command = java("JschClient.java");
    Scripted::start(command.args([&place.port(), "alice"]).arg(&place.key.private).arg(place.gateway.known_hosts()))
}

pub fn mina_at(place: &Place) -> Scripted {
    let mut command = java("MinaClient.java");
    Scripted::start(command.args([&place.port(), "alice"]).arg(&place.second_key.private))
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

#[test]
fn mina_sshd() {
    on_each_store(|place| {
        let mina = mina_at(place);
        check_files(place, &mina);
        check_trees(place, &mina);
        check_names(place, &mina);
        check_resume(place, &mina);
        check_times(place, &mina);
        mina.run(&["random", "/random"]);
        place.assert_holds_bytes("random", b"012XX5");
        mina.run(&["streams", "/streams"]);
        assert!(place.has("streams.replaced") && !place.has("streams"));
        mina.finish();
        place.assert_all_closed();
    });
}
