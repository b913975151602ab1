# The password was right, or was not examined.
NO_GUESS = {
    "directory-unavailable",
    "directory-answer-unusable",
    "trail-unavailable",
    "too-many-sessions",
    "too-many-password-checks",
    "second-factor-missing",
}

def rule(event):
    return (
        event.get("activity-type") == "AUTH_FAILURE"
        and event.get("method") in ("password", "keyboard-interactive")
        and event.get("reason") not in NO_GUESS
    )


def dedup(event):
    return event.get("source-ip")


def title(event):
    return f"{event.get('source-ip')} tries passwords"
