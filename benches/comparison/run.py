"""The order of a comparison: what is at hand, the files, the servers, the rounds, and what becomes of the figures."""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from . import bucket as buckets
from . import document, noise, peers, upstream, works
from .clients import Failed
from .figures import spreads
from .place import ROOT, TOOLS, Missing, Place, first_line
from .plan import QUICK, Plan
from .sessions import Idle

DOCS = os.path.join(ROOT, "docs")
RAW = os.path.join(ROOT, "target/compare/results.json")


def main(arguments):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked = parse(arguments)
    if asked.render:
        with open(asked.render, encoding="utf-8") as file:
            return write(document.render(json.load(file)), asked.out or DOCS)
    # Before anything is built or fetched: a busy machine costs nobody an hour.
    load, whole = noise.load(), not (asked.quick or asked.only or asked.peers)
    reason = noise.too_busy(load)
    if whole and reason and not asked.out:
        sys.exit(f"benches/compare: {reason}. Nothing was written; --out FOLDER measures all the same and keeps docs/ as it is")
    plan = QUICK if asked.quick else Plan()
    plan = plan if asked.rounds is None else plan.__class__(**{**plan.__dict__, "rounds": asked.rounds})
    results = Comparison(plan, asked).run()
    reasons = [reason for reason in (noise.too_busy(load),) if reason]
    reasons += noise.complaints(results["noise"]["calibrations"], results["noise"]["watches"], spreads(results["works"]))
    if not whole:
        reasons.append("small sizes" if asked.quick else "only a part was measured")
    publish({**results, "unfit": reasons}, whole, asked.out)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="benches/compare", description="Lockgate and other servers side by side; see docs/PERFORMANCE.md.")
    parser.add_argument("--quick", action="store_true", help="small sizes and one round: whether all of it works, not how fast it is")
    parser.add_argument("--rounds", type=int, help="rounds that count")
    parser.add_argument("--only", type=lambda text: text.split(","), help="works whose key begins with one of these, after commas")
    parser.add_argument("--peers", type=lambda text: text.split(","), help=f"some of {','.join(peers.ORDER)}; lockgate always is one")
    parser.add_argument("--out", help="write here what would be written to docs/, from a noisy run too")
    parser.add_argument("--render", metavar="RESULTS", help="measure nothing; write the document of these raw figures")
    asked = parser.parse_args(arguments)
    unknown = set(asked.peers or ()) - set(peers.ORDER)
    if unknown:
        parser.error(f"no server is called {', '.join(sorted(unknown))}; there are {', '.join(peers.ORDER)}")
    return asked


class Comparison:
    def __init__(self, plan, asked):
        self.plan, self.asked = plan, asked
        self.calibrations, self.watches, self.absent, self.versions = [], [], {}, {}
        self.measured, self.running = {}, {}

    def run(self):
        if not self.asked.quick:
            install()
        for name in peers.ORDER:
            if name == "lockgate" or not self.asked.peers or name in self.asked.peers:
                self.look_for(name)
        self.place = Place(self.plan)
        self.bucket = None
        try:
            self.local()
            self.upstream()
            self.with_bucket()
            return self.results(self.sinks())
        finally:
            self.stop()
            if self.bucket:
                self.bucket.stop()
            self.place.remove()

    def look_for(self, name):
        try:
            self.versions[name] = peers.version(name)
        except Missing as missing:
            if name == "lockgate":
                sys.exit(f"benches/compare: {missing}")
            self.absent[name] = str(missing)
            say(f"without {peers.TITLES[name]}: {missing}")

    def wanted(self, list):
        return [work for work in list if not self.asked.only or work.key.startswith(tuple(self.asked.only))]

    def local(self):
        local, idle = self.wanted(works.local_works(self.place)), self.wanted([Idle(self.place)])
        if local:
            say("files")
            works.fixtures(self.place)
            for name in self.versions:
                self.running[name] = peers.start(name, self.place)
            for work in local:
                self.measure(work, self.running)
            self.stop()
        for work in idle:
            self.measure(work, {name: Named(name) for name in self.versions})

    def upstream(self):
        for delay in (0, self.plan.upstream_delay):
            list = self.wanted(upstream.works(self.place, delay))
            if not list or "sshd" not in self.versions:
                continue
            say(f"an upstream server, {upstream.where(delay)}")
            works.fixtures_of_files(self.place)
            servers = upstream.Servers(self.place, delay)
            try:
                for work in list:
                    self.measure(work, servers.running)
            finally:
                servers.stop()

    def with_bucket(self):
        far = near = None
        try:
            probe = object.__new__(buckets.Bucket)
            candidates = self.wanted(bucket_works(self.place, probe, probe, probe))
            if not candidates:
                return
            self.bucket = buckets.Bucket(self.place)
        except Missing as missing:
            self.absent["client"] = f"without a bucket: {missing}"
            return say(f"without a bucket: {missing}")
        buckets.fixtures(self.place, self.bucket)
        near, far = self.bucket.through_relay(0), self.bucket.through_relay(self.plan.bucket_delay)
        for bucket in (self.bucket, near, far):
            list = [work for work in self.wanted(bucket_works(self.place, self.bucket, near, far)) if work.bucket is bucket]
            if list:
                for name in (name for name in peers.OF_BUCKETS if name in self.versions):
                    self.running[name] = peers.start(name, self.place, bucket, instance=f"-{bucket.port}")
                for work in list:
                    self.measure(work, {**self.running, "client": buckets.Direct})
                self.stop()

    def stop(self):
        for peer in self.running.values():
            peer.stop()
        self.running.clear()

    def measure(self, work, running):
        """Round 0 compares the bytes and does not count. Then A B C, C B A, ..."""
        record = {**work.describe(), "samples": {}, "missing": {}, "kept_after": self.plan.kept_after}
        self.measured[work.key] = record
        watch = noise.Watch()
        for number in work.rounds():
            self.calibrations.append(noise.calibrate())
            names = [name for name in work.peers if name in running and name not in record["missing"]]
            for name in names if number % 2 else reversed(names):
                self.once(work, record, running[name], number)
        self.calibrations.append(noise.calibrate())
        self.watches.append({**watch.shares(), "where": work.title})
        seconds = f": {document.cell(record, 'lockgate')} s" if "seconds" in record["samples"] else ""
        say(f"{work.title}{seconds}")

    def once(self, work, record, peer, number):
        try:
            measured = work.run(peer, number, verify=number == 0)
        except Failed as failure:
            if peer.name == "lockgate":
                raise
            say(f"{work.title}, {peers.TITLES[peer.name]}: {failure}")
            record["missing"][peer.name] = str(failure).replace(self.place.folder, "")
            for by in record["samples"].values():
                by.pop(peer.name, None)
            return
        if number > 0:
            for metric, value in measured.items():
                record["samples"].setdefault(metric, {}).setdefault(peer.name, []).append(value)

    def sinks(self):
        """The table of the bench that compares the sinks; the whole comparison has it."""
        if self.asked.quick or (self.asked.only and "sinks" not in self.asked.only):
            return None
        say("sinks")
        done = subprocess.run(["cargo", "bench", "--quiet", "--bench", "audit-cost"], cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"cargo bench --bench audit-cost: {done.stderr[-2000:]}")
        return "\n".join(line for line in done.stdout.splitlines() if line.startswith("|"))

    def results(self, sinks):
        return {
            "date": datetime.date.today().isoformat(),
            "command": " ".join(["benches/compare", *sys.argv[1:]]),
            "machine": machine(self.plan),
            "versions": self.versions,
            "absent": self.absent,
            "works": self.measured,
            "sinks": sinks,
            "noise": {"calibrations": self.calibrations, "watches": self.watches},
        }


class Named:
    """A server that each run starts itself."""

    server = None

    def __init__(self, name):
        self.name = name


def bucket_works(place, bucket, near, far):
    delay = place.plan.bucket_delay
    return [
        buckets.BucketLarge(place, bucket, "put"), buckets.BucketLarge(place, bucket, "get"),
        buckets.BucketTree(place, bucket, "rclone"), buckets.BucketTree(place, bucket, "sftp"),
        buckets.Requests(place, near),
        buckets.BucketTree(place, far, "rclone", delay), buckets.BucketTree(place, far, "sftp", delay),
    ]


def install():
    """Debian's packages of what is missing, and the S3 server of the tests."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    needed = {"sshd": "openssh-server", "sftp": "openssh-client", "rclone": "rclone", "curl": "curl"}
    missing = [package for name, package in needed.items() if not shutil.which(name, path=path)]
    if missing and shutil.which("apt-get"):
        root = [] if os.getuid() == 0 else ["sudo"]
        subprocess.run([*root, "apt-get", "update", "-qq"], check=True)
        subprocess.run([*root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)
    if not os.access(os.path.join(TOOLS, "minio"), os.X_OK):
        subprocess.run([os.path.join(ROOT, "tests/run"), "--setup"], check=True)


def machine(plan):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = re.search(r"(?m)^(?:model name|Hardware)\s*:\s*(.+)$", file.read())
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.system()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "cpus": os.cpu_count(), "cpu": cpu[1] if cpu else platform.machine(), "memory": round(memory), "kernel": platform.release(),
        "system": system, "client": first_line("ssh", "-V"), "rounds": plan.rounds,
    }


def publish(results, whole, out):
    """docs/ gets a whole and quiet run, and nothing else. The raw figures are kept beside the build in any case."""
    os.makedirs(os.path.dirname(RAW), exist_ok=True)
    with open(RAW, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    files = document.render(results)
    for reason in results["unfit"]:
        say(f"not fit to be published: {reason}")
    if out or not whole:
        return write(files, out or tempfile.mkdtemp(prefix="lockgate-compare-"))
    if results["unfit"]:
        sys.exit(f"benches/compare: too noisy to be published; docs/ stays as it is. The raw figures: {RAW}")
    write(files, DOCS)


def write(files, folder):
    """What a person wrote above the figures stays."""
    for name, content in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if name.endswith(".md") and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                content = file.read().split(document.HEAD)[0] + content
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
    say(f"written to {folder}")


def say(text):
    print(text, file=sys.stderr, flush=True)
