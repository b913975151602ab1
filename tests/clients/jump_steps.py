"""What goes on at a target with paramiko: PORT KEY STEP. One connection, jumps over it."""

import os
import sys
import time

import paramiko

PORT, KEY, STEP = int(sys.argv[1]), paramiko.Ed25519Key.from_private_key_file(sys.argv[2]), sys.argv[3]

outer = paramiko.Transport(("127.0.0.1", PORT))
outer.connect(username="alice", pkey=KEY)


def jump():
    inner = paramiko.Transport(outer.open_channel("direct-tcpip", ("192.168.1.10", 22), ("127.0.0.1", 0)))
    inner.start_client(timeout=600)
    return inner


def at_target():
    inner = jump()
    inner.auth_publickey("deploy", KEY)
    return inner, paramiko.SFTPClient.from_transport(inner)


def download():
    """All of a file is asked for before the first answer is read, while somebody else is there."""
    other, beside = at_target()
    inner, sftp = at_target()
    size = sftp.stat("/big").st_size
    with sftp.open("/big", "rb") as source, open(sys.argv[4], "wb") as target:
        source.prefetch(size)
        while piece := source.read(1 << 20):
            target.write(piece)
            beside.stat("/big")
    inner.close()
    other.close()


def guess():
    """Many wrong accounts, each with a password."""
    for _ in range(12):
        inner = jump()
        for _ in range(4):
            try:
                inner.auth_password("nobody", "whatever it is")
                sys.exit("let in")
            except paramiko.AuthenticationException:
                pass
        inner.close()


def garbage():
    """The connection breaks the protocol while somebody is at the target."""
    _, sftp = at_target()
    sftp.stat("/")
    outer.sock.send(os.urandom(4000))
    while outer.is_active():
        time.sleep(0.05)


def silent():
    """Channels that are opened and closed without a word."""
    for _ in range(60):
        outer.open_channel("direct-tcpip", ("192.168.1.10", 22), ("127.0.0.1", 0)).close()
    _, sftp = at_target()
    sftp.stat("/")


{"download": download, "guess": guess, "garbage": garbage, "silent": silent}[STEP]()
outer.close()
