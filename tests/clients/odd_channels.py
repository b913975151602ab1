"""Opens channels and sends requests that no SFTP client needs; expects each to be refused."""

import sys

import paramiko

import patience

port, user, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
transport = paramiko.Transport(("127.0.0.1", port))
transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))

here = ("127.0.0.1", 7)
for kind in ("tun@openssh.com", "forwarded-tcpip", "x11", "direct-tcpip", "session-of-the-future"):
    try:
        transport.open_channel(kind, dest_addr=here, src_addr=here, timeout=600)
    except paramiko.ChannelException as refusal:
        # 1: administratively prohibited, 3: unknown channel type (RFC 4254, section 5.1)
        assert refusal.code in (1, 3), (kind, refusal)
    except (EOFError, paramiko.SSHException) as error:
        raise SystemExit(f"{kind}: no refusal but {error!r}")
    else:
        raise SystemExit(f"{kind}: opened")

assert transport.global_request("of-the-future", wait=True) is None
transport.cancel_port_forward("localhost", 7)

# The connection has survived, and still does what it is for.
assert transport.is_active()
for ask in (
    lambda channel: channel.get_pty(),
    lambda channel: channel.invoke_subsystem("netconf"),
):
    channel = transport.open_session(timeout=600)
    channel.settimeout(600)
    try:
        ask(channel)
    except paramiko.SSHException:
        pass
    else:
        raise SystemExit("a request was granted")
    channel.close()

# A variable is sent without asking for an answer.
channel = transport.open_session(timeout=600)
channel.set_environment_variable("A", "b")
channel.close()

# A command may be refused by the request's answer, or by a sentence and an exit status.
for ask in (lambda channel: channel.invoke_shell(), lambda channel: channel.exec_command("id")):
    channel = transport.open_session(timeout=600)
    channel.settimeout(600)
    try:
        ask(channel)
    except paramiko.SSHException:
        continue
    assert channel.recv(100) == b""
    assert channel.recv_stderr(1000)
    assert channel.recv_exit_status() != 0
    channel.close()

sftp = paramiko.SFTPClient.from_transport(transport)
assert sftp.listdir("/") == []
transport.close()
print("all refused")
