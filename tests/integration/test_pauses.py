# SPDX-License-Identifier: Apache-2.0
"""No pauses of 40 ms: what belongs together leaves in one segment, and no small one waits for an acknowledgement.

Where two small segments leave one after the other and the second waits until the first is acknowledged, while the other
side waits before it acknowledges (delayed ACK), every such answer takes 40 ms.  A busy machine makes some answers slow,
but not all of them: the quickest of many tells.
"""
import socket
import struct
import threading
import time

import pytest

import muster as m

N = 20
QUICK = 0.035
DATA_SEGMENTS_IN = 152  # struct tcp_info, tcpi_data_segs_in


def segments(sock):
    """How many segments with data in them have come."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, DATA_SEGMENTS_IN + 4)
    return struct.unpack_from("I", info, DATA_SEGMENTS_IN)[0]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("muster"), args=["--loops", "1"])
    yield d
    d.stop()


@pytest.mark.parametrize("size", [100, 8000])
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_and_its_answer_are_a_segment_each(daemon, upstream, case, stream, size):
    counted = []

    def run(c, r):
        counted.append(segments(c.sock))
        m.ok("x" * size)(c, r)

    upstream.default = run
    with daemon.connect() as c:
        for i in range(3):
            body = {"model": case, "stream": stream, "messages": [{"role": "user", "content": "y" * size}]}
            c.send_request("POST", "/v1/chat/completions", body)
            before = segments(c.sock)
            answer = c.read_answer()
            assert answer.status == 200
            assert stream or segments(c.sock) - before <= 1
    assert counted == [1, 2, 3] and upstream.n_connections == 1


def test_the_head_of_a_stream_leaves_with_its_first_event(daemon, upstream, case):
    gate = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("", role="assistant"))
        c.event(m.chunk("first"))
        assert gate.wait(m.LIMIT)
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(case) as s:
        while m.chat_text([s.event()]) != "first":
            pass
        assert segments(s.connection.sock) == 1
        gate.set()
        s.events()


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("stream", [False, True])
def test_answers_on_one_connection_do_not_pause(daemon, upstream, case, stream, pieces):
    """pieces: the caller sends head and body apart, as many clients do."""
    body = {"model": case, "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    request = m.request_bytes("POST", "/v1/chat/completions", body)
    cut = request.index(b"\r\n\r\n") + 4 if pieces == 2 else len(request)
    took = []
    with daemon.connect() as c:
        for _ in range(N):
            began = time.monotonic()
            c.send(request[:cut])
            if pieces == 2:
                c.send(request[cut:])
            assert c.read_answer().status == 200
            took.append(time.monotonic() - began)
    assert min(took[N // 2:]) < QUICK, took


def test_no_event_waits_until_the_one_before_is_acknowledged(daemon, upstream, case):
    """A caller that asks again and again acknowledges late: it expects to have something to send."""
    step = threading.Semaphore(0)

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("one"))
        assert step.acquire(timeout=m.LIMIT)
        c.event(m.chunk("two", finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    took = []
    with daemon.connect() as c:
        for _ in range(N):
            body = {"model": case, "stream": True, "messages": [{"role": "user", "content": "hello"}]}
            c.send_request("POST", "/v1/chat/completions", body)
            s = m.Stream(c, c.read_head())
            assert m.chat_text([s.event()]) == "one"
            began = time.monotonic()
            step.release()
            assert m.chat_text([s.event()]) == "two"
            took.append(time.monotonic() - began)
            assert s.events() == ["[DONE]"]
    assert min(took[N // 2:]) < QUICK, took
