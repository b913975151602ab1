from panther_detection_helpers.caching import increment_counter

LIMIT = 1 << 30
SECONDS = 3600


def rule(event):
    if event.get("activity-type") not in ("CLOSE", "PARTIAL_CLOSE") or event.get("bytes-out") is None:
        return False
    # A counter for each hour of the clock, forgotten after the next.
    hour = event.event_time_epoch() // SECONDS
    key = f"Lockgate.ExfiltrationByVolume-{dedup(event)}-{hour}"
    return int(increment_counter(key, int(event.get("bytes-out")), (hour + 2) * SECONDS)) >= LIMIT


def dedup(event):
    return event.get("user") or event.get("session-id")


def title(event):
    return f"{dedup(event)} downloads very much"
