# SPDX-License-Identifier: Apache-2.0
"""Budgets of keys and use cases, in money and in tokens: never overspent, by however many requests at once, whatever
ends them, and across restarts."""
import json
import os
import resource
import threading
import time

import pytest

import control
import keyring
import muster as m
import openapi
from keyring import bearer

PRICE = {"input": 1000, "output": 1000}  # a thousandth a token
USED = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
COST = 1.1
MOST = 1300  # what a request of these tests reserves, in tokens, at most


def usage(**used):
    return m.answer_with(200, dict(json.loads(json.dumps({
        "id": "x", "object": "chat.completion", "created": 1, "model": "up",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]})),
        usage=dict(USED, **used)))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = keyring.Keyed(tmp_path_factory.mktemp("budgets"), args=["--loops", "4"])
    yield d
    d.stop()


@pytest.fixture
def upstream():
    with m.Upstream(usage()) as u:
        yield u


@pytest.fixture
def case(daemon, upstream):
    name = daemon.name("spending")
    daemon.use_case(name, policy="none", fallback_content="")
    daemon.register(name, upstream, price=PRICE)
    return name


def ask(daemon, case, key=None, **members):
    return daemon.chat(case, max_tokens=100, headers=bearer(key) if key else None, **members)


def budget_of(daemon, key=None, case=None, unit="money"):
    path = "/api/v1/keys/" + key if key else "/api/v1/use-cases/" + case
    return [b for b in daemon.api("GET", path)["budgets"] if b["unit"] == unit][0]


def settled(daemon, spent, **of):
    """All of it is: nothing is said to be spent but this."""
    return m.eventually(lambda: [b for b in [budget_of(daemon, **of)] if abs(b["spent"] - spent) < 1e-9], "%s spent" % spent)[0]


def refused(answer, code="budget_exceeded"):
    assert answer.status == 429, answer
    e = answer.json()["error"]
    assert (e["code"], e["type"]) == (code, "insufficient_quota"), answer
    return e["message"]


def not_about_midnight():
    """Begins a day's budget only when the day, in UTC, lasts longer than the test."""
    m.eventually(lambda: time.time() % 86400 < 86400 - 3 * m.LIMIT, "the next day", 4 * m.LIMIT)


def test_a_key_spends_its_budget_and_no_more(daemon, case, upstream):
    not_about_midnight()
    name = daemon.name("spender")
    key = daemon.make("client", name, budget="3/day")
    assert ask(daemon, case, key).status == 200 and ask(daemon, case, key).status == 200
    answer = ask(daemon, case, key)
    said = refused(answer)
    assert "budget of key '%s'" % name in said and "of 3 USD a day, 2.2 USD are spent" in said and "renewed at" in said
    assert 0 < int(answer.headers["retry-after"]) <= 86400 and "x-muster-model" not in answer.headers
    log = daemon.log_of(answer)
    assert (log["status"], log["http_status"], log["cost"]) == ("error", 429, None) and log["error"] == said
    b = settled(daemon, 2.2, key=name)
    assert (b["amount"], b["currency"], b["period"], b["left"]) == (3, "USD", "day", 0.8)
    assert b["renews_at"].endswith("T00:00:00.000000Z")
    assert len(upstream.requests) == 2
    daemon.api("PATCH", "/api/v1/keys/" + name, {"budget": "10/day", "reason": "raised"})
    assert ask(daemon, case, key).status == 200
    settled(daemon, 3.3, key=name)


def test_tokens_are_counted_without_a_price(daemon, upstream):
    case, name = daemon.name("unpriced"), daemon.name("counted")
    daemon.use_case(case, policy="none", fallback_content="", log="none")
    daemon.register(case, upstream)
    key = daemon.make("client", name, token_budget="2500/total", budget="0.000000001/hour")
    assert ask(daemon, case, key).status == 200
    answer = ask(daemon, case, key)
    assert answer.status == 200, answer
    answer = ask(daemon, case, key)
    assert "token budget of key" in refused(answer) and "2200 tokens are spent" in refused(answer)
    assert "not renewed" in refused(answer) and "retry-after" not in answer.headers
    b = settled(daemon, 2200, key=name, unit="tokens")
    assert (b["currency"], b["renews_at"], b["left"]) == (None, None, 300)


def test_all_who_call_a_use_case_share_its_budget(daemon, case):
    not_about_midnight()
    daemon.use_case(case, policy="none", fallback_content="", budget="2.5/month")
    one, two = daemon.make("client"), daemon.make("client")
    assert ask(daemon, case, one).status == 200 and ask(daemon, case, two).status == 200
    assert "budget of use case '%s'" % case in refused(ask(daemon, case, one))
    settled(daemon, 2.2, case=case)
    daemon.use_case(case, policy="none", fallback_content="")
    assert ask(daemon, case, one).status == 200
    assert daemon.api("GET", "/api/v1/use-cases/" + case)["budgets"] == []


@pytest.mark.parametrize("path,body,where", [
    ("/v1/messages", {"max_tokens": 10, "messages": [{"role": "user", "content": "x"}]}, ("error", "type", "rate_limit_error")),
    ("/v1beta/models/%s:generateContent", {"contents": [{"parts": [{"text": "x"}]}]}, ("error", "status", "RESOURCE_EXHAUSTED")),
    ("/api/v1/generate", {"prompt": "x"}, ("error", "code", "budget_exceeded")),
])
def test_it_is_refused_in_the_callers_protocol(daemon, case, path, body, where):
    key = daemon.make("client", budget="0.01/total")
    body = dict(body, **({"use_case": case} if "generate" in path else {"model": case}))
    if "%s" in path:
        path, body = path % case, {k: v for k, v in body.items() if k not in ("model", "use_case")}
    answer = daemon.as_(key, "POST", path, body)
    assert answer.status == 429 and answer.json()[where[0]][where[1]] == where[2], answer


def flood(daemon, n, case, key, done):
    """n requests, each on a connection of its own, all sent before any is answered."""
    body = {"model": case, "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]}
    connections = []
    for _ in range(n):
        c = daemon.connect()
        c.send_request("POST", "/v1/chat/completions", body, bearer(key))
        connections.append(c)
    done()
    answers = []
    for c in connections:
        with c:
            answers.append(c.read_answer())
    return answers


@pytest.fixture
def many_files():
    was = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, was[1]), was[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, was)


def gate(upstream):
    """Answers wait until it is opened."""
    opened, answer = threading.Event(), upstream.default

    def run(c, r):
        opened.wait(m.LIMIT)
        answer(c, r)

    upstream.default = run
    return opened.set


def test_a_thousand_at_once_do_not_overshoot(daemon, case, upstream, many_files):
    name = daemon.name("thousand")
    key = daemon.make("client", name, budget="50/total")
    answers = flood(daemon, 1000, case, key, gate(upstream))
    statuses = [a.status for a in answers]
    passed = statuses.count(200)
    # each reserves at most 1.3, and costs 1.1
    assert set(statuses) == {200, 429} and 50 // 1.3 <= passed <= 50 // COST, passed
    for a in answers:
        if a.status == 429:
            assert a.json()["error"]["code"] in ("budget_unavailable", "budget_exceeded"), a
            assert a.headers.get("retry-after", "1") == "1"
    b = settled(daemon, round(passed * COST, 6), key=name)
    assert b["spent"] <= 50
    while True:
        answer = ask(daemon, case, key)
        if answer.status != 200:
            break
        passed += 1
    refused(answer)
    assert passed == 45, "as many as one after the other"
    assert settled(daemon, 49.5, key=name)["spent"] <= 50


@pytest.mark.parametrize("behaviour,status", [
    (m.answer_with(500, {"error": {"message": "no"}}), 502), (m.answer_with(400, {"error": {"message": "no"}}), 400),
    (m.reset, 502)], ids=["500", "400", "reset"])
def test_what_failed_costs_nothing(daemon, case, upstream, behaviour, status):
    name = daemon.name("unlucky")
    key = daemon.make("client", name, budget="1.5/total")
    upstream.default = behaviour
    for _ in range(3):
        assert ask(daemon, case, key).status == status
    upstream.default = usage()
    m.eventually(lambda: ask(daemon, case, key).status == 200, "its breaker to close")
    settled(daemon, COST, key=name)


def test_a_caller_that_leaves_pays_for_what_came(daemon, case, upstream):
    name = daemon.name("leaver")
    key = daemon.make("client", name, budget="3/total", token_budget="100000/total")
    gone = []

    def begin(c, r):
        c.begin_stream()
        c.event(m.chunk("x" * 400))
        gone.append(c.wait_closed())

    upstream.default = begin
    with daemon.chat_stream(case, max_tokens=100, headers=bearer(key)) as s:
        s.event()
        log_id = s.headers["x-muster-log-id"]
    cost = daemon.log(log_id)["cost"]
    assert cost and cost > 0.1
    settled(daemon, cost, key=name)
    upstream.default = usage()
    assert ask(daemon, case, key).status == 200
    settled(daemon, round(cost + COST, 9), key=name)


def test_attempts_that_were_in_vain_are_paid_for(daemon, upstream, make_upstream):
    case, name = daemon.name("vain"), daemon.name("payer")

    def breaks(c, r):
        c.begin_stream()
        c.event(m.chunk("x" * 400))
        c.close()

    daemon.register(case, make_upstream(breaks), price=PRICE)
    second = daemon.register(case, upstream, promote=False, price=PRICE)
    daemon.use_case(case, policy="none", answer_mode="buffer", fallback=[second], fallback_content="")
    upstream.default = m.streaming("Hi.", usage=True)
    key = daemon.make("client", name, budget="10/total")
    with daemon.chat_stream(case, max_tokens=100, headers=bearer(key)) as s:
        assert s.status == 200 and m.chat_text(s.events()) == "Hi."
        log = daemon.log(s.headers["x-muster-log-id"])
    assert log["fallback"] == "model" and log["cost"] > 0.1 + 0.01, "both were paid for"
    settled(daemon, log["cost"], key=name)
    # what is left covers one attempt, but not the one that follows in vain
    daemon.api("PATCH", "/api/v1/keys/" + name, {"budget": "%g/total" % (log["cost"] + 1.25), "reason": "test"})
    refused(daemon.chat(case, max_tokens=100, stream=True, headers=bearer(key)))


def going_on(daemon, make_upstream, upstream):
    """A use case whose first model breaks off, and whose second goes on; it breaks off when the event is set."""
    case, seen = daemon.name("resumed"), threading.Event()

    def breaks(c, r):
        c.begin_stream()
        c.event(m.chunk("One two three. " * 20))
        seen.wait(m.LIMIT)
        c.close()

    daemon.register(case, make_upstream(breaks), price=PRICE, circuit_breaker=False)
    second = daemon.register(case, upstream, promote=False, price=PRICE, prefill=True)
    daemon.use_case(case, policy="none", answer_mode="resume", fallback=[second], fallback_content="", retries=0)
    upstream.default = m.streaming("four.", usage=True)
    return case, seen


@pytest.mark.parametrize("covered", [True, False])
def test_an_answer_that_another_model_goes_on_with_is_paid_for_twice(daemon, upstream, make_upstream, covered):
    case, seen = going_on(daemon, make_upstream, upstream)
    name = daemon.name("payer")
    key = daemon.make("client", name, budget="10/total" if covered else "1.25/total", token_budget="100000/total")
    with daemon.chat_stream(case, max_tokens=100, headers=bearer(key)) as s:
        while "One" not in m.chat_text([s.event()]):
            pass
        seen.set()
        rest = s.events()
    log = daemon.log(s.headers["x-muster-log-id"])
    assert len(upstream.requests) == covered and (log["status"] == "ok") == covered
    assert covered or "does not cover" in log["error"] and "error" in json.dumps(rest)
    settled(daemon, log["cost"], key=name)
    settled(daemon, log["usage"]["prompt_tokens"] + log["usage"]["completion_tokens"], key=name, unit="tokens")


def test_answers_from_the_cache_cost_nothing(daemon, case, upstream):
    name = daemon.name("cacher")
    daemon.use_case(case, policy="none", fallback_content="", cache={"ttl_s": 60})
    key = daemon.make("client", name, budget="1.5/total")
    for _ in range(3):
        assert ask(daemon, case, key).status == 200
    settled(daemon, COST, key=name)
    assert len(upstream.requests) == 1


def test_a_model_in_another_currency_is_not_asked(daemon, case, upstream):
    key = daemon.make("client", budget="50 EUR/month")
    answer = ask(daemon, case, key)
    assert answer.status == 503 and "priced in USD" in answer.json()["error"]["message"], answer
    assert not upstream.requests


def test_without_a_limit_the_longest_answer_is_reserved(daemon, upstream):
    case = daemon.name("endless")
    daemon.register(case, upstream, price=PRICE, context_tokens=4000)
    daemon.use_case(case, policy="none", fallback_content="")
    key = daemon.make("client", budget="4/total")
    assert "may take up to 5." in refused(daemon.chat(case, headers=bearer(key)))
    assert ask(daemon, case, key).status == 200


def test_what_a_large_picture_reserves_is_a_pictures_worth(daemon, case):
    key = daemon.make("client", budget="100/total")
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400000}}
    body = {"model": case, "max_tokens": 100, "messages": [{"role": "user", "content": [picture]}]}
    assert daemon.as_(key, "POST", "/v1/chat/completions", body).status == 200
    body["messages"][0]["content"] = [{"type": "text", "text": "A" * 400000}]
    refused(daemon.as_(key, "POST", "/v1/chat/completions", body))


@pytest.mark.parametrize("budget", ["50", "50/year", "-1/day", "0/day", "50 usd/day", "x/day", "1.0000000001/day", "1e30/day"])
def test_how_a_budget_is_written(daemon, budget):
    answer = daemon.request("POST", "/api/v1/keys", {"name": "wrong", "role": "client", "budget": budget})
    assert answer.status == 400 and "50/month" in answer.json()["error"]["message"], answer
    answer = daemon.request("PUT", "/api/v1/use-cases/wrong", {"token_budget": budget})
    assert answer.status == 400 and "2000000/day" in answer.json()["error"]["message"], answer


def test_a_change_of_a_key_is_as_the_description_says(daemon):
    api, name = openapi.Api(), daemon.name("changed")
    daemon.make("client", name, budget="1/day", token_budget="5/hour")
    path = "/api/v1/keys/" + name
    for body, budget, tokens, translation in (
            ({"token_budget": None, "translation": "strict"}, "1 USD/day", None, "strict"),
            ({"budget": "2.50 EUR/total"}, "2.5 EUR/total", None, "strict"),
            ({"budget": "", "token_budget": "7/month", "translation": None}, None, "7/month", "lenient")):
        answer = daemon.request("PATCH", path, body)
        assert answer.status == 200, answer
        api.check_answer("PATCH", path, answer)
        k = answer.json()
        assert (k["budget"], k["token_budget"], k["translation"]) == (budget, tokens, translation), k
    assert daemon.request("PATCH", path, {"translation": "free"}).status == 400
    gone = daemon.api("DELETE", path)
    answer = daemon.request("PATCH", "/api/v1/keys/" + gone["key_id"], {"budget": "1/day"})
    api.check_answer("PATCH", path, answer)
    assert answer.status == 409 and answer.json()["error"]["code"] == "key_revoked", answer


class Again(keyring.Keyed):
    """The next daemon on a data directory."""

    def __init__(self, before):
        self.key = before.key
        m.Muster.__init__(self, before.directory)


def held_in(d):
    return os.listdir(os.path.join(d.directory, "data", "budgets"))


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_what_was_spent_outlives_the_daemon(tmp_path, upstream, killed):
    d = keyring.Keyed(tmp_path)
    text = d.make("client", "steady", budget="5/total")
    d.register("kept", upstream, price=PRICE)
    d.use_case("kept", policy="none", fallback_content="")
    assert ask(d, "kept", text).status == 200
    if killed:  # with one request under way, and nothing said of the other to the database perhaps
        upstream.default = m.silent
        under_way = d.connect()
        under_way.send_request("POST", "/v1/chat/completions", {
            "model": "kept", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]}, bearer(text))
        upstream.wait_requests(2)
        control.end_at_once(d)
        under_way.close()
    else:
        d.stop()
        assert held_in(d) == []
    upstream.default = usage()
    d = Again(d)
    try:
        b = d.api("GET", "/api/v1/keys/steady")["budgets"][0]
        if killed:  # what it had reserved counts as spent, since nobody knows what became of it
            assert COST * 2 <= b["spent"] <= COST + 1.3, b
        else:
            assert b["spent"] == COST
        assert b["held"] == pytest.approx(5 - b["spent"])
        assert [ask(d, "kept", text).status for _ in range(4)].count(200) == (2 if killed else 3)
    finally:
        d.stop()
    assert held_in(d) == []


def test_what_another_start_of_the_machine_left_counts_as_spent(tmp_path, upstream):
    d = keyring.Keyed(tmp_path)
    d.make("client", "steady", budget="5/total")
    control.end_at_once(d)
    (file,) = held_in(d)
    with open(os.path.join(d.directory, "data", "budgets", file), "r+b") as f:
        f.seek(8)
        f.write(b"another boot")
    d = Again(d)
    try:
        assert d.api("GET", "/api/v1/keys/steady")["budgets"][0]["spent"] == 5
        assert "counts as spent" in d.errors()
    finally:
        d.stop()


def test_the_command_line_sets_and_shows_budgets(daemon, case):
    not_about_midnight()
    env = {"MUSTER_API_KEY": daemon.key}
    name = daemon.name("cli")
    made = control.works(daemon, "key", "create", "--name", name, "--role", "client", "--budget", "50/month",
                         "--token-budget", "2000000/day", "--translation", "strict", "--why", "test", **env)
    assert ask(daemon, case, made.strip().splitlines()[-1]).status == 200
    settled(daemon, COST, key=name)
    shown = control.works(daemon, "key", "show", name, **env)
    assert "1.1 of 50 USD/month spent" in shown and "1100 of 2000000 tokens/day spent" in shown and "strict" in shown
    assert "50 USD/month, 2000000/day tokens" in control.works(daemon, "key", "list", **env)
    shown = control.works(daemon, "key", "set", name, "--token-budget", "", "--translation", "lenient", "--why", "less", **env)
    assert "of 50 USD/month" in shown and "tokens/day" not in shown and "strict" not in shown
    control.works(daemon, "use-case", "set", case, "--budget", "7 EUR/hour", "--why", "test", **env)
    shown = control.works(daemon, "use-case", "show", case, **env)
    assert "0 of 7 EUR/hour spent" in shown
    got = control.cli(daemon, "key", "set", name, "--budget", "50", "--why", "test", **env)
    assert got.rc == 1 and "50/month" in got.err, got
    got = control.cli(daemon, "key", "set", name, "--why", "test", **env)
    assert got.rc == 2 and "--token-budget" in got.err, got


def test_a_key_can_ask_for_strict_translation(daemon, make_upstream):
    case = daemon.name("strict")
    daemon.register(case, make_upstream(m.ok()), protocol="ollama")
    daemon.use_case(case, policy="none", fallback_content="")
    strict, lenient = daemon.make("client", translation="strict"), daemon.make("client", translation="lenient")
    asked = {"logit_bias": {"1": 1}}
    answer = daemon.chat(case, headers=bearer(lenient), **asked)
    assert answer.status == 200 and "logit_bias" in answer.headers["x-muster-dropped-params"], answer
    answer = daemon.chat(case, headers=bearer(strict), **asked)
    assert answer.status == 400 and "the key's translation is strict" in answer.json()["error"]["message"], answer
    assert daemon.chat(case, headers=bearer(strict)).status == 200
    daemon.use_case(case, policy="none", fallback_content="", translation="strict")
    answer = daemon.chat(case, headers=bearer(lenient), **asked)
    assert answer.status == 400 and "the use case's translation" in answer.json()["error"]["message"], answer
