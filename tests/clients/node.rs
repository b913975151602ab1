//! Node's ssh2.

use std::path::Path;

use crate::checks::{
    LARGE, check_download_time, check_files, check_names, check_resume, check_trees, check_upload_time, text,
};
use crate::place::{Place, on_each_store};
use crate::scripted::Scripted;
use crate::support::data::write_noise;
use crate::support::process::{program, tool};

pub fn node_at(place: &Place) -> Scripted {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node_client.js");
    let mut command = program("node");
    command.env("NODE_PATH", tool("node/node_modules")).arg(script);
    Scripted::start(command.args([&place.port(), "alice"]).arg(&place.key.private))
}

#[test]
fn node_ssh2() {
    on_each_store(|place| {
        let node = node_at(place);
        check_files(place, &node);
        check_trees(place, &node);
        check_names(place, &node);
        check_resume(place, &node);
        check_upload_time(place, |local, remote| drop(node.run(&["put_timed", local, remote])));
        check_download_time(place, |remote, local| drop(node.run(&["get_timed", remote, local])));
        let (source, back) = (place.local("source"), place.local("back"));
        write_noise(&source, LARGE, 11);
        node.run(&["at_once", text(&source), "/at-once", text(&back)]);
        place.assert_holds("at-once", &source);
        node.run(&["ranges", text(&source), "/at-once"]);
        node.run(&["append", "/appended"]);
        place.assert_holds_bytes("appended", b"onetwothree");
        node.run(&["extensions", "/extended"]);
        place.assert_holds_bytes("extended.copy", b"new");
        node.finish();
        place.assert_all_closed();
    });
}
