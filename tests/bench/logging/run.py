#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whether everything that was answered is in the log, exactly once, when things go wrong under load; and what callers
notice of it. One daemon on PostgreSQL (with its own settings: fsync is on), chats with the simulated model, whose every
answer the load remembers.

kill   the daemon is killed (SIGKILL) and started again, several times
away   the database is stopped for a minute and started again; latencies before, meanwhile and after
full   the spool's disk is full while the database is away: a tmpfs where we may mount one, else spool.max_bytes.
       With log_durability required everything that was answered has to be in the log, and nothing else is answered;
       with best_effort everything is answered, and what is not in the log has to be what /metrics counts as lost
"""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))

from bench import (Daemon, Load, Postgres, chat, eventually, machine, now_us, percentiles, stop, table,  # noqa: E402
                   workplace)

SCENES = ("kill", "away", "full required", "full best_effort")
DISK_MB = 48


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rate", type=float, default=1000, help="chats a second (default 1000)")
    p.add_argument("--kills", type=int, default=5)
    p.add_argument("--away", type=float, default=60, help="seconds without a database (default 60)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--smoke", action="store_true", help="seconds, to see that the bench works")
    a = p.parse_args()
    if a.smoke:
        a.kills, a.away = 1, 1
    return a


class Scene:
    def __init__(self, a, folder, postgres, name, more="", rate=None, **settings):
        self.a, self.folder, self.postgres, self.name = a, folder, postgres, name.replace(" ", "_")
        self.database = postgres.database()
        self.daemon = Daemon(folder, self.name, postgres.url(self.database), more=more)
        self.daemon.api("PUT", "/api/v1/use-cases/talk", {"log": "full", **settings})
        self.daemon.model("talker", "talk")
        self.load = Load(folder, self.daemon.port, "/v1/chat/completions", chat("talk"), 16, 600, rate or a.rate, keep=True)

    def end(self):
        """What became of every answer."""
        seen = self.load.stop()
        answers = list(self.load.answers())
        eventually(lambda: self.daemon.metric("muster_spool_pending_bytes") == 0, "an empty spool")
        lost = self.daemon.metric("muster_log_records_lost_total")
        self.daemon.end()
        rows = [r[0] for r in self.postgres.sql("select id from model_historical_logs", self.database)]
        there, answered = set(rows), [x.log_id for x in answers if x.status == 200]
        return answers, {"answered": len(answered), "in_log": len(there & set(answered)), "rows": len(rows),
                         "twice": len(rows) - len(there), "refused": sum(x.status == 503 for x in answers),
                         "other": sum(x.status not in (200, 503) for x in answers), "counted_lost": int(lost),
                         "cut": seen["cut"]}


def kill(a, folder, postgres):
    s = Scene(a, folder, postgres, "kill")
    for _ in range(a.kills):
        time.sleep(1)
        s.daemon.end(signal.SIGKILL)
        s.daemon.start()
    time.sleep(1)
    return s.end()[1]


def away(a, folder, postgres):
    s = Scene(a, folder, postgres, "away")
    side = min(a.away, 15)
    time.sleep(side)
    gone = now_us()
    postgres.do("stop")
    time.sleep(a.away)
    postgres.do("start")
    back = now_us()
    time.sleep(side)
    answers, r = s.end()
    begin = answers[0].sent_us + 500000  # connections and caches are cold in the first moment
    r["latency"] = {name: percentiles(x.latency_us for x in answers if since <= x.sent_us < until)
                    for name, since, until in (("before", begin, gone), ("away", gone, back), ("after", back, 1 << 62))}
    return r


def mounted(path):
    os.makedirs(path)
    return os.geteuid() == 0 and not subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "bench", path],
                                                    stderr=subprocess.DEVNULL).returncode


def full(a, folder, postgres, durability):
    disk = f"{folder}/disk-{durability}"
    is_mounted = mounted(disk)
    try:
        s = Scene(a, folder, postgres, f"full {durability}",
                  f"spool:\n  directory: {disk}/spool\n" + ("" if is_mounted else f"  max_bytes: {DISK_MB}MiB\n"),
                  rate=a.rate / 5, log_durability=durability)
        postgres.do("stop")
        record = {"model_id": "m", "use_case": "fill", "prompt": "x" * 60000, "context": {}, "output": "y"}
        filling = Load(folder, s.daemon.port, "/api/v1/logs", record, 4, 600)
        reached = "muster_log_refusals_total" if durability == "required" else "muster_log_records_lost_total"
        eventually(lambda: s.daemon.metric(reached) > 0, "a full disk")
        unfilled = filling.stop()["status_5xx"]
        time.sleep(min(a.away, 3))
        postgres.do("start")
        eventually(lambda: s.daemon.metric("muster_spool_pending_bytes") < 1 << 20, "room")
        time.sleep(min(a.away, 3))
        r = s.end()[1]
        r["counted_lost"] -= unfilled
        r["disk"] = f"tmpfs of {DISK_MB} MiB" if is_mounted else f"spool.max_bytes {DISK_MB} MiB"
        return r
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", disk], check=True)


def measure(a, folder):
    r = {}
    with Postgres() as postgres:
        r["kill"] = kill(a, folder, postgres)
        r["away"] = away(a, folder, postgres)
        for durability in ("required", "best_effort"):
            r[f"full {durability}"] = full(a, folder, postgres, durability)
    for name, x in r.items():
        missing = x["answered"] - x["in_log"]
        allowed = x["counted_lost"] if name == "full best_effort" else 0
        if missing > allowed or x["twice"] or x["other"] or not x["answered"]:
            stop(f"{name}: {missing} of {x['answered']} answers are not in the log, {x['twice']} are there twice: {x}")
        if name != "full required" and x["refused"]:
            stop(f"{name}: {x['refused']} requests were refused: {x}")
    return r


def show(a, r):
    print(f"\n{a.rate:g} chats a second, PostgreSQL; promised: of what was answered, 100 % in the log; {r['machine']}\n")
    table([[f"{name} ({x.get('disk') or (str(a.kills) + ' times' if name == 'kill' else format(a.away, 'g') + ' s')})",
            f"{x['answered']:,}", f"{x['in_log']:,}", f"{100 * x['in_log'] / x['answered']:.2f} %", x["twice"],
            f"{x['refused']:,}", f"{x['counted_lost']:,}", x["cut"]] for name, x in r.items() if name in SCENES],
          ["", "answered", "of them in the log", "", "twice", "refused (503)", "counted as lost", "cut by the kill"])
    print("\nwhat callers noticed of the database\n")
    table([[name, f"{x['n']:,}", *(f"{(x[k] or 0) / 1000:.2f}" for k in ("p50_us", "p99_us", "p999_us", "max_us"))]
           for name, x in r["away"]["latency"].items()], ["", "answers", "p50 ms", "p99 ms", "p99.9 ms", "max ms"])


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
