# SPDX-License-Identifier: Apache-2.0
"""What an upstream can do wrong, row by row, and what the caller, the log and the upstream see of it.

A row says what the upstream sends, what it does then, and what becomes of the call:

  good     the caller has the answer
  refused  the caller has the upstream's refusal, and nobody else is asked
  fault    nothing of it has left: the next model serves, or the caller has a clean error
  cut      a part of it has left: the stream ends with an error and never as if complete

Each is asked for whole and as a stream, with a model to fall back to and without, and as a stream that is held until it
is whole.  All rows share one daemon, and it has forgotten all of them at the end.
"""
import gzip
import json
import threading
from collections import namedtuple

import pytest

import control
import muster as m

TEXT, NEXT, BEGUN = "Hi there.", "From the next.", "One two "
LONG = 30000  # milliseconds that no test waits
PACES = {  # the timeouts of the model that fails
    "calm": {"first_byte_ms": LONG, "between_ms": LONG, "total_ms": LONG},
    "first": {"first_byte_ms": 150, "between_ms": LONG, "total_ms": LONG},
    "between": {"first_byte_ms": LONG, "between_ms": 150, "total_ms": LONG},
    "total": {"first_byte_ms": LONG, "between_ms": LONG, "total_ms": 400},
}

# --- what is sent ---


def http(status=200, body=b"", *headers, kind="application/json", length=True):
    lines = ["HTTP/1.1 %d X" % status] + (["Content-Type: " + kind] if kind else []) + list(headers)
    lines += ["Content-Length: %d" % len(body)] if length else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def error(status, *headers, message="boom", **members):
    return http(status, json.dumps({"error": dict({"message": message, "type": "t"}, **members)}).encode(), *headers)


def chunks(*pieces, end=True):
    got = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces)
    return got + (b"0\r\n\r\n" if end else b"")


def data(*values):
    """Events of a stream."""
    return b"".join(b"data: %s\n\n" % (v if isinstance(v, bytes) else json.dumps(v).encode()) for v in values)


def head(kind="text/event-stream", *headers):
    return http(200, b"", "Transfer-Encoding: chunked", *headers, kind=kind, length=False)


def sse(*values, end=True):
    return head() + chunks(data(*values), end=end)


BODY = json.dumps(m.completion(TEXT)).encode()
ERROR = json.dumps({"error": {"message": "boom"}}).encode()
SAYS, FINISH, DONE = m.chunk(TEXT), m.chunk(finish="stop"), b"[DONE]"
STREAM = sse(SAYS, FINISH, DONE)
ROLE = m.chunk("", role="assistant")
CHUNKED, CLOSE = "Transfer-Encoding: chunked", "Connection: close"
NO_BODY = {"length": False, "kind": None}

# --- rows ---

# held: the status of a stream that is cut while all of it is held
Row = namedtuple("Row", "kind send then status result keeps pace log held", defaults=(502,))


def good(send, then="keep", keeps=True):
    return Row("good", send, then, 200, "ok", keeps, "calm", "ok")


def refused(status, keeps=True, then="keep"):
    return Row("refused", error(status), then, status, "http %d" % status, keeps, "calm", "error")


def fault(result, send, then="keep", status=502, keeps=False, pace="calm"):
    log = "timeout" if status == 504 else "error"
    return Row("fault", send, then, status, result, keeps, pace, log)


def broken(result, *events):
    """A stream whose first event is none."""
    return fault(result, sse(*events), keeps=None)


def says(status, send=None, told=502):
    """A status that speaks of the model, not of the request."""
    return fault("http %d" % status, send or error(status), status=told, keeps=True)


def cut(result, send, then="keep", pace="calm", log="truncated"):
    return Row("cut", send, then, 200, result, None if then == "keep" else False, pace, log)


# Whether a stream was asked for or not.
ANY = {
    # statuses
    "302": says(302, http(302, b"", "Location: http://127.0.0.1:1/")),
    "304": says(304, http(304, b"", **NO_BODY)),
    "304 with a length": says(304, b"HTTP/1.1 304 X\r\nContent-Length: 500\r\n\r\n"),
    "401": says(401), "402": says(402), "403": says(403), "404": says(404), "405": says(405), "408": says(408),
    "407": says(407), "409": says(409), "410": says(410), "423": says(423), "424": says(424), "425": says(425),
    "429": says(429, told=429), "499": says(499),
    "500": says(500), "501": says(501), "502": says(502), "503": says(503), "504": says(504), "529": says(529),
    "500 of bytes": says(500, http(500, b"\xff\xfe\x00", kind="application/octet-stream")),
    "500 without a body": says(500, http(500)),
    "600": says(600), "999": says(999),
    "100 that is no status": fault("HTTP/1.1", b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"),
    "four digits": fault("HTTP/1.1", b"HTTP/1.1 2000 X\r\nContent-Length: 0\r\n\r\n"),
    "400": refused(400), "413": refused(413), "415": refused(415), "422": refused(422), "451": refused(451),
    "201": good(http(201, BODY)),
    "204": says(204, http(204, **NO_BODY)),
    "204 with a body": says(204, http(204, BODY))._replace(keeps=False),
    "205": says(205, http(205)),
    "206": says(206, http(206, BODY, "Content-Range: bytes 0-9/900")),
    "200 without a body": fault("", http(200), keeps=True),
    # informational answers
    "two 1xx": good(b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 103 X\r\nLink: <x>\r\n\r\n" + http(200, BODY)),
    "1xx storm": fault("informational", b"HTTP/1.1 100 X\r\n\r\n" * 40 + http(200, BODY)),
    "1xx storm, drop by drop": fault("informational", [b"HTTP/1.1 103 X\r\n\r\n"] * 40 + [http(200, BODY)]),
    "1xx and silence": fault("first byte", b"HTTP/1.1 100 X\r\n\r\n", "hang", 504, pace="first"),
    "101": fault("switch protocols", b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\n"),
    # before the head, and inside
    "closed before the head": fault("before an answer", b"", "close"),
    "reset before the head": fault("before an answer", b"", "reset"),
    "half closed before the head": fault("before an answer", b"", "half"),
    "closed inside the head": fault("inside the head", http(200, BODY)[:30], "close"),
    "reset inside the head": fault("answer", http(200, BODY)[:30], "reset"),
    "half closed inside the head": fault("inside the head", http(200, BODY)[:30], "half"),
    "silence before the head": fault("first byte", b"", "hang", 504, pace="first"),
    "silence inside the head": fault("silent", http(200, BODY)[:30], "hang", 504, pace="between"),
    "silence after the head": fault("silent", http(200, BODY)[:-len(BODY)], "hang", 504, pace="between"),
    "TLS": fault("HTTP/1.1", b"\x16\x03\x03\x00\x02\x02\x28", "close"),
    "HTTP/2": fault("HTTP/1.1", b"HTTP/2 200 X\r\nContent-Length: 0\r\n\r\n"),
    "ICY": fault("HTTP/1.1", b"ICY 200 OK\r\n\r\n"),
    "head, drop by drop": good([http(200, BODY)[i:i + 1] for i in range(90)] + [http(200, BODY)[90:]]),
    "body, drop by drop": good([bytes([b]) for b in http(200, BODY)]),
    "large head": good(http(200, BODY, "X-A: " + "a" * 20000)),
    "oversize head": fault("too large", http(200, BODY, "X-A: " + "a" * 40000)),
    "head without end": fault("too large", b"HTTP/1.1 200 X\r\nX-A: " + b"a" * 80000, "hang"),
    "200 headers": fault("too large", http(200, BODY, *["X-%d: x" % i for i in range(200)])),
    "folded header": fault("HTTP/1.1", http(200, BODY, "X-A: a\r\n b")),
    "bare line feeds": fault("HTTP/1.1", http(200, BODY).replace(b"\r\n", b"\n")),
    "zero byte in a header": fault("HTTP/1.1", http(200, BODY, "X-A: a\0b")),
    "space before the colon": fault("HTTP/1.1", http(200, BODY, "X-A : b")),
    # lengths
    "length too long": fault("middle", http(200, BODY + b" " * 9)[:-9], "close"),
    "length too long, and silence": fault("silent", http(200, BODY + b" " * 9)[:-9], "hang", 504, pace="between"),
    "length too short": fault("", http(200, BODY[:-9]) + BODY[-9:]),
    "two lengths": fault("HTTP/1.1", http(200, BODY, "Content-Length: 3")),
    "length twice": fault("HTTP/1.1", http(200, BODY, "Content-Length: %d" % len(BODY))),
    "negative length": fault("HTTP/1.1", http(200, BODY, "Content-Length: -1", length=False)),
    "endless length": fault("HTTP/1.1", http(200, BODY, "Content-Length: " + "9" * 30, length=False)),
    "length that is none": fault("HTTP/1.1", http(200, BODY, "Content-Length: 0x10", length=False)),
    "length and chunks": fault("HTTP/1.1", http(200, chunks(BODY), CHUNKED)),
    "chunks twice": fault("HTTP/1.1", http(200, chunks(BODY), CHUNKED, CHUNKED, length=False)),
    "gzip as a transfer": fault("HTTP/1.1", http(200, BODY, "Transfer-Encoding: gzip", length=False)),
    "no length": good(http(200, BODY, CLOSE, length=False), "close", keeps=False),
    "no length, half closed": good(http(200, BODY, CLOSE, length=False), "half", keeps=False),
    "no length, cut": fault("", http(200, BODY[:-20], CLOSE, length=False), "close"),
    "no length, reset": fault("", http(200, BODY[:-20], CLOSE, length=False), "reset"),
    "bytes behind the end": good(http(200, BODY) + b"more", keeps=False),
    "closed behind the end": good(http(200, BODY), "close", keeps=False),
    "reset behind the end": good(http(200, BODY), "settled reset", keeps=False),
    # chunks
    "chunks": good(http(200, chunks(BODY[:9], BODY[9:]), CHUNKED, length=False)),
    "chunk too long": fault("chunk", http(200, b"5\r\n{}  \r\n0\r\n\r\n", CHUNKED, length=False), "half"),
    "chunk too short": fault("broken chunk", http(200, b"1\r\n" + BODY + b"\r\n0\r\n\r\n", CHUNKED, length=False)),
    "chunk overflow": fault("broken chunk", http(200, b"f" * 17 + b"\r\n{}", CHUNKED, length=False), "hang"),
    "chunk of garbage": fault("broken chunk", http(200, b"zz\r\n{}\r\n", CHUNKED, length=False)),
    "negative chunk": fault("broken chunk", http(200, b"-1\r\n{}\r\n", CHUNKED, length=False)),
    "chunk extension without end": fault("broken chunk", http(200, b"1;" + b"a" * 40000, CHUNKED, length=False),
                                         "hang"),
    "trailers without end": fault("broken chunk", http(200, chunks(BODY)[:-2] + b"a: b\r\n" * 9000, CHUNKED,
                                                       length=False), "hang"),
    "no last chunk": fault("middle", http(200, chunks(BODY, end=False), CHUNKED, length=False), "close"),
    "no last chunk, and silence": fault("silent", http(200, chunks(BODY, end=False), CHUNKED, length=False), "hang",
                                        504, pace="between"),
    "body without end": fault("did not finish", [http(200, b"", CHUNKED, length=False)] + [chunks(b" ", end=False)] * 9,
                              "drip", 504, pace="total"),
    # encodings that nobody asked for
    "gzip": fault("gzip", http(200, gzip.compress(BODY), "Content-Encoding: gzip")),
    "gzip bomb": fault("gzip", http(200, gzip.compress(b" " * 10000000), "Content-Encoding: gzip")),
    "gzip that is none": fault("gzip", http(200, BODY, "Content-Encoding: gzip")),
    "two encodings": fault("br", http(200, BODY, "Content-Encoding: br, gzip")),
    "identity": good(http(200, BODY, "Content-Encoding: identity")),
    "500 in gzip": says(500, http(500, gzip.compress(ERROR), "Content-Encoding: gzip")),
    # what is in the body
    "no JSON": fault("", http(200, b"<html>hi</html>", kind="text/html"), keeps=True),
    "JSON that is cut": fault("", http(200, BODY[:-20]), keeps=True),
    "JSON and more": fault("", http(200, BODY + b"x"), keeps=True),
    "invalid UTF-8": fault("", http(200, BODY.replace(b"Hi", b"H\xff")), keeps=True),
    "JSON of another kind": fault("", http(200, b"[1]"), keeps=True),
    "object of another kind": fault("", http(200, b'{"a":1}'), keeps=True),
    "no choices": fault("", http(200, b'{"choices":[]}'), keeps=True),
    "deep JSON": fault("", http(200, b'{"a":' * 5000 + b"1" + b"}" * 5000), keeps=True),
    "error in 200": fault("boom", http(200, ERROR), keeps=True),
    "duplicate type": good(http(200, BODY, "Content-Type: text/plain")),
    "no type": good(http(200, BODY, kind=None)),
}

# Only as a stream: all that comes before its first word.
EVENTS = {
    "whole stream": good(STREAM),
    "stream, drop by drop": good([bytes([b]) for b in STREAM]),
    "comments and other fields": good(head() + chunks(b": ping\n\nevent: x\nid: 1\nretry: 5\n\n",
                                                             data(SAYS, FINISH, DONE))),
    "no last event": good(sse(SAYS, FINISH)),
    "finish, then closed": good(sse(SAYS, FINISH, end=False), "close", keeps=False),
    "two terminators": good(sse(SAYS, FINISH, DONE, DONE)),
    "events behind the end": good(sse(SAYS, FINISH, DONE, m.chunk("More."))),
    "terminator without finish": good(sse(SAYS, DONE)),
    "nothing at all": fault("before its end", head() + chunks(), keeps=True),
    "nothing, by a length": fault("before its end", http(200, kind="text/event-stream"), keeps=True),
    "nothing but a role": fault("before its end", sse(ROLE), keeps=True),
    "nothing but comments": fault("before its end", head() + chunks(b": ping\n\n" * 9), keeps=True),
    "nothing but the terminator": broken("nothing", DONE),
    "nothing but role and terminator": broken("nothing", ROLE, DONE),
    "silence before the first event": fault("silent", head(), "hang", 504, pace="between"),
    "silence after the role": fault("silent", sse(ROLE, end=False), "hang", 504, pace="between"),
    "comments without end": fault("did not finish", [head()] + [chunks(b": ping\n\n", end=False)] * 9, "drip", 504,
                                  pace="total"),
    "closed before the first event": fault("middle", head(), "close"),
    "closed inside the first event": fault("middle", sse(SAYS, end=False)[:-9], "close"),
    "reset after the role": fault("", sse(ROLE, end=False), "reset"),
    "first event cut politely": fault("", head() + chunks(data(SAYS)[:-20]), keeps=True),
    "error event first": broken("boom", json.loads(ERROR)),
    "error event first, and the terminator": broken("boom", json.loads(ERROR), DONE),
    "error beside no choices": broken("boom", dict(json.loads(ERROR), choices=[]), DONE),
    "broken JSON first": broken("", b'{"choices":[{', DONE),
    "no object first": broken("object", b"[1]", DONE),
    "invalid UTF-8 first": broken("", json.dumps(SAYS).encode().replace(b"Hi", b"\xff"), DONE),
    "event of 2 MiB first": fault("longer than", sse(m.chunk("x" * 2097152), end=False), "hang"),
    "stream in gzip": fault("gzip", http(200, gzip.compress(STREAM), "Content-Encoding: gzip",
                                         kind="text/event-stream")),
    "NDJSON": fault("before its end", head("application/x-ndjson") + chunks(json.dumps(SAYS).encode() + b"\n"),
                    keeps=True),
    "stream of no type": fault("", head("text/plain") + chunks(data(SAYS, FINISH, DONE)), keeps=True),
    "stream by a length that is too long": fault("middle", http(200, data(ROLE) + b" " * 9,
                                                                kind="text/event-stream")[:-9], "close"),
}

# Only as a stream: what comes after its first words.
CUTS = {
    "closed": cut("closed", b"", "close"),
    "reset": cut("", b"", "reset"),
    "half closed": cut("closed", b"", "half"),
    "ended politely": cut("before its end", chunks()),
    "silence": cut("silent", b"", "hang", "between", "timeout"),
    "words without end": cut("did not finish", [chunks(data(m.chunk("word ")), end=False)] * 9, "drip", "total",
                             "timeout"),
    "cut event": cut("", chunks(data(SAYS)[:-20])),
    "cut event, closed": cut("closed", chunks(data(SAYS)[:-20], end=False), "close"),
    "chunk of garbage": cut("broken chunk", b"zz\r\n"),
    "chunk overflow": cut("broken chunk", b"f" * 17 + b"\r\n", "hang"),
    "chunk too short": cut("broken chunk", b"1\r\n" + data(SAYS) + b"\r\n"),
    "broken JSON": cut("", chunks(data(b'{"choices":[{', DONE))),
    "no object": cut("object", chunks(data(b"7", DONE))),
    "invalid UTF-8": cut("", chunks(data(json.dumps(SAYS).encode().replace(b"Hi", b"\xff"), DONE))),
    "event of 2 MiB": cut("longer than", chunks(data(m.chunk("x" * 2097152)), end=False), "hang"),
    "line of 2 MiB": cut("longer than", chunks(b":" * 2097152, end=False), "hang"),
    "error event": cut("boom", chunks(data(json.loads(ERROR)))),
    "error event and the terminator": cut("boom", chunks(data(json.loads(ERROR), DONE))),
    "error beside no choices": cut("boom", chunks(data(dict(json.loads(ERROR), choices=[]), DONE))),
    "error as a finish": cut("", chunks(data(m.chunk(finish="error"), DONE))),
    "error after the finish": cut("boom", chunks(data(FINISH, json.loads(ERROR), DONE))),
    "another answer": cut("chunk", http(200, BODY)),
}

# The same of lines of JSON (Ollama's): translated, so nothing leaves as it came.


def lines(*values):
    return b"".join((v if isinstance(v, bytes) else json.dumps(v).encode()) + b"\n" for v in values)


def says_line(text, **members):
    return dict({"model": "up", "message": {"role": "assistant", "content": text}, "done": False}, **members)


LAST = says_line("", done=True, done_reason="stop", prompt_eval_count=7, eval_count=3)
LINES = head("application/x-ndjson")
LINES_BEGUN = LINES + chunks(lines(says_line("One "), says_line("two ")), end=False)
ANY_LINES = {
    "whole": good(LINES + chunks(lines(says_line(TEXT), LAST)), keeps=None),
    "drop by drop": good([bytes([b]) for b in LINES + chunks(lines(says_line(TEXT), LAST))], keeps=None),
    "blank lines": good(LINES + chunks(b"\n\r\n" + lines(says_line(TEXT)) + b"\n" + lines(LAST)), keeps=None),
    "last line without its end": good(LINES + chunks(lines(says_line(TEXT), LAST)[:-1]), keeps=None),
    "two last lines": good(LINES + chunks(lines(says_line(TEXT), LAST, LAST)), keeps=None),
    "nothing": fault("before its end", LINES + chunks(), keeps=None),
    "error first": fault("boom", LINES + chunks(lines({"error": "boom"})), keeps=None),
    "no JSON first": fault("", LINES + chunks(b"<html>\n"), keeps=None),
    "first line cut": fault("", LINES + chunks(lines(says_line(TEXT))[:-9]), keeps=None),
    "first line of 2 MiB": fault("longer than", LINES + chunks(lines(says_line("x" * 2097152)), end=False), "hang"),
    "closed inside the first line": fault("middle", LINES + chunks(b'{"mess', end=False), "close"),
}
CUT_LINES = {
    "closed": cut("closed", b"", "close"),
    "reset": cut("", b"", "reset"),
    "ended politely": cut("before its end", chunks()),
    "silence": cut("silent", b"", "hang", "between", "timeout"),
    "line cut": cut("", chunks(lines(LAST)[:-9])),
    "no JSON": cut("", chunks(lines(b"{", LAST))),
    "error": cut("boom", chunks(lines({"error": "boom"}, LAST))),
    "line of 2 MiB": cut("longer than", chunks(lines(says_line("x" * 2097152)), end=False), "hang"),
    "invalid UTF-8": cut("", chunks(lines(lines(says_line("Hi"))[:-1].replace(b"Hi", b"\xff"), LAST))),
}

# --- the daemon and its upstreams ---


class Bench:
    """One daemon on one loop (so that its pool is one), the model that fails and the one that takes over."""

    def __init__(self, directory):
        self.daemon = m.Muster(directory, args=["--loops", "1"])
        self.bad, self.next = m.Upstream(), m.Upstream(m.ok(NEXT))
        self.cases = {}

    def case(self, pace, chain, mode, protocol):
        """A use case, and the names of its models."""
        key = (pace, chain, mode, protocol)
        if key not in self.cases:
            name, d = self.daemon.name(), self.daemon
            names = [d.register(name, self.bad, protocol=protocol, timeouts=PACES[pace],
                                circuit_breaker=False)]
            if chain:
                names.append(d.register(name, self.next, promote=False))
            d.use_case(name, policy="none", fallback_content="", retries=0, fallback=names[1:], answer_mode=mode)
            self.cases[key] = name, names
        return self.cases[key]

    def forget(self):
        """No request of before, and no connection to the model that fails."""
        for c in list(self.bad.connections):
            try:
                c.sock.shutdown(m.socket.SHUT_RDWR)
            except OSError:
                pass
        self.bad.connections.clear()
        self.bad.requests.clear()
        self.next.requests.clear()

    def gauges(self):
        """Connections: to models, kept of these, and of callers (one asks)."""
        names = ("muster_upstream_connections_open", "muster_upstream_connections_idle", "muster_http_connections_open")
        return tuple(int(control.metric(self.daemon, n, loop="0")) for n in names)

    def close(self):
        self.daemon.stop()
        self.bad.close()
        self.next.close()
        assert not self.bad.errors + self.next.errors


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    b = Bench(tmp_path_factory.mktemp("muster"))
    yield b
    b.close()


def act(c, then):
    if then == "close":
        c.close()
    elif then == "reset":
        c.reset()
    elif then == "settled reset":
        c.wait_closed(0.05)
        c.reset()
    elif then != "keep":
        if then == "half":
            c.half_close()
        c.wait_closed()


def send(c, pieces):
    for p in [pieces] if isinstance(pieces, bytes) else pieces:
        c.send(p)


BEGINNINGS = {"openai": sse(ROLE, m.chunk("One "), m.chunk("two "), end=False), "ollama": LINES_BEGUN}


def plays(row, seen=None, protocol="openai"):
    """The upstream of a row; seen: first words go before, and the rest once they were read."""

    def run(c, r):
        if seen:
            c.send(BEGINNINGS[protocol])
            assert seen.wait(m.LIMIT)
        send(c, row.send)
        while row.then == "drip" and not c.wait_closed(0.02):
            send(c, row.send[-1])
        act(c, row.then)
    return run


FRONTS = {"chat": "/v1/chat/completions", "generate": "/api/v1/generate"}


def ask(bench, name, stream, front="chat", seen=None):
    """The answer with its events (None: it is whole)."""
    body = {"model": name, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    if front == "generate":
        body = {"use_case": name, "prompt": "hello", "stream": stream}
    with bench.daemon.stream(FRONTS[front], body) as s:
        if s.headers.get("content-type") != "text/event-stream":
            s.answer.body = b"".join(s._pieces)
            s.got = None
            return s
        s.got = []
        while seen and BEGUN not in text_of(s):
            s.got.append(s.event())
        if seen:
            seen.set()
        s.got += s.events()
        return s


def text_of(s):
    if s.got is not None:
        return m.chat_text(s.got) + "".join(e.get("text") or "" for e in s.got if isinstance(e, dict))
    whole = s.answer.json()
    return whole["text"] if "text" in whole else whole["choices"][0]["message"]["content"]


# --- what must be seen ---


def check_served(s, stream, text):
    """An answer that is whole, in the caller's protocol."""
    assert s.status == 200 and text_of(s) == text, s.answer
    assert (s.got is not None) == stream
    if stream:
        assert s.got[-1] == "[DONE]" or s.got[-1].get("done") is True
        assert sum(e == "[DONE]" for e in s.got) <= 1 and not any("error" in e for e in s.got)


def check_error(s, front, status, code):
    whole = s.answer.json()
    assert s.status == status and s.got is None, s.answer
    assert set(whole["error"]) >= {"message", "type"} and whole["error"]["message"], whole
    assert front == "chat" or whole["success"] is False
    assert code is None or (whole["error"]["type"], whole["error"]["code"]) == ("upstream_error", code)


def check_cut(s, begun):
    assert s.status == 200 and text_of(s).startswith(begun), s.got
    assert s.got[-1]["error"]["code"] == "stream_truncated" and s.got[-1]["error"]["message"]
    assert "[DONE]" not in s.got and not any(e.get("done") for e in s.got)


def check_log(bench, s, row, models, served):
    """The record: who was asked, what came of it, and who served."""
    log = bench.daemon.log_of(s)
    results = [(a["model"], a["result"]) for a in log["attempts"]]
    assert [r[0] for r in results] == models and s.headers["x-muster-attempts"] == str(len(models))
    assert row.result in results[0][1] and (results[0][1] == "ok") == (row.kind == "good"), results
    fallback = "model" if len(models) > 1 else "none"
    assert (log["http_status"], log["fallback"]) == (s.status, fallback), log
    if served:
        assert (log["status"], log["output"]) == ("ok", served), log
        assert results[-1][1] == "ok" and log["model_name"] == models[-1] == s.headers["x-muster-model"]
        assert s.headers.get("x-muster-fallback", "none") == fallback
    else:
        assert log["status"] == row.log and log["error"], log
        assert row.kind == "refused" or row.result in log["error"], log


def check_upstream(bench, row, name):
    """It was asked once; its connection is used again, or it has been closed."""
    assert len(bench.bad.requests) == 1
    c = bench.bad.last().connection
    if row.keeps is None:  # whether the end of a broken answer had come already is nobody's promise
        return
    if not row.keeps:
        m.eventually(lambda: c.sock.fileno() == -1, "the connection to be closed")
        return
    bench.bad.default = m.answer_with(200, BODY)
    assert bench.daemon.chat(name).status == 200
    assert len(bench.bad.requests) == 2 and bench.bad.last().connection is c


def run(bench, row, stream, chain, front="chat", mode="error", protocol="openai"):
    begins = row.kind == "cut" and mode == "error"
    seen = threading.Event() if row.kind == "cut" else None
    name, models = bench.case(row.pace, chain, mode, protocol)
    bench.forget()
    bench.bad.default = plays(row, seen, protocol)
    if seen and not begins:
        seen.set()
    s = ask(bench, name, stream, front, seen if begins else None)
    moves_on = chain and (row.kind == "fault" or (row.kind == "cut" and not begins))
    served = NEXT if moves_on else TEXT if row.kind == "good" else None
    if served:
        check_served(s, stream, served)
    elif begins:
        check_cut(s, BEGUN)
    elif row.kind == "refused":
        check_error(s, front, row.status, None)
    else:
        status = row.status if row.kind == "fault" else 504 if row.log == "timeout" else row.held
        check_error(s, front, status, "no_model_available")
        row = row._replace(log="timeout" if status == 504 else "error")
    assert len(bench.next.requests) == moves_on
    check_log(bench, s, row, models[:1 + moves_on], served)
    check_upstream(bench, row, name)


# --- the table ---


@pytest.mark.parametrize("chain", [False, True], ids=["alone", "chain"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("row", ANY)
def test_fault(bench, row, stream, chain):
    for front in FRONTS if not chain else ["chat"]:
        run(bench, ANY[row], stream, chain, front)


@pytest.mark.parametrize("chain", [False, True], ids=["alone", "chain"])
@pytest.mark.parametrize("mode", ["error", "buffer"])
@pytest.mark.parametrize("row", EVENTS)
def test_fault_before_the_first_word(bench, row, mode, chain):
    run(bench, EVENTS[row], True, chain, mode=mode)


@pytest.mark.parametrize("chain", [False, True], ids=["alone", "chain"])
@pytest.mark.parametrize("mode", ["error", "buffer"])
@pytest.mark.parametrize("row", CUTS)
def test_fault_after_the_first_words(bench, row, mode, chain):
    run(bench, CUTS[row], True, chain, mode=mode)


@pytest.mark.parametrize("chain", [False, True], ids=["alone", "chain"])
@pytest.mark.parametrize("mode", ["error", "buffer"])
@pytest.mark.parametrize("front", FRONTS)
def test_faults_in_lines(bench, front, mode, chain):
    for table in (ANY_LINES, CUT_LINES):
        for name, row in table.items():
            print(name)  # shown when it fails
            run(bench, row, True, chain, front, mode, "ollama")


# --- what nobody reads ---


@pytest.mark.parametrize("row", ["200 without a body", "204", "JSON that is cut", "no length, cut", "gzip", "no JSON",
                                 "error in 200"])
def test_an_answer_that_is_passed_on_unread_is_whole_all_the_same(bench, row):
    name = bench.daemon.name()
    bench.daemon.use_case(name, policy="none", fallback_content="", retries=0, log="none")
    bench.daemon.register(name, bench.bad, circuit_breaker=False)
    bench.forget()
    bench.bad.default = plays(ANY[row])
    check_error(ask(bench, name, False), "chat", 502, "no_model_available")


@pytest.mark.parametrize("body, fails", [(b' \n{ "error" : {"message": "boom"}}', True), (b'{"error":"boom"}', True),
                                         (b'{"error": null, "choices": []}', False), (b'{"errors": 1}', False),
                                         (b'{"choices": [], "error": "boom"}', False), (b"{}", False)])
def test_an_error_at_the_head_of_an_answer_that_nobody_reads_is_a_failure(bench, body, fails):
    name = bench.daemon.name()
    second = bench.daemon.register(name, bench.next)
    first = bench.daemon.register(name, bench.bad, circuit_breaker=False)
    bench.daemon.use_case(name, policy="none", fallback_content="", retries=0, log="none", fallback=[second])
    bench.forget()
    bench.bad.default = m.answer_with(200, body)
    a = bench.daemon.chat(name)
    assert a.status == 200 and a.headers["x-muster-model"] == (second if fails else first)
    assert fails or a.body == body


def test_all_of_them_leave_nothing_behind(bench):
    """Connections, exchanges and memory are back where they were: the same rows again take no more."""

    def again():
        for row in ("gzip bomb", "silence inside the head", "1xx storm", "chunk overflow", "reset inside the head"):
            for stream in (False, True):
                run(bench, ANY[row], stream, False)
        for row in ("closed", "silence", "event of 2 MiB", "broken JSON"):
            run(bench, CUTS[row], True, True)
            run(bench, CUTS[row], True, True, mode="buffer")
        bench.forget()

    again()
    before = bench.daemon.rss()
    for _ in range(3):
        again()
    m.eventually(lambda: bench.gauges() in ((0, 0, 1), (1, 1, 1)), "the connections to be closed")  # the good model's
    name, _ = bench.case("calm", True, "error", "openai")
    bench.bad.default = m.ok(TEXT)
    bench.daemon.use_case(name, policy="none", max_concurrency=1)  # whoever came in went out again
    assert m.eventually(lambda: bench.daemon.chat(name).status == 200, "room")
    assert m.SANITIZED or bench.daemon.rss() - before < 8 * 1024 * 1024
