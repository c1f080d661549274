# SPDX-License-Identifier: Apache-2.0
"""Requests and settings at the edges of what is allowed: each gets one clear answer, and nothing else happens."""
import os
import signal
import socket
import threading

import pytest

import muster as m

PATHS = ["/api/v1/models", "/v1/models", "/health", "/api/v1/use-cases/none/current"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sent", ["two words", "h\u00e9", "x" * 129])
def test_request_id_that_is_not_visible_characters_is_replaced(daemon, path, sent):
    answer = daemon.request("GET", path, headers={"x-request-id": sent})
    assert answer.headers["x-request-id"] not in (sent, sent.encode().decode("latin-1")), answer
    assert len(answer.headers["x-request-id"]) == 36


@pytest.mark.parametrize("path,body", [
    ("/v1/chat/completions", b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":[%s1]}' % (b"1," * 2000000)),
    ("/api/v1/guardrails/check", b'{"outputs":["x"],"x":[%s1]}' % (b"1," * 2000000))],
                         ids=["chat", "check"])
def test_body_that_takes_more_memory_than_an_exchange_has_is_refused(daemon, path, body):
    answer = daemon.post(path, body)
    assert answer.status == 400, answer
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("member", ["prompt_tokens", "completion_tokens"])
def test_log_record_with_a_negative_number_of_tokens_is_refused(daemon, member):
    answer = daemon.post("/api/v1/logs", {"model_id": "m", "use_case": "u", member: -5})
    assert answer.status == 400 and answer.json()["error"]["param"] == member, answer


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection"])
def test_headers_that_are_the_gateways_own_cannot_be_configured(daemon, name):
    answer = daemon.post("/api/v1/models", {
        "model_name": daemon.name("m"), "version": "1", "use_case": daemon.name(), "provider": "custom",
        "configuration": {"endpoint": "http://127.0.0.1:9", "headers": {name: "5"}}})
    assert answer.status == 400 and name in answer.json()["error"]["message"], answer


def test_key_file_that_is_missing_is_said(tmp_path, start_daemon):
    keys = tmp_path / "keys"
    keys.write_text("app:0123456789abcdef \r\n")
    d = start_daemon("auth:\n  key_file: %s\n" % keys)
    ok = {"Authorization": "Bearer 0123456789abcdef"}
    assert d.request("GET", "/v1/models", headers=ok).status == 200
    os.unlink(str(keys))
    d.process.send_signal(signal.SIGHUP)
    m.eventually(lambda: "reload refused" in d.errors(), "the refusal")
    assert d.request("GET", "/v1/models", headers=ok).status == 200


def test_reload_while_stopping_changes_nothing(start_daemon, make_upstream):
    go = threading.Event()

    def run(c, r):
        assert go.wait(m.LIMIT)
        c.reply(200, m.completion("late"))

    u = make_upstream(run)
    d = start_daemon("log:\n  level: info\n")
    d.use_case("slow", policy="none")
    d.register("slow", u)
    with d.connect() as c:
        c.send_request("POST", "/v1/chat/completions",
                       {"model": "slow", "messages": [{"role": "user", "content": "hi"}]})
        u.wait_requests(1)
        d.process.send_signal(signal.SIGTERM)
        m.eventually(lambda: "stopping" in d.errors(), "the beginning of the end")
        for _ in range(5):
            d.process.send_signal(signal.SIGHUP)

        def closed():  # signals were seen once the listener is gone
            try:
                socket.create_connection(d.address, 1).close()
            except OSError:
                return True

        m.eventually(closed, "the listener to close")
        go.set()
        answer = c.read_answer()
    assert answer.status == 200 and answer.json()["choices"][0]["message"]["content"] == "late"
    assert d.process.wait(m.LIMIT) == 0
    assert "reloaded" not in d.errors()
