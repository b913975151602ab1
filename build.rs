//! What `lockgate --version` says of the build: the commit, the features, the target and the profile.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LOCKGATE_COMMIT");
    let said = env::var("LOCKGATE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = said.or_else(commit).unwrap_or_else(|| "unknown".to_owned());
    let target = env::var("TARGET").unwrap_or_default();
    let profile = env::var("PROFILE").unwrap_or_default();
    println!("cargo::rustc-env=LOCKGATE_COMMIT={commit}");
    println!("cargo::rustc-env=LOCKGATE_FEATURES={}", features());
    println!("cargo::rustc-env=LOCKGATE_TARGET={target} ({profile})");
    clouds();
}

/// `cfg(clouds)`: there is a store in a cloud, so what they share is compiled. `cfg(all_clouds)`: there are all of them, so code that
/// is not used is dead.
fn clouds() {
    let has = |cloud: &&str| env::var_os(format!("CARGO_FEATURE_{cloud}")).is_some();
    let clouds = ["S3", "GCS", "AZURE"];
    println!("cargo::rustc-check-cfg=cfg(clouds, all_clouds)");
    if clouds.iter().any(has) {
        println!("cargo::rustc-cfg=clouds");
    }
    if clouds.iter().all(has) {
        println!("cargo::rustc-cfg=all_clouds");
    }
}

/// The commit of the sources, as git names it. A build for development is not asked: it would be compiled anew after each commit.
fn commit() -> Option<String> {
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        return Some("a build for development".to_owned());
    }
    // The log of HEAD grows with each commit and each checkout.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let folder = env::var("CARGO_MANIFEST_DIR").ok()?;
    let answer = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?.trim().to_owned();
    (answer.status.success() && !text.is_empty()).then_some(text)
}

/// The features of Cargo.toml that are on.
fn features() -> String {
    let of = |(name, _): (String, String)| {
        name.strip_prefix("CARGO_FEATURE_").map(|name| name.to_ascii_lowercase().replace('_', "-"))
    };
    let mut names: Vec<String> = env::vars().filter_map(of).filter(|name| name != "default").collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
