//! What is right in a configuration, and still better known by its operator.

use crate::audit::{SinkSettings, SinkTarget};
use crate::gateway::Settings;
use crate::stores;

/// A sentence for each.
pub(super) fn advice(settings: &Settings) -> Vec<String> {
    let is_kept = settings.audit.chain.is_some();
    let shown_only = (is_kept && is_shown_only(&settings.audit.sinks)).then(|| {
        "note: only standard output or syslog have the whole trail. After a power cut, numbers of events of the last second may be given to others, \
         which `audit verify` reports as changed lines; a sink such as { sink: file, path: events.ndjson } beside them does not have that"
            .to_owned()
    });
    let unverified = settings.stores.iter().filter(|store| stores::lacks_checksums(store)).map(|store| {
        format!(
            "note: nothing that is put into the store {:?} carries a checksum, which its server would verify; if it knows them, set \
             aws_checksum_algorithm: sha256, otherwise none",
            store.name
        )
    });
    shown_only.into_iter().chain(unverified).collect()
}

/// Whether every sink that holds the whole trail shows lines elsewhere as they come, so that nothing on this machine knows how far that was.
fn is_shown_only(sinks: &[SinkSettings]) -> bool {
    let mut whole = sinks.iter().filter(|sink| sink.shape.is_plain()).peekable();
    whole.peek().is_some() && whole.all(|sink| matches!(sink.target, SinkTarget::Stdout | SinkTarget::Syslog(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{FileOptions, Filter, OnFailure, Shape};

    #[test]
    fn puts_without_a_checksum_are_told_of_where_that_was_not_chosen() {
        let lacks = |url: &str, options: &[(&str, &str)]| {
            let option =
                |(name, value): &(&str, &str)| ((*name).to_owned(), crate::secret::Secret::new((*value).to_owned()));
            let options = options.iter().map(option).collect();
            stores::lacks_checksums(&stores::Settings { name: "lake".into(), url: url.into(), options })
        };
        let (minio, aws) = (("aws_endpoint", "http://minio:9000"), ("endpoint", "https://s3.eu-west-1.amazonaws.com"));
        assert!(lacks("s3://bucket/x", &[minio]));
        assert!(lacks("s3://bucket", &[("AWS_ENDPOINT_URL", "https://r2.example")]));
        assert!(!lacks("s3://bucket", &[]) && !lacks("s3://bucket", &[aws]));
        for chosen in ["sha256", "none"] {
            assert!(!lacks("s3://bucket", &[minio, ("aws_checksum_algorithm", chosen)]));
        }
        assert!(!lacks("file:///lake", &[]) && !lacks("gs://bucket", &[]));
    }

    #[test]
    fn a_trail_that_is_only_shown_is_told_of() {
        let sink = |target| SinkSettings::of(target, OnFailure::Refuse);
        let file = || sink(SinkTarget::File { path: "events".into(), options: FileOptions::default() });
        let part = || {
            let filter = Filter { except: vec!["LIST".into()], ..Filter::default() };
            SinkSettings { shape: Shape { filter, ..Shape::default() }, ..file() }
        };
        assert!(is_shown_only(&[sink(SinkTarget::Stdout)]));
        assert!(is_shown_only(&[sink(SinkTarget::Stdout), part()]));
        assert!(!is_shown_only(&[sink(SinkTarget::Stdout), file()]));
        assert!(!is_shown_only(&[part()]) && !is_shown_only(&[]));
    }
}
