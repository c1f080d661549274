# SPDX-License-Identifier: Apache-2.0
"""What serves when a model cannot: the next model, the hardcoded endpoint, fallback content, an honest error.

Each is visible in the headers, in the answer and in the record.
"""
import json
import socket
import threading

import pytest

import muster as m

CONTENT = "Please come back tomorrow."
CASES = ["ep_%d" % i for i in range(64)]


def stall_after_head(c, r):
    c.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"id\":\"x\",")
    c.wait_closed()
    c.close()


def drip(c, r):
    c.begin_stream("application/json")
    while not c.wait_closed(0.03):
        c.chunk(b" ")
    c.close()


FAILURES = {  # of each kind one; test_faults.py has them all
    "reset": (m.reset, 502), "500": (m.answer_with(500, {"error": {"message": "boom"}}), 502),
    "429": (m.answer_with(429, {"error": {"message": "slow"}}), 429),
    "no json": (m.answer_with(200, b"<html>hi</html>"), 502),
}
TIMEOUTS = {
    "first_byte_ms": (m.silent, 504), "between_ms": (stall_after_head, 504), "total_ms": (drip, 504),
}


@pytest.fixture(scope="module")
def endpoint():
    with m.Upstream(m.ok("From the endpoint.")) as u:
        yield u


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, endpoint):
    config = "fallback:\n  content: %s\n  endpoints:\n" % CONTENT
    config += "".join("    %s: %s/generate\n" % (name, endpoint.url) for name in CASES)
    d = m.Muster(tmp_path_factory.mktemp("muster"), config)
    d.with_endpoint = iter(CASES)
    yield d
    d.stop()


def make_case(daemon, name, upstreams, **settings):
    """The first upstream is the current model's, the others are its fallbacks."""
    names = [daemon.register(name, u, promote=i == 0) for i, u in enumerate(upstreams)]
    daemon.use_case(name, **dict({"policy": "none", "fallback": names[1:]}, **settings))
    return names


def results_of(log):
    return [a["result"] for a in log["attempts"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stage", TIMEOUTS)
def test_a_timeout_of_each_stage_goes_to_the_next_model(daemon, make_upstream, stage, stream):
    bad, good = make_upstream(TIMEOUTS[stage][0]), make_upstream()
    name = daemon.name()
    make_case(daemon, name, [bad, good], timeouts={stage: 150})
    if stream:
        with daemon.chat_stream(name) as a:
            assert m.chat_text(a.events()) == "Hi there."
    else:
        a = daemon.chat(name)
    assert a.status == 200 and a.headers["x-muster-fallback"] == "model"
    log = daemon.log_of(a)
    assert log["attempts"][0]["ms"] >= 100 and results_of(log)[1] == "ok"


def blocked_port():
    """A port whose queue of connections is full, and those that fill it."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    waiting = [s]
    for _ in range(4):
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(s.getsockname())
        waiting.append(c)
    return s.getsockname()[1], waiting


def test_a_timeout_of_connecting_goes_to_the_next_model(daemon, make_upstream):
    port, sockets = blocked_port()
    name = daemon.name()
    make_case(daemon, name, ["http://127.0.0.1:%d" % port, make_upstream()], timeouts={"connect_ms": 150})
    a = daemon.chat(name)
    for s in sockets:
        s.close()
    assert a.status == 200 and a.headers["x-muster-fallback"] == "model"
    assert daemon.log_of(a)["attempts"][0]["ms"] >= 100


def test_a_model_may_have_shorter_timeouts_than_its_use_case(daemon, make_upstream):
    name = daemon.name()
    slow = daemon.register(name, make_upstream(m.silent), timeouts={"first_byte_ms": 100})
    good = daemon.register(name, make_upstream(), promote=False)
    daemon.use_case(name, policy="none", fallback=[good], timeouts={"first_byte_ms": 60000})
    log = daemon.log_of(daemon.chat(name))
    assert [a["model"] for a in log["attempts"]] == [slow, good]


def test_refused_connections_go_down_the_whole_chain(daemon, endpoint):
    name = next(daemon.with_endpoint)
    nobody = "http://127.0.0.1:%d" % m.free_port()
    names = make_case(daemon, name, [nobody] * 3)
    a = daemon.generate(name)
    got = a.json()
    assert got["text"] == "From the endpoint." and got["fallback_used"] is True and got["success"] is True
    assert a.headers["x-muster-fallback"] == "endpoint" and a.headers["x-muster-attempts"] == "4"
    assert "x-muster-model-id" not in a.headers
    log = daemon.log_of(a)
    assert (log["status"], log["fallback"], log["provider"]) == ("ok", "endpoint", "endpoint")
    assert [x["model"] for x in log["attempts"]] == names + [endpoint.url + "/generate"]


def test_the_endpoint_serves_a_use_case_that_has_no_model(daemon, endpoint):
    name = next(daemon.with_endpoint)
    for a in (daemon.generate(name), daemon.chat(name)):
        assert a.status == 200 and a.headers["x-muster-fallback"] == "endpoint"
        assert b"From the endpoint." in a.body
        assert daemon.log_of(a)["use_case"] == name


def test_the_endpoint_answers_a_stream(daemon, endpoint):
    name = next(daemon.with_endpoint)
    with daemon.chat_stream(name) as a:
        got = a.events()
    assert m.chat_text(got) == "From the endpoint." and got[-1] == "[DONE]"
    assert a.headers["x-muster-fallback"] == "endpoint" and daemon.log_of(a)["fallback"] == "endpoint"


@pytest.mark.parametrize("settings", [{}, {"fallback_content": "Mine."}])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("front", ["chat", "generate"])
def test_fallback_content_is_last(daemon, make_upstream, front, stream, settings):
    bad = make_upstream(FAILURES["500"][0])
    name = daemon.name()
    make_case(daemon, name, [bad], **settings)
    want = settings.get("fallback_content", CONTENT)
    if stream:
        with (daemon.chat_stream if front == "chat" else daemon.generate_stream)(name) as a:
            got = a.events()
        text = m.chat_text(got) if front == "chat" else "".join(e.get("text", "") for e in got)
        last = got[-1]
        assert last == "[DONE]" if front == "chat" else last["fallback_used"] is True
    else:
        a = (daemon.chat if front == "chat" else daemon.generate)(name)
        got = a.json()
        text = got["choices"][0]["message"]["content"] if front == "chat" else got["text"]
        assert front == "chat" or got["fallback_used"] is True
    assert a.status == 200 and text == want
    assert a.headers["x-muster-fallback"] == "content" and "x-muster-model" not in a.headers
    log = daemon.log_of(a)
    assert (log["status"], log["http_status"], log["fallback"]) == ("error", 200, "content")
    assert log["output"] == want and "500" in results_of(log)[0] and log["error"]


ALL = dict(FAILURES, **TIMEOUTS)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("why", ALL)
def test_without_fallback_content_the_error_is_clean(daemon, make_upstream, why, stream):
    bad = make_upstream(ALL[why][0])
    name = daemon.name()
    make_case(daemon, name, [bad], fallback_content="", retries=0, timeouts={why: 150} if why in TIMEOUTS else {})
    for front in ("/v1/chat/completions", "/api/v1/generate"):
        body = {"model": name, "messages": [{"role": "user", "content": "x"}], "stream": stream}
        if "generate" in front:
            body = {"use_case": name, "prompt": "x", "stream": stream}
        a = daemon.post(front, body)
        assert a.status == ALL[why][1], a
        got = a.json()
        assert ("success" in got) == ("generate" in front) and got.get("success", False) is False
        assert got["error"]["type"] == "upstream_error" and got["error"]["code"] == "no_model_available"
        assert name in got["error"]["message"]
        log = daemon.log_of(a)
        assert log["status"] == ("timeout" if a.status == 504 else "error") and log["http_status"] == a.status
        assert len(log["attempts"]) == 1 and log["error"]


def test_a_use_case_without_any_model_says_so(daemon):
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    a = daemon.chat(name)
    assert a.status == 503 and name in a.json()["error"]["message"]
    log = daemon.log_of(a)
    assert (log["status"], log["http_status"]) == ("error", 503) and not log["attempts"]


def test_retry_after_of_the_upstream_is_passed_on(daemon, make_upstream):
    name = daemon.name()
    make_case(daemon, name, [make_upstream(m.answer_with(429, b"{}", {"Retry-After": "17"}))], fallback_content="")
    a = daemon.chat(name)
    assert a.status == 429 and a.headers["retry-after"] == "17"


@pytest.mark.parametrize("status", [400, 413, 415, 422])
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_upstream_refuses_is_passed_on_and_not_tried_again(daemon, make_upstream, status, stream):
    body = b'{ "error":{"message":"messages[0] is bad","type":"invalid_request_error","param":"messages","x":1.0} }\n'
    bad, good = make_upstream(m.answer_with(status, body)), make_upstream()
    name = daemon.name()
    make_case(daemon, name, [bad, good])
    a = daemon.chat(name, stream=stream)
    assert (a.status, a.body) == (status, body)
    b = daemon.generate(name, stream=stream)
    assert b.status in (status, 400) and b.json()["success"] is False
    assert b.json()["error"]["message"] == "messages[0] is bad"
    assert len(bad.requests) == 2 and not good.requests
    log = daemon.log_of(a)
    assert (log["status"], log["http_status"], log["fallback"]) == ("error", status, "none")
    assert "messages[0] is bad" in log["error"]


def test_a_model_asked_for_by_name_does_not_fall_back(daemon, make_upstream):
    bad, good = make_upstream(FAILURES["500"][0]), make_upstream()
    name = next(daemon.with_endpoint)
    names = make_case(daemon, name, [bad, good])
    a = daemon.chat(names[0])
    assert a.status == 502 and a.json()["error"]["code"] == "no_model_available"
    assert not good.requests and "x-muster-fallback" not in a.headers
    assert daemon.log_of(a)["status"] == "error"
    assert daemon.chat(names[1]).headers["x-muster-model"] == names[1]


def test_a_missing_key_is_no_reason_to_fail(daemon, make_upstream):
    name = daemon.name()
    daemon.register(name, make_upstream(), api_key_env="MUSTER_SECRET_NO_SUCH_KEY")
    good = daemon.register(name, make_upstream(), promote=False)
    daemon.use_case(name, policy="none", fallback=[good])
    a = daemon.chat(name)
    assert a.status == 200 and a.headers["x-muster-model"] == good
    assert "MUSTER_SECRET_NO_SUCH_KEY" in results_of(daemon.log_of(a))[0]


def test_an_archived_model_leaves_the_fallback_to_serve(daemon, make_upstream):
    name = next(daemon.with_endpoint)
    names = make_case(daemon, name, [make_upstream()])
    daemon.api("DELETE", "/api/v1/models/%s?reason=gone" % names[0])
    a = daemon.chat(name)
    assert a.status == 200 and a.headers["x-muster-fallback"] == "endpoint"


def test_promoting_moves_traffic_at_once(daemon, make_upstream):
    one, two = make_upstream(m.ok("one")), make_upstream(m.ok("two"))
    name = daemon.name()
    daemon.use_case(name, policy="none")
    daemon.register(name, one)
    second = daemon.register(name, two, promote=False)
    assert daemon.generate(name).json()["text"] == "one"
    daemon.api("POST", "/api/v1/models/%s/promote" % second, {"use_case": name, "reason": "better"})
    assert daemon.generate(name).json()["text"] == "two"


def test_no_attempt_waits_for_another_request(daemon, make_upstream):
    """A model that hangs holds up its own requests only."""
    gate = threading.Event()

    def wait(c, r):
        gate.wait(m.LIMIT)
        m.ok()(c, r)

    slow, quick = make_upstream(wait), make_upstream()
    a, b = daemon.name(), daemon.name()
    make_case(daemon, a, [slow])
    make_case(daemon, b, [quick])
    with daemon.connect() as c:
        for _ in range(1):
            c.send_request("POST", "/api/v1/generate", {"use_case": a, "prompt": "x"})
        slow.wait_requests(1)
        for _ in range(20):
            assert daemon.generate(b).status == 200
        gate.set()
        assert c.read_answer().status == 200


def test_attempts_are_json(daemon, make_upstream):
    name = daemon.name()
    make_case(daemon, name, [make_upstream(m.reset), make_upstream()])
    attempts = daemon.log_of(daemon.chat(name))["attempts"]
    assert json.dumps(attempts) and all(set(a) >= {"model", "result", "ms"} for a in attempts)
