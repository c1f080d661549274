# SPDX-License-Identifier: Apache-2.0
"""What upstreams of Anthropic's and Gemini's protocol can do wrong that OpenAI's cannot: rows as in test_faults.py, and one kind
more:

  filtered  the provider withholds the answer, or the rest of it: the caller is told so, and nobody else is asked

Callers speak OpenAI's protocol, /api/v1/generate or the upstream's own.
"""
import json
import threading

import pytest

import grammar as g
import muster as m
import test_protocol_gemini as gemini
import test_protocol_translate as t
from test_faults import (BEGINNINGS, BEGUN, NEXT, TEXT, Bench, Row, ask, bench, check_log, check_upstream, chunks, cut,
                         fault, good, head, http, plays, refused, run, says, text_of)

assert bench  # a fixture


def filtered(send, text="", then="keep"):
    """text: what of the answer comes all the same."""
    return Row("filtered", send, then, 200, text, None, "calm", "ok")


# --- Anthropic ---


def named(*events):
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def claude(*events, end=True):
    return head() + chunks(named(*events), end=end)


def claude_error(kind, message="boom"):
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def claude_status(status, kind, *headers):
    return http(status, json.dumps(claude_error(kind)).encode(), *headers)


def delta(stop):
    return {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 3}}


START = {"type": "message_start", "message": dict(t.message(), stop_reason=None)}
PING, STOP, OVERLOADED = {"type": "ping"}, {"type": "message_stop"}, claude_error("overloaded_error")
OPENS, SAYS, CLOSES = t.text_block(0, TEXT)
BLOCK = (OPENS, SAYS, CLOSES)
CLAUDE_ANY = {
    "529": says(529, claude_status(529, "overloaded_error")),
    "500": says(500, claude_status(500, "api_error")),
    "504": says(504, claude_status(504, "timeout_error")),
    "429": says(429, claude_status(429, "rate_limit_error"), told=429),
    "401": says(401, claude_status(401, "authentication_error")),
    "403": says(403, claude_status(403, "permission_error")),
    "404": says(404, claude_status(404, "not_found_error")),
    "400": refused(400)._replace(send=claude_status(400, "invalid_request_error")),
    "413": refused(413)._replace(send=claude_status(413, "request_too_large")),
    "error in 200": fault("boom", http(200, json.dumps(OVERLOADED).encode())),
    "another's answer": fault("", http(200, json.dumps(m.completion(TEXT)).encode())),
    "half of an answer": fault("", http(200, json.dumps(t.message({"type": "text", "text": TEXT})).encode()[:-20])),
}
CLAUDE_WHOLE = {
    "refusal": filtered(http(200, json.dumps(t.message({"type": "text", "text": "I can"}, stop="refusal")).encode()), "I can"),
    "context full": good(http(200, json.dumps(t.message({"type": "text", "text": TEXT},
                                                         stop="model_context_window_exceeded")).encode())),
}
CLAUDE_EVENTS = {
    "whole": good(claude(START, PING, *BLOCK, delta("end_turn"), STOP)),
    "pings between everything": good(claude(PING, START, PING, OPENS, PING, SAYS, PING, CLOSES, delta("end_turn"), PING, STOP),
                                     ),
    "events of a later version": good(claude(START, {"type": "weather", "degrees": 7}, *BLOCK, delta("end_turn"), STOP),
                                      ),
    "events without names": good(head() + chunks(b"".join(
        b"data: %s\n\n" % json.dumps(e).encode() for e in (START, *BLOCK, delta("end_turn"), STOP)))),
    "no message_stop": good(claude(START, *BLOCK, delta("end_turn"))),
    "no message_stop, closed": good(claude(START, *BLOCK, delta("end_turn"), end=False), "close"),
    "no end of the block": good(claude(START, OPENS, SAYS, delta("end_turn"), STOP)),
    "overloaded first": fault("boom", claude(OVERLOADED)),
    "overloaded after the start": fault("boom", claude(START, PING, OVERLOADED)),
    "overloaded in an open block": fault("boom", claude(START, OPENS, OVERLOADED)),
    "start and stop alone": fault("nothing", claude(START, STOP)),
    "pings alone": fault("before its end", claude(*[PING] * 9)),
    "pings alone, closed": fault("middle", claude(*[PING] * 9, end=False), "close"),
    "pings, and silence": fault("silent", claude(START, PING, PING, end=False), "hang", 504, pace="between"),
    "pings without end": fault("did not finish", [head()] + [chunks(named(PING), end=False)] * 9, "drip", 504, pace="total"),
    "refused at once": filtered(claude(START, delta("refusal"), STOP)),
    "refused in the middle": filtered(claude(START, *BLOCK, delta("refusal"), STOP), TEXT),
}
CLAUDE_CUTS = {
    "overloaded": cut("boom", chunks(named(OVERLOADED))),
    "overloaded, and the end": cut("boom", chunks(named(OVERLOADED, CLOSES, delta("end_turn"), STOP))),
    "error behind the reason": cut("boom", chunks(named(CLOSES, delta("end_turn"), claude_error("api_error")))),
    "no reason and no message_stop": cut("before its end", chunks(named(CLOSES))),
    "closed after the block": cut("closed", chunks(named(CLOSES), end=False), "close"),
    "reset": cut("", chunks(named(PING), end=False), "reset"),
    "pings, and silence": cut("silent", chunks(named(PING), end=False), "hang", "between", "timeout"),
    "pings without end": cut("did not finish", [chunks(named(PING), end=False)] * 9, "drip", "total", "timeout"),
    "half an event": cut("", chunks(named(SAYS)[:-20])),
}

# --- Gemini ---


def reply(*parts, **more):
    return gemini.reply(*parts, **more)


def streamed(*replies, end=True):
    return head() + lines(*replies, end=end)


def lines(*replies, end=True):
    return chunks(b"".join(b"data: %s\r\n\r\n" % json.dumps(r).encode() for r in replies), end=end)


def whole(value):
    return http(200, json.dumps(value).encode())


def google_error(code, status, *details):
    return {"error": {"code": code, "message": "boom", "status": status, "details": list(details)}}


def google_status(code, status, *details):
    return http(code, json.dumps(google_error(code, status, *details)).encode())


WORDS, PART = {"text": TEXT}, reply({"text": "I can"}, finish=None)
NO_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
USAGE = {"usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}}
UNAVAILABLE = google_error(503, "UNAVAILABLE")
BLOCKED = dict(USAGE, promptFeedback={"blockReason": "SAFETY"})
BROKEN_OFF = "broke its answer off"
WITHHELD = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE")
UNDONE = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE")
GEMINI_ANY = {
    "503": says(503, google_status(503, "UNAVAILABLE")),
    "500": says(500, google_status(500, "INTERNAL")),
    "504": says(504, google_status(504, "DEADLINE_EXCEEDED")),
    "429": says(429, google_status(429, "RESOURCE_EXHAUSTED"), told=429),
    "403": says(403, google_status(403, "PERMISSION_DENIED")),
    "404": says(404, google_status(404, "NOT_FOUND")),
    "400": refused(400)._replace(send=google_status(400, "INVALID_ARGUMENT")),
    "400 for a bad key": says(400, google_status(400, "INVALID_ARGUMENT", NO_KEY)),
    "errors in an array": says(503, http(503, json.dumps([UNAVAILABLE]).encode())),
    "error in 200": fault("boom", whole(UNAVAILABLE)),
    "an array": fault("", http(200, json.dumps([reply(WORDS)]).encode())),
    "no candidates": fault("no candidates", whole(USAGE)),
}
GEMINI_WHOLE = dict({
    "prompt blocked": filtered(whole(BLOCKED)),
    "prompt blocked, in words": filtered(whole(dict(BLOCKED, promptFeedback={
        "blockReason": "OTHER", "blockReasonMessage": "Not for us."}))),
    "an unheard reason": good(whole(reply(WORDS, finish="TIRED"))),
    "no reason and no words": fault("", whole(reply(finish=None))),
}, **{reason: filtered(whole(reply({"text": "I can"}, finish=reason)), "I can") for reason in WITHHELD},
    **{reason: fault(BROKEN_OFF, whole(reply(finish=reason))) for reason in UNDONE})
GEMINI_EVENTS = dict({
    "whole": good(streamed(reply(WORDS))),
    "in pieces": good(streamed(reply({"text": "Hi "}, finish=None), reply({"text": "there."}, finish=None), reply({"text": ""})),
                      ),
    "usage behind the end": good(streamed(reply(WORDS), USAGE)),
    "closed behind the end": good(streamed(reply(WORDS), end=False), "close"),
    "error first": fault("boom", streamed(UNAVAILABLE)),
    "error after usage": fault("boom", streamed(USAGE, UNAVAILABLE)),
    "nothing but usage": fault("before its end", streamed(USAGE)),
    "nothing but empty words": fault("before its end", streamed(reply({"text": ""}, finish=None))),
    "an array": fault("", http(200, json.dumps([reply(WORDS)]).encode())),
    "no object first": fault("object", streamed([1])),
    "prompt blocked": filtered(streamed(BLOCKED)),
    "prompt blocked after usage": filtered(streamed(USAGE, BLOCKED)),
}, **{reason: filtered(streamed(PART, reply(finish=reason)), "I can") for reason in WITHHELD},
    **{reason + " at once": filtered(streamed(reply(finish=reason))) for reason in WITHHELD},
    **{reason: fault(BROKEN_OFF, streamed(reply(finish=reason))) for reason in UNDONE})
GEMINI_CUTS = dict({
    "error": cut("boom", lines(UNAVAILABLE)),
    "error, and more": cut("boom", lines(UNAVAILABLE, reply(WORDS))),
    "quota in the middle": cut("boom", lines(google_error(429, "RESOURCE_EXHAUSTED")))._replace(held=429),
    "no reason": cut("before its end", lines(reply(WORDS, finish=None))),
    "no reason, closed": cut("closed", lines(reply(WORDS, finish=None), end=False), "close"),
    "usage in place of a reason": cut("before its end", lines(USAGE)),
    "reset": cut("", b"", "reset"),
    "silence": cut("silent", lines(USAGE, end=False), "hang", "between", "timeout"),
    "no object": cut("object", lines(7)),
    "half an event": cut("", chunks(b"data: " + json.dumps(PART).encode()[:-20])),
}, **{reason: cut(BROKEN_OFF, lines(reply(finish=reason))) for reason in UNDONE})

BEGINNINGS.update(
    anthropic=claude(START, PING, OPENS, *list(t.text_block(0, "One ", "two "))[1:3], end=False),
    gemini=streamed(reply({"text": "One "}, finish=None), reply({"text": "two "}, finish=None), end=False))

# --- what callers of the same protocol see ---


def said_of(protocol, answer):
    """None: it is an error."""
    if answer.headers["content-type"] == "text/event-stream":
        return g.stream_said(protocol, answer.body)
    if answer.status != 200:
        if "details" not in answer.json()["error"]:  # a refusal of the upstream's passes as it came
            g.ERRORS[protocol](answer.json())
        return None
    return g.SAID[protocol]([answer.json()])


def native(name, stream, protocol):
    """Path and body of a request."""
    if protocol == "anthropic":
        return "/v1/messages", {"model": name, "max_tokens": 9, "stream": stream,
                                "messages": [{"role": "user", "content": "hello"}]}
    return gemini.path_of(name, gemini.STREAM if stream else "generateContent"), gemini.GO


def ask_native(b, name, stream, protocol, seen=None):
    """(the answer, what it said); seen: is told when the first words have come."""
    path, body = native(name, stream, protocol)
    if not seen:
        answer = b.daemon.post(path, body)
        return answer, said_of(protocol, answer)
    with b.daemon.stream(path, body) as s:
        while b"two" not in s.raw:
            assert s.event(), s.answer
        seen.set()
        s.events()
        s.answer.body = s.raw
        return s.answer, said_of(protocol, s.answer)


def run_native(b, row, stream, chain, protocol):
    seen = threading.Event() if row.kind == "cut" else None
    name, models = b.case(row.pace, chain, "error", protocol)
    b.forget()
    b.bad.default = plays(row, seen, protocol)
    answer, said = ask_native(b, name, stream, protocol, seen)
    moves_on = chain and row.kind == "fault"
    assert len(b.next.requests) == moves_on and len(b.bad.requests) == 1
    if moves_on:
        assert said.text == NEXT and not said.error, answer
    elif row.kind == "good":
        assert said.text == TEXT and said.finish and not said.error, answer
    elif row.kind == "filtered":
        assert answer.status == 200 and said.text == row.result and not said.error, answer
    elif row.kind == "cut":
        assert said.text.startswith(BEGUN) and said.error, answer
    else:
        assert answer.status == row.status and said is None, answer


def run_filtered(b, row, stream, chain, front, mode, protocol):
    name, models = b.case(row.pace, chain, mode, protocol)
    b.forget()
    b.bad.default = plays(row, None, protocol)
    s = ask(b, name, stream, front)
    text = text_of(s) or ""
    assert s.status == 200 and row.result in text, s.answer
    if front == "chat":
        assert text == row.result, s.answer
        said = g.stream_said("openai", s.raw) if stream else g.SAID["openai"]([s.answer.json()])
        assert said.finish == "content_filter" and not said.error, s.answer
    assert not b.next.requests
    log = b.daemon.log_of(s)
    assert [a["result"] for a in log["attempts"]] == ["ok"] and (log["status"], log["fallback"]) == ("ok", "none"), log
    assert log["finish_reason"] in ("content_filter", "refusal"), log


def run_row(b, row, stream, chain, mode, protocol):
    row = row._replace(keeps=None)  # of connections test_faults.py tells
    fronts = ["chat"] if chain or mode == "buffer" else ["chat", "generate"]
    for front in fronts:
        if row.kind == "filtered":
            run_filtered(b, row, stream, chain, front, mode, protocol)
        else:
            run(b, row, stream, chain, front, mode, protocol)
    if mode == "error":
        run_native(b, row, stream, chain, protocol)


ANY = {"anthropic": CLAUDE_ANY, "gemini": GEMINI_ANY}
WHOLE = {"anthropic": CLAUDE_WHOLE, "gemini": GEMINI_WHOLE}
EVENTS = {"anthropic": CLAUDE_EVENTS, "gemini": GEMINI_EVENTS}
CUTS = {"anthropic": CLAUDE_CUTS, "gemini": GEMINI_CUTS}


def rows(tables):
    return pytest.mark.parametrize("protocol, row", [(p, r) for p, table in tables.items() for r in table])


@pytest.mark.parametrize("chain", [False, True], ids=["alone", "chain"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@rows(ANY)
def test_fault(bench, protocol, row, stream, chain):
    run_row(bench, ANY[protocol][row], stream, chain, "error", protocol)


@pytest.mark.parametrize("chain", [False, True], ids=["alone", "chain"])
@rows(WHOLE)
def test_whole_answers(bench, protocol, row, chain):
    run_row(bench, WHOLE[protocol][row], False, chain, "error", protocol)


@pytest.mark.parametrize("chain", [False, True], ids=["alone", "chain"])
@pytest.mark.parametrize("mode", ["error", "buffer"])
@rows(EVENTS)
def test_streams_before_the_first_word(bench, protocol, row, mode, chain):
    run_row(bench, EVENTS[protocol][row], True, chain, mode, protocol)


@pytest.mark.parametrize("chain", [False, True], ids=["alone", "chain"])
@pytest.mark.parametrize("mode", ["error", "buffer"])
@rows(CUTS)
def test_streams_after_the_first_words(bench, protocol, row, mode, chain):
    run_row(bench, CUTS[protocol][row], True, chain, mode, protocol)


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.2s"}
WAITS = {
    "gemini": google_status(429, "RESOURCE_EXHAUSTED", {"@type": "type.googleapis.com/google.rpc.QuotaFailure"}, RETRY),
    "anthropic": claude_status(529, "overloaded_error", "retry-after: 8"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("protocol", WAITS)
def test_one_that_asks_to_be_left_alone_is(bench, protocol, stream):
    """The caller is told how long; where another may serve, nobody asks it again before."""
    d, name = bench.daemon, bench.daemon.name()
    model = d.register(name, bench.bad, protocol=protocol)
    d.use_case(name, policy="none", fallback_content="")
    bench.forget()
    bench.bad.default = lambda c, r: c.send(WAITS[protocol])
    answer, said = ask_native(bench, name, stream, protocol)
    assert answer.headers["retry-after"] == "8" and said is None and len(bench.bad.requests) == 1
    assert answer.status == (429 if protocol == "gemini" else 502)
    name = d.name()
    d.register(name, bench.bad, protocol=protocol)
    d.use_case(name, policy="none", fallback_content="", fallback=[d.register(name, bench.next, promote=False)])
    for n in (1, 1):
        answer, said = ask_native(bench, name, stream, protocol)
        assert answer.status == 200 and said.text == NEXT
    assert len(bench.bad.requests) == 2 and len(bench.next.requests) == 2, model
