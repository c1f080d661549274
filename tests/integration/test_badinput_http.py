# SPDX-License-Identifier: Apache-2.0
"""Bytes that are no good HTTP, too much of it, or too slow: each has its status, its error in the caller's protocol, and
after each the daemon answers the next request."""
import json
import threading

import pytest

import muster as m

LIMIT = 64 * 1024
CHAT, GENERATE = "/v1/chat/completions", "/api/v1/generate"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    config = "limits:\n  body_bytes: 64KiB\n  header_timeout: 1s\n  body_timeout: 1s\n  idle_timeout: 2s\n"
    d = m.Muster(tmp_path_factory.mktemp("muster"), config)
    with m.Upstream() as u:
        d.use_case("good", policy="none")
        d.register("good", u)
        yield d
    d.stop()


@pytest.fixture(autouse=True)
def alive(daemon):
    yield
    assert daemon.chat("good").status == 200
    assert daemon.get("/health/live").status == 200


def chat_body(text="x"):
    return json.dumps({"model": "good", "messages": [{"role": "user", "content": text}]}).encode()


def body_of(path, n):
    """A body of exactly n bytes."""
    start = chat_body("")[:-4] if path == CHAT else b'{"use_case":"good","prompt":"'
    end = b'"}]}' if path == CHAT else b'"}'
    return start + b"y" * (n - len(start) - len(end)) + end


def head(path=CHAT, *lines, method="POST", version="HTTP/1.1"):
    return ("\r\n".join(("%s %s %s" % (method, path, version), "Host: x") + lines) + "\r\n\r\n").encode()


def raw(daemon, data):
    """The answer to these bytes, and whether the daemon then closed."""
    with daemon.connect() as c:
        c.send(data)
        return c.read_answer(), c.at_end()


def is_error(answer, path, status):
    assert answer.status == status, answer
    got = answer.json()
    assert set(got["error"]) == {"message", "type", "param", "code"}
    assert ("success" in got) == (path == GENERATE) and not got.get("success")
    assert got["error"]["message"] and got["error"]["type"]
    assert answer.headers["content-type"] == "application/json" and answer.headers["x-request-id"]
    return got["error"]


@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_a_body_at_the_limit_is_taken(daemon, path):
    assert daemon.post(path, body_of(path, LIMIT)).status == 200


@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_a_body_one_past_the_limit_is_refused(daemon, path):
    answer, closed = raw(daemon, m.request_bytes("POST", path, body_of(path, LIMIT + 1)))
    assert is_error(answer, path, 413)["code"] == "request_too_large" and closed


def test_who_sends_all_of_it_before_reading_is_told_too(daemon):
    with daemon.connect() as c:  # more than any socket holds: a reset would take the answer away
        c.send(head(CHAT, "Content-Length: %d" % (24 << 20)) + b"x" * (24 << 20))
        is_error(c.read_answer(), CHAT, 413)


@pytest.mark.parametrize("past,status", [(0, 200), (1, 413)])
def test_a_chunked_body_has_the_same_limit(daemon, past, status):
    body = body_of(CHAT, LIMIT + past)
    data = head(CHAT, "Transfer-Encoding: chunked")
    for i in range(0, len(body), 5000):
        data += b"%x\r\n%s\r\n" % (len(body[i:i + 5000]), body[i:i + 5000])
    answer, _ = raw(daemon, data + b"0\r\n\r\n")
    assert answer.status == status
    if status == 413:
        is_error(answer, CHAT, 413)


def test_a_huge_length_is_refused_before_its_body(daemon):
    answer, closed = raw(daemon, head(GENERATE, "Content-Length: 99999999999"))
    is_error(answer, GENERATE, 413)
    assert closed


@pytest.mark.parametrize("lines", [
    ["X-Big: " + "a" * 80000], ["X-%d: y" % i for i in range(2000)], ["Cookie: " + "b" * 300000]])
def test_a_head_past_its_limits_is_refused(daemon, lines):
    answer, closed = raw(daemon, head(CHAT, *lines))
    assert is_error(answer, CHAT, 431)["code"] == "headers_too_large" and closed


def test_a_target_past_its_limit_is_refused(daemon):
    answer, closed = raw(daemon, head("/" + "a" * 200000, method="GET"))
    assert answer.status in (414, 431) and closed


def test_a_head_that_never_ends_times_out(daemon):
    with daemon.connect() as c:
        c.send(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\n")
        answer = c.read_answer()
        assert answer.status == 408 and answer.json()["error"]["code"] == "request_timeout" and c.at_end()


def test_a_head_that_drips_times_out(daemon):
    """Bytes that trickle in do not renew the time for a head."""
    gone = threading.Event()
    with daemon.connect() as c:

        def drip():
            try:
                for b in head(CHAT, "X-Slow: " + "z" * 1000):
                    c.sock.send(bytes([b]))
                    if gone.wait(0.05):
                        return
            except OSError:
                pass

        t = threading.Thread(target=drip)
        t.start()
        assert c.read_answer().status == 408
        gone.set()
        t.join(m.LIMIT)


@pytest.mark.parametrize("path", [CHAT, GENERATE])
@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_times_out(daemon, path, framing):
    with daemon.connect() as c:
        c.send(head(path, framing) + (b"5\r\n{\"mod\r\n" if "chunked" in framing else b'{"model":'))
        assert is_error(c.read_answer(), path, 408)["code"] == "request_timeout"
        assert c.at_end()


def test_an_idle_connection_is_closed_without_a_word(daemon):
    with daemon.connect() as c:
        assert c.at_end()
    with daemon.connect() as c:
        assert c.request("GET", "/health/live").status == 200
        assert c.at_end()


@pytest.mark.parametrize("leave", ["close", "reset", "half close"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_client_that_goes_away_inside_its_body_harms_nobody(daemon, leave, framing):
    c = daemon.connect()
    c.send(head(CHAT, framing) + (b"5\r\n{\"mod" if "chunked" in framing else b'{"model":'))
    if leave == "reset":
        c.reset()
    elif leave == "close":
        c.close()
    else:
        c.sock.shutdown(1)
        try:
            rest = c.read_to_end()
        except OSError:
            rest = b""
        assert not rest or rest.startswith(b"HTTP/1.1 4")
        c.close()


@pytest.mark.parametrize("data,status", [
    (head(CHAT, "Content-Length: 5", "Content-Length: 6") + b"{}   ", 400),
    (head(CHAT, "Content-Length: 5", "Content-Length: 5") + b"{}   ", 400),
    (head(CHAT, "Content-Length: 5, 5") + b"{}   ", 400),
    (head(CHAT, "Content-Length: 5", "Transfer-Encoding: chunked") + b"5\r\n{}   \r\n0\r\n\r\n", 400),
    (head(CHAT, "Content-Length: -5"), 400), (head(CHAT, "Content-Length: 0x5"), 400),
    (head(CHAT, "Content-Length: +5") + b"{}   ", 400), (head(CHAT, "Content-Length: "), 400),
    (head(CHAT, "Content-Length: 99999999999999999999999"), 400),
    (head(CHAT, "Transfer-Encoding: gzip"), 501), (head(CHAT, "Transfer-Encoding: chunked, gzip"), 501),
    (head(CHAT, "Transfer-Encoding: chunked") + b"zz\r\n", 400),
    (head(CHAT, "Transfer-Encoding: chunked") + b"5\r\n{}   x\r\n", 400),
    (head(CHAT, "Bad Name: x"), 400), (head(CHAT, "NoColon"), 400), (head(CHAT, ": empty"), 400),
    (head(CHAT, "X: a\r\n folded"), 400), (head(CHAT, "X : space"), 400), (head(CHAT, "X: \x01"), 400),
    (head(CHAT, "Host: y"), 400), (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: x\n\n", 400), (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505), (b"GET / HTTP/1.9\r\nHost: x\r\n\r\n", None),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400), (b"GET /\r\n\r\n", 400), (b"nonsense\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None), (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400)])
def test_what_is_no_http_is_refused_and_the_connection_closed(daemon, data, status):
    answer, closed = raw(daemon, data)
    if status:
        assert answer.status == status, answer
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"} and closed
    else:
        assert answer.status in (200, 400, 505)


def test_a_refused_request_smuggles_nothing(daemon):
    """What follows a request that was refused is not read as another one."""
    inner = m.request_bytes("POST", CHAT, chat_body())
    with daemon.connect() as c:
        c.send(head(CHAT, "Content-Length: %d" % len(inner), "Transfer-Encoding: chunked") + b"0\r\n\r\n" + inner)
        assert c.read_answer().status == 400
        assert c.at_end()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_other_methods_are_refused_by_name(daemon, method, path):
    answer = daemon.request(method, path)
    if method == "BREW":
        assert answer.status in (405, 501)
    else:
        is_error(answer, path, 405)
        assert answer.headers["allow"] == "POST"


def test_a_path_that_is_none_is_not_found(daemon):
    for path in ("/nothing", "/v1/chat/completions/", "/v1/chat", "/api/v1/generate/x", "//", "/v1/../v1/models"):
        answer = daemon.get(path)
        assert answer.status == 404 and answer.json()["error"]["message"], (path, answer)


@pytest.mark.parametrize("origin, status", [
    ("http://localhost:5173", 200), ("https://127.0.0.1", 200), ("http://[::1]:80", 200), ("http://app.localhost", 200),
    ("tauri://localhost", 200), ("vscode-webview://1a2b", 200), ("http://example.com", 403), ("null", 403),
    ("https://localhost.example.com", 403), ("http://127.0.0.1.example.com", 403), ("http://notlocalhost", 403),
    ("HTTPS://example.com:11434", 403)])
def test_without_keys_web_pages_of_other_hosts_are_refused(daemon, origin, status):
    """A browser sends such requests for whatever page it shows: text/plain needs no leave from us."""
    headers = {"Origin": origin, "Content-Type": "text/plain"}
    answer = daemon.request("POST", CHAT, chat_body(), headers)
    assert answer.status == status
    change = daemon.request("POST", "/api/v1/rollback", b'{"use_case":"good","reason":"x"}', headers)
    assert (change.status == 403) == (status == 403)
    if status == 403:
        assert answer.json()["error"]["code"] == "origin_not_allowed" and origin in answer.json()["error"]["message"]


def test_head_is_get_without_the_body(daemon):
    for path in ("/health/live", "/v1/models", "/nothing"):
        with daemon.connect() as c:
            want = c.request("GET", path)
            got = c.request("HEAD", path)
            assert got.status == want.status and got.body == b""
            assert c.request("GET", "/health/live").status == 200  # nothing of a body is left in between


@pytest.mark.parametrize("keep", [False, True])
def test_http_10_is_served(daemon, keep):
    with daemon.connect() as c:
        for _ in range(2 if keep else 1):
            answer = c.request("POST", CHAT, chat_body(), {"Connection": "keep-alive"} if keep else {}, version="1.0")
            assert answer.status == 200 and "transfer-encoding" not in answer.headers
        if not keep:
            assert c.at_end()


def test_expect_100_continue_is_answered(daemon):
    body = chat_body()
    with daemon.connect() as c:
        c.send(head(CHAT, "Content-Length: %d" % len(body), "Expect: 100-continue"))
        assert c.read_head().status == 100
        c.send(body)
        assert c.read_answer().status == 200


def test_expect_100_continue_of_too_much_is_refused_at_once(daemon):
    with daemon.connect() as c:
        c.send(head(CHAT, "Content-Length: %d" % (LIMIT + 1), "Expect: 100-continue"))
        assert c.read_answer().status == 413


def test_pipelined_requests_are_answered_in_order(daemon):
    with daemon.connect() as c:
        paths = ["/health/live", "/nothing", "/v1/models/good", "/health/live"] * 5
        c.send(b"".join(m.request_bytes("GET", p) for p in paths))
        want = {"/health/live": 200, "/nothing": 404, "/v1/models/good": 200}
        assert [c.read_answer("GET").status for _ in paths] == [want[p] for p in paths]


def test_pipelined_chats_keep_their_answers(daemon):
    with daemon.connect() as c:
        ids = ["r-%d" % i for i in range(10)]
        c.send(b"".join(m.request_bytes("POST", CHAT, chat_body(), {"x-request-id": i}) for i in ids))
        got = [c.read_answer() for _ in ids]
    assert [a.headers["x-request-id"] for a in got] == ids and {a.status for a in got} == {200}


def test_a_request_in_single_bytes_is_read(daemon):
    with daemon.connect() as c:
        for b in m.request_bytes("POST", CHAT, chat_body()):
            c.send(bytes([b]))
        assert c.read_answer().status == 200


def test_a_caller_cannot_reach_the_upstream_with_headers(daemon):
    answer = daemon.chat("good", headers={"Authorization": "Bearer sk-caller", "X-Evil": "a"})
    assert answer.status == 200


def test_connections_past_the_limit_are_told_so(start_daemon):
    d = start_daemon("loops: 1\nlimits:\n  connections: 4\n")
    open_ones = [d.connect() for _ in range(4)]
    for c in open_ones:
        assert c.request("GET", "/health/live").status == 200
    with d.connect() as c:
        assert c.read_answer().status == 503 and c.at_end()
    for c in open_ones:
        c.close()

    def served():
        try:
            return d.get("/health/live").status == 200
        except (OSError, m.Cut):
            return False

    m.eventually(served, "places to become free")
