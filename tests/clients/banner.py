"""Logs in with paramiko and prints the banner: banner.py PORT USER KEY."""

import sys

import paramiko

port, user, key = sys.argv[1:]
transport = paramiko.Transport(("127.0.0.1", int(port)))
transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))
sftp = paramiko.SFTPClient.from_transport(transport)
sftp.listdir("/")
banner = transport.get_banner()
print(banner.decode() if banner else "no banner")
transport.close()
