//! The page's own files: HTML, CSS and modules of JavaScript, as they stand in `page/`, part of the program.
//!
//! They hold no data, so that they need no login and are no events. What they show they ask of the API.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base16ct::lower::encode_string;

use super::provider_login::{CALLBACK, ways};
use super::state::State;

/// Everything comes from here, nothing is written into the page, and no text becomes code or markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The addresses of views; each is the same file, which looks at its address.
const VIEWS: &[&str] =
    &["/", "/login", CALLBACK, "/events", "/sessions/{id}", "/partners", "/partners/{name}", "/trail", "/config"];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $kind:expr),+ $(,)?) => {
        &[$(($name, $kind, include_str!(concat!("page/", $name)))),+]
    };
}

/// Name, type and content.
const FILES: &[(&str, &str, &str)] = files![
    "index.html": HTML,
    "style.css": CSS,
    "views.css": CSS,
    "icon.svg": SVG,
    "api.js": JS,
    "app.js": JS,
    "config.js": JS,
    "describe.js": JS,
    "dom.js": JS,
    "events.js": JS,
    "export.js": JS,
    "filters.js": JS,
    "format.js": JS,
    "list.js": JS,
    "login.js": JS,
    "now.js": JS,
    "partner.js": JS,
    "player.js": JS,
    "session.js": JS,
    "spark.js": JS,
    "trail.js": JS,
];

/// One file, ready to be sent.
#[derive(Debug)]
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    /// Of the content: whoever has it is told that it still holds.
    tag: HeaderValue,
}

static READY: LazyLock<Vec<File>> = LazyLock::new(|| {
    let ready = |&(name, kind, text): &(&'static str, &'static str, &'static str)| {
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let digits = encode_string(&hash.as_ref()[..16]);
        let tag = HeaderValue::try_from(format!("\"{digits}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        File { name, kind, text, tag }
    };
    FILES.iter().map(ready).collect()
});

/// The routes of the page.
pub(super) fn router() -> Router<Arc<State>> {
    let mut router = Router::new().route("/page/login.json", get(ways));
    for file in READY.iter() {
        let serve = move |headers: HeaderMap| async move { file.answer(&headers) };
        if file.name == "index.html" {
            for view in VIEWS {
                router = router.route(view, get(serve));
            }
        } else {
            router = router.route(&format!("/page/{}", file.name), get(serve));
        }
    }
    router
}

impl File {
    fn answer(&self, headers: &HeaderMap) -> Response {
        let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| *known == self.tag);
        let mut response = match is_known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => ([(CONTENT_TYPE, self.kind)], self.text).into_response(),
        };
        let fixed = [
            // Kept, and asked after each time: a new version of the program shows its own page.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (ETAG, self.tag.clone()),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
            (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
        ];
        response.headers_mut().extend(fixed);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_served_and_nothing_else_is_named() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        there.sort();
        let mut named: Vec<&str> = FILES.iter().map(|(name, ..)| *name).collect();
        named.sort_unstable();
        assert_eq!(there, named);
    }

    #[test]
    fn the_files_hold_nothing_that_the_policy_forbids_or_that_lies_elsewhere() {
        assert!(!POLICY.contains("unsafe") && !POLICY.contains("http"), "{POLICY}");
        for (name, _, text) in FILES {
            let bare = text.replace("http://www.w3.org/", "");
            for word in ["http://", "https://", "innerHTML", "eval(", "style=\"", "onclick=", "<script>", "<style"] {
                assert!(!bare.contains(word), "{word} in {name}");
            }
            assert!(text.lines().count() < 400, "{name} is long");
        }
    }
}
