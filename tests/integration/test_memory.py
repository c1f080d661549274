# SPDX-License-Identifier: Apache-2.0
"""What the daemon has in memory: libraries that it does not use are not there, and what it does not need it gives back."""
import re
import signal
import time

import pytest

import muster as m

LATE = ("libpq", "libcurl", "libgnutls", "libldap", "libkrb5")
STREAMS = 100 if m.SANITIZED else 1000
STREAM_BYTES = 10 << 10  # and what else comes with the first load: tests/bench/streams measures what is promised


def libraries(daemon):
    with open("/proc/%d/maps" % daemon.process.pid) as f:
        return {match.group(1) for match in re.finditer(r"/(lib[^/]+?)\.so", f.read())}


def test_a_daemon_on_sqlite_has_neither_libpq_nor_libcurl(start_daemon):
    daemon = start_daemon("", "--demo")
    assert daemon.generate("foundation_layer").status == 200
    assert not any(name.startswith(LATE) for name in libraries(daemon))


def test_a_receiver_of_alerts_brings_libcurl(start_daemon):
    daemon = start_daemon("alerts:\n  receivers:\n    there: {url: http://127.0.0.1:9/}\n")
    assert "libcurl" in libraries(daemon)
    assert "libpq" not in libraries(daemon)


def test_a_reload_that_names_a_receiver_brings_libcurl(start_daemon):
    daemon = start_daemon("log:\n  level: info\n")
    assert "libcurl" not in libraries(daemon)
    with open(daemon.directory + "/muster.yaml", "a") as f:
        f.write("alerts:\n  receivers:\n    there: {url: http://127.0.0.1:9/}\n")
    daemon.process.send_signal(signal.SIGHUP)
    m.eventually(lambda: "libcurl" in libraries(daemon), "libcurl in the process")


def begin(connection, request):
    connection.begin_stream()
    connection.event(m.chunk("The ship ", role="assistant"))


def test_many_streams_all_live_and_their_memory_comes_back(start_daemon, make_upstream):
    daemon = start_daemon("", "--loops", "2")
    upstream = make_upstream(begin)
    use_case = daemon.name()
    daemon.register(use_case, upstream)
    before = daemon.rss()
    streams = [daemon.chat_stream(use_case) for _ in range(STREAMS)]
    assert all(m.chat_text([s.event()]) == "The ship " for s in streams)
    if not m.SANITIZED:  # whose memory is its own
        m.eventually(lambda: daemon.rss() - before < STREAM_BYTES * STREAMS, "streams that rest")
    for request in upstream.requests:
        c = request.connection
        c.event(m.chunk("sails on."))
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()
    for s in streams:
        assert m.chat_text(s.events()) == "sails on."
        s.close()
    if not m.SANITIZED:
        m.eventually(lambda: daemon.rss() < 1.5 * before, "memory that is given back")


STORY = ["My ", "card ", "is ", "4111 ", "1111 1111 ", "1111. ", "Sail ", "on", ". ", "4111 1111 1111 1111", ", I ", "said."]
TOLD = "My card is <card>. Sail on. <card>, I said."


def slowly(c, r):
    """For longer than what only the beginning of an answer needs is kept."""
    c.begin_stream()
    for text in STORY:
        c.event(m.chunk(text))
        time.sleep(0.05)
    c.event(m.chunk(finish="stop"))
    c.event(m.usage_chunk())
    c.event("[DONE]")
    c.end_stream()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/responses"])
def test_an_answer_that_takes_long_forgets_nothing(daemon, make_upstream, path):
    """The head of the request, its text for the log, hits of before and after, and the connection for what comes next."""
    policy = daemon.name("policy")
    daemon.policy(policy, {"id": "card", "category": "test", "kind": "pii", "action": "mask", "severity": "high",
                           "side": "output", "values": ["card"], "mask": "<card>"})
    use_case = daemon.name()
    daemon.use_case(use_case, policy=policy)
    daemon.register(use_case, make_upstream(slowly))
    body = {"model": use_case, "stream": True, "max_tokens": 50, "temperature": 0.5, "options": {"temperature": 0.5}}
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me a story. " * 9}]
    body.update({"input": said} if path == "/v1/responses" else {"messages": said})
    with daemon.connect() as c:
        for turn in range(2):
            answer = c.request("POST", path, body, {"x-request-id": "story-%d" % turn})
            assert answer.status == 200 and answer.headers["x-request-id"] == "story-%d" % turn
            assert b"4111" not in answer.body and answer.body.count(b"<card>") >= 2
            log = daemon.log(answer.headers["x-muster-log-id"])
            assert log["output"] == TOLD and log["status"] == "ok" and log["request_id"] == "story-%d" % turn
            assert log["prompt"] == said[1]["content"] and "Be brief." in str(log["context"])
            assert log["parameters"]["temperature"] == 0.5 and log["use_case"] == use_case
            assert log["guardrail"]["action"] == "mask" and len(log["guardrail"]["violations"]) == 2
            assert log["attempts"] and log["finish_reason"] == "stop"
