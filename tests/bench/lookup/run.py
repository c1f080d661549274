#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long it takes to ask over HTTP which model is current (GET /api/v1/use-cases/{use_case}/current).

One daemon with one loop on a core of its own, SQLite; the load has the other cores. At one connection, at 32 without
pause, and at 32 with a fixed number of lookups a second; each alone and beside chats. Where the rate is fixed, a lookup
counts from the moment when it was due, so that one that had to wait for others is not told too short.
"""
import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))

from bench import LOAD_CORES, SERVER_CORE, Daemon, Load, chat, machine, stop, table, workplace  # noqa: E402

PATH = "/api/v1/use-cases/asked/current"


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--seconds", type=float, default=5, help="of each row (default 5)")
    p.add_argument("--rate", type=float, default=5000, help="lookups a second where it is fixed (default 5000)")
    p.add_argument("--chats", type=float, default=1000, help="chats a second beside the lookups (default 1000)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--smoke", action="store_true", help="half a second, to see that the bench works")
    a = p.parse_args()
    if a.smoke:
        a.seconds = 0.2
    return a


def measure(a, folder):
    daemon = Daemon(folder, "lookup", where=SERVER_CORE)
    daemon.model("current", "asked")
    daemon.model("talker", "chats")
    rows = []
    for chats in (0, a.chats):
        beside = Load(folder, daemon.port, "/v1/chat/completions", chat("chats"), 16, 600, chats,
                      where=LOAD_CORES) if chats else None
        for connections, rate in ((1, 0), (32, a.rate), (32, 0)):
            cpu = daemon.cpu("loop")
            seen = Load(folder, daemon.port, PATH, None, connections, a.seconds, rate, where=LOAD_CORES).wait()
            cpu = daemon.cpu("loop") - cpu
            if seen["ok"] != seen["answers"] or seen["cut"] or seen["refused"] or not seen["ok"]:
                stop(f"not every lookup was answered: {seen}")
            rows.append({"connections": connections, "rate": rate, "chats_per_s": chats,
                         "per_s": seen["answers"] / seen["seconds"],
                         "cpu_us": None if chats else cpu / 1000 / seen["answers"],
                         **{k: seen[k] for k in ("p50_us", "p99_us", "p999_us", "max_us")}})
        if beside:
            seen = beside.stop()
            if seen["ok"] != seen["answers"]:
                stop(f"not every chat was answered: {seen}")
    daemon.end()
    return {"rows": rows}


def show(a, r):
    print(f"\ncurrent-model lookup over HTTP, {a.seconds:g} s a row; promised: p99 below 1 ms; {r['machine']}\n")
    table([[f"{x['connections']} connection{'s' * (x['connections'] > 1)}, "
            + (f"{x['rate']:,.0f} a second" if x["rate"] else "without pause")
            + (f", {x['chats_per_s']:,.0f} chats a second beside" if x["chats_per_s"] else ""),
            f"{x['per_s']:,.0f}", *(f"{x[k] / 1000:.3f}" for k in ("p50_us", "p99_us", "p999_us", "max_us")),
            f"{x['cpu_us']:.1f}" if x["cpu_us"] else "-"] for x in r["rows"]],
          ["", "a second", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "CPU us of the loop"])


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
