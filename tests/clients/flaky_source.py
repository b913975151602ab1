"""A web server with one file, whose first answers end in the middle: FILE FAILURES. It prints its port, and ends with its input."""

import http.server
import os
import sys
import threading

path, failures = sys.argv[1], int(sys.argv[2])


class Source(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.begin()

    def do_GET(self):
        global failures
        self.begin()
        with open(path, "rb") as file:
            content = file.read()
        if failures > 0:
            failures -= 1
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content)

    def begin(self):
        self.send_response(200)
        self.send_header("Content-Length", str(os.stat(path).st_size))
        self.send_header("Last-Modified", "Wed, 04 Mar 2015 05:06:07 GMT")
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Source)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
