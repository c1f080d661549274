# SPDX-License-Identifier: Apache-2.0
"""Every verb of the command line against a real daemon: tables for people, JSON for programs, exit 0, 1 or 2."""
import contextlib
import json
import os
import pwd
import re
import shutil
import sqlite3
import subprocess

import pytest

import control
import muster as m


class Shop:
    """A daemon with a little of everything, and the names of it."""

    def __init__(self, directory):
        self.upstream = m.Upstream(m.ok("A short answer."))
        self.daemon = d = m.Muster(directory)
        d.policy("strict", {"id": "word", "category": "words", "kind": "literal", "action": "block", "severity": "high",
                            "values": ["forbidden"]})
        d.use_case("shop_layer", policy="strict", fallback_content="Closed.")
        d.register("shop_layer", self.upstream, name="front")
        d.register("shop_layer", self.upstream, name="next", version="2.0", promote=False)
        d.register("other", self.upstream, name="front")
        self.log = d.log_of(d.generate("shop_layer", "hello there"))["log_id"]
        d.generate("shop_layer", "forbidden")
        self.file = os.path.join(str(directory), "policy.json")
        with open(self.file, "w") as f:
            json.dump({"name": "mine", "rules": [{"id": "a", "kind": "literal", "action": "flag", "values": ["x"]}]}, f)

    def close(self):
        self.daemon.stop()
        self.upstream.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    s = Shop(tmp_path_factory.mktemp("shop"))
    yield s
    s.close()


READING = {
    "health": ["ok", "PART", "STATE", "SINCE", "DETAIL", "historical_log", "database"],
    "model list": ["USE CASE", "MODEL", "STATUS", "PROVIDER", "SINCE", "front@1.0", "next@2.0", "current", "candidate"],
    "model list --use-case other": ["front@1.0"],
    "model show next": ["next@2.0", "candidate", "shop_layer", "configuration"],
    "model history": ["WHEN", "WHAT", "WHO", "WHY", "model.registered", "next@2.0"],
    "model history next": ["WHEN", "WHAT", "WHO", "WHY", "model.registered"],
    "model history --use-case shop_layer": ["candidate -> current", "test"],
    "model history --use-case shop_layer --at 0s": ["front@1.0", "current since"],
    "use-case list": ["USE CASE", "CURRENT", "POLICY", "FALLBACK", "strict", "shop_layer"],
    "use-case show shop": ["shop_layer", "front@1.0", "strict", "Closed.", "next@2.0"],
    "use-case history shop_layer": ["use_case.settings", "model.status"],
    "current shop": ["front@1.0", "current"],
    "current shop_layer --at 0s": ["front@1.0", "current since"],
    "log list": ["WHEN", "LOG", "USE CASE", "MODEL", "STATUS", "TOKENS", "MS", "shop_layer", "blocked"],
    "log list --status blocked": ["blocked"],
    "log list --model front@1.0 --since 1h": ["front@1.0"],
    "log show LOG": ["hello there", "A short answer.", "front@1.0", "latency ms"],
    "guardrail check fine": ["compliant", "policy default"],
    "guardrail policy list": ["POLICY", "RULES", "DESCRIPTION", "default", "strict"],
    "guardrail policy show strict": ["RULE", "KIND", "ACTION", "word", "literal", "block", "forbidden"],
    "guardrail violations": ["WHEN", "LOG", "RULE", "SEVERITY", "ACTION", "word", "high", "block"],
    "version": ["muster 0."],
}


def words_of(shop, line):
    return line.replace("LOG", shop.log).split()


@pytest.mark.parametrize("line", READING)
def test_verb_that_reads_prints_what_people_look_for(shop, line):
    got = control.cli(shop.daemon, *words_of(shop, line))
    assert got.rc == 0 and got.err == "", got
    for word in READING[line]:
        assert word in got.out, (word, got.out)
    assert "\x1b" not in got.out, "no colour where there is no terminal"
    assert got.out.endswith("\n") and not any(l != l.rstrip() for l in got.out.splitlines()), got.out


@pytest.mark.parametrize("line", READING)
def test_verb_that_reads_prints_one_json_document(shop, line):
    got = control.cli(shop.daemon, *(words_of(shop, line) + ["--json"]))
    assert got.rc == 0 and got.err == "", got
    assert isinstance(json.loads(got.out), dict)


def test_columns_stand_below_each_other(shop):
    for line in ("model list", "log list", "use-case list", "guardrail policy list"):
        rows = control.works(shop.daemon, *line.split()).splitlines()
        starts = [found.start() for found in re.finditer(r"(?:^|  )(?=\S)", rows[0])]
        for row in rows[1:]:
            for at in starts[1:]:
                assert len(row) <= at or row[at] == " ", (line, at, row)


def test_columns_fit_the_width_that_is_asked_for(shop):
    for line in ("model list", "log list", "use-case list", "guardrail policy list", "guardrail violations", "health",
                 "model history --use-case shop_layer", "guardrail policy show strict", "help"):
        for row in control.works(shop.daemon, *line.split(), COLUMNS="80").splitlines():
            assert len(row) <= 80, (line, row)


def test_models_of_a_use_case_without_a_current_one_are_shown_with_what_serves_instead(daemon):
    case = daemon.name("bare")
    daemon.register(case, "http://127.0.0.1:9", promote=False)
    rows = control.works(daemon, "model", "list").splitlines()
    at = next(i for i, r in enumerate(rows) if r.startswith(case))
    assert "fallback content" in rows[at] and " - " in rows[at]
    assert "candidate" in rows[at + 1] and rows[at + 1].startswith(" ")


def test_empty_lists_say_so_and_what_to_do(start_daemon):
    daemon = start_daemon()
    for line, words in (("model list", "muster model register --help"), ("log list", "no record"),
                        ("use-case list", "registering a model"), ("guardrail violations", "no violation")):
        got = control.cli(daemon, *line.split())
        assert got.rc == 0 and got.out == "" and words in got.err, got


# --- changes ---


def test_life_of_a_model(daemon, upstream):
    case, name = daemon.name("life"), daemon.name("m")
    out = control.works(daemon, "model", "register", "--name", name, "--version", "1", "--use-case", case, "--provider",
                        "custom", "--endpoint", upstream.url, "--type", "llm", "--parameters", '{"max_tokens": 5}',
                        "--metrics", '{"f1": 0.5}', "--why", "to see")
    assert "registered %s@1 for %s as candidate" % (name, case) in out
    control.works(daemon, "model", "set-status", name, "testing", "--why", "a trial")
    control.works(daemon, "model", "set-metrics", name, '{"f1": 0.75}')
    control.works(daemon, "model", "set-config", name, "-", "--why", "moved",
                  stdin='{"endpoint": "%s", "upstream_model": "up"}' % upstream.url)
    out = control.works(daemon, "model", "promote", name, "--why", "good enough")
    assert "%s@1 is current for %s" % (name, case) in out and "before it" not in out
    model = json.loads(control.works(daemon, "model", "show", name, "--json"))
    assert (model["status"], model["performance_metrics"]) == ("current", {"f1": 0.75})
    assert model["configuration"] == {"endpoint": upstream.url, "upstream_model": "up"}
    control.works(daemon, "model", "register", "--name", name, "--version", "2", "--use-case", case, "--provider", "sim",
                  "--sim", '{"text": "simulated"}', "--status", "testing")
    out = control.works(daemon, "model", "promote", name + "@2", "--use-case", case, "--why", "better")
    assert "before it: %s@1, deprecated now" % name in out
    back = re.search(r"back: muster (model promote .* --why )", out).group(1)
    control.works(daemon, *(back.split() + ["worse"]))
    assert "%s@1" % name in control.works(daemon, "current", case)
    out = control.works(daemon, "model", "rm", name + "@1", "--why", "done")
    assert "archived" in out
    assert name + "@1" not in control.works(daemon, "model", "list", "--use-case", case)
    assert name + "@1" in control.works(daemon, "model", "list", "--use-case", case, "--all")
    events = json.loads(control.works(daemon, "model", "history", name + "@1", "--json"))["data"]
    assert events[0]["reason"] == "done" and events[-1]["reason"] == "to see"
    me = pwd.getpwuid(os.getuid()).pw_name
    assert all(e["actor"].startswith(me + "@") for e in events if e["subject"] == model["model_id"]), events


def test_use_case_settings_change_one_at_a_time(daemon):
    case = daemon.name("set")
    spare = daemon.register(case, "http://127.0.0.1:9", promote=False)
    control.works(daemon, "use-case", "set", case, "--fallback", spare, "--policy", "none", "--why", "one")
    control.works(daemon, "use-case", "set", case, "--log", "metadata", "--first-byte-timeout", "30s")
    settings = json.loads(control.works(daemon, "use-case", "show", case, "--json"))["settings"]
    assert (settings["fallback"], settings["policy"], settings["log"]) == ([spare], "none", "metadata")
    assert settings["timeouts"]["first_byte_ms"] == 30000
    control.works(daemon, "use-case", "set", case, "--fallback", "", "--policy", "", "--first-byte-timeout", "0")
    settings = json.loads(control.works(daemon, "use-case", "show", case, "--json"))["settings"]
    assert (settings["fallback"], settings["policy"], settings["log"]) == ([], None, "metadata")
    assert not settings["timeouts"].get("first_byte_ms")


def test_policy_is_set_from_a_file_and_from_standard_input(shop):
    d = shop.daemon
    assert "saved policy mine: 1 rule" in control.works(d, "guardrail", "policy", "set", shop.file, "--why", "w")
    text = control.works(d, "guardrail", "policy", "show", "default", "--json")
    assert control.cli(d, "guardrail", "policy", "set", "-", stdin=text.replace('"default"', '"copy"', 1)).rc == 0
    assert "copy" in control.works(d, "guardrail", "policy", "list")


@pytest.mark.parametrize("name", ["shop", "shop_layer", "other"])
def test_generate_takes_a_layer_or_a_use_case(shop, name):
    assert control.works(shop.daemon, "generate", name, "hello") == "A short answer.\n"


def test_check_says_by_its_exit_status_whether_all_is_well(shop):
    d = shop.daemon
    bad = control.cli(d, "guardrail", "check", "my card is 4111 1111 1111 1111")
    assert bad.rc == 1 and "not compliant" in bad.out and "card" in bad.out, bad
    assert control.cli(d, "guardrail", "check", "forbidden", "--policy", "strict").rc == 1
    assert control.cli(d, "guardrail", "check", "forbidden", "--use-case", "other").rc == 0
    assert control.cli(d, "guardrail", "check", "-", stdin="forbidden", MUSTER_URL=d.url).rc == 0
    got = control.cli(d, "guardrail", "check", "forbidden", "--policy", "strict", "--json")
    assert got.rc == 1 and json.loads(got.out)["compliant"] is False


# --- used wrongly, or failed ---

WRONG = [
    ("frobnicate", "muster help"), ("model lst", "did you mean 'model list'"), ("model", "model list"),
    ("model list --statsu current", "did you mean --status"), ("model list --status curent", "current"),
    ("model list extra", "usage: muster model list"), ("model show", "usage: muster model show MODEL"),
    ("model promote x", "--why"), ("model register --name x", "--version"), ("model list --limit many", "whole number"),
    ("model history --at 1h", "--use-case"), ("generate foundation", "PROMPT"),
    ("log list --since soon", "24h"), ("completion tcsh", "bash"), ("model set-config x {", "JSON"),
    ("model list --json=yes", "no value"), ("model list --url", "needs a value"), ("-x", "muster help"),
    ("generate foundation hi --temperature warm", "number"),
    ("model list --name a --name b", "twice"), ("health serve", "health"),
]


@pytest.mark.parametrize("line,words", WRONG, ids=[w[0] for w in WRONG])
def test_line_that_is_wrong_gets_2_and_says_what_is_right(shop, line, words):
    got = control.cli(shop.daemon, *line.split())
    assert got.rc == 2 and got.out == "", got
    assert got.err.startswith("muster: ") and words in got.err, got


FAILED = [
    ("model show nope", "muster model list"), ("model show fronnt", "Did you mean 'front@1.0'"),
    ("model show front", "--use-case"), ("model promote front --why x", "front@1.0 for other"),
    ("model promote front@1.0 --use-case nowhere --why x", "No model"),
    ("model register --name front --version 1.0 --use-case other --provider sim", "already"),
    ("model register --name x --version 1 --use-case u --provider nobody", "nobody"),
    ("current nope", "muster use-case list"), ("use-case show shop_lyer", "Did you mean 'shop_layer'"),
    ("log show ffffffffff", "ffffffffff"), ("generate nope hello", "nope"),
    ("guardrail policy show strickt", "Did you mean 'strict'"), ("guardrail policy set /no/such/file", "/no/such/file"),
    ("use-case set shop_layer --fallback gone@1", "gone@1"), ("use-case set shop_layer --policy gone", "gone"),
]


@pytest.mark.parametrize("line,words", FAILED, ids=[f[0] for f in FAILED])
def test_command_that_fails_gets_1_and_says_what_to_do(shop, line, words):
    got = control.cli(shop.daemon, *line.split())
    assert got.rc == 1 and got.out == "", got
    assert got.err.startswith("muster: ") and words in got.err, got


@pytest.mark.parametrize("line", ["health", "model list", "generate foundation hi", "log tail", "current x",
                                  "guardrail check x"])
def test_daemon_that_is_not_there_is_named_with_what_to_do(line):
    url = "http://127.0.0.1:%d" % m.free_port()
    got = control.run(*line.split(), MUSTER_URL=url)
    assert got.rc == 1 and url in got.err and "muster serve" in got.err, got
    got = control.run(*(line.split() + ["--url", url]))
    assert got.rc == 1 and url in got.err, got


def test_something_else_that_listens_is_not_taken_for_a_daemon(make_upstream):
    other = make_upstream(m.answer_with(200, b"<html>hello</html>", {"Content-Type": "text/html"}))
    got = control.run("model", "list", MUSTER_URL=other.url)
    assert got.rc == 1 and "JSON" in got.err, got


def test_call_that_takes_too_long_is_given_up(make_upstream):
    got = control.run("model", "list", "--timeout", "100ms", MUSTER_URL=make_upstream(m.silent).url)
    assert got.rc == 1 and "--timeout" in got.err, got


# --- help, version, completion, migrate ---


def test_help_of_everything():
    overview = control.run("help")
    assert overview.rc == 0 and "muster serve --demo" in overview.out
    verbs = re.findall(r"^  ([a-z][a-z -]*[a-z])", overview.out, re.M)
    assert len(verbs) > 20
    for verb in verbs:
        got = control.run(*(verb.split() + ["--help"]))
        assert got.rc == 0 and got.err == "", got
        assert "muster " + verb in got.out and ("Example" in got.out or verb in ("help", "serve")), got.out
        if verb != "serve":
            assert control.run("help", *verb.split()).out == got.out
    man = control.run("help", "--man")
    assert man.rc == 0 and man.out.splitlines()[2].startswith(".TH MUSTER 1"), man.out[:300]
    assert control.run().rc == 2


def test_health_waits_for_a_daemon_that_is_on_its_way(tmp_path):
    port = m.free_port()
    url = "http://127.0.0.1:%d" % port
    waiting = subprocess.Popen([m.BIN, "health", "--wait", "%ds" % m.LIMIT, "--url", url], stdout=subprocess.PIPE)
    daemon = m.Muster(tmp_path, args=["--listen", "127.0.0.1:%d" % port])
    try:
        out, _ = waiting.communicate(timeout=2 * m.LIMIT)
        assert waiting.returncode == 0 and out.startswith(b"ok"), out
    finally:
        daemon.stop()
    got = control.run("health", "--wait", "100ms", "--url", url)
    assert got.rc == 1 and "muster serve" in got.err, got


def test_version():
    assert control.run("version").out == control.run("--version").out
    assert json.loads(control.run("version", "--json").out)["version"] in control.run("version").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_one_that_the_shell_can_read(shell):
    got = control.run("completion", shell)
    assert got.rc == 0 and "muster" in got.out
    if shutil.which(shell):
        p = subprocess.run([shell, "-n"], input=got.out.encode(), stderr=subprocess.PIPE)
        assert p.returncode == 0, p.stderr


def test_bash_completes_verbs_options_and_names_of_the_daemon(shop):
    def complete(*words):
        script = control.run("completion", "bash").out + """
            COMP_WORDS=(%s); COMP_CWORD=%d; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
            f=$(complete -p muster | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $f; printf '%%s\\n' "${COMPREPLY[@]}"
        """ % (" ".join("'%s'" % w for w in ("muster",) + words), len(words))
        p = subprocess.run(["bash", "--norc", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=control.clean_environment(MUSTER_URL=shop.daemon.url,
                                                         PATH=os.path.dirname(m.BIN) + ":" + os.environ["PATH"]))
        assert not p.stderr, p.stderr
        return [l.strip() for l in p.stdout.decode().splitlines()]

    assert "model" in complete("mo") and "log" in complete("")
    assert {"list", "promote", "show"} <= set(complete("model", ""))
    assert "--use-case" in complete("model", "list", "--us")
    assert "next@2.0" in complete("model", "show", "ne")
    assert "shop_layer" in complete("use-case", "show", "sh")
    assert "current" in complete("model", "list", "--status", "cu")


def test_migrate_works_beside_a_stopped_daemon(start_daemon, tmp_path):
    data = str(tmp_path / "fresh")
    for args in (["status"], ["--dry-run"]):
        got = control.run("migrate", *args, "--data", data)
        assert got.rc == 1 and data in got.err and "--data DIR" in got.err, got
    os.makedirs(data)
    open(os.path.join(data, "muster.db"), "wb").close()  # an empty one
    dry = control.run("migrate", "--dry-run", "--data", data)
    assert dry.rc == 0 and "create table model_registry" in dry.out, dry
    with contextlib.closing(sqlite3.connect(os.path.join(data, "muster.db"))) as db:
        assert db.execute("select count(*) from sqlite_master").fetchone()[0] == 0, "nothing was done"
    done = control.run("migrate", "--data", data)
    assert done.rc == 0, done
    assert control.run("migrate", "--data", data).rc == 0, "a second time changes nothing"
    level = json.loads(control.run("migrate", "status", "--data", data, "--json").out)
    daemon = start_daemon("", "--data", data)
    assert daemon.api("GET", "/version")["schema_level"] in level.values()
    daemon.use_case("kept")
    control.stop(daemon)
    assert control.run("migrate", "status", "--data", data).rc == 0
