# SPDX-License-Identifier: Apache-2.0
"""Records that applications name themselves: sent again they change nothing, wherever and whenever."""
import time
import uuid

import pytest

import control
import muster as m
import postgres


@pytest.fixture(scope="module")
def cluster():
    c = postgres.Cluster()
    yield c
    c.close()


def uuid7():
    ms = int(time.time() * 1000)
    return str(uuid.UUID(int=ms << 80 | 0x7 << 76 | 0x2 << 62 | uuid.uuid4().int & ((1 << 62) - 1)))


def send(daemon, case, status, key=None, **members):
    body = dict({"model_id": "m", "use_case": case, "prompt": "p"}, **members)
    answer = daemon.post("/api/v1/logs", body, {"idempotency-key": key} if key else None)
    assert answer.status == status, answer
    return answer.json().get("log_id")


def listed(daemon, case, query=""):
    return daemon.api("GET", "/api/v1/logs?use_case=%s%s" % (case, query))["data"]


def test_a_record_that_is_sent_again_is_there_once(daemon):
    case, name = daemon.name("named"), uuid7()
    first = send(daemon, case, 201, id=name)
    assert send(daemon, case, 200, id=name, prompt="another") == first
    assert send(daemon, case, 200, key=name) == first
    other = send(daemon, case, 201, id=uuid7())
    keyed = send(daemon, case, 201, key="order-17", created_at="2026-01-31T12:00:00Z")
    assert send(daemon, case, 200, key="order-17", created_at="2026-01-31T12:00:00Z") == keyed
    assert [r["log_id"] for r in listed(daemon, case)] == [other, first, keyed], "newest first"
    assert {r["log_id"] for r in listed(daemon, case, "&since=5m")} == {other, first}
    assert daemon.api("GET", "/api/v1/logs/" + first)["prompt"] == "p"


@pytest.mark.parametrize("members,param", [
    ({"id": "17"}, "id"), ({"id": str(uuid.uuid4())}, "id"), ({"id": ""}, "id"),
    ({"id": str(uuid.uuid4()), "created_at": "5m"}, "created_at"), ({"key": "order-17"}, "Idempotency-Key"),
])
def test_a_name_without_a_time_is_refused_with_what_to_do(daemon, members, param):
    members = dict(members)
    answer = daemon.post("/api/v1/logs", dict({"model_id": "m", "use_case": "u"}, **{k: v for k, v in members.items() if k != "key"}),
                         {"idempotency-key": members["key"]} if "key" in members else None)
    control.error(answer, 400, "invalid_id")
    assert answer.json()["error"]["param"] == param, answer


def test_it_is_the_same_record_after_a_restart(tmp_path):
    name = uuid7()
    d = m.Muster(tmp_path / "d")
    first = send(d, "named", 201, id=name)
    d.process.kill()
    d.process.wait()
    d = m.Muster(tmp_path / "d")
    assert send(d, "named", 201, id=name) == first
    assert [r["log_id"] for r in listed(d, "named")] == [first]
    d.stop()


def test_it_is_the_same_record_through_every_daemon_and_while_the_database_is_away(start_daemon, cluster):
    database, name = cluster.database(), uuid7()
    a, b = (start_daemon("", **database.env()) for _ in range(2))
    cluster.do("stop")
    try:
        first = send(a, "named", 201, id=name)
        assert send(a, "named", 200, id=name) == first
        assert send(b, "named", 201, id=name) == first
    finally:
        cluster.do("start")
    last = send(b, "named", 201, id=uuid7())
    m.eventually(lambda: {r[0] for r in database.sql("select id from model_historical_logs")} == {first, last}, "both records")
    for d in (a, b):
        m.eventually(lambda d=d: control.metric(d, "muster_log_lag_seconds") == 0, "the spool to be empty")
    assert database.sql("select count(*) from model_historical_logs") == [["2"]]
