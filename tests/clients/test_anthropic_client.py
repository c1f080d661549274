# SPDX-License-Identifier: Apache-2.0
"""The official Anthropic client for Node, and the official openai client, in front of models of either protocol."""
import json
import subprocess

import pytest

import muster as m
import test_protocol_translate as t


@pytest.fixture
def run(clients, daemon, make_upstream):
    """Plays a scenario against a model of a protocol that behaves as told: what the client saw, and the model."""

    def play(client, scenario, back, *behaviours, model=None):
        upstream = make_upstream(behaviours[-1])
        upstream.script = list(behaviours[:-1])
        name = daemon.name("sdk_" + back)
        daemon.use_case(name, policy="none", fallback_content="")
        daemon.register(name, upstream, protocol=back)
        url = daemon.url + ("/v1" if client == "openai" else "")
        done = subprocess.run(["node", client + ".mjs", url, scenario, model or name], cwd=clients, capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), upstream

    return play


def openai_stream():
    calls = list(t.calls_chunk('{"x"', ": 1}")) + list(t.calls_chunk('{"y"', ": [2]}", index=1))
    return m.events(m.chunk("", role="assistant"), m.chunk(reasoning_content="hm"), m.chunk("Two "), m.chunk("calls."),
                    *calls, m.chunk(finish="tool_calls"), m.usage_chunk(), "[DONE]")


def claude_stream():
    return t.claude(t.thinking_block(0, "hm"), t.text_block(1, "Two ", "calls."), t.call_block(2, '{"x"', ": 1}"),
                    t.call_block(3, '{"y"', ": [2]}"), stop="tool_use")


def ollama_stream(c, r):
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    c.begin_stream("application/x-ndjson")
    for message in ({"thinking": "hm"}, {"content": "Two "}, {"content": "calls."},
                    {"content": "", "tool_calls": [call, {"function": {"name": "f", "arguments": {"y": [2]}}}]}):
        c.line({"model": "up", "message": dict({"role": "assistant"}, **message), "done": False})
    c.line({"model": "up", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
            "prompt_eval_count": 7, "eval_count": 3})
    c.end_stream()


STREAMS = {"openai": openai_stream(), "anthropic": claude_stream(), "ollama": ollama_stream}
CALLS = [["f", {"x": 1}], ["f", {"y": [2]}]]


@pytest.mark.parametrize("back", sorted(STREAMS))
def test_streamed_tools_with_the_anthropic_client(run, back):
    got, _ = run("anthropic", "stream", back, STREAMS[back])
    assert got["blocks"] == got["finished"] == ["thinking", "text", "tool_use", "tool_use"]
    assert got["text"] == "Two calls." and got["thinking"] == "hm" and got["calls"] == CALLS
    assert got["stop"] == "tool_use" and got["usage"]["input_tokens"] == 7


@pytest.mark.parametrize("back", sorted(STREAMS))
def test_streamed_tools_with_the_openai_client(run, back):
    got, _ = run("openai", "toolstream", back, STREAMS[back])
    assert got == {"text": "Two calls.", "finish": "tool_calls", "calls": CALLS}


@pytest.mark.parametrize("back", ["openai", "anthropic", "ollama", "generate"])
def test_a_whole_answer(run, daemon, back):
    behaviour = m.ok("Hi there.") if back != "anthropic" else \
        m.answer_with(200, t.message({"type": "text", "text": "Hi there."}))
    got, _ = run("anthropic", "whole", back, behaviour)
    assert got["text"] == "Hi there." and got["stop"] == "end_turn" and got["usage"]["output_tokens"] > 0
    assert daemon.log(got["headers"]["x-muster-log-id"])["output"] == "Hi there."


def test_events_come_in_their_order(run):
    got, _ = run("anthropic", "events", "openai", m.streaming("Hi ", "there."))
    assert got == ["message_start", "content_block_start", "content_block_delta", "content_block_delta",
                   "content_block_stop", "message_delta", "message_stop"]


def test_what_was_said_goes_back_with_the_result_of_a_tool(run):
    got, upstream = run("anthropic", "turn", "openai", STREAMS["openai"], m.ok("It is 42."))
    assert got["text"] == "It is 42."
    sent = upstream.last().json()["messages"]
    assert [x["role"] for x in sent] == ["user", "assistant", "tool"]
    assert [c["function"]["arguments"] for c in sent[1]["tool_calls"]] == ['{"x":1}', '{"y":[2]}']
    assert sent[2] == {"role": "tool", "tool_call_id": "call_0", "content": "42"}


def test_a_stream_that_breaks_off_is_an_error(run):
    def broken(c, r):
        c.begin_stream()
        c.event(m.chunk("Half an ans"))
        c.wait_closed(0.3)
        c.reset()

    got, _ = run("anthropic", "broken", "openai", broken)
    assert got["text"] == "Half an ans" and "APIError" in got["kinds"]
    assert "broke off" in got["error"]["error"]["message"]


@pytest.mark.parametrize("status,kind", [(400, "BadRequestError"), (429, "RateLimitError"), (500, "InternalServerError")])
def test_failures_of_the_model_have_their_kind(run, status, kind):
    body = {"error": {"message": "no", "type": "t", "param": None, "code": None}}
    got, _ = run("anthropic", "error", "openai", m.answer_with(status, body))
    assert kind in got["kinds"] and got["error"]["type"] == "error" and got["requestID"] is not None or got["status"]


def test_an_unknown_model_is_not_found(run):
    got, _ = run("anthropic", "error", "openai", m.ok(), model="nobody-knows-it")
    assert "NotFoundError" in got["kinds"] and got["error"]["error"]["type"] == "not_found_error"
