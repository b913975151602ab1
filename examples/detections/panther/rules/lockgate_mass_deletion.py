def rule(event):
    return event.get("activity-type") in ("DELETE", "RMDIR") and event.get("status") not in ("denied", "failure")


def dedup(event):
    return event.get("user") or event.get("session-id")


def title(event):
    return f"{dedup(event)} removes many files"
