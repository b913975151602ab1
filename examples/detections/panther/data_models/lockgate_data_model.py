# The names of panther_base_helpers' event types, which the generic rules ask for.
EVENT_TYPES = {
    "CONNECTED": "successful_login",
    "AUTH_FAILURE": "failed_login",
    "USER_ADDED": "user_account_created",
    "USER_CHANGED": "user_account_modified",
    "USER_REMOVED": "user_account_deleted",
}


def get_event_type(event):
    return EVENT_TYPES.get(event.get("activity-type"))
