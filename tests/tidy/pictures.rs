//! The pictures in the README against the page: whoever changes how the page looks makes them again.
//!
//! What counts are the sources that draw, without comments and white space. A digest of them lies beside the pictures.

use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

/// Where the digest is.
const MADE_OF: &str = "docs/pictures/made-of.sha256";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What makes the pictures and writes the digest.
const COMMAND: &str = "tests/pictures";

/// Sources of the page that draw nothing.
const UNSEEN: [&str; 2] = ["api.js", "export.js"];

#[test]
fn the_pictures_show_the_page_as_it_is() {
    let now = digest(&root().join("src/admin/page"));
    let file = root().join(MADE_OF);
    if std::env::var_os("LOCKGATE_PICTURES_MADE").is_some() {
        fs::write(&file, format!("{now}\n")).unwrap();
    }
    let made_of = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        made_of.trim() == now,
        "the page has changed since the pictures in docs/pictures were made: run {COMMAND}, look at them, and commit what is new"
    );
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for entry in fs::read_dir(root().join("docs/pictures")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            !name.ends_with(".png") || readme.contains(&format!("(docs/pictures/{name})")),
            "{name} is shown nowhere"
        );
    }
}

/// Of all that is drawn from.
fn digest(folder: &Path) -> String {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut digest = Context::new(&SHA256);
    for name in names.iter().filter(|name| !UNSEEN.contains(&name.as_str())) {
        digest.update(format!("{name}:{}\n", essence(&fs::read_to_string(folder.join(name)).unwrap())).as_bytes());
    }
    digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A source without what does not show: lines that are comments, and white space.
fn essence(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let is_comment = |line: &str| line.starts_with("//") || line.starts_with("/*") && line.ends_with("*/");
    let lines = lines.filter(|line| !is_comment(line));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn comments_and_spaces_do_not_show() {
    let one = "// A view.\nconst a = 1;\n\n  f(a);\n/* Colours */\n.a { color: red; }\n";
    let same = "const a = 1;\nf(a);\n  // Of another kind.\n.a  { color: red; }\n";
    assert_eq!(essence(one), essence(same));
    assert_ne!(essence(one), essence(&one.replace("red", "blue")));
}
