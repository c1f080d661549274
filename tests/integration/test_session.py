# SPDX-License-Identifier: Apache-2.0
"""The first minutes of a new user, word for word: the demo, and a first model of one's own."""
import json
import os
import re
import shlex
import shutil
import subprocess

import control
import muster as m

STORY = "Once upon a time, there was a little girl named Lily."


def start(directory, *args):
    """As a person would see it: the daemon, and the lines that it printed."""
    out = os.path.join(str(directory), "out")
    with open(out, "wb") as f:
        p = subprocess.Popen([m.BIN, "serve", "--listen", "127.0.0.1:0", "--data", os.path.join(str(directory), "data")] +
                             list(args), stdout=f, stderr=subprocess.PIPE, env=control.clean_environment())

    def printed():
        assert p.poll() is None, p.stderr.read()
        with open(out) as f:
            text = f.read()
        return text if text.endswith("\n") and "ready in" in text and text.count("\n\n") >= 1 and "muster" in \
            text.split("ready in")[1] else None

    return p, m.eventually(printed, "the first lines")


def end(p):
    p.terminate()
    assert p.wait(timeout=m.LIMIT) == 0
    assert p.stderr.read().count(b"level=error") == 0
    p.stderr.close()


def sh(line, **env):
    done = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=m.LIMIT, env=control.clean_environment(**env))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def curl(line):
    """Runs a printed curl line; where there is no curl, asks as curl would."""
    if shutil.which("curl"):
        rc, out, err = sh(line.replace("curl ", "curl -s ", 1))
        assert rc == 0, err
        return json.loads(out)
    words = shlex.split(line)
    assert words[0] == "curl" and words[2] == "-d" and len(words) == 4, line
    host, port, path = re.match(r"^http://([^:/]+):(\d+)(/.*)$", words[1]).groups()
    with m.Connection((host, int(port))) as c:
        answer = c.request("POST", path, words[3].encode(), {
            "User-Agent": "curl/7.88.1", "Accept": "*/*", "Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 200, answer
    return answer.json()


def test_demo_prints_a_line_that_answers_at_once_and_the_next_three_commands(tmp_path):
    p, text = start(tmp_path, "--demo")
    try:
        assert all(len(line.replace(str(tmp_path), "/tmp/muster")) <= 160 for line in text.splitlines())
        line = re.search(r"^\s+try\s+(curl .*)$", text, re.M).group(1)
        answer = curl(line)
        assert answer["success"] is True and answer["text"] and answer["layer"] == "foundation"
        assert answer["use_case"] == "foundation_layer" and answer["fallback_used"] is False
        url = re.search(r"http://[\d.]+:\d+", text).group(0)
        commands = re.findall(r"^\s+(?:see|ask|next)\s+(\S*muster .*?)(?:   .*)?$", text, re.M)
        assert len(commands) == 3, text
        for command in commands:
            rc, out, err = sh(command, MUSTER_URL=url, PATH=os.path.dirname(m.BIN) + ":" + os.environ["PATH"])
            assert rc == 0 and out, (command, err)
        listed = json.loads(control.run("model", "list", "--json", MUSTER_URL=url).out)["data"]
        assert {(x["use_case"], x["status"]) for x in listed} == {
            (u, "current") for u in ("foundation_layer", "customization_layer", "interaction_layer",
                                     "coordination_layer")}
        for use_case in {x["use_case"] for x in listed}:
            assert control.run("generate", use_case, "Hello", MUSTER_URL=url).out.strip()
    finally:
        end(p)


def test_demo_twice_on_the_same_data_changes_nothing(tmp_path):
    p, text = start(tmp_path, "--demo")
    url = re.search(r"http://[\d.]+:\d+", text).group(0)
    first = control.run("model", "list", "--json", MUSTER_URL=url).out
    end(p)
    p, text = start(tmp_path, "--demo")
    url = re.search(r"http://[\d.]+:\d+", text).group(0)
    assert control.run("model", "list", "--json", MUSTER_URL=url).out == first
    end(p)


def test_empty_registry_starts_and_the_commands_that_it_prints_register_a_model(tmp_path, make_upstream):
    upstream = make_upstream(m.ok("Hello from a first model."))
    p, text = start(tmp_path)
    try:
        url = re.search(r"http://[\d.]+:\d+", text).group(0)
        assert "registry is empty" in text
        commands = re.search(r"^\s+(\S*muster model register .*?)^\s*$", text, re.M | re.S).group(1)
        assert "http://127.0.0.1:11434" in commands
        rc, out, err = sh("set -e\n" + commands.replace("http://127.0.0.1:11434", upstream.url), MUSTER_URL=url,
                          PATH=os.path.dirname(m.BIN) + ":" + os.environ["PATH"])
        assert rc == 0, (commands, out, err)
        assert out.rstrip().endswith("Hello from a first model.")
        assert upstream.last().path == "/api/chat"
    finally:
        end(p)


def test_session_of_a_first_real_model(start_daemon, make_upstream):
    """register, promote, generate, log list."""
    upstream = make_upstream(m.ok(STORY))
    daemon = start_daemon()

    def muster(line):
        return control.works(daemon, *shlex.split(line))

    out = muster("model register --name tiny --version 1.0 --use-case foundation_layer --provider ollama --endpoint "
                 "%s --upstream-model stories260K" % upstream.url)
    assert "tiny@1.0" in out and "candidate" in out and "muster model promote tiny@1.0" in out
    out = muster('model promote tiny@1.0 --use-case foundation_layer --why "first real model"')
    assert "tiny@1.0 is current for foundation_layer" in out
    assert muster('generate foundation "Once upon a time"') == STORY + "\n"
    asked = upstream.last().json()
    assert asked["model"] == "stories260K" and asked["messages"][-1]["content"] == "Once upon a time"
    row = muster("log list").splitlines()[1]
    assert "foundation_layer" in row and "tiny@1.0" in row and " ok " in row
    log_id = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", row).group(0)
    shown = muster("log show " + log_id)
    assert "Once upon a time" in shown and STORY in shown
    history = muster("model history tiny@1.0")
    assert "candidate -> current" in history and "first real model" in history
    assert "tiny@1.0" in muster("current foundation")
