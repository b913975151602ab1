//! What the decision must say, by table.

use super::*;

fn path(text: &str) -> LogicalPath {
    LogicalPath::parse_str(text).unwrap()
}

fn rules(entries: &[(&str, Permissions)]) -> Rules {
    Rules::new(entries.iter().map(|(e, p)| (path(e), *p)).collect())
}

#[test]
fn the_most_specific_entry_wins() {
    let rules = rules(&[
        ("/", Permissions::READ_WRITE),
        ("/reports", Permissions::READ_ONLY),
        ("/reports/in", Permissions::WRITE_ONLY),
    ]);
    assert_eq!(decide(&rules, Operation::Create, &path("/a")), Decision::Allow);
    assert_eq!(decide(&rules, Operation::Create, &path("/reports/a")), Decision::Deny);
    assert_eq!(decide(&rules, Operation::Read, &path("/reports/a")), Decision::Allow);
    assert_eq!(decide(&rules, Operation::Create, &path("/reports/in/a")), Decision::Allow);
    assert_eq!(decide(&rules, Operation::Read, &path("/reports/in/a")), Decision::Deny);
    assert_eq!(decide(&rules, Operation::List, &path("/reports/in")), Decision::Deny);
    assert_eq!(decide(&rules, Operation::Stat, &path("/reports/in/a")), Decision::Allow);
    assert_eq!(decide(&rules, Operation::Read, &path("/reportsx")), Decision::Allow);
}

#[test]
fn a_path_that_no_entry_covers_does_not_exist() {
    let rules = rules(&[("/in/a", Permissions::READ_WRITE)]);
    assert_eq!(decide(&rules, Operation::Stat, &path("/other")), Decision::Hidden);
    assert_eq!(decide(&rules, Operation::Read, &path("/in/b")), Decision::Hidden);
    assert_eq!(decide(&rules, Operation::Create, &path("/in/b/c")), Decision::Hidden);
}

#[test]
fn a_virtual_parent_lists_and_accepts_nothing() {
    let rules = rules(&[("/in/a", Permissions::READ_WRITE)]);
    for parent in ["/", "/in"] {
        assert_eq!(decide(&rules, Operation::Stat, &path(parent)), Decision::Allow);
        assert_eq!(decide(&rules, Operation::List, &path(parent)), Decision::Allow);
        assert_eq!(decide(&rules, Operation::RemoveDirectory, &path(parent)), Decision::Virtual);
    }
    assert_eq!(decide(&rules, Operation::Create, &path("/in/b")), Decision::Virtual);
    assert_eq!(decide(&rules, Operation::MakeDirectory, &path("/new")), Decision::Virtual);
}

#[test]
fn entries_cannot_be_removed_or_renamed() {
    let rules = rules(&[("/", Permissions::READ_WRITE), ("/a/b", Permissions::READ_WRITE)]);
    for fixed in ["/", "/a", "/a/b"] {
        for operation in [Operation::Delete, Operation::RemoveDirectory, Operation::Rename] {
            assert_eq!(decide(&rules, operation, &path(fixed)), Decision::Virtual, "{operation:?} {fixed}");
        }
    }
    assert_eq!(decide(&rules, Operation::Rename, &path("/a/c")), Decision::Allow);
}

#[test]
fn each_operation_needs_its_permission() {
    let needs = [
        (Operation::List, Permission::List),
        (Operation::Read, Permission::Read),
        (Operation::Create, Permission::Write),
        (Operation::Overwrite, Permission::Overwrite),
        (Operation::Delete, Permission::Delete),
        (Operation::RemoveDirectory, Permission::Delete),
        (Operation::Rename, Permission::Rename),
        (Operation::MakeDirectory, Permission::Mkdir),
        (Operation::SetAttributes, Permission::Overwrite),
    ];
    let needs_one = needs.map(|(operation, needed)| (operation, vec![needed])).into_iter().chain([
        (Operation::Stat, Permission::ALL.to_vec()),
        (Operation::SeeFile, vec![Permission::List, Permission::Read, Permission::Overwrite]),
        (Operation::SetOwnAttributes, vec![Permission::Write, Permission::Overwrite, Permission::Mkdir]),
    ]);
    let needs_one: Vec<_> = needs_one.collect();
    assert_eq!(needs_one.len(), Operation::ALL.len());
    for (operation, needed) in needs_one {
        for permission in Permission::ALL {
            let rules = rules(&[("/", Permissions::NONE.with(permission))]);
            let expected = if needed.contains(&permission) { Decision::Allow } else { Decision::Deny };
            assert_eq!(decide(&rules, operation, &path("/x")), expected, "{operation:?} {permission:?}");
        }
    }
}

#[test]
fn permission_names_are_those_of_the_contract() {
    for name in ["list", "read", "write", "overwrite", "delete", "rename", "mkdir"] {
        assert_eq!(Permission::from_name(name).unwrap().name(), name);
    }
    assert_eq!(Permission::from_name("execute"), None);
    assert!(!Permissions::READ_ONLY.can_change());
    assert!(Permissions::WRITE_ONLY.can_change());
}
