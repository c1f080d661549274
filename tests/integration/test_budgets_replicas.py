# SPDX-License-Identifier: Apache-2.0
"""One budget, two daemons on one PostgreSQL: together they spend nearly all of it, and never more."""
import pytest

import control
import keyring
import muster as m
import postgres
from keyring import bearer
from test_budgets import COST, PRICE, ask, flood, many_files, usage  # noqa: F401


@pytest.fixture(scope="module")
def cluster():
    c = postgres.Cluster()
    yield c
    c.close()


@pytest.fixture
def database(cluster):
    return cluster.database()


@pytest.fixture
def upstream():
    with m.Upstream(usage()) as u:
        yield u


@pytest.fixture
def pair(tmp_path, database, upstream):
    """Two daemons that know of each other, a use case, and the key of an admin."""
    env = {"MUSTER_DATABASE_URL": database.url()}
    admin = keyring.first_key(tmp_path / "d0", **env)

    def start(i):
        return m.Muster(tmp_path / ("d%d" % i), "", ["--loops", "2"], env)

    daemons = control.together(2, start)
    for d in daemons:
        m.eventually(lambda: b"\nmuster_replicas 2\n" in d.request("GET", "/metrics", headers=bearer(admin)).body, "both")
    one = daemons[0]
    plain, one.request = one.request, lambda *a, **k: plain(*a, **dict(k, headers=k.get("headers") or bearer(admin)))
    one.register("shared", upstream, price=PRICE)
    one.use_case("shared", policy="none", fallback_content="")
    del one.request
    yield daemons[0], daemons[1], admin
    for d in daemons:
        if d.process.poll() is None:
            d.stop()


def make(daemon, admin, **members):
    answer = daemon.request("POST", "/api/v1/keys", dict(members, name="spender", role="client", reason="test"), bearer(admin))
    assert answer.status == 201, answer
    return answer.json()["key"]


def known(daemon, key):
    return daemon.request("GET", "/v1/models", headers=bearer(key)).status == 200


def budget(daemon, admin):
    answer = daemon.request("GET", "/api/v1/keys/spender", headers=bearer(admin))
    assert answer.status == 200, answer
    return answer.json()["budgets"][0]


def spend_up(daemons, key):
    """Asks through all until the budget is said to be spent: how many passed."""
    passed, over = 0, set()

    def more():
        nonlocal passed
        for d in daemons:
            answer = ask(d, "shared", key)
            passed += answer.status == 200
            if answer.status == 429 and answer.json()["error"]["code"] == "budget_exceeded":
                over.add(d)
        return len(over) == len(daemons)

    m.eventually(more, "the end of the budget")
    return passed


def test_a_thousand_over_two_daemons_do_not_overshoot(pair, many_files):  # noqa: F811
    one, two, admin = pair
    key = make(one, admin, budget="100/total")
    m.eventually(lambda: known(two, key), "the key")
    got = control.together(2, lambda i: flood(pair[i], 500, "shared", key, lambda: None))
    statuses = [a.status for answers in got for a in answers]
    passed = statuses.count(200)
    assert set(statuses) <= {200, 429} and passed * COST <= 100, passed
    passed += spend_up([one, two], key)
    assert passed * COST <= 100
    b = m.eventually(lambda: [b for b in [budget(one, admin)] if abs(b["spent"] - passed * COST) < 1e-6], "all to be told")[0]
    assert b["spent"] <= 100 and passed >= 85, "what one did not need the other had"


def test_without_the_database_a_daemon_spends_what_it_holds(pair, database):
    one, two, admin = pair
    key = make(one, admin, budget="40/total")
    m.eventually(lambda: known(two, key), "the key")
    m.eventually(lambda: budget(one, admin)["held"] > 15, "both to hold a part")
    database.cluster.do("kill")
    try:
        passed = 0
        for d in (one, two):
            while True:
                answer = ask(d, "shared", key)
                if answer.status != 200:
                    break
                passed += 1
            assert answer.status == 429, answer
        assert 1 <= passed and passed * COST <= 40
    finally:
        database.cluster.do("start")
    passed += spend_up([one, two], key)
    assert 33 <= passed and passed * COST <= 40


def test_one_that_dies_spends_no_more_than_it_was_lent(pair, database):
    one, two, admin = pair
    key = make(one, admin, budget="40/total")
    m.eventually(lambda: known(two, key), "the key")
    m.eventually(lambda: ask(two, "shared", key).status == 200, "a part of it")
    m.eventually(lambda: ask(one, "shared", key).status == 200, "a part of it")
    control.end_at_once(two)
    again = m.Muster(two.directory, "", ["--loops", "2"], {"MUSTER_DATABASE_URL": database.url()})
    try:
        passed = 2 + spend_up([one, again], key)
        assert 33 <= passed and passed * COST <= 40, "what it had not spent is there again"
    finally:
        again.stop()
