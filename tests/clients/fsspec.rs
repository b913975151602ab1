//! fsspec, through which Python's data libraries see a home. It speaks SFTP with paramiko.

use crate::checks::{check_library, check_trees};
use crate::place::on_each_store;
use crate::python::python_at;

#[test]
fn fsspec() {
    on_each_store(|place| {
        let fsspec = python_at(place, "fsspec_client.py");
        check_library(place, &fsspec);
        check_trees(place, &fsspec);
        fsspec.run(&["ask", "/asked"]);
        place.assert_holds_bytes("asked/deep/er/file", b"0123456789");
        fsspec.run(&["write_in_a_transaction", "/whole"]);
        place.assert_holds_bytes("whole", b"all of it");
        fsspec.finish();
        place.assert_all_closed();
    });
}
