"""Downloads a file with paramiko's prefetch, which asks for the whole of it before it reads the first answer."""

import sys

import paramiko

import patience

port, user, key, remote, local = int(sys.argv[1]), *sys.argv[2:6]
transport = paramiko.Transport(("127.0.0.1", port))
transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))
sftp = paramiko.SFTPClient.from_transport(transport)
size = sftp.stat(remote).st_size
with sftp.open(remote, "rb") as source, open(local, "wb") as target:
    source.prefetch(size)
    while piece := source.read(1 << 20):
        target.write(piece)
transport.close()
