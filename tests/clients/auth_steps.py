"""Attempts to log in, one after the other on one connection, in any order: PORT STEP...

A step is one of
    user=NAME               the user of the steps after it
    key=FILE                a signature with the key of a file, without asking before whether the key would do
    probe=FILE.pub          only the question whether a key would do; a certificate's file is as good
    certificate=FILE:CERT   as key, with a certificate
    sk-ed25519=TEXT         a signature as a security key makes it, in software; the key is made of TEXT
    sk-ecdsa=TEXT
    sk-wrong=TEXT           as sk-ed25519, with a signature of something else
    sk-untouched=TEXT       as sk-ed25519, without a touch
    sk-verified=TEXT        as sk-ed25519, with a touch and its user verified
    password=TEXT
    keyboard=TEXT           keyboard-interactive, with TEXT as the answer to each prompt
    silent-keyboard=        keyboard-interactive, and no answer to its prompts
    user-bytes=HEX          as user, of bytes that need not be UTF-8
    password-bytes=HEX      as password, likewise
    new-password=TEXT       a request to change the password
    key-bytes=TYPE:HEX      the question whether a key would do whose bytes need not be a key's
    garbled=FILE            as key, with a signature that is none
    forged=FILE:CERT        as certificate, with a byte of the authority's signature changed
    method=NAME             a method
    response=               an answer to prompts that never came

For each attempt a line: what the server answered, message by message, as "TYPE HEX"; messages are joined by commas.

    public sk-ed25519 TEXT  prints the key instead, as a line of authorized_keys
"""

import base64
import hashlib
import queue
import sys

import paramiko
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from paramiko.common import byte_chr
from paramiko.message import Message


class SecurityKey(paramiko.PKey):
    """What a FIDO device does: it signs application, flags, counter and the message's digest (PROTOCOL.u2f)."""

    application = b"ssh:"

    def __init__(self, kind, text, wrong=False, flags=1):
        self.kind, self.wrong, self.flags = kind, wrong, flags
        seed = hashlib.sha256(text.encode()).digest()
        if kind == "sk-ed25519":
            self.name = "sk-ssh-ed25519@openssh.com"
            self.private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        else:
            self.name = "sk-ecdsa-sha2-nistp256@openssh.com"
            self.private = ec.derive_private_key(int.from_bytes(seed, "big") >> 1, ec.SECP256R1())

    def get_name(self):
        return self.name

    def can_sign(self):
        return True

    def asbytes(self):
        m = Message()
        m.add_string(self.name)
        public = self.private.public_key()
        if self.kind == "sk-ed25519":
            raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        else:
            m.add_string("nistp256")
            raw = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        m.add_string(public.public_bytes(*raw))
        m.add_string(self.application)
        return m.asbytes()

    def sign_ssh_data(self, data, algorithm=None):
        flags_and_counter = bytes([self.flags]) + (7).to_bytes(4, "big")
        digest = lambda bytes: hashlib.sha256(bytes).digest()
        signed = digest(self.application) + flags_and_counter + digest(data + (b"!" if self.wrong else b""))
        m = Message()
        m.add_string(self.name)
        if self.kind == "sk-ed25519":
            m.add_string(self.private.sign(signed))
        else:
            r, s = utils.decode_dss_signature(self.private.sign(signed, ec.ECDSA(hashes.SHA256())))
            inner = Message()
            inner.add_mpint(r)
            inner.add_mpint(s)
            m.add_string(inner.asbytes())
        m.add_bytes(flags_and_counter)
        return m


class Client:
    """Takes the messages of the authentication protocol itself: paramiko hides some, and waits in vain for others."""

    def __init__(self, port):
        self.answers = queue.Queue()
        self.transport = paramiko.ServiceRequestingTransport(("127.0.0.1", port))
        self.listen(self.transport.packetizer)
        self.transport.start_client(timeout=600)
        self.transport.ensure_session()

    def listen(self, packetizer):
        read_message = packetizer.read_message

        def taking():
            try:
                kind, m = read_message()
            except BaseException:
                self.answers.put((None, b""))
                raise
            if kind == 1 or 50 <= kind < 80:
                self.answers.put((kind, m.asbytes()))
            return (2 if 50 <= kind < 80 else kind), m  # 2: SSH_MSG_IGNORE

        packetizer.read_message = taking

    def request(self, user, method, *fields):
        m = message(50, user, "ssh-connection", method, *fields)
        self.transport._send_message(m)

    def sign(self, user, key, algorithm, blob):
        signed = message(50, user, "ssh-connection", "publickey", True, algorithm, blob).asbytes()
        session = Message()
        session.add_string(self.transport.session_id)
        signature = key.sign_ssh_data(session.asbytes() + signed, key.get_name()).asbytes()
        self.request(user, "publickey", True, algorithm, blob, signature)

    def answer(self):
        """The next answer but for banners; None at the end of the connection."""
        while True:
            kind, data = self.answers.get(timeout=600)
            if kind != 53:
                return None if kind is None else (kind, data)

    def report(self, *answers):
        print(",".join(f"{kind} {data.hex()}" for kind, data in answers) or "nothing", flush=True)


def message(kind, *fields):
    m = Message()
    m.add_byte(byte_chr(kind))
    for field in fields:
        if isinstance(field, bool):
            m.add_boolean(field)
        elif isinstance(field, int):
            m.add_int(field)
        else:
            m.add_string(field)
    return m


def main():
    if sys.argv[1] == "public":
        key = SecurityKey(sys.argv[2], sys.argv[3])
        print(key.name, base64.b64encode(key.asbytes()).decode(), "token")
        return
    client = Client(int(sys.argv[1]))
    user = "nobody"
    for step in sys.argv[2:]:
        kind, value = step.split("=", 1)
        if kind in ("user", "user-bytes"):
            user = value if kind == "user" else bytes.fromhex(value)
            continue
        if kind == "key":
            key = paramiko.PKey.from_path(value)
            client.sign(user, key, key.get_name(), key.asbytes())
        elif kind == "certificate":
            file, certificate = value.split(":")
            key = paramiko.PKey.from_path(file)
            key.load_certificate(certificate)
            client.sign(user, key, key.public_blob.key_type, key.public_blob.key_blob)
        elif kind == "probe":
            algorithm, blob = open(value).read().split()[:2]
            client.request(user, "publickey", False, algorithm, base64.b64decode(blob))
        elif kind in ("sk-ed25519", "sk-ecdsa", "sk-wrong", "sk-untouched", "sk-verified"):
            made = "sk-ecdsa" if kind == "sk-ecdsa" else "sk-ed25519"
            flags = {"sk-untouched": 0, "sk-verified": 5}.get(kind, 1)
            key = SecurityKey(made, value, wrong=kind == "sk-wrong", flags=flags)
            client.sign(user, key, key.get_name(), key.asbytes())
        elif kind == "password":
            client.request(user, "password", False, value)
        elif kind in ("keyboard", "silent-keyboard"):
            client.request(user, "keyboard-interactive", "", "")
        elif kind == "password-bytes":
            client.request(user, "password", False, bytes.fromhex(value))
        elif kind == "new-password":
            client.request(user, "password", True, value, value)
        elif kind == "key-bytes":
            algorithm, blob = value.split(":")
            client.request(user, "publickey", False, algorithm, bytes.fromhex(blob))
        elif kind == "garbled":
            key = paramiko.PKey.from_path(value)
            client.request(user, "publickey", True, key.get_name(), key.asbytes(), b"\0\0\0\4none")
        elif kind == "forged":
            file, certificate = value.split(":")
            key = paramiko.PKey.from_path(file)
            key.load_certificate(certificate)
            blob = bytearray(key.public_blob.key_blob)
            blob[-1] ^= 1
            client.sign(user, key, key.public_blob.key_type, bytes(blob))
        elif kind == "method":
            client.request(user, value)
        elif kind == "response":
            client.transport._send_message(message(61, 1, "x"))
        else:
            raise SystemExit(f"no such step: {step}")
        answers = [client.answer()]
        while kind == "keyboard" and answers[-1] and answers[-1][0] == 60:
            asked = Message(answers[-1][1])
            for _ in range(3):
                asked.get_string()
            prompts = asked.get_int()
            client.transport._send_message(message(61, prompts, *[value] * prompts))
            answers.append(client.answer())
        client.report(*filter(None, answers))
    client.transport.close()


main()
