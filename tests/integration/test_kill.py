# SPDX-License-Identifier: Apache-2.0
"""kill -9 under load: what a caller was answered in full is in the database, once."""
import pytest

import control
import muster as m

ROUNDS = 10


def start(directory):
    return m.Muster(directory, args=["--loops", "2"])


@pytest.fixture
def directory(tmp_path, make_upstream):
    """Where a daemon has run whose use case `load` is served by an upstream that answers at once."""
    daemon = start(tmp_path / "d")
    daemon.use_case("load", policy="none", fallback_content="")
    daemon.register("load", make_upstream(m.ok("one two three four five six seven")))
    daemon.stop()
    return tmp_path / "d"


def test_every_full_answer_is_logged_once_whenever_the_process_is_killed(directory):
    loads = []
    for i in range(ROUNDS):
        daemon = start(directory)
        load = control.Load(daemon, "load", threads=6)
        try:
            load.wait(20 + 37 * i)  # other moments in batches and segments each time
        finally:
            control.end_at_once(daemon)
            load.end()
        assert not load.refused, load.refused[:3]
        loads.append(load)
    daemon = start(directory)
    control.shipped(daemon)
    for load in loads:
        control.check_once(daemon, load)
    assert control.metric(daemon, "muster_log_records_lost_total") == 0
    assert control.metric(daemon, "muster_log_records_rejected_total") == 0
    daemon.stop()


def test_kill_while_the_database_is_held_keeps_everything_for_the_next_start(directory):
    daemon = start(directory)
    with control.held(daemon):
        load = control.Load(daemon, "load")
        try:
            load.wait(300)
        finally:
            control.end_at_once(daemon)
            load.end()
    daemon = start(directory)
    control.shipped(daemon)
    control.check_once(daemon, load)
    daemon.stop()


def test_record_that_an_application_reported_survives_too(directory):
    daemon = start(directory)
    answers = [daemon.post("/api/v1/logs", {"model_id": "elsewhere-1", "use_case": "reported", "prompt": "p%d" % i,
                                            "generated_output": "o"}) for i in range(50)]
    control.end_at_once(daemon)
    assert all(a.status == 201 for a in answers)
    daemon = start(directory)
    control.shipped(daemon)
    assert sorted(control.logged_ids(daemon, "reported")) == sorted(a.json()["log_id"] for a in answers)
    daemon.stop()


def test_registry_change_that_was_answered_survives(directory):
    daemon = start(directory)
    name = daemon.register("survivor", "http://127.0.0.1:9")
    control.end_at_once(daemon)
    daemon = start(directory)
    model = daemon.api("GET", "/api/v1/use-cases/survivor/current")
    assert "%s@%s" % (model["model_name"], model["version"]) == name
    daemon.stop()
