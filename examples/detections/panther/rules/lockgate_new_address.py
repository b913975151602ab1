from panther_detection_helpers.caching import add_to_string_set, get_string_set

DAYS = 90


def rule(event):
    if event.get("activity-type") != "CONNECTED" or not event.get("source-ip"):
        return False
    key = f"Lockgate.NewAddress-{event.get('user')}"
    known = get_string_set(key)
    if event.get("source-ip") not in known:
        add_to_string_set(key, [event.get("source-ip")], event.event_time_epoch() + DAYS * 86400)
    # Of who was never seen before, everything is new.
    return bool(known) and event.get("source-ip") not in known


def dedup(event):
    return f"{event.get('user')} {event.get('source-ip')}"


def title(event):
    return f"{event.get('user')} comes from another address"
