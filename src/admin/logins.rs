//! Browsers that are logged in to the page, and links that log one in. Both are known to this process only, and end with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::settings::{Role, Token, TokenHash, Trust, make_token};
use crate::secret::Secret;

/// How long a browser stays logged in at most: it, and every browser that is logged in by a link of it, and so on.
pub(super) const LOGGED_IN_FOR: Duration = Duration::from_secs(12 * 60 * 60);

/// How long a link can be used.
pub(super) const LINK_FOR: Duration = Duration::from_secs(15 * 60);

/// The most browsers at once, in all and of one caller. The oldest of them makes room.
const BROWSERS: usize = 512;
const BROWSERS_OF_ONE: usize = 32;

/// The most links that wait to be used. The oldest of them makes room.
const LINKS: usize = 64;

/// What somebody was let in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// The caller's name in the events.
    pub(super) name: Arc<str>,
    /// What the caller may do.
    pub(super) role: Role,
    /// What it rests on.
    pub(super) basis: Basis,
    /// When it ends at the latest: with the token that was shown, or [`LOGGED_IN_FOR`] after the first login. Links, and logins made from
    /// it, inherit it, so that nobody renews a login.
    pub(super) until: Option<DateTime<Utc>>,
}

/// What a grant rests on: when that is gone, so is the grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Basis {
    /// The caller came over the socket.
    Socket,
    /// A token of `admin.tokens`.
    Token(TokenHash),
    /// The word of the identity provider.
    Provider(Arc<Identity>),
}

/// Whose call or login it is, where these are counted. A user of the machine, a token and somebody of the identity provider may have one
/// name, and are three.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    source: NamedBy,
    name: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum NamedBy {
    Machine,
    Tokens,
    Provider,
}

impl Who {
    /// The one of this name, by what was let in for it.
    pub(super) fn of(name: &Arc<str>, basis: &Basis) -> Who {
        let source = match basis {
            Basis::Socket => NamedBy::Machine,
            Basis::Token(_) => NamedBy::Tokens,
            Basis::Provider(_) => NamedBy::Provider,
        };
        Who { source, name: name.clone() }
    }
}

/// Whom the identity provider knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Whose word it is (`OidcSettings::identity`).
    pub(super) provider: TokenHash,
    /// The values of the claim that roles are given for.
    pub(super) values: Vec<String>,
}

impl Grant {
    fn who(&self) -> Who {
        Who::of(&self.name, &self.basis)
    }

    /// What it is worth now: nothing when its token or provider was removed or its time is over, and never more than these.
    pub(super) fn now(&self, trust: &Trust, now: DateTime<Utc>) -> Option<Grant> {
        let (role, end) = match &self.basis {
            Basis::Socket => (self.role, None),
            Basis::Token(hash) => {
                let is_it = |token: &&Token| token.hash == *hash && *token.name == *self.name;
                let token = trust.tokens.iter().find(is_it)?;
                (token.role, token.expires)
            }
            Basis::Provider(identity) => {
                let oidc = trust.oidc.as_ref().filter(|oidc| oidc.identity() == identity.provider)?;
                (oidc.roles.role_of(&identity.values)?, None)
            }
        };
        let is_over = [end, self.until].into_iter().flatten().any(|end| end <= now);
        (!is_over).then(|| Grant { role: self.role.min(role), ..self.clone() })
    }

    /// The same for a browser that logs in now.
    fn of_login(self, now: DateTime<Utc>) -> Grant {
        let end = now + LOGGED_IN_FOR;
        Grant { until: Some(self.until.map_or(end, |until| until.min(end))), ..self }
    }

    /// How long it lasts at most.
    fn left(&self, now: DateTime<Utc>) -> Duration {
        self.until.map_or(LOGGED_IN_FOR, |until| (until - now).to_std().unwrap_or_default())
    }
}

/// A browser that has logged in.
#[derive(Debug)]
pub(super) struct Entered {
    /// It is known by this from now on.
    pub(super) secret: Secret,
    /// With its end.
    pub(super) grant: Grant,
    /// Until that end; zero when it is over.
    pub(super) lasts: Duration,
}

/// A grant under a secret of which only the hash is kept.
#[derive(Debug)]
struct Kept {
    hash: TokenHash,
    grant: Grant,
    until: Instant,
}

/// All browsers and links.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    links: Vec<Kept>,
    browsers: Vec<Kept>,
}

impl Logins {
    /// A code that logs one browser in, within [`LINK_FOR`].
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn make_link(&self, grant: Grant) -> Result<Secret, String> {
        let code = make_token()?;
        let mut inner = self.lock();
        if inner.links.len() >= LINKS {
            inner.links.remove(0);
        }
        inner.links.push(Kept::new(&code, grant, LINK_FOR));
        Ok(code)
    }

    /// What a code was made for; it is used up.
    pub(super) fn redeem(&self, code: &str) -> Option<Grant> {
        let mut inner = self.lock();
        let at = inner.links.iter().position(|link| link.hash.is_of(code))?;
        Some(inner.links.remove(at).grant)
    }

    /// Logs a browser in.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn begin(&self, grant: Grant) -> Result<Entered, String> {
        let secret = make_token()?;
        let now = Utc::now();
        let grant = grant.of_login(now);
        let lasts = grant.left(now);
        let mut inner = self.lock();
        let is_same = |browser: &Kept| browser.grant.who() == grant.who();
        let same = inner.browsers.iter().filter(|browser| is_same(browser)).count();
        if same >= BROWSERS_OF_ONE
            && let Some(at) = inner.browsers.iter().position(is_same)
        {
            inner.browsers.remove(at);
        } else if inner.browsers.len() >= BROWSERS {
            inner.browsers.remove(0);
        }
        inner.browsers.push(Kept::new(&secret, grant.clone(), lasts));
        Ok(Entered { secret, grant, lasts })
    }

    /// Who logged in with the browser that knows this secret.
    pub(super) fn of_secret(&self, secret: &str) -> Option<(TokenHash, Grant)> {
        let hash = TokenHash::of(secret);
        self.of(&hash).map(|grant| (hash, grant))
    }

    /// The same by the hash of the secret.
    pub(super) fn of(&self, hash: &TokenHash) -> Option<Grant> {
        let inner = self.lock();
        inner.browsers.iter().find(|browser| browser.hash == *hash).map(|browser| browser.grant.clone())
    }

    /// Logs a browser out.
    pub(super) fn end(&self, hash: &TokenHash) {
        self.lock().browsers.retain(|browser| browser.hash != *hash);
    }

    /// Without what is over.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        inner.links.retain(|link| now < link.until);
        inner.browsers.retain(|browser| now < browser.until);
        inner
    }
}

impl Kept {
    fn new(secret: &Secret, grant: Grant, lasts: Duration) -> Kept {
        Kept { hash: TokenHash::of(secret.expose()), grant, until: Instant::now() + lasts }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::admin::oidc::{Issuer, OidcSettings, RoleRule};

    fn grant(name: &str) -> Grant {
        Grant { name: name.into(), role: Role::Operator, basis: Basis::Socket, until: None }
    }

    #[test]
    fn a_code_logs_in_once_and_within_its_time() {
        let logins = Logins::default();
        let code = logins.make_link(grant("root")).unwrap();
        assert_eq!(logins.redeem("lgt_other"), None);
        assert_eq!(logins.redeem(code.expose()), Some(grant("root")));
        assert_eq!(logins.redeem(code.expose()), None);
        let late = logins.make_link(grant("root")).unwrap();
        logins.0.lock().unwrap().links[0].until = Instant::now();
        assert_eq!(logins.redeem(late.expose()), None);
    }

    #[test]
    fn a_browser_is_known_until_it_logs_out_or_its_time_is_over() {
        let logins = Logins::default();
        let Entered { secret, grant: begun, lasts } = logins.begin(grant("root")).unwrap();
        let (hash, found) = logins.of_secret(secret.expose()).unwrap();
        assert_eq!((found, lasts), (begun, LOGGED_IN_FOR));
        assert!(logins.of_secret("lgt_other").is_none());
        logins.end(&hash);
        assert!(logins.of(&hash).is_none());
        let Entered { secret, .. } = logins.begin(grant("root")).unwrap();
        logins.0.lock().unwrap().browsers[0].until = Instant::now();
        assert!(logins.of_secret(secret.expose()).is_none());
    }

    #[test]
    fn a_login_is_not_renewed_by_links() {
        let logins = Logins::default();
        let first = logins.begin(grant("root")).unwrap().grant;
        let end = first.until.unwrap();
        let mut last = Grant { role: Role::Auditor, ..first };
        for _ in 0..3 {
            let code = logins.make_link(last).unwrap();
            last = logins.begin(logins.redeem(code.expose()).unwrap()).unwrap().grant;
            assert_eq!(last.until, Some(end));
        }
        let (trust, second) = (Trust::default(), chrono::TimeDelta::seconds(1));
        assert!(last.now(&trust, end - second).is_some());
        assert_eq!(last.now(&trust, end), None);
        // What ends sooner of itself is not prolonged by a login.
        let soon = Utc::now() + chrono::TimeDelta::minutes(1);
        let entered = logins.begin(Grant { until: Some(soon), ..grant("root") }).unwrap();
        assert!(entered.grant.until == Some(soon) && entered.lasts <= Duration::from_secs(60));
        let over = logins.begin(Grant { until: Some(soon - chrono::TimeDelta::hours(1)), ..grant("root") }).unwrap();
        assert_eq!(over.lasts, Duration::ZERO);
        assert!(logins.of_secret(over.secret.expose()).is_none());
    }

    #[test]
    fn whoever_logs_in_without_end_makes_room_by_himself() {
        let logins = Logins::default();
        let other = logins.begin(grant("other")).unwrap();
        let first = logins.begin(grant("root")).unwrap();
        for _ in 0..BROWSERS_OF_ONE {
            logins.begin(grant("root")).unwrap();
        }
        assert!(logins.of_secret(other.secret.expose()).is_some() && logins.of_secret(first.secret.expose()).is_none());
        // A token of the same name is somebody else.
        let token = Grant { basis: Basis::Token(TokenHash::of("lgt_x")), ..grant("other") };
        for _ in 0..2 * BROWSERS_OF_ONE {
            logins.begin(token.clone()).unwrap();
        }
        assert!(logins.of_secret(other.secret.expose()).is_some());
        for number in 0..2 * BROWSERS {
            logins.begin(grant(&number.to_string())).unwrap();
            logins.make_link(grant("root")).unwrap();
        }
        let inner = logins.0.lock().unwrap();
        assert_eq!((inner.browsers.len(), inner.links.len()), (BROWSERS, LINKS));
    }

    #[test]
    fn a_grant_is_worth_no_more_than_its_token() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let token = |role, expires| Token { name: "ann".into(), role, hash: TokenHash::of("lgt_a"), expires };
        let grant = Grant { basis: Basis::Token(TokenHash::of("lgt_a")), ..grant("ann") };
        let now = at("2026-07-31T08:00:00Z");
        let trust = |tokens: &[Token]| Trust { tokens: tokens.into(), oidc: None };
        assert_eq!(grant.now(&trust(&[token(Role::Operator, None)]), now), Some(grant.clone()));
        let less = grant.now(&trust(&[token(Role::Viewer, None)]), now).unwrap();
        assert_eq!(less.role, Role::Viewer);
        assert_eq!(grant.now(&trust(&[token(Role::Operator, Some(now))]), now), None);
        assert_eq!(grant.now(&trust(&[]), now), None);
    }

    #[test]
    fn a_grant_of_a_provider_follows_the_configuration_and_ends_with_the_token() {
        let now: DateTime<Utc> = "2026-07-31T08:00:00Z".parse().unwrap();
        let oidc = |issuer: &str, map: &[(&str, Role)]| OidcSettings {
            issuer: Issuer::parse(issuer).unwrap(),
            client_id: "gateway".into(),
            client_secret: Secret::new("s".into()),
            scopes: Vec::new(),
            audience: None,
            name: "sub".into(),
            roles: RoleRule {
                claim: "groups".into(),
                map: map.iter().map(|(value, role)| ((*value).to_owned(), *role)).collect(),
            },
        };
        let trust = |oidc: OidcSettings| Trust { oidc: Some(Arc::new(oidc)), ..Trust::default() };
        let (issuer, all) = ("https://idp.example.org", [("a", Role::Operator), ("b", Role::Auditor)]);
        let provider = oidc(issuer, &all).identity();
        let identity = Arc::new(Identity { provider, values: vec!["a".into(), "b".into()] });
        let of = |until| Grant { basis: Basis::Provider(identity.clone()), until, ..grant("oidc:ann") };
        let role = |grant: &Grant, trust: &Trust| grant.now(trust, now).map(|grant| grant.role);
        let (login, second) = (of(None), chrono::TimeDelta::seconds(1));
        assert_eq!(role(&login, &trust(oidc(issuer, &all))), Some(Role::Operator));
        assert_eq!(role(&login, &trust(oidc(issuer, &all[1..]))), Some(Role::Auditor));
        assert_eq!(role(&login, &trust(oidc(issuer, &[]))), None);
        assert_eq!(role(&login, &trust(oidc("https://other.example.org", &all))), None);
        assert_eq!(role(&login, &Trust::default()), None);
        assert_eq!(role(&of(Some(now + second)), &trust(oidc(issuer, &all))), Some(Role::Operator));
        assert_eq!(role(&of(Some(now)), &trust(oidc(issuer, &all))), None);
    }
}
