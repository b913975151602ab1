"""Events of a gateway, as a test wants them. Imported by the scripts beside it."""

import json
from datetime import datetime, timedelta


def lines(file):
    """The lines as they were written."""
    with open(file, "rb") as events:
        return [line.rstrip(b"\n") for line in events]


def events(file, start=None):
    """The events; moved in time, all by the same, so that the first of them is at `start` (`2026-03-02T10:00`)."""
    found = [json.loads(line) for line in lines(file)]
    if start:
        times = [datetime.fromisoformat(event["timestamp"]) for event in found]
        shift = datetime.fromisoformat(start + "+00:00") - times[0]
        for event, time in zip(found, times):
            event["timestamp"] = moment(time + shift)
    return found


def moment(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03}Z"


# What AWS documents of the fields of each kind of record; `timestamp` is the time that CloudWatch gives the record.
ALWAYS = ["activity-type", "resource-arn", "timestamp"]
FILES = ["path", "session-id", "bytes-in", "bytes-out", "mode"]
FIELDS = {
    "CONNECTED": [
        "role", "macs", "ciphers", "client", "source-ip", "home-dir", "ssh-public-key", "ssh-public-key-fingerprint",
        "ssh-public-key-type", "user", "kex", "session-id", "proxy-protocol-v2-header",
    ],
    "DISCONNECTED": ["session-id"],
    "AUTH_FAILURE": ["method", "source-ip", "message", "user"],
    "KEX_FAILURE": ["source-ip", "message", "kex"],
    "CONNECTION_REJECTED": ["source-ip", "message"],
    **{kind: FILES for kind in ["OPEN", "CLOSE", "PARTIAL_CLOSE", "DELETE", "RENAME", "MKDIR", "RMDIR", "SETSTAT"]},
}


def of_transfer_family(events):
    """The same events with no more than what AWS Transfer Family records of them."""
    kept = [event for event in events if event["activity-type"] in FIELDS]
    return [
        {name: event[name] for name in event if name in ALWAYS or name in FIELDS[event["activity-type"]]} for event in kept
    ]
