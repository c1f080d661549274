# SPDX-License-Identifier: Apache-2.0
"""muster deploy and the SHARE of muster model list, as people and programs see them."""
import json
import subprocess

import pytest

import control
import muster as m
from deploying import World


@pytest.fixture
def world(daemon, make_upstream):
    return World(daemon, make_upstream(m.ok("old words")), make_upstream(m.ok("new words")), daemon.name("roll"))


def start(world, *more):
    return control.cli(world.daemon, "deploy", "start", "--use-case", world.name, "--model", "new@1.0", *more)


def works(world, *args):
    return control.works(world.daemon, *args)


def test_start_status_pause_resume_promote(world):
    got = start(world, "--strategy", "canary", "--steps", "10,25,100", "--hold", "1h", "--max-error-rate", "2.5",
                "--max-latency", "2s", "--max-latency-ratio", "1.5", "--max-violation-rate", "0", "--min-samples", "7",
                "--why", "trial")
    assert got.rc == 0, got
    assert "new@1.0 serves 10 %" in got.out and "muster deploy watch" in got.out
    d = world.daemon.api("GET", "/api/v1/deployments/" + world.name)
    assert d["plan"]["steps"] == [10, 25, 100] and d["plan"]["hold"] == 3600000 and d["reason"] == "trial"
    assert d["plan"]["thresholds"] == {"error_rate": 0.025, "latency_p95_ms": 2000, "latency_p95_ratio": 1.5,
                                       "violation_rate": 0, "min_samples": 7}
    assert "@" in d["actor"]
    status = works(world, "deploy", "status", "--use-case", world.name)
    assert "progressing" in status and "10 %" in status and "goes to 25 %" in status
    listed = works(world, "model", "list", "--use-case", world.name)
    assert "SHARE" in listed and " 90 %" in listed and " 10 %" in listed and "canary progressing" in listed
    assert "paused at 10 %" in works(world, "deploy", "pause", world.name, "--why", "look")
    refused = control.cli(world.daemon, "deploy", "pause", world.name)
    assert refused.rc == 1 and "resume, promote or abort it" in refused.err
    assert "progressing" in works(world, "deploy", "resume", d["deployment_id"][:18])
    shown = works(world, "deploy", "show", world.name)
    assert "old@1.0 -> new@1.0" in shown and "error rate" in shown and "2.50 %" in shown
    assert "succeeded at 100 %" in works(world, "deploy", "promote", world.name, "--why", "good")
    assert json.loads(works(world, "deploy", "show", d["deployment_id"], "--json"))["state"] == "succeeded"
    assert "100 %" in works(world, "model", "list", "--use-case", world.name)
    assert "new@1.0" in works(world, "deploy", "show", world.name)  # its last
    none = control.cli(world.daemon, "deploy", "abort", world.name)
    assert none.rc == 1 and "muster deploy status" in none.err


def test_all_at_once_and_back(world):
    got = start(world, "--strategy", "all_at_once")
    assert got.rc == 0 and "new@1.0 is current" in got.out and "muster rollback" in got.out, got
    assert "old@1.0 serves again" in works(world, "rollback", world.name, "--why", "w")


@pytest.mark.parametrize("args,rc,said", [
    (["--strategy", "canary", "--steps", "10,x"], 2, "--steps"), (["--strategy", "canary", "--steps", "10"], 1, "100"),
    (["--strategy", "shadowy"], 2, "canary"), ([], 2, "--strategy"), (["--strategy", "canary", "--hold", "soon"], 2, "hold"),
])
def test_start_that_makes_no_sense_is_refused(world, args, rc, said):
    got = start(world, *args)
    assert got.rc == rc and said in got.err, got


def test_watch_prints_a_line_for_each_change_and_its_end(world):
    assert start(world, "--strategy", "canary", "--steps", "50,100", "--hold", "1h", "--min-samples", "10").rc == 0
    p = subprocess.Popen([m.BIN, "deploy", "watch", world.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=control.clean_environment(MUSTER_URL=world.daemon.url))
    first = p.stdout.readline().decode()
    assert "progressing  50 %  step 1 of 2" in first and "\033" not in first, first
    world.new.default = m.reset
    world.ask(60)
    out, err = p.communicate(timeout=m.LIMIT)
    assert p.returncode == 1, (out, err)
    lines = out.decode().splitlines()
    assert any("rolled_back  0 %" in line for line in lines), lines
    assert any(line.startswith("rolled back: error rate 100.00 %") for line in lines), lines


def test_watch_ends_well_with_json(world):
    assert start(world, "--strategy", "all_at_once").rc == 0
    d = world.daemon.api("GET", "/api/v1/deployments?use_case=" + world.name)["data"][0]
    documents = [json.loads(l) for l in works(world, "deploy", "watch", d["deployment_id"], "--json").splitlines()]
    assert documents[-1]["state"] == "succeeded"
    got = control.cli(world.daemon, "deploy", "watch", "0198b2a4-6d1e-7c3a-9f00-2b6f6c1d8e11")
    assert got.rc == 1 and "deploy status" in got.err
