# SPDX-License-Identifier: Apache-2.0
"""The daemon on a real PostgreSQL: the operator's variables, a database that goes away under load, several at once."""
import json
import threading
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
def serve(start_daemon, database):
    """Starts a daemon on the test's database."""

    def start(config="", *args, **env):
        return start_daemon(config, "--loops", "2", *args, **database.env(**env))

    return start


def case(daemon, upstream, name="load"):
    daemon.use_case(name, policy="none", fallback_content="")
    return daemon.register(name, upstream)


def nowhere(daemon, *texts):
    """The password is in nothing that the daemon said."""
    with open("/proc/%d/cmdline" % daemon.process.pid, "rb") as f:
        texts += (f.read().decode(),)
    for text in texts + (daemon.errors(), daemon.get("/health").body.decode(), daemon.get("/metrics").body.decode()):
        assert postgres.SECRET not in text and "2%403" not in text, text


# --- the operator's variables ---


def test_the_first_session_on_postgresql(serve, database, make_upstream):
    daemon = serve()
    name = case(daemon, make_upstream(m.ok("a story")), "foundation_layer")
    served = daemon.generate("foundation", "Once upon a time")
    assert served.status == 200 and served.json()["text"] == "a story"
    log = daemon.log_of(served)
    assert log["prompt"] == "Once upon a time" and log["output"] == "a story" and log["model_name"] == name
    assert database.sql("select model_name || '@' || version from model_registry where status = 'current'") == [[name]]
    kinds = [r[0] for r in database.sql("select kind from registry_events order by id")]
    assert "model.registered" in kinds and kinds[-1] == "model.status", kinds
    parts = daemon.api("GET", "/health")["parts"]
    assert "localhost:%d/%s" % (database.cluster.port, database.name) in json.dumps(parts["database"])
    nowhere(daemon)


def test_tables_are_found_by_their_names_and_partitioned(database):
    env = database.env()
    got = control.run("migrate", "status", **env)
    assert got.rc == 0 and "level 0 of" in got.out and postgres.SECRET not in got.out
    dry = control.run("migrate", "--dry-run", **env)
    assert dry.rc == 0 and "create table model_registry" in dry.out and "partition by range" in dry.out
    assert database.sql("select count(*) from pg_class where relname = 'model_registry'") == [["0"]]
    got = control.run("migrate", **env)
    assert got.rc == 0 and "level 0 -> " in got.out and database.name in got.out, got
    assert "nothing to do" in control.run("migrate", **env).out
    for table in ("model_registry", "model_historical_logs", "model_deployments"):
        assert database.sql("\\dt " + table)[0][1] == table
    days = database.sql("select count(*) from pg_inherits where inhparent = 'model_historical_logs'::regclass")
    assert int(days[0][0]) >= 8
    assert postgres.SECRET not in control.run("migrate", "status", "--json", **env).out


def test_password_from_a_file_and_options_of_a_url(start_daemon, database, tmp_path):
    secret = tmp_path / "pass word"
    secret.write_text(postgres.SECRET + "\n")
    daemon = start_daemon("", **database.env(POSTGRES_PASSWORD=None, POSTGRES_PASSWORD_FILE=str(secret),
                                             POSTGRES_SSLMODE="disable"))
    assert daemon.api("GET", "/health")["parts"]["database"]["state"] == "ok"
    nowhere(daemon)
    daemon = start_daemon("database:\n  url: %s\n" % database.url(options="?prepare=on&sslmode=prefer"))
    assert daemon.api("GET", "/api/v1/models")["data"] == []


def test_encrypted_connections_are_verified_as_asked(start_daemon, database):
    authority = database.cluster.directory + "/data/server.crt"
    daemon = start_daemon("", **database.env(POSTGRES_SSLMODE="verify-full", POSTGRES_SSLROOTCERT=authority))
    assert daemon.api("GET", "/api/v1/models")["data"] == []
    assert ["t"] in database.sql("select ssl from pg_stat_ssl join pg_stat_activity using (pid) "
                                 "where application_name = 'muster'")
    daemon = start_daemon("", **database.env(POSTGRES_SSLMODE="verify-full", POSTGRES_HOST="127.0.0.1",
                                             POSTGRES_SSLROOTCERT=authority))
    assert "does not match host name" in daemon.errors()
    control.error(daemon.get("/api/v1/models"), 503, "database_unavailable")


@pytest.mark.parametrize("env,why", [
    ({"POSTGRES_PORT": "many"}, "POSTGRES_PORT"),
    ({"POSTGRES_PASSWORD_FILE": "/x"}, "keep one"),
    ({"POSTGRES_SSLMODE": "perhaps"}, "sslmode"),
    ({"POSTGRES_HOST": None, "MUSTER_DATABASE_URL": "postgres://u:hunter2/x@h/d"}, "percent-encoded"),
    ({"POSTGRES_HOST": None, "MUSTER_DATABASE_URL": "postgres://u:hunter2@h/d?colour=red"}, "libpq"),
])
def test_variables_that_cannot_be_right_are_refused(database, tmp_path, env, why):
    got = control.refused(tmp_path, **database.env(**env))
    assert why in got.err and postgres.SECRET not in got.err and "hunter2" not in got.err, got


def test_wrong_password_is_a_database_that_is_away(serve, database):
    daemon = serve(POSTGRES_PASSWORD="hunter2")
    assert "password authentication failed" in daemon.errors()
    answer = daemon.post("/api/v1/models", {"model_name": "a", "version": "1", "use_case": "u", "provider": "sim"})
    control.error(answer, 503, "database_unavailable")
    assert "hunter2" not in daemon.errors() and b"hunter2" not in answer.body
    assert daemon.get("/health/ready").status == 200


def test_database_of_a_newer_muster_is_refused_by_name(database, tmp_path):
    assert control.run("migrate", **database.env()).rc == 0
    database.sql("insert into schema_migrations values (999, 'from_the_future', 1)")
    got = control.refused(tmp_path, **database.env())
    assert got.rc == 1 and "999" in got.err and "newer muster" in got.err, got


def test_daemons_that_start_at_once_make_the_tables_once(tmp_path, database):
    daemons = control.together(4, lambda i: m.Muster(tmp_path / str(i), env=database.env()))
    for d in daemons:
        assert d.api("GET", "/health")["parts"]["database"]["state"] == "ok"
        assert "away" not in d.errors()
    assert database.sql("select count(*) = max(level) from schema_migrations") == [["t"]]
    control.together(4, lambda i: daemons[i].stop())


def test_behind_a_pooler_in_transaction_mode(start_daemon, database, make_upstream):
    if not database.cluster.pool:
        pytest.skip("pgbouncer is not installed")
    daemon = start_daemon("", MUSTER_DATABASE_URL=database.url(database.cluster.pool))
    case(daemon, make_upstream(m.ok("pooled")))
    load = control.Load(daemon, "load")
    load.wait(200)
    load.end()
    control.shipped(daemon)
    assert not load.refused and not load.broken
    database.check_once(load)


def test_text_that_postgresql_cannot_keep_is_logged_with_marks(serve, make_upstream):
    daemon = serve()
    case(daemon, make_upstream(m.ok("fine")))
    served = daemon.generate("load", "before\x00after")
    assert served.status == 200
    assert daemon.log_of(served)["prompt"] == "before\ufffdafter"
    assert control.metric(daemon, "muster_log_records_rejected_total") == 0


# --- a database that goes away ---


class Latency:
    """One caller's waits, in seconds."""

    def __init__(self, daemon, use_case):
        self.waits, self.failed, self.ending = [], [], threading.Event()
        self.thread = threading.Thread(target=self._run, args=(daemon, use_case))
        self.thread.start()

    def _run(self, daemon, use_case):
        while not self.ending.is_set():
            begin = time.monotonic()
            answer = daemon.generate(use_case)
            self.waits.append(time.monotonic() - begin)
            if answer.status != 200:
                self.failed.append(answer)

    def end(self):
        self.ending.set()
        self.thread.join()
        assert not self.failed, self.failed[:3]
        return max(self.waits)


def refused_while_away(daemon):
    answer = daemon.post("/api/v1/models", {"model_name": "a", "version": "1", "use_case": "u", "provider": "sim"})
    control.error(answer, 503, "database_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    control.error(daemon.get("/api/v1/logs"), 503, "database_unavailable")
    assert daemon.get("/api/v1/use-cases/load/current").status == 200
    health = daemon.api("GET", "/health")
    assert health["status"] == "degraded", health


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_database_that_ends_under_load_takes_everything_once_when_it_is_back(serve, database, make_upstream, how):
    daemon = serve()
    case(daemon, make_upstream(m.ok("one two three")))
    load, latency = control.Load(daemon, "load"), Latency(daemon, "load")
    try:
        for _ in range(2):
            load.wait(len(load.answered) + 200)
            database.cluster.do(how)
            try:
                m.eventually(lambda: daemon.get("/health").json()["status"] == "degraded", "health to notice")
                refused_while_away(daemon)
                load.wait(len(load.answered) + 200)
            finally:
                database.cluster.do("start")
            m.eventually(lambda: daemon.get("/health").json()["status"] == "ok", "health, with the database back")
            daemon.register("other", make_upstream())
    finally:
        load.end()
        slowest = latency.end()
    control.shipped(daemon)
    assert not load.refused and not load.broken, (load.refused[:3], load.broken[:3])
    assert slowest < 2, slowest
    database.check_once(load)
    assert control.metric(daemon, "muster_log_records_lost_total") == 0
    assert control.metric(daemon, "muster_log_records_rejected_total") == 0
    nowhere(daemon)


def test_requests_go_on_while_the_database_is_silent(serve, database, make_upstream):
    daemon = serve()
    case(daemon, make_upstream(m.ok("one two three")))
    load, latency = control.Load(daemon, "load"), Latency(daemon, "load")
    try:
        load.wait(100)
        database.cluster.do("freeze")
        try:
            load.wait(len(load.answered) + 500)
            assert daemon.get("/health/live").status == 200
        finally:
            database.cluster.do("thaw")
        load.wait(len(load.answered) + 100)
    finally:
        load.end()
        slowest = latency.end()
    control.shipped(daemon)
    assert not load.refused and not load.broken
    assert slowest < 2, slowest
    database.check_once(load)


def test_a_database_that_is_silent_holds_no_stop_up(tmp_path, database, make_upstream):
    daemon = m.Muster(tmp_path / "d", env=database.env())
    case(daemon, make_upstream(m.ok("one two three")))
    load = control.Load(daemon, "load")
    load.wait(50)
    database.cluster.do("freeze")
    try:
        load.wait(len(load.answered) + 50)
        load.end()
        took, said = control.stop(daemon)
    finally:
        database.cluster.do("thaw")
    assert took < 12, took  # 3 s of silence; it was 37 when each that waited took its own time
    assert "stay in the spool for the next start" in said
    daemon = m.Muster(daemon.directory, env=database.env())
    control.shipped(daemon)
    database.check_once(load)
    daemon.stop()


def test_start_without_database_serves_what_was_served_last(serve, database, make_upstream, tmp_path):
    daemon = serve()
    name = case(daemon, make_upstream(m.ok("as before")), "kept")
    control.stop(daemon)
    database.cluster.do("kill")
    try:
        daemon = m.Muster(daemon.directory, env=database.env())
        served = daemon.generate("kept")
        assert served.status == 200 and served.headers["x-muster-model"] == name
        assert served.json()["fallback_used"] is False
        control.error(daemon.get("/api/v1/logs"), 503)
    finally:
        database.cluster.do("start")
    assert daemon.log_of(served)["output"] == "as before"
    m.eventually(lambda: daemon.get("/health").json()["status"] == "ok", "health, with the database back")
    daemon.stop()


def test_daemon_killed_while_the_database_is_away_loses_nothing(tmp_path, database, make_upstream):
    daemon = m.Muster(tmp_path / "d", env=database.env())
    case(daemon, make_upstream(m.ok("one two three")))
    load = control.Load(daemon, "load")
    database.cluster.do("kill")
    try:
        load.wait(200)
    finally:
        control.end_at_once(daemon)
        load.end()
        database.cluster.do("start")
    daemon = m.Muster(daemon.directory, env=database.env())
    control.shipped(daemon)
    database.check_once(load)
    daemon.stop()
