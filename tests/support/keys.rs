//! Key pairs, made and read by ssh-keygen: an opinion of its own about types and fingerprints.

use std::fs;
use std::path::{Path, PathBuf};

use super::process::{program, run};

/// A key pair in files.
#[derive(Debug, Clone)]
pub struct Key {
    pub private: PathBuf,
    /// The line of the `.pub` file: type, blob, comment.
    pub public: String,
}

impl Key {
    /// Makes a pair. `kind` is ssh-keygen's: `ed25519`, `ecdsa`, `rsa`.
    pub fn make(folder: &Path, name: &str, kind: &str) -> Key {
        Key::make_as(folder, name, &["-t", kind])
    }

    /// Makes a pair with these arguments of ssh-keygen: `-t`, `ecdsa`, `-b`, `521`.
    pub fn make_as(folder: &Path, name: &str, arguments: &[&str]) -> Key {
        let private = folder.join(name);
        let comment = format!("{name}@tests");
        let mut command = program("ssh-keygen");
        run(command.args(["-q", "-N", "", "-C", &comment]).args(arguments).arg("-f").arg(&private)).succeeded();
        let public = fs::read_to_string(private.with_extension("pub")).expect("the public half").trim().to_string();
        Key { private, public }
    }

    /// The type as it stands in the public line (`ssh-ed25519`).
    pub fn kind(&self) -> &str {
        self.public.split(' ').next().unwrap()
    }

    /// The same key with options before it.
    pub fn with_options(&self, options: &str) -> Key {
        Key { public: format!("{options} {}", self.public), ..self.clone() }
    }

    /// The blob in base64.
    pub fn blob(&self) -> &str {
        self.public.split(' ').nth(1).unwrap()
    }

    pub fn comment(&self) -> &str {
        self.public.splitn(3, ' ').nth(2).unwrap()
    }

    /// What `ssh-keygen -lf` says: `SHA256:…` and the type in capitals (`ED25519`).
    pub fn fingerprint(&self) -> (String, String) {
        let line = run(program("ssh-keygen").arg("-lf").arg(self.private.with_extension("pub"))).succeeded().stdout;
        let words: Vec<&str> = line.split_whitespace().collect();
        let kind = words.last().unwrap().trim_matches(['(', ')']);
        (words[1].into(), kind.into())
    }
}
