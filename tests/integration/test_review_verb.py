# SPDX-License-Identifier: Apache-2.0
"""muster review against a daemon with traffic, violations, a deployment that was rolled back, and names that are more
than names: in each of its forms, over HTTP."""
import html.parser
import json
import re
import threading
import xml.etree.ElementTree as ET

import pytest

import control
import muster as m

EVIL = "<script>alert('1')</script>|`x`"
CARD = "4111 1111 1111 1111"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    daemon = m.Muster(tmp_path_factory.mktemp("review"))
    good, bad = m.Upstream(), m.Upstream(m.answer_with(500, {"error": {"message": "broken"}}))
    daemon.use_case("npc", policy="default", fallback_content="")
    daemon.register("npc", good, name="old")
    daemon.register("npc", bad, name="new", promote=False)
    good.script += [m.ok("it is %s, he said" % CARD)] * 4
    for _ in range(20):
        answer = daemon.chat("npc")
        assert answer.status == 200, answer
    started = daemon.post("/api/v1/deployments", {
        "use_case": "npc", "model": "new@1.0", "strategy": "canary", "steps": [50, 100], "hold": "1h",
        "thresholds": {"error_rate": 0.5, "min_samples": 5}, "reason": EVIL}).json()
    path = "/api/v1/deployments/" + started["deployment_id"]

    def rolled_back():
        with daemon.connect() as c:
            for i in range(10):
                body = {"model": "npc", "user": "u%d" % i, "messages": [{"role": "user", "content": "hi"}]}
                assert c.request("POST", "/v1/chat/completions", body).status == 200
        return daemon.api("GET", path)["state"] == "rolled_back"

    m.eventually(rolled_back, "the rollback", 3 * m.LIMIT)
    for _ in range(2):
        daemon.api("POST", "/api/v1/logs", {"model_id": "m", "model_name": EVIL, "use_case": EVIL, "prompt": "p",
                                            "output": "o", "status": "error", "latency_ms": 70})

    def counted():
        got = review(daemon)
        return got["total"]["now"]["requests"] > 30 and any(g["use_case"] == EVIL for g in got["use_cases"])

    m.eventually(counted, "the records in the database")
    yield daemon
    daemon.stop()
    good.close()
    bad.close()


def review(daemon, query=""):
    answer = daemon.get("/api/v1/review" + query)
    assert answer.status in (200, 429), answer
    return answer.json() if answer.status == 200 else {"total": {"now": {"requests": 0}}, "use_cases": []}


def run(daemon, *args, **env):
    got = control.run("review", *args, MUSTER_URL=daemon.url, **env)
    assert got.rc == 0, got
    return got.out


# --- the document ---


def test_document_counts_what_was_asked_and_answered(world):
    got = review(world)
    npc = next(g for g in got["use_cases"] if g["use_case"] == "npc")["now"]
    assert npc["requests"] >= 30 and npc["by_status"]["ok"] == npc["requests"], npc
    assert npc["fallbacks"] > 0 and npc["violations"] >= 4 and npc["latency_ms"]["p95"] > 0
    assert sum(b["requests"] for b in got["series"]["buckets"]) == got["total"]["now"]["requests"]
    assert len(got["series"]["buckets"]) == 24
    assert sum(b["violations"] for b in got["series"]["buckets"]) == got["violations"]["n"]
    assert got["total"]["before"]["requests"] == 0 and got["total"]["before"]["error_rate"] is None
    rule = got["violations"]["rules"][0]
    assert rule["category"] == "pii" and 1 <= len(rule["log_ids"]) <= 3
    assert CARD not in json.dumps(got)
    shown = world.api("GET", "/api/v1/logs/" + rule["log_ids"][0])
    assert any(v["rule"] == rule["rule"] for v in shown["guardrail"]["violations"])


def test_document_names_the_deployment_that_was_rolled_back_and_who_changed_what(world):
    got = review(world)
    d = got["deployments"]["list"][0]
    assert (d["state"], d["model"]) == ("rolled_back", "new@1.0") and d["rollback_reason"] and d["duration_s"] >= 0
    assert (got["deployments"]["finished"], got["deployments"]["success_rate"]) == (1, 0)
    kinds = {c["kind"] for c in got["changes"]}
    assert {"model.registered", "deployment.started", "use_case.settings"} <= kinds, kinds
    assert all(c["actor"] for c in got["changes"])
    assert {"deployment_failed", "target_missed"} <= {f["kind"] for f in got["findings"]}


def test_no_target_is_met_that_was_not_measured_all_the_time(world):
    got = review(world)
    targets = {t["target"]: t for t in got["targets"]}
    assert targets["historical_logging"]["verdict"] == "unknown" and targets["historical_logging"]["figure"] == 1
    assert targets["current_model_lookup"]["verdict"] == "unknown"
    assert targets["deployments"]["verdict"] == "not_met"
    rate = got["total"]["now"]["violation_rate"]
    assert targets["guardrail_violations"]["figure"] == rate > 0
    assert targets["guardrail_violations"]["verdict"] == ("met" if rate < 0.01 else "not_met")


def test_one_use_case_and_another_window(world):
    got = review(world, "?window=7d&use_case=npc")
    assert {g["use_case"] for g in got["use_cases"]} == {"npc"} and len(got["series"]["buckets"]) == 28
    empty = review(world, "?window=10m&until=2020-01-01T00:00:00Z")
    assert empty["total"]["now"]["requests"] == 0 and empty["findings"] == [] or \
        {f["kind"] for f in empty["findings"]} <= {"no_traffic"}
    assert {t["verdict"] for t in empty["targets"]} == {"unknown"}


def test_second_review_at_once_gets_the_answer_or_is_told_when_to_come_back(world):
    answers = []

    def ask():
        answers.append(world.get("/api/v1/review?window=7d"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {a.status for a in answers} <= {200, 429} and any(a.status == 200 for a in answers)
    for a in answers:
        if a.status == 429:
            assert a.json()["error"]["code"] == "review_under_way" and int(a.headers["retry-after"]) > 0


# --- the verb ---


def test_terminal_report_says_what_to_look_at_and_how(world):
    out = run(world, LC_ALL="C.UTF-8")
    for title in ("Targets", "Things to look at", "Traffic", "Use cases", "Models", "Guardrail violations",
                  "Deployments", "What changed, and by whom", "API keys"):
        assert "\n%s\n" % title in out, title
    assert "rolled_back" in out and "-> muster deploy show " in out and "█" in out
    assert "\033" not in out and CARD not in out
    ascii_only = run(world, LC_ALL="C")
    assert "█" not in ascii_only
    narrow = run(world, LC_ALL="C.UTF-8", COLUMNS="80")
    tables = narrow.partition("\nUse cases\n")[2]
    assert max(len(line) for line in tables.splitlines()) <= 80, narrow


def test_commands_of_the_report_can_be_run(world):
    for finding in review(world)["findings"]:
        words = finding["command"].split()
        assert words[0] == "muster"
        if "'" not in finding["command"]:
            got = control.run(*words[1:], MUSTER_URL=world.url)
            assert got.rc in (0, 1) and "usage" not in got.err, (words, got)


def test_json_is_the_document_of_the_api(world, tmp_path):
    got = json.loads(run(world, "--json", "--window", "7d", "--use-case", "npc"))
    assert got["window_s"] == 7 * 86400 and got["use_case"] == "npc"
    path = tmp_path / "r.json"
    run(world, "--json", "--output", str(path))
    assert json.loads(path.read_text())["object"] == "review"


def test_markdown_keeps_its_tables_whatever_the_names_are(world, tmp_path):
    path = tmp_path / "review.md"
    assert "written: %s" % path in run(world, "--output", str(path))
    text = path.read_text()
    assert "<script" not in text and "&lt;script&gt;alert('1')&lt;/script&gt;\\|\\`x\\`" in text
    rows = 0
    columns = None
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        n = len(re.findall(r"(?<!\\)\|", line))
        columns = columns or n
        assert n == columns, line
        rows += 1
    assert rows > 30 and run(world, "--format", "markdown").startswith("# muster 24-hour review\n")


class Page(html.parser.HTMLParser):
    """What a browser would make of it: every tag closed, nothing that runs, nothing that is loaded."""
    VOID = {"meta", "br"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data):
        self.text.append(data)


def test_html_is_one_file_that_loads_and_runs_nothing(world, tmp_path):
    path = tmp_path / "review.html"
    run(world, "--output", str(path))
    text = path.read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "a", "image", "use"} & set(page.seen)
    names = {k for k, _ in page.attributes}
    assert not {"src", "href", "srcset", "style", "action", "xlink:href"} & names
    assert not {k for k in names if k.startswith("on")}
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style
    assert "@media print" in style and "://" not in text
    assert EVIL in "".join(page.text)
    charts = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(charts) == 4
    for chart in charts:
        svg = ET.fromstring(chart)
        labels = svg.get("aria-labelledby").split()
        assert svg.get("role") == "img" and {svg.find("title").get("id"), svg.find("desc").get("id")} == set(labels)
        assert svg.findall("rect") or svg.findall("circle") or "errors" in svg.find("title").text
    assert run(world, "--format", "html").startswith("<!DOCTYPE html>\n")


@pytest.mark.parametrize("args,rc,said", [
    (("--window", "1s"), 1, "from 10m to 31d"), (("--window", "x"), 2, "a duration"),
    (("--window", "49h"), 1, "make it a multiple"), (("--until", "2999-01-01T00:00:00Z"), 1, "in the past"),
    (("--format", "pdf"), 2, "terminal|markdown|html"), (("--output", "/nowhere/at/all.md"), 1, "cannot write"),
    (("extra",), 2, "extra"),
])
def test_what_cannot_be_done_is_said_in_a_sentence(world, args, rc, said):
    got = control.run("review", *args, MUSTER_URL=world.url)
    assert got.rc == rc and said in got.err and got.out == "", got
