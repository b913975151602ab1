//! People who log in to the page with an identity provider, as their browser does.

use serde_json::{Value, json};

use super::{Administered, administered_with};
use crate::support::events::field;
use crate::support::http::Answer;
use crate::support::oidc::{Oidc, SECRET, settings, word};
use crate::support::process::{LIMIT, until};
use crate::support::server::free_port;

/// What a browser sends along from the page.
const OURS: [(&str, &str); 2] = [("Origin", "http://localhost"), ("Sec-Fetch-Site", "same-origin")];

/// What is registered at the provider.
const CALLBACK: &str = "http://localhost/login/callback";

/// A gateway and its provider.
pub fn with_provider() -> (Administered, Oidc) {
    let port = free_port();
    let administered = administered_with(|setup| setup.config["admin"]["oidc"] = settings(port));
    (administered, Oidc::start(port, "k1", &[CALLBACK.to_owned()]))
}

/// A browser on its way to the provider.
struct Begun {
    url: String,
    cookie: String,
}

fn cookie(answer: &Answer, name: &str) -> String {
    let all = answer.raw_headers("set-cookie");
    let set = all.iter().find(|set| set.starts_with(&format!("{name}="))).unwrap_or_else(|| panic!("{answer:?}"));
    for word in ["; Path=/", "; HttpOnly", "; SameSite=Strict"] {
        assert!(set.contains(word), "{set}");
    }
    set.split(';').next().unwrap().to_owned()
}

impl Administered {
    #[track_caller]
    fn begin(&self) -> Begun {
        let answer = self.tcp.request("POST", "/api/v1/login/oidc", &OURS, "");
        assert_eq!(answer.status, 200, "{answer:?}");
        let url = answer.json()["url"].as_str().unwrap().to_owned();
        Begun { url, cookie: cookie(&answer, "lockgate-login-0") }
    }

    fn finish(&self, cookie: &str, sent: &Value) -> Answer {
        let headers = [OURS[0], OURS[1], ("Content-Type", "application/json"), ("Cookie", cookie)];
        self.tcp.request("POST", "/api/v1/login/oidc/finish", &headers, &sent.to_string())
    }

    fn with_cookie(&self, method: &str, path: &str, cookie: &str) -> Answer {
        self.tcp.request(method, path, &[OURS[0], OURS[1], ("Cookie", cookie)], "")
    }
}

/// What the page hands over of the address that the provider sent the browser back to.
fn sent(address: &str) -> Value {
    assert!(address.starts_with(&format!("{CALLBACK}?")), "{address}");
    json!({ "code": word(address, "code"), "state": word(address, "state"), "issuer": word(address, "iss") })
}

#[test]
fn people_log_in_with_their_provider() {
    let (administered, oidc) = with_provider();
    let begun = administered.begin();
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "gateway"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid+groups"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(word(&begun.url, name), value);
    }
    let sent = sent(&oidc.log_in(&begun.url, "ann-auditors-viewers"));
    let answer = administered.finish(&begun.cookie, &sent);
    assert_eq!(answer.status, 200, "{answer:?}");
    let me = answer.json();
    assert_eq!((&me["name"], &me["role"]), (&json!("oidc:ann-auditors-viewers"), &json!("auditor")));
    assert!(answer.raw_headers("set-cookie").iter().any(|set| set.starts_with("lockgate-login-0=; ")), "{answer:?}");
    let login = cookie(&answer, "lockgate-0");
    let me = administered.with_cookie("GET", "/api/v1/me", &login).ok();
    assert!(me["name"] == "oidc:ann-auditors-viewers" && me["until"].is_string(), "{me}");
    assert_eq!(administered.with_cookie("POST", "/api/v1/reload", &login).status, 403, "no higher than the role");
    // The cookie of the way there opens nothing.
    assert_eq!(administered.with_cookie("GET", "/api/v1/me", &begun.cookie).status, 401);
    // The code is used up, in the same browser as well.
    let again = administered.finish(&begun.cookie, &sent);
    assert!(again.status == 401 && again.body.contains("used already"), "{again:?}");
    assert_eq!(administered.with_cookie("POST", "/api/v1/logout", &login).status, 204);
    assert_eq!(administered.with_cookie("GET", "/api/v1/me", &login).status, 401);
    let event = administered.call_event(|event| field(event, "path") == "/api/v1/login/oidc/finish");
    assert_eq!((field(&event, "caller"), field(&event, "role")), ("oidc:ann-auditors-viewers", "auditor"));
    // What is secret is nowhere.
    let told = format!("{:?}{}{}", administered.door.gateway.events.all(), administered.door.gateway.log(), again.body);
    let [code, state] = ["code", "state"].map(|name| sent[name].as_str().unwrap().to_owned());
    for secret in [&code, &state, SECRET, begun.cookie.split_once('=').unwrap().1, login.split_once('=').unwrap().1] {
        assert!(!told.contains(secret), "{secret}");
    }
    let config = administered.socket.get("/api/v1/config").ok();
    assert_eq!(config["configuration"]["admin"]["oidc"]["client_secret"], "(masked)");
}

#[test]
fn a_login_is_finished_only_where_it_was_begun() {
    let (administered, oidc) = with_provider();
    let (mine, other) = (administered.begin(), administered.begin());
    let back = sent(&oidc.log_in(&mine.url, "ann-operators"));
    let refused = |cookie: &str, change: &dyn Fn(&mut Value), what: &str| {
        let mut sent = back.clone();
        change(&mut sent);
        let answer = administered.finish(cookie, &sent);
        assert!(answer.status == 401 && answer.body.contains(what), "{what}: {answer:?}");
        assert!(answer.raw_headers("set-cookie").is_empty(), "{answer:?}");
    };
    // Somebody lures me into his login, or has my code.
    refused(&other.cookie, &|_| (), "not begun in this browser");
    refused("", &|_| (), "not begun in this browser");
    refused("lockgate-login-0=1.x", &|_| (), "not begun in this browser");
    refused(&mine.cookie, &|sent| sent["state"] = json!("x"), "not begun in this browser");
    refused(&mine.cookie, &|sent| sent["state"] = json!(word(&other.url, "state")), "not begun in this browser");
    refused(&mine.cookie, &|sent| sent["issuer"] = json!("https://evil.example.org"), "another provider");
    refused(&mine.cookie, &|sent| sent["code"] = json!(""), "no code");
    // Once a code of it was refused, a login is over: nobody tries one code after the other.
    let third = administered.begin();
    let of_third = |code: &Value| {
        let sent = json!({ "code": code, "state": word(&third.url, "state"), "issuer": oidc.issuer() });
        administered.finish(&third.cookie, &sent)
    };
    let asked = oidc.redemptions();
    for code in [json!("nonsense"), back["code"].clone(), json!("nonsense")] {
        let answer = of_third(&code);
        assert!(answer.status == 401 && answer.body.contains("used already"), "{answer:?}");
    }
    assert_eq!(oidc.redemptions(), asked + 1);
    // A code that belongs to another login of the same person: the verifier does not fit.
    let (fourth, fifth) = (administered.begin(), administered.begin());
    let mut others = sent(&oidc.log_in(&fourth.url, "ann-operators"));
    others["state"] = json!(word(&fifth.url, "state"));
    let answer = administered.finish(&fifth.cookie, &others);
    assert!(answer.status == 401 && answer.body.contains("used already"), "{answer:?}");
    // Nothing comes from a page of somebody else.
    let foreign = [("Origin", "http://evil.example.org"), ("Cookie", mine.cookie.as_str())];
    for path in ["/api/v1/login/oidc", "/api/v1/login/oidc/finish"] {
        assert_eq!(administered.tcp.request("POST", path, &foreign, &back.to_string()).status, 403, "{path}");
        let nobody = [("Content-Type", "application/json"), ("Cookie", mine.cookie.as_str())];
        let answer = administered.tcp.request("POST", path, &nobody, &back.to_string());
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
    }
    // The provider itself lets no other page redeem.
    let headers = [("Host", "localhost:1"), ("Origin", "http://localhost:1")];
    let answer = administered.tcp.request("POST", "/api/v1/login/oidc", &headers, "");
    let elsewhere = word(answer.json()["url"].as_str().unwrap(), "redirect_uri");
    assert_eq!(elsewhere, "http://localhost:1/login/callback");
    assert_eq!(administered.finish(&mine.cookie, &back).status, 200, "and mine is still good");
}

#[test]
fn whoever_has_no_role_stays_outside() {
    let (administered, oidc) = with_provider();
    for (name, words) in
        [("bob", "no value of oidc:bob's claim"), ("eve-admins", "no value of oidc:eve-admins's claim")]
    {
        let begun = administered.begin();
        let answer = administered.finish(&begun.cookie, &sent(&oidc.log_in(&begun.url, name)));
        let words = if name == "bob" { "oidc:bob has no claim" } else { words };
        assert!(answer.status == 403 && answer.body.contains(words), "{answer:?}");
        assert!(!answer.headers.contains("set-cookie: lockgate-0="), "{answer:?}");
    }
    let event = administered.call_event(|event| event["http-status"] == 403);
    assert_eq!((field(&event, "status"), field(&event, "caller")), ("denied", "oidc:bob"), "{event}");
    assert_eq!(event.get("role"), None, "{event}");
    // Who may not at the provider comes back with the word why.
    let begun = administered.begin();
    let back = oidc.log_in(&begun.url, "");
    assert_eq!(word(&back, "error"), "access_denied");
}

#[test]
fn a_login_follows_the_configuration() {
    let (administered, oidc) = with_provider();
    let begun = administered.begin();
    let answer = administered.finish(&begun.cookie, &sent(&oidc.log_in(&begun.url, "ann-operators-viewers")));
    let login = cookie(&answer, "lockgate-0");
    assert_eq!(administered.with_cookie("POST", "/api/v1/reload", &login).status, 200);
    let role = || administered.with_cookie("GET", "/api/v1/me", &login);
    let mut setup = administered.door.setup.clone();
    let mut reload = |change: &dyn Fn(&mut Value)| {
        change(&mut setup.config["admin"]);
        setup.write_config();
        administered.command(&["reload"]).succeeded();
    };
    reload(&|admin| _ = admin["oidc"]["roles"]["map"].as_object_mut().unwrap().remove("operators"));
    assert_eq!(role().ok()["role"], "viewer");
    // What is in force is shown.
    let config = administered.socket.get("/api/v1/config").ok();
    assert_eq!(config["configuration"]["admin"]["oidc"]["roles"]["map"].get("operators"), None);
    reload(&|admin| _ = admin.as_object_mut().unwrap().remove("oidc"));
    assert_eq!(role().status, 401);
    let begin = administered.tcp.request("POST", "/api/v1/login/oidc", &OURS, "");
    assert!(begin.status == 404 && begin.body.contains("admin.oidc"), "{begin:?}");
    assert_eq!(administered.tcp.get("/page/login.json").ok(), json!({ "provider": null }));
}

#[test]
fn a_provider_that_does_not_answer_lets_nobody_in_until_it_does() {
    let port = free_port();
    let administered = administered_with(|setup| setup.config["admin"]["oidc"] = settings(port));
    let begin = || administered.tcp.request("POST", "/api/v1/login/oidc", &OURS, "");
    assert_eq!(administered.tcp.get("/page/login.json").ok(), json!({ "provider": "127.0.0.1" }));
    let answer = begin();
    assert!(answer.status == 503 && answer.body.contains("there is no connection"), "{answer:?}");
    let unknown = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.e30.c2ln";
    let answer = administered.tcp.get_as(unknown, "/api/v1/me");
    assert!(answer.status == 503 && answer.headers.contains("application/problem+json"), "{answer:?}");
    assert_eq!(administered.tcp.get_as(&administered.tokens.viewer, "/api/v1/me").status, 200, "others are let in");
    let _oidc = Oidc::start(port, "k1", &[CALLBACK.to_owned()]);
    until("provider that is asked again", LIMIT, || (begin().status == 200).then_some(()));
    assert_eq!(administered.tcp.get_as(unknown, "/api/v1/me").status, 401);
}

#[test]
fn strangers_cannot_make_the_gateway_redeem_codes_without_end() {
    let (administered, oidc) = with_provider();
    let mut refused = Vec::new();
    for number in 0..200 {
        let begun = administered.begin();
        let sent = json!({ "code": format!("made-up-{number}"), "state": word(&begun.url, "state"), "issuer": null });
        let answer = administered.finish(&begun.cookie, &sent);
        match answer.status {
            401 => {}
            503 => refused.push(answer),
            _ => panic!("{answer:?}"),
        }
    }
    let asked = oidc.redemptions();
    assert!((10..100).contains(&asked), "{asked} codes were redeemed for 200 tries");
    let told = refused.first().expect("some that were not tried").body.contains("from this address");
    assert!(told && refused.iter().all(|answer| answer.raw_header("set-cookie").is_none()), "{refused:#?}");
    // Others are let in, by what the provider signed too.
    assert_eq!(administered.tcp.get_as(&oidc.token_of_program(), "/api/v1/me").status, 200);
    assert_eq!(administered.tcp.get_as(&administered.tokens.viewer, "/api/v1/me").status, 200);
}

/// Behind a proxy every connection is the proxy's: whoever fails often there keeps no one else out.
#[test]
fn behind_a_proxy_a_stranger_keeps_nobody_else_out() {
    let port = free_port();
    let administered = administered_with(|setup| {
        setup.config["admin"]["oidc"] = settings(port);
        setup.config["admin"]["plain_http"] = json!("behind-a-proxy");
    });
    let _oidc = Oidc::start(port, "k1", &[CALLBACK.to_owned()]);
    let attempt = |client: &str| {
        let forwarded = ("X-Forwarded-For", client);
        let begun = administered.tcp.request("POST", "/api/v1/login/oidc", &[OURS[0], OURS[1], forwarded], "");
        let begun = Begun {
            url: begun.json()["url"].as_str().unwrap().to_owned(),
            cookie: cookie(&begun, "__Host-lockgate-login-0"),
        };
        let sent = json!({ "code": "made-up", "state": word(&begun.url, "state"), "issuer": null }).to_string();
        let headers = [OURS[0], OURS[1], forwarded, ("Content-Type", "application/json"), ("Cookie", &begun.cookie)];
        administered.tcp.request("POST", "/api/v1/login/oidc/finish", &headers, &sent).status
    };
    let refused = (0..30).find(|_| attempt("10.0.0.1, 192.0.2.66") == 503);
    assert!(refused.is_some(), "the stranger has few tries");
    assert_eq!(attempt("192.0.2.7"), 401, "others have theirs: the provider was asked");
}

/// The name of somebody who was recognised is on record, however the provider's word came.
#[test]
fn whoever_is_recognised_and_refused_is_on_record_by_name() {
    let (administered, oidc) = with_provider();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "iss": oidc.issuer(), "aud": "gateway", "sub": "robot", "iat": now, "exp": now + 3600 });
    let token = oidc.sign("own", &json!({}), &claims);
    assert_eq!(administered.tcp.get_as(&token, "/api/v1/sessions").status, 403);
    let headers = [OURS[0], OURS[1], ("Content-Type", "application/json")];
    let login = administered.tcp.request("POST", "/api/v1/login", &headers, &json!({ "token": token }).to_string());
    assert_eq!(login.status, 403, "{login:?}");
    for path in ["/api/v1/sessions", "/api/v1/login"] {
        let event = administered.call_event(|event| field(event, "path") == path);
        let said = (field(&event, "caller"), field(&event, "status"), event.get("role"));
        assert_eq!(said, ("oidc:robot", "denied", None), "{event}");
    }
}
