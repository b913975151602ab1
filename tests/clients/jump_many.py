"""Many sessions at a target side by side: PORT KEY OUTER INNER. Each of OUTER connections carries INNER sessions; each of those writes
a file, reads it back, and waits for all others before it ends."""

import asyncio
import sys

import asyncssh

PORT, KEY, OUTER, INNER = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


async def at_target(outer, name, all_there):
    async with outer.connect_ssh(
        "192.168.1.10", username="deploy", client_keys=[KEY], known_hosts=None, config=None, login_timeout=600
    ) as inner:
        async with inner.start_sftp_client() as sftp:
            content = name.encode() * 10_000
            async with sftp.open(f"/{name}", "wb") as file:
                await file.write(content)
            async with sftp.open(f"/{name}", "rb") as file:
                assert await file.read() == content, name
            await all_there.wait()


async def through(number, all_there):
    async with asyncssh.connect(
        "127.0.0.1", PORT, username="alice", client_keys=[KEY], known_hosts=None, config=None, login_timeout=600
    ) as outer:
        await asyncio.gather(*(at_target(outer, f"{number}-{inner}", all_there) for inner in range(INNER)))


async def main():
    all_there = asyncio.Barrier(OUTER * INNER)
    await asyncio.gather(*(through(number, all_there) for number in range(OUTER)))


asyncio.run(main())
