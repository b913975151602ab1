"""Receives Lockgate's notifications (`format: cloudevents`, `signing`) and prints each file that has arrived, once.

    pip install standardwebhooks
    WEBHOOK_SECRET=whsec_… python receiver.py --port 8080 --seen seen.sqlite

Lockgate delivers at least once: what was told already is known by its `webhook-id`, which is kept in a file. The order is that of
the files' events, so a later notification about a file is later in truth.
"""

import argparse
import json
import os
import sqlite3
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


def act(event):
    """What is to be done with a file. `subject` is /BUCKET/KEY."""
    bucket, _, key = event["subject"].lstrip("/").partition("/")
    print(json.dumps({"type": event["type"], "bucket": bucket, "key": key, "user": event["data"]["username"]}), flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            # Also refuses what is older than five minutes: somebody may have recorded it.
            self.server.webhook.verify(body, headers)
        except WebhookVerificationError:
            # 401 is about all deliveries: Lockgate waits, and sets nothing aside.
            return self.answer(401)
        with self.server.seen as seen:
            is_new = seen.execute("insert or ignore into seen values (?)", (headers["webhook-id"],)).rowcount
            if is_new:
                # In the same transaction: when this fails, it comes again.
                act(json.loads(body))
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=8080)
    arguments.add_argument("--seen", default="seen.sqlite")
    arguments = arguments.parse_args()
    server = HTTPServer(("127.0.0.1", arguments.port), Receiver)
    server.webhook = Webhook(os.environ["WEBHOOK_SECRET"])
    server.seen = sqlite3.connect(arguments.seen)
    server.seen.execute("create table if not exists seen (id text primary key)")
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
