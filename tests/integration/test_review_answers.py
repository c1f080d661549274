# SPDX-License-Identifier: Apache-2.0
"""Answers and errors that could carry something past the guardrails, or that are too large for something on their way."""
import json
import threading

import pytest

import muster as m

CARD = "4111 1111 1111 1111"
WORD = {"id": "w", "kind": "literal", "category": "test", "values": ["forbidden fruit"], "severity": "high",
        "side": "output", "action": "block"}
CARDS = {"id": "c", "kind": "pii", "category": "pii", "values": ["card"], "severity": "high", "action": "mask",
         "mask": "[CARD]", "side": "output"}


def guarded(daemon, upstream, *rules, **settings):
    name = daemon.name()
    daemon.policy(name, *rules)
    daemon.use_case(name, policy=name, **dict({"fallback_content": ""}, **settings))
    daemon.register(name, upstream)
    return name


@pytest.mark.parametrize("body", [
    {"error": {"message": "cannot read 'forbidden fruit'", "type": "x"}},
    {"error": {"message": "cannot", "type": "x", "details": [{"quoted": "a forbidden \u0066ruit"}]}},
    {"error": {"message": "cannot", "a forbidden fruit": 1}}], ids=["message", "other member", "name"])
def test_error_of_an_upstream_is_judged(daemon, upstream, body):
    name = guarded(daemon, upstream, WORD)
    upstream.default = m.answer_with(400, json.dumps(body))
    answer = daemon.chat(name)
    assert answer.status == 400 and b"fruit" not in answer.body, answer
    assert "withheld" in answer.json()["error"]["message"]


def test_clean_error_of_an_upstream_passes_as_it_is(daemon, upstream):
    name = guarded(daemon, upstream, WORD)
    body = b'{ "error": {"message":"max_tokens is too large","vendor":[1.0]} }'
    upstream.default = m.answer_with(422, body)
    answer = daemon.chat(name)
    assert (answer.status, answer.body) == (422, body)


def test_error_inside_a_stream_is_judged(daemon, upstream):
    name = guarded(daemon, upstream, WORD)
    go = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("Fine so far. "))
        assert go.wait(m.LIMIT)
        c.event({"error": {"message": "a forbidden fruit broke me"}})
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(name) as s:
        s.event()
        go.set()
        assert "withheld" in s.events()[-1]["error"]["message"]
    assert b"fruit" not in s.raw


def test_error_instead_of_a_stream_is_judged(daemon, upstream):
    name = guarded(daemon, upstream, WORD)
    upstream.default = m.events({"error": {"message": "a forbidden fruit broke me"}})
    answer = daemon.chat(name, stream=True)
    assert answer.status == 502 and b"fruit" not in answer.body and b"withheld" in answer.body


def parts(*texts):
    return [{"type": "text", "text": t} for t in texts]


def test_masked_parts_stay_masked_in_another_protocol(daemon, upstream):
    name = guarded(daemon, upstream, CARDS)
    upstream.default = m.answer_with(200, m.completion(parts("Card " + CARD, "and " + CARD + " too")))
    answer = daemon.generate(name)
    assert answer.status == 200 and b"4111" not in answer.body, answer
    assert answer.json()["text"].count("[CARD]") == 2
    assert "4111" not in daemon.log_of(answer)["output"]


def test_whole_answer_for_a_stream_has_its_calls_or_names_them(daemon, upstream, case):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = m.completion("text")
    answer["choices"][0]["message"]["tool_calls"] = [call]
    upstream.default = m.answer_with(200, answer)
    with daemon.chat_stream(case) as s:
        events = s.events()
    assert m.chat_text(events) == "text"
    calls = [c for v in events[:-1] for choice in v["choices"] for c in choice["delta"].get("tool_calls", [])]
    assert [(c["index"], c.get("id"), c["function"].get("name")) for c in calls] == [(0, "1", "f"), (0, None, None)]
    assert "".join(c["function"]["arguments"] for c in calls) == "{}"
    with daemon.generate_stream(case) as s:
        s.events()
    assert s.headers["x-muster-dropped-params"] == "tool_calls"


def test_large_answer_reaches_a_reader_that_is_slow(daemon, upstream, case):
    text = "long answer " * 1000000  # 12 MB
    upstream.default = m.answer_with(200, m.completion(text))
    with daemon.connect(rcvbuf=4096) as c:
        c.send_request("POST", "/v1/chat/completions",
                       {"model": case, "messages": [{"role": "user", "content": "hi"}]})
        answer = c.read_head()
        threading.Event().wait(0.3)  # the socket is full meanwhile
        answer.body = b"".join(c.pieces(answer))
    assert answer.status == 200 and answer.json()["choices"][0]["message"]["content"] == text


def test_exchange_with_more_text_than_a_log_record_holds_is_in_the_log(daemon, upstream, case):
    upstream.default = m.answer_with(200, m.completion("o" * 14000000))
    answer = daemon.chat(case, "p" * 6000000)
    assert answer.status == 200
    log = daemon.log_of(answer)
    assert log["status"] == "ok" and log["prompt"][:2] == "pp" and log["output"][:2] == "oo"


@pytest.mark.parametrize("where", ["beside the message", "beside the choices", "in a custom call"])
def test_words_in_members_that_are_not_known_are_judged(daemon, upstream, where):
    name = guarded(daemon, upstream, WORD)
    answer = m.completion("Fine.")
    if where == "beside the message":
        answer["choices"][0]["text"] = "a forbidden fruit"
    elif where == "beside the choices":
        answer["citations"] = [{"title": "a forbidden fruit"}]
    else:
        answer["choices"][0]["message"]["tool_calls"] = [
            {"id": "1", "type": "custom", "custom": {"name": "f", "input": "a forbidden fruit"}}]
    upstream.default = m.answer_with(200, answer)
    got = daemon.chat(name)
    assert got.status == 200 and b"a forbidden" not in got.body, got
    assert got.headers["x-muster-guardrail"] == "block"


def test_logprobs_of_a_masked_event_of_another_choice_do_not_leave(daemon, upstream):
    name = guarded(daemon, upstream, CARDS)
    event = m.chunk("Card %s now. " % CARD, index=1)
    event["choices"][0]["logprobs"] = {"content": [{"token": "4111", "logprob": -0.1}]}
    upstream.default = m.events(m.chunk("One. "), event, m.chunk("Two. "), "[DONE]")
    with daemon.chat_stream(name, n=2) as s:
        events = s.events()
    assert b"4111" not in s.raw and m.chat_text(events, 1) == "Card [CARD] now. "
