# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key: one upstream call, one log record, one answer."""
import threading

import pytest

import control
import muster as m

OWN = ("x-request-id", "x-muster-idempotent-replay", "date", "connection", "content-length", "transfer-encoding")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("muster"), args=["--loops", "2"])
    yield d
    d.stop()


def ask(daemon, name, key, text="hello", **more):
    """The key is the caller's, whatever it asks: here, each case has its own."""
    return daemon.chat(name, text, headers={"Idempotency-Key": (name + key)[:len(key)] if len(key) > 200 else
                                            name + key if key else ""}, **more)


def same(a, b):
    assert a.status == b.status and a.body == b.body
    assert {k: v for k, v in a.headers.items() if k not in OWN} == {k: v for k, v in b.headers.items() if k not in OWN}


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_key_gets_the_same_answer(daemon, upstream, case, stream):
    first = ask(daemon, case, "k1", stream=stream)
    assert first.status == 200 and "x-muster-idempotent-replay" not in first.headers
    for _ in range(8):  # on both loops
        again = ask(daemon, case, "k1", stream=stream)
        same(first, again)
        assert again.headers["x-muster-idempotent-replay"] == "true"
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(upstream.requests) == 1
    assert ask(daemon, case, "k2", stream=stream).headers["x-muster-log-id"] != first.headers["x-muster-log-id"]
    assert len(upstream.requests) == 2
    control.shipped(daemon)
    assert len(control.logged_ids(daemon, case)) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_those_that_come_meanwhile_wait_for_it(daemon, make_upstream, stream):
    gate = threading.Event()

    def halting(c, r):
        gate.wait(m.LIMIT)
        m.ok("One answer.")(c, r)

    upstream = make_upstream(halting)
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    daemon.register(name, upstream)
    got = []
    threads = [threading.Thread(target=lambda: got.append(ask(daemon, name, "k", stream=stream))) for _ in range(12)]
    for t in threads:
        t.start()
    m.eventually(lambda: control.metric(daemon, "muster_requests_total", use_case=name) == 12, "all of them")
    assert len(upstream.requests) == 1 and not got
    gate.set()
    for t in threads:
        t.join()
    assert len(upstream.requests) == 1 and len({a.body for a in got}) == 1
    assert len({a.headers["x-muster-log-id"] for a in got}) == 1 and len({a.headers["x-request-id"] for a in got}) == 12
    control.shipped(daemon)
    assert len(control.logged_ids(daemon, name)) == 1


def test_another_body_with_the_same_key_is_refused(daemon, upstream, case):
    assert ask(daemon, case, "k").status == 200
    a = ask(daemon, case, "k", "something else")
    assert a.status == 422 and a.json()["error"]["code"] == "idempotency_key_reused" and len(upstream.requests) == 1
    same(ask(daemon, case, "k"), ask(daemon, case, "k"))


@pytest.mark.parametrize("bad", [500, 429, 503])
def test_what_another_try_might_better_is_not_kept(daemon, upstream, case, bad):
    daemon.use_case(case, policy="none", fallback_content="", retries=0)
    upstream.script = [m.answer_with(bad, {"error": {"message": "no"}})]
    assert ask(daemon, case, "k").status >= 429
    assert ask(daemon, case, "k").status == 200 and len(upstream.requests) == 2


def test_fallback_content_of_an_outage_is_not_kept(daemon, upstream, case):
    daemon.use_case(case, policy="none", fallback_content="Sorry.", retries=0)
    upstream.script = [m.reset]
    assert b"Sorry." in ask(daemon, case, "k").body
    a = ask(daemon, case, "k")
    assert b"Hi there." in a.body and "x-muster-idempotent-replay" not in a.headers


def test_a_refusal_is_kept(daemon, upstream, case):
    upstream.default = m.answer_with(400, {"error": {"message": "no", "type": "invalid_request_error"}})
    same(ask(daemon, case, "k"), ask(daemon, case, "k"))
    assert len(upstream.requests) == 1


def test_an_answer_that_broke_off_is_not_kept(daemon, upstream, case):
    def cut(c, r):
        c.begin_stream()
        c.event(m.chunk("Once "))
        c.reset()

    upstream.script = [cut]
    assert b"stream_truncated" in ask(daemon, case, "k", stream=True).body
    a = ask(daemon, case, "k", stream=True)
    assert b"[DONE]" in a.body and b"truncated" not in a.body and len(upstream.requests) == 2


@pytest.mark.parametrize("who", ["the first", "one that waits"])
def test_a_caller_that_leaves_takes_nobody_along(daemon, make_upstream, who):
    gate = threading.Event()

    def halting(c, r):
        if len(upstream.requests) == 1:
            gate.wait(m.LIMIT)
        m.ok("One answer.")(c, r)

    upstream = make_upstream(halting)
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    daemon.register(name, upstream)
    body = {"model": name, "messages": [{"role": "user", "content": "hello"}]}
    first = daemon.connect()
    first.send_request("POST", "/v1/chat/completions", body, {"Idempotency-Key": name + "k"})
    upstream.wait_requests(1)
    second = daemon.connect()
    second.send_request("POST", "/v1/chat/completions", body, {"Idempotency-Key": name + "k"})
    m.eventually(lambda: control.metric(daemon, "muster_requests_total", use_case=name) == 2, "the second")
    leaves, stays = (first, second) if who == "the first" else (second, first)
    leaves.close()
    if who == "the first":  # who waited is served anew, though the first call hangs
        assert stays.read_answer().status == 200 and len(upstream.requests) == 2
        gate.set()
    else:
        m.eventually(lambda: control.metric(daemon, "muster_client_disconnects_total", use_case=name) == 1, "its end")
        gate.set()
        assert stays.read_answer().status == 200 and len(upstream.requests) == 1
    stays.close()


def test_who_waits_does_so_no_longer_than_it_said(daemon, make_upstream):
    gate = threading.Event()
    upstream = make_upstream(lambda c, r: (gate.wait(m.LIMIT), m.ok()(c, r)))
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    daemon.register(name, upstream)
    first = threading.Thread(target=ask, args=(daemon, name, "k"))
    first.start()
    upstream.wait_requests(1)
    a = daemon.chat(name, headers={"Idempotency-Key": name + "k", "x-request-timeout-ms": "50"})
    assert a.status == 504 and "x-request-timeout-ms" in a.json()["error"]["message"] and len(upstream.requests) == 1
    log = daemon.log_of(a)
    assert (log["status"], log["attempts"]) == ("timeout", None), log
    gate.set()
    first.join()
    again = daemon.chat(name, headers={"Idempotency-Key": name + "k", "x-request-timeout-ms": "5000"})
    assert again.status == 200 and again.headers["x-muster-idempotent-replay"] == "true"


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_is_none_is_refused(daemon, case, key):
    a = ask(daemon, case, key)
    assert a.status == 400 and a.json()["error"]["code"] == "idempotency_key_invalid"
    assert ask(daemon, case, "k" * 255).status == 200


def test_a_long_answer_is_not_kept(daemon, upstream, case):
    upstream.default = m.ok("word " * 1000000)
    assert ask(daemon, case, "k").status == 200
    assert "x-muster-idempotent-replay" not in ask(daemon, case, "k").headers and len(upstream.requests) == 2


def test_after_its_window_a_key_is_new_and_without_one_it_is_not_looked_at(start_daemon, upstream):
    for window, calls in (("50ms", 2), ("0", 2)):
        daemon = start_daemon("limits:\n  idempotency_window: %s\n" % window)
        daemon.use_case("u", policy="none")
        daemon.register("u", upstream)
        before = len(upstream.requests)
        assert ask(daemon, "u", "k").status == 200
        m.eventually(lambda: "x-muster-idempotent-replay" not in ask(daemon, "u", "k").headers, "the window")
        assert len(upstream.requests) == before + calls
