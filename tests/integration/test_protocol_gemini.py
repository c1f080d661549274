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
