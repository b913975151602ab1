"""Logs in with a password by paramiko and makes a folder: HOST PORT USER PASSWORD."""

import sys

import paramiko

import patience

host, port, user, password = sys.argv[1:]
transport = paramiko.Transport((host, int(port)))
transport.connect(username=user, password=password)
sftp = paramiko.SFTPClient.from_transport(transport)
sftp.mkdir("paramiko")
transport.close()
