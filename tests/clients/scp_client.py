"""One operation with the module scp, on paramiko: PORT USER KEY OPERATION ARGUMENTS..."""

import sys

import paramiko
from scp import SCPClient

import patience

port, user, key, operation, *arguments = sys.argv[1:]
transport = paramiko.Transport(("127.0.0.1", int(port)))
transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))
with SCPClient(transport) as scp:
    operations = {
        "put": lambda local, remote: scp.put(local, remote, preserve_times=True),
        "get": lambda remote, local: scp.get(remote, local, preserve_times=True),
        "put_tree": lambda local, remote: scp.put(local, remote, recursive=True, preserve_times=True),
        "get_tree": lambda remote, local: scp.get(remote, local, recursive=True, preserve_times=True),
    }
    operations[operation](*arguments)
transport.close()
