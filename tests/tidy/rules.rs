//! Each rule catches what it is for, and lets its neighbours pass.

use std::collections::BTreeMap;

use super::*;

fn breaches(file: &str, body: &str) -> Vec<String> {
    let text = format!("//! A file.\n{body}");
    check_source(file, &text).into_iter().map(|b| format!("{}: {}", b.line, b.what)).collect()
}

#[track_caller]
fn assert_breach(file: &str, body: &str, expected: &str) {
    let found = breaches(file, body);
    assert!(found.iter().any(|b| b.contains(expected)), "no {expected:?} in {found:?}");
}

#[track_caller]
fn assert_clean(file: &str, body: &str) {
    assert_eq!(breaches(file, body), Vec::<String>::new());
}

#[test]
fn an_import_upwards_is_caught_in_every_form() {
    for import in [
        "use crate::session::Session;",
        "use crate::{path::LogicalPath, session::{Session, Transfer}};",
        "use {std::fmt, crate::session};",
        "pub use crate::session as door;",
        "fn f() { crate::session::open(); }",
        "fn f(s: &crate::session::Session) {}",
        "use super::super::session::Session;",
        "macro_rules! m { () => { $crate::session::open() } }",
        "#[cfg(unix)]\nuse crate::session::Session;",
        "#[cfg(not(test))]\nuse crate::session::Session;",
    ] {
        assert_breach("src/vfs/read.rs", import, "`vfs` may not import `session`");
    }
    assert_breach("src/vfs/mod.rs", "use super::session::Session;", "`vfs` may not import `session`");
    assert_breach("src/metrics.rs", "use super::audit;", "`metrics` may import no module, not `audit`");
}

#[test]
fn a_sibling_is_caught() {
    assert_breach("src/sftp/mod.rs", "use crate::scp;", "`sftp` may not import `scp`");
    assert_breach("src/sftp/mod.rs", "use crate::vfs::Vfs;", "`sftp` may not import `vfs`");
    assert_breach("src/main.rs", "use lockgate::vfs::Vfs;", "`main` may not import `vfs`");
    assert_clean("src/main.rs", "use lockgate::internals::cli;");
}

#[test]
fn the_line_is_that_of_the_name() {
    assert_eq!(
        check_source("src/policy/mod.rs", "//! A file.\n\n/* two\nlines */ use crate::{\n    path,\n    vfs,\n};\n"),
        vec![Breach {
            file: "src/policy/mod.rs".into(),
            line: 6,
            what: "`policy` may not import `vfs`, only path".into()
        }]
    );
}

#[test]
fn allowed_imports_pass() {
    assert_clean("src/vfs/read.rs", "use crate::{path::LogicalPath, stores::{Key, session}};\nuse super::write;");
    assert_clean("src/vfs/read.rs", "use crate::vfs::Writer; pub(crate) fn f() {} pub(in crate::vfs) fn g() {}");
    assert_clean("src/vfs/read.rs", "fn f() { self::session::x(); other::session::y(); }");
    assert_clean("src/lib.rs", "mod vfs; pub use crate::session::Session;");
}

#[test]
fn comments_strings_and_tests_do_not_count() {
    assert_clean("src/vfs/read.rs", "// use crate::session;\n/* crate::session::x /* nested */ todo!() */");
    assert_clean("src/vfs/read.rs", r###"const A: &str = "crate::session::x \" todo!()";"###);
    assert_clean("src/vfs/read.rs", r####"const A: &str = r##"crate::session "# todo!()"##;"####);
    assert_clean("src/vfs/read.rs", "#[cfg(test)]\nmod tests { use crate::session::Session; fn f() { x.unwrap(); } }");
    assert_clean("src/vfs/read.rs", "#[cfg(test)]\nuse crate::session::Session;\nfn f() {}");
    assert_clean("src/vfs/tests.rs", "use crate::session::Session; fn f() { todo!() }");
    assert_clean("src/vfs/tests/read.rs", "use crate::session::Session;");
}

#[test]
fn a_module_for_tests_only_may_lie_in_a_file_of_its_own() {
    let text = "//! A file.\n#[cfg(test)]\npub(crate) mod testing;\nmod read;\n#[cfg(test)]\nmod inline { }\n";
    assert_eq!(test_modules("src/session/mod.rs", text), ["src/session/testing"]);
    assert_eq!(test_modules("src/session.rs", text), ["src/session/testing"]);
    assert_eq!(test_modules("src/lib.rs", text), ["src/testing"]);
    assert!(is_of_module("src/session/testing.rs", "src/session/testing"));
    assert!(is_of_module("src/session/testing/home.rs", "src/session/testing"));
    assert!(!is_of_module("src/session/testing_ground.rs", "src/session/testing"));
}

#[test]
fn what_follows_a_comment_string_or_test_counts() {
    let import = "use crate::session::Session;";
    for before in [
        "/* a */",
        "// a\n",
        "const A: &str = \"\\\\\";",
        "const A: char = '\"';",
        "const A: char = '\\'';",
        "fn f<'a>(x: &'a str) {}",
        "const A: &[u8] = br#\"\"\"#;",
        "const A: &str = \"two\nlines\";",
        "#[cfg(test)]\nmod tests;\n",
        "#[cfg(test)]\nmod tests { fn f() { let x = [1; 3]; } }\n",
    ] {
        assert_breach("src/vfs/read.rs", &format!("{before} {import}"), "`vfs` may not import `session`");
    }
}

#[test]
fn crates_stay_in_their_modules() {
    assert_breach("src/session/mod.rs", "use russh::server;", "`russh` is for ssh, stores only");
    assert_breach("src/session/mod.rs", "use russh;", "`russh` is for ssh, stores only");
    assert_breach("src/session/mod.rs", "fn f() { ::russh::x(); }", "`russh` is for ssh, stores only");
    assert_breach("src/sftp/mod.rs", "use object_store::ObjectStore;", "`object_store` is for stores, vfs");
    assert_breach("src/users/file.rs", "use serde_saphyr as yaml;", "`serde_saphyr` is for config only");
    assert_breach("src/gateway.rs", "fn f() -> anyhow::Result<()> { Ok(()) }", "`anyhow` is for cli, main only");
    assert_clean("src/ssh/handler.rs", "use russh::server;");
    assert_clean("src/vfs/mod.rs", "use object_store::ObjectStore;");
    assert_clean("src/session/mod.rs", "fn f() { let russh = 1; x::russh::y(); }");
}

#[test]
fn unfinished_and_panicking_code_is_caught() {
    assert_breach("src/vfs/read.rs", "fn f() { todo!() }", "`todo!`");
    assert_breach("src/vfs/read.rs", "fn f() { unimplemented!(\"later\") }", "`unimplemented!`");
    assert_breach("src/vfs/read.rs", "fn f() { dbg!(1); }", "`dbg!`");
    assert_breach("src/vfs/read.rs", "fn f() { x.unwrap(); }", "`.unwrap(`");
    assert_breach("src/vfs/read.rs", "fn f() { x\n.expect(\"y\"); }", "`.expect(`");
    assert_breach("src/audit/sink.rs", "fn f() { println!(\"{}\", 1); }", "standard output belongs to the events");
    assert_breach("src/vfs/read.rs", "fn f() { x.expect(&format!(\"{}\", f(a, b)),); }", "`.expect(`");
    assert_clean("src/vfs/read.rs", "fn f() { self.expect(\"list\", \"\", ask)?; }");
    assert_clean("src/cli/mod.rs", "fn f() { println!(\"{}\", 1); }");
    assert_clean("src/vfs/read.rs", "fn f() { x.unwrap_or(1); x.unwrap_or_default(); let todo = !x; eprintln!(); }");
}

#[test]
fn headers_lengths_and_names_are_checked() {
    let what =
        |file: &str, text: &str| -> Vec<String> { check_source(file, text).into_iter().map(|b| b.what).collect() };
    assert_eq!(what("src/path.rs", "use std::fmt;\n"), ["the file does not start with a `//!` header"]);
    assert_eq!(what("src/path.rs", &format!("//! A file.\n{}", "\n".repeat(599))), Vec::<String>::new());
    assert!(what("src/path.rs", &format!("//! A file.\n{}", "\n".repeat(600)))[0].starts_with("601 lines"));
    assert_breach("src/vfs/util.rs", "", "`util.rs` says nothing");
    assert_breach("src/vfs/common/mod.rs", "", "`common` says nothing");
    assert_breach("src/vfs/mod.rs", "mod helpers { }", "`mod helpers` says nothing");
}

#[test]
fn modules_stand_in_the_order_of_their_layers() {
    let list = |text: &str| -> Vec<String> { check_module_list(text).into_iter().map(|b| b.what).collect() };
    assert_eq!(list("pub mod metrics; pub mod path; pub mod policy; mod vfs; mod session;"), Vec::<String>::new());
    assert_eq!(list("pub mod policy; pub mod path;"), ["`path` (layer 0) stands below layer 1"]);
    assert_eq!(list("pub mod plumbing;"), ["`plumbing` has no place in the table of layers"]);
    assert_breach("src/plumbing/mod.rs", "use crate::path::LogicalPath;", "has no place in the table");
}

#[test]
fn the_table_points_downwards() {
    let layers: BTreeMap<&str, u8> = LAYERS.iter().map(|(layer, module, _)| (*module, *layer)).collect();
    for (layer, module, allowed) in LAYERS {
        for target in *allowed {
            let below = layers.get(target).is_some_and(|below| below <= layer);
            assert!(below, "`{module}` (layer {layer}) may import `{target}`, which is above it or unknown");
        }
    }
}
