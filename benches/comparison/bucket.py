"""What is measured on a real S3 server: MinIO on tmpfs, asked by each gateway and, to compare, by rclone's own S3 client."""

import filecmp
import os
import re
import subprocess
import sys
import time

from . import clients, relay
from .clients import Failed, timed
from .peers import OF_BUCKETS
from .place import free_port, program, tool
from .processes import Server, await_until
from .works import Work, noise


class Bucket:
    """A bucket of a running S3 server, reached through a relay if there is a delay or if requests are counted."""

    name, region, access_key, secret_key = "compare", "us-east-1", "compare", "compare-secret"

    def __init__(self, place):
        self.place = place
        self.port = free_port()
        self.servers = []
        environment = {
            "MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off",
        }
        command = [tool("minio"), "server", "--quiet", "--address", f"127.0.0.1:{self.port}", "--console-address", "127.0.0.1:0"]
        self.minio = Server([*command, place.make("minio")], place.path("minio.log"), environment)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        program("curl", "curl")
        await_until("the S3 server", lambda: self.minio.has_ended() or self.curl("-X", "PUT", "") is not None)

    def through_relay(self, milliseconds):
        """The same bucket with a delay before each request; every request is written down."""
        there = object.__new__(Bucket)
        there.__dict__.update(self.__dict__, port=free_port(), log=self.place.path(f"requests-{milliseconds}"))
        there.endpoint = f"http://127.0.0.1:{there.port}"
        command = [sys.executable, "-B", relay.__file__, there.port, self.port, milliseconds, there.log]
        self.servers.append(Server(command, self.place.path("relay.log")))
        await_until("the relay", lambda: there.curl("-I", "") is not None)
        return there

    def stop(self):
        for server in [*self.servers, self.minio]:
            server.stop()

    def options(self):
        """As object_store names them."""
        return {
            "aws_endpoint": self.endpoint, "aws_region": self.region, "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key, "aws_allow_http": "true",
        }

    def rclone(self, prefix):
        return f":s3:{self.name}/{prefix}"

    def rclone_options(self):
        return {
            "RCLONE_S3_PROVIDER": "Minio", "RCLONE_S3_ENDPOINT": self.endpoint, "RCLONE_S3_REGION": self.region,
            "RCLONE_S3_ACCESS_KEY_ID": self.access_key, "RCLONE_S3_SECRET_ACCESS_KEY": self.secret_key,
        }

    def curl(self, *arguments):
        """The answer to a request, past everybody; `None` if it is no success. The last argument is the path in the bucket."""
        command = ["curl", "-sS", "--fail", "--noproxy", "*", "--aws-sigv4", f"aws:amz:{self.region}:s3"]
        command += ["--user", f"{self.access_key}:{self.secret_key}", *arguments[:-1]]
        done = subprocess.run([*command, f"{self.endpoint}/{self.name}{arguments[-1]}"], capture_output=True)
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    def size(self, key):
        """Of an object, in bytes; `None` without one."""
        found = re.search(r"(?mi)^content-length: (\d+)", self.curl("-I", f"/{key}") or "")
        return int(found[1]) if found else None

    def count(self, prefix):
        """How many objects are below a prefix; at most 1,000."""
        answer = self.curl(f"?list-type=2&prefix={prefix.replace('/', '%2F')}%2F") or ""
        return answer.count("<Key>")

    def requests(self):
        """All requests through the relay so far, each by what it is called."""
        with open(self.log, encoding="ascii") as file:
            return file.read().split()


class Direct:
    """Nobody between: rclone asks the bucket itself."""

    name, server = "client", None

    def stop(self):
        pass


class BucketWork(Work):
    peers = [*OF_BUCKETS, "client"]

    def __init__(self, place, bucket, key, title, amount, unit):
        super().__init__(place, key, title, amount, unit)
        self.bucket = bucket

    def direct(self, *arguments):
        clients.rclone(Direct, arguments, self.bucket.rclone_options())

    def stored(self, peer, what, condition):
        """How long after the client was told that it is done the bucket has it all."""
        start = time.perf_counter()
        if condition():
            return {"late": 0.0}
        await_until(f"{peer.name}: {what} in the bucket", condition, 120)
        return {"late": time.perf_counter() - start}


class BucketLarge(BucketWork):
    """One large file up and down. What is up is what comes down: each round puts first."""

    def __init__(self, place, bucket, direction):
        self.direction = direction
        size = place.plan.bucket_large
        super().__init__(place, bucket, f"bucket-{direction}", f"{size} MiB {direction}, S3", size, "MiB")

    def run(self, peer, number, verify):
        source, got = self.place.path("bucket-payload"), self.place.path("got")
        name = "large" if self.direction == "get" else f"large-{number}"
        if self.direction == "put":
            measured = timed(peer.server, lambda: self.put(peer, source, name))
            size = os.path.getsize(source)
            measured.update(self.stored(peer, name, lambda: self.bucket.size(f"{peer.name}/{name}") == size))
            if verify:
                self.bucket.curl("-o", got, f"/{peer.name}/{name}")
            self.bucket.curl("-X", "DELETE", f"/{peer.name}/{name}")
        else:
            if self.bucket.size(f"{peer.name}/{name}") is None:
                raise Failed(f"{peer.name}: the file to get is not in the bucket")
            measured = timed(peer.server, lambda: self.get(peer, name, got))
        if os.path.exists(got):
            if not filecmp.cmp(source, got, shallow=False):
                raise Failed(f"{peer.name}: {self.direction} changed the bytes")
            os.remove(got)
        return measured

    def put(self, peer, source, name):
        if peer.name == "client":
            self.direct("copyto", source, self.bucket.rclone(f"client/{name}"))
        else:
            clients.sftp(self.place, peer, f"put {source} {peer.remote}/{name}")

    def get(self, peer, name, got):
        if peer.name == "client":
            self.direct("copyto", self.bucket.rclone(f"client/{name}"), got)
        else:
            clients.sftp(self.place, peer, f"get {peer.remote}/{name} {got}")


class BucketTree(BucketWork):
    """Many small files, by rclone with 8 transfers at once or by `put -r`."""

    def __init__(self, place, bucket, by, delay=0):
        self.by = by
        plan = place.plan
        how = "rclone with 8 transfers" if by == "rclone" else "`put -r`"
        self.source = "bucket-tree-far" if delay else "bucket-tree"
        files = plan.far_files if delay else plan.bucket_files
        title = f"{files:,} files of {plan.small // 1024} KiB to S3, {how}"
        title += f", {delay} ms before each request" if delay else ""
        super().__init__(place, bucket, f"bucket-{by}{'-delayed' if delay else ''}", title, files, "files")
        if by == "sftp":
            self.peers = OF_BUCKETS

    def run(self, peer, number, verify):
        source, name = self.place.path(self.source), f"{self.key}-{number}"
        if peer.name == "client":
            job = lambda: self.direct("copy", source, self.bucket.rclone(f"client/{name}"), "--transfers", "8")
        elif self.by == "rclone":
            job = lambda: clients.rclone_copy(self.place, peer, source, f"{peer.remote}/{name}", 8)
        else:
            job = lambda: clients.sftp(self.place, peer, f"mkdir {peer.remote}/{name}\nput -r {source}/. {peer.remote}/{name}\n")
        measured = timed(peer.server, job)
        # Folders may have objects of their own.
        count = lambda: self.bucket.count(f"{peer.name}/{name}") >= min(self.amount, 1000)
        measured.update(self.stored(peer, name, count))
        return measured


class Requests(BucketWork):
    """What the bucket is asked for one deed, each in a session of its own. No clock: these figures have no spread."""

    peers = OF_BUCKETS

    DEEDS = {
        "stat of a file": "ls -l {remote}/old",
        "put, new": "put {file} {remote}/new-{number}",
        "put, overwrite": "put {file} {remote}/old",
        "get": "get {remote}/old {got}",
        "rename": "rename {remote}/new-{number} {remote}/renamed-{number}",
        "rm": "rm {remote}/renamed-{number}",
    }

    def __init__(self, place, bucket):
        super().__init__(place, bucket, "requests", "requests to the bucket", 1, "deeds")

    def run(self, peer, number, verify):
        file, got = self.place.path("bucket-small"), self.place.path("got")
        deeds = {}
        values = {"remote": peer.remote, "file": file, "got": got, "number": number}
        for deed, line in self.DEEDS.items():
            deeds[deed] = self.of(peer, lambda line=line: clients.sftp(self.place, peer, line.format(**values)))
        copy = lambda: clients.rclone_copyto(self.place, peer, file, f"{peer.remote}/copied-{number}")
        deeds["`rclone copyto`"] = self.of(peer, copy)
        return {"requests": deeds}

    def of(self, peer, job):
        """The requests of one deed by kind; `None` if the server refuses it."""
        before = len(self.bucket.requests())
        try:
            job()
        except Failed:
            return None
        time.sleep(0.2)
        kinds = self.bucket.requests()[before:]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def fixtures(place, bucket):
    """The files to put, and what is already in the bucket: the same below each server's prefix."""
    plan = place.plan
    noise(place.path("bucket-payload"), plan.bucket_large)
    with open(place.path("bucket-small"), "wb") as file:
        file.write(os.urandom(500))
    content = os.urandom(plan.small)
    for tree, files in (("bucket-tree", plan.bucket_files), ("bucket-tree-far", plan.far_files)):
        for number in range(files):
            folder = place.make(tree, str(number // 100))
            with open(os.path.join(folder, f"file-{number}"), "wb") as file:
                file.write(content)
    for name in [*OF_BUCKETS, "client"]:
        clients.rclone(
            Direct, ["copyto", place.path("bucket-payload"), bucket.rclone(f"{name}/large")], bucket.rclone_options()
        )
        clients.rclone(Direct, ["copyto", place.path("bucket-small"), bucket.rclone(f"{name}/old")], bucket.rclone_options())
