# SPDX-License-Identifier: Apache-2.0
"""Keep-alive towards upstreams: connections are used again, and one that was closed meanwhile costs nobody an answer."""
import threading

import pytest

import muster as m


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("muster"), args=["--loops", "1"])  # one pool
    yield d
    d.stop()


def test_one_connection_serves_many_requests(daemon, upstream, case):
    for _ in range(20):
        assert daemon.chat(case).status == 200
    assert len(upstream.requests) == 20 and upstream.n_connections == 1


def test_a_stream_gives_its_connection_back(daemon, upstream, case):
    for _ in range(5):
        with daemon.chat_stream(case) as s:
            assert m.chat_text(s.events()) == "Hi there."
    assert upstream.n_connections == 1


def test_an_idle_connection_that_the_upstream_closed_is_replaced(daemon, upstream, case):
    def answer_and_close(c, r):
        m.ok()(c, r)
        c.close()

    upstream.script = [answer_and_close] * 3
    for _ in range(4):
        assert daemon.chat(case).status == 200
    assert len(upstream.requests) == 4  # each was sent once: nothing had been read of it
    assert upstream.n_connections == 4


@pytest.mark.parametrize("leave", [m.reset, m.close])
def test_a_request_into_a_closing_connection_is_sent_once_more(daemon, upstream, case, leave):
    assert daemon.chat(case).status == 200
    upstream.script = [leave]  # reads the request on the pooled connection and goes
    a = daemon.chat(case)
    assert a.status == 200 and a.headers["x-muster-attempts"] == "1"
    assert "x-muster-fallback" not in a.headers
    assert len(upstream.requests) == 3 and upstream.n_connections == 2
    assert upstream.requests[1].body == upstream.requests[2].body


def test_it_is_not_sent_again_once_a_byte_of_an_answer_came(daemon, upstream, case):
    daemon.use_case(case, policy="none", fallback_content="", retries=0)
    assert daemon.chat(case).status == 200

    def begin_and_go(c, r):
        c.send(b"HTTP/1.1 2")
        c.close()

    upstream.script = [begin_and_go]
    assert daemon.chat(case).status == 502
    assert len(upstream.requests) == 2


def test_it_is_not_sent_again_on_a_fresh_connection(daemon, upstream, case):
    daemon.use_case(case, policy="none", fallback_content="", retries=0)
    upstream.script = [m.close, m.close]
    assert daemon.chat(case).status == 502
    assert len(upstream.requests) == 1


def test_connection_close_is_obeyed(daemon, upstream, case):
    upstream.default = m.answer_with(200, m.completion(), {"Connection": "close"})
    for _ in range(3):
        assert daemon.chat(case).status == 200
    assert upstream.n_connections == 3


def test_bytes_behind_an_answer_spoil_the_connection(daemon, upstream, case):
    def too_much(c, r):
        body = m.json.dumps(m.completion()).encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        c.send(answer + body + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")

    upstream.script = [too_much]
    assert daemon.chat(case).status == 200
    assert daemon.chat(case).json()["choices"][0]["message"]["content"] == "Hi there."


def test_requests_at_once_have_connections_of_their_own(daemon, upstream, case):
    gate = threading.Barrier(8)

    def together(c, r):
        gate.wait(m.LIMIT)
        c.reply(200, m.completion(r.json()["messages"][0]["content"]))

    upstream.default = together
    got = [None] * 8

    def ask(i):
        got[i] = daemon.chat(case, "number %d" % i).json()["choices"][0]["message"]["content"]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(m.LIMIT)
    assert got == ["number %d" % i for i in range(8)]
