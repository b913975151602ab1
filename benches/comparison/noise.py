"""Whether the machine was quiet enough for figures that others will read.

Around each round a fixed piece of work keeps all processors busy for a moment; how long that takes shows what the machine is
worth now. And what the processors did that was not ours is counted: programs of others, and time that a hypervisor gave away.
"""

import hashlib
import os
import statistics
import threading
import time

from .processes import TICK, cpu_of, descendants

# The most that a published comparison may have.
LOAD = 0.25  # load average of one minute for each processor, before the beginning
CALIBRATION = 0.10  # from the fastest to the slowest calibration, of the median
FOREIGN = 0.03  # of the processors' time used by others in any round
STOLEN = 0.02  # of the processors' time that a hypervisor gave to others in any round
SPREAD = 0.15  # middle half of a figure that is compared, of its median

BLOCK = bytes(1 << 22)
BLOCKS = 64


def calibrate():
    """Seconds that the fixed piece of work takes on all processors at once."""

    def work():
        digest = hashlib.sha256()
        for _ in range(BLOCKS):
            digest.update(BLOCK)

    threads = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


class Watch:
    """Counts from its beginning on what the machine did beside us."""

    def __init__(self):
        self.start = self.now()

    @staticmethod
    def now():
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, _, _, steal, *_ = map(int, file.readline().split()[1:])
        return time.perf_counter(), (user + nice + system) / TICK, steal / TICK, cpu_of(descendants(os.getpid()))

    def shares(self):
        """What others used, and what was stolen, of all the processors' time since the beginning."""
        wall, busy, stolen, ours = (b - a for a, b in zip(self.start, self.now()))
        all = wall * (os.cpu_count() or 1)
        return {"foreign": max(0.0, busy - ours) / all, "stolen": stolen / all}


def load():
    """Load average of the last minute for each processor."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def too_busy(share):
    """Why not to begin; `None` if the machine is quiet."""
    if share > LOAD:
        return f"the load average is {share:.2f} for each processor; {LOAD} is the most at the beginning"
    return None


def complaints(calibrations, watches, spreads):
    """Every reason not to publish. `spreads` has the middle half of each figure as a share of its median, by what the figure is."""
    reasons = []
    apart = (max(calibrations) - min(calibrations)) / statistics.median(calibrations)
    if apart > CALIBRATION:
        reasons.append(f"the same calibration took {100 * apart:.0f} % longer at one time than at another; {100 * CALIBRATION:.0f} % may be")
    for share, most, who in (("foreign", FOREIGN, "other programs used"), ("stolen", STOLEN, "the hypervisor gave away")):
        worst = max(watches, key=lambda watch: watch[share])
        if worst[share] > most:
            reasons.append(f"{who} {100 * worst[share]:.1f} % of the processors in {worst['where']}; {100 * most:.0f} % may be")
    for what, spread in spreads.items():
        if spread > SPREAD:
            reasons.append(f"{what}: the middle half is {100 * spread:.0f} % of the median wide; {100 * SPREAD:.0f} % may be")
    return reasons
