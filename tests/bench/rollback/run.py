#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long after `rollback` the last new request still reaches the bad model, on two daemons that share a PostgreSQL.

Callers ask both daemons without end while the rollback goes through the first one. Told is when the last request that
the bad model answered had begun, counted from the moment the command was sent; a request that had begun before counts as
nothing. Then the same with the database down: the daemon that was told serves the model before at once; the other one
learns of it when the database is back. No request may fail in any round.
"""
import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))

from bench import Daemon, Load, Postgres, chat, eventually, machine, now_us, stop, table, workplace  # noqa: E402

COMMAND = {"use_case": "served", "reason": "bench"}


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--rate", type=float, default=500, help="requests a second at each daemon (default 500)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--smoke", action="store_true", help="one round")
    a = p.parse_args()
    if a.smoke:
        a.rounds = 1
    return a


def serves(daemon):
    return daemon.api("GET", "/api/v1/use-cases/served/current")["model_name"]


def last_bad_us(load, since_us):
    """From the command to the beginning of the last request that the bad model answered."""
    seen = load.stop()
    if seen["ok"] != seen["answers"] or seen["cut"] or seen["refused"]:
        stop(f"requests failed while the model was changed: {seen}")
    answers = list(load.answers())
    begun = [x.sent_us for x in answers if x.model == "bad@1"]
    if not begun or answers[-1].model == "bad@1":
        stop("the load did not see the change")
    return max(0, max(begun) - since_us)


def one_round(a, folder, daemons, postgres=None):
    """postgres: it is down meanwhile, and the second daemon is asked after its return."""
    first, second = daemons
    first.api("POST", "/api/v1/models/bad@1/promote", {"use_case": "served", "reason": "bench"})
    eventually(lambda: all(serves(d) == "bad" for d in daemons), "the bad model on both daemons")
    loads = [Load(folder, d.port, "/v1/chat/completions", chat("served"), 8, 600, a.rate, keep=True) for d in daemons]
    time.sleep(0.5)
    if postgres:
        postgres.do("stop")
        time.sleep(0.5)
    sent_us = now_us()
    first.api("POST", "/api/v1/rollback", COMMAND, (200, 201, 202))
    answered_us = now_us() - sent_us
    eventually(lambda: serves(first) == "good", "the model before")
    back_us = None
    if postgres:
        postgres.do("start")
        back_us = now_us()
    eventually(lambda: serves(second) == "good", "the model before, on the other daemon")
    time.sleep(0.5)
    return {"answered_us": answered_us, "first_us": last_bad_us(loads[0], sent_us),
            "second_us": last_bad_us(loads[1], back_us or sent_us)}


def measure(a, folder):
    with Postgres() as postgres:
        url = postgres.url(postgres.database())
        daemons = [Daemon(folder, name, url) for name in ("first", "second")]
        daemons[0].model("good", "served")
        daemons[0].model("bad", "served", promote=False)
        r = {"there": [one_round(a, folder, daemons) for _ in range(a.rounds)],
             "away": [one_round(a, folder, daemons, postgres) for _ in range((a.rounds + 1) // 2)]}
        for d in daemons:
            d.end()
    return r


def show(a, r):
    def cell(rounds, key):
        values = [x[key] / 1000 for x in rounds]
        return f"{min(values):.0f} to {max(values):.0f} ms"

    print(f"\nrollback, {a.rate:g} requests a second at each of two daemons, {a.rounds} rounds; promised: 1 s; "
          f"{r['machine']}\n")
    table([["last new request on the bad model, daemon that was told", *(cell(r[k], "first_us") for k in ("there", "away"))],
           ["the same, the other daemon (database away: since it is back)",
            *(cell(r[k], "second_us") for k in ("there", "away"))],
           ["the command was answered after", *(cell(r[k], "answered_us") for k in ("there", "away"))]],
          ["", "PostgreSQL there", "PostgreSQL away"])


def main():
    a = arguments()
    with workplace() as folder:
        r = {"machine": machine(), **measure(a, folder)}
    if a.json:
        print(json.dumps({"options": vars(a), **r}, indent=1))
    else:
        show(a, r)


if __name__ == "__main__":
    main()
