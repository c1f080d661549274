# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one daemon for the tests of a file (each test makes its own use case), and upstreams that end with a test."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import muster as m  # noqa: E402


def pytest_sessionstart(session):
    if not os.access(m.BIN, os.X_OK):
        pytest.exit("there is no %s: `make` builds it, MUSTER_BIN names another" % m.BIN, returncode=2)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """Guardrails are on, with no policy for a use case that asks for none; two loops."""
    d = m.Muster(tmp_path_factory.mktemp("muster"), args=["--loops", "2"])
    yield d
    d.stop()


@pytest.fixture
def start_daemon(tmp_path):
    """Starts daemons with options of their own."""
    started = []

    def start(config="", *args, **env):
        d = m.Muster(tmp_path / ("d%d" % len(started)), config, list(args), env)
        started.append(d)
        return d

    yield start
    for d in started:
        d.stop()


@pytest.fixture
def make_upstream():
    made = []

    def make(default=None):
        u = m.Upstream(default)
        made.append(u)
        return u

    yield make
    for u in made:
        u.close()
    for u in made:
        assert not u.errors, u.errors


@pytest.fixture
def upstream(make_upstream):
    return make_upstream()


@pytest.fixture
def case(daemon, upstream):
    """A use case without guardrails and without fallback content, whose current model is `upstream`."""
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    daemon.register(name, upstream)
    return name
