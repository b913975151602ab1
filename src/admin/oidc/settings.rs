//! What the configuration says of the provider: `admin.oidc`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::admin::settings::{Role, TokenHash};
use crate::secret::Secret;

/// What the names of those begin with whom the provider knows, so that events tell them from tokens and from users of the machine.
pub const NAME_PREFIX: &str = "oidc:";

/// The longest name in the events, in bytes, without the prefix.
const MAX_NAME: usize = 200;

/// `admin.oidc`; a reload changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// Who signs the tokens, exactly as they say it.
    pub issuer: Issuer,
    /// The gateway's id at the provider.
    pub client_id: String,
    /// The gateway's secret at the provider.
    pub client_secret: Secret,
    /// What is asked for beside `openid`, so that the claims below are in the ID token.
    pub scopes: Vec<String>,
    /// For whom tokens of programs have to be; the client id where it is left out.
    pub audience: Option<String>,
    /// The claim that names the caller in the events.
    pub name: String,
    /// Which role somebody has.
    pub roles: RoleRule,
}

/// How claims become roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// The claim, as `groups`; where no claim has this name, dots lead into objects, as in `realm_access.roles`.
    pub claim: String,
    /// The values that have a role.
    pub map: BTreeMap<String, Role>,
}

impl RoleRule {
    /// The highest role of these values.
    pub(in crate::admin) fn role_of(&self, values: &[String]) -> Option<Role> {
        values.iter().filter_map(|value| self.map.get(value)).max().copied()
    }
}

impl OidcSettings {
    /// The name in the events: without what would spoil a line, and not endless.
    pub(super) fn name_of(&self, claimed: &str) -> String {
        let mut name = NAME_PREFIX.to_owned();
        for c in claimed.chars().filter(|c| !c.is_control()) {
            if name.len() + c.len_utf8() > NAME_PREFIX.len() + MAX_NAME {
                break;
            }
            name.push(c);
        }
        name
    }

    /// Whose word a login rests on: another issuer or client is somebody else.
    pub(in crate::admin) fn identity(&self) -> TokenHash {
        TokenHash::of(&format!("{}\n{}\n{}", self.issuer, self.client_id, self.roles.claim))
    }
}

/// The URL of an issuer: `https`, or `http` on this machine itself, as it stands in the tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Issuer {
    text: String,
    url: Url,
}

impl Issuer {
    /// Reads it.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Issuer, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}); write https://HOST/PATH"))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("an issuer has no credentials, no query and no fragment; write https://HOST/PATH".into());
        }
        if !is_safe(&url) {
            return Err(match url.scheme() {
                "http" => "whoever is on the way could make himself an operator; write https:// (http:// is for \
                           loopback only)"
                    .into(),
                other => format!("{other:?} is not served; write https://HOST/PATH"),
            });
        }
        Ok(Issuer { text: text.to_owned(), url })
    }

    /// As it stands in the tokens.
    pub(in crate::admin) fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, for people.
    pub(in crate::admin) fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }

    /// Where the provider describes itself.
    pub(super) fn description(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.text.trim_end_matches('/'))
    }
}

/// Whether what goes there is read by nobody on the way.
pub(super) fn is_safe(url: &Url) -> bool {
    let is_local = url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => is_local,
        _ => false,
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_reached_over_tls_or_on_this_machine() {
        for (text, right) in [
            ("https://idp.example.org", true),
            ("https://idp.example.org/realms/main/", true),
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("http://localhost:9000", true),
            ("http://idp.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("https://user:hunter2@idp.example.org", false),
            ("https://idp.example.org/?a=b", false),
            ("https://idp.example.org/#a", false),
            ("ftp://idp.example.org", false),
            ("idp.example.org", false),
            ("", false),
        ] {
            let parsed = Issuer::parse(text);
            assert_eq!(parsed.is_ok(), right, "{text}");
            assert!(parsed.err().is_none_or(|what| !what.contains("hunter2")));
        }
        let slash = Issuer::parse("https://idp.example.org/realms/main/").unwrap();
        assert_eq!(slash.description(), "https://idp.example.org/realms/main/.well-known/openid-configuration");
        assert_eq!(slash.as_str(), "https://idp.example.org/realms/main/");
    }

    #[test]
    fn the_highest_role_of_all_values_counts() {
        let map = [("a".to_owned(), Role::Viewer), ("b".to_owned(), Role::Operator)].into();
        let rule = RoleRule { claim: "groups".into(), map };
        let role = |values: &[&str]| rule.role_of(&values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>());
        assert_eq!(role(&["a", "b", "c"]), Some(Role::Operator));
        assert_eq!(role(&["a"]), Some(Role::Viewer));
        assert_eq!((role(&["c", "A"]), role(&[])), (None, None));
    }
}
