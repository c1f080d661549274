# SPDX-License-Identifier: Apache-2.0
"""Every operation of docs/api/openapi.yaml with a key of every role: who comes in, who does not, and what it is told."""
import pytest

import control
import keyring
import muster as m
import openapi

ROLES = ["client", "operator", "admin"]
OPEN = ["/health/live", "/health/ready", "/livez", "/readyz", "/health", "/"]
# The least role of what is neither read by an operator nor done by an admin.
LEAST = {
    ("POST", "/v1/chat/completions"): "client", ("POST", "/v1/messages"): "client", ("POST", "/v1/responses"): "client",
    ("GET", "/v1/responses/{id}"): "client", ("DELETE", "/v1/responses/{id}"): "client",
    ("POST", "/v1/messages/count_tokens"): "client", ("POST", "/v1beta/models/{model}:generateContent"): "client",
    ("POST", "/v1beta/models/{model}:streamGenerateContent"): "client",
    ("POST", "/v1beta/models/{model}:countTokens"): "client", ("POST", "/v1/moderations"): "client",
    ("POST", "/v1/completions"): "client", ("POST", "/v1/embeddings"): "client", ("POST", "/v1beta/models/{model}:embedContent"): "client",
    ("POST", "/v1beta/models/{model}:batchEmbedContents"): "client",
    ("POST", "/api/embed"): "client", ("POST", "/api/embeddings"): "client",
    ("GET", "/v1/models"): "client", ("GET", "/v1/models/{id}"): "client",
    ("POST", "/api/chat"): "client", ("POST", "/api/generate"): "client", ("POST", "/api/show"): "client",
    ("GET", "/api/tags"): "client", ("GET", "/api/ps"): "client", ("GET", "/api/version"): "client",
    ("GET", "/v1beta/models"): "client", ("GET", "/v1beta/models/{id}"): "client",
    ("POST", "/api/v1/generate"): "client", ("GET", "/api/v1/use-cases/{use_case}/current"): "client",
    ("POST", "/api/v1/guardrails/check"): "client", ("POST", "/api/v1/logs"): "client",
    ("GET", "/api/v1/models"): "client", ("GET", "/api/v1/models/{model}"): "client", ("GET", "/version"): "client",
    ("PATCH", "/api/v1/models/{model}"): "operator", ("DELETE", "/api/v1/models/{model}"): "operator",
    ("POST", "/api/v1/models/{model}/promote"): "operator", ("POST", "/api/v1/rollback"): "operator",
    ("POST", "/api/v1/alerts/test"): "operator", ("POST", "/api/v1/alerts/silences"): "operator",
    ("DELETE", "/api/v1/alerts/silences/{silence}"): "operator",
    ("POST", "/api/v1/deployments"): "operator", ("POST", "/api/v1/deployments/{deployment}/pause"): "operator",
    ("POST", "/api/v1/deployments/{deployment}/resume"): "operator",
    ("POST", "/api/v1/deployments/{deployment}/promote"): "operator",
    ("POST", "/api/v1/deployments/{deployment}/abort"): "operator",
    ("GET", "/api/v1/keys"): "admin", ("GET", "/api/v1/keys/{key}"): "admin",
}
OPERATIONS = sorted((method, path) for method, path, _ in openapi.Api().operations())


def least(method, path):
    return LEAST.get((method, path), "operator" if method == "GET" else "admin")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    d = keyring.Keyed(tmp_path_factory.mktemp("roles"))
    d.keys = {role: d.make(role, role) for role in ROLES}
    yield d
    d.stop()


@pytest.fixture(scope="module")
def api():
    return openapi.Api()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method,path", OPERATIONS)
def test_a_role_comes_in_where_it_may_and_nowhere_else(world, api, method, path, role):
    real = path.replace("{use_case}", "nope")
    for name in ("id", "model", "log", "name", "key", "deployment", "silence"):
        real = real.replace("{%s}" % name, "nope-nope")
    answer = world.as_(world.keys[role], method, real, {} if method in ("POST", "PUT", "PATCH") else None)
    if path in OPEN or ROLES.index(role) >= ROLES.index(least(method, path)):
        assert answer.status not in (401, 403), answer
        return
    assert answer.status == 403, answer
    api.check_answer(method, real, answer)
    e = answer.json()["error"]
    assert e["code"] == "role_not_allowed" and role in e["message"] and least(method, path) in e["message"], answer


@pytest.mark.parametrize("method,path", [("GET", "/api/v1/what-is-this"), ("POST", "/api/v1/what-is-this"),
                                         ("DELETE", "/api/v1/logs/x"), ("PUT", "/metrics")])
def test_what_nobody_thought_of_is_closed_to_clients(world, method, path):
    assert world.as_(world.keys["client"], method, path).status == 403
    if method != "GET":
        assert world.as_(world.keys["operator"], method, path).status == 403


def test_an_operator_changes_the_status_and_no_more(world, make_upstream):
    model = world.register("changing", make_upstream())
    path = "/api/v1/models/" + model
    assert world.as_(world.keys["operator"], "PATCH", path, {"status": "testing"}).status == 200
    for body in ({"configuration": {"endpoint": "http://127.0.0.1:1"}}, {"performance_metrics": {"f1": 1}},
                 {"status": "testing", "configuration": {"endpoint": "http://127.0.0.1:2"}}):
        message = control.error(world.as_(world.keys["operator"], "PATCH", path, body), 403, "role_not_allowed")
        assert "status" in message
        assert world.as_(world.keys["admin"], "PATCH", path, body).status == 200


def test_refused_control_calls_are_counted_and_logged_with_who_it_was(world):
    def forbidden():
        text = world.get("/metrics").body.decode()
        return float(text.split("\nmuster_forbidden_total ")[1].split()[0])

    key = world.make("client", "curious")
    before = forbidden()
    assert world.as_(key, "GET", "/api/v1/keys").status == 403
    assert forbidden() == before + 1

    def said():  # ten lines a second: others may have been refused just now
        assert world.as_(key, "GET", "/api/v1/keys").status == 403
        return any("/api/v1/keys" in line for line in world.errors().splitlines() if "by curious (client)" in line)

    m.eventually(said, "a line about it")


# --- use cases ---


@pytest.fixture(scope="module")
def cases(world):
    upstream = m.Upstream()
    world.use_case("mine", policy="none")
    world.use_case("theirs", policy="none")
    ids = {case: world.api("GET", "/api/v1/models/" + world.register(case, upstream, name=case + "-model"))["model_id"]
           for case in ("mine", "theirs")}
    world.register("theirs", upstream, name="shared")
    world.key_of_mine = world.make("client", "mine-only", use_cases=["mine"])
    yield ids
    upstream.close()


CHAT = {"messages": [{"role": "user", "content": "hi"}]}
SCOPED = [
    ("POST", "/v1/messages", dict(CHAT, model="mine"), 200),
    ("POST", "/v1/responses", {"model": "mine", "input": "hi"}, 200),
    ("POST", "/v1/responses", {"model": "theirs", "input": "hi"}, 403),
    ("POST", "/v1/moderations", {"input": "x"}, 200),
    ("POST", "/v1/moderations", {"model": "theirs", "input": "x"}, 403),
    ("POST", "/v1beta/models/mine:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}, 200),
    ("POST", "/v1beta/models/theirs:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}, 403),
    ("POST", "/api/chat", dict(CHAT, model="mine"), 200), ("POST", "/api/chat", dict(CHAT, model="theirs"), 403),
    ("POST", "/api/generate", {"model": "mine", "prompt": "x"}, 200),
    ("POST", "/api/generate", {"model": "theirs"}, 403), ("POST", "/api/show", {"model": "theirs"}, 403),
    ("GET", "/api/tags", None, 200), ("GET", "/api/ps", None, 200),
    ("POST", "/v1/chat/completions", dict(CHAT, model="mine"), 200),
    ("POST", "/v1/chat/completions", dict(CHAT, model="theirs"), 403),
    ("POST", "/v1/chat/completions", dict(CHAT, model="mine-model@1.0"), 200),
    ("POST", "/v1/chat/completions", dict(CHAT, model="theirs-model@1.0"), 403),
    ("POST", "/v1/chat/completions", dict(CHAT, model="theirs-model"), 403),
    ("POST", "/v1/chat/completions", dict(CHAT, model="{theirs}"), 403),
    ("POST", "/v1/chat/completions", dict(CHAT, model="theirs", stream=True), 403),
    ("POST", "/api/v1/generate", {"use_case": "mine", "prompt": "x"}, 200),
    ("POST", "/api/v1/generate", {"use_case": "theirs", "prompt": "x"}, 403),
    ("POST", "/api/v1/generate", {"layer": "theirs", "prompt": "x"}, 403),
    ("GET", "/v1/models/mine", None, 200), ("GET", "/v1/models/theirs", None, 403),
    ("GET", "/v1beta/models/mine", None, 200), ("GET", "/v1beta/models/theirs", None, 403),
    ("GET", "/v1/models/theirs-model", None, 403), ("GET", "/v1/models/mine-model@1.0", None, 200),
    ("GET", "/api/v1/use-cases/mine/current", None, 200), ("GET", "/api/v1/use-cases/theirs/current", None, 403),
    ("GET", "/api/v1/use-cases/mine/current?at=0s", None, 200),
    ("GET", "/api/v1/use-cases/theirs/current?at=0s", None, 403),
    ("GET", "/api/v1/use-cases/%74heirs/current?at=0s", None, 403),
    ("GET", "/api/v1/models?use_case=mine", None, 200), ("GET", "/api/v1/models?use_case=theirs", None, 403),
    ("GET", "/api/v1/models", None, 403), ("GET", "/api/v1/models?use_case=", None, 403),
    ("GET", "/api/v1/models?use_case=mine&use_case=theirs", None, 200),
    ("GET", "/api/v1/models/{mine}", None, 200), ("GET", "/api/v1/models/{theirs}", None, 403),
    ("GET", "/api/v1/models/{theirs}?use_case=mine", None, 403),
    ("GET", "/api/v1/models/{THEIRS}?use_case=mine", None, 403),
    ("GET", "/api/v1/models/mine-model?use_case=mine", None, 200),
    ("GET", "/api/v1/models/theirs-model?use_case=mine", None, 404), ("GET", "/api/v1/models/theirs-model", None, 403),
    ("POST", "/api/v1/guardrails/check", {"use_case": "mine", "policy": "default", "outputs": ["x"]}, 200),
    ("POST", "/api/v1/guardrails/check", {"use_case": "theirs", "outputs": ["x"]}, 403),
    ("POST", "/api/v1/guardrails/check", {"model_id": "{theirs}", "outputs": ["x"]}, 403),
    ("POST", "/api/v1/logs", {"model_id": "a", "use_case": "mine"}, 201),
    ("POST", "/api/v1/logs", {"model_id": "a", "use_case": "theirs"}, 403),
    ("GET", "/version", None, 200), ("GET", "/api/v1/logs?use_case=mine", None, 403),
]


@pytest.mark.parametrize("method,path,body,status", SCOPED)
def test_a_key_for_some_use_cases_is_for_no_other(world, cases, api, method, path, body, status):
    def fill(text):
        return text.replace("{mine}", cases["mine"]).replace("{theirs}", cases["theirs"]).replace(
            "{THEIRS}", cases["theirs"].upper())

    body = body and {k: fill(v) if isinstance(v, str) else v for k, v in body.items()}
    answer = world.as_(world.key_of_mine, method, fill(path), body)
    assert answer.status == status, answer
    api.check_answer(method, fill(path), answer)
    if status == 200:
        assert "theirs" not in answer.body.decode()
    if status == 403 and path != "/api/v1/logs?use_case=mine":
        error = answer.json()["error"]
        if path in ("/api/chat", "/api/generate", "/api/show", "/api/embed", "/api/embeddings"):  # a sentence
            error = {"code": "use_case_not_allowed", "message": error}
        assert error["code"] == (403 if "/v1beta/" in path else "use_case_not_allowed")
        assert "mine" in error["message"]


def test_lists_show_what_the_key_is_for(world, cases):
    listed = world.as_(world.key_of_mine, "GET", "/v1/models").json()["data"]
    assert {e["id"] for e in listed} == {"mine", "mine-model@1.0"}
    unknown = world.as_(world.key_of_mine, "POST", "/v1/chat/completions", dict(CHAT, model="theirz"))
    assert unknown.status == 404 and "theirs" not in unknown.body.decode(), unknown


def test_a_refused_exchange_is_no_record_of_the_use_case(world, cases):
    answer = world.as_(world.key_of_mine, "POST", "/api/v1/generate", {"use_case": "theirs", "prompt": "planted words"})
    assert answer.status == 403
    assert answer.json()["success"] is False, "in the caller's protocol"
    ok = world.as_(world.key_of_mine, "POST", "/api/v1/generate", {"use_case": "mine", "prompt": "x"})
    m.eventually(lambda: world.get("/api/v1/logs/" + ok.headers["x-muster-log-id"]).status == 200, "a later record")
    assert world.api("GET", "/api/v1/logs?use_case=theirs&limit=1000")["data"] == []
