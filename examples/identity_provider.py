#!/usr/bin/env python3
"""An identity provider for `users_from: { http: ... }`, to try and to begin from. Python 3.8 or newer, nothing else.

`lambda_handler` is what AWS Transfer Family calls in a function of yours; the rest answers Lockgate over HTTP with it:
  GET  /servers/ID/users/NAME/config?sourceIp=...&protocol=SFTP   with the password, if any, in the header `Password`
  POST /  with {"username", "password", "protocol", "serverId", "sourceIp"}; an empty password is an attempt with a key

Try it:
  python3 examples/identity_provider.py --hash-password          # asks for one, prints what belongs into the file
  python3 examples/identity_provider.py --users users.json --listen 127.0.0.1:8420

users.json, with the fields of Transfer Family's answers, those of Lockgate's own (Identity, TotpSecret, Targets) and "password":
  {"ann": {"password": "scrypt$...", "Role": "partner", "HomeDirectory": "/lake/home/ann",
           "PublicKeys": ["ssh-ed25519 AAAA... ann"]},
   "ben": {"PublicKeys": ["ssh-ed25519 AAAA... ben"], "Role": "partner", "HomeDirectoryType": "LOGICAL",
           "HomeDirectoryDetails": [{"Entry": "/", "Target": "/lake/home/${transfer:UserName}"}]},
   "eve": {"PublicKeys": ["ssh-ed25519 AAAA... eve"], "Role": "operator",
           "Targets": [{"Group": "web", "Accounts": ["deploy"]}]}}

With API_KEY in the environment, requests must bring it in the header `x-api-key` (`headers` in Lockgate's configuration).
Without --tls-certificate and --tls-key it listens in clear, which is for Lockgate's own machine only.
"""

import argparse
import getpass
import hashlib
import hmac
import json
import os
import secrets
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

USERS_FILE = None
ANSWER_FIELDS = ("Role", "Policy", "PublicKeys", "HomeDirectoryType", "HomeDirectory", "HomeDirectoryDetails",
                 "Identity", "TotpSecret", "Targets")


def hash_password(password, salt=None):
    salt = salt or secrets.token_hex(16)
    digest = hashlib.scrypt(password.encode(), salt=salt.encode(), n=2**14, r=8, p=1)
    return "scrypt$%s$%s" % (salt, digest.hex())


def password_matches(password, stored):
    # Somebody without a password takes as long as somebody with one.
    parts = (stored or "scrypt$nobody$").split("$")
    return hmac.compare_digest(hash_password(password, parts[1]), stored or "")


def lambda_handler(event, _context):
    """Who may log in, as Transfer Family asks. `{}` refuses."""
    with open(USERS_FILE, encoding="utf-8") as file:
        user = json.load(file).get(event["username"])
    password = event.get("password", "")
    if password:
        if not password_matches(password, user and user.get("password")):
            return {}
    elif not (user and user.get("PublicKeys")):
        return {}
    answer = {field: user[field] for field in ANSWER_FIELDS if field in user}
    if password:
        answer.pop("PublicKeys", None)
    if isinstance(answer.get("HomeDirectoryDetails"), list):
        # Transfer Family wants this list as a string.
        answer["HomeDirectoryDetails"] = json.dumps(answer["HomeDirectoryDetails"])
    return answer


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self):
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if len(parts) != 5 or (parts[0], parts[2], parts[4]) != ("servers", "users", "config"):
            return self.answer(404, {"message": "not found"})
        query = parse_qs(url.query)
        self.ask({
            "username": parts[3],
            # Headers come as Latin-1; clients send UTF-8.
            "password": self.headers.get("Password", "").encode("latin-1").decode("utf-8", "replace"),
            "protocol": query.get("protocol", [""])[0],
            "serverId": parts[1],
            "sourceIp": query.get("sourceIp", [""])[0],
        })

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        if length > 64 * 1024:
            self.close_connection = True
            return self.answer(413, {"message": "too long"})
        self.ask(json.loads(self.rfile.read(length)))

    def ask(self, event):
        key = os.environ.get("API_KEY", "")
        if key and not hmac.compare_digest(self.headers.get("x-api-key", ""), key):
            return self.answer(403, {"message": "forbidden"})
        answer = lambda_handler(event, None)
        verdict = "yes" if answer else "no"
        print("%s %s from %s: %s" % (
            "password" if event.get("password") else "key", event["username"], event.get("sourceIp"), verdict
        ), file=sys.stderr, flush=True)
        self.answer(200, answer)

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The request line would tell who; `ask` says what is worth saying."""


def main():
    global USERS_FILE
    parser = argparse.ArgumentParser(description="An example of an identity provider for Lockgate.")
    parser.add_argument("--users", default="users.json", help="the file of users")
    parser.add_argument("--listen", default="127.0.0.1:8420", help="the address and the port")
    parser.add_argument("--tls-certificate", help="a PEM file, with the chain")
    parser.add_argument("--tls-key", help="the PEM file of its key")
    parser.add_argument("--hash-password", action="store_true", help="hash a password for the file of users")
    arguments = parser.parse_args()
    if arguments.hash_password:
        password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        print(hash_password(password))
        return
    USERS_FILE = arguments.users
    with open(USERS_FILE, encoding="utf-8") as file:
        json.load(file)
    host, _, port = arguments.listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Provider)
    if arguments.tls_certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.tls_certificate, arguments.tls_key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("listening on %s:%d" % server.server_address[:2], file=sys.stderr, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
