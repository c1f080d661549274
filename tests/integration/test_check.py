# SPDX-License-Identifier: Apache-2.0
"""muster check: passes on what is well, names what is not, and never says pass for what it did not do."""
import json
import os
import re
import subprocess
import time
import xml.etree.ElementTree as ET

import pytest

import control
import muster as m
import postgres

STATES = ("pass", "warn", "fail", "skipped")


class Report:
    def __init__(self, got):
        assert got.rc in (0, 1) and got.err == "", got
        self.rc, document = got.rc, json.loads(got.out)
        self.ready, self.counts, self.checks = document["ready"], document["counts"], document["checks"]
        self.by_name = {c["name"]: c for c in self.checks}
        self.text = got.out
        assert len(self.by_name) == len(self.checks), "a name appears twice"
        assert set(self.counts) == set(STATES)
        for state in STATES:
            assert self.counts[state] == sum(c["state"] == state for c in self.checks)
        assert self.ready == (self.rc == 0) == (self.counts["fail"] == 0)
        for c in self.checks:
            assert set(c) == {"name", "state", "evidence", "advice"} and c["evidence"], c
            assert (c["advice"] is None) == (c["state"] == "pass"), c
            assert "\n" not in c["evidence"]

    def __getitem__(self, name):
        return self.by_name[name]

    def state(self, name):
        return self.by_name[name]["state"]

    def named(self, state):
        return [c["name"] for c in self.checks if c["state"] == state]

    def says(self, name, state, *words):
        c = self.by_name[name]
        assert c["state"] == state, c
        for word in words:
            assert word in c["evidence"] + " " + (c["advice"] or ""), c


def data_of(daemon):
    return os.path.join(daemon.directory, "data")


def check(daemon, *args, **env):
    return Report(control.cli(daemon, "check", "--json", "--data", data_of(daemon), *args, **env))


def end(daemon):
    """Stops it in peace; what it left is checked then."""
    control.stop(daemon)
    return daemon


# --- all is well ---


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("demo"), args=["--demo", "--loops", "2"])
    yield d
    d.stop()


def test_a_healthy_daemon_fails_nothing_and_most_is_looked_at(demo):
    got = check(demo)
    assert got.ready and not got.named("fail"), got.text
    assert len(got.checks) >= 50 and got.counts["pass"] >= 40, got.counts
    assert set(got.named("warn")) <= {"API keys", "alerts configured", "core dumps", "file descriptors"}, got.named("warn")
    assert set(got.named("skipped")) <= {"key files", "TLS certificate", "partitions ahead", "fallback models", "retention", "retention kept",
                                         "hardcoded endpoints", "alerts delivered", "backup of the registry", "key expiry"}
    got.says("configuration in use", "pass", "process %d" % demo.process.pid)
    got.says("models answer", "pass", "4 of 4")
    got.says("database in use", "pass")


def test_what_people_read_is_a_table_with_what_to_do_below_and_the_sum_last(demo):
    got = control.cli(demo, "check", "--data", data_of(demo), NO_COLOR="1")
    lines = got.out.splitlines()
    assert got.rc == 0 and got.err == "" and "\033" not in got.out
    column = lines[0].index("environment and flags")
    for line in lines[:-1]:
        assert re.match(r"^  (pass|warn|skipped|FAIL) +\S.*$|^ {%d}-> \S" % column, line), line
        assert line[column - 2:column] == "  " and line[column] != " ", line
    assert re.match(r"^\d+ checks: \d+ pass, \d+ warn, 0 fail, \d+ skipped     ready$", lines[-1]), lines[-1]


def test_production_turns_marked_warnings_into_failures_that_say_so(demo):
    got = check(demo, "--production")
    assert got.named("fail") == ["API keys", "alerts configured"] and got.rc == 1
    got.says("API keys", "fail", "but for --production")


def test_the_manual_has_every_check_and_marks_those_that_production_wants(demo):
    with open(os.path.join(m.ROOT, "docs", "CHECK.md")) as f:
        rows = dict(re.findall(r"^\| ([\w -]+?(?: \.\.\.)?)( \*)? \|", f.read(), re.M))
    rows = {name: bool(mark) for name, mark in rows.items() if name not in ("Check", "---")}
    names = {re.sub("^health of .*", "health of ...", c["name"]) for c in check(demo).checks}
    assert names == set(rows)
    with open(os.path.join(m.ROOT, "src", "control", "telemetry", "check.c")) as f:
        table = re.search(r"strict\[\] = \{(.*?)\};", f.read(), re.S).group(1)
    assert set(re.findall(r'"([^"]+)"', table)) == {name for name in rows if rows[name]}


def test_junit_has_a_case_for_each_check(demo, tmp_path):
    path = str(tmp_path / "report.xml")
    got = check(demo, "--junit", path, "--production")
    suite = ET.parse(path).getroot().find("testsuite")
    cases = suite.findall("testcase")
    assert [c.get("name") for c in cases] == [c["name"] for c in got.checks]
    assert int(suite.get("failures")) == got.counts["fail"] == len(suite.findall("testcase/failure"))
    assert int(suite.get("skipped")) == got.counts["skipped"] == len(suite.findall("testcase/skipped"))
    got = control.cli(demo, "check", "--junit", str(tmp_path / "none" / "report.xml"))
    assert got.rc == 1 and "report.xml" in got.err, got


def test_probes_and_records_can_be_told_from_those_of_callers(demo):
    check(demo)
    probes = [r for r in demo.api("GET", "/api/v1/logs?text=true&use_case=foundation_layer")["data"]]
    assert probes and all(r["prompt"].startswith("muster check") for r in probes), probes
    assert demo.api("GET", "/api/v1/logs?use_case=muster_check")["data"]
    assert demo.api("GET", "/api/v1/models?use_case=muster_check")["data"] == []
    assert demo.api("GET", "/api/v1/deployments")["data"] == []


def test_without_probes_no_model_is_asked_and_none_passes(demo):
    def count():
        return len(demo.api("GET", "/api/v1/logs?limit=1000&use_case=interaction_layer")["data"])

    before = count()
    got = check(demo, "--no-probe")
    got.says("models answer", "skipped", "--no-probe")
    assert got.ready and count() == before


# --- whose files ---


def test_files_of_another_daemon_are_not_looked_at(demo, tmp_path):
    got = Report(control.cli(demo, "check", "--json", "--data", str(tmp_path)))
    for name in ("data directory", "database reachable", "schema", "spool space", "snapshot on disk", "listen address"):
        got.says(name, "skipped", "configuration in use")
    got.says("configuration in use", "warn", "is not the configuration of the daemon at")
    got.says("models answer", "pass")
    got.says("log record read back", "pass")
    assert got.ready and os.listdir(str(tmp_path)) == []


def test_two_daemons_are_not_mistaken_for_each_other(demo, start_daemon):
    other = start_daemon("")
    got = Report(control.cli(other, "check", "--json", "--data", data_of(demo)))
    assert got.state("database reachable") == got.state("data directory") == "skipped"


def test_nobody_there(tmp_path):
    got = Report(control.run("check", "--json", "--data", str(tmp_path / "none"), MUSTER_URL="http://127.0.0.1:1"))
    got.says("daemon reachable", "fail", "muster serve")
    got.says("database reachable", "fail", "muster migrate")
    got.says("data directory", "fail")
    assert not (tmp_path / "none").exists()
    assert set(got.named("pass")) <= {"configuration", "environment", "log level", "listen address", "guardrails on"}


def test_beside_a_stopped_daemon_the_database_is_asked_directly(start_daemon):
    d = start_daemon("", "--demo")
    d.register("half_layer", "http://127.0.0.1:1", promote=False)
    got = check(end(d))
    assert got.named("fail") == ["daemon reachable", "current model"], got.text
    got.says("current model", "fail", "half_layer has none")
    got.says("use cases", "pass", "5, with 5 models")
    for name in ("database reachable", "schema", "database rights", "data directory", "spool rights", "policies compile",
                 "snapshot on disk"):
        assert got.state(name) in ("pass", "skipped"), got[name]
    assert got.state("schema") == got.state("database rights") == got.state("snapshot on disk") == "pass"
    for name in ("models answer", "log record written", "log record read back", "metrics", "planted violation caught",
                 "deployments", "deployment dry run", "daemon ready", "file descriptors"):
        assert got.state(name) == "skipped", got[name]


# --- configuration and files ---


def test_a_configuration_that_cannot_be_read(demo, tmp_path):
    path = tmp_path / "muster.yaml"
    path.write_text("listen: 127.0.0.1:0\nno_such_key: 1\n")
    got = Report(control.cli(demo, "check", "--json", "--config", str(path)))
    got.says("configuration", "fail", "muster.yaml:2", "no_such_key")
    got.says("database reachable", "skipped", "configuration")
    got.says("models answer", "pass")


REFUSED = [("listen: 0.0.0.0:8080\n", "listen address", "without keys"),
           ("control_listen: 0.0.0.0:8080\n", "listen address", "without keys"),
           ("tls:\n  cert_file: /etc/hostname\n", "configuration", "tls.key_file")]


@pytest.mark.parametrize("config, name, words", REFUSED)
def test_a_configuration_that_would_be_refused(tmp_path, config, name, words):
    path = tmp_path / "muster.yaml"
    path.write_text(config)
    got = Report(control.run("check", "--json", "--config", str(path), "--data", str(tmp_path),
                             MUSTER_URL="http://127.0.0.1:1"))
    got.says(name, "fail", words)


def test_variables_that_nothing_reads(demo):
    check(demo, MUSTER_LISTN="127.0.0.1:1").says("environment", "warn", "MUSTER_LISTN")
    check(demo, POSTGRES_DB="x").says("environment", "warn", "POSTGRES_DB", "POSTGRES_HOST")
    check(demo, MUSTER_LOG_LEVEL="info", MUSTER_API_KEY="x").says("environment", "pass")


def test_flags_of_the_running_daemon_count(start_daemon):
    d = start_daemon("", "--log.level", "debug", MUSTER_LIMITS_CONNECTIONS="1000")
    got = check(d, "--production")
    got.says("log level", "fail", "debug")
    got.says("listen address", "pass", "127.0.0.1:0")
    assert "log level" in check(d).named("warn")


@pytest.mark.parametrize("mode, state", [(0o700, "pass"), (0o755, "warn"), (0o777, "fail")])
def test_rights_of_the_data_directory(start_daemon, mode, state):
    d = start_daemon("")
    os.chmod(data_of(d), mode)
    got = check(d)
    assert got.state("data directory") == state, got["data directory"]
    if state != "pass":
        got.says("data directory", state, "chmod 700")


@pytest.mark.skipif(os.geteuid() == 0, reason="rights do not bind root")
def test_a_data_directory_that_cannot_be_written(start_daemon):
    d = start_daemon("")
    os.chmod(data_of(d), 0o500)
    try:
        check(d).says("data directory", "fail", "cannot be written")
    finally:
        os.chmod(data_of(d), 0o700)


def test_snapshot_missing_broken_and_old(start_daemon):
    d = start_daemon("", "--demo")
    path = os.path.join(data_of(d), "snapshot.json")
    check(d).says("snapshot on disk", "pass")
    os.utime(path, (1, 1))
    check(d).says("snapshot on disk", "fail", "older than the last change")
    with open(path, "w") as f:
        f.write("{")
    check(d).says("snapshot on disk", "fail", "cannot be read")
    os.unlink(path)
    check(d).says("snapshot on disk", "fail", "No such file")


BACKUPS = [(0, "pass"), (2 * 86400, "warn"), (8 * 86400, "fail")]


@pytest.mark.parametrize("age, state", BACKUPS)
def test_backups(demo, tmp_path, age, state):
    check(demo, "--backup", str(tmp_path)).says("backup of the registry", "fail", "no file")
    path = tmp_path / "muster.db"
    path.write_text("x")
    os.utime(str(path), (time.time() - age, time.time() - age))
    assert check(demo, "--backup", str(tmp_path)).state("backup of the registry") == state


# --- database ---


def test_a_schema_that_is_newer(start_daemon):
    d = end(start_daemon("", "--demo"))
    with control.database(d) as db:
        db.execute("insert into schema_migrations values (999, 'from_the_future', 1)")
    got = check(d)
    got.says("schema", "fail", "999", "newer")
    for name in ("database rights", "use cases", "policies compile"):
        assert got.state(name) == "skipped", got[name]


def test_a_schema_that_is_not_there(tmp_path):
    data = tmp_path / "data"
    data.mkdir(0o700)
    (data / "muster.db").write_bytes(b"")
    got = Report(control.run("check", "--json", "--data", str(data), MUSTER_URL="http://127.0.0.1:1"))
    got.says("schema", "fail", "muster migrate")


def test_a_file_that_is_no_database(tmp_path):
    data = tmp_path / "data"
    data.mkdir(0o700)
    (data / "muster.db").write_bytes(b"not a database" * 1000)
    got = Report(control.run("check", "--json", "--data", str(data), MUSTER_URL="http://127.0.0.1:1"))
    assert got.state("database reachable") == "fail" and got.state("schema") == "skipped"


def test_a_database_that_is_held_cannot_be_written(start_daemon):
    d = end(start_daemon("", "--demo"))
    with control.held(d):
        check(d).says("database rights", "fail")


def test_a_server_that_is_not_there_and_its_password(tmp_path):
    url = "postgres://secret:tell-nobody@127.0.0.1:1/gaming_system"
    got = Report(control.run("check", "--json", "--data", str(tmp_path), "--database-url", url,
                             MUSTER_URL="http://127.0.0.1:1"))
    got.says("database reachable", "fail", "127.0.0.1:1/gaming_system")
    assert "tell-nobody" not in got.text


# --- what serves ---


def test_no_current_model(start_daemon):
    d = start_daemon("")
    check(d).says("use cases", "fail", "none")
    d.register("coordination_layer", "http://127.0.0.1:1", promote=False)
    got = check(d)
    got.says("current model", "fail", "coordination_layer has none",
             "muster model promote NAME@VERSION --use-case coordination_layer")
    got.says("models answer", "skipped")


def test_a_use_case_whose_models_are_all_archived_is_no_longer_asked_for(start_daemon, upstream):
    d = start_daemon("")
    upstream.default = m.ok("yes")
    d.register("kept", upstream)
    name = d.register("gone", upstream, promote=False)
    d.api("DELETE", "/api/v1/models/%s?reason=test" % name)
    got = check(d)
    got.says("current model", "pass", "1 use case")


def test_an_endpoint_that_does_not_answer(start_daemon):
    d = start_daemon("")
    d.register("plain", "http://127.0.0.1:1")
    d.use_case("plain", fallback_content="")
    d.register("covered", "http://127.0.0.1:1")
    d.use_case("covered", fallback_content="Later.")
    got = check(d)
    got.says("models answer", "fail", "plain", "covered")
    check(d, "--no-probe").says("models answer", "skipped")


def test_the_key_of_a_model(start_daemon, upstream, tmp_path):
    upstream.default = m.ok("yes")
    d = start_daemon("", NAMED_KEY="k", MUSTER_SECRETS_ENV_ALLOW="OTHER, NAMED_*", MUSTER_SECRETS_DIRECTORY=str(tmp_path))
    d.register("keyed", upstream, api_key_env="NAMED_KEY")
    check(d).says("keys of models", "pass", "1")
    d.register("unkeyed", upstream, api_key_env="MUSTER_SECRET_ABSENT")
    got = check(d, MUSTER_SECRET_ABSENT="only here")
    got.says("keys of models", "fail", "MUSTER_SECRET_ABSENT is not set")
    d.register("filed", upstream, api_key_file=str(tmp_path / "none"))
    check(d).says("keys of models", "fail", str(tmp_path / "none"))


def test_fallback_models(start_daemon, upstream):
    upstream.default = m.ok("yes")
    d = start_daemon("")
    d.register("u", upstream)
    second = d.register("u", upstream, promote=False)
    d.use_case("u", fallback=[second])
    check(d).says("fallback models", "pass", "1")
    d.api("DELETE", "/api/v1/models/%s?reason=test" % second)
    check(d).says("fallback models", "fail", second, "archived")


def test_hardcoded_endpoints(start_daemon, make_upstream):
    alive = make_upstream(m.ok("yes"))
    d = start_daemon("fallback:\n  endpoints:\n    one: %s/generate\n" % alive.url)
    got = check(d)
    got.says("hardcoded endpoints", "pass", "1")
    d = start_daemon("fallback:\n  endpoints:\n    one: http://127.0.0.1:1/generate\n")
    check(d).says("hardcoded endpoints", "fail", "http://127.0.0.1:1/generate")
    check(d, "--no-probe").says("hardcoded endpoints", "skipped")


# --- log ---


def test_a_spool_without_room(start_daemon):
    d = start_daemon("spool:\n  max_bytes: 16MiB\n", "--demo", "--loops", "1")
    record = {"model_id": "m", "use_case": "u", "prompt": "x" * 4000000, "context": {}, "output": "y"}
    with control.held(d):
        while d.post("/api/v1/logs", record).status == 201:
            pass
        got = check(d, "--no-probe")
    got.says("spool space", "fail", "spool.max_bytes")
    got.says("log records lost", "fail", "spool.max_bytes")
    got.says("health of historical log", "fail")
    assert not got.ready


def test_a_log_that_is_switched_off(start_daemon):
    d = start_daemon("history:\n  enabled: false\n", "--demo")
    check(d).says("historical log on", "warn", "history.enabled")
    check(d, "--production").says("historical log on", "fail")


def test_records_that_do_not_arrive(start_daemon):
    d = start_daemon("", "--demo")
    with control.held(d):
        got = check(d, "--no-probe")
    got.says("log record read back", "fail", "not after 5 s")
    assert got.state("database in use") == "skipped"


# --- guardrails ---


def test_guardrails_that_are_off(start_daemon):
    d = start_daemon("guardrails:\n  enabled: false\n", "--demo")
    got = check(d)
    got.says("guardrails on", "fail", "guardrails.enabled")


def test_a_use_case_without_a_policy(start_daemon, upstream):
    upstream.default = m.ok("yes")
    d = start_daemon("")
    d.register("open_layer", upstream)
    d.use_case("open_layer", policy="none")
    check(d).says("guarded use cases", "warn", "open_layer")
    check(d, "--production").says("guarded use cases", "fail", "open_layer")


def test_a_default_policy_that_looks_for_something_else(start_daemon):
    d = start_daemon("", "--demo")
    d.policy("default", {"id": "w", "kind": "literal", "action": "block", "severity": "low", "values": ["weather"]})
    got = check(d)
    got.says("planted violation caught", "fail", "default")
    got.says("clean text passes", "fail", "default: block")


def test_a_stored_policy_that_does_not_compile(start_daemon):
    d = start_daemon("", "--demo")
    d.policy("odd", {"id": "p", "kind": "pattern", "action": "block", "severity": "low", "values": ["a{1,3}"]})
    end(d)
    with control.database(d) as db:
        db.execute("update guardrail_policies set document = replace(document, 'a{1,3}', 'a(')")
    check(d).says("policies compile", "fail", "odd")


# --- access ---


def test_keys(start_daemon, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("ops:secret-of-operations\n")
    keys.chmod(0o600)
    d = start_daemon("auth:\n  key_file: %s\n" % keys, "--demo")
    got = check(d, MUSTER_API_KEY="secret-of-operations")
    got.says("API keys", "pass", "401")
    got.says("key files", "pass", "mode 600")
    assert got.ready and "secret-of-operations" not in got.text
    keys.chmod(0o644)
    check(d, "--production", MUSTER_API_KEY="secret-of-operations").says("key files", "fail", "chmod 600")
    got = check(d)  # without a key
    got.says("use cases", "fail", "MUSTER_API_KEY")
    assert got.state("models answer") == "skipped" and got.state("log record written") == "fail"


@pytest.mark.parametrize("days, state", [(365, "pass"), (10, "warn"), (None, "fail")])
def test_certificates(tmp_path, days, state):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    if days:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", str(days), "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)],
                       check=True, stderr=subprocess.DEVNULL)
    else:
        cert.write_text("no certificate\n")
        key.write_text("no key\n")
    key.chmod(0o600)
    config = tmp_path / "muster.yaml"
    config.write_text("tls:\n  cert_file: %s\n  key_file: %s\n" % (cert, key))
    got = Report(control.run("check", "--json", "--config", str(config), "--data", str(tmp_path),
                             MUSTER_URL="http://127.0.0.1:1"))
    got.says("TLS certificate", state, "cert.pem")
    got.says("key files", "pass", "key.pem")


def test_keys_of_the_database(tmp_path):
    data = str(tmp_path / "data")
    os.mkdir(data, 0o700)

    def make(name, *args, **env):
        got = control.run("key", "create", "--name", name, "--why", "test", "--data", data, *args, **env)
        assert got.rc == 0, got
        return got.out.strip()

    control.run("migrate", "--data", data)
    make("ops", "--role", "admin")
    config = tmp_path / "muster.yaml"
    config.write_text("listen: 0.0.0.0:8080\n")
    away = ("check", "--json", "--data", data, "--config", str(config), "--url", "http://127.0.0.1:1")
    got = Report(control.run(*away))
    got.says("key expiry", "pass", "1")
    got.says("listen address", "warn", "in the clear")
    make("short", "--role", "client", "--expires", "5d")
    got = Report(control.run(*away))
    got.says("key expiry", "warn", "short in 5 days")


# --- PostgreSQL ---


@pytest.fixture(scope="module")
def cluster():
    c = postgres.Cluster()
    yield c
    c.close()


def test_postgres(cluster, start_daemon, tmp_path):
    database = cluster.database()
    d = start_daemon("", "--demo", **database.env())
    got = check(d)
    assert not got.named("fail"), got.text
    got.says("database reachable", "pass", "PostgreSQL", database.name)
    got.says("partitions ahead", "pass", "7 days")
    got.says("database in use", "pass")
    assert got.state("database transport") == got.state("database clock") == got.state("database rights") == "pass"
    assert postgres.SECRET not in got.text
    # Its place alone is enough where the files cannot be seen.
    got = Report(control.cli(d, "check", "--json", "--data", str(tmp_path / "none"), **database.env()))
    assert got.state("database in use") == "pass" and got.state("data directory") == "skipped", got.text
    other = cluster.database()
    got = Report(control.cli(d, "check", "--json", "--data", str(tmp_path / "none"), **other.env()))
    assert got.state("database reachable") == "skipped"


def test_postgres_without_partitions_and_rights(cluster, start_daemon):
    database = cluster.database()
    d = start_daemon("", "--demo", **database.env())
    end(d)
    for name in database.sql("select relname from pg_class where relname like 'model_historical_logs_2%' and "
                             "relkind = 'r'"):
        database.sql("drop table " + name[0])
    env = database.env()
    check(d, **env).says("partitions ahead", "warn", "muster migrate")
    check(d, "--production", **env).says("partitions ahead", "fail", "muster migrate")
    database.sql("create role reader login password 'r'; grant select on all tables in schema public to reader")
    try:
        check(d, **database.env(POSTGRES_USER="reader", POSTGRES_PASSWORD="r")).says("database rights", "fail")
    finally:
        database.sql("drop owned by reader; drop role reader")
