# SPDX-License-Identifier: Apache-2.0
"""Certificates are read again on SIGHUP: new connections get the new one, those that are open stay, and a certificate
that is no good changes nothing."""
import shutil
import socket
import ssl

import pytest

import control
import muster as m
from test_gateway_tls import make_certificates

REQUEST = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def served(tmp_path, start_daemon):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        make_certificates(tmp_path / name, "localhost")
    (tmp_path / "live").mkdir()
    install(tmp_path, "old")
    d = start_daemon("", "--loops", "2", "--tls.cert_file", str(tmp_path / "live" / "cert.pem"),
                     "--tls.key_file", str(tmp_path / "live" / "key.pem"))
    return d, tmp_path


def install(folder, name):
    for part in ("cert.pem", "key.pem"):
        shutil.copy(folder / name / part, folder / "live" / part)


def connect(d, folder, name):
    """Only the certificate of that authority will do."""
    context = ssl.create_default_context(cafile=str(folder / name / "ca.pem"))
    raw = socket.create_connection(d.address, m.LIMIT)
    return context.wrap_socket(raw, server_hostname="localhost")


def answers(connection):
    connection.sendall(REQUEST)
    got = b""
    while b"schema_level" not in got:
        piece = connection.recv(65536)
        assert piece, got
        got += piece
    return got.startswith(b"HTTP/1.1 200")


def accepts(d, folder, name):
    try:
        with connect(d, folder, name) as c:
            return answers(c)
    except ssl.SSLCertVerificationError:
        return False


def test_new_connections_get_the_new_certificate_and_old_ones_stay(served):
    d, folder = served
    live = [connect(d, folder, "old") for _ in range(8)]
    assert all(answers(c) for c in live)
    assert not accepts(d, folder, "new")
    install(folder, "new")
    assert not accepts(d, folder, "new"), "not before it is told"
    assert control.reload(d)[0]
    m.eventually(lambda: accepts(d, folder, "new") and not accepts(d, folder, "old"), "the new certificate")
    assert all(accepts(d, folder, "new") for _ in range(16)), "on every loop"
    assert all(answers(c) for c in live), "connections from before"
    for c in live:
        c.close()


@pytest.mark.parametrize("damage", ["garbage", "missing", "mismatch"])
def test_a_certificate_that_is_no_good_changes_nothing(served, damage):
    d, folder = served
    live = folder / "live"
    if damage == "garbage":
        (live / "cert.pem").write_text("nonsense")
    elif damage == "missing":
        (live / "cert.pem").unlink()
    else:
        shutil.copy(folder / "new" / "cert.pem", live / "cert.pem")
    taken, said = control.reload(d)
    assert not taken and "cert.pem" in said, said
    assert accepts(d, folder, "old")
    install(folder, "new")
    assert control.reload(d)[0]
    m.eventually(lambda: accepts(d, folder, "new"), "the new certificate")


def test_command_line_trusts_the_authority_that_it_is_told(served):
    d, folder = served
    url = "https://localhost:%d" % d.address[1]
    for said, rc in ((str(folder / "old" / "ca.pem"), 0), (str(folder / "new" / "ca.pem"), 1), ("", 1)):
        got = control.run("health", MUSTER_URL=url, MUSTER_CA_FILE=said)
        assert got.rc == rc and ("certificate" in got.err) is (rc == 1), got


def test_many_reloads_under_connections_that_come_and_go(served):
    d, folder = served
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def call(i):
        for _ in range(20):
            with context.wrap_socket(socket.create_connection(d.address, m.LIMIT)) as c:
                assert answers(c)

    def swap(i):
        for n in range(10):
            install(folder, "new" if n % 2 else "old")
            assert control.reload(d)[0]

    control.together(5, lambda i: swap(i) if i == 0 else call(i))
