# SPDX-License-Identifier: Apache-2.0
"""What the benches share: processes and what they cost, the daemon, a PostgreSQL of their own, load that remembers."""
import collections
import contextlib
import glob
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

COMMON = pathlib.Path(__file__).resolve().parent
ROOT = COMMON.parents[2]
WORDS = ("The old lighthouse keeper wrote every evening about the weather, the passing ships and the birds that rested "
         "on the railing before they flew on across the bay. ")


def stop(why):
    sys.exit(f"bench: {why}")


# --- processes ---

def tool(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not found:
        stop(f"{name} is missing: make deps DEPS=--all")
    return found


def free_port():
    """Below those that the kernel hands out: nobody else takes it before it is used."""
    while True:
        port = random.randrange(10240, 20000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def cores():
    """(the core of the server under test, the cores of everything else)"""
    there = sorted(os.sched_getaffinity(0))
    if len(there) == 1:
        return set(there), set(there)
    return {there[-1]}, set(there[:-1])


SERVER_CORE, LOAD_CORES = cores()


def start(command, where, log, user=None, env=None):
    with open(log, "ab") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, user=user, env=env,
                                preexec_fn=lambda: os.sched_setaffinity(0, where or os.sched_getaffinity(0)))


def wait_for(port, process, what, log):
    for _ in range(200):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    stop(f"{what} does not answer on port {port}; {log} ends with:\n{pathlib.Path(log).read_text()[-1500:]}")


def family(pid):
    """pid and its children"""
    found = [pid]
    for children in glob.glob(f"/proc/{pid}/task/*/children"):
        for child in pathlib.Path(children).read_text().split():
            found += family(int(child))
    return found


def cpu_ns(pid, thread=None):
    """CPU time of a process, its children and all their threads; or of the threads whose name begins like that"""
    total = 0
    for p in family(pid):
        for task in glob.glob(f"/proc/{p}/task/*"):
            try:
                if thread and not pathlib.Path(task, "comm").read_text().startswith(thread):
                    continue
                total += int(pathlib.Path(task, "schedstat").read_text().split()[0])
            except FileNotFoundError:
                pass
    return total


def call(port, method, path, body=None, key=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    if isinstance(body, dict):
        body = json.dumps(body)
    c.request(method, path, body, {**({"Content-Type": "application/json"} if body else {}),
                                   **({"Authorization": f"Bearer {key}"} if key else {})})
    r = c.getresponse()
    answer = r.read()
    c.close()
    return r.status, answer


def binary():
    path = os.path.abspath(os.environ.get("MUSTER_BIN", ROOT / "build/release/muster"))
    if not os.access(path, os.X_OK):
        stop(f"{path} is missing: run make")
    return path


def memory(pid):
    """Of a process, in kB: what is resident, what of it is its own, and its descriptors."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {**{name: int(re.search(rf"^{key}:\s+(\d+)", text, re.M).group(1))
               for name, key in (("rss", "VmRSS"), ("anon", "RssAnon"))}, "fds": len(os.listdir(f"/proc/{pid}/fd"))}


def quiet(pid, limit=30):
    """Waits until the daemon has given back what it does not use: its memory has been the same for a while, or is not
    going to be."""
    seen, same, end = None, 0, time.monotonic() + limit
    while same < 10 and time.monotonic() < end:
        now = memory(pid)["rss"] // 64
        same = same + 1 if now == seen else 0
        seen = now
        time.sleep(0.5)


@contextlib.contextmanager
def workplace():
    """A folder for what a bench leaves, gone at its end."""
    (ROOT / "build/bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=ROOT / "build/bench") as folder:
        os.chmod(folder, 0o755)
        yield folder


def eventually(probe, what, limit=120):
    """The first true value of probe()."""
    end = time.monotonic() + limit
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            stop(f"waited {limit} s in vain for {what}")
        time.sleep(0.02)


def machine():
    """Figures mean nothing without it."""
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return {"cpus": os.cpu_count(), "cpu": model.group(1) if model else "?", "kernel": os.uname().release,
            "load": [round(v, 2) for v in os.getloadavg()]}


# --- PostgreSQL ---

class Postgres:
    """A private server (tools/pg-cluster) with PostgreSQL's own settings: fsync is on."""

    def __init__(self, settings=""):
        self.process = subprocess.Popen([ROOT / "tools/pg-cluster"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env={**os.environ, "PG_DEFAULTS": "1", "PG_SETTINGS": settings}, text=True)
        word, _, rest = self.process.stdout.readline().strip().partition(" ")
        if word != "ready":
            self.close()
            stop(f"PostgreSQL: {word} {rest}")
        port, pool, self.directory = rest.split()
        self.port, self.pool, self.n = int(port), int(pool), 0

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def do(self, what):
        """stop, start, kill, freeze, thaw"""
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            stop(f"PostgreSQL does not {what}")

    def sql(self, text, database="postgres"):
        got = subprocess.run([tool("psql"), "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                              str(self.port), "-U", "muster", "-d", database, "-c", text], capture_output=True, text=True)
        if got.returncode:
            stop(got.stderr)
        return [line.split("\t") for line in got.stdout.splitlines()]

    def database(self):
        self.n += 1
        self.sql(f"create database bench_{self.n}")
        return f"bench_{self.n}"

    def url(self, database, pooled=False):
        return f"postgres://muster@127.0.0.1:{self.pool if pooled else self.port}/{database}"

    def pid(self):
        return int(pathlib.Path(self.directory, "data/postmaster.pid").read_text().split()[0])


# --- the daemon ---

class Daemon:
    """muster serve, with a model for each use case."""
    key = None  # what its callers send, where it asks for one

    def __init__(self, folder, name, url=None, loops=1, more="", where=None, port=None):
        self.name, self.data, self.log = name, f"{folder}/{name}", f"{folder}/{name}.log"
        self.port, self.config = port or free_port(), f"{folder}/{name}.yaml"
        self.where = where or os.sched_getaffinity(0)
        pathlib.Path(self.config).write_text(
            f"listen: 127.0.0.1:{self.port}\ndata: {self.data}\nloops: {loops}\nlog:\n  level: warn\n"
            + (f"database:\n  url: {url}\n" if url else "") + more)
        self.start()

    def start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MUSTER_", "POSTGRES_"))}
        self.process = start([binary(), "serve", "--config", self.config], self.where, self.log, env=env)
        wait_for(self.port, self.process, self.name, self.log)

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)

    def api(self, method, path, body=None, want=(200, 201)):
        status, answer = call(self.port, method, path, body, self.key)
        if status not in want:
            stop(f"{self.name}: {method} {path} answered {status}: {answer.decode()}")
        return json.loads(answer) if answer else None

    def model(self, name, use_case, promote=True, **sim):
        """A simulated model, which answers at once unless told otherwise."""
        self.api("POST", "/api/v1/models", {"model_name": name, "version": "1", "use_case": use_case, "provider": "sim",
                                            "configuration": {"sim": {"text": WORDS * 2, "latency_ms": 0, **sim}}})
        if promote:
            self.api("POST", f"/api/v1/models/{name}@1/promote", {"use_case": use_case, "reason": "bench"})

    def metric(self, name):
        status, text = call(self.port, "GET", "/metrics")
        values = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text.decode(), re.M)
        if not values:
            stop(f"{self.name}: /metrics ({status}) has no {name}")
        return sum(map(float, values))

    def cpu(self, thread=None):
        return cpu_ns(self.process.pid, thread)

    def threads(self):
        """CPU time by thread, the digits of whose names do not matter."""
        total = collections.Counter()
        for task in glob.glob(f"/proc/{self.process.pid}/task/*"):
            with contextlib.suppress(FileNotFoundError):
                name = re.sub(r"[ -]?\d+$", "", pathlib.Path(task, "comm").read_text().strip())
                total[name] += int(pathlib.Path(task, "schedstat").read_text().split()[0])
        return total


# --- load ---

Answer = collections.namedtuple("Answer", "sent_us latency_us first_us status log_id model")


def build(source, name):
    """A C program of the benches, newly compiled when it is older than its source."""
    made = ROOT / "build/bench" / name
    if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
        made.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([tool("gcc"), "-O2", "-D_GNU_SOURCE", "-o", f"{made}.{os.getpid()}", source], check=True)
        os.replace(f"{made}.{os.getpid()}", made)
    return made


class Load:
    """load.c, at work: until .wait(), which gives what it saw in sum, or .stop()."""

    def __init__(self, folder, port, path, body=None, connections=1, seconds=1.0, rate=0, keep=False, where=None,
                 key=None):
        Load.n = getattr(Load, "n", 0) + 1
        self.file = f"{folder}/answers.{Load.n}" if keep else None
        command = [build(COMMON / "load.c", "load"), "-c", str(connections), "-d", str(seconds), "-p", path]
        if rate:
            command += ["-r", str(rate)]
        if body is not None:
            file = f"{folder}/body.{Load.n}"
            pathlib.Path(file).write_text(body if isinstance(body, str) else json.dumps(body, separators=(",", ":")))
            command += ["-m", "POST", "-b", file]
        if key:
            command += ["-h", f"Authorization: Bearer {key}"]
        if keep:
            command += ["-o", self.file]
        where = where or os.sched_getaffinity(0)
        self.process = subprocess.Popen([*command, str(port)], stdout=subprocess.PIPE, text=True,
                                        preexec_fn=lambda: os.sched_setaffinity(0, where))

    def wait(self):
        out, _ = self.process.communicate()
        if self.process.returncode:
            stop(f"the load ended with {self.process.returncode}")
        return json.loads(out)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def answers(self):
        with open(self.file) as f:
            for line in f:
                sent, latency, first, status, log_id, model = line.split()
                yield Answer(int(sent), int(latency), int(first), int(status), log_id, model)


def now_us():
    """The clock of load.c."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def percentiles(latencies):
    v = sorted(latencies)
    return {"n": len(v), **{k: v[min(len(v) - 1, int(len(v) * q))] if v else None
                            for k, q in (("p50_us", .5), ("p99_us", .99), ("p999_us", .999), ("max_us", 1))}}


def chat(use_case, size=1024):
    def body(text):
        return {"model": use_case, "messages": [{"role": "user", "content": text}]}

    missing = size - len(json.dumps(body(""), separators=(",", ":")))
    return body((WORDS * (missing // len(WORDS) + 1))[:max(missing, 1)])


def table(rows, head):
    """Columns as wide as they need; numbers to the right."""
    rows = [[str(c) for c in r] for r in rows]
    wide = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    for r in [head, *rows]:
        print("  ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(r, wide))).rstrip())
