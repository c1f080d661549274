#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How many log records a second one daemon takes into PostgreSQL, for as long as one likes.

PostgreSQL runs with its own settings (fsync on), on the same machine and the same cores as the daemon and the load.
Records of --bytes of text come over HTTP, either as an application's own (POST /api/v1/logs) or as chats that a simulated
model answers, at --rate or as fast as they are taken. Told are the rate at which they were accepted, the rate at which
they reached the database until the last row was there, and the CPU time a record of each part. Rows are counted: each
record that was answered is there exactly once.
"""
import argparse
import json
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))

from bench import Daemon, Load, Postgres, cpu_ns, eventually, machine, stop, table, workplace  # noqa: E402


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--seconds", type=float, default=30)
    p.add_argument("--rate", type=float, default=10000, help="records a second; 0: as fast as they are taken")
    p.add_argument("--bytes", type=int, default=1500, help="of text in each record (default 1500)")
    p.add_argument("--connections", type=int, default=32)
    p.add_argument("--loops", type=int, default=1)
    p.add_argument("--chat", action="store_true", help="chats with a simulated model instead of POST /api/v1/logs")
    p.add_argument("--pooled", action="store_true", help="through PgBouncer, in transaction mode")
    p.add_argument("--settings", default="", help='of PostgreSQL, such as "-c max_wal_size=4GB"')
    p.add_argument("--json", action="store_true")
    p.add_argument("--smoke", action="store_true", help="a second, to see that the bench works")
    a = p.parse_args()
    if a.smoke:
        a.seconds, a.rate = 1, 1000
    return a


def text(n):
    """Words, so that it compresses as prose does."""
    r = random.Random(7)
    words = ["".join(r.choice("etaoinshrdlucmfwypvbgkqjxz") for _ in range(r.randint(2, 9))) for _ in range(4000)]
    out = ""
    while len(out) < n:
        out += r.choice(words) + " "
    return out[:n]


def body(a):
    if a.chat:
        return {"model": "load", "messages": [{"role": "user", "content": text(a.bytes * 2 // 3)}], "max_tokens": 200}
    return {"model_id": "story-teller@1.2", "model_name": "story-teller@1.2", "use_case": "load", "status": "ok",
            "prompt": text(a.bytes * 2 // 3), "generated_output": text(a.bytes // 3), "prompt_tokens": 230,
            "completion_tokens": 120, "latency_ms": 812.4, "parameters": {"max_tokens": 200, "temperature": 0.7}}


def children_s():
    """CPU time of the children that have ended."""
    t = os.times()
    return t.children_user + t.children_system


def measure(a, folder, postgres):
    database = postgres.database()
    daemon = Daemon(folder, "log", postgres.url(database, a.pooled), loops=a.loops)
    daemon.model("load", "load", text=text(a.bytes // 3))
    load_cpu = children_s()
    before, pg = daemon.threads(), cpu_ns(postgres.pid())
    path = "/v1/chat/completions" if a.chat else "/api/v1/logs"
    load = Load(folder, daemon.port, path, body(a), a.connections, a.seconds, a.rate, keep=True)
    begun, most_waiting = time.monotonic(), 0
    while load.process.poll() is None:
        most_waiting = max(most_waiting, daemon.metric("muster_spool_pending_bytes"))
        time.sleep(0.5)
    seen = load.wait()
    load_cpu = children_s() - load_cpu
    accepted_s = time.monotonic() - begun
    count = "select count(*), count(distinct id) from model_historical_logs"
    written = daemon.metric("muster_log_records_total")
    eventually(lambda: daemon.metric("muster_log_records_shipped_total") >= written, "the last record to be shipped")
    all_s = time.monotonic() - begun
    after, pg = daemon.threads(), cpu_ns(postgres.pid()) - pg
    rows, ids = map(int, postgres.sql(count, database)[0])
    answered = [x.log_id for x in load.answers() if x.status in (200, 201)]
    there = {r[0] for r in postgres.sql("select id from model_historical_logs", database)}
    lost = len(set(answered) - there)
    batches = daemon.metric("muster_shipper_batches_total")
    daemon.end()
    if rows != ids or lost or len(set(answered)) != len(answered) or seen["status_5xx"]:
        stop(f"{len(answered)} answers, {rows} rows with {ids} ids, {lost} lost, {seen['status_5xx']} refused")
    threads = {k: (after[k] - before[k]) / 1000 / rows for k in after if (after[k] - before[k]) / 1000 / rows >= 0.05}
    return {"rows": rows, "answers": seen["answers"], "accepted_per_s": seen["answers"] / accepted_s,
            "shipped_per_s": rows / all_s, "last_row_after_s": all_s - accepted_s, "p50_us": seen["p50_us"],
            "p99_us": seen["p99_us"], "records_a_batch": rows / batches, "most_waiting_bytes": int(most_waiting),
            "cpu_us": {**{f"muster {k}": v for k, v in threads.items()}, "postgres": pg / 1000 / rows,
                       "load": load_cpu * 1e6 / rows}}


def show(a, r):
    print(f"\n{a.bytes} bytes of text a record, {'chats with the simulated model' if a.chat else 'POST /api/v1/logs'}, "
          f"{a.connections} connections, {a.seconds:g} s at {a.rate or 'any'} a second{', PgBouncer' if a.pooled else ''}; "
          f"{r['machine']}\n")
    table([["accepted a second", f"{r['accepted_per_s']:,.0f}"], ["reached PostgreSQL a second", f"{r['shipped_per_s']:,.0f}"],
           ["last row after the last answer", f"{r['last_row_after_s']:.2f} s"],
           ["most that waited in the spool", f"{r['most_waiting_bytes'] / 1e6:.1f} MB"],
           ["records in one transaction", f"{r['records_a_batch']:,.0f}"],
           ["answered, p50 / p99", f"{r['p50_us'] / 1000:.2f} / {r['p99_us'] / 1000:.2f} ms"],
           ["records answered = rows, each once", f"{r['rows']:,}"],
           *[[f"CPU a record: {k}", f"{v:.1f} us"] for k, v in r["cpu_us"].items()],
           ["CPU a record, all", f"{sum(r['cpu_us'].values()):.1f} us"]], ["", ""])


def main():
    a = arguments()
    with workplace() as folder, Postgres(a.settings) as postgres:
        r = {"machine": machine(), **measure(a, folder, postgres)}
    if a.json:
        print(json.dumps({"options": vars(a), **r}, indent=1))
    else:
        show(a, r)


if __name__ == "__main__":
    main()
