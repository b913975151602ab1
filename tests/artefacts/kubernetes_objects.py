"""Judges the Kubernetes objects on standard input by the schemas of a release (the argument), and prints them as one JSON array. Kinds
that are not Kubernetes' own are only printed."""

import json
import sys

import kubernetes_validate
import yaml

FOREIGN = {"monitoring.coreos.com/v1"}

objects = [found for found in yaml.safe_load_all(sys.stdin) if found]
for found in objects:
    if found["apiVersion"] not in FOREIGN:
        kubernetes_validate.validate(found, sys.argv[1], strict=True)
print(json.dumps(objects))
