def rule(event):
    refused = event.get("activity-type") == "AUTH_FAILURE" and event.get("reason") == "trail-unavailable"
    ended = event.get("activity-type") == "DISCONNECTED" and event.get("message") == "the login could not be recorded"
    return refused or ended


def dedup(event):
    return event.get("server")


def title(event):
    return f"{event.get('server')} cannot record logins"
