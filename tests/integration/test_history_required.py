# SPDX-License-Identifier: Apache-2.0
"""What is answered when the log has no room: by a use case whose log is required, nothing; by another, everything."""
import pytest

import control
import muster as m

NO_ROOM = "log_unavailable"
BIG = "a word " * 150000  # more than is left in the spool when a record of FILL bytes does not fit any more
FILL = 4000000


@pytest.fixture
def daemon(start_daemon):
    """Room for one segment of records while the database is held."""
    d = start_daemon("spool:\n  max_bytes: 16MiB\n", "--loops", "1")
    d.use_case("sure", policy="none", log_durability="required")
    d.use_case("easy", policy="none")
    return d


def fill(daemon, size):
    """Until a record of that size does not fit."""
    record = {"model_id": "m", "use_case": "fill", "prompt": "x" * size, "context": {}, "output": "y"}
    answer = daemon.post("/api/v1/logs", record)
    while answer.status == 201:
        answer = daemon.post("/api/v1/logs", record)
    control.error(answer, 503, NO_ROOM)


def refused(answer):
    assert "recorded" in control.error(answer, 503, NO_ROOM)
    assert int(answer.headers["retry-after"]) >= 1


def test_only_what_can_be_recorded_is_answered(daemon, make_upstream):
    upstream = make_upstream(m.ok("a story"))
    daemon.register("sure", upstream)
    daemon.register("easy", upstream)
    answered = [daemon.chat("sure"), daemon.chat("easy")]
    with control.held(daemon):
        fill(daemon, FILL)
        fill(daemon, 60000)
        fill(daemon, 100)
        asked, lost = len(upstream.requests), control.metric(daemon, "muster_log_records_lost_total")
        refused(daemon.chat("sure"))
        refused(daemon.chat("sure", stream=True))
        assert len(upstream.requests) == asked, "a model was asked for what could not be recorded"
        assert control.metric(daemon, "muster_log_refusals_total") == 2
        assert control.metric(daemon, "muster_log_records_lost_total") == lost
        assert daemon.chat("easy").status == 200
        assert control.metric(daemon, "muster_log_records_lost_total") == lost + 1
    m.eventually(lambda: daemon.chat("sure").status == 200, "room in the spool")
    answered.append(daemon.chat("sure"))
    assert [a.status for a in answered] == [200] * 3
    for a in answered:
        daemon.log_of(a)


def test_an_answer_that_turns_out_larger_than_the_room_is_no_answer(daemon, make_upstream):
    daemon.register("sure", make_upstream(m.ok(BIG)))
    with control.held(daemon):
        fill(daemon, FILL)
        refused(daemon.chat("sure"))
        assert control.metric(daemon, "muster_log_refusals_total") == 1


def test_a_stream_that_turns_out_larger_than_the_room_ends_with_an_error(daemon, make_upstream):
    third = BIG[:len(BIG) // 3]
    daemon.register("sure", make_upstream(m.streaming("begun ", third, third, third)))
    with control.held(daemon):
        fill(daemon, FILL)
        with daemon.chat_stream("sure") as s:
            events = s.events()
    assert s.status == 200 and m.chat_text(events).startswith("begun ")
    assert events[-1] != "[DONE]" and events[-1]["error"]["code"] == NO_ROOM, events[-1]
    assert not m.finish_of(events[-1:])
