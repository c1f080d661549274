# SPDX-License-Identifier: Apache-2.0
"""Deployments and rollback on a real PostgreSQL, which goes away in between."""
import time

import pytest

import control
import muster as m
import postgres
from deploying import World


@pytest.fixture(scope="module")
def cluster():
    c = postgres.Cluster()
    yield c
    c.close()


@pytest.fixture
def database(cluster):
    return cluster.database()


@pytest.fixture
def world(start_daemon, database, make_upstream):
    daemon = start_daemon("", "--loops", "2", **database.env())
    return World(daemon, make_upstream(m.ok("old words")), make_upstream(m.ok("new words")))


def test_canary_grows_and_its_rows_say_so(world, database):
    d = world.started(steps=[50, 100], hold=200, thresholds={"min_samples": 5})
    load = control.Load(world.daemon, world.name)
    try:
        world.wait(d, "succeeded")
    finally:
        load.end()
    assert not load.refused and not load.broken, (load.refused[:3], load.broken[:3])
    assert database.sql("select state, share_percent, strategy from model_deployments") == [["succeeded", "100", "canary"]]
    assert database.sql("select model_name from model_registry where status = 'current'") == [["new"]]
    assert world.daemon.api("GET", "/api/v1/deployments/" + d["deployment_id"][:12])["state"] == "succeeded"


@pytest.mark.parametrize("away,back", [("kill", "start"), ("freeze", "thaw")])
def test_rollback_while_it_is_away_serves_within_a_second_and_is_recorded_when_it_is_back(world, database, away, back):
    d = world.started("blue_green", hold="1h")
    load = control.Load(world.daemon, world.name)
    try:
        load.wait(100)
        database.cluster.do(away)
        try:
            begin = time.monotonic()
            answer = world.daemon.post("/api/v1/rollback", {"use_case": world.name, "reason": "away"})
            took = time.monotonic() - begin
            n = len(world.new.requests)
            load.wait(len(load.answered) + 200)
            print("%s: answered after %.0f ms, applied in %.1f ms" % (away, took * 1e3, answer.json()["applied_ms"]))
            assert answer.status == 202 and answer.json()["applied_ms"] < 1000 and took < 10, (answer, took)
            assert len(world.new.requests) == n
            assert set(world.models(10).values()) == {"old@1.0"}
        finally:
            database.cluster.do(back)
    finally:
        load.end()
    assert not load.refused and not load.broken, (load.refused[:3], load.broken[:3])
    m.eventually(lambda: database.sql("select state from model_deployments") == [["rolled_back"]], "the record", 60)
    assert database.sql("select reason from registry_events where kind = 'use_case.rollback'") == [["away"]]
    d = world.get(d)
    assert d["rollback_reason"] == "rolled back by anonymous: away" and world.status("new") == "candidate"
