# SPDX-License-Identifier: Apache-2.0
"""The grammars find what is wrong: a good stream passes, and with any one fault planted it does not."""
import json

import pytest

import grammar as g
import muster as m


def openai_events():
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": "{}"}}
    return [m.chunk("Hi", role="assistant"), m.chunk(" there"), m.chunk(tool_calls=[call]), m.chunk(tool_calls=[more]),
            m.chunk(finish="tool_calls"), m.usage_chunk(), "[DONE]"]


def openai_bytes(events):
    return "".join("data: %s\n\n" % (e if isinstance(e, str) else json.dumps(e)) for e in events)


def anthropic_events():
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
             "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    return [{"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1,
             "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
             "usage": {"output_tokens": 2}},
            {"type": "message_stop"}]


def anthropic_bytes(events):
    return "".join("event: %s\ndata: %s\n\n" % (e["type"], json.dumps(e)) for e in events)


def generate_events():
    end = {k: None for k in ("layer", "use_case", "model_id", "model_name", "latency_ms", "log_id", "usage")}
    return [{"text": "Hi"}, dict(end, done=True, success=True, tokens_used=1, fallback_used=False, finish_reason="stop")]


GOOD = {"openai": (openai_events, openai_bytes), "anthropic": (anthropic_events, anthropic_bytes),
        "generate": (generate_events, openai_bytes)}


def refused(front, raw):
    try:
        g.STREAMS[front](raw, usage=True)
    except (g.Broken, KeyError, TypeError, ValueError, AttributeError):
        return True
    return False


@pytest.mark.parametrize("front", sorted(GOOD))
def test_a_good_stream_passes(front):
    events, write = GOOD[front]
    g.STREAMS[front](write(events()), usage=True)


# Without these a stream is still one: text that was not said, a ping.
SPARE = {"openai": (1, 3), "anthropic": (2, 3, 6), "generate": (0,)}
TWICE = {"openai": (1,), "anthropic": (2, 3, 6), "generate": (0,)}


@pytest.mark.parametrize("front", sorted(GOOD))
def test_a_stream_without_one_of_its_events_does_not_pass(front):
    events, write = GOOD[front]
    for i in range(len(events())):
        left = events()[:i] + events()[i + 1:]
        assert refused(front, write(left)) == (i not in SPARE[front]), i


@pytest.mark.parametrize("front", sorted(GOOD))
def test_an_event_that_comes_twice_is_found(front):
    events, write = GOOD[front]
    for i, e in enumerate(events()):
        assert refused(front, write(events()[:i] + [e] + events()[i:])) == (i not in TWICE[front]), i


@pytest.mark.parametrize("front", ["openai", "anthropic"])
def test_events_that_changed_places_are_found(front):
    events, write = GOOD[front]
    harmless = {"openai": {1, 2}, "anthropic": {1, 2, 3}}[front]  # a ping may stand anywhere, text beside a call
    for i in range(len(events()) - 1):
        e = events()
        e[i], e[i + 1] = e[i + 1], e[i]
        assert refused(front, write(e)) or i in harmless, i


def faults(front):
    """(name, a function that spoils the events)"""
    def change(i, **members):
        return lambda e: e[i].update(members)

    if front == "anthropic":
        yield "index", change(6, index=0)
        yield "another delta", lambda e: e[3]["delta"].update(type="thinking_delta")
        yield "reason", lambda e: e[8]["delta"].update(stop_reason="stop")
        yield "no stop_sequence", lambda e: e[8]["delta"].pop("stop_sequence")
        yield "no usage", lambda e: e[8].pop("usage")
        yield "no id", lambda e: e[5]["content_block"].pop("id")
        yield "no signature", lambda e: e[1].update(content_block={"type": "thinking", "thinking": ""})
        yield "early reason", lambda e: e[0]["message"].update(stop_reason="end_turn")
        yield "no tokens", lambda e: e[0]["message"]["usage"].pop("input_tokens")
        yield "odd type", change(2, type="pong")
    if front == "openai":
        yield "object", change(1, object="chat.completion")
        yield "id", change(1, id="other")
        yield "created", change(1, created="now")
        yield "no model", lambda e: e[1].pop("model")
        yield "role", lambda e: e[0]["choices"][0]["delta"].pop("role")
        yield "reason", lambda e: e[4]["choices"][0].update(finish_reason="end_turn")
        yield "no reason", lambda e: e[1]["choices"][0].pop("finish_reason")
        yield "call index", lambda e: e[3]["choices"][0]["delta"]["tool_calls"][0].update(index=1)
        yield "call id", lambda e: e[2]["choices"][0]["delta"]["tool_calls"][0].pop("id")
        yield "call name", lambda e: e[2]["choices"][0]["delta"]["tool_calls"][0]["function"].pop("name")
        yield "arguments", lambda e: e[3]["choices"][0]["delta"]["tool_calls"][0]["function"].update(arguments={})
        yield "half an object", lambda e: e[3]["choices"][0]["delta"]["tool_calls"][0]["function"].update(arguments="{")
        yield "usage", lambda e: e[5]["usage"].pop("total_tokens")


@pytest.mark.parametrize("front,what", [(f, name) for f in ("openai", "anthropic") for name, _ in faults(f)])
def test_a_planted_fault_is_found(front, what):
    events, write = GOOD[front]
    spoiled = events()
    dict(faults(front))[what](spoiled)
    assert refused(front, write(spoiled))


@pytest.mark.parametrize("raw", ["data: {}", "data: {}\n", "datum: {}\n\n", "id: 1\ndata: {}\n\n", "data: {}\ndata: {}\n\n",
                                 "event: x\nevent: y\ndata: {}\n\n", "event: x\n\n", ": hi\n\n"])
def test_framing_that_is_not_ours_is_found(raw):
    with pytest.raises(g.Broken):
        list(g.blocks(raw))
