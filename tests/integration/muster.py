# SPDX-License-Identifier: Apache-2.0
"""What the behaviour tests stand on: the real daemon, a client that sees every byte, upstreams that do as they are told.

Nothing here sleeps: a test waits for a line, an event, a byte or a condition, each with a limit.
"""
import collections
import contextlib
import json
import os
import queue
import random
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("MUSTER_BIN") or os.path.join(ROOT, "build", "release", "muster")
LIMIT = float(os.environ.get("MUSTER_TEST_LIMIT", "20"))  # how long anything is waited for
CRASH = re.compile(r"Sanitizer|runtime error:|Assertion|assertion|SUMMARY:|stack smashing|core dumped")


def _is_sanitized():
    with open(BIN, "rb") as f:
        binary = f.read()
    return b"__asan_init" in binary or b"__tsan_init" in binary


SANITIZED = os.path.exists(BIN) and _is_sanitized()  # memory then says little


class Cut(Exception):
    """An answer that ended before its end."""


def eventually(probe, what, limit=LIMIT):
    """The first true value of probe(); what: said when there is none in time."""
    until = time.monotonic() + limit
    tick = threading.Event()
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError("waited in vain for " + what)
        tick.wait(0.005)


# --- what OpenAI's description says of answers ---

ASKED = re.compile(rb"[A-Z]+ (/\S*) HTTP/")
PASSED_MAX = 4 << 20


class Passed:
    """What upstreams have sent lately: an answer of the same protocol is theirs, and passes as it is."""

    def __init__(self):
        self.pieces, self.n = collections.deque(), 0
        self.lock = threading.Lock()
        self.others = False  # an upstream that is no script answers too

    def add(self, data):
        with self.lock:
            self.pieces.append(data)
            self.n += len(data)
            while self.n > PASSED_MAX and len(self.pieces) > 1:
                self.n -= len(self.pieces.popleft())

    def __contains__(self, text):
        with self.lock:
            return self.others or text in b"".join(self.pieces)


passed = Passed()


def check_openai(path, status, kind, body):
    """Whether an answer of an OpenAI front is one; kind: its content type."""
    import openai_spec  # which knows this file

    if not path or not openai_spec.front_of(path):
        return
    try:
        if kind.startswith("text/event-stream"):
            openai_spec.stream(path, body)
        else:
            openai_spec.answer(path, status, json.loads(body))
    except (openai_spec.Refused, ValueError):
        if body.strip() not in passed:
            raise


# --- the caller's side ---


class Answer:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body
        self.path = None  # that was asked, when it is known
        self.trailers = {}

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "<%d %s %r>" % (self.status, self.headers, self.body[:400])


class Connection:
    """One connection to the daemon: sends what it is given, reads answers strictly."""

    def __init__(self, address, limit=LIMIT, rcvbuf=None):
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(limit)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.asked = collections.deque()  # paths that have not been answered; None: in another protocol's form

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data):
        asked = ASKED.match(data)
        if asked:
            others = b"anthropic-version" in data or b"x-goog-api-key" in data  # who gets lists of another protocol
            self.asked.append(None if others else asked.group(1).decode("latin-1"))
        self.sock.sendall(data)

    def send_request(self, method, path, body=None, headers=None, version="1.1"):
        self.send(request_bytes(method, path, body, headers, version))

    def fill(self):
        piece = self.sock.recv(65536)
        self.buf += piece
        return bool(piece)

    def read_until(self, mark):
        while mark not in self.buf:
            if not self.fill():
                raise Cut("closed before %r; had %r" % (mark, self.buf[-200:]))
        got, _, self.buf = self.buf.partition(mark)
        return got

    def read_exactly(self, n):
        while len(self.buf) < n:
            if not self.fill():
                raise Cut("closed after %d of %d bytes" % (len(self.buf), n))
        got, self.buf = self.buf[:n], self.buf[n:]
        return got

    def read_to_end(self):
        while self.fill():
            pass
        got, self.buf = self.buf, b""
        return got

    def at_end(self):
        """Whether the daemon has closed, and sent nothing more."""
        try:
            return not self.buf and not self.fill()
        except ConnectionResetError:
            return True

    def read_head(self):
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = (lines[0] + "  ").split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0"), lines[0]
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            assert name and name == name.strip(), line
            headers[name.lower()] = value.strip()
        answer = Answer(int(status), reason.strip(), headers, b"")
        if answer.status >= 200 and self.asked:
            answer.path = self.asked.popleft()
        return answer

    def read_fields(self):
        """Lines "name: value" up to an empty one."""
        fields = {}
        while True:
            line = self.read_until(b"\r\n").decode("latin-1").strip()
            if not line:
                return fields
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()

    def pieces(self, answer, method="POST"):
        """The body in the chunks it came in; raises Cut when it ends before its end."""
        h = answer.headers
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return
        if h.get("transfer-encoding") == "chunked":
            assert "content-length" not in h
            while True:
                size = int(self.read_until(b"\r\n"), 16)
                if not size:
                    answer.trailers = self.read_fields()
                    return
                piece = self.read_exactly(size)
                assert self.read_exactly(2) == b"\r\n"
                yield piece
        elif "content-length" in h:
            yield self.read_exactly(int(h["content-length"]))
        else:
            yield self.read_to_end()

    def read_answer(self, method="POST"):
        answer = self.read_head()
        answer.body = b"".join(self.pieces(answer, method))
        if method != "HEAD":
            check_openai(answer.path, answer.status, answer.headers.get("content-type", ""), answer.body)
        return answer

    def request(self, method, path, body=None, headers=None, version="1.1"):
        self.send_request(method, path, body, headers, version)
        return self.read_answer(method)


def request_bytes(method, path, body=None, headers=None, version="1.1"):
    head = {"Host": "muster"}
    if body is not None:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        head["Content-Type"] = "application/json"
        head["Content-Length"] = str(len(body))
    head.update(headers or {})
    lines = ["%s %s HTTP/%s" % (method, path, version)]
    lines += ["%s: %s" % (k, v) for k, v in head.items() if v is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")


class Stream:
    """A streamed answer, event by event."""

    def __init__(self, connection, answer):
        self.connection, self.answer = connection, answer
        self.status, self.headers = answer.status, answer.headers
        self._pieces = connection.pieces(answer)
        self._buf = b""
        self.raw = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.connection.close()

    def is_lines(self):
        return self.headers.get("content-type") == "application/x-ndjson"

    def block(self):
        """The bytes of the next event with its blank line, or of the next line; None at a clean end; Cut when it broke off."""
        ends = (b"\n",) if self.is_lines() else (b"\n\n", b"\r\n\r\n")
        while not any(e in self._buf for e in ends):
            try:
                piece = next(self._pieces)
            except StopIteration:
                assert not self._buf, "an event without an end: %r" % self._buf
                return None
            self._buf += piece
            self.raw += piece
        end = min(i + len(m) for m in ends for i in [self._buf.find(m)] if i >= 0)
        got, self._buf = self._buf[:end], self._buf[end:]
        if self.status == 200:
            check_openai(self.answer.path, 200, "text/event-stream", got)
        return got

    def event(self):
        """The next event's data: parsed JSON, "[DONE]", or None at the end."""
        while True:
            block = self.block()
            if block is None:
                return None
            if self.is_lines():
                return json.loads(block)
            data = [l[5:].lstrip(b" ") for l in block.splitlines() if l.startswith(b"data:")]
            if data:
                text = b"\n".join(data)
                return "[DONE]" if text == b"[DONE]" else json.loads(text)

    def events(self):
        got = []
        while True:
            event = self.event()
            if event is None:
                return got
            got.append(event)


def chat_text(events, index=0, member="content"):
    """The text of one choice of a stream of chat chunks."""
    text = ""
    for e in events:
        for c in e.get("choices", ()) if isinstance(e, dict) else ():
            if c.get("index", 0) == index:
                text += (c.get("delta") or {}).get(member) or ""
    return text


def finish_of(events):
    reasons = [c["finish_reason"] for e in events if isinstance(e, dict)
               for c in e.get("choices", ()) if c.get("finish_reason")]
    return reasons[-1] if reasons else None


# --- the daemon ---


class Muster:
    """A daemon of its own, with its own data directory, on a free port."""

    def __init__(self, directory, config="", args=(), env=None):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.stderr_path = os.path.join(self.directory, "stderr")
        command = [BIN, "serve", "--listen", "127.0.0.1:0", "--data", os.path.join(self.directory, "data")]
        if config:
            path = os.path.join(self.directory, "muster.yaml")
            with open(path, "w") as f:
                f.write(config)
            command += ["--config", path]
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("MUSTER_", "POSTGRES_"))}
        environ.update(env or {})
        self.stderr = open(self.stderr_path, "wb")
        self.process = subprocess.Popen(command + list(args), stdout=subprocess.PIPE, stderr=self.stderr, env=environ)
        self.address = self._read_address()
        self.url = "http://%s:%d" % self.address
        self._names = iter(range(1, 1000000))

    def _read_address(self):
        lines = queue.Queue()

        def pump():
            for line in self.process.stdout:
                lines.put(line.decode())
            lines.put(None)

        threading.Thread(target=pump, daemon=True).start()
        address, until = None, time.monotonic() + LIMIT
        while True:
            line = lines.get(timeout=max(0.01, until - time.monotonic()))
            if line is None:
                raise AssertionError("the daemon did not start: " + self.errors())
            found = re.search(r"https?://([0-9.]+):(\d+)", line)
            if found and not address:
                address = (found.group(1), int(found.group(2)))
            if line.startswith("ready"):
                return address

    def errors(self):
        self.stderr.flush()
        with open(self.stderr_path, errors="replace") as f:
            return f.read()

    def stop(self, limit=40):
        """Ends it as an operator would; anything but a clean end is an error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            rc = self.process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the daemon did not end within %d s of SIGTERM: %s" % (limit, self.errors()))
        errors = self.errors()
        self.stderr.close()
        assert rc == 0, "the daemon ended with %d: %s" % (rc, errors[-4000:])
        assert not CRASH.search(errors), errors[-4000:]

    # requests

    def connect(self, **options):
        return Connection(self.address, **options)

    def request(self, method, path, body=None, headers=None, version="1.1"):
        with self.connect() as c:
            return c.request(method, path, body, headers, version)

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, body, headers=None):
        return self.request("POST", path, body, headers)

    def api(self, method, path, body=None):
        """A control call that has to succeed: its parsed answer."""
        answer = self.request(method, path, body)
        assert 200 <= answer.status < 300, answer
        return answer.json()

    def chat(self, model, text="hello", headers=None, **members):
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        body.update(members)
        return self.post("/v1/chat/completions", body, headers)

    def generate(self, use_case, prompt="hello", headers=None, **members):
        body = {"use_case": use_case, "prompt": prompt}
        body.update(members)
        return self.post("/api/v1/generate", body, headers)

    def stream(self, path, body, headers=None, **options):
        c = self.connect(**options)
        c.send_request("POST", path, body, headers)
        return Stream(c, c.read_head())

    def chat_stream(self, model, text="hello", headers=None, **members):
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}
        body.update(members)
        return self.stream("/v1/chat/completions", body, headers)

    def generate_stream(self, use_case, prompt="hello", **members):
        body = {"use_case": use_case, "prompt": prompt, "stream": True}
        body.update(members)
        return self.stream("/api/v1/generate", body)

    # the registry

    def name(self, stem="case"):
        return "%s_%d" % (stem, next(self._names))

    def use_case(self, name, **settings):
        return self.api("PUT", "/api/v1/use-cases/" + name, settings)

    def register(self, use_case, upstream, name=None, promote=True, protocol="openai", version="1.0", **config):
        """Registers a model behind an upstream (or a URL); promote makes it current. Its name@version."""
        name = name or self.name("model")
        url = upstream if isinstance(upstream, str) else upstream.url
        provider = config.pop("provider", None) or {"ollama": "ollama", "generate": "generate"}.get(protocol, "custom")
        configuration = {"endpoint": url, "upstream_model": "up-" + name}
        if protocol in ("anthropic", "gemini"):
            configuration["protocol"] = protocol
        configuration.update(config)
        self.api("POST", "/api/v1/models", {"model_name": name, "version": version, "use_case": use_case,
                                            "provider": provider, "configuration": configuration})
        if promote:
            self.api("POST", "/api/v1/models/%s@%s/promote" % (name, version),
                     {"use_case": use_case, "reason": "test"})
        return "%s@%s" % (name, version)

    def policy(self, name, *rules, **members):
        document = {"name": name, "rules": list(rules)}
        document.update(members)
        return self.api("PUT", "/api/v1/guardrails/policies/" + name, document)

    # the historical log

    def log(self, log_id):
        """The record of an exchange; it is shipped a little after the answer."""

        def probe():
            answer = self.get("/api/v1/logs/" + log_id)
            assert answer.status in (200, 404), answer
            return answer.json() if answer.status == 200 else None

        return eventually(probe, "log record " + log_id)

    def log_of(self, answer):
        return self.log(answer.headers["x-muster-log-id"])

    def logs(self, use_case, n, query=""):
        """The n records of a use case, newest first; fails when there are more."""
        path = "/api/v1/logs?limit=1000&use_case=%s%s" % (use_case, query)
        got = eventually(lambda: [d for d in [self.api("GET", path)["data"]] if len(d) >= n],
                         "%d records of %s" % (n, use_case))[0]
        assert len(got) == n, got
        return got

    def rss(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024


# --- upstreams ---


class Request:
    def __init__(self, method, path, headers, body, connection):
        self.method, self.path, self.headers, self.body, self.connection = method, path, headers, body, connection

    def json(self):
        return json.loads(self.body)


class UpstreamConnection:
    """The upstream's end of a connection: what a script acts on."""

    def __init__(self, sock, number):
        self.sock, self.number = sock, number
        self.buf = b""
        self.open = True
        sock.settimeout(LIMIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_request(self):
        """None when the other side closed."""
        while b"\r\n\r\n" not in self.buf:
            piece = self.sock.recv(65536)
            if not piece:
                return None
            self.buf += piece
        head, _, self.buf = self.buf.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {l.partition(":")[0].lower(): l.partition(":")[2].strip() for l in lines[1:]}
        n = int(headers.get("content-length", 0))
        pieces, got = [self.buf], len(self.buf)
        while got < n:
            pieces.append(self.sock.recv(1 << 20))
            if not pieces[-1]:
                return None
            got += len(pieces[-1])
        self.buf = b"".join(pieces)
        body, self.buf = self.buf[:n], self.buf[n:]
        return Request(method, path, headers, body, self)

    def send(self, data):
        data = data if isinstance(data, bytes) else data.encode()
        passed.add(data)
        self.sock.sendall(data)

    def head(self, status=200, headers=None, reason="X"):
        lines = ["HTTP/1.1 %d %s" % (status, reason)] + ["%s: %s" % h for h in (headers or {}).items()]
        self.send("\r\n".join(lines) + "\r\n\r\n")

    def reply(self, status, body, headers=None):
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        all_headers = {"Content-Type": "application/json", "Content-Length": len(body)}
        all_headers.update(headers or {})
        lines = ["HTTP/1.1 %d X" % status] + ["%s: %s" % h for h in all_headers.items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def begin_stream(self, kind="text/event-stream"):
        self.head(200, {"Content-Type": kind, "Transfer-Encoding": "chunked"})

    def chunk(self, data):
        data = data if isinstance(data, bytes) else data.encode()
        passed.add(data)
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def end_stream(self):
        self.send(b"0\r\n\r\n")

    def event(self, value):
        self.chunk("data: %s\n\n" % (value if isinstance(value, str) else json.dumps(value)))

    def line(self, value):
        self.chunk(json.dumps(value) + "\n")

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.open = False
        self.sock.close()

    def wait_closed(self, limit=LIMIT):
        """Whether the other side went away in time."""
        until = time.monotonic() + limit
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return False
            try:
                if not self.sock.recv(65536):
                    return True
            except OSError:
                return True


class Upstream:
    """A server that answers as it is told: the next of `script`, or `default`, each called as fn(connection, request)."""

    def __init__(self, default=None):
        self.default = default or ok()
        self.script = []
        self.requests = []
        self.n_connections = 0
        self.errors = []
        self.changed = threading.Condition()
        self.connections = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(256)
        self.port = self.listener.getsockname()[1]
        self.url = "http://127.0.0.1:%d" % self.port
        self.closing = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.closing = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for c in list(self.connections):
            with contextlib.suppress(OSError):
                c.sock.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.n_connections += 1
                c = UpstreamConnection(sock, self.n_connections)
                self.connections.append(c)
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _next(self, request):
        with self.changed:
            self.requests.append(request)
            fn = self.script.pop(0) if self.script else self.default
            self.changed.notify_all()
        return fn

    def _serve(self, c):
        try:
            while c.open:
                request = c.read_request()
                if not request:
                    break
                self._next(request)(c, request)
        except OSError:
            pass  # the daemon may leave whenever it likes; a test that minds asks wait_closed
        except Exception as e:  # a script that is wrong: told by the fixture
            self.errors.append(e)
        finally:
            with contextlib.suppress(OSError):
                c.sock.close()

    def wait_requests(self, n):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= n, LIMIT), \
                "%d of %d requests came" % (len(self.requests), n)
            return self.requests

    def last(self):
        return self.requests[-1]


# --- what upstreams say ---


def completion(text="Hi there.", model="up", finish="stop", **members):
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": model,
              "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": None},
                           "logprobs": None, "finish_reason": finish}],
              "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}
    answer.update(members)
    return answer


def chunk(text=None, finish=None, index=0, role=None, **delta):
    d = dict(delta)
    if role:
        d["role"] = role
    if text is not None:
        d["content"] = text
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "up",
            "choices": [{"index": index, "delta": d, "finish_reason": finish}]}


def usage_chunk(prompt=7, completed=3):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "up", "choices": [],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completed, "total_tokens": prompt + completed}}


def answer_with(status, body, headers=None):
    return lambda c, r: c.reply(status, body, headers)


def ok(text="Hi there."):
    """Speaks whichever of the three protocols it is asked in, whole or streamed."""

    def run(c, r):
        asked = r.json()
        pieces = re.findall(r"\S+\s*|\s+", text) or [""]
        if r.path == "/api/chat":
            ollama(c, asked, text, pieces)
        elif r.path == "/generate":
            c.reply(200, {"text": text, "tokens_used": 3})
        elif asked.get("stream"):
            stream_pieces(c, pieces, usage=bool((asked.get("stream_options") or {}).get("include_usage")))
        else:
            c.reply(200, completion(text))

    return run


def ollama(c, asked, text, pieces):
    last = {"model": "up", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": ""},
            "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
    if not asked["stream"]:
        c.reply(200, dict(last, message={"role": "assistant", "content": text}))
        return
    c.begin_stream("application/x-ndjson")
    for p in pieces:
        c.line({"model": "up", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": p},
                "done": False})
    c.line(last)
    c.end_stream()


def stream_pieces(c, pieces, usage=False, done=True):
    c.begin_stream()
    c.event(chunk("", role="assistant"))
    for p in pieces:
        c.event(chunk(p))
    c.event(chunk(finish="stop"))
    if usage:
        c.event(usage_chunk())
    if done:
        c.event("[DONE]")
    c.end_stream()


def streaming(*pieces, usage=False, done=True):
    """A chat stream of these pieces."""
    return lambda c, r: stream_pieces(c, pieces, usage, done)


def events(*values):
    """A stream of exactly these events."""

    def run(c, r):
        c.begin_stream()
        for v in values:
            c.event(v)
        c.end_stream()

    return run


def reset(c, r):
    c.reset()


def close(c, r):
    c.close()


def silent(c, r):
    c.wait_closed()
    c.close()


def free_port():
    """A port where nobody listens, below those that the kernel hands out: nobody else takes it before it is used."""
    while True:
        port = random.randrange(10240, 20000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
