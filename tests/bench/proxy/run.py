#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Muster beside nginx's proxy_pass: what a chat request costs.

The same upstream (upstream.c), the same load (wrk), the same core for whichever server is measured; load and upstream
have the others. Three servers take turns within one run: nginx with keep-alive to the upstream, Muster with guardrails
and historical log off, Muster with both on. Every answer path is checked before anything is measured, and the rows of
the historical log are counted after. It prints numbers and judges none.

CPU time is what the scheduler counted (nanoseconds, /proc/PID/task/*/schedstat) for all threads and processes of a
server, divided by the requests that wrk saw answered. With the log on that includes the thread that ships records to
SQLite, up to the last row; what the data loop alone took is told apart.
"""
import argparse
import json
import os
import pathlib
import pwd
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "common"))

from bench import LOAD_CORES, ROOT, SERVER_CORE, binary, call, cpu_ns, family, free_port, start, stop, tool, wait_for  # noqa: E402

WORDS = ("The old lighthouse keeper wrote every evening about the weather, the passing ships and the birds that rested "
         "on the railing before they flew on across the bay. ")
SINGLE = (("1 KB", 1024, False), ("32 KB", 32768, False), ("1 KB, streamed", 1024, True))  # of --latency
SINGLE_TARGETS = {"off": 1.0, "on": 1.1}
TARGETS = {"off": 0.75, "on": 1.1}  # of a request of 1 KB, answered whole


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--connections", type=int, default=32)
    p.add_argument("--rounds", type=int, default=5, help="the first is a warm-up and is not counted (default 5)")
    p.add_argument("--seconds", type=float, default=4, help="of one server in one round (default 4)")
    p.add_argument("--bytes", type=int, default=1024, help="size of the request body (default 1024)")
    p.add_argument("--stream", action="store_true", help='ask for "stream": true')
    p.add_argument("--latency", action="store_true",
                   help="p50 and p99 at one connection instead, for 1 KB, 32 KB and a stream")
    p.add_argument("--only", help="comma-separated: nginx,off,on")
    p.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    p.add_argument("--smoke", action="store_true", help="a second or two, to see that the bench works")
    p.add_argument("--profile", action="store_true",
                   help="one more round of each with perf: build/bench/NAME.perf.txt")
    a = p.parse_args()
    if a.smoke:
        a.rounds, a.seconds = 1, 0.5
    a.only = a.only.split(",") if a.only else ["nginx", "off", "on"]
    if set(a.only) - {"nginx", "off", "on"}:
        p.error("--only takes nginx, off and on")
    if a.bytes < 400 or a.bytes > 4 << 20:
        p.error("--bytes: from 400 to 4194304")
    return a


# --- what is measured ---

class Server:
    log_rows = None

    def __init__(self, name, folder, model):
        self.name, self.folder, self.model = name, folder, model
        self.port, self.answered, self.runs = free_port(), 0, 0
        self.rounds = []
        self.log = f"{folder}/{name}.log"

    def cpu(self):
        return cpu_ns(self.process.pid)

    def settle(self):
        """Waits until the work that answered requests left behind is done."""

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Nginx(Server):
    """proxy_pass with keep-alive on both sides, no access log, one worker; bodies up to 1 MiB stay in memory."""

    def __init__(self, folder, upstream):
        super().__init__("nginx", folder, "muster-bench")
        root, user = f"{folder}/nginx", None
        os.mkdir(root)
        if os.geteuid() == 0:
            user = "nobody"
            os.chown(root, pwd.getpwnam(user).pw_uid, -1)
        pathlib.Path(folder, "nginx.conf").write_text(f"""
daemon off;
worker_processes 1;
pid {root}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 100000000;
    client_body_buffer_size 1m;
    client_max_body_size 8m;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    upstream model {{
        server 127.0.0.1:{upstream};
        keepalive 64;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{self.port};
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
""")
        self.process = start([tool("nginx"), "-e", "stderr", "-p", root, "-c", f"{folder}/nginx.conf"], SERVER_CORE,
                             self.log, user=user)
        wait_for(self.port, self.process, "nginx", self.log)


class Muster(Server):
    def __init__(self, name, folder, upstream, on):
        super().__init__(name, folder, "muster_bench")
        self.data, self.on = f"{folder}/{name}", on
        config = pathlib.Path(folder, f"{name}.yaml")
        config.write_text(f"listen: 127.0.0.1:{self.port}\ndata: {self.data}\nloops: 1\nlog:\n  level: warn\n"
                          f"guardrails:\n  enabled: {str(on).lower()}\nhistory:\n  enabled: {str(on).lower()}\n")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MUSTER_", "POSTGRES_"))}
        self.process = start([binary(), "serve", "--config", str(config)], SERVER_CORE, self.log, env=env)
        wait_for(self.port, self.process, "muster", self.log)
        self.register(upstream)

    def register(self, upstream):
        model = {"model_name": "bench", "version": "1.0", "use_case": self.model, "provider": "custom",
                 "configuration": {"endpoint": f"http://127.0.0.1:{upstream}/v1/chat/completions",
                                   "upstream_model": "tiny"}}
        for path, body in (("/api/v1/models", model),
                           ("/api/v1/models/bench@1.0/promote", {"use_case": self.model, "reason": "bench"})):
            status, answer = call(self.port, "POST", path, body)
            if status not in (200, 201):
                stop(f"muster: POST {path} answered {status}: {answer.decode()}")

    def rows(self):
        db = sqlite3.connect(f"file:{self.data}/muster.db?mode=ro", uri=True, timeout=10)
        try:
            return db.execute("select count(*) from model_historical_logs").fetchone()[0]
        finally:
            db.close()

    def counted(self):
        """Requests that Muster has answered, as /metrics says."""
        status, text = call(self.port, "GET", "/metrics")
        if status != 200:
            stop(f"muster: GET /metrics answered {status}")
        return int(sum(float(v) for v in re.findall(r"^muster_log_records_total(?:\{.*\})? (\S+)$", text.decode(), re.M)))

    def settle(self):
        if not self.on:
            return
        end = time.monotonic() + 300
        while self.rows() < self.counted():
            if time.monotonic() > end:
                stop(f"muster has shipped {self.rows()} of {self.counted()} records after 300 s")
            time.sleep(0.1)

    def loop_cpu(self):
        return cpu_ns(self.process.pid, "loop 0")


# --- measuring ---

def make_body(folder, model, a):
    def body(text):
        b = {"model": model, "messages": [{"role": "system", "content": "You tell short stories for children."},
                                          {"role": "user", "content": text}], "max_tokens": 128, "temperature": 0.7}
        if a.stream:
            b["stream"] = True
        return json.dumps(b, separators=(",", ":"))

    missing = a.bytes - len(body(""))
    path = f"{folder}/{model}.json"
    pathlib.Path(path).write_text(body((WORDS * (missing // len(WORDS) + 1))[:missing]))
    return path


def load(port, body, connections, seconds, what):
    """wrk against a port; what it saw. what: tells more when it saw errors."""
    whole = max(1, round(seconds)) if seconds >= 1 else 1
    out = subprocess.run([tool("wrk"), "-t1", f"-c{connections}", f"-d{whole}s", "--latency", "-s", f"{HERE}/post.lua",
                          f"http://127.0.0.1:{port}"], capture_output=True, text=True, env={**os.environ, "BODY": body},
                         preexec_fn=lambda: os.sched_setaffinity(0, LOAD_CORES))
    line = out.stdout.strip().rsplit("\n", 1)[-1]
    if out.returncode or not line.startswith("{"):
        stop(f"wrk failed: {out.stdout}{out.stderr}")
    seen = json.loads(line)
    if seen["errors"] or not seen["requests"]:
        stop(f"port {port}: wrk saw {seen['errors']} errors beside {seen['requests']} answers\n{out.stdout}{what()}")
    return seen


def how_it_is(server):
    status = server.process.poll()
    lines = pathlib.Path(server.log).read_text(errors="replace")[-1500:]
    return f"{server.name} {'runs' if status is None else f'ended with {status}'}; its log ends with:\n{lines}"


def measure(server, a, connections=None):
    connections = connections or a.connections
    cpu, loop = server.cpu(), server.loop_cpu() if isinstance(server, Muster) else 0
    seen = load(server.port, server.body, connections, a.seconds, lambda: how_it_is(server))
    if isinstance(server, Muster):
        seen["loop_us"] = (server.loop_cpu() - loop) / 1000 / seen["requests"]
    server.settle()
    seen["cpu_us"] = (server.cpu() - cpu) / 1000 / seen["requests"]
    seen["per_s"] = seen["requests"] / seen["seconds"]
    server.answered += seen["requests"]
    server.runs += connections
    return seen


def profile(server, a):
    """perf over one more round, as text."""
    data = f"{server.folder}/{server.name}.perf"
    text = ROOT / "build/bench" / f"{server.name}.perf.txt"
    perf = subprocess.Popen([tool("perf"), "record", "-q", "-F", "4999", "-g", "-o", data, "-p",
                             ",".join(map(str, family(server.process.pid)))], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    measure(server, a)
    perf.send_signal(signal.SIGINT)
    perf.wait()
    with open(text, "w") as out:
        for fields, limit in (("comm,dso", "1"), ("comm,dso,symbol", "0.3")):
            subprocess.run([tool("perf"), "report", "-i", data, "--stdio", "--no-children", "-g", "none", "--percent-limit",
                            limit, "--fields", "overhead," + fields], stdout=out, stderr=subprocess.DEVNULL)
    return str(text.relative_to(ROOT))


def check_answers(servers, upstream):
    """Every path answers 200 with the very bytes of the upstream."""
    want = call(upstream, "POST", "/v1/chat/completions", pathlib.Path(servers[0].body).read_text())
    if want[0] != 200:
        stop(f"the upstream answered {want[0]}")
    for s in servers:
        for _ in range(3):
            got = call(s.port, "POST", "/v1/chat/completions", pathlib.Path(s.body).read_text())
            if got != want:
                stop(f"{s.name} answered {got[0]}: {got[1][:600]!r}\nthe upstream {want[0]}: {want[1][:600]!r}")
            s.answered += 1


def check_log(server):
    """As many rows as answers. wrk leaves when its time is up: what it had in flight is logged, and it did not see it."""
    rows, counted = server.rows(), server.counted()
    if rows != counted or not server.answered <= rows <= server.answered + server.runs:
        stop(f"{server.name}: {rows} rows in the historical log, {counted} records written, {server.answered} answers "
             f"seen (and at most {server.runs} in flight when a round ended)")
    server.log_rows = rows


# --- telling ---

def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def results(servers, direct, a):
    r = {"connections": a.connections, "rounds": len(servers[0].rounds), "seconds": a.seconds, "bytes": a.bytes,
         "stream": a.stream, "server_core": sorted(SERVER_CORE), "load_cores": sorted(LOAD_CORES), "servers": {}}
    for s in servers:
        keys = ["cpu_us", "per_s", "p50_us", "p99_us"] + (["loop_us"] if isinstance(s, Muster) else [])
        one = {k: spread([x[k] for x in s.rounds]) for k in keys}
        one["added_p50_us"] = s.single["p50_us"] - direct["p50_us"]
        one["added_p99_us"] = s.single["p99_us"] - direct["p99_us"]
        if s.log_rows is not None:
            one["answers"], one["log_rows"] = s.answered, s.log_rows
        r["servers"][s.name] = one
    r["direct"] = {k: direct[k] for k in ("p50_us", "p99_us")}
    # Each round has its own ratio: what else the machine did then, both had to live with.
    base = [x["cpu_us"] for s in servers if s.name == "nginx" for x in s.rounds]
    usual = a.bytes == 1024 and not a.stream
    r["ratio"] = {s.name: {"cpu": spread([x["cpu_us"] / b for x, b in zip(s.rounds, base)]),
                           "loop": spread([x["loop_us"] / b for x, b in zip(s.rounds, base)]),
                           "target": TARGETS[s.name] if usual else None}
                  for s in servers if base and s.name != "nginx"}
    return r


def show(r):
    def cell(v, form):
        return f"{v['median']:{form}} ({v['min']:{form}}..{v['max']:{form}})"

    print(f"\n{r['bytes']} byte chat requests{', streamed' if r['stream'] else ''}, {r['connections']} connections, "
          f"{r['rounds']} rounds of {r['seconds']:g} s in turns; median (min..max)\n"
          f"server under test on core {r['server_core']}, load and upstream on {r['load_cores']}\n")
    print(f"{'':14}{'CPU us a request':26}{'of it the loop':26}{'requests a second':30}{'p50 us':22}p99 us")
    for name, o in r["servers"].items():
        loop = cell(o["loop_us"], ".2f") if "loop_us" in o else "-"
        print(f"{name if name == 'nginx' else 'muster ' + name:14}{cell(o['cpu_us'], '.2f'):26}{loop:26}"
              f"{cell(o['per_s'], ',.0f'):30}{cell(o['p50_us'], ',.0f'):22}{cell(o['p99_us'], ',.0f')}")
    print(f"\none connection: direct p50 {r['direct']['p50_us']} us, p99 {r['direct']['p99_us']} us; added by")
    for name, o in r["servers"].items():
        print(f"{name if name == 'nginx' else 'muster ' + name:14}p50 {o['added_p50_us']:+} us, p99 {o['added_p99_us']:+} us")
    for name, o in r["servers"].items():
        if "log_rows" in o:
            print(f"\nhistorical log: {o['log_rows']:,} rows for {o['answers']:,} answers seen by the clients")
    print()
    for name, q in r["ratio"].items():
        target = f"; target <= {q['target']}" if q["target"] else ""
        print(f"CPU a request, ratio to nginx, guardrails and log {name + ':':4} {cell(q['cpu'], '.2f')}{target}; "
              f"the loop alone {cell(q['loop'], '.2f')}")


def measure_single(servers, upstream, folder, a, say):
    """One connection, each kind of body by itself, the servers in turns: ratios are taken round by round."""
    rows = []
    for what, size, stream in SINGLE:
        a.bytes, a.stream = size, stream
        for s in servers:
            s.body = make_body(folder, s.model, a)
        check_answers(servers, upstream)
        rounds = []
        for i in range(a.rounds):
            seen = {s.name: measure(s, a, 1) for s in servers}
            seen["direct"] = load(upstream, servers[0].body, 1, a.seconds, lambda: "the upstream")
            say(f"{what}, round {i}: " + ", ".join(f"{k} {v['p50_us']} us, {v['p99_us']}" for k, v in seen.items()))
            rounds.append(seen)
        rounds = rounds[1:] or rounds
        row = {"what": what, "servers": {}}
        for name in rounds[0]:
            row["servers"][name] = one = {k: spread([r[name][k] for r in rounds]) for k in ("p50_us", "p99_us")}
            if "nginx" in rounds[0] and name in SINGLE_TARGETS:
                one["ratio"] = {k: spread([r[name][k] / r["nginx"][k] for r in rounds]) for k in ("p50_us", "p99_us")}
        rows.append(row)
    return rows


def show_single(rows, a):
    def cell(v, form):
        return f"{v['median']:{form}} ({v['min']:{form}}..{v['max']:{form}})"

    print(f"\none connection, {max(1, a.rounds - 1)} rounds of {a.seconds:g} s in turns; median (min..max)\n"
          f"server under test on core {sorted(SERVER_CORE)}, load and upstream on {sorted(LOAD_CORES)}\n")
    print(f"{'':16}{'':12}{'p50 us':20}{'p99 us':20}{'p50, ratio to nginx':24}p99, ratio to nginx")
    for row in rows:
        for name, o in row["servers"].items():
            ratio = [cell(o["ratio"][k], ".2f") for k in ("p50_us", "p99_us")] if "ratio" in o else ["", ""]
            print(f"{row['what']:16}{'muster ' + name if name in SINGLE_TARGETS else name:12}{cell(o['p50_us'], ',.0f'):20}"
                  f"{cell(o['p99_us'], ',.0f'):20}{ratio[0]:24}{ratio[1]}".rstrip())
    print("\ntargets: " + ", ".join(f"{k} at most {v} x nginx" for k, v in SINGLE_TARGETS.items()))


def run(a, folder):
    say = (lambda *_: None) if a.json else (lambda t: print(t, file=sys.stderr, flush=True))
    upstream = free_port()
    built = ROOT / "build/bench/upstream"
    subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-o", built, HERE / "upstream.c"], check=True)
    processes, servers = [], []
    try:
        processes.append(start([built, str(upstream)], LOAD_CORES, f"{folder}/upstream.log"))
        wait_for(upstream, processes[0], "the upstream", f"{folder}/upstream.log")
        make = {"nginx": lambda: Nginx(folder, upstream), "off": lambda: Muster("off", folder, upstream, False),
                "on": lambda: Muster("on", folder, upstream, True)}
        for name in [n for n in ("nginx", "off", "on") if n in a.only]:
            servers.append(make[name]())
            servers[-1].body = make_body(folder, servers[-1].model, a)
        if a.latency:
            return measure_single(servers, upstream, folder, a, say)
        check_answers(servers, upstream)
        for i in range(a.rounds):
            warm_up = i == 0 and a.rounds > 1
            for s in servers:
                seen = measure(s, a)
                if not warm_up:
                    s.rounds.append(seen)
                say(f"round {i}{' (warm-up)' if warm_up else ''} {s.name:6} {seen['cpu_us']:.2f} us a request, "
                    f"{seen['per_s']:,.0f} a second")
        direct = load(upstream, servers[0].body, 1, a.seconds, lambda: "the upstream")
        for s in servers:
            s.single = measure(s, a, 1)
        for s in servers:
            if isinstance(s, Muster) and s.on:
                check_log(s)
        r = results(servers, direct, a)
        if a.profile:
            r["profiles"] = [profile(s, a) for s in servers]
        return r
    finally:
        for s in servers:
            s.end()
        for p in processes:
            p.terminate()
            p.wait(10)


def main():
    a = arguments()
    binary()
    for name in ("wrk", "gcc", *(["nginx"] if "nginx" in a.only else []), *(["perf"] if a.profile else [])):
        tool(name)
    (ROOT / "build/bench").mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, LOAD_CORES)
    with tempfile.TemporaryDirectory(prefix="run-", dir=ROOT / "build/bench") as folder:
        os.chmod(folder, 0o755)
        r = run(a, folder)
    if a.json:
        print(json.dumps(r, indent=1))
    elif a.latency:
        show_single(r, a)
    else:
        show(r)


if __name__ == "__main__":
    main()
