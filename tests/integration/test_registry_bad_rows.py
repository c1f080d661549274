# SPDX-License-Identifier: Apache-2.0
"""Rows of the database that cannot be used: everybody else is served, and nothing leaves unjudged."""
import contextlib
import sqlite3

import pytest

import control
import muster as m


@contextlib.contextmanager
def spoilt(tmp_path, upstream, *statements, forget=True):
    """A daemon with use cases `ill` (policy strict) and `well`, started again after the statements."""
    first = m.Muster(tmp_path)
    try:
        first.policy("strict", {"id": "w", "kind": "literal", "action": "block", "severity": "high",
                                "values": ["forbidden"]})
        for case, policy in (("ill", "strict"), ("well", "none")):
            first.use_case(case, policy=policy, fallback_content="")
            first.register(case, upstream, name=case + "-model")
    finally:
        first.stop()
    if forget:
        (tmp_path / "data" / "snapshot.json").unlink()
    with contextlib.closing(sqlite3.connect(str(tmp_path / "data" / "muster.db"))) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()
    second = m.Muster(tmp_path)
    try:
        yield second
    finally:
        second.stop()


def registry(daemon):
    return daemon.api("GET", "/health")["parts"]["registry"]


BAD_POLICY = "update guardrail_policies set document = '{\"name\":\"strict\",\"rules\":7}' where name = 'strict'"
NO_PATTERN = ("update guardrail_policies set document = '{\"name\":\"strict\",\"rules\":[{\"id\":\"x\",\"kind\":\"pattern\","
              "\"action\":\"block\",\"severity\":\"low\",\"values\":[\"(\"]}]}' where name = 'strict'")
BAD_SETTINGS = "update use_cases set settings = '{\"policy\":7}' where name = 'ill'"


@pytest.mark.parametrize("statement,name", [(BAD_POLICY, "strict"), (NO_PATTERN, "strict"), (BAD_SETTINGS, "ill")])
def test_what_cannot_be_judged_is_not_served(tmp_path, upstream, statement, name):
    with spoilt(tmp_path, upstream, statement) as daemon:
        part = registry(daemon)
        assert part["state"] == "degraded" and name in part["detail"] and part["evidence"]["left_out"] == 1, part
        assert control.metric(daemon, "muster_registry_left_out") == 1
        before = len(upstream.requests)
        answer = daemon.chat("ill", "a forbidden word")
        assert answer.status in (200, 503), answer
        if answer.status == 200:  # settings that nobody can read may have asked for content of their own
            assert answer.headers["x-muster-fallback"] == "content"
        else:
            assert "nothing leaves unjudged" in answer.json()["error"]["message"]
        assert len(upstream.requests) == before, "no model was asked"
        assert daemon.chat("well").status == 200
        assert daemon.get("/health/ready").status == 200


@pytest.mark.parametrize("statement", [BAD_POLICY, NO_PATTERN, BAD_SETTINGS])
def test_version_that_served_last_goes_on(tmp_path, upstream, statement):
    with spoilt(tmp_path, upstream, statement, forget=False) as daemon:
        part = registry(daemon)
        assert part["state"] == "degraded" and "the version before serves" in part["detail"], part
        assert daemon.chat("ill", "a word").status == 200
        assert daemon.chat("ill", "a forbidden word").status == 400
        daemon.policy("strict", {"id": "w", "kind": "literal", "action": "block", "severity": "high",
                                 "values": ["forbidden", "new"]})
        daemon.use_case("ill", policy="strict", fallback_content="")
        assert registry(daemon)["state"] == "ok"
        assert daemon.chat("ill", "a new word").status == 400


def test_bad_model_is_left_out_and_its_use_case_falls_back(tmp_path, upstream):
    statement = "update model_registry set configuration = '{\"endpoint\":7}' where model_name = 'ill-model'"
    with spoilt(tmp_path, upstream, statement) as daemon:
        part = registry(daemon)
        assert part["state"] == "degraded" and "ill-model@1.0" in part["detail"], part
        assert daemon.chat("ill").status == 503
        assert daemon.chat("well").status == 200
        daemon.register("well", upstream, name="another", promote=False)  # changes go on
        bad = {"model_name": "bad", "version": "1", "use_case": "well", "provider": "custom",
               "configuration": {"endpoint": 7}}
        control.error(daemon.post("/api/v1/models", bad), 400)
        daemon.register("ill", upstream, name="mended")
        assert daemon.chat("ill").status == 200
