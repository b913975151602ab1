def rule(event):
    return event.get("activity-type") == "CONNECTED"


def alert_context(event):
    return {"who": f"{event.get('user')} {event.get('source-ip')}"}
