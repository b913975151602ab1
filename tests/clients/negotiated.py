"""Logs in with asyncssh and prints what was negotiated, a line each: PORT USER KEY [NAME=ALGORITHM,ALGORITHM]...

The last line is what HASSH is made of: the lists of the client's own KEXINIT.
"""

import asyncio
import sys

import asyncssh
import asyncssh.connection

port, user, key, *choices = sys.argv[1:]

# The name of the key exchange is told to nobody.
exchanges = []
get_kex = asyncssh.connection.get_kex


def remember_kex(connection, name):
    exchanges.append(name.decode())
    return get_kex(connection, name)


asyncssh.connection.get_kex = remember_kex


def name_lists(kexinit):
    """The ten lists that follow the packet's type and its cookie."""
    at = 17
    for _ in range(10):
        length = int.from_bytes(kexinit[at : at + 4], "big")
        yield kexinit[at + 4 : at + 4 + length].decode()
        at += 4 + length


async def main():
    algorithms = {name: value.split(",") for name, value in (choice.split("=", 1) for choice in choices)}
    connection = await asyncssh.connect(
        "127.0.0.1",
        int(port),
        username=user,
        client_keys=[key],
        known_hosts=None,
        config=None,
        agent_path=None,
        login_timeout="10m",
        **algorithms,
    )
    async with connection:
        lists = list(name_lists(connection._client_kexinit))
        sftp = await connection.start_sftp_client()
        await sftp.getcwd()
        of = lambda what: [connection.get_extra_info(f"{way}_{what}") for way in ("send", "recv")]
        ciphers = of("cipher")
        # Of a cipher that authenticates by itself asyncssh says that it is its own MAC.
        macs = ["<implicit>" if mac == cipher else mac for mac, cipher in zip(of("mac"), ciphers)]
        print(exchanges[0])
        print(connection.get_server_host_key().algorithm.decode())
        print(*ciphers, sep=",")
        print(*macs, sep=",")
        print(*of("compression"), sep=",")
        print(";".join(lists[at] for at in (0, 2, 4, 6)))


asyncio.run(main())
