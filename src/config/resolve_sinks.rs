//! What the sinks that send elsewhere mean, and `filter` and `format` of each.

use std::path::{Path, PathBuf};

use globset::Glob;

use super::out_of_reach::Own;
use super::problem::{Problems, near, quoted};
use super::raw;
use super::raw_sinks::{HttpSink, Shape, Spool, StoreSink, SyslogSink};
use super::reader::At;
use super::resolve::{Surroundings, resolve_path};
use super::resolve_notifications::{
    resolve_age, resolve_encoding, resolve_operations, resolve_paths, resolve_signing, resolve_temporary,
};
use super::resolve_users::resolve_target;
use crate::audit::{self, CollectorHeader, CollectorUrl, Filter, Format, SyslogAddress, UserPatterns};
use crate::stores;

/// The longest APP-NAME of RFC 5424.
const MAX_APP_NAME: usize = 48;

/// What resolving a sink takes beside the sink.
pub(super) struct Context<'a> {
    pub stores: &'a [raw::Store],
    /// The folder of the audit trail's own files, in which spools stand unless they are named.
    pub audit_folder: Option<PathBuf>,
    pub around: &'a Surroundings,
}

/// `sink: store`
pub(super) fn resolve_store(
    raw: &StoreSink,
    format: Format,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<audit::StoreTarget> {
    let target = raw.target.as_ref()?;
    let place = match resolve_target(&target.value, None, context.stores) {
        Ok(_) if target.value.contains("${") => {
            target.problem(problems, "`${…}` is not replaced here; write the folder as it is");
            return None;
        }
        Ok((store, folder)) => audit::ArchivePlace { store, folder, lock: raw.lock.as_ref().map(|lock| lock.value) },
        Err(what) => {
            target.problem(problems, what.replace("local:/home/${user}", "lake:/audit"));
            return None;
        }
    };
    problems.note_own(Own::folder(target, &place.store, &place.folder, ""));
    judge_lock(raw.lock.as_ref(), &place.store, context.stores, problems);
    let name = format!("store-{}-{}", place.store, place.folder);
    Some(audit::StoreTarget { spool: resolve_spool(&raw.spool, &name, format, context, problems)?, place })
}

/// Only some stores lock objects.
pub(super) fn judge_lock(
    lock: Option<&At<audit::ObjectLock>>,
    store: &str,
    stores: &[raw::Store],
    problems: &mut Problems,
) {
    let Some(lock) = lock else { return };
    let url = stores.iter().find(|known| known.name.value == store).and_then(|store| store.url.as_ref());
    if url.is_some_and(|url| !stores::can_lock(url.value.expose())) {
        lock.problem(
            problems,
            "only stores on S3 (s3://) can lock objects; remove it, and use the bucket's own retention policy",
        );
    }
}

/// `sink: syslog`
pub(super) fn resolve_syslog(
    raw: &SyslogSink,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<audit::SyslogTarget> {
    let text = raw.address.as_ref()?;
    let mut address = SyslogAddress::parse(&text.value).map_err(|what| text.problem(problems, what)).ok()?;
    let file = raw.ca_file.as_ref().and_then(|file| resolve_ca_file(file, context, problems));
    match (&mut address, &raw.ca_file) {
        (SyslogAddress::Tls { ca_file, .. }, _) => *ca_file = file,
        (_, Some(at)) => at.problem(problems, "only tls:// uses authorities; remove it, or write a tls:// address"),
        (_, None) => {}
    }
    if let (SyslogAddress::Unix(_), Some(framing)) = (&address, &raw.framing) {
        framing.problem(problems, "framing cannot be chosen for a socket of the file system; remove it");
    }
    if let Some(name) = &raw.app_name
        && (name.value.is_empty()
            || name.value.len() > MAX_APP_NAME
            || !name.value.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        name.problem(problems, format!("must be 1 to {MAX_APP_NAME} printable ASCII characters without a space"));
    }
    Some(audit::SyslogTarget {
        address,
        framing: raw.framing.as_ref().map(|framing| framing.value).unwrap_or_default(),
        facility: raw.facility.as_ref().map_or(audit::DEFAULT_FACILITY, |name| resolve_facility(name, problems)),
        app_name: raw.app_name.as_ref().map_or_else(|| "lockgate".to_owned(), |name| name.value.clone()),
        timeout: raw.timeout,
    })
}

fn resolve_facility(name: &At<String>, problems: &mut Problems) -> u8 {
    let known = || audit::FACILITIES.iter().copied();
    let number = known().position(|facility| facility == name.value).and_then(|number| u8::try_from(number).ok());
    number.unwrap_or_else(|| {
        let meant = near(&name.value, known()).map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
        name.problem(problems, format!("no such facility{meant}; they are {}", known().collect::<Vec<_>>().join(", ")));
        audit::DEFAULT_FACILITY
    })
}

/// `sink: http`
pub(super) fn resolve_http(
    raw: &HttpSink,
    format: Format,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<audit::HttpTarget> {
    let mut headers = Vec::new();
    for (name, value) in &raw.headers {
        match CollectorHeader::parse(&name.value, value) {
            Ok(header) => headers.push(header),
            Err(what) => name.problem(problems, what),
        }
    }
    let ca_file = raw.ca_file.as_ref().and_then(|file| resolve_ca_file(file, context, problems));
    let url = raw.url.as_ref()?;
    let url = CollectorUrl::parse(&url.value).map_err(|what| url.problem(problems, what)).ok()?;
    let name = format!("http-{}", url.host);
    Some(audit::HttpTarget {
        headers,
        encoding: resolve_encoding(raw, format, problems),
        signing: resolve_signing(raw, problems),
        give_up_after: None,
        gzip: raw.gzip,
        ca_file,
        timeout: raw.timeout,
        spool: resolve_spool(&raw.spool, &name, format, context, problems)?,
        url,
    })
}

fn resolve_ca_file(file: &At<String>, context: &Context<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let path = resolve_path(file, context.around, problems)?;
    problems.note_own(Own::file(file, "the file of authorities", &path));
    if context.around.look_at_files
        && let Err(what) = audit::read_authorities(&path)
    {
        file.problem_outside(problems, what);
    }
    Some(path)
}

/// The spool of a sink: the folder that is named, or one of the sink's name in the audit trail's folder.
fn resolve_spool(
    raw: &Spool,
    name: &str,
    format: Format,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<audit::SpoolSettings> {
    let folder = match (&raw.folder, &context.audit_folder) {
        (Some(folder), _) => resolve_path(folder, context.around, problems)?,
        (None, Some(audit)) => audit.join("spool").join(as_file_name(name)),
        (None, None) => {
            raw.at
                .problem(problems, "`spool` is missing; write the folder where batches wait until they are delivered");
            return None;
        }
    };
    if raw.batch.size > raw.limit {
        raw.at.problem(problems, "`batch.size` is larger than `spool_limit` allows; lower it or raise the limit");
    }
    if let (Some(at), true) = (&raw.folder, context.around.look_at_files) {
        judge_spool(at, &folder, problems);
    }
    Some(audit::SpoolSettings { folder, limit: raw.limit, fsync: raw.fsync, batch: resolve_age(raw, format) })
}

fn judge_spool(at: &At<String>, folder: &Path, problems: &mut Problems) {
    let parent = folder.parent().unwrap_or(folder);
    if folder.exists() && !folder.is_dir() {
        at.problem_outside(problems, format!("{} is not a folder", folder.display()));
    } else if !folder.exists() && !parent.is_dir() {
        at.problem_outside(problems, format!("the folder {} does not exist; create it", parent.display()));
    }
}

fn as_file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    name.trim_end_matches(['-', '/']).chars().map(plain).take(200).collect()
}

/// `filter` and `format`
pub(super) fn resolve_shape(raw: &Shape, problems: &mut Problems) -> audit::Shape {
    let mut names = |list: &[At<String>]| -> Vec<String> {
        list.iter().inspect(|name| judge_activity(name, problems)).map(|name| name.value.clone()).collect()
    };
    let (activities, except) = (raw.activities.as_deref().map(&mut names), names(&raw.except));
    let users = raw.users.as_deref().and_then(|users| resolve_globs(users, problems));
    let paths = raw.paths.as_deref().map(|paths| resolve_paths(paths, problems));
    let operations = raw.operations.as_deref().map(|names| resolve_operations(names, problems));
    let filter = Filter { activities, except, users, status: raw.status.clone(), paths, operations };
    let format = raw.format.as_ref().map(|format| format.value).unwrap_or_default();
    audit::Shape { filter, format, temporary: resolve_temporary(raw, problems) }
}

fn judge_activity(name: &At<String>, problems: &mut Problems) {
    let known = || audit::ACTIVITIES.iter().copied();
    if !known().any(|activity| activity == name.value) {
        let right = match near(&name.value, known()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("they are {}", quoted(known())),
        };
        name.problem(problems, format!("no such activity; {right}"));
    }
}

fn resolve_globs(patterns: &[At<String>], problems: &mut Problems) -> Option<UserPatterns> {
    let mut globs = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        match Glob::new(&pattern.value) {
            Ok(glob) => globs.push(glob),
            Err(error) => {
                pattern.problem(problems, format!("is not a pattern: {}; write it as in partner-*", error.kind()))
            }
        }
    }
    UserPatterns::new(globs)
}
