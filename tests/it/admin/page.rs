//! The page's own files: what is said with them, and that they need nobody and are no events.

use super::administered;
use crate::support::events::field;

#[test]
fn the_files_are_open_strict_and_kept_until_they_change() {
    let administered = administered();
    for (path, kind) in [
        ("/", "text/html"),
        ("/login", "text/html"),
        ("/events?user=alice", "text/html"),
        ("/sessions/0049cd844c7536c06a89", "text/html"),
        ("/partners/al%2fice", "text/html"),
        ("/page/app.js", "text/javascript"),
        ("/page/style.css", "text/css"),
        ("/page/icon.svg", "image/svg+xml"),
    ] {
        let answer = administered.tcp.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.headers.contains(&format!("content-type: {kind}")), "{path}: {answer:?}");
        assert!(answer.headers.contains("x-content-type-options: nosniff"), "{answer:?}");
        assert!(answer.headers.contains("referrer-policy: no-referrer"), "{answer:?}");
        let policy = answer.headers.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        let tag = answer.headers.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let again = administered.tcp.request("GET", path, &[("If-None-Match", tag)], "");
        assert!(again.status == 304 && again.body.is_empty(), "{again:?}");
    }
    for path in ["/page/", "/page/../api/v1/sessions", "/page/index.html", "/page/page.rs", "/nothing"] {
        assert_eq!(administered.tcp.get(path).status, 404, "{path}");
    }
    assert_eq!(administered.tcp.request("POST", "/", &[], "").status, 405);
    let foreign = administered.tcp.request("GET", "/", &[("Host", "evil.example.org")], "");
    assert_eq!(foreign.status, 421);
    administered.socket.get("/api/v1/status").ok();
    administered.call_event(|event| field(event, "path") == "/api/v1/status");
    assert_eq!(administered.door.gateway.events.of_type("ADMIN_CALL").len(), 1, "the files are no events");
}
