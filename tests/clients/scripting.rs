//! Ruby's net-sftp, and Perl's Net::SFTP::Foreign.

use std::path::Path;
use std::process::Command;

use crate::checks::{check_library, check_resume, check_trees, text};
use crate::place::{Place, on_each_store};
use crate::scripted::Scripted;
use crate::support::data::write_noise;
use crate::support::process::program;

fn script(interpreter: &str, name: &str) -> Command {
    let mut command = program(interpreter);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name));
    // Names are bytes, whatever the locale is.
    command.env("LC_ALL", "C.UTF-8");
    command
}

fn net_sftp_at(place: &Place) -> Scripted {
    let mut command = script("ruby", "net_sftp_client.rb");
    Scripted::start(command.args([&place.port(), "alice"]).arg(&place.key.private))
}

#[test]
fn ruby_net_sftp() {
    on_each_store(|place| {
        let net_sftp = net_sftp_at(place);
        check_library(place, &net_sftp);
        check_trees(place, &net_sftp);
        net_sftp.run(&["write_lines", "/lines"]);
        assert!(place.has("lines"));
        net_sftp.finish();
        place.assert_all_closed();
    });
}

pub fn net_sftp_foreign_at(place: &Place) -> Scripted {
    let mut command = script("perl", "net_sftp_foreign_client.pl");
    Scripted::start(command.args([&place.port(), "alice"]).arg(&place.key.private).arg(place.gateway.known_hosts()))
}

#[test]
fn perl_net_sftp_foreign() {
    on_each_store(|place| {
        let foreign = net_sftp_foreign_at(place);
        check_library(place, &foreign);
        check_trees(place, &foreign);
        check_resume(place, &foreign);
        foreign.run(&["write_lines", "/lines"]);
        assert!(place.has("lines"));
        let source = place.local("beside");
        for round in 0..2 {
            write_noise(&source, 100_000, round);
            foreign.run(&["put_beside", text(&source), "/beside"]);
            place.assert_holds("beside", &source);
        }
        foreign.finish();
        place.assert_all_closed();
    });
}
