# SPDX-License-Identifier: Apache-2.0
"""What the command line prints as it comes: generate, log tail; and what it does on a terminal."""
import json
import os
import pty
import select
import signal
import subprocess
import threading
import time

import pytest

import control
import muster as m


def hear_sigint():
    """Tests that were started in the background of a script have inherited that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Follower:
    """A command whose lines are read as they come."""

    def __init__(self, daemon, *args, **env):
        self.process = subprocess.Popen([m.BIN] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, preexec_fn=hear_sigint,
                                        env=control.clean_environment(MUSTER_URL=daemon.url, **env))
        self.text, self.changed = "", threading.Condition()
        self.thread = threading.Thread(target=self._pump, daemon=True)
        self.thread.start()

    def _pump(self):
        while True:
            piece = os.read(self.process.stdout.fileno(), 65536)
            with self.changed:
                self.text += piece.decode()
                self.changed.notify_all()
            if not piece:
                return

    def wait(self, probe, what):
        with self.changed:
            assert self.changed.wait_for(lambda: probe(self.text), m.LIMIT), "%s; had %r" % (what, self.text)
            return self.text

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        rc = self.process.wait(timeout=m.LIMIT)
        self.thread.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return rc


def test_generate_prints_each_piece_when_it_comes(daemon, make_upstream):
    go = [threading.Event() for _ in range(3)]

    def run(c, r):
        c.begin_stream()
        for i, word in enumerate(("One, ", "two, ", "three.")):
            c.event(m.chunk(word))
            go[i].wait(m.LIMIT)
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    case = daemon.name("cli")
    daemon.use_case(case, policy="none")
    daemon.register(case, make_upstream(run))
    f = Follower(daemon, "generate", case, "count", "--stream")
    for i, text in enumerate(("One, ", "One, two, ", "One, two, three.")):
        f.wait(lambda t: t.startswith(text), "piece %d" % i)
        go[i].set()
    assert f.process.wait(timeout=m.LIMIT) == 0
    assert f.wait(lambda t: t.endswith("\n"), "the end") == "One, two, three.\n"
    f.end()


def test_generate_with_json_streams_an_event_a_line(daemon, upstream):
    case = daemon.name("cli")
    daemon.use_case(case, policy="none")
    daemon.register(case, upstream)
    lines = [json.loads(l) for l in control.works(daemon, "generate", case, "hi", "--stream", "--json").splitlines()]
    assert "".join(l.get("text", "") for l in lines) == "Hi there."
    assert lines[-1]["done"] is True and lines[-1]["log_id"]


def test_generate_whole_and_streamed_print_the_same(daemon, upstream):
    case = daemon.name("cli")
    daemon.use_case(case, policy="none")
    daemon.register(case, upstream)
    for args in ([], ["--stream"], ["--no-stream"]):
        got = control.cli(daemon, "generate", case, "several", "words", "need", "no", "quotes", *args)
        assert got.rc == 0 and got.out == "Hi there.\n" and got.err == "", got
        assert upstream.last().json()["messages"][-1]["content"] == "several words need no quotes"
    control.works(daemon, "generate", case, "-", stdin="from\nstandard input\n")
    assert upstream.last().json()["messages"][-1]["content"].startswith("from\nstandard input")
    control.works(daemon, "generate", case, "hi", "--max-tokens", "7", "--temperature", "0.5")
    assert (upstream.last().json()["max_tokens"], upstream.last().json()["temperature"]) == (7, 0.5)


def test_stream_that_breaks_off_is_no_success(daemon, make_upstream):
    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("Half an "))
        c.reset()

    case = daemon.name("cli")
    daemon.use_case(case, policy="none", fallback_content="")
    daemon.register(case, make_upstream(run))
    got = control.cli(daemon, "generate", case, "hi", "--stream")
    assert got.rc == 1 and got.out.startswith("Half an") and got.err.startswith("muster: "), got


def test_stream_of_a_daemon_that_dies_is_no_success(start_daemon, make_upstream):
    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("Half an "))
        c.wait_closed()
        c.close()

    daemon = start_daemon()
    daemon.use_case("u", policy="none")
    daemon.register("u", make_upstream(run))
    f = Follower(daemon, "generate", "u", "hi", "--stream")
    f.wait(lambda t: "Half an" in t, "the first piece")
    daemon.process.kill()
    daemon.process.wait()
    assert f.process.wait(timeout=m.LIMIT) == 1
    assert b"muster: " in f.process.stderr.read()
    f.end()
    daemon.stop = lambda: None


def test_tail_shows_the_last_ones_and_follows(daemon, upstream):
    case = daemon.name("tail")
    daemon.use_case(case, policy="none")
    daemon.register(case, upstream)
    body = {"use_case": case, "prompt": "one connection is on one loop: its ids are in order"}
    c = daemon.connect()
    before = [c.request("POST", "/api/v1/generate", body).headers["x-muster-log-id"] for _ in range(3)]
    daemon.logs(case, 3)
    f = Follower(daemon, "log", "tail", "--use-case", case, "--json", "--limit", "2")
    f.wait(lambda t: t.count("\n") == 2, "the last two")
    later = [c.request("POST", "/api/v1/generate", body).headers["x-muster-log-id"] for _ in range(3)]
    c.close()
    text = f.wait(lambda t: t.count("\n") >= 5, "what came later")
    assert [json.loads(l)["log_id"] for l in text.splitlines()] == before[1:] + later
    f.end()


def test_tail_for_people_has_texts_when_asked(daemon, upstream):
    case = daemon.name("tail")
    daemon.use_case(case, policy="none")
    daemon.register(case, upstream)
    f = Follower(daemon, "log", "tail", "--use-case", case, "--text")
    daemon.generate(case, "the prompt of it")
    text = f.wait(lambda t: "Hi there." in t, "the record")
    assert case in text and "the prompt of it" in text and " ok " in text
    f.end()


def test_tail_says_so_when_the_daemon_goes(start_daemon):
    daemon = start_daemon()
    f = Follower(daemon, "log", "tail")
    assert daemon.get("/health/live").status == 200
    m.eventually(lambda: f.process.poll() is None, "a follower")
    control.stop(daemon)
    assert f.process.wait(timeout=m.LIMIT) == 1
    assert b"cannot reach" in f.process.stderr.read()
    f.end()


def test_reader_that_goes_away_ends_it_quietly(daemon, upstream):
    case = daemon.name("pipe")
    daemon.use_case(case, policy="none")
    daemon.register(case, upstream)
    for i in range(30):
        daemon.generate(case, "x" * 50)
    daemon.logs(case, 30)
    p = subprocess.run(["sh", "-c", "'%s' log list --limit 1000 | head -n 1" % m.BIN], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, env=control.clean_environment(MUSTER_URL=daemon.url), timeout=m.LIMIT)
    assert p.stdout.startswith(b"WHEN") and b"Sanitizer" not in p.stderr


# --- on a terminal ---


def on_terminal(daemon, *args, **env):
    """What the command writes to a terminal."""
    master, slave = pty.openpty()
    environ = dict(control.clean_environment(MUSTER_URL=daemon.url, TERM="xterm"))
    environ.pop("NO_COLOR", None)
    environ.update(env)
    p = subprocess.Popen([m.BIN] + list(args), stdin=slave, stdout=slave, stderr=slave, env=environ)
    os.close(slave)
    text, until = b"", time.monotonic() + m.LIMIT
    while time.monotonic() < until:
        if not select.select([master], [], [], 0.05)[0]:
            if p.poll() is not None:
                break
            continue
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(master)
    assert p.wait(timeout=m.LIMIT) in (0, 1)
    return text.decode().replace("\r\n", "\n")


def test_colour_is_for_terminals_that_want_it(daemon, upstream):
    case = daemon.name("tty")
    daemon.use_case(case, policy="none")
    daemon.register(case, upstream)
    assert "\x1b[" in on_terminal(daemon, "model", "list")
    assert "\x1b[" not in on_terminal(daemon, "model", "list", NO_COLOR="1")
    assert "\x1b[" not in on_terminal(daemon, "model", "list", TERM="dumb")
    assert "\x1b[" not in on_terminal(daemon, "model", "list", "--json")
    assert "\x1b[" in on_terminal(daemon, "model", "list", NO_COLOR="")


def test_facts_stand_below_the_answer_on_a_terminal(daemon, upstream):
    case = daemon.name("tty")
    daemon.use_case(case, policy="none")
    name = daemon.register(case, upstream)
    text = on_terminal(daemon, "generate", case, "hi", NO_COLOR="1")
    assert text.startswith("Hi there.\n") and name in text and "tokens" in text and "log " in text


def test_text_of_a_model_cannot_steer_the_terminal(daemon, make_upstream):
    case = daemon.name("tty")
    daemon.use_case(case, policy="none")
    daemon.register(case, make_upstream(m.ok("red \x1b[31m and \x1b]0;title\x07 bell \x9b end")))
    for args in (["generate", case, "hi"], ["generate", case, "hi", "--no-stream"]):
        text = on_terminal(daemon, *args, NO_COLOR="1")
        assert "\x1b" not in text and "\x07" not in text and "end" in text, text


def test_tail_shows_each_exchange_once_however_long_it_took(daemon, make_upstream):
    go = threading.Event()
    case = daemon.name("slow")
    daemon.use_case(case, policy="none")
    upstream = make_upstream()
    daemon.register(case, upstream)
    upstream.script = [lambda c, r: (go.wait(m.LIMIT), m.ok()(c, r))]
    with daemon.connect() as c:
        c.send_request("POST", "/api/v1/generate", {"use_case": case, "prompt": "begins first"})
        upstream.wait_requests(1)
        quick = [daemon.generate(case, "quick").headers["x-muster-log-id"] for _ in range(3)]
        daemon.logs(case, 3)
        f = Follower(daemon, "log", "tail", "--use-case", case, "--json")
        f.wait(lambda t: t.count("\n") == 3, "the quick ones")
        go.set()
        slow = c.read_answer().headers["x-muster-log-id"]
        text = f.wait(lambda t: slow in t, "the one that began first and ended last")
    later = daemon.generate(case, "later").headers["x-muster-log-id"]
    text = f.wait(lambda t: later in t, "a later one")
    assert sorted(json.loads(l)["log_id"] for l in text.splitlines()) == sorted(quick + [slow, later])
    f.end()
