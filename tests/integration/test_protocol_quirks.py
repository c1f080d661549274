# SPDX-License-Identifier: Apache-2.0
"""Servers that speak a protocol almost: what callers get of their answers, and that every word of them is judged."""
import pytest

import grammar as g
import muster as m
from test_protocol_translate import WORD, message, served

BAD = "forbidden fruit"
PNG = "data:image/png;base64,iVBORw0KGgo="


def call(arguments, **more):
    return dict({"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}, **more)


def asked(daemon, front, model, stream):
    """What a caller of this protocol gets, reduced to what was said."""
    said = [{"role": "user", "content": "hi"}]
    path, body = {
        "openai": ("/v1/chat/completions", {"messages": said}),
        "anthropic": ("/v1/messages", {"messages": said, "max_tokens": 50}),
        "responses": ("/v1/responses", {"input": "hi"}),
        "gemini": ("/v1beta/models/%s:%s" % (model, "streamGenerateContent?alt=sse" if stream else "generateContent"),
                   {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
        "ollama": ("/api/chat", {"messages": said}),
    }[front]
    if front != "gemini":
        body.update(model=model, stream=stream)
    answer = daemon.post(path, body)
    assert answer.status == 200, answer
    return g.check_stream(front, answer.body) if stream else g.check_answer(front, answer.json())


def whole(finish="tool_calls", **said):
    return m.answer_with(200, m.completion(None, finish=finish) | {"choices": [
        {"index": 0, "message": dict({"role": "assistant", "content": None}, **said), "logprobs": None,
         "finish_reason": finish}]})


def streamed(*chunks):
    return m.events(*chunks, "[DONE]")


F_OF_1 = [("f", {"a": 1})]
QUIRKS = {
    "arguments are an object": (F_OF_1, whole(tool_calls=[call({"a": 1})])),
    "arguments are an object, streamed": (F_OF_1, streamed(
        m.chunk(tool_calls=[call({"a": 1}, index=0)]), m.chunk(finish="tool_calls"))),
    "every call has the index 0": (F_OF_1 + [("g", {})], streamed(
        m.chunk(tool_calls=[call("{\"a\"", index=0)]), m.chunk(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
        m.chunk(tool_calls=[{"index": 0, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]),
        m.chunk(finish="tool_calls"))),
    "the name comes after the id": (F_OF_1, streamed(
        m.chunk(tool_calls=[{"index": 0, "id": "c1", "type": "function"}]),
        m.chunk(tool_calls=[{"index": 0, "function": {"name": "f"}}]),
        m.chunk(tool_calls=[{"index": 0, "function": {"arguments": "{\"a\": 1}"}}]), m.chunk(finish="tool_calls"))),
    "it stops with a call": (F_OF_1, whole("stop", tool_calls=[call("{\"a\": 1}")])),
    "it stops with a call, streamed": (F_OF_1, streamed(
        m.chunk(tool_calls=[call("{\"a\": 1}", index=0)]), m.chunk(finish="stop"))),
}


@pytest.mark.parametrize("quirk", sorted(QUIRKS))
def test_calls_reach_callers_whatever_shape_they_came_in(daemon, upstream, quirk):
    calls, upstream.default = QUIRKS[quirk]
    name = served(daemon, upstream, "openai")
    for front in ("anthropic", "responses", "gemini", "ollama"):
        got = asked(daemon, front, name, "streamed" in quirk or "index" in quirk or "name" in quirk)
        assert (got.calls, got.finish) == (calls, "tool_calls"), front


def test_reasoning_under_two_names_is_told_once(daemon, upstream):
    name = served(daemon, upstream, "openai")
    twice = {"reasoning": "hm", "reasoning_content": "hm"}
    for stream, script in ((False, whole("stop", **dict(twice, content="Hi"))),
                           (True, streamed(m.chunk(**twice), m.chunk("Hi"), m.chunk(finish="stop")))):
        upstream.default = script
        got = asked(daemon, "anthropic", name, stream)
        assert (got.reasoning, got.text) == ("hm", "Hi")


def test_an_end_without_a_reason_is_an_end(daemon, upstream):
    name = served(daemon, upstream, "anthropic")
    events = [{"type": "message_start", "message": dict(message(), stop_reason=None)},
              {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
              {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
              {"type": "content_block_stop", "index": 0}, {"type": "message_stop"}]
    upstream.default = m.events(*events)
    got = asked(daemon, "openai", name, True)
    assert (got.text, got.finish) == ("Hi", "stop")


# --- what is judged ---

CHAT = {"role": "assistant", "content": "hi"}
ODD_PLACES = {
    "openai": [
        m.completion() | {"choices": [{"index": 0, "message": dict(CHAT, **odd), "finish_reason": "stop"}]} for odd in (
            {"tool_calls": [call({"a": BAD})]}, {"content": {"a": BAD}}, {"content": [BAD]},
            {"content": [{"type": "text", "text": {"value": BAD}}]}, {"refusal": [BAD]}, {"audio": BAD},
            {"tool_calls": BAD})] + [m.completion(note=BAD), m.completion() | {"created": [BAD]}],
    "anthropic": [message(odd) for odd in (
        {"type": "tool_use", "id": "t", "name": "f", "input": BAD}, {"type": "text", "text": [BAD]},
        {"type": "thinking", "thinking": "x", "note": BAD}, BAD)],
    "gemini": [{"candidates": [{"content": {"role": "model", "parts": odd}, "finishReason": "STOP"}]} for odd in (
        [{"functionCall": {"name": "f", "args": BAD}}], [{"text": [BAD]}], BAD, [BAD])],
    "ollama": [{"model": "up", "message": dict(CHAT, **odd), "done": True} for odd in (
        {"tool_calls": [{"function": {"name": "f", "arguments": BAD}}]}, {"tool_calls": BAD}, {"role": [BAD]})],
}


def as_stream(protocol, answer):
    """The same words in an event."""
    if protocol == "openai":
        choice = answer["choices"][0]
        return m.events(answer | {"choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]},
                        m.chunk(finish="stop"), "[DONE]")
    if protocol == "anthropic":
        return m.events({"type": "message_start", "message": dict(message(), stop_reason=None)},
                        {"type": "content_block_start", "index": 0, "content_block": answer["content"][0]},
                        {"type": "content_block_stop", "index": 0}, {"type": "message_stop"})
    if protocol == "gemini":
        return m.events(answer)

    def run(c, r):
        c.begin_stream("application/x-ndjson")
        c.line(answer)
        c.end_stream()

    return run


@pytest.mark.parametrize("protocol", sorted(ODD_PLACES))
def test_words_where_a_protocol_has_none_are_judged(daemon, upstream, protocol):
    name = served(daemon, upstream, protocol, WORD)
    for answer in ODD_PLACES[protocol]:
        for stream in (False, True):
            upstream.default = as_stream(protocol, answer) if stream else m.answer_with(200, answer)
            path = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "ollama": "/api/chat"}.get(protocol)
            body = {"model": name, "stream": stream, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
            if protocol == "gemini":
                path = "/v1beta/models/%s:%s" % (name, "streamGenerateContent" if stream else "generateContent")
                body = {"contents": [{"parts": [{"text": "hi"}]}]}
            got = daemon.post(path, body)
            assert got.status == 200 and BAD.encode() not in got.body, (stream, answer, got)


# --- results of tools ---


def results(daemon, name, *content):
    calls = [{"type": "tool_use", "id": i, "name": "f", "input": {}} for i in ("t1", "t2")]
    body = {"model": name, "max_tokens": 50, "messages": [
        {"role": "user", "content": "go"}, {"role": "assistant", "content": calls},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                                     {"type": "tool_result", "tool_use_id": "t2", "content": list(content[:1])},
                                     *content[1:]]}]}
    answer = daemon.post("/v1/messages", body)
    assert answer.status == 200 and "x-muster-dropped-params" not in answer.headers, answer


def test_results_of_tools_are_told_once_and_their_images_shown_behind_them(daemon, upstream):
    name = served(daemon, upstream, "openai")
    results(daemon, name, {"type": "text", "text": "two"}, {"type": "text", "text": "and now?"})
    got = upstream.last().json()["messages"]
    assert got[2:] == [{"role": "tool", "tool_call_id": "t1", "content": "one"},
                       {"role": "tool", "tool_call_id": "t2", "content": "two"}, {"role": "user", "content": "and now?"}]
    results(daemon, name, {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                                       "data": PNG.partition(",")[2]}})
    got = upstream.last().json()["messages"]
    assert got[3:] == [{"role": "tool", "tool_call_id": "t2", "content": ""},
                       {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]
    daemon.post("/api/chat", {"model": name, "stream": False, "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}] * 2},
        {"role": "tool", "content": "one", "tool_name": "f", "images": [PNG.partition(",")[2]]},
        {"role": "tool", "content": "two", "tool_name": "f"}]})
    assert [x["role"] for x in upstream.last().json()["messages"]] == ["user", "assistant", "tool", "tool", "user"]
