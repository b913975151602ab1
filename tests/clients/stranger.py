"""Key exchanges of strangers, without end and without a login: PORT SECONDS METHOD CONNECTIONS ADDRESS...

So many connections at once come from each address, for so many seconds. Each says its version, offers the one key exchange METHOD, sends
the client's part of it, waits for the server's, and comes again. Prints how many exchanges the server has answered, and how many
connections it has refused.
"""

import asyncio
import os
import struct
import sys
import time

KEXINIT, KEXDH_INIT, KEXDH_REPLY = 20, 30, 31
REST = [
    "ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512",
    *["aes256-gcm@openssh.com"] * 2,
    *["hmac-sha2-256"] * 2,
    *["none"] * 2,
    *[""] * 2,
]


def string(data):
    return struct.pack(">I", len(data)) + data


def packet(payload):
    padding = 8 - (5 + len(payload)) % 8
    padding += 8 if padding < 4 else 0
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


def kexinit(method):
    lists = b"".join(string(names.encode()) for names in [method, *REST])
    return packet(bytes([KEXINIT]) + os.urandom(16) + lists + bytes(5))


def public(method):
    """A public key that costs nothing: a base point, or a power of the generator."""
    if method.startswith("curve25519"):
        return string(bytes([9]) + bytes(31))
    if method.startswith("mlkem768x25519"):
        return string(MLKEM + bytes([9]) + bytes(31))
    return string(b"\x02")


# A key of ML-KEM-768 that is well-formed: all coefficients 0.
MLKEM = bytes(1184)


async def receive(reader):
    length, padding = struct.unpack(">IB", await reader.readexactly(5))
    payload = await reader.readexactly(length - 1)
    return payload[0]


async def once(port, address, method):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        writer.write(b"SSH-2.0-stranger\r\n" + kexinit(method) + packet(bytes([KEXDH_INIT]) + public(method)))
        await reader.readline()
        while await receive(reader) != KEXDH_REPLY:
            pass
    finally:
        writer.close()


async def again(port, until, method, address, counts):
    while time.monotonic() < until:
        try:
            await asyncio.wait_for(once(port, address, method), until - time.monotonic() + 1)
            counts[0] += 1
        except (OSError, EOFError, ValueError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            counts[1] += 1
            await asyncio.sleep(0.01)


async def main(port, seconds, method, connections, addresses):
    counts, until = [0, 0], time.monotonic() + seconds
    await asyncio.gather(*(again(port, until, method, address, counts) for address in addresses for _ in range(connections)))
    print(*counts)


port, seconds, method, connections, *addresses = sys.argv[1:]
asyncio.run(main(int(port), float(seconds), method, int(connections), addresses))
