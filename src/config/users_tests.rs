//! What a user of the configuration may have beside keys, and who vouches for keys.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::tests::{KEY, assert_problems, read_text, with, with_user};
use crate::users::SourceSettings;

#[test]
fn the_bounds_of_a_user_are_read() {
    let user = |more: &str| {
        with_user(&format!("{{ name: a, public_keys: [\"{KEY}\"], {more}, home: [{{ entry: /, target: local:/ }}] }}"))
    };
    let settings = read_text(&user("expires: 2027-12-31, allow_from: [10.0.0.0/8, \"::1\"], sessions: 3")).unwrap();
    let bounds = &settings.users[0].bounds;
    assert_eq!(bounds.expires.unwrap().to_rfc3339(), "2027-12-31T00:00:00+00:00");
    assert_eq!(bounds.allow_from.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
    assert_eq!(bounds.sessions, Some(3));
    let settings = read_text(&user("expires: \"2027-12-31T18:00:00+02:00\"")).unwrap();
    assert_eq!(settings.users[0].bounds.expires.unwrap().to_rfc3339(), "2027-12-31T16:00:00+00:00");
    assert_problems(
        &user("expires: tomorrow, allow_from: [10.0.0.1/8, example.org], sessions: 0, principals: [\"\", b]"),
        &[
            ("users[0].expires", "neither a date nor a time"),
            ("users[0].allow_from[0]", "write 10.0.0.0/8"),
            ("users[0].allow_from[1]", "not an IP address"),
            ("users[0].sessions", "must be from 1 to"),
            ("users[0].principals[0]", "a name in a certificate"),
        ],
    );
    for wrong in ["2027-13-01", "2027-12-31 ", "2027-12-31T18:00:00", "31.12.2027"] {
        assert_problems(&user(&format!("expires: \"{wrong}\"")), &[("users[0].expires", "neither")]);
    }
    assert_problems(
        &user("allow_from: [], principals: []"),
        &[("users[0].allow_from", "is empty"), ("users[0].principals", "is empty")],
    );
}

#[test]
fn an_authority_stands_in_for_keys() {
    let home = "home: [{ entry: /, target: local:/ }]";
    let trusting = |authorities: &str, user: &str| {
        with(&format!("trusted_user_ca_keys: [{authorities}]\nusers:\n  - {{ name: a, {user} {home} }}\n"))
    };
    let settings = read_text(&trusting(&format!("\"{KEY}\""), "principals: [a, b],")).unwrap();
    assert_eq!(settings.authorities.len(), 1);
    assert_eq!(settings.users[0].principals, ["a", "b"]);
    let of_one = format!("public_keys: ['cert-authority,principals=\"x\" {KEY}'],");
    let settings = read_text(&trusting("", &of_one)).unwrap();
    assert!(settings.users[0].keys[0].is_authority());
    assert_problems(&trusting("", ""), &[("users[0]", "there are no public_keys")]);
    assert_problems(
        &trusting(&format!("'cert-authority {KEY}', rubbish"), ""),
        &[
            ("trusted_user_ca_keys[0]", "every key in this list is an authority's"),
            ("trusted_user_ca_keys[1]", "not a supported key type"),
        ],
    );
}

#[test]
fn a_folder_of_keys_lies_in_no_home_that_may_write() {
    let text = |folder: &str, target: &str, permissions: &str| {
        let home = format!("home: [{{ entry: /, target: \"{target}\", permissions: {permissions} }}]");
        with(&format!("users: []\nusers_from: {{ keys: \"{folder}\", {home} }}\n"))
    };
    let mistake = [("users_from.keys", "let anybody log in")];
    for (folder, target) in [
        ("local:/keys", "local:/"),
        ("local:/home/keys", "local:/home/${user}"),
        ("local:/keys", "local:/keys/${user}"),
    ] {
        assert_problems(&text(folder, target, "write_only"), &mistake);
        read_text(&text(folder, target, "read_only")).unwrap();
    }
    read_text(&text("local:/keys", "local:/home/${user}", "read_write")).unwrap();
    let user = with_user(&format!("{{ name: a, public_keys: [\"{KEY}\"], home: [{{ entry: /, target: local:/ }}] }}"));
    let with_keys =
        format!("{user}users_from: {{ keys: local:/keys, home: [{{ entry: /, target: \"local:/h/${{user}}\" }}] }}\n");
    assert_problems(&with_keys, &mistake);
}

#[test]
fn secrets_of_one_time_codes_are_read_and_not_shown() {
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let home = "home: [{ entry: /, target: local:/ }]";
    let user = |totp: &str| with_user(&format!("{{ name: a, public_keys: [\"{KEY}\"], totp: {totp}, {home} }}"));
    assert!(read_text(&user(SECRET)).unwrap().users[0].totp.secret().is_some());
    assert!(read_text(&user("null")).unwrap().users[0].totp.secret().is_none());
    for (wrong, why) in [("hunter2hunter2hunter2hunter2", "base32"), ("hunter2", "base32"), ("22222222", "bits")] {
        assert_problems(&user(wrong), &[("users[0].totp", why)]);
        assert!(!read_text(&user(wrong)).unwrap_err().to_string().contains(wrong), "{wrong}");
    }
    let folder = |more: &str| {
        let home = "home: [{ entry: /, target: \"local:/home/${user}\" }]";
        with(&format!("users: []\nusers_from: {{ keys: local:/keys, {more}, {home} }}\n"))
    };
    let settings = read_text(&folder(&format!("totp: {{ ann: {SECRET} }}, require_totp: true"))).unwrap();
    let SourceSettings::Keys(keys) = &settings.users_from[0] else { panic!("a folder") };
    assert!(keys.template.totp.contains_key("ann") && keys.template.require_totp);
    assert_problems(
        &folder(&format!("totp: {{ Ann: {SECRET}, ben: AAAA }}")),
        &[("users_from.totp.Ann", "no file NAME.pub"), ("users_from.totp.ben", "bits")],
    );
}
