//! Tests of whole configuration files: what they become, and every problem at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::audit::{OnFailure, SinkTarget};
use crate::policy::{Permission, Permissions};
use crate::users::AuthMode;
use crate::vfs::PartialUploads;

pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI laptop";
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$3m4h7oR1kq9mJm2s0cQeXv8bB6uYt5wLzN1pDfGhIjA";

fn around(folder: &Path) -> Surroundings {
    Surroundings {
        folder: folder.to_owned(),
        host_name: "the-host".into(),
        look_at_files: false,
        others_read: false,
        in_force: InForce::default(),
    }
}

pub(crate) fn read_text(text: &str) -> Result<gateway::Settings, Problems> {
    read_in(text, Path::new("/etc/lockgate"), &[])
}

fn read_in(text: &str, folder: &Path, variables: &[(&str, &str)]) -> Result<gateway::Settings, Problems> {
    let environment = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let read = read_from(text, &around(folder), &environment, Problems::new(Path::new("config.yaml")));
    if read.is_ok() {
        schema::tests::assert_fits(text);
    }
    read
}

/// The problems as `place: text`, without lines.
#[track_caller]
pub(super) fn problems(text: &str) -> Vec<String> {
    let problems = read_text(text).expect_err("there is no problem");
    problems.list().iter().map(|p| Problem { line: None, ..p.clone() }.to_string()).collect()
}

/// Asserts that each of `wanted` (the start of a problem and words of its text) is found, and no more.
#[track_caller]
pub(super) fn assert_problems(text: &str, wanted: &[(&str, &str)]) {
    let found = problems(text);
    for (place, words) in wanted {
        let hit = found.iter().any(|p| p.starts_with(&format!("{place}: ")) && p.contains(words));
        assert!(hit, "{place}: …{words}… is not in\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), wanted.len(), "\n{}", found.join("\n"));
}

/// The least that is a configuration, with something more.
pub(super) fn with(more: &str) -> String {
    format!(
        "server: {{ listen: [\"127.0.0.1:2022\"], host_keys: [host_key] }}\n\
         stores: {{ local: {{ url: \"file:///data\" }} }}\n{more}"
    )
}

pub(super) fn with_user(user: &str) -> String {
    with(&format!("users:\n  - {}\n", user.replace('\n', "\n    ")))
}

#[test]
fn the_least_configuration_has_the_defaults() {
    let settings = read_text(&with("users: []")).unwrap();
    assert_eq!(settings.audit.server, "the-host");
    assert_eq!(settings.audit.resource_arn, "lockgate:server/the-host");
    assert!(matches!(
        settings.audit.sinks[..],
        [crate::audit::SinkSettings { target: SinkTarget::Stdout, on_failure: OnFailure::Refuse, .. }]
    ));
    assert_eq!(settings.ssh.listen, ["127.0.0.1:2022".parse().unwrap()]);
    assert_eq!(settings.ssh.host_keys, [Path::new("/etc/lockgate/host_key")]);
    assert_eq!(Some(settings.ssh.algorithms), crate::ssh::AlgorithmLists::of_policy("modern"));
    assert_eq!(settings.ssh.rekey, crate::ssh::RekeyLimits { data: 1 << 30, time: Duration::from_secs(3600) });
    assert_eq!(settings.ssh.banner, None);
    assert_eq!(settings.ssh.proxy_protocol, crate::ssh::ProxyProtocol::Off);
    assert_eq!(settings.ssh.defender, Some(crate::session::gate::DefenderSettings::default()));
    let limits = settings.ssh.limits;
    assert_eq!((limits.sessions, limits.unauthenticated, limits.auth_attempts), (10_000, 100, 6));
    assert_eq!(limits.login_grace, Duration::from_secs(30));
    assert_eq!((limits.idle, limits.stall), (Duration::from_secs(1800), Duration::from_secs(60)));
    assert_eq!(limits.drain, Duration::from_secs(60));
    assert_eq!(settings.transfers.transfer_memory, 512 << 20);
    assert_eq!(settings.transfers.staging, 10 << 30);
    assert_eq!(settings.transfers.staging_folder, std::env::temp_dir().join("lockgate-staging-the-host"));
    assert_eq!(settings.transfers.partial_uploads, PartialUploads::Discard);
    assert!(!settings.strict_setstat && settings.users.is_empty());
    assert_eq!(settings.stores[0].url, "file:///data");
}

#[test]
fn everything_that_stands_in_the_file_arrives() {
    let text = format!(
        r#"
server:
  name: edge-1
  listen: ["0.0.0.0:2022", "[::]:0"]
  host_keys: [/keys/a, keys/b]
  resource_arn: "arn:x"
  security_policy: ssh-audit
  macs: [hmac-sha2-256-etm@openssh.com]
  rekey: {{ data: 2MiB, time: 3m }}
  banner: "Hello\n"
  proxy_protocol: optional
  proxy_from: [10.0.0.0/8, "::1"]
defender: {{ points: 3, within: 2m, ban: 4s, longest_ban: 5h, allow: [], weights: {{ wrong_key: 2, refused: 0 }} }}
stores:
  local: {{ url: "file:data/files" }}
  lake: {{ url: "s3://bucket/prefix", options: {{ aws_region: eu-west-1, aws_allow_http: true, pool_max_idle_per_host: 30 }} }}
users:
  - name: user@x
    role: "arn:aws:iam::111:role/r"
    public_keys: ["{KEY}"]
    password_hash: "{HASH}"
    auth: public_key_and_password
    enabled: false
    home:
      - {{ entry: /, target: "local:/home/${{user}}" }}
      - {{ entry: /in, target: "lake:/", permissions: [list, write] }}
      - {{ entry: /out, target: "lake:/out/", permissions: read_only }}
      - {{ entry: /drop, target: "lake:/d/${{user}}/${{user}}.d", permissions: write_only }}
events:
  - {{ sink: stdout, on_failure: continue }}
  - {{ sink: file, path: log/events.ndjson }}
limits: {{ sessions: 5, unauthenticated: 6, connections_per_second: 7, login_grace: 7s, auth_attempts: 8, idle: 9m, stall: 10s, drain: 0s,
          transfer_memory: 16MiB, staging: 1GiB, staging_folder: /stage }}
partial_uploads: publish
setstat: strict
"#
    );
    let settings = read_in(&text, Path::new("/etc/my lock%gate"), &[]).unwrap();
    assert_eq!(settings.ssh.host_keys, [Path::new("/keys/a"), Path::new("/etc/my lock%gate/keys/b")]);
    assert_eq!(settings.ssh.listen.len(), 2);
    assert_eq!(settings.ssh.algorithms.macs, ["hmac-sha2-256-etm@openssh.com"]);
    assert_eq!(settings.ssh.rekey, crate::ssh::RekeyLimits { data: 2 << 20, time: Duration::from_secs(180) });
    assert_eq!(settings.ssh.banner.as_deref(), Some("Hello\n"));
    let networks = ["10.0.0.0/8", "::1"].map(|text| crate::users::Network::parse(text).unwrap());
    assert_eq!(settings.ssh.proxy_protocol, crate::ssh::ProxyProtocol::Optional(networks.to_vec()));
    let ignoring = text.replace("proxy_protocol: optional", "proxy_protocol: ignore");
    let ignoring = read_in(&ignoring, Path::new("/etc/my lock%gate"), &[]).unwrap();
    assert_eq!(ignoring.ssh.proxy_protocol, crate::ssh::ProxyProtocol::Ignored(networks.to_vec()));
    let defender = crate::session::gate::DefenderSettings {
        points: 3,
        within: Duration::from_secs(120),
        ban: Duration::from_secs(4),
        longest_ban: Duration::from_secs(5 * 3600),
        weights: crate::session::gate::Weights { wrong_key: 2, refused: 0, ..Default::default() },
        allow: Vec::new(),
    };
    assert_eq!(settings.ssh.defender, Some(defender));
    assert_eq!((settings.audit.server.as_str(), settings.audit.resource_arn.as_str()), ("edge-1", "arn:x"));
    assert_eq!(settings.audit.sinks[0].on_failure, OnFailure::Continue);
    let SinkTarget::File { path, .. } = &settings.audit.sinks[1].target else { panic!("{:?}", settings.audit) };
    assert_eq!(path, Path::new("/etc/my lock%gate/log/events.ndjson"));
    assert_eq!(settings.stores[0].url, "file:///etc/my%20lock%25gate/data/files");
    let options: Vec<_> = settings.stores[1].options.iter().map(|(k, v)| (k.as_str(), v.expose())).collect();
    assert_eq!(options, [("aws_region", "eu-west-1"), ("aws_allow_http", "true"), ("pool_max_idle_per_host", "30")]);
    let user = &settings.users[0];
    assert_eq!((&*user.name, user.role.as_deref()), ("user@x", Some("arn:aws:iam::111:role/r")));
    assert_eq!(user.keys[0].comment(), Some("laptop"));
    assert!(user.password.is_some() && !user.enabled);
    assert_eq!(user.auth, AuthMode::PublicKeyAndPassword);
    let home: Vec<_> = user.home.iter().map(|e| (e.entry.as_str(), e.store.as_str(), e.target.as_str())).collect();
    assert_eq!(
        home,
        [
            ("/", "local", "home/user@x"),
            ("/in", "lake", ""),
            ("/out", "lake", "out"),
            ("/drop", "lake", "d/user@x/user@x.d")
        ]
    );
    let permissions: Vec<_> = user.home.iter().map(|e| e.permissions).collect();
    let list_write = [Permission::List, Permission::Write].into_iter().collect();
    assert_eq!(permissions, [Permissions::READ_WRITE, list_write, Permissions::READ_ONLY, Permissions::WRITE_ONLY]);
    assert_eq!((settings.ssh.limits.sessions, settings.ssh.limits.drain), (5, Duration::ZERO));
    assert_eq!(settings.ssh.limits.connections_per_second, 7);
    assert_eq!(settings.transfers.staging_folder, Path::new("/stage"));
    assert_eq!(settings.transfers.partial_uploads, PartialUploads::Publish);
    assert!(settings.strict_setstat);
}

#[test]
fn every_problem_of_a_file_is_reported_at_once() {
    let text = format!(
        r#"
server:
  nam: edge-1
  listen: [2022, "localhost:2022", "0.0.0.0:2022", "0.0.0.0:2022"]
  host_keys: []
  security_policy: modren
  rekey: {{ data: 2GiB, time: 0s, packets: 9 }}
  banner: [a]
  proxy_protocol: required
  proxy_from: ["10.0.0.1/8"]
defender: {{ points: 0, ban: 2h, longest_ban: 1h, allow: [home], weights: {{ wrong_key: -1, crash: 3 }} }}
store: {{}}
stores:
  lake: {{ urll: "s3://b" }}
  "a b": {{ url: "ftp://x" }}
  local: {{ url: "file:///data", options: [a] }}
users:
  - name: root/x
    public_keys: ["ssh-rsa rubbish", 7]
    home: [{{ entry: relative, target: "lak:/x" }}, {{ entry: /a//b, target: "local:x", permissions: red_only }}]
  - {{ name: ann, auth: pubkey, home: [] }}
  - {{ name: ann, public_keys: ["{KEY}", "{KEY}"], enabled: yes,
      home: [{{ entry: /, target: "local:/${{usr}}" }}, {{ entry: /, target: "local:/a/../b", permissions: [lst, fly] }}] }}
  - just text
events:
  - {{ sink: fil }}
  - {{ sink: file }}
  - {{ sink: stdout, path: x }}
limits: {{ sessions: 0, idle: 30, login_grace: 1w, transfer_memory: 1MiB, staging: 10GB, burst: 3, drain: null }}
partial_uploads: keep
setstat: true
"#
    );
    assert_problems(
        &text,
        &[
            ("server.nam", "unknown key; did you mean \"name\"?"),
            ("server.listen[0]", "expected text, found the number 2022; put it in quotes"),
            ("server.listen[1]", "is not an IP address and a port"),
            ("server.listen[3]", "0.0.0.0:2022 appears twice"),
            ("server.host_keys", "is empty"),
            ("server.security_policy", "did you mean \"modern\"?"),
            ("server.rekey.data", "must be from 1MiB to 1GiB"),
            ("server.rekey.time", "must be from 1s to 1d"),
            ("server.rekey.packets", "unknown key; the keys here are"),
            ("server.banner", "expected text, found a list"),
            ("server.proxy_from[0]", "write 10.0.0.0/8"),
            ("defender", "longest_ban is shorter than ban"),
            ("defender.points", "from 1 to"),
            ("defender.weights.crash", "unknown key; the keys here are"),
            ("defender.weights.wrong_key", "from 0 to"),
            ("defender.allow[0]", "not an IP address"),
            ("store", "unknown key; did you mean \"stores\"?"),
            ("stores.lake.url", "is missing"),
            ("stores.lake.urll", "did you mean \"url\"?"),
            ("stores[\"a b\"]", "a store's name has"),
            ("stores[\"a b\"].url", "must be file:///PATH"),
            ("stores.local.options", "expected a mapping (keys and values), found a list"),
            ("users[0].name", "is not a login name"),
            ("users[0].public_keys[0]", "not base64"),
            ("users[0].public_keys[1]", "expected text, found the number 7"),
            ("users[0].home[0].entry", "write \"/relative\""),
            (
                "users[0].home[0].target",
                "no store named \"lak\"; the stores are \"lake\", \"a b\", \"local\"; did you mean \"lake\"?",
            ),
            ("users[0].home[1].entry", "write \"/a/b\""),
            ("users[0].home[1].target", "does not start with a slash"),
            (
                "users[0].home[1].permissions",
                "\"red_only\" is not one of \"read_only\", \"read_write\", \"write_only\"; did you mean \"read_only\"?",
            ),
            ("users[1].auth", "\"pubkey\" is not one of \"public_key\""),
            ("users[1].home", "is empty"),
            ("users[2].name", "names must be unique"),
            ("users[2].public_keys[1]", "this key appears twice"),
            ("users[2].enabled", "expected true or false, found \"yes\""),
            ("users[2].home[0].target", "only `${user}` is replaced"),
            ("users[2].home[1].entry", "the entry / appears twice"),
            ("users[2].home[1].target", "\"..\" cannot be part of a key"),
            ("users[2].home[1].permissions[0]", "did you mean \"list\"?"),
            ("users[2].home[1].permissions[1]", "the permissions are \"list\", \"read\""),
            ("users[3]", "expected a mapping (keys and values), found text"),
            (
                "events[0].sink",
                "\"fil\" is not one of \"stdout\", \"file\", \"store\", \"syslog\", \"http\"; did you mean \"file\"?",
            ),
            ("events[1].path", "is missing"),
            ("events[2].path", "a stdout sink has no path"),
            ("limits.sessions", "must be from 1 to 1000000"),
            ("limits.idle", "the unit is missing; write 30s"),
            ("limits.login_grace", "the unit \"w\" is not known"),
            ("limits.transfer_memory", "must be from 16MiB to 1TiB"),
            ("limits.staging", "did you mean 10GiB?"),
            ("limits.burst", "unknown key; the keys here are"),
            ("partial_uploads", "\"keep\" is not one of \"discard\", \"publish\""),
            ("setstat", "expected one of \"ignore\", \"strict\", found the truth value true"),
        ],
    );
}

#[test]
fn problems_tell_their_lines_in_the_order_of_the_file() {
    let problems =
        read_text("users: []\nstores: {}\nserver:\n  listen: []\n  hostkeys: [a]\n").unwrap_err().to_string();
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines[0], "config.yaml: 3 problems");
    assert!(lines[1].starts_with("  server.host_keys: is missing; ") && lines[1].ends_with(" (line 4)"), "{problems}");
    assert!(lines[2].starts_with("  server.listen: is empty; ") && lines[2].ends_with(" (line 4)"), "{problems}");
    assert_eq!(lines[3], "  server.hostkeys: unknown key; did you mean \"host_keys\"? (line 5)");
}

#[test]
fn what_is_missing_and_what_is_no_configuration_is_said() {
    assert_problems("{}", &[("server", "is missing"), ("stores", "is missing"), ("users", "is missing")]);
    assert_problems(
        "server:\nstores: {}\nusers:\n",
        &[("server", "is missing"), ("users", "is missing; write the users that may log in")],
    );
    assert_problems(
        "server: {}\nstores: {}\nusers: []",
        &[("server.listen", "is missing"), ("server.host_keys", "is missing")],
    );
    for text in ["", "# nothing\n", "just text", "[a, b]", "7"] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].starts_with("expected a mapping"), "{text:?}: {found:?}");
    }
    assert_problems(&with("users: 7"), &[("users", "expected a list, as in [a, b], found the number 7")]);
    assert_problems(&with("users: []\nusers: []\n"), &[("users", "this key appears twice; first in line 3")]);
    assert_problems(
        &with_user("{ name: a, name: b, auth: password, auth: password, home: [{ entry: /, target: local:/ }] }"),
        &[("users[0].name", "appears twice"), ("users[0].auth", "appears twice"), ("users[0]", "no password_hash")],
    );
}

#[test]
fn broken_yaml_is_said_with_its_line_and_column() {
    for (text, place) in [
        ("server:\n  listen: [a, b\nstores: {}\n", "line "),
        ("server:\n\tlisten: []\n", "line 2, column "),
        ("a: 'open\n", "line "),
        ("a: *nowhere\n", "line 1, column 4"),
        ("a: b: c\n", "line 1, column "),
        ("a: 1\n---\nb: 2\n", "line "),
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text:?}: {found:?}");
        assert!(found[0].starts_with(place) && found[0].contains("this is not YAML: "), "{text:?}: {found:?}");
        assert!(!found[0].contains('\n'), "{found:?}");
    }
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: &g [*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g]\n";
    assert!(problems(bomb)[0].contains("this is not YAML"), "{:?}", problems(bomb).len());
}

#[test]
fn anchors_may_be_used_again() {
    let settings = read_text(&with(&format!(
        "users:\n  - {{ name: a, public_keys: &keys [\"{KEY}\"], home: &home [{{ entry: /, target: \"local:/${{user}}\" }}] }}\n  \
         - {{ name: b, public_keys: *keys, home: *home }}\n"
    )))
    .unwrap();
    assert_eq!(settings.users[1].home[0].target, "b");
    assert_eq!(settings.users[0].keys, settings.users[1].keys);
}

#[test]
fn user_names_follow_the_rule() {
    let user = |name: &str| {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        with_user(&format!("{{ name: \"{name}\", public_keys: [\"{KEY}\"], home: [{{ entry: /, target: local:/ }}] }}"))
    };
    for right in ["a", "_x", "7", "user0001", "ann.b-c@example.org", &"x".repeat(100)] {
        read_text(&user(right)).unwrap_or_else(|problems| panic!("{right}: {problems}"));
    }
    for wrong in ["", ".", "..", "-a", "@x", "a/b", "a b", "ä", "a\\b", "a:b", "${user}", &"x".repeat(101)] {
        assert_problems(&user(wrong), &[("users[0].name", "is not a login name")]);
    }
}

#[test]
fn credentials_must_be_what_auth_needs() {
    let keys = format!("public_keys: [\"{KEY}\"]");
    let hash = format!("password_hash: \"{HASH}\"");
    for (auth, given, problem) in [
        ("public_key", "", Some("there are no public_keys; add one")),
        ("public_key", hash.as_str(), Some("or write `auth: password`")),
        ("public_key", &keys, None),
        ("password", &keys, Some("there is no password_hash; create one with `lockgate hash-password`")),
        ("password", &hash, None),
        ("public_key_or_password", "", Some("neither public_keys nor a password_hash")),
        ("public_key_or_password", &keys, None),
        ("public_key_or_password", &hash, None),
        ("public_key_and_password", &keys, Some("requires both public_keys and a password_hash")),
        ("public_key_and_password", &hash, Some("requires both public_keys and a password_hash")),
        ("public_key_and_password", &format!("{keys}, {hash}"), None),
        ("public_key", "public_keys: [], password_hash: null", Some("there are no public_keys")),
    ] {
        let given = if given.is_empty() { String::new() } else { format!("{given}, ") };
        let text = with_user(&format!("{{ name: a, auth: {auth}, {given}home: [{{ entry: /, target: local:/ }}] }}"));
        match problem {
            Some(words) => assert_problems(&text, &[("users[0]", words)]),
            None => assert!(read_text(&text).is_ok(), "{text}: {}", read_text(&text).unwrap_err()),
        }
    }
    let many = vec![format!("\"{KEY}\""); 51].join(", ");
    let text = with_user(&format!("{{ name: a, public_keys: [{many}], home: [{{ entry: /, target: local:/ }}] }}"));
    assert!(problems(&text).contains(&"users[0].public_keys: 51 keys; a user has at most 50".to_owned()));
}

#[test]
fn who_has_no_key_to_show_again_is_told_so_at_the_grant() {
    let text = |inner: &str, user: &str, more: &str| {
        let target = |name: &str, address: &str, inner: &str| {
            format!(
                "  - {{ name: {name}, addresses: [\"{address}:22\"], groups: [web], inner_login: {inner},\n      \
                 accounts: [{{ name: deploy, home: [{{ entry: /, target: \"local:/w\" }}] }}] }}\n"
            )
        };
        let (easy, strict) = (target("easy", "10.0.0.1", "inherited"), target("strict", "10.0.0.2", inner));
        let user = format!(
            "  - {{ name: ann, {user}, targets: [{{ target: easy, accounts: [deploy] }}, {{ group: web, accounts: [\"*\"] }}] }}\n"
        );
        with(&format!("targets:\n{easy}{strict}users:\n{user}{more}"))
    };
    let by_password = format!("auth: password, password_hash: \"{HASH}\"");
    let wanted = [("users[0].targets[1]", "\"strict\" has `inner_login: proof`")];
    assert_problems(&text("proof", &by_password, ""), &wanted);
    read_text(&text("inherited", &by_password, "")).unwrap();
    read_text(&text("proof", &format!("{by_password}, enabled: false"), "")).unwrap();
    read_text(&text("proof", &format!("public_keys: [\"{KEY}\"]"), "")).unwrap();
    // Any user may have a certificate.
    read_text(&text("proof", &by_password, &format!("trusted_user_ca_keys: [\"{KEY}\"]\n"))).unwrap();
}

#[test]
fn targets_are_a_store_and_a_folder() {
    let user = |target: &str| {
        with_user(&format!("{{ name: ann, public_keys: [\"{KEY}\"], home: [{{ entry: /, target: \"{target}\" }}] }}"))
    };
    for (target, key) in
        [("local:/", ""), ("local:/a/b/", "a/b"), ("local:/${user}", "ann"), ("local:/ x/%2e$", " x/%2e$")]
    {
        assert_eq!(read_text(&user(target)).unwrap().users[0].home[0].target, key, "{target}");
    }
    for (wrong, words) in [
        ("/a", "the store is missing"),
        ("local:", "does not start with a slash"),
        ("local:a", "does not start with a slash"),
        ("Local:/a", "did you mean \"local\"?"),
        ("local://a", "an empty component"),
        ("local:/a//", "an empty component"),
        ("local:/a//b", "cannot be part of a key"),
        ("local:/../a", "cannot be part of a key"),
        ("local:/${user", "only `${user}` is replaced"),
        ("local:/a\\u0007", "cannot be part of a key"),
    ] {
        assert_problems(&user(wrong), &[("users[0].home[0].target", words)]);
    }
}

#[test]
fn algorithm_lists_override_the_policy_and_are_checked() {
    let server = |more: &str| {
        format!("server: {{ listen: [\"127.0.0.1:0\"], host_keys: [k], {more} }}\nstores: {{}}\nusers: []\n")
    };
    let settings = read_text(&server("ciphers: [aes256-gcm@openssh.com], kex: [curve25519-sha256]")).unwrap();
    assert_eq!(settings.ssh.algorithms.ciphers, ["aes256-gcm@openssh.com"]);
    assert_eq!(settings.ssh.algorithms.kex, ["curve25519-sha256"]);
    assert_eq!(settings.ssh.algorithms.macs, crate::ssh::AlgorithmLists::of_policy("modern").unwrap().macs);
    assert_problems(
        &server("ciphers: [rot13], macs: [md5], security_policy: modern"),
        &[("server.ciphers", "rot13"), ("server.macs", "md5")],
    );
    assert_problems(&server("security_policy: none"), &[("server.security_policy", "the policies are \"modern\"")]);
}

#[test]
fn secrets_are_fetched_and_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "s3cr3t-file\r\n").unwrap();
    std::fs::write(folder.path().join("binary"), b"\xff\xfe").unwrap();
    let variables =
        [("KEY", KEY), ("ENV", "s3cr3t-env"), ("N", "12"), ("T", "90s"), ("B", "false"), ("TRICK", "${env:KEY}")];
    let text = r#"
server: { listen: ["127.0.0.1:2022"], host_keys: [k], banner: "${env:TRICK}" }
stores:
  lake:
    url: "s3://b"
    options:
      aws_access_key_id: "${env:ENV}"
      aws_secret_access_key: "<${file:secret}>"
      aws_session_token: "${env:ENV}${file:secret} ${x}"
users:
  - { name: a, public_keys: ["${env:KEY}"], enabled: "${env:B}", home: [{ entry: /, target: "lake:/${user}/${env:N}" }] }
limits: { sessions: "${env:N}", idle: "${env:T}", staging: "${env:N}MiB" }
"#;
    let settings = read_in(text, folder.path(), &variables).unwrap();
    let options: Vec<_> = settings.stores[0].options.iter().map(|(_, value)| value.expose()).collect();
    assert_eq!(options, ["s3cr3t-env", "<s3cr3t-file>", "s3cr3t-envs3cr3t-file ${x}"]);
    assert_eq!(settings.ssh.banner.as_deref(), Some("${env:KEY}"), "what was fetched is not looked at again");
    assert_eq!((settings.ssh.limits.sessions, settings.ssh.limits.idle), (12, Duration::from_secs(90)));
    assert_eq!((settings.transfers.staging, settings.users[0].enabled), (12 << 20, false));
    assert_eq!(settings.users[0].home[0].target, "a/12");
    assert!(!format!("{settings:?}").contains("s3cr3t"), "{settings:?}");

    let wrong = r#"
server: { listen: ["${env:ENV}"], host_keys: ["${env:NONE}"], security_policy: "${env:ENV}" }
stores: { lake: { url: "s3://b", options: { a: "${file:none}", b: "${env:}", c: "${env:ENV", d: "${file:binary}" } } }
users:
  - { name: "${file:secret}!", public_keys: ["${env:ENV}"], password_hash: "${env:ENV}", enabled: "${env:ENV}",
      auth: "${env:ENV}", home: [{ entry: "${env:ENV}", target: "${env:ENV}:/", permissions: "${env:ENV}" }] }
limits: { sessions: "${env:ENV}", idle: "${env:ENV}", staging: "${env:ENV}" }
setstat: "${env:ENV}"
"#;
    let problems = read_in(wrong, folder.path(), &variables).unwrap_err();
    let found = problems.to_string();
    for part in [
        "server.host_keys[0]: the environment variable NONE is not set",
        "stores.lake.options.a: the file",
        "stores.lake.options.b: a name is missing in `${env:}`",
        "stores.lake.options.c: the `}` after",
        "stores.lake.options.d: the file",
        "is not UTF-8 text",
        "users[0].auth: the fetched value is not one of",
        "users[0].enabled: the fetched value is neither",
        "users[0].home[0].permissions: the fetched value is not one of",
        "limits.idle: the fetched value is not a duration",
        "limits.staging: the fetched value is not a size",
        "limits.sessions: must be from 1",
        "setstat: the fetched value is not one of",
    ] {
        assert!(found.contains(part), "{part} is not in\n{found}");
    }
    assert!(!found.contains("s3cr3t"), "{found}");
    assert!(!found.contains("host_keys: is missing"), "what could not be fetched is reported once:\n{found}");
}

#[test]
fn a_plain_password_or_private_key_is_not_repeated() {
    let text = with_user(
        "{ name: a, auth: public_key_or_password, password_hash: hunter2secret, home: [{ entry: /, target: local:/ }],\n  \
         public_keys: [\"-----BEGIN OPENSSH PRIVATE KEY-----\\nhunter2secret\\n\"] }",
    );
    let found = problems(&text).join("\n");
    assert!(found.contains("plain password") && found.contains("this is a private key"), "{found}");
    assert!(!found.contains("hunter2"), "{found}");
}

#[test]
fn urls_of_local_stores_may_be_relative() {
    let store = |url: &str| with("users: []").replace("file:///data", url);
    for (url, resolved) in [
        ("file:data", "file:///etc/lockgate/data"),
        ("file:./data/x", "file:///etc/lockgate/data/x"),
        ("file:///srv/data", "file:///srv/data"),
    ] {
        assert_eq!(read_text(&store(url)).unwrap().stores[0].url, resolved);
    }
    for wrong in ["file://data", "file:/data", "file:"] {
        assert_problems(&store(wrong), &[("stores.local.url", "write file:///PATH")]);
    }
}

#[test]
fn wrong_options_are_told_apart_from_wrong_urls_and_never_shown() {
    let store = |store: &str| with("users: []").replace("{ url: \"file:///data\" }", store);
    assert_problems(
        &store("{ url: \"ftp://x\", options: { colour: blue } }"),
        &[("stores.local.url", "must be file:///PATH")],
    );
    let wrong = store("{ url: \"s3://b\", options: { aws_secret_access_key: hunter2secret, colour: hunter2secret } }");
    assert_problems(&wrong, &[("stores.local.options", "colour")]);
    assert!(!problems(&wrong)[0].contains("hunter2"), "{:?}", problems(&wrong));
}

#[test]
fn sinks_are_distinct() {
    assert_problems(&with("users: []\nevents: []\n"), &[("events", "is empty")]);
    assert_problems(
        &with(
            "users: []\nevents: [{ sink: stdout }, { sink: file, path: a }, { sink: stdout }, { sink: file, path: ./a }]",
        ),
        &[("events[2]", "appears twice"), ("events[3]", "appears twice")],
    );
    assert!(read_text(&with("users: []\nevents: [{ sink: file, path: a }, { sink: file, path: b }]")).is_ok());
}

#[test]
fn a_file_is_read_from_its_folder_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    assert!(load(&file).unwrap_err().to_string().contains("the file cannot be read: No such file"));
    std::fs::write(&file, with("users: []\nevents: [{ sink: file, path: log/events.ndjson }]")).unwrap();
    assert_eq!(load(&file).unwrap().ssh.host_keys, [folder.path().join("host_key")]);
    std::fs::write(&file, b"server: \xff").unwrap();
    assert!(load(&file).unwrap_err().to_string().contains("it is not UTF-8 text"));
}
