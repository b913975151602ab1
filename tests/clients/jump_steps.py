"""What goes on at a target with paramiko: PORT KEY STEP. One connection, jumps over it."""

import os
import sys
import threading
import time

import paramiko
from paramiko import common

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


class Tap:
    """A channel as the socket of another connection, of which nothing is read while it is shut."""

    def __init__(self, channel):
        self.channel, self.is_shut, self.sent = channel, False, 0

    def recv(self, count):
        while self.is_shut:
            time.sleep(0.01)
        return self.channel.recv(count)

    def send(self, data):
        sent = self.channel.send(data)
        self.sent += sent
        return sent

    def __getattr__(self, name):
        return getattr(self.channel, name)


def ahead():
    """Requests of more than half a MiB are sent before anything of their answers is taken."""
    target = ("192.168.1.10", 22)
    tap = Tap(outer.open_channel("direct-tcpip", target, ("127.0.0.1", 0), window_size=1 << 16, timeout=600))
    inner = paramiko.Transport(tap)
    inner.start_client(timeout=600)
    inner.auth_publickey("deploy", KEY)
    sftp = paramiko.SFTPClient.from_transport(inner)
    pieces = [(n * 100, 100) for n in range(7_000)]
    before = tap.sent

    def open_again():
        sent = None
        while sent != tap.sent or sent - before < 1 << 19:
            sent = tap.sent
            time.sleep(2)
            if tap.channel.closed:
                break
        tap.is_shut = False

    with sftp.open("/big", "rb") as source:
        tap.is_shut = True
        threading.Thread(target=open_again, daemon=True).start()
        got = b"".join(source.readv(pieces))
    with open(sys.argv[4], "wb") as target:
        target.write(got)
    inner.close()


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


def paced():
    """While many jumps wait for their time, who is at a target already waits for nothing: its answers overtake theirs."""
    def one():
        return outer.open_channel("direct-tcpip", ("192.168.1.10", 22), ("127.0.0.1", 0), timeout=600)

    def late(ends):
        try:
            one().close()
            ends.append(time.monotonic())
        except paramiko.ChannelException:
            # Those before it are not all gone.
            pass

    _, sftp = at_target()
    for _ in range(20):
        # The burst is used up when one has to wait.
        for _ in range(1000):
            began = time.monotonic()
            try:
                one().close()
            except paramiko.ChannelException:
                time.sleep(0.01)
            if time.monotonic() - began > 0.08:
                break
        ends = []
        waiting = [threading.Thread(target=late, args=(ends,)) for _ in range(6)]
        for thread in waiting:
            thread.start()
        time.sleep(0.03)
        sftp.stat("/")
        answered = time.monotonic()
        for thread in waiting:
            thread.join()
        if ends and answered + 0.1 < max(ends):
            return
    sys.exit("jumps that wait hold up who is at a target")


def unfinished():
    """Jumps that exchange keys, or not even that, and log in never; the connection goes on without them."""
    mute = outer.open_channel("direct-tcpip", ("192.168.1.10", 22), ("127.0.0.1", 0))
    inner = jump()
    mute.settimeout(600)
    while mute.recv(1000):
        pass
    while inner.is_active():
        time.sleep(0.05)
    _, sftp = at_target()
    sftp.stat("/")


def crowd():
    """As many jumps as a connection may have channels, and one more."""
    def one():
        return outer.open_channel("direct-tcpip", ("192.168.1.10", 22), ("127.0.0.1", 0), timeout=600)

    jumps = [one() for _ in range(10)]
    # 1: administratively prohibited, 4: resource shortage (RFC 4254, section 5.1)
    for open_more, code in (one, 1), (lambda: outer.open_session(timeout=600), 4):
        try:
            open_more()
            sys.exit("an eleventh channel is open")
        except paramiko.ChannelException as refused:
            assert refused.code == code, refused
    jumps.pop().close()
    # The gateway learns of the end when it reads it.
    for _ in range(6000):
        try:
            jumps.append(one())
            break
        except paramiko.ChannelException:
            time.sleep(0.1)
    else:
        sys.exit("the place of a jump that has ended is not free again")


def compare():
    """What refusals say and how long they take, of what is there and of what is not: COUNT. Prints two medians for the addresses, and
    two for the accounts."""
    def timed(ask):
        began = time.perf_counter()
        try:
            ask()
        except paramiko.ChannelException as refused:
            return time.perf_counter() - began, (refused.code, refused.text)
        except paramiko.SSHException as refused:
            return time.perf_counter() - began, str(refused)
        sys.exit("not refused")

    def median(times):
        return sorted(times)[len(times) // 2]

    taken, said = {"192.168.1.11": [], "192.168.1.99": [], "root": [], "else": []}, {}
    for _ in range(int(sys.argv[4])):
        # A new connection: after many refusals the gateway takes its time.
        over = paramiko.Transport(("127.0.0.1", PORT))
        over.connect(username="alice", pkey=KEY)
        for turn in range(10):
            # Neither is always the first one.
            for host in ("192.168.1.11", "192.168.1.99")[:: 1 - 2 * (turn % 2)]:
                def ask(host=host):
                    return over.open_channel("direct-tcpip", (host, 22), ("127.0.0.1", 0), timeout=600)
                time_taken, words = timed(ask)
                taken[host].append(time_taken)
                said.setdefault("address", set()).add(words)
        for turn in range(4):
            inner = paramiko.Transport(over.open_channel("direct-tcpip", ("192.168.1.10", 22), ("127.0.0.1", 0)))
            inner.start_client(timeout=600)
            for account in ("root", "else")[:: 1 - 2 * (turn % 2)]:
                time_taken, words = timed(lambda account=account: inner.auth_none(account))
                taken[account].append(time_taken)
                said.setdefault("account", set()).add(words)
            inner.close()
        over.close()
    assert all(len(words) == 1 for words in said.values()), said
    print(*(median(times) for times in taken.values()))


def goodbye():
    """A connection at a target says goodbye, and its channel stays open for a while: prints what came over it then."""
    seen = []

    def noting(name, handle):
        return lambda channel, message: (seen.append(name), handle(channel, message))[1]

    table = dict(paramiko.Transport._channel_handler_table)
    for name, number in (("EOF", common.MSG_CHANNEL_EOF), ("CLOSE", common.MSG_CHANNEL_CLOSE)):
        table[number] = noting(name, table[number])
    paramiko.Transport._channel_handler_table = table
    inner, sftp = at_target()
    upload = sftp.open("/unfinished", "wb")
    upload.write(b"half of it")
    channel = inner.sock
    channel.close = lambda: None
    message = paramiko.Message()
    message.add_byte(bytes([common.MSG_DISCONNECT]))
    message.add_int(11)
    message.add_string("goodbye")
    message.add_string("")
    inner._send_message(message)
    # The gateway ends its half first.
    while "EOF" not in seen:
        time.sleep(0.01)
    if sys.argv[4] == "answers":
        channel.shutdown_write()
    while "CLOSE" not in seen:
        time.sleep(0.01)
    print(*seen)


steps = (download, ahead, guess, garbage, silent, paced, unfinished, crowd, compare, goodbye)
next(step for step in steps if step.__name__ == STEP)()
outer.close()
