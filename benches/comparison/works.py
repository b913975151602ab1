"""What is measured on local folders. A work prepares itself, is done once untimed with its result compared byte by byte, and then once a
round for each server."""

import filecmp
import os
import shutil

from . import clients
from .clients import Failed, at_once, timed
from .peers import ORDER
from .plan import CIPHER, CIPHERS, MIB


class Work:
    """One row of a table. `amount` in `unit` is what one run of it moves or does."""

    peers = ORDER

    def __init__(self, place, key, title, amount, unit):
        self.place, self.key, self.title, self.amount, self.unit = place, key, title, amount, unit

    def run(self, peer, number, verify):
        """Does it once, the `number`th time for this server, and returns what was measured."""
        raise NotImplementedError

    def rounds(self):
        """Their numbers; round 0 warms up, is looked at closely, and does not count."""
        return range(self.place.plan.rounds + 1)

    def describe(self):
        return {"title": self.title, "amount": self.amount, "unit": self.unit}


class Large(Work):
    """One large file through one session, by sftp or `scp -O`."""

    def __init__(self, place, direction, cipher, by="sftp"):
        self.direction, self.cipher, self.by = direction, cipher, by
        size, name = place.plan.large, CIPHERS.get(cipher)
        title = f"{name}, {size} MiB {direction}" if by == "sftp" else f"`scp -O`, {size} MiB {direction}"
        super().__init__(place, f"{by}-{direction}-{name}" if name else f"{by}-{direction}", title, size, "MiB")
        if by == "scp":
            self.peers = [name for name in ORDER if name != "rclone"]

    def run(self, peer, number, verify):
        payload, got = self.place.data_file("payload"), self.place.path("got")
        remote = f"{peer.remote}/payload"
        target = f"target-{peer.name}-{self.key}-{number}"
        if self.direction == "put":
            got, remote = self.place.data_file(target), f"{peer.remote}/{target}"
        local = payload if self.direction == "put" else got
        if self.by == "scp":
            ends = (local, f":{remote}") if self.direction == "put" else (f":{remote}", local)
            job = lambda: clients.scp(self.place, peer, *ends, self.cipher)
        else:
            line = f"put {local} {remote}" if self.direction == "put" else f"get {remote} {local}"
            job = lambda: clients.sftp(self.place, peer, line, self.cipher)
        measured = timed(peer.server, job)
        same(payload, got, verify)
        os.remove(got)
        return measured


class Jump(Work):
    """One large file at a target behind the server: every byte is encrypted twice."""

    peers = ["lockgate", "sshd"]

    def __init__(self, place, direction):
        self.direction = direction
        size = place.plan.large
        super().__init__(place, f"jump-{direction}", f"through a jump, {size} MiB {direction}", size, "MiB")

    def run(self, peer, number, verify):
        payload, got = self.place.data_file("payload"), self.place.path("got")
        line = f"get {peer.remote}/payload {got}"
        if self.direction == "put":
            target = f"target-{peer.name}-{self.key}-{number}"
            got, line = self.place.data_file(target), f"put {payload} {peer.remote}/{target}"
        measured = timed(peer.server, lambda: clients.sftp_by_jump(self.place, peer, line))
        same(payload, got, verify)
        os.remove(got)
        return measured


class Streams(Work):
    """Several large files at once, each through a session of its own."""

    def __init__(self, place, direction):
        self.direction = direction
        plan = place.plan
        title = f"{plan.streams} streams at once, {plan.stream} MiB {direction} each"
        super().__init__(place, f"streams-{direction}", title, plan.streams * plan.stream, "MiB")

    def run(self, peer, number, verify):
        source = self.place.data_file("stream")
        jobs, results = [], []
        for stream in range(self.place.plan.streams):
            name = f"stream-{peer.name}-{number}-{stream}"
            if self.direction == "put":
                line, got = f"put {source} {peer.remote}/{name}", self.place.data_file(name)
            else:
                line, got = f"get {peer.remote}/stream {self.place.path(name)}", self.place.path(name)
            results.append(got)
            jobs.append(lambda line=line: clients.sftp(self.place, peer, line))
        measured = timed(peer.server, lambda: at_once(jobs))
        for got in results:
            same(source, got, verify)
            os.remove(got)
        return measured


class Tree(Work):
    """Many small files in directories of 100, by `put -r` or `get -r`."""

    def __init__(self, place, direction):
        self.direction = direction
        title = f"{place.plan.files:,} files of {place.plan.small // 1024} KiB, `{direction} -r`"
        super().__init__(place, f"tree-{direction}", title, place.plan.files, "files")

    def run(self, peer, number, verify):
        name = f"tree-{peer.name}-{number}"
        if self.direction == "put":
            # ProFTPD knows no real path of what is not there.
            line = f"mkdir {peer.remote}/{name}\nput -r {self.place.data_file('tree')}/. {peer.remote}/{name}\n"
            got = self.place.data_file(name)
        else:
            got = self.place.path(name)
            line = f"get -r {peer.remote}/tree {got}"
        measured = timed(peer.server, lambda: clients.sftp(self.place, peer, line))
        same_tree(self.place.data_file("tree"), got)
        shutil.rmtree(got)
        return measured


class Logins(Work):
    """Whole logins with an SFTP session each."""

    def __init__(self, place):
        plan = place.plan
        super().__init__(place, "logins", f"{plan.logins} logins, {plan.logins_at_once} at once", plan.logins, "logins")

    def run(self, peer, number, verify):
        plan = self.place.plan
        jobs = [lambda: clients.sftp(self.place, peer, "pwd")] * plan.logins
        return timed(peer.server, lambda: at_once(jobs, plan.logins_at_once))


class Listing(Work):
    """All names of one directory, by `ls -1`."""

    def __init__(self, place, names, key=None):
        self.names = names
        if key:
            self.peers = ["lockgate", "sshd", "sftpgo"]
        super().__init__(place, key or "listing", f"`ls -1` of {names:,} names", names, "names")

    def run(self, peer, number, verify):
        output = self.place.path("names")
        with open(output, "wb") as file:
            measured = timed(
                peer.server, lambda: clients.sftp(self.place, peer, f"ls -1 {peer.remote}/names-{self.names}", output=file)
            )
        with open(output, "rb") as file:
            found = sum(b"name-" in line for line in file)
        if found != self.names:
            raise Failed(f"{peer.name}: {found} names of {self.names}")
        return measured


class SameBytes(Work):
    """As many bytes as ever, in files of one size: whether a byte costs the same in small files and in large ones."""

    peers = ["lockgate", "sshd"]

    def __init__(self, place, size, direction):
        self.size, self.direction = size, direction
        total = place.plan.growth[-1]
        super().__init__(place, f"growth-{direction}-{size}", f"{total // size:,} × {size} MiB, {direction}", total, "MiB")

    def run(self, peer, number, verify):
        source, lines, results = self.place.data_file(f"growth-{self.size}"), [], []
        for file in range(self.amount // self.size):
            name = f"growth-{peer.name}-{number}-{file}"
            if self.direction == "put":
                lines.append(f"put {source} {peer.remote}/{name}")
                results.append(self.place.data_file(name))
            else:
                lines.append(f"get {peer.remote}/growth-{self.size} {self.place.path(name)}")
                results.append(self.place.path(name))
        measured = timed(peer.server, lambda: clients.sftp(self.place, peer, "\n".join(lines) + "\n"))
        for got in results:
            same(source, got, verify)
            os.remove(got)
        return measured


def same(source, got, verify):
    """Bytes are compared when it is asked for; sizes always."""
    if os.path.getsize(source) != os.path.getsize(got) or (verify and not filecmp.cmp(source, got, shallow=False)):
        raise Failed(f"{got} is not what {source} is")


def same_tree(source, got):
    for folder, _, names in os.walk(source):
        there = os.path.join(got, os.path.relpath(folder, source))
        if filecmp.cmpfiles(folder, there, names, shallow=False)[0] != names:
            raise Failed(f"{there} is not what {folder} is")


def fixtures(place):
    """What is fetched and listed. All of it is there before a server starts: some remember what a directory held."""
    plan = place.plan
    fixtures_of_files(place)
    for size in plan.growth:
        noise(place.data_file(f"growth-{size}"), size)
    content = os.urandom(plan.small)
    for number in range(plan.files):
        folder = place.make("data", "tree", str(number // 100))
        with open(os.path.join(folder, f"file-{number}"), "wb") as file:
            file.write(content)
    for names in {plan.names, *plan.growth_names}:
        folder = place.make("data", f"names-{names}")
        for number in range(names):
            os.close(os.open(os.path.join(folder, f"name-{number}"), os.O_CREAT | os.O_WRONLY, 0o644))


def fixtures_of_files(place):
    """The large files, unless they are there."""
    for name, size in (("payload", place.plan.large), ("stream", place.plan.stream)):
        if not os.path.exists(place.data_file(name)):
            noise(place.data_file(name), size)


def noise(path, mib):
    """Random bytes, which nothing on the way can compress."""
    block = os.urandom(MIB)
    with open(path, "wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(8, "little") + block[8:])


def local_works(place):
    works = [Large(place, direction, cipher) for cipher in CIPHERS for direction in ("put", "get")]
    works += [Tree(place, "put"), Tree(place, "get"), Streams(place, "put"), Streams(place, "get")]
    works += [Large(place, direction, CIPHER, by="scp") for direction in ("put", "get")]
    works += [Jump(place, direction) for direction in ("put", "get")]
    works += [Logins(place), Listing(place, place.plan.names)]
    works += [SameBytes(place, size, direction) for direction in ("put", "get") for size in place.plan.growth]
    works += [Listing(place, names, f"growth-names-{names}") for names in place.plan.growth_names]
    return works
