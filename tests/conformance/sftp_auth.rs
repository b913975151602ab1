//! How an upstream store logs in: by certificate, by password, by questions; and what is refused, in words that help.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use lockgate::internals::secret::Secret;
use lockgate::internals::stores::{Settings, Store, StoreErrorKind};
use tempfile::TempDir;

use crate::fixture::{get, put};
use crate::fixture_sftp::open;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, program, run, tool, until};
use crate::support::server::{Server, free_port};
use crate::support::sshd::Sshd;

/// An SFTP server that lets in who answers its questions: asyncssh's.
const ASKING: &str = r#"
import asyncio, asyncssh, sys
port, key, questions = int(sys.argv[1]), sys.argv[2], [q for q in sys.argv[3:] if q]

class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True
    def password_auth_supported(self):
        return not questions
    def validate_password(self, username, password):
        return password == 'hunter2'
    def kbdint_auth_supported(self):
        return bool(questions)
    def get_kbdint_challenge(self, username, lang, submethods):
        return '', '', '', [(q.lstrip('+'), q.startswith('+')) for q in questions]
    def validate_kbdint_response(self, username, responses):
        return list(responses) == ['hunter2']

async def main():
    await asyncssh.create_server(Server, '127.0.0.1', port, server_host_keys=[key], sftp_factory=True)
    await asyncio.Event().wait()

asyncio.run(main())
"#;

/// A server that asks, and a store on it.
struct Asking {
    store: Arc<dyn Store>,
    _server: Server,
    _folder: TempDir,
}

impl Asking {
    /// `+` before a question: its answer is to be seen. Without questions it takes passwords.
    fn start(questions: &[&str], password: &str) -> Asking {
        let folder = TempDir::new().unwrap();
        let (script, root) = (folder.path().join("server.py"), folder.path().join("root"));
        fs::write(&script, ASKING).unwrap();
        fs::create_dir(&root).unwrap();
        let (host_key, port) = (Key::make(folder.path(), "host", "ed25519"), free_port());
        let mut command = Command::new(tool("venv/bin/python"));
        command.arg(&script).arg(port.to_string()).arg(&host_key.private).args(questions);
        let mut server = Server::start(command.stdin(Stdio::null()).stderr(Stdio::null()), None);
        until("greeting", LIMIT, || {
            assert!(!server.has_ended(), "the server ended");
            let mut greeting = [0; 4];
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?.read_exact(&mut greeting).ok()
        });
        let url = format!("sftp://somebody@127.0.0.1:{port}{}", root.display());
        let store = crate::fixture::open_url(&url, &[("host_key", &host_key.public), ("password", password)]);
        Asking { store, _server: server, _folder: folder }
    }
}

#[tokio::test]
async fn a_password_is_sent_where_the_server_takes_passwords_and_as_the_answer_to_one() {
    for questions in [&[][..], &["Password: "]] {
        let asking = Asking::start(questions, "hunter2");
        asking.store.check().await.unwrap();
        put(&*asking.store, "f", "content").await;
        assert_eq!(get(&*asking.store, "f").await, "content");
        let wrong = Asking::start(questions, "hunter3");
        let error = wrong.store.check().await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::AccessDenied, "{error}");
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
}

#[tokio::test]
async fn no_other_question_is_answered_and_the_error_names_it() {
    for questions in [&["Password: ", "Verification code: "][..], &["+Verification code: "]] {
        let asking = Asking::start(questions, "hunter2");
        let error = asking.store.check().await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::AccessDenied, "{error}");
        let text = error.to_string();
        assert!(text.contains("Verification code") && !text.contains("hunter2"), "{text}");
    }
}

/// Signs a key; the certificate's text.
fn certificate(folder: &Path, ca: &Key, key: &Key, name: &str, further: &[&str]) -> String {
    let public = key.private.with_extension("pub");
    let mut command = program("ssh-keygen");
    command.args(["-q", "-s"]).arg(&ca.private).args(["-I", "upstream", "-n", name]).args(further).arg(&public);
    run(&mut command).succeeded();
    let stem = key.private.file_name().unwrap().to_str().unwrap();
    fs::read_to_string(folder.join(format!("{stem}-cert.pub"))).unwrap()
}

#[tokio::test]
async fn the_account_logs_in_by_key_or_by_a_users_certificate_until_that_expires() {
    let folder = TempDir::new().unwrap();
    let ca = Key::make(folder.path(), "ca", "ed25519");
    let trusted = format!("TrustedUserCAKeys {}", ca.private.with_extension("pub").display());
    let sshd = Sshd::start(&[&trusted]);
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let person = Key::make(folder.path(), kind, kind);
        let private = fs::read_to_string(&person.private).unwrap();
        let open = |certificate: &str| {
            let root = folder.path();
            open(&sshd, root, &[("private_key", &private), ("certificate", certificate), ("connect_timeout", "30s")])
        };
        let store = open(&certificate(folder.path(), &ca, &person, &sshd.user, &[]));
        store.check().await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        put(&*store, kind, "content").await;
        let past = certificate(folder.path(), &ca, &person, &sshd.user, &["-V", "20200101:20200102"]);
        let error = open(&past).check().await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::AccessDenied, "{error}");
        assert!(error.to_string().contains("expired"), "{error}");
        // Without the certificate nobody knows the key.
        let plain = crate::fixture_sftp::open(&sshd, folder.path(), &[("private_key", &private)]);
        assert_eq!(plain.check().await.unwrap_err().kind, StoreErrorKind::AccessDenied);
    }
}

#[test]
fn what_cannot_be_used_to_log_in_is_refused_with_the_configuration() {
    let folder = TempDir::new().unwrap();
    let (ca, person) = (Key::make(folder.path(), "ca", "ed25519"), Key::make(folder.path(), "person", "ed25519"));
    let private = fs::read_to_string(&person.private).unwrap();
    let refused = |options: &[(&str, &str)]| {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned())));
        let settings = Settings { name: "up".into(), url: "sftp://u@127.0.0.1/".into(), options: options.collect() };
        lockgate::internals::stores::open(&settings).unwrap_err().to_string()
    };
    let of_a_host = certificate(folder.path(), &ca, &person, "host", &["-h"]);
    let why = refused(&[("host_key", &ca.public), ("private_key", &private), ("certificate", &of_a_host)]);
    assert!(why.contains("certificate") && why.contains("user"), "{why}");
    let authority = format!("@cert-authority * {}", ca.public);
    let why = refused(&[("host_key", &authority), ("private_key", &private)]);
    assert!(why.contains("@cert-authority") && why.contains("own public key"), "{why}");
    let why = refused(&[("host_key", &ca.public), ("private_key", &private), ("gssapi", "true")]);
    assert!(why.contains("gssapi"), "{why}");
}
