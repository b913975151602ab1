//! Where a trail is read from: files and folders, standard input, a store of a configuration, a URL.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use tokio::runtime::{Handle, Runtime};

use super::super::environment;
use super::super::progress::{Measure, Progress};
use super::Wrong;
use crate::audit::Archive;
use crate::audit::read::{Parts, Source, Span, Trail};
use crate::gateway::folder::StoreFolder;
use crate::secret::Secret;
use crate::stores::{self, Key};
use crate::{cli::Failure, config};

/// The name of a store that a URL names.
const NAMELESS: &str = "audit";

/// Which trail.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(in crate::cli) struct Sources {
    /// Files and folders of events, plain or gzip-compressed; `-` for standard input; `STORE:/PREFIX` for a store of the
    /// configuration; a URL such as `s3://bucket/prefix`
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,
    /// Configuration that defines the stores for `STORE:/PREFIX` [env: LOCKGATE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Store option for URLs, as in the configuration (`aws_region=eu-west-1`); other options come from the environment
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
}

/// A folder of a store, and what its requests run on.
pub(super) struct Folder {
    pub(super) archive: Arc<dyn Archive>,
    /// The gateway whose configuration names it.
    pub(super) server: Option<String>,
    runtime: Runtime,
}

impl Folder {
    /// Waits for what is asked of it.
    pub(super) fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }
}

/// A trail, and what fetches its objects.
pub(super) struct Opened {
    pub(super) trail: Trail,
    /// How far it is read, on a terminal.
    pub(super) progress: Progress,
    /// Those of its sources that are folders of stores.
    pub(super) archives: Vec<Arc<dyn Archive>>,
    // Ends after the trail: fields are dropped in order.
    runtime: Option<Runtime>,
}

impl Opened {
    /// Waits for what is asked of a folder of a store.
    pub(super) fn wait<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        self.runtime.as_ref().map(|runtime| runtime.block_on(answer))
    }
}

impl Sources {
    /// Whether standard input is one of them.
    pub(super) fn has_stream(&self) -> bool {
        self.sources.iter().any(|source| source == "-")
    }

    /// The folder of the witness: `STORE:/PREFIX`, a URL, or when nothing is said the one of the configuration.
    pub(super) fn witness(&self, named: &str) -> Result<Folder, Failure> {
        let mut opening = self.opening();
        let (archive, server) = if named.is_empty() {
            let file = self.config_file().ok_or_else(|| {
                Wrong("--witness: name the configuration with --config FILE, or write --witness=STORE:/PREFIX".into())
            })?;
            let settings = config::load(&file)?;
            let witness = settings.audit.chain.as_ref().and_then(|chain| chain.witness.as_ref());
            let place = &witness.ok_or_else(|| Wrong(format!("{} has no audit.witness", file.display())))?.place;
            opening.config = Some(settings.stores);
            let store = opening.settings(&place.store)?;
            (opening.archive(&store, &place.folder)?, Some(settings.audit.server))
        } else if named.contains("://") {
            (opening.url(named)?, None)
        } else {
            let (store, prefix) = named.split_once(':').ok_or_else(|| {
                Wrong(format!("--witness: {named} is neither STORE:/PREFIX nor a URL such as s3://bucket/prefix"))
            })?;
            let settings = opening.settings(store)?;
            (opening.archive(&settings, prefix)?, None)
        };
        opening.runtime()?;
        let runtime = opening.runtime.ok_or_else(|| anyhow!("the threads cannot be started"))?;
        Ok(Folder { archive, server, runtime })
    }

    fn config_file(&self) -> Option<PathBuf> {
        environment::config(self.config.as_deref())
    }

    fn opening(&self) -> Opening<'_> {
        Opening { sources: self, files: Vec::new(), opened: Vec::new(), runtime: None, config: None }
    }

    /// Opens the sources; nothing of them is read yet but the names of files.
    pub(super) fn open(&self, span: Span) -> Result<Opened, Failure> {
        let mut opening = self.opening();
        for source in &self.sources {
            opening.add(source)?;
        }
        opening.finish(span)
    }
}

/// Sources that are being opened.
struct Opening<'a> {
    sources: &'a Sources,
    /// Files that follow each other, which are put in order together.
    files: Vec<PathBuf>,
    opened: Vec<Source>,
    runtime: Option<Runtime>,
    config: Option<Vec<stores::Settings>>,
}

impl Opening<'_> {
    fn add(&mut self, source: &str) -> Result<(), Failure> {
        let source = if source == "-" {
            if std::io::stdin().is_terminal() {
                eprintln!("reading events from the terminal");
            }
            Source::Stream("standard input".into(), Box::new(std::io::stdin()))
        } else if source.contains("://") {
            Source::Archive(self.url(source)?)
        } else if let Some((store, prefix)) = self.of_store(source) {
            let settings = self.settings(store)?;
            Source::Archive(self.archive(&settings, prefix)?)
        } else {
            self.files.push(PathBuf::from(source));
            return Ok(());
        };
        self.end_files()?;
        self.opened.push(source);
        Ok(())
    }

    /// `STORE:/PREFIX`; a file of that name comes first.
    fn of_store<'s>(&self, source: &'s str) -> Option<(&'s str, &'s str)> {
        let (store, prefix) = source.split_once(':')?;
        let is_name = !store.is_empty() && !store.contains('/') && (prefix.is_empty() || prefix.starts_with('/'));
        (is_name && std::fs::symlink_metadata(source).is_err()).then_some((store, prefix))
    }

    fn settings(&mut self, store: &str) -> Result<stores::Settings, Failure> {
        let Some(file) = self.sources.config_file() else {
            return Err(Wrong(format!("{store}:/… is in a store; name its configuration with --config FILE")).into());
        };
        if self.config.is_none() {
            self.config = Some(config::load(&file)?.stores);
        }
        let stores = self.config.as_deref().unwrap_or_default();
        let found = stores.iter().find(|settings| settings.name == store);
        found.cloned().ok_or_else(|| {
            let names: Vec<_> = stores.iter().map(|settings| format!("{:?}", settings.name)).collect();
            Wrong(format!("no store named {store:?}; the stores are {}", names.join(", "))).into()
        })
    }

    fn url(&mut self, url: &str) -> Result<Arc<dyn Archive>, Failure> {
        let mut options = Vec::new();
        for option in &self.sources.options {
            let (name, value) = option.split_once('=').ok_or_else(|| Wrong("--option is NAME=VALUE".into()))?;
            options.push((name.to_owned(), Secret::new(value.to_owned())));
        }
        options.extend(options_of_environment(url, &options));
        let settings = stores::Settings { name: NAMELESS.into(), url: url.to_owned(), options };
        stores::validate(&settings).map_err(Wrong)?;
        Ok(Arc::new(self.folder(&settings, "")?.called(url)))
    }

    fn archive(&mut self, settings: &stores::Settings, prefix: &str) -> Result<Arc<dyn Archive>, Failure> {
        Ok(Arc::new(self.folder(settings, prefix)?))
    }

    fn folder(&mut self, settings: &stores::Settings, prefix: &str) -> Result<StoreFolder, Failure> {
        let root = Key::parse(prefix).map_err(|error| Wrong(format!("{prefix}: {error}")))?;
        let handle = self.runtime()?;
        let _inside = handle.enter();
        let store = stores::open(settings).map_err(|error| anyhow!("the store {:?}: {error}", settings.name))?;
        Ok(StoreFolder::new(store, root))
    }

    fn runtime(&mut self) -> anyhow::Result<Handle> {
        if self.runtime.is_none() {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            self.runtime = Some(runtime.context("the threads cannot be started")?);
        }
        match &self.runtime {
            Some(runtime) => Ok(runtime.handle().clone()),
            None => bail!("the threads cannot be started"),
        }
    }

    fn end_files(&mut self) -> anyhow::Result<()> {
        let named = std::mem::take(&mut self.files);
        if named.is_empty() {
            return Ok(());
        }
        let parts = Parts::find(&named)?;
        for path in parts.passed_over() {
            eprintln!("skipped: {}", path.display());
        }
        self.opened.push(Source::Files(parts));
        Ok(())
    }

    fn finish(mut self, span: Span) -> Result<Opened, Failure> {
        self.end_files()?;
        let handle = self.runtime.as_ref().map(|runtime| runtime.handle().clone());
        let archives = self.opened.iter().filter_map(|source| match source {
            Source::Archive(archive) => Some(archive.clone()),
            _ => None,
        });
        let archives = archives.collect();
        let trail = Trail::new(self.opened, span, handle);
        let reading = trail.reading();
        let progress = Progress::start(move || Measure { done: reading.taken(), total: reading.total() });
        Ok(Opened { trail, progress, archives, runtime: self.runtime })
    }
}

/// Options that the environment gives by the names that the store's own tools use (`AWS_REGION`, `GOOGLE_SERVICE_ACCOUNT`,
/// `AZURE_STORAGE_ACCOUNT_NAME`), as far as the store knows them and `given` does not have them.
fn options_of_environment(url: &str, given: &[(String, Secret)]) -> Vec<(String, Secret)> {
    let prefix = match url.split_once("://").map_or("", |(scheme, _)| scheme) {
        "s3" | "s3a" => "AWS_",
        "gs" => "GOOGLE_",
        "az" | "azure" | "adl" | "abfs" | "abfss" => "AZURE_",
        _ => return Vec::new(),
    };
    let mut found = Vec::new();
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        let is_given = given.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        if !name.starts_with(prefix) || is_given {
            continue;
        }
        let option = (name.to_ascii_lowercase(), Secret::new(value.to_owned()));
        let alone = stores::Settings { name: NAMELESS.into(), url: url.to_owned(), options: vec![option.clone()] };
        // What is not an option at all is named in the message; what does not stand alone is an option.
        let is_known = stores::validate(&alone).map_or_else(|what| !what.contains(stores::NO_OPTION), |()| true);
        if is_known {
            found.push(option);
        }
    }
    found
}
