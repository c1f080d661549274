# SPDX-License-Identifier: Apache-2.0
"""/health and /metrics: what they say is well formed, and true."""
import json
import math
import re
import signal

import pytest

import control
import muster as m

NAME = re.compile(r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")
SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def parse(text):
    """Prometheus text 0.0.4, strictly: {(name, labels): value}; and {family: type}."""
    assert text.endswith("\n") and "\r" not in text
    types, helps, samples, closed, family = {}, set(), {}, set(), None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, words = line[7:].partition(" ")
            assert NAME.match(name) and words and name not in helps, line
            helps.add(name)
            if family:
                closed.add(family)
            assert name not in closed, "family %s is in two places" % name
            family = name
            continue
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == family and name not in types and kind in SUFFIXES, line
            types[name] = kind
            continue
        assert not line.startswith("#") and line, "a line that is nothing: %r" % line
        found = SAMPLE.match(line)
        assert found, line
        name, labels, value = found.groups()
        assert family in types and name in [family + s for s in SUFFIXES[types[family]]], \
            "%s stands below %s" % (name, family)
        pairs, at = [], 0
        while labels and at < len(labels):
            pair = LABEL.match(labels, at)
            assert pair, line
            pairs.append(pair.group(1, 2))
            at = pair.end()
        assert len(dict(pairs)) == len(pairs), "a label twice: " + line
        key = (name, tuple(sorted(pairs)))
        assert key not in samples, "a sample twice: " + line
        samples[key] = float(value)
        if types[family] != "gauge":
            assert samples[key] >= 0 and not math.isnan(samples[key]), line
    assert helps == set(types)
    check_histograms(types, samples)
    return types, samples


def check_histograms(types, samples):
    for family in [f for f, kind in types.items() if kind == "histogram"]:
        series = {}
        for (name, labels), value in samples.items():
            if name == family + "_bucket":
                rest = tuple(l for l in labels if l[0] != "le")
                series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        for labels, buckets in series.items():
            assert buckets == sorted(buckets), "%s: buckets in order" % family
            values = [v for _, v in buckets]
            assert values == sorted(values), "%s: buckets that add up" % family
            assert buckets[-1][0] == math.inf and buckets[-1][1] == samples[(family + "_count", labels)]
            assert (family + "_sum", labels) in samples


def scrape(daemon):
    answer = daemon.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8", answer.headers
    return parse(answer.body.decode())


def series(name, **labels):
    return name, tuple(sorted(labels.items()))


def moved(before, after):
    return {k: v - before[1].get(k, 0) for k, v in after[1].items() if v != before[1].get(k, 0)}


def test_metrics_are_strict_prometheus_text(daemon, upstream):
    case = daemon.name()
    daemon.register(case, upstream)
    daemon.chat(case)
    with daemon.chat_stream(case) as s:
        s.events()
    types, samples = scrape(daemon)
    assert types["muster_requests_total"] == "counter"
    assert types["gen_ai_server_request_duration_seconds"] == "histogram"
    for name, kind in types.items():
        assert name.endswith("_total") == (kind == "counter"), "%s is a %s" % (name, kind)
        assert re.match(r"^(muster|gen_ai|process)_", name), name


def test_empty_daemon_has_metrics_too(start_daemon):
    types, samples = scrape(start_daemon())
    assert samples[("muster_log_records_total", ())] == 0


def test_counters_move_with_what_happens(daemon, make_upstream):
    case = daemon.name()
    good = make_upstream()
    daemon.use_case(case, policy="none", fallback_content="later")
    daemon.register(case, good)
    label = (("use_case", case),)
    control.shipped(daemon)
    before = scrape(daemon)
    for _ in range(3):
        assert daemon.chat(case).status == 200
    good.default = m.answer_with(500, {"error": {"message": "no"}})
    assert daemon.chat(case).headers["x-muster-fallback"] == "content"
    daemon.post("/api/v1/logs", {"model_id": "x", "use_case": case})
    daemon.post("/api/v1/guardrails/check", {"outputs": ["x"]})
    daemon.get("/api/v1/use-cases/%s/current" % case)
    control.shipped(daemon)
    change = moved(before, scrape(daemon))
    assert change[("muster_requests_total", label)] == 4
    assert change[("muster_answered_total", label)] == 3
    assert change[("muster_fallbacks_total", (("by", "content"),) + label)] == 1
    assert ("muster_errors_total", label) not in change
    assert change[("muster_tokens_total", (("type", "input"),) + label)] >= 21
    assert change[("muster_tokens_total", (("type", "output"),) + label)] >= 9
    server = {"use_case": case, "gen_ai_request_model": case, "gen_ai_provider_name": "muster",
              "gen_ai_operation_name": "chat"}
    assert change[series("gen_ai_server_request_duration_seconds_count", **server)] == 3
    assert change[series("gen_ai_server_request_duration_seconds_count", error_type="error", **server)] == 1
    assert change[series("gen_ai_server_time_to_first_token_seconds_count", **server)] == 3
    assert change[("muster_upstream_errors_total", ())] >= 1
    assert change[("muster_application_logs_total", ())] == 1
    assert change[("muster_guardrail_checks_total", ())] == 1
    assert change[("muster_current_lookups_total", ())] == 1
    assert change[("muster_current_lookup_duration_seconds_count", ())] == 1
    assert change[("muster_log_records_total", ())] == 5
    assert change[("muster_log_records_shipped_total", ())] == 5


def test_guardrail_actions_are_counted(daemon, upstream):
    case = daemon.name()
    daemon.policy("p-" + case.replace("_", "-"),
                  {"id": "w", "kind": "literal", "action": "mask", "severity": "high", "values": ["forbidden"]})
    daemon.use_case(case, policy="p-" + case.replace("_", "-"))
    daemon.register(case, upstream)
    before = scrape(daemon)
    daemon.chat(case, "a forbidden word")
    daemon.chat(case, "a word")
    change = moved(before, scrape(daemon))
    assert change[("muster_guardrail_actions_total", (("action", "mask"), ("use_case", case)))] == 1
    assert change[("muster_guardrail_actions_total", (("action", "allow"), ("use_case", case)))] == 1
    assert change[("muster_guardrail_violations_total", (("severity", "high"),))] == 1
    texts = {k[1]: v for k, v in change.items() if k[0] == "muster_guardrail_texts_total"}
    assert texts == {series("", use_case=case, side="input", action="mask")[1]: 1,
                     series("", use_case=case, side="input", action="allow")[1]: 1,
                     series("", use_case=case, side="output", action="allow")[1]: 2}
    assert change[series("muster_guardrail_violating_texts_total", use_case=case, severity="high")] == 1
    assert sum(v for k, v in change.items() if k[0] == "muster_guardrail_violating_texts_total") == 1


def test_texts_that_are_checked_or_streamed_are_counted_too(daemon, upstream):
    case = daemon.name()
    name = "p-" + case.replace("_", "-")
    daemon.policy(name, {"id": "w", "kind": "literal", "action": "block", "severity": "critical",
                         "values": ["forbidden"], "side": "output"})
    daemon.use_case(case, policy=name)
    daemon.register(case, upstream)
    before = scrape(daemon)
    with daemon.chat_stream(case) as s:
        s.events()
    body = {"outputs": ["a", "forbidden", "b"], "use_case": case}
    assert daemon.api("POST", "/api/v1/guardrails/check", body)["compliant"] is False
    change = moved(before, scrape(daemon))
    out = dict(use_case=case, side="output")
    assert change[series("muster_guardrail_texts_total", action="allow", **out)] == 3
    assert change[series("muster_guardrail_texts_total", action="block", **out)] == 1
    assert change[series("muster_guardrail_violating_texts_total", use_case=case, severity="critical")] == 1
    daemon.api("POST", "/api/v1/guardrails/check", {"outputs": ["a"]})
    other = moved(before, scrape(daemon))
    assert other[series("muster_guardrail_texts_total", use_case="_OTHER", side="output", action="allow")] == 1


def test_calls_to_models_are_measured_by_opentelemetrys_names(daemon, make_upstream):
    case = daemon.name()
    good, bad = make_upstream(), make_upstream()
    bad.default = m.answer_with(500, {"error": {"message": "no"}})
    first = daemon.register(case, bad)
    second = daemon.register(case, good, promote=False)
    daemon.use_case(case, policy="none", fallback=[second])
    before = scrape(daemon)
    assert daemon.chat(case).headers["x-muster-fallback"] == "model"
    with daemon.chat_stream(case) as s:
        s.events()
    change = moved(before, scrape(daemon))

    def labels(model):
        return {"use_case": case, "model": model, "gen_ai_operation_name": "chat", "gen_ai_provider_name": "custom",
                "gen_ai_request_model": "up-" + model.split("@")[0]}

    duration = "gen_ai_client_operation_duration_seconds_count"
    assert change[series(duration, error_type="_OTHER", **labels(first))] == 2
    assert change[series(duration, **labels(second))] == 2
    assert series(duration, **labels(first)) not in change
    assert change[series("gen_ai_client_operation_time_to_first_chunk_seconds_count", **labels(second))] == 1
    for kind in ("input", "output"):
        assert change[series("gen_ai_client_token_usage_count", gen_ai_token_type=kind, **labels(second))] == 2


def test_use_cases_past_the_limit_are_counted_together(start_daemon):
    """127 have series of their own, and the one that comes after them is _OTHER."""
    daemon = start_daemon()
    for i in range(127):
        daemon.use_case("u%03d" % i, fallback_content="so")
    samples = scrape(daemon)[1]
    assert samples[("muster_metrics_folded_use_cases", ())] == 0
    assert series("muster_requests_total", use_case="u126") in samples
    daemon.use_case("one_more", fallback_content="so")
    assert daemon.chat("u126").status == 200 and daemon.chat("one_more").status == 200
    samples = scrape(daemon)[1]
    assert samples[("muster_metrics_folded_use_cases", ())] == 1
    assert samples[series("muster_requests_total", use_case="u126")] == 1
    assert samples[series("muster_requests_total", use_case="_OTHER")] == 1
    assert series("muster_requests_total", use_case="one_more") not in samples


def test_deployments_are_counted_by_how_they_end(daemon, upstream):
    case = daemon.name()
    daemon.register(case, upstream, name=case + "-a")
    before = scrape(daemon)

    def deploy(name, strategy):
        daemon.register(case, upstream, name=name, promote=False)
        return daemon.api("POST", "/api/v1/deployments",
                          {"use_case": case, "model": name + "@1.0", "strategy": strategy, "reason": "test"})

    deploy(case + "-b", "all_at_once")
    canary = deploy(case + "-c", "canary")
    assert scrape(daemon)[1][("muster_deployments_active", ())] == 1
    daemon.api("POST", "/api/v1/deployments/%s/abort" % canary["deployment_id"], {"reason": "test"})
    deploy(case + "-d", "blue_green")
    daemon.api("POST", "/api/v1/rollback", {"use_case": case, "reason": "test"})
    change = {k: v for k, v in moved(before, scrape(daemon)).items() if k[0].startswith("muster_deployments_")}
    started, finished = "muster_deployments_started_total", "muster_deployments_finished_total"
    assert change == {
        series(started, strategy="all_at_once"): 1, series(started, strategy="canary"): 1,
        series(started, strategy="blue_green"): 1, series(finished, strategy="all_at_once", result="succeeded"): 1,
        series(finished, strategy="canary", result="aborted"): 1,
        series(finished, strategy="blue_green", result="rolled_back"): 1}


def test_generation_of_the_snapshot_is_shown_for_each_loop(daemon):
    def generations():
        return {v for (name, labels), v in scrape(daemon)[1].items() if name == "muster_snapshot_generation"}

    (first,) = generations()
    daemon.use_case(daemon.name())
    (second,) = generations()
    assert second > first


def test_a_use_case_keeps_its_series_when_others_come(daemon, upstream):
    first = daemon.name("zz")
    daemon.use_case(first, policy="none")
    daemon.register(first, upstream)
    daemon.chat(first)
    for _ in range(3):
        daemon.use_case(daemon.name("aa"))
    daemon.chat(first)
    samples = scrape(daemon)[1]
    assert samples[("muster_requests_total", (("use_case", first),))] == 2


# --- health ---


def test_health_says_each_part(daemon):
    health = daemon.api("GET", "/health")
    assert set(health) == {"status", "version", "uptime_s", "parts"}
    assert set(health["parts"]) == {"registry", "historical_log", "guardrails", "deployments", "gateway",
                                    "database", "leader", "retention", "alerts"}
    for part in health["parts"].values():
        assert part["state"] == "ok" and control.TIME.match(part["since"]) and part["detail"], part
    assert health["status"] == "ok" and health["uptime_s"] >= 0
    assert daemon.api("GET", "/health/live") == {"status": "live"}
    assert daemon.api("GET", "/health/ready") == {"status": "ready", "reasons": []}
    assert daemon.api("GET", "/version")["version"] == health["version"]


def test_health_has_the_figures_behind_each_part(start_daemon, upstream):
    daemon = start_daemon()
    daemon.register("seen", upstream, name="first")
    none = daemon.api("GET", "/health")["parts"]
    assert none["registry"]["evidence"]["lookup_p99_ms"] is None
    assert none["deployments"]["evidence"]["last_state"] is None
    daemon.chat("seen")
    daemon.get("/api/v1/use-cases/seen/current")
    daemon.register("seen", upstream, name="second", promote=False)
    made = daemon.api("POST", "/api/v1/deployments", {"use_case": "seen", "model": "second@1.0",
                                                      "strategy": "all_at_once", "reason": "test"})
    control.shipped(daemon)
    parts = daemon.api("GET", "/health")["parts"]
    registry, log = parts["registry"]["evidence"], parts["historical_log"]["evidence"]
    assert (registry["use_cases"], registry["with_current_model"], registry["models"], registry["lookups"]) == \
        (1, 1, 2, 1)
    assert 0 < registry["lookup_p99_ms"] <= 1000
    assert (log["written"], log["lost"], log["rejected"], log["last_loss"]) == (1, 0, 0, None)
    assert parts["guardrails"]["evidence"]["texts"] == 2 and parts["guardrails"]["evidence"]["failures"] == 0
    deployments = parts["deployments"]
    assert deployments["state"] == "ok" and "seen, is succeeded" in deployments["detail"]
    assert deployments["evidence"]["succeeded"] == 1 and deployments["evidence"]["last_state"] == "succeeded"
    assert deployments["evidence"]["last_id"] == made["deployment_id"] and deployments["evidence"]["under_way"] == 0


def test_health_knows_the_last_deployment_after_a_restart(tmp_path, upstream):
    first = m.Muster(tmp_path)
    try:
        first.register("seen", upstream, name="model", promote=False)
        made = first.api("POST", "/api/v1/deployments", {"use_case": "seen", "model": "model@1.0",
                                                         "strategy": "all_at_once", "reason": "test"})
    finally:
        first.stop()
    second = m.Muster(tmp_path)
    try:
        evidence = second.api("GET", "/health")["parts"]["deployments"]["evidence"]
        assert evidence["last_id"] == made["deployment_id"] and evidence["last_state"] == "succeeded"
        assert control.TIME.match(evidence["last_finished"]) and evidence["succeeded"] == 0
    finally:
        second.stop()


@pytest.mark.parametrize("ours,names", [("/health/live", ["/livez", "/healthz", "/health/liveness", "/health/liveliness"]),
                                        ("/health/ready", ["/readyz", "/health/readiness"])])
def test_probes_are_answered_under_the_names_that_others_have_for_them(daemon, ours, names):
    for name in names:
        assert daemon.api("GET", name) == daemon.api("GET", ours)
        assert daemon.request("HEAD", name).status == 200


def test_head_and_unknown_methods_of_health(daemon):
    answer = daemon.request("HEAD", "/health/live")
    assert answer.status == 200 and answer.body == b""
    assert daemon.post("/health/live", {}).status in (404, 405)


def test_state_since_moves_only_when_the_state_does(start_daemon):
    daemon = start_daemon()
    first = daemon.api("GET", "/health")["parts"]["registry"]["since"]
    daemon.use_case("more")
    assert daemon.api("GET", "/health")["parts"]["registry"]["since"] == first


def test_guardrails_that_are_off_are_not_well(start_daemon):
    daemon = start_daemon("guardrails:\n  enabled: false\n")
    health = daemon.api("GET", "/health")
    assert health["status"] == "degraded" and "guardrails.enabled" in health["parts"]["guardrails"]["detail"]
    assert daemon.get("/health/ready").status == 200


def test_welcome_says_where_to_look(daemon):
    answer = daemon.get("/")
    assert answer.headers["content-type"].startswith("text/plain")
    for word in ("muster", "/v1/chat/completions", "/api/v1/generate", "/health", "/metrics"):
        assert word in answer.body.decode()


@pytest.mark.parametrize("fmt", ["logfmt", "json"])
def test_every_line_on_stderr_has_time_level_module_and_words(start_daemon, fmt):
    daemon = start_daemon("log:\n  format: %s\n" % fmt)
    daemon.use_case("said")
    daemon.process.send_signal(signal.SIGHUP)
    m.eventually(lambda: "reloaded" in daemon.errors(), "a reload")
    lines = daemon.errors().splitlines()
    assert lines
    for line in lines:
        if fmt == "json":
            entry = json.loads(line)
            assert {"ts", "level", "module", "msg"} <= set(entry)
        else:
            assert re.match(r'^ts=\S+Z level=(debug|info|warn|error) module=\w+ msg="(?:[^"\\]|\\.)*"', line), line
