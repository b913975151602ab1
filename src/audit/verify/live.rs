//! Verifies a trail while it is being written, from the file sink that holds all of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Options, PublicKey, Report, verify};
use crate::audit::Noted;
use crate::audit::read::{FileError, Files, Parts, ReadError, Source, Span, Trail, rotated_of};
use crate::audit::succession::Succession;
use crate::regular_file;

/// Bytes of the largest public key that is read.
const MAX_KEY: u64 = 64 << 10;

/// The audit folder: its public key, and the state of the chain.
#[derive(Debug, Clone)]
pub struct Upkeep {
    /// Where it is.
    pub folder: PathBuf,
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Far {
    /// Bytes of lines that were read.
    pub lines: u64,
    /// Bytes of files that were read, compressed or not.
    pub read: u64,
    /// Bytes of files there were at the beginning.
    pub total: u64,
    /// Files that were begun.
    pub files: usize,
    /// Files there are.
    pub files_total: usize,
}

/// Verifies the file `live` and those that it was rotated into. With an audit folder, signatures are checked, and the trail goes at least as
/// far as the state there says. `progress` is called now and then. If a file is removed after one before it was read, that ends it.
///
/// # Errors
/// What cannot be read, in a sentence.
pub fn verify_live(live: &Path, upkeep: Option<&Upkeep>, mut progress: impl FnMut(Far)) -> Result<Report, String> {
    let mut options = Options::default();
    if let Some(Upkeep { folder }) = upkeep {
        let path = folder.join("signing_key.pub");
        let named = |what: String| format!("the key {}: {what}", path.display());
        let text = regular_file::read_text(&path, MAX_KEY).map_err(|error| named(error.to_string()))?;
        let key = PublicKey::from_pem(&text).map_err(named)?;
        // Those before it, from which it goes on, and of which a gateway that was not started since still signs.
        options.keys = predecessors(folder, &key)?;
        options.keys.push(key);
        // Before the trail is read, which grows meanwhile.
        options.noted = Some(Noted::read(folder)?);
    }
    let parts = Parts::settled(|| files(live)).map_err(|error| error.to_string())?;
    let (total, files_total) = (parts.bytes(Span::default()), parts.count());
    let begun = Far { total, files_total, ..Far::default() };
    progress(begun);
    let mut trail = Trail::new(vec![Source::Files(parts)], Span::default(), None);
    let reading = trail.reading();
    let report = verify(&mut trail, options, |trail| {
        progress(Far { lines: trail.bytes(), read: reading.taken(), files: trail.names().len(), ..begun });
    });
    let report = report.map_err(|error| error.to_string())?;
    progress(Far { lines: trail.bytes(), read: reading.taken(), files: trail.names().len(), ..begun });
    Ok(report)
}

/// The keys of an audit folder before its present one, which lead to it: of these are the signatures before the key was changed.
///
/// # Errors
/// A sentence that names the file of the endorsements and what is wrong with it.
pub fn predecessors(folder: &Path, key: &PublicKey) -> Result<Vec<PublicKey>, String> {
    let succession = Succession::of_key(folder, key.raw())?;
    Ok(succession.predecessors().map(|raw| PublicKey::of_raw(*raw)).collect())
}

/// The live file and those that the gateway rotated it into.
fn files(live: &Path) -> Result<Files, FileError> {
    let failed = |error| FileError { path: live.to_owned(), error };
    fs::metadata(live).map_err(failed)?;
    let mut paths = rotated_of(live).map_err(|ReadError { error, .. }| failed(error))?;
    paths.push(live.to_owned());
    Ok(Files::in_order(paths))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_files_come_in_their_order_with_the_live_one_last() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("events.ndjson");
        let names = [
            "20260731T081530Z-1",
            "20260731T081530Z-2.gz",
            "20260731T081531Z-30",
            "20260731T081531Z-4",
            "20260731T081532Z-9",
        ];
        for name in names {
            fs::write(folder.path().join(format!("events.ndjson.{name}")), name).unwrap();
        }
        assert!(files(&live).is_err(), "no live file");
        fs::write(&live, "live").unwrap();
        let parts = Parts::settled(|| files(&live)).unwrap();
        assert_eq!(parts.bytes(Span::default()) as usize, names.concat().len() + "live".len());
        let shown: Vec<String> = files(&live)
            .unwrap()
            .paths
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        let expected = [
            "20260731T081530Z-1",
            "20260731T081530Z-2.gz",
            "20260731T081531Z-4",
            "20260731T081531Z-30",
            "20260731T081532Z-9",
        ];
        let mut expected: Vec<String> = expected.iter().map(|name| format!("events.ndjson.{name}")).collect();
        expected.push("events.ndjson".into());
        assert_eq!(shown, expected);
    }
}
