# SPDX-License-Identifier: Apache-2.0
"""OpenAI chat completions: the same bytes in and out, but for the name of the model."""
import json
import re

import pytest

import muster as m

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")

ODD_REQUEST = (b'\r\n {\t"messages" :[ {"content":"h\\u00e9llo \\"x\\" \\u2028", "role":"user","name":"bob"} ],'
               b'  "temperature":0.70,"logit_bias":{"50256":-1e2},"vendor_ext":{"a":[1,2.0,3E+0],"b":null},'
               b' "model"\n:  "%s" , "max_tokens":50, "user":"\xc3\xa9\xf0\x9f\x98\x80"}\n  ')
ODD_ANSWER = (b'{ "id" : "x-1","object":"chat.completion", "created":1.7e9 ,"model":"whatever/else:7b",\n\t"choices":'
              b'[{"index":0,"message":{"role":"assistant","content":"caf\\u00e9 \xe2\x82\xac \\/ ok","vendor":[1.50]},'
              b'"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":1,"completion_tokens":2,'
              b'"total_tokens":3,"extra":{"cached":0.0}},"system_fingerprint":null, "zzz":[ ] }\r\n\r\n')


def test_request_reaches_the_upstream_byte_by_byte_but_for_the_model(daemon, upstream, case):
    answer = daemon.post("/v1/chat/completions", ODD_REQUEST % case.encode())
    assert answer.status == 200, answer
    r = upstream.last()
    asked = r.json()["model"]
    assert asked.startswith("up-model")
    assert r.body == ODD_REQUEST.replace(b'"%s"', json.dumps(asked).encode())
    assert (r.method, r.path) == ("POST", "/v1/chat/completions")
    assert r.headers["content-type"] == "application/json"
    assert int(r.headers["content-length"]) == len(r.body)
    assert r.headers["x-request-id"] == answer.headers["x-request-id"]


def test_answer_reaches_the_caller_byte_by_byte(daemon, upstream, case):
    upstream.default = m.answer_with(200, ODD_ANSWER)
    answer = daemon.chat(case)
    assert answer.status == 200
    assert answer.body == ODD_ANSWER
    log = daemon.log_of(answer)
    assert log["output"] == "café € / ok"
    assert log["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "estimated": False}


@pytest.mark.parametrize("framing", ["chunked", "until close", "drip"])
def test_answer_in_any_framing_arrives_whole(daemon, upstream, case, framing):
    def run(c, r):
        if framing == "until close":
            c.head(200, {"Content-Type": "application/json"})
            c.send(ODD_ANSWER)
            c.close()
        elif framing == "chunked":
            c.begin_stream("application/json")
            for i in range(0, len(ODD_ANSWER), 7):
                c.chunk(ODD_ANSWER[i:i + 7])
            c.end_stream()
        else:
            whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ODD_ANSWER)
            for b in whole + ODD_ANSWER:
                c.send(bytes([b]))

    upstream.default = run
    answer = daemon.chat(case)
    assert (answer.status, answer.body) == (200, ODD_ANSWER)


def test_stream_reaches_the_caller_byte_by_byte(daemon, upstream, case):
    parts = [b': a comment\n\n',
             b'data: {"id":"1","object":"chat.completion.chunk","created":1.0,"model":"m","choices":[{"index":0,"delta":'
             b'{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
             b'event: message\ndata:{ "choices" : [ {"delta":{"content":"caf\\u00e9","vendor":[1.50]}, "index":0} ],"x":1E2}'
             b'\r\n\r\n',
             b'id: 7\ndata: {"choices":[{"index":0,"delta":{"content":"\xe2\x82\xac"}}]}\n\n',
             b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
             b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}}\n\n',
             b'data: [DONE]\n\n']

    def run(c, r):
        c.begin_stream()
        whole = b"".join(parts)
        for i in range(0, len(whole), 11):
            c.chunk(whole[i:i + 11])
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(case, stream_options={"include_usage": True}) as s:
        assert s.status == 200
        assert s.headers["content-type"].startswith("text/event-stream")
        while s.block() is not None:
            pass
        assert s.raw == b"".join(parts)
    log = daemon.log_of(s)
    assert log["output"] == "café€"
    assert log["status"] == "ok" and log["stream"] is True and log["finish_reason"] == "stop"
    assert log["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "estimated": False}
    assert log["first_token_ms"] is not None and log["first_token_ms"] <= log["latency_ms"]


def test_usage_is_asked_for_in_streams_and_not_shown_to_callers_who_did_not(daemon, upstream, case):
    with daemon.chat_stream(case) as s:
        got = s.events()
    assert upstream.last().json()["stream_options"] == {"include_usage": True}
    assert m.chat_text(got) == "Hi there." and got[-1] == "[DONE]"
    assert not [e for e in got if isinstance(e, dict) and e.get("usage")]
    assert all(e["choices"] for e in got[:-1])
    assert daemon.log_of(s)["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "estimated": False}


def test_usage_that_the_caller_asked_for_is_shown(daemon, upstream, case):
    with daemon.chat_stream(case, stream_options={"include_usage": True}) as s:
        got = s.events()
    assert [e["usage"]["total_tokens"] for e in got[:-1] if e.get("usage")] == [10]


def test_usage_that_the_caller_refused_is_recorded_all_the_same(daemon, upstream, case):
    with daemon.chat_stream(case, stream_options={"include_usage": False}) as s:
        got = s.events()
    assert upstream.last().json()["stream_options"]["include_usage"] is True
    assert not [e for e in got[:-1] if e.get("usage")]
    assert daemon.log_of(s)["usage"]["completion_tokens"] == 3


def test_headers_say_what_served(daemon, upstream, case):
    answer = daemon.chat(case, headers={"x-request-id": "order-66"})
    h = answer.headers
    current = daemon.api("GET", "/api/v1/use-cases/%s/current" % case)
    assert h["x-request-id"] == "order-66"
    assert h["x-muster-model"] == "%s@%s" % (current["model_name"], current["version"])
    assert h["x-muster-model-id"] == current["model_id"]
    assert UUID.match(h["x-muster-log-id"])
    assert h["x-muster-attempts"] == "1" and h["x-muster-guardrail"] == "skipped"
    assert "x-muster-fallback" not in h and "x-muster-dropped-params" not in h
    log = daemon.log_of(answer)
    assert log["request_id"] == "order-66" and log["model_id"] == current["model_id"]
    assert log["model_name"] == h["x-muster-model"] and log["use_case"] == case
    assert log["status"] == "ok" and log["http_status"] == 200 and log["source"] == "gateway"
    assert json.loads(json.dumps(log["attempts"]))[0]["result"] == "ok"
    assert upstream.last().headers["x-request-id"] == "order-66"


@pytest.mark.parametrize("sent", ["", "x" * 129, "with space", "caf\u00e9"])
def test_a_request_id_that_is_none_is_replaced(daemon, case, sent):
    got = daemon.chat(case, headers={"x-request-id": sent}).headers["x-request-id"]
    assert UUID.match(got)


@pytest.mark.parametrize("path,method,body", [
    ("/v1/models", "GET", None), ("/v1/models/nothing", "GET", None), ("/v1/nothing", "GET", None),
    ("/api/v1/models", "GET", None), ("/api/v1/models/none", "GET", None), ("/health", "GET", None),
    ("/v1/chat/completions", "GET", None), ("/v1/chat/completions", "POST", b"{"), ("/api/v1/generate", "POST", b"{}"),
    ("/api/v1/use-cases/nothing/current", "GET", None), ("/api/v1/guardrails/check", "POST", b"{}"),
    ("/api/v1/logs", "POST", b"[]")])
def test_every_answer_has_a_request_id(daemon, path, method, body):
    assert daemon.request(method, path, body).headers.get("x-request-id")
    assert daemon.request(method, path, body, {"x-request-id": "mine"}).headers["x-request-id"] == "mine"


def test_models_lists_use_cases_and_models(daemon, upstream, case):
    answer = daemon.get("/v1/models")
    listed = {e["id"]: e for e in answer.json()["data"]}
    assert answer.json()["object"] == "list"
    model = daemon.chat(case).headers["x-muster-model"]
    assert listed[case]["object"] == "model" and listed[case]["owned_by"] == "muster"
    assert listed[model]["owned_by"] == "custom" and listed[model]["created"] > 1700000000
    assert daemon.get("/v1/models/" + model).json()["id"] == model
    assert daemon.get("/v1/models/" + model.replace("@", "%40")).json()["id"] == model
    missing = daemon.get("/v1/models/none-such")
    assert missing.status == 404 and missing.json()["error"]["code"] == "model_not_found"


def test_a_model_can_be_asked_for_by_name(daemon, upstream, case):
    full = daemon.chat(case).headers["x-muster-model"]
    for name in (full, full.split("@")[0]):
        answer = daemon.chat(name)
        assert answer.status == 200 and answer.headers["x-muster-model"] == full


def test_a_layer_is_a_short_name(daemon, upstream):
    stem = daemon.name("short")
    daemon.use_case(stem + "_layer", policy="none")
    daemon.register(stem + "_layer", upstream)
    assert daemon.chat(stem).status == 200
    assert daemon.post("/api/v1/generate", {"layer": stem, "prompt": "x"}).json()["use_case"] == stem + "_layer"


def test_parameters_of_the_model_are_defaults(daemon, upstream):
    name = daemon.name()
    daemon.use_case(name, policy="none")
    daemon.register(name, upstream, parameters={"temperature": 0.25, "top_k": 5})
    daemon.chat(name)
    assert upstream.last().json()["temperature"] == 0.25 and upstream.last().json()["top_k"] == 5
    daemon.chat(name, temperature=1)
    assert upstream.last().json()["temperature"] == 1
    assert upstream.last().body.count(b"temperature") == 1


def test_translation_names_what_it_dropped(daemon, upstream):
    name = daemon.name()
    daemon.use_case(name, policy="none")
    daemon.register(name, upstream, protocol="ollama")
    answer = daemon.chat(name, logit_bias={"1": 2}, metadata={"a": "b"}, temperature=0.5)
    dropped = {p.strip() for p in answer.headers["x-muster-dropped-params"].split(",")}
    assert {"logit_bias", "metadata"} == dropped
    assert upstream.last().json()["options"]["temperature"] == 0.5


@pytest.mark.parametrize("protocol", ["ollama", "generate"])
@pytest.mark.parametrize("stream", [False, True])
def test_other_protocols_serve_chat(daemon, upstream, protocol, stream):
    name = daemon.name()
    daemon.use_case(name, policy="none")
    full = daemon.register(name, upstream, protocol=protocol)
    upstream.default = m.ok("Once upon a time.")
    if stream:
        with daemon.chat_stream(name) as s:
            got = s.events()
        assert got[-1] == "[DONE]" and m.finish_of(got) == "stop"
        assert m.chat_text(got) == "Once upon a time."
        assert all(e["object"] == "chat.completion.chunk" and e["model"] == full for e in got[:-1])
    else:
        s = daemon.chat(name)
        answer = s.json()
        assert answer["object"] == "chat.completion" and answer["model"] == full
        assert answer["choices"][0]["message"]["content"] == "Once upon a time."
        assert answer["usage"]["completion_tokens"] == 3
    assert upstream.last().path == {"ollama": "/api/chat", "generate": "/generate"}[protocol]
    assert daemon.log_of(s)["output"] == "Once upon a time."


@pytest.mark.parametrize("mode", ["metadata", "none"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_to_be_logged_is_not(daemon, upstream, case, mode, stream):
    daemon.use_case(case, policy="none", log=mode)
    if stream:
        with daemon.chat_stream(case, "my secret") as s:
            assert m.chat_text(s.events()) == "Hi there."
    else:
        s = daemon.chat(case, "my secret")
    daemon.use_case(case, policy="none", log="full")
    after = daemon.log_of(daemon.chat(case, "open"))
    assert after["prompt"] and after["output"] == "Hi there."
    got = daemon.logs(case, 2 if mode == "metadata" else 1, "&text=true")
    if mode == "metadata":
        first = daemon.log_of(s)
        assert not first["prompt"] and not first["output"]
        assert first["usage"]["completion_tokens"] == 3 and first["status"] == "ok"
    assert "my secret" not in json.dumps(got)


def test_parameters_are_recorded(daemon, case):
    log = daemon.log_of(daemon.chat(case, temperature=0.5, max_tokens=9, seed=4, top_p=1))
    assert log["parameters"] == {"temperature": 0.5, "max_tokens": 9, "seed": 4, "top_p": 1}
