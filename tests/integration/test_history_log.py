# SPDX-License-Identifier: Apache-2.0
"""The historical log over the API: what is listed, found, followed and reported; violations."""
import datetime
import uuid

import pytest

import control
import muster as m


class Book:
    """A use case with a few exchanges of every kind."""

    def __init__(self, daemon, make_upstream):
        self.daemon, self.case = daemon, daemon.name("book")
        self.upstream = make_upstream()
        policy = self.case.replace("_", "-")
        daemon.policy(policy,
                      {"id": "word", "category": "words", "kind": "literal", "action": "block", "severity": "high",
                       "values": ["forbidden"]},
                      {"id": "mail", "category": "pii", "kind": "pii", "action": "mask", "severity": "medium",
                       "values": ["email"]})
        daemon.use_case(self.case, policy=policy, fallback_content="")
        self.first = daemon.register(self.case, self.upstream)
        self.ids = {}
        with daemon.connect() as c:  # one connection is on one loop: its ids are in order, even within a millisecond
            self.take(c, "ok", "plain", context={"player": 7})
            self.take(c, "blocked", "forbidden")
            self.take(c, "masked", "write to ann@example.com")
            self.upstream.default = m.answer_with(500, {"error": {"message": "broken"}})
            self.take(c, "error", "fails")
            self.upstream.default = m.ok()
            self.second = daemon.register(self.case, self.upstream)
            self.take(c, "second", "to the second")

    def take(self, connection, key, prompt, **members):
        body = dict({"use_case": self.case, "prompt": prompt}, **members)
        self.ids[key] = connection.request("POST", "/api/v1/generate", body).headers["x-muster-log-id"]

    def listed(self, query=""):
        return self.daemon.api("GET", "/api/v1/logs?use_case=%s%s" % (self.case, query))["data"]

    def names(self, query=""):
        of = {v: k for k, v in self.ids.items()}
        return [of[r["log_id"]] for r in self.listed(query)]


@pytest.fixture
def book(daemon, make_upstream):
    return Book(daemon, make_upstream)


def test_exchange_is_listed_at_once_newest_first(book):
    assert book.names() == ["second", "error", "masked", "blocked", "ok"]
    for r in book.listed():
        assert control.UUID.match(r["log_id"]) and control.TIME.match(r["created_at"])
        assert "prompt" not in r and "output" not in r and "context" not in r
        assert r["source"] == "gateway" and r["use_case"] == book.case


def test_record_tells_the_whole_exchange(book):
    r = book.daemon.api("GET", "/api/v1/logs/" + book.ids["ok"])
    assert (r["status"], r["http_status"], r["fallback"], r["stream"], r["finish_reason"]) == ("ok", 200, "none", False,
                                                                                            "stop")
    assert r["prompt"] == "plain" and r["output"] == "Hi there." and r["context"] == {"player": 7}
    name = book.first.split("@")[0]
    assert r["model_name"].split("@")[0] == name and control.UUID.match(r["model_id"])
    assert r["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "estimated": False}
    assert 0 <= r["latency_ms"] < 60000 and r["attempts"][0]["model"].startswith(name)
    assert r["guardrail"] == {"action": "allow", "skipped": False, "violations": []}
    blocked = book.daemon.api("GET", "/api/v1/logs/" + book.ids["blocked"])
    assert blocked["status"] == "blocked" and blocked["guardrail"]["action"] == "block"
    (hit,) = blocked["guardrail"]["violations"]
    assert (hit["rule"], hit["category"], hit["severity"], hit["side"]) == ("word", "words", "high", "input")
    failed = book.daemon.api("GET", "/api/v1/logs/" + book.ids["error"])
    assert failed["status"] == "error" and failed["http_status"] >= 500 and failed["error"]


def test_filters_of_the_log(book):
    assert book.names("&status=blocked") == ["blocked"]
    assert book.names("&status=error") == ["error"]
    assert book.names("&status=ok") == ["second", "masked", "ok"]
    assert book.names("&model=" + book.second) == ["second"]
    assert book.names("&model=" + book.second.split("@")[0]) == ["second"]
    by_id = book.daemon.api("GET", "/api/v1/models/" + book.second)["model_id"]
    assert book.names("&model=" + by_id) == ["second"]
    assert book.names("&model=nobody") == []
    assert len(book.listed("&since=1h")) == 5 and book.listed("&since=2126-01-01T00:00:00Z") == []
    at, every = book.listed("&status=error")[0]["created_at"], book.listed()
    assert book.listed("&since=" + at) == [r for r in every if r["created_at"] >= at]
    assert book.listed("&until=" + at) == [r for r in every if r["created_at"] <= at]
    for bad in ("status=fine", "since=soon", "before=x", "after=x", "text=perhaps", "limit=0", "modle=x"):
        control.error(book.daemon.get("/api/v1/logs?" + bad), 400)
    control.error(book.daemon.get("/api/v1/logs?before=%s&after=%s" % (book.ids["ok"], book.ids["ok"])), 400)


def test_texts_come_when_asked_for(book):
    for r in book.listed("&text=true"):
        whole = book.daemon.api("GET", "/api/v1/logs/" + r["log_id"])
        assert (r["prompt"], r["output"], r["context"]) == (whole["prompt"], whole["output"], whole["context"])
    assert book.listed("&text=true")[0]["prompt"] == "to the second"


def test_pages_of_the_log_backwards_and_tail_forwards(book):
    page = book.daemon.api("GET", "/api/v1/logs?use_case=%s&limit=2" % book.case)
    assert page["has_more"] is True and len(page["data"]) == 2 and page["next"] == page["data"][-1]["log_id"]
    assert book.names("&limit=2&before=" + page["next"]) == ["masked", "blocked"]
    assert book.names("&before=" + book.ids["ok"]) == []
    assert book.names("&after=" + book.ids["blocked"]) == ["masked", "error", "second"], "oldest first, to follow"
    assert book.names("&limit=1&after=" + book.ids["blocked"]) == ["masked"]
    assert book.names("&after=" + book.ids["second"]) == []
    assert book.names("&after=00000000-0000-0000-0000-000000000000") == ["ok", "blocked", "masked", "error", "second"]


def test_record_is_found_by_the_beginning_of_its_id(book):
    ids = [r["log_id"] for r in book.daemon.api("GET", "/api/v1/logs?limit=1000")["data"]]
    wanted = book.ids["masked"]
    n = next(n for n in range(6, 37) if sum(i.startswith(wanted[:n]) for i in ids) == 1)
    assert book.daemon.api("GET", "/api/v1/logs/" + wanted[:n])["log_id"] == wanted
    assert book.daemon.api("GET", "/api/v1/logs/" + wanted.upper())["log_id"] == wanted
    if sum(i.startswith(wanted[:8]) for i in ids) > 1:
        control.error(book.daemon.get("/api/v1/logs/" + wanted[:8]), 409, "ambiguous_log")
    control.error(book.daemon.get("/api/v1/logs/" + wanted[:5]), 400)
    control.error(book.daemon.get("/api/v1/logs/" + str(uuid.uuid4())), 404, "log_not_found")
    for odd in ("%25%25%25%25%25%25", "______", "'or'1'='1"):
        assert book.daemon.get("/api/v1/logs/" + odd).status in (400, 404)


def test_following_with_after_misses_nothing_under_load(daemon, make_upstream):
    case = daemon.name("follow")
    daemon.use_case(case, policy="none")
    daemon.register(case, make_upstream())
    load = control.Load(daemon, case, threads=4)
    seen, after = [], "00000000-0000-0000-0000-000000000000"

    def step():
        nonlocal after
        for r in daemon.api("GET", "/api/v1/logs?use_case=%s&limit=200&after=%s" % (case, after))["data"]:
            seen.append(r["log_id"])
            after = r["log_id"]

    try:
        while len(load.answered) < 300:
            step()
    finally:
        load.end()
    control.shipped(daemon)
    m.eventually(lambda: step() or len(seen) >= len(load.answered), "the rest")
    assert len(seen) == len(set(seen)), "nothing twice"
    missed = set(load.answered) - set(seen)
    assert not missed, "%d of %d" % (len(missed), len(load.answered))


# --- reported by applications ---


@pytest.mark.parametrize("model_id", ["my-model", "MODEL with blanks é", "0198b2a4-6d1e-4c3a-9f00-2b6f6c1d8e11", "7" * 256])
def test_report_with_any_model_id_is_kept(daemon, model_id):
    case = daemon.name("reported")
    answer = daemon.post("/api/v1/logs", {"model_id": model_id, "use_case": case, "prompt": "p", "context": {"a": [1.50]},
                                          "generated_output": "o", "prompt_tokens": 3, "completion_tokens": 4,
                                          "latency_ms": 12.5, "model_name": "shown"}, {"x-request-id": "r-1"})
    assert answer.status == 201 and set(answer.json()) == {"log_id"}, answer
    (r,) = daemon.logs(case, 1, "&text=true")
    assert r["log_id"] == answer.json()["log_id"] and r["model_id"] == model_id and r["source"] == "application"
    assert (r["prompt"], r["output"], r["context"]) == ("p", "o", {"a": [1.5]})
    assert r["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "estimated": False} and r["latency_ms"] == 12.5
    assert r["status"] == "ok" and r["guardrail"]["skipped"] is True and r["request_id"] == "r-1"


def test_report_may_be_of_a_failure_long_ago(daemon):
    case = daemon.name("reported")
    daemon.api("POST", "/api/v1/logs", {"model_id": "m", "use_case": case, "status": "timeout", "error": "too slow",
                                        "output": "half", "created_at": "2024-02-29T12:00:00Z"})
    (r,) = daemon.logs(case, 1, "&text=true&until=2025-01-01T00:00:00Z")
    assert (r["status"], r["error"], r["output"]) == ("timeout", "too slow", "half")
    assert r["created_at"] == "2024-02-29T12:00:00.000000Z"
    assert daemon.logs(case, 0, "&since=1h") == []


@pytest.mark.parametrize("change,param", [
    ({"model_id": None}, "model_id"), ({"model_id": ""}, "model_id"), ({"model_id": "x" * 257}, "model_id"),
    ({"model_id": 5}, "model_id"), ({"use_case": None}, "use_case"), ({"use_case": "x" * 257}, "use_case"),
    ({"status": "fine"}, "status"), ({"context": "text"}, "context"), ({"prompt": 5}, "prompt"),
    ({"latency_ms": "long"}, None), ({"prompt_tokens": "many"}, None), ({"created_at": "once"}, "created_at")])
def test_report_that_is_wrong_is_refused(daemon, change, param):
    body = dict({"model_id": "m", "use_case": "refused"}, **change)
    answer = daemon.post("/api/v1/logs", {k: v for k, v in body.items() if v is not None})
    control.error(answer, 400)
    if param:
        assert answer.json()["error"]["param"] == param, answer


def test_report_is_taken_while_the_database_is_held(start_daemon):
    daemon = start_daemon()
    with control.held(daemon):
        ids = [daemon.api("POST", "/api/v1/logs", {"model_id": "m", "use_case": "u", "output": "%d" % i})["log_id"]
               for i in range(50)]
    control.shipped(daemon)
    assert sorted(control.logged_ids(daemon)) == sorted(ids)


# --- violations ---


def test_violations_are_listed_with_where_they_stood(book):
    got = book.daemon.api("GET", "/api/v1/guardrails/violations?use_case=" + book.case)
    assert [v["created_at"] for v in got["data"]] == sorted((v["created_at"] for v in got["data"]), reverse=True)
    mail, word = sorted(got["data"], key=lambda v: v["rule"])
    assert word["log_id"] == book.ids["blocked"] and mail["log_id"] == book.ids["masked"]
    assert (word["category"], word["severity"], word["action"], word["side"]) == ("words", "high", "block", "input")
    assert (word["start"], word["length"]) == (0, len("forbidden"))
    assert (mail["start"], mail["length"]) == (len("write to "), len("ann@example.com"))
    assert word["policy"] == book.case.replace("_", "-") and uuid.UUID(word["violation_id"])


@pytest.mark.parametrize("query,rules", [
    ("category=pii", ["mail"]), ("severity=high", ["word"]), ("severity=low", []), ("category=nothing", []),
    ("since=1h", ["mail", "word"]), ("until=1h", [])])
def test_filters_of_violations(book, query, rules):
    got = book.daemon.api("GET", "/api/v1/guardrails/violations?use_case=%s&%s" % (book.case, query))
    assert sorted(v["rule"] for v in got["data"]) == rules


def test_violations_come_in_pages(book):
    path = "/api/v1/guardrails/violations?use_case=%s&limit=1" % book.case
    first = book.daemon.api("GET", path)
    second = book.daemon.api("GET", path + "&before=" + first["next"])
    assert first["has_more"] and not second["has_more"] and second["next"] is None
    assert {v["rule"] for v in first["data"] + second["data"]} == {"mail", "word"}


def test_violations_by_model(book):
    got = book.daemon.api("GET", "/api/v1/guardrails/violations?model=" + book.first)["data"]
    assert "mail" in [v["rule"] for v in got]
    assert book.daemon.api("GET", "/api/v1/guardrails/violations?model=" + book.second)["data"] == []


def test_times_in_the_log_are_utc_and_close_to_now(book):
    at = datetime.datetime.strptime(book.listed()[0]["created_at"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert abs((datetime.datetime.utcnow() - at).total_seconds()) < 60
