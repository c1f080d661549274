# SPDX-License-Identifier: Apache-2.0
"""The official openai client for Node against the front."""
import base64
import json
import struct
import subprocess
import threading

import pytest

import muster as m


@pytest.fixture
def run(clients, daemon, make_upstream):
    """Registers a model that behaves as told, and plays a scenario."""
    upstream = make_upstream()

    def play(scenario, behaviour=None, model=None, policy="none", protocol="openai"):
        upstream.default = behaviour or m.ok("Hi there, all.")
        if not hasattr(daemon, "sdk"):
            daemon.sdk = True
            daemon.policy("no-fruit", {"id": "fruit", "category": "test", "kind": "literal", "action": "block",
                                       "severity": "high", "side": "both", "values": ["forbidden fruit"]})
        daemon.use_case("sdk", policy=policy, fallback_content="")
        daemon.register("sdk", upstream, protocol=protocol)
        done = subprocess.run(["node", "openai.mjs", daemon.url + "/v1", scenario, model or "sdk"], cwd=clients,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return play


def test_whole(run, daemon):
    got = run("whole")
    assert got["answer"]["choices"][0]["message"]["content"] == "Hi there, all."
    assert got["answer"]["usage"]["total_tokens"] == 10
    assert daemon.log(got["headers"]["x-muster-log-id"])["output"] == "Hi there, all."


def test_stream(run):
    got = run("stream")
    assert got["error"] is None and got["text"] == "Hi there, all." and got["finish"] == "stop"
    assert got["usage"] is None and got["objects"] == ["chat.completion.chunk"] and got["chunks"] >= 5


def test_usage_in_streams(run):
    got = run("usage")
    assert got["error"] is None and got["usage"]["total_tokens"] == 10 and got["text"] == "Hi there, all."


def test_the_helper_that_collects_a_stream(run):
    assert run("helper") == {"text": "Hi there, all.", "finish": "stop"}


@pytest.mark.parametrize("protocol", ["ollama", "generate"])
@pytest.mark.parametrize("scenario", ["stream", "helper", "usage"])
def test_streams_translated_from_other_protocols(run, daemon, make_upstream, protocol, scenario):
    name = daemon.name("sdk_" + protocol)
    daemon.use_case(name, policy="none")
    daemon.register(name, make_upstream(m.ok("From afar.")), protocol=protocol)
    got = run(scenario, model=name)
    assert got["text"] == "From afar." and got["finish"] == "stop" and not got.get("error")
    if scenario == "usage":
        assert got["usage"]["completion_tokens"] == 3


def test_tool_calls_pass(run):
    answer = m.completion()
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}
    answer["choices"][0].update(message={"role": "assistant", "content": None, "tool_calls": [call]},
                                finish_reason="tool_calls")
    assert run("tools", m.answer_with(200, answer))["tool_calls"] == [call]


def test_models(run):
    got = run("models")
    assert "sdk" in got["ids"] and got["one"]["id"] == got["ids"][0] and got["one"]["object"] == "model"


def test_an_unknown_model_is_not_found(run):
    got = run("error", model="sdks")
    assert got["kinds"] == ["APIError", "NotFoundError"] and got["status"] == 404
    assert got["code"] == "model_not_found" and got["param"] == "model" and "Did you mean 'sdk'" in got["message"]
    assert got["requestID"]


def test_a_bad_request_is_one(run):
    got = run("error", model="bad")
    assert got["kinds"] == ["APIError", "BadRequestError"] and got["param"] == "messages" and got["status"] == 400


@pytest.mark.parametrize("status,kind", [(500, "InternalServerError"), (429, "RateLimitError"), (400, "BadRequestError")])
def test_failures_of_the_model_have_their_kind(run, status, kind):
    got = run("error", m.answer_with(status, {"error": {"message": "no", "type": "t", "param": None, "code": None}}))
    assert kind in got["kinds"]


def test_a_guarded_answer_ends_with_content_filter(run):
    got = run("stream", m.streaming("Take the ", "forbid", "den fruit", " now"), policy="no-fruit")
    assert got["error"] is None and got["finish"] == "content_filter" and got["text"].strip() == "Take the"


def test_a_stream_that_breaks_off_is_an_error(run):
    def broken(c, r):
        c.begin_stream()
        c.event(m.chunk("Half an ans"))
        c.wait_closed(0.3)
        c.reset()

    got = run("stream", broken)
    assert got["text"] == "Half an ans" and "APIError" in got["error"]["kinds"]


def test_an_abort_frees_the_upstream(run):
    gone = threading.Event()

    def endless(c, r):
        c.begin_stream()
        c.event(m.chunk("begun"))
        if c.wait_closed():
            gone.set()
        c.close()

    assert run("abort", endless)["text"] == "begun"
    assert gone.wait(m.LIMIT)


def test_several_at_once(run):
    def echo(c, r):
        m.stream_pieces(c, r.json()["messages"][0]["content"].partition(" ")[0:3])

    assert [g["text"] for g in run("parallel", echo)] == ["number %d" % i for i in range(16)]


@pytest.mark.parametrize("protocol", ["openai", "gemini", "ollama"])
def test_embeddings(run, protocol):
    numbers = [0.5, -1.25, 3.0]

    def vectors(c, r):
        asked = r.json()
        texts = asked["requests"] if protocol == "gemini" else asked["input"]
        n = 1 if isinstance(texts, str) else len(texts)
        if protocol == "gemini":
            c.reply(200, {"embeddings": [{"values": numbers}] * n})
        elif protocol == "ollama":
            c.reply(200, {"model": "up", "embeddings": [numbers] * n, "prompt_eval_count": 3})
        else:
            raw = base64.b64encode(struct.pack("<3f", *numbers)).decode()
            v = raw if asked.get("encoding_format") == "base64" else numbers
            c.reply(200, {"object": "list", "model": "up", "usage": {"prompt_tokens": 3, "total_tokens": 3},
                          "data": [{"object": "embedding", "index": i, "embedding": v} for i in range(n)]})

    got = run("embed", vectors, protocol=protocol)
    assert [d["embedding"] for d in got["one"]["data"]] == [numbers]
    assert [d["embedding"] for d in got["two"]["data"]] == [numbers, numbers]
    assert got["two"]["usage"]["prompt_tokens"] == (1 if protocol == "gemini" else 3)  # estimated, where none are told


@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_completions(run, protocol):
    def completions(c, r):
        if r.path != "/v1/completions":
            m.ok("there was a gate.")(c, r)
            return
        choice = {"text": "there was a gate.", "index": 0, "logprobs": None, "finish_reason": "stop"}
        answer = {"id": "c", "object": "text_completion", "created": 1, "model": "up", "choices": [choice],
                  "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
        m.events(answer, "[DONE]")(c, r) if r.json().get("stream") else c.reply(200, answer)

    got = run("complete", completions, protocol=protocol)
    assert got["whole"]["object"] == "text_completion" and got["whole"]["choices"][0]["text"] == "there was a gate."
    assert (got["text"], got["finish"]) == ("there was a gate.", "stop")
