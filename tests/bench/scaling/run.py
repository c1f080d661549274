#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whether two loops do twice the work of one.

They share nothing, so they do when a request costs each of them what it costs one alone: the loops' CPU time a request,
with two loops over with one, in turns, at the same connections. Throughput itself is told too, but it can double only
where load, model and both loops have cores of their own: four at least. 1.8 times the throughput is a ratio of CPU a
request of 1.11.
"""
import argparse
import json
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "common"))

from bench import Daemon, Load, build, chat, free_port, machine, start, stop, table, wait_for, workplace  # noqa: E402

PROMISED = 1 / 0.9


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--connections", type=int, default=32)
    p.add_argument("--rounds", type=int, default=6, help="the first is not counted (default 6)")
    p.add_argument("--seconds", type=float, default=2, help="of one daemon in one round (default 2)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--smoke", action="store_true", help="a second or two, to see that the bench works")
    a = p.parse_args()
    if a.smoke:
        a.rounds, a.seconds = 2, 0.3
    return a


def daemon_of(folder, loops, on, upstream):
    word = str(on).lower()
    d = Daemon(folder, f"{loops}-{word}", loops=loops,
               more=f"guardrails:\n  enabled: {word}\nhistory:\n  enabled: {word}\n")
    d.api("POST", "/api/v1/models", {"model_name": "m", "version": "1", "use_case": "scaling", "provider": "custom",
                                     "configuration": {"endpoint": f"http://127.0.0.1:{upstream}/v1/chat/completions"}})
    d.api("POST", "/api/v1/models/m@1/promote", {"use_case": "scaling", "reason": "bench"})
    return d


def one_round(a, folder, d):
    cpu = d.cpu("loop")
    seen = Load(folder, d.port, "/v1/chat/completions", chat("scaling"), a.connections, a.seconds).wait()
    if seen["ok"] != seen["answers"] or not seen["ok"]:
        stop(f"not every chat was answered: {seen}")
    return {"cpu_us": (d.cpu("loop") - cpu) / 1000 / seen["answers"], "per_s": seen["answers"] / seen["seconds"]}


def measure(a, folder, on, upstream):
    daemons = {loops: daemon_of(folder, loops, on, upstream) for loops in (1, 2)}
    rounds = [{loops: one_round(a, folder, d) for loops, d in daemons.items()} for _ in range(a.rounds)][1:]
    for d in daemons.values():
        d.end()
    ratios = [r[2]["cpu_us"] / r[1]["cpu_us"] for r in rounds]
    return {"on": on, "ratio": statistics.median(ratios), "min": min(ratios), "max": max(ratios),
            **{f"{name}_{loops}": statistics.median(r[loops][name] for r in rounds)
               for name in ("cpu_us", "per_s") for loops in (1, 2)}}


def run(a, folder):
    port = free_port()
    log = f"{folder}/upstream.log"
    upstream = start([build(HERE.parent / "proxy/upstream.c", "upstream"), str(port)], None, log)
    try:
        wait_for(port, upstream, "the upstream", log)
        return {"rows": [measure(a, folder, on, port) for on in (False, True)]}
    finally:
        upstream.terminate()
        upstream.wait(10)


def show(a, r):
    print(f"\none loop and two, {a.connections} connections, {a.rounds - 1} rounds of {a.seconds:g} s in turns; {r['machine']}\n")
    table([["on" if x["on"] else "off", *(f"{x[f'cpu_us_{n}']:.2f}" for n in (1, 2)),
            f"{x['ratio']:.2f} ({x['min']:.2f}..{x['max']:.2f})", f"{1 / x['ratio'] * 2:.2f}",
            *(f"{x[f'per_s_{n}']:,.0f}" for n in (1, 2))] for x in r["rows"]],
          ["guardrails, log", "1 loop: CPU us a request", "2 loops", "ratio", "what two would do of one, had they cores",
           "1 loop: a second, here", "2 loops"])
    print(f"\npromised: two loops do 1.8 times the work of one, a ratio of at most {PROMISED:.2f}")
    if r["machine"]["cpus"] < 4:
        print(f"{r['machine']['cpus']} CPUs, which load and model share with the loops: throughput cannot show it here")


def main():
    a = arguments()
    with workplace() as folder:
        r = {"machine": machine(), **run(a, folder)}
    if a.json:
        print(json.dumps({"options": vars(a), **r}, indent=1))
    else:
        show(a, r)


if __name__ == "__main__":
    main()
