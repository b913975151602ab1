"""Operations with asyncssh, one a line of the input: PORT USER KEY. tests/clients/scripted.rs says how they are answered."""

import asyncio
import os
import sys

import asyncssh
import conversation

port, user, key = sys.argv[1:]


def connect():
    return asyncssh.connect(
        "127.0.0.1",
        int(port),
        username=user,
        client_keys=[key],
        known_hosts=None,
        agent_path=None,
        config=None,
        login_timeout="10m",
    )


class Operations:
    def __init__(self, sftp):
        self.sftp = sftp

    async def put(self, local, remote):
        await self.sftp.put(local, remote)

    async def get(self, remote, local):
        await self.sftp.get(remote, local)

    async def put_timed(self, local, remote):
        await self.sftp.put(local, remote, preserve=True)

    async def get_timed(self, remote, local):
        await self.sftp.get(remote, local, preserve=True)

    async def put_tree(self, local, remote):
        await self.sftp.put(local, remote, recurse=True, preserve=True)

    async def get_tree(self, remote, local):
        await self.sftp.get(remote, local, recurse=True, preserve=True)

    async def reput(self, local, remote):
        with open(local, "rb") as source:
            async with self.sftp.open(remote, "ab") as target:
                source.seek(await self.sftp.getsize(remote))
                await target.write(source.read())

    async def reget(self, remote, local):
        with open(local, "ab") as target:
            async with self.sftp.open(remote, "rb") as source:
                await source.seek(target.tell())
                target.write(await source.read())

    async def list(self, path):
        return "\n".join(await self.sftp.listdir(path))

    async def rename(self, old, new):
        await self.sftp.rename(old, new)

    async def remove(self, path):
        await self.sftp.remove(path)

    async def mkdir(self, path):
        await self.sftp.mkdir(path)

    async def rmdir(self, path):
        await self.sftp.rmdir(path)

    async def put_with_scp(self, local, remote):
        async with connect() as ssh:
            await asyncssh.scp(local, (ssh, remote), preserve=True)

    async def get_with_scp(self, remote, local):
        async with connect() as ssh:
            await asyncssh.scp((ssh, remote), local, preserve=True)

    async def copy_there(self, old, new):
        """With copy-data. It would leave files open that it opened by itself."""
        async with self.sftp.open(old, "rb", block_size=0) as source, self.sftp.open(new, "wb", block_size=0) as target:
            await self.sftp.remote_copy(source, target)

    async def copy_tree_there(self, old, new):
        await self.sftp.copy(old, new, recurse=True, preserve=True)

    async def in_large_blocks(self, local, remote, back):
        await self.sftp.put(local, remote, block_size=255 << 10, max_requests=256)
        # The gateway gives less at once than it is asked for here.
        await self.sftp.get(remote, back, block_size=1 << 20, max_requests=256)

    async def many(self, folder, pattern, remote, back):
        """mput, glob and mget."""
        await self.sftp.makedirs(remote)
        await self.sftp.mput(os.path.join(folder, pattern), remote)
        found = await self.sftp.glob(f"{remote}/{pattern}")
        os.mkdir(back)
        await self.sftp.mget(f"{remote}/{pattern}", back)
        return "\n".join(sorted(found))

    async def attributes(self, path):
        async with self.sftp.open(path, "wb") as file:
            await file.write(b"0123456789")
            await file.fsync()
            assert (await file.stat()).size == 10
            assert (await file.statvfs()).bsize == 4096
        await self.sftp.utime(path, (1_000_000_000, 1_000_000_000))
        await self.sftp.truncate(path, 3)
        await self.sftp.chmod(path, 0o600)
        await self.sftp.utime(path, (1_000_000_000, 1_000_000_000))
        found = await self.sftp.stat(path)
        assert (found.size, found.mtime, found.permissions) == (3, 1_000_000_000, 0o100644), found
        assert (await self.sftp.statvfs("/")).blocks > 0
        await self.sftp.posix_rename(path, path + ".other")
        assert await self.sftp.exists(path + ".other") and not await self.sftp.exists(path)
        assert await self.sftp.realpath("a/../b") == "/b"
        await self.sftp.remove(path + ".other")

    async def remove_tree(self, path):
        await self.sftp.rmtree(path)


async def main():
    async with connect() as ssh, ssh.start_sftp_client() as sftp:
        operations = Operations(sftp)
        requests = conversation.requests()
        # In a thread, so that the connection goes on meanwhile.
        while request := await asyncio.to_thread(next, requests, None):
            operation, *arguments = request
            try:
                given = await getattr(operations, operation)(*arguments)
            except Exception as error:
                conversation.complain(error)
            else:
                conversation.answer(given)


asyncio.run(main())
