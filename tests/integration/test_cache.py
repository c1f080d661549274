# SPDX-License-Identifier: Apache-2.0
"""Answers that serve again: the same request is answered from memory until something it depends on changes."""
import threading

import pytest

import control
import keyring
import muster as m

PRICE = {"input": 0.15, "output": 0.6}
OWN = ("x-request-id", "x-muster-log-id", "x-muster-attempts", "x-muster-cache", "date", "connection", "content-length",
       "transfer-encoding")


@pytest.fixture
def cached(daemon, upstream):
    """A use case that keeps answers, whose current model is `upstream`."""
    case = daemon.name("cached")
    settings(daemon, case)
    daemon.register(case, upstream, price=PRICE)
    return case


def settings(daemon, case, **more):
    daemon.use_case(case, **dict({"policy": "none", "fallback_content": "", "cache": {"ttl_s": 600, "scope": "use_case"}}, **more))


def said(answer):
    assert answer.status == 200, answer
    return answer.headers.get("x-muster-cache")


def same(a, b):
    assert a.body == b.body
    assert {k: v for k, v in a.headers.items() if k not in OWN} == {k: v for k, v in b.headers.items() if k not in OWN}


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_request_is_answered_once_and_recorded_each_time(daemon, upstream, cached, stream):
    first = daemon.chat(cached, stream=stream)
    again = [daemon.chat(cached, stream=stream) for _ in range(6)]  # on both loops
    assert said(first) == "miss" and [said(a) for a in again] == ["hit"] * 6
    assert len(upstream.requests) == 1
    logs = {log["log_id"]: log for log in daemon.logs(cached, 7, "&text=true")}
    whole = logs[first.headers["x-muster-log-id"]]
    assert (whole["cached"], whole["cost"]) == (False, 0.00000285)
    for a in again:
        same(a, first)
        assert a.headers["x-muster-attempts"] == "0"
        log = logs[a.headers["x-muster-log-id"]]
        assert (log["cached"], log["cost"], log["currency"], log["stream"]) == (True, 0, "USD", stream)
        for member in ("output", "prompt", "usage", "model_id", "model_name", "finish_reason", "status", "fallback"):
            assert log[member] == whole[member], member
    assert control.metric(daemon, "muster_cache_lookups_total", use_case=cached, result="hit") == 6
    assert control.metric(daemon, "muster_cache_lookups_total", use_case=cached, result="miss") == 1
    assert control.metric(daemon, "muster_tokens_total", use_case=cached, type="output") == 3


@pytest.mark.parametrize("path,body", [
    ("/api/v1/generate", {"prompt": "hello"}),
    ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}),
])
def test_every_front_serves_again(daemon, upstream, cached, path, body):
    body = dict(body, **{"use_case" if "generate" in path else "model": cached})
    a, b = daemon.post(path, body), daemon.post(path, body)
    assert (said(a), said(b)) == ("miss", "hit") and len(upstream.requests) == 1
    same(a, b)


def test_the_path_and_its_query_tell_requests_apart(daemon, upstream, cached):
    body = {"contents": [{"parts": [{"text": "hello"}]}]}
    for n, verb in enumerate(("generateContent", "streamGenerateContent?alt=sse", "generateContent?x=y"), 1):
        a, b = (daemon.post("/v1beta/models/%s:%s" % (cached, verb), body) for _ in range(2))
        assert (said(a), said(b)) == ("miss", "hit") and len(upstream.requests) == n
        same(a, b)


def test_another_request_is_another(daemon, upstream, cached):
    for n, ask in enumerate((lambda: daemon.chat(cached), lambda: daemon.chat(cached, "other"),
                             lambda: daemon.chat(cached, temperature=0.5), lambda: daemon.chat(cached, stream=True),
                             lambda: daemon.generate(cached, "hello")), 1):
        assert said(ask()) == "miss" and said(ask()) == "hit" and len(upstream.requests) == n


def test_a_caller_may_ask_anew(daemon, upstream, cached):
    daemon.chat(cached)
    for headers in ({"Cache-Control": "No-Cache"}, {"Cache-Control": "max-age=0, no-store"}, {"Idempotency-Key": cached}):
        assert said(daemon.chat(cached, headers=headers)) is None
    assert len(upstream.requests) == 4 and said(daemon.chat(cached)) == "hit"


def test_without_the_setting_nothing_is_kept(daemon, upstream, case):
    assert said(daemon.chat(case)) is None and said(daemon.chat(case)) is None
    assert len(upstream.requests) == 2


def promote(daemon, case, other):
    daemon.register(case, other, version="2.0")


def reconfigure(daemon, case, other):
    model = daemon.api("GET", "/api/v1/use-cases/%s" % case)["current"]
    daemon.api("PATCH", "/api/v1/models/" + model["model_id"], {"configuration": dict(model["configuration"], endpoint=other.url)})


def resettle(daemon, case, other):
    settings(daemon, case, retries=3)


def repolicy(daemon, case, other):
    daemon.policy("rules_" + case, {"id": "w", "kind": "literal", "action": "flag", "severity": "low", "values": ["zebra"]})


@pytest.mark.parametrize("change", [promote, reconfigure, resettle, repolicy])
def test_a_change_of_what_would_serve_leaves_old_answers_behind(daemon, upstream, make_upstream, cached, change):
    other = make_upstream(m.ok("Another."))
    daemon.policy("rules_" + cached, {"id": "w", "kind": "literal", "action": "flag", "severity": "low", "values": ["giraffe"]})
    settings(daemon, cached, policy="rules_" + cached if change is repolicy else "none")
    assert said(daemon.chat(cached)) == "miss" and said(daemon.chat(cached)) == "hit"
    change(daemon, cached, other)
    answer = daemon.chat(cached)
    assert said(answer) == "miss" and said(daemon.chat(cached)) == "hit"
    assert (b"Another." in answer.body) == (change in (promote, reconfigure))


def cut(c, r):
    c.begin_stream()
    c.event(m.chunk("Once "))
    c.reset()


@pytest.mark.parametrize("bad,stream", [
    (m.answer_with(500, {"error": {"message": "no"}}), False), (m.answer_with(400, {"error": {"message": "no"}}), False),
    (cut, True),
])
def test_only_good_answers_are_kept(daemon, upstream, cached, bad, stream):
    upstream.default = bad
    for _ in range(2):
        daemon.chat(cached, stream=stream)
    upstream.default = m.ok()
    assert said(daemon.chat(cached, stream=stream)) == "miss" and said(daemon.chat(cached, stream=stream)) == "hit"


def test_what_a_fallback_answered_is_not_kept(daemon, upstream, make_upstream, cached):
    other = daemon.register(cached, make_upstream(m.ok("Second.")), promote=False, version="2.0")
    settings(daemon, cached, fallback=[other], retries=0)
    upstream.script = [m.answer_with(500, {"error": {"message": "no"}})]
    assert b"Second." in daemon.chat(cached).body
    assert said(daemon.chat(cached)) == "miss" and said(daemon.chat(cached)) == "hit"


def test_what_guardrails_changed_is_judged_each_time(daemon, upstream, cached):
    daemon.policy("masks_" + cached, {"id": "w", "kind": "literal", "action": "mask", "severity": "high", "values": ["there"]})
    settings(daemon, cached, policy="masks_" + cached)
    for _ in range(2):
        answer = daemon.chat(cached)
        assert said(answer) == "miss" and b"there" not in answer.body
    assert len(upstream.requests) == 2


def test_those_that_come_meanwhile_ask_too_and_a_caller_that_leaves_keeps_nothing(daemon, upstream, cached):
    gate = threading.Event()

    def late(c, r):
        assert gate.wait(m.LIMIT)
        m.ok()(c, r)

    upstream.script = [late]
    c = daemon.connect()
    c.send_request("POST", "/v1/chat/completions", {"model": cached, "messages": [{"role": "user", "content": "hello"}]})
    upstream.wait_requests(1)
    assert daemon.chat(cached).status == 200 and len(upstream.requests) == 2
    c.close()
    daemon.logs(cached, 2)
    gate.set()
    m.eventually(lambda: said(daemon.chat(cached)) == "hit", "an answer from the cache")


def test_an_answer_grows_old(daemon, upstream, cached):
    settings(daemon, cached, cache={"ttl_s": 1, "scope": "use_case"})
    assert said(daemon.chat(cached)) == "miss"
    m.eventually(lambda: said(daemon.chat(cached)) == "miss", "the end of its time")


def test_a_long_answer_is_not_kept(daemon, upstream, cached):
    upstream.default = m.ok("x" * (5 << 20))
    for _ in range(2):
        assert said(daemon.chat(cached)) == "miss"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    d = keyring.Keyed(tmp_path_factory.mktemp("keyed"))
    yield d
    d.stop()


@pytest.mark.parametrize("scope", ["key", "use_case"])
def test_a_key_gets_its_own_answers_unless_they_are_everybodys(keyed, upstream, scope):
    case = keyed.name("scoped")
    settings(keyed, case, cache={"ttl_s": 600, "scope": scope})
    keyed.register(case, upstream)
    a, b = keyed.make("client"), keyed.make("client", requests_per_minute=5)
    assert [said(keyed.generate(case, headers=keyring.bearer(k))) for k in (a, a)] == ["miss", "hit"]
    answer = keyed.generate(case, headers=keyring.bearer(b))
    assert said(answer) == ("miss" if scope == "key" else "hit")
    assert answer.headers["x-ratelimit-limit-requests"] == "5"
    assert len(upstream.requests) == (2 if scope == "key" else 1)
    other = keyed.make("client", use_cases=["elsewhere"])
    assert keyed.generate(case, headers=keyring.bearer(other)).status == 403


def test_a_strict_key_does_not_get_what_a_lenient_one_was_answered(keyed, make_upstream):
    case = keyed.name("strict")
    settings(keyed, case)
    keyed.register(case, make_upstream(), protocol="ollama")
    strict, lenient = (keyring.bearer(keyed.make("client", translation=t)) for t in ("strict", "lenient"))
    assert [said(keyed.chat(case, headers=lenient, logit_bias={"1": 1})) for _ in range(2)] == ["miss", "hit"]
    assert keyed.chat(case, headers=strict, logit_bias={"1": 1}).status == 400
    assert said(keyed.chat(case, headers=strict)) == "miss"


def test_the_same_key_said_again_counts_as_a_request_and_says_what_is_left(keyed, upstream):
    case = keyed.name("again")
    settings(keyed, case)
    keyed.register(case, upstream)
    headers = keyring.bearer(keyed.make("client", requests_per_minute=5), **{"Idempotency-Key": "k"})
    assert [keyed.chat(case, headers=headers).headers["x-ratelimit-remaining-requests"] for _ in range(3)] == ["4", "3", "2"]


def test_people_turn_it_on_and_off(daemon, upstream, case):
    shown = control.works(daemon, "use-case", "set", case, "--cache-ttl", "5m", "--cache-scope", "use_case")
    assert daemon.api("GET", "/api/v1/use-cases/" + case)["settings"]["cache"] == {"ttl_s": 300, "scope": "use_case"}, shown
    control.works(daemon, "use-case", "set", case, "--cache-ttl", "90s")
    assert daemon.api("GET", "/api/v1/use-cases/" + case)["settings"]["cache"] == {"ttl_s": 90, "scope": "use_case"}
    daemon.chat(case)
    log = daemon.log_of(daemon.chat(case))
    assert log["cached"] and log["cost"] is None, "no price is known"
    assert "cached" in control.works(daemon, "log", "list", "--use-case", case)
    control.works(daemon, "use-case", "set", case, "--cache-ttl", "0")
    assert daemon.api("GET", "/api/v1/use-cases/" + case)["settings"].get("cache") is None
    assert said(daemon.chat(case)) is None
