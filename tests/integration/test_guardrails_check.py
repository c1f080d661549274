# SPDX-License-Identifier: Apache-2.0
"""POST /api/v1/guardrails/check and POST /api/v1/logs: what applications call at request rate."""
import pytest

import muster as m

UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-7"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("muster"))

    def rule(name, action, value, side="both"):
        return {"id": name, "category": "test", "kind": "literal", "action": action, "severity": "low", "side": side,
                "values": [value]}

    d.policy("mine", rule("stop", "block", "bad word"), rule("hide", "mask", "name", "output"),
             rule("note", "flag", "odd thing", "input"))
    d.use_case("ruled", policy="mine")
    d.use_case("open", policy="none")
    yield d
    d.stop()


def check(daemon, *outputs, **members):
    return daemon.api("POST", "/api/v1/guardrails/check", dict({"outputs": list(outputs)}, **members))


def test_clean_texts_are_compliant(daemon):
    got = check(daemon, "hello", "", "good day", policy="mine")
    assert got["compliant"] is True and got["action"] == "allow" and got["policy"] == "mine"
    assert got["violations"] == []
    assert [(o["index"], o["action"], o["text"]) for o in got["outputs"]] == [
        (0, "allow", "hello"), (1, "allow", ""), (2, "allow", "good day")]


def test_violations_are_listed_with_their_places(daemon):
    got = check(daemon, "é my name", "a bad word", "fine", policy="mine")
    assert got["compliant"] is False and got["action"] == "block"
    assert [(v["index"], v["rule"], v["start"], v["length"], v["action"], v["severity"]) for v in got["violations"]] == [
        (0, "hide", 6, 4, "mask", "low"), (1, "stop", 2, 8, "block", "low")]
    assert [o["text"] for o in got["outputs"]] == ["é my [hide]", None, "fine"]


@pytest.mark.parametrize("members", [{"policy": "mine"}, {"use_case": "ruled"}])
def test_the_side_decides_which_rules_run(daemon, members):
    assert check(daemon, "an odd thing", side="input", **members)["action"] == "flag"
    assert check(daemon, "an odd thing", side="output", **members)["action"] == "allow"
    assert check(daemon, "my name", side="input", **members)["action"] == "allow"


def test_a_model_stands_for_its_use_case(daemon):
    full = daemon.register("ruled", "http://127.0.0.1:9", promote=False)
    models = daemon.api("GET", "/api/v1/models?use_case=ruled")["data"]
    for model_id in (full, models[0]["model_id"]):
        assert check(daemon, "a bad word", model_id=model_id)["policy"] == "mine"


def test_without_a_name_the_default_policy_judges(daemon):
    assert check(daemon, "hello")["policy"] == "default"


@pytest.mark.parametrize("body,status,param", [
    ({}, 400, "outputs"), ({"outputs": "x"}, 400, "outputs"), ({"outputs": [1]}, 400, "outputs"),
    ({"outputs": ["x"] * 257}, 400, "outputs"), ({"outputs": ["x"], "side": "both"}, 400, "side"),
    ({"outputs": ["x"], "policy": "none-such"}, 404, "policy"), ({"outputs": ["x"], "policy": 4}, 400, "policy"),
    ([], 400, None), (b"", 400, None), (b"{", 400, None)])
def test_what_is_wrong_is_said(daemon, body, status, param):
    a = daemon.post("/api/v1/guardrails/check", body)
    assert a.status == status and a.json()["error"]["param"] == param


def test_as_many_texts_as_allowed_are_checked(daemon):
    got = check(daemon, *(["a bad word"] * 256), policy="mine")
    assert len(got["violations"]) == 256 and len(got["outputs"]) == 256


# --- records of applications ---


@pytest.mark.parametrize("model_id", ["7b1f7a3e-5d0c-4d6e-9b1e-0f6f4f2d9c11", "my own model", "gpt-x@7", "ü" * 128])
def test_a_record_with_any_model_id_is_kept(daemon, model_id):
    name = daemon.name()
    got = daemon.request("POST", "/api/v1/logs", {
        "model_id": model_id, "use_case": name, "prompt": "p", "context": {"a": [1]}, "generated_output": "o",
        "prompt_tokens": 3, "completion_tokens": 4, "latency_ms": 12.5, "parameters": {"t": 0.5},
        "created_at": "2026-01-02T03:04:05Z"})
    assert got.status == 201
    log = daemon.log(got.json()["log_id"])
    assert log["model_id"] == model_id and log["use_case"] == name and log["source"] == "application"
    assert (log["prompt"], log["context"], log["output"]) == ("p", {"a": [1]}, "o")
    assert log["usage"]["prompt_tokens"] == 3 and log["usage"]["completion_tokens"] == 4
    assert log["latency_ms"] == 12.5 and log["status"] == "ok" and log["parameters"] == {"t": 0.5}
    assert log["created_at"].startswith("2026-01-02T03:04:05")
    assert daemon.logs(name, 1)[0]["log_id"] == log["log_id"]


@pytest.mark.parametrize("change,param", [
    ({"model_id": None}, "model_id"), ({"model_id": "x" * 257}, "model_id"), ({"model_id": {}}, "model_id"),
    ({"use_case": None}, "use_case"), ({"use_case": ""}, "use_case"), ({"prompt": 5}, "prompt"),
    ({"context": "x"}, "context"), ({"status": "splendid"}, "status"), ({"created_at": "yesterday-ish"}, "created_at"),
    ({"parameters": 7}, "parameters"), ({"output": ["x"]}, "output"), ({"tool_calls": {}}, "tool_calls"),
    ({"tool_calls": ["x"]}, "tool_calls"), ({"tool_calls": [{"id": "c", "name": "f"}]}, "tool_calls"),
    ({"tool_calls": [{"id": "c", "name": "f", "arguments": {}}]}, "tool_calls"),
    ({"tool_calls": [{"id": "c", "name": "f", "arguments": "{}", "type": "function"}]}, "tool_calls"),
    ({"tool_calls": [{"id": "c", "name": "f", "arguments": "{}", "omitted_bytes": 0}]}, "tool_calls")])
def test_a_record_that_is_wrong_is_refused(daemon, change, param):
    body = dict({"model_id": "m", "use_case": "u", "prompt": "p", "output": "o"}, **change)
    a = daemon.post("/api/v1/logs", {k: v for k, v in body.items() if v is not None})
    assert a.status == 400 and a.json()["error"]["param"] == param


def test_every_status_of_a_record_is_taken(daemon):
    for status in ("ok", "error", "blocked", "truncated", "client_disconnect", "timeout"):
        a = daemon.post("/api/v1/logs", {"model_id": "m", "use_case": "u", "status": status})
        assert daemon.log(a.json()["log_id"])["status"] == status
