//! `lockgate demo`: a gateway to try, with commands ready to paste.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, anyhow};

use super::serve::{Hangup, run};
use super::starter::{
    ACCOUNT, CLIENT_KEY, CONFIG, KNOWN_HOSTS, SAMPLE, SSH_CONFIG, Starter, TARGET, USER, is_plain, quoted_value,
    reachable,
};
use super::{Failure, block_on};
use crate::config;
use crate::inherited::Inherited;

/// Makes the folder's files where they are missing, and serves them.
pub(super) fn demo(folder: &Path, listen: Option<SocketAddr>, bastion: bool) -> Result<(), Failure> {
    let starter = if bastion { Starter::make_bastion(folder)? } else { Starter::make(folder)? };
    let mut settings = config::load(&starter.folder.join(CONFIG))?;
    if let Some(socket) = &settings.admin.doors.socket {
        refuse_second_run(&starter.folder, socket)?;
    }
    if let Some(address) = listen {
        settings.ssh.listen = vec![address];
        // Who runs a second demo wants a second page.
        settings.admin.doors.listen.iter_mut().for_each(|page| page.set_port(0));
    }
    for address in settings.ssh.listen.iter().chain(&settings.admin.doors.listen) {
        refuse_taken_port(*address)?;
    }
    let host_keys = settings.ssh.host_keys.clone();
    let has_user = settings.users.iter().any(|user| &*user.name == USER);
    let has_target = settings.targets.iter().any(|target| &*target.name == TARGET);
    block_on(run(settings, Inherited::default(), Hangup::Drain, |gateway| {
        let addresses = gateway.addresses();
        starter.write_known_hosts(addresses, &host_keys)?;
        let address = addresses.first().context("the gateway listens nowhere")?;
        let page = gateway.admin_link("demo").map_err(anyhow::Error::msg)?;
        let address = reachable(*address);
        eprintln!("{}", introduction(&starter, address, has_user, page.as_deref()));
        if bastion {
            let config = starter.write_ssh_config(address)?;
            eprintln!("{}", jump(&starter.folder, &config, has_target));
        }
        Ok(())
    }))?;
    Ok(())
}

/// Reads `--listen`: an address and a port, or a port of this machine alone.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| "write a port, as in 2022, or an address and a port, as in 127.0.0.1:2022".to_owned())
}

/// Two gateways cannot share a folder: the socket answers while the first one runs.
fn refuse_second_run(folder: &Path, socket: &Path) -> anyhow::Result<()> {
    match UnixStream::connect(socket) {
        Ok(_) => Err(anyhow!(
            "the demo in {0} is running already: paste the commands that it printed, or stop it with Ctrl-C first. \
             `lockgate status --socket {1}` shows its state; `lockgate demo --dir OTHER --listen 0` starts another one",
            folder.display(),
            shell_word(&socket.to_string_lossy())
        )),
        // Nobody listens, or there is no socket.
        Err(_) => Ok(()),
    }
}

/// A port in use is what goes wrong most often: it is told before anything starts, with the way out.
fn refuse_taken_port(address: SocketAddr) -> anyhow::Result<()> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(anyhow!(
            "{address} is in use, perhaps by another demo; add `--listen {}` to choose a free port",
            SocketAddr::new(address.ip(), 0)
        )),
        // Anything else is told by the start itself.
        _ => Ok(()),
    }
}

/// What a newcomer reads: what there is, and what to paste.
fn introduction(starter: &Starter, address: SocketAddr, has_user: bool, page: Option<&str>) -> String {
    let folder = starter.folder.display();
    let state = if starter.made.is_empty() { "Using" } else { "Created" };
    let mut text = format!(
        "\nLockgate serves on {address}. {state} {folder}:\n  config.yaml, the keys, and data/ for the files.\n\
         Each login and each transfer is a row below; in a pipe, it is a line of JSON.\n"
    );
    if !has_user {
        text.push_str(&format!("\nThe configuration has no user {USER:?}; log in as one of its own users.\n"));
    } else {
        text.push_str("\nPaste into another terminal:\n\n");
        for (what, command) in commands(&starter.folder, address) {
            text.push_str(&format!("  # {what}\n  {command}\n\n"));
        }
    }
    if let Some(page) = page {
        let config = shell_word(&starter.folder.join(CONFIG).to_string_lossy());
        text.push_str(&format!(
            "Watch it in a browser. This link logs one browser in and is valid for 15 minutes:\n\n  {page}\n\n  \
             # another such link\n  lockgate admin link --config {config}\n\n"
        ));
    }
    text.push_str("Ctrl-C stops the demo. Run it again to continue with the same keys and files.\n");
    text
}

/// What to paste for a jump.
fn jump(folder: &Path, config: &str, has_target: bool) -> String {
    if !has_target {
        return format!(
            "This folder already had a configuration, and it has no target {TARGET:?}. Add one (docs/BASTION.md), or name an empty folder with --dir.\n"
        );
    }
    let path = |name: &str| shell_word(&folder.join(name).to_string_lossy());
    let (file, sample) = (path(SSH_CONFIG), path(SAMPLE));
    let indented: String = config.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "Through a jump, as {ACCOUNT} at {TARGET}, which is a folder here (data/{TARGET}):\n\n  \
         # one file up\n  scp -F {file} {sample} {TARGET}:/\n\n  \
         # the same with the old SCP protocol\n  scp -O -F {file} {sample} {TARGET}:/\n\n  \
         # a session\n  sftp -F {file} {TARGET}\n\n\
         The client's configuration, {SSH_CONFIG}:\n\n{indented}"
    )
}

/// Commands that work as they stand, from any folder: what each does, and its line.
fn commands(folder: &Path, address: SocketAddr) -> Vec<(&'static str, String)> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let key = path(CLIENT_KEY);
    // `-i` expands `%`, and cannot be told not to.
    let identity = match key.contains('%') {
        true => option("IdentityFile", &key),
        false => format!("-i {}", shell_word(&key)),
    };
    let options = format!(
        "-P {} {identity} -o IdentitiesOnly=yes {} -o StrictHostKeyChecking=yes",
        address.port(),
        option("UserKnownHostsFile", &path(KNOWN_HOSTS))
    );
    let host = match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    let sample = shell_word(&path(SAMPLE));
    let place = shell_word(&format!("{USER}@{host}"));
    let target = shell_word(&format!("{USER}@{host}:/"));
    vec![
        ("a session: put, get, ls, rename, rm …; `help` lists them", format!("sftp {options} {place}")),
        ("one file up (scp over SFTP)", format!("scp {options} {sample} {target}")),
        ("the same with the old SCP protocol", format!("scp -O {options} {sample} {target}")),
    ]
}

/// `-o NAME=PATH`: ssh_config(5) splits the value at spaces, reads quotes and expands `%`.
fn option(name: &str, path: &str) -> String {
    format!("-o {}", shell_word(&format!("{name}={}", quoted_value(path))))
}

/// `text` as one word of a POSIX shell.
pub(super) fn shell_word(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The words that a shell makes of `line`.
    fn words(line: &str) -> Vec<String> {
        let script = format!("printf '%s\\0' {line}");
        let out = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(out.status.success(), "{line}");
        let text = String::from_utf8(out.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn words_survive_a_shell() {
        for text in ["a", "/a/b.c", "", "a b", "it's", "$HOME", "`x`", "a\"b", "*", "~", "ünï", "a\\b", "[::1]", "#a"]
        {
            assert_eq!(words(&shell_word(text)), [text], "{text}");
        }
    }

    #[test]
    fn plain_folders_give_plain_commands() {
        let lines = commands(Path::new("/srv/demo"), "127.0.0.1:2022".parse().unwrap());
        let options = "-P 2022 -i /srv/demo/demo_ed25519 -o IdentitiesOnly=yes \
                       -o UserKnownHostsFile=/srv/demo/known_hosts -o StrictHostKeyChecking=yes";
        assert_eq!(lines[0].1, format!("sftp {options} demo@127.0.0.1"));
        assert_eq!(lines[1].1, format!("scp {options} /srv/demo/hello.txt demo@127.0.0.1:/"));
        assert_eq!(lines[2].1, format!("scp -O {options} /srv/demo/hello.txt demo@127.0.0.1:/"));
    }

    #[test]
    fn odd_folders_are_quoted_for_the_shell_and_for_ssh() {
        let lines = commands(Path::new("/my demo's/50% \"off\""), "[::1]:2022".parse().unwrap());
        let found = words(&lines[1].1);
        let wanted = [
            "scp",
            "-P",
            "2022",
            "-o",
            "IdentityFile=\"/my demo's/50%% \\\"off\\\"/demo_ed25519\"",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "UserKnownHostsFile=\"/my demo's/50%% \\\"off\\\"/known_hosts\"",
            "-o",
            "StrictHostKeyChecking=yes",
            "/my demo's/50% \"off\"/hello.txt",
            "demo@[::1]:/",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        for (text, address) in [
            ("2022", "127.0.0.1:2022"),
            (":2022", "127.0.0.1:2022"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:22", "0.0.0.0:22"),
            ("[::1]:0", "[::1]:0"),
        ] {
            assert_eq!(parse_listen(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in ["", ":", "65536", "-1", "localhost", "localhost:2022", "127.0.0.1"] {
            assert!(parse_listen(text).unwrap_err().contains("as in 127.0.0.1:2022"), "{text}");
        }
    }

    #[test]
    fn a_second_run_in_the_same_folder_is_told_that_the_first_one_runs() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        refuse_second_run(folder.path(), &socket).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let problem = refuse_second_run(folder.path(), &socket).unwrap_err().to_string();
        assert!(problem.contains("is running already") && problem.contains("--dir"), "{problem}");
        // What a killed demo leaves behind is no obstacle.
        drop(listener);
        assert!(socket.exists());
        refuse_second_run(folder.path(), &socket).unwrap();
    }

    #[test]
    fn a_taken_port_is_told_with_the_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let problem = refuse_taken_port(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(problem.contains("is in use") && problem.contains("--listen 127.0.0.1:0"), "{problem}");
        refuse_taken_port("127.0.0.1:0".parse().unwrap()).unwrap();
    }
}
