"""A home on somebody else's SFTP server: through Lockgate, beside a client that goes to that server itself; near, and at the end of a long
line, which lies between the server and whoever asks it."""

import getpass
import os
import shutil
import sys

from . import clients, line, peers
from .clients import timed
from .place import free_port
from .processes import Server, await_until
from .works import Work, same, same_tree

PEERS = ["lockgate", "sshd"]


def works(place, delay):
    return [work(place, direction, delay) for work in (Large, Tree) for direction in ("put", "get")]


def suffix(delay):
    return f"-{delay}ms" if delay else ""


def where(delay):
    return f"{delay} ms away" if delay else "near"


class Servers:
    """sshd, Lockgate with a store on it, and the line between if there is one."""

    def __init__(self, place, delay):
        self.line = None
        self.sshd = peers.start("sshd", place, instance=f"-upstream{suffix(delay)}")
        port = self.sshd.port
        try:
            if delay:
                port = free_port()
                command = [sys.executable, "-B", line.__file__, port, self.sshd.port, delay]
                self.line = Server(command, place.path("line.log"))
                await_until("the line", lambda: peers.listens(port))
            home = place.make(f"lockgate-upstream{suffix(delay)}")
            self.lockgate = peers.lockgate_with(place, home, free_port(), store(place, port))
        except Exception:
            self.stop()
            raise
        direct = Direct(self.sshd, port)
        self.running = {"lockgate": self.lockgate, "sshd": direct}

    def stop(self):
        for server in (getattr(self, "lockgate", None), self.line, self.sshd):
            if server:
                server.stop()


class Direct:
    """sshd, at the end of the line."""

    def __init__(self, sshd, port):
        self.name, self.port, self.user, self.remote, self.server = sshd.name, port, sshd.user, sshd.remote, sshd.server


def store(place, port):
    """The store's part of Lockgate's configuration."""
    return f"""    url: "sftp://{getpass.getuser()}@127.0.0.1:{port}{place.data}"
    options: {{ private_key: "${{file:{place.user_key}}}", host_key: "${{file:{place.host_key}.pub}}" }}"""


class Large(Work):
    """One large file."""

    peers = PEERS

    def __init__(self, place, direction, delay):
        self.direction, self.delay = direction, delay
        self.file = "stream" if delay else "payload"
        size = place.plan.stream if delay else place.plan.large
        title = f"upstream, {where(delay)}: {size} MiB {direction}"
        super().__init__(place, f"upstream-{direction}{suffix(delay)}", title, size, "MiB")

    def run(self, peer, number, verify):
        payload, got = self.place.data_file(self.file), self.place.path("got")
        batch = f"get {peer.remote}/{self.file} {got}"
        if self.direction == "put":
            target = f"target-{peer.name}-{self.key}-{number}"
            got, batch = self.place.data_file(target), f"put {payload} {peer.remote}/{target}"
        measured = timed(peer.server, lambda: clients.sftp(self.place, peer, batch))
        same(payload, got, verify)
        os.remove(got)
        return measured


class Tree(Work):
    """Small files, one after the other."""

    peers = PEERS

    def __init__(self, place, direction, delay):
        self.direction, self.delay = direction, delay
        plan = place.plan
        self.files = plan.upstream_far_files if delay else plan.files
        title = f"upstream, {where(delay)}: {self.files:,} files of {plan.small // 1024} KiB, `{direction}`"
        super().__init__(place, f"upstream-tree-{direction}{suffix(delay)}", title, self.files, "files")

    def run(self, peer, number, verify):
        tree = f"upstream-{self.files}"
        self.make_tree(tree)
        name = f"{tree}-{peer.name}-{number}"
        if self.direction == "put":
            batch = f"mkdir {peer.remote}/{name}\nput -r {self.place.data_file(tree)}/. {peer.remote}/{name}\n"
            got = self.place.data_file(name)
        else:
            got = self.place.path(name)
            batch = f"get -r {peer.remote}/{tree} {got}"
        measured = timed(peer.server, lambda: clients.sftp(self.place, peer, batch))
        same_tree(self.place.data_file(tree), got)
        shutil.rmtree(got)
        return measured

    def make_tree(self, name):
        folder = self.place.data_file(name)
        if os.path.exists(folder):
            return
        os.makedirs(folder)
        for number in range(self.files):
            with open(os.path.join(folder, f"file-{number}"), "wb") as file:
                file.write(os.urandom(self.place.plan.small))
