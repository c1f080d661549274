# SPDX-License-Identifier: Apache-2.0
"""Long texts with SQLite: beside the database, whole after kill -9, gone when they are removed, missed aloud."""
import os
import shutil

import pytest

import control
import muster as m

WORDS = "The old lighthouse keeper wrote every evening about the weather and the ships. "


def prompt_of(i):
    return ("%d. " % i) + WORDS * (40 + 100 * i)


@pytest.fixture
def place(tmp_path, make_upstream):
    class Place:
        directory = tmp_path / "d"
        texts = str(tmp_path / "d" / "data" / "muster.db-texts")

        def start(self):
            return m.Muster(self.directory)

        def ask(self, daemon, n):
            with daemon.connect() as c:
                return [c.request("POST", "/api/v1/generate", {"use_case": "long", "prompt": prompt_of(i)})
                        .headers["x-muster-log-id"] for i in range(n)]

        def files(self):
            return sorted(os.listdir(self.texts)) if os.path.isdir(self.texts) else []

        def bytes(self):
            return b"".join(open(os.path.join(self.texts, f), "rb").read() for f in self.files())

    p = Place()
    daemon = p.start()
    daemon.use_case("long", policy="none")
    daemon.register("long", make_upstream(m.ok(WORDS * 50)))
    daemon.stop()
    return p


def record(daemon, log_id):
    return daemon.api("GET", "/api/v1/logs/" + log_id)


def check_whole(daemon, ids):
    for i, log_id in enumerate(ids):
        r = record(daemon, log_id)
        assert "content_error" not in r
        assert r["prompt"] == prompt_of(i) and r["output"] == WORDS * 50


def test_long_texts_are_whole_after_a_kill_and_short_ones_are_in_their_rows(place):
    daemon = place.start()
    ids = place.ask(daemon, 4)
    control.end_at_once(daemon)  # some shipped, some not
    daemon = place.start()
    more = place.ask(daemon, 2)
    control.shipped(daemon)
    check_whole(daemon, ids)
    check_whole(daemon, more)
    listed = daemon.api("GET", "/api/v1/logs?text=true&use_case=long")["data"]
    assert sorted(len(r["prompt"]) for r in listed) == sorted(len(prompt_of(i)) for i in [0, 1, 2, 3, 0, 1])
    with control.database(daemon) as db:
        assert {r[0] for r in db.execute("select prompt is null from model_historical_logs")} == {1}
    assert place.files() == ["00000001.txt"]
    assert os.stat(place.texts).st_mode & 0o777 == 0o700
    assert os.stat(os.path.join(place.texts, "00000001.txt")).st_mode & 0o777 == 0o600
    daemon.stop()


def test_a_lost_file_is_said_of_its_records_alone(place):
    daemon = place.start()
    ids = place.ask(daemon, 2)
    control.shipped(daemon)
    shutil.move(place.texts, place.texts + ".away")
    r = record(daemon, ids[0])
    assert r["prompt"] is None and r["output"] is None and r["status"] == "ok"
    assert place.texts in r["content_error"] and "No such file" in r["content_error"]
    assert "are lost" in control.works(daemon, "log", "show", ids[0])
    shutil.move(place.texts + ".away", place.texts)
    check_whole(daemon, ids)
    daemon.stop()


def test_a_purge_leaves_nothing_of_the_texts(place):
    daemon = place.start()
    ids = place.ask(daemon, 3)
    control.shipped(daemon)
    assert WORDS.encode() in place.bytes()
    control.works(daemon, "log", "purge", "--caller", record(daemon, ids[0])["caller"], "--content-only", "--why", "asked",
                  "--yes")
    assert WORDS.encode() not in place.bytes()
    r = record(daemon, ids[0])
    assert r["prompt"] is None and r["content_removed_at"] and "content_error" not in r
    daemon.stop()
