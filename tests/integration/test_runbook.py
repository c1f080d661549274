# SPDX-License-Identifier: Apache-2.0
"""docs/RUNBOOK.md: every code block of it, in order, on a PostgreSQL on port 5443 with database gaming_system; and the
same for the page that it comes from, where that is there."""
import os
import re
import socket
import sys

import pytest

import blocks
import control
import muster as m
import postgres
from test_python_client import generate_server

PORT, USER, PASSWORD, DATABASE = 5443, "postgres", "your_password", "gaming_system"
RUNBOOK = os.path.join(m.ROOT, "docs", "RUNBOOK.md")
ORIGIN = os.path.join(m.ROOT, "..", "shared", "runbook-seed.md")
CLIENT = os.path.join(m.ROOT, "clients", "python")
TURN_S = 300  # how long another run on this machine may hold the port
BLOCK_S = 120  # a hung block; the slowest takes two


@pytest.fixture(scope="module")
def turn():
    """One run at a time uses the port: the name of an abstract socket is the lock, which ends with its holder."""
    with socket.socket(socket.AF_UNIX) as lock:
        m.eventually(lambda: taken_by(lock), "another run of this test to end", TURN_S)
        m.eventually(port_is_free, "port %d of 127.0.0.1 to be free: stop what listens there (ss -ltnp 'sport = :%d')"
                     % (PORT, PORT), 30)
        yield


def taken_by(lock):
    try:
        lock.bind("\0muster-runbook-%d" % PORT)
        return True
    except OSError:
        return False


def port_is_free():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", PORT))
        except OSError:
            return False
        return True


@pytest.fixture
def server(turn):
    """PostgreSQL as the runbook finds it: the user has a password, the database is empty."""
    cluster = postgres.Cluster(PORT, USER, PASSWORD, DATABASE)
    yield cluster
    cluster.close()


@pytest.fixture
def programs(tmp_path):
    """A folder for PATH: python and python3 are this one, whatever else there is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python", "python3"):
        (folder / name).write_text('#!/bin/sh\nexec "%s" "$@"\n' % sys.executable)
        (folder / name).chmod(0o755)
    return str(folder)


def environment(programs, **more):
    path = programs + os.pathsep + os.environ["PATH"]
    return control.clean_environment(PATH=path, LC_ALL="C.UTF-8", NO_COLOR="1", PYTHONDONTWRITEBYTECODE="1",
                                     PYTEST_ADDOPTS="-p no:cacheprovider", TZ="UTC", **more)


# --- the runbook ---


def substitutions(tmp_path):
    """What is another than on the page.  Each has to be there, so that none outlives what it was for."""
    port, endpoint, restored = m.free_port(), m.free_port(), m.free_port()
    return {
        "$PWD/build/release": os.path.dirname(os.path.abspath(m.BIN)),
        "=/srv/muster": "=%s" % (tmp_path / "srv"),
        "--hold 5m": "--hold 1s",
        "localhost:8080": "localhost:%d" % port,
        "127.0.0.1:8080": "127.0.0.1:%d" % port,
        "localhost:8001": "localhost:%d" % endpoint,
        "127.0.0.1:8081": "127.0.0.1:%d" % restored,
        '"127.0.0.1", 8001': '"127.0.0.1", %d' % endpoint,
    }


def substituted(page, tmp_path):
    table = substitutions(tmp_path)
    for old, new in table.items():
        assert old in page, "the runbook has no %r any more" % old
        page = page.replace(old, new)
    return page


def test_every_block_of_the_runbook_runs_and_prints_what_it_shows(server, programs, tmp_path):
    with open(RUNBOOK, encoding="utf-8") as f:
        page = blocks.of(substituted(f.read(), tmp_path))
    (tmp_path / "shell").mkdir()
    run = blocks.Page(tmp_path / "shell", environment(programs), m.ROOT, CLIENT, BLOCK_S)
    try:
        for block in page:
            said = run.run(block)
            print("--- line %d, %.2f s\n%s" % (block.line, run.took[-1][0], said))
    finally:
        run.close()


def test_links_of_the_runbook_lead_somewhere():
    with open(RUNBOOK, encoding="utf-8") as f:
        page = f.read()
    headings = re.findall(r"^#+ (.*)$", page, re.M)
    anchors = {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}
    for target in re.findall(r"\]\(([^)]+)\)", page):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert os.path.exists(os.path.join(os.path.dirname(RUNBOOK), target.partition("#")[0])), target


# --- the page that it comes from, in clients/python ---

WHAT_ITS_READER_HAS = """
from uuid import uuid4
from services.model_management.guardrails_monitor import GuardrailsMonitor
from services.model_management.historical_log_processor import HistoricalLogProcessor
processor, monitor = HistoricalLogProcessor(), GuardrailsMonitor()
"""
A_FAILED_DEPLOYMENT = """
old_model_id = foundation_id
new_model_id = await registry.register_model("foundation-model-v2", "self_hosted", "sim", "foundation_layer", "2.0", {})
await registry.update_model_status(new_model_id, "current")
"""


def as_typed(text):
    """Without comments, which are for the reader; where psql is started, what follows is said to it."""
    lines = [l for l in text.splitlines() if l and not l.startswith("#")]
    if not lines or not lines[0].startswith("psql"):
        return text
    return "%s <<'END'\n%s\nEND\n" % (lines[0], "\n".join(lines[1:]))


def run_origin(run, page):
    """What each block printed, by a word of it."""
    said = []
    for block in page:
        if block.language == "bash":
            block.text = as_typed(block.text)
        said.append((block.text, run.run(block)))
        if "registry = ModelRegistry()" in block.text:
            run.python.run(WHAT_ITS_READER_HAS)
        if "Stop all services" in block.text:
            run.python.run(A_FAILED_DEPLOYMENT)
    run.python.run("for c in (registry.client, monitor.client, processor):\n    await c.close()")
    return said


def printed(said, word):
    return "\n".join(out for text, out in said if word in text)


@pytest.fixture
def foundation_model():
    """A model on the port that the page says, or on another one when that is taken."""
    try:
        with generate_server(8001) as port:
            yield port
    except OSError:
        with generate_server(0) as port:
            yield port


def test_every_block_of_the_page_it_comes_from_runs_as_it_stands(server, programs, tmp_path, foundation_model):
    if not os.path.exists(ORIGIN):
        pytest.skip("there is no %s" % os.path.normpath(ORIGIN))
    with open(ORIGIN, encoding="utf-8") as f:
        page = blocks.of(f.read().replace("localhost:8001", "localhost:%d" % foundation_model))
    assert [b.language for b in page].count("python") == 7 and [b.language for b in page].count("bash") == 5
    database = {"POSTGRES_HOST": "localhost", "POSTGRES_PORT": str(PORT), "POSTGRES_DB": DATABASE,
                "POSTGRES_USER": USER, "POSTGRES_PASSWORD": PASSWORD}
    daemon = m.Muster(tmp_path / "daemon", args=["--demo"], env=database)
    (tmp_path / "shell").mkdir()
    run = blocks.Page(tmp_path / "shell", environment(programs, MUSTER_URL=daemon.url, PGPASSWORD=PASSWORD), CLIENT,
                      CLIENT, BLOCK_S)
    try:
        said = run_origin(run, page)
    finally:
        run.close()
        daemon.stop()
    tables = printed(said, "\\dt").split()
    assert {"model_registry", "model_historical_logs", "model_deployments"} <= set(tables)
    ready = printed(said, "validate-production-readiness.py")
    assert ready.count(" 0 fail, ") == 2 and len(re.findall(r" ready$", ready, re.M)) == 2, ready
    assert "34 passed" in printed(said, "pytest")
    checks = server.sql("select count(*) from model_historical_logs where use_case = 'health_check' and output = 'OK'",
                        DATABASE)
    assert int(checks[0][0]) == 3  # two of the script, one of the daily checks
