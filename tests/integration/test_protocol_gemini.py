# SPDX-License-Identifier: Apache-2.0
"""Gemini's protocol against the binary: what its upstreams are asked, and what callers get of what they say."""
import json

import pytest

import grammar as g
import muster as m

CHAT = {"messages": [{"role": "user", "content": "go"}]}


def reply(*parts, finish="STOP", **members):
    candidate = {"content": {"parts": list(parts), "role": "model"}, "finishReason": finish, "index": 0}
    if finish is None:
        del candidate["finishReason"]
    return dict({"candidates": [candidate], "modelVersion": "gemini-x", "responseId": "r1",
                 "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}}, **members)


def streams(*values):
    def run(c, r):
        c.begin_stream()
        for v in values:
            c.chunk("data: %s\r\n\r\n" % json.dumps(v))
        c.end_stream()
    return run


@pytest.fixture(scope="module")
def back(daemon):
    """A use case with a Gemini upstream; the test says what it answers."""
    up = m.Upstream()
    daemon.use_case("gem", policy="none", fallback_content="")
    daemon.register("gem", up, protocol="gemini", upstream_model="models/gem/2.5 pro")
    yield up
    up.close()
    assert not up.errors


def ask(daemon, use_case="gem", **more):
    return daemon.post("/v1/chat/completions", dict(CHAT, model=use_case, **more))


def test_the_path_names_the_model_and_whether_it_streams(daemon, back):
    back.default = m.answer_with(200, json.dumps(reply({"text": "Hi"})))
    answer = ask(daemon, max_tokens=5)
    assert answer.json()["choices"][0]["message"]["content"] == "Hi"
    assert answer.json()["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert back.last().path == "/v1beta/models/gem%2F2.5%20pro:generateContent"
    assert back.last().json() == {"contents": [{"role": "user", "parts": [{"text": "go"}]}],
                                  "generationConfig": {"maxOutputTokens": 5}}
    back.default = streams(reply({"text": "H"}, finish=None), reply({"text": "i"}))
    with daemon.stream("/v1/chat/completions", dict(CHAT, model="gem", stream=True)) as s:
        s.events()
    assert g.check_stream("openai", s.raw).text == "Hi"
    assert back.last().path == "/v1beta/models/gem%2F2.5%20pro:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("endpoint", ["/v1/projects/p/publishers/google", "/v1beta/models/other:generateContent"])
def test_an_endpoint_may_have_a_path_before_the_models(daemon, make_upstream, endpoint):
    upstream = make_upstream(m.answer_with(200, json.dumps(reply({"text": "Hi"}))))
    use_case = daemon.name("uc")
    daemon.use_case(use_case)
    daemon.register(use_case, upstream.url + endpoint, protocol="gemini", upstream_model="g")
    assert ask(daemon, use_case).status == 200
    assert upstream.last().path == endpoint.split("/models/")[0] + "/models/g:generateContent"


def test_the_key_goes_in_googles_header(tmp_path):
    with m.Upstream(m.answer_with(200, json.dumps(reply({"text": "Hi"})))) as up:
        d = m.Muster(tmp_path, env={"GEMINI_API_KEY": "goog-key"})
        try:
            d.use_case("gem")
            d.register("gem", up, provider="gemini")
            assert ask(d).status == 200
            assert up.last().headers["x-goog-api-key"] == "goog-key" and "authorization" not in up.last().headers
        finally:
            d.stop()


def test_a_call_keeps_its_signature_through_openais_protocol(daemon, back):
    call = {"functionCall": {"name": "f", "args": {"city": "Rome"}}, "thoughtSignature": "c2ln"}
    back.default = m.answer_with(200, json.dumps(reply(call)))
    message = ask(daemon).json()["choices"][0]["message"]
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sun"}
    back.default = streams(reply(call))
    with daemon.stream("/v1/chat/completions", {"model": "gem", "messages": CHAT["messages"] + [message, result],
                                                "stream": True}) as s:
        s.events()
    assert g.check_stream("openai", s.raw).calls == [("f", {"city": "Rome"})] and b"c2ln" in s.raw
    assert back.last().json()["contents"][1:] == [
        {"role": "model", "parts": [call]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "sun"}}}]}]


def test_a_call_keeps_its_signature_through_anthropics_protocol(daemon, back):
    call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}
    back.default = m.answer_with(200, json.dumps(reply({"text": "ok"}, call)))
    body = {"model": "gem", "max_tokens": 9, "messages": [{"role": "user", "content": "go"}]}
    answer = daemon.post("/v1/messages", body).json()
    g.ANSWERS["anthropic"](answer)
    assert [b["type"] for b in answer["content"]] == ["text", "thinking", "tool_use"]
    body["messages"] += [{"role": "assistant", "content": answer["content"]},
                         {"role": "user", "content": [{"type": "tool_result", "content": "7",
                                                       "tool_use_id": answer["content"][2]["id"]}]}]
    back.default = streams(reply({"text": "ok"}, call))
    with daemon.stream("/v1/messages", dict(body, stream=True)) as s:
        s.events()
    assert g.check_stream("anthropic", s.raw).signatures == ["c2ln"]
    assert back.last().json()["contents"][1]["parts"] == [{"text": "ok"}, call]


BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
           "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}}


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_blocked_is_a_refusal_and_no_failure(daemon, back, stream):
    back.default = streams(BLOCKED) if stream else m.answer_with(200, json.dumps(BLOCKED))
    n = len(back.requests)
    path = "/v1/chat/completions"
    if stream:
        with daemon.stream(path, dict(CHAT, model="gem", stream=True)) as s:
            s.events()
        got = g.check_stream("openai", s.raw)
    else:
        got = g.check_answer("openai", ask(daemon).json())
    assert got.finish == "content_filter" and "PROHIBITED_CONTENT" in got.refusal and got.text == ""
    assert len(back.requests) == n + 1


def test_a_429_is_waited_for_as_long_as_its_body_says(daemon, make_upstream):
    error = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED",
                       "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]}}
    upstream = make_upstream(m.answer_with(429, json.dumps(error)))
    use_case = daemon.name("uc")
    daemon.use_case(use_case, fallback_content="")
    daemon.register(use_case, upstream, protocol="gemini")
    answer = ask(daemon, use_case)
    assert answer.status == 429 and answer.headers["retry-after"] == "35" and len(upstream.requests) == 1


def test_a_key_that_is_refused_goes_to_the_next_model(daemon, make_upstream):
    error = {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT",
                       "details": [{"reason": "API_KEY_INVALID"}]}}
    first, second = make_upstream(m.answer_with(400, json.dumps(error))), make_upstream(m.ok("from the second"))
    use_case = daemon.name("uc")
    daemon.use_case(use_case)
    other = daemon.register(use_case, second, promote=False)
    daemon.register(use_case, first, protocol="gemini")
    daemon.use_case(use_case, fallback=[other])
    assert ask(daemon, use_case).json()["choices"][0]["message"]["content"] == "from the second"


def test_a_request_that_is_refused_says_why(daemon, back):
    back.default = m.answer_with(400, json.dumps({"error": {"code": 400, "message": "odd schema",
                                                            "status": "INVALID_ARGUMENT"}}))
    answer = ask(daemon)
    assert answer.status == 400 and "odd schema" in answer.json()["error"]["message"]


def test_a_stream_that_breaks_off_is_not_ended_as_if_whole(daemon, back):
    back.default = streams(reply({"text": "Hel"}, finish=None))
    with daemon.stream("/v1/chat/completions", dict(CHAT, model="gem", stream=True)) as s:
        s.events()
    got = g.check_stream("openai", s.raw)
    assert got.text == "Hel" and got.error and b"[DONE]" not in s.raw


@pytest.mark.parametrize("stream", [False, True])
def test_guardrails_mask_what_it_says_and_what_it_calls(daemon, make_upstream, stream):
    answer = reply({"text": "mail joe@example.com now"}, {"functionCall": {"name": "f", "args": {"to": "ann@example.org"}}})
    upstream = make_upstream(streams(answer) if stream else m.answer_with(200, json.dumps(answer)))
    use_case = daemon.name("uc")
    daemon.policy("hide", {"id": "hide", "category": "test", "kind": "literal", "action": "mask", "severity": "low",
                           "side": "output", "values": ["joe@example.com", "ann@example.org"]})
    daemon.use_case(use_case, policy="hide")
    daemon.register(use_case, upstream, protocol="gemini")
    if stream:
        with daemon.stream("/v1/chat/completions", dict(CHAT, model=use_case, stream=True)) as s:
            s.events()
        got, raw = g.check_stream("openai", s.raw), s.raw
    else:
        a = ask(daemon, use_case)
        got, raw = g.check_answer("openai", a.json()), a.body
    assert b"joe@" not in raw and b"ann@" not in raw and got.text.startswith("mail ") and got.calls[0][0] == "f"


# --- callers ---

GO = {"contents": [{"role": "user", "parts": [{"text": "go"}]}]}


def path_of(model, call="generateContent"):
    return "/v1beta/models/%s:%s" % (model, call)


STREAM = "streamGenerateContent?alt=sse"
TALK = {
    "system_instruction": {"parts": {"text": "be dry"}},
    "contents": [
        {"parts": [{"text": "look"}, {"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"city": "Rome"}}, "thoughtSignature": "c2ln"},
                                    {"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "sun"}}},
                                   {"functionResponse": {"name": "f", "response": {"t": 7}}}]}],
    "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": {
        "type": "OBJECT", "properties": {"type": {"type": "STRING"}, "n": {"type": "ARRAY", "items": {"type": "INTEGER"}}}}}]},
        {"googleSearch": {}}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {"maxOutputTokens": 9, "topP": 0.5, "topK": 3, "stopSequences": ["END"], "temperature": 1,
                         "responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"},
                         "thinkingConfig": {"thinkingLevel": "LOW"}, "mediaResolution": "HIGH"},
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]}


@pytest.fixture(scope="module")
def front(daemon):
    """A use case with an OpenAI upstream, for callers of Gemini's protocol."""
    up = m.Upstream()
    daemon.use_case("gemfront", policy="none", fallback_content="")
    daemon.register("gemfront", up)
    yield up
    up.close()
    assert not up.errors


def test_a_conversation_with_tools_goes_to_openai(daemon, front):
    front.default = m.ok("Hi")
    answer = daemon.post(path_of("gemfront"), TALK)
    assert answer.status == 200 and g.check_answer("gemini", answer.json()).text == "Hi"
    sent = front.last().json()
    assert sent["messages"][:2] == [
        {"role": "system", "content": "be dry"},
        {"role": "user", "content": [{"type": "text", "text": "look"},
                                     {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    calls, results = sent["messages"][2]["tool_calls"], sent["messages"][3:]
    assert [c["function"] for c in calls] == [{"name": "f", "arguments": '{"city": "Rome"}'}, {"name": "f", "arguments": "{}"}]
    assert [(r["tool_call_id"], r["content"]) for r in results] == [(calls[0]["id"], "sun"), (calls[1]["id"], '{"t": 7}')]
    assert calls[0]["id"] != calls[1]["id"]
    assert sent["tools"][0]["function"]["parameters"] == {
        "type": "object", "properties": {"type": {"type": "string"}, "n": {"type": "array", "items": {"type": "integer"}}}}
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert sent["stop"] == ["END"] and sent["top_p"] == 0.5 and sent["reasoning_effort"] == "low"
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}
    dropped = set(answer.headers["x-muster-dropped-params"].split(", "))
    assert {"tools", "topK", "mediaResolution", "safetySettings"} <= dropped


def test_a_stream_with_calls_comes_as_whole_parts(daemon, front):
    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("Hel", role="assistant"))
        c.event(m.chunk("lo"))
        for i in range(2):
            c.event(m.chunk(tool_calls=[{"index": i, "id": "c%d" % i, "type": "function",
                                         "function": {"name": "f", "arguments": ""}}]))
            for piece in ('{"ci', 'ty":"R', 'ome"}'):
                c.event(m.chunk(tool_calls=[{"index": i, "function": {"arguments": piece}}]))
        c.event(m.chunk(finish="tool_calls"))
        c.event(m.usage_chunk())
        c.event("[DONE]")
        c.end_stream()

    front.default = run
    with daemon.stream(path_of("gemfront", STREAM), GO) as s:
        s.events()
    got = g.check_stream("gemini", s.raw)
    assert got.text == "Hello" and got.calls == [("f", {"city": "Rome"})] * 2
    assert got.usage == {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    assert front.last().json()["stream"] is True and front.last().json()["stream_options"] == {"include_usage": True}


def test_the_same_protocol_passes_to_the_byte_but_for_defaults(daemon, back, make_upstream):
    said = json.dumps(reply({"text": "Hi"}), indent=1)
    back.default = m.answer_with(200, said)
    body = b'{ "contents":[{"parts":[{"text":"go"}]}],  "x":1.50, "safetySettings" : [] }'
    answer = daemon.post(path_of("gem"), body)
    assert answer.body.decode() == said and back.last().body == body
    assert back.last().path.endswith(":generateContent")
    use_case = daemon.name("uc")
    daemon.use_case(use_case, policy="none")
    daemon.register(use_case, back, protocol="gemini", parameters={"max_tokens": 5, "top_k": 2, "safetySettings": [1]})
    daemon.post(path_of(use_case), {"contents": GO["contents"], "generation_config": {"top_k": 9, "topK": 9}})
    assert back.last().json() == {"contents": GO["contents"], "safetySettings": [1],
                                  "generation_config": {"top_k": 9, "topK": 9, "maxOutputTokens": 5}}
    daemon.post(path_of(use_case), GO)
    assert back.last().json()["generationConfig"] == {"maxOutputTokens": 5, "topK": 2}


@pytest.mark.parametrize("path, body, status, word", [
    (path_of("gemfront"), {}, 400, "contents is missing"),
    (path_of("gemfront"), b"{", 400, "not valid JSON"),
    (path_of("gemfront"), {"contents": []}, 400, "at least one"),
    (path_of("gemfront"), {"contents": [{"role": "judge", "parts": []}]}, 400, "user or model"),
    (path_of("gemfront"), {"contents": [{"parts": [{"text": 7}]}]}, 400, "no string"),
    (path_of("gemfront"), dict(GO, generationConfig={"temperature": 9}), 400, "temperature"),
    (path_of("gemfront"), {"contents": [{"parts": [{"functionCall": {}}]}]}, 400, "must have a name"),
    (path_of("gemfron"), GO, 404, "gemfront"),
    (path_of("gem%zz"), GO, 400, "in the path"),
    (path_of("gemfront", "streamGenerateContent?alt=proto"), GO, 400, "alt=sse"),
    (path_of("gemfront", "embedAll"), GO, 404, "no such call"),
])
def test_a_refusal_has_geminis_shape(daemon, front, path, body, status, word):
    answer = daemon.post(path, body)
    assert answer.status == status, answer
    g.ERRORS["gemini"](answer.json())
    assert answer.json()["error"]["code"] == status and word in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("action", ["mask", "block"])
def test_guardrails_judge_what_callers_get(daemon, make_upstream, action, stream):
    """Through the same protocol, and through another."""
    rules, use_cases = daemon.name("rules").replace("_", "-"), (daemon.name("same"), daemon.name("other"))
    daemon.policy(rules, {"id": "hide", "category": "test", "kind": "literal", "action": action, "severity": "high",
                          "side": "output", "values": ["secret"]})
    call = {"functionCall": {"name": "f", "args": {"to": "secret"}}}
    said = reply({"text": "the secret is out"}, call)
    ups = (make_upstream(streams(said) if stream else m.answer_with(200, json.dumps(said))),
           make_upstream(m.streaming("the ", "sec", "ret is out") if stream else m.ok("the secret is out")))
    for use_case, up, protocol in zip(use_cases, ups, ("gemini", "openai")):
        daemon.use_case(use_case, policy=rules)
        daemon.register(use_case, up, protocol=protocol)
        answer = daemon.post(path_of(use_case, STREAM if stream else "generateContent"), GO)
        assert answer.status == 200 and b"secret" not in answer.body
        got = g.stream_said("gemini", answer.body) if stream else g.gemini_said([answer.json()])
        assert got.finish == ("content_filter" if action == "block" else "tool_calls" if protocol == "gemini" else "stop")
        if action == "mask":
            assert got.text.startswith("the ") and got.text.endswith(" is out")


def test_a_prompt_is_judged_in_every_part(daemon, make_upstream):
    rules, use_case, up = daemon.name("rules").replace("_", "-"), daemon.name("uc"), make_upstream()
    daemon.policy(rules, {"id": "no", "category": "test", "kind": "literal", "action": "block", "severity": "high",
                          "side": "input", "values": ["poison"]})
    daemon.use_case(use_case, policy=rules)
    daemon.register(use_case, up, protocol="gemini")
    for part in ({"text": "poison"}, {"functionResponse": {"name": "f", "response": {"name": "poison"}}},
                 {"function_call": {"name": "f", "args": {"id": ["poison"]}}}, {"of_the_future": {"words": "poison"}},
                 {"executableCode": {"language": "PYTHON", "code": "poison"}}):
        for contents in ([{"parts": [part]}], {"parts": part}):
            answer = daemon.post(path_of(use_case), {"contents": contents})
            assert answer.status == 400 and answer.json()["error"]["status"] == "INVALID_ARGUMENT", part
    assert not up.requests


def test_a_masked_prompt_is_asked_as_its_path_says(daemon, make_upstream):
    rules, use_case, up = daemon.name("rules").replace("_", "-"), daemon.name("uc"), make_upstream(m.streaming("Hi"))
    daemon.policy(rules, {"id": "no", "category": "test", "kind": "literal", "action": "mask", "severity": "high",
                          "side": "input", "values": ["poison"], "mask": "[X]"})
    daemon.use_case(use_case, policy=rules)
    daemon.register(use_case, up)
    with daemon.stream(path_of(use_case, STREAM), {"contents": [{"parts": [{"text": "eat poison"}]}]}) as s:
        s.events()
    assert g.check_stream("gemini", s.raw).text == "Hi"
    assert up.last().json()["stream"] is True and up.last().json()["messages"][0]["content"] == "eat [X]"


def test_a_broken_stream_ends_with_an_error(daemon, front):
    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("Hel", role="assistant"))
        c.reset()

    front.default = run
    with daemon.stream(path_of("gemfront", STREAM), GO) as s:
        s.events()
    got = g.check_stream("gemini", s.raw)
    assert got.text == "Hel" and got.error["status"] == "UNAVAILABLE"


def test_a_key_may_come_as_googles_clients_send_it(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("app:the-long-key-of-app\n")
    keys.chmod(0o600)
    d = m.Muster(tmp_path / "d", config="auth:\n  key_file: %s\nlog:\n  level: debug\n" % keys)
    try:
        path = path_of("nothing")
        for query, headers, status in (("", {}, 401), ("?key=wrong", {}, 401), ("?key=the-long-key-of-app", {}, 404),
                                       ("?alt=sse&key=the-long-key-of-app", {}, 404),
                                       ("", {"x-goog-api-key": "the-long-key-of-app"}, 404)):
            answer = d.post(path + query, GO, headers)
            assert answer.status == status, (query, answer)
            g.ERRORS["gemini"](answer.json())
        assert d.request("GET", "/v1/models?key=the-long-key-of-app").status == 401
        assert "the-long-key-of-app" not in d.errors()
    finally:
        d.stop()


def test_tokens_are_counted_by_a_model_of_the_protocol_or_estimated(daemon, back, front):
    back.default = m.answer_with(200, json.dumps({"totalTokens": 41}))
    answer = daemon.post(path_of("gem", "countTokens"), GO)
    assert answer.json() == {"totalTokens": 41} and "x-muster-estimated" not in answer.headers
    assert back.last().path == "/v1beta/models/gem%2F2.5%20pro:countTokens" and back.last().json() == GO
    n = len(front.requests)
    answer = daemon.post(path_of("gemfront", "countTokens"), {"contents": [{"parts": [{"text": "x" * 40}]}]})
    assert answer.json() == {"totalTokens": 10} and answer.headers["x-muster-estimated"] == "true"
    assert len(front.requests) == n
