#!/usr/bin/env python3
"""Verifies a trail of Lockgate by hand: with Python 3.8 or later and nothing else.

  python3 verify_trail.py [--key signing_key.pub]... [FILE]...

FILE is a file of events, plain or packed with gzip; rotated files come in their order before the live one. Without one, lines are read
from standard input. Checked is that each line is a line of a chain, and has the number and the hash that follow from the line before it.
With --key, also the signature of each checkpoint is checked, that each chain begins with one, and that no lines go on for long after the
last: a gateway signs soon after each event. From a key that is given the program goes on to those that it endorses. What it cannot know
it says at the end: lines after the last signature may have been written by anybody, and the end may be cut off.

Exit codes: 0 nothing is wrong, 1 something is or there is no event, 2 wrong arguments. `lockgate audit verify` comes to the same verdict
and says more about what is wrong.
"""

import argparse
import base64
import collections
import datetime
import hashlib
import json
import re
import sys
import zlib

END = re.compile(rb'[,{]"sequence":([1-9][0-9]{0,18}),"previous":"([0-9a-f]{64})"(?:,"signature":"([A-Za-z0-9+/=]*)")?}\Z')
TIME = re.compile(rb'"timestamp":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?)Z"')
START = "0" * 64

# A line that breaks off is the beginning of an object of texts, numbers and truths. These are its parts, each as it may break off.
TEXT = rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*'
VALUE = rb'(?:' + TEXT + rb'"|-?[0-9]+|true|false)'
PART = TEXT + rb'(?:\\(?:u[0-9a-fA-F]{0,3})?)?'
TORN = re.compile(
    rb'\{(?:' + TEXT + rb'":' + VALUE + rb',)*(?:' + PART + rb'|' + TEXT + rb'"(?::(?:' + VALUE + rb'|' + PART + rb'|-|t|tr|tru|f|fa|fal|fals)?)?)?\Z'
)
# How many lines in a row may break off.
MAX_TORN = 32
# Bytes of the longest line.
MAX_LINE = 1 << 20

# How long lines may go on after the last signature: as long as that checkpoint says (at most a day), and in a chain without any signature
# a minute; and a minute more, because a gateway under load signs late.
UNSIGNED = LATE = datetime.timedelta(seconds=60)
LONGEST = datetime.timedelta(days=1)
# More lines than a killed process can have left unacknowledged.
RECENT = 8192

# Ed25519 (RFC 8032), only to verify.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(p, q):
    """The sum of two points in extended coordinates."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(number, point):
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


def point_of(data):
    """The point of 32 bytes; None when they are none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(key, text, signature):
    """Whether a signature of 64 bytes fits a text and a key of 32 bytes."""
    if len(key) != 32 or len(signature) != 64:
        return False
    point, commitment, s = point_of(key), point_of(signature[:32]), int.from_bytes(signature[32:], "little")
    if point is None or commitment is None or s >= L:
        return False
    digest = hashlib.sha512(signature[:32] + key + text).digest()
    left = multiply(s, BASE)
    right = add(commitment, multiply(int.from_bytes(digest, "little") % L, point))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


def decode(text):
    return base64.b64decode(text.encode(), validate=True)


def fingerprint(key):
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def read_key(path):
    try:
        with open(path) as file:
            body = re.search("-----BEGIN PUBLIC KEY-----(.*)-----END PUBLIC KEY-----", file.read(), re.S)
        key = decode("".join(body[1].split())) if body else b""
    except OSError as error:
        sys.exit(f"{path} cannot be read: {error.strerror}")
    except ValueError:
        key = b""
    # RFC 8410: what stands before the key's 32 bytes.
    if len(key) != 44 or key[:12] != bytes.fromhex("302a300506032b6570032100"):
        sys.exit(f"{path} is not an Ed25519 public key in PEM")
    return key[-32:]


class Keys:
    """The keys that are trusted: those given, and those that these endorse."""

    def __init__(self, given):
        self.trusted = {fingerprint(key): key for key in given}
        # What followed a key, and on which server.
        self.followed = {}
        # The one key that each endorses.
        self.next = {}
        # Endorsements that were checked.
        self.checked = {}

    def endorsements(self, event):
        """The old and the new key of each endorsement that is right."""
        for word in event.get("key-endorsements", "").split(" "):
            if word not in self.checked:
                try:
                    old, new, by = word.split(":")
                    keys = decode(old), decode(new)
                    is_right = is_signed(keys[0], f"lockgate-trail-key-1 {old} {new}".encode(), decode(by))
                    self.checked[word] = keys if is_right and len(keys[1]) == 32 else None
                except ValueError:
                    self.checked[word] = None
            if self.checked[word]:
                yield self.checked[word]

    def judge(self, event, line, signature):
        """What is wrong with a checkpoint's signature, if anything is."""
        if not signature:
            return "it has no signature"
        name, led, followed, following = event.get("checkpoint-key", ""), {}, {}, {}
        for old_key, key in self.endorsements(event):
            old, new = fingerprint(old_key), fingerprint(key)
            first = self.next.get(old) or following.get(old, new)
            if first != new:
                return f"it shows that {old} endorses {new}, and it endorses {first} too: one key endorses two"
            following[old], followed[old, event["server"]] = new, new
            if old in self.trusted or old in led:
                led[new] = key
        key = self.trusted.get(name) or led.get(name)
        if key is None:
            return f"it is signed by {name}, which is none of the given keys, and none of these endorses it"
        try:
            signature = decode(signature.decode())
        except ValueError:
            signature = b""
        if not is_signed(key, line[: line.rindex(b',"signature":"')] + b"}", signature):
            return "its signature does not fit"
        if (name, event["server"]) in self.followed:
            return f"it is signed by {name}, which {self.followed[name, event['server']]} had followed"
        self.trusted.update(led)
        for old, new in followed.items():
            self.followed.setdefault(old, new)
        self.next.update(following)
        return None


class Chain:
    """Lines of which each follows the one before."""

    def __init__(self, server, sequence, previous):
        self.server, self.first, self.first_previous = server, sequence, previous
        self.sequence, self.id, self.head = sequence - 1, None, previous
        self.recent = collections.OrderedDict()
        # The last line with a right signature, and how soon after an event the next one is due.
        self.signed, self.every = 0, UNSIGNED
        # The first and the latest time after it.
        self.since, self.latest, self.backwards = None, None, None

    def advance(self, sequence, digest, time):
        self.sequence, self.head = sequence, digest
        self.recent[sequence] = digest
        if len(self.recent) > RECENT:
            self.recent.popitem(last=False)
        if time is None:
            return
        self.since = self.since or time
        if self.latest and self.latest - time > LATE:
            self.backwards = self.backwards or sequence
        else:
            self.latest = max(time, self.latest or time)

    def sign(self, every, time):
        """The last line has a right signature, which covers all before it."""
        self.signed, self.every = self.sequence, LONGEST if every is None else min(datetime.timedelta(milliseconds=every), LONGEST)
        self.since, self.latest, self.backwards = None, time, None

    def unsigned(self):
        """What is wrong with the lines after the last signature, if anything is."""
        if self.backwards:
            yield f"sequence {self.backwards} has an earlier time than a line before it, and no signature covers them"
        if self.since and self.latest > self.since + self.every + LATE:
            reach = f"the signatures reach sequence {self.signed}" if self.signed else "there is no right signature"
            yield (f"{reach}, and lines go on for {self.latest - self.since} to sequence {self.sequence}: anybody can have written them. "
                   "If there are later files, give them as well")

    def explains(self, event, sequence):
        """Whether lines may be missing before this one: a process was killed, and nobody was told of them."""
        is_start = event.get("reason") == "start" and event.get("clean") is False
        told = event.get("acknowledged") or 0
        if not is_start or told > self.sequence or sequence <= self.sequence + 1:
            return False
        return self.recent.get(told, event.get("acknowledged-hash")) == event.get("acknowledged-hash")


def pieces_of(file):
    """What is in a file, unpacked if it is packed with gzip."""
    data = file.read(1 << 16)
    if data[:2] != b"\x1f\x8b":
        while data:
            yield data
            data = file.read(1 << 16)
        return
    member = zlib.decompressobj(wbits=31)
    while data or not member.eof:
        if member.eof:
            member = zlib.decompressobj(wbits=31)
        if not data:
            raise EOFError("the packed file is cut off")
        yield member.decompress(data, 1 << 20)
        data = member.unused_data if member.eof else member.unconsumed_tail
        data = data or file.read(1 << 16)


def lines_of(paths):
    """Each line with its place; an error in place of a line that cannot be read."""
    for path in paths or ["-"]:
        number, rest = 0, b""
        try:
            with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
                for piece in pieces_of(file):
                    *lines, rest = (rest + piece).split(b"\n")
                    for number, line in enumerate(lines, number + 1):
                        yield f"{path}, line {number}", line
                    if len(rest) > MAX_LINE:
                        raise ValueError("a line longer than an event can be; the rest of the file was not read")
            if rest:
                yield f"{path}, line {number + 1}", rest
        except (OSError, EOFError, ValueError, zlib.error) as error:
            yield f"{path}, line {number + 1}", error


def time_of(line):
    at = line.find(b'"timestamp":"')
    match = TIME.match(line, at) if at >= 0 else None
    try:
        return datetime.datetime.fromisoformat(match[1].decode()) if match else None
    except ValueError:
        return None


def checkpoint_of(line):
    """The fields of a checkpoint; None when the line is something else.

    It raises ValueError when the fields cannot be read.
    """
    if not line.startswith(b'{"activity-type":"CHECKPOINT"'):
        return None
    try:
        event = json.loads(line.decode())
    except RecursionError:
        raise ValueError("too many brackets")
    texts = ("server", "timestamp", "chain", "acknowledged-hash", "checkpoint-key", "key-endorsements", "state")
    wrong = [name for name in texts if not isinstance(event.get(name, None if name in texts[:3] else ""), str)]
    wrong += [name for name in ("acknowledged", "checkpoint-every-ms") if type(event.get(name, 0)) is not int or event.get(name, 0) < 0]
    wrong += ["clean"] if not isinstance(event.get("clean", False), bool) else []
    wrong += ["reason"] if event.get("reason") not in ("start", "interval", "rotation", "key-change", "shutdown") else []
    if wrong:
        raise ValueError(f"{wrong[0]} is not what it ought to be")
    return event


class Verifier:
    """Follows chains line by line."""

    def __init__(self, keys):
        self.keys, self.chains, self.wrong, self.count = keys, [], 0, 0
        # The chains by the hash of their last line, by their id, and the newest of each server.
        self.heads, self.ids, self.of_server = {}, {}, {}
        # The first lines of chains.
        self.starts = set()
        # Lines that break off. A process that was killed may leave one right before the next start.
        self.torn = []

    def find(self, place, what):
        self.wrong += 1
        print(f"{place}: {what}")

    def report_torn(self):
        for place, _ in self.torn:
            self.find(place, "a line that breaks off, where no process was killed")
        self.torn = []

    def line(self, place, line):
        self.count += 1
        if isinstance(line, Exception) or len(line) > MAX_LINE:
            self.report_torn()
            return self.find(place, f"it cannot be read: {line}" if isinstance(line, Exception) else "a line longer than an event can be")
        end = END.search(line) if line.startswith(b"{") else None
        if end is not None and int(end[1]) < 2**63:
            return self.chained(place, line, end)
        if TORN.match(line):
            if len(self.torn) >= MAX_TORN:
                self.report_torn()
            return self.torn.append((place, line))
        self.report_torn()
        return self.find(place, "no line of a chain: it does not end in sequence and previous")

    def chained(self, place, line, end):
        """A line that ends as a line of a chain does."""
        sequence, previous, digest, time = int(end[1]), end[2].decode(), hashlib.sha256(line).hexdigest(), time_of(line)
        event = None
        try:
            event = checkpoint_of(line)
        except ValueError as error:
            self.find(place, f"a checkpoint that cannot be read: {error}")
        if time is None:
            self.find(place, "its time cannot be read")
        chain = self.chain_of(place, line, event, sequence, previous, digest)
        if chain is None:
            return
        self.heads.pop(chain.head, None)
        chain.advance(sequence, digest, time)
        self.heads[digest] = chain
        if event is None:
            return
        if chain.id not in (None, event["chain"]):
            self.find(place, f"it is a checkpoint of the chain {event['chain']}, and follows {chain.id}")
        chain.id = chain.id or event["chain"]
        self.ids[chain.id] = chain
        if self.keys.trusted:
            judged = self.keys.judge(event, line, end[3])
            if judged is None:
                chain.sign(event.get("checkpoint-every-ms"), time)
            else:
                self.find(place, f"the checkpoint cannot be trusted: {judged}")

    def chain_of(self, place, line, event, sequence, previous, digest):
        """The chain that a line belongs to; None for none."""
        chain = self.heads.get(previous)
        if chain is None and event:
            chain = self.ids.get(event["chain"]) or self.of_server.get(event["server"])
            lost = sequence - 1 - chain.sequence if chain and chain.explains(event, sequence) else 0
            if lost and len(self.torn) <= lost and chain.id in (None, event["chain"]):
                print(f"{place}: sequence {chain.sequence + 1} to {sequence - 1} may be missing: the process was killed, "
                      f"and had told that events up to {event.get('acknowledged', 0)} were recorded")
                self.torn = []
                return chain
            chain = None
        # A sink that cannot go on in one file writes a line that it has begun there anew in the next.
        if self.torn and line.startswith(self.torn[-1][1]):
            self.torn.pop()
        self.report_torn()
        if chain is not None:
            if sequence != chain.sequence + 1:
                self.find(place, f"its number is {sequence}, expected is {chain.sequence + 1}")
            if self.of_server[chain.server] is not chain:
                self.find(place, "a line of a chain of this server after the beginning of the next one")
            return chain
        return self.begin(place, line, event, sequence, previous, digest)

    def begin(self, place, line, event, sequence, previous, digest):
        """The chain of a line that follows none."""
        try:
            server = json.loads(line.decode())["server"]
        except (ValueError, KeyError, RecursionError):
            server = None
        if not isinstance(server, str) or not server:
            return self.find(place, "not an event: it follows no line, and does not read as JSON with a server")
        chain, is_first = self.of_server.get(server), sequence == 1 and previous == START
        if chain is not None and not is_first:
            self.find(place, f"it does not follow sequence {chain.sequence}: a line was changed, removed, added or moved")
            return chain
        if digest in self.starts or any(digest == other.first_previous for other in self.chains):
            self.find(place, "the first line of a chain, out of its place")
        elif is_first and self.keys.trusted and (event or {}).get("reason") != "start":
            self.find(place, "expected is a signed checkpoint as the first line of a chain; it is something else")
        if not is_first:
            print(f"{place}: the trail begins in the middle, with sequence {sequence}")
        self.starts.add(digest)
        chain = self.of_server[server] = Chain(server, sequence, previous)
        self.chains.append(chain)
        return chain

    def finish(self):
        """Says what was found, and what cannot be known."""
        for chain in self.chains:
            for what in chain.unsigned() if self.keys.trusted else ():
                self.find(f"the chain of {chain.server}", what)
            reach = f"signatures reach {chain.signed}" if self.keys.trusted else "signatures were NOT CHECKED (no --key)"
            after = chain.sequence - chain.signed
            after = f"; anybody may have written the {after} after it" if self.keys.trusted and chain.signed and after else ""
            print(f"a chain up to sequence {chain.sequence}; {reach}{after}; whether the end was cut off is not known")
        for place, _ in self.torn:
            print(f"{place}: at the end, a line that breaks off: it is being written, or the process was killed")
        if not self.count or not (self.wrong or self.chains):
            print("there is no event in these files")
            return 1
        print(f"{'BROKEN' if self.wrong else 'INTACT'}: {self.count} lines, {self.wrong} findings")
        return 1 if self.wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--key", action="append", default=[], metavar="FILE", help="public key; the earliest that is trusted is enough")
    parser.add_argument("files", nargs="*", metavar="FILE")
    arguments = parser.parse_args()
    verifier = Verifier(Keys([read_key(path) for path in arguments.key]))
    for place, line in lines_of(arguments.files):
        verifier.line(place, line)
    sys.exit(verifier.finish())


if __name__ == "__main__":
    main()
