# SPDX-License-Identifier: Apache-2.0
"""Rates of keys: at the limit, one past it, over every loop at once, in requests and in tokens."""
import re

import pytest

import control
import keyring
import muster as m
import openapi
from keyring import bearer


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = keyring.Keyed(tmp_path_factory.mktemp("rates"), args=["--loops", "4"])
    yield d
    d.stop()


@pytest.fixture(scope="module")
def case(daemon):
    upstream = m.Upstream()
    daemon.use_case("rated", policy="none", fallback_content="")
    daemon.register("rated", upstream)
    yield "rated"
    upstream.close()


def refused(answer, by):
    """What a 429 has to say; how many seconds to wait."""
    assert answer.status == 429, answer
    e = answer.json()["error"]
    assert e["code"] == "rate_limit_exceeded" and e["type"] == by and "Try again" in e["message"], answer
    assert answer.headers["x-ratelimit-remaining-" + by] == "0", answer
    return int(answer.headers["retry-after"])


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_the_limit_passes_and_one_more_waits(daemon, case, limit):
    key = daemon.make("client", requests_per_minute=limit)
    for left in range(limit - 1, -1, -1):
        answer = daemon.generate(case, headers=bearer(key))
        assert answer.status == 200, answer
        assert answer.headers["x-ratelimit-limit-requests"] == str(limit)
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
        assert re.match(r"^(\d+m)?\d+m?s$", answer.headers["x-ratelimit-reset-requests"]), answer
        assert "x-ratelimit-limit-tokens" not in answer.headers
    assert 0 < refused(daemon.generate(case, headers=bearer(key)), "requests") <= 60 / limit + 1


def test_all_loops_together_let_exactly_the_limit_pass(daemon, case):
    key = daemon.make("client", requests_per_minute=40)
    got = control.together(16, lambda i: [daemon.as_(key, "GET", "/v1/models").status for _ in range(5)])
    statuses = [s for one in got for s in one]
    # 40 and what came back while they were on their way: one in 1.5 s
    assert set(statuses) <= {200, 429} and 40 <= statuses.count(200) <= 42, statuses


def test_what_was_left_waits_and_comes_back(daemon, case):
    key = daemon.make("client", requests_per_minute=600)  # one in 100 ms
    while daemon.as_(key, "GET", "/v1/models").status == 200:
        pass
    m.eventually(lambda: daemon.as_(key, "GET", "/v1/models").status == 200, "the next one")


def test_keys_do_not_share_a_bucket_and_those_without_have_none(daemon, case):
    one, other = (daemon.make("client", requests_per_minute=1) for _ in range(2))
    assert daemon.as_(one, "GET", "/v1/models").status == 200
    refused(daemon.as_(one, "GET", "/v1/models"), "requests")
    assert daemon.as_(other, "GET", "/v1/models").status == 200
    answer = daemon.generate(case)
    assert answer.status == 200 and not any(h.startswith("x-ratelimit") for h in answer.headers), answer


def test_a_bucket_goes_on_when_the_registry_changes(daemon, case):
    key = daemon.make("client", requests_per_minute=1)
    assert daemon.as_(key, "GET", "/v1/models").status == 200
    daemon.use_case(daemon.name("changing"))
    daemon.make("client")
    refused(daemon.as_(key, "GET", "/v1/models"), "requests")


def test_tokens_are_counted_after_the_answer_and_the_next_request_waits(daemon, case):
    first = daemon.generate(case)
    spent = first.json()["tokens_used"]
    assert spent > 0
    for limit, passes in ((spent, 1), (spent + 1, 2), (2 * spent + 1, 3)):
        key = daemon.make("client", tokens_per_minute=limit)
        for i in range(passes):
            answer = daemon.generate(case, headers=bearer(key))
            assert answer.status == 200, (limit, i, answer)
            assert answer.headers["x-ratelimit-limit-tokens"] == str(limit)
            # what comes back meanwhile is a token at most, for these limits
            assert int(answer.headers["x-ratelimit-remaining-tokens"]) <= max(0, limit - (i + 1) * spent) + 1, answer
        refused(daemon.generate(case, headers=bearer(key)), "tokens")


def test_tokens_of_a_stream_count_too(daemon, case):
    key = daemon.make("client", tokens_per_minute=1)
    with daemon.chat_stream(case, headers=bearer(key)) as stream:
        assert stream.events()[-1] == "[DONE]"
    refused(daemon.chat(case, headers=bearer(key)), "tokens")


def test_a_refusal_has_the_shape_of_the_callers_protocol_and_costs_nothing(daemon, case):
    api = openapi.Api()
    key = daemon.make("client", requests_per_minute=1)
    assert daemon.as_(key, "GET", "/v1/models").status == 200
    for method, path, body in (("POST", "/v1/chat/completions", {}), ("POST", "/api/v1/generate", {}),
                               ("GET", "/api/v1/models", None), ("POST", "/api/v1/logs", {}),
                               ("POST", "/api/v1/guardrails/check", {}), ("GET", "/version", None)):
        answer = daemon.as_(key, method, path, body)
        refused(answer, "requests")
        api.check_answer(method, path, answer)
        assert ("success" in answer.json()) == (path == "/api/v1/generate")
    assert daemon.as_(key, "GET", "/health").status == 200, "health asks for no key, and takes nothing from one"


def test_what_was_refused_is_counted(daemon, case):
    def limited():
        return float(daemon.get("/metrics").body.decode().split("\nmuster_rate_limited_total ")[1].split()[0])

    key = daemon.make("client", requests_per_minute=1)
    daemon.as_(key, "GET", "/v1/models")
    before = limited()
    for _ in range(5):
        refused(daemon.as_(key, "GET", "/v1/models"), "requests")
    assert limited() == before + 5
