"""Runs Panther's rules over recorded events: FOLDER EVENTS START [transfer-family].

The rules run in panther_core, as they do in Panther. What Panther does around them (count what has one `dedup` until the threshold
within the period, look values up in its store) is done here. Prints {RuleID: [dedup]} as JSON.
"""

import json
import os
import sys
import types
from datetime import datetime

import yaml
from panther_core.enriched_event import PantherEvent
from panther_core.rule import Rule

import recording

STORE = {}


def main():
    folder, file, start, *less = sys.argv[1:]
    sys.modules["panther_detection_helpers"] = types.ModuleType("panther_detection_helpers")
    sys.modules["panther_detection_helpers.caching"] = caching = types.ModuleType("caching")
    caching.increment_counter = increment_counter
    caching.get_string_set = lambda key: set(STORE.get(key, set()))
    caching.add_to_string_set = lambda key, values, _: STORE.setdefault(key, set()).update(values)

    events = recording.events(file, start)
    if less:
        events = recording.of_transfer_family(events)
    times = [datetime.fromisoformat(event["timestamp"]) for event in events]
    fired = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".yml"):
            continue
        with open(os.path.join(folder, name)) as text:
            specification = yaml.safe_load(text)
        if specification["AnalysisType"] != "rule" or specification.get("CreateAlert") is False:
            continue
        with open(os.path.join(folder, specification["Filename"])) as text:
            body = text.read()
        rule = Rule({"id": specification["RuleID"], "versionId": "1", "body": body, "severity": specification["Severity"].upper()})
        alerts = run(rule, specification, events, times)
        if alerts:
            fired[specification["RuleID"]] = sorted(alerts)
    print(json.dumps(fired))


def run(rule, specification, events, times):
    """What a rule raises alerts for: `dedup` of enough events, or of events with enough unique values, within the period that begins
    with the first of them."""
    alerts, windows = set(), {}
    for number, (event, time) in enumerate(zip(events, times)):
        result = rule.run(PantherEvent({**event, "p_event_time": time.strftime("%Y-%m-%d %H:%M:%S.%f")}), {}, {})
        assert not result.errored, f"{specification['RuleID']}: {result}"
        if not result.detection_output:
            continue
        began, counted = windows.get(result.dedup_output, (time, set()))
        if (time - began).total_seconds() >= specification["DedupPeriodMinutes"] * 60:
            began, counted = time, set()
        counted.add(result.unique_output if result.unique_defined else number)
        windows[result.dedup_output] = (began, counted)
        if len(counted) >= specification["Threshold"]:
            alerts.add(result.dedup_output)
    return alerts


def increment_counter(key, value, _):
    STORE[key] = STORE.get(key, 0) + value
    return STORE[key]


main()
