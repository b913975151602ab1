"""Medians, spreads, ratios and targets. A ratio is taken within each round, so that a machine that slows down favours nobody."""

import dataclasses
import statistics


def quarters(values):
    """The quarter below the median, the median, and the quarter above."""
    if len(values) < 2:
        return (values[0],) * 3
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def spread(values):
    """The middle half as a share of the median."""
    low, median, high = quarters(values)
    return (high - low) / median if median else 0.0


def samples(work, metric, peer):
    return work["samples"].get(metric, {}).get(peer, [])


def ratios(work, metric, above, below):
    """`above` by `below`, round by round; empty where one of them was not measured. A cost too small to see counts as one tick."""
    pairs = zip(samples(work, metric, above), samples(work, metric, below))
    return [max(a, 0.01) / max(b, 0.01) if metric == "cpu" else a / b for a, b in pairs if b or metric == "cpu"]


@dataclasses.dataclass(frozen=True)
class Target:
    """What must hold: `factor` times as fast as the peer at least, or with `most` of its cost at most. Without a peer, an absolute figure
    of ours at most."""

    work: str
    what: str
    peer: str | None
    metric: str
    factor: float
    most: bool = False
    scale: float = 1.0
    unit: str = "×"

    def required(self):
        return f"{'≤' if self.most else '≥'} {self.factor:g} {self.unit}" + (f" {self.peer}" if self.peer else "")

    def values(self, works):
        """What was measured, round by round."""
        work = works.get(self.work)
        if work is None:
            return []
        if self.peer is None:
            return [value * self.scale for value in samples(work, self.metric, "lockgate")]
        if self.most:
            return ratios(work, self.metric, "lockgate", self.peer)
        return ratios(work, self.metric, self.peer, "lockgate")

    def met(self, values):
        median = quarters(values)[1]
        return median <= self.factor if self.most else median >= self.factor


def targets():
    found = []
    for cipher in ("aes256-gcm", "chacha20-poly1305"):
        for direction in ("put", "get"):
            key, what = f"sftp-{direction}-{cipher}", f"large {direction}, {cipher}"
            found.append(Target(key, what, "sshd", "seconds", 1.4))
            found.append(Target(key, f"{what}: processor time of the server", "sshd", "cpu", 0.8, most=True))
    for direction in ("put", "get"):
        for peer in ("sshd", "sftpgo"):
            found.append(Target(f"tree-{direction}", f"small files, {direction} -r", peer, "seconds", 1.3))
        found.append(Target(f"streams-{direction}", f"streams at once, {direction}", "sshd", "seconds", 1.3))
        found.append(Target(f"scp-{direction}", f"scp -O, {direction}", "sshd", "seconds", 1.3))
        found.append(Target(f"bucket-{direction}", f"large {direction}, S3", "client", "seconds", 0.9))
        found.append(Target(f"bucket-{direction}", f"large {direction}, S3", "sftpgo", "seconds", 2))
    for where, away in (("", "upstream"), ("-100ms", "upstream, 100 ms away")):
        for direction in ("put", "get"):
            found.append(Target(f"upstream-{direction}{where}", f"large {direction}, {away}", "sshd", "seconds", 0.6))
            found.append(Target(f"upstream-tree-{direction}{where}", f"small files {direction}, {away}", "sshd", "seconds", 0.5))
    for by in ("rclone", "sftp"):
        found.append(Target(f"bucket-{by}-delayed", f"small files to a bucket far away, {by}", "sftpgo", "seconds", 3))
    found.append(Target("logins", "logins", "sshd", "seconds", 8))
    found.append(Target("logins", "logins", "sftpgo", "seconds", 1.5))
    found.append(Target("listing", "listing", "sftpgo", "seconds", 2))
    found.append(Target("idle", "memory of an idle session", None, "each", 48, most=True, scale=1 / 1024, unit="KiB"))
    return found


# How many requests, and of them LISTs, a deed may need.
REQUESTS = {
    "stat of a file": (1, 0), "put, new": (4, 1), "put, overwrite": (3, 0), "get": (3, 0), "rename": (6, 1), "rm": (3, 0),
    "`rclone copyto`": (14, 4),
}


def spreads(works):
    """The spread of each figure that a target compares, as `noise.complaints` takes it."""
    found = {}
    for target in targets():
        work = works.get(target.work)
        if work and target.metric == "seconds":
            for peer in ("lockgate", target.peer):
                values = samples(work, "seconds", peer)
                if values:
                    found[f"{work['title']}, {peer}"] = spread(values)
    return found
