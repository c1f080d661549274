# SPDX-License-Identifier: Apache-2.0
"""answer_mode resume: a stream that breaks off goes on with what the next model makes of its beginning.

The first model says "One two " and breaks off; who goes on is given "One two" and says " three four.".  The caller has
"One two three four." in one answer of its protocol, whatever the models speak.
"""
import json
import threading

import pytest

import control
import grammar
import muster as m
import test_guardrails_serving as guarding

BEGUN, WHOLE = "One two ", "One two three four."

# --- what models say ---


def openai(*words):
    return [m.chunk("", role="assistant")] + [m.chunk(w) for w in words]


def anthropic(*words):
    return [{"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}] + [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": w}} for w in words]


def gemini_chunk(text, **more):
    return {"candidates": [dict({"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}, **more)],
            "responseId": "r1", "modelVersion": "up"}


def line(text, **more):
    return dict({"model": "up", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": text},
                 "done": False}, **more)


ENDS = {
    "openai": [m.chunk(finish="stop"), m.usage_chunk(), "[DONE]"],
    "anthropic": [{"type": "content_block_stop", "index": 0},
                  {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                   "usage": {"output_tokens": 3}}, {"type": "message_stop"}],
    "gemini": [dict(gemini_chunk("", finishReason="STOP"),
                    usageMetadata={"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10})],
    "ollama": [line("", done=True, done_reason="stop", prompt_eval_count=7, eval_count=3)],
}
SAYS = {"openai": openai, "anthropic": anthropic, "gemini": lambda *w: [gemini_chunk(x) for x in w],
        "ollama": lambda *w: [line(x) for x in w]}
BACKS = list(SAYS)


def emit(c, protocol, events):
    for e in events:
        if protocol == "ollama":
            c.line(e if c.path != "/api/generate" else dict(
                {k: v for k, v in e.items() if k != "message"}, response=e["message"]["content"]))
        elif protocol == "anthropic":
            c.chunk("event: %s\ndata: %s\n\n" % (e["type"], json.dumps(e)))
        else:
            c.event(e)


def begin(c, protocol, *words):
    c.begin_stream("application/x-ndjson" if protocol == "ollama" else "text/event-stream")
    emit(c, protocol, SAYS[protocol](*words))


def says(*words, protocol="openai"):
    """A whole stream."""

    def run(c, r):
        c.path = r.path
        begin(c, protocol, *words)
        emit(c, protocol, ENDS[protocol])
        c.end_stream()
    return run


def garbage(c):
    c.chunk(b"data: {\"choices\": [{\n\n" if c.protocol != "ollama" else b"{]\n")


HOW = {"closed": lambda c: c.close(), "reset": lambda c: c.reset(), "politely": lambda c: c.end_stream(),
       "silent": lambda c: c.wait_closed(), "garbage": garbage}


class Breaks:
    """Says its words, waits until the caller has what it is to have of them, and breaks off."""

    def __init__(self, *words, protocol="openai", how="closed", events=None):
        self.words, self.protocol, self.how, self.events = words or ("One ", "two "), protocol, how, events
        self.seen = threading.Event()

    def __call__(self, c, r):
        c.protocol, c.path = self.protocol, r.path
        begin(c, self.protocol, *self.words)
        for e in self.events or ():
            emit(c, self.protocol, [e])
        assert self.seen.wait(m.LIMIT)
        HOW[self.how](c)


# --- what callers ask, and get ---

FRONTS = {
    "openai": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}], "stream": True}),
    "responses": ("/v1/responses", {"input": "hello", "stream": True}),
    "anthropic": ("/v1/messages", {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 100, "stream": True}),
    "gemini": ("/v1beta/models/%s:streamGenerateContent?alt=sse",
               {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}),
    "generate": ("/api/v1/generate", {"prompt": "hello", "stream": True}),
    "ollama": ("/api/chat", {"messages": [{"role": "user", "content": "hello"}]}),
    "ollama_generate": ("/api/generate", {"prompt": "hello"}),
}
STREAMS = ("text/event-stream", "application/x-ndjson")


def text_in(raw):
    lines = raw[:raw.rfind(b"\n") + 1].replace(b"\r\n", b"\n").decode().split("\n")
    return "".join(text_of(json.loads(l.removeprefix("data: "))) for l in lines if l.startswith(("data: {", "{")))


def read_on(s):
    """Reads on; false at the end."""
    piece = next(s._pieces, None)
    s.raw += piece or b""
    return piece is not None


def text_of(e):
    if e.get("type", "").startswith("response.") or "sequence_number" in e:
        return e["delta"] if e["type"] == "response.output_text.delta" else ""
    got = e.get("text") or e.get("response") or (e.get("message") or {}).get("content") or ""
    for c in e.get("choices") or ():
        got += (c.get("delta") or {}).get("content") or ""
    if e.get("type") == "content_block_delta":
        got += e["delta"].get("text") or ""
    for c in e.get("candidates") or ():
        got += "".join(p.get("text") or "" for p in c["content"].get("parts") or () if not p.get("thought"))
    return got


def ask(daemon, name, front="openai", seen=None, begun=BEGUN, **more):
    """The stream with all of its bytes in raw, read to its end; seen is set when the caller has `begun`."""
    path, body = FRONTS[front]
    body = dict(body, **more)
    if front == "generate":
        body["use_case"] = name
    elif front != "gemini":
        body["model"] = name
    with daemon.stream(path % name if front == "gemini" else path, body) as s:
        assert s.answer.headers.get("content-type") in STREAMS, s.answer.headers
        while seen and begun not in text_in(s.raw):
            assert read_on(s), s.raw
        if seen:
            seen.set()
        while read_on(s):
            pass
        return s


def error_in(front, s):
    said = grammar.check_stream(front, s.raw)
    assert said.error and "[DONE]" not in s.raw.decode() and "message_stop" not in s.raw.decode(), s.raw
    return json.dumps(said.error)


@pytest.fixture
def case(daemon, make_upstream):
    """A use case: one model for each of (script, protocol, config); its name, the models' names and their upstreams."""

    def make(*models, **settings):
        name, names, ups = daemon.name(), [], []
        for i, (script, protocol, config) in enumerate(models):
            up = make_upstream(script)
            ups.append(up)
            names.append(daemon.register(name, up, promote=i == 0, protocol=protocol,
                                         **dict({"circuit_breaker": False}, **config)))
        daemon.use_case(name, **dict({"policy": "none", "fallback_content": "", "retries": 0, "answer_mode": "resume",
                                      "fallback": names[1:]}, **settings))
        return name, names, ups
    return make


YES = {"prefill": True}


def last_message(request, protocol):
    """The beginning, as the model got it."""
    body = request.json()
    if protocol == "gemini":
        last = body["contents"][-1]
        assert last["role"] == "model", body
        return "".join(p["text"] for p in last["parts"])
    last = body["messages"][-1]
    assert last["role"] == "assistant", body
    if protocol == "openai":
        assert body["continue_final_message"] is True and body["add_generation_prompt"] is False
    return last["content"] if isinstance(last["content"], str) else "".join(p["text"] for p in last["content"])


def check_one_answer(front, raw):
    """Ids, names and times that an answer has once."""
    lines = front.startswith("ollama")
    events = grammar.ollama_lines(raw) if lines else [
        json.loads(d) for _, d in grammar.blocks(raw.replace(b"\r\n", b"\n")) if d != "[DONE]"]
    for member in ("id", "model", "created", "responseId", "modelVersion"):
        assert len({json.dumps(e[member]) for e in events if member in e}) <= 1, (member, raw)
    if front == "anthropic":
        assert [e["index"] for e in events if e["type"] == "content_block_start"] == [0], raw


def check_resumed(daemon, s, front, names, text=WHOLE):
    said = grammar.check_stream(front, s.raw)
    assert (said.text, said.finish, said.error) == (text, "stop", None), s.raw
    check_one_answer(front, s.raw)
    assert s.headers["x-muster-model"] == names[0] and s.headers["x-muster-attempts"] == "1"
    assert s.answer.trailers == {"x-muster-attempts": "2", "x-muster-model": names[1], "x-muster-resumed": "1"}
    log = daemon.log_of(s)
    assert (log["status"], log["output"], log["model_name"], log["fallback"]) == ("ok", text, names[1], "model"), log
    first, second = log["attempts"]
    assert (first["model"], second["model"], second["result"]) == (names[0], names[1], "ok")
    assert second["resumed"] is True and "resumed" not in first and first["result"] != "ok"
    usage = log["usage"]
    assert usage["estimated"] is True and first["usage"]["estimated"] is True and second["usage"]["estimated"] is False
    for member in ("prompt_tokens", "completion_tokens"):
        assert usage[member] == first["usage"][member] + second["usage"][member], log
    return log


# --- it goes on ---


@pytest.mark.parametrize("second", BACKS)
@pytest.mark.parametrize("first", BACKS)
@pytest.mark.parametrize("front", FRONTS)
def test_the_next_model_goes_on(daemon, case, front, first, second):
    breaks = Breaks(protocol=first)
    name, names, ups = case((breaks, first, {}), (says(" three", " four.", protocol=second), second, YES))
    s = ask(daemon, name, front, breaks.seen)
    check_resumed(daemon, s, front, names)
    assert last_message(ups[1].last(), second) == "One two" and len(ups[0].requests) == len(ups[1].requests) == 1


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("front", FRONTS)
def test_however_it_broke_off(daemon, case, front, how):
    breaks = Breaks(how=how)
    name, names, _ = case((breaks, "openai", {"timeouts": {"between_ms": 150}} if how == "silent" else {}),
                          (says("three four."), "openai", YES))
    check_resumed(daemon, ask(daemon, name, front, breaks.seen), front, names)


SEAMS = {  # what has left; what the model says; what the caller has; what the model was given
    "no space": (("One", " two"), (" three",), "One two three", "One two"),
    "inside a word": (("One tw",), ("o three",), "One two three", "One tw"),
    "the space again": (("One ",), (" ", "two"), "One two", "One"),
    "no space again": (("One ",), ("two",), "One two", "One"),
    "more space": (("One\n",), ("\n\n", "two"), "One\n\ntwo", "One"),
    "other space": (("One ",), ("\n", "two"), "One \ntwo", "One"),
    "half of it again": (("One \n\n",), (" ", "\n", "two"), "One \n\ntwo", "One"),
    "wide space": (("One\u00a0\u3000",), ("\u00a0", "two"), "One\u00a0\u3000two", "One"),
    "nothing but space": ((" \n",), ("One",), " \nOne", None),
    "nothing more": (("All.",), (), "All.", "All."),
    "letters of several bytes": (("Grüß",), (" dich, 世", "界"), "Grüß dich, 世界", "Grüß"),
    "what JSON escapes": (('a "\\',), ('"\n\tb',), 'a "\\"\n\tb', 'a "\\'),
}


@pytest.mark.parametrize("front", ["openai", "anthropic"])
@pytest.mark.parametrize("seam", SEAMS)
def test_nothing_is_there_twice_and_nothing_is_missing(daemon, case, seam, front):
    begun, more, whole, given = SEAMS[seam]
    breaks = Breaks(*begun)
    name, _, ups = case((breaks, "openai", {}), (says(*more), "openai", YES if given else {}))
    s = ask(daemon, name, front, breaks.seen, "".join(begun))
    said = grammar.check_stream(front, s.raw)
    assert (said.text, said.error) == (whole, None), s.raw
    if given:
        assert last_message(ups[1].last(), "openai") == given
    else:
        assert ups[1].last().json()["messages"] == ups[0].last().json()["messages"]


@pytest.mark.parametrize("again", [("One two", " three four."), ("One", " two three four."), ("three four.",),
                                   (" three four.",)])
def test_a_model_that_may_say_the_beginning_again(start_daemon, make_upstream, again):
    daemon, breaks = start_daemon(MISTRAL_API_KEY="k"), Breaks()
    name, second = daemon.name(), make_upstream(says(*again))
    daemon.register(name, make_upstream(breaks))
    daemon.use_case(name, policy="none", answer_mode="resume",
                    fallback=[daemon.register(name, second, promote=False, provider="mistral", **YES)])
    s = ask(daemon, name, "openai", breaks.seen)
    assert grammar.check_stream("openai", s.raw).text == WHOLE
    assert second.last().json()["messages"][-1] == {"role": "assistant", "content": "One two", "prefix": True}
    assert "continue_final_message" not in second.last().json()


def test_the_callers_limit_is_lowered_by_what_was_said(daemon, case):
    for second in ("openai", "anthropic"):
        breaks = Breaks("word " * 16)
        name, _, ups = case((breaks, "openai", {}), (says("end", protocol=second), second, YES))
        ask(daemon, name, "openai", breaks.seen, "word " * 16, max_tokens=50, top_p=0.5)
        assert ups[0].last().json()["max_tokens"] == 50
        assert ups[1].last().json()["max_tokens"] == 30 and ups[1].last().json()["top_p"] == 0.5
    breaks = Breaks("word " * 16)
    name, _, ups = case((breaks, "openai", {}), (says("end"), "openai", YES))
    ask(daemon, name, "openai", breaks.seen, "word " * 16, max_completion_tokens=3, my_own=[1])
    assert ups[1].last().json()["max_completion_tokens"] == 1 and ups[1].last().json()["my_own"] == [1]


def test_another_endpoint_of_the_same_model_goes_on(daemon, case, make_upstream):
    breaks = Breaks()
    other = make_upstream(breaks)
    name, names, ups = case((breaks, "openai", dict(YES, endpoints=[other.url])))
    ups.append(other)
    done = threading.Event()

    def second(c, r):
        done.set()
        says("three four.")(c, r)
    for up in ups:  # whichever is asked first breaks off
        up.script = [lambda c, r: (second if last_role(r) == "assistant" else breaks)(c, r)]
    s = ask(daemon, name, "openai", breaks.seen)
    assert grammar.check_stream("openai", s.raw).text == WHOLE and done.is_set()
    assert s.answer.trailers["x-muster-model"] == names[0] and daemon.log_of(s)["fallback"] == "none"
    assert [len(u.requests) for u in ups] == [1, 1]


def last_role(r):
    return r.json()["messages"][-1]["role"]


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("second", ["openai", "ollama"])
def test_who_goes_on_with_a_whole_answer_is_understood(daemon, case, front, second):
    breaks = Breaks()
    whole = m.completion("three four.") if second == "openai" else line("three four.", done=True, done_reason="stop",
                                                                       prompt_eval_count=7, eval_count=3)
    name, names, _ = case((breaks, "openai", {}), (m.answer_with(200, whole), second, YES))
    check_resumed(daemon, ask(daemon, name, front, breaks.seen), front, names)


def test_a_call_may_follow_the_text(daemon, case):
    breaks = Breaks()
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}

    def calls(c, r):
        begin(c, "openai", "three")
        emit(c, "openai", [m.chunk(tool_calls=[call]), m.chunk(finish="tool_calls"), "[DONE]"])
        c.end_stream()
    for front in ("openai", "anthropic", "gemini"):
        breaks.seen.clear()
        name, _, _ = case((breaks, "openai", {}), (calls, "openai", YES))
        said = grammar.check_stream(front, ask(daemon, name, front, breaks.seen).raw)
        assert said.text == "One two three" and said.calls == [("f", {"x": 1})]


def test_who_goes_on_may_break_off_too(daemon, case):
    one, two = Breaks("One "), Breaks("two ", protocol="anthropic")
    name, names, ups = case((one, "openai", {}), (two, "anthropic", YES), (says("three four."), "openai", YES))
    path, body = FRONTS["openai"]
    with daemon.stream(path, dict(body, model=name)) as s:
        for breaks, text in ((one, "One "), (two, BEGUN)):
            while text not in text_in(s.raw):
                read_on(s)
            breaks.seen.set()
        while read_on(s):
            pass
    assert grammar.check_stream("openai", s.raw).text == WHOLE
    assert s.answer.trailers == {"x-muster-attempts": "3", "x-muster-model": names[2], "x-muster-resumed": "2"}
    assert [last_message(ups[1].last(), "anthropic"), last_message(ups[2].last(), "openai")] == ["One", "One two"]
    log = daemon.log_of(s)
    assert log["usage"]["completion_tokens"] == sum(a["usage"]["completion_tokens"] for a in log["attempts"])


def test_an_answer_is_gone_on_with_three_times_at_most(daemon, case):
    first, more = Breaks("0 "), [Breaks("%d " % i) for i in range(1, 6)]
    name, names, ups = case((first, "openai", {}), *[(b, "openai", YES) for b in more])
    for b in more:
        b.seen.set()
    s = ask(daemon, name, "openai", first.seen, "0 ")
    assert "broke off" in error_in("openai", s) and text_in(s.raw) == "0 1 2 3 "
    assert [len(u.requests) for u in ups] == [1, 1, 1, 1, 0, 0]
    log = daemon.log_of(s)
    assert (log["status"], log["output"], log["model_name"]) == ("truncated", "0 1 2 3 ", names[3])
    assert [a.get("resumed", False) for a in log["attempts"]] == [False, True, True, True]


def test_one_that_will_not_go_on_is_passed_over(daemon, case):
    refusals = [m.answer_with(400, {"error": {"message": "does not support assistant message prefill"}}),
                m.answer_with(500, {}), m.answer_with(200, b"<html>")]
    for refuse in refusals:
        breaks = Breaks()
        name, names, ups = case((breaks, "openai", {}), (refuse, "openai", YES), (says("three four."), "openai", YES))
        s = ask(daemon, name, "openai", breaks.seen)
        assert grammar.check_stream("openai", s.raw).text == WHOLE
        assert s.answer.trailers["x-muster-attempts"] == "3" and daemon.log_of(s)["model_name"] == names[2]


def test_a_reasoning_model_goes_on_without_its_reasoning(daemon, case):
    breaks = Breaks()

    def reasons(c, r):
        begin(c, "openai")
        emit(c, "openai", [m.chunk(reasoning_content="hm"), m.chunk("three four.")] + ENDS["openai"])
        c.end_stream()
    name, names, _ = case((breaks, "openai", {}), (reasons, "openai", YES))
    s = ask(daemon, name, "openai", breaks.seen)
    check_resumed(daemon, s, "openai", names)
    assert b"hm" not in s.raw


# --- it begins again, or says so ---


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("front", FRONTS)
def test_what_has_not_left_is_begun_again(daemon, case, front, how):
    breaks = Breaks(how=how)
    breaks.words = ()
    breaks.seen.set()
    name, names, ups = case((breaks, "openai", {"timeouts": {"between_ms": 150}} if how == "silent" else {}),
                            (says("From ", "the next."), "openai", {}))
    s = ask(daemon, name, front)
    said = grammar.check_stream(front, s.raw)
    assert (said.text, said.error) == ("From the next.", None)
    assert s.headers["x-muster-model"] == names[1] and s.headers["x-muster-attempts"] == "2"
    assert s.answer.trailers == {} and last_role(ups[1].last()) == "user"


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("front", FRONTS)
def test_nobody_who_could_go_on(daemon, case, front, how):
    breaks = Breaks(how=how)
    name, names, ups = case((breaks, "openai", {"timeouts": {"between_ms": 150}} if how == "silent" else {}),
                            (says("three four."), "openai", {}))
    s = ask(daemon, name, front, breaks.seen)
    assert "broke off" in error_in(front, s) and text_in(s.raw) == BEGUN and not ups[1].requests
    assert s.answer.trailers["x-muster-resumed"] == "0", "nobody was asked to go on"
    log = daemon.log_of(s)
    assert (log["status"], log["output"]) == ("timeout" if how == "silent" else "truncated", BEGUN)
    assert log["model_name"] == names[0] and log["error"] and "prefill" in log["attempts"][1]["result"], log


THINGS = {
    "reasoning": [m.chunk(reasoning_content="hm")],
    "a call": [m.chunk(tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": {"name": "f",
                                                                                            "arguments": '{"x'}}])],
    "a refusal": [m.chunk(refusal="no")],
}
ASKED = {
    "JSON": {"response_format": {"type": "json_object"}},
    "a grammar": {"guided_json": {"type": "object"}},
    "log probabilities": {"logprobs": True},
    "two choices": {"n": 2},
    "a beginning of the caller's": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
}


@pytest.mark.parametrize("what", list(THINGS) + list(ASKED))
def test_what_cannot_be_gone_on_with(daemon, case, what):
    breaks = Breaks(events=THINGS.get(what))
    name, _, ups = case((breaks, "openai", {}), (says("three four."), "openai", YES))
    s = ask(daemon, name, "openai", breaks.seen, **ASKED.get(what, {}))
    assert b"broke off" in s.raw and b"[DONE]" not in s.raw and text_in(s.raw) == BEGUN and not ups[1].requests


def test_a_plain_generate_model_cannot_be_declared(daemon, upstream):
    answer = daemon.post("/api/v1/models", {"model_name": daemon.name(), "version": "1", "use_case": daemon.name(),
                                            "provider": "generate",
                                            "configuration": {"endpoint": upstream.url + "/generate", "prefill": True}})
    assert answer.status == 400 and "prefill" in answer.json()["error"]["message"], answer
    answer = daemon.post("/api/v1/models", {"model_name": daemon.name(), "version": "1", "use_case": daemon.name(),
                                            "provider": "custom", "configuration": {"endpoint": upstream.url,
                                                                                    "prefill": "yes"}})
    assert answer.status == 400 and "configuration.prefill" in answer.json()["error"]["message"], answer


def test_the_deadline_of_the_caller_holds(daemon, case):
    breaks = Breaks()
    name, names, _ = case((breaks, "openai", {}), (m.silent, "openai", YES))
    path, body = FRONTS["openai"]
    with daemon.stream(path, dict(body, model=name), headers={"x-request-timeout-ms": "1500"}) as s:
        while BEGUN not in text_in(s.raw):
            read_on(s)
        breaks.seen.set()
        while read_on(s):
            pass
        assert "broke off" in error_in("openai", s)
    log = daemon.log_of(s)
    assert log["status"] == "timeout" and log["output"] == BEGUN and log["model_name"] == names[0], log


# --- guardrails, and what is kept ---


def test_guardrails_judge_both_parts_as_one_text(daemon, case):
    name = daemon.name()
    daemon.policy(name, guarding.rule("word", "block", values=("two three",), side="output"))
    for front in FRONTS:
        breaks = Breaks("One ", "two ")
        use_case, names, ups = case((breaks, "openai", {}), (says("three four."), "openai", YES), policy=name)
        s = ask(daemon, use_case, front, breaks.seen, "One ")  # "two " may still become a match
        said = grammar.check_stream(front, s.raw)
        assert (said.text.strip(), said.finish) == ("One", "content_filter"), s.raw
        assert last_message(ups[1].last(), "openai") == "One two"
        log = daemon.log_of(s)
        assert log["status"] == "blocked" and log["guardrail"]["violations"][0]["start"] == 4, log


def test_masks_over_the_seam_and_before_it(daemon, case):
    name = daemon.name()
    daemon.policy(name, guarding.rule("word", "mask", values=("two three", "secret"), side="output", mask="[X]"))
    for front in FRONTS:
        breaks = Breaks("a secret ", "One ", "two ")
        use_case, names, ups = case((breaks, "openai", {}), (says("three four. ", "secret"), "openai", YES), policy=name)
        s = ask(daemon, use_case, front, breaks.seen, "a [X] One ")
        said = grammar.check_stream(front, s.raw)
        assert (said.text, said.error) == ("a [X] One [X] four. [X]", None), s.raw
        assert last_message(ups[1].last(), "openai") == "a [X] One two"  # what the caller has, and what is undecided
        assert daemon.log_of(s)["output"] == said.text


@pytest.mark.parametrize("log", ["metadata", "none"])
def test_it_needs_no_log(daemon, case, log):
    breaks = Breaks()
    name, names, _ = case((breaks, "openai", {}), (says("three four."), "openai", YES), log=log)
    s = ask(daemon, name, "openai", breaks.seen)
    assert grammar.check_stream("openai", s.raw).text == WHOLE
    if log == "metadata":
        assert not daemon.log_of(s)["output"]


def test_a_caller_who_leaves_during_the_second_attempt(daemon, case):
    breaks, left = Breaks(), threading.Event()

    def goes_on(c, r):
        begin(c, "openai", "three ")
        if c.wait_closed():
            left.set()
    name, names, ups = case((breaks, "openai", {}), (goes_on, "openai", YES))
    path, body = FRONTS["openai"]
    with daemon.stream(path, dict(body, model=name)) as s:
        while BEGUN not in text_in(s.raw):
            read_on(s)
        breaks.seen.set()
        while "three" not in text_in(s.raw):
            read_on(s)
    assert left.wait(m.LIMIT)
    log = daemon.log_of(s)
    assert (log["status"], log["output"]) == ("client_disconnect", "One two three "), log
    assert [a["model"] for a in log["attempts"]] == names and log["attempts"][1]["resumed"] is True
    assert log["usage"]["completion_tokens"] == 4 and log["usage"]["estimated"] is True


def test_what_it_cost_is_the_sum(daemon, case):
    breaks = Breaks()
    price = {"price": {"input": 1, "output": 100000, "currency": "EUR"}}
    more = {"price": {"input": 1, "output": 300000, "currency": "EUR"}}
    name, names, _ = case((breaks, "openai", price), (says("three four."), "openai", dict(YES, **more)))
    s = ask(daemon, name, "openai", breaks.seen)
    log = check_resumed(daemon, s, "openai", names)
    assert log["attempts"][0]["usage"]["completion_tokens"] == 2 and log["usage"]["completion_tokens"] == 5
    assert abs(log["cost"] - 1.1) < 0.001, log["cost"]  # 2 of one price, 3 of the other


def test_usage_is_told_to_who_asked_for_it(daemon, case):
    breaks = Breaks()
    name, names, _ = case((breaks, "openai", {}), (says("three four."), "openai", YES))
    s = ask(daemon, name, "openai", breaks.seen, stream_options={"include_usage": True})
    said = grammar.check_stream("openai", s.raw, usage=True)
    assert said.text == WHOLE and b'"completion_tokens":5' in s.raw.replace(b" ", b"")


def test_it_is_counted(daemon, case):
    before = control.metric(daemon, "muster_resumes_total")
    breaks = Breaks()
    name, _, _ = case((breaks, "openai", {}), (says("three four."), "openai", YES))
    ask(daemon, name, "openai", breaks.seen)
    assert control.metric(daemon, "muster_resumes_total") == before + 1


def test_one_without_chunks_has_no_trailers(daemon, case):
    breaks = Breaks()
    breaks.seen.set()
    name, _, _ = case((breaks, "openai", {}), (says("three four."), "openai", YES))
    path, body = FRONTS["openai"]
    with daemon.connect() as c:
        answer = c.request("POST", path, dict(body, model=name), version="1.0")
    assert answer.status == 200 and "three four." in text_in(answer.body) and b"x-muster-resumed" not in answer.body
