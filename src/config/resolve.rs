//! From what the file says to what each module needs; judges what the values mean together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::guarded::Homes;
use super::out_of_reach::{InForce, Own, hold_own, judge_own};
use super::problem::{Problems, near, quoted};
use super::raw;
use super::reader::At;
use super::resolve_admin::resolve_admin;
use super::resolve_audit::resolve_chain;
use super::resolve_events::resolve_sinks;
use super::resolve_fleet::resolve_fleet;
use super::resolve_notifications::judge_whole_trail;
use super::resolve_revoked::resolve_revoked;
use super::resolve_sinks::Context;
use super::resolve_targets::resolve_targets;
use super::resolve_users::{resolve_authorities, resolve_users};
use super::resolve_users_from::resolve_users_from;
use super::resolve_witness::judge_witness;
use crate::gateway::{Brought, HomeGuard};
use crate::secret::Secret;
use crate::ssh::{AlgorithmLists, ProxyProtocol};
use crate::users::Network;
use crate::{audit, gateway, ssh, stores, vfs};

/// The longest banner, in bytes.
const MAX_BANNER: usize = 8 * 1024;

/// The longest name of the server, in bytes, and of a store.
const MAX_SERVER_NAME: usize = 253;
const MAX_STORE_NAME: usize = 63;

/// What stays as it is in the path of a `file:` URL.
const URL_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What resolution knows beside the file.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The folder that relative paths start from; absolute.
    pub folder: PathBuf,
    /// The host's name, the default of `server.name`.
    pub host_name: String,
    /// Whether the named files are looked at: host keys are read, a sink's folder must exist.
    pub look_at_files: bool,
    /// Whether everybody on the machine may read the file.
    pub others_read: bool,
    /// What the gateway that reloads the file keeps as it is.
    pub in_force: InForce,
}

/// Resolves the whole file; what is wrong is noted, and what was noted already is passed over.
pub(super) fn resolve(raw: &raw::Config, around: &Surroundings, problems: &mut Problems) -> gateway::Settings {
    let (ssh, server) = resolve_server(raw, around, problems);
    let resource_arn = match &raw.server.resource_arn {
        Some(arn) => arn.value.clone(),
        None => format!("lockgate:server/{server}"),
    };
    let chain = resolve_chain(raw.audit.as_ref(), &raw.stores, around, problems);
    let stores = resolve_stores(&raw.stores, around, problems);
    let authorities = resolve_authorities(&raw.trusted_user_ca_keys, problems);
    let revoked = Arc::new(resolve_revoked(&raw.revoked_keys, around, problems));
    let targets = resolve_targets(raw, around, problems);
    let host_ca = raw.host_ca.as_ref().and_then(|ca| resolve_host_keys(slice::from_ref(ca), around, problems).pop());
    let users = resolve_users(raw, problems);
    let users_from = resolve_users_from(raw, &server, problems);
    let audit_folder = chain.as_ref().map(|chain| chain.folder.clone());
    let admin = resolve_admin(raw.admin.as_ref(), around, problems);
    let fleet = resolve_fleet(raw.fleet.as_ref(), around, problems);
    if fleet.is_some() && !cfg!(feature = "fleet") {
        problems.add("fleet", None, "this build has no fleets; build it with the feature `fleet`, or remove the key");
    }
    if let Some((place, line)) = problems.credential().filter(|_| around.others_read) {
        let what =
            "everybody on this machine may read this credential; run chmod o-r on the file, or write ${file:PATH}";
        problems.add(place, line, what);
    }
    let context = Context { stores: &raw.stores, audit_folder, around };
    let sinks = resolve_sinks(raw.events.as_deref(), &context, problems);
    judge_whole_trail(&sinks, raw.audit.as_ref().and_then(|audit| audit.folder.as_ref()), problems);
    let audit = audit::Settings { server, resource_arn, sinks, chain };
    if let Some(check) = raw.audit.as_ref().and_then(|audit| audit.self_check.as_ref())
        && audit.whole_trail().is_none()
    {
        check.problem(
            problems,
            "needs a file sink that contains the whole trail; add { sink: file, path: events.ndjson } to `events`",
        );
    }
    let witness = raw.audit.as_ref().and_then(|audit| audit.witness.as_ref()).and_then(|at| at.store.as_ref());
    judge_witness(witness, &audit, &stores, problems);
    let mut settings = gateway::Settings {
        ssh,
        stores,
        authorities,
        revoked,
        users,
        users_from,
        targets,
        host_ca,
        transfers: vfs::Settings {
            transfer_memory: raw.limits.transfer_memory,
            staging: raw.limits.staging,
            staging_folder: staging_folder(&raw.limits, &audit.server, around, problems),
            largest_hole: raw.limits.largest_hole,
            partial_uploads: raw.partial_uploads,
        },
        audit,
        strict_setstat: raw.strict_setstat,
        admin,
        fleet,
        guard: HomeGuard::default(),
        brought: Brought::default(),
    };
    let this_file = Own::unnamed("", "this file", problems.file());
    problems.note_own(this_file);
    let homes = Homes::new(&settings.users, &settings.users_from, &settings.targets, &settings.stores);
    let own = problems.take_own();
    judge_own(&own, &homes, problems);
    around.in_force.judge(&settings, &homes, problems);
    let held = hold_own(&own, &homes).and(&around.in_force);
    let judge = move |user: &_, roots: &[_]| held.lies_in(&Homes::on(slice::from_ref(user), &[], &[], roots.to_vec()));
    settings.guard = HomeGuard::new(judge, stores::roots(&settings.stores));
    settings
}

/// The SSH door, and the server's name.
fn resolve_server(file: &raw::Config, around: &Surroundings, problems: &mut Problems) -> (ssh::Settings, String) {
    let (raw, limits) = (&file.server, &file.limits);
    let name = raw.name.as_ref().map_or(&around.host_name, |name| {
        if name.value.is_empty() || name.value.len() > MAX_SERVER_NAME || !is_plain(&name.value) {
            name.problem(problems, format!("a name has 1 to {MAX_SERVER_NAME} letters, digits, '-', '_' and '.'"));
        }
        &name.value
    });
    if let Some(arn) = raw.resource_arn.as_ref().filter(|arn| arn.value.is_empty() || has_control(&arn.value)) {
        arn.problem(problems, "must be text without control characters; leave it out for \"lockgate:server/<name>\"");
    }
    if let Some(banner) = raw.banner.as_ref().filter(|banner| banner.value.len() > MAX_BANNER) {
        banner.problem(problems, format!("is longer than {MAX_BANNER} bytes"));
    }
    let settings = ssh::Settings {
        listen: resolve_listen(raw.listen.as_deref().unwrap_or_default(), problems),
        host_keys: resolve_host_keys(raw.host_keys.as_deref().unwrap_or_default(), around, problems),
        algorithms: resolve_algorithms(raw, problems),
        rekey: raw.rekey,
        banner: raw.banner.as_ref().map(|banner| banner.value.clone()).filter(|banner| !banner.is_empty()),
        proxy_protocol: resolve_proxy(raw, problems),
        defender: file.defender.as_ref().map(|defender| {
            let mut settings = defender.settings.clone();
            if let Some(allow) = &defender.allow {
                settings.allow = resolve_networks(allow, problems);
            }
            settings
        }),
        limits: ssh::Limits {
            sessions: to_usize(limits.sessions),
            unauthenticated: to_usize(limits.unauthenticated),
            unauthenticated_per_address: to_usize(limits.unauthenticated_per_address),
            connections_per_second: u32::try_from(limits.connections_per_second).unwrap_or(u32::MAX),
            login_grace: limits.login_grace,
            auth_attempts: to_usize(limits.auth_attempts),
            idle: limits.idle,
            stall: limits.stall,
            drain: limits.drain,
        },
    };
    (settings, name.clone())
}

fn resolve_proxy(raw: &raw::Server, problems: &mut Problems) -> ProxyProtocol {
    let from = raw.proxy_from.as_ref().map(|from| resolve_networks(&from.value, problems));
    match (&raw.proxy_protocol, from) {
        (Some(At { value: raw::Proxy::Optional, .. }), Some(from)) => ProxyProtocol::Optional(from),
        (Some(At { value: raw::Proxy::Required, .. }), Some(from)) => ProxyProtocol::Required(from),
        (Some(At { value: raw::Proxy::Ignore, .. }), Some(from)) => ProxyProtocol::Ignored(from),
        (Some(proxy @ At { value: raw::Proxy::Ignore | raw::Proxy::Optional | raw::Proxy::Required, .. }), None) => {
            let sentence = "the load balancers are missing; write their addresses as proxy_from: [\"10.0.0.0/8\"]";
            proxy.problem(problems, sentence);
            ProxyProtocol::Off
        }
        (Some(At { value: raw::Proxy::Off, .. }) | None, _) => {
            if let Some(from) = &raw.proxy_from {
                from.problem(
                    problems,
                    "proxy_protocol is off, so no header is read; write required, optional or ignore there",
                );
            }
            ProxyProtocol::Off
        }
    }
}

/// The networks of a list.
pub(super) fn resolve_networks(raw: &[At<String>], problems: &mut Problems) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in raw {
        match Network::parse(&text.value) {
            Ok(network) => networks.push(network),
            Err(what) => text.problem(problems, what),
        }
    }
    networks
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && !name.starts_with('.')
}

pub(super) fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

pub(super) fn resolve_listen(raw: &[At<String>], problems: &mut Problems) -> Vec<SocketAddr> {
    let mut listen = Vec::new();
    for text in raw {
        match text.value.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && listen.contains(&address) => {
                text.problem(problems, format!("{address} appears twice"));
            }
            Ok(address) => listen.push(address),
            Err(_) => text.problem(
                problems,
                "is not an IP address and a port; write \"0.0.0.0:2022\" for all IPv4 addresses, \"[::]:2022\" for all addresses",
            ),
        }
    }
    listen
}

pub(super) fn resolve_host_keys(raw: &[At<String>], around: &Surroundings, problems: &mut Problems) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for text in raw {
        let Some(path) = resolve_path(text, around, problems) else { continue };
        problems.note_own(Own::file(text, "the host key", &path));
        if files.contains(&path) {
            text.problem(problems, "this file appears twice");
        } else if around.look_at_files
            && let Err(what) = ssh::read_host_key_public(&path)
        {
            text.problem_outside(problems, what);
        }
        files.push(path);
    }
    files
}

/// A path of the file, from the folder of the file.
pub(super) fn resolve_path(text: &At<String>, around: &Surroundings, problems: &mut Problems) -> Option<PathBuf> {
    if text.value.is_empty() || has_control(&text.value) {
        text.problem(problems, "is not a path");
        return None;
    }
    Some(around.folder.join(Path::new(&text.value)))
}

fn resolve_algorithms(raw: &raw::Server, problems: &mut Problems) -> AlgorithmLists {
    let policy = raw.security_policy.as_ref().map_or("modern", |policy| policy.value.as_str());
    let empty = AlgorithmLists { kex: Vec::new(), ciphers: Vec::new(), macs: Vec::new(), host_keys: Vec::new() };
    let Some(base) = AlgorithmLists::of_policy(policy) else {
        if let Some(at) = &raw.security_policy {
            let names = quoted(AlgorithmLists::POLICIES.iter().copied());
            let meant = near(policy, AlgorithmLists::POLICIES.iter().copied());
            let meant = meant.map(|meant| format!("did you mean {meant:?}? ")).unwrap_or_default();
            at.problem(problems, format!("no security policy of that name; {meant}the policies are {names}"));
        }
        return empty;
    };
    let mut lists = base.clone();
    let mut set = |list: &Option<At<Vec<String>>>, put: fn(&mut AlgorithmLists, Vec<String>)| {
        let Some(list) = list else { return };
        // Each list is checked beside the policy's others, so that a sentence belongs to this list.
        let mut alone = base.clone();
        put(&mut alone, list.value.clone());
        for sentence in alone.check().err().unwrap_or_default() {
            list.problem(problems, sentence);
        }
        put(&mut lists, list.value.clone());
    };
    set(&raw.kex, |lists, names| lists.kex = names);
    set(&raw.ciphers, |lists, names| lists.ciphers = names);
    set(&raw.macs, |lists, names| lists.macs = names);
    set(&raw.host_key_algorithms, |lists, names| lists.host_keys = names);
    lists
}

fn resolve_stores(raw: &[raw::Store], around: &Surroundings, problems: &mut Problems) -> Vec<stores::Settings> {
    let mut all = Vec::new();
    for store in raw {
        let name = &store.name.value;
        if name.is_empty() || name.len() > MAX_STORE_NAME || !is_plain(name) {
            let rule = format!("a store's name has 1 to {MAX_STORE_NAME} letters, digits, '-', '_' and '.'");
            store.name.problem(problems, rule);
        }
        if store.is_own {
            all.push(stores::own(name));
            continue;
        }
        let Some(url) = &store.url else { continue };
        if stores::is_own_url(url.value.expose()) {
            url.problem(problems, "a store of the embedding program is named by the program, not here; remove it");
            continue;
        }
        let Some(absolute) = resolve_url(url, around, problems) else { continue };
        let options = store.options.as_ref().map(|options| resolve_options(options, around, problems));
        let options = options.unwrap_or_default();
        let settings = stores::Settings { name: name.clone(), url: absolute, options };
        match stores::validate(&settings) {
            Ok(()) => all.push(settings),
            Err(what) => {
                // What is wrong without any option as well is wrong with the URL.
                let bare = stores::Settings { options: Vec::new(), ..settings };
                let of_url = store.options.is_none() || stores::validate(&bare).as_ref() == Err(&what);
                match &store.options {
                    Some(options) if !of_url => options.problem(problems, what),
                    _ => url.problem(problems, what),
                }
            }
        }
    }
    all
}

/// Files that options name start from the folder of the file, as all others do.
fn resolve_options(
    options: &At<Vec<(String, Secret)>>,
    around: &Surroundings,
    problems: &mut Problems,
) -> Vec<(String, Secret)> {
    let resolve = |(option, value): &(String, Secret)| {
        let path = around.folder.join(value.expose());
        let named = stores::names_a_file(option).then_some(path.to_str()).flatten();
        let Some(named) = named else { return (option.clone(), value.clone()) };
        problems.note_own(Own::file(options, format!("the file of the option {option:?}"), &path));
        (option.clone(), Secret::new(named.to_owned()))
    };
    options.value.iter().map(resolve).collect()
}

/// `file:data` becomes `file:///FOLDER/data`; every other URL stays as it is.
fn resolve_url(url: &At<Secret>, around: &Surroundings, problems: &mut Problems) -> Option<String> {
    let text = url.value.expose();
    let Some(path) = text.strip_prefix("file:") else { return Some(text.to_owned()) };
    if path.starts_with("///") {
        return Some(text.to_owned());
    }
    if path.starts_with('/') || path.is_empty() {
        url.problem(
            problems,
            "write file:///PATH for an absolute path, or file:PATH for a path relative to this file's folder",
        );
        return None;
    }
    let Some(folder) = around.folder.to_str() else {
        url.problem(problems, "the folder of this file is not UTF-8; write file:///PATH");
        return None;
    };
    let relative = path.trim_start_matches("./");
    Some(format!("file://{}/{relative}", utf8_percent_encode(folder.trim_end_matches('/'), URL_PATH)))
}

/// The default is of the server's name, so that two servers on one machine have two.
fn staging_folder(limits: &raw::Limits, server: &str, around: &Surroundings, problems: &mut Problems) -> PathBuf {
    let what = "the staging folder";
    match &limits.staging_folder {
        Some(at) => {
            let folder = around.folder.join(&at.value);
            problems.note_own(Own::file(at, what, &folder));
            folder
        }
        None => {
            let folder = std::env::temp_dir().join(format!("lockgate-staging-{server}"));
            problems.note_own(Own::unnamed("limits.staging_folder", what, &folder));
            folder
        }
    }
}
