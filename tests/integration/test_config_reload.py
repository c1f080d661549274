# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: what can be reloaded is, all of it or nothing."""
import json

import control
import muster as m

BASE = "fallback:\n  content: first words\n"


def test_fallback_content_changes_for_the_next_request(start_daemon):
    daemon = start_daemon(BASE, "--loops", "2")
    daemon.register("u", "http://127.0.0.1:%d" % m.free_port())
    assert daemon.generate("u").json()["text"] == "first words"
    control.write_config(daemon, BASE.replace("first", "second"))
    assert control.reload(daemon)[0]
    m.eventually(lambda: daemon.generate("u").json()["text"] == "second words", "the new content")
    for _ in range(20):  # on whichever loop
        assert daemon.generate("u").json()["text"] == "second words"


def test_fallback_endpoints_change(start_daemon, make_upstream):
    one, two = make_upstream(m.ok("one")), make_upstream(m.ok("two"))
    config = "fallback:\n  endpoints:\n    u: %s/generate\n"
    daemon = start_daemon(config % one.url)
    assert daemon.generate("u").json()["text"] == "one"
    control.write_config(daemon, config % two.url)
    assert control.reload(daemon)[0]
    m.eventually(lambda: daemon.generate("u").json()["text"] == "two", "the new endpoint")
    assert daemon.api("GET", "/api/v1/use-cases/u")["fallback_endpoint"] == two.url + "/generate"


def test_timeouts_change(start_daemon, make_upstream):
    daemon = start_daemon("timeouts:\n  first_byte: 60s\n", "--loops", "1")
    daemon.use_case("u", policy="none", fallback_content="too late")
    daemon.register("u", make_upstream(m.silent))
    control.write_config(daemon, "timeouts:\n  first_byte: 100ms\nfallback:\n  content: reloaded\n")
    assert control.reload(daemon)[0]
    daemon.register("dead", "http://127.0.0.1:%d" % m.free_port())
    m.eventually(lambda: daemon.generate("dead").json()["text"] == "reloaded", "the loop's new settings")
    answer = daemon.generate("u")
    assert answer.json()["text"] == "too late"
    assert daemon.log_of(answer)["attempts"][0]["result"].endswith("within 100 ms")


def test_log_level_and_format_change(start_daemon):
    daemon = start_daemon("log:\n  level: error\n")
    daemon.use_case("quiet")
    assert daemon.errors() == ""
    control.write_config(daemon, "log:\n  level: info\n  format: json\n")
    assert control.reload(daemon)[0]
    daemon.use_case("loud")
    line = m.eventually(lambda: [l for l in daemon.errors().splitlines() if "/api/v1/use-cases/loud" in l], "a line")
    assert json.loads(line[0])["level"] == "info"
    assert "quiet" not in daemon.errors()


def test_guardrails_and_history_change(start_daemon, make_upstream):
    daemon = start_daemon("guardrails:\n  enabled: true\n")
    daemon.register("u", make_upstream(m.ok("my card is 4111 1111 1111 1111")))
    assert "4111" not in daemon.generate("u").json()["text"]
    control.write_config(daemon, "guardrails:\n  enabled: false\nhistory:\n  enabled: false\n")
    assert control.reload(daemon)[0]
    answer = m.eventually(lambda: [a for a in [daemon.generate("u")]
                                   if a.headers["x-muster-guardrail"] == "skipped"], "guardrails off")[0]
    assert "4111" in answer.json()["text"]
    n = len(control.logged_ids(daemon))
    daemon.generate("u")
    control.shipped(daemon)
    assert len(control.logged_ids(daemon)) <= n + 1
    before = len(control.logged_ids(daemon))
    daemon.generate("u")
    control.shipped(daemon)
    assert len(control.logged_ids(daemon)) == before, "nothing is logged"
    assert daemon.api("GET", "/health")["parts"]["guardrails"]["state"] == "degraded"


def test_key_that_needs_a_restart_is_named_and_kept(start_daemon):
    daemon = start_daemon("loops: 1\n")
    control.write_config(daemon, "loops: 2\nlimits:\n  body_bytes: 2KiB\nfallback:\n  content: changed\n")
    took, said = control.reload(daemon)
    assert took
    said = m.eventually(lambda: "reloaded" in daemon.errors() and daemon.errors(), "the end")
    for key in ("loops", "limits.body_bytes"):
        assert "level=warn" in said and "%s has changed, but needs a restart" % key in said, said
    assert "fallback.content has" not in said
    daemon.register("u", "http://127.0.0.1:%d" % m.free_port())
    assert daemon.generate("u", "x" * 10000).json()["text"] == "changed"


def test_broken_file_changes_nothing(start_daemon):
    daemon = start_daemon(BASE)
    daemon.register("u", "http://127.0.0.1:%d" % m.free_port())
    for text, words in ((BASE.replace("first", "second") + "lisen: x\n", "muster.yaml:3"),
                        (BASE.replace("first", "second") + "auth:\n  key_file: /none\n", "/none"),
                        ("fallback: [", "muster.yaml:1")):
        control.write_config(daemon, text)
        took, said = control.reload(daemon)
        assert not took and words in said and "stays as it was" in said, said
        for _ in range(4):
            assert daemon.generate("u").json()["text"] == "first words"
    control.write_config(daemon, BASE.replace("first", "third"))
    assert control.reload(daemon)[0]
    m.eventually(lambda: daemon.generate("u").json()["text"] == "third words", "the repaired file")


def test_flag_wins_over_a_reloaded_file(start_daemon):
    daemon = start_daemon(BASE, "--fallback.content", "from the flag")
    daemon.register("u", "http://127.0.0.1:%d" % m.free_port())
    control.write_config(daemon, BASE.replace("first", "second"))
    assert control.reload(daemon)[0]
    assert daemon.generate("u").json()["text"] == "from the flag"


def test_reload_under_load_breaks_no_request(start_daemon, make_upstream):
    daemon = start_daemon(BASE, "--loops", "2")
    daemon.use_case("load", policy="none")
    daemon.register("load", make_upstream())
    load = control.Load(daemon, "load")
    try:
        for i in range(10):
            load.wait(len(load.answered) + 5)
            control.write_config(daemon, BASE.replace("first", "round %d" % i))
            assert control.reload(daemon)[0]
    finally:
        load.end()
    assert not load.refused and not load.broken


def test_reload_without_a_file_is_fine(start_daemon):
    assert control.reload(start_daemon())[0]
