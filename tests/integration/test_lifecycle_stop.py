# SPDX-License-Identifier: Apache-2.0
"""The end of the daemon: what was accepted is finished, within a limit, and nothing of the log is lost."""
import signal
import socket
import threading

import control
import muster as m


def serve(start_daemon, upstream, *args, config="", **env):
    daemon = start_daemon(config, "--loops", "2", *args, **env)
    daemon.use_case("load", policy="none", fallback_content="")
    daemon.register("load", upstream)
    return daemon


def again(daemon, config=""):
    return m.Muster(daemon.directory, config)


def request_ids(upstream):
    return {r.headers["x-request-id"] for r in upstream.requests}


def test_no_accepted_exchange_is_lost_under_load(start_daemon, upstream):
    daemon = serve(start_daemon, upstream)
    load = control.Load(daemon, "load", threads=6)
    try:
        load.wait(200)
        took, _ = control.stop(daemon)
    finally:
        load.end()
    assert took < 30
    assert not load.refused, load.refused[:3]
    assert not set(load.broken) & request_ids(upstream), "a caller was left without the answer to what had begun"
    control.check_once(daemon, load)  # no start in between: what was answered was shipped before the end
    with control.database(daemon) as db:
        logged = {r[0] for r in db.execute("select request_id from model_historical_logs")}
    assert request_ids(upstream) <= logged


def test_exchange_under_way_is_finished_and_new_connections_are_not_taken(start_daemon, make_upstream):
    go = threading.Event()
    upstream = make_upstream(lambda c, r: (go.wait(m.LIMIT), m.ok("late but whole")(c, r)))
    daemon = serve(start_daemon, upstream)
    with daemon.connect() as c, daemon.connect() as idle:
        c.send_request("POST", "/api/v1/generate", {"use_case": "load", "prompt": "slow"})
        upstream.wait_requests(1)
        daemon.process.send_signal(signal.SIGTERM)
        assert idle.at_end(), "an idle connection is closed"
        m.eventually(lambda: refuses(daemon.address), "a closed listener")
        assert daemon.process.poll() is None
        go.set()
        answer = c.read_answer()
        assert answer.status == 200 and answer.json()["text"] == "late but whole"
        assert answer.headers.get("connection") == "close" and c.at_end()
    assert daemon.process.wait(timeout=m.LIMIT) == 0
    assert answer.headers["x-muster-log-id"] in control.logged_ids(daemon)


def refuses(address):
    with socket.socket() as s:
        s.settimeout(m.LIMIT)
        return s.connect_ex(address) != 0


def test_exchange_that_never_ends_is_cut_at_the_limit_and_logged(start_daemon, make_upstream):
    upstream = make_upstream(m.silent)
    daemon = serve(start_daemon, upstream, "--shutdown.limit", "300ms")
    with daemon.connect() as c:
        c.send_request("POST", "/api/v1/generate", {"use_case": "load", "prompt": "for ever"},
                       {"x-request-id": "stuck-1"})
        upstream.wait_requests(1)
        assert control.stop(daemon)[0] < 8
        assert c.at_end()
    with control.database(daemon) as db:
        rows = db.execute("select status, prompt from model_historical_logs where request_id = 'stuck-1'").fetchall()
    assert rows == [("shutdown", "for ever")]


def test_second_sigterm_ends_at_once(start_daemon, make_upstream):
    upstream = make_upstream(m.silent)
    daemon = serve(start_daemon, upstream)
    logged = daemon.post("/api/v1/logs", {"model_id": "x", "use_case": "load", "output": "before"}).json()["log_id"]
    with daemon.connect() as c:
        c.send_request("POST", "/api/v1/generate", {"use_case": "load", "prompt": "for ever"})
        upstream.wait_requests(1)
        daemon.process.send_signal(signal.SIGTERM)
        m.eventually(lambda: "stopping" in daemon.errors(), "the first SIGTERM")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(timeout=5) != 0, "what was asked twice did not end well"
    after = again(daemon)
    control.shipped(after)
    assert logged in control.logged_ids(after)
    after.stop()
    daemon.stop = lambda: None  # it has ended, and not with 0: as it should


def test_sigint_ends_as_sigterm_does(start_daemon, upstream):
    daemon = serve(start_daemon, upstream)
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(timeout=m.LIMIT) == 0


def test_records_that_cannot_be_shipped_are_kept_for_the_next_start(start_daemon, upstream):
    daemon = serve(start_daemon, upstream)
    with control.held(daemon):
        load = control.Load(daemon, "load")
        load.wait(100)
        load.end()
        _, said = control.stop(daemon)
        assert "next start" in said
    assert not set(load.answered) & set(control.logged_ids(daemon))
    after = again(daemon)
    control.shipped(after)
    control.check_once(after, load)
    after.stop()
