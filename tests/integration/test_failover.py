# SPDX-License-Identifier: Apache-2.0
"""Who is asked next: retries and their budget, circuit breakers, what upstreams say about coming again, the caller's deadline."""
import email.utils
import threading
import time

import pytest

import control
import muster as m

TOO_LONG = {
    "openai": {"error": {"message": "This model's maximum context length is 8192 tokens.", "type": "invalid_request_error",
                         "param": "messages", "code": "context_length_exceeded"}},
    "anthropic": {"type": "error", "error": {"type": "invalid_request_error",
                                             "message": "prompt is too long: 210000 tokens > 200000 maximum"}},
    "llama.cpp": {"error": {"code": 400, "type": "exceed_context_size_error", "message": "the request exceeds it"}},
    "vllm": {"object": "error", "message": "The input is longer than the model's Context Length", "code": 400},
    "anthropic, with what is to be written": {"type": "error", "error": {
        "type": "invalid_request_error",
        "message": "input length and `max_tokens` exceed context limit: 199000 + 20000 > 200000"}},
    "text generation inference": {"error": "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"},
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("muster"), args=["--loops", "2"])
    yield d
    d.stop()


def case(daemon, upstreams, config=(), **settings):
    """A use case whose chain is these upstreams; its name, and the names of the models."""
    name = daemon.name()
    config = list(config) + [{}] * len(upstreams)
    names = [daemon.register(name, u, promote=i == 0, **config[i]) for i, u in enumerate(upstreams)]
    daemon.use_case(name, **dict({"policy": "none", "fallback_content": "", "fallback": names[1:]}, **settings))
    return name, names


def results(daemon, answer):
    return [a["result"] for a in daemon.log_of(answer)["attempts"]]


def breaker(daemon, name, model):
    """0 closed, 1 open, 2 probing, 3 ramping"""
    return control.metric(daemon, "muster_upstream_breaker", use_case=name, model=model, endpoint="0")


def boom(c, r):
    c.reply(500, {"error": {"message": "boom"}})


# --- once more ---


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", [boom, m.reset, m.close, m.answer_with(200, b"<html>")],
                         ids=["500", "reset", "closed", "garbage"])
def test_the_last_of_all_is_asked_once_more(daemon, make_upstream, fault, stream):
    upstream = make_upstream()
    upstream.script = [fault]
    name, names = case(daemon, [upstream])
    a = daemon.chat(name, stream=stream)
    assert a.status == 200 and a.headers["x-muster-attempts"] == "2" and a.headers["x-muster-model"] == names[0]
    assert "x-muster-fallback" not in a.headers
    got = results(daemon, a)
    assert len(got) == 2 and got[0] != "ok" == got[1]
    assert len(upstream.requests) == 2 and upstream.requests[0].body == upstream.requests[1].body


@pytest.mark.parametrize("status", [400, 413, 422, 401, 403, 404])
def test_what_would_fail_again_is_not_repeated(daemon, make_upstream, status):
    upstream = make_upstream(m.answer_with(status, {"error": {"message": "no"}}))
    name, _ = case(daemon, [upstream], retries=5)
    assert daemon.chat(name).status >= 400
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status, said", [(500, "out of memory"), (404, "no such model"), (401, None)])
def test_the_log_has_what_the_model_said_of_its_failure(daemon, make_upstream, status, said):
    """Not where it refuses a key: it may quote it."""
    words = said or "bad key sk-123"
    name, _ = case(daemon, [make_upstream(m.answer_with(status, {"error": {"message": words}})), make_upstream()])
    answer = daemon.chat(name)
    log = daemon.log_of(answer)
    first, second = log["attempts"]
    assert answer.status == 200 and log["error"] is None, log
    assert (first["result"], first.get("said"), second.get("said")) == ("http %d" % status, said, None), log
    daemon.use_case(name, policy="none", log="metadata", fallback=[second["model"]])
    assert "said" not in daemon.log_of(daemon.chat(name))["attempts"][0]


def test_a_silent_upstream_is_asked_once(daemon, make_upstream):
    upstream = make_upstream(m.silent)
    name, _ = case(daemon, [upstream], retries=5, timeouts={"first_byte_ms": 100})
    a = daemon.chat(name)
    assert a.status == 504 and a.headers["x-muster-attempts"] == "1" and len(upstream.requests) == 1


@pytest.mark.parametrize("retries", [0, 1])
def test_a_use_case_says_how_often(daemon, make_upstream, retries):
    upstream = make_upstream(boom)
    name, _ = case(daemon, [upstream], retries=retries)
    a = daemon.chat(name)
    assert a.status == 502 and a.headers["x-muster-attempts"] == str(retries + 1)
    assert len(upstream.requests) == retries + 1


@pytest.mark.parametrize("bad, why", [({"retries": 6}, "retries"), ({"retries": -2}, "retries"),
                                      ({"retries": "1"}, "retries"), ({"answer_mode": "hope"}, "answer_mode")])
def test_a_setting_that_is_wrong_is_refused(daemon, bad, why):
    answer = daemon.request("PUT", "/api/v1/use-cases/" + daemon.name(), bad)
    assert answer.status == 400 and why in answer.json()["error"]["message"]


def test_in_an_outage_at_most_a_tenth_more_is_sent(daemon, make_upstream):
    upstream = make_upstream(boom)
    name, _ = case(daemon, [upstream], [{"circuit_breaker": False}], retries=1)
    n = 60
    for _ in range(n):
        assert daemon.chat(name).status == 502
    # One retry is there at the start, and one comes back each ten seconds: the test takes about six.
    assert n < len(upstream.requests) <= n + n // 10 + 4
    assert control.metric(daemon, "muster_retries_denied_total") > 0


# --- when to come again ---


def after(headers):
    return m.answer_with(429, {"error": {"message": "slow down"}}, headers)


@pytest.mark.parametrize("header", ["seconds", "date", "ms"])
def test_a_retry_waits_as_long_as_the_upstream_asked(daemon, make_upstream, header):
    upstream, began = make_upstream(), time.monotonic()
    value = {"seconds": {"Retry-After": "1"}, "ms": {"retry-after-ms": "700", "Retry-After": "1000"},
             "date": {"Retry-After": email.utils.formatdate(time.time() + 2, usegmt=True)}}[header]
    upstream.script = [after(value)]
    name, _ = case(daemon, [upstream])
    a = daemon.chat(name)
    assert a.status == 200 and results(daemon, a) == ["http 429", "ok"]
    assert time.monotonic() - began >= 0.65


def test_a_long_wait_is_told_to_the_caller_instead(daemon, make_upstream):
    upstream = make_upstream(after({"Retry-After": "30"}))
    name, _ = case(daemon, [upstream])
    a = daemon.chat(name)
    assert a.status == 429 and a.headers["retry-after"] == "30" and len(upstream.requests) == 1


@pytest.mark.parametrize("then, status, wait", [
    (m.reset, 502, None), (boom, 502, None), (after({"Retry-After": "7"}), 429, "7"), (after({"Retry-After": "90"}), 429, "30"),
    (after({}), 429, "30"), (m.answer_with(503, {}, {"Retry-After": "8"}), 502, "8")])
def test_a_wait_is_told_when_the_answer_is_for_that_reason(daemon, make_upstream, then, status, wait):
    """The last that was asked says so; the shortest of all when all do."""
    name, _ = case(daemon, [make_upstream(after({"Retry-After": "30"})), make_upstream(then)], retries=0)
    a = daemon.chat(name)
    assert (a.status, a.headers.get("retry-after")) == (status, wait), a


def test_a_wait_of_the_last_alone_is_told_after_another_failure(daemon, make_upstream):
    name, _ = case(daemon, [make_upstream(boom), make_upstream(after({"Retry-After": "30"}))], retries=0)
    a = daemon.chat(name)
    assert (a.status, a.headers.get("retry-after")) == (429, "30"), a


def test_an_upstream_that_wants_to_rest_is_left_alone_while_another_serves(daemon, make_upstream):
    tired, other = make_upstream(after({"Retry-After": "60"})), make_upstream()
    name, names = case(daemon, [tired, other])
    for i in range(4):
        a = daemon.chat(name)
        assert a.status == 200 and a.headers["x-muster-model"] == names[1]
    assert len(tired.requests) == 1 and len(other.requests) == 4
    assert "asked to be left alone" in results(daemon, a)[0]
    assert daemon.api("GET", "/health")["parts"]["gateway"]["evidence"]["endpoints_resting"] >= 1


# --- breakers ---


def test_a_breaker_opens_lets_one_probe_through_and_traffic_comes_back(daemon, make_upstream):
    upstream = make_upstream(boom)
    name, names = case(daemon, [upstream], retries=0)
    for _ in range(5):
        assert daemon.chat(name).status == 502
    a = daemon.chat(name)
    assert a.status == 503 and 1 <= int(a.headers["retry-after"]) <= 5 and len(upstream.requests) == 5
    assert a.headers["x-muster-attempts"] == "0" and "failed lately" in a.json()["error"]["message"]
    assert breaker(daemon, name, names[0]) == 1
    health = daemon.api("GET", "/health")["parts"]["gateway"]
    assert health["state"] == "degraded" and health["evidence"]["endpoints_shut"] >= 1, health
    assert "failed lately" in health["detail"], health
    gate = threading.Event()

    def slow_ok(c, r):
        gate.wait(m.LIMIT)
        m.ok()(c, r)

    upstream.default = slow_ok
    probe = {}

    def ask():
        until = time.monotonic() + m.LIMIT
        while time.monotonic() < until and len(upstream.requests) == 5:
            probe["answer"] = daemon.chat(name)
            time.sleep(0.05)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for t in threads:
        t.start()
    upstream.wait_requests(6)
    assert [daemon.chat(name).status for _ in range(10)] == [503] * 10  # while the probe is on its way
    assert len(upstream.requests) == 6 and breaker(daemon, name, names[0]) == 2
    gate.set()
    for t in threads:
        t.join()
    m.eventually(lambda: breaker(daemon, name, names[0]) == 3, "the ramp")
    statuses = [daemon.chat(name).status for _ in range(40)]
    assert set(statuses) == {200, 503}  # little by little


def test_a_callers_mistakes_open_no_breaker(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(400, {"error": {"message": "bad request"}}))
    name, names = case(daemon, [upstream])
    for _ in range(20):
        assert daemon.chat(name).status == 400
    assert len(upstream.requests) == 20 and breaker(daemon, name, names[0]) == 0


def test_while_a_breaker_is_open_the_next_model_serves_at_once(daemon, make_upstream):
    bad, good = make_upstream(boom), make_upstream()
    name, names = case(daemon, [bad, good])
    for _ in range(12):
        assert daemon.chat(name).headers["x-muster-model"] == names[1]
    assert len(bad.requests) == 5 and len(good.requests) == 12


def test_a_changed_configuration_begins_anew(daemon, make_upstream):
    bad, good = make_upstream(boom), make_upstream()
    name, names = case(daemon, [bad], retries=0)
    for _ in range(6):
        daemon.chat(name)
    daemon.api("PATCH", "/api/v1/models/" + names[0], {"configuration": {"endpoint": good.url}})
    assert daemon.chat(name).status == 200


# --- refusals ---


@pytest.mark.parametrize("who", TOO_LONG)
def test_a_request_that_is_too_long_goes_to_a_larger_model(daemon, make_upstream, who):
    small = make_upstream(m.answer_with(400, TOO_LONG[who]))
    same, large = make_upstream(), make_upstream(m.ok("From the large one."))
    name, names = case(daemon, [small, same, large], [{"context_tokens": 8192}, {}, {"context_tokens": 131072}])
    a = daemon.chat(name)
    assert a.status == 200 and a.headers["x-muster-model"] == names[2] and not same.requests
    assert results(daemon, a) == ["http 400", "ok"]


def test_a_server_that_says_so_with_a_500_is_not_at_fault(daemon, make_upstream):
    small = make_upstream(m.answer_with(500, TOO_LONG["llama.cpp"]))
    name, names = case(daemon, [small], [{"context_tokens": 8192}], retries=5)
    for n in range(1, 8):
        a = daemon.chat(name)
        assert a.status == 400 and len(small.requests) == n, a
    assert breaker(daemon, name, names[0]) == 0


@pytest.mark.parametrize("message, routed", [
    ("Your credit balance is too low to access the API.", True), ("API key expired. Please renew the API key.", True),
    ("User location is not supported for the API use.", True),
    ("invalid: 'Your credit balance is too low'", False), ('not this: "API_KEY_INVALID"', False)])
def test_an_endpoints_own_fault_is_routed_around_whatever_its_status(daemon, make_upstream, message, routed):
    """And what a caller wrote, and the upstream only quotes, opens no breaker."""
    poor, other = make_upstream(m.answer_with(400, {"error": {"message": message, "type": "invalid_request_error"}})), make_upstream()
    name, names = case(daemon, [poor, other])
    for _ in range(6):
        assert daemon.chat(name).status == (200 if routed else 400)
    assert breaker(daemon, name, names[0]) == routed and len(other.requests) == 6 * routed


INSIDE = {  # errors in a 200: what they come to, whether another is asked, and whether the breaker minds
    "length": ({"message": "This endpoint's maximum context length is 8192 tokens.", "code": 400}, 400, True, 0),
    "length, in words": ({"message": "too long", "code": "context_length_exceeded"}, 400, True, 0),
    "safety": ({"message": "Input flagged", "code": 403, "metadata": {"reasons": ["x"]}}, 403, False, 0),
    "a filter": ({"message": "no", "code": "content_filter"}, 400, False, 0),
    "busy": ({"message": "Rate limited", "code": 429}, 429, True, 0),
    "a fault": ({"message": "Provider returned error", "code": 502}, 502, True, 1),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", INSIDE)
def test_an_error_in_a_200_is_taken_for_what_it_says(daemon, make_upstream, what, stream):
    error, status, routed, opens = INSIDE[what]
    upstream = make_upstream(m.events({"error": error}) if stream else m.answer_with(200, {"error": error}))
    alone, names = case(daemon, [upstream], [{"context_tokens": 8192}], retries=0)
    for _ in range(5):
        a = daemon.chat(alone, stream=stream)
        assert a.status == status, a
    assert breaker(daemon, alone, names[0]) == opens and results(daemon, a)[0].endswith(error["message"])
    other = make_upstream(m.ok("From another."))
    name, _ = case(daemon, [upstream, other], [{"context_tokens": 8192}, {"context_tokens": 100000}])
    a = daemon.chat(name, stream=stream)
    assert (a.status, len(other.requests)) == ((200, 1) if routed else (status, 0)), a


def test_without_a_larger_model_the_caller_hears_why(daemon, make_upstream):
    small, same = make_upstream(m.answer_with(400, TOO_LONG["openai"])), make_upstream()
    name, _ = case(daemon, [small, same], [{"context_tokens": 8192}, {"context_tokens": 8192}])
    a = daemon.chat(name)
    assert a.status == 400 and a.json()["error"]["code"] == "context_length_exceeded" and not same.requests


@pytest.mark.parametrize("status, error", [
    (400, {"message": "flagged by our filter", "type": "invalid_request_error", "code": "content_filter"}),
    (403, {"message": "moderation: this input was flagged", "code": 403}),
])
def test_a_safety_refusal_is_passed_on_and_not_routed_around(daemon, make_upstream, status, error):
    strict, lax = make_upstream(m.answer_with(status, {"error": error})), make_upstream()
    name, _ = case(daemon, [strict, lax])
    a = daemon.chat(name)
    assert a.status == status and a.json()["error"]["message"] == error["message"] and not lax.requests


# --- the caller's time ---


@pytest.mark.parametrize("stream", [False, True])
def test_the_callers_deadline_is_kept(daemon, make_upstream, stream):
    slow, other = make_upstream(m.silent), make_upstream(m.silent)
    name, names = case(daemon, [slow, other])
    began = time.monotonic()
    a = daemon.chat(name, headers={"x-request-timeout-ms": "300"}, stream=stream)
    took = time.monotonic() - began
    assert a.status == 504 and 0.3 <= took < 5 and "x-request-timeout-ms" in a.json()["error"]["message"]
    log = daemon.log_of(a)
    assert log["status"] == "timeout" and len(log["attempts"]) == 1 and not other.requests
    assert breaker(daemon, name, names[0]) == 0


def test_a_deadline_cuts_a_stream_honestly(daemon, make_upstream):
    def drip(c, r):
        c.begin_stream()
        while not c.wait_closed(0.05):
            c.event(m.chunk("word "))

    name, _ = case(daemon, [make_upstream(drip)])
    a = daemon.chat(name, headers={"x-request-timeout-ms": "400"}, stream=True)
    assert a.status == 200 and b"[DONE]" not in a.body and b"stream_truncated" in a.body
    assert daemon.log_of(a)["status"] == "timeout"


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1.5", "86400001", ""])
def test_a_deadline_that_is_none_is_refused(daemon, make_upstream, value):
    name, _ = case(daemon, [make_upstream()])
    a = daemon.chat(name, headers={"x-request-timeout-ms": value})
    assert a.status == 400 and "x-request-timeout-ms" in a.json()["error"]["message"]


# --- several endpoints of one model ---


def test_another_endpoint_of_the_same_model_takes_over_at_once(daemon, make_upstream):
    good, bad = make_upstream(), make_upstream(boom)
    name, names = case(daemon, [good], [{"endpoints": [bad.url]}])
    for _ in range(30):
        a = daemon.chat(name)
        assert a.status == 200 and a.headers["x-muster-model"] == names[0]
        assert "x-muster-fallback" not in a.headers
    assert 1 <= len(bad.requests) <= 5 and len(good.requests) == 30  # then its breaker is open


def test_load_goes_to_the_endpoint_that_has_less_of_it(daemon, make_upstream):
    gate = threading.Event()

    def stuck(c, r):
        gate.wait(m.LIMIT)
        m.ok()(c, r)

    busy, free = make_upstream(stuck), make_upstream()
    name, _ = case(daemon, [busy], [{"endpoints": [free.url]}])
    threads = []
    while not busy.requests:  # one is under way there, and none here
        threads.append(threading.Thread(target=daemon.chat, args=(name,)))
        threads[-1].start()
        m.eventually(lambda: len(busy.requests) + len(free.requests) == len(threads), "a request")
    stuck_there = len(busy.requests)
    m.eventually(lambda: sum(t.is_alive() for t in threads) == stuck_there, "the others' answers")
    for _ in range(20):
        t = threading.Thread(target=daemon.chat, args=(name,))
        t.start()
        threads.append(t)
        m.eventually(lambda: not t.is_alive() or len(busy.requests) > stuck_there, "an answer")
        assert len(busy.requests) == stuck_there, "of two, the one that has less to do"
    gate.set()
    for t in threads:
        t.join()


def test_callers_who_begin_alike_come_to_the_same_endpoint(daemon, make_upstream):
    upstreams = [make_upstream() for _ in range(4)]
    name, _ = case(daemon, upstreams[:1], [{"endpoints": [u.url for u in upstreams[1:]], "balance": "prefix"}])
    used = set()
    for k in range(8):
        messages = [{"role": "system", "content": "You are keeper number %d." % k}, {"role": "user", "content": "x"}]
        before = [len(u.requests) for u in upstreams]
        for i in range(6):
            messages[1]["content"] = "question %d" % i
            assert daemon.chat(name, messages=messages).status == 200
        now = [len(u.requests) - b for u, b in zip(upstreams, before)]
        assert sorted(now) == [0, 0, 0, 6]
        used.add(now.index(6))
    assert len(used) > 1


@pytest.mark.parametrize("config, why", [
    ({"endpoints": "http://x"}, "array"), ({"endpoints": [1]}, "URLs"), ({"endpoints": ["ftp://x"]}, "http"),
    ({"endpoints": ["http://127.0.0.1:1"] * 16}, "15"), ({"balance": "fair"}, "least_outstanding"),
    ({"context_tokens": -1}, "context_tokens"), ({"circuit_breaker": "no"}, "true or false"),
])
def test_a_configuration_that_is_wrong_is_refused(daemon, config, why):
    name = daemon.name()
    answer = daemon.request("POST", "/api/v1/models", {
        "model_name": "m", "version": "1", "use_case": name, "provider": "openai",
        "configuration": dict({"endpoint": "http://127.0.0.1:1"}, **config)})
    assert answer.status == 400 and why in answer.json()["error"]["message"], answer.json()


# --- an answer that is held until it is whole ---


def cut(*pieces):
    def run(c, r):
        c.begin_stream()
        for p in pieces:
            c.event(m.chunk(p))
        c.reset()
    return run


def test_held_whole_a_cut_stream_is_taken_over_by_the_next_model(daemon, make_upstream):
    bad, good = make_upstream(cut("Once ", "upon ")), make_upstream(m.streaming("All ", "of ", "it."))
    name, names = case(daemon, [bad, good], answer_mode="buffer")
    with daemon.chat_stream(name) as a:
        assert m.chat_text(a.events()) == "All of it." and a.headers["x-muster-model"] == names[1]
    log = daemon.log_of(a)
    assert log["status"] == "ok" and log["output"] == "All of it."


def test_held_whole_nothing_leaves_before_the_end(daemon, make_upstream):
    gate = threading.Event()

    def halting(c, r):
        c.begin_stream()
        c.event(m.chunk("Half"))
        gate.wait(m.LIMIT)
        c.event(m.chunk(" and half.", finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream = make_upstream(halting)
    name, _ = case(daemon, [upstream], answer_mode="buffer")
    got = {}
    thread = threading.Thread(target=lambda: got.update(answer=daemon.chat(name, stream=True)))
    thread.start()
    upstream.wait_requests(1)
    assert not got
    gate.set()
    thread.join()
    assert b"Half" in got["answer"].body and b"and half." in got["answer"].body


def test_held_whole_and_nobody_left_is_a_plain_error(daemon, make_upstream):
    name, _ = case(daemon, [make_upstream(cut("Once "))], answer_mode="buffer", retries=0)
    a = daemon.chat(name, stream=True)
    assert a.status == 502 and a.json()["error"]["code"] == "no_model_available" and b"Once" not in a.body


# --- too much at once ---


def test_a_use_case_takes_so_many_at_once_and_refuses_the_next_at_once(daemon, make_upstream):
    gate = threading.Event()

    def stuck(c, r):
        gate.wait(m.LIMIT)
        m.ok()(c, r)

    upstream = make_upstream(stuck)
    name, _ = case(daemon, [upstream], max_concurrency=3)
    got = []
    threads = [threading.Thread(target=lambda: got.append(daemon.chat(name).status)) for _ in range(3)]
    for t in threads:
        t.start()
    upstream.wait_requests(3)
    shed = control.metric(daemon, "muster_shed_total")
    for stream in (False, True):
        a = daemon.chat(name, stream=stream)
        assert a.status == 503 and a.headers["retry-after"] == "1" and a.json()["error"]["code"] == "overloaded"
        assert a.headers["x-muster-attempts"] == "0"
    assert control.metric(daemon, "muster_shed_total") == shed + 2
    gate.set()
    for t in threads:
        t.join()
    assert got == [200] * 3
    m.eventually(lambda: daemon.chat(name).status == 200, "room")
    for _ in range(10):  # whoever came in went out again
        assert daemon.chat(name).status == 200


def test_who_matters_least_is_refused_first(start_daemon, make_upstream):
    daemon = start_daemon("limits:\n  exchanges: 10\n")
    gate = threading.Event()

    def stuck(c, r):
        gate.wait(m.LIMIT)
        m.ok()(c, r)

    upstream = make_upstream(stuck)
    names = {p: case(daemon, [upstream], priority=p)[0] for p in ("low", "normal", "high")}
    threads, n = [], 0
    for priority, room in (("low", 5), ("normal", 3), ("high", 2)):
        for _ in range(room):
            threads.append(threading.Thread(target=daemon.chat, args=(names[priority],)))
            threads[-1].start()
            n += 1
            upstream.wait_requests(n)
        a = daemon.chat(names[priority])
        assert a.status == 503 and ("of %s priority" % priority in a.json()["error"]["message"]) == (priority != "high"), a
    gate.set()
    for t in threads:
        t.join()


@pytest.mark.parametrize("bad", [{"priority": "urgent"}, {"max_concurrency": -1}, {"max_concurrency": 1000001},
                                 {"max_concurrency": "3"}])
def test_a_limit_that_is_wrong_is_refused(daemon, bad):
    answer = daemon.request("PUT", "/api/v1/use-cases/" + daemon.name(), bad)
    assert answer.status == 400 and list(bad)[0] in answer.json()["error"]["message"]
