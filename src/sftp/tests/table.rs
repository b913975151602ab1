//! The table of requests: it is what is documented, what is granted, and what is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::pipe::Client;
use super::request::golden;
use super::string;
use crate::path::LogicalPath;
use crate::policy::{self, Decision, Permission, Permissions, Rules};
use crate::session::testing::Home;
use crate::session::{AttributeChange, ErrorKind, Operation, Operations};
use crate::sftp::table::{Effect, Order, RequestKind, advertised_extensions};

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PROTOCOL.md")).unwrap()
}

/// The rows of the tables in a section, without their heads.
fn rows(section: &str) -> Vec<String> {
    let document = document();
    let (_, after) = document.split_once(&format!("\n## {section}\n")).expect("the section");
    let text = after.split("\n## ").next().unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.skip(2).map(str::to_owned).collect()
}

/// The words of the first column.
fn first_words(rows: &[String]) -> Vec<String> {
    let cells = rows.iter().map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split(',').map(|word| word.trim().trim_matches('`').to_owned())).collect()
}

/// The permission's name in the configuration.
fn words(operations: &[Operation]) -> String {
    let word = |operation: &Operation| match operation {
        Operation::Stat => "any",
        Operation::List => "`list`",
        Operation::Read => "`read`",
        Operation::Create => "`write`",
        Operation::Overwrite => "`overwrite`",
        Operation::Delete | Operation::RemoveDirectory => "`delete`",
        Operation::Rename => "`rename`",
        Operation::MakeDirectory => "`mkdir`",
        Operation::SeeFile => "*see*",
        Operation::SetOwnAttributes => "`write`, `overwrite` or `mkdir`",
        Operation::SetAttributes => "`overwrite`",
    };
    operations.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn row_of(kind: RequestKind) -> String {
    let line = kind.line();
    let order = match line.order {
        Order::Handle(_) => "its handle",
        Order::TwoHandles(_) => "both handles",
        Order::Path(Effect::Looks, _) => "paths: looks",
        Order::Path(Effect::Changes, _) => "paths: changes",
        Order::Path(Effect::Opens, _) => "paths: opens",
        Order::None(_) => "nothing",
    };
    let is_extension = line.name.contains(['-', '@']);
    let name = if is_extension { format!("`{}`", line.name) } else { line.name.to_owned() };
    let cells = [name, words(line.asks.always), words(line.asks.also), order.to_owned()];
    format!("| {} |", cells.join(" | ")).replace("|  |", "| |").replace("|  |", "| |")
}

#[test]
fn the_table_of_the_document_is_the_table() {
    let wanted: Vec<String> = RequestKind::all().map(row_of).collect();
    assert_eq!(rows("What each request asks and waits for"), wanted, "wanted:\n{}", wanted.join("\n"));
}

#[test]
fn every_request_is_described_and_nothing_else_is() {
    let mut described: BTreeSet<String> = first_words(&rows("Requests")).into_iter().collect();
    assert!(described.remove("INIT"), "the only packet of a client that is no request");
    let extensions = first_words(&rows("Extensions"));
    let advertised: Vec<_> = advertised_extensions().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(extensions.iter().collect::<BTreeSet<_>>(), advertised.iter().collect(), "what VERSION names");
    for row in rows("Extensions") {
        let version = row.split('|').nth(2).unwrap().trim();
        for name in first_words(std::slice::from_ref(&row)) {
            assert!(advertised_extensions().any(|known| known == (&*name, version)), "{name} {version}");
        }
    }
    described.extend(extensions);
    let document = document();
    for kind in RequestKind::all() {
        let name = kind.line().name;
        // Two are told of in the text: the requests of `check-file`, and what is always refused.
        let is_told = described.remove(name) || document.contains(&format!("`{name}`"));
        assert!(is_told || name == "unknown", "{name} is nowhere");
    }
    assert!(described.is_empty(), "unknown to the table: {described:?}");
    let names: Vec<_> = RequestKind::all().map(|kind| kind.line().name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name stands for one request");
}

#[tokio::test]
async fn every_request_is_counted_under_its_name() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let counts = || -> BTreeMap<&str, u64> {
        let names = RequestKind::all().map(|kind| kind.line().name);
        names.map(|name| (name, home.session().request_counter(name).get())).collect()
    };
    let mut wanted = counts();
    assert!(wanted.values().all(|count| *count == 0), "{wanted:?}");
    for (number, fields, _) in golden() {
        // Whole, and cut in its last byte.
        let last = fields.len().saturating_sub(1);
        for cut in [0, 1] {
            let fields: Vec<&[u8]> =
                fields.iter().map(Vec::as_slice).enumerate().fold(Vec::new(), |mut all, (n, field)| {
                    all.push(&field[..field.len() - if n == last && !field.is_empty() { cut } else { 0 }]);
                    all
                });
            let before = counts();
            client.call(number, &fields).await;
            let after = counts();
            let changed: Vec<_> = after.iter().filter(|(name, count)| **count != before[*name]).collect();
            assert!(changed.len() == 1 && *changed[0].1 == before[changed[0].0] + 1, "{number}: {changed:?}");
            *wanted.get_mut(changed[0].0).unwrap() += 1;
        }
    }
    assert_eq!(counts(), wanted);
    assert!(wanted.values().all(|count| *count > 0), "each was asked: {wanted:?}");
}

/// Each request on a path, for a user with each single permission: it is denied where the policy denies what its line always
/// asks, and nowhere else. (OPEN's flags say what it asks; links are always refused.)
#[tokio::test]
async fn requests_are_granted_what_their_lines_ask() {
    let times = [8, 5, 5].map(u32::to_be_bytes).concat();
    let digest = [string("md5"), vec![0; 20]].concat();
    let (f, d, g) = (string("/f"), string("/d"), string("/g"));
    // Each succeeds where it may.
    let requests: [(&str, u8, Vec<&[u8]>); 13] = [
        ("STAT", 17, vec![&f]),
        ("LSTAT", 7, vec![&f]),
        ("SETSTAT", 9, vec![&f, &times]),
        ("OPENDIR", 11, vec![&d]),
        ("REMOVE", 13, vec![&f]),
        ("MKDIR", 14, vec![&g, &[0; 4]]),
        ("RMDIR", 15, vec![&d]),
        ("RENAME", 18, vec![&f, &g]),
        ("posix-rename@openssh.com", 200, vec![&f, &g]),
        ("statvfs@openssh.com", 200, vec![&f]),
        ("lsetstat@openssh.com", 200, vec![&f, &times]),
        ("check-file-name", 200, vec![&f, &digest]),
        ("hardlink@openssh.com", 200, vec![&f, &g]),
    ];
    let on_paths = RequestKind::all().filter(|kind| matches!(kind.line().order, Order::Path(..)));
    for kind in on_paths.filter(|kind| !matches!(kind.line().name, "OPEN" | "SYMLINK")) {
        let name = kind.line().name;
        let (_, number, fields) = requests.iter().find(|request| request.0 == name).expect(name);
        let named = string(name);
        let head = if *number == 200 { &named[..] } else { &[] };
        let fields: Vec<&[u8]> = std::iter::once(head).chain(fields.iter().copied()).collect();
        for permission in Permission::ALL {
            let permissions = Permissions::NONE.with(permission);
            let rules = Rules::new(vec![(LogicalPath::root(), permissions)]);
            let path = LogicalPath::parse_str("/f").unwrap();
            let allowed = |operation: &Operation| policy::decide(&rules, *operation, &path) == Decision::Allow;
            let is_allowed = kind.line().asks.always.iter().all(allowed);

            let home = Home::new(&[("/", "", permissions)]).await;
            let owned = Home::over(home.store().clone(), &[("/", "", Permissions::READ_WRITE)]).await;
            let mut owner = Client::start(owned.session()).await;
            owner.put("/f", b"x").await;
            assert_eq!(owner.call(14, &[&d, &[0; 4]]).await.status(), 0);
            let answer = Client::start(home.session()).await.call(*number, &fields).await;
            let is_denied = answer.kind == 101 && answer.status() == 3;
            assert_eq!(is_denied, !is_allowed, "{name} with {permission:?}: {answer:?}");
        }
    }
}

/// What a line does not name is refused, whatever the user may do.
#[tokio::test]
async fn the_door_grants_a_request_no_more_than_its_line() {
    let home = Home::open().await;
    let whole = home.session();
    let path = LogicalPath::parse_str("/d").unwrap();
    let nothing = AttributeChange::default();
    for kind in RequestKind::all() {
        let session = whole.limited_to(kind.scope());
        let may_make = session.make_directory(&path, &nothing).await;
        let may_remove = session.remove_directory(&path).await;
        let denied = |result: Result<(), crate::session::SessionError>| matches!(result, Err(error) if error.kind == ErrorKind::Denied);
        assert_eq!(denied(may_make), kind.line().name != "MKDIR", "{kind:?}");
        assert_eq!(denied(may_remove), kind.line().name != "RMDIR", "{kind:?}");
        let _ = whole.remove_directory(&path).await;
    }
    let to_look = whole.limited_to(Operations::of(&[Operation::Stat]));
    assert!(to_look.stat(&LogicalPath::root()).await.is_ok());
    assert!(to_look.limited_to(Operations::ALL).remove_file(&path).await.is_err(), "nothing widens it again");
}
