# SPDX-License-Identifier: Apache-2.0
"""The text of a key is where it was made, and nowhere else: not in a log, an answer, a file, a process or upstream."""
import glob
import os
import threading

import pytest

import control
import keyring
import muster as m
from keyring import bearer


class Keys:
    def __init__(self, daemon):
        self.admin = daemon.key
        self.client = daemon.make("client", "canary", use_cases=["secret"], requests_per_minute=1000, tokens_per_minute=10 ** 6)
        self.expired = daemon.make("client", "expired", expires="1ms")
        self.revoked = daemon.make("operator", "revoked")
        self.unknown = "mk_" + "0123456789abcdef" * 4
        got = control.cli(daemon, "key", "create", "--name", "by-cli", "--role", "client", "--why", "w",
                          MUSTER_API_KEY=daemon.key)
        self.cli = got.out.strip()
        assert self.cli not in got.err

    def all(self):
        return [self.admin, self.client, self.expired, self.revoked, self.unknown, self.cli]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    upstream = m.Upstream()
    d = keyring.Keyed(tmp_path_factory.mktemp("secret"), "log:\n  level: debug\n", args=["--loops", "2"])
    d.use_case("secret")
    d.register("secret", upstream)
    d.keys = Keys(d)
    d.api("DELETE", "/api/v1/keys/revoked?reason=w")
    d.upstream = upstream
    d.answers = list(everything(d))
    yield d
    d.stop()
    upstream.close()


def everything(d):
    """Every kind of call with every key: what was answered."""
    calls = [("POST", "/v1/chat/completions", {"model": "secret", "messages": [{"role": "user", "content": "x"}]}),
             ("POST", "/api/v1/generate", {"use_case": "secret", "prompt": "x"}),
             ("POST", "/api/v1/generate", {"use_case": "another", "prompt": "x"}),
             ("POST", "/api/v1/generate", b"not JSON"), ("GET", "/api/v1/models", None), ("GET", "/metrics", None),
             ("GET", "/api/v1/keys", None), ("GET", "/api/v1/keys?all=true", None), ("GET", "/api/v1/events", None),
             ("GET", "/api/v1/logs?text=true", None), ("GET", "/v1/models", None), ("GET", "/version", None),
             ("POST", "/api/v1/keys", {"name": "canary", "role": "client"}), ("GET", "/health", None),
             ("PUT", "/api/v1/use-cases/secret", {"log": "full", "reason": "w"}), ("GET", "/no/such/path", None)]
    for key in d.keys.all():
        for method, path, body in calls:
            yield d.as_(key, method, path, body)
            yield d.request(method, path, body, {"x-api-key": key})


def test_no_answer_and_no_header_has_a_key(world):
    for answer in world.answers:
        text = answer.body.decode(errors="replace") + repr(answer.headers)
        for key in world.keys.all():
            assert key not in text and key[3:] not in text, answer


def test_no_line_of_the_log_has_a_key(world):
    control.reload(world)
    for key in world.keys.all():
        assert key[3:] not in world.errors()


def test_no_file_of_the_daemon_has_a_key(world):
    answer = world.generate("secret", headers=bearer(world.keys.client))
    m.eventually(lambda: world.get("/api/v1/logs/" + answer.headers["x-muster-log-id"]).status == 200, "the record")
    seen = 0
    for root, _, files in os.walk(world.directory):
        for name in files:
            with open(os.path.join(root, name), "rb") as f:
                content = f.read()
            seen += 1
            for key in world.keys.all():
                assert key[3:].encode() not in content, os.path.join(root, name)
    assert seen > 4, "database, snapshot, spool, log"


def test_no_process_shows_a_key(world):
    for what in ("cmdline", "comm", "environ"):
        with open("/proc/%d/%s" % (world.process.pid, what), "rb") as f:
            content = f.read()
        assert not any(key[3:].encode() in content for key in world.keys.all()), what
    for path in glob.glob("/proc/%d/task/*/comm" % world.process.pid):
        with open(path) as f:
            assert "mk_" not in f.read()


def test_the_command_line_never_shows_its_key(world, tmp_path):
    (tmp_path / "key").write_text(world.keys.client + "\n")
    seen = []

    def watch(stop):
        while not stop.is_set():
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as f:
                        seen.append(world.keys.client.encode() in f.read())
                except OSError:
                    pass  # it has ended

    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(stop,))
    watcher.start()
    for verb in (["generate", "secret", "x"], ["model", "list"], ["key", "list"], ["health"]):
        for env, more in (({"MUSTER_API_KEY": world.keys.client}, []), ({}, ["--api-key-file", str(tmp_path / "key")])):
            got = control.cli(world, *verb, *more, **env)
            assert world.keys.client not in got.out + got.err, got
    stop.set()
    watcher.join()
    assert seen and not any(seen)


def test_upstreams_do_not_get_the_callers_key(world):
    for request in world.upstream.requests:
        text = repr(request.headers) + request.body.decode(errors="replace")
        assert not any(key[3:] in text for key in world.keys.all())


def test_the_snapshot_and_the_database_are_their_owners_alone(world):
    for name in ("snapshot.json",):
        assert os.stat(os.path.join(world.directory, "data", name)).st_mode & 0o077 == 0
    assert os.stat(os.path.join(world.directory, "data")).st_mode & 0o077 == 0
