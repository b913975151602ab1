//! What `admin` means.

use super::out_of_reach::Own;
use super::problem::Problems;
use super::raw_admin as raw;
use super::reader::At;
use super::resolve::{Surroundings, has_control, is_plain, resolve_listen, resolve_path};
use super::resolve_users::resolve_expires;
use crate::admin::{
    self, DoorSettings, Issuer, MAX_SOCKET_PATH, NAME_PREFIX, OidcSettings, RoleRule, TlsFiles, Token, TokenHash,
};

/// The longest name of a token, in bytes.
const MAX_NAME: usize = 100;

/// The admin door; closed without `admin`.
pub(super) fn resolve_admin(
    raw: Option<&raw::Admin>,
    around: &Surroundings,
    problems: &mut Problems,
) -> admin::Settings {
    let Some(raw) = raw else { return admin::Settings::default() };
    let listen = raw.listen.as_ref().map(|listen| resolve_listen(&listen.value, problems)).unwrap_or_default();
    let health = raw.health.as_ref().map(|health| resolve_listen(std::slice::from_ref(health), problems));
    let tls = resolve_tls(raw, around, problems);
    if let Some(at) = raw.listen.as_ref().filter(|_| listen.iter().any(|address| !address.ip().is_loopback())) {
        match (&raw.tls, &raw.plain_http) {
            (None, None) => at.problem(
                problems,
                "tokens would go over the network in clear; write tls: { certificate, key }, or plain_http: behind-a-proxy \
                 if what stands before it speaks TLS, or listen on 127.0.0.1 only",
            ),
            (Some(_), Some(plain)) => plain.problem(problems, "there is also a certificate (admin.tls); leave one of the two out"),
            _ => {}
        }
    }
    if raw.listen.is_none() {
        let right = "has no effect without admin.listen";
        raw.tls.iter().for_each(|at| at.problem(problems, right));
        raw.hosts.iter().for_each(|at| at.problem(problems, right));
        raw.plain_http.iter().for_each(|at| at.problem(problems, right));
        raw.oidc.iter().for_each(|at| at.problem(problems, right));
    }
    let hosts = raw.hosts.iter().flat_map(|hosts| &hosts.value);
    let hosts = hosts.inspect(|host| {
        if host.value.is_empty() || !is_plain(&host.value) {
            host.problem(problems, "is not a host name; write it without a port");
        }
    });
    let hosts = hosts.map(|host| host.value.clone()).collect();
    let socket = raw.socket.as_ref().and_then(|at| {
        let path = resolve_path(at, around, problems)?;
        problems.note_own(Own::file(at, "the socket of the admin door", &path));
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            let what =
                format!("{} is longer than the {MAX_SOCKET_PATH} bytes that a socket's path may have", path.display());
            at.problem(problems, what);
        }
        if around.look_at_files && !path.parent().is_some_and(std::path::Path::is_dir) {
            at.problem_outside(problems, format!("the folder of {} does not exist", path.display()));
        }
        Some(path)
    });
    if let Some(at) = raw.health_users.as_ref().filter(|_| raw.health.is_none()) {
        at.problem(problems, "has no effect without admin.health");
    }
    let health_users = raw.health_users.as_ref().is_some_and(|at| at.value);
    let health = health.and_then(|all| all.first().copied());
    let behind_proxy = raw.plain_http.is_some();
    let doors = DoorSettings { socket, listen, health, health_users, hosts, tls, behind_proxy };
    let tokens = resolve_tokens(&raw.tokens, problems);
    let oidc = raw.oidc.as_ref().and_then(|oidc| resolve_oidc(&oidc.value, problems));
    admin::Settings { doors, tokens, oidc, ..admin::Settings::default() }
}

fn resolve_tls(raw: &raw::Admin, around: &Surroundings, problems: &mut Problems) -> Option<TlsFiles> {
    let at = raw.tls.as_ref()?;
    let (certificate_at, key_at) = (at.value.certificate.as_ref()?, at.value.key.as_ref()?);
    let certificate = resolve_path(certificate_at, around, problems)?;
    let key = resolve_path(key_at, around, problems)?;
    problems.note_own(Own::file(certificate_at, "the certificate of the admin door", &certificate));
    problems.note_own(Own::file(key_at, "the key of the admin door", &key));
    let files = TlsFiles { certificate, key };
    if around.look_at_files
        && let Err(what) = admin::check_tls(&files)
    {
        at.problem_outside(problems, what);
    }
    Some(files)
}

fn resolve_oidc(raw: &raw::Oidc, problems: &mut Problems) -> Option<OidcSettings> {
    let texts = [&raw.client_id, &raw.audience, &raw.name].into_iter().flatten();
    for at in texts.chain(raw.roles.as_ref().and_then(|roles| roles.value.claim.as_ref())) {
        if at.value.is_empty() || has_control(&at.value) {
            at.problem(problems, "must be text without control characters");
        }
    }
    for at in &raw.scopes {
        // RFC 6749, 3.3.
        if at.value.is_empty() || !at.value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        {
            at.problem(problems, "is not a scope; write one word for each element");
        }
    }
    if let Some(at) = raw.client_secret.as_ref().filter(|at| at.value.expose().is_empty()) {
        at.problem(problems, "is empty");
    }
    let roles = raw.roles.as_ref()?;
    if roles.value.map.is_empty() {
        roles.problem(problems, "nobody would have a role; write map: { VALUE: viewer|auditor|operator }");
    }
    let at = raw.issuer.as_ref()?;
    let issuer = Issuer::parse(&at.value).map_err(|what| at.problem(problems, what)).ok()?;
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    Some(OidcSettings {
        issuer,
        client_id: text(&raw.client_id)?,
        client_secret: raw.client_secret.as_ref()?.value.clone(),
        scopes: raw.scopes.iter().map(|at| at.value.clone()).filter(|scope| scope != "openid").collect(),
        audience: text(&raw.audience),
        name: text(&raw.name).unwrap_or_else(|| "sub".into()),
        roles: RoleRule {
            claim: text(&roles.value.claim)?,
            map: roles.value.map.iter().filter_map(|(value, role)| Some((value.value.clone(), (*role)?))).collect(),
        },
    })
}

fn resolve_tokens(raw: &[raw::Token], problems: &mut Problems) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for entry in raw {
        let expires = entry.expires.as_ref().and_then(|at| resolve_expires(at, problems));
        let (Some(name), Some(hash)) = (&entry.name, &entry.hash) else { continue };
        if name.value.is_empty() || name.value.len() > MAX_NAME || has_control(&name.value) {
            name.problem(problems, format!("a name has 1 to {MAX_NAME} bytes and no control characters"));
        } else if name.value.starts_with(NAME_PREFIX) {
            name.problem(
                problems,
                format!("names that begin with {NAME_PREFIX} are reserved for the identity provider"),
            );
        } else if tokens.iter().any(|token| token.name == name.value) {
            name.problem(problems, "this name appears twice; events could not distinguish the two");
        }
        if hash.value.contains(admin::TOKEN_PREFIX) {
            problems.hide(&hash.value);
            hash.problem(problems, "is a token; write its hash here, which `lockgate admin token` prints as well");
            continue;
        }
        let Some(parsed) = TokenHash::parse(&hash.value) else {
            hash.problem(problems, "is not a hash; `lockgate admin token NAME --role viewer` prints one (sha256:…)");
            continue;
        };
        if parsed.is_of("") {
            hash.problem(problems, "is the hash of an empty token, which everybody knows; `lockgate admin token NAME --role viewer` creates a token");
            continue;
        }
        let Some(role) = entry.role else { continue };
        tokens.push(Token { name: name.value.clone(), role, hash: parsed, expires });
    }
    tokens
}
