"""Holds OCSF events against the published schema of their version: reads lines from standard input, prints what is wrong with them.

At the end: how many events were judged, and that an event with a wrong field is found, or the judge would be no judge.
"""

import json
import sys

import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

schemas = {}
judges = {}


def judge_of(event):
    version = event["metadata"]["version"]
    if version not in schemas:
        schemas[version] = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
    key = version, event["class_uid"]
    if key not in judges:
        name = schemas[version].lookup_class_name_from_uid(event["class_uid"])
        judges[key] = jsonschema.Draft202012Validator(schemas[version].get_class_schema(name))
    return judges[key]


def main():
    count = 0
    for line in sys.stdin:
        event = json.loads(line)
        judge = judge_of(event)
        for error in judge.iter_errors(event):
            print("wrong:", event["metadata"]["event_code"], list(error.absolute_path), error.message)
        assert list(judge.iter_errors({**event, "severity_id": "high"})), "the judge takes anything"
        assert list(judge.iter_errors({k: v for k, v in event.items() if k != "time"})), "the judge misses nothing"
        assert list(judge.iter_errors({**event, "no_such_field": 1})), "the judge knows every field"
        count += 1
    print(count)


main()
