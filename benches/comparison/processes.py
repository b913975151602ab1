"""Programs that run beside the comparison, each under a keeper of its own.

A server may be many processes: sshd has three for each session, and some of them outlive their parent. The keeper adopts those,
so that their processor time is counted and none stays behind. The keeper itself is this file, run as a program.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

TICK = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Server:
    """A program that runs until `stop`. Its output goes to `log`."""

    def __init__(self, command, log, env=None, cwd=None):
        self.log = log
        with open(log, "ab") as out:
            self.keeper = subprocess.Popen(
                [sys.executable, "-BS", __file__, *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment(env), cwd=cwd,
            )

    def processes(self):
        """The program's processes, without the keeper."""
        return descendants(self.keeper.pid)[1:]

    def has_ended(self):
        return self.keeper.poll() is not None

    def cpu(self):
        """Seconds of processor time so far, of all its processes that run or ran. Waits until what it still does has ended."""
        before = -1.0
        for _ in range(50):
            now = cpu_of(descendants(self.keeper.pid))
            if now - before < 1.5 / TICK:
                return now
            before = now
            time.sleep(0.02)
        return before

    def memory(self):
        """Bytes. Pages that several processes share count once."""
        return sum(filter(None, map(memory_of, self.processes())))

    def stop(self):
        self.keeper.terminate()
        try:
            self.keeper.wait(30)
        except subprocess.TimeoutExpired:
            for pid in reversed(descendants(self.keeper.pid)):
                kill(pid, signal.SIGKILL)
            self.keeper.wait()


def environment(more=None):
    """Ours without what steers clients of a cloud: every server and client gets its own in `more`."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "RCLONE_"))} | (more or {})


def descendants(root):
    """`root` and every process below it."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat(int(name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def stat(pid):
    """The fields of /proc/PID/stat from the state on; `None` if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    # The program's name stands in brackets and may hold anything.
    return text[text.rindex(")") + 2 :].split()


def cpu_of(pids):
    """Seconds of processor time of these processes and of all children that they have waited for."""
    ticks = 0
    for pid in pids:
        fields = stat(pid)
        if fields:
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICK


def memory_of(pid):
    """The process's proportional share of its pages in bytes; `None` if it has ended or is not ours to look at."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return None


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def await_until(what, condition, seconds=60):
    """Waits until `condition()` is true, and returns what it returned."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise RuntimeError(f"{what}: not within {seconds} s")


def keep(command):
    """Runs the command until SIGTERM, or until who asked for it is gone; leaves no process behind."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    def end(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            deadline = time.monotonic() + seconds
            for pid in descendants(os.getpid())[1:]:
                kill(pid, number)
            while time.monotonic() < deadline:
                try:
                    if os.waitpid(-1, os.WNOHANG)[0] == 0:
                        time.sleep(0.02)
                except ChildProcessError:
                    os._exit(0)
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # SIGINT from the terminal reaches the whole group; the comparison stops its servers itself.
    child = subprocess.Popen(command, start_new_session=True)
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        if pid == child.pid:
            print(f"ended with status {os.waitstatus_to_exitcode(status)}", file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    keep(sys.argv[1:])
