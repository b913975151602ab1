"""Operations with fsspec, over paramiko, one a line of the input: PORT USER KEY. tests/clients/scripted.rs says how they are answered."""

import os
import sys

import fsspec

import conversation
import patience

port, user, key = sys.argv[1:]
home = fsspec.filesystem(
    "sftp",
    host="127.0.0.1",
    port=int(port),
    username=user,
    key_filename=key,
    allow_agent=False,
    look_for_keys=False,
    # Where files of a transaction lie until its end.
    temppath="/in work",
    # Each program of the tests has one file system.
    skip_instance_cache=True,
)


def put_tree(local, remote):
    # Its own way stops at folders.
    for folder, _, files in os.walk(local):
        there = remote + folder[len(local) :]
        home.mkdir(there, create_parents=False)
        for name in files:
            home.put_file(os.path.join(folder, name), there + "/" + name)


def put_timed(local, remote):
    home.put_file(local, remote)
    time = int(os.stat(local).st_mtime)
    home.ftp.utime(remote, (time, time))


def get_timed(remote, local):
    home.get_file(remote, local)
    time = home.modified(remote).timestamp()
    os.utime(local, (time, time))


def stat(path):
    found = home.info(path)
    return f"{found['size']} {int(found['mtime'].timestamp())}"


def ask(folder):
    """What programs ask before they write: an absent time would be an error, or the answer no."""
    assert not home.exists(folder + "/none") and not home.isdir(folder + "/none")
    home.makedirs(folder + "/deep/er", exist_ok=True)
    for path in ("/", folder, folder + "/deep", folder + "/deep/er"):
        assert home.exists(path) and home.isdir(path) and home.info(path)["type"] == "directory", path
    with home.open(folder + "/deep/er/file", "wb") as file:
        file.write(b"0123456789")
    assert home.isfile(folder + "/deep/er/file") and home.size(folder + "/deep/er/file") == 10
    assert home.cat_file(folder + "/deep/er/file", start=2, end=5) == b"234"
    assert home.find(folder) == [folder + "/deep/er/file"]
    assert home.du(folder) == 10
    assert home.glob(folder + "/*/*/f*") == [folder + "/deep/er/file"]


def write_in_a_transaction(path):
    """The file lies elsewhere until the transaction ends, and is moved then."""
    home.makedirs(home.temppath, exist_ok=True)
    with home.transaction:
        with home.open(path, "wb") as file:
            file.write(b"all of it")
        assert not home.exists(path)
    assert home.cat_file(path) == b"all of it"


conversation.hold(
    {
        "put": home.put_file,
        "get": home.get_file,
        "put_tree": put_tree,
        "get_tree": lambda remote, local: home.get(remote, local, recursive=True),
        "put_timed": put_timed,
        "get_timed": get_timed,
        "list": lambda folder: "\n".join(home.ls(folder)),
        "stat": stat,
        "rename": home.mv,
        "remove": home.rm_file,
        "mkdir": lambda folder: home.mkdir(folder, create_parents=False),
        "rmdir": home.rmdir,
        "remove_tree": lambda folder: home.rm(folder, recursive=True),
        "ask": ask,
        "write_in_a_transaction": write_in_a_transaction,
    }
)
