//! What is right in a configuration, and still better known by its operator.

use crate::audit::{SinkSettings, SinkTarget};
use crate::gateway::Settings;

/// A sentence for each.
pub(super) fn advice(settings: &Settings) -> Vec<String> {
    let is_kept = settings.audit.chain.is_some();
    let shown_only = (is_kept && is_shown_only(&settings.audit.sinks)).then(|| {
        "note: only standard output or syslog have the whole trail. After a power cut, numbers of events of the last second may be given to others, \
         which `audit verify` reports as changed lines; a sink such as { sink: file, path: events.ndjson } beside them does not have that"
            .to_owned()
    });
    shown_only.into_iter().collect()
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
