"""Queries of CloudWatch over recorded events: FOLDER AGENT LOGS START [transfer-family].

FOLDER holds `*.txt` (Logs Insights, or filter patterns if they begin with `{`) and `*.json` (Contributor Insights). AGENT is the
CloudWatch agent's configuration, which says which file of LOGS becomes which stream.

No engine of CloudWatch's can be had outside AWS, so this reads the part of its languages that the queries use, as AWS documents it:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html, …/matching-terms-json-log-events.html and
…/monitoring/ContributorInsights-RuleSyntax.html. What it does not know is an error.

Prints {name: rows}; of a pattern the events that match, of a rule the contributors with their counts.
"""

import json
import os
import sys
from collections import Counter
from datetime import datetime

import insights
import recording


def main():
    folder, agent, logs, start, *less = sys.argv[1:]
    group = records(agent, logs, start, less)
    found = {}
    for file in sorted(os.listdir(folder)):
        name, kind = file.rsplit(".", 1)
        with open(os.path.join(folder, file)) as text:
            text = text.read()
        if kind == "json":
            found[name] = contributors(json.loads(text), group)
        elif text.startswith("{"):
            for pattern in text.splitlines():
                found[pattern] = [record["@message"] for record in group if insights.matches(pattern, record)]
        else:
            found[name] = insights.run(text, group)
    print(json.dumps(found))


def records(agent, logs, start, less):
    """The log group: each event with the fields that CloudWatch adds."""
    with open(agent) as configuration:
        files = json.load(configuration)["logs"]["logs_collected"]["files"]["collect_list"]
    assert len({file["log_group_name"] for file in files}) == 1, "one log group"
    found = []
    for file in files:
        here = os.path.join(logs, os.path.basename(file["file_path"]))
        stream = file["log_stream_name"].replace("{hostname}", "edge-1")
        found += [{"@logStream": stream, **event} for event in recording.events(here)]
    found.sort(key=lambda event: event["timestamp"])
    shift = datetime.fromisoformat(start + "+00:00") - datetime.fromisoformat(found[0]["timestamp"])
    group = []
    for event in found:
        stream, time = event.pop("@logStream"), datetime.fromisoformat(event["timestamp"]) + shift
        event["timestamp"] = recording.moment(time)
        for event in recording.of_transfer_family([event]) if less else [event]:
            message = json.dumps(event, separators=(",", ":"))
            group.append({"@timestamp": int(time.timestamp() * 1000), "@logStream": stream, "@message": message, **event})
    return group


def contributors(rule, group):
    """The contributors of a rule of the schema CloudWatchLogRule, version 1, that counts records."""
    assert rule["LogFormat"] == "JSON" and rule["AggregateOn"] == "Count"
    assert rule["Schema"] == {"Name": "CloudWatchLogRule", "Version": 1}
    counts = Counter()
    for record in group:
        fits = all(record.get(field(part["Match"])) in part["In"] for part in rule["Contribution"]["Filters"])
        keys = [record.get(field(key)) for key in rule["Contribution"]["Keys"]]
        if fits and None not in keys:
            counts[" ".join(keys)] += 1
    return dict(counts)


def field(selector):
    assert selector.startswith("$.")
    return selector[2:]


main()
