# SPDX-License-Identifier: Apache-2.0
"""https upstreams: certificates and host names are verified; and our own listener with a certificate."""
import http.client
import http.server
import json
import ssl
import subprocess
import threading

import pytest

ANSWER = {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
          "choices": [{"index": 0, "message": {"role": "assistant", "content": "over TLS", "refusal": None},
                       "logprobs": None, "finish_reason": "stop"}],
          "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def make_certificates(folder, name):
    """An authority of our own, and a certificate from it for one DNS name."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=test authority")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "req.pem", "-subj", "/CN=" + name)
    (folder / "ext").write_text("subjectAltName=DNS:%s\n" % name)
    openssl("x509", "-req", "-in", "req.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "ext", "-out", "cert.pem")


@pytest.fixture
def tls_upstream(tmp_path):
    made = []

    def make(name):
        folder = tmp_path / ("tls%d" % len(made))
        folder.mkdir()
        make_certificates(folder, name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.append(server)
        return "https://localhost:%d" % server.server_address[1], folder

    yield make
    for server in made:
        server.shutdown()
        server.server_close()


def test_an_https_upstream_with_a_trusted_certificate_serves(tls_upstream, start_daemon):
    url, folder = tls_upstream("localhost")
    d = start_daemon("", "--tls.ca_file", str(folder / "ca.pem"))
    d.use_case("safe", policy="none")
    d.register("safe", url)
    for _ in range(3):
        answer = d.chat("safe")
        assert answer.status == 200, answer
        assert answer.json()["choices"][0]["message"]["content"] == "over TLS"
    assert "muster_upstream_connections_reused_total" in d.get("/metrics").body.decode()


@pytest.mark.parametrize("name, trusted, words", [("localhost", False, "certificate"), ("example.org", True, "hostname mismatch")])
def test_an_upstream_that_cannot_prove_who_it_is_gets_no_request(tls_upstream, start_daemon, name, trusted, words):
    url, folder = tls_upstream(name)
    d = start_daemon("", *(["--tls.ca_file", str(folder / "ca.pem")] if trusted else []))
    d.use_case("unsafe", policy="none", fallback_content="")
    d.register("unsafe", url)
    answer = d.chat("unsafe")
    assert answer.status == 502, answer
    assert words in answer.json()["error"]["message"].lower()


@pytest.mark.parametrize("name, trusted, error", [
    ("localhost", True, None), ("localhost", False, "certificate"), ("example.org", True, "no alternative certificate")])
def test_a_receiver_of_alerts_has_to_prove_who_it_is(tls_upstream, start_daemon, name, trusted, error):
    url, folder = tls_upstream(name)
    d = start_daemon("alerts: {receivers: {safe: {url: '%s/x'}}}" % url,
                     *(["--tls.ca_file", str(folder / "ca.pem")] if trusted else []))
    got = d.api("POST", "/api/v1/alerts/test")["data"][0]
    assert got["delivered"] is (error is None), got
    assert error is None or (error in got["error"] and got["http_status"] is None), got


def test_our_own_listener_speaks_tls_when_it_has_a_certificate(tmp_path, start_daemon):
    make_certificates(tmp_path, "localhost")
    d = start_daemon("", "--tls.cert_file", str(tmp_path / "cert.pem"), "--tls.key_file", str(tmp_path / "key.pem"))
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    connection = http.client.HTTPSConnection("localhost", d.address[1], context=context, timeout=20)
    connection.request("GET", "/health/live")
    answer = connection.getresponse()
    assert answer.status == 200 and json.loads(answer.read()) == {"status": "live"}
    connection.close()
