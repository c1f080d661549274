# SPDX-License-Identifier: Apache-2.0
"""Bodies that are wrong: the error names the member and says what to do, in the caller's protocol; no model hears of it."""
import json

import pytest

import muster as m

CHAT, GENERATE = "/v1/chat/completions", "/api/v1/generate"
USER = [{"role": "user", "content": "x"}]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("muster"))
    d.upstream = m.Upstream()
    d.use_case("good_layer", policy="none")
    d.register("good_layer", d.upstream, name="able")
    yield d
    d.upstream.close()
    d.stop()


@pytest.fixture(autouse=True)
def alive(daemon):
    before = len(daemon.upstream.requests)
    yield
    assert daemon.chat("good_layer").status == 200
    assert len(daemon.upstream.requests) == before + 1  # none of the test's own


def refused(answer, path, status, param=None):
    assert answer.status == status, answer
    got = answer.json()
    assert set(got["error"]) == {"message", "type", "param", "code"}
    assert ("success" in got) == (path == GENERATE) and not got.get("success")
    assert got["error"]["type"] == "invalid_request_error" and got["error"]["param"] == param, got
    return got["error"]


@pytest.mark.parametrize("path", [CHAT, GENERATE])
@pytest.mark.parametrize("body", [
    b"", b"{", b"}", b"nonsense", b'{"model":}', b"{'model':'x'}", b'{"a":1,}', b'{"a":01}', b'{"a":NaN}', b'{"a":1}}',
    b'{"a":"\x01"}', b'{"a":"\\x"}', b'{"a":"\\ud800"}', b'{"a":"\xff"}', b'{"model":"good\xc3"}', b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xc0\xaf"}', b"\xef\xbb\xbf{}", b"\x00", b"[" * 100000, b'{"a":' * 5000, b"{}{}", b'"' * 3])
def test_what_is_no_json_is_refused(daemon, path, body):
    error = refused(daemon.post(path, body), path, 400)
    assert error["message"]


@pytest.mark.parametrize("path", [CHAT, GENERATE])
@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"true"])
def test_a_body_that_is_no_object_is_refused(daemon, path, body):
    assert "object" in refused(daemon.post(path, body), path, 400)["message"]


WRONG = {
    CHAT: [
        ("model", [1, True, [], {}, ""]), ("messages", ["x", 1, {}, [], [1], [{}], [{"role": "king", "content": "x"}],
                                                       [{"role": 5, "content": "x"}], [{"role": "user", "content": 5}],
                                                       [{"role": "user", "content": [5]}]]),
        ("stream", [1, "true", [], {}]), ("stream_options", [1, "x", []]), ("max_tokens", ["5", -1, 0, 1.5, [], True]),
        ("max_completion_tokens", ["5", 0, {}]), ("temperature", ["1", -0.1, 2.1, [], True]),
        ("top_p", ["1", -1, 1.1]), ("seed", ["1", 1.5, []]), ("n", [0, -1, 129, "1", 1.5]),
        ("stop", [1, {}, [1], ["a"] * 40])],
    GENERATE: [
        ("prompt", [1, [], {}, "", True]), ("layer", [1, [], ""]), ("use_case", [1, {}, "x" * 300]),
        ("context", ["x", 1, []]), ("max_tokens", ["5", 0, 1.5]), ("temperature", ["1", 3]), ("stream", ["yes", 1])],
}


@pytest.mark.parametrize("path,member,value", [(p, name, v) for p in WRONG for name, vs in WRONG[p] for v in vs])
def test_a_member_of_the_wrong_type_is_named(daemon, path, member, value):
    body = {"model": "good_layer", "messages": USER} if path == CHAT else {"use_case": "good_layer", "prompt": "x"}
    body[member] = value
    if member == "layer":
        del body["use_case"]
    answer = daemon.post(path, body)
    assert answer.status == 400, answer
    error = answer.json()["error"]
    assert (error["param"] or "").split("[")[0].split(".")[0] == member and error["message"]


@pytest.mark.parametrize("path,body,param", [
    (CHAT, {}, "model"), (CHAT, {"model": "good_layer"}, "messages"), (CHAT, {"messages": USER}, "model"),
    (GENERATE, {}, "prompt"), (GENERATE, {"prompt": "x"}, "use_case"), (GENERATE, {"use_case": "good_layer"}, "prompt")])
def test_a_missing_member_is_named(daemon, path, body, param):
    refused(daemon.post(path, body), path, 400, param)


@pytest.mark.parametrize("path,member", [
    (CHAT, "model"), (CHAT, "messages"), (CHAT, "stream"), (CHAT, "temperature"), (GENERATE, "prompt"),
    (GENERATE, "use_case"), (GENERATE, "model"), (GENERATE, "stream")])
def test_a_member_that_is_there_twice_is_refused(daemon, path, member):
    values = {"model": '"good_layer"', "messages": json.dumps(USER), "stream": "false", "temperature": "1",
              "prompt": '"x"', "use_case": '"good_layer"'}
    names = ["model", "messages"] if path == CHAT else ["use_case", "prompt"]
    parts = ['"%s":%s' % (n, values[n]) for n in names + [member] + ([] if member in names else [member])]
    error = refused(daemon.post(path, ("{%s}" % ",".join(parts)).encode()), path, 400, member)
    assert "twice" in error["message"]


def test_a_name_that_is_written_in_escapes_is_the_same_name(daemon):
    body = b'{"model":"good_layer","\\u006dodel":"other","messages":%s}' % json.dumps(USER).encode()
    assert "twice" in refused(daemon.post(CHAT, body), CHAT, 400, "model")["message"]


@pytest.mark.parametrize("wanted,near", [
    ("god_layer", "good_layer"), ("good_layr", "good_layer"), ("abel@1.0", "able@1.0"), ("something else", None)])
def test_an_unknown_name_gets_the_nearest(daemon, wanted, near):
    error = refused(daemon.chat(wanted), CHAT, 404, "model")
    assert error["code"] == "model_not_found" and wanted in error["message"]
    assert ("Did you mean '%s'?" % near in error["message"]) if near else "Did you mean" not in error["message"]


@pytest.mark.parametrize("member", ["layer", "use_case", "model"])
def test_an_unknown_name_is_refused_in_generate(daemon, member):
    error = refused(daemon.post(GENERATE, {member: "god_layer", "prompt": "x"}), GENERATE, 404, member)
    assert "good_layer" in error["message"]


def test_a_use_case_is_no_place_for_the_name_of_a_model(daemon):
    refused(daemon.post(GENERATE, {"use_case": "able@1.0", "prompt": "x"}), GENERATE, 404, "use_case")


def test_an_unknown_name_is_cut_to_a_bearable_length(daemon):
    answer = daemon.chat("x" * 100000)
    assert answer.status in (400, 404) and len(answer.body) < 1000
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_a_long_error_of_an_upstream_is_cut_and_still_json(daemon, path):
    daemon.use_case("cut", policy="none")
    with m.Upstream(m.answer_with(400, {"error": {"message": "\u0001\u20ac" * 3000}})) as u:
        daemon.register("cut", u)
        daemon.use_case("cut", policy="none", fallback_content="")
        answer = daemon.post(path, {"model": "cut", "messages": USER, "prompt": "x"})
    assert answer.status == 400 and answer.json()["error"]["message"].startswith("\u0001\u20ac")


@pytest.mark.parametrize("path,method", [
    ("/api/v1/use-cases/god_layer/current", "GET"), ("/v1/models/nobody", "GET")])
def test_a_lookup_of_nothing_is_404(daemon, path, method):
    answer = daemon.request(method, path)
    assert answer.status == 404 and answer.json()["error"]["message"]
    if "god_layer" in path:
        assert "good_layer" in answer.json()["error"]["message"]


def test_a_wrong_key_is_told_so(start_daemon, tmp_path, make_upstream):
    keys = tmp_path / "keys"
    keys.write_text("# of callers\nteam-a:sk-right-0123456789\nsk-plain-0123456789\n")
    d = start_daemon("auth:\n  key_file: %s\n" % keys)
    for path in (CHAT, GENERATE):
        for auth in (None, "Bearer wrong", "Basic sk-right-0123456789", "Bearer", "sk-right-0123456789"):
            answer = d.post(path, {"model": "x"}, {"Authorization": auth})
            assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] in ("invalid_api_key", "missing_api_key")
    assert d.get("/health/live").status == 200 and d.get("/v1/models").status == 401
    right = {"Authorization": "Bearer sk-right-0123456789"}
    assert d.request("GET", "/v1/models", headers=right).status == 200
    d.request("PUT", "/api/v1/use-cases/kept", {"policy": "none", "fallback_content": "x"}, right)
    got = d.post(GENERATE, {"use_case": "kept", "prompt": "x"}, right)
    log_id = got.headers["x-muster-log-id"]

    def shipped():
        a = d.request("GET", "/api/v1/logs/" + log_id, headers=right)
        return a.json() if a.status == 200 else None

    assert m.eventually(shipped, "the record")["caller"] == "team-a"
