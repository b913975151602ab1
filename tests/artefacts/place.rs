//! Where artefacts are, and what builds them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::campaign::{is_long, report};
use crate::support::process::{program, run};
use crate::support::server::folder;

/// A file of the project.
pub fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A script of `deploy/`.
pub fn script(name: &str) -> Command {
    let mut command = program("bash");
    command.arg(project("deploy").join(name)).env_remove("SOURCE_DATE_EPOCH");
    command
}

/// Whether what needs the static program is tested: in the long form, for it is a build of its own. Says so otherwise.
pub fn builds_static_program() -> bool {
    let builds = is_long();
    if !builds {
        report("the static program is built and tested by `tests/run long`");
    }
    builds
}

/// The static program. The profile is the one that is built quickest: what is linked is the same.
pub fn static_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut build = script("static/build");
        // Cargo's own variables are for the tests around it.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME") {
            build.env_remove(name);
        }
        PathBuf::from(run(build.arg("quick")).succeeded().stdout.trim())
    })
}

/// The static program without its symbols, in a folder of its own: a root with nothing else.
pub fn bare_root() -> TempDir {
    let root = folder();
    run(program("strip").args(["--strip-unneeded", "-o"]).arg(root.path().join("lockgate")).arg(static_program()))
        .succeeded();
    root
}
