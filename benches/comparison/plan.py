"""How much there is to do: the whole comparison, or a quick one that only shows that it works."""

import dataclasses

MIB = 1 << 20
CIPHERS = {"aes256-gcm@openssh.com": "aes256-gcm", "chacha20-poly1305@openssh.com": "chacha20-poly1305"}
# Where the cipher is not what is measured: the first that the server has.
CIPHER = "aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes in MiB, except for `small` (bytes)."""

    rounds: int = 5
    large: int = 1024
    files: int = 2000
    small: int = 4096
    streams: int = 8
    stream: int = 128
    logins: int = 64
    logins_at_once: int = 16
    names: int = 100_000
    idle: int = 1000
    # Seconds from the last session's end until what stays of its memory is looked at.
    kept_after: int = 60
    # The same bytes as files of these sizes.
    growth: tuple = (1, 16, 256, 1024)
    growth_names: tuple = (1000, 10_000, 100_000, 1_000_000)
    bucket_large: int = 768
    bucket_files: int = 1000
    # Milliseconds before each request, where a bucket far away is imitated, and how many files go there.
    bucket_delay: int = 20
    far_files: int = 250
    # Milliseconds to an upstream server far away and back, and how many files go there.
    upstream_delay: int = 100
    upstream_far_files: int = 40
    quick: bool = False

    def room(self):
        """MiB of tmpfs that are needed: the payload, what is put and what is fetched, the bucket with its parts."""
        return 3 * max(self.large, self.growth[-1], self.streams * self.stream) + 4 * self.bucket_large + 2048


QUICK = Plan(
    rounds=1, large=8, files=20, streams=2, stream=2, logins=8, logins_at_once=4, names=300, idle=6, kept_after=1, growth=(1, 4),
    growth_names=(10, 100), bucket_large=12, bucket_files=20, far_files=10, upstream_delay=5,
    upstream_far_files=5, quick=True,
)
