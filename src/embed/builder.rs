//! From a configuration, and what the program brings along, to a gateway that serves.

use std::sync::Arc;

use object_store::ObjectStore;
use tokio::task::spawn_blocking;

use super::configuration::{Configuration, ConfigurationError};
use super::events::{EventSink, sink_of};
use super::gate::{Judge, LoginGate};
use super::running::Gateway;
use super::user_directory::{UserDirectory, source_of};
use crate::audit::SinkSettings;
use crate::config::{self, Beside, InForce};
use crate::gateway::{self, Brought};
use crate::ssh::LoginJudge;
use crate::stores::{self, Store};
use crate::users::{OwnSource, SourceSettings};

/// A gateway that has not been started. [`Gateway::builder`] makes one.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    configuration: Configuration,
    own: Own,
}

/// Why a gateway did not start.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// Something that the configuration names, or that the program brings along, cannot be used: a port is taken, a key cannot be read, a
    /// store does not answer. A sentence that says what to do.
    #[error("{0}")]
    Unusable(String),
}

/// What the program brings along, whatever the configuration says.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    stores: Vec<Arc<dyn Store>>,
    directories: Vec<OwnSource>,
    sinks: Vec<SinkSettings>,
    judge: Option<Arc<Judge>>,
}

impl Builder {
    pub(super) fn new(configuration: Configuration) -> Builder {
        Builder { configuration, own: Own::default() }
    }

    /// One more store, which homes name as they do one of the configuration (`NAME:/FOLDER`).
    ///
    /// Any [`ObjectStore`] serves that gives its objects entity tags and can put on a condition (`PutMode::Create`, `PutMode::Update`) and with
    /// attributes. Its own times are shown; clients cannot set them. Empty directories are objects with the name `.lockgate-directory`.
    /// docs/EMBEDDING.md says what else such a store does differently.
    pub fn store(mut self, name: &str, store: impl ObjectStore) -> Builder {
        self.own.stores.push(stores::adapt(name, Arc::new(store)));
        self
    }

    /// One more directory of users. It is asked after the users of the configuration and its sources, and after the directories that were
    /// added before it.
    pub fn users(mut self, directory: impl UserDirectory) -> Builder {
        self.own.directories.push(source_of(Arc::new(directory)));
        self
    }

    /// One more sink of events, beside those of the configuration. Without `events` in the configuration, events go to the sinks that were
    /// added here and not to standard output.
    pub fn events(mut self, sink: impl EventSink) -> Builder {
        self.own.sinks.push(sink_of(Arc::new(sink)));
        self
    }

    /// Who decides on logins whose proofs are good. A second one replaces the first.
    pub fn login_gate(mut self, gate: impl LoginGate) -> Builder {
        self.own.judge = Some(Arc::new(Judge(Arc::new(gate))));
        self
    }

    /// Reads the configuration, opens the stores, the listeners and the audit trail, and serves in tasks of the runtime. Returns when the
    /// gateway listens. A future that is dropped before that starts nothing, or stops what it has started.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(self) -> Result<Gateway, StartError> {
        Gateway::start(self.configuration, self.own).await
    }
}

impl Own {
    /// The settings of a configuration with what the program brings along. May read files, so a thread of its own does it.
    pub(super) async fn settings(
        &self,
        configuration: &Configuration,
        in_force: InForce,
    ) -> Result<gateway::Settings, StartError> {
        let (own, Configuration(document)) = (self.clone(), configuration.clone());
        let reading = spawn_blocking(move || {
            let stores = own.stores.iter().map(|store| store.name().to_owned()).collect();
            let beside = Beside { stores, has_sinks: !own.sinks.is_empty() };
            config::read_beside(&document, &beside, in_force).map(|settings| own.added_to(settings))
        });
        let read =
            reading.await.map_err(|error| StartError::Unusable(format!("the configuration was not read: {error}")))?;
        read.map_err(|problems| ConfigurationError(problems).into())
    }

    fn added_to(self, mut settings: gateway::Settings) -> gateway::Settings {
        settings.audit.sinks.extend(self.sinks);
        settings.users_from.extend(self.directories.into_iter().map(SourceSettings::Own));
        settings.brought = Brought { stores: self.stores, judge: self.judge.map(|judge| judge as Arc<dyn LoginJudge>) };
        settings
    }

    /// What cannot be: two stores of one name, two directories of one label.
    pub(super) fn check(&self) -> Result<(), StartError> {
        fn twice(mut names: Vec<&str>, what: &str) -> Result<(), StartError> {
            names.sort_unstable();
            match names.windows(2).find(|pair| pair[0] == pair[1]) {
                Some(pair) => Err(StartError::Unusable(format!("{what} {:?} was added twice", pair[0]))),
                None => Ok(()),
            }
        }
        twice(self.stores.iter().map(|store| store.name()).collect(), "the store")?;
        twice(self.directories.iter().map(|own| &*own.source).collect(), "the directory of users")
    }
}
