# SPDX-License-Identifier: Apache-2.0
"""A database that may be read, but not written: the daemon runs as a user that file modes apply to."""
import os
import shutil
import tempfile

import pytest

import control
import muster as m

NOBODY = 65534


@pytest.fixture
def place(monkeypatch):
    """A directory of its own for a daemon that is not root."""
    folder = tempfile.mkdtemp(prefix="muster-readonly-")
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root is told nothing by file modes, and there is no setpriv")
        os.chown(folder, NOBODY, NOBODY)
        wrapper = os.path.join(folder, "muster")
        with open(wrapper, "w") as f:
            f.write("#!/bin/sh\nexec setpriv --reuid=%d --regid=%d --clear-groups '%s' \"$@\"\n" % (NOBODY, NOBODY,
                                                                                                m.BIN))
        os.chmod(wrapper, 0o755)
        monkeypatch.setattr(m, "BIN", wrapper)
        if control.run("version").rc:
            shutil.rmtree(folder)
            pytest.skip("another user may not run %s" % m.BIN)
    os.makedirs(os.path.join(folder, "d"))
    if os.geteuid() == 0:
        os.chown(os.path.join(folder, "d"), NOBODY, NOBODY)
    yield os.path.join(folder, "d")
    shutil.rmtree(folder, ignore_errors=True)


def test_database_that_cannot_be_written_is_served_around_until_it_can(place, upstream):
    daemon = m.Muster(place)
    daemon.use_case("u", policy="none")
    name = daemon.register("u", upstream)
    daemon.stop()
    path = control.database_path(daemon)
    os.chmod(path, 0o400)
    daemon = m.Muster(place)
    try:
        answers = [daemon.generate("u", "while read-only") for _ in range(20)]
        assert all(a.status == 200 and a.headers["x-muster-model"] == name for a in answers)
        refused = daemon.post("/api/v1/models", {"model_name": "x", "version": "1", "use_case": "u", "provider": "sim"})
        message = control.error(refused, 503, "database_unavailable")
        assert path in message and int(refused.headers["retry-after"]) >= 1
        assert daemon.api("GET", "/api/v1/models/" + name)["status"] == "current", "reading goes on"
        health = m.eventually(lambda: [h for h in [daemon.get("/health").json()] if h["status"] == "degraded"],
                              "the word that records wait")[0]
        assert path in health["parts"]["database"]["detail"] and "cannot be written" in message
        os.chmod(path, 0o600)
        ids = {a.headers["x-muster-log-id"] for a in answers}
        m.eventually(lambda: ids <= set(control.logged_ids(daemon)), "the records that waited")
        assert len(control.logged_ids(daemon)) == len(ids)
        m.eventually(lambda: daemon.get("/health").json()["status"] == "ok", "health")
        assert daemon.register("u", upstream, name="after")
    finally:
        daemon.stop()


def test_directory_that_cannot_be_written_ends_the_start_with_what_to_do(place):
    daemon = m.Muster(place)
    daemon.stop()
    data = os.path.join(place, "data")
    os.chmod(data, 0o500)
    got = control.refused(place)
    os.chmod(data, 0o700)
    assert got.rc == 1 and data in got.err and "--data" in got.err, got


def test_key_file_that_cannot_be_read_is_named(place):
    path = os.path.join(place, "keys")
    with open(path, "w") as f:
        f.write("a:0123456789abcdef\n")
    os.chmod(path, 0)
    got = control.refused(place, "--auth.key_file", path)
    assert got.rc == 1 and path in got.err and "auth.key_file" in got.err, got
