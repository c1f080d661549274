#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many streams open at once: whether all of them live to their end, and what each of them costs in memory.

A model (streams.c) begins a stream for each request and then says nothing; while all of them are open and idle, the
daemon's own memory (RssAnon) is compared with what it was before. Then each stream gets an event more, then its end.
Memory is looked at again when the daemon has been quiet for a while. With guardrails and historical log off, and on.

A stream needs a descriptor on either side of the daemon: where `ulimit -Hn` allows less than 10,000 streams, fewer are
opened, and the bench says so.
"""
import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "common"))

from bench import Daemon, build, free_port, machine, memory, quiet, stop, table, workplace  # noqa: E402

SPARE = 200  # descriptors for everything else
PROMISED_BYTES = 2048


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--streams", type=int, default=10000)
    p.add_argument("--loops", type=int, default=2)
    p.add_argument("--bytes", type=int, default=200, help="size of the request body (default 200)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--smoke", action="store_true", help="200 streams, to see that the bench works")
    a = p.parse_args()
    a.wanted = a.streams
    a.streams = 200 if a.smoke else min(a.streams, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE) // 2)
    return a


class End:
    """One end of the streams: streams.c, told what to do."""

    def __init__(self, *args):
        self.process = subprocess.Popen([build(HERE / "streams.c", "streams"), *map(str, args)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def hear(self):
        line = self.process.stdout.readline().split()
        if not line:
            stop(f"{self.process.args[1]} of the streams has ended with {self.process.wait()}")
        return line

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.hear()

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def body(size):
    def make(text):
        return json.dumps({"model": "streams", "stream": True, "messages": [{"role": "user", "content": text}]},
                          separators=(",", ":"))
    return make("x" * max(1, size - len(make(""))))


def register(daemon, port):
    daemon.api("POST", "/api/v1/models", {"model_name": "drip", "version": "1", "use_case": "streams", "provider": "custom",
                                          "configuration": {"endpoint": f"http://127.0.0.1:{port}/v1/chat/completions"}})
    daemon.api("POST", "/api/v1/models/drip@1/promote", {"use_case": "streams", "reason": "bench"})


def one(a, folder, on):
    word = "on" if on else "off"
    port = free_port()
    model = End("model", port)
    model.hear()
    daemon = Daemon(folder, word, loops=a.loops, more=f"guardrails:\n  enabled: {str(on).lower()}\n"
                    f"history:\n  enabled: {str(on).lower()}\ntimeouts:\n  between: 600s\n")
    register(daemon, port)
    r = {"on": on, "streams": a.streams}
    pid = daemon.process.pid
    quiet(pid)
    r["idle"] = memory(pid)
    began = time.monotonic()
    caller = End("caller", daemon.port, a.streams, body(a.bytes))
    r["open"] = int(caller.ask("wait 1")[1])
    r["open_s"] = time.monotonic() - began
    r["held"] = memory(pid)
    time.sleep(6)
    r["held_later"] = memory(pid)
    model.ask("event")
    r["second"] = int(caller.ask("wait 2")[1])
    r["after_event"] = memory(pid)
    model.ask("end")
    r["whole"], r["cut"], r["refused"] = (int(n) for n in caller.ask("done")[1::2])
    caller.close()
    quiet(pid)
    r["after"] = memory(pid)
    r["bytes_a_stream"] = 1024 * (r["held_later"]["anon"] - r["idle"]["anon"]) / a.streams
    daemon.end()
    model.close()
    return r


def show(a, r):
    print(f"\n{a.streams:,} streams open at once, {a.loops} loops, a request of {a.bytes} bytes each; {r['machine']}")
    if a.streams < a.wanted and not a.smoke:
        print(f"ulimit -Hn is {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}: that is room for {a.streams:,}, not "
              f"{a.wanted:,}")
    print()
    table([["on" if x["on"] else "off", f"{x['open']:,}", f"{x['whole']:,}", x["cut"], x["refused"], f"{x['open_s']:.1f}",
            *(f"{x[k]['rss'] / 1024:.1f}" for k in ("idle", "held", "held_later", "after_event", "after")),
            f"{x['after']['rss'] / x['idle']['rss']:.2f}", f"{x['bytes_a_stream']:,.0f}"] for x in r["rows"]],
          ["guardrails, log", "open", "whole", "cut", "refused", "s", "idle MB", "all open", "6 s later", "+1 event",
           "after", "after/idle", "bytes a stream"])
    print(f"\npromised: none cut; at most {PROMISED_BYTES:,} bytes a stream beyond what is held back; after/idle at most 1.5")


def main():
    a = arguments()
    with workplace() as folder:
        r = {"machine": machine(), "rows": [one(a, folder, on) for on in (False, True)]}
    if a.json:
        print(json.dumps({"options": vars(a), **r}, indent=1))
    else:
        show(a, r)


if __name__ == "__main__":
    main()
