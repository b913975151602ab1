//! What becomes of answers.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI laptop";

fn settings() -> ProviderSettings {
    let rule = |prefix: &str, store: &str, folder: &str| TargetRule {
        prefix: LogicalPath::parse_str(prefix).unwrap(),
        store: store.into(),
        folder: folder.into(),
    };
    ProviderSettings {
        url: ProviderUrl::parse("http://127.0.0.1:1/stage?key=hunter2", false).unwrap(),
        method: ProviderMethod::Get,
        server_id: "s-1".into(),
        headers: Vec::new(),
        // Nobody answers too late: nobody is there.
        timeout: Duration::from_secs(60),
        retries: 0,
        cache: Duration::ZERO,
        require_totp: false,
        recheck: Duration::from_secs(300),
        auth: AuthMode::PublicKeyOrPassword,
        bounds: Bounds::default(),
        permissions: Permissions::READ_WRITE,
        targets: vec![rule("/bucket", "lake", ""), rule("/bucket/deep", "deep", "x"), rule("/lake", "lake", "")],
        policy: OnPolicy::Refuse,
    }
}

fn read(answer: &Value) -> Result<Option<User>, Flaw> {
    let answer = answer::read(answer.to_string().as_bytes())?;
    answer.map(|answer| answer.into_user("ann.b", &settings())).transpose()
}

/// The home of an answer, as `entry store:key`.
#[track_caller]
fn home(answer: &Value) -> Vec<String> {
    let user = read(answer).unwrap().unwrap();
    user.home.iter().map(|entry| format!("{} {}:{}", entry.entry.as_str(), entry.store, entry.target)).collect()
}

#[test]
fn whoever_has_no_role_is_refused() {
    for body in ["", "  \n", "null", "{}", r#"{"Role":""}"#, r#"{"Role":null}"#, r#"{"message":"no"}"#] {
        assert!(answer::read(body.as_bytes()).unwrap().is_none(), "{body}");
    }
    for (body, field, what) in [
        ("[]", "body", "is a list; an object is needed"),
        ("\"yes\"", "body", "is text; an object is needed"),
        ("true", "body", "is true or false; an object is needed"),
        ("<html>", "body", "is no JSON"),
        ("{", "body", "is no JSON"),
        ("{} {}", "body", "is no JSON"),
        (r#"{"Role":1}"#, "Role", "is a number; text is needed"),
        (r#"{"Role":"r","PublicKeys":"k"}"#, "PublicKeys", "is text; a list of texts is needed"),
        (r#"{"Role":"r","PublicKeys":[1]}"#, "PublicKeys", "is a list; a list of texts is needed"),
        (r#"{"Role":"r","HomeDirectory":{}}"#, "HomeDirectory", "is an object; text is needed"),
    ] {
        assert_eq!(answer::read(body.as_bytes()).unwrap_err(), Flaw::new(field, what), "{body}");
    }
}

#[test]
fn homes_are_those_of_the_answer() {
    let details = json!([
        { "Entry": "/", "Target": "/bucket/${transfer:UserName}" },
        { "Entry": "/pics", "Target": "/bucket/deep/pics/", "Type": "DIRECTORY" },
        { "Entry": "/all", "Target": "/lake" },
    ]);
    let expected = ["/ lake:ann.b", "/pics deep:x/pics", "/all lake:"];
    for given in [Value::String(details.to_string()), details] {
        let answer = json!({ "Role": "r", "HomeDirectoryType": "LOGICAL", "HomeDirectoryDetails": given });
        assert_eq!(home(&answer), expected);
    }
    for (path, expected) in [
        ("/bucket/home/ann.b", "/ lake:home/ann.b"),
        ("/bucket", "/ lake:"),
        ("/bucket/deeper", "/ lake:deeper"),
        ("/bucket/deep", "/ deep:x"),
        ("/lake/${transfer:UserName}/", "/ lake:ann.b"),
    ] {
        assert_eq!(home(&json!({ "Role": "r", "HomeDirectory": path })), [expected]);
        assert_eq!(home(&json!({ "Role": "r", "HomeDirectory": path, "HomeDirectoryType": "PATH" })), [expected]);
    }
}

#[test]
fn who_may_jump_needs_no_home() {
    let targets = json!([{ "Group": "web", "Accounts": ["deploy"] }]);
    let user = read(&json!({ "Role": "r", "Targets": targets })).unwrap().unwrap();
    assert_eq!((user.home.len(), user.targets.len()), (0, 1));
    let both = read(&json!({ "Role": "r", "Targets": targets, "HomeDirectory": "/bucket/a" })).unwrap().unwrap();
    assert_eq!((both.home.len(), both.targets.len()), (1, 1));
    // What is said of a home has to be right all the same.
    read(&json!({ "Role": "r", "Targets": targets, "HomeDirectory": "/other" })).unwrap_err();
    read(&json!({ "Role": "r", "Targets": targets, "HomeDirectoryType": "LOGICAL" })).unwrap_err();
    read(&json!({ "Role": "r", "Targets": 7, "HomeDirectory": "/bucket/a" })).unwrap_err();
    // Whoever is refused is refused, whatever else is said.
    assert!(read(&json!({ "Targets": targets })).unwrap().is_none());
}

#[test]
fn what_cannot_be_done_as_it_says_lets_nobody_in() {
    let logical =
        |details: Value| json!({ "Role": "r", "HomeDirectoryType": "LOGICAL", "HomeDirectoryDetails": details });
    let one = |entry: &str, target: &str| logical(json!([{ "Entry": entry, "Target": target }]));
    let path = |home: &str| json!({ "Role": "r", "HomeDirectory": home });
    for (answer, what) in [
        (json!({ "Role": "r" }), "HomeDirectory: is missing"),
        (
            json!({ "Role": "r", "HomeDirectoryType": "LOGICAL", "HomeDirectory": "/bucket" }),
            "HomeDirectoryDetails: is missing",
        ),
        (logical(json!("not json")), "HomeDirectoryDetails: is text, and no list in JSON"),
        (logical(json!(7)), "HomeDirectoryDetails: is a number; a list is needed"),
        (logical(json!([7])), "HomeDirectoryDetails: number 1 is no object"),
        (logical(json!([{ "Entry": 1, "Target": "/bucket" }])), "number 1 has no Entry that is text"),
        (logical(json!([])), "HomeDirectoryDetails: is empty"),
        (logical(json!([{ "Entry": "/" }])), "HomeDirectoryDetails: number 1 has no Target that is text"),
        (logical(json!([{ "Entry": "/f", "Target": "/bucket/f", "Type": "FILE" }])), "Type"),
        (logical(json!([{ "Entry": "/", "Target": "/bucket" }, { "Entry": "/", "Target": "/lake" }])), "twice"),
        (logical(json!(vec![json!({ "Entry": "/", "Target": "/bucket" }); 2001])), "2001 entries"),
        (one("relative", "/bucket"), "no path"),
        (one("/", "/other/x"), "none of the stores"),
        (one("/", "/bucketeer/x"), "none of the stores"),
        (one("/", "bucket/x"), "plain form"),
        (one("/", "/bucket/../lake"), "plain form"),
        (one("/", "/bucket//x"), "plain form"),
        (path("/bucket/../../etc"), "plain form"),
        (path("/"), "none of the stores"),
        (
            json!({ "Role": "r", "HomeDirectory": "/bucket", "HomeDirectoryType": "OTHER" }),
            "HomeDirectoryType: is neither",
        ),
        (
            json!({ "Role": "a\u{0}", "HomeDirectory": "/bucket" }),
            "Role: is longer than 2048 bytes or holds a control character",
        ),
        (json!({ "Role": "r", "HomeDirectory": "/bucket", "Policy": "{\"Statement\":[]}" }), "`policy: ignore`"),
        (
            json!({ "Role": "r", "HomeDirectory": "/bucket", "Policy": {} }),
            "Policy: cannot be evaluated here; `policy: ignore`",
        ),
        (json!({ "Role": "r", "HomeDirectory": "/bucket", "PublicKeys": vec![KEY; 51] }), "PublicKeys: has 51 keys"),
    ] {
        let Flaw { field, what: said } = read(&answer).unwrap_err();
        let said = format!("{field}: {said}");
        assert!(said.contains(what), "{said:?} for {answer}");
    }
}

#[test]
fn keys_role_and_policy() {
    let mut answer = json!({
        "Role": "arn:aws:iam::1:role/r",
        "HomeDirectory": "/bucket",
        "PublicKeys": ["", KEY, "ssh-dss AAAA weak", "nonsense"],
        "Policy": "",
        "PosixProfile": { "Uid": 1, "Gid": 1 },
    });
    let user = read(&answer).unwrap().unwrap();
    assert_eq!((user.role.as_deref(), user.keys.len()), (Some("arn:aws:iam::1:role/r"), 1));
    assert_eq!(&*user.source, "http:http://127.0.0.1:1/stage", "without the query, which may hold a key");
    answer["Policy"] = "{}".into();
    let lenient = ProviderSettings { policy: OnPolicy::Ignore, ..settings() };
    let read = answer::read(answer.to_string().as_bytes()).unwrap().unwrap();
    assert!(read.into_user("ann", &lenient).is_ok());
}

#[test]
fn names_are_those_that_transfer_family_asks_for_and_shorter_ones() {
    for (name, right) in [
        ("ann", true),
        ("_n1", true),
        ("a@b.c-d", true),
        ("an", true),
        ("a", true),
        ("-ann", false),
        (".ann", false),
        ("an n", false),
        ("ann/..", false),
        ("ann%2f", false),
        ("änn", false),
        ("", false),
    ] {
        assert_eq!(is_name(name), right, "{name:?}");
    }
    assert!(is_name(&"a".repeat(100)) && !is_name(&"a".repeat(101)));
}

/// Nothing listens where these settings point: whatever is asked fails, and what is not asked does not.
#[tokio::test]
async fn what_needs_no_question_is_not_asked() {
    let attempt = Attempt { source_ip: [127, 0, 0, 1].into() };
    let secret = |text: &str| Secret::new(text.into());
    let directory = ProviderDirectory::new(settings()).unwrap();
    let asked = directory.find("zoe", &attempt).await.unwrap_err().to_string();
    assert!(asked.contains("no connection") && !asked.contains("hunter2") && !asked.contains("zoe"), "{asked}");
    assert!(directory.find("-an", &attempt).await.unwrap().is_none());
    let knock =
        async |name: &str, password: &str| directory.find_with_password(name, &secret(password), &attempt).await;
    assert!(knock("ann", "x").await.is_err());
    assert!(matches!(knock("ann", "").await, Ok(Knock::Refused)), "for the provider this would be a key's attempt");
    assert!(matches!(knock("ann", "x\n").await, Ok(Knock::Refused)), "no header can carry it");
    assert!(matches!(knock("ann", " x").await, Ok(Knock::Refused)), "the provider would see another password");
    assert!(matches!(knock("-an", "x").await, Ok(Knock::Unknown)));

    let only_password = ProviderDirectory::new(ProviderSettings { auth: AuthMode::Password, ..settings() }).unwrap();
    let user = only_password.find("ann", &attempt).await.unwrap().unwrap();
    assert!(user.keys.is_empty() && user.home.is_empty() && !user.auth.takes_key());
}
