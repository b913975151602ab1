"""A relay before the S3 server that writes down each request and holds it up for some milliseconds. Run as a program:

    relay.py PORT TO_PORT MILLISECONDS LOG

Only the requests are read; answers pass as they come. What a request is called is what a bucket bills.
"""

import asyncio
import os
import signal
import sys
import urllib.parse

BLOCK = 1 << 18


def called(method, target, headers):
    """LIST, COPY, PART (of an upload in parts), UPLOAD (its beginning and its end), or the method."""
    url = urllib.parse.urlsplit(target)
    query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
    if method == "GET" and url.path.count("/") <= 2 and url.path.rstrip("/").count("/") == 1:
        return "LIST"
    if "x-amz-copy-source" in headers:
        return "COPY"
    if "uploads" in query or (method == "POST" and "uploadId" in query):
        return "UPLOAD"
    return "PART" if method == "PUT" and "uploadId" in query else method


async def requests(reader, writer, delay, log):
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        log.write(called(method, target, headers) + "\n")
        await asyncio.sleep(delay)
        writer.write(head)
        await body(reader, writer, headers)


async def body(reader, writer, headers):
    if headers.get("transfer-encoding", "").lower() == "chunked":
        size = -1
        while size != 0:
            line = await reader.readline()
            size = int(line.split(b";")[0], 16)
            writer.write(line + await reader.readexactly(size + 2))
            await writer.drain()
        return
    left = int(headers.get("content-length", 0))
    while left:
        data = await reader.read(min(left, BLOCK))
        if not data:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(data)
        writer.write(data)
        await writer.drain()
    await writer.drain()


async def answers(reader, writer):
    while data := await reader.read(BLOCK):
        writer.write(data)
        await writer.drain()


async def serve(port, upstream, delay, log):
    async def connection(reader, writer):
        there = []
        try:
            there = await asyncio.open_connection("127.0.0.1", upstream, limit=BLOCK)
            ways = [requests(reader, there[1], delay, log), answers(there[0], writer)]
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
    with open(sys.argv[4], "a", buffering=1, encoding="ascii") as log:
        asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) / 1000, log))
