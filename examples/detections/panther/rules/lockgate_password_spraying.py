# Failures of the server, not of who logs in.
NO_GUESS = {"directory-unavailable", "directory-answer-unusable", "trail-unavailable", "too-many-password-checks"}


def rule(event):
    return event.get("activity-type") == "AUTH_FAILURE" and event.get("reason") not in NO_GUESS


def unique(event):
    # The threshold counts different names.
    return event.get("user")


def dedup(event):
    return event.get("source-ip")


def title(event):
    return f"{event.get('source-ip')} tries many names"
