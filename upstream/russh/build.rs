//! Copies the sources of russh from where cargo keeps them and applies each file of `patches/`, in the order of their names.
//!
//! Fails loudly when the sources are not there or a patch does not fit.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// As `Cargo.toml` asks for it.
const SOURCE: &str = concat!("russh-", env!("CARGO_PKG_VERSION"));

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=patches");
    println!("cargo:rerun-if-env-changed=RUSSH_SOURCE");
    let target = PathBuf::from(env::var("OUT_DIR")?).join("russh");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    copy(&source()?.join("src"), &target)?;
    let mut patches: Vec<PathBuf> =
        fs::read_dir("patches")?.map(|entry| Ok(entry?.path())).collect::<Result<_, Box<dyn Error>>>()?;
    patches.sort();
    for patch in patches.iter().filter(|path| path.extension().is_some_and(|kind| kind == "patch")) {
        apply(patch, &target).map_err(|error| format!("{}: {error}", patch.display()))?;
    }
    Ok(())
}

/// The folder of the sources: `RUSSH_SOURCE`, else in cargo's registry.
fn source() -> Result<PathBuf, Box<dyn Error>> {
    if let Some(folder) = env::var_os("RUSSH_SOURCE") {
        return Ok(folder.into());
    }
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let registries = home.ok_or("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let found = fs::read_dir(&registries)
        .map_err(|error| format!("{}: {error}", registries.display()))?
        .filter_map(|registry| Some(registry.ok()?.path().join(SOURCE)))
        .find(|folder| folder.join("src/lib_inner.rs").is_file());
    Ok(found.ok_or_else(|| {
        let registries = registries.display();
        format!("the sources of {SOURCE} are not in {registries}; if cargo keeps them elsewhere, name the folder in RUSSH_SOURCE")
    })?)
}

fn copy(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?
        } else {
            fs::write(&target, fs::read(entry.path())?)?
        }
    }
    Ok(())
}

/// Applies the changes of one patch to each file that it names. What stands before the first file is for people.
fn apply(patch: &Path, sources: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(patch)?;
    let mut files: Vec<&str> = text.split("\n--- a/src/").collect();
    files.remove(0);
    if files.is_empty() {
        return Err("it changes nothing".into());
    }
    for file in files {
        let name = file.lines().next().ok_or("a file without a name")?;
        let change = format!("--- a/src/{}\n", file.trim_end_matches('\n'));
        let target = sources.join(name);
        let before = fs::read_to_string(&target).map_err(|error| format!("{name}: {error}"))?;
        let after =
            diffy::apply(&before, &diffy::Patch::from_str(&change)?).map_err(|error| format!("{name}: {error}"))?;
        fs::write(&target, after)?;
    }
    Ok(())
}
