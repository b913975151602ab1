"""Operations with fzsftp, FileZilla's own SFTP engine, one a line of the input: FZSFTP PORT USER KEY. tests/clients/scripted.rs says
how they are answered.

fzsftp leaves files to the program that starts it: they pass through shared memory, in blocks that it asks for on its standard
output. Here is that program, with the commands in the order in which FileZilla gives them.
"""

import mmap
import os
import subprocess
import sys

import conversation

engine, port, user, key = sys.argv[1:]

BLOCK = 256 * 1024
memory_fd = os.memfd_create("blocks")
os.ftruncate(memory_fd, BLOCK)
memory = mmap.mmap(memory_fd, BLOCK)
fzsftp = subprocess.Popen(
    [engine, "-v"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    pass_fds=[memory_fd],
    # Where it keeps the host keys that it has seen.
    env={"HOME": os.path.dirname(key)},
)

# What each of its lines begins with says what it is. The questions for quotas have no end of line.
REPLY, DONE, ERROR, STATUS, ENTRY, HOST_KEY, RECEIVE_QUOTA, SEND_QUOTA = (bytes([c]) for c in b"012589@A")
OPEN, NEXT_BLOCK, FINALIZE = b"K", b"L", b"M"


def say(line):
    fzsftp.stdin.write(line.encode() + b"\n")
    fzsftp.stdin.flush()


class File:
    """The local side of a transfer."""

    def __init__(self, path, mode):
        self.file = open(path, mode)
        self.is_upload = mode == "rb"

    def open(self, offset):
        if self.is_upload:
            self.file.seek(offset)
        length = os.fstat(self.file.fileno()).st_size
        say(f"-{memory_fd} {BLOCK} {length}")

    def next(self, used):
        if self.is_upload:
            block = self.file.read(BLOCK)
            memory[: len(block)] = block
            say(f"-0 {len(block)}" if block else "-")
        else:
            self.file.write(memory[:used])
            say(f"-0 {BLOCK}")

    def finalize(self, used):
        self.file.write(memory[:used])
        self.file.close()
        say("-1")


def take_line():
    return fzsftp.stdout.readline().rstrip(b"\n").decode()


def await_end(file=None):
    """What fzsftp answers to a command: a sentence, or the entries of a listing (each with its `ls -l` line)."""
    entries, said = [], []
    while kind := fzsftp.stdout.read(1):
        if kind in (RECEIVE_QUOTA, SEND_QUOTA):
            say("-0-" if kind == RECEIVE_QUOTA else "-1-")
            continue
        line = take_line()
        print(kind.decode(), line, file=sys.stderr)
        if kind == HOST_KEY:
            take_line()
            say("y")
        elif kind in (STATUS, ERROR):
            said.append(line)
        elif kind == ENTRY:
            take_line()
            entries.append((take_line(), line))
        elif kind == REPLY:
            return line
        elif kind == DONE:
            if line != "1":
                raise RuntimeError(" ".join(said))
            return entries
        elif kind == OPEN:
            file.open(int(line))
        elif kind == NEXT_BLOCK:
            file.next(int(line))
        elif kind == FINALIZE:
            file.finalize(int(line))
    sys.exit("fzsftp has ended")


def command(line, file=None):
    print(">", line, file=sys.stderr)
    say(line)
    return await_end(file)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def list_folder(folder):
    command(f"cd {quoted(folder)}")
    return command("ls")


def put(local, remote, verb="put"):
    folder, name = os.path.split(remote)
    list_folder(folder)
    command(f"{verb} {quoted(local)} {quoted(name)}", File(local, "rb"))
    command(f"chmtime {int(os.stat(local).st_mtime)} {quoted(name)}")


def get(remote, local, verb="get"):
    folder, name = os.path.split(remote)
    list_folder(folder)
    modified = int(command(f"mtime {quoted(name)}"))
    command(f"{verb} {quoted(name)} {quoted(local)}", File(local, "ab" if verb == "reget" else "wb"))
    os.utime(local, (modified, modified))


def put_tree(local, remote):
    command(f"mkdir {quoted(remote)}")
    for entry in os.scandir(local):
        there = f"{remote}/{entry.name}"
        put_tree(entry.path, there) if entry.is_dir() else put(entry.path, there)


def get_tree(remote, local):
    os.mkdir(local)
    for name, line in list_folder(remote):
        if name not in (".", ".."):
            there, here = f"{remote}/{name}", os.path.join(local, name)
            get_tree(there, here) if line.startswith("d") else get(there, here)


await_end()
command(f"keyfile {quoted(key)}")
command(f"open {quoted(user + '@127.0.0.1')} {port}")
conversation.hold(
    {
        "put": put,
        "get": get,
        "put_timed": put,
        "get_timed": get,
        "reput": lambda local, remote: put(local, remote, "reput"),
        "reget": lambda remote, local: get(remote, local, "reget"),
        "put_tree": put_tree,
        "get_tree": get_tree,
        "list": lambda path: "\n".join(line for _, line in list_folder(path)),
        "rename": lambda old, new: command(f"mv {quoted(old)} {quoted(new)}") and None,
        "remove": lambda path: command(f"rm {quoted(path)}") and None,
        "mkdir": lambda path: command(f"mkdir {quoted(path)}") and None,
        "rmdir": lambda path: command(f"rmdir {quoted(path)}") and None,
    }
)
fzsftp.stdin.close()
fzsftp.wait()
