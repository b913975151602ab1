# Users who work at night.
KNOWN = {"nightly"}


def rule(event):
    if event.get("activity-type") != "CONNECTED" or event.get("user") in KNOWN:
        return False
    hour = event.event_time_epoch() // 3600 % 24
    return hour >= 20 or hour < 5


def dedup(event):
    return event.get("user")


def title(event):
    return f"{event.get('user')} logged in outside hours"
