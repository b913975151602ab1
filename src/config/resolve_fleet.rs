//! What `fleet` means.

use std::path::PathBuf;

use super::out_of_reach::Own;
use super::problem::Problems;
use super::raw_fleet as raw;
use super::resolve::{Surroundings, has_control, resolve_path};
use crate::audit;
use crate::fleet::{Address, Credentials, FleetName, Parsed, Sentinel, Settings};

/// The fleet; none without `fleet`.
pub(super) fn resolve_fleet(
    raw: Option<&raw::Fleet>,
    around: &Surroundings,
    problems: &mut Problems,
) -> Option<Settings> {
    let raw = raw?;
    let name =
        raw.name.as_ref().and_then(|at| FleetName::parse(&at.value).map_err(|what| at.problem(problems, what)).ok());
    let (addresses, in_urls) = resolve_urls(raw, problems);
    let ca_file = resolve_ca_file(raw, &addresses, around, problems);
    let credentials = resolve_login(&raw.login, in_urls, problems);
    let sentinel = raw.sentinel.as_ref().and_then(|sentinel| {
        let master = sentinel.master.as_ref()?;
        if master.value.is_empty() || has_control(&master.value) {
            master.problem(problems, "is not a name");
        }
        let credentials = resolve_login(&sentinel.login, Credentials::default(), problems);
        Some(Sentinel { master: master.value.clone(), credentials })
    });
    let name = name.filter(|_| !addresses.is_empty())?;
    Some(Settings { addresses, sentinel, name, lease: raw.lease, credentials, ca_file })
}

/// The servers, and who calls them as far as a URL says so.
fn resolve_urls(raw: &raw::Fleet, problems: &mut Problems) -> (Vec<Address>, Credentials) {
    let (mut addresses, mut credentials) = (Vec::new(), Credentials::default());
    for at in &raw.urls {
        let parsed = match Parsed::of_url(at.value.expose()) {
            Ok(parsed) => parsed,
            Err(what) => {
                at.problem(problems, what);
                continue;
            }
        };
        if addresses.contains(&parsed.address) {
            at.problem(problems, format!("{} appears twice", parsed.address));
        }
        if parsed.credentials != Credentials::default() {
            if raw.urls.len() > 1 {
                at.problem(problems, "with several URLs, write `username` and `password` as keys of their own");
            }
            let keys =
                [raw.login.username.as_ref().map(|at| &at.place), raw.login.password.as_ref().map(|at| &at.place)];
            for place in keys.into_iter().flatten() {
                at.problem(problems, format!("has a user or a password, as does {place}; leave out one of the two"));
            }
            credentials = parsed.credentials;
        }
        addresses.push(parsed.address);
    }
    (addresses, credentials)
}

fn resolve_login(raw: &raw::Login, in_url: Credentials, problems: &mut Problems) -> Credentials {
    let username = raw.username.as_ref().map(|at| at.value.clone()).or(in_url.username);
    let password = raw.password.as_ref().map(|at| at.value.clone()).or(in_url.password);
    if let Some(at) = raw.username.as_ref().filter(|_| password.is_none()) {
        at.problem(problems, "a user of Redis needs a password; write `password: ${file:PATH}`");
    }
    Credentials { username, password }
}

fn resolve_ca_file(
    raw: &raw::Fleet,
    addresses: &[Address],
    around: &Surroundings,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let at = raw.ca_file.as_ref()?;
    let path = resolve_path(at, around, problems)?;
    problems.note_own(Own::file(at, "the file of authorities", &path));
    if !addresses.is_empty() && !addresses.iter().any(|address| address.tls) {
        at.problem(problems, "has no effect without TLS; write rediss:// in `url`");
    }
    if around.look_at_files
        && let Err(what) = audit::read_authorities(&path)
    {
        at.problem_outside(problems, what);
    }
    Some(path)
}
