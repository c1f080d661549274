# SPDX-License-Identifier: Apache-2.0
"""Deployments across kill -9 in every state, restarts, and a database that is away."""
import pytest

import control
import muster as m
from deploying import World

LONG = "1h"
OLD, NEW = {"old@1.0"}, {"new@1.0"}
BOTH = OLD | NEW


class Lives:
    """A daemon that is killed and started again on the same directory."""

    def __init__(self, directory, old, new):
        self.directory = str(directory)
        self.daemon = m.Muster(self.directory, args=["--loops", "2"])
        self.world = World(self.daemon, old, new)

    def again(self):
        control.end_at_once(self.daemon)
        self.daemon = self.world.daemon = m.Muster(self.directory, args=["--loops", "2"])

    def end(self):
        self.daemon.stop()


@pytest.fixture
def lives(tmp_path, make_upstream):
    made = Lives(tmp_path / "d", make_upstream(m.ok("old words")), make_upstream(m.ok("new words")))
    yield made
    made.end()


def progressing(world):
    return world.started(steps=[50, 100], hold=LONG)


def waiting(world):
    return world.wait(world.started(steps=[50, 100], hold=1, max_wait=LONG), "waiting")


def paused(world):
    return world.tell(progressing(world), "pause").json()


def succeeded(world):
    return world.tell(progressing(world), "promote").json()


def aborted(world):
    return world.tell(progressing(world), "abort").json()


def rolled_back(world):
    d = progressing(world)
    assert world.daemon.post("/api/v1/rollback", {"use_case": world.name}).status == 200
    return world.get(d)


@pytest.mark.parametrize("reach,models", [(progressing, BOTH), (waiting, BOTH), (paused, BOTH), (succeeded, NEW),
                                          (aborted, OLD), (rolled_back, OLD)], ids=lambda v: getattr(v, "__name__", ""))
def test_killed_in_any_state_it_goes_on_where_the_row_says(lives, reach, models):
    world = lives.world
    before = reach(world)
    served = world.models(60)
    assert set(served.values()) == models
    lives.again()
    assert world.models(60) == served  # the same callers, too
    after = world.get(before)
    for key in before:
        if key not in ("now", "updated_at"):
            assert after[key] == before[key], key
    assert [e["kind"] for e in world.events()][0].startswith(("deployment.", "model.", "use_case."))


def test_killed_during_a_hold_the_step_is_judged_after_it(lives):
    world = lives.world
    d = world.started(steps=[50, 100], hold=1500, thresholds={"min_samples": 10})
    lives.again()
    world.ask(60)
    d = world.wait(d, "progressing", share=100)
    lives.again()
    world.ask(60)
    world.wait(d, "succeeded")
    assert world.status("new") == "current"


def test_failing_after_a_restart_is_still_rolled_back(lives):
    world = lives.world
    d = world.started(steps=[50, 100], hold=LONG, thresholds={"min_samples": 10})
    lives.again()
    assert set(world.models(40).values()) == BOTH
    world.new.default = m.reset
    world.wait(world.get(d), "progressing")
    for i in range(5):
        world.ask(60, "later-%d-" % i)
    d = world.wait(d, "rolled_back")
    assert "error rate" in d["rollback_reason"]


def test_killed_at_any_moment_of_a_rollout_a_use_case_has_one_current_model_and_one_truth(lives):
    world = lives.world
    d = world.started(steps=[20, 40, 60, 80, 100], hold=40, max_wait=LONG, thresholds={"min_samples": 1})
    for i in range(8):
        world.ask(10 + 7 * i, "round-%d-" % i)
        lives.again()
        now = world.get(d)
        with control.database(lives.daemon) as db:
            assert db.execute("select count(*) from model_registry where status = 'current'").fetchone() == (1,)
            n = db.execute("select count(*) from registry_events where kind like 'deployment.%'").fetchone()[0]
            assert db.execute("select epoch from model_deployments").fetchone() == (n,)  # no move without its event
        if now["state"] == "succeeded":
            break


def test_while_the_database_is_held_shares_stay_and_nothing_is_decided(lives):
    world = lives.world
    d = world.started(steps=[50, 100], hold=200, thresholds={"min_samples": 10})
    with control.held(lives.daemon):
        served = world.models(60)
        assert set(served.values()) == BOTH
        world.new.default = m.answer_with(503, {"error": {"message": "no"}})
        assert set(world.models(60).values()) == OLD  # all were answered
        assert world.daemon.request("POST", "/api/v1/deployments/%s/pause" % d["deployment_id"], {}).status == 503
    d = world.wait(d, "rolled_back")
    assert "error rate" in d["rollback_reason"]


def test_rollback_while_the_database_is_held_ends_the_deployment_at_once(lives):
    world = lives.world
    d = world.started("blue_green", hold=LONG)
    assert set(world.models(10).values()) == NEW
    with control.held(lives.daemon):
        answer = world.daemon.post("/api/v1/rollback", {"use_case": world.name, "reason": "now"})
        assert answer.status == 202 and answer.json()["deployment_id"] == d["deployment_id"]
        assert set(world.models(10).values()) == OLD
        lives.again()
        assert set(world.models(10).values()) == OLD
    d = world.wait(d, "rolled_back")
    assert d["rollback_reason"] == "rolled back by anonymous: now"
    assert (world.status("new"), world.status("old")) == ("candidate", "current")
