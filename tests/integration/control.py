# SPDX-License-Identifier: Apache-2.0
"""What the tests of the control plane share: starts that must fail, the command line, the database seen from outside,
load that counts what it was answered."""
import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
import uuid

import muster as m

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


def clean_environment(**more):
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("MUSTER_", "POSTGRES_"))}
    environ.update(more)
    return environ


# --- starts ---


class Run:
    def __init__(self, rc, out, err):
        self.rc, self.out, self.err = rc, out, err

    def __repr__(self):
        return "<%d out=%r err=%r>" % (self.rc, self.out, self.err)


def run(*args, stdin="", cwd=None, limit=m.LIMIT, **env):
    """The binary, to its end."""
    p = subprocess.run([m.BIN] + list(args), input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=limit, env=clean_environment(**env), cwd=cwd)
    err = p.stderr.decode()
    assert not m.CRASH.search(err), err
    return Run(p.returncode, p.stdout.decode(), err)


def refused(directory, *args, config=None, listen="127.0.0.1:0", **env):
    """A start that has to end by itself: nothing but a sentence on stderr."""
    command = ["serve"]
    if listen:
        command += ["--listen", listen]
    if not any(a == "--data" for a in args):
        command += ["--data", os.path.join(str(directory), "data")]
    if config is not None:
        path = os.path.join(str(directory), "muster.yaml")
        with open(path, "w") as f:
            f.write(config)
        command += ["--config", path]
    got = run(*(command + list(args)), **env)
    assert got.rc in (1, 2), got
    assert got.out == "", got
    return got


def end_at_once(daemon):
    """kill -9; what the process left is all that there is."""
    daemon.process.kill()
    daemon.process.wait()
    daemon.stderr.close()


def stop(daemon, limit=40):
    """SIGTERM; how long it took to end, and what was said on the way."""
    begin = time.monotonic()
    daemon.process.send_signal(signal.SIGTERM)
    rc = daemon.process.wait(timeout=limit)
    said = daemon.errors()
    assert rc == 0, "ended with %d: %s" % (rc, said[-4000:])
    return time.monotonic() - begin, said


def write_config(daemon, text):
    with open(os.path.join(daemon.directory, "muster.yaml"), "w") as f:
        f.write(text)


def reload(daemon):
    """SIGHUP; what the daemon logged about it. True in front when it took the file."""
    before = len(daemon.errors())
    daemon.process.send_signal(signal.SIGHUP)

    def probe():
        new = daemon.errors()[before:]
        return new if re.search(r'"?msg"?[=:]"(reloaded|reload refused)', new) else None

    said = m.eventually(probe, "the end of a reload")
    return "reload refused" not in said, said


# --- the command line ---


def cli(daemon, *args, stdin="", **env):
    env.setdefault("MUSTER_URL", daemon.url)
    return run(*args, stdin=stdin, **env)


def works(daemon, *args, **more):
    got = cli(daemon, *args, **more)
    assert got.rc == 0, got
    return got.out


# --- the database, from outside ---


def database_path(daemon):
    return os.path.join(daemon.directory, "data", "muster.db")


@contextlib.contextmanager
def database(daemon):
    db = sqlite3.connect(database_path(daemon), timeout=m.LIMIT, isolation_level=None)
    try:
        yield db
    finally:
        db.close()


@contextlib.contextmanager
def held(daemon):
    """The database's write lock, held by somebody else."""
    with database(daemon) as db:
        db.execute("begin immediate")
        try:
            yield
        finally:
            db.execute("rollback")


def logged_ids(daemon, use_case=None):
    with database(daemon) as db:
        rows = db.execute("select id from model_historical_logs" + (" where use_case = ?" if use_case else ""),
                          (use_case,) if use_case else ())
        return [r[0] for r in rows]


def metric(daemon, name, **labels):
    """The value of one sample of /metrics; None when it is not there."""
    want = ",".join('%s="%s"' % l for l in labels.items())
    for line in daemon.get("/metrics").body.decode().splitlines():
        found = re.match(r"^(\w+)(?:\{(.*)\})? (\S+)$", line)
        if found and found.group(1) == name and (found.group(2) or "") == want:
            return float(found.group(3))
    return None


# --- errors ---


def error(answer, status, code=None):
    """The message of a refusal in the shape of the control API."""
    assert answer.status == status, answer
    assert answer.headers["x-request-id"], answer
    e = answer.json()
    assert set(e) == {"error"} and set(e["error"]) == {"message", "type", "param", "code"}, answer
    assert e["error"]["message"], answer
    if code:
        assert e["error"]["code"] == code, answer
    return e["error"]["message"]


def together(n, work):
    """work(i) on n threads that begin at the same moment; their results, errors raised."""
    barrier, results, errors = threading.Barrier(n), [None] * n, []

    def one(i):
        try:
            barrier.wait(m.LIMIT)
            results[i] = work(i)
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors
    return results


# --- load ---


class Load:
    """Callers that ask without pause and remember what became of each request."""

    def __init__(self, daemon, use_case, threads=4, streams=True):
        self.daemon, self.use_case, self.streams = daemon, use_case, streams
        self.answered = []  # log ids of what was answered in full
        self.asked_and_answered, self.broken = [], []  # request ids
        self.refused = []
        self.changed = threading.Condition()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(threads)]
        for t in self.threads:
            t.start()

    def wait(self, n):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.answered) >= n, m.LIMIT), \
                "%d of %d answers, broken %s, refused %s" % (len(self.answered), n, self.broken[:3], self.refused[:3])

    def end(self):
        self.ending.set()
        for t in self.threads:
            t.join()
        return self.answered

    def _run(self, i):
        connection = None
        while not self.ending.is_set():
            request_id = str(uuid.uuid4())
            try:
                if connection is None:
                    connection = m.Connection(self.daemon.address)
                if not self._one(connection, request_id, i):
                    connection.close()
                    connection = None
            except (OSError, m.Cut):
                if connection:
                    self.broken.append(request_id)
                    connection.close()
                connection = None
                if self.daemon.process.poll() is not None:
                    return
        if connection:
            connection.close()

    def _one(self, connection, request_id, i):
        """Whether the connection can be used again."""
        stream = self.streams and i % 2 == 1
        connection.send_request("POST", "/v1/chat/completions", {
            "model": self.use_case, "stream": stream, "messages": [{"role": "user", "content": "caller %d" % i}]},
            {"x-request-id": request_id})
        answer = connection.read_head()
        body = b"".join(connection.pieces(answer))
        with self.changed:
            if answer.status != 200:
                self.refused.append((answer.status, body[:200]))
            elif stream and not body.endswith(b"data: [DONE]\n\n"):
                self.refused.append((answer.status, body[-200:]))
            else:
                self.answered.append(answer.headers["x-muster-log-id"])
                self.asked_and_answered.append(request_id)
            self.changed.notify_all()
        return answer.headers.get("connection") != "close"


def check_once(daemon, load):
    """Every answer that a caller got is in the database; no exchange is there twice."""
    with database(daemon) as db:
        rows = db.execute("select id, request_id from model_historical_logs where use_case = ?",
                          (load.use_case,)).fetchall()
    ids, requests = {r[0] for r in rows}, [r[1] for r in rows]
    assert len(set(load.answered)) == len(load.answered), "log ids repeat"
    missing = set(load.answered) - ids
    assert not missing, "%d of %d answers are not in the log, such as %s" % (len(missing), len(load.answered),
                                                                          sorted(missing)[:3])
    assert len(requests) == len(set(requests)), "an exchange is there twice"
    assert set(load.asked_and_answered) <= set(requests)


def shipped(daemon):
    """Waits until nothing is left in the spool, of earlier runs too: a list is answered after what was there came over."""

    def probe():
        daemon.api("GET", "/api/v1/logs?limit=1")
        return metric(daemon, "muster_spool_pending_bytes") == 0 and metric(daemon, "muster_log_lag_seconds") == 0

    m.eventually(probe, "an empty spool")
