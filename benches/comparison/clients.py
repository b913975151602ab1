"""The commands that are timed: OpenSSH's clients, and rclone. The same for every server."""

import concurrent.futures
import os
import subprocess
import time

from . import go_programs
from .plan import CIPHER
from .processes import environment

# Nothing takes this long; a command that hangs must not hold up the comparison for ever.
LIMIT = 1800


def options(place, cipher=CIPHER):
    """One key exchange and one kind of host key for all, so that no server is measured by its default."""
    settings = [
        "BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR", "KexAlgorithms=curve25519-sha256", "HostKeyAlgorithms=ssh-ed25519", f"Ciphers={cipher}",
        "MACs=hmac-sha2-256-etm@openssh.com,hmac-sha2-256",
    ]
    return ["-F", "none", "-i", place.user_key, *(part for setting in settings for part in ("-o", setting))]


def sftp(place, peer, batch, cipher=CIPHER, output=subprocess.DEVNULL):
    """Runs a batch of sftp."""
    address = f"{peer.user}@127.0.0.1"
    run(["sftp", "-b", "-", *options(place, cipher), "-P", peer.port, address], peer, batch, output)


def sftp_by_jump(place, peer, batch, cipher=CIPHER):
    """Runs a batch of sftp at a target behind the server (ProxyJump): of sshd's, that is sshd again."""
    jump = ["ssh", *options(place, cipher), "-p", str(peer.port), "-W", "%h:%p", f"{peer.user}@127.0.0.1"]
    address = f"{peer.user}@127.0.0.1"
    proxy = ["-o", f"ProxyCommand={' '.join(jump)}"]
    run(["sftp", "-b", "-", *options(place, cipher), *proxy, "-P", peer.port, address], peer, batch)


def scp(place, peer, source, target, cipher=CIPHER):
    """One file by the old SCP protocol; the path with ":" before it is the remote one."""
    ends = [end if end.startswith("/") else f"{peer.user}@127.0.0.1{end}" for end in (source, target)]
    run(["scp", "-O", *options(place, cipher), "-P", peer.port, *ends], peer)


def rclone_copy(place, peer, source, target, transfers):
    """A tree by rclone's sftp backend."""
    rclone(peer, ["copy", source, f"peer:{target}", "--transfers", transfers], as_remote(place, peer))


def rclone_copyto(place, peer, source, target):
    """One file by rclone's sftp backend."""
    rclone(peer, ["copyto", source, f"peer:{target}"], as_remote(place, peer))


def as_remote(place, peer):
    """The server as a remote with the name `peer`."""
    remote = {
        "TYPE": "sftp", "HOST": "127.0.0.1", "PORT": peer.port, "USER": peer.user, "KEY_FILE": place.user_key,
        "SHELL_TYPE": "none", "CIPHERS": CIPHER.replace(",", " "), "KEY_EXCHANGE": "curve25519-sha256",
    }
    return {f"RCLONE_CONFIG_PEER_{key}": str(value) for key, value in remote.items()}


def rclone(peer, arguments, more):
    """Retries are off: a transfer that fails is a failure of the server, not a slow success."""
    command = [go_programs.rclone(), *arguments, "--config", "/dev/null", "--retries", "1", "--log-level", "ERROR"]
    run(command, peer, more=more)


class Failed(Exception):
    """A command did not do what it should."""


def run(command, peer, stdin=None, output=subprocess.DEVNULL, more=None):
    done = subprocess.run(
        list(map(str, command)), input=None if stdin is None else stdin.encode(), stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=output, stderr=subprocess.PIPE, env=environment(more), timeout=LIMIT,
    )
    if done.returncode != 0:
        # One line, and no path of this machine: it may be published.
        said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        raise Failed(f"{os.path.basename(command[0])} ended with {done.returncode}: {said[-1][-200:]}")


def at_once(jobs, width=None):
    """Runs all jobs, `width` at once, and waits for them."""
    with concurrent.futures.ThreadPoolExecutor(width or len(jobs)) as pool:
        for job in [pool.submit(job) for job in jobs]:
            job.result()


def timed(server, job):
    """Seconds that the job takes, and seconds of the server's processor time."""
    before = server.cpu() if server else 0.0
    start = time.perf_counter()
    job()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "cpu": (server.cpu() - before) if server else 0.0}
