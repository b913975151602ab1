"""Clients that need more than one attempt to log in: HOW PORT USER KEY [KEY | PASSWORD]

    paramiko-password   SSHClient with a key that is not the user's, and the password
    paramiko-key        SSHClient with a key that is not the user's, and one that is
    paramiko-key-and-code, paramiko-password-and-code
                        the one, and then a one-time code, each as the server asks for it
    asyncssh-ed448      an Ed448 key, which the gateway does not know, and then one that is the user's
    exchange-early      a key exchange beside the first one, before any login: prints whether the server ended the connection
    exchange-often      PASSWORD COUNT: so many key exchanges after the login, without data between them
    other-service       ssh-userauth, and then a service that nobody has
"""

import asyncio
import sys
import threading

import paramiko

LIMIT = 600


def client(port, user, **how):
    with paramiko.SSHClient() as ssh:
        ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        ssh.connect("127.0.0.1", port, user, look_for_keys=False, allow_agent=False,
                    banner_timeout=LIMIT, auth_timeout=LIMIT, channel_timeout=LIMIT, timeout=LIMIT, **how)
        print(sorted(ssh.open_sftp().listdir("/")))


async def with_ed448(port, user, key):
    import asyncssh

    strange = asyncssh.generate_private_key("ssh-ed448")
    keys = [strange, asyncssh.read_private_key(key)]
    options = dict(username=user, client_keys=keys, known_hosts=None, agent_path=None, config=None, login_timeout=LIMIT)
    async with asyncssh.connect("127.0.0.1", port, **options) as connection, connection.start_sftp_client() as sftp:
        print(sorted(await sftp.listdir("/")))


def transport(port):
    begun = paramiko.Transport(("127.0.0.1", port))
    begun.banner_timeout = begun.auth_timeout = LIMIT
    begun.start_client(timeout=LIMIT)
    return begun


def ended_by(begun, act):
    """Whether the server ends the connection after `act`."""
    threading.Thread(target=act, daemon=True).start()
    begun.join(LIMIT)
    print("goes on" if begun.is_active() else "ended")


def exchange(begun):
    try:
        begun.renegotiate_keys()
    except (paramiko.SSHException, EOFError, OSError):
        pass


def other_service(begun):
    for service in ["ssh-userauth", "ssh-userauth", "ssh-other"]:
        message = paramiko.Message()
        message.add_byte(bytes([5]))
        message.add_string(service)
        begun._send_message(message)


def exchange_often(begun, user, password, count):
    begun.auth_password(user, password)
    for _ in range(count):
        begun.renegotiate_keys()


def with_code(begun, user, first, code):
    owed = first()
    if owed != ["keyboard-interactive"]:
        raise SystemExit(f"what is owed is {owed}")
    asked = []

    def answer(title, instructions, prompts):
        asked.extend(prompts)
        return [code for _ in prompts]

    left = begun.auth_interactive(user, answer)
    if left or not begun.is_authenticated() or [prompt.strip() for prompt, _ in asked] != ["Verification code:"]:
        raise SystemExit(f"asked for {asked}, left {left}")
    print(sorted(paramiko.SFTPClient.from_transport(begun).listdir("/")))
    begun.close()


how, port, user, *rest = sys.argv[1:]
port = int(port)
if how == "paramiko-password":
    client(port, user, key_filename=rest[0], password=rest[1])
elif how == "paramiko-key":
    client(port, user, key_filename=rest)
elif how == "paramiko-key-and-code":
    begun = transport(port)
    with_code(begun, user, lambda: begun.auth_publickey(user, paramiko.PKey.from_path(rest[0])), rest[1])
elif how == "paramiko-password-and-code":
    begun = transport(port)
    with_code(begun, user, lambda: begun.auth_password(user, rest[0], fallback=False), rest[1])
elif how == "asyncssh-ed448":
    asyncio.run(with_ed448(port, user, rest[0]))
elif how == "exchange-early":
    begun = transport(port)
    ended_by(begun, lambda: exchange(begun))
elif how == "exchange-often":
    exchange_often(transport(port), user, rest[0], int(rest[1]))
else:
    begun = transport(port)
    ended_by(begun, lambda: other_service(begun))
