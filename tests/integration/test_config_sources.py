# SPDX-License-Identifier: Apache-2.0
"""Where the configuration comes from, and what is refused."""
import os
import re

import pytest

import control
import muster as m

ROOT_CONFIG = os.path.join(m.ROOT, "docs", "CONFIG.md")


def dumped(*args, **env):
    got = control.run("serve", "--dump-config", *args, **env)
    assert got.rc == 0, got
    lines = dict(re.match(r"^([a-z_.]+): (.*)$", l).groups() for l in got.out.splitlines())
    return {k: re.match(r"^(.*?)   \((.*)\)$", v).groups() for k, v in lines.items()}


def options():
    return re.findall(r"^## (\S+)\n\n.*`(MUSTER_\w+)`; (reload|restart)$", control.run("serve", "--dump-options").out,
                      re.M)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "muster.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_every_key_is_listed_with_type_default_variable_and_words():
    got = control.run("serve", "--dump-options")
    assert got.rc == 0 and got.err == ""
    keys = [o[0] for o in options()]
    assert len(keys) == len(set(keys)) >= 29
    assert keys == list(dumped()), "--dump-config knows the same keys"
    for key, variable, _ in options():
        assert variable == "MUSTER_" + key.upper().replace(".", "_")
    sections = re.split(r"^## ", got.out, flags=re.M)[1:]
    for text in sections:
        assert re.match(r"\S+\n\n.+; default .+; `MUSTER_\w+`; (reload|restart)\n\n[A-Z].+\.\n", text), text


def test_documentation_is_what_the_binary_prints():
    with open(ROOT_CONFIG) as f:
        assert f.read() == control.run("serve", "--dump-options").out


def test_example_file_is_taken_whole():
    path = os.path.join(m.ROOT, "etc", "muster.yaml")
    got = control.run("serve", "--dump-config", "--config", path)
    assert got.rc == 0, got


def test_flag_over_environment_over_file_over_default(file):
    path = file("log:\n  level: warn\n")
    assert dumped()["log.level"] == ("info", "default")
    assert dumped("--config", path)["log.level"] == ("warn", "from %s:2" % path)
    assert dumped("--config", path, MUSTER_LOG_LEVEL="error")["log.level"] == ("error", "from MUSTER_LOG_LEVEL")
    for flag in (["--log.level", "debug"], ["--log.level=debug"], ["--log-level", "debug"], ["--log_level=debug"]):
        got = dumped("--config", path, *flag, MUSTER_LOG_LEVEL="error")
        assert got["log.level"] == ("debug", "from --log.level"), flag


def test_every_key_can_come_from_every_place(file):
    samples = {"listen": "127.0.0.1:1234", "control_listen": "127.0.0.1:1235", "data": "/tmp/x", "loops": "3",
               "log.level": "warn", "log.format": "json", "limits.body_bytes": "1MiB", "limits.connections": "10", "limits.exchanges": "10", "limits.idempotency_window": "7s",
               "fallback.endpoints": "u=http://127.0.0.1:1/generate", "fallback.content": "later",
               "guardrails.enabled": "false", "history.enabled": "false", "spool.max_bytes": "1GiB", "alerts.receivers": "ops=slack:https://hooks.example/x"}
    defaults = dumped()
    for key, variable, _ in options():
        default = defaults[key][0]
        value = samples.get(key, "7s" if default.endswith("ms") else "false" if default == "true" else "123" if
                            default.isdigit() else "info" if key.endswith(".severity") else "/tmp/file")
        value = "7" if key.endswith((".percent", ".error_floor")) else value
        by_env, by_flag = dumped(**{variable: value})[key], dumped("--" + key, value)[key]
        assert by_env[0] == by_flag[0] != defaults[key][0], key
        assert (by_env[1], by_flag[1]) == ("from " + variable, "from --" + key)
        if key in ("fallback.endpoints", "alerts.receivers"):
            continue
        lines, indent = "", ""
        for part in key.split("."):
            lines += "%s%s:\n" % (indent, part)
            indent += "  "
        assert dumped("--config", file(lines[:-1] + " %s\n" % value))[key][0] == by_flag[0], key


@pytest.mark.parametrize("text,line,words", [
    ("lisen: 127.0.0.1:1\n", 1, "did you mean 'listen'"),
    ("# words\nlog:\n  levl: info\n", 3, "did you mean 'log.level'"),
    ("level: info\n", 1, "did you mean 'log.level'"),
    ("timeouts:\n  connect: 5s\n  first_bite: 3s\n", 3, "did you mean 'timeouts.first_byte'"),
    ("zzzzzz: 1\n", 1, "--dump-options"),
    ("log:\n  level: loud\n", 2, "debug|info|warn|error|off"),
    ("loops: many\n", 1, "loops"), ("loops: 1000\n", 1, "256"), ("limits:\n  body_bytes: 8MB\n", 2, "8MiB"),
    ("timeouts:\n  total: soon\n", 2, "timeouts.total"), ("guardrails:\n  enabled: perhaps\n", 2, "true"),
    ("listen: a\nlisten: b\n", 2, "line 1"), ("log: info\n", 1, "section"), ("listen: [a, b]\n", 1, "list"),
    ("listen: &x a\n", 1, "anchors"), ("log:\n\tlevel: info\n", 2, "YAML"), ("- a\n", 1, "KEY: VALUE"),
    ("listen: a\n---\nlisten: b\n", 2, "second document"),
    ("fallback:\n  endpoints: http://x\n", 2, "USE_CASE: URL"),
])
def test_file_that_is_wrong_is_refused_with_file_line_and_what_is_right(tmp_path, text, line, words):
    got = control.refused(tmp_path, config=text, listen=None)
    assert got.rc == 1 and got.err.startswith("muster: "), got
    assert "muster.yaml:%d: " % line in got.err and words in got.err, got
    assert not os.path.exists(tmp_path / "data"), "nothing was begun"


@pytest.mark.parametrize("args,words", [
    (["--lisen", "x"], "did you mean 'listen'"), (["--log.level", "loud"], "log.level"), (["-v"], "--help"),
    (["extra"], "--help"), (["--loops", "x"], "loops"), (["--loops"], "loops"), (["--config"], "--config needs a value"),
    (["--data"], "--data needs a value"), (["--log.level"], "--log.level needs a value")])
def test_command_line_that_is_wrong_is_refused_with_what_to_do(tmp_path, args, words):
    got = control.refused(tmp_path, *args)
    assert got.rc == 2 and words in got.err, got


def test_switch_may_stand_without_a_value_anywhere():
    for args in (["--guardrails.enabled"], ["--history.enabled", "--guardrails.enabled"]):
        got = dumped(*args, MUSTER_GUARDRAILS_ENABLED="false")
        assert got["guardrails.enabled"] == ("true", "from --guardrails.enabled"), args
    assert control.run("serve", "--guardrails.enabled", "--dump-config").rc == 0


def test_variable_that_is_wrong_is_named(tmp_path):
    got = control.refused(tmp_path, MUSTER_LOG_LEVEL="loud")
    assert got.rc == 1 and "MUSTER_LOG_LEVEL" in got.err and "debug|info" in got.err, got


def test_file_that_is_not_there_is_named(tmp_path):
    got = control.refused(tmp_path, "--config", str(tmp_path / "none.yaml"))
    assert got.rc == 1 and str(tmp_path / "none.yaml") in got.err, got


@pytest.mark.parametrize("config,listen,words", [
    ("", "0.0.0.0:0", ["without keys", "auth.key_file", "127.0.0.1"]),
    ("", "[::]:0", ["without keys", "auth.key_file"]),
    ("control_listen: 0.0.0.0:0\n", "127.0.0.1:0", ["without keys", "auth.key_file"]),
    ("tls:\n  cert_file: /none\n", "127.0.0.1:0", ["tls.key_file"]),
    ("auth:\n  key_file: /none\n", "127.0.0.1:0", ["auth.key_file", "/none"]),
    ("fallback:\n  endpoints:\n    u: ftp://x\n", "127.0.0.1:0", ["fallback.endpoints"]),
    ("listen: nowhere\n", None, ["listen", "muster.yaml:1"]),
    ("database:\n  url: postgres\n", "127.0.0.1:0", ["postgres", "sqlite:"]),
])
def test_what_no_single_key_can_know_is_refused_too(tmp_path, config, listen, words):
    got = control.refused(tmp_path, config=config, listen=listen)
    assert got.rc == 1, got
    for w in words:
        assert w in got.err, got


def test_loopback_needs_no_keys(start_daemon):
    assert start_daemon().get("/health/live").status == 200
