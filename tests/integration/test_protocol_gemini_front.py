# SPDX-License-Identifier: Apache-2.0
"""The rest of Gemini's front: streams as one JSON array, the list of models, and paths below /v1/."""
import json
import threading

import pytest

import grammar as g
import muster as m
from test_protocol_gemini import GO, path_of, reply, streams

ARRAY, SSE = "streamGenerateContent", "streamGenerateContent?alt=sse"
EVENTS = [reply({"text": "Hel"}, finish=None), reply({"text": "lo"}, finish=None),
          reply({"functionCall": {"name": "f", "args": {"a": [1]}}})]


@pytest.fixture
def use_case(daemon):
    name = daemon.name("garray")
    daemon.use_case(name, policy="none", fallback_content="")
    return name


def elements(answer):
    """Those of an array, each checked to stand for itself."""
    text = answer.body.decode()
    assert answer.headers["content-type"] == "application/json" and text.startswith("[") and text.endswith("\n]\n"), text
    parts = [json.loads(p) for p in text[1:-3].split("\n,\n")]
    assert parts == json.loads(text)
    return parts


@pytest.mark.parametrize("query", ["", "?alt=json", "?alt=json;enum-encoding=int", "?%24alt=json", "?$alt=json"])
def test_the_array_has_what_the_events_have(daemon, use_case, make_upstream, query):
    daemon.register(use_case, make_upstream(streams(*EVENTS)), protocol="gemini")
    assert elements(daemon.post(path_of(use_case, ARRAY + query), GO)) == EVENTS


def test_a_translated_answer_is_an_array_of_geminis_answers(daemon, use_case, make_upstream):
    up = make_upstream(m.streaming("Hel", "lo", usage=True))
    daemon.register(use_case, up)
    answer = daemon.post(path_of(use_case, ARRAY), GO)
    got = elements(answer)
    for i, v in enumerate(got):
        g.gemini_chunk(v, i == len(got) - 1)
    said = g.gemini_said(got)
    assert (said.text, said.finish, said.usage["totalTokenCount"]) == ("Hello", "stop", 10) and len(got) > 2
    assert daemon.log_of(answer)["stream"] is True and up.last().json()["stream"] is True


def test_a_whole_answer_is_an_array_too(daemon, use_case, make_upstream):
    daemon.register(use_case, make_upstream(m.ok("All at once.")), protocol="generate")
    got = elements(daemon.post(path_of(use_case, ARRAY), GO))
    assert g.gemini_said(got).text == "All at once." and got[-1]["candidates"][0]["finishReason"] == "STOP"


def test_each_element_leaves_when_it_comes(daemon, use_case, make_upstream):
    seen = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.chunk("data: %s\r\n\r\n" % json.dumps(EVENTS[0]))
        assert seen.wait(m.LIMIT)
        rest = "".join(": a comment\r\n\r\ndata: %s\r\n\r\n" % json.dumps(v) for v in EVENTS[1:])
        for i in range(0, len(rest), 7):
            c.chunk(rest[i:i + 7])
        c.end_stream()

    daemon.register(use_case, make_upstream(run), protocol="gemini")
    with daemon.stream(path_of(use_case, ARRAY), GO) as s:
        got = b""
        while got != b"[" + json.dumps(EVENTS[0]).encode():
            got += next(s._pieces)
        seen.set()
        got += b"".join(s._pieces)
    assert json.loads(got) == EVENTS


def test_an_error_before_the_answer_is_an_array_of_one(daemon, use_case, make_upstream):
    daemon.register(use_case, make_upstream(m.answer_with(500, {"error": {"message": "no"}})), protocol="gemini")
    for model, body, status in ((use_case, GO, 502), (use_case + "x", GO, 404), (use_case, {}, 400)):
        answer = daemon.post(path_of(model, ARRAY), body)
        assert answer.status == status and answer.headers["content-type"] == "application/json"
        assert len(answer.json()) == 1
        g.ERRORS["gemini"](answer.json()[0])
    answer = daemon.post(path_of(use_case, ARRAY + "?alt=proto"), GO)
    assert answer.status == 400 and "alt=sse" in answer.json()["error"]["message"]


@pytest.mark.parametrize("back", ["gemini", "openai"])
def test_a_stream_that_breaks_off_ends_with_an_error(daemon, use_case, make_upstream, back):
    def run(c, r):
        c.begin_stream()
        c.event(EVENTS[0] if back == "gemini" else m.chunk("Hel", role="assistant"))
        c.wait_closed(0.2)
        c.reset()

    daemon.register(use_case, make_upstream(run), protocol=back)
    answer = daemon.post(path_of(use_case, ARRAY), GO)
    got = elements(answer)
    assert g.gemini_said(got[:-1]).text == "Hel" and "finishReason" not in json.dumps(got)
    g.ERRORS["gemini"](got[-1])
    assert daemon.log_of(answer)["status"] == "truncated"


def test_an_answer_that_goes_on_elsewhere_is_one_array(daemon, use_case, make_upstream):
    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("One two ", role="assistant"))
        c.wait_closed(0.2)
        c.reset()

    then = daemon.register(use_case, make_upstream(m.streaming(" three ", "four.")), promote=False, prefill=True)
    daemon.register(use_case, make_upstream(run), prefill=True)
    daemon.use_case(use_case, policy="none", fallback_content="", fallback=[then], answer_mode="resume")
    got = elements(daemon.post(path_of(use_case, ARRAY), GO))
    for i, v in enumerate(got):
        g.gemini_chunk(v, i == len(got) - 1)
    assert g.gemini_said(got).text == "One two three four."


@pytest.mark.parametrize("back", ["gemini", "openai"])
@pytest.mark.parametrize("action", ["mask", "block", "fallback"])
def test_guardrails_judge_each_element(daemon, make_upstream, action, back):
    rules, name = daemon.name("rules").replace("_", "-"), daemon.name("garray")
    daemon.policy(rules, {"id": "hide", "category": "test", "kind": "literal", "action": action, "severity": "high",
                          "side": "output", "values": ["secret"]})
    daemon.use_case(name, policy=rules, fallback_content="Something else.")
    pieces = ("a se", "cre", "t word")
    daemon.register(name, make_upstream(m.streaming(*pieces) if back == "openai" else streams(
        *[reply({"text": p}, finish=None if p != pieces[-1] else "STOP") for p in pieces])), protocol=back)
    answer = daemon.post(path_of(name, ARRAY), GO)
    said = g.gemini_said(elements(answer))
    assert b"secret" not in answer.body and not said.error
    assert said.finish == ("content_filter" if action == "block" else "stop")
    if action == "mask":
        assert said.text.startswith("a ") and said.text.endswith(" word") and "secret" not in said.text
    elif action == "fallback":
        assert said.text in ("Something else.", "a ")
    else:
        assert said.text.strip() in ("a", "")


def test_a_caller_who_leaves_frees_the_model(daemon, use_case, make_upstream):
    gone = threading.Event()

    def endless(c, r):
        c.begin_stream()
        c.event(EVENTS[0])
        if c.wait_closed():
            gone.set()
        c.close()

    daemon.register(use_case, make_upstream(endless), protocol="gemini")
    with daemon.stream(path_of(use_case, ARRAY), GO) as s:
        next(s._pieces)
    assert gone.wait(m.LIMIT)
    assert daemon.log_of(s)["status"] == "client_disconnect"


def test_one_key_for_two_frames_means_two_answers(daemon, use_case, make_upstream):
    up = make_upstream(streams(*EVENTS))
    daemon.register(use_case, up, protocol="gemini")
    headers = {"Idempotency-Key": daemon.name("once")}
    first = daemon.post(path_of(use_case, ARRAY), GO, headers)
    again = daemon.post(path_of(use_case, ARRAY), GO, headers)
    other = daemon.post(path_of(use_case, SSE), GO, headers)
    assert first.body == again.body and elements(again) == EVENTS and len(up.requests) == 2
    assert other.body.startswith(b"data: ") and "x-muster-idempotent-replay" not in other.headers


# --- paths ---


def test_paths_below_v1_are_geminis_where_they_name_a_call(daemon, use_case, make_upstream):
    daemon.register(use_case, make_upstream(m.ok("Hi")))
    path = "/v1/models/%s:" % use_case
    assert g.check_answer("gemini", daemon.post(path + "generateContent", GO).json()).text == "Hi"
    with daemon.stream(path + SSE, GO) as s:
        s.events()
    assert g.check_stream("gemini", s.raw).text == "Hi"
    assert g.gemini_said(elements(daemon.post(path + ARRAY, GO))).text == "Hi"
    assert daemon.post(path + "countTokens", GO).json()["totalTokens"] > 0
    g.ERRORS["gemini"](daemon.post("/v1/models/nobody:generateContent", GO).json())
    assert daemon.get("/v1/models/" + use_case).json()["object"] == "model"
    assert daemon.post(path + "embedAll", GO).status == 404


def test_a_key_in_the_query_is_for_geminis_paths_alone(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("app:the-long-key-of-app\n")
    keys.chmod(0o600)
    d = m.Muster(tmp_path / "d", config="auth:\n  key_file: %s\n" % keys)
    try:
        key = "?key=the-long-key-of-app"
        for method, path, status in (("POST", "/v1/models/x:generateContent", 404), ("GET", "/v1beta/models", 200),
                                     ("GET", "/v1beta/models/x", 404), ("GET", "/v1/models", 401),
                                     ("POST", "/v1/chat/completions", 401)):
            answer = d.request(method, path + key, json.dumps(GO).encode() if method == "POST" else None)
            assert answer.status == status, (path, answer)
        answer = d.post(path_of("x", ARRAY), GO)
        assert answer.status == 401 and len(answer.json()) == 1
        g.ERRORS["gemini"](answer.json()[0])
        got = d.request("GET", "/v1/models", headers={"x-goog-api-key": "the-long-key-of-app"})
        assert got.status == 200 and "models" in got.json()
    finally:
        d.stop()


# --- models ---


def pages(daemon, size):
    got, token = [], None
    while token is not False:
        page = daemon.get("/v1beta/models?pageSize=%d%s" % (size, "&pageToken=" + token if token else "")).json()
        assert set(page) <= {"models", "nextPageToken"} and len(page["models"]) <= size
        got += page["models"]
        token = page.get("nextPageToken", False)
        assert token is False or len(page["models"]) == size
    return got


def test_models_come_page_by_page(daemon, use_case, make_upstream):
    up = make_upstream()
    name = daemon.register(use_case, up, context_tokens=8192)
    other = daemon.name("garray")
    daemon.use_case(other)
    daemon.register(other, up, name=name.split("@")[0], context_tokens=8192)  # the same name and version, for another use case
    ids = [e["id"] for e in daemon.get("/v1/models").json()["data"]]
    for size in (1, 2, 1000):
        assert [e["name"] for e in pages(daemon, size)] == ["models/" + i for i in ids]
    entry = {e["name"]: e for e in pages(daemon, 1000)}["models/" + name]
    assert entry == {"name": "models/" + name, "version": "1.0", "displayName": name, "inputTokenLimit": 8192,
                     "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"]}
    assert len(daemon.get("/v1beta/models?pageSize=0").json()["models"]) == min(50, len(ids))


def test_one_model(daemon, use_case, make_upstream):
    name = daemon.register(use_case, make_upstream())
    for asked, version in ((name, "1.0"), (use_case, name)):
        got = daemon.get("/v1beta/models/" + asked).json()
        assert got["name"] == "models/" + asked and got["version"] == version
        assert "generateContent" in got["supportedGenerationMethods"]


@pytest.mark.parametrize("protocol, path, methods", [
    ("openai", "", ["generateContent", "countTokens", "embedContent"]),
    ("openai", "/v1/embeddings", ["embedContent"]),
    ("anthropic", "", ["generateContent", "countTokens"]),
    ("generate", "/generate", ["generateContent", "countTokens"]),
])
def test_a_model_says_what_may_be_asked_of_it(daemon, use_case, protocol, path, methods):
    name = daemon.register(use_case, "http://127.0.0.1:9" + path, protocol=protocol)
    for asked in (name, use_case):
        assert daemon.get("/v1beta/models/" + asked).json()["supportedGenerationMethods"] == methods
    daemon.use_case(use_case + "_empty")
    got = daemon.get("/v1beta/models/%s_empty" % use_case).json()
    assert got["supportedGenerationMethods"] == ["generateContent", "countTokens"] and got["version"] == "none"


@pytest.mark.parametrize("path, status, word", [
    ("/v1beta/models/nobody-knows-it", 404, "nobody-knows-it"),
    ("/v1beta/models?pageSize=-1", 400, "pageSize"),
    ("/v1beta/models?pageSize=x", 400, "pageSize"),
    ("/v1beta/models?pageToken=x", 400, "pageToken"),
])
def test_a_refusal_has_geminis_shape(daemon, path, status, word):
    answer = daemon.get(path)
    assert answer.status == status and word in answer.json()["error"]["message"]
    g.ERRORS["gemini"](answer.json())
