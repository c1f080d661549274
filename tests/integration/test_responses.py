# SPDX-License-Identifier: Apache-2.0
"""/v1/responses: what models of each protocol get of a request, what callers get back, and what is refused or dropped."""
import json

import pytest

import grammar as g
import muster as m
import test_protocol_translate as t

PATH = "/v1/responses"
FLAT = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def ask(daemon, model, stream=False, headers=None, **more):
    body = dict({"model": model, "input": "hello"}, **more)
    if not stream:
        return daemon.post(PATH, body, headers)
    with daemon.stream(PATH, dict(body, stream=True), headers) as s:
        s.values = s.events()
    return s


# --- requests ---


def test_a_round_of_tools_is_a_chat_to_the_model(daemon, upstream):
    name = t.served(daemon, upstream, "openai")
    answer = ask(daemon, name, instructions="be dry", tools=[FLAT], tool_choice={"type": "function", "name": "f"},
                 max_output_tokens=99, temperature=0.5, user="u", parallel_tool_calls=False, reasoning={"effort": "high"},
                 text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}, input=[
        {"role": "user", "content": [{"type": "input_text", "text": "look"}, {
            "type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "I call", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\": 1}"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "41"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "42"}]},
        {"role": "developer", "content": "hurry"}])
    assert g.check_answer("responses", answer.json()).text == "Hi there."
    got = upstream.last().json()
    assert got["messages"] == [
        {"role": "system", "content": "be dry"},
        {"role": "user", "content": [{"type": "text", "text": "look"},
                                     {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
        {"role": "assistant", "content": "I call", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
            {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "41"}, {"role": "tool", "tool_call_id": "c2", "content": "42"},
        {"role": "system", "content": "hurry"}]
    assert got["tools"] == [{"type": "function", "function": {k: v for k, v in FLAT.items() if k != "type"}}]
    assert got["tool_choice"] == {"type": "function", "function": {"name": "f"}} and got["parallel_tool_calls"] is False
    assert got["response_format"] == {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    assert (got["max_tokens"], got["temperature"], got["user"], got["reasoning_effort"]) == (99, 0.5, "u", "high")
    assert "x-muster-dropped-params" not in answer.headers
    log = daemon.log_of(answer)
    assert log["prompt"] == "look" and log["context"] == [{"role": "system", "content": "be dry"}], log


def test_an_answer_repeats_what_was_asked(daemon, upstream):
    name = t.served(daemon, upstream, "openai")
    asked = {"instructions": "be dry", "tools": [FLAT], "tool_choice": "auto", "max_output_tokens": 99, "temperature": 0.5,
             "top_p": 0.25, "metadata": {"a": "b\n"}, "parallel_tool_calls": False, "user": "u",
             "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}}
    body = json.dumps(dict(asked, model=name, input="x", store=True, stream=True), indent=1).encode()  # of many lines
    with daemon.stream(PATH, body) as s:
        events = s.events()
    g.check_stream("responses", s.raw)
    whole = ask(daemon, name, **asked)
    for r in (events[0]["response"], events[-1]["response"], whole.json()):
        assert {k: r[k] for k in asked} == asked
        assert r["store"] is False and r["previous_response_id"] is None and r["truncation"] == "disabled"
    r = ask(daemon, name).json()
    assert (r["tools"], r["tool_choice"], r["metadata"], r["instructions"], r["temperature"]) == ([], "auto", {}, None, None)
    assert r["text"] == {"format": {"type": "text"}} and r["usage"]["total_tokens"] == 10
    assert r["output"][0]["id"] == "msg_" + r["id"][5:] + "_0"
    assert r["created_at"] <= r["completed_at"]


KEPT = "no response is kept here"


@pytest.mark.parametrize("more,param,says", [
    ({"previous_response_id": "resp_1"}, "previous_response_id", KEPT), ({"conversation": "conv_1"}, "conversation", KEPT),
    ({"conversation": {"id": "conv_1"}}, "conversation", KEPT), ({"prompt": {"id": "pmpt_1"}}, "prompt", KEPT),
    ({"background": True}, "background", "must be false"), ({"store": "yes"}, "store", "true or false"),
    ({"metadata": {"a": 1}}, "metadata", "strings only"), ({"metadata": "a"}, "metadata", "object"),
    ({"instructions": ["x"]}, "instructions", "string"), ({"max_output_tokens": 0}, "max_output_tokens", "above 0"),
    ({"input": None}, "input", "missing"), ({"input": []}, "input", "at least one"), ({"input": 7}, "input", "string or"),
    ({"input": ["x"]}, "input[0]", "object"), ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]", "store false"),
    ({"input": [{"id": "msg_1"}]}, "input[0]", "kept"), ({"input": [{}]}, "input[0]", "type or a role"),
    ({"input": [{"role": "user", "content": "a"}, {"role": "cook", "content": "x"}]}, "input[1].role", "developer"),
    ({"input": [{"role": "user"}]}, "input[0].content", "string or an array"),
    ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content", "type"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content", "without text"),
    ({"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input[0]", "lacks"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id", "call"),
    ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output", "string or"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "tools[].name"), ({"tools": [{}]}, "tools", "type"),
    ({"tools": [FLAT], "tool_choice": "perhaps"}, "tool_choice", "auto"),
    ({"tools": [FLAT], "tool_choice": {"type": "function"}}, "tool_choice", "name"),
    ({"text": {"format": {"type": "odd"}}}, "text.format", "json_schema"), ({"text": "x"}, "text", "object"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format", "schema"),
    ({"reasoning": {"effort": "wild"}}, "reasoning.effort", "minimal"), ({"include": [1]}, "include", "strings"),
])
def test_what_cannot_be_done_is_refused_by_name(daemon, upstream, case, more, param, says):
    answer = ask(daemon, case, **more)
    assert answer.status == 400 and answer.json()["error"]["param"] == param and says in answer.json()["error"]["message"]
    assert not upstream.requests


def test_a_member_that_is_there_twice_is_refused(daemon, case):
    for body in (b'{"model":"%s","input":"a","input":"b"}', b'{"model":"%s","input":[{"role":"user","content":"a","content":"b"}]}',
                 b'{"model":"%s","input":[{"role":"user","content":[{"type":"input_text","text":"a","text":"b"}]}]}'):
        answer = daemon.post(PATH, body % case.encode())
        assert answer.status == 400 and "twice" in answer.json()["error"]["message"], answer


def test_nothing_is_kept_and_asking_for_it_says_so(daemon, case):
    answer = ask(daemon, case, store=True)
    for method, path in (("GET", "/" + answer.json()["id"]), ("DELETE", "/" + answer.json()["id"]), ("GET", "/x/input_items"),
                         ("POST", "/x/cancel")):
        gone = daemon.request(method, PATH + path, {} if method == "POST" else None)
        assert gone.status == 404 and "kept" in gone.json()["error"]["message"] and gone.json()["error"]["code"] == "not_found"
    assert daemon.get(PATH).status == 405
    assert daemon.get("/api/v1/logs/" + daemon.log_of(answer)["log_id"]).status == 200
    assert answer.json()["id"] == "resp_" + answer.headers["x-muster-log-id"]


def test_what_only_openai_does_is_named_or_refused(daemon, upstream):
    name = t.served(daemon, upstream, "openai")
    more = dict(tools=[{"type": "web_search"}, {"type": "custom", "name": "c"}, FLAT], truncation="auto", service_tier="flex",
                text={"verbosity": "low"}, include=["file_search_call.results", "reasoning.encrypted_content"],
                tool_choice={"type": "allowed_tools", "mode": "auto", "tools": []},
                input=[{"type": "web_search_call", "id": "ws_1"}, {"role": "user", "content": "x"}])
    answer = ask(daemon, name, **more)
    assert {p.strip() for p in answer.headers["x-muster-dropped-params"].split(",")} == {
        "tools[].web_search", "tools[].custom", "truncation", "service_tier", "text.verbosity",
        "include.file_search_call.results", "tool_choice.allowed_tools", "input[].web_search_call"}
    assert [x["name"] for x in answer.json()["tools"]] == ["f"] and answer.json()["tool_choice"] == "auto"
    daemon.use_case(name, policy="none", translation="strict", fallback_content="")
    answer = ask(daemon, name, tools=[{"type": "web_search"}])
    assert answer.status == 400 and answer.json()["error"]["param"] == "tools[].web_search", answer
    assert ask(daemon, name, tools=[FLAT], store=True, metadata={"a": "b"}).status == 200


# --- answers ---


def test_reasoning_comes_back_to_the_model_that_signed_it(daemon, upstream):
    name = t.served(daemon, upstream, "anthropic")
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "redacted_thinking", "data": "xyz"},
              {"type": "text", "text": "two"}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]
    upstream.default = m.answer_with(200, t.message(*blocks, stop="tool_use"))
    whole = ask(daemon, name, tools=[FLAT]).json()
    got = g.check_answer("responses", whole)
    assert (got.text, got.reasoning, got.finish, got.calls) == ("two", "hm", "tool_calls", [("f", {"a": 1})])
    upstream.default = t.claude(t.thinking_block(0, "h", "m"), [
        {"type": "content_block_start", "index": 1, "content_block": blocks[1]}, {"type": "content_block_stop", "index": 1}],
        t.text_block(2, "t", "wo"), t.call_block(3, "{\"a\"", ": 1}"), stop="tool_use")
    s = ask(daemon, name, stream=True, tools=[FLAT])
    g.check_stream("responses", s.raw)
    streamed = s.values[-1]["response"]
    assert [i["type"] for i in streamed["output"]] == ["reasoning", "reasoning", "message", "function_call"]
    for output, call in ((whole["output"], "toolu_1"), (streamed["output"], "toolu_3")):
        upstream.default = m.answer_with(200, t.message({"type": "text", "text": "done"}))
        ask(daemon, name, tools=[FLAT], input=[{"role": "user", "content": "go"}] + output + [
            {"type": "function_call_output", "call_id": call, "output": "42"}])
        back = upstream.last().json()["messages"]
        assert back[1]["content"] == blocks[:3] + [dict(blocks[3], id=call)]
        assert back[2]["content"] == [{"type": "tool_result", "tool_use_id": call, "content": "42"}]


def test_the_signature_of_a_call_comes_back_before_it(daemon, upstream):
    name = t.served(daemon, upstream, "gemini")
    call = {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "sig"}
    reply = {"candidates": [{"content": {"parts": [call], "role": "model"}, "index": 0, "finishReason": "STOP"}],
             "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3}}
    for stream in (False, True):
        upstream.default = m.events(reply) if stream else m.answer_with(200, reply)
        answer = ask(daemon, name, stream=stream, tools=[FLAT])
        response = answer.values[-1]["response"] if stream else answer.json()
        assert [i["type"] for i in response["output"]] == ["reasoning", "function_call"]
        upstream.default = m.answer_with(200, reply)
        ask(daemon, name, tools=[FLAT], input=[{"role": "user", "content": "go"}] + response["output"] + [
            {"type": "function_call_output", "call_id": response["output"][1]["call_id"], "output": "42"}])
        assert upstream.last().json()["contents"][1]["parts"] == [call]


def test_calls_that_come_interleaved_are_told_whole(daemon, upstream):
    name = t.served(daemon, upstream, "openai")
    a, b = list(t.calls_chunk("{\"x\"", ": 1}")), list(t.calls_chunk("{\"y\"", ": 2}", index=1))
    c = list(t.calls_chunk("", index=2))
    upstream.default = m.events(a[0], b[0], a[1], b[1], *c, m.chunk("over"), m.chunk(finish="tool_calls"), "[DONE]")
    s = ask(daemon, name, stream=True, tools=[FLAT])
    got = g.check_stream("responses", s.raw)
    assert got.calls == [("f", {"x": 1}), ("f", {"y": 2}), ("f", {})] and got.text == "over"


def test_a_text_that_a_model_cut_into_parts_is_one(daemon, upstream):
    """Else a client could not parse the JSON that it asked for."""
    name = t.served(daemon, upstream, "gemini")
    parts = [{"text": "{\"a\""}, {"text": ": 1}"}]
    upstream.default = m.answer_with(200, {
        "candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3}})
    for stream in (False, True):
        answer = ask(daemon, name, stream=stream, text={"format": {"type": "json_object"}})
        response = answer.values[-1]["response"] if stream else answer.json()
        assert [p["text"] for i in response["output"] for p in i["content"]] == ["{\"a\": 1}"]


def test_an_answer_with_nothing_in_it_has_a_message(daemon, upstream):
    name = t.served(daemon, upstream, "openai")
    upstream.default = m.answer_with(200, m.completion("", finish="length"))
    r = ask(daemon, name).json()
    assert r["status"] == "incomplete" and r["output"][0]["content"][0]["text"] == "" and r["output"][0]["status"] == "incomplete"
    upstream.default = m.events(m.chunk("", role="assistant"), m.chunk(finish="length"), "[DONE]")
    s = ask(daemon, name, stream=True)
    assert g.check_stream("responses", s.raw).finish == "length" and len(s.values[-1]["response"]["output"]) == 1


def test_a_long_answer_is_told_whole_at_its_end(daemon, upstream):
    name = t.served(daemon, upstream, "openai")
    pieces = ["\"\u20ac" * 4000] * 100
    upstream.default = m.streaming(*pieces)
    s = ask(daemon, name, stream=True)
    assert g.check_stream("responses", s.raw).text == "".join(pieces)
    upstream.default = m.streaming(*pieces * 5)  # more than is kept
    s = ask(daemon, name, stream=True)
    assert g.check_stream("responses", s.raw).error


# --- what intervenes ---


@pytest.mark.parametrize("back", ["openai", "anthropic"])
@pytest.mark.parametrize("where", ["text", "reasoning", "arguments"])
def test_what_is_split_over_events_is_masked_wherever_it_stands(daemon, upstream, back, where):
    pieces = ("no. 4111 ", "1111 11", "11 1111 ok")
    name = t.served(daemon, upstream, back, t.CARDS)
    if back == "anthropic":
        block = {"text": t.text_block, "reasoning": t.thinking_block,
                 "arguments": lambda i, *p: t.call_block(i, "{\"n\":\"", *p, "\"}")}[where]
        upstream.default = t.claude(block(0, *pieces), stop="tool_use" if where == "arguments" else "end_turn")
    else:
        made = {"text": [m.chunk(p) for p in pieces], "reasoning": [m.chunk(reasoning_content=p) for p in pieces],
                "arguments": list(t.calls_chunk("{\"n\":\"", *pieces, "\"}"))}[where]
        upstream.default = m.events(*made, m.chunk(finish="tool_calls" if where == "arguments" else "stop"), "[DONE]")
    s = ask(daemon, name, stream=True)
    got = g.check_stream("responses", s.raw)
    said = {"text": got.text, "reasoning": got.reasoning, "arguments": got.calls and got.calls[0][1]["n"]}[where]
    assert said == "no. [CARD] ok" and b"4111" not in s.raw


def test_texts_of_a_caller_are_masked_wherever_they_stand(daemon, upstream):
    name = t.served(daemon, upstream, "openai", t.CARDS)
    answer = ask(daemon, name, input=[
        {"role": "user", "content": [{"type": "input_text", "text": "my card " + t.CARD}]},
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": t.CARD}]},
        {"type": "function_call", "call_id": "t", "name": "f", "arguments": "{\"n\": \"%s\"}" % t.CARD},
        {"type": "function_call_output", "call_id": "t", "output": "it is " + t.CARD},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": t.CARD}]}, {"role": "user", "content": t.CARD}])
    assert answer.status == 200 and "4111" not in upstream.last().body.decode(), upstream.last().body
    got = upstream.last().json()["messages"]
    assert got[1]["tool_calls"][0]["function"]["arguments"] == "{\"n\": \"[CARD]\"}" and got[2]["content"] == "it is [CARD]"
    assert ask(daemon, name, input=t.CARD).status == 200 and upstream.last().json()["messages"][0]["content"] == "[CARD]"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_guardrails_stop_is_incomplete(daemon, upstream, stream):
    name = t.served(daemon, upstream, "openai", t.WORD)
    pieces = ("Take the ", "forbid", "den fruit", " now")
    upstream.default = m.streaming(*pieces) if stream else m.ok("".join(pieces))
    answer = ask(daemon, name, stream=stream)
    got = g.check_stream("responses", answer.raw) if stream else g.check_answer("responses", answer.json())
    assert got.finish == "content_filter" and got.text.rstrip() == ("Take the" if stream else "")
    assert "forbid" not in (answer.raw if stream else answer.body).decode()
    assert daemon.log_of(answer)["status"] == "blocked"


def test_a_stream_that_breaks_off_fails_in_both_of_openais_ways(daemon, upstream):
    name = t.served(daemon, upstream, "openai")

    def broken(c, r):
        c.begin_stream()
        c.event(m.chunk("Half an answer, and then"))
        c.wait_closed(0.3)
        c.reset()

    upstream.default = broken
    s = ask(daemon, name, stream=True)
    got = g.check_stream("responses", s.raw)
    assert "broke off" in got.error["message"] and got.text == "Half an answer, and then"
    end = s.values[-1]
    assert end["type"] == "response.failed" and "broke off" in end["response"]["error"]["message"]
    assert end["response"]["output"][0]["content"][0]["text"] == got.text
    assert daemon.log(s.headers["x-muster-log-id"])["status"] == "truncated"


@pytest.mark.parametrize("stream", [False, True])
def test_the_rest_of_the_gateway_is_there(daemon, upstream, stream):
    name = t.served(daemon, upstream, "openai", fallback_content="Later.")
    headers = {"Idempotency-Key": name}
    first, again = (ask(daemon, name, stream, headers) for _ in range(2))
    assert again.headers["x-muster-idempotent-replay"] == "true" and len(upstream.requests) == 1
    assert (first.raw == again.raw) if stream else (first.body == again.body)
    upstream.default = m.answer_with(500, {})
    answer = ask(daemon, name, stream)
    got = g.check_stream("responses", answer.raw) if stream else g.check_answer("responses", answer.json())
    assert got.text == "Later." and answer.headers["x-muster-fallback"] == "content"
    daemon.use_case(name, policy="none", fallback_content="")
    upstream.default = m.answer_with(422, {"error": {"message": "too odd"}})
    answer = daemon.post(PATH, {"model": name, "input": "x", "stream": stream})
    assert answer.status == 422 and answer.json()["error"]["message"] == "too odd"


def test_the_simulated_model_answers(daemon):
    name = daemon.name("simulated")
    daemon.use_case(name, policy="none")
    daemon.api("POST", "/api/v1/models", {"model_name": name, "version": "1", "use_case": name, "provider": "sim",
                                          "configuration": {"sim": {"text": "simulated words"}}})
    daemon.api("POST", "/api/v1/models/%s@1/promote" % name, {"use_case": name})
    assert g.check_answer("responses", ask(daemon, name).json()).text == "simulated words"
    assert g.check_stream("responses", ask(daemon, name, stream=True).raw).text == "simulated words"
