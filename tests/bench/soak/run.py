#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Half an hour of everything at once, and whether the daemon has grown: memory and descriptors.

Chats, streams, models that fail and streams that break off, requests that are refused, lookups, checks, callers that
leave in the middle, keys made and revoked, promotions, scrapes: some 200 requests a second, so that it can run beside
other things. Memory and descriptors are sampled every few seconds. Growth is the slope of a line through the samples
after the first third, in which caches fill; told as MB an hour, and judged: at most 2 % of what is resident, or 0.25 MB,
over the time that was looked at, and descriptors back to what they were.
"""
import argparse
import contextlib
import itertools
import json
import os
import pathlib
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))

from bench import Daemon, Load, call, chat, machine, memory, quiet, table, workplace  # noqa: E402

SHARE = {"chats": 70, "streams": 50, "failing": 20, "cut": 10, "refused": 10, "lookups": 30, "checks": 10}  # of 200

KEY = "soak-0123456789abcdef0123456789abcdef"


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("minutes", type=float, nargs="?", default=30)
    p.add_argument("--rate", type=float, default=200, help="requests a second, of all kinds together (default 200)")
    p.add_argument("--every", type=float, default=5, help="seconds between two samples (default 5)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--smoke", action="store_true", help="ten seconds, to see that the bench works")
    a = p.parse_args()
    if a.smoke:
        a.minutes, a.every = 1 / 6, 0.5
    return a


def models(daemon):
    daemon.model("a", "talk")
    daemon.model("b", "talk", promote=False)
    daemon.model("slow", "slow", tokens_per_s=20)
    daemon.model("failing", "failing", error_rate=0.5)
    daemon.model("cut", "cut", cut_after=40)


def loads(a, folder, daemon, seconds):
    """Each kind with its part of the rate, on connections of its own."""
    streamed = {**chat("talk", 600), "stream": True}
    kinds = {"chats": ("/v1/chat/completions", chat("talk")), "streams": ("/v1/chat/completions", streamed),
             "failing": ("/v1/chat/completions", chat("failing", 400)),
             "cut": ("/v1/chat/completions", {**chat("cut", 400), "stream": True}),
             "refused": ("/v1/chat/completions", '{"model": "talk", "messages": ['),
             "lookups": ("/api/v1/use-cases/talk/current", None),
             "checks": ("/api/v1/guardrails/check", {"text": "Call me at +1 415 555 0100, card 4111 1111 1111 1111."})}
    return {name: Load(folder, daemon.port, *kinds[name], seconds=seconds, key=daemon.key,
                       connections=32 if name == "streams" else 4, rate=a.rate * share / sum(SHARE.values())) for name, share in SHARE.items()}


class Others:
    """What is not load: callers that leave, keys, promotions, scrapes; in one thread."""

    def __init__(self, daemon):
        self.daemon, self.over = daemon, threading.Event()
        self.counts = dict.fromkeys(("left", "keys", "promotions", "scrapes"), 0)
        self.problem = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def leave(self):
        body = json.dumps({**chat("slow", 300), "stream": True})
        with socket.create_connection(("127.0.0.1", self.daemon.port), 10) as s:
            s.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      f"Authorization: Bearer {self.daemon.key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            s.recv(4096)
        self.counts["left"] += 1

    def key(self):
        name = f"soak-{self.counts['keys']}"
        self.daemon.api("POST", "/api/v1/keys", {"name": name, "role": "client", "reason": "soak"})
        self.daemon.api("DELETE", f"/api/v1/keys/{name}?reason=soak")
        self.counts["keys"] += 1

    def promote(self, name):
        self.daemon.api("POST", f"/api/v1/models/{name}@1/promote", {"use_case": "talk", "reason": "soak"})
        self.counts["promotions"] += 1

    def scrape(self):
        for path in ("/metrics", "/health", "/api/v1/logs?limit=5"):
            call(self.daemon.port, "GET", path, None, self.daemon.key)
        self.counts["scrapes"] += 1

    def run(self):
        try:
            for i in itertools.count():
                if self.over.wait(0.2):
                    return
                self.leave()
                if i % 20 == 7:
                    self.promote("ab"[i // 20 % 2])
                if i % 20 == 14:
                    self.scrape()
                if i % 25 == 3:
                    self.key()
        except (OSError, SystemExit) as e:  # stop() says what went wrong
            self.problem = str(e)

    def end(self):
        self.over.set()
        self.thread.join()
        return self.counts


def slope_an_hour(samples, what):
    """Least squares, kB an hour."""
    t = [s["t"] for s in samples]
    v = [s[what] for s in samples]
    mt, mv = statistics.mean(t), statistics.mean(v)
    under = sum((x - mt) ** 2 for x in t)
    return 3600 * sum((x - mt) * (y - mv) for x, y in zip(t, v)) / under if under else 0.0


def judge(samples, idle, after):
    late = [s for s in samples if s["t"] >= samples[-1]["t"] / 3] or samples
    span_h = (late[-1]["t"] - late[0]["t"]) / 3600
    r = {"samples": len(samples), "idle": idle, "after": after, "hours_looked_at": span_h,
         "rss_kb": {"first": late[0]["rss"], "last": late[-1]["rss"], "max": max(s["rss"] for s in samples),
                    "median": statistics.median(s["rss"] for s in late)},
         "rss_kb_an_hour": slope_an_hour(late, "rss"), "anon_kb_an_hour": slope_an_hour(late, "anon"),
         "fds": {"idle": idle["fds"], "max": max(s["fds"] for s in samples), "after": after["fds"]}}
    grown = r["rss_kb_an_hour"] * span_h
    r["grown_kb"] = grown
    r["verdict"] = "no growth" if grown <= max(256, 0.02 * r["rss_kb"]["median"]) else "it grows"
    return r


def measure(a, folder):
    pathlib.Path(folder, "keys").write_text(f"soak:{KEY}\n")
    os.chmod(f"{folder}/keys", 0o600)
    daemon = Daemon(folder, "soak", loops=2, more=f"auth:\n  key_file: {folder}/keys\n")
    daemon.key = KEY
    pid = daemon.process.pid
    models(daemon)
    quiet(pid)
    idle, samples = memory(pid), []
    at_work = loads(a, folder, daemon, 60 * a.minutes)
    others = Others(daemon)
    began = time.monotonic()
    while time.monotonic() - began < 60 * a.minutes:
        time.sleep(a.every)
        samples.append({"t": time.monotonic() - began, **memory(pid)})
        if len(samples) % 60 == 0 and not a.json:
            print(f"{samples[-1]['t'] / 60:5.1f} min  {samples[-1]['rss'] / 1024:6.1f} MB  {samples[-1]['fds']} fds",
                  file=sys.stderr, flush=True)
    counts = {**{name: load.wait()["answers"] for name, load in at_work.items()}, **others.end()}
    quiet(pid)
    r = {**judge(samples, idle, memory(pid)), "requests": counts, "problem": others.problem, "all": samples}
    with contextlib.suppress(ProcessLookupError):
        daemon.end()
    return r


def show(a, r):
    print(f"\n{a.minutes:g} minutes, {a.rate:g} requests a second; {r['machine']}\n")
    table([[k, f"{v:,}"] for k, v in r["requests"].items()], ["what", "how many"])
    mb = r["rss_kb"]
    print(f"\nresident: idle {r['idle']['rss'] / 1024:.1f} MB, after the first third {mb['first'] / 1024:.1f}, at the end "
          f"{mb['last'] / 1024:.1f}, most {mb['max'] / 1024:.1f}, idle again {r['after']['rss'] / 1024:.1f} "
          f"({r['after']['rss'] / r['idle']['rss']:.2f} times)")
    print(f"slope after the first third: {r['rss_kb_an_hour'] / 1024:+.2f} MB an hour (own memory "
          f"{r['anon_kb_an_hour'] / 1024:+.2f}), over {60 * r['hours_looked_at']:.0f} minutes {r['grown_kb'] / 1024:+.2f} MB: "
          f"{r['verdict']}")
    print(f"descriptors: idle {r['fds']['idle']}, most {r['fds']['max']}, idle again {r['fds']['after']}")
    if r["problem"]:
        print(f"what went wrong beside the load: {r['problem']}")


def main():
    a = arguments()
    with workplace() as folder:
        r = {"machine": machine(), **measure(a, folder)}
    if a.json:
        print(json.dumps({"options": vars(a), **r}, indent=1))
    else:
        show(a, r)
    sys.exit(r["verdict"] != "no growth" and not a.smoke)


if __name__ == "__main__":
    main()
