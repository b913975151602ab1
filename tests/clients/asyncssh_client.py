"""One operation with asyncssh: PORT USER KEY OPERATION ARGUMENTS..."""

import asyncio
import sys

import asyncssh


async def main(port, user, key, operation, *arguments):
    connection = asyncssh.connect(
        "127.0.0.1", int(port), username=user, client_keys=[key], known_hosts=None, agent_path=None, config=None
    )
    async with connection as ssh, ssh.start_sftp_client() as sftp:
        if operation == "list":
            print("\n".join(await sftp.listdir(*arguments)))
        elif operation in ("put_tree", "get_tree"):
            await getattr(sftp, operation.removesuffix("_tree"))(*arguments, recurse=True)
        else:
            await getattr(sftp, operation)(*arguments)


asyncio.run(main(*sys.argv[1:]))
