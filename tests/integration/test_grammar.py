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


def completion_events():
    def chunk(text, finish=None):
        return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
                "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}]}

    usage = dict(m.usage_chunk(), id="cmpl-1", object="text_completion")
    return [chunk("Hi"), chunk(" there"), chunk("", "length"), usage, "[DONE]"]


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


def responses_events():
    text = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
    said = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    call = {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"}
    begun = {"id": "resp_1", "object": "response", "created_at": 1, "status": "in_progress", "error": None, "model": "m",
             "incomplete_details": None, "instructions": None, "output": [], "parallel_tool_calls": True, "tools": [],
             "tool_choice": "auto", "metadata": {}, "temperature": None, "top_p": None, "store": False}
    usage = {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 1,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2}
    at, of_call = {"item_id": "msg_1", "output_index": 0, "content_index": 0}, {"item_id": "fc_1", "output_index": 1}
    events = [("created", {"response": begun}), ("in_progress", {"response": begun}),
              ("output_item.added", {"output_index": 0, "item": dict(said, status="in_progress", content=[])}),
              ("content_part.added", dict(at, part=dict(text, text=""))),
              ("output_text.delta", dict(at, delta="Hi", logprobs=[])),
              ("output_text.done", dict(at, text="Hi", logprobs=[])),
              ("content_part.done", dict(at, part=text)),
              ("output_item.done", {"output_index": 0, "item": said}),
              ("output_item.added", {"output_index": 1, "item": dict(call, status="in_progress", arguments="")}),
              ("function_call_arguments.delta", dict(of_call, delta="{}")),
              ("function_call_arguments.done", dict(of_call, arguments="{}", name="f")),
              ("output_item.done", {"output_index": 1, "item": call}),
              ("completed", {"response": dict(begun, status="completed", output=[said, call], usage=usage)})]
    events = [dict(v, type="response." + name, sequence_number=i) for i, (name, v) in enumerate(events)]
    return json.loads(json.dumps(events))  # so that none shares what another has


def numbered_bytes(events):
    """In the order that they are in."""
    return anthropic_bytes([dict(e, sequence_number=i) for i, e in enumerate(events)])


def generate_events():
    end = {k: None for k in ("layer", "use_case", "model_id", "model_name", "latency_ms", "log_id", "usage")}
    return [{"text": "Hi"}, dict(end, done=True, success=True, tokens_used=1, fallback_used=False, finish_reason="stop")]


def ollama_events():
    def line(done=False, **message):
        end = dict({k: 1 for k in g.OLLAMA_FACTS}, done_reason="stop") if done else {}
        return dict({"model": "m", "created_at": "2026-11-23T04:50:20Z", "message": dict({"role": "assistant", "content": ""},
                     **message), "done": done}, **end)

    return [line(content="Hi"), line(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {}}}]), line(True)]


def ollama_bytes(events):
    return "".join(json.dumps(e) + "\n" for e in events).encode()


GOOD = {"openai": (openai_events, openai_bytes), "anthropic": (anthropic_events, anthropic_bytes),
        "responses": (responses_events, numbered_bytes), "ollama": (ollama_events, ollama_bytes),
        "completions": (completion_events, openai_bytes), "generate": (generate_events, openai_bytes)}


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
SPARE = {"responses": (), "openai": (1, 3), "completions": (0, 1), "anthropic": (2, 3, 6), "generate": (0,), "ollama": (0, 1)}
TWICE = {"responses": (), "openai": (1,), "completions": (0, 1), "anthropic": (2, 3, 6), "generate": (0,), "ollama": (0, 1)}


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


@pytest.mark.parametrize("front", ["openai", "anthropic", "responses"])
def test_events_that_changed_places_are_found(front):
    events, write = GOOD[front]
    # a ping may stand anywhere, text beside a call, an item beside another
    harmless = {"openai": {1, 2}, "anthropic": {1, 2, 3}, "responses": {7}}[front]
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
    if front == "ollama":
        yield "no model", lambda e: e[0].pop("model")
        yield "time", change(1, created_at="now")
        yield "role", lambda e: e[0]["message"].pop("role")
        yield "no content", lambda e: e[1]["message"].pop("content")
        yield "a completion", lambda e: e[0].update(response="")
        yield "early end", change(0, done=True)
        yield "early reason", change(0, done_reason="stop")
        yield "reason", change(2, done_reason="tool_calls")
        yield "no tokens", lambda e: e[2].pop("eval_count")
        yield "half a call", lambda e: e[1]["message"]["tool_calls"][0]["function"].update(arguments="{}")
        yield "call name", lambda e: e[1]["message"]["tool_calls"][0]["function"].pop("name")
        yield "error", lambda e: e.append({"error": {"message": "no"}})
    if front == "responses":
        yield "another text", change(5, text="Ho")
        yield "another part", lambda e: e[6]["part"].update(text="Ho")
        yield "another item", lambda e: e[7]["item"]["content"][0].update(text="Ho")
        yield "another output", lambda e: e[12]["response"]["output"][0]["content"][0].update(text="Ho")
        yield "other arguments", change(10, arguments="[]")
        yield "no name", lambda e: e[10].pop("name")
        yield "no logprobs", lambda e: e[4].pop("logprobs")
        yield "output_index", change(4, output_index=1)
        yield "no item", change(4, output_index=7)
        yield "content_index", change(4, content_index=1)
        yield "item_id", change(4, item_id="fc_1")
        yield "status", lambda e: e[12]["response"].update(status="incomplete")
        yield "kept", lambda e: e[12]["response"].update(store=True)
        yield "no usage", lambda e: e[12]["response"].pop("usage")
        yield "another answer", lambda e: e[12]["response"].update(id="resp_2")
        yield "no tools", lambda e: e[0]["response"].pop("tools")
        yield "no call_id", lambda e: e[8]["item"].pop("call_id")
        yield "full from the start", lambda e: e[2]["item"]["content"].append({"type": "refusal", "refusal": "no"})
    if front == "completions":
        yield "object", change(1, object="text_completion.chunk")
        yield "id", change(1, id="other")
        yield "no model", lambda e: e[1].pop("model")
        yield "reason", lambda e: e[2]["choices"][0].update(finish_reason="tool_calls")
        yield "no reason", lambda e: e[1]["choices"][0].pop("finish_reason")
        yield "early reason", lambda e: e[0]["choices"][0].update(finish_reason="stop")
        yield "no end", lambda e: e[2]["choices"][0].update(finish_reason=None)
        yield "no logprobs", lambda e: e[0]["choices"][0].pop("logprobs")
        yield "a delta", lambda e: e[0]["choices"][0].update(delta={})
        yield "no text", lambda e: e[0]["choices"][0].update(text=None)
        yield "usage", lambda e: e[3]["usage"].pop("total_tokens")
        yield "early usage", lambda e: e[0].update(usage=e[3]["usage"])
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


@pytest.mark.parametrize("front,what", [(f, name) for f in ("openai", "completions", "anthropic", "ollama", "responses")
                                        for name, _ in faults(f)])
def test_a_planted_fault_is_found(front, what):
    events, write = GOOD[front]
    spoiled = events()
    dict(faults(front))[what](spoiled)
    assert refused(front, write(spoiled))


def test_a_gap_in_the_numbers_is_found():
    events = responses_events()
    events[4]["sequence_number"] = 9
    assert refused("responses", anthropic_bytes(events))


@pytest.mark.parametrize("raw", ["data: {}", "data: {}\n", "datum: {}\n\n", "id: 1\ndata: {}\n\n", "data: {}\ndata: {}\n\n",
                                 "event: x\nevent: y\ndata: {}\n\n", "event: x\n\n", ": hi\n\n"])
def test_framing_that_is_not_ours_is_found(raw):
    with pytest.raises(g.Broken):
        list(g.blocks(raw))
