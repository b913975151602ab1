def rule(event):
    return event.get("activity-type") == "CHECKPOINT" and event.get("reason") == "start" and event.get("state") is not None


def dedup(event):
    return event.get("server")


def title(event):
    return f"the chain of {event.get('server')} was begun anew: its state was {event.get('state')}"
