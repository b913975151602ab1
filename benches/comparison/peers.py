"""The servers: how each is configured and started. All serve the same folder, or a prefix of their own in the same bucket; all have
the same host key and let the same key in; limits for one address are lifted, since every client comes from the same one."""

import getpass
import grp
import os
import socket
import subprocess

from . import go_programs, proftpd
from .place import ROOT, Missing, first_line, free_port, program
from .processes import Server, await_until

ORDER = ["lockgate", "sshd", "proftpd", "rclone", "sftpgo"]
TITLES = {
    "lockgate": "Lockgate", "sshd": "sshd", "proftpd": "ProFTPD", "rclone": "rclone serve", "sftpgo": "SFTPGo",
    "client": "rclone's S3 client",
}
# Those that serve a bucket.
OF_BUCKETS = ["lockgate", "rclone", "sftpgo"]


class Peer:
    """A server that runs and listens."""

    def __init__(self, name, command, *, port, log, user="compare", remote="", env=None, cwd=None):
        self.name, self.port, self.user, self.remote = name, port, user, remote
        self.server = Server(command, log, env, cwd)
        try:
            await_until(f"{name} on its port", lambda: self.server.has_ended() or listens(port))
            if self.server.has_ended():
                raise RuntimeError(f"{name} does not start")
        except RuntimeError as error:
            self.server.stop()
            with open(log, encoding="utf-8", errors="replace") as file:
                raise RuntimeError(f"{error}:\n{file.read()[-2000:]}") from None

    def stop(self):
        self.server.stop()


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def start(name, place, bucket=None, instance=""):
    """Starts a server in a folder of its own; in front of `bucket` if there is one."""
    home = place.make(f"{name}{'-bucket' if bucket else ''}{instance}")
    return {
        "lockgate": lockgate, "sshd": sshd, "proftpd": start_proftpd, "rclone": rclone, "sftpgo": sftpgo,
    }[name](place, home, free_port(), bucket)


def version(name):
    """What the server calls itself. Fails where it cannot be had."""
    if name == "lockgate":
        return first_line(lockgate_program(), "--version")
    if name == "sshd":
        program("sshd", "openssh-server")
        return first_line("ssh", "-V") + ", internal-sftp"
    if name == "proftpd":
        folder = proftpd.unpacked()
        return first_line(f"{folder}/usr/sbin/proftpd", "-v", env=proftpd.libraries(folder)) + ", mod_sftp"
    if name == "rclone":
        return first_line(go_programs.rclone(), "version")
    return first_line(go_programs.sftpgo(), "--version").split(" +")[0]


def lockgate_program():
    if "LOCKGATE" not in os.environ:
        subprocess.run(["cargo", "build", "--profile", "dist", "--quiet"], cwd=ROOT, check=True)
        target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
        os.environ["LOCKGATE"] = os.path.join(target, "dist/lockgate")
    return program("lockgate", variable="LOCKGATE")


def lockgate(place, home, port, bucket):
    if bucket:
        url = f"s3://{bucket.name}/lockgate"
        options = "\n".join(f'      {key}: "{value}"' for key, value in bucket.options().items())
        store = f'    url: "{url}"\n    options:\n{options}'
    else:
        store = f'    url: "file://{place.data}"'
    return lockgate_with(place, home, port, store)


def lockgate_with(place, home, port, store):
    """With a file of events that rotates, and the signed chain: what an operator would run. `store` is the part of its configuration."""
    if not os.path.exists(f"{home}/init"):
        subprocess.run([lockgate_program(), "init", f"{home}/init"], check=True, capture_output=True)
    config = place.write(
        os.path.relpath(f"{home}/config.yaml", place.folder),
        f"""server:
  name: compare
  listen: ["127.0.0.1:{port}"]
  host_keys: ["{place.host_key}"]
stores:
  main:
{store}
users:
  - name: compare
    public_keys: ["{place.public_key}"]
    home: [{{ entry: /, target: "main:/" }}]
    targets: [{{ target: itself, accounts: ["*"] }}]
targets:
  - name: itself
    addresses: ["127.0.0.1:{port}"]
    accounts: [{{ name: compare, home: [{{ entry: /, target: "main:/" }}] }}]
events:
  - {{ sink: file, path: "{home}/events.ndjson", rotate: {{ size: 100MiB, age: 1d }}, gzip: true }}
audit: {{ folder: "{home}/init/audit" }}
limits:
  staging_folder: "{home}/init/staging"
  sessions: 100000
  unauthenticated: 10000
  unauthenticated_per_address: 10000
  connections_per_second: 100000
""",
    )
    return Peer("lockgate", [lockgate_program(), "serve", "--config", config], port=port, log=f"{home}/log")


def sshd(place, home, port, bucket):
    if bucket:
        raise Missing("sshd serves no bucket")
    # The folder that sshd wants for its unprivileged half.
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    config = place.write(
        os.path.relpath(f"{home}/sshd_config", place.folder),
        f"""ListenAddress 127.0.0.1
Port {port}
HostKey {place.host_key}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
AuthorizedKeysFile {place.user_key}.pub
Subsystem sftp internal-sftp
Ciphers +aes256-gcm@openssh.com,chacha20-poly1305@openssh.com
MaxStartups 10000
LogLevel INFO
""",
    )
    command = [program("sshd", "openssh-server"), "-D", "-e", "-f", config]
    return Peer("sshd", command, port=port, log=f"{home}/log", user=getpass.getuser(), remote=place.data)


def start_proftpd(place, home, port, bucket):
    if bucket:
        raise Missing("ProFTPD serves no bucket")
    folder = proftpd.unpacked()
    keys = subprocess.run(
        ["ssh-keygen", "-e", "-m", "RFC4716", "-f", place.user_key + ".pub"], check=True, capture_output=True, text=True
    )
    inside = os.path.relpath(home, place.folder)
    place.write(f"{inside}/keys", keys.stdout)
    place.write(f"{inside}/users", f"compare:*:{os.getuid()}:{os.getgid()}::{place.data}:/bin/sh\n")
    config = place.write(
        f"{inside}/proftpd.conf",
        f"""ModulePath {folder}/usr/lib/proftpd
LoadModule mod_sftp.c
ServerName compare
ServerType standalone
DefaultServer on
UseIPv6 off
DefaultAddress 127.0.0.1
Port {port}
User {getpass.getuser()}
Group {grp.getgrgid(os.getgid()).gr_name}
AuthOrder mod_auth_file.c
AuthUserFile {home}/users
RequireValidShell off
RootLogin on
AllowOverwrite on
MaxInstances none
UseReverseDNS off
TimeoutIdle 36000
TimeoutNoTransfer 36000
WtmpLog off
TransferLog {home}/transfers
SystemLog {home}/log
PidFile {home}/pid
ScoreboardFile {home}/scoreboard
DelayEngine off
SFTPEngine on
SFTPHostKey {place.host_key}
SFTPAuthMethods publickey
SFTPAuthorizedUserKeys file:{home}/keys
SFTPCompression off
""",
    )
    command = [f"{folder}/usr/sbin/proftpd", "-n", "-c", config]
    environment = proftpd.libraries(folder)
    return Peer("proftpd", command, port=port, log=f"{home}/output", remote=place.data, env=environment, cwd=home)


def rclone(place, home, port, bucket):
    command = [
        go_programs.rclone(), "serve", "sftp", bucket.rclone("rclone") if bucket else place.data,
        "--addr", f"127.0.0.1:{port}", "--key", place.host_key, "--authorized-keys", place.user_key + ".pub",
        "--config", "/dev/null", "--cache-dir", f"{home}/cache", "--log-level", "NOTICE",
    ]
    return Peer("rclone", command, port=port, log=f"{home}/log", env=bucket.rclone_options() if bucket else None)


def sftpgo(place, home, port, bucket):
    """With a log of transfers, as the others have one."""
    command = [
        go_programs.sftpgo(), "portable", "--sftpd-port", port, "--username", "compare",
        "--public-key", place.public_key, "--permissions", "*", "--ssh-commands", "*",
        "--log-file-path", f"{home}/transfers", "--log-level", "info",
    ]
    if bucket:
        command += [
            "--fs-provider", "s3fs", "--s3-bucket", bucket.name, "--s3-key-prefix", "sftpgo/", "--s3-region", bucket.region,
            "--s3-endpoint", bucket.endpoint, "--s3-access-key", bucket.access_key, "--s3-access-secret", bucket.secret_key,
            "--s3-force-path-style",
        ]
    else:
        command += ["--directory", place.data]
    environment = {
        "SFTPGO_COMMON__MAX_PER_HOST_CONNECTIONS": "0",
        "SFTPGO_SFTPD__HOST_KEYS": place.host_key,
        # Buckets hold no times for it: without this it refuses to set them, and rclone fails.
        "SFTPGO_COMMON__SETSTAT_MODE": "2",
    }
    return Peer("sftpgo", command, port=port, log=f"{home}/log", env=environment, cwd=home)
