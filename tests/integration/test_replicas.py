# SPDX-License-Identifier: Apache-2.0
"""Several daemons on one PostgreSQL: what is changed through one serves from all."""
import itertools
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
        new = control.together(n, lambda i: m.Muster(tmp_path / ("d%d" % (len(started) + i)), "", ["--loops", "2"],
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
    assert took < limit, "%.3f s until %s served" % (took, name)
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
