"""Runs a program as a service manager does: with listening sockets from descriptor 3 on, which somebody else keeps open.

with_sockets.py PATH PROGRAM...: the sockets arrive over the Unix socket PATH, with one byte.
"""

import fcntl
import os
import socket
import sys

FIRST = 3

with socket.socket(socket.AF_UNIX) as keeper:
    keeper.connect(sys.argv[1])
    _, received, _, _ = socket.recv_fds(keeper, 1, 16)
# Out of the way first: a descriptor may have arrived in the place of another one.
aside = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in received]
for descriptor in received:
    os.close(descriptor)
for place, descriptor in enumerate(aside, start=FIRST):
    os.dup2(descriptor, place, inheritable=True)
    os.close(descriptor)
environment = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(received)), LISTEN_FDNAMES="lockgate")
os.execve(sys.argv[2], sys.argv[2:], environment)
