"""People at work, and attackers: SCENE PORT FOLDER. FOLDER holds the private keys of those who log in by key.

`normal` is a working day of four users, with what happens on such days: two mistyped passwords, a key that is not the user's,
a refused deletion. `attacks` is one attack after the other, each of its own address and, where somebody logs in, its own user.
Everybody connects from an address of their own, so that an alert can be traced to its scene. `refused` is one login that fails.
"""

import io
import os
import subprocess
import sys

import paramiko

PASSWORD = "correct horse"
KIB, MIB = 1 << 10, 1 << 20


def main():
    scene, port, folder = sys.argv[1:]
    door = Door(int(port), folder)
    {"normal": normal, "attacks": attacks, "refused": refused}[scene](door)


class Door:
    """How to connect to the gateway, from any address of this machine."""

    def __init__(self, port, folder):
        self.port, self.folder = port, folder

    def transport(self, address):
        socket = __import__("socket").create_connection(("127.0.0.1", self.port), 600, (address, 0))
        transport = paramiko.Transport(socket)
        transport.banner_timeout = transport.auth_timeout = transport.handshake_timeout = 600
        transport.start_client(timeout=600)
        return transport

    def by_password(self, address, user, password=PASSWORD):
        transport = self.transport(address)
        transport.auth_password(user, password, fallback=False)
        return Session(transport)

    def by_key(self, address, user, key):
        transport = self.transport(address)
        transport.auth_publickey(user, paramiko.Ed25519Key.from_private_key_file(os.path.join(self.folder, key)))
        return Session(transport)

    def guess(self, address, user, count):
        """Wrong passwords, three on each connection, as a person's client allows."""
        while count > 0:
            transport = self.transport(address)
            for _ in range(min(count, 3)):
                try:
                    transport.auth_password(user, "guess", fallback=False)
                    raise SystemExit("a wrong password was accepted")
                except paramiko.AuthenticationException:
                    count -= 1
            transport.close()

    def openssh(self, address, user, keys, batch):
        """OpenSSH's sftp, which offers its keys in this order."""
        options = ["IdentityAgent=none", "IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
        options += [f"BindAddress={address}", "BatchMode=yes"] + [f"IdentityFile={self.folder}/{key}" for key in keys]
        command = ["sftp", "-q", "-F", "none", "-P", str(self.port), "-b", "-"]
        command += [word for option in options for word in ("-o", option)]
        subprocess.run([*command, f"{user}@127.0.0.1"], input=batch.encode(), check=True, stdout=subprocess.DEVNULL)


class Session:
    def __init__(self, transport):
        self.transport, self.sftp = transport, paramiko.SFTPClient.from_transport(transport)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.transport.close()

    def put(self, name, size=KIB):
        """As careful clients do it: under another name first."""
        self.sftp.putfo(io.BytesIO(bytes(size)), f"{name}.part", confirm=True)
        self.sftp.rename(f"{name}.part", name)

    def get(self, name):
        with self.sftp.open(name) as file:
            while file.read(MIB):
                pass


def normal(door):
    for hour in range(3):
        door.openssh("127.0.1.1", "alice", ["alice"], "-mkdir /in\nls -l /in\nput /etc/hostname /in/host\nget /in/host /dev/null\n")
        # The first of the keys is not the user's: an AUTH_FAILURE at each login, and no attack.
        door.openssh("127.0.1.2", "bob", ["unknown", "bob"], "-mkdir /out\nput /etc/hostname /out/host\n-rm /out/host\n")
        if hour == 0:
            door.guess("127.0.1.3", "carol", 2)
        with door.by_password("127.0.1.3", "carol") as session:
            for number in range(8):
                session.put(f"/report-{hour}-{number}")
                session.get(f"/report-{hour}-{number}")
            for number in range(4):
                session.sftp.remove(f"/report-{hour}-{number}")
        with door.by_password("127.0.1.4", "dave") as session:
            session.put(f"/large-{hour}", 4 * MIB)
            session.get(f"/large-{hour}")
            session.sftp.mkdir(f"/folder-{hour}")
            session.sftp.rmdir(f"/folder-{hour}")
            try:
                session.sftp.remove("/absent")
            except FileNotFoundError:
                pass


def attacks(door):
    door.guess("127.0.2.1", "erin", 12)
    for name in ["root", "admin", "test", "oracle", "backup", "sftp", "ftp", "erin"]:
        door.guess("127.0.2.2", name, 1)
    door.guess("127.0.2.3", "frank", 6)
    door.by_password("127.0.2.3", "frank").transport.close()
    for number in range(4):
        door.guess(f"127.0.2.{40 + number}", "oscar", 6)
    door.by_key("127.0.2.5", "grace", "grace").transport.close()
    door.by_key("127.0.2.5", "grace", "stolen").transport.close()
    door.by_password("127.0.2.6", "heidi").transport.close()
    door.by_password("127.0.2.66", "heidi").transport.close()
    with door.by_password("127.0.2.7", "ivan") as session:
        session.put("/file", KIB)
        for _ in range(110):
            session.get("/file")
    with door.by_password("127.0.2.8", "judy") as session:
        for number in range(60):
            session.sftp.putfo(io.BytesIO(b"content"), f"/{number}")
            session.sftp.remove(f"/{number}")
    # More than the rule's gibibyte, by a client that is fast enough for a test.
    door.openssh("127.0.2.9", "mallory", ["mallory"], f"put {door.folder}/large /large\n" + "get /large /dev/null\n" * 17)


def refused(door):
    transport = door.transport("127.0.2.10")
    try:
        transport.auth_password("erin", PASSWORD, fallback=False)
    except paramiko.SSHException:
        return
    raise SystemExit("a login was accepted that could not be recorded")


main()
