# SPDX-License-Identifier: Apache-2.0
"""Embeddings: every front, every model that has them, what is judged, what is recorded, and what never happens: a vector
of another model."""
import base64
import json
import struct

import pytest

import control
import muster as m
import openai_spec
import test_metrics

# numbers that a careless reader rounds, and one that says nothing with its exponent
NUMBERS = ["0.1", "-0.30000000000000004", "1e-7", "3", "0.12345678901234567890", "-0.0"]
ARRAY = "[%s]" % ", ".join(NUMBERS)
FLOATS = b"".join(struct.pack("<f", float(n)) for n in NUMBERS)
TEXTS = ["the north gate", "caf\u00e9"]
OLLAMA_PROTOCOL = {"protocol": "ollama", "provider": "ollama"}


def openai_vectors(n=2, array=ARRAY, **more):
    items = ",".join('{"object":"embedding","index":%d,"embedding":%s}' % (i, array) for i in range(n))
    return ('{"object":"list","data":[%s],"model":"up","usage":{"prompt_tokens":5,"total_tokens":5}%s}' %
            (items, "".join(',"%s":%s' % (k, json.dumps(v)) for k, v in more.items()))).encode()


def gemini_vectors(n=2):
    return ('{"embeddings":[%s]}' % ",".join('{"values":%s}' % ARRAY for _ in range(n))).encode()


def ollama_vectors(n=2):
    return ('{"model":"up","embeddings":[%s],"total_duration":1,"prompt_eval_count":5}' % ",".join([ARRAY] * n)).encode()


BACKS = {
    "openai": ("/v1/embeddings", openai_vectors),
    "gemini": ("/v1beta/models/%s:batchEmbedContents", gemini_vectors),
    "ollama": ("/api/embed", ollama_vectors),
}


def parts(text):
    return {"content": {"parts": [{"text": text}]}}


# what a caller sends for TEXTS, and how the vectors stand in its answer
FRONTS = {
    "openai": (lambda name: ("/v1/embeddings", {"model": name, "input": TEXTS}),
               '{"object":"embedding","index":%d,"embedding":' + ARRAY + '}', 2),
    "gemini": (lambda name: ("/v1beta/models/%s:batchEmbedContents" % name,
                             {"requests": [dict(parts(t), model="models/" + name) for t in TEXTS]}),
               '{"values":' + ARRAY + '}', 2),
    "gemini one": (lambda name: ("/v1/models/%s:embedContent" % name, parts(TEXTS[0])), '{"embedding":{"values":' + ARRAY + "}}",
                   1),
    "ollama": (lambda name: ("/api/embed", {"model": name, "input": TEXTS}), "[" + ARRAY + "," + ARRAY + "]", 2),
    "ollama old": (lambda name: ("/api/embeddings", {"model": name, "prompt": TEXTS[0]}), '{"embedding":' + ARRAY + "}", 1),
}
SAME = {"openai": "openai", "gemini": "gemini", "ollama": "ollama"}


def case_of(daemon, upstream, protocol="openai", policy="none", **config):
    name = daemon.name()
    daemon.use_case(name, policy=policy, fallback_content="Not now.")
    daemon.register(name, upstream, protocol=protocol, **config)
    return name


def ask(daemon, name, text="hello", headers=None, **more):
    return daemon.post("/v1/embeddings", dict({"model": name, "input": text}, **more), headers)


@pytest.mark.parametrize("back", BACKS)
@pytest.mark.parametrize("front", FRONTS)
def test_every_caller_gets_the_vectors_of_every_model_digit_by_digit(daemon, make_upstream, front, back):
    if SAME.get(front) == back:
        pytest.skip("the same bytes: below")
    make, shape, n = FRONTS[front]
    path, vectors = BACKS[back]
    old = front == "ollama old" and back == "ollama"
    one = front == "gemini one" and back == "gemini"
    body = ('{"embedding":%s}' % ('{"values":%s}' % ARRAY if one else ARRAY)).encode() if old or one else vectors(n)
    upstream = make_upstream(m.answer_with(200, body))
    name = case_of(daemon, upstream, back)
    answer = daemon.post(*make(name))
    assert answer.status == 200, answer
    for i in range(n):
        assert (shape % i if "%d" in shape else shape).encode() in answer.body, answer.body
    sent = upstream.last()
    if old:
        assert sent.path == "/api/embeddings"
    elif one:
        assert sent.path.endswith(":embedContent")
    else:
        assert sent.path == (path % sent.path.split("/")[3].split(":")[0] if "%s" in path else path)
        words = json.dumps(sent.json(), ensure_ascii=False)
        assert all(t in words for t in TEXTS[:n]), words
    if back == "openai":
        openai_spec.check("CreateEmbeddingRequest", sent.json(), "what was sent")
    log = daemon.log_of(answer)
    assert log["prompt"] == "\n".join(TEXTS[:n]) and log["status"] == "ok", log
    assert log["output"] == ("%d vectors of 6 dimensions" % n if n > 1 else "1 vector of 6 dimensions")
    assert log["usage"]["completion_tokens"] == 0
    assert log["usage"]["estimated"] == (back == "gemini" or old)
    assert log["usage"]["prompt_tokens"] == (5 if not log["usage"]["estimated"] else (len("\n".join(TEXTS[:n]).encode()) -
                                             (n - 1) + 3) // 4)


SAME_BODIES = {
    "openai": ("/v1/embeddings", "/v1/embeddings",
               b'{ "input":["a",  "b"], "encoding_format":"base64","model": "%s","stream":true,"x":[1.50] }'),
    "gemini": ("/v1beta/models/%s:batchEmbedContents", "/v1beta/models/UP:batchEmbedContents",
               b'{"requests":[ {"model":"models/%s","content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY"},'
               b'{"content":{"parts":[{"text":"b"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]} ,'
               b'"model":"models/%s"}], "y":1.0}'),
    "ollama": ("/api/embed", "/api/embed", b'{"model":"%s","truncate":false,"input":["a","b"],"options":{"num_ctx": 5}}'),
}


@pytest.mark.parametrize("protocol", SAME_BODIES)
def test_bytes_pass_unchanged_but_for_the_name(daemon, make_upstream, protocol):
    front, back, body = SAME_BODIES[protocol]
    given = BACKS[protocol][1]()[:-1] + b' , "never_heard": [ 1.0 ] }\n'
    upstream = make_upstream(m.answer_with(200, given))
    name = case_of(daemon, upstream, protocol)
    up = "up-" + daemon.get("/api/v1/use-cases/%s/current" % name).json()["model_name"]
    asked = body.replace(b"%s", name.encode())
    answer = daemon.post(front % name if "%s" in front else front, asked)
    assert answer.status == 200 and answer.body == given, answer
    assert "x-muster-dropped-params" not in answer.headers
    assert upstream.last().body == asked.replace(name.encode(), up.encode())
    assert upstream.last().path == back.replace("UP", up)
    assert daemon.log_of(answer)["output"] == "2 vectors of 6 dimensions"


def test_a_batch_of_many_names_its_model_everywhere(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, gemini_vectors(90)))
    name = case_of(daemon, upstream, "gemini")
    answer = daemon.post("/v1beta/models/%s:batchEmbedContents" % name,
                         {"requests": [dict(parts("t%d" % i), model="models/" + name) for i in range(90)]})
    assert answer.status == 200, answer
    sent = upstream.last().json()["requests"]
    assert {r["model"] for r in sent} == {"models/" + upstream.last().path.split("/")[3].split(":")[0]} and len(sent) == 90
    assert [r["content"]["parts"][0]["text"] for r in sent] == ["t%d" % i for i in range(90)]


@pytest.mark.parametrize("back", ["gemini", "ollama"])
def test_base64_is_made_of_numbers(daemon, make_upstream, back):
    upstream = make_upstream(m.answer_with(200, BACKS[back][1]()))
    answer = ask(daemon, case_of(daemon, upstream, back), TEXTS, encoding_format="base64")
    assert answer.status == 200, answer
    for item in answer.json()["data"]:
        assert base64.b64decode(item["embedding"], validate=True) == FLOATS
    assert [i["index"] for i in answer.json()["data"]] == [0, 1]


def test_numbers_are_made_of_base64(daemon, make_upstream):
    """Of an upstream that gives base64 whatever it is asked for."""
    text = base64.b64encode(FLOATS).decode().replace("/", "\\/")
    upstream = make_upstream(m.answer_with(200, openai_vectors(array='"%s"' % text)))
    answer = daemon.post("/api/embed", {"model": case_of(daemon, upstream), "input": TEXTS})
    assert answer.status == 200, answer
    for vector in answer.json()["embeddings"]:
        assert b"".join(struct.pack("<f", v) for v in vector) == FLOATS


def test_vectors_stand_where_their_text_stood(daemon, make_upstream):
    body = ('{"data":[{"index":1,"embedding":[1.5]},{"index":0,"embedding":[0.5]}],"usage":{"total_tokens":2}}').encode()
    upstream = make_upstream(m.answer_with(200, body))
    answer = daemon.post("/api/embed", {"model": case_of(daemon, upstream), "input": TEXTS})
    assert answer.json()["embeddings"] == [[0.5], [1.5]] and answer.json()["prompt_eval_count"] == 2


WRONG = {
    "too few": openai_vectors(1), "too many": openai_vectors(3), "none": openai_vectors(0),
    "no list": b'{"object":"list"}', "cut": openai_vectors()[:-1], "not JSON": b"<html>", "null inside": openai_vectors(array="[1,null]"),
    "empty vector": openai_vectors(array="[]"), "words": openai_vectors(array='["a"]'), "bad base64": openai_vectors(array='"AAA"'),
    "half a float": openai_vectors(array='"AAAA"'), "no vector": b'{"data":[{"index":0},{"index":1}]}',
    "index twice": b'{"data":[{"index":1,"embedding":[1]},{"index":1,"embedding":[1]}]}',
    "two lists": openai_vectors()[:-1] + b',"data":[]}', "an error": b'{"error":{"message":"out of memory"}}',
    "two vectors": b'{"data":[{"embedding":[1],"embedding":[2]},{"embedding":[1]}]}',
    "an array": b"[]", "rest behind": openai_vectors() + b"x",
}


@pytest.mark.parametrize("what", WRONG)
def test_an_answer_that_is_none_is_an_error(daemon, make_upstream, what):
    upstream = make_upstream(m.answer_with(200, WRONG[what]))
    answer = ask(daemon, case_of(daemon, upstream), TEXTS)
    assert answer.status == 502 and answer.json()["error"]["type"] == "upstream_error", answer
    log = daemon.log_of(answer)
    assert log["status"] == "error" and not log["output"] and log["prompt"] == "\n".join(TEXTS)


REFUSED = [
    ("/v1/embeddings", {"input": "a"}, "model"), ("/v1/embeddings", {"model": "M"}, "input"),
    ("/v1/embeddings", {"model": "M", "input": []}, "input"), ("/v1/embeddings", {"model": "M", "input": [["x"]]}, "input"),
    ("/v1/embeddings", {"model": "M", "input": ["a", 1]}, "input"), ("/v1/embeddings", {"model": "M", "input": 7}, "input"),
    ("/v1/embeddings", {"model": "M", "input": "a", "encoding_format": "int8"}, "encoding_format"),
    ("/v1/embeddings", {"model": "M", "input": "a", "dimensions": 0}, "dimensions"),
    ("/v1/embeddings", b'{"model":"M","input":"a","input":"b"}', "input"),
    ("/v1beta/models/M:embedContent", {}, "content"), ("/v1beta/models/M:embedContent", {"content": "a"}, "content"),
    ("/v1beta/models/M:batchEmbedContents", {"requests": []}, "requests"),
    ("/v1beta/models/M:batchEmbedContents", {"requests": [{}]}, "requests[0]"),
    ("/api/embed", {"model": "M"}, "input"), ("/api/embed", {"model": "M", "input": [1]}, "input"),
    ("/api/embed", {"input": "a"}, "model"), ("/api/embeddings", {"model": "M"}, "prompt"),
]


@pytest.mark.parametrize("path,body,param", REFUSED)
def test_a_request_that_is_none_is_refused_in_the_callers_shape(daemon, upstream, case, path, body, param):
    if isinstance(body, dict) and "model" in body:
        body = dict(body, model=case)
    answer = daemon.post(path.replace("M:", case + ":"), body)
    assert answer.status == 400, answer
    error = answer.json()["error"]
    if path.startswith("/api/"):
        assert set(answer.json()) == {"error"} and param in error, error
    elif "beta" in path:
        assert error["code"] == 400 and param.split("[")[0] in error["message"] and error["status"] == "INVALID_ARGUMENT", error
    else:
        assert error["param"] == param and set(error) == {"message", "type", "param", "code"}
    assert not upstream.requests


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("protocol", ["anthropic", "generate"])
def test_models_without_embeddings_say_so(daemon, upstream, front, protocol):
    name = case_of(daemon, upstream, protocol)
    answer = daemon.post(*FRONTS[front][0](name))
    assert answer.status == 400, answer
    error = answer.json()["error"]
    message = error if isinstance(error, str) else error["message"]
    assert "no embeddings" in message and protocol in message
    assert not upstream.requests and "x-muster-model" not in answer.headers
    assert daemon.log_of(answer)["status"] == "error"


def test_a_model_registered_for_embeddings_has_nothing_else(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, openai_vectors(1)))
    name = case_of(daemon, upstream.url + "/v1/embeddings")
    assert ask(daemon, name).status == 200 and upstream.last().path == "/v1/embeddings"
    assert daemon.post("/api/embed", {"model": name, "input": "a"}).status == 200
    answer = daemon.chat(name)
    assert answer.status == 400 and "embeddings alone" in answer.json()["error"]["message"], answer


@pytest.mark.parametrize("endpoint,path", [("", "/v1/embeddings"), ("/v1", "/v1/embeddings"), ("/x/v1/", "/x/v1/embeddings"),
                                           ("/v1/chat/completions?a=b", "/v1/embeddings?a=b")])
def test_the_path_is_beside_that_of_the_chats(daemon, make_upstream, endpoint, path):
    upstream = make_upstream(m.answer_with(200, openai_vectors(1)))
    assert ask(daemon, case_of(daemon, upstream.url + endpoint)).status == 200
    assert upstream.last().path == path


TOKENS = [[1212, 318], [[1212, 318], [257]]]


@pytest.mark.parametrize("tokens", TOKENS)
def test_tokens_go_where_they_mean_something(daemon, make_upstream, tokens):
    n = 1 if isinstance(tokens[0], int) else 2
    upstream = make_upstream(m.answer_with(200, openai_vectors(n)))
    answer = ask(daemon, case_of(daemon, upstream), tokens)
    assert answer.status == 200 and upstream.last().json()["input"] == tokens
    assert "1212" in daemon.log_of(answer)["prompt"]
    other = ask(daemon, case_of(daemon, upstream, "ollama"), tokens)
    assert other.status == 400 and "tokens" in other.json()["error"]["message"], other


def test_tokens_are_refused_where_texts_are_judged(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, openai_vectors(1)))
    policy = daemon.name("policy")
    daemon.policy(policy, {"id": "w", "kind": "literal", "action": "block", "values": ["forbidden"], "side": "input"})
    name = case_of(daemon, upstream, policy=policy)
    answer = ask(daemon, name, [1212, 318])
    assert answer.status == 400 and "send texts" in answer.json()["error"]["message"], answer
    assert ask(daemon, name, "fine").status == 200
    daemon.policy(policy, {"id": "w", "kind": "literal", "action": "flag", "values": ["forbidden"], "side": "input"})
    assert ask(daemon, name, [1212, 318]).status == 200  # it would not have stopped it anyway


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("action", ["block", "fallback", "mask"])
def test_texts_are_judged(daemon, make_upstream, front, action):
    upstream = make_upstream(m.answer_with(200, openai_vectors(FRONTS[front][2])))
    policy = daemon.name("policy")
    daemon.policy(policy, {"id": "w", "kind": "literal", "action": action, "values": ["north gate"], "side": "input",
                           "mask": "***"})
    name = case_of(daemon, upstream, policy=policy)
    answer = daemon.post(*FRONTS[front][0](name))
    if action == "mask":
        assert answer.status == 200 and answer.headers["x-muster-guardrail"] == "mask", answer
        assert "the ***" in upstream.last().json()["input"][0] and b"north" not in upstream.last().body
        assert daemon.log_of(answer)["prompt"].startswith("the ***")
        return
    assert answer.status == 400 and not upstream.requests, answer
    error = answer.json()["error"]
    assert "guardrail rule 'w'" in (error if isinstance(error, str) else error["message"])
    log = daemon.log_of(answer)
    assert log["status"] == "blocked" and log["guardrail"]["violations"][0]["rule"] == "w"


def test_more_masks_than_one_can_count(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, openai_vectors(100)))
    policy = daemon.name("policy")
    daemon.policy(policy, {"id": "w", "kind": "literal", "action": "mask", "values": ["secret"], "side": "input", "mask": "*"})
    answer = ask(daemon, case_of(daemon, upstream, policy=policy), ["a secret %d" % i for i in range(100)])
    assert answer.status == 200, answer
    assert upstream.last().json()["input"] == ["a * %d" % i for i in range(100)]


def test_words_of_an_answer_are_judged_too(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, openai_vectors(1, warning="a forbidden word")))
    policy = daemon.name("policy")
    daemon.policy(policy, {"id": "w", "kind": "literal", "action": "block", "values": ["forbidden"], "side": "output"})
    answer = ask(daemon, case_of(daemon, upstream, policy=policy))
    assert answer.status == 502 and b"forbidden" not in answer.body, answer
    upstream.default = m.answer_with(200, openai_vectors(1, warning="a word"))
    assert ask(daemon, case_of(daemon, upstream, policy=policy)).json()["warning"] == "a word"


# --- never another space ---


def chain(daemon, upstreams, names, **settings):
    """A use case whose models have these names upstream."""
    case = daemon.name()
    models = [daemon.register(case, u, promote=i == 0, upstream_model=n) for i, (u, n) in enumerate(zip(upstreams, names))]
    daemon.use_case(case, **dict({"policy": "none", "fallback": models[1:], "fallback_content": "Not now."}, **settings))
    return case, models


def test_a_model_of_another_name_never_serves_instead(daemon, make_upstream):
    broken, other = make_upstream(m.answer_with(500, {"error": "no"})), make_upstream(m.answer_with(200, openai_vectors(1)))
    case, _ = chain(daemon, [broken, other], ["small", "large"], retries=0)
    answer = ask(daemon, case)
    assert answer.status == 502 and len(broken.requests) == 1 and not other.requests, answer
    assert b"Not now." not in answer.body  # words are no vector
    other.default = m.ok()
    assert daemon.chat(case).status == 200 and other.last().path == "/v1/chat/completions"  # of words it does


def test_a_model_of_the_same_name_does(daemon, make_upstream):
    broken, other, same = [make_upstream(m.answer_with(500, {"error": "no"})),
                           make_upstream(m.answer_with(200, openai_vectors(1))),
                           make_upstream(m.answer_with(200, openai_vectors(1)))]
    case, models = chain(daemon, [broken, other, same], ["small", "large", "small"])
    answer = ask(daemon, case)
    assert answer.status == 200 and answer.headers["x-muster-model"] == models[2], answer
    assert answer.headers["x-muster-fallback"] == "model" and answer.headers["x-muster-attempts"] == "2"
    assert not other.requests
    assert [a["model"] for a in daemon.log_of(answer)["attempts"]] == [models[0], models[2]]


def test_another_endpoint_of_the_same_model_does(daemon, make_upstream):
    broken, good = make_upstream(m.reset), make_upstream(m.answer_with(200, openai_vectors(1)))
    name = case_of(daemon, broken, endpoints=[good.url])
    assert all(ask(daemon, name).status == 200 for _ in range(4)) and good.requests


def test_the_hardcoded_endpoint_does_not(start_daemon, make_upstream):
    endpoint, broken = make_upstream(), make_upstream(m.answer_with(500, {"error": "no"}))
    d = start_daemon("fallback:\n  endpoints:\n    docs: %s/v1/chat/completions\n" % endpoint.url)
    d.use_case("docs", policy="none", retries=0)
    d.register("docs", broken)
    assert ask(d, "docs").status == 502 and not endpoint.requests
    assert d.chat("docs").status == 200 and endpoint.requests


def test_a_deployment_mixes_no_spaces(daemon, make_upstream):
    old, new = [make_upstream(m.answer_with(200, openai_vectors(1))) for _ in range(2)]
    case = daemon.name()
    daemon.use_case(case, policy="none", fallback_content="")
    daemon.register(case, old, upstream_model="small")
    candidate = daemon.register(case, new, promote=False, upstream_model="large")
    daemon.api("POST", "/api/v1/deployments", {"use_case": case, "model": candidate, "strategy": "canary",
                                               "steps": [50, 100], "hold": 300, "reason": "test"})
    for i in range(24):
        assert ask(daemon, case, user="u%d" % i).status == 200
    assert len(old.requests) == 24 and not new.requests


# --- the same machinery as of chats ---


def test_a_key_of_idempotency_asks_once(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, openai_vectors(1)))
    name = case_of(daemon, upstream)
    first, again = [ask(daemon, name, headers={"Idempotency-Key": name}) for _ in range(2)]
    assert first.body == again.body and again.headers["x-muster-idempotent-replay"] == "true"
    assert len(upstream.requests) == 1


def test_a_cache_serves_them_again(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, openai_vectors(1)))
    name = case_of(daemon, upstream)
    daemon.use_case(name, policy="none", cache={"ttl_s": 60})
    first, again = ask(daemon, name), ask(daemon, name)
    assert [a.headers["x-muster-cache"] for a in (first, again)] == ["miss", "hit"] and first.body == again.body
    log = daemon.log_of(again)
    assert log["output"] == "1 vector of 6 dimensions" and log["usage"]["prompt_tokens"] == 5


def test_they_cost_what_their_tokens_cost(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, openai_vectors(1)))
    name = case_of(daemon, upstream, price={"currency": "USD", "input": 2, "output": 1000})
    log = daemon.log_of(ask(daemon, name, dimensions=256))
    assert log["cost"] == pytest.approx(0.00001) and log["parameters"] == {"dimensions": 256}, log


def test_metrics_tell_them_from_chats(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, openai_vectors(1)))
    name = case_of(daemon, upstream)
    assert ask(daemon, name).status == 200
    upstream.default = m.ok()
    assert daemon.chat(name).status == 200
    control.shipped(daemon)
    _, samples = test_metrics.scrape(daemon)
    told = {dict(labels).get("gen_ai_operation_name") for (family, labels) in samples
            if name in dict(labels).values() and family.endswith("operation_duration_seconds_count")}
    assert told == {"chat", "embeddings"}, told
    told = {dict(labels)["gen_ai_operation_name"] for (family, labels), v in samples.items()
            if name in dict(labels).values() and family == "gen_ai_client_operation_duration_seconds_count" and v}
    assert told == {"chat", "embeddings"}, told


def test_what_a_translation_drops_is_named(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, openai_vectors(1)))
    name = case_of(daemon, upstream)
    answer = daemon.post("/api/embed", {"model": name, "input": "a", "truncate": True, "keep_alive": "5m", "dimensions": 6})
    assert answer.headers["x-muster-dropped-params"] == "truncate, keep_alive" and upstream.last().json()["dimensions"] == 6
    answer = daemon.post("/v1beta/models/%s:batchEmbedContents" % name, {"requests": [
        dict(parts("a"), taskType="RETRIEVAL_QUERY", outputDimensionality=6)]})
    assert answer.headers["x-muster-dropped-params"] == "requests[].taskType"
    assert upstream.last().json()["dimensions"] == 6
    gemini = make_upstream(m.answer_with(200, gemini_vectors(1)))
    answer = ask(daemon, case_of(daemon, gemini, "gemini"), user="u", dimensions=6)
    assert answer.headers["x-muster-dropped-params"] == "user"
    assert gemini.last().json()["requests"][0]["outputDimensionality"] == 6
    daemon.use_case(name, policy="none", translation="strict")
    answer = daemon.post("/api/embed", {"model": name, "input": "a", "truncate": True})
    assert answer.status == 400 and "truncate" in answer.json()["error"], answer


def test_pictures_are_not_left_out_of_a_vector(daemon, upstream):
    name = case_of(daemon, upstream)
    body = {"content": {"parts": [{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}}
    answer = daemon.post("/v1beta/models/%s:embedContent" % name, body)
    assert answer.status == 400 and "more than text" in answer.json()["error"]["message"], answer


def test_the_simulator_gives_the_same_text_the_same_vector(daemon):
    name = daemon.name()
    daemon.use_case(name, policy="none")
    daemon.register(name, "", provider="sim", endpoint=None, sim={"latency_ms": 0})
    a, b = [ask(daemon, name, ["gate", "tower", "gate"]).json()["data"] for _ in range(2)]
    assert a == b and a[0]["embedding"] == a[2]["embedding"] != a[1]["embedding"]
    assert len(a[0]["embedding"]) == 256 and sum(v * v for v in a[0]["embedding"]) == pytest.approx(1)
    short = ask(daemon, name, "gate", dimensions=8, encoding_format="base64").json()
    assert len(base64.b64decode(short["data"][0]["embedding"])) == 32
