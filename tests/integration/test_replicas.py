# SPDX-License-Identifier: Apache-2.0
"""Several daemons on one PostgreSQL: what is changed through one serves from all."""
import itertools
import os
import re
import signal
import time

import pytest

import control
import muster as m
import postgres


@pytest.fixture(scope="module")
def cluster():
    c = postgres.Cluster()
    yield c
    c.close()


@pytest.fixture
def database(cluster):
    return cluster.database()


@pytest.fixture
def replicas(tmp_path, database):
    """Starts daemons on the test's database."""
    started = []

    def start(n=2, url=None):
        new = control.together(n, lambda i: m.Muster(tmp_path / ("d%d" % (len(started) + i)), "", ["--loops", "2", "--log.level", "debug"],
                                                     {"MUSTER_DATABASE_URL": url or database.url()}))
        started.extend(new)
        return new

    yield start
    for d in started:
        if d.process.poll() is None:
            d.stop()


versions = itertools.count(1)


def register(daemon, upstream):
    """A version of its own: names are the same on all daemons."""
    return daemon.register("load", upstream, name="a", version="%d.0" % next(versions))


def case(daemon, upstream):
    daemon.use_case("load", policy="none", fallback_content="")
    return register(daemon, upstream)


def served_by(daemon, name, use_case="load"):
    answer = daemon.get("/api/v1/use-cases/%s/current" % use_case)
    if answer.status != 200:
        return False
    model = answer.json()
    model = model.get("model", model)
    return "%s@%s" % (model["model_name"], model["version"]) == name


def until_served(daemon, name, limit=1.0):
    """How long it took; fails past the limit."""
    begin = time.monotonic()
    while not served_by(daemon, name):
        assert time.monotonic() - begin < 10, "%s never served %s" % (daemon.url, name)
        time.sleep(0.005)
    took = time.monotonic() - begin
    assert took < limit, "%.3f s until %s served\n%s" % (took, name, daemon.errors())
    return took


def through(how, database):
    if how == "pooler" and not database.cluster.pool:
        pytest.skip("pgbouncer is not installed")
    return {"listening": database.url(), "asking": database.url(options="?listen=off"),
            "pooler": database.url(database.cluster.pool)}[how]


@pytest.mark.parametrize("how", ["listening", "asking", "pooler"])
def test_promotion_through_one_serves_from_the_other_within_a_second(replicas, database, make_upstream, how):
    one, two = replicas(2, through(how, database))
    name = case(one, make_upstream(m.ok("as before")))
    m.eventually(lambda: served_by(two, name), "the other daemon to serve")
    loads = [control.Load(d, "load") for d in (one, two)]
    try:
        for i in range(6):
            new = register((one, two)[i % 2], make_upstream(m.ok("answer %d" % i)))
            until_served((two, one)[i % 2], new)
            assert (two, one)[i % 2].generate("load").json()["text"] == "answer %d" % i
        for load in loads:
            load.wait(len(load.answered) + 50)
    finally:
        for load in loads:
            load.end()
    for load in loads:
        assert not load.refused and not load.broken, (load.refused[:3], load.broken[:3])


def test_settings_serve_from_the_other(replicas, make_upstream):
    one, two = replicas()
    name = case(one, make_upstream(m.ok("fine")))
    until_served(two, name)
    one.use_case("load", policy="none", fallback_content="not today")
    m.eventually(lambda: two.api("GET", "/api/v1/use-cases/load")["settings"].get("fallback_content") == "not today",
                 "the settings to come over")
    assert two.api("GET", "/health")["status"] == "ok"


def generation(daemon):
    return control.metric(daemon, "muster_snapshot_generation", loop="0")


def test_own_changes_are_published_once(replicas, make_upstream):
    one, two = replicas()
    name = case(one, make_upstream())
    until_served(two, name)
    before = generation(one)
    name = register(one, make_upstream())
    until_served(two, name)
    assert before and generation(one) == before + 2  # registered, promoted


# --- who leads ---


def leaders(daemons):
    return [d for d in daemons if control.metric(d, "muster_leader", lease="rollout") == 1]


def until_one_leads(daemons, limit=10):
    """The one, and how long it took."""
    begin = time.monotonic()
    m.eventually(lambda: len(leaders(daemons)) == 1, "one leader of %d" % len(daemons))
    took = time.monotonic() - begin
    assert took < limit, took
    return leaders(daemons)[0], took


def epoch(daemon):
    return control.metric(daemon, "muster_leader_epoch", lease="rollout")


def says(daemon, text):
    return text in daemon.api("GET", "/health")["parts"]["leader"]["detail"]


def test_killing_the_leader_moves_the_lease_within_ten_seconds(replicas, database):
    daemons = replicas(3)
    first, _ = until_one_leads(daemons)
    before = epoch(first)
    rest = [d for d in daemons if d is not first]
    m.eventually(lambda: says(first, "this daemon leads") and all(says(d, "another daemon leads") for d in rest),
                 "health to say who leads")
    control.end_at_once(first)
    second, _ = until_one_leads(rest)
    assert epoch(second) > before
    assert database.sql("select epoch from leases where name = 'rollout'") == [["%d" % epoch(second)]]


def test_leader_that_stops_gives_the_lease_back_at_once(replicas):
    daemons = replicas(2)
    first, _ = until_one_leads(daemons)
    other = [d for d in daemons if d is not first]
    control.stop(first)
    second, _ = until_one_leads(other, limit=4)
    assert epoch(second) >= 2


def test_leader_that_was_frozen_does_not_lead_when_it_wakes(replicas):
    daemons = replicas(2)
    first, _ = until_one_leads(daemons)
    (other,) = [d for d in daemons if d is not first]
    first.process.send_signal(signal.SIGSTOP)
    try:
        until_one_leads([other])
    finally:
        first.process.send_signal(signal.SIGCONT)
    assert control.metric(first, "muster_leader", lease="rollout") == 0
    assert leaders(daemons) == [other]


# --- deployments: what all of them count ---


def test_bad_model_is_rolled_back_though_the_leader_sees_no_request(replicas, database, make_upstream):
    daemons = replicas(2)
    leader, _ = until_one_leads(daemons)
    (follower,) = [d for d in daemons if d is not leader]
    good, bad = make_upstream(m.ok("good")), make_upstream(m.answer_with(500, {"error": {"message": "broken"}}))
    leader.use_case("roll", policy="none", fallback_content="")
    leader.register("roll", good, name="old")
    leader.register("roll", bad, name="new", promote=False)
    m.eventually(lambda: served_by(follower, "old@1.0", "roll"), "the follower to serve")
    d = leader.api("POST", "/api/v1/deployments",
                   {"use_case": "roll", "model": "new@1.0", "strategy": "canary", "steps": [50, 100], "hold": "1h",
                    "thresholds": {"min_samples": 20, "error_rate": 0.2}, "reason": "test"})
    path = "/api/v1/deployments/" + d["deployment_id"]
    load = control.Load(follower, "roll")
    try:
        m.eventually(lambda: leader.api("GET", path)["state"] == "rolled_back", "the rollback")
    finally:
        load.end()
    now = leader.api("GET", path)
    said = re.match(r"error rate ([0-9.]+) % \((\d+) of (\d+) requests\), limit 20.00 %$", now["rollback_reason"])
    assert said and int(said[2]) >= 5 and int(said[3]) >= int(said[2]), now["rollback_reason"]
    assert not load.refused and not load.broken, (load.refused[:3], load.broken[:3])  # the old model answered
    assert now["evidence"]["replicas"] >= 1
    rows = database.sql("select instance, candidate_errors from deployment_figures")
    assert len(rows) == 1 and int(rows[0][1]) >= 5, rows


# --- the database goes away ---


@pytest.mark.parametrize("options", ["", "?listen=off"])
def test_both_serve_without_the_database_and_both_catch_up(replicas, database, make_upstream, options):
    one, two = replicas(2, database.url(options=options))
    until_one_leads([one, two])
    until_served(two, case(one, make_upstream(m.ok("as before"))))
    loads = [control.Load(d, "load") for d in (one, two)]
    try:
        database.cluster.do("kill")
        try:
            for d in (one, two):
                m.eventually(lambda: d.api("GET", "/health")["parts"]["leader"]["state"] == "degraded",
                             "health to notice")
            for load in loads:
                load.wait(len(load.answered) + 100)
            assert len(leaders([one, two])) <= 1
        finally:
            database.cluster.do("start")
        for d in (one, two):
            m.eventually(lambda: d.get("/health").json()["status"] == "ok", "health, with the database back")
        new = register(one, make_upstream(m.ok("afterwards")))
        until_served(two, new)
        until_served(one, register(two, make_upstream(m.ok("and then"))))
        until_one_leads([one, two])
    finally:
        for load in loads:
            load.end()
    for load in loads:
        assert not load.refused and not load.broken, (load.refused[:3], load.broken[:3])


def test_change_made_while_a_daemon_did_not_listen_is_found_later(replicas, database, make_upstream):
    one, two = replicas(2)
    until_served(two, case(one, make_upstream()))
    database.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'muster' "
                 "and query like 'listen%'")
    until_served(two, register(one, make_upstream()), limit=6)  # a lost connection is made anew


def test_rollback_through_one_reaches_the_other_within_a_second(replicas, make_upstream):
    one, two = replicas(2)
    good = case(one, make_upstream(m.ok("good")))
    until_served(two, register(one, make_upstream(m.ok("bad"))))
    two.api("POST", "/api/v1/rollback", {"use_case": "load", "reason": "test"})
    until_served(one, good)
    assert served_by(two, good)


def test_what_came_from_another_is_kept_for_a_start_without_database(replicas, database, make_upstream):
    one, two = replicas(2)
    name = case(one, make_upstream(m.ok("kept")))
    until_served(two, name)
    path = os.path.join(two.directory, "data", "snapshot.json")
    m.eventually(lambda: os.path.exists(path) and '"current"' in open(path).read(), "the snapshot on disk")
