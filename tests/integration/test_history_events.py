# SPDX-License-Identifier: Apache-2.0
"""What was changed, by whom, why, from what to what; and what was current at any moment."""
import datetime
import time

import pytest

import control
import muster as m


def promote(daemon, ref, why, who="ops"):
    answer = daemon.post("/api/v1/models/%s/promote" % ref, {"reason": why}, {"x-muster-actor": who})
    assert answer.status == 200, answer
    return answer.json()["model"]


def earlier(at, us=1):
    """A moment just before an event's."""
    t = datetime.datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%fZ") - datetime.timedelta(microseconds=us)
    return t.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture
def case(daemon):
    """A use case with three models, none of them current."""
    name = daemon.name("hist")
    for i in range(3):
        daemon.register(name, "http://127.0.0.1:9", name="m%d-%s" % (i, name.replace("_", "-")), promote=False)
    return name


def ref(case, i):
    return "m%d-%s@1.0" % (i, case.replace("_", "-"))


def test_what_was_current_then_for_any_moment(daemon, case):
    moments = []
    for i in (0, 1, 2, 0):
        model = promote(daemon, ref(case, i), "turn")
        moments.append((model["status_since"], model["model_name"]))
    daemon.request("DELETE", "/api/v1/models/" + ref(case, 0))
    gone = daemon.api("GET", "/api/v1/events?use_case=%s&limit=1" % case)["data"][0]["at"]
    path = "/api/v1/use-cases/%s/current?at=" % case
    control.error(daemon.get(path + earlier(moments[0][0])), 404, "no_current_model")
    for i, (at, name) in enumerate(moments):
        until = moments[i + 1][0] if i + 1 < len(moments) else gone
        for moment in (at, earlier(until)):
            got = daemon.api("GET", path + moment)
            assert got["model"]["model_name"] == name and got["since"] == at and got["at"] == moment, (i, got)
            assert got["model"]["status"] == "current"
    control.error(daemon.get(path + gone), 404, "no_current_model")
    control.error(daemon.get("/api/v1/use-cases/%s/current" % case), 404, "no_current_model")


def test_the_past_shows_the_model_as_it_was(daemon, case):
    promote(daemon, ref(case, 0), "first")
    before = daemon.api("GET", "/api/v1/models/" + ref(case, 0))
    daemon.api("PATCH", "/api/v1/models/" + ref(case, 0), {"configuration": {"endpoint": "http://127.0.0.1:10"}})
    after = daemon.api("GET", "/api/v1/models/" + ref(case, 0))
    path = "/api/v1/use-cases/%s/current?at=" % case
    assert daemon.api("GET", path + earlier(after["updated_at"]))["model"] == before
    now = daemon.api("GET", path + "0s")
    assert now["model"] == after and now["since"] == before["status_since"], "since it was promoted, not since changed"


def test_times_are_taken_in_every_form(daemon, case):
    promote(daemon, ref(case, 0), "now")
    path = "/api/v1/use-cases/%s/current?at=" % case

    for at in ("0s", str(int(time.time()) + 5), "2126-01-01T00:00:00Z"):
        assert daemon.get(path + at).status == 200, at
    for at in ("1h", "7d", "2020-01-31", "2020-01-31T12:00:00Z", "1500000000"):
        control.error(daemon.get(path + at), 404, "no_current_model")
    for at in ("yesterday", "25:00", "2020-13-01T00:00:00Z", "1x", "-5m"):
        message = control.error(daemon.get(path + at), 400)
        assert "at" in message and "2026-01-31T12:00:00Z" in message


def test_past_survives_a_restart(start_daemon):
    daemon = start_daemon()
    daemon.register("u", "http://127.0.0.1:9", name="one")
    at = daemon.api("GET", "/api/v1/use-cases/u/current")["status_since"]
    daemon.register("u", "http://127.0.0.1:9", name="two")
    control.stop(daemon)
    daemon = m.Muster(daemon.directory)
    assert daemon.api("GET", "/api/v1/use-cases/u/current?at=" + at)["model"]["model_name"] == "one"
    assert daemon.api("GET", "/api/v1/use-cases/u/current")["model_name"] == "two"
    assert len(daemon.api("GET", "/api/v1/events?use_case=u")["data"]) == 5
    daemon.stop()


def test_events_filter_by_subject_kind_use_case_and_time(daemon, case):
    promote(daemon, ref(case, 0), "one")
    model = promote(daemon, ref(case, 1), "two")
    daemon.use_case(case, policy="none", reason="three")
    every = daemon.api("GET", "/api/v1/events?use_case=" + case)["data"]
    assert len(every) == 3 + 1 + 2 + 1
    assert [e["event_id"] for e in every] == sorted((e["event_id"] for e in every), reverse=True), "newest first"
    for e in every:
        assert control.UUID.match(e["event_id"]) and control.TIME.match(e["at"]) and e["use_case"] == case

    def got(query):
        return daemon.api("GET", "/api/v1/events?use_case=%s&%s" % (case, query))["data"]

    assert [e["kind"] for e in got("kind=use_case.settings")] == ["use_case.settings"]
    assert got("kind=use_case.settings")[0]["subject"] == case
    assert {e["kind"] for e in got("subject=" + model["model_id"])} == {"model.registered", "model.status"}
    assert got("until=" + every[-1]["at"]) == every[-1:], "until is a moment that counts"
    assert got("until=" + earlier(every[-1]["at"])) == []
    assert got("kind=nothing") == []


def test_events_come_in_pages(daemon, case):
    for i in range(6):
        daemon.use_case(case, fallback_content="text %d" % i)
    whole = daemon.api("GET", "/api/v1/events?use_case=" + case)["data"]
    seen, before = [], ""
    while True:
        page = daemon.api("GET", "/api/v1/events?use_case=%s&limit=4%s" % (case, before))
        seen += page["data"]
        if not page["has_more"]:
            assert page["next"] is None
            break
        before = "&before=" + page["next"]
    assert seen == whole and len(seen) == 9


def test_settings_and_policies_leave_events_with_before_and_after(daemon):
    case = daemon.name("hist")
    policy = "p-" + case.replace("_", "-")
    daemon.policy(policy, reason="begin")
    rule = {"id": "a", "kind": "literal", "action": "flag", "values": ["x"]}
    answer = daemon.request("PUT", "/api/v1/guardrails/policies/" + policy, {"rules": [rule], "reason": "more"},
                            {"x-muster-actor": "gil"})
    assert answer.status == 200, answer
    second, first = daemon.api("GET", "/api/v1/events?subject=" + policy)["data"]
    assert (second["kind"], second["actor"], second["reason"], second["use_case"]) == ("policy.saved", "gil", "more", None)
    assert first["before"] is None and first["after"] == second["before"] and first["after"]["rules"] == []
    assert second["after"]["rules"][0]["values"] == ["x"] and second["after"] == answer.json()
    daemon.use_case(case, policy=policy, reason="guard it")
    daemon.use_case(case, policy=policy, fallback_content="x")
    second, first = daemon.api("GET", "/api/v1/events?use_case=%s&kind=use_case.settings" % case)["data"]
    assert first["reason"] == "guard it" and first["before"] is None and first["after"]["policy"] == policy
    assert second["before"] == first["after"] and second["after"]["fallback_content"] == "x"
    daemon.use_case(case, policy=policy, fallback_content="x")
    assert len(daemon.api("GET", "/api/v1/events?use_case=" + case)["data"]) == 2, "the same again is no change"


def test_history_can_be_appended_to_only(daemon, case):
    with control.database(daemon) as db:
        for sql in ("delete from registry_events", "update registry_events set actor = 'nobody'"):
            with pytest.raises(Exception, match="append-only"):
                db.execute(sql)


def test_refused_change_leaves_no_event(daemon, case):
    before = daemon.api("GET", "/api/v1/events?limit=1")["data"]
    daemon.post("/api/v1/models", {"model_name": "x"})
    daemon.request("PUT", "/api/v1/use-cases/" + case, {"log": "x"})
    daemon.request("PUT", "/api/v1/guardrails/policies/bad", {"rules": [{}]})
    daemon.post("/api/v1/models/nope/promote", {})
    assert daemon.api("GET", "/api/v1/events?limit=1")["data"] == before
