//! The container image: built by buildah without a network, opened as what it is (OCI), and run from what is in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::machine::{Machine, as_root};
use crate::place::{builds_static_program, project, static_program};
use crate::support::process::{Finished, LIMIT, program, run, until};
use crate::support::server::folder;

/// An image, unpacked as an OCI layout.
struct Image {
    folder: TempDir,
    config: Value,
    layers: Vec<String>,
}

/// Runs the build in a network namespace that has nothing, with storage of its own.
#[track_caller]
fn build(archive: &Path, storage: &Path) -> Finished {
    let words = format!("--storage-driver vfs --root {0}/root --runroot {0}/run", storage.display());
    let mut command = as_root("unshare");
    command.args(["--net", "--", "env", &format!("LOCKGATE_BUILDAH={words}"), "bash"]);
    command.arg(project("deploy/container/build")).arg(static_program()).arg(archive);
    run(&mut command).succeeded()
}

impl Image {
    #[track_caller]
    fn build() -> Image {
        let (folder, storage) = (folder(), folder());
        let archive = folder.path().join("lockgate.tar");
        build(&archive, storage.path());
        // Root's, and sometimes a mount.
        run(as_root("sh")
            .args(["-c", "umount \"$1\"/root/vfs 2>/dev/null; rm -rf \"$1\"/*", "sh"])
            .arg(storage.path()))
        .succeeded();
        run(as_root("tar").arg("-xf").arg(&archive).arg("-C").arg(folder.path())).succeeded();
        run(as_root("chmod").args(["-R", "a+rX"]).arg(folder.path())).succeeded();
        let index = json(&folder.path().join("index.json"));
        let manifest = blob(folder.path(), &index["manifests"][0]["digest"]);
        let config = blob(folder.path(), &manifest["config"]["digest"]);
        let layers = manifest["layers"].as_array().unwrap();
        let layers = layers.iter().map(|layer| digest(&layer["digest"])).collect();
        Image { folder, config, layers }
    }

    /// Lays the layers over each other, as an engine does.
    #[track_caller]
    fn unpack(&self) -> TempDir {
        let root = folder();
        for layer in &self.layers {
            let file = self.folder.path().join(layer);
            run(as_root("tar").args(["--numeric-owner", "-xpf"]).arg(file).arg("-C").arg(root.path())).succeeded();
        }
        run(as_root("chmod").arg("755").arg(root.path())).succeeded();
        root
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn digest(value: &Value) -> String {
    format!("blobs/{}", value.as_str().unwrap().replace(':', "/"))
}

fn blob(folder: &Path, value: &Value) -> Value {
    json(&folder.join(digest(value)))
}

#[test]
fn an_image_from_nothing_is_built_without_a_network_and_has_only_what_it_says() {
    if !builds_static_program() {
        return;
    }
    let image = Image::build();
    let settings = &image.config["config"];
    assert_eq!(settings["User"], "65532:65532");
    assert_eq!(settings["Entrypoint"], json!(["/usr/bin/lockgate"]));
    assert_eq!(settings["Cmd"], json!(["serve", "--config", "/etc/lockgate/config.yaml"]));
    assert_eq!(settings["StopSignal"], "SIGTERM");
    assert!(settings["ExposedPorts"]["2022/tcp"].is_object(), "{settings}");

    let root = image.unpack();
    let listing =
        run(as_root("find").arg(root.path()).args(["-mindepth", "1", "-printf", "/%P %y %U:%G %m\n"])).succeeded();
    let mut files: BTreeMap<&str, &str> = listing.stdout.lines().map(|line| line.split_once(' ').unwrap()).collect();
    for (path, expected) in [
        ("/usr/bin/lockgate", "f 0:0 755"),
        ("/etc/ssl/certs/ca-certificates.crt", "f 0:0 644"),
        ("/etc/passwd", "f 0:0 644"),
        ("/etc/group", "f 0:0 644"),
        ("/tmp", "d 0:0 1777"),
        ("/var/lib/lockgate", "d 65532:65532 755"),
        ("/var/log/lockgate", "d 65532:65532 755"),
        ("/run/lockgate", "d 65532:65532 755"),
    ] {
        assert_eq!(files.remove(path), Some(expected), "{path} in\n{listing}");
    }
    let others: Vec<_> = files.into_iter().filter(|(_, what)| *what != "d 0:0 755").collect();
    assert!(others.is_empty(), "{others:?}");
    run(as_root("rm").arg("-rf").arg(root.path())).succeeded();
}

/// What a runtime is told: the image's own user and command line, a root that nobody can write, no capability, no way to get one.
fn bundle(image: &Image, words: &[&str]) -> Value {
    let settings = &image.config["config"];
    let entry = settings["Entrypoint"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let user: Vec<u32> = settings["User"].as_str().unwrap().split(':').map(|id| id.parse().unwrap()).collect();
    let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    let words: Vec<&str> = entry.chain(words.iter().copied()).collect();
    let mount =
        |kind: &str, to: &str| json!({ "type": kind, "source": kind, "destination": to, "options": ["nosuid"] });
    json!({
        "ociVersion": "1.0.0",
        "process": {
            "args": words,
            "user": { "uid": user[0], "gid": user[1] },
            "cwd": settings["WorkingDir"],
            "env": settings["Env"],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [
            mount("proc", "/proc"),
            mount("tmpfs", "/dev"),
            { "type": "bind", "source": "/root/state", "destination": "/var/lib/lockgate", "options": ["rbind", "rw"] },
        ],
        "linux": { "namespaces": namespaces },
    })
}

/// Needs a runtime for containers (crun), which needs a machine whose control groups are of version 2 alone: the one of the tests.
#[test]
fn a_runtime_starts_the_image_on_a_read_only_root_and_users_transfer() {
    if !builds_static_program() {
        return;
    }
    let image = Image::build();
    let machine = Machine::boot();
    machine.shell("mkdir -p /root/bundle/rootfs /root/state; chown 65532:65532 /root/state; chmod 711 /root");
    for layer in &image.layers {
        machine.copy(&image.folder.path().join(layer), "/root/layer");
        machine.shell("tar --numeric-owner -xpf /root/layer -C /root/bundle/rootfs");
    }
    let crun = ["crun", "--cgroup-manager=disabled", "run", "--bundle", "/root/bundle"];
    let started = |name: &str, words: &[&str]| {
        machine.write("/root/bundle/config.json", &bundle(&image, words).to_string());
        machine.start(&[&crun[..], &[name]].concat())
    };
    started("init", &["init", "/var/lib/lockgate"]).finish(LIMIT).succeeded();
    machine.shell(
        "ssh-keygen -q -t ed25519 -N '' -f /root/key; cd /root/state; cp /root/key.pub demo.pub; chmod 644 demo.pub; \
         sed -i 's|^users: \\[\\]|users: [{ name: demo, public_keys: [\"${file:demo.pub}\"], home: [{ entry: /, target: \"local:/home\" }] }]|' \
         config.yaml; chown 65532:65532 demo.pub config.yaml",
    );
    let serve = ["serve", "--config", "/var/lib/lockgate/config.yaml"];
    let mut gateway = started("gateway", &serve);
    until("socket", LIMIT, || {
        assert!(!gateway.has_ended(), "the gateway has ended");
        machine.shell("test -S /root/state/admin.sock && echo yes || true").stdout.contains("yes").then_some(())
    });
    machine.shell(
        "cd /root/state; \
         printf 'put known_hosts /there\\nget /there /root/back\\n' | sftp -b - -P 2022 -i /root/key -o IdentitiesOnly=yes \
         -o UserKnownHostsFile=known_hosts -o StrictHostKeyChecking=yes demo@127.0.0.1; cmp known_hosts /root/back",
    );
    let status = machine.shell("cat /proc/$(pgrep -f '[l]ockgate serve')/status").stdout;
    for line in ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.lines().any(|found| found == line), "no {line:?} in\n{status}");
    }
    machine.shell("crun --cgroup-manager=disabled kill gateway TERM");
    gateway.finish(LIMIT).succeeded();
}

#[test]
fn a_program_with_a_loader_is_refused() {
    let out = folder();
    let mut command = program("bash");
    command
        .arg(project("deploy/container/build"))
        .arg(env!("CARGO_BIN_EXE_lockgate"))
        .arg(out.path().join("image.tar"));
    run(&mut command).failed().says("build it with deploy/static/build");
}
