# SPDX-License-Identifier: Apache-2.0
"""POST /api/v1/generate in front of every upstream protocol."""
import pytest

import muster as m

PROTOCOLS = ["openai", "ollama", "generate"]


@pytest.fixture
def made(daemon, upstream):
    def make(protocol):
        name = daemon.name()
        daemon.use_case(name + "_layer", policy="none", fallback_content="")
        return name, daemon.register(name + "_layer", upstream, protocol=protocol)

    return make


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_generate_answers_whole(daemon, upstream, made, protocol):
    name, full = made(protocol)
    answer = daemon.post("/api/v1/generate", {"layer": name, "prompt": "Tell me", "context": {"mood": "dark"},
                                              "max_tokens": 40, "temperature": 0.5})
    got = answer.json()
    current = daemon.api("GET", "/api/v1/use-cases/%s_layer/current" % name)
    assert answer.status == 200, answer
    assert got["success"] is True and got["text"] == "Hi there."
    assert got["layer"] == name and got["use_case"] == name + "_layer"
    assert got["model_id"] == current["model_id"] and got["model_name"] == current["model_name"]
    assert got["tokens_used"] == (3 if protocol == "generate" else 10)
    assert got["fallback_used"] is False and got["latency_ms"] >= 0
    assert got["log_id"] == answer.headers["x-muster-log-id"]
    asked = upstream.last().json()
    if protocol == "generate":
        assert asked == {"prompt": "Tell me", "context": {"mood": "dark"}, "max_tokens": 40, "temperature": 0.5}
    else:
        assert [x["role"] for x in asked["messages"]] == ["system", "user"]
        assert '"mood":"dark"' in asked["messages"][0]["content"].replace(" ", "")
        assert asked["messages"][1]["content"] == "Tell me"
        assert (asked["options"]["num_predict"] if protocol == "ollama" else asked["max_tokens"]) == 40
    log = daemon.log(got["log_id"])
    assert log["prompt"] == "Tell me" and log["context"] == {"mood": "dark"} and log["output"] == "Hi there."
    assert log["status"] == "ok" and log["parameters"] == {"max_tokens": 40, "temperature": 0.5}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_generate_answers_in_a_stream(daemon, upstream, made, protocol):
    name, full = made(protocol)
    upstream.default = m.ok("Once upon a time, far away.")
    with daemon.generate_stream(name + "_layer", "Tell me") as s:
        got = s.events()
    assert s.status == 200 and s.headers["content-type"].startswith("text/event-stream")
    assert "".join(e["text"] for e in got[:-1]) == "Once upon a time, far away."
    last = got[-1]
    assert last["done"] is True and last["success"] is True and last["fallback_used"] is False
    assert last["tokens_used"] == (3 if protocol == "generate" else 10)
    assert last["log_id"] == s.headers["x-muster-log-id"]
    if protocol != "generate":
        assert len(got) > 3  # it came in pieces
    log = daemon.log_of(s)
    assert log["output"] == "Once upon a time, far away." and log["status"] == "ok" and log["stream"] is True


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_upstream_that_streams_nothing_is_answered_as_a_stream(daemon, upstream, made, protocol):
    """It was asked for a stream and sends a whole answer."""
    name, full = made(protocol)
    whole = {"openai": m.completion("Whole."), "generate": {"text": "Whole.", "tokens_used": 3},
             "ollama": {"model": "up", "message": {"role": "assistant", "content": "Whole."}, "done": True,
                        "eval_count": 3, "prompt_eval_count": 7}}[protocol]
    upstream.default = m.answer_with(200, whole)
    with daemon.generate_stream(name + "_layer") as s:
        got = s.events()
    assert "".join(e.get("text", "") for e in got) == "Whole." and got[-1]["done"] is True
    assert daemon.log_of(s)["output"] == "Whole."


def test_the_same_protocol_out_keeps_unknown_members(daemon, upstream, made):
    name, _ = made("generate")
    daemon.post("/api/v1/generate", {"layer": name, "prompt": "x", "vendor": {"a": [1, 2]}})
    assert upstream.last().json()["prompt"] == "x"


def test_context_messages_come_before_the_prompt(daemon, upstream, made):
    name, _ = made("openai")
    earlier = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    daemon.post("/api/v1/generate", {"layer": name, "prompt": "three", "context": {"messages": earlier}})
    assert [x["content"] for x in upstream.last().json()["messages"]] == ["one", "two", "three"]


def test_tokens_are_estimated_when_the_upstream_counts_none(daemon, upstream, made):
    name, _ = made("openai")
    answer = m.completion("four byte")
    del answer["usage"]
    upstream.default = m.answer_with(200, answer)
    got = daemon.generate(name + "_layer", "12345678").json()
    assert got["tokens_used"] == 5
    assert daemon.log(got["log_id"])["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "estimated": True}


def test_a_layer_that_is_another_use_case_is_refused(daemon, made):
    name, _ = made("openai")
    answer = daemon.post("/api/v1/generate", {"layer": name, "use_case": "something_else", "prompt": "x"})
    assert answer.status == 400 and answer.json()["error"]["param"] == "layer"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_streams_for_every_version_of_http(daemon, upstream, made, version):
    name, _ = made("openai")
    with daemon.connect() as c:
        c.send_request("POST", "/api/v1/generate", {"layer": name, "prompt": "x", "stream": True}, version=version)
        head = c.read_head()
        s = m.Stream(c, head)
        got = s.events()
    assert ("transfer-encoding" in head.headers) == (version == "1.1")
    assert "".join(e.get("text", "") for e in got) == "Hi there." and got[-1]["done"]
