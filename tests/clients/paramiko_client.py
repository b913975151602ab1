"""Operations with paramiko, one a line of the input: PORT USER KEY. tests/clients/scripted.rs says how they are answered."""

import io
import logging
import os
import stat
import sys

import paramiko

import conversation
import patience

if "LOCKGATE_TEST_VERBOSE" in os.environ:
    logging.basicConfig(level=logging.DEBUG)

port, user, key = sys.argv[1:]
transport = paramiko.Transport(("127.0.0.1", int(port)))
transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))
sftp = paramiko.SFTPClient.from_transport(transport)


def put_tree(local, remote):
    sftp.mkdir(remote)
    for name in os.listdir(local):
        here, there = os.path.join(local, name), remote + "/" + name
        if os.path.isdir(here):
            put_tree(here, there)
        else:
            sftp.put(here, there)


def get_tree(remote, local):
    os.mkdir(local)
    for entry in sftp.listdir_attr(remote):
        here, there = os.path.join(local, entry.filename), remote + "/" + entry.filename
        if stat.S_ISDIR(entry.st_mode):
            get_tree(there, here)
        else:
            sftp.get(there, here)


def reput(local, remote):
    with open(local, "rb") as source, sftp.open(remote, "ab") as target:
        target.set_pipelined(True)
        source.seek(sftp.stat(remote).st_size)
        while piece := source.read(32768):
            target.write(piece)


def reget(remote, local):
    with sftp.open(remote, "rb") as source, open(local, "ab") as target:
        source.seek(target.tell())
        while piece := source.read(32768):
            target.write(piece)


def put_timed(local, remote):
    sftp.put(local, remote)
    sftp.utime(remote, (0, int(os.stat(local).st_mtime)))


def get_timed(remote, local):
    sftp.get(remote, local)
    os.utime(local, (0, sftp.stat(remote).st_mtime))


def contents(path):
    with sftp.open(path, "rb") as file:
        return file.read()


def open_in_every_way(path):
    """Each mode of open(), each followed by what the file holds then."""
    with sftp.open(path, "wx") as file:
        file.write(b"0123456789")
    assert contents(path) == b"0123456789"
    with sftp.open(path, "a") as file:
        file.write(b"tail")
    assert contents(path) == b"0123456789tail"
    with sftp.open(path, "r+") as file:
        file.seek(3)
        file.write(b"XX")
        assert file.stat().st_size == 14
        file.seek(0)
        assert file.read() == b"012XX56789tail"
    assert contents(path) == b"012XX56789tail"
    with sftp.open(path, "a+") as file:
        file.write(b"!")
        file.seek(12)
        assert file.read() == b"il!"
    with sftp.open(path, "r+") as file:
        file.truncate(5)
        assert file.stat().st_size == 5
    assert contents(path) == b"012XX"
    with sftp.open(path, "w+") as file:
        file.write(b"new")
        file.seek(1)
        assert file.read() == b"ew"
    sftp.truncate(path, 5)
    assert contents(path) == b"new\0\0"
    sftp.truncate(path, 2)
    assert contents(path) == b"ne"


def put_and_get_objects(path):
    data = os.urandom(300_000)
    assert sftp.putfo(io.BytesIO(data), path, confirm=True).st_size == len(data)
    back = io.BytesIO()
    assert sftp.getfo(path, back) == len(data) and back.getvalue() == data
    with sftp.open(path, "rb") as file:
        pieces = list(file.readv([(0, 10), (250_000, 70_000), (100, 40_000)]))
    assert pieces == [data[:10], data[250_000:], data[100:40_100]]
    with sftp.open(path, "rb") as file:
        file.prefetch(len(data))
        assert file.read() == data


# Nobody closes these, as after an exception.
left_open = []


def put_over_one_left_open(local, remote):
    """What was left open is not what `put` asks the size of, and the time that is set is that of the new file."""
    file = sftp.open(remote, "w")
    file.write(bytes(5_120))
    file.flush()
    left_open.append(file)
    put_timed(local, remote)
    found = sftp.stat(remote)
    assert (found.st_size, found.st_mtime) == (os.stat(local).st_size, int(os.stat(local).st_mtime)), found
    with open(local, "rb") as file:
        assert contents(remote) == file.read()


def change_attributes(path):
    sftp.putfo(io.BytesIO(b"data"), path)
    sftp.chmod(path, 0o600)
    sftp.chown(path, 0, 0)
    sftp.utime(path, (1_000_000_000, 1_000_000_000))
    found = sftp.stat(path)
    assert stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o644
    assert (found.st_size, found.st_mtime, found.st_uid) == (4, 1_000_000_000, 1000)
    assert stat.S_ISDIR(sftp.lstat("/").st_mode)
    with sftp.open(path + ".other", "w") as file:
        file.write("old")
    sftp.posix_rename(path, path + ".other")
    assert contents(path + ".other") == b"data"
    sftp.chdir("/")
    assert sftp.getcwd() == "/" and sftp.normalize("a/../b") == "/b"


conversation.hold(
    {
        "put": sftp.put,
        "get": sftp.get,
        "put_tree": put_tree,
        "get_tree": get_tree,
        "reput": reput,
        "reget": reget,
        "put_timed": put_timed,
        "get_timed": get_timed,
        "check": lambda path, algorithm, block: sftp.open(path).check(algorithm, 0, 0, int(block)).hex(),
        "list": lambda path: "\n".join(entry.filename for entry in sftp.listdir_iter(path)),
        "rename": sftp.rename,
        "remove": sftp.remove,
        "mkdir": sftp.mkdir,
        "rmdir": sftp.rmdir,
        "open_in_every_way": open_in_every_way,
        "put_and_get_objects": put_and_get_objects,
        "change_attributes": change_attributes,
        "put_over_one_left_open": put_over_one_left_open,
        "open": lambda path, mode: sftp.open(path, mode).close(),
        "listdir": lambda path: "\n".join(sftp.listdir(path)),
    }
)
transport.close()
