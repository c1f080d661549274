# SPDX-License-Identifier: Apache-2.0
"""Ollama's protocol against the binary: what its upstreams are asked, what callers get, and what its clients ask beside."""
import json

import pytest

import grammar as g
import keyring
import muster as m

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
GO = {"messages": [{"role": "user", "content": "go"}]}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
END = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}


def said(done=True, **message):
    return dict({"model": "up", "created_at": "2026-11-23T04:50:20.123456789Z",
                 "message": dict({"role": "assistant", "content": ""}, **message), "done": False}, **(END if done else {}))


def response(text, done=True, **more):
    return dict({"model": "up", "response": text, "done": False}, **(END if done else {}), **more)


def streams(*values):
    def run(c, r):
        c.begin_stream("application/x-ndjson")
        for v in values:
            c.line(v)
        c.end_stream()
    return run


CALL = {"function": {"name": "f", "arguments": {"city": "Rome"}}}


@pytest.fixture(scope="module")
def back(daemon):
    """A use case with an Ollama upstream; the test says what it answers."""
    up = m.Upstream()
    daemon.use_case("oback", policy="none", fallback_content="")
    daemon.register("oback", up, provider="ollama", protocol=None, upstream_model="llama")
    yield up
    up.close()
    assert not up.errors


@pytest.fixture(scope="module")
def front(daemon):
    """A use case with an OpenAI upstream, for callers of Ollama's protocol."""
    up = m.Upstream()
    daemon.use_case("ofront", policy="none", fallback_content="")
    daemon.register("ofront", up)
    yield up
    up.close()
    assert not up.errors


def lines(daemon, path, body):
    with daemon.stream(path, body) as s:
        s.events()
    assert s.status == 200 and s.headers["content-type"] == "application/x-ndjson"
    return s


# --- upstreams ---


def test_a_conversation_with_tools_goes_to_ollama(daemon, back):
    back.default = m.answer_with(200, said(content="It is sunny.", thinking="hm"))
    answer = daemon.post("/v1/chat/completions", {
        "model": "oback", "temperature": 0.5, "top_k": 3, "presence_penalty": 1, "tools": [TOOL], "reasoning_effort": "low",
        "response_format": {"type": "json_object"}, "messages": [
            {"role": "user", "content": [{"type": "text", "text": "look"}, {
                "type": "image_url", "image_url": {"url": "data:image/png;base64," + PIXEL}}]},
            {"role": "assistant", "content": None, "reasoning_content": "I look", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Rome"}'}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "sun"}]})
    assert answer.status == 200 and "x-muster-dropped-params" not in answer.headers
    got = g.check_answer("openai", answer.json())
    assert (got.text, got.reasoning) == ("It is sunny.", "hm") and got.usage["total_tokens"] == 10
    assert back.last().path == "/api/chat" and back.last().json() == {
        "model": "llama", "stream": False, "format": "json", "think": True, "tools": [TOOL],
        "options": {"temperature": 0.5, "top_k": 3, "presence_penalty": 1}, "messages": [
            {"role": "user", "content": "look", "images": [PIXEL]},
            {"role": "assistant", "content": "", "thinking": "I look", "tool_calls": [dict(CALL, id="c1")]},
            {"role": "tool", "content": "sun", "tool_name": "f", "tool_call_id": "c1"}]}


def test_streamed_calls_come_from_ollama(daemon, back):
    back.default = streams(said(False, content="", thinking="hm"), said(False, content="Two"),
                           said(False, tool_calls=[CALL, CALL]), said())
    with daemon.chat_stream("oback") as s:
        s.events()
    got = g.check_stream("openai", s.raw)
    assert (got.text, got.reasoning, got.finish) == ("Two", "hm", "tool_calls") and got.calls == [("f", {"city": "Rome"})] * 2


# --- callers ---


def test_a_chat_goes_to_openai(daemon, front):
    front.default = m.ok("Hi")
    answer = daemon.post("/api/chat", {
        "model": "ofront:latest", "stream": False, "format": {"type": "object"}, "keep_alive": "5m", "tools": [TOOL],
        "options": {"num_predict": 9, "seed": 4, "num_ctx": 8, "frequency_penalty": 0.5}, "messages": [
            {"role": "system", "content": "be dry"}, {"role": "user", "content": "look", "images": [PIXEL]},
            {"role": "assistant", "content": "", "thinking": "t", "tool_calls": [CALL]},
            {"role": "tool", "content": "sun", "tool_name": "f"}]})
    got = g.check_answer("ollama", answer.json())
    assert (got.text, got.finish) == ("Hi", "stop") and got.usage == {"prompt_eval_count": 7, "eval_count": 3}
    assert answer.json()["model"] == answer.headers["x-muster-model"]
    sent = front.last().json()
    assert sent["messages"][1]["content"][1]["image_url"]["url"] == "data:image/png;base64," + PIXEL
    assert sent["messages"][2]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"city": "Rome"}'}
    assert sent["messages"][3] == {"role": "tool", "tool_call_id": sent["messages"][2]["tool_calls"][0]["id"], "content": "sun"}
    assert sent["max_tokens"] == 9 and sent["seed"] == 4 and sent["frequency_penalty"] == 0.5 and sent["tools"] == [TOOL]
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"} and not sent.get("stream")
    assert set(answer.headers["x-muster-dropped-params"].split(", ")) == {"keep_alive", "num_ctx", "messages[].thinking"}


def test_a_stream_with_calls_comes_as_lines(daemon, front):
    def run(c, r):
        c.begin_stream()
        for text in ("Hel", "lo\n"):
            c.event(m.chunk(text, role="assistant"))
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
    s = lines(daemon, "/api/chat", dict(GO, model="ofront"))  # nobody said whether to stream
    got = g.check_stream("ollama", s.raw)
    assert got.text == "Hello\n" and got.calls == [("f", {"city": "Rome"})] * 2 and got.finish == "tool_calls"
    assert got.usage == {"prompt_eval_count": 7, "eval_count": 3}
    assert front.last().json()["stream"] is True and front.last().json()["stream_options"] == {"include_usage": True}
    log = daemon.log_of(s)
    assert log["stream"] is True and log["prompt"] == "go" and log["output"] == "Hello\n"


def test_a_completion_is_a_chat_of_one_message(daemon, front):
    front.default = m.streaming("Once ", "upon")
    body = {"model": "ofront", "prompt": "go", "system": "be dry", "images": [PIXEL], "suffix": "end", "context": [1, 2],
            "options": {"stop": ["END"]}}
    s = lines(daemon, "/api/generate", body)
    assert g.check_stream("ollama_generate", s.raw).text == "Once upon"
    assert s.headers["x-muster-dropped-params"] == "suffix, context"
    sent = front.last().json()
    assert [x["role"] for x in sent["messages"]] == ["system", "user"] and sent["stop"] == ["END"]
    assert sent["messages"][1]["content"][0] == {"type": "text", "text": "go"}
    log = daemon.log_of(s)
    assert log["prompt"] == "go" and log["context"] == [{"role": "system", "content": "be dry"}]
    front.default = m.ok("Hi")
    answer = daemon.post("/api/generate", {"model": "ofront", "prompt": "go", "stream": False})
    assert g.check_answer("ollama_generate", answer.json()).text == "Hi"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_the_same_protocol_passes_to_the_byte(daemon, back, path, stream):
    asks = b'"messages":[{"role":"user","content":"go"}]' if path == "/api/chat" else b'"prompt":"go","raw":true,"context":[1]'
    flag = b"" if stream else b', "stream" : false'
    body = b'{ "model":"oback",  ' + asks + b', "x":1.50%s,"options":{ "num_ctx":8 } }' % flag
    words = (said(content="Hi"), said(False, content="H"), said(content="i")) if path == "/api/chat" else \
        (response("Hi", context=[1, 2]), response("H", False), response("i", context=[1, 2]))
    whole = json.dumps(words[0], indent=1)
    back.default = streams(*words[1:]) if stream else m.answer_with(200, whole)
    answer = daemon.post(path, body)
    assert answer.status == 200 and "x-muster-dropped-params" not in answer.headers
    assert back.last().body == body.replace(b'"oback"', b'"llama"') and back.last().path == path
    if stream:
        assert answer.body == "".join(json.dumps(w) + "\n" for w in words[1:]).encode()
    else:
        assert answer.body.decode() == whole
    assert daemon.log_of(answer)["output"] == "Hi"


def test_defaults_of_the_model_stand_where_they_belong(daemon, make_upstream):
    up, use_case = make_upstream(m.answer_with(200, said(content="Hi"))), daemon.name("uc")
    daemon.use_case(use_case, policy="none")
    daemon.register(use_case, up.url + "/sub/api/chat", protocol="ollama",
                    parameters={"max_tokens": 5, "keep_alive": "1m", "options": {"num_ctx": 8, "top_k": 2}})
    daemon.post("/api/chat", dict(GO, model=use_case, stream=False, options={"top_k": 9}))
    sent = up.last().json()
    assert sent["options"] == {"top_k": 9, "num_predict": 5, "num_ctx": 8} and sent["keep_alive"] == "1m"
    daemon.post("/api/generate", {"model": use_case, "prompt": "go", "stream": False})
    assert up.last().path == "/sub/api/generate"
    assert up.last().json()["options"] == {"num_predict": 5, "num_ctx": 8, "top_k": 2}


def test_the_next_model_may_speak_another_protocol(daemon, make_upstream):
    first, second = make_upstream(m.answer_with(500, {"error": "no"})), make_upstream(m.streaming("from ", "the second"))
    use_case = daemon.name("uc")
    daemon.use_case(use_case, policy="none")
    other = daemon.register(use_case, second, promote=False)
    daemon.register(use_case, first, protocol="ollama")
    daemon.use_case(use_case, fallback=[other])
    s = lines(daemon, "/api/generate", {"model": use_case, "prompt": "go", "raw": True})
    assert g.check_stream("ollama_generate", s.raw).text == "from the second"
    assert first.last().path == "/api/generate" and first.last().json()["raw"] is True
    assert s.headers["x-muster-fallback"] == "model" and s.headers["x-muster-dropped-params"] == "raw"


# --- errors ---

BAD = [
    ("/api/chat", {"messages": []}, 400, "model is missing"),
    ("/api/chat", b"{", 400, "not valid JSON"),
    ("/api/chat", {"model": "ofront", "messages": [{"role": "judge", "content": ""}]}, 400, "messages[0].role"),
    ("/api/chat", {"model": "ofront", "messages": GO["messages"], "options": {"temperature": -1}}, 400, "temperature"),
    ("/api/chat", dict(GO, model="ofron"), 404, "Did you mean 'ofront'"),
    ("/api/generate", {"model": "ofront", "prompt": 7}, 400, "prompt must be a string"),
    ("/api/generate", {"model": "nobody-knows-it"}, 404, "nobody-knows-it"),
    ("/api/show", {"model": "nobody-knows-it"}, 404, "not found"),
    ("/api/show", [], 400, "JSON object"),
    ("/api/pull", {"model": "llama3"}, 404, "muster model register"),
    ("/api/v2/thing", {}, 404, "no such call"),
]


@pytest.mark.parametrize("path,body,status,word", BAD)
def test_a_refusal_is_a_sentence(daemon, front, path, body, status, word):
    answer = daemon.post(path, body)
    assert answer.status == status, answer
    g.ERRORS["ollama"](answer.json())
    assert word in answer.json()["error"]


def test_other_methods_are_refused_in_its_shape(daemon):
    for method, path, status in (("GET", "/api/chat", 405), ("POST", "/api/tags", 405), ("DELETE", "/api/delete", 404)):
        answer = daemon.request(method, path)
        assert answer.status == status, (method, path, answer)
        g.ERRORS["ollama"](answer.json())


def test_musters_own_paths_are_not_ollamas(daemon):
    answer = daemon.post("/api/v1/nothing", {})
    assert answer.status == 404 and isinstance(answer.json()["error"], dict)


@pytest.mark.parametrize("status,code", [(400, 400), (404, 502), (429, 429), (500, 502)])
def test_a_failure_of_the_model_is_a_sentence(daemon, make_upstream, status, code):
    up, use_case = make_upstream(m.answer_with(status, {"error": "out of luck"})), daemon.name("uc")
    daemon.use_case(use_case, policy="none", fallback_content="")
    daemon.register(use_case, up, protocol="ollama", circuit_breaker=False)
    for path, body in (("/api/chat", GO), ("/api/generate", {"prompt": "go"}), ("/v1/chat/completions", GO)):
        answer = daemon.post(path, dict(body, model=use_case))
        assert answer.status == code, (path, answer)
        error = answer.json()["error"]
        assert ("out of luck" in str(error)) == (status == 400) and isinstance(error, str) == path.startswith("/api/")


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_a_broken_stream_ends_with_an_error(daemon, make_upstream, protocol):
    def run(c, r):
        c.begin_stream("application/x-ndjson" if protocol == "ollama" else "text/event-stream")
        if protocol == "ollama":
            c.line(said(False, content="Hel"))
        else:
            c.event(m.chunk("Hel", role="assistant"))
        c.wait_closed(0.3)
        c.reset()

    up, use_case = make_upstream(run), daemon.name("uc")
    daemon.use_case(use_case, policy="none", fallback_content="")
    daemon.register(use_case, up, protocol=protocol)
    s = lines(daemon, "/api/chat", dict(GO, model=use_case))
    got = g.stream_said("ollama", s.raw)
    assert got.text == "Hel" and "broke off" in got.error and got.finish is None and s.raw.endswith(b"}\n")
    assert daemon.log_of(s)["status"] == "truncated"


def test_a_last_line_without_its_end_counts(daemon, back):
    def run(c, r):
        c.begin_stream("application/x-ndjson")
        c.line(said(False, content="Hi"))
        c.chunk(json.dumps(said()))
        c.end_stream()

    back.default = run
    s = lines(daemon, "/api/chat", dict(GO, model="oback"))
    assert g.stream_said("ollama", s.raw).finish == "stop" and s.raw.endswith(b"}\n")
    with daemon.chat_stream("oback") as s:
        s.events()
    assert g.check_stream("openai", s.raw).text == "Hi"


def test_more_calls_than_can_be_told_apart_break_nothing(daemon, back):
    many = [{"function": {"name": "f%d" % i, "arguments": {"a": "x%d" % i}}} for i in range(70)]
    back.default = streams(said(False, content="Hi", thinking="hm", tool_calls=many), said())
    answer = daemon.post("/api/chat", dict(GO, model="oback"))
    assert answer.status == 200 and answer.body.startswith(b"{")
    back.default = streams(said(False, content="Hi"), said())
    assert daemon.post("/api/chat", dict(GO, model="oback")).status == 200


# --- guardrails ---


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("action", ["mask", "block"])
def test_guardrails_judge_what_callers_get(daemon, make_upstream, action, stream):
    """Through the same protocol, and through another."""
    rules, use_cases = daemon.name("rules").replace("_", "-"), (daemon.name("same"), daemon.name("other"))
    daemon.policy(rules, {"id": "hide", "category": "test", "kind": "literal", "action": action, "severity": "high",
                          "side": "output", "values": ["secret"]})
    call = {"function": {"name": "f", "arguments": {"to": "secret"}}}
    same = (said(False, content="the sec"), said(False, content="ret is out", tool_calls=[call], later={"x": "secret"}), said())
    ups = (make_upstream(streams(*same) if stream else m.answer_with(200, said(content="the secret is out", tool_calls=[call]))),
           make_upstream(m.streaming("the ", "sec", "ret is out") if stream else m.ok("the secret is out")))
    for use_case, up, protocol in zip(use_cases, ups, ("ollama", "openai")):
        daemon.use_case(use_case, policy=rules)
        daemon.register(use_case, up, protocol=protocol)
        answer = daemon.post("/api/chat", dict(GO, model=use_case, stream=stream))
        assert answer.status == 200 and b"secret" not in answer.body
        got = g.stream_said("ollama", answer.body)
        assert got.finish == ("content_filter" if action == "block" else "tool_calls" if protocol == "ollama" else "stop")
        if action == "mask":
            assert got.text.startswith("the ") and got.text.endswith(" is out")
        answer = daemon.post("/v1/chat/completions", dict(GO, model=use_case, stream=stream))
        assert answer.status == 200 and b"secret" not in answer.body


def test_a_prompt_is_judged_in_every_part(daemon, make_upstream):
    rules, use_case, up = daemon.name("rules").replace("_", "-"), daemon.name("uc"), make_upstream()
    daemon.policy(rules, {"id": "no", "category": "test", "kind": "literal", "action": "block", "severity": "high",
                          "side": "input", "values": ["poison"]})
    daemon.use_case(use_case, policy=rules)
    daemon.register(use_case, up, protocol="ollama")
    messages = [{"role": "user", "content": "poison"}, {"role": "assistant", "content": "", "thinking": "poison"},
                {"role": "tool", "content": "poison", "tool_name": "f"},
                {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"deep": ["poison"]}}}]}]
    asked = [("/api/chat", {"messages": [x]}) for x in messages]
    asked += [("/api/generate", dict({"prompt": "go"}, **{k: "poison"})) for k in ("prompt", "suffix", "template")]
    for path, body in asked:
        answer = daemon.post(path, dict(body, model=use_case))
        assert answer.status == 400 and "guardrail" in answer.json()["error"], body
    assert not up.requests


def test_tokens_do_not_get_past_who_judges_prompts(daemon, make_upstream):
    rules, use_case, up = daemon.name("rules").replace("_", "-"), daemon.name("uc"), make_upstream()
    daemon.policy(rules, {"id": "no", "category": "test", "kind": "literal", "action": "mask", "severity": "high",
                          "side": "input", "values": ["poison"], "mask": "[X]"})
    daemon.use_case(use_case, policy=rules)
    daemon.register(use_case, up, protocol="ollama")
    up.default = streams(said(content="Hi"))
    s = lines(daemon, "/api/generate", {"model": use_case, "prompt": "eat poison", "context": [1, 2, 3]})
    assert g.check_stream("ollama_generate", s.raw).text == "Hi" and s.headers["x-muster-dropped-params"] == "context"
    assert up.last().path == "/api/chat" and up.last().json()["messages"] == [{"role": "user", "content": "eat [X]"}]
    up.default = streams(response("Hi"))
    s = lines(daemon, "/api/generate", {"model": use_case, "prompt": "eat poison"})
    assert up.last().path == "/api/generate" and up.last().json() == {"model": up.last().json()["model"], "prompt": "eat [X]"}


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_that_repeat_a_masked_answer_do_not_leave(daemon, make_upstream, stream):
    rules, use_case = daemon.name("rules").replace("_", "-"), daemon.name("uc")
    daemon.policy(rules, {"id": "hide", "category": "test", "kind": "literal", "action": "mask", "severity": "high",
                          "side": "output", "values": ["secret"], "mask": "[X]"})
    daemon.use_case(use_case, policy=rules)
    tokens = {"context": [31337, 2]}
    up = make_upstream(streams(response("the secret", False), response(" is out", **tokens)) if stream else
                       m.answer_with(200, response("the secret is out", **tokens)))
    daemon.register(use_case, up, protocol="ollama")
    answer = daemon.post("/api/generate", {"model": use_case, "prompt": "go", "stream": stream})
    assert g.stream_said("ollama_generate", answer.body).text == "the [X] is out" and b"31337" not in answer.body
    last = json.loads(answer.body.strip().split(b"\n")[-1])
    assert last["done"] is True and last["context"] == ([] if stream else None)


# --- what clients ask beside ---


def test_what_there_is_is_listed(daemon, front, back):
    tags = {x["name"]: x for x in daemon.get("/api/tags").json()["models"]}
    names = [x["id"] for x in daemon.get("/v1/models").json()["data"]]
    assert set(tags) == set(names) and tags["ofront"]["model"] == "ofront" and len(tags["ofront"]["digest"]) == 64
    assert tags["oback"]["details"]["family"] == "ollama" and tags["oback"]["digest"] != tags["ofront"]["digest"]
    running = {x["name"] for x in daemon.get("/api/ps").json()["models"]}
    assert {"ofront", "oback"} <= running and not any("@" in x for x in running)
    version = daemon.get("/api/version").json()
    assert [int(x) for x in version["version"].split(".")] >= [0, 6, 4] and version["muster"]


def test_what_one_can_do_is_shown(daemon, make_upstream):
    use_case = daemon.name("uc")
    daemon.use_case(use_case, policy="none")
    full = daemon.register(use_case, make_upstream(), parameters={"temperature": 0.5, "stop": ["a"]}, context_tokens=4096)
    for name in (use_case, use_case + ":latest", full):
        for member in ("model", "name"):
            shown = daemon.post("/api/show", {member: name}).json()
            assert shown["parameters"] == 'temperature 0.5\nstop ["a"]' and "tools" in shown["capabilities"]
            assert shown["model_info"] == {"general.architecture": "muster", "general.basename": full,
                                           "muster.context_length": 4096}


def test_a_model_says_what_it_can(daemon, front, make_upstream):
    use_case, embeds = daemon.name("uc"), daemon.name("uc")
    for name in (use_case, embeds):
        daemon.use_case(name, policy="none")
    daemon.register(use_case, make_upstream(), capabilities=["completion", "vision", 7])
    daemon.register(embeds, make_upstream().url + "/v1/embeddings", protocol=None)
    for name, can in ((use_case, ["completion", "vision"]), (embeds, ["embedding"]), ("ofront", ["completion", "tools", "embedding"])):
        assert daemon.post("/api/show", {"model": name}).json()["capabilities"] == can, name


def test_another_model_under_the_name_has_another_digest(daemon, make_upstream):
    use_case = daemon.name("uc")
    daemon.use_case(use_case, policy="none")

    def digest():
        return {x["name"]: x["digest"] for x in daemon.get("/api/tags").json()["models"]}[use_case]

    seen = [digest()]
    for _ in range(2):
        daemon.register(use_case, make_upstream())
        seen.append(m.eventually(lambda: digest() not in seen and digest(), "another digest"))
    assert len(set(seen)) == 3 and use_case in {x["name"] for x in daemon.get("/api/ps").json()["models"]}


@pytest.mark.parametrize("path,words", [("/api/chat", {"messages": []}), ("/api/chat", {}), ("/api/generate", {}),
                                        ("/api/generate", {"prompt": ""})])
def test_a_request_without_words_asks_whether_the_model_is_there(daemon, back, path, words):
    n = len(back.requests)
    for keep, reason in ((None, "load"), ("5m", "load"), (0, "unload"), ("0", "unload")):
        answer = daemon.post(path, dict(words, model="oback", keep_alive=keep))
        got = answer.json()
        assert answer.status == 200 and got["done"] is True and got["done_reason"] == reason and got["model"] == "oback"
        assert (got["message"]["content"] if path == "/api/chat" else got["response"]) == ""
    assert len(back.requests) == n


def test_a_use_case_without_a_model_is_not_there(daemon):
    use_case = daemon.name("uc")
    daemon.use_case(use_case, policy="none")
    answer = daemon.post("/api/generate", {"model": use_case})
    assert answer.status == 503 and "no current model" in answer.json()["error"], answer
    assert use_case in {x["name"] for x in daemon.get("/api/tags").json()["models"]}
    assert use_case not in {x["name"] for x in daemon.get("/api/ps").json()["models"]}
    assert daemon.post("/api/show", {"model": use_case}).status in (200, 404)


# --- keys, repetition ---


def test_keys_and_use_cases_hold_here_too(tmp_path):
    d = keyring.Keyed(tmp_path)
    up = m.Upstream(m.ok("Hi"))
    try:
        for name in ("mine", "theirs"):
            d.use_case(name, policy="none")
            d.register(name, up)
        key = d.make("client", "mine-only", use_cases=["mine"])
        for path, body in (("/api/chat", dict(GO, stream=False)), ("/api/generate", {"prompt": "x", "stream": False}),
                           ("/api/generate", {}), ("/api/show", {})):
            for headers, model, status in (({}, "mine", 401), ({"Authorization": "Bearer " + key}, "mine", 200),
                                           ({"Authorization": "Bearer " + key}, "theirs", 403)):
                answer = d.request("POST", path, dict(body, model=model), dict({"Authorization": None}, **headers))
                assert answer.status == status, (path, headers, answer)
                if status > 400:
                    g.ERRORS["ollama"](answer.json())
        for path in ("/api/tags", "/api/ps"):
            listed = d.as_(key, "GET", path).json()["models"]
            assert {x["name"].partition("@")[0] for x in listed} and not any("theirs" in json.dumps(x) for x in listed)
    finally:
        d.stop()
        up.close()


def test_the_same_key_of_a_request_is_one_call(daemon, front):
    front.default = m.streaming("On", "ce")
    n = len(front.requests)
    bodies = [daemon.post("/api/chat", dict(GO, model="ofront"), {"Idempotency-Key": "ollama-1"}).body for _ in range(2)]
    assert bodies[0] == bodies[1] and len(front.requests) == n + 1
    g.STREAMS["ollama"](bodies[0])
