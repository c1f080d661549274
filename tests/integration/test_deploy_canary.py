# SPDX-License-Identifier: Apache-2.0
"""Deployments: shares that grow, callers that stay, judgement by thresholds, and what people can do meanwhile."""
import threading

import pytest

import control
import muster as m
from deploying import World

LONG = "1h"
LAX = {"error_rate": None, "violation_rate": None, "min_samples": 1}
FAST = {"min_samples": 10}


@pytest.fixture
def world(daemon, make_upstream):
    return World(daemon, make_upstream(m.ok("old words")), make_upstream(m.ok("new words")), daemon.name("roll"))


class Callers:
    """Asks until it is told to stop."""

    def __init__(self, world):
        self.world, self.ending, self.refused, self.n = world, threading.Event(), [], 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        with self.world.daemon.connect() as c:
            while not self.ending.is_set():
                self.n += 1
                body = {"model": self.world.name, "user": "u%d" % (self.n % 500),
                        "messages": [{"role": "user", "content": "hi"}]}
                answer = c.request("POST", "/v1/chat/completions", body)
                if answer.status != 200:
                    self.refused.append(answer)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.ending.set()
        self.thread.join()


def test_canary_grows_step_by_step_and_becomes_current(world):
    with Callers(world) as callers:
        d = world.started(steps=[20, 60, 100], hold=300, thresholds=FAST)
        assert (d["state"], d["share"], d["step"]) == ("progressing", 20, 1)
        assert (d["model"], d["previous_model"]) == ("new@1.0", "old@1.0")
        assert world.status("new") == "testing"
        d = world.wait(d, "succeeded")
    assert not callers.refused, callers.refused[:3]
    assert d["share"] == 100 and d["finished_at"] and d["evidence"]["verdict"] == "pass"
    assert (world.status("new"), world.status("old")) == ("current", "deprecated")
    kinds = [e["kind"] for e in world.events() if e["kind"].startswith("deployment.")]
    assert kinds == ["deployment.completed", "deployment.advanced", "deployment.advanced", "deployment.started"]
    shares = [e["after"]["share"] for e in world.events() if e["kind"].startswith("deployment.")]
    assert shares == [100, 100, 60, 20]
    kept = world.daemon.api("GET", "/api/v1/snapshots?use_case=" + world.name)["data"]
    assert [k["snapshot_id"] for k in kept] == [d["snapshot_id"]]
    assert kept[0]["deployment_id"] == d["deployment_id"] and kept[0]["document"]["model"]["model_name"] == "old"
    assert set(world.models(20).values()) == {"new@1.0"}


def test_a_caller_never_leaves_the_new_model_as_its_share_grows_and_shares_are_exact(world):
    d, before = world.started(steps=[10, 50, 90, 100], hold=LONG, thresholds=LAX), set()
    for share in (10, 50, 90):
        models = world.models(1000)
        new = {u for u, name in models.items() if name == "new@1.0"}
        assert before <= new
        assert abs(len(new) / 10 - share) < 4  # exact within 1 % over 10,000: tests/unit/test_snapshot_split.c
        before = new
        if share < 90:
            with control.database(world.daemon) as db:  # its time is over
                db.execute("update model_deployments set holds_until_us = 1 where id = ?", (d["deployment_id"],))
            world.wait(d, "progressing", share={10: 50, 50: 90}[share])
    again = {u for u, name in world.models(1000).items() if name == "new@1.0"}
    assert again == before
    assert world.tell(d, "abort", reason="enough").status == 200


def test_key_is_the_user_else_the_sticky_header_else_the_request_id(world):
    d = world.started(steps=[50, 100], hold=LONG, thresholds=LAX)

    def ask(headers, **members):
        return world.daemon.chat(world.name, headers=headers, **members).headers["x-muster-model"]

    by_user = world.models(40)
    for user, name in by_user.items():
        assert ask({"x-muster-sticky": user}) == name
        assert ask({"x-request-id": user}) == name
        assert ask({"x-muster-sticky": "x", "x-request-id": "y"}, user=user) == name
        assert ask({"x-muster-sticky": user, "x-request-id": "y"}) == name
        assert world.daemon.generate(world.name, user=user).headers["x-muster-model"] == name
    assert len(set(by_user.values())) == 2
    assert {ask({}) for _ in range(100)} == {"old@1.0", "new@1.0"}
    pinned = world.daemon.chat("old@1.0", user=next(u for u, n in by_user.items() if n == "new@1.0"))
    assert pinned.headers["x-muster-model"] == "old@1.0" or pinned.status != 200
    world.tell(d, "abort")


def test_failing_candidate_is_rolled_back_and_every_caller_got_a_good_answer(world):
    world.new.default = m.answer_with(500, {"error": {"message": "no"}})
    d = world.started(steps=[50, 100], hold=LONG, thresholds=FAST)
    answers = world.ask(200)
    assert all(a.json()["choices"][0]["message"]["content"] == "old words" for a in answers.values())
    fell = [a for a in answers.values() if a.headers.get("x-muster-fallback") == "model"]
    assert len(fell) >= 10 and all(a.headers["x-muster-model"] == "old@1.0" for a in fell)
    record = world.daemon.log_of(fell[0])
    assert [(a["model"], a.get("arm")) for a in record["attempts"]] == [("new@1.0", "candidate"), ("old@1.0", "current")]
    assert record["fallback"] == "model"
    d = world.wait(d, "rolled_back")
    assert "error rate 100.00 %" in d["rollback_reason"] and "limit 5.00 %" in d["rollback_reason"]
    assert d["evidence"]["verdict"] == "fail" and d["evidence"]["metrics"][0]["count"] >= 10
    assert (world.status("new"), world.status("old"), d["share"]) == ("candidate", "current", 0)
    n = len(world.new.requests)
    world.ask(50)
    assert len(world.new.requests) == n
    assert world.events("deployment.rolled_back")[0]["actor"] == "muster"


def test_slow_candidate_is_rolled_back(world):
    waits = threading.Event()

    def slow(c, r):
        waits.wait(0.06)
        m.ok("slow")(c, r)

    world.new.default = slow
    d = world.started("blue_green", hold=LONG, thresholds={"latency_p95_ms": 20, "min_samples": 10})
    world.ask(12)
    d = world.wait(d, "rolled_back")
    assert "latency p95" in d["rollback_reason"] and "limit 20 ms" in d["rollback_reason"]


def test_candidate_that_is_slower_than_the_current_one_is_rolled_back(world):
    waits = threading.Event()

    def slow(c, r):
        waits.wait(0.05)
        m.ok("slow")(c, r)

    world.new.default = slow
    d = world.started(steps=[50, 100], hold=LONG, thresholds={"latency_p95_ratio": 3, "min_samples": 10})
    world.ask(60)
    d = world.wait(d, "rolled_back")
    assert "latency p95" in d["rollback_reason"]


def test_candidate_with_guardrail_violations_is_rolled_back(daemon, make_upstream):
    policy = daemon.name("watch")
    daemon.policy(policy, {"id": "w", "category": "c", "kind": "literal", "action": "block", "severity": "high",
                           "values": ["forbidden"]})
    world = World(daemon, make_upstream(m.ok("old words")), make_upstream(m.ok("a forbidden word")),
                  daemon.name("roll"), policy)
    d = world.started("blue_green", hold=LONG, thresholds=FAST)
    world.ask(12)
    d = world.wait(d, "rolled_back")
    assert "guardrail violations 100.00 %" in d["rollback_reason"]
    assert d["evidence"]["metrics"][0]["verdict"] == "pass"  # errors are another matter


def test_refusal_of_a_bad_request_is_not_the_candidates_error(world):
    world.new.default = m.answer_with(400, {"error": {"message": "too long", "type": "invalid_request_error"}})
    d = world.started("blue_green", hold=300, thresholds=FAST)
    with world.daemon.connect() as c:
        for i in range(12):
            assert c.request("POST", "/v1/chat/completions", {
                "model": world.name, "messages": [{"role": "user", "content": "x"}]}).status == 400
    world.wait(d, "succeeded")


def test_too_few_samples_promote_nothing_and_pause_in_the_end(world):
    d = world.started(steps=[50, 100], hold=100, max_wait=LONG, thresholds={"min_samples": 40})
    d = world.wait(d, "waiting")
    assert d["share"] == 50 and d["holds_until"] is None and d["now"]["verdict"] == "inconclusive"
    world.ask(200)
    d = world.wait(d, "waiting", share=100)  # judged good, then the same again
    world.tell(d, "abort")
    d = world.started(steps=[50, 100], hold=50, max_wait=50, max_pause=LONG, thresholds={"min_samples": 1000})
    d = world.wait(d, "paused")
    assert d["share"] == 50
    assert world.events("deployment.timed_out")[0]["reason"].startswith("too little was seen")
    world.tell(d, "abort")


def test_paused_for_too_long_is_aborted(world):
    d = world.started(steps=[50, 100], hold=LONG, max_pause=100)
    assert world.tell(d, "pause", reason="look").json()["state"] == "paused"
    d = world.wait(d, "aborted")
    assert world.status("new") == "candidate" and d["share"] == 0


def test_paused_keeps_its_share_and_is_still_rolled_back(world):
    d = world.started(steps=[50, 100], hold=LONG, thresholds=FAST)
    d = world.tell(d, "pause").json()
    assert (d["state"], d["share"], d["holds_until"]) == ("paused", 50, None)
    assert len(set(world.models(60).values())) == 2
    world.new.default = m.reset
    world.ask(60, "other-")
    world.wait(d, "rolled_back")


def test_pause_resume_promote_abort_and_what_they_refuse(world):
    d = world.started(steps=[10, 100], hold=LONG)
    message = control.error(world.tell(d, "resume"), 409, "wrong_state")
    assert "progressing" in message and "pause, promote or abort it" in message
    assert world.tell(d, "pause", reason="why").json()["state"] == "paused"
    control.error(world.tell(d, "pause"), 409, "wrong_state")
    d = world.tell(d, "resume").json()
    assert (d["state"], d["share"]) == ("progressing", 10) and d["holds_until"]
    d = world.tell(d, "promote", reason="good enough").json()
    assert d["state"] == "succeeded" and world.status("new") == "current"
    for what in ("pause", "resume", "promote", "abort"):
        control.error(world.tell(d, what), 409, "wrong_state")
    event = world.events("deployment.promoted")[0]
    assert event["reason"] == "good enough" and event["before"]["state"] == "progressing"
    control.error(world.tell({"deployment_id": "0198b2a4-6d1e-7c3a-9f00-2b6f6c1d8e11"}, "abort"), 404,
                  "deployment_not_found")


def test_second_start_is_refused_and_names_the_first(world):
    d = world.started(steps=[10, 100], hold=LONG)
    assert d["deployment_id"] in control.error(world.start(), 409, "deployment_under_way")
    results = control.together(4, lambda i: world.start().status)
    assert results == [409] * 4
    assert world.tell(d, "abort").status == 200
    results = sorted(control.together(4, lambda i: world.start(hold=LONG).status))
    assert results == [201, 409, 409, 409]
    assert world.daemon.post("/api/v1/deployments/%s/abort" % world.name, {}).status == 200  # by its use case


@pytest.mark.parametrize("members,status,param", [
    ({"strategy": "shadowy"}, 400, "strategy"), ({"strategy": None}, 400, "strategy"), ({"model": ""}, 400, "model"),
    ({"model": "old@1.0"}, 409, None), ({"model": "nope"}, 404, "model"), ({"steps": [10, 5, 100]}, 400, None),
    ({"steps": [10]}, 400, None), ({"steps": []}, 400, None), ({"steps": [0, 100]}, 400, None),
    ({"steps": list(range(1, 21)) + [100]}, 400, None), ({"steps": [10.5, 100]}, 400, None),
    ({"strategy": "blue_green", "steps": [10, 100]}, 400, None), ({"hold": "soon"}, 400, None), ({"hold": -1}, 400, None),
    ({"hold": "31d"}, 400, None), ({"thresholds": {"eror_rate": 1}}, 400, None), ({"thresholds": {"error_rate": 2}}, 400, None),
    ({"thresholds": {"min_samples": 0}}, 400, None), ({"thresholds": []}, 400, None), ({"holds": "5m"}, 400, "holds"),
])
def test_start_that_makes_no_sense_is_refused(world, members, status, param):
    answer = world.start(**members)
    control.error(answer, status)
    assert not param or answer.json()["error"]["param"] == param
    assert world.status("new") == "candidate"


def test_all_at_once_is_current_at_once_and_with_a_hold_it_is_watched_first(world):
    d = world.started("all_at_once")
    assert d["state"] == "succeeded" and world.status("new") == "current"
    assert set(world.models(10).values()) == {"new@1.0"}
    assert world.daemon.post("/api/v1/rollback", {"use_case": world.name}).json()["to"] == "old@1.0"
    d = world.started("all_at_once", hold=LONG)
    assert (d["state"], d["share"]) == ("progressing", 100)
    assert set(world.models(10).values()) == {"new@1.0"}
    world.new.default = m.reset  # the old one stands by
    assert set(world.models(10).values()) == {"old@1.0"}
    world.tell(d, "abort")


def test_rollback_ends_a_deployment_and_the_current_model_stays(world):
    d = world.started("blue_green", hold=LONG)
    answer = world.daemon.post("/api/v1/rollback", {"use_case": world.name, "reason": "no"})
    assert answer.status == 200 and answer.json()["deployment_id"] == d["deployment_id"]
    assert (answer.json()["from"], answer.json()["to"]) == ("new@1.0", "old@1.0")
    assert set(world.models(10).values()) == {"old@1.0"}
    d = world.wait(d, "rolled_back")
    assert d["rollback_reason"].endswith(": no") and world.status("new") == "candidate"


def test_model_that_is_taken_away_or_promoted_by_hand_ends_it(world):
    d = world.started(steps=[50, 100], hold=LONG)
    world.daemon.api("DELETE", "/api/v1/models/new@1.0?use_case=" + world.name)
    assert set(world.models(20).values()) == {"old@1.0"}
    world.wait(d, "aborted")
    world.daemon.api("PATCH", "/api/v1/models/new@1.0?use_case=" + world.name, {"status": "candidate"})
    d = world.started(steps=[50, 100], hold=LONG)
    world.daemon.api("POST", "/api/v1/models/new@1.0/promote", {"use_case": world.name})
    world.wait(d, "succeeded")
    assert world.status("old") == "deprecated"
