# SPDX-License-Identifier: Apache-2.0
"""docs/RUNBOOK.md: every code block of it, in order, on a PostgreSQL on port 5443 with database gaming_system; and the
same for the page that it comes from, where that is there."""
import os
import re
import socket
import stat
import subprocess
import sys
import time

import pytest

import blocks
import control
import muster as m
import postgres

PORT, USER, PASSWORD, DATABASE = 5443, "postgres", "your_password", "gaming_system"
RUNBOOK = os.path.join(m.ROOT, "docs", "RUNBOOK.md")
SEED = os.path.join(m.ROOT, "..", "shared", "runbook-seed.md")
CLIENT = os.path.join(m.ROOT, "clients", "python")
TURN_S = 300  # how long another run on this machine may hold the port
BLOCK_S = 60


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
    return control.clean_environment(PATH=programs + os.pathsep + os.environ["PATH"], LC_ALL="C.UTF-8", NO_COLOR="1",
                                     PYTHONDONTWRITEBYTECODE="1", PYTEST_ADDOPTS="-p no:cacheprovider", TZ="UTC", **more)


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
