# SPDX-License-Identifier: Apache-2.0
"""Retention of the historical log: by the leader, by an operator, on both databases; what is left, and what says so."""
import datetime
import sqlite3
import threading
import time
import uuid

import pytest

import control
import muster as m
import openapi
import postgres

DAY = 86400
RULE = "history:\n  retention: 30d\n  content_retention: 7d\n"
NONE = "history:\n  retention: 0\n"


@pytest.fixture(scope="module")
def cluster():
    c = postgres.Cluster()
    yield c
    c.close()


@pytest.fixture
def database(cluster):
    return cluster.database()


@pytest.fixture
def start_daemon(tmp_path):
    """Starts daemons with options of their own; a directory may be that of one that was killed."""
    started = []

    def start(config="", directory=None, **env):
        d = m.Muster(directory or tmp_path / ("d%d" % len(started)), config, [], env)
        started.append(d)
        return d

    yield start
    for d in started:
        if d.process.returncode != -9:
            d.stop()


def old_id(days_ago):
    """As Muster made it that long ago."""
    ms = int((time.time() - days_ago * DAY) * 1000)
    return str(uuid.UUID(int=ms << 80 | 0x7 << 76 | 0x2 << 62 | uuid.uuid4().int & ((1 << 62) - 1)))


def row(days_ago, caller="anonymous"):
    """(id, statement) of a record of that age, with texts."""
    made, us = old_id(days_ago), int((time.time() - days_ago * DAY) * 1e6)
    return made, ("insert into model_historical_logs (id, created_us, source, status, use_case, model_id, caller, prompt_tokens, "
                  "completion_tokens, tokens_estimated, http_status, fallback, stream, guard_action, guard_skipped, context, "
                  "prompt, output) values ('%s', %d, 'gateway', 'ok', 'aged', 'm', '%s', 3, 4, 0, 200, 'none', 0, 'allow', 0, '{}', "
                  "'old prompt', 'old answer')" % (made, us, caller))


def day_partition(days_ago):
    """(name, statement) of that day's partition."""
    day = int(time.time() - days_ago * DAY) // DAY
    name = "model_historical_logs_" + datetime.datetime.fromtimestamp(day * DAY, datetime.timezone.utc).strftime("%Y%m%d")
    return name, ("create table %s partition of model_historical_logs for values from (%d) to (%d)"
                  % (name, day * DAY * 1000000, (day + 1) * DAY * 1000000))


class Lite:
    """A database in a file, asked from outside."""

    def __init__(self, daemon):
        self.path = control.database_path(daemon)

    def sql(self, text):
        db = sqlite3.connect(self.path, timeout=m.LIMIT, isolation_level=None)
        try:
            return [[str(c) for c in r] for r in db.execute(text).fetchall()]
        finally:
            db.close()


def applied(daemon, text):
    """The configuration, read again: a run follows."""
    control.write_config(daemon, text)
    ok, said = control.reload(daemon)
    assert ok, said


def ids(db):
    return {r[0] for r in db.sql("select id from model_historical_logs where use_case = 'aged'")}


def done(daemon):
    """Until a run has ended with nothing left to do."""
    def probe():
        r = daemon.api("GET", "/api/v1/retention")
        return r if r["last_run_at"] and not r["more"] and not r["problem"] else None
    return m.eventually(probe, "a run of retention")


def dropped(daemon):
    return daemon.api("GET", "/api/v1/events?kind=history.dropped&limit=1000")["data"]


def check_aged(daemon, db, kept, bare, gone):
    m.eventually(lambda: not ids(db) & set(gone), "the old records to go")
    m.eventually(lambda: all(daemon.api("GET", "/api/v1/logs/" + i)["content_removed_at"] for i in bare), "the old texts to go")
    api = openapi.Api()
    for i in bare:
        answer = daemon.get("/api/v1/logs/" + i)
        api.check_answer("GET", "/api/v1/logs/" + i, answer)
        r = answer.json()
        assert r["prompt"] is None and r["output"] is None and r["context"] is None
        assert r["usage"]["prompt_tokens"] == 3 and r["status"] == "ok"
        assert "removed by retention" in control.works(daemon, "log", "show", i)
    for i in kept:
        r = daemon.api("GET", "/api/v1/logs/" + i)
        assert r["prompt"] == "old prompt" and r["content_removed_at"] is None
        assert "removed by retention" not in control.works(daemon, "log", "show", i)


def test_sqlite_keeps_what_is_young_and_says_what_went(start_daemon):
    d = start_daemon(NONE)
    db = Lite(d)
    made = {}
    for age in (90, 45, 31, 29, 8, 6, 1):
        made[age], statement = row(age)
        db.sql(statement)
    assert d.api("GET", "/api/v1/retention")["retention_s"] is None
    assert d.api("GET", "/health")["parts"]["retention"]["detail"].startswith("records are kept for ever")
    applied(d, RULE)
    check_aged(d, db, [made[6], made[1]], [made[29], made[8]], [made[90], made[45], made[31]])
    done(d)
    events = dropped(d)
    assert sum(e["after"]["records"] for e in events if e["after"]["what"] == "records") == 3
    assert sum(e["after"]["records"] for e in events if e["after"]["what"] == "texts") == 2
    assert all(e["actor"] == "retention" and "720 h" in e["reason"] for e in events)
    assert control.metric(d, "muster_retention_records_dropped_total") == 3
    assert control.metric(d, "muster_retention_texts_removed_total") == 2
    assert control.metric(d, "muster_retention_failures_total") == 0
    part = d.api("GET", "/health")["parts"]["retention"]
    assert part["state"] == "ok" and "30 d" in part["detail"] and "7 d" in part["detail"], part
    said = control.works(d, "log", "retention")
    assert "for 30 d" in said and "for 7 d" in said and "oldest record" in said, said
    answer = d.get("/api/v1/retention")
    openapi.Api().check_answer("GET", "/api/v1/retention", answer)


def test_the_space_of_sqlite_is_used_again(start_daemon):
    d = start_daemon(NONE)
    db = Lite(d)
    for _ in range(300):
        db.sql(row(40)[1].replace("old prompt", "x" * 10000))
    before = d.api("GET", "/api/v1/retention")
    assert before["bytes"] > 3000000
    applied(d, RULE)
    m.eventually(lambda: not ids(db), "the old records to go")
    freed = done(d)
    assert freed["free_bytes"] > 2000000 and freed["bytes"] <= before["bytes"] * 1.1
    for _ in range(150):
        db.sql(row(1)[1].replace("old prompt", "x" * 10000))
    assert d.api("GET", "/api/v1/retention")["bytes"] <= freed["bytes"] * 1.05


def test_postgres_drops_days_and_removes_texts(start_daemon, database):
    d = start_daemon(NONE, **database.env())
    made, parts = {}, {}
    late, statement = row(60)  # its day has no partition
    database.sql(statement)
    for age in (90, 45, 33, 29, 9, 6, 1):
        parts[age], statement = day_partition(age)
        database.sql(statement)
        made[age], statement = row(age)
        database.sql(statement)
    applied(d, RULE)
    check_aged(d, database, [made[6], made[1]], [made[29], made[9]], [made[90], made[45], made[33], late])
    done(d)
    there = {r[0] for r in database.sql("select relname from pg_class where relname like 'model_historical_logs_2%' and relkind = 'r'")}
    assert not there & {parts[a] for a in (90, 45, 33)} and {parts[a] for a in (29, 9, 6, 1)} <= there
    days = [e for e in dropped(d) if e["after"].get("partition")]
    assert {e["after"]["partition"] for e in days} == {parts[a] for a in (90, 45, 33)}
    assert all(e["after"]["records"] == 1 and e["after"]["from"] < e["after"]["to"] for e in days)
    assert control.metric(d, "muster_retention_partitions_dropped_total") == 3
    got = d.api("GET", "/api/v1/retention")
    assert got["partitions"] >= 5 and got["oldest_partition_at"] and got["next_drop_at"]
    # What comes now for a day that is gone is taken, and stays as long as what comes with it.
    when = datetime.datetime.fromtimestamp(time.time() - 60 * DAY, datetime.timezone.utc).isoformat()
    answer = d.post("/api/v1/logs", {"model_id": "m", "use_case": "aged", "prompt": "late", "created_at": when})
    assert answer.status == 201
    d.post("/api/v1/logs", {"model_id": "m", "use_case": "aged", "prompt": "in time"})
    applied(d, RULE + "  enabled: true\n")
    got = d.api("GET", "/api/v1/logs/" + answer.json()["log_id"])
    assert got["prompt"] == "late"
    assert database.sql("select count(*) from model_historical_logs_default") == [["1"]]


def test_postgres_drops_days_while_two_daemons_ship_and_nothing_is_lost(start_daemon, make_upstream, database):
    """Records come for today and for the days that are being dropped; each that was answered is there."""
    a = start_daemon(NONE, **database.env())
    b = start_daemon(NONE, **database.env())
    for age in range(20, 45):
        database.sql(day_partition(age)[1])
    answered, stop, failed = [], threading.Event(), []

    def work(daemon):
        try:
            with daemon.connect() as c:
                while not stop.wait(0.005):  # a load that two busy processors can ship
                    r = c.request("POST", "/api/v1/logs", {"model_id": "m", "use_case": "load", "prompt": "p"})
                    assert r.status == 201, r
                    answered.append(r.json()["log_id"])
        except Exception as e:
            failed.append(e)

    threads = [threading.Thread(target=work, args=(x,)) for x in (a, b)]
    for t in threads:
        t.start()
    try:
        m.eventually(lambda: len(answered) > 200 or failed, "records")
        for d in (a, b):
            applied(d, RULE)
        m.eventually(lambda: not [1 for age in range(32, 45) if database.sql(
            "select 1 from pg_class where relname = '%s'" % day_partition(age)[0])], "the old days to go")
        n = len(answered)
        m.eventually(lambda: len(answered) > n + 200 or failed, "more records")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failed, failed
    m.eventually(lambda: set(answered) <= {r[0] for r in database.sql("select id from model_historical_logs")}, "all records")
    days = [e["after"]["partition"] for e in dropped(a) if e["after"].get("partition")]
    assert len(days) == len(set(days)) and len(days) >= 13, "each day once: %s" % days
    for d in (a, b):
        assert control.metric(d, "muster_log_records_rejected_total") == 0
        assert control.metric(d, "muster_log_records_lost_total") == 0


@pytest.mark.parametrize("which", ["sqlite", "postgres"])
def test_killed_in_the_middle_it_goes_on_and_tells_of_everything_once(start_daemon, database, which):
    env = database.env() if which == "postgres" else {}
    d = start_daemon(NONE, **env)
    db = database if which == "postgres" else Lite(d)
    # Enough for several runs; on PostgreSQL they lie in no day, so that they go row by row there too.
    n, one = 12000, row(40)[1]
    at = int((time.time() - 40 * DAY) * 1000)
    if which == "postgres":
        db.sql(one.split(" values ")[0].replace("(id, created_us", "(id, created_us") + " select "
               "lpad(to_hex(%d + i), 12, '0'), %d, 'gateway', 'ok', 'aged', 'm', 'a', 3, 4, 0, 200, 'none', 0, 'allow', 0, '{}', 'p', 'o' "
               "from generate_series(1, %d) i" % (at, at * 1000, n))
        db.sql("update model_historical_logs_default set id = substr(id, 1, 8) || '-' || substr(id, 9, 4) || "
               "'-7000-8000-000000000000'")
    else:
        db.sql("with recursive s(i) as (select 1 union all select i + 1 from s where i < %d) " % n
               + one.split(" values ")[0] + " select substr(printf('%%012x', %d + i), 1, 8) || '-' || substr(printf('%%012x', %d + i), 9) || "
               "'-7000-8000-000000000000', %d, 'gateway', 'ok', 'aged', 'm', 'a', 3, 4, 0, 200, 'none', 0, 'allow', 0, '{}', 'p', 'o' "
               "from s" % (at, at, at * 1000))
    assert len(ids(db)) == n
    applied(d, RULE)
    m.eventually(lambda: len(ids(db)) < n, "the first to go")
    d.process.kill()
    d.process.wait()
    left = len(ids(db))
    again = start_daemon(RULE, directory=d.directory, **env)
    m.eventually(lambda: not ids(db), "the rest to go")
    done(again)
    assert sum(e["after"]["records"] for e in dropped(again) if e["after"]["what"] == "records") == n, left


def test_a_frozen_database_is_a_failed_run_that_is_tried_again(start_daemon, cluster, database):
    d = start_daemon(NONE, **database.env())
    name, statement = day_partition(50)
    database.sql(statement)
    cluster.do("stop")
    try:
        applied(d, RULE)
        m.eventually(lambda: d.api("GET", "/health")["parts"]["leader"]["state"] != "ok" or
                     d.api("GET", "/health")["parts"]["retention"]["state"] == "degraded", "the database to be missed")
    finally:
        cluster.do("start")
    m.eventually(lambda: d.api("GET", "/health")["parts"]["leader"]["detail"].startswith("this daemon leads"), "the leader")
    applied(d, RULE + "  enabled: true\n")
    m.eventually(lambda: not database.sql("select 1 from pg_class where relname = '%s'" % name), "the old day to go")


# --- the operator ---


def test_an_operator_purges_by_age_and_by_caller(start_daemon):
    d = start_daemon(NONE)
    db = Lite(d)
    old = [row(100)[1], row(95)[1]]
    mine, statement = row(5, "ann")
    theirs, other = row(4, "bob")
    for s in old + [statement, other]:
        db.sql(s)
    got = control.cli(d, "log", "purge", "--older-than", "90d", "--why", "contract ended")
    assert got.rc == 2 and "--yes" in got.err and len(ids(db)) == 4, got
    got = control.cli(d, "log", "purge", "--why", "w", "--yes")
    assert got.rc == 2 and "--older-than" in got.err, got
    said = control.works(d, "log", "purge", "--older-than", "90d", "--why", "contract ended", "--yes")
    assert "removed 2 records" in said and len(ids(db)) == 2, said
    said = control.works(d, "log", "purge", "--caller", "ann", "--content-only", "--why", "asked", "--yes")
    assert "texts of 1 records" in said, said
    assert d.api("GET", "/api/v1/logs/" + mine)["content_removed_at"]
    assert d.api("GET", "/api/v1/logs/" + theirs)["prompt"] == "old prompt"
    said = control.works(d, "log", "purge", "--caller", "ann", "--why", "asked", "--yes", "--json")
    assert '"records":1' in said and ids(db) == {theirs}, said
    events = dropped(d)
    assert [e["reason"] for e in events] == ["asked", "asked", "contract ended"]
    assert [e["after"]["records"] for e in events] == [1, 1, 2]


@pytest.mark.parametrize("body,param", [
    ({"reason": "r"}, "older_than"), ({"older_than": "soon", "reason": "r"}, "older_than"),
    ({"older_than": "2999-01-01", "reason": "r"}, "older_than"), ({"older_than": "1d"}, "reason"),
    ({"older_than": "1d", "reason": "r", "content_only": "yes"}, "content_only"),
    ({"caller": "a", "reason": "r", "after": -1}, "after"), ({"caller": "a", "reason": "r", "after": "x"}, "after"),
])
def test_a_purge_that_is_not_clear_is_refused(daemon, body, param):
    answer = daemon.post("/api/v1/retention/purge", body)
    control.error(answer, 400)
    assert answer.json()["error"]["param"] == param, answer


def test_muster_check_sees_what_should_be_gone(start_daemon):
    import json
    d = start_daemon(NONE)
    Lite(d).sql(row(90)[1])
    config = d.directory + "/muster.yaml"

    def state(name, *more):
        got = control.cli(d, "check", "--json", "--no-probe", "--config", config, "--data", d.directory + "/data", *more)
        found = [c for c in json.loads(got.out)["checks"] if c["name"] == name][0]
        return found

    assert state("retention")["state"] == "skipped" and state("retention kept")["state"] == "skipped"
    assert state("retention", "--production")["state"] == "warn"
    applied(d, RULE)
    m.eventually(lambda: not ids(Lite(d)), "the old record to go")
    assert state("retention")["state"] == "pass" and state("retention kept")["state"] == "pass"
    Lite(d).sql(row(90)[1])
    late = state("retention kept")
    assert late["state"] == "fail" and "should be gone" in late["evidence"], late
