from panther_detection_helpers.caching import add_to_string_set, get_string_set

DAYS = 90


def rule(event):
    if event.get("activity-type") != "CONNECTED" or not event.get("ssh-public-key-fingerprint"):
        return False
    key = f"Lockgate.NewKey-{event.get('user')}"
    known = get_string_set(key)
    if event.get("ssh-public-key-fingerprint") not in known:
        add_to_string_set(key, [event.get("ssh-public-key-fingerprint")], event.event_time_epoch() + DAYS * 86400)
    # Of who was never seen before, everything is new.
    return bool(known) and event.get("ssh-public-key-fingerprint") not in known


def dedup(event):
    return f"{event.get('user')} {event.get('ssh-public-key-fingerprint')}"


def title(event):
    return f"{event.get('user')} comes with another key"
