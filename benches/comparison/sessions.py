"""What idle sessions cost: memory while they are there, and what the server keeps when they are gone."""

import os
import resource
import select
import subprocess
import time

from . import clients, peers
from .clients import Failed
from .works import Work

INIT = bytes([0, 0, 0, 5, 1, 0, 0, 0, 3])


class Idle(Work):
    """Sessions with an SFTP channel on which the versions were exchanged. Each run has a server of its own, that had no session before."""

    def __init__(self, place):
        super().__init__(place, "idle", f"{place.plan.idle:,} idle sessions", place.plan.idle, "sessions")
        # Pipes of each client.
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[1], 65536), limits[1]))

    def rounds(self):
        """Few: every one has a new server, and waits for long."""
        return range(1, min(2, self.place.plan.rounds) + 1)

    def run(self, peer, number, verify):
        server = peers.start(peer.name, self.place, instance=f"-idle-{number}")
        sessions = []
        try:
            # What the first login allocates once is no part of a session.
            clients.sftp(self.place, server, "pwd")
            time.sleep(1)
            before = server.server.memory()
            open_sessions(self.place, server, self.amount, sessions)
            time.sleep(1)
            each = (server.server.memory() - before) / self.amount
            close(sessions)
            time.sleep(self.place.plan.kept_after)
            return {"each": each, "kept": max(0, server.server.memory() - before), "base": before}
        finally:
            close(sessions)
            server.stop()


def open_sessions(place, server, count, sessions):
    """A few at once, until all have answered."""
    command = ["ssh", "-T", *clients.options(place), "-p", str(server.port), "-s", f"{server.user}@127.0.0.1", "sftp"]
    for first in range(0, count, 16):
        some = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for _ in range(first, min(count, first + 16))
        ]
        sessions.extend(some)
        for session in some:
            session.stdin.write(INIT)
            session.stdin.flush()
        for session in some:
            if not (answers(session.stdout) and os.read(session.stdout.fileno(), 4096)):
                raise Failed(f"{server.name}: session {len(sessions)} does not answer")


def answers(file):
    """Whether anything comes within a minute. `select.select` knows no descriptors from 1024 on."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(60_000))


def close(sessions):
    for session in sessions:
        session.stdin.close()
        session.stdout.close()
    for session in sessions:
        try:
            session.wait(30)
        except subprocess.TimeoutExpired:
            session.kill()
            session.wait()
    sessions.clear()
