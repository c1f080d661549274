# SPDX-License-Identifier: Apache-2.0
"""The begin of the daemon: who may start beside whom, and with what kind of database."""
import json
import os
import re
import shutil
import time

import pytest

import control
import muster as m


def test_second_daemon_on_the_same_data_is_refused(start_daemon, tmp_path):
    daemon = start_daemon()
    got = control.refused(tmp_path, "--data", os.path.join(daemon.directory, "data"))
    assert got.rc == 1
    assert "another muster" in got.err and str(daemon.process.pid) in got.err
    assert os.path.join(daemon.directory, "data") in got.err
    assert daemon.get("/health/ready").status == 200


@pytest.mark.parametrize("loops", ["1", "2"])
@pytest.mark.parametrize("own_loops", ["1", "2"])
def test_second_daemon_on_the_same_port_is_refused(start_daemon, tmp_path, loops, own_loops):
    daemon = start_daemon("", "--loops", own_loops)
    where = "127.0.0.1:%d" % daemon.address[1]
    got = control.refused(tmp_path, "--loops", loops, listen=where)
    assert got.rc == 1 and where in got.err, got
    assert "in use" in got.err and "listen" in got.err, got
    assert daemon.get("/health/ready").status == 200


def test_control_port_that_is_taken_is_refused(start_daemon, tmp_path):
    daemon = start_daemon()
    where = "127.0.0.1:%d" % daemon.address[1]
    got = control.refused(tmp_path, "--control_listen", where)
    assert got.rc == 1 and where in got.err and "in use" in got.err, got


def test_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    got = control.refused(tmp_path, "--data", str(tmp_path / "file" / "below"))
    assert got.rc == 1 and str(tmp_path / "file" / "below") in got.err, got


def test_corrupt_database_is_refused_with_what_to_do(tmp_path):
    os.makedirs(tmp_path / "data")
    (tmp_path / "data" / "muster.db").write_bytes(b"this is not a database at all, " * 1000)
    got = control.refused(tmp_path)
    assert got.rc == 1 and str(tmp_path / "data" / "muster.db") in got.err, got
    assert "no usable database" in got.err and "restore" in got.err, got
    assert (tmp_path / "data" / "muster.db").read_bytes().startswith(b"this is not")


def test_database_of_a_newer_muster_is_refused_by_name(start_daemon, tmp_path):
    daemon = start_daemon()
    control.stop(daemon)
    with control.database(daemon) as db:
        db.execute("insert into schema_migrations values (999, 'from_the_future', 1)")
    got = control.refused(tmp_path, "--data", os.path.join(daemon.directory, "data"))
    assert got.rc == 1 and "999" in got.err, got


def test_data_is_nobody_elses_business(start_daemon):
    daemon = start_daemon()
    daemon.use_case("private")
    for root, folders, files in os.walk(os.path.join(daemon.directory, "data")):
        for name in folders + files:
            mode = os.stat(os.path.join(root, name)).st_mode & 0o777
            assert not mode & 0o077, (name, oct(mode))


# --- a database that is away ---


def away(tmp_path):
    """A place where no database can be: a file stands where its directory should."""
    blocked = tmp_path / "blocked"
    blocked.write_text("in the way")
    return blocked, "database:\n  url: sqlite:%s\n" % (blocked / "muster.db")


def test_start_without_database_serves_the_fallback_and_comes_round_when_it_is_there(start_daemon, make_upstream,
                                                                                   tmp_path):
    blocked, config = away(tmp_path)
    hard = make_upstream(m.ok("from the endpoint"))
    config += "fallback:\n  endpoints:\n    foundation_layer: %s/generate\n" % hard.url
    daemon = start_daemon(config)
    assert daemon.get("/health/live").status == 200
    assert daemon.get("/health/ready").status == 200
    health = daemon.api("GET", "/health")
    assert health["status"] == "degraded" and health["parts"]["registry"]["state"] == "degraded"
    served = daemon.generate("foundation_layer", headers={"x-request-id": "while-away"})
    assert served.status == 200 and served.json()["text"] == "from the endpoint", served
    assert served.headers["x-muster-fallback"] == "endpoint"
    answer = daemon.post("/api/v1/models", {"model_name": "a", "version": "1", "use_case": "u", "provider": "sim"})
    message = control.error(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] and str(blocked) in message
    control.error(daemon.get("/api/v1/logs"), 503)
    blocked.unlink()
    m.eventually(lambda: daemon.get("/health").json()["status"] == "ok", "health, with the database back")
    log = daemon.log_of(served)
    assert log["request_id"] == "while-away" and log["output"] == "from the endpoint"
    name = daemon.register("foundation_layer", make_upstream(m.ok("from the model")))
    after = daemon.generate("foundation_layer")
    assert after.json()["text"] == "from the model" and after.headers["x-muster-model"] == name


def test_start_without_database_serves_what_was_served_last(start_daemon, make_upstream, tmp_path):
    folder = tmp_path / "store"
    config = "database:\n  url: sqlite:%s\n" % (folder / "muster.db")
    daemon = start_daemon(config)
    daemon.use_case("kept", policy="none")
    name = daemon.register("kept", make_upstream(m.ok("as before")))
    control.stop(daemon)
    shutil.move(folder, tmp_path / "elsewhere")
    folder.write_text("in the way")
    daemon = m.Muster(daemon.directory, config)
    served = daemon.generate("kept")
    assert served.status == 200 and served.json()["text"] == "as before", served
    assert served.headers["x-muster-model"] == name and served.json()["fallback_used"] is False
    assert daemon.get("/api/v1/use-cases/kept/current").status == 200
    folder.unlink()
    shutil.move(tmp_path / "elsewhere", folder)
    assert daemon.log_of(served)["status"] == "ok"
    m.eventually(lambda: daemon.get("/health").json()["status"] == "ok", "health, with the database back")
    assert daemon.api("POST", "/api/v1/models/%s/promote" % name, {})["demoted"] is None
    daemon.stop()


def test_database_that_was_removed_does_not_take_the_registry_along(start_daemon, make_upstream):
    daemon = start_daemon()
    daemon.use_case("kept", policy="none")
    daemon.register("kept", make_upstream(m.ok("as before")))
    control.stop(daemon)
    for name in ("muster.db", "muster.db-wal", "muster.db-shm"):
        path = os.path.join(daemon.directory, "data", name)
        if os.path.exists(path):
            os.unlink(path)
    snapshot = os.path.join(daemon.directory, "data", "snapshot.json")
    with open(snapshot) as f:
        before = f.read()
    daemon = m.Muster(daemon.directory)
    assert daemon.api("GET", "/api/v1/models")["data"] == [], "a new database is empty, and says so"
    said = daemon.errors()
    assert "level=warn" in said and "snapshot" in said, said
    kept = re.search(r"(\S*snapshot\.json\S+?)[\s\"':,]", said).group(1)
    with open(kept) as f:
        assert json.loads(f.read()) == json.loads(before), "what was known is kept beside it"
    daemon.stop()


def test_writer_that_holds_the_database_stops_no_request(start_daemon, make_upstream):
    daemon = start_daemon("", "--loops", "2")
    daemon.use_case("load", policy="none", fallback_content="")
    daemon.register("load", make_upstream())
    other = daemon.register("load", make_upstream(), promote=False)
    with control.held(daemon):
        load = control.Load(daemon, "load")
        answer = daemon.post("/api/v1/models/%s/promote" % other, {"reason": "cannot be"})
        control.error(answer, 503, "database_busy")
        assert int(answer.headers["retry-after"]) >= 1
        m.eventually(lambda: daemon.get("/health").json()["parts"]["historical_log"]["state"] == "degraded",
                     "the word that records wait")
        health = daemon.get("/health").json()
        assert health["status"] == "degraded" and "held by another process" in health["parts"]["database"]["detail"]
        assert daemon.get("/health/ready").status == 200
        load.wait(len(load.answered) + 50)
        load.end()
        assert not load.refused and not load.broken
        assert daemon.api("GET", "/api/v1/models/" + other)["status"] == "candidate", "reading goes on"
        assert control.metric(daemon, "muster_spool_pending_bytes") > 0
    control.shipped(daemon)
    control.check_once(daemon, load)
    m.eventually(lambda: daemon.get("/health").json()["status"] == "ok", "health")
    assert daemon.api("POST", "/api/v1/models/%s/promote" % other, {})["model"]["status"] == "current"


def test_somebody_who_opens_and_closes_the_database_takes_nothing_from_it(start_daemon):
    daemon = start_daemon()
    for i in range(30):  # readers make the daemon open more than one connection
        control.together(4, lambda _: daemon.api("GET", "/api/v1/logs?limit=1"))
        daemon.use_case("u%d" % i)
        with control.database(daemon) as db:
            assert db.execute("select count(*) from use_cases").fetchone()[0] == i + 1
    control.stop(daemon)
    with control.database(daemon) as db:
        assert db.execute("select count(*) from use_cases").fetchone()[0] == 30


# --- liveness, memory, the way to the first answer ---


def test_liveness_is_answered_on_the_control_listener_while_the_loops_are_saturated(start_daemon, make_upstream):
    port = m.free_port()
    daemon = start_daemon("", "--loops", "1", "--control_listen", "127.0.0.1:%d" % port)
    daemon.use_case("load", policy="default")
    daemon.register("load", make_upstream(m.ok("word " * 400)))
    load = control.Load(daemon, "load", threads=8)
    took = []
    try:
        load.wait(20)
        with m.Connection(("127.0.0.1", port)) as c:
            for _ in range(50):
                begin = time.monotonic()
                answer = c.request("GET", "/health/live")
                took.append(time.monotonic() - begin)
                assert answer.status == 200 and answer.json() == {"status": "live"}
            assert c.request("GET", "/metrics").status == 200
            assert c.request("GET", "/api/v1/models").status == 200
    finally:
        load.end()
    took.sort()
    print("liveness under load: median %.1f ms, worst %.1f ms" % (took[25] * 1e3, took[-1] * 1e3))


def test_idle_daemon_is_small_and_answers_soon(tmp_path, capsys):
    begin = time.monotonic()
    daemon = m.Muster(tmp_path, args=["--demo"])
    assert daemon.get("/health/live").status == 200
    took = time.monotonic() - begin
    rss = daemon.rss()
    daemon.stop()
    with capsys.disabled():
        print("\n[start to first answer %.0f ms, idle VmRSS %.1f MB]" % (took * 1e3, rss / 1e6))
    assert m.SANITIZED or rss <= 25 * 1000 * 1000


def test_who_ships_records_never_keeps_a_loop_from_its_callers(daemon):
    tasks = "/proc/%d/task" % daemon.process.pid
    policy = {}
    for tid in os.listdir(tasks):
        with open(os.path.join(tasks, tid, "comm")) as f:
            policy[f.read().strip()] = os.sched_getscheduler(int(tid))
    assert policy["shipper"] == os.SCHED_BATCH
    assert policy["loop 0"] == policy["spool-keeper"] == os.SCHED_OTHER, policy
