"""A jump with paramiko or asyncssh: PORT KEY HOST_KEY HOW. Writes a file named HOW at the target and looks at it."""

import asyncio
import sys

import asyncssh
import paramiko

PORT, KEY, HOST_KEY, HOW = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
CONTENT = b"x" * 100_000


def with_paramiko():
    key = paramiko.Ed25519Key.from_private_key_file(KEY)
    outer = paramiko.Transport(("127.0.0.1", PORT))
    outer.connect(username="alice", pkey=key)
    inner = paramiko.Transport(outer.open_channel("direct-tcpip", ("192.168.1.10", 22), ("127.0.0.1", 0)))
    inner.start_client()
    assert inner.get_remote_server_key().get_base64() == HOST_KEY
    if HOW == "key":
        inner.auth_publickey("deploy", key)
    elif HOW == "password":
        inner.auth_password("deploy", "whatever it is")
    else:
        inner.auth_interactive("deploy", lambda *_: [])
    sftp = paramiko.SFTPClient.from_transport(inner)
    with sftp.open("/" + HOW, "wb") as file:
        file.write(CONTENT)
    assert sftp.stat("/" + HOW).st_size == len(CONTENT)
    inner.close()
    outer.close()


async def with_asyncssh():
    known = asyncssh.import_known_hosts(f"192.168.1.10 ssh-ed25519 {HOST_KEY}\n")
    async with asyncssh.connect(
        "127.0.0.1", PORT, username="alice", client_keys=[KEY], known_hosts=None, config=None
    ) as outer:
        async with outer.connect_ssh(
            "192.168.1.10", username="deploy", client_keys=[KEY], known_hosts=known, config=None
        ) as inner:
            async with inner.start_sftp_client() as sftp:
                async with sftp.open("/" + HOW, "wb") as file:
                    await file.write(CONTENT)
                assert (await sftp.stat("/" + HOW)).size == len(CONTENT)


if HOW == "asyncssh":
    asyncio.run(with_asyncssh())
else:
    with_paramiko()
