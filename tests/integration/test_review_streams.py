# SPDX-License-Identifier: Apache-2.0
"""Streams whose texts interleave, whose events hold more than one text, whose end is odd: what leaves, and when."""
import json
import threading

import pytest

import muster as m

CARD = "4111 1111 1111 1111"
WORD = {"id": "w", "kind": "literal", "category": "test", "values": ["forbidden fruit"], "severity": "high",
        "side": "output"}
CARDS = {"id": "c", "kind": "pii", "category": "pii", "values": ["card"], "severity": "high", "action": "mask",
         "mask": "[CARD]", "side": "output"}


def guarded(daemon, upstream, *rules, **settings):
    name = daemon.name()
    daemon.policy(name, *rules)
    daemon.use_case(name, policy=name, **dict({"fallback_content": ""}, **settings))
    daemon.register(name, upstream)
    return name


def test_fallback_rule_in_a_long_stream_gives_the_content_of_the_use_case(daemon, upstream):
    name = guarded(daemon, upstream, dict(WORD, action="fallback"), fallback_content="Ask the smith.")
    filler = [m.chunk("x" * 2000) for _ in range(400)]

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("a forbidden fruit. "))
        for f in filler:
            c.event(f)
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    for _ in range(10):
        with daemon.chat_stream(name) as s:
            events = s.events()
        assert m.chat_text(events) == "Ask the smith."
        assert events[-1] == "[DONE]" and m.finish_of(events) == "stop"
        assert s.headers["x-muster-fallback"] == "content"
        assert s.headers["x-muster-guardrail"] == "fallback"
    log = daemon.log(s.headers["x-muster-log-id"])
    assert log["output"] == "Ask the smith." and log["status"] == "blocked" and log["fallback"] == "content"
    assert len(log["attempts"]) == 1


def test_text_after_another_channel_that_ended_undecided_leaves_at_once(daemon, upstream):
    name = guarded(daemon, upstream, CARDS)
    go = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk(role="assistant", reasoning_content="the number is 4111"))
        c.event(m.chunk("So: "))
        c.event(m.chunk("hello there. "))
        assert go.wait(m.LIMIT)
        c.event(m.chunk("Bye."))
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(name) as s:
        text = ""
        while "hello" not in text:
            text += m.chat_text([s.event()])
        go.set()
        events = s.events()
    assert m.chat_text(events, member="reasoning_content") == "the number is 4111"
    assert events[-1] == "[DONE]" and events[-2]["choices"][0]["finish_reason"] == "stop"


def test_many_events_behind_an_undecided_channel_are_no_failure(daemon, upstream):
    name = guarded(daemon, upstream, CARDS)
    words = ["word%d " % i for i in range(30000)]

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk(role="assistant", reasoning_content="the number is 4111"))
        for i in range(0, len(words), 100):
            c.chunk("".join("data: %s\n\n" % json.dumps(m.chunk(w)) for w in words[i:i + 100]))
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(name) as s:
        events = s.events()
    assert m.chat_text(events) == "".join(words)
    assert events[-1] == "[DONE]"


def test_text_beside_the_first_one_is_judged_across_events(daemon, upstream):
    name = guarded(daemon, upstream, dict(WORD, action="block"))

    def both(a, b):
        return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [
            {"index": 0, "delta": {"content": a}, "finish_reason": None},
            {"index": 1, "delta": {"content": b}, "finish_reason": None}]}

    upstream.default = m.events(both("one ", "for"), both("two ", "bid"), both("three ", "den fruit"),
                                both("four", " more"), "[DONE]")
    with daemon.chat_stream(name, n=2) as s:
        events = s.events()
    assert b"den fruit" not in s.raw
    assert m.finish_of(events) == "content_filter" and events[-1] == "[DONE]"
    assert daemon.log(s.headers["x-muster-log-id"])["status"] == "blocked"


def test_an_event_with_a_forbidden_text_beside_a_clean_one_does_not_leave(daemon, upstream):
    name = guarded(daemon, upstream, dict(WORD, action="block"))
    upstream.default = m.events(m.chunk("Fine. "), m.chunk("Also fine. ", reasoning_content="a forbidden fruit"),
                                m.chunk("Still fine."), "[DONE]")
    with daemon.chat_stream(name) as s:
        events = s.events()
    assert b"forbidden" not in s.raw
    assert m.chat_text(events) == "Fine. " and m.finish_of(events) == "content_filter"


def test_event_with_several_texts_is_not_sent_twice_when_part_of_it_waits(daemon, upstream):
    name = guarded(daemon, upstream, CARDS)
    go = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("it costs 4111", reasoning_content="thought "))
        go.wait(0.3)  # longer than an event stays whole
        c.event(m.chunk(" gold.", finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(name) as s:
        events = s.events()
    assert m.chat_text(events) == "it costs 4111 gold."
    assert m.chat_text(events, member="reasoning_content") == "thought "


def test_log_of_a_masked_stream_has_what_the_caller_got(daemon, upstream):
    name = guarded(daemon, upstream, CARDS)
    upstream.default = m.streaming("pay with 4111 ", "1111 1111 ", "1111 now")
    with daemon.chat_stream(name) as s:
        text = m.chat_text(s.events())
    assert text == "pay with [CARD] now"
    log = daemon.log(s.headers["x-muster-log-id"])
    assert log["output"] == text and log["guardrail"]["action"] == "mask"


@pytest.mark.parametrize("first", ["role", "comment"])
def test_a_model_that_has_said_nothing_yet_can_still_be_replaced(daemon, upstream, make_upstream, first):
    other = make_upstream(m.ok("From the second."))
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    daemon.register(name, upstream)
    second = daemon.register(name, other, promote=False)
    daemon.use_case(name, fallback=[second])

    def run(c, r):
        c.begin_stream()
        if first == "role":
            c.event(m.chunk("", role="assistant"))
        else:
            c.chunk(": working\n\n")
        c.reset()

    upstream.default = run
    with daemon.chat_stream(name) as s:
        events = s.events()
    assert m.chat_text(events) == "From the second." and s.headers["x-muster-model"] == second


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_last_event_without_its_blank_line_is_not_joined_with_the_terminator(daemon, upstream, case, end):
    def run(c, r):
        c.head(200, {"Content-Type": "text/event-stream"})
        c.send(b'data: {"choices":[{"index":0,"delta":{"content":"all"}}]}\n\n'
               b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}' + end)
        c.close()

    upstream.default = run
    with daemon.chat_stream(case) as s:
        events = s.events()
    assert m.chat_text(events) == "all" and m.finish_of(events) == "stop" and events[-1] == "[DONE]"


def test_header_tells_what_the_guardrails_did_to_the_first_piece(daemon, upstream):
    name = guarded(daemon, upstream, CARDS)
    upstream.default = m.streaming("Card %s, yes. " % CARD, "And more.")
    with daemon.chat_stream(name) as s:
        s.events()
    assert s.headers["x-muster-guardrail"] == "mask"


@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson"])
@pytest.mark.parametrize("stream", [False, True])
def test_stream_from_a_model_that_was_not_asked_for_one_is_a_failure(daemon, upstream, kind, stream):
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    daemon.register(name, upstream, protocol="generate")

    def run(c, r):
        c.begin_stream(kind)
        c.event(m.chunk("surprise"))
        c.end_stream()

    upstream.default = run
    answer = daemon.chat(name, stream=stream)
    assert answer.status == 502 and "none was asked for" in answer.json()["error"]["message"], answer
