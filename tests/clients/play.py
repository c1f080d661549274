# SPDX-License-Identifier: Apache-2.0
"""Plays the scenarios of a Python client, as play.mjs does of those of npm."""
import json
import sys


def play(scenarios):
    seen = {}
    for name, scenario, model in json.loads(sys.argv[2]):
        try:
            seen[name] = scenarios[scenario](model)
        except Exception as e:
            seen[name] = {"threw": "%s: %s" % (type(e).__name__, e), "status": getattr(e, "status_code", None),
                          "kinds": [k.__name__ for k in type(e).__mro__]}
    print(json.dumps(seen))


URL = sys.argv[1]
