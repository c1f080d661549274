# SPDX-License-Identifier: Apache-2.0
"""How streams end: whole, broken off, silent, abandoned by the caller, read slowly.  A truncated answer is never a success."""
import threading
import time

import pytest

import muster as m


class Three:
    """Three pieces of text, and something else once the caller has them."""

    def __init__(self, act, protocol="openai"):
        self.act, self.protocol, self.seen = act, protocol, threading.Event()

    def __call__(self, c, r):
        openai = self.protocol == "openai"
        c.begin_stream("text/event-stream" if openai else "application/x-ndjson")
        for text in ("One ", "two ", "three"):
            if openai:
                c.event(m.chunk(text))
            else:
                c.line({"model": "up", "message": {"role": "assistant", "content": text}, "done": False})
        assert self.seen.wait(m.LIMIT)
        self.act(c)

    def read(self, s):
        """All events; what comes after the text comes once the text was seen."""
        got = []
        while "three" not in text_of(got):
            got.append(s.event())
        self.seen.set()
        return got + s.events()


def text_of(got):
    return m.chat_text(got) + "".join(e.get("text", "") for e in got if isinstance(e, dict))


def say_nothing(c):
    c.wait_closed()
    c.close()


def broken_json(c):
    c.event("{\"choices\":[{")
    c.end_stream()


def error_event(c):
    c.event({"error": {"message": "out of memory", "type": "server_error"}})
    c.end_stream()


BREAKS = {"reset": lambda c: c.reset(), "close": lambda c: c.close(), "clean end": lambda c: c.end_stream(),
          "broken json": broken_json, "error event": error_event, "bad chunk": lambda c: c.send(b"zz\r\n")}


@pytest.mark.parametrize("front", ["chat", "generate"])
@pytest.mark.parametrize("why", BREAKS)
def test_a_stream_that_broke_off_says_so(daemon, upstream, case, why, front):
    upstream.default = three = Three(BREAKS[why])
    with (daemon.chat_stream if front == "chat" else daemon.generate_stream)(case) as s:
        got = three.read(s)
    assert s.status == 200 and text_of(got) == "One two three"
    assert "[DONE]" not in got and not any(e.get("done") for e in got)
    error = got[-1]["error"]
    assert error["code"] == "stream_truncated" and error["type"] == "upstream_error"
    assert front == "chat" or got[-1]["success"] is False
    if why == "error event":
        assert "out of memory" in error["message"]
    log = daemon.log_of(s)
    assert (log["status"], log["output"], log["fallback"]) == ("truncated", "One two three", "none")
    assert log["error"] and log["usage"]["completion_tokens"] == 4 and log["usage"]["estimated"] is True
    assert len(log["attempts"]) == 1 and log["attempts"][0]["result"] != "ok"


@pytest.mark.parametrize("why", ["reset", "close", "clean end", "error"])
def test_an_ollama_stream_that_broke_off_says_so(daemon, upstream, why):
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    daemon.register(name, upstream, protocol="ollama")

    def error(c):
        c.line({"error": "model runner has stopped"})
        c.end_stream()

    upstream.default = three = Three(error if why == "error" else BREAKS[why], "ollama")
    with daemon.chat_stream(name) as s:
        got = three.read(s)
    assert m.chat_text(got) == "One two three" and got[-1]["error"]["code"] == "stream_truncated"
    assert m.finish_of(got) is None
    assert daemon.log_of(s)["status"] == "truncated"


def test_a_silent_stream_ends_with_an_error(daemon, upstream, case):
    daemon.use_case(case, policy="none", fallback_content="", timeouts={"between_ms": 150})
    upstream.default = three = Three(say_nothing)
    with daemon.chat_stream(case) as s:
        got = three.read(s)
    assert m.chat_text(got) == "One two three" and got[-1]["error"]["code"] == "stream_truncated"
    log = daemon.log_of(s)
    assert log["status"] == "timeout" and log["output"] == "One two three"


def test_a_stream_over_its_total_time_ends_with_an_error(daemon, upstream, case):
    daemon.use_case(case, policy="none", fallback_content="", timeouts={"total_ms": 200})

    def on_and_on(c):
        while not c.wait_closed(0.02):
            c.event(m.chunk("."))
        c.close()

    upstream.default = three = Three(on_and_on)
    with daemon.chat_stream(case) as s:
        got = three.read(s)
    assert "error" in got[-1] and daemon.log_of(s)["status"] == "timeout"


def test_a_stream_that_breaks_before_its_first_event_goes_to_the_next_model(daemon, make_upstream, upstream, case):
    def run(c, r):
        c.begin_stream()
        c.chunk(": wait\n\n")
        c.reset()

    upstream.default = run
    good = daemon.register(case, make_upstream(), promote=False)
    daemon.use_case(case, policy="none", fallback=[good])
    with daemon.chat_stream(case) as s:
        got = s.events()
    # what was sent before was a comment at most
    assert m.chat_text(got) in ("Hi there.", "")
    assert m.chat_text(got) == "Hi there." or "error" in got[-1]


@pytest.mark.parametrize("after", ["end", "close", "hang"])
def test_a_stream_that_lacks_only_its_end_is_whole(daemon, upstream, case, after):
    """Some servers never send [DONE]: finish_reason was there, so the answer is whole, and it ends soon."""

    def act(c):
        c.event(m.chunk(finish="stop"))
        {"end": c.end_stream, "close": c.close, "hang": lambda: say_nothing(c)}[after]()

    upstream.default = three = Three(act)
    begin = time.monotonic()
    with daemon.chat_stream(case) as s:
        got = three.read(s)
    assert time.monotonic() - begin < 10
    assert m.chat_text(got) == "One two three" and m.finish_of(got) == "stop" and got[-1] == "[DONE]"
    assert daemon.log_of(s)["status"] == "ok"


def test_a_close_without_an_end_is_no_whole_answer_when_it_was_framed_by_chunks(daemon, upstream, case):
    """Text without finish_reason, then nothing: truncated, however politely it closed."""
    upstream.default = three = Three(lambda c: c.end_stream())
    with daemon.chat_stream(case) as s:
        got = three.read(s)
    assert "error" in got[-1] and daemon.log_of(s)["status"] == "truncated"


def test_of_several_choices_one_that_finished_does_not_end_the_others(daemon, upstream, case):
    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("a", index=0))
        c.event(m.chunk("b", index=1))
        c.event(m.chunk(finish="stop", index=0))
        c.event(m.chunk("c", index=1))
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(case, n=2) as s:
        got = s.events()
    assert m.chat_text(got, 0) == "a" and m.chat_text(got, 1) == "bc"
    assert "[DONE]" not in got and "error" in got[-1]
    assert daemon.log_of(s)["status"] == "truncated"


def test_an_upstream_that_streams_unasked_goes_to_the_next_model(daemon, upstream, case):
    upstream.default = m.streaming("x")
    assert daemon.chat(case).status == 502


def test_the_end_does_not_wait_for_the_upstream_to_close(daemon, upstream, case):
    def run(c, r):
        m.stream_pieces(c, ["x"])  # and the connection stays open

    upstream.default = run
    with daemon.chat_stream(case) as s:
        assert s.events()[-1] == "[DONE]"


def test_done_ends_a_stream_whose_body_never_ends(daemon, upstream, case):
    def act(c):
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        say_nothing(c)

    upstream.default = three = Three(act)
    begin = time.monotonic()
    with daemon.chat_stream(case) as s:
        assert three.read(s)[-1] == "[DONE]"
    assert time.monotonic() - begin < 5
    assert daemon.log_of(s)["status"] == "ok"


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_a_caller_who_leaves_frees_the_upstream_at_once(daemon, upstream, leave, protocol):
    name = daemon.name()
    daemon.use_case(name, policy="none")
    daemon.register(name, upstream, protocol=protocol)
    gone, when = threading.Event(), []

    def act(c):
        if c.wait_closed():
            when.append(time.monotonic())
            gone.set()
        c.close()

    upstream.default = three = Three(act, protocol)
    s = daemon.chat_stream(name)
    while "three" not in m.chat_text([s.event()]):
        pass
    three.seen.set()
    left = time.monotonic()
    if leave == "close":
        s.close()
    else:
        s.connection.reset()
    assert gone.wait(m.LIMIT)
    assert when[0] - left < 1.0  # 100 ms on a quiet machine
    log = daemon.log_of(s)
    assert (log["status"], log["http_status"], log["output"]) == ("client_disconnect", 499, "One two three")
    assert log["usage"] == {"prompt_tokens": 2, "completion_tokens": 4, "estimated": True}
    upstream.default = m.ok()
    assert daemon.chat(name).status == 200


def test_a_caller_who_leaves_before_the_answer_frees_the_upstream(daemon, upstream, case):
    gone = threading.Event()

    def run(c, r):
        if c.wait_closed():
            gone.set()
        c.close()

    upstream.default = run
    c = daemon.connect()
    c.send_request("POST", "/v1/chat/completions", {"model": case, "messages": [{"role": "user", "content": "x"}]})
    upstream.wait_requests(1)
    c.close()
    assert gone.wait(m.LIMIT)
    log = daemon.logs(case, 1)[0]
    assert log["status"] == "client_disconnect" and log["model_name"].startswith("model")
    assert len(log["attempts"]) == 1


def test_a_slow_reader_holds_the_upstream_back(start_daemon, make_upstream):
    """100 MB are offered to a caller who does not read: the daemon keeps a little, the upstream waits."""
    d = start_daemon("", "--loops", "1")
    piece = ("data: " + __import__("json").dumps(m.chunk("x" * 65536)) + "\n\n").encode()
    n = 100 * 1024 * 1024 // len(piece)
    sent = [0]

    def run(c, r):
        c.begin_stream()
        for _ in range(n):
            c.chunk(piece)
            sent[0] += len(piece)
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    u = make_upstream(run)
    d.use_case("slow", policy="none", log="metadata")
    d.register("slow", u)
    before = d.rss()
    s = d.chat_stream("slow", rcvbuf=16384)
    seen = {"n": -1, "at": 0}

    def stalled():
        now = time.monotonic()
        if sent[0] != seen["n"]:
            seen.update(n=sent[0], at=now)
        return sent[0] and now - seen["at"] > 0.5

    m.eventually(stalled, "the upstream to be held back", 60)
    assert sent[0] < 24 * 1024 * 1024, sent[0]
    assert m.SANITIZED or d.rss() - before < 24 * 1024 * 1024
    got = 0
    tail = b""
    for body in s._pieces:
        got += len(body)
        tail = (tail + body)[-200:]
        if got % (8 * 1024 * 1024) < 65536:
            assert m.SANITIZED or d.rss() - before < 24 * 1024 * 1024
    assert got > n * len(piece) and tail.endswith(b"data: [DONE]\n\n")
    assert d.log_of(s)["status"] == "ok"
    s.close()


def test_a_reader_who_takes_nothing_is_dropped(start_daemon, make_upstream):
    d = start_daemon("limits:\n  send_timeout: 1s\n")
    gone = threading.Event()

    def run(c, r):
        c.begin_stream()
        try:
            while True:
                c.event(m.chunk("y" * 65536))
        except OSError:
            gone.set()

    d.use_case("stuck", policy="none")
    d.register("stuck", make_upstream(run))
    s = d.chat_stream("stuck", rcvbuf=16384)
    assert gone.wait(m.LIMIT)
    assert d.log_of(s)["status"] == "client_disconnect"
    s.close()


def test_events_leave_as_they_come(daemon, upstream, case):
    gates = [threading.Event() for _ in range(5)]

    def run(c, r):
        c.begin_stream()
        for i, gate in enumerate(gates):
            c.event(m.chunk("piece %d " % i))
            assert gate.wait(m.LIMIT)
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(case) as s:
        for i, gate in enumerate(gates):
            assert m.chat_text([s.event()]) == "piece %d " % i
            gate.set()
        assert s.events()[-1] == "[DONE]"


def test_many_streams_at_once_keep_their_texts_apart(daemon, upstream, case):
    def run(c, r):
        word = r.json()["messages"][0]["content"]
        c.begin_stream()
        for i in range(50):
            c.event(m.chunk("%s-%d " % (word, i)))
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    got = {}

    def ask(word):
        with daemon.chat_stream(case, word) as s:
            got[word] = (m.chat_text(s.events()), s.headers["x-muster-log-id"])

    words = ["w%d" % i for i in range(24)]
    threads = [threading.Thread(target=ask, args=(w,)) for w in words]
    for t in threads:
        t.start()
    for t in threads:
        t.join(m.LIMIT)
    for w in words:
        want = "".join("%s-%d " % (w, i) for i in range(50))
        assert got[w][0] == want and daemon.log(got[w][1])["output"] == want
    daemon.logs(case, len(words))


def test_shutdown_lets_a_stream_finish(start_daemon, make_upstream):
    d = start_daemon("shutdown:\n  limit: 20s\n")
    gate = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("begun "))
        assert gate.wait(m.LIMIT)
        c.event(m.chunk("and ended"))
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    d.use_case("last", policy="none")
    d.register("last", make_upstream(run))
    s = d.chat_stream("last")
    first = s.event()
    d.process.terminate()

    def refused():
        try:
            d.connect(limit=1).close()
        except OSError:
            return True

    m.eventually(refused, "the listener to close")
    gate.set()
    got = [first] + s.events()
    assert m.chat_text(got) == "begun and ended" and got[-1] == "[DONE]"
    assert d.process.wait(m.LIMIT) == 0
