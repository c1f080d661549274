#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""All measured promises, one after the other, in less than six minutes:

lookup    current-model lookup over HTTP: p99 below 1 ms
logging   what was answered is in the log, across kill -9, a database that is away for a minute, and a full disk
rollback  the last new request on the bad model less than 1 s after the command
log       10,000 log records a second into PostgreSQL, from applications and from chats

Each has a script of its own (tests/bench/NAME/run.py --help). --smoke takes seconds, to see that all of them work;
--json prints one document; names as arguments take only these.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BENCHES = {"lookup": ["lookup/run.py"], "logging": ["logging/run.py"], "rollback": ["rollback/run.py"],
           "log": ["log/run.py"], "log-chats": ["log/run.py", "--chat"]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    p.add_argument("--smoke", action="store_true")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    unknown = set(a.names) - set(BENCHES)
    if unknown:
        p.error(f"there is no bench {', '.join(sorted(unknown))}: choose from {', '.join(BENCHES)}")
    options = ["--smoke"] * a.smoke + ["--json"] * a.json
    failed, results = [], {}
    for name in a.names or BENCHES:
        script, *more = BENCHES[name]
        began = time.monotonic()
        got = subprocess.run([sys.executable, HERE / script, *more, *options], text=True,
                             stdout=subprocess.PIPE if a.json else None)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        if got.returncode:
            failed.append(name)
        elif a.json:
            results[name] = json.loads(got.stdout)
    if a.json:
        print(json.dumps(results, indent=1))
    if failed:
        sys.exit(f"bench: {', '.join(failed)} failed")


if __name__ == "__main__":
    main()
