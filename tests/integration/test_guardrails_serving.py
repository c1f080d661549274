# SPDX-License-Identifier: Apache-2.0
"""Guardrails on what goes in and out: block, mask, fallback and flag, whole and streamed, however an answer is cut."""
import json
import threading

import pytest

import muster as m

PHRASE = "forbidden fruit"
TEXT = "I like %s pie a lot." % PHRASE
START, LENGTH = TEXT.index(PHRASE), len(PHRASE)
CARD = "4111 1111 1111 1111"
CONTENT = "Let us speak of something else."


def rule(name, action, side="both", kind="literal", values=(PHRASE,), **members):
    return dict({"id": name, "category": "test", "kind": kind, "action": action, "severity": "high", "side": side,
                 "values": list(values)}, **members)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("muster"), args=["--loops", "2"])
    for action in ("block", "mask", "fallback", "flag"):
        for side in ("input", "output"):
            d.policy("%s-%s" % (action, side), rule("fruit", action, side))
    d.policy("cards", rule("card", "mask", "output", "pii", ["card"], mask="<card>"))
    yield d
    d.stop()


@pytest.fixture
def guarded(daemon, upstream):
    """Makes a use case with a policy; its model says `text`."""

    def make(policy, protocol="openai", text=TEXT):
        name = daemon.name()
        daemon.use_case(name, policy=policy, fallback_content=CONTENT)
        daemon.register(name, upstream, protocol=protocol)
        upstream.default = m.ok(text)
        return name

    return make


def cut(*pieces):
    return m.streaming(*pieces)


def hit(log, rule_name="fruit"):
    return [(v["rule"], v["start"], v["length"], v["action"], v["side"]) for v in log["guardrail"]["violations"]
            if v["rule"] == rule_name]


def listed(daemon, use_case, n):
    path = "/api/v1/guardrails/violations?use_case=" + use_case
    return m.eventually(lambda: [d for d in [daemon.api("GET", path)["data"]] if len(d) >= n], "violations")[0]


# --- input ---


@pytest.mark.parametrize("front", ["chat", "generate"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_blocked_prompt_reaches_no_model(daemon, upstream, guarded, front, stream):
    name = guarded("block-input")
    a = (daemon.chat if front == "chat" else daemon.generate)(name, TEXT, stream=stream)
    assert a.status == 400 and a.headers["x-muster-guardrail"] == "block"
    error = a.json()["error"]
    assert error["type"] == "guardrail_violation" and error["code"] == "content_filter" and "fruit" in error["message"]
    assert PHRASE not in a.body.decode()
    assert not upstream.requests
    log = daemon.log_of(a)
    assert (log["status"], log["http_status"]) == ("blocked", 400)
    assert hit(log) == [("fruit", START, LENGTH, "block", "input")]
    got = listed(daemon, name, 1)
    assert len(got) == 1 and got[0]["log_id"] == log["log_id"] and got[0]["start"] == START


def test_a_masked_prompt_reaches_the_model_masked_and_nothing_else_changes(daemon, upstream, guarded):
    name = guarded("mask-input", text="fine")
    body = (b'{ "messages":[{"role":"assistant","content":"A forbidden\\u0020fruit, caf\\u00e9"}, {"content":[{"type":"text",'
            b'"text":"%s"}],"role":"user"}],"x":1.50,  "model":"%s"}' % (TEXT.encode(), name.encode()))
    a = daemon.post("/v1/chat/completions", body)
    assert a.status == 200 and a.headers["x-muster-guardrail"] == "mask"
    sent = upstream.last()
    want = body.replace(b'"A forbidden\\u0020fruit, caf\\u00e9"', '"A [fruit], café"'.encode())
    want = want.replace(TEXT.encode(), b"I like [fruit] pie a lot.")
    want = want.replace(b'"%s"' % name.encode(), json.dumps(sent.json()["model"]).encode())
    assert sent.body == want
    log = daemon.log_of(a)
    assert log["status"] == "ok" and PHRASE not in json.dumps(log) and log["guardrail"]["action"] == "mask"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_can_be_answered_by_fallback_content(daemon, upstream, guarded, stream):
    name = guarded("fallback-input")
    if stream:
        with daemon.chat_stream(name, TEXT) as a:
            assert m.chat_text(a.events()) == CONTENT
    else:
        a = daemon.chat(name, TEXT)
        assert a.json()["choices"][0]["message"]["content"] == CONTENT
    assert a.headers["x-muster-fallback"] == "content" and not upstream.requests
    log = daemon.log_of(a)
    assert (log["status"], log["fallback"], log["guardrail"]["action"]) == ("blocked", "content", "fallback")


def test_a_flagged_prompt_goes_on(daemon, upstream, guarded):
    name = guarded("flag-input", text="fine")
    a = daemon.chat(name, TEXT)
    assert a.status == 200 and a.headers["x-muster-guardrail"] == "flag"
    assert upstream.last().json()["messages"][0]["content"] == TEXT
    assert hit(daemon.log_of(a)) == [("fruit", START, LENGTH, "flag", "input")]


@pytest.mark.parametrize("place", ["earlier", "context", "tool", "parts"])
def test_every_text_of_a_request_is_judged(daemon, upstream, guarded, place):
    name = guarded("block-input")
    user = {"role": "user", "content": "hello"}
    if place == "context":
        a = daemon.generate(name, "hello", context={"deep": [{"er": TEXT}]})
    else:
        more = {"earlier": {"role": "assistant", "content": TEXT},
                "tool": {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": TEXT}}]},
                "parts": {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": TEXT}]}}
        a = daemon.chat(name, messages=[more[place], user])
    assert a.status == 400 and a.json()["error"]["type"] == "guardrail_violation"
    assert not upstream.requests


def test_what_the_application_itself_says_is_not_judged(daemon, upstream, guarded):
    name = guarded("block-input", text="fine")
    for role in ("system", "developer"):
        a = daemon.chat(name, messages=[{"role": role, "content": TEXT}, {"role": "user", "content": "hello"}])
        assert a.status == 200


# --- whole answers ---


@pytest.mark.parametrize("protocol", ["openai", "ollama", "generate"])
@pytest.mark.parametrize("front", ["chat", "generate"])
@pytest.mark.parametrize("action", ["block", "mask", "fallback", "flag"])
def test_a_whole_answer_is_judged(daemon, guarded, front, protocol, action):
    name = guarded(action + "-output", protocol)
    a = (daemon.chat if front == "chat" else daemon.generate)(name, "hello")
    got = a.json()
    text = got["text"] if front == "generate" else got["choices"][0]["message"]["content"]
    assert a.status == 200 and a.headers["x-muster-guardrail"] == action
    if action == "block":
        finish = got["finish_reason"] if front == "generate" else got["choices"][0]["finish_reason"]
        assert PHRASE not in a.body.decode() and finish == "content_filter"
        assert front == "chat" or got["success"] is False
    else:
        assert text == {"mask": TEXT.replace(PHRASE, "[fruit]"), "fallback": CONTENT, "flag": TEXT}[action]
    if action == "fallback":
        assert a.headers["x-muster-fallback"] == "content"
    log = daemon.log_of(a)
    assert log["status"] == ("blocked" if action in ("block", "fallback") else "ok")
    assert hit(log) == [("fruit", START, LENGTH, action, "output")] and log["guardrail"]["action"] == action
    got = listed(daemon, name, 1)
    assert [(v["rule"], v["start"], v["length"], v["severity"]) for v in got] == [("fruit", START, LENGTH, "high")]


def test_a_masked_answer_changes_nowhere_else_and_loses_its_logprobs(daemon, upstream, guarded):
    name = guarded("mask-output")
    body = ('{ "id":"x","object":"chat.completion","created":1,"model":"m","vendor":1.50,"choices":[ {"index":0,"logprobs":'
            '{"content":[{"token":"forbidden"}]},"message":{"role":"assistant","content":"%s","refusal":null},'
            '"finish_reason":"stop"}]}' % TEXT).encode()
    upstream.default = m.answer_with(200, body)
    a = daemon.chat(name, logprobs=True)
    want = body.replace(TEXT.encode(), TEXT.replace(PHRASE, "[fruit]").encode())
    assert a.body == want.replace(b'{"content":[{"token":"forbidden"}]}', b"null")


def test_every_choice_is_judged_and_its_logprobs_go_along(daemon, upstream, guarded):
    name = guarded("mask-output")
    answer = m.completion("clean")
    second = json.loads(json.dumps(answer["choices"][0]))
    second.update(index=1, message={"role": "assistant", "content": TEXT, "refusal": None},
                  logprobs={"content": [{"token": PHRASE, "logprob": -1}]})
    answer["choices"].append(second)
    upstream.default = m.answer_with(200, answer)
    a = daemon.chat(name, n=2)
    assert PHRASE not in a.body.decode()
    assert [c["message"]["content"] for c in a.json()["choices"]] == ["clean", TEXT.replace(PHRASE, "[fruit]")]


@pytest.mark.parametrize("message", [
    {"content": "fine", "reasoning_content": TEXT}, {"content": "fine", "reasoning": TEXT},
    {"content": "fine", "vendor_text": {"x": [TEXT]}}, {"content": None, "refusal": TEXT},
    {"content": None, "tool_calls": [{"id": "1", "type": "function", "function": {
        "name": "f", "arguments": json.dumps({"q": TEXT})}}]}])
def test_every_text_of_an_answer_is_judged(daemon, upstream, guarded, message):
    name = guarded("block-output")
    answer = m.completion()
    answer["choices"][0]["message"] = dict({"role": "assistant"}, **message)
    upstream.default = m.answer_with(200, answer)
    a = daemon.chat(name)
    assert PHRASE not in a.body.decode() and a.headers["x-muster-guardrail"] == "block"
    assert daemon.log_of(a)["status"] == "blocked"


def test_escapes_hide_nothing(daemon, upstream, guarded):
    name = guarded("block-output")
    body = json.dumps(m.completion("X")).replace('"X"', '"\\u0066orbidden\\u0020fr\\u0075it"')
    upstream.default = m.answer_with(200, body)
    a = daemon.chat(name)
    assert "u0066" not in a.body.decode() and a.headers["x-muster-guardrail"] == "block"


# --- streams ---


def judged_stream(daemon, name, front="chat"):
    with (daemon.chat_stream if front == "chat" else daemon.generate_stream)(name) as s:
        got = s.events()
    text = m.chat_text(got) if front == "chat" else "".join(e.get("text", "") for e in got)
    return s, got, text


ENDS = {"block": TEXT[:START], "mask": TEXT.replace(PHRASE, "[fruit]"), "flag": TEXT}


@pytest.mark.parametrize("front", ["chat", "generate"])
@pytest.mark.parametrize("action", ["block", "mask", "flag", "fallback"])
def test_a_match_is_found_wherever_the_stream_is_cut(daemon, upstream, guarded, action, front):
    name = guarded(action + "-output")
    cuts = [(TEXT[:i], TEXT[i:]) for i in range(START - 1, START + LENGTH + 2)]
    cuts += [tuple(TEXT), (TEXT[:START + 3], TEXT[START + 3:START + 9], TEXT[START + 9:]), (TEXT,)]
    for pieces in cuts:
        upstream.default = cut(*pieces)
        s, got, text = judged_stream(daemon, name, front)
        if action == "fallback":
            assert text == CONTENT or TEXT[:START].startswith(text), pieces
        elif action == "block":
            assert TEXT[:START].startswith(text), (pieces, text)
        else:
            assert text == ENDS[action], (pieces, text)
        assert front == "generate" or got[-1] == "[DONE]"
        if front == "chat":
            want = {"block": "content_filter", "mask": "stop", "flag": "stop"}.get(action)
            assert want is None or m.finish_of(got) == want
        assert PHRASE not in s.raw.decode() or action == "flag"
        log = daemon.log_of(s)
        assert hit(log) == [("fruit", START, LENGTH, action, "output")], pieces
        assert log["status"] == ("blocked" if action in ("block", "fallback") else "ok")
        assert log["guardrail"]["action"] == action


def test_a_stream_can_be_answered_by_fallback_content(daemon, upstream, guarded):
    name = guarded("fallback-output")
    upstream.default = cut("Forbidden ", "fruit first")
    s, got, text = judged_stream(daemon, name)
    assert text == CONTENT and m.finish_of(got) == "stop" and got[-1] == "[DONE]"
    assert daemon.log_of(s)["fallback"] == "content"


@pytest.mark.parametrize("action", ["mask", "flag"])
def test_a_stream_without_a_match_is_not_touched(daemon, upstream, guarded, action):
    name = guarded(action + "-output")
    events = [b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"x":1.50}]}\n\n',
              b'data: { "choices":[ {"index":0,"delta":{"content":"It is forbidden "}}]}\n\n',
              b'data: {"choices":[{"index":0,"delta":{"content":"to pick flowers. caf\\u00e9"}}]}\n\n',
              b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"]

    def run(c, r):
        c.begin_stream()
        c.chunk(b"".join(events))
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(name) as s:
        s.events()
    assert s.raw == b"".join(events)


def test_clean_text_before_a_possible_match_leaves_at_once(daemon, upstream, guarded):
    """While "forbid" is undecided, what stands before it is already with the caller."""
    name = guarded("block-output")
    gate = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("Well, this is surely forbid"))
        assert gate.wait(m.LIMIT)
        c.event(m.chunk("ding weather."))
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(name) as s:
        got = [s.event()]
        while not m.chat_text(got).endswith("surely "):
            got.append(s.event())
        assert m.chat_text(got) == "Well, this is surely "
        gate.set()
        got += s.events()
    assert m.chat_text(got) == "Well, this is surely forbidding weather."


def test_text_that_cannot_match_is_not_held(daemon, upstream, guarded):
    name = guarded("block-output")
    gates = [threading.Event() for _ in range(4)]

    def run(c, r):
        c.begin_stream()
        for gate in gates:
            c.event(m.chunk("nothing here. "))
            assert gate.wait(m.LIMIT)
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(name) as s:
        got = []
        for i, gate in enumerate(gates):
            while len(m.chat_text(got)) < 14 * (i + 1) - 1:
                got.append(s.event())
            gate.set()
        assert s.events()[-1] == "[DONE]"


def test_an_unfinished_candidate_is_released_at_the_end(daemon, upstream, guarded):
    name = guarded("block-output")
    upstream.default = cut("This is forbidden fru")
    s, got, text = judged_stream(daemon, name)
    assert text == "This is forbidden fru" and m.finish_of(got) == "stop" and got[-1] == "[DONE]"
    log = daemon.log_of(s)
    assert log["status"] == "ok" and not log["guardrail"]["violations"]


def test_an_unfinished_candidate_is_released_when_a_stream_breaks_off(daemon, upstream, guarded):
    name = guarded("block-output")
    seen = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("So this is forbidden fru"))
        assert seen.wait(m.LIMIT)
        c.reset()

    upstream.default = run
    with daemon.chat_stream(name) as s:
        got = [s.event()]
        seen.set()
        got += s.events()
    assert m.chat_text(got) == "So this is forbidden fru" and "error" in got[-1]
    assert daemon.log_of(s)["status"] == "truncated"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 19])
@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_personal_data_over_several_events_is_masked(daemon, upstream, guarded, size, protocol):
    name = guarded("cards", protocol)
    text = "Pay with %s, or %s. Not 1234 5678 9012 3456!" % (CARD, CARD.replace(" ", "-"))
    pieces = [text[i:i + size] for i in range(0, len(text), size)]
    if protocol == "openai":
        upstream.default = cut(*pieces)
    else:
        upstream.default = lambda c, r: m.ollama(c, r.json(), text, pieces)
    s, got, out = judged_stream(daemon, name)
    assert out == "Pay with <card>, or <card>. Not 1234 5678 9012 3456!"
    assert "1111" not in s.raw.decode()
    assert [h[1:3] for h in hit(daemon.log_of(s), "card")] == [(9, 19), (33, 19)]


def test_logprobs_go_when_the_text_of_an_event_is_masked(daemon, upstream, guarded):
    name = guarded("mask-output")

    def event(text, index=0):
        e = m.chunk(text, index=index)
        e["choices"][0]["logprobs"] = {"content": [{"token": text, "logprob": -0.5}]}
        return e

    upstream.default = m.events(event("I like "), event("forbidden"), event(" fruit"), event(" pie."),
                                event("forbidden fruit", 1), m.chunk(finish="stop"), m.chunk(finish="stop", index=1),
                                "[DONE]")
    with daemon.chat_stream(name, logprobs=True, n=2) as s:
        got = s.events()
    assert m.chat_text(got) == "I like [fruit] pie." and m.chat_text(got, 1) == "[fruit]"
    raw = s.raw.decode()
    assert "forbidden" not in raw and '"token": "I like "' in raw


@pytest.mark.parametrize("delta", ["reasoning_content", "tool", "vendor", "second choice"])
def test_every_text_of_a_stream_is_judged(daemon, upstream, guarded, delta):
    name = guarded("block-output")

    def piece(text):
        if delta == "tool":
            return m.chunk(tool_calls=[{"index": 0, "function": {"arguments": text}}])
        if delta == "second choice":
            return m.chunk(text, index=1)
        return m.chunk(**{"vendor_text" if delta == "vendor" else delta: text})

    upstream.default = m.events(m.chunk("fine "), piece("the forbid"), m.chunk("so "), piece("den fru"), piece("it is"),
                                m.chunk(finish="stop"), "[DONE]")
    with daemon.chat_stream(name, n=2) as s:
        got = s.events()
    assert "den fru" not in s.raw.decode() and got[-1] == "[DONE]"
    assert m.finish_of(got) == "content_filter" and daemon.log_of(s)["status"] == "blocked"


def test_texts_of_different_choices_do_not_add_up(daemon, upstream, guarded):
    name = guarded("block-output")
    upstream.default = m.events(m.chunk("forbidden "), m.chunk("fruit", index=1), m.chunk(" city", index=0),
                                m.chunk(" salad", index=1), m.chunk(finish="stop"), m.chunk(finish="stop", index=1),
                                "[DONE]")
    with daemon.chat_stream(name, n=2) as s:
        got = s.events()
    assert m.chat_text(got) == "forbidden  city" and m.chat_text(got, 1) == "fruit salad"


@pytest.mark.parametrize("stream", [False, True])
def test_answers_of_the_sort_that_are_streamed_whole_are_judged_too(daemon, upstream, guarded, stream):
    """The upstream was asked for a stream and sent a whole answer."""
    name = guarded("block-output")
    upstream.default = m.answer_with(200, m.completion(TEXT))
    a = daemon.chat(name, stream=stream)
    assert PHRASE not in a.body.decode() and daemon.log_of(a)["status"] == "blocked"


def test_many_matches_in_a_long_stream_are_all_masked(daemon, upstream, guarded):
    name = guarded("mask-output")
    upstream.default = cut(*(["forbidden ", "fruit, "] * 300))
    s, got, text = judged_stream(daemon, name)
    assert text == "[fruit], " * 300 and got[-1] == "[DONE]"
    assert daemon.log_of(s)["status"] == "ok"


def test_a_mask_that_stands_for_characters_of_several_bytes_keeps_them_whole(daemon, upstream, guarded):
    name = guarded("mask-output")
    text = "žluťoučký kůň 🐎 forbidden fruit 🐎 ľ"
    raw = text.encode()
    upstream.default = cut(*text)
    s, got, out = judged_stream(daemon, name)
    assert out == text.replace(PHRASE, "[fruit]")
    assert hit(daemon.log_of(s))[0][1:3] == (raw.index(PHRASE.encode()), LENGTH)


def test_guardrails_that_are_off_say_skipped(start_daemon, make_upstream):
    d = start_daemon("guardrails:\n  enabled: false\n")
    d.policy("p", rule("fruit", "block"))
    d.use_case("open", policy="p")
    d.register("open", make_upstream(m.ok(TEXT)))
    a = d.chat("open")
    assert a.headers["x-muster-guardrail"] == "skipped" and PHRASE in a.body.decode()
    assert d.log_of(a)["guardrail"]["skipped"] is True


def test_the_default_policy_is_on_without_a_word(daemon, upstream):
    name = daemon.name()
    daemon.use_case(name)
    daemon.register(name, upstream)
    upstream.default = m.ok("Your card is %s, dear." % CARD)
    a = daemon.chat(name)
    assert a.headers["x-muster-guardrail"] != "skipped" and CARD not in a.body.decode()
