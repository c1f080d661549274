# SPDX-License-Identifier: Apache-2.0
"""Taking a use case back: under load, while the database is away, beside a stopped daemon."""
import threading
import time

import pytest

import control
import muster as m

TAKES = 1.0  # seconds from the command to the last new request on the bad model


class Clocked:
    """An upstream's default that notes when each request came."""

    def __init__(self, text):
        self.at, self.answer = [], m.ok(text)

    def __call__(self, c, r):
        self.at.append(time.monotonic())
        self.answer(c, r)


@pytest.fixture
def world(start_daemon, make_upstream):
    """A use case whose current model `bad` has replaced `good`."""
    daemon = start_daemon("", "--loops", "2")
    good, bad = make_upstream(Clocked("good words")), make_upstream(Clocked("bad words"))
    daemon.use_case("drill", policy="none", fallback_content="")
    daemon.register("drill", good, name="good")
    daemon.register("drill", bad, name="bad")
    return daemon, good, bad


def back(daemon, **members):
    return daemon.post("/api/v1/rollback", dict({"use_case": "drill", "reason": "drill"}, **members))


def served_by(daemon):
    return daemon.chat("drill").headers["x-muster-model"]


def events(daemon, kind):
    return daemon.api("GET", "/api/v1/events?use_case=drill&kind=" + kind)["data"]


def test_under_load_no_request_fails_and_the_last_on_the_bad_model_came_within_a_second(world):
    daemon, good, bad = world
    load = control.Load(daemon, "drill", threads=8)
    load.wait(200)
    begin = time.monotonic()
    answer = back(daemon)
    answered = time.monotonic()
    load.wait(len(load.answered) + 400)
    load.end()
    last = max(bad.default.at) - begin
    print("rollback: answered after %.1f ms, last new request on the bad model after %.1f ms, applied_ms %.1f" %
          ((answered - begin) * 1e3, last * 1e3, answer.json()["applied_ms"]))
    assert answer.status == 200, answer
    assert answer.json()["recorded"] is True
    assert (answer.json()["from"], answer.json()["to"]) == ("bad@1.0", "good@1.0")
    assert last < TAKES
    assert not [t for t in bad.default.at if t > answered + 0.1]  # it had come to the daemon before
    assert not load.refused and not load.broken, (load.refused[:3], load.broken[:3])


def test_stream_in_flight_ends_on_the_old_model(world):
    daemon, good, bad = world
    gate = threading.Event()

    def slow(c, r):
        c.begin_stream()
        c.event(m.chunk("one ", role="assistant"))
        assert gate.wait(m.LIMIT)
        c.event(m.chunk("two"))
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    bad.script.append(slow)
    with daemon.chat_stream("drill") as stream:
        first = stream.event()
        assert back(daemon).status == 200
        assert served_by(daemon) == "good@1.0"
        gate.set()
        assert stream.headers["x-muster-model"] == "bad@1.0"
        events = [first] + stream.events()
    assert m.chat_text(events) == "one two" and events[-1] == "[DONE]"


def test_while_the_database_is_held_it_serves_at_once_and_is_recorded_later(world):
    daemon, good, bad = world
    with control.held(daemon):
        answers = []
        asked = threading.Thread(target=lambda: answers.append(back(daemon)))
        begin = time.monotonic()
        asked.start()
        m.eventually(lambda: served_by(daemon) == "good@1.0", "the good model", TAKES)
        print("rollback without database: serves after %.1f ms" % ((time.monotonic() - begin) * 1e3))
        asked.join()
        assert answers[0].status == 202, answers
        assert answers[0].json()["recorded"] is False and answers[0].json()["not_recorded_because"]
        assert "rollback" in daemon.get("/health").json()["parts"]["registry"]["detail"]
        again = back(daemon)
        assert again.status == 404, again  # nothing was current before the good one
    m.eventually(lambda: len(events(daemon, "use_case.rollback")) == 1, "the record")
    event = events(daemon, "use_case.rollback")[0]
    assert [(event[k]["model_name"], event[k]["version"]) for k in ("before", "after")] == [("bad", "1.0"), ("good", "1.0")]
    assert "bad@1.0 -> good@1.0" in control.works(daemon, "use-case", "history", "drill", "--limit", "3")
    changes = daemon.api("GET", "/api/v1/review?use_case=drill")["changes"]
    assert [(c["name"], c["from"], c["to"]) for c in changes if c["kind"] == "use_case.rollback"] == [
        ("drill", "bad@1.0", "good@1.0")]
    current = daemon.api("GET", "/api/v1/use-cases/drill")["current"]
    assert current["model_name"] == "good"
    assert served_by(daemon) == "good@1.0"


def test_killed_before_it_was_recorded_it_still_holds(world, tmp_path):
    daemon, good, bad = world
    with control.held(daemon):
        assert back(daemon).status == 202
        control.end_at_once(daemon)
        again = m.Muster(daemon.directory)
        try:
            assert served_by(again) == "good@1.0"
        except BaseException:
            again.process.kill()
            raise
    m.eventually(lambda: len(events(again, "use_case.rollback")) == 1, "the record")
    assert again.api("GET", "/api/v1/use-cases/drill")["current"]["model_name"] == "good"
    again.stop()
    daemon.process.returncode = 0  # the fixture's own end finds it ended
    daemon.stop = lambda: None


def test_snapshots_bring_back_what_was(world):
    daemon, good, bad = world
    assert back(daemon).status == 200
    kept = daemon.api("GET", "/api/v1/snapshots?use_case=drill")["data"]
    assert len(kept) == 1 and kept[0]["document"]["model"]["model_name"] == "bad"
    assert kept[0]["actor"] == "anonymous" and kept[0]["reason"] == "drill"
    forth = back(daemon, snapshot_id=kept[0]["snapshot_id"])
    assert forth.status == 200 and forth.json()["to"] == "bad@1.0", forth
    assert served_by(daemon) == "bad@1.0"


def test_a_snapshot_brings_back_what_its_policy_said(world):
    daemon, good, bad = world
    daemon.policy("house", {"id": "word", "kind": "literal", "values": ["forbidden"], "action": "block"})
    daemon.use_case("drill", policy="house", fallback_content="")
    assert back(daemon).status == 200
    kept = daemon.api("GET", "/api/v1/snapshots?use_case=drill")["data"][0]["snapshot_id"]
    daemon.policy("house")
    assert daemon.chat("drill", "forbidden").status == 200
    got = back(daemon, snapshot_id=kept).json()
    assert got["policy"].startswith("house-"), got
    assert daemon.chat("drill", "forbidden").status == 400
    assert daemon.api("GET", "/api/v1/guardrails/policies/house")["rules"] == []


@pytest.mark.parametrize("body,status,code", [
    ({}, 400, "missing_member"), ({"use_case": "nope"}, 404, "nothing_to_roll_back_to"),
    ({"use_case": "drill", "to_model": "nope"}, 404, "nothing_to_roll_back_to"),
    ({"use_case": "drill", "to_model": "bad"}, 409, "cannot_roll_back"),
    ({"use_case": "drill", "to_model": "good", "snapshot_id": "x"}, 400, "invalid_value"),
    ({"use_case": "drill", "snapshot_id": "x"}, 400, "invalid_value"),
    ({"use_case": "drill", "snapshot_id": "0198b2a4-6d1e-7c3a-9f00-2b6f6c1d8e11"}, 404, "snapshot_not_found"),
    ({"use_case": "drill", "to": "good"}, 400, "unknown_parameter"),
])
def test_what_cannot_be_is_refused_and_changes_nothing(world, body, status, code):
    daemon, good, bad = world
    control.error(daemon.post("/api/v1/rollback", body), status, code)
    assert served_by(daemon) == "bad@1.0"


def test_command_line_through_the_daemon_and_beside_a_stopped_one(world):
    daemon, good, bad = world
    said = control.works(daemon, "rollback", "drill", "--why", "drill")
    assert "good@1.0 serves again" in said
    refused = control.cli(daemon, "rollback", "drill", "--why", "drill")
    assert refused.rc == 1 and "--to MODEL" in refused.err
    assert control.cli(daemon, "rollback", "drill").rc == 2  # --why is asked for
    daemon.stop()
    daemon.stop = lambda: None
    away = control.cli(daemon, "rollback", "drill", "--to", "bad", "--why", "w")
    assert away.rc == 1 and "--data DIR" in away.err
    data = daemon.directory + "/data"
    said = control.works(daemon, "rollback", "drill", "--to", "bad", "--why", "beside", "--data", data)
    assert "bad@1.0 serves again" in said
    none = control.cli(daemon, "rollback", "drill", "--why", "w", "--data", daemon.directory + "/nowhere")
    assert none.rc == 1, none
    again = m.Muster(daemon.directory)
    try:
        assert served_by(again) == "bad@1.0"
        event = events(again, "use_case.rollback")[0]
        assert event["reason"] == "beside" and "@" in event["actor"]
    finally:
        again.stop()
