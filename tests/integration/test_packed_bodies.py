# SPDX-License-Identifier: Apache-2.0
"""Bodies that come packed (Content-Encoding), and the headers of a trace: what the model gets, and what is refused."""
import ctypes
import gzip
import json
import zlib

import pytest

import muster as m

LIMIT = 64 * 1024
CHAT = "/v1/chat/completions"


def zstd(data):
    """There is no module for it: the library that the daemon reads it with."""
    lib = ctypes.CDLL("libzstd.so.1")
    lib.ZSTD_compressBound.restype = lib.ZSTD_compress.restype = ctypes.c_size_t
    lib.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    lib.ZSTD_compress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    out = ctypes.create_string_buffer(lib.ZSTD_compressBound(len(data)))
    n = lib.ZSTD_compress(out, len(out), data, len(data), 3)
    return out.raw[:n]


@pytest.fixture(scope="module")
def upstream():
    with m.Upstream() as u:
        yield u


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, upstream):
    d = m.Muster(tmp_path_factory.mktemp("muster"), "limits:\n  body_bytes: 64KiB\n")
    d.use_case("good", policy="none")
    d.register("good", upstream)
    yield d
    d.stop()


def body_of(n):
    start, end = b'{"model":"good","messages":[{"role":"user","content":"', b'"}]}'
    return start + b"y" * (n - len(start) - len(end)) + end


def post(daemon, body, coding, path=CHAT, **more):
    return daemon.post(path, body, headers={"Content-Encoding": coding, **more})


SMALL, FULL = body_of(200), body_of(LIMIT)
TAKEN = {
    "gzip": ("gzip", gzip.compress(SMALL), SMALL),
    "GZip": ("GZip", gzip.compress(SMALL), SMALL),
    "x-gzip": ("x-gzip", gzip.compress(SMALL), SMALL),
    "gzip of two members": ("gzip", gzip.compress(SMALL[:70]) + gzip.compress(SMALL[70:]), SMALL),
    "gzip that fills the limit": ("gzip", gzip.compress(FULL), FULL),
    "zstd": ("zstd", zstd(SMALL), SMALL),
    "zstd of two frames": ("zstd", zstd(SMALL[:70]) + zstd(SMALL[70:]), SMALL),
    "zstd that fills the limit": ("zstd", zstd(FULL), FULL),
    "identity": ("identity", SMALL, SMALL),
}
REFUSED = {
    "gzip past the limit": ("gzip", gzip.compress(FULL + b" "), 413, "unpacked"),
    "gzip bomb": ("gzip", gzip.compress(b" " * 20_000_000), 413, "unpacked"),
    "zstd past the limit": ("zstd", zstd(FULL + b" "), 413, "unpacked"),
    "zstd bomb": ("zstd", zstd(b" " * 20_000_000), 413, "unpacked"),
    "gzip that is cut": ("gzip", gzip.compress(SMALL)[:-9], 400, "gzip"),
    "gzip with another checksum": ("gzip", gzip.compress(SMALL)[:-8] + b"\0" * 8, 400, "gzip"),
    "gzip with something behind": ("gzip", gzip.compress(SMALL) + b"x", 400, "gzip"),
    "gzip that is none": ("gzip", SMALL, 400, "gzip"),
    "gzip that is zlib's": ("gzip", zlib.compress(SMALL), 400, "gzip"),
    "zstd that is cut": ("zstd", zstd(SMALL)[:-3], 400, "zstd"),
    "zstd that is none": ("zstd", SMALL, 400, "zstd"),
    "zstd with something behind": ("zstd", zstd(SMALL) + b"x", 400, "zstd"),
    "deflate": ("deflate", zlib.compress(SMALL), 415, "gzip"),
    "br": ("br", SMALL, 415, "gzip"),
    "gzip in gzip": ("gzip, gzip", gzip.compress(gzip.compress(SMALL)), 415, "gzip"),
}


@pytest.mark.parametrize("row", TAKEN)
def test_the_model_gets_what_was_packed(daemon, upstream, row):
    coding, packed, plain = TAKEN[row]
    answer = post(daemon, packed, coding)
    assert answer.status == 200, answer
    request = upstream.requests[-1]
    assert request.body == plain.replace(b'"good"', request.json()["model"].join('""').encode(), 1)
    assert "content-encoding" not in request.headers


@pytest.mark.parametrize("row", REFUSED)
def test_what_cannot_be_unpacked_is_refused(daemon, upstream, row):
    coding, packed, status, word = REFUSED[row]
    before = len(upstream.requests)
    answer = post(daemon, packed, coding)
    assert answer.status == status and word in answer.json()["error"]["message"], answer
    assert len(upstream.requests) == before
    assert daemon.chat("good").status == 200


def test_two_codings_in_two_headers_are_refused(daemon):
    raw = m.request_bytes("POST", CHAT, gzip.compress(SMALL), {"Content-Encoding": "gzip"})
    with daemon.connect() as c:
        c.send(raw.replace(b"\r\n\r\n", b"\r\nContent-Encoding: zstd\r\n\r\n", 1))
        assert c.read_answer().status == 400


def test_the_registry_takes_packed_bodies_as_well(daemon):
    body = json.dumps({"policy": "none", "reason": "packed"}).encode()
    answer = daemon.request("PUT", "/api/v1/use-cases/other", gzip.compress(body), {"Content-Encoding": "gzip"})
    assert answer.status in (200, 201), answer
    assert post(daemon, b"not gzip", "gzip", "/api/v1/rollback").status == 400


def test_packed_and_chunked(daemon, upstream):
    packed = gzip.compress(SMALL)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(packed[i:i + 7]), packed[i:i + 7]) for i in range(0, len(packed), 7))
    head = m.request_bytes("POST", CHAT, None, {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"})
    with daemon.connect() as c:
        c.send(head + chunks + b"0\r\n\r\n")
        assert c.read_answer().status == 200
    assert upstream.requests[-1].json()["messages"][0]["content"].strip("y") == ""


def test_nobody_without_a_key_makes_the_daemon_unpack(tmp_path):
    (tmp_path / "keys").write_text("one:one-secret-0123456789abcdef\n")
    d = m.Muster(tmp_path, "auth:\n  key_file: %s\n" % (tmp_path / "keys"))
    try:
        assert post(d, gzip.compress(b" " * 20_000_000), "gzip").status == 401
    finally:
        d.stop()


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("headers,passed", [
    ({}, {}),
    ({"traceparent": PARENT}, {"traceparent": PARENT}),
    ({"TraceParent": PARENT, "tracestate": "a=b,c=d"}, {"traceparent": PARENT, "tracestate": "a=b,c=d"}),
    ({"traceparent": PARENT, "tracestate": "a=" + "x" * 600}, {"traceparent": PARENT}),
])
def test_a_trace_goes_on_to_the_model(daemon, upstream, headers, passed):
    assert daemon.post(CHAT, SMALL, headers=headers).status == 200
    got = upstream.requests[-1].headers
    assert {k: v for k, v in got.items() if k.startswith("trace")} == passed
