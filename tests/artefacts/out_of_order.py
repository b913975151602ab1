"""Uploads a file whose second half is written first: it has to wait in the staging folder. Arguments: port, user, private key, name."""

import sys

import paramiko

port, user, key, name = sys.argv[1:]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", int(port), user, key_filename=key, allow_agent=False, look_for_keys=False, timeout=60)
sftp = client.open_sftp()
half = 256 * 1024
with sftp.open(name, "w") as file:
    file.seek(half)
    file.write(b"b" * half)
    file.seek(0)
    file.write(b"a" * half)
with sftp.open(name, "r") as file:
    assert file.read() == b"a" * half + b"b" * half
client.close()
