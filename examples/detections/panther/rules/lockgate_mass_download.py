def rule(event):
    return (
        event.get("activity-type") in ("CLOSE", "PARTIAL_CLOSE")
        and event.get("bytes-out") is not None
        and event.get("operation") != "copy"
    )


def dedup(event):
    return event.get("user") or event.get("session-id")


def title(event):
    return f"{dedup(event)} downloads many files"
