"""Where a comparison happens: a folder on tmpfs with the keys and the files that every server serves, and the tools."""

import os
import shutil
import socket
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(ROOT, "target/test-tools")


class Missing(Exception):
    """A program that is not there, and how it could be."""


class Place:
    def __init__(self, plan):
        tmpfs = os.environ.get("TMPFS", "/dev/shm")
        if subprocess.run(["stat", "-f", "-c", "%T", tmpfs], capture_output=True, text=True).stdout.strip() != "tmpfs":
            raise Missing(f"{tmpfs} is no tmpfs: name one with TMPFS=...")
        free = shutil.disk_usage(tmpfs).free >> 20
        if free < plan.room() and not plan.quick:
            raise Missing(f"{tmpfs} has {free} MiB free, {plan.room()} are needed")
        self.plan = plan
        self.folder = tempfile.mkdtemp(prefix="lockgate-compare-", dir=tmpfs)
        self.data = self.make("data")
        self.keys()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def make(self, *names):
        os.makedirs(self.path(*names), exist_ok=True)
        return self.path(*names)

    def write(self, name, text, mode=0o600):
        with open(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def data_file(self, name):
        """One that every server serves."""
        return os.path.join(self.data, name)

    def keys(self):
        self.host_key, self.user_key = self.path("host_key"), self.path("user_key")
        for key in (self.host_key, self.user_key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "compare", "-f", key], check=True)
        with open(self.user_key + ".pub", encoding="utf-8") as file:
            self.public_key = file.read().strip()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def program(name, package=None, variable=None):
    """The path of a program: what the variable names, or what the search path has."""
    named = variable and os.environ.get(variable)
    path = shutil.which(named or name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        how = f"install the package {package}" if package else f"name it with {variable}=..."
        raise Missing(f"{name} is missing: {how}")
    return os.path.abspath(path)


def tool(name):
    """One of the programs that the tests use."""
    path = os.path.join(TOOLS, name)
    if not os.access(path, os.X_OK):
        raise Missing(f"{path} is missing: tests/run --setup builds it")
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def first_line(*command, env=None):
    """What a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else "?"
