# SPDX-License-Identifier: Apache-2.0
"""Large, odd and changing: limits and one past them, texts that break databases, registries that change under a request."""
import json
import threading

import pytest

import muster as m

MIB = 1024 * 1024


def keeps(logged, text):
    """A record has room for 4 MiB of a text at least; what it holds is the beginning."""
    return text.startswith(logged) and len(logged) >= min(len(text), 4 * MIB)


def text_of(answer):
    return answer.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("prompt", ["a\u0000b", "\u0000", "'); drop table model_historical_logs; --", "\ufeff\u2028\u202e",
                                    "\U0010ffff\ud7ff", "%s%n%d", "\\u0041", "a\r\nb\tc", "null"])
@pytest.mark.parametrize("stream", [False, True])
def test_any_text_survives_the_way_into_the_log(daemon, upstream, case, prompt, stream):
    upstream.default = m.streaming(prompt, " end") if stream else m.answer_with(200, m.completion(prompt + " end"))
    if stream:
        with daemon.chat_stream(case, prompt) as a:
            assert m.chat_text(a.events()) == prompt + " end"
    else:
        a = daemon.chat(case, prompt)
        assert text_of(a) == prompt + " end"
    assert upstream.last().json()["messages"][0]["content"] == prompt
    log = daemon.log_of(a)
    assert log["prompt"] == prompt and log["output"] == prompt + " end"


@pytest.mark.parametrize("front", ["chat", "generate"])
def test_a_large_prompt_is_served_and_kept(daemon, upstream, case, front):
    prompt = "long " * (7 * MIB // 5)
    a = (daemon.chat if front == "chat" else daemon.generate)(case, prompt)
    assert a.status == 200, a
    assert upstream.last().json()["messages"][-1]["content"] == prompt
    assert keeps(daemon.log_of(a)["prompt"], prompt)


def test_a_large_answer_is_served_and_kept(daemon, upstream, case):
    text = "long " * (6 * MIB // 5)
    upstream.default = m.answer_with(200, m.completion(text))
    a = daemon.chat(case)
    assert text_of(a) == text and keeps(daemon.log_of(a)["output"], text)


@pytest.mark.parametrize("past,status", [(0, 200), (1, 502)])
def test_a_whole_answer_has_a_limit(daemon, upstream, case, past, status):
    body = json.dumps(m.completion("x")).encode()
    upstream.default = m.answer_with(200, body + b" " * (16 * MIB + past - len(body)))
    assert daemon.chat(case).status == status


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_reader_gets_a_large_answer_all_the_same(daemon, upstream, case, stream):
    body = json.dumps(m.completion("y" * (12 * MIB))).encode()
    upstream.default = m.answer_with(200, body)
    with daemon.connect(rcvbuf=8192) as c:
        request = {"use_case": case, "prompt": "x", "stream": stream}
        c.send_request("POST", "/api/v1/generate", request)
        assert daemon.logs(case, 1)[0]["status"] == "ok"  # it is answered, as far as the daemon is concerned
        assert c.read_answer().body.count(b"y") >= 12 * MIB


def test_a_long_stream_is_forwarded_and_its_beginning_kept(daemon, upstream, case):
    piece = "0123456789abcdef" * 4096
    upstream.default = m.streaming(*([piece] * 100))
    with daemon.chat_stream(case) as s:
        assert m.chat_text(s.events()) == piece * 100
    log = daemon.log_of(s)
    assert log["status"] == "ok" and keeps(log["output"], piece * 100)


def test_an_event_has_a_limit(daemon, upstream, case):
    upstream.default = m.streaming("x" * (2 * MIB))
    with daemon.chat_stream(case) as s:
        assert s.status == 502  # nothing that says something had left
    assert daemon.log_of(s)["status"] == "error"
    seen = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("first"))
        assert seen.wait(m.LIMIT)
        c.event(m.chunk("x" * (2 * MIB)))
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(case) as s:
        got = [s.event()]
        seen.set()
        got += s.events()
    assert m.chat_text(got) == "first" and "error" in got[-1] and "[DONE]" not in got
    assert daemon.log_of(s)["status"] == "truncated"


def test_many_choices_in_a_stream_are_an_error_past_the_limit(daemon, upstream, case):
    for n, whole in ((64, True), (65, False)):
        upstream.default = m.events(*([m.chunk("t%d" % i, index=i) for i in range(n)]
                                      + [m.chunk(finish="stop", index=i) for i in range(n)] + ["[DONE]"]))
        with daemon.chat_stream(case, n=n) as s:
            if s.status != 200:
                assert not whole
                continue
            got = s.events()
        assert (got[-1] == "[DONE]") == whole
        if whole:
            assert [m.chat_text(got, i) for i in range(n)] == ["t%d" % i for i in range(n)]


def test_many_messages_are_served(daemon, upstream, case):
    messages = [{"role": ("user", "assistant")[i % 2], "content": "m%d" % i} for i in range(5001)]
    a = daemon.chat(case, messages=messages)
    assert a.status == 200 and upstream.last().json()["messages"] == messages
    assert daemon.log_of(a)["prompt"] == "m5000"


def test_a_model_written_in_escapes_is_replaced(daemon, upstream, case):
    escaped = "".join("\\u%04x" % ord(ch) for ch in case)
    body = '{"messages":[{"role":"user","content":"x"}],"model":"%s"}' % escaped
    assert daemon.post("/v1/chat/completions", body.encode()).status == 200
    assert upstream.last().json()["model"].startswith("up-")


def test_a_query_changes_nothing(daemon, case):
    body = {"model": case, "messages": [{"role": "user", "content": "x"}]}
    assert daemon.request("POST", "/v1/chat/completions?api-version=2024", body).status == 200


@pytest.mark.parametrize("kind", ["text/event-stream; charset=utf-8", "Text/Event-Stream", "text/event-stream;charset=UTF-8"])
def test_a_stream_is_known_by_its_type_however_it_is_written(daemon, upstream, case, kind):
    def run(c, r):
        c.begin_stream(kind)
        for e in (m.chunk("Hi."), m.chunk(finish="stop"), "[DONE]"):
            c.event(e)
        c.end_stream()

    upstream.default = run
    with daemon.chat_stream(case) as s:
        assert s.status == 200 and m.chat_text(s.events()) == "Hi."


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_events_may_end_their_lines_in_every_way(daemon, upstream, end):
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    daemon.register(name, upstream)

    def run(c, r):
        c.begin_stream()
        data = "".join("data: %s%s%s" % (e if isinstance(e, str) else json.dumps(e), end, end)
                       for e in (m.chunk("Hi "), m.chunk("you."), m.chunk(finish="stop"), "[DONE]"))
        for ch in data:
            c.chunk(ch)
        c.end_stream()

    upstream.default = run
    with daemon.generate_stream(name) as s:
        got = s.events()
    assert "".join(e.get("text", "") for e in got) == "Hi you." and got[-1]["done"]


def test_one_connection_takes_streams_and_whole_answers_in_turn(daemon, upstream, case):
    with daemon.connect() as c:
        for i in range(6):
            body = {"model": case, "messages": [{"role": "user", "content": "x"}], "stream": i % 2 == 0}
            c.send_request("POST", "/v1/chat/completions", body)
            head = c.read_head()
            got = b"".join(c.pieces(head))
            assert head.status == 200 and (b"[DONE]" in got) == (i % 2 == 0)
        assert c.request("GET", "/health/live").status == 200


def test_a_stream_outlives_its_model_and_its_policy(daemon, make_upstream):
    """What a request began with it keeps, whatever the registry does meanwhile."""
    gate = threading.Event()

    def run(c, r):
        c.begin_stream()
        c.event(m.chunk("It is a hid"))
        assert gate.wait(m.LIMIT)
        c.event(m.chunk("den thing"))
        c.event(m.chunk(finish="stop"))
        c.event("[DONE]")
        c.end_stream()

    name, policy = daemon.name(), daemon.name("rules").replace("_", "-")
    rule = {"id": "hide", "category": "test", "kind": "literal", "action": "mask", "severity": "low", "side": "output"}
    daemon.policy(policy, dict(rule, values=["hidden"]))
    daemon.use_case(name, policy=policy)
    old = daemon.register(name, make_upstream(run))
    with daemon.chat_stream(name) as s:
        got = [s.event()]
        new = daemon.register(name, make_upstream(m.ok("new")))
        daemon.policy(policy, dict(rule, values=["another"]))
        daemon.api("DELETE", "/api/v1/models/%s?reason=gone" % old)
        for i in range(5):
            daemon.use_case(name, policy="none")
            assert daemon.generate(name).json()["text"] == "new"
        gate.set()
        got += s.events()
    assert m.chat_text(got) == "It is a [hide] thing" and s.headers["x-muster-model"] == old
    assert daemon.log_of(s)["model_name"] == old and new != old


def test_the_registry_may_change_under_load(daemon, make_upstream):
    """Promotions back and forth while requests run: each is answered, by one of the two."""
    name = daemon.name()
    daemon.use_case(name, policy="none", fallback_content="")
    models = [daemon.register(name, make_upstream(m.ok(text))) for text in ("one", "two")]
    stop, seen, bad = threading.Event(), set(), []

    def work():
        with daemon.connect() as c:
            while not stop.is_set():
                a = c.request("POST", "/api/v1/generate", {"use_case": name, "prompt": "x"})
                if a.status == 200:
                    seen.add(a.json()["text"])
                else:
                    bad.append(a)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(20):
        daemon.api("POST", "/api/v1/models/%s/promote" % models[i % 2], {"use_case": name, "reason": "swing"})
    stop.set()
    for t in threads:
        t.join(m.LIMIT)
    assert not bad, bad[:2]
    assert seen == {"one", "two"}


def test_metrics_count_what_was_served(daemon, upstream, case):
    daemon.chat(case)
    upstream.default = m.answer_with(500, b"{}")
    daemon.chat(case)
    text = daemon.get("/metrics").body.decode()
    lines = [l for l in text.splitlines() if 'use_case="%s"' % case in l and not l.startswith("#")]
    assert lines and any(l.rstrip().endswith(" 2") for l in lines)


def test_a_request_may_name_its_host_in_the_target(daemon, upstream):
    """RFC 9112, section 3.2.2: what proxies are asked, servers have to take too."""
    name = daemon.name()
    daemon.register(name, upstream)
    for host in ("http://muster.example", "https://other:1", "HTTP://[::1]"):
        assert daemon.request("GET", host + "/health/live").status == 200
        body = {"model": name, "messages": [{"role": "user", "content": "hello"}]}
        assert daemon.request("POST", host + "/v1/chat/completions", body).status == 200
    assert daemon.request("GET", "http://a?x").status == 200
    assert daemon.request("GET", "http://user@a/health/live").status == 400
