#!/usr/bin/env python3
"""Verifies a trail of Lockgate by hand: with Python 3.8 or later and nothing else.

  python3 verify_trail.py [--key signing_key.pub]... [FILE]...

FILE is a file of events, plain or packed with gzip; rotated files come in their order before the live one. Without one, lines are read
from standard input. Checked is that each line has the number and the hash that follow from the line before it, and with --key the signature
of each checkpoint. From a key that is given the program goes on to those that it endorses. What it cannot know it says at the end: lines
after the last signature may have been written by anybody, and the end may be cut off.

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong arguments. `lockgate audit verify` says more about what is wrong.
"""

import argparse
import base64
import collections
import gzip
import hashlib
import json
import re
import sys

END = re.compile(rb'"sequence":([1-9][0-9]*),"previous":"([0-9a-f]{64})"(?:,"signature":"([A-Za-z0-9+/=]+)")?}$')
START = "0" * 64
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
    with open(path) as file:
        body = re.search("-----BEGIN PUBLIC KEY-----(.*)-----END PUBLIC KEY-----", file.read(), re.S)
    if not body or len(decode("".join(body[1].split()))) != 44:
        sys.exit(f"{path} is not an Ed25519 public key in PEM")
    return decode("".join(body[1].split()))[-32:]


class Keys:
    """The keys that are trusted: those given, and those that these endorse."""

    def __init__(self, given):
        self.trusted = {fingerprint(key): key for key in given}
        # What followed a key, and on which server.
        self.followed = {}
        # The one key that each endorses.
        self.next = {}

    def judge(self, event, line, signature):
        """What is wrong with a checkpoint's signature, if anything is."""
        if not signature:
            return "it has no signature"
        name, led, followed, following = event.get("checkpoint-key", ""), {}, {}, {}
        for endorsement in filter(None, event.get("key-endorsements", "").split(" ")):
            old, new, by = endorsement.split(":")
            text = f"lockgate-trail-key-1 {old} {new}".encode()
            if (fingerprint(decode(old)) in {**self.trusted, **led}) and is_signed(decode(old), text, decode(by)):
                old, key = fingerprint(decode(old)), decode(new)
                new = fingerprint(key)
                if {**self.next, **following}.get(old, new) != new:
                    return f"it shows that {old} endorses {new}, and it endorses another key before: one key endorses two"
                led[new], following[old], followed[old, event["server"]] = key, new, new
        key = {**self.trusted, **led}.get(name)
        if key is None:
            return f"it is signed by {name}, which is none of the given keys, and none of these endorses it"
        if not is_signed(key, line[: line.rindex(b',"signature":"')] + b"}", decode(signature.decode())):
            return "its signature does not fit"
        if (name, event["server"]) in self.followed:
            return f"it is signed by {name}, which {self.followed[name, event['server']]} had followed"
        self.trusted.update(led)
        self.followed.update(followed)
        self.next.update(following)
        return None


class Chain:
    """Lines of which each follows the one before."""

    def __init__(self):
        self.sequence, self.signed = 0, 0
        self.recent = collections.OrderedDict()

    def advance(self, sequence, digest):
        self.sequence = sequence
        self.recent[sequence] = digest
        if len(self.recent) > RECENT:
            self.recent.popitem(last=False)

    def explains(self, event, sequence):
        """Whether lines may be missing before this one: a process was killed, and nobody was told of them."""
        is_start = event.get("reason") == "start" and event.get("clean") is False
        told = event.get("acknowledged", 0)
        if not is_start or told > self.sequence or sequence <= self.sequence:
            return False
        return self.recent.get(told, event.get("acknowledged-hash")) == event.get("acknowledged-hash")


def lines_of(paths):
    for path in paths or ["-"]:
        file = sys.stdin.buffer if path == "-" else open(path, "rb")
        if path != "-" and file.peek(2)[:2] == b"\x1f\x8b":
            file = gzip.open(file)
        for number, line in enumerate(file, 1):
            yield f"{path}, line {number}", line.rstrip(b"\n")


def verify(paths, keys):
    """Prints what is wrong; how much."""
    chains, heads, ids, begins, wrong, count = [], {}, {}, {}, 0, 0
    torn = None
    for place, line in lines_of(paths):
        count += 1
        end = END.search(line)
        # A process that was killed may leave a line that breaks off, right before the next start.
        if end is None:
            torn = torn or place
            continue
        sequence, previous, digest = int(end[1]), end[2].decode(), hashlib.sha256(line).hexdigest()
        event = json.loads(line) if line.startswith(b'{"activity-type":"CHECKPOINT"') else {}
        chain = heads.pop(previous, None) if previous != START else None
        what = None
        if chain is not None and sequence != chain.sequence + 1:
            what = f"its number is {sequence}, expected is {chain.sequence + 1}"
        elif chain is None and previous == START and sequence == 1:
            chain = Chain()
            chains.append(chain)
        elif chain is None:
            chain = ids.get(event.get("chain")) or (chains[-1] if chains else None)
            if chain is None:
                print(f"{place}: the trail begins in the middle, with sequence {sequence}")
                chain = Chain()
                chains.append(chain)
                begins[previous] = place
            elif chain.explains(event, sequence):
                print(f"{place}: sequence {chain.sequence + 1} to {sequence - 1} may be missing: the process was killed, "
                      f"and had told that events up to {event['acknowledged']} were recorded")
                torn = None
            else:
                what = f"it does not follow sequence {chain.sequence}: a line was changed, removed, added or moved"
            heads = {head: other for head, other in heads.items() if other is not chain}
        if torn:
            wrong += 1
            print(f"{torn}: no line of a chain")
            torn = None
        if digest in begins:
            what = what or f"it stands after the lines that follow it ({begins[digest]})"
        chain.advance(sequence, digest)
        heads[digest] = chain
        if event:
            ids[event["chain"]] = chain
            judged = keys.judge(event, line, end[3]) if keys.trusted else None
            chain.signed = sequence if keys.trusted and judged is None else chain.signed
            what = what or (judged and f"the checkpoint cannot be trusted: {judged}")
        if what:
            wrong += 1
            print(f"{place}: {what}")
    for chain in chains:
        reach = f"signatures reach {chain.signed}" if keys.trusted else "signatures were NOT CHECKED (no --key)"
        print(f"a chain up to sequence {chain.sequence}; {reach}")
    if torn:
        print(f"{torn}: at the end, a line that breaks off: it is being written, or the process was killed")
    print(f"{'BROKEN' if wrong else 'INTACT'}: {count} lines, {wrong} findings")
    return wrong if count else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--key", action="append", default=[], metavar="FILE", help="public key; the earliest that is trusted is enough")
    parser.add_argument("files", nargs="*", metavar="FILE")
    arguments = parser.parse_args()
    sys.exit(1 if verify(arguments.files, Keys([read_key(path) for path in arguments.key])) else 0)


if __name__ == "__main__":
    main()
