"""One operation with paramiko: PORT USER KEY OPERATION ARGUMENTS..."""

import logging
import os
import stat
import sys

import paramiko

if "LOCKGATE_TEST_VERBOSE" in os.environ:
    logging.basicConfig(level=logging.DEBUG)

port, user, key, operation, *arguments = sys.argv[1:]
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


operations = {
    "put": sftp.put,
    "get": sftp.get,
    "put_tree": put_tree,
    "get_tree": get_tree,
    "check": lambda path, algorithm, block: print(sftp.open(path).check(algorithm, 0, 0, int(block)).hex()),
    "list": lambda path: print("\n".join(sftp.listdir(path))),
    "rename": sftp.rename,
    "remove": sftp.remove,
    "mkdir": sftp.mkdir,
}
operations[operation](*arguments)
transport.close()
