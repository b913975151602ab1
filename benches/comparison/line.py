"""A line that is long: what passes arrives some milliseconds later, in both directions, and as much as one likes is under way. Run as a
program:

    line.py PORT TO_PORT MILLISECONDS

The delay is that of a round trip: half of it each way.
"""

import asyncio
import os
import signal
import sys

BLOCK = 1 << 18


async def carry(reader, writer, delay):
    """Reads on while what came before is on its way."""
    loop, under_way = asyncio.get_running_loop(), asyncio.Queue()

    async def read():
        while data := await reader.read(BLOCK):
            under_way.put_nowait((loop.time() + delay, data))
        under_way.put_nowait((loop.time() + delay, b""))

    reading = asyncio.ensure_future(read())
    try:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                return
            writer.write(data)
            await writer.drain()
    finally:
        reading.cancel()


async def serve(port, to, delay):
    async def connection(reader, writer):
        there = []
        try:
            there = await asyncio.open_connection("127.0.0.1", to, limit=BLOCK)
            ways = [carry(reader, there[1], delay), carry(there[0], writer, delay)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:
            pass
        finally:
            for end in (writer, *there[1:]):
                end.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port, limit=BLOCK)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) / 2000))
