"""Runs converted Sigma rules over recorded events: EVENTS START RULES [transfer-family].

RULES is what `sigma convert -t sqlite -f zircolite` printed. Prints {title of a rule: what it fired for} as JSON. What a rule fired
for are the values that it groups by, or the user of the event.
"""

import json
import re
import sqlite3
import sys

import recording


def main():
    file, start, rules, *less = sys.argv[1:]
    events = recording.events(file, start)
    if less:
        events = recording.of_transfer_family(events)
    with open(rules) as converted:
        rules = json.load(converted)
    database = load(events, {field for rule in rules for field in rule["required_fields"]})
    print(json.dumps({rule["title"]: fired for rule in rules if (fired := alerts(database, rule))}))


def load(events, fields):
    """The table that the queries expect: a column for each field, text that ignores case, NULL for what an event has not."""
    columns = sorted(fields.union(*events))
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.create_function("REGEXP", 2, lambda pattern, value: value is not None and re.search(pattern, value) is not None)
    database.execute("CREATE TABLE logs (%s)" % ", ".join(f'"{column}" COLLATE NOCASE' for column in columns))
    rows = [[cell(event.get(column)) for column in columns] for event in events]
    database.executemany("INSERT INTO logs VALUES (%s)" % ", ".join("?" * len(columns)), rows)
    return database


def cell(value):
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def alerts(database, rule):
    rows = [dict(row) for query in rule["rule"] for row in database.execute(query)]
    correlated = rule["result_type"] == "correlation"
    groups = [" ".join(map(str, json.loads(row["group_keys"]).values())) if correlated else row.get("user") or "" for row in rows]
    return sorted(set(groups))


main()
