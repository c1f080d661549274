# SPDX-License-Identifier: Apache-2.0
"""Callers of one protocol in front of models of another: what the model gets, what the caller gets, what is judged."""
import json
import threading

import pytest

import grammar as g
import muster as m

CARD = "4111 1111 1111 1111"
CARDS = {"id": "c", "kind": "pii", "category": "pii", "values": ["card"], "severity": "high", "action": "mask",
         "mask": "[CARD]", "side": "both"}
WORD = {"id": "w", "kind": "literal", "category": "test", "values": ["forbidden fruit"], "severity": "high",
        "action": "block", "side": "output"}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
CLAUDE_TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


def message(*content, stop="end_turn"):
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": list(content),
            "stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 3}}


def block_events(index, block, *deltas):
    yield {"type": "content_block_start", "index": index, "content_block": block}
    for d in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": d}
    yield {"type": "content_block_stop", "index": index}


def text_block(index, *pieces):
    return block_events(index, {"type": "text", "text": ""}, *[{"type": "text_delta", "text": p} for p in pieces])


def thinking_block(index, *pieces):
    return block_events(index, {"type": "thinking", "thinking": "", "signature": ""},
                        *[{"type": "thinking_delta", "thinking": p} for p in pieces],
                        {"type": "signature_delta", "signature": "sig"})


def call_block(index, *pieces):
    return block_events(index, {"type": "tool_use", "id": "toolu_%d" % index, "name": "f", "input": {}},
                        *[{"type": "input_json_delta", "partial_json": p} for p in pieces])


def claude(*parts, stop="end_turn"):
    """A stream of these blocks."""
    events = [{"type": "message_start", "message": dict(message(), stop_reason=None)}, {"type": "ping"}]
    for p in parts:
        events += list(p)
    events += [{"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None},
                "usage": {"output_tokens": 9}}, {"type": "message_stop"}]

    def run(c, r):
        c.begin_stream()
        for e in events:
            c.chunk("event: %s\ndata: %s\n\n" % (e["type"], json.dumps(e)))
        c.end_stream()

    return run


def calls_chunk(*pieces, index=0, **first):
    """Chunks of one call, its arguments in these pieces."""
    for i, p in enumerate(pieces):
        call = {"index": index, "function": {"arguments": p}}
        if not i:
            call.update(id="call_%d" % index, type="function", function={"name": "f", "arguments": p}, **first)
        yield m.chunk(tool_calls=[call])


def served(daemon, upstream, protocol, *rules, **settings):
    name = daemon.name("tr")
    if rules:
        daemon.policy(name, *rules)
    daemon.use_case(name, **dict({"policy": name if rules else "none", "fallback_content": ""}, **settings))
    daemon.register(name, upstream, protocol=protocol)
    return name


def messages(daemon, model, stream=False, headers=None, **more):
    body = dict({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}, **more)
    if not stream:
        return daemon.post("/v1/messages", body, headers)
    with daemon.stream("/v1/messages", dict(body, stream=True), headers) as s:
        s.events()
    return s


# --- requests ---


def test_a_round_of_tools_reaches_a_model_of_the_other_protocol(daemon, upstream):
    name = served(daemon, upstream, "anthropic")
    upstream.default = m.answer_with(200, message({"type": "text", "text": "done"}))
    answer = daemon.post("/v1/chat/completions", {
        "model": name, "tools": [TOOL], "tool_choice": "required", "stop": ["END"], "messages": [
            {"role": "system", "content": "be dry"}, {"role": "user", "content": "go"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"}]})
    assert g.check_answer("openai", answer.json()).text == "done"
    got = upstream.last().json()
    assert got["system"] == [{"type": "text", "text": "be dry"}] and got["max_tokens"] == 4096
    assert got["tools"] == [CLAUDE_TOOL] and got["tool_choice"] == {"type": "any"} and got["stop_sequences"] == ["END"]
    assert [x["role"] for x in got["messages"]] == ["user", "assistant", "user"]
    assert got["messages"][1]["content"] == [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]
    assert got["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "c1", "content": "42"}]
    assert "x-muster-dropped-params" not in answer.headers
    assert upstream.last().headers["anthropic-version"] == "2023-06-01"


def test_headers_of_the_protocol_pass_to_a_model_that_speaks_it(start_daemon, upstream):
    daemon = start_daemon(ANTHROPIC_API_KEY="sk-secret")
    name = daemon.name("keyed")
    daemon.use_case(name, policy="none")
    daemon.api("POST", "/api/v1/models", {"model_name": name, "version": "1", "use_case": name, "provider": "anthropic",
                                          "configuration": {"endpoint": upstream.url + "/v1"}})
    daemon.api("POST", "/api/v1/models/%s@1/promote" % name, {"use_case": name})
    upstream.default = m.answer_with(200, message({"type": "text", "text": "hi"}))
    sent = {"anthropic-version": "2024-01-01", "anthropic-beta": "a,b"}
    assert messages(daemon, name, headers=sent).status == 200
    got = upstream.last()
    assert got.path == "/v1/messages" and got.headers["x-api-key"] == "sk-secret" and "authorization" not in got.headers
    assert {k: got.headers[k] for k in sent} == sent
    assert daemon.chat(name).status == 200
    assert upstream.last().headers["anthropic-version"] == "2023-06-01" and "anthropic-beta" not in upstream.last().headers


def test_usage_is_not_asked_of_a_provider_that_refuses_to_be_asked(start_daemon, upstream):
    daemon = start_daemon(MISTRAL_API_KEY="k", GROQ_API_KEY="k")
    for provider, asked in (("mistral", False), ("groq", True)):
        daemon.use_case(provider, policy="none")
        daemon.api("POST", "/api/v1/models", {"model_name": provider, "version": "1", "use_case": provider,
                                              "provider": provider, "configuration": {"endpoint": upstream.url + "/v1"}})
        daemon.api("POST", "/api/v1/models/%s@1/promote" % provider, {"use_case": provider})
        upstream.default = m.streaming("Hi.")
        for call in (lambda: daemon.chat(provider, stream=True), lambda: messages(daemon, provider, stream=True)):
            assert call().status == 200
            assert ("stream_options" in upstream.last().json()) == asked, provider


def test_same_protocol_changes_the_model_and_nothing_else(daemon, upstream):
    name = served(daemon, upstream, "anthropic")
    body = b'{ "max_tokens" : 1e1,"model":"%s", "x": [1.0, "\\u00e9"],\n"messages":[{"content":"hi","role":"user"}] }'
    upstream.default = m.answer_with(200, message({"type": "text", "text": "hi"}))
    body = body.replace(b"1e1", b"10")
    assert daemon.post("/v1/messages", body % name.encode()).status == 200
    up = "up-" + daemon.api("GET", "/api/v1/use-cases/" + name)["current"]["model_name"]
    assert upstream.last().body == body % up.encode()


def test_what_cannot_be_carried_is_named_or_refused(daemon, upstream):
    name = served(daemon, upstream, "anthropic")
    upstream.default = m.answer_with(200, message({"type": "text", "text": "hi"}))
    answer = daemon.chat(name, seed=3, logit_bias={"1": 2})
    assert {p.strip() for p in answer.headers["x-muster-dropped-params"].split(",")} == {"seed", "logit_bias"}
    daemon.use_case(name, policy="none", translation="strict", fallback_content="")
    before = len(upstream.requests)
    answer = daemon.chat(name, seed=3, logit_bias={"1": 2})
    assert answer.status == 400 and answer.json()["error"]["param"] == "seed", answer
    assert "seed, logit_bias" in answer.json()["error"]["message"] and len(upstream.requests) == before
    assert daemon.chat(name).status == 200
    assert messages(daemon, name, odd=1).status == 200, "the same protocol carries everything"


@pytest.mark.parametrize("body,param", [
    ({"tools": [{"type": "function", "function": {}}]}, "tools"),
    ({"tool_choice": "perhaps"}, "tool_choice"),
    ({"response_format": {"type": "odd"}}, "response_format"),
    ({"reasoning_effort": "wild"}, "reasoning_effort"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}, "messages"),
])
def test_a_request_that_cannot_be_understood_is_refused_before_a_model_is_asked(daemon, upstream, body, param):
    name = served(daemon, upstream, "anthropic")
    answer = daemon.chat(name, **body)
    assert answer.status == 400 and answer.json()["error"]["param"] == param, answer
    assert not upstream.requests


def test_texts_of_a_caller_are_masked_wherever_they_stand(daemon, upstream):
    name = served(daemon, upstream, "openai", CARDS)
    body = [{"role": "user", "content": [{"type": "text", "text": "my card " + CARD}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"n": CARD}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "it is " + CARD}]}]
    assert messages(daemon, name, messages=body).status == 200
    got = upstream.last().json()["messages"]
    assert "4111" not in upstream.last().body.decode()
    assert got[1]["tool_calls"][0]["function"]["arguments"] == "{\"n\": \"[CARD]\"}"
    assert got[2] == {"role": "tool", "tool_call_id": "t", "content": "it is [CARD]"}


# --- counting, listing ---


def test_tokens_are_counted_by_a_model_that_can(daemon, upstream):
    name = served(daemon, upstream, "anthropic")
    upstream.default = m.answer_with(200, b'{"input_tokens" : 14}')
    body = {"model": name, "messages": [{"role": "user", "content": "hello"}]}
    answer = daemon.post("/v1/messages/count_tokens", body)
    assert (answer.status, answer.body) == (200, b'{"input_tokens" : 14}')
    assert upstream.last().path == "/v1/messages/count_tokens" and "x-muster-estimated" not in answer.headers
    assert upstream.last().json() == dict(body, model=upstream.last().json()["model"])
    assert messages(daemon, name).status == 502, "that was no answer"
    assert len(daemon.logs(name, 1)) == 1, "a count is no exchange"


@pytest.mark.parametrize("back", ["openai", "away"])
def test_tokens_are_estimated_and_marked_for_any_other(daemon, upstream, back):
    name = served(daemon, upstream if back == "openai" else "http://127.0.0.1:%d" % m.free_port(),
                  "openai" if back == "openai" else "anthropic")
    answer = daemon.post("/v1/messages/count_tokens", {"model": name, "system": "x" * 40, "messages": [
        {"role": "user", "content": "y" * 60}]})
    assert answer.status == 200 and answer.json() == {"input_tokens": 25}, answer
    assert answer.headers["x-muster-estimated"] == "true" and not upstream.requests


def test_counting_is_refused_like_asking(daemon, upstream):
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        answer = daemon.post(path, {"model": "nobody-knows-it", "messages": [{"role": "user", "content": "x"}]})
        assert answer.status == 404
        g.anthropic_error(answer.json())
    name = served(daemon, upstream, "anthropic")
    refusal = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "r"}
    upstream.default = m.answer_with(400, refusal)
    answer = daemon.post("/v1/messages/count_tokens", {"model": name, "messages": [{"role": "user", "content": "x"}]})
    assert answer.status == 400 and answer.json() == refusal


def test_models_are_listed_in_the_form_of_who_asks(daemon, upstream):
    name = served(daemon, upstream, "openai")
    listed = daemon.request("GET", "/v1/models", headers={"anthropic-version": "2023-06-01"}).json()
    one = daemon.request("GET", "/v1/models/" + name, headers={"anthropic-version": "2023-06-01"}).json()
    assert set(listed) == {"data", "has_more", "first_id", "last_id"} and one in listed["data"]
    assert set(one) == {"id", "type", "display_name", "created_at"} and one["type"] == "model" and one["id"] == name
    assert listed["first_id"] == listed["data"][0]["id"] and listed["last_id"] == listed["data"][-1]["id"]
    assert daemon.get("/v1/models").json()["object"] == "list"


# --- answers ---


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_calls_and_thinking_reach_the_other_side(daemon, upstream, stream):
    name = served(daemon, upstream, "anthropic")
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "text", "text": "two"},
              {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {"a": 1}},
              {"type": "tool_use", "id": "toolu_3", "name": "f", "input": {}}]
    if stream:
        upstream.default = claude(thinking_block(0, "h", "m"), text_block(1, "t", "wo"),
                                  call_block(2, "", "{\"a\"", ": 1}"), call_block(3), stop="tool_use")
        with daemon.chat_stream(name, stream_options={"include_usage": True}) as s:
            s.events()
        got = g.check_stream("openai", s.raw, usage=True)
        assert got.usage == {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
    else:
        upstream.default = m.answer_with(200, message(*blocks, stop="tool_use"))
        got = g.check_answer("openai", daemon.chat(name).json())
    assert (got.text, got.reasoning, got.finish) == ("two", "hm", "tool_calls")
    assert got.calls == [("f", {"a": 1}), ("f", {})]


@pytest.mark.parametrize("reasoning", ["reasoning_content", "reasoning"])
def test_interleaved_calls_and_reasoning_of_openai_servers_become_blocks(daemon, upstream, reasoning):
    name = served(daemon, upstream, "openai")
    a, b = list(calls_chunk("{\"x\"", ": 1}")), list(calls_chunk("{\"y\"", ": 2}", index=1))
    upstream.default = m.events(m.chunk("", role="assistant"), m.chunk(**{reasoning: "h"}), m.chunk(**{reasoning: "m"}),
                                m.chunk("two"), *a, *b, m.chunk(finish="tool_calls"), m.usage_chunk(), "[DONE]")
    s = messages(daemon, name, stream=True)
    got = g.check_stream("anthropic", s.raw)
    assert (got.text, got.reasoning, got.finish) == ("two", "hm", "tool_calls")
    assert got.calls == [("f", {"x": 1}), ("f", {"y": 2})]
    assert (got.usage["input_tokens"], got.usage["output_tokens"]) == (7, 3)
    upstream.default = m.events(a[0], b[0], a[1], b[1], m.chunk(finish="tool_calls"), "[DONE]")
    s = messages(daemon, name, stream=True)  # no block may wait for another: late pieces say whose they are
    assert g.stream_said("anthropic", s.raw).calls == [("f", {"x": 1}), ("f", {"y": 2})]


def test_usage_that_no_model_told_is_estimated(daemon, upstream):
    name = served(daemon, upstream, "openai")
    upstream.default = m.streaming("Twelve bytes")
    s = messages(daemon, name, stream=True)
    assert g.check_stream("anthropic", s.raw).usage["output_tokens"] == 3
    assert b'"usage":{"input_tokens":2' in s.raw.split(b"\n\n")[0]


@pytest.mark.parametrize("front", ["openai", "anthropic"])
@pytest.mark.parametrize("where", ["text", "reasoning", "arguments"])
def test_what_is_split_over_events_is_masked_in_each_kind_of_text(daemon, upstream, front, where):
    pieces = ("no. 4111 ", "1111 11", "11 1111 ok")
    back = "anthropic" if front == "openai" else "openai"
    name = served(daemon, upstream, back, CARDS)
    if back == "anthropic":
        block = {"text": text_block, "reasoning": thinking_block,
                 "arguments": lambda i, *p: call_block(i, "{\"n\":\"", *p, "\"}")}[where]
        upstream.default = claude(block(0, *pieces), stop="tool_use" if where == "arguments" else "end_turn")
        with daemon.chat_stream(name) as s:
            s.events()
    else:
        made = {"text": [m.chunk(p) for p in pieces], "reasoning": [m.chunk(reasoning_content=p) for p in pieces],
                "arguments": list(calls_chunk("{\"n\":\"", *pieces, "\"}"))}[where]
        upstream.default = m.events(*made, m.chunk(finish="tool_calls" if where == "arguments" else "stop"), "[DONE]")
        s = messages(daemon, name, stream=True)
    got = g.check_stream(front, s.raw)
    said = {"text": got.text, "reasoning": got.reasoning, "arguments": got.calls and got.calls[0][1]["n"]}[where]
    assert said == "no. [CARD] ok" and b"4111" not in s.raw
    assert daemon.log(s.headers["x-muster-log-id"])["guardrail"]["action"] == "mask"


@pytest.mark.parametrize("front", ["openai", "anthropic"])
@pytest.mark.parametrize("back", ["openai", "anthropic"])
def test_a_stream_that_is_stopped_ends_in_its_grammar(daemon, upstream, front, back):
    name = served(daemon, upstream, back, WORD)
    pieces = ("Take the ", "forbid", "den fruit", " now")
    upstream.default = claude(thinking_block(0, "hm"), text_block(1, *pieces)) if back == "anthropic" else \
        m.events(m.chunk("", role="assistant"), m.chunk(reasoning_content="hm"), *[m.chunk(p) for p in pieces],
                 m.chunk(finish="stop"), "[DONE]")
    if front == "openai":
        with daemon.chat_stream(name) as s:
            s.events()
    else:
        s = messages(daemon, name, stream=True)
    got = g.check_stream(front, s.raw)
    assert got.text.rstrip() == "Take the" and got.reasoning == "hm" and got.finish == "content_filter"
    assert b"forbid" not in s.raw


@pytest.mark.parametrize("action", ["block", "mask"])
@pytest.mark.parametrize("back", ["anthropic", "gemini"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("front", ["openai", "responses", "ollama", "generate"])
def test_texts_that_a_caller_gets_as_one_are_judged_as_one(daemon, upstream, front, stream, back, action):
    name = served(daemon, upstream, back, dict(WORD, action=action, mask="[X]") if action == "mask" else WORD)
    texts = ("Take the forbidden ", "fruit now")
    if back == "anthropic":
        call = call_block(1, "{}")
        upstream.default = claude(text_block(0, texts[0]), call, text_block(2, texts[1])) if stream else m.answer_with(
            200, message(*[{"type": "text", "text": x} for x in texts]))
    else:
        reply = {"candidates": [{"content": {"parts": [{"text": x} for x in texts], "role": "model"}, "index": 0,
                                 "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 7}}
        upstream.default = m.events(reply) if stream else m.answer_with(200, reply)
    body = {"model": name, "use_case": name, "prompt": "x", "input": "x", "messages": [{"role": "user", "content": "x"}]}
    path, members = {"openai": ("/v1/chat/completions", ("model", "messages")), "responses": ("/v1/responses", ("model", "input")),
                     "ollama": ("/api/chat", ("model", "messages")), "generate": ("/api/v1/generate", ("use_case", "prompt"))}[front]
    answer = daemon.post(path, dict({k: body[k] for k in members}, stream=stream))
    assert answer.status == 200 and "fruit" not in answer.body.decode(), answer.body
    masked = stream and action == "mask"  # where it can be: texts of a whole answer are masked one by one
    log = daemon.log_of(answer)
    assert log["status"] == ("ok" if masked else "blocked"), log
    assert [v["rule"] for v in log["guardrail"]["violations"]] == ["w"] and (not masked or log["output"] == "Take the [X] now")


def test_a_block_that_has_ended_does_not_hold_up_the_next(daemon, upstream):
    name = served(daemon, upstream, "anthropic", CARDS)
    go = threading.Event()
    parts = list(thinking_block(0, "the number is 4111")) + list(text_block(1, "hello there. ", "Bye."))

    def run(c, r):
        c.begin_stream()
        for e in [{"type": "message_start", "message": dict(message(), stop_reason=None)}] + parts[:-2]:
            c.chunk("event: %s\ndata: %s\n\n" % (e["type"], json.dumps(e)))
        assert go.wait(m.LIMIT)
        for e in parts[-2:] + [{"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                                "usage": {"output_tokens": 2}}, {"type": "message_stop"}]:
            c.chunk("event: %s\ndata: %s\n\n" % (e["type"], json.dumps(e)))
        c.end_stream()

    upstream.default = run
    with daemon.stream("/v1/messages", {"model": name, "max_tokens": 9, "stream": True,
                                        "messages": [{"role": "user", "content": "x"}]}) as s:
        seen = ""
        while "hello" not in seen:
            seen += json.dumps(s.event())
        go.set()
        s.events()
    assert g.check_stream("anthropic", s.raw).text == "hello there. Bye."


def test_a_stream_that_breaks_off_is_an_error_in_the_callers_protocol(daemon, upstream):
    name = served(daemon, upstream, "openai")

    def broken(c, r):
        c.begin_stream()
        c.event(m.chunk("Half an answer, and then"))
        c.wait_closed(0.3)
        c.reset()

    upstream.default = broken
    s = messages(daemon, name, stream=True)
    got = g.check_stream("anthropic", s.raw)
    assert got.error["type"] == "api_error" and "broke off" in got.error["message"]
    assert got.text == "Half an answer, and then"


# --- errors ---


@pytest.mark.parametrize("status,kind", [(400, "invalid_request_error"), (422, "invalid_request_error")])
def test_refusals_of_a_model_have_the_callers_shape(daemon, upstream, status, kind):
    name = served(daemon, upstream, "openai")
    upstream.default = m.answer_with(status, {"error": {"message": "too odd", "type": "x", "param": None, "code": None}})
    answer = messages(daemon, name)
    assert answer.status == status
    g.anthropic_error(answer.json())
    assert answer.json()["error"] == {"type": kind, "message": "too odd"}
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("body,status,kind", [
    (b"{", 400, "invalid_request_error"), (b"", 400, "invalid_request_error"),
    ({"model": "nobody-knows-it", "messages": [{"role": "user", "content": "x"}]}, 404, "not_found_error"),
])
def test_errors_of_ours_have_the_callers_shape(daemon, body, status, kind):
    answer = daemon.post("/v1/messages", body)
    assert answer.status == status and answer.json()["error"]["type"] == kind, answer
    g.anthropic_error(answer.json())


def test_methods_and_keys_are_refused_in_the_callers_shape(start_daemon, tmp_path):
    (tmp_path / "keys").write_text("a:0123456789abcdef\n")
    d = start_daemon("", "--auth.key_file", str(tmp_path / "keys"))
    answer = d.post("/v1/messages", {})
    assert answer.status == 401 and answer.json()["error"]["type"] == "authentication_error"
    assert d.post("/v1/messages", {}, {"x-api-key": "0123456789abcdef"}).status == 400
    answer = d.request("GET", "/v1/messages", headers={"x-api-key": "0123456789abcdef"})
    assert answer.status == 405 and answer.json()["type"] == "error"
