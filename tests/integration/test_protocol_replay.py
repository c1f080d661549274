# SPDX-License-Identifier: Apache-2.0
"""Recorded traffic of real providers behind every front: what arrives is what was said, in the grammar of the front."""
import glob
import json
import os
import random
import re

import pytest

import grammar as g
import muster as m

FIXTURES = os.path.join(m.ROOT, "..", "shared", "fixtures")
FRONTS = ("openai", "responses", "anthropic", "gemini", "ollama", "ollama_generate", "generate")
OLLAMA = "wire-ollama-openllmetry"
BACK_OF = {"openai": "openai", "openai-compatible": "openai", "anthropic": "anthropic", "gemini": "gemini", OLLAMA: "ollama"}
# A stream that begins a second time in its middle is no answer: test_a_stream_that_begins_twice_is_no_answer.
SPLICED = "spliced-message-start"


def recorded(ending):
    found = []
    for folder in sorted(BACK_OF):
        for path in sorted(glob.glob(os.path.join(FIXTURES, folder, "*" + ending))):
            name = os.path.basename(path)
            if not any(word in name for word in ("completion-text", "embedding", "429", ".meta.", "_generation", SPLICED)):
                found.append(os.path.join(folder, name))
    return found


def through(names, fronts=FRONTS):
    """Each with each front. Chats of Ollama's do not answer its completions: those have recordings of their own."""
    return [(n, f) for n in names for f in fronts if f != "ollama_generate" or BACK_OF[n.split("/")[0]] != "ollama"]


def read(name):
    with open(os.path.join(FIXTURES, name), encoding="utf-8") as f:
        return f.read()


def back_of(name):
    return BACK_OF[name.split("/")[0]]


def wire(name):
    """The bytes that the provider sent."""
    text = read(name)
    if name.endswith(".ndjson"):
        return text.rstrip("\n").encode() + b"\n"
    if name.endswith(".sse"):
        return text.strip("\n").encode() + b"\n\n"
    out = ""
    for line in filter(None, text.split("\n")):
        if back_of(name) == "anthropic":
            out += "event: %s\n" % json.loads(line)["type"]
        out += "data: %s\n\n" % line
    return (out + ("data: [DONE]\n\n" if back_of(name) == "openai" else "")).encode()


def wanted(name):
    """What it says, read from the recording alone."""
    lines = [l[6:] if l.startswith("data: ") else l for l in read(name).split("\n")]
    if name.endswith(".json"):
        lines = ["".join(lines)]
    values = [json.loads(l) for l in lines if l.strip() and l != "[DONE]" and not l.startswith("event:")]
    return g.SAID[back_of(name)](values)


def body_of(front, model, stream, **more):
    if front == "generate":
        return "/api/v1/generate", dict({"use_case": model, "prompt": "go", "stream": stream}, **more)
    if front == "gemini":
        path = "/v1beta/models/%s:%s" % (model, "streamGenerateContent?alt=sse" if stream else "generateContent")
        return path, dict({"contents": [{"role": "user", "parts": [{"text": "go"}]}]}, **more)
    if front == "ollama_generate":
        return "/api/generate", dict({"model": model, "prompt": "go", "stream": stream}, **more)
    if front == "responses":
        return "/v1/responses", dict({"model": model, "input": "go", "stream": stream}, **more)
    body = dict({"model": model, "messages": [{"role": "user", "content": "go"}], "stream": stream}, **more)
    if front == "anthropic":
        return "/v1/messages", dict({"max_tokens": 100}, **body)
    if front == "ollama":
        return "/api/chat", body
    if stream:
        body["stream_options"] = {"include_usage": True}
    return "/v1/chat/completions", body


def pieces_of(data, how):
    if how == "bytes":
        return [data[i:i + 1] for i in range(len(data))]
    if how == "whole":
        return [data]
    rng, at, out = random.Random(len(data)), 0, []
    while at < len(data):
        n = rng.choice((1, 2, 3, 7, 40, 300))
        out.append(data[at:at + n])
        at += n
    return out


def sends(data, how="random"):
    """An upstream whose stream comes in such pieces."""

    def run(c, r):
        c.begin_stream(*(["application/x-ndjson"] if data.startswith(b"{") else []))
        if how == "bytes":  # each in a chunk of its own, some in one segment
            c.send(b"".join(b"1\r\n%c\r\n" % b for b in data))
        else:
            for piece in pieces_of(data, how):
                c.chunk(piece)
        c.end_stream()

    return run


@pytest.fixture(scope="module")
def models(daemon):
    """A use case for each protocol of an upstream, without and with guardrails; the upstream is set by the test."""
    up = m.Upstream()
    made = {}
    daemon.policy("watch", {"id": "never", "kind": "literal", "category": "test", "severity": "high", "side": "output",
                            "action": "block", "values": ["zzz never said zzz"]})
    for back in ("openai", "anthropic", "gemini", "ollama"):
        for policy in ("none", "watch", "default"):
            name = "%s_%s" % (back, policy)
            daemon.use_case(name, policy=policy, fallback_content="")
            daemon.register(name, up, protocol=back, circuit_breaker=False)
            made[back, policy] = name
    yield up, made
    up.close()
    assert not up.errors


def compare(front, got, want, back):
    if front == "generate":
        assert got.text == (want.text or want.refusal)
        return
    words = front in ("anthropic", "gemini", "ollama", "ollama_generate") and back != front  # a refusal is text there
    assert got.text == want.text + (want.refusal if words else "")
    assert got.refusal == ("" if words else want.refusal)
    assert got.reasoning == want.reasoning
    if front == "ollama_generate":  # has no place for calls
        assert not got.calls and got.finish == {"tool_calls": "stop"}.get(want.finish, want.finish)
        return
    assert got.calls == want.calls
    assert got.finish == want.finish


@pytest.mark.skipif(not os.path.isdir(FIXTURES), reason="no recordings")
@pytest.mark.parametrize("policy", ["none", "watch"])
@pytest.mark.parametrize("name,front", through(recorded(".chunks.txt") + recorded(".sse") + recorded(".ndjson")))
def test_a_recorded_stream_says_the_same_through_every_front(daemon, models, name, front, policy):
    up, made = models
    back, data = back_of(name), wire(name)
    up.default = sends(data)
    path, body = body_of(front, made[back, policy], True)
    with daemon.stream(path, body) as s:
        s.events()
    assert s.status == 200
    if front == back:
        assert s.raw == data
        got = g.stream_said(front, s.raw)
    else:
        got = g.check_stream(front, s.raw, usage=True)
    compare(front, got, wanted(name), back)


@pytest.mark.skipif(not os.path.isdir(FIXTURES), reason="no recordings")
@pytest.mark.parametrize("name,front", through(["anthropic/anthropic-tool-no-args.chunks.txt",
                                                "gemini/google-stream-tool-call-arguments.chunks.txt",
                                                "gemini/google-reasoning.chunks.txt",
                                                "openai-compatible/groq-tool-call.chunks.txt",
                                                "openai-compatible/mistral-reasoning.chunks.txt",
                                                OLLAMA + "/test_ollama_streaming_chat_legacy.body.ndjson"]))
def test_a_stream_may_be_split_at_every_byte(daemon, models, name, front):
    up, made = models
    up.default = sends(wire(name), "bytes")
    path, body = body_of(front, made[back_of(name), "default"], True)
    with daemon.stream(path, body) as s:
        s.events()
    compare(front, g.stream_said(front, s.raw), wanted(name), back_of(name))


@pytest.mark.skipif(not os.path.isdir(FIXTURES), reason="no recordings")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name,front", through(recorded(".json")))
def test_a_recorded_answer_says_the_same_through_every_front(daemon, models, name, front, stream):
    up, made = models
    back = back_of(name)
    up.default = m.answer_with(200, read(name))
    path, body = body_of(front, made[back, "none"], stream)
    if stream:
        with daemon.stream(path, body) as s:
            s.events()
        assert s.status == 200
        got = g.check_stream(front, s.raw, usage=True)
    else:
        answer = daemon.post(path, body)
        assert answer.status == 200, answer
        if front == back:
            assert answer.body.decode() == read(name)
            got = g.SAID[front]([answer.json()])
        else:
            got = g.check_answer(front, answer.json())
    compare(front, got, wanted(name), back if not stream else "")


@pytest.mark.skipif(not os.path.isdir(FIXTURES), reason="no recordings")
@pytest.mark.parametrize("policy", ["none", "watch"])
@pytest.mark.parametrize("name", ["generation_legacy.body.json", "async_generation_legacy.body.json",
                                  "streaming_generation_legacy.body.ndjson", "async_streaming_generation_legacy.body.ndjson"])
def test_a_recorded_completion_leaves_as_it_came(daemon, models, name, policy):
    up, made = models
    name = OLLAMA + "/test_ollama_" + name
    asked = json.loads(read(name.rsplit(".", 2)[0] + ".meta.json"))["request"]["body"]
    data = wire(name) if asked["stream"] else read(name).encode()
    up.default = sends(data) if asked["stream"] else m.answer_with(200, data)
    answer = daemon.post("/api/generate", dict(asked, model=made["ollama", policy]))
    got = answer.body
    if policy == "watch" and asked["stream"]:  # tokens that repeat what is judged do not leave
        blank = re.sub(rb'"context":(\[[^]]*\])', lambda x: b'"context":' + b"[]".ljust(len(x[1])), data)
        assert blank != data and got == blank
    else:
        assert got == data
    assert answer.status == 200 and "x-muster-dropped-params" not in answer.headers
    assert up.last().path == "/api/generate" and up.last().json() == dict(asked, model=up.last().json()["model"])
    assert g.stream_said("ollama_generate", data).text == daemon.log_of(answer)["output"]


@pytest.mark.skipif(not os.path.isdir(FIXTURES), reason="no recordings")
@pytest.mark.parametrize("front", FRONTS)
def test_a_stream_that_begins_twice_is_no_answer(daemon, models, front):
    up, made = models
    up.default = sends(wire("anthropic/%s.chunks.txt" % SPLICED))
    path, body = body_of(front, made["anthropic", "none"], True)
    answer = daemon.post(path, body)
    if answer.status == 200:
        if front != "anthropic":
            g.STREAMS[front](answer.body)
        assert g.stream_said(front, answer.body).error
    else:
        assert answer.status == 502 and b"second time" in answer.body
