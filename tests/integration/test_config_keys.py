# SPDX-License-Identifier: Apache-2.0
"""auth.key_file: who may come in, under which name, and that a key is never seen again."""
import os

import pytest

import control
import muster as m

ANN, BOB = "ann-secret-0123456789abcdef", "plain-secret-0123456789abcdef"
OPEN = ["/health/live", "/health/ready", "/livez", "/readyz", "/health", "/"]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    (folder / "keys").write_text("# who may\n\nann:%s\r\n  %s  \n" % (ANN, BOB))
    d = m.Muster(folder, "auth:\n  key_file: %s\n" % (folder / "keys"))
    yield d
    d.stop()


def bearer(key, **more):
    return dict({"Authorization": "Bearer " + key}, **more)


@pytest.mark.parametrize("method,path,body", [
    ("GET", "/api/v1/models", None), ("POST", "/api/v1/models", {}), ("GET", "/v1/models", None),
    ("POST", "/v1/chat/completions", {"model": "u", "messages": []}), ("POST", "/api/v1/generate", {"prompt": "x"}),
    ("GET", "/api/v1/use-cases/u/current", None), ("POST", "/api/v1/logs", {}), ("GET", "/api/v1/logs", None),
    ("POST", "/api/v1/guardrails/check", {"outputs": []}), ("GET", "/api/v1/events", None),
    ("GET", "/metrics", None), ("GET", "/version", None), ("GET", "/no/such/path", None),
    ("PUT", "/api/v1/guardrails/policies/p", {})])
@pytest.mark.parametrize("headers", [{}, bearer("wrong-secret-0123456789abcd"), {"Authorization": "Basic " + ANN},
                                     bearer(ANN[:-1]), bearer(ANN + "x"), {"Authorization": ANN + "x"}],
                         ids=["none", "wrong", "basic", "short", "long", "bare"])
def test_nobody_comes_in_without_a_key(keyed, method, path, body, headers):
    answer = keyed.request(method, path, body, headers)
    assert answer.status == 401, answer
    e = answer.json()["error"]
    assert e["message"] and "Bearer" in e["message"]
    assert ANN not in answer.body.decode() and "wrong-secret" not in answer.body.decode()


@pytest.mark.parametrize("path", OPEN)
def test_health_needs_no_key(keyed, path):
    assert keyed.get(path).status == 200


def test_key_opens_and_its_name_is_who_did_it(keyed):
    for key, name in ((ANN, "ann"), (BOB, "key")):
        body = {"model_name": keyed.name(), "version": "1", "use_case": "u", "provider": "sim"}
        answer = keyed.post("/api/v1/models", body, bearer(key, **{"x-muster-actor": "somebody-else"}))
        assert answer.status == 201, answer
        events = keyed.request("GET", "/api/v1/models/%s/history" % answer.json()["model_id"], headers=bearer(key))
        assert events.json()["data"][0]["actor"] == name


def test_caller_of_an_exchange_is_logged_by_the_name_of_the_key(keyed, make_upstream):
    with_key = {"Authorization": "Bearer " + ANN}
    upstream = make_upstream()
    keyed.request("PUT", "/api/v1/use-cases/called", {"policy": "none"}, with_key)
    keyed.request("POST", "/api/v1/models", {
        "model_name": "c", "version": "1", "use_case": "called", "provider": "custom", "status": "current",
        "configuration": {"endpoint": upstream.url}}, with_key)
    answer = keyed.generate("called", headers=with_key)
    assert answer.status == 200, answer

    def probe():
        got = keyed.request("GET", "/api/v1/logs/" + answer.headers["x-muster-log-id"], headers=with_key)
        return got.json() if got.status == 200 else None

    assert m.eventually(probe, "the record")["caller"] == "ann"
    sent = "\n".join("%s: %s" % h for h in upstream.last().headers.items()) + upstream.last().body.decode()
    assert ANN not in sent, "our callers' keys are not for upstreams"


def test_key_is_never_seen_again(keyed):
    keyed.request("GET", "/api/v1/models?name=" + ANN, headers=bearer("wrong-secret-0123456789abcd"))
    for key in (ANN, BOB, "wrong-secret"):
        assert key not in keyed.errors()
        for path in ("/metrics", "/health", "/api/v1/events", "/api/v1/models"):
            assert key not in keyed.request("GET", path, headers=bearer(ANN)).body.decode(), path
        with open("/proc/%d/cmdline" % keyed.process.pid) as f:
            assert key not in f.read()
    for root, _, files in os.walk(os.path.join(keyed.directory, "data")):
        for name in files:
            with open(os.path.join(root, name), "rb") as f:
                content = f.read()
            assert ANN.encode() not in content and BOB.encode() not in content, name


def test_command_line_takes_the_key_from_environment_or_file(keyed, tmp_path):
    denied = control.cli(keyed, "model", "list")
    assert denied.rc == 1 and "MUSTER_API_KEY" in denied.err and "--api-key-file" in denied.err, denied
    assert control.cli(keyed, "model", "list", MUSTER_API_KEY=ANN).rc == 0
    (tmp_path / "key").write_text(BOB + "\n")
    assert control.cli(keyed, "model", "list", "--api-key-file", str(tmp_path / "key")).rc == 0
    wrong = control.cli(keyed, "model", "list", MUSTER_API_KEY="not-the-key-0123456789")
    assert wrong.rc == 1 and "not-the-key" not in wrong.err + wrong.out, wrong
    refused = control.cli(keyed, "model", "list", "--api-key", ANN)
    assert refused.rc == 2 and "--api-key-file" in refused.err and ANN not in refused.err, refused


@pytest.mark.parametrize("text,words", [
    ("", "no key"), ("# nothing\n", "no key"), ("short\n", "line 1"), ("ann:0123456789abcdefgh\nbob:short\n", "line 2")])
def test_key_file_that_is_no_good_is_refused(tmp_path, text, words):
    (tmp_path / "keys").write_text(text)
    got = control.refused(tmp_path, "--auth.key_file", str(tmp_path / "keys"))
    assert got.rc == 1 and "auth.key_file" in got.err and words in got.err, got
    assert "0123456789" not in got.err and "short" not in got.err


def test_keys_are_read_again_on_reload(start_daemon, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("a:first-secret-0123456789\n")
    daemon = start_daemon("auth:\n  key_file: %s\n" % keys)
    assert daemon.request("GET", "/v1/models", headers=bearer("first-secret-0123456789")).status == 200
    keys.write_text("a:second-secret-0123456789\n")
    assert control.reload(daemon)[0]
    m.eventually(lambda: daemon.request("GET", "/v1/models",
                                        headers=bearer("second-secret-0123456789")).status == 200, "the new key")
    m.eventually(lambda: daemon.request("GET", "/v1/models",
                                        headers=bearer("first-secret-0123456789")).status == 401, "the old one gone")
