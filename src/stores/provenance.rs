//! Where an object comes from, as its metadata says: who put it there, in which session, and the digest of its content.

use std::sync::Arc;

use object_store::{Attribute, Attributes};
use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::Settings;

/// Who made an object, and what is known of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// `user@server`, as AWS Transfer Family has it in `user-agent-id`.
    user_agent_id: Arc<str>,
    /// The id of the session, as events have it.
    session: Arc<str>,
    /// The SHA-256 of the content in hex digits, where it is known when the object is made.
    sha256: Option<Arc<str>>,
}

impl Provenance {
    /// Of what `user` makes on `server` in a session. Metadata is ASCII: everything else is percent-encoded.
    pub fn new(user: &str, server: &str, session: &Arc<str>) -> Self {
        let id = format!("{user}@{server}");
        let user_agent_id = utf8_percent_encode(&id, CONTROLS).to_string().into();
        Provenance { user_agent_id, session: Arc::clone(session), sha256: None }
    }

    /// The digest of the content is known by now.
    pub fn set_sha256(&mut self, sha256: &str) {
        self.sha256 = Some(Arc::from(sha256));
    }

    /// Names and values of the metadata.
    pub(super) fn metadata(&self, names: Names) -> impl Iterator<Item = (&'static str, &str)> {
        let values = [Some(&self.user_agent_id), Some(&self.session), self.sha256.as_ref()];
        names.all().into_iter().zip(values).filter_map(|(name, value)| Some((name, value?.as_ref())))
    }

    /// Adds the metadata to an object's attributes.
    pub(super) fn add_to(&self, attributes: &mut Attributes, names: Names) {
        for (name, value) in self.metadata(names) {
            attributes.insert(Attribute::Metadata(name.into()), value.to_owned().into());
        }
    }
}

/// How the store writes the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// `user-agent-id`, as AWS Transfer Family has it.
    Dashes,
    /// `user_agent_id`: Azure takes letters, digits and underscores only.
    Underscores,
}

impl Names {
    fn all(self) -> [&'static str; 3] {
        match self {
            Names::Dashes => ["user-agent-id", "lockgate-session", "lockgate-sha256"],
            Names::Underscores => ["user_agent_id", "lockgate_session", "lockgate_sha256"],
        }
    }

    /// The name of the digest.
    pub(super) fn sha256(self) -> &'static str {
        self.all()[2]
    }
}

/// The option of a store that leaves the metadata out.
const OPTION: &str = "object_metadata";

/// Whether an option, in small letters, is the one of this module.
pub(super) fn is_option(option: &str) -> bool {
    option == OPTION
}

/// The names, unless the store's settings leave the metadata out.
///
/// # Errors
/// A sentence that says what the option must be.
pub(super) fn names_of(settings: &Settings, names: Names) -> Result<Option<Names>, String> {
    let given = settings.options.iter().rfind(|(option, _)| is_option(&option.to_ascii_lowercase()));
    match given.map(|(_, value)| value.expose()) {
        None | Some("on" | "true") => Ok(Some(names)),
        Some("off" | "false") => Ok(None),
        Some(_) => Err(format!(
            "the option \"{OPTION}\" of store \"{}\" must be on (objects say who uploaded them) or off",
            settings.name
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn metadata_is_ascii_and_has_the_names_that_the_store_takes() {
        let mut provenance = Provenance::new("ann", "küche 1\n", &Arc::from("0049cd844c7536c06a89"));
        let all = |provenance: &Provenance, names| {
            let all = provenance.metadata(names).map(|(name, value)| format!("{name}={value}"));
            all.collect::<Vec<_>>()
        };
        assert_eq!(
            all(&provenance, Names::Dashes),
            ["user-agent-id=ann@k%C3%BCche 1%0A", "lockgate-session=0049cd844c7536c06a89"]
        );
        provenance.set_sha256("ab");
        assert_eq!(all(&provenance, Names::Underscores)[2], "lockgate_sha256=ab");
        let mut attributes = Attributes::new();
        provenance.add_to(&mut attributes, Names::Dashes);
        assert_eq!(attributes.len(), 3);
    }

    #[test]
    fn the_option_leaves_it_out() {
        let read = |value: Option<&str>| {
            let options = value.map(|value| ("Object_Metadata".to_owned(), Secret::new(value.to_owned())));
            let settings = Settings { name: "s".into(), url: String::new(), options: options.into_iter().collect() };
            names_of(&settings, Names::Dashes)
        };
        assert_eq!((read(None), read(Some("on"))), (Ok(Some(Names::Dashes)), Ok(Some(Names::Dashes))));
        assert_eq!((read(Some("off")), read(Some("false"))), (Ok(None), Ok(None)));
        assert!(read(Some("some")).unwrap_err().contains("on (objects say"));
    }
}
