# SPDX-License-Identifier: Apache-2.0
"""Calls of tools in the historical log: as the caller got them, from every protocol to every other, whole and streamed."""
import json
import time

import pytest

import control
import grammar as g
import muster as m
import test_protocol_matrix as matrix
import test_protocol_translate as t

FRONTS = ("openai", "responses", "anthropic", "gemini", "ollama")
FRUIT = {"id": "fruit", "category": "test", "kind": "literal", "action": "mask", "severity": "low", "side": "output",
         "values": ["forbidden fruit"], "mask": "[F]"}
ARGS = {"q": "a forbidden fruit", "deep": {"list": [1, "forbidden fruit"], "n": 1.50}, "é": "\"\n"}
TEXT = json.dumps(ARGS)
PIECES = [TEXT[:20], TEXT[20:24], TEXT[24:]]


def openai_calls(*calls, words="Let me see."):
    """Whole and streamed: calls as (name, arguments in pieces)."""
    whole = [{"id": "call_%d" % i, "type": "function", "function": {"name": n, "arguments": "".join(p) or "{}"}}
             for i, (n, p) in enumerate(calls)]
    chunks = [m.chunk(words)]
    for i, (n, pieces) in enumerate(calls):
        chunks.append(m.chunk(tool_calls=[{"index": i, "id": "call_%d" % i, "type": "function",
                                           "function": {"name": n, "arguments": ""}}]))
        chunks += [m.chunk(tool_calls=[{"index": i, "function": {"arguments": p}}]) for p in pieces]
    return (matrix.openai_whole("tool_calls", content=words, refusal=None, tool_calls=whole), matrix.openai_stream("tool_calls", *chunks))


def claude_calls():
    blocks = [{"type": "text", "text": "Let me see."}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": ARGS},
              {"type": "tool_use", "id": "toolu_2", "name": "none", "input": {}}]
    none = t.block_events(2, {"type": "tool_use", "id": "toolu_2", "name": "none", "input": {}})
    return (m.answer_with(200, t.message(*blocks, stop="tool_use")),
            t.claude(t.text_block(0, "Let me", " see."), t.call_block(1, *PIECES), none, stop="tool_use"))


def gemini_calls():
    said = [{"text": "Let me see."}, {"functionCall": {"name": "f", "args": ARGS}}, {"functionCall": {"name": "none"}}]
    return matrix.gemini_whole(*said), matrix.gemini_stream(*said)


def ollama_calls():
    calls = [{"function": {"name": "f", "arguments": ARGS}}, {"function": {"name": "none", "arguments": {}}}]
    return (matrix.ollama_whole(content="Let me see.", tool_calls=calls),
            matrix.ollama_stream("stop", {"content": "Let me see."}, {"tool_calls": calls}))


BACKS = {"openai": openai_calls(("f", PIECES), ("none", [])), "anthropic": claude_calls(), "gemini": gemini_calls(),
         "ollama": ollama_calls()}


@pytest.fixture(scope="module")
def models(daemon):
    up = m.Upstream()
    daemon.policy("masks", FRUIT)
    for back in BACKS:
        for policy in ("none", "masks"):
            name = "calls_%s_%s" % (back, policy)
            daemon.use_case(name, policy=policy, fallback_content="")
            daemon.register(name, up, protocol=back)
    yield up
    up.close()
    assert not up.errors


def told(log):
    return [(c["name"], json.loads(c["arguments"])) for c in log["tool_calls"]]


@pytest.mark.parametrize("policy", ["none", "masks"])
@pytest.mark.parametrize("front", FRONTS)
def test_the_log_has_the_calls_that_the_caller_got(daemon, models, front, policy):
    want = json.loads(TEXT.replace("forbidden fruit", "[F]") if policy == "masks" else TEXT)
    for back, answers in BACKS.items():
        for stream in (False, True):
            models.default = answers[stream]
            answer = matrix.send(daemon, front, "calls_%s_%s" % (back, policy), {}, stream=stream)
            assert answer.status == 200, (back, stream, answer)
            got = g.stream_said(front, answer.body) if stream else g.SAID[front]([answer.json()])
            log = daemon.log_of(answer)
            assert told(log) == got.calls == [("f", want), ("none", {})], (back, stream, log, answer.body)
            assert log["output"] == got.text == "Let me see." and log["status"] == "ok", (back, stream, log)
            for call in log["tool_calls"]:
                assert set(call) == {"id", "name", "arguments"}
                has_id = json.dumps(call["id"]).encode() in answer.body if call["id"] else None
                assert has_id or (has_id is None and front in ("gemini", "ollama")), (back, stream, call, answer.body)


def case(daemon, upstream, *rules, **settings):
    name = daemon.name("calls")
    if rules:
        daemon.policy(name, *rules)
    daemon.use_case(name, **dict({"policy": name if rules else "none", "fallback_content": ""}, **settings))
    daemon.register(name, upstream)
    return name


def test_an_answer_of_calls_alone_has_them_and_no_output(daemon, upstream):
    name = case(daemon, upstream)
    for stream in (False, True):
        upstream.default = openai_calls(("f", ["{}"]), words="")[stream]
        log = daemon.log_of(daemon.chat(name, stream=stream))
        assert not log["output"] and log["finish_reason"] == "tool_calls"
        assert log["tool_calls"] == [{"id": "call_0", "name": "f", "arguments": "{}"}]
    upstream.default = m.ok()
    assert daemon.log_of(daemon.chat(name))["tool_calls"] is None


@pytest.mark.parametrize("rules", [(), (FRUIT,)])
def test_calls_that_take_turns_are_told_apart(daemon, upstream, rules):
    name = case(daemon, upstream, *rules)
    chunks = [m.chunk(tool_calls=[{"index": i, "id": "c%d" % i, "type": "function",
                                   "function": {"name": "f%d" % i, "arguments": ""}} for i in (0, 1)])]
    for piece in ('{"q":', ' "forbidden ', 'fruit"', "}"):
        chunks += [m.chunk(tool_calls=[{"index": i, "function": {"arguments": piece}}]) for i in (0, 1)]
    upstream.default = matrix.openai_stream("tool_calls", *chunks)
    log = daemon.log_of(daemon.chat(name, stream=True))
    word = "[F]" if rules else "forbidden fruit"
    assert log["tool_calls"] == [{"id": "c%d" % i, "name": "f%d" % i, "arguments": '{"q": "%s"}' % word} for i in (0, 1)]


def test_what_the_caller_did_not_get_is_not_told(daemon, upstream):
    word = dict(FRUIT, action="block")
    name = case(daemon, upstream, word)
    upstream.default = openai_calls(("f", PIECES))[0]
    assert daemon.log_of(daemon.chat(name))["tool_calls"] is None
    upstream.default = openai_calls(("fine", ['{"q": 1}']), ("f", PIECES))[1]
    log = daemon.log_of(daemon.chat(name, stream=True))
    assert log["status"] == "blocked" and log["tool_calls"][0] == {"id": "call_0", "name": "fine", "arguments": '{"q": 1}'}
    assert "fruit" not in json.dumps(log["tool_calls"])
    name = case(daemon, upstream, dict(FRUIT, action="fallback"), fallback_content="something else", answer_mode="buffer")
    upstream.default = openai_calls(("f", PIECES), words="")[1]
    log = daemon.log_of(daemon.chat(name, stream=True))
    assert log["output"] == "something else" and log["tool_calls"] is None
    name = case(daemon, upstream, log="metadata")
    assert daemon.log_of(daemon.chat(name, stream=True))["tool_calls"] is None


def test_an_answer_that_serves_again_has_them_again(daemon, upstream):
    name = case(daemon, upstream, cache={"ttl_s": 600, "scope": "use_case"})
    upstream.default = openai_calls(("f", PIECES))[0]
    first, again = daemon.chat(name), daemon.chat(name)
    assert again.headers["x-muster-cache"] == "hit"
    log = daemon.log_of(again)
    assert log["cached"] and told(log) == [("f", ARGS)] and log["output"] == "Let me see."
    assert log["tool_calls"] == daemon.log_of(first)["tool_calls"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_cut_where_the_room_of_the_output_ends(daemon, upstream, stream):
    name = case(daemon, upstream)
    big = ["x" * 900000] * 5
    upstream.default = openai_calls(("short", ["{}"]), ("long", big), ("behind", ['{"a": 1}']), words="w" * 1000)[stream]
    answer = daemon.chat(name, stream=stream)
    log = daemon.log_of(answer)
    assert log["output"] == "w" * 1000 and [c["name"] for c in log["tool_calls"]][:2] == ["short", "long"]
    short, long = log["tool_calls"][:2]
    assert short["arguments"] == "{}" and "omitted_bytes" not in short
    left = sum(len(c["arguments"]) for c in log["tool_calls"])
    assert 3000000 < left < 4 << 20 and set(long["arguments"]) == {"x"}
    assert sum(c.get("omitted_bytes", 0) for c in log["tool_calls"]) >= 4500000 + 2 - left


@pytest.mark.parametrize("front", ["openai", "anthropic", "ollama"])
def test_a_call_that_takes_long_is_told_whole(daemon, make_upstream, front):
    """A while after its answer has begun an exchange forgets what only that needed; and it has a model that is not asked."""
    def slowly(c, r):
        c.begin_stream()
        c.event(m.chunk(tool_calls=[{"index": 0, "id": "call_slow", "type": "function",
                                     "function": {"name": "f", "arguments": ""}}]))
        for piece in PIECES:
            time.sleep(0.2)
            c.event(m.chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}]))
        c.event(m.chunk(finish="tool_calls"))
        c.event(m.usage_chunk())
        c.event("[DONE]")
        c.end_stream()

    name = case(daemon, make_upstream(m.answer_with(500, {"error": {"message": "no"}})))
    good = make_upstream()
    daemon.register(name, good, name="next_" + name, promote=False, price={"input": 1, "output": 1})
    daemon.use_case(name, policy="none", fallback_content="", fallback=["next_%s@1.0" % name])
    m.eventually(lambda: "not asked" in json.dumps(daemon.log_of(daemon.chat(name))["attempts"]), "a breaker that is open")
    good.default = slowly
    answer = matrix.send(daemon, front, name, {}, stream=True)
    log = daemon.log_of(answer)
    assert told(log) == [("f", ARGS)] and log["status"] == "ok", log
    assert log["tool_calls"][0]["id"] == "call_slow" and b"call_slow" in answer.body
    assert log["attempts"][-1]["result"] == "ok" and log["attempts"][-1]["cost"] > 0
    assert all("cost" not in a for a in log["attempts"][:-1]), log["attempts"]


def test_long_calls_stand_beside_the_rows_and_go_with_the_texts(start_daemon, upstream):
    daemon = start_daemon()
    name = case(daemon, upstream)
    upstream.default = openai_calls(("f", ['{"q": "%s"}' % ("y" * 40000)]))[0]
    answer = daemon.chat(name)
    assert daemon.log_of(answer)["tool_calls"][0]["arguments"] == '{"q": "%s"}' % ("y" * 40000)
    (listed,) = daemon.logs(name, 1, "&text=true")
    assert len(listed["tool_calls"][0]["arguments"]) == 40009 and "tool_calls" not in daemon.logs(name, 1)[0]
    upstream.default = openai_calls(("f", PIECES))[0]
    daemon.chat(name)
    daemon.logs(name, 2)
    control.works(daemon, "log", "purge", "--caller", "anonymous", "--content-only", "--why", "test", "--yes")
    for log in daemon.logs(name, 2, "&text=true"):
        assert log["output"] is None and log["tool_calls"] is None and log["content_removed_at"]


def test_log_show_prints_a_line_for_each_call(daemon, upstream):
    name = case(daemon, upstream)
    upstream.default = openai_calls(("weather", ['{"city": "Paris"}']), words="")[0]
    log_id = daemon.chat(name).headers["x-muster-log-id"]
    daemon.log(log_id)
    assert 'tool calls\nweather {"city": "Paris"}  call_0\n' in control.works(daemon, "log", "show", log_id)


def test_an_application_tells_calls_as_the_log_does(daemon, upstream):
    name = case(daemon, upstream)
    calls = [{"id": "c1", "name": "f", "arguments": "{\"a\": 1}"}, {"id": None, "name": "g", "arguments": "no", "omitted_bytes": 7}]
    said = {"model_id": "m", "use_case": name, "prompt": "p", "tool_calls": calls}
    assert daemon.log(daemon.api("POST", "/api/v1/logs", said)["log_id"])["tool_calls"] == calls
    assert daemon.log(daemon.api("POST", "/api/v1/logs", dict(said, tool_calls=[]))["log_id"])["tool_calls"] is None
