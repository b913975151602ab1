"""Runs EQL rules over events in ECS: RULES EVENTS, two files. Prints the name of a rule for each time it fires.

RULES: each rule begins with a line `# NAME`. Events of several categories are seen by rules of each, as Elasticsearch has it.
"""

import datetime
import json
import sys

import eql
from eql import parser


def rules(text):
    for part in text.split("\n# ")[1:]:
        name, _, query = part.partition("\n")
        # Elasticsearch writes this function in small letters, this engine does not.
        query = query.replace("cidrmatch(", "cidrMatch(")
        with parser.elasticsearch_syntax, parser.allow_runs:
            yield name.strip(), eql.parse_query(query)


def events(file):
    for line in file:
        event = json.loads(line)
        at = datetime.datetime.fromisoformat(event["@timestamp"].replace("Z", "+00:00"))
        # In units of 100 ns, the engine's own.
        ticks = int(at.timestamp() * 10_000_000)
        for category in event["event"].get("category", []):
            yield eql.Event(category, ticks, event)


def main(rules_file, events_file):
    with open(rules_file) as file:
        known = list(rules("\n" + file.read()))
    for name, query in known:
        engine = eql.PythonEngine()
        engine.add_query(query)
        engine.add_output_hook(lambda _, name=name: print(name))
        with open(events_file) as file:
            engine.stream_events(list(events(file)))


main(*sys.argv[1:])
