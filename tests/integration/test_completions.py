# SPDX-License-Identifier: Apache-2.0
"""POST /v1/completions: as it came to servers that have it, as a chat to all others."""
import json

import pytest

import control
import grammar as g
import muster as m
import test_metrics

PROMPT = "Once upon a time"


def text(words="there was a gate.", finish="stop", index=0, logprobs=None):
    return {"text": words, "index": index, "logprobs": logprobs, "finish_reason": finish}


def whole(*choices, **more):
    return dict({"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "up",
                 "choices": list(choices) or [text()],
                 "usage": {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}}, **more)


def chunk(*choices, **more):
    v = whole(*choices, **more)
    del v["usage"]
    return v


USAGE = dict(whole(), choices=[])


def streamed(*words, usage=False, done=True):
    """The words of the first choice, its end, and what was asked for."""
    def run(c, r):
        assert r.path == "/v1/completions", r.path
        c.begin_stream()
        for w in words:
            c.event(chunk(text(w, None)))
        c.event(chunk(text("", "stop")))
        if usage or (r.json().get("stream_options") or {}).get("include_usage"):
            c.event(USAGE)
        if done:
            c.event("[DONE]")
        c.end_stream()

    return run


def case_of(daemon, upstream, path="", policy="none", **config):
    name = daemon.name()
    daemon.use_case(name, policy=policy, fallback_content="")
    daemon.register(name, upstream.url + path, **config)
    return name


def ask(daemon, name, prompt=PROMPT, headers=None, **more):
    return daemon.post("/v1/completions", dict({"model": name, "prompt": prompt}, **more), headers)


def test_bytes_pass_to_a_server_that_has_it(daemon, make_upstream):
    given = json.dumps(whole(never_heard=[1.50])).replace("1.5", "1.50").encode() + b"\n"
    upstream = make_upstream(m.answer_with(200, given))
    name = case_of(daemon, upstream)
    up = "up-" + daemon.get("/api/v1/use-cases/%s/current" % name).json()["model_name"]
    body = b'{ "prompt":"Once", "suffix" : "end", "echo":true,"best_of":2, "logprobs":1,"x":1.50,"model":"%s"}' % name.encode()
    answer = daemon.post("/v1/completions", body)
    assert answer.status == 200 and answer.body == given, answer
    assert upstream.last().path == "/v1/completions" and upstream.last().body == body.replace(name.encode(), up.encode())
    assert "x-muster-dropped-params" not in answer.headers
    log = daemon.log_of(answer)
    assert (log["prompt"], log["output"], log["finish_reason"]) == ("Once", "there was a gate.", "stop"), log
    assert log["usage"] == {"prompt_tokens": 4, "completion_tokens": 5, "estimated": False}


@pytest.mark.parametrize("path,sent", [("", "/v1/completions"), ("/v1", "/v1/completions"), ("/x/v1", "/x/v1/completions"),
                                       ("/v1/completions", "/v1/completions"), ("/v1/chat/completions", "/v1/chat/completions")])
def test_the_endpoint_says_what_it_is_asked(daemon, make_upstream, path, sent):
    upstream = make_upstream(m.ok("there was a gate.") if "chat" in path else m.answer_with(200, whole()))
    answer = ask(daemon, case_of(daemon, upstream, path))
    assert answer.status == 200 and upstream.last().path == sent
    assert answer.json()["choices"][0]["text"] == "there was a gate."


@pytest.mark.parametrize("provider", ["groq", "deepseek"])
def test_providers_without_it_are_asked_to_chat(start_daemon, make_upstream, provider):
    d = start_daemon("", GROQ_API_KEY="k", DEEPSEEK_API_KEY="k")
    upstream = make_upstream(m.ok())
    name = d.name()
    d.use_case(name, policy="none")
    d.register(name, upstream.url + "/v1", provider=provider)
    assert ask(d, name).status == 200 and upstream.last().path == "/v1/chat/completions"


BACKS = {"openai": m.ok("there was a gate."), "ollama": m.ok("there was a gate."), "generate": m.ok("there was a gate.")}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("back", BACKS)
def test_a_chat_is_asked_for_what_a_completion_wants(daemon, make_upstream, back, stream):
    upstream = make_upstream(BACKS[back])
    name = case_of(daemon, upstream, "/v1/chat/completions" if back == "openai" else "", protocol=back)
    answer = ask(daemon, name, max_tokens=9, stream=stream, echo=False, best_of=1, suffix=None)
    assert answer.status == 200, answer
    said = g.check_stream("completions", answer.body) if stream else g.check_answer("completions", answer.json())
    assert said.text == "there was a gate." and said.finish == "stop"
    sent = upstream.last().json()
    if back == "generate":
        assert sent["prompt"] == PROMPT and sent["max_tokens"] == 9
    else:
        assert sent["messages"] == [{"role": "user", "content": PROMPT}]
        assert (sent["max_tokens"] if back == "openai" else sent["options"]["num_predict"]) == 9
    assert "x-muster-dropped-params" not in answer.headers
    assert daemon.log_of(answer)["prompt"] == PROMPT


def test_usage_is_told_when_it_is_asked_for(daemon, make_upstream):
    for behaviour, path in ((streamed("there ", "was."), ""), (m.ok("there was."), "/v1/chat/completions")):
        upstream = make_upstream(behaviour)
        name = case_of(daemon, upstream, path)
        answer = ask(daemon, name, stream=True)
        assert g.check_stream("completions", answer.body).usage is None  # it was asked for by us alone
        assert upstream.last().json()["stream_options"] == {"include_usage": True}
        assert not daemon.log_of(answer)["usage"]["estimated"]
        answer = ask(daemon, name, stream=True, stream_options={"include_usage": True})
        got = g.check_stream("completions", answer.body, usage=True)
        assert got.usage["total_tokens"] in (9, 10) and got.text == "there was."


def test_several_prompts_and_choices_pass_and_are_logged(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, whole(text("one"), text("two", index=1))))
    answer = ask(daemon, case_of(daemon, upstream), ["a", "b"])
    assert [c["text"] for c in answer.json()["choices"]] == ["one", "two"]
    assert daemon.log_of(answer)["prompt"] == "a\nb"
    other = ask(daemon, case_of(daemon, upstream, protocol="ollama"), ["a", "b"])
    assert other.status == 400 and "one by one" in other.json()["error"]["message"], other
    upstream.default = m.ok()
    assert ask(daemon, case_of(daemon, upstream, protocol="ollama"), ["a"]).status == 200


def test_tokens_go_where_they_mean_something(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, whole()))
    answer = ask(daemon, case_of(daemon, upstream), [1212, 318])
    assert answer.status == 200 and upstream.last().json()["prompt"] == [1212, 318]
    assert daemon.log_of(answer)["prompt"] in ("[1212,318]", "[1212, 318]")
    other = ask(daemon, case_of(daemon, upstream, protocol="ollama"), [[1212, 318]])
    assert other.status == 400 and "tokens" in other.json()["error"]["message"], other
    policy = daemon.name("policy")
    daemon.policy(policy, {"id": "w", "kind": "literal", "action": "block", "values": ["forbidden"], "side": "input"})
    other = ask(daemon, case_of(daemon, upstream, policy=policy), [1212, 318])
    assert other.status == 400 and "send texts" in other.json()["error"]["message"], other


REFUSED = [({"prompt": None}, "prompt"), ({"prompt": []}, "prompt"), ({"prompt": {}}, "prompt"), ({"prompt": ["a", 1]}, "prompt"),
           ({"prompt": [[]]}, "prompt"), ({"prompt": [True]}, "prompt"), ({"model": None}, "model"), ({"suffix": 1}, "suffix"),
           ({"max_tokens": -1}, "max_tokens"), ({"n": 0}, "n"), ({"stream": "yes"}, "stream"), ({"temperature": 9}, "temperature")]


@pytest.mark.parametrize("more,param", REFUSED)
def test_a_request_that_is_none_is_refused(daemon, upstream, case, more, param):
    answer = daemon.post("/v1/completions", dict({"model": case, "prompt": "a"}, **more))
    assert answer.status == 400 and answer.json()["error"]["param"] == param, answer
    assert not upstream.requests


RULE = {"id": "w", "kind": "literal", "values": ["forbidden"], "mask": "***"}


@pytest.mark.parametrize("member", ["prompt", "suffix"])
def test_what_is_asked_is_judged(daemon, make_upstream, member):
    upstream = make_upstream(m.answer_with(200, whole()))
    policy = daemon.name("policy")
    daemon.policy(policy, dict(RULE, action="block", side="input"))
    name = case_of(daemon, upstream, policy=policy)
    assert ask(daemon, name, **{member: "a forbidden word"}).status == 400 and not upstream.requests
    daemon.policy(policy, dict(RULE, action="mask", side="input"))
    assert ask(daemon, name, **{member: "a forbidden word"}).status == 200
    assert upstream.last().json()[member] == "a *** word"


@pytest.mark.parametrize("pieces", [["a forbidden word"], ["a for", "bid", "den word"]])
def test_what_is_answered_is_judged_in_every_choice(daemon, make_upstream, pieces):
    words = "".join(pieces)
    logprobs = {"tokens": [words], "token_logprobs": [0.5], "top_logprobs": None, "text_offset": [0]}
    upstream = make_upstream(m.answer_with(200, whole(text("fine", logprobs=logprobs), text(words, index=1, logprobs=logprobs))))
    policy = daemon.name("policy")
    daemon.policy(policy, dict(RULE, action="mask", side="output"))
    name = case_of(daemon, upstream, policy=policy)
    answer = ask(daemon, name)
    assert [c["text"] for c in answer.json()["choices"]] == ["fine", "a *** word"] and b"forbidden" not in answer.body
    upstream.default = streamed(*pieces)
    answer = ask(daemon, name, stream=True)
    assert g.check_stream("completions", answer.body).text == "a *** word" and b"forbidden" not in answer.body
    daemon.policy(policy, dict(RULE, action="block", side="output"))
    answer = ask(daemon, name, stream=True)
    got = g.check_stream("completions", answer.body)
    assert got.finish == "content_filter" and "forbidden" not in got.text
    upstream.default = m.answer_with(200, whole(text(words)))
    answer = ask(daemon, name)
    assert g.check_answer("completions", answer.json()).finish == "content_filter" and b"forbidden" not in answer.body


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_goes_to_the_next_model(daemon, make_upstream, stream):
    broken, good = make_upstream(m.answer_with(500, {"error": "no"})), make_upstream(m.ok("there was a gate."))
    case = daemon.name()
    daemon.register(case, broken)
    spare = daemon.register(case, good, promote=False, protocol="ollama")
    daemon.use_case(case, policy="none", fallback=[spare])
    answer = ask(daemon, case, stream=stream)
    assert answer.status == 200 and answer.headers["x-muster-model"] == spare, answer
    said = g.check_stream("completions", answer.body) if stream else g.check_answer("completions", answer.json())
    assert said.text == "there was a gate."


def test_a_stream_that_breaks_off_ends_with_an_error(daemon, make_upstream):
    def cut(c, r):
        c.begin_stream()
        c.event(chunk(text("there was", None)))
        c.reset()

    answer = ask(daemon, case_of(daemon, make_upstream(cut)), stream=True)
    got = g.check_stream("completions", answer.body)
    assert got.text == "there was" and got.error["code"] == "stream_truncated"


@pytest.mark.parametrize("path,prompt", [("", PROMPT + " there was"), ("/v1/chat/completions", None)])
def test_a_stream_that_breaks_off_is_gone_on_with(daemon, make_upstream, path, prompt):
    def cut(c, r):
        c.begin_stream()
        c.event(chunk(text(" there was", None)))
        c.reset()

    first, second = make_upstream(cut), make_upstream(streamed(" a gate.") if prompt else m.streaming(" a gate."))
    case = daemon.name()
    daemon.register(case, first, prefill=True)
    spare = daemon.register(case, second.url + path, promote=False, prefill=True)
    daemon.use_case(case, policy="none", fallback=[spare], answer_mode="resume", retries=0)
    answer = ask(daemon, case, stream=True)
    assert g.check_stream("completions", answer.body).text == " there was a gate.", answer
    sent = second.last().json()
    if prompt:
        assert sent["prompt"] == prompt
    else:
        assert [v["content"] for v in sent["messages"]] == [PROMPT, " there was"]


def test_a_chat_with_a_model_that_completes_texts(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, whole()))
    name = case_of(daemon, upstream, "/v1/completions")
    answer = daemon.chat(name, "hello")
    assert g.check_answer("openai", answer.json()).text == "there was a gate."
    assert upstream.last().json()["prompt"] == "hello" and upstream.last().path == "/v1/completions"
    daemon.chat(name, messages=[{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}])
    assert upstream.last().json()["prompt"] == "be kind\n\nUser: hello\n\nAssistant:"
    upstream.default = streamed("there ", "was.")
    answer = daemon.chat(name, "hello", stream=True)
    assert g.check_stream("openai", answer.body).text == "there was."


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_of_idempotency_asks_once(daemon, make_upstream, stream):
    upstream = make_upstream(streamed("there") if stream else m.answer_with(200, whole()))
    name = case_of(daemon, upstream)
    first, again = [ask(daemon, name, headers={"Idempotency-Key": name}, stream=stream) for _ in range(2)]
    assert first.body == again.body and len(upstream.requests) == 1


def test_metrics_tell_them_from_chats(daemon, make_upstream):
    upstream = make_upstream(m.answer_with(200, whole()))
    name = case_of(daemon, upstream)
    assert ask(daemon, name).status == 200
    control.shipped(daemon)
    _, samples = test_metrics.scrape(daemon)
    told = {dict(labels)["gen_ai_operation_name"] for (family, labels), v in samples.items()
            if name in dict(labels).values() and family == "gen_ai_client_operation_duration_seconds_count" and v}
    assert told == {"text_completion"}, told


def test_the_simulator_completes(daemon):
    name = daemon.name()
    daemon.use_case(name, policy="none")
    daemon.register(name, "", provider="sim", endpoint=None, sim={"latency_ms": 0, "text": "one two three", "tokens_per_s": 0})
    assert g.check_answer("completions", ask(daemon, name, max_tokens=2).json()).finish == "length"
    assert g.check_stream("completions", ask(daemon, name, stream=True).body).text == "one two three"
