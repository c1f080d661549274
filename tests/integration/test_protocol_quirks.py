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


# --- requests that a protocol has and another has not ---

USER = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "strict": True}}
CARRIED = {  # what is asked in OpenAI's form: what a model of this protocol gets of it, and what is named as lost
    "only a system prompt, anthropic": ("anthropic", {"messages": [{"role": "system", "content": "a"},
                                                                   {"role": "system", "content": "b"}]},
                                        {"system": [{"type": "text", "text": "a"}], "messages": [
                                            {"role": "user", "content": [{"type": "text", "text": "b"}]}]}, ""),
    "only a system prompt, gemini": ("gemini", {"messages": [{"role": "system", "content": "a"}]},
                                     {"systemInstruction": None, "contents": [{"role": "user", "parts": [{"text": "a"}]}]},
                                     ""),
    "blank stop sequences": ("anthropic", {"messages": USER, "stop": ["END", "\n", " "]}, {"stop_sequences": ["END"]},
                             "stop"),
    "nothing but blank ones": ("anthropic", {"messages": USER, "stop": "\n"}, {"stop_sequences": None}, "stop"),
    "a top_p that cuts nothing": ("anthropic", {"messages": USER, "temperature": 0.5, "top_p": 1}, {"top_p": None}, ""),
    "what is usual": ("anthropic", {"messages": USER, "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "store": False,
                                    "service_tier": "auto", "modalities": ["text"], "metadata": {}, "n": 1,
                                    "frequency_penalty": 0, "presence_penalty": 0.0, "parallel_tool_calls": True}, {}, ""),
    "what is not": ("anthropic", {"messages": USER, "logprobs": True, "top_logprobs": 1, "store": True, "n": 2,
                                  "service_tier": "flex"}, {}, "logprobs, n, service_tier, store, top_logprobs"),
    "members of messages": ("anthropic", {"messages": [{"role": "user", "name": "bob", "content": [
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]}, {},
        "messages[].content[].cache_control, messages[].name"),
    "strict tools": ("gemini", {"messages": USER, "tools": [TOOL]}, {}, "tools[].strict"),
    "whole numbers": ("gemini", {"messages": USER, "max_tokens": 10.0, "seed": 3e0},
                      {"generationConfig": {"maxOutputTokens": 10, "seed": 3}}, ""),
}


@pytest.mark.parametrize("what", sorted(CARRIED))
def test_what_a_model_of_another_protocol_gets(daemon, upstream, what):
    protocol, asked_for, wanted, lost = CARRIED[what]
    name = served(daemon, upstream, protocol)
    upstream.default = m.answer_with(200, message({"type": "text", "text": "hi"}) | {
        "candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]})
    answer = daemon.post("/v1/chat/completions", dict(asked_for, model=name))
    assert answer.status == 200, answer
    got = upstream.last().json()
    assert {k: got.get(k) for k in wanted} == wanted
    assert sorted(p.strip() for p in answer.headers.get("x-muster-dropped-params", "").split(",")) == lost.split(", ")


def test_ollamas_temperature_knows_no_limit(daemon, upstream):
    name = served(daemon, upstream, "ollama")
    body = {"model": name, "stream": False, "messages": USER, "options": {"temperature": 3, "num_predict": 5.0}}
    assert daemon.post("/api/chat", body).status == 200
    assert upstream.last().json()["options"] == body["options"]
    assert daemon.post("/api/chat", dict(body, options={"temperature": -1})).status == 400


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_a_large_image_reaches_a_model(daemon, upstream, protocol):
    name = served(daemon, upstream, protocol)
    upstream.default = m.answer_with(200, message({"type": "text", "text": "hi"}) | m.completion())
    image = PNG + "A" * (20 << 20)
    answer = daemon.post("/v1/chat/completions", {"model": name, "messages": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}]})
    assert answer.status == 200 and len(upstream.last().body) > 20 << 20, answer


# --- paths ---


@pytest.mark.parametrize("method,path,headers,status,allow,shape", [
    ("GET", "/v1beta/models/x:generateContent", {}, 405, "POST", "gemini"),
    ("OPTIONS", "/v1beta/models/x", {}, 405, "GET, HEAD", "gemini"),
    ("PUT", "/v1beta/cachedContents", {}, 404, None, "gemini"),
    ("POST", "/v1/models", {}, 405, "GET, HEAD", "openai"),
    ("DELETE", "/v1/models/a/b", {}, 405, "GET, HEAD", "openai"),
    ("GET", "/v1/moderations", {}, 405, "POST", "openai"),
    ("GET", "/v1/files", {}, 404, None, "openai"),
    ("GET", "/v1/files", {"anthropic-version": "2023-06-01"}, 404, None, "anthropic"),
    ("GET", "/v1/models/nobody", {"anthropic-version": "2023-06-01"}, 404, None, "anthropic"),
    ("GET", "/v1/models/nobody", {"x-goog-api-key": "k"}, 404, None, "gemini"),
    ("GET", "/v1/messages/batches", {}, 404, None, "anthropic"),
    ("GET", "/api/show", {}, 405, "POST", "ollama"),
])
def test_a_path_refuses_in_its_own_protocol(daemon, method, path, headers, status, allow, shape):
    answer = daemon.request(method, path, headers=headers)
    assert (answer.status, answer.headers.get("allow")) == (status, allow), answer
    g.ERRORS[shape](answer.json())


def test_a_model_may_have_slashes_in_its_name_and_paths_escapes(daemon, upstream):
    name = served(daemon, upstream, "openai")
    full = daemon.register(name, upstream, name="org/big-model:7b", promote=False)
    for path in ("/v1/models/" + full, "/v1/models/" + full.replace("/", "%2F").replace("@", "%40")):
        assert daemon.get(path).json()["id"] == full
    assert daemon.get("/v1beta/models/" + full).json()["name"] == "models/" + full
    for call in (":generateContent", "%3AgenerateContent", "%3agenerateContent"):
        for model in (full, full.replace("/", "%2F").replace(":", "%3A")):
            answer = daemon.post("/v1beta/models/" + model + call, {"contents": [{"parts": [{"text": "hi"}]}]})
            assert answer.status == 200, answer
