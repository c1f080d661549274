# SPDX-License-Identifier: Apache-2.0
"""Prometheus and Grafana: what ships for them names what the daemon really has, and says what it means."""
import itertools
import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

import control
import muster as m
import test_metrics

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RULES = os.path.join(ROOT, "etc", "prometheus", "rules.yaml")
RULES_TEST = os.path.join(ROOT, "etc", "prometheus", "rules_test.yaml")
DASHBOARD = os.path.join(ROOT, "etc", "grafana", "muster.json")
DOCS = os.path.join(ROOT, "docs", "METRICS.md")
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool is not here: Debian's package prometheus has it "
                                                         "(docs/HACKING.md)")
TARGET = {"job", "instance"}  # what Prometheus adds


def promtool(*args, text=None):
    r = subprocess.run([PROMTOOL] + list(args), input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=m.LIMIT * 4, cwd=os.path.dirname(RULES))
    return r.returncode, r.stdout


class Exposed:
    """/metrics of a daemon that has seen everything once: types, labels by family."""

    def __init__(self, text):
        self.text = text
        self.types, samples = test_metrics.parse(text)
        self.help = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.M))
        self.labels = {family: set() for family in self.types}
        for name, labels in samples:
            self.labels[self.family(name)].update(k for k, _ in labels if k != "le")

    def family(self, name):
        """Of a sample's name; None: there is none."""
        if name in self.types:
            return name if self.types[name] != "histogram" else None
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        return base if self.types.get(base) == "histogram" and base != name else None


@pytest.fixture(scope="module")
def exposed(tmp_path_factory, make_upstream_once):
    good, bad = make_upstream_once(), make_upstream_once()
    daemon = m.Muster(tmp_path_factory.mktemp("monitoring"),
                      "alerts:\n  receivers:\n    ops:\n      url: %s/hook\n" % make_upstream_once().url)
    try:
        bad.default = m.answer_with(500, {"error": {"message": "no"}})
        daemon.policy("words", {"id": "w", "kind": "literal", "action": "mask", "severity": "critical",
                                "values": ["forbidden"]})
        daemon.use_case("seen", policy="words", fallback_content="")
        name = daemon.register("seen", good, name="first", price={"input": 1, "output": 2})
        daemon.chat("seen", "a forbidden word")
        with daemon.chat_stream("seen") as s:
            s.events()
        daemon.generate("seen")
        daemon.get("/api/v1/use-cases/seen/current")
        daemon.register("seen", bad, name="second")
        assert daemon.chat("seen").status == 502
        daemon.use_case("seen", policy="words", fallback=[name], budget="1000/month")
        daemon.chat("seen")
        control.shipped(daemon)
        yield Exposed(daemon.get("/metrics").body.decode())
    finally:
        daemon.stop()


@pytest.fixture(scope="module")
def make_upstream_once():
    made = []

    def make():
        made.append(m.Upstream())
        return made[-1]

    yield make
    for upstream in made:
        upstream.close()


# --- /metrics ---


@needs_promtool
def test_promtool_finds_nothing_to_say_about_the_metrics(exposed):
    code, said = promtool("check", "metrics", text=exposed.text)
    assert code == 0 and said == "", said


def documented():
    with open(DOCS) as f:
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.*?) \|$", f.read(), re.M)
    assert len({r[0] for r in rows}) == len(rows)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels)), unit, meaning)
            for name, kind, labels, unit, meaning in rows}


def test_the_page_about_metrics_lists_all_of_them_and_no_other(exposed):
    page = documented()
    assert sorted(page) == sorted(exposed.types)
    for name, (kind, labels, unit, meaning) in page.items():
        assert kind == exposed.types[name], name
        assert labels == exposed.labels[name], name
        assert meaning == exposed.help[name], name
        for suffix, word in (("_seconds", "seconds"), ("_bytes", "bytes")):
            assert (suffix in name) == (unit == word), "%s is in %s" % (name, unit)


# --- expressions ---


def selectors(expr):
    """(name, labels) of every series that an expression asks for, and the labels that it groups by."""
    grouped = set()
    for words in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expr):
        grouped.update(w.strip() for w in words.split(",") if w.strip())
    rest = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", expr)
    found = []
    for name, braces in re.findall(r"\b((?:muster[_:]|gen_ai_|process_)[a-zA-Z0-9_:]*)\s*(\{[^}]*\})?", rest):
        labels = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', braces or ""))
        found.append((name, labels))
    return found, grouped - {"le"}


def rules():
    with open(RULES) as f:
        return [rule for group in yaml.safe_load(f)["groups"] for rule in group["rules"]]


def dashboard():
    with open(DASHBOARD) as f:
        return json.load(f)


def panel_expressions():
    return [(p["title"], t["expr"]) for p in dashboard()["panels"] for t in p.get("targets", ())]


def check_expression(exposed, where, expr, recorded):
    found, grouped = selectors(expr)
    assert found, "%s asks for nothing of ours: %s" % (where, expr)
    known = set()
    for name, labels in found:
        if name in recorded:
            known |= recorded[name]
            continue
        family = exposed.family(name)
        assert family, "%s: the daemon has no %s" % (where, name)
        assert labels <= exposed.labels[family] | TARGET, "%s: %s has no %s" % (where, name, labels)
        known |= exposed.labels[family]
    assert grouped <= known | TARGET, "%s: nothing has %s" % (where, grouped - known)
    return grouped or known


def test_the_rules_ask_for_what_the_daemon_has(exposed):
    recorded = {}
    for rule in rules():
        labels = check_expression(exposed, rule.get("alert") or rule["record"], rule["expr"], recorded)
        if "record" in rule:
            recorded[rule["record"]] = labels


def test_the_dashboard_asks_for_what_the_daemon_has(exposed):
    for title, expr in panel_expressions():
        check_expression(exposed, title, expr, {})
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.match(r"label_values\((\w+).*, (\w+)\)$", variable["definition"]).groups()
            assert label in exposed.labels[exposed.family(name)] | TARGET, variable["name"]


def test_every_figure_of_the_monitoring_list_is_on_the_dashboard():
    shown = " ".join(expr for _, expr in panel_expressions())
    for name in ("muster_current_lookup_duration_seconds", "muster_log_records_lost_total",
                 "muster_guardrail_violating_texts_total", "muster_deployments_finished_total",
                 "gen_ai_server_request_duration_seconds", "gen_ai_server_time_to_first_token_seconds"):
        assert name in shown, name


def test_the_checker_of_expressions_itself_finds_what_is_wrong(exposed):
    for expr in ("muster_nothing_total", "rate(muster_requests_total{nobody=\"x\"}[5m])", "up",
                 "sum by (nobody) (muster_requests_total)", "gen_ai_client_token_usage",
                 "muster_requests_total_count"):
        with pytest.raises(AssertionError):
            check_expression(exposed, "wrong", expr, {})


# --- the rules ---


@needs_promtool
def test_the_rules_are_valid_and_do_what_they_say():
    for args in (("check", "rules", RULES), ("test", "rules", RULES_TEST)):
        code, said = promtool(*args)
        assert code == 0 and "SUCCESS" in said and "FAILED" not in said, said


def test_every_alert_has_a_test_and_a_place_in_the_page_about_alerts():
    alerts = {rule["alert"]: rule["labels"] for rule in rules() if "alert" in rule}
    with open(RULES_TEST) as f:
        cases = [case for test in yaml.safe_load(f)["tests"] for case in test.get("alert_rule_test", ())]
    for name in alerts:
        outcomes = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == name}
        assert outcomes == {True, False}, "%s has to fire in one test and not in another" % name
    with open(os.path.join(ROOT, "docs", "ALERTS.md")) as f:
        built_in = dict(re.findall(r"^\| `(\w+)` \| (info|warning|critical) \|", f.read(), re.M))
    assert built_in.items() <= {(labels["rule"], labels["severity"]) for labels in alerts.values()}
    for name, labels in alerts.items():
        if labels["rule"] in built_in:
            assert name == "".join(word.capitalize() for word in labels["rule"].split("_"))


# --- the dashboard ---


@needs_promtool
def test_the_expressions_of_the_dashboard_are_promql(tmp_path):
    numbers = itertools.count()
    expressions = [expr.replace("$__rate_interval", "5m") for _, expr in panel_expressions()]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": [
        {"record": "panel:%d" % next(numbers), "expr": expr} for expr in expressions]}]}))
    code, said = promtool("check", "rules", str(path))
    assert code == 0 and "%d rules found" % len(expressions) in said, said


def test_the_dashboard_is_one_that_grafana_loads():
    board = dashboard()
    assert board["schemaVersion"] >= 36 and board["title"] and board["uid"] and board["id"] is None
    variables = {v["name"]: v for v in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    assert {"job", "use_case"} <= set(variables)
    panels = board["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    rows = [p["title"] for p in panels if p["type"] == "row"]
    assert rows == ["Overview", "Serving, by use case", "Guardrails", "Historical log and spool", "Deployments",
                    "Replicas and registry", "Process"]
    cells = {}
    for panel in panels:
        g = panel["gridPos"]
        assert g["x"] >= 0 and g["w"] > 0 and g["x"] + g["w"] <= 24, panel["title"]
        for cell in itertools.product(range(g["x"], g["x"] + g["w"]), range(g["y"], g["y"] + g["h"])):
            assert cell not in cells, "%s lies over %s" % (panel["title"], cells[cell])
            cells[cell] = panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        refs = [t["refId"] for t in panel["targets"]]
        assert refs and len(set(refs)) == len(refs), panel["title"]
        for word in re.findall(r"\$\{?(\w+)", json.dumps(panel)):
            assert word in variables or word == "__rate_interval", "%s uses $%s" % (panel["title"], word)
