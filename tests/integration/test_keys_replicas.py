# SPDX-License-Identifier: Apache-2.0
"""Rates of keys that several daemons on one PostgreSQL share: through one, through both, without the database."""
import threading
import time

import pytest

import control
import keyring
import muster as m
import postgres
from keyring import bearer


@pytest.fixture(scope="module")
def cluster():
    c = postgres.Cluster()
    yield c
    c.close()


@pytest.fixture
def database(cluster):
    return cluster.database()


@pytest.fixture
def pair(tmp_path, database):
    """Two daemons that know of each other, and the key of an admin."""
    env = {"MUSTER_DATABASE_URL": database.url()}
    key = keyring.first_key(tmp_path / "d0", **env)
    daemons = control.together(2, lambda i: m.Muster(tmp_path / ("d%d" % i), "", ["--loops", "2"], env))
    for d in daemons:
        m.eventually(lambda: b"\nmuster_replicas 2\n" in d.request("GET", "/metrics", headers=bearer(key)).body, "both")
    yield daemons[0], daemons[1], key
    for d in daemons:
        if d.process.poll() is None:
            d.stop()


def make(daemon, admin, **limits):
    answer = daemon.request("POST", "/api/v1/keys", dict(limits, name="shared", role="client", reason="test"), bearer(admin))
    assert answer.status == 201, answer
    return answer.json()["key"]


def known(daemon, key):
    """Asks what takes nothing from the rate but tells whether the key is known."""
    return daemon.request("GET", "/v1/models", headers=bearer(key)).status != 401


class Hammer:
    """Asks through one daemon without pause; counts what passed."""

    def __init__(self, daemon, key):
        self.daemon, self.key, self.passed, self.asked, self.wrong = daemon, key, 0, 0, []
        self.stop = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop:
            status = self.daemon.request("GET", "/v1/models", headers=bearer(self.key)).status
            self.asked += 1
            self.passed += status == 200
            if status not in (200, 429):
                self.wrong.append(status)
            time.sleep(0.01)

    def end(self):
        self.stop = True
        self.thread.join()


RATE = 60


def most(n_daemons, elapsed):
    """A full bucket, what came back meanwhile, the advances, and one for the rounding of each."""
    return RATE + RATE * elapsed / 60 + n_daemons * (max(1, RATE // 16) + 1)


def test_through_one_alone_nearly_all_of_the_rate_passes(pair):
    one, two, admin = pair
    key = make(one, admin, requests_per_minute=RATE)
    m.eventually(lambda: known(two, key), "the key")
    begin = time.monotonic() - 1
    hammer = Hammer(two, key)
    try:
        m.eventually(lambda: hammer.passed >= RATE * 0.9, "the rate to pass")
    finally:
        hammer.end()
    assert not hammer.wrong and hammer.passed <= most(1, time.monotonic() - begin), (hammer.passed, hammer.wrong)


def test_through_both_no_more_than_the_rate_passes_and_each_gets_its_part(pair):
    one, two, admin = pair
    key = make(one, admin, requests_per_minute=RATE)
    m.eventually(lambda: known(two, key), "the key")
    begin = time.monotonic() - 1
    hammers = [Hammer(d, key) for d in (one, two)]
    try:
        # the burst is over, and then both live on what comes back: several requests each
        m.eventually(lambda: sum(h.passed for h in hammers) >= RATE + 6 and min(h.passed for h in hammers) >= 5, "both")
    finally:
        for h in hammers:
            h.end()
    passed, elapsed = sum(h.passed for h in hammers), time.monotonic() - begin
    print("%d passed in %.1f s: %s" % (passed, elapsed, [h.passed for h in hammers]))
    assert not any(h.wrong for h in hammers)
    assert passed <= most(2, elapsed), (passed, elapsed)


def test_tokens_are_shared_too(pair, make_upstream):
    one, two, admin = pair
    settings = {"policy": "none", "fallback_content": ""}
    assert one.request("PUT", "/api/v1/use-cases/rated", settings, bearer(admin)).status == 200
    upstream = make_upstream()
    model = {"model_name": "a", "version": "1", "use_case": "rated", "provider": "custom", "status": "current",
             "configuration": {"endpoint": upstream.url}, "reason": "test"}
    assert one.request("POST", "/api/v1/models", model, bearer(admin)).status == 201
    key = make(one, admin, tokens_per_minute=100)
    m.eventually(lambda: known(two, key), "the key")

    def spend(daemon):
        return daemon.request("POST", "/api/v1/generate", {"use_case": "rated", "prompt": "hello"}, bearer(key))

    first = spend(one)
    assert first.status == 200, first
    begin, passed = time.monotonic(), 1
    while time.monotonic() - begin < 6:  # ten tokens each
        passed += sum(spend(d).status == 200 for d in (one, two))
        time.sleep(0.02)
    # the last one that passes on each may go past its part by all of its tokens
    assert 8 <= passed <= 10 + 2 * 3 + (time.monotonic() - begin) / 6, passed


def test_without_the_database_both_go_on_with_their_parts(pair, database):
    one, two, admin = pair
    key = make(one, admin, requests_per_minute=6000)  # so that it comes back at once: a hundred a second
    m.eventually(lambda: known(two, key), "the key")
    hammers = [Hammer(d, key) for d in (one, two)]
    try:
        m.eventually(lambda: min(h.passed for h in hammers) > 20, "both")
        database.cluster.do("kill")
        try:
            before = [h.passed for h in hammers]
            m.eventually(lambda: all(h.passed > b + 50 for h, b in zip(hammers, before)), "both, without it")
        finally:
            database.cluster.do("start")
    finally:
        for h in hammers:
            h.end()
    assert not any(h.wrong for h in hammers)


def test_one_that_stops_leaves_the_whole_to_the_other(pair, database):
    one, two, admin = pair
    key = make(one, admin, requests_per_minute=RATE)
    m.eventually(lambda: known(one, key) and database.sql("select sum(amount) from loans") == [[str(RATE)]], "the loan")
    m.eventually(lambda: known(two, key), "the key")
    control.stop(one)
    assert database.sql("select count(*) from replicas") == [["1"]]
    hammer = Hammer(two, key)
    try:
        m.eventually(lambda: hammer.passed >= RATE * 0.8, "the rate to pass")
    finally:
        hammer.end()
