# SPDX-License-Identifier: Apache-2.0
"""Alerts: each condition provoked for real, and what receivers get, once, until it is over; whatever they answer."""
import hashlib
import hmac
import json
import os
import time

import pytest

import control
import deploying
import keyring
import muster as m
import postgres

SECRET_PATH = "/services/T0SECRET/B0SECRET/x9y8z7"
CRITICAL = {"id": "poison", "category": "c", "kind": "literal", "action": "flag", "severity": "critical",
            "values": ["arsenic"]}
RULES = """
  resolve_after: 0
  logging_failures: {min_count: 1, window: 2s}
  critical_violation: {window: 1s}
  performance_degraded: {for: 0, window: 2s, baseline: 40s, min_count: 10, latency_floor: 50ms}
"""


def config(receivers, rules=RULES, **more):
    """receivers: name -> lines of its map."""
    text = "alerts:\n  receivers:\n" + "".join("    %s: {%s}\n" % r for r in receivers.items()) + rules
    return text + "".join("  %s: %s\n" % (k, v) for k, v in more.items())


def hook(upstream, path="/hook", **more):
    members = {"url": '"%s%s"' % (upstream.url, path)}
    members.update(more)
    return ", ".join("%s: %s" % (k, v) for k, v in members.items())


@pytest.fixture
def receiver(make_upstream):
    return make_upstream(m.answer_with(200, b"ok"))


def told(receiver, rule=None, status=None):
    """The alerts of our own format that came, in order."""
    got = [r.json() for r in list(receiver.requests)]
    return [a for a in got if rule in (None, a["alert"]["rule"]) and status in (None, a["status"])]


def wait_told(receiver, rule, status, n=1):
    return m.eventually(lambda: (lambda got: got if len(got) >= n else None)(told(receiver, rule, status)),
                        "%d x %s %s" % (n, rule, status), 2 * m.LIMIT)


def listed(daemon, query=""):
    return daemon.api("GET", "/api/v1/alerts" + query)["data"]


def wait_listed(daemon, query, probe=lambda a: True):
    return m.eventually(lambda: next((a for a in listed(daemon, query) if probe(a)), None), "an alert " + query)


def poisoned(daemon, upstream, name):
    """A use case whose callers can hit a critical rule."""
    daemon.policy("poisons", CRITICAL)
    daemon.use_case(name, policy="poisons")
    daemon.register(name, upstream)
    return name


# --- what is sent ---


def normal(document):
    """Times, ids and ports are another each time."""
    text = json.dumps(document)
    for pattern, word in ((r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z', "TIME"), (r'[0-9a-f]{8}-[0-9a-f-]{27}', "ID"),
                          (r'"[0-9a-f]{32}"', '"PRINT"'), (r'"ts": \d+', '"ts": 0')):
        text = m.re.sub(pattern, word, text)
    return json.loads(text)


def test_the_three_documents_are_as_they_are_promised(start_daemon, upstream, make_upstream, tmp_path):
    receivers = [make_upstream(m.answer_with(200, b"ok")) for _ in range(3)]
    ours, slack, manager = receivers
    (tmp_path / "url").write_text(slack.url + SECRET_PATH + "\n")
    (tmp_path / "auth").write_text("Bearer am-secret-0123456789\n")
    (tmp_path / "key").write_text("signing-secret-0123456789\n")
    daemon = start_daemon(config({
        "ours": hook(ours, signing_key_file=tmp_path / "key"),
        "slack": "url_file: %s, format: slack" % (tmp_path / "url"),
        "am": hook(manager, "", format="alertmanager", authorization_file=tmp_path / "auth")},
        RULES.replace("window: 1s}", "window: 4s}"), instance="test:1"))
    case = poisoned(daemon, upstream, "fed")
    for _ in range(2):
        assert daemon.generate(case, "arsenic & <lace>").status == 200
    fired = wait_told(ours, "critical_violation", "firing")[0]
    resolved = wait_told(ours, "critical_violation", "resolved")[0]
    for r in (slack, manager):
        m.eventually(lambda r=r: any(b"RESOLVED" in q.body or r is manager for q in r.requests) and len(r.requests) >= 2,
                     "the end at %s" % r.url, 2 * m.LIMIT)
    summary = "Critical guardrail violation in fed: rule poison was hit %s"
    assert normal(fired) == {
        "status": "firing", "repeated": False, "receiver": "ours", "sent_at": "TIME", "alert": {
            "alert_id": "ID", "rule": "critical_violation", "severity": "critical", "use_case": "fed",
            "instance": "test:1", "fingerprint": "PRINT", "summary": fired["alert"]["summary"],
            "details": fired["alert"]["details"], "since": "TIME", "fired_at": "TIME", "resolved_at": None}}
    assert fired["alert"]["summary"] in (summary % "1 time", summary % "2 times")
    assert resolved["alert"]["summary"] == summary % "2 times" and resolved["alert"]["resolved_at"] > fired["sent_at"][:10]
    assert resolved["alert"]["details"] == {"rule": "poison", "hits": 2}
    assert resolved["alert"]["alert_id"] == fired["alert"]["alert_id"]
    for request in ours.requests:
        want = hmac.new(b"signing-secret-0123456789", request.body, hashlib.sha256).hexdigest()
        assert request.headers["x-muster-signature"] == "sha256=" + want
        assert request.headers["content-type"] == "application/json" and request.method == "POST"
    first = slack.requests[0]
    assert first.path == SECRET_PATH
    assert normal(first.json()) == {
        "text": "*FIRING* " + fired["alert"]["summary"], "attachments": [{
            "color": "danger", "fallback": fired["alert"]["summary"], "ts": 0, "fields": [
                {"title": "Rule", "value": "critical_violation", "short": True},
                {"title": "Severity", "value": "critical", "short": True},
                {"title": "Use case", "value": "fed", "short": True},
                {"title": "Instance", "value": "test:1", "short": True}]}]}
    assert slack.last().json()["attachments"][0]["color"] == "good"
    first = manager.requests[0]
    assert (first.path, first.headers["authorization"]) == ("/api/v2/alerts", "Bearer am-secret-0123456789")
    alert = first.json()[0]
    assert len(first.json()) == 1 and alert["endsAt"] > alert["startsAt"]
    assert alert["labels"] == {"alertname": "critical_violation", "severity": "critical", "service": "muster",
                               "instance": "test:1", "use_case": "fed", "key": "poison"}
    assert alert["annotations"]["summary"] == fired["alert"]["summary"]
    assert json.loads(alert["annotations"]["details"])["rule"] == "poison"
    assert manager.last().json()[0]["labels"] == alert["labels"]


def test_secrets_of_receivers_are_told_to_nobody(start_daemon, make_upstream, tmp_path):
    echo = make_upstream(lambda c, r: c.reply(500, "no " + r.path))
    (tmp_path / "auth").write_text("Bearer am-secret-0123456789\n")
    receivers = {"echo": hook(echo, SECRET_PATH, authorization_file=tmp_path / "auth")}
    daemon = start_daemon(config(receivers), "--log.level", "debug", ENV_URL="x")
    got = daemon.api("POST", "/api/v1/alerts/test")["data"][0]
    assert (got["delivered"], got["http_status"], got["error"]) == (False, 500, "answered 500"), got
    said = daemon.errors() + json.dumps(got)
    for path in ("/api/v1/alerts", "/api/v1/alerts/receivers", "/health", "/metrics", "/api/v1/events"):
        said += daemon.get(path).body.decode()
    said += control.run("serve", "--dump-config", "--config", os.path.join(daemon.directory, "muster.yaml")).out
    for secret in ("SECRET", "x9y8z7", "am-secret"):
        assert secret not in said, secret


# --- answers of receivers ---


def test_what_fails_is_tried_again_as_the_receiver_asks(start_daemon, upstream, receiver):
    times = []

    def fail(status, **headers):
        def run(c, r):
            times.append(time.monotonic())
            c.reply(status, b"later", headers)
        return run

    receiver.script = [fail(500), fail(429, **{"Retry-After": "3"})]
    daemon = start_daemon(config({"ops": hook(receiver)}, RULES.replace("window: 1s}", "window: 30s}")))
    daemon.generate(poisoned(daemon, upstream, "fed"), "arsenic")
    receiver.wait_requests(3)
    end = time.monotonic()
    assert end - times[1] >= 2.9, "Retry-After was not kept"
    row = wait_listed(daemon, "?state=firing", lambda a: a["delivery"]["state"] == "delivered")
    assert row["delivery"]["error"] is None and row["delivery"]["last_at"], row
    assert len({r.json()["alert"]["alert_id"] for r in receiver.requests}) == 1
    assert control.metric(daemon, "muster_alert_deliveries_total", receiver="ops", result="delivered") == 1
    assert control.metric(daemon, "muster_alert_deliveries_total", receiver="ops", result="failed") == 2


def test_a_receiver_that_hangs_or_is_down_keeps_no_other_from_being_told(start_daemon, upstream, receiver, make_upstream):
    hangs = make_upstream(m.silent)
    daemon = start_daemon(config({
        "hangs": hook(hangs), "down": "url: 'http://127.0.0.1:%d/x'" % m.free_port(), "ops": hook(receiver),
        "refuses": hook(make_upstream(m.answer_with(404, b"no such hook")))},
        RULES.replace("window: 1s}", "window: 30s}"), timeout="60s", give_up="0"))
    daemon.generate(poisoned(daemon, upstream, "fed"), "arsenic")
    wait_told(receiver, "critical_violation", "firing")
    hangs.wait_requests(1)
    row = wait_listed(daemon, "", lambda a: a["delivery"]["state"] == "failed")
    assert row["delivery"]["error"].split(":")[0] in ("down", "refuses"), row
    health = m.eventually(lambda: (lambda p: p if p["state"] == "degraded" else None)(
        daemon.get("/health").json()["parts"]["alerts"]), "degraded health")
    assert "does not take alerts" in health["detail"]
    assert m.eventually(lambda: control.metric(daemon, "muster_alert_deliveries_total", receiver="down",
                                               result="gave_up"), "giving up") >= 1
    states = {r["name"]: r for r in daemon.api("GET", "/api/v1/alerts/receivers")["data"]}
    assert states["ops"]["state"] == "ok" and states["refuses"]["state"] == "failing"
    assert states["refuses"]["error"] == "answered 404: no such hook"
    out = control.works(daemon, "alert", "list")
    assert "failed" in out and "not delivered to" in out
    took, _ = control.stop(daemon)
    assert took < 30, "a receiver that hangs was waited for"


def test_a_test_says_what_each_receiver_said(start_daemon, receiver, make_upstream):
    bad = make_upstream(m.answer_with(403, b"invalid_token"))
    daemon = start_daemon(config({"good": hook(receiver), "bad": hook(bad, format="slack")}))
    got = daemon.api("POST", "/api/v1/alerts/test")
    assert got["recorded"] is True
    by_name = {r["receiver"]: r for r in got["data"]}
    assert by_name["good"]["delivered"] and by_name["good"]["http_status"] == 200 and by_name["good"]["took_ms"] > 0
    assert by_name["bad"]["error"] == "answered 403: invalid_token" and by_name["bad"]["format"] == "slack"
    assert told(receiver)[0]["status"] == "test" and told(receiver)[0]["alert"]["rule"] == "muster_test"
    assert listed(daemon) == [], "a test is no alert"
    assert control.cli(daemon, "alert", "test", "good").rc == 0
    failed = control.cli(daemon, "alert", "test")
    assert failed.rc == 1 and "invalid_token" in failed.out and "delivered" in failed.out, failed
    assert "receiver" in control.cli(daemon, "alert", "test", "nobody").err
    assert len(receiver.requests) == 3


# --- the conditions ---


def test_a_critical_violation_is_told_once_for_all_hits_again_while_it_lasts_and_when_it_is_over(
        start_daemon, upstream, receiver):
    daemon = start_daemon(config({"ops": hook(receiver)}, RULES.replace("window: 1s}", "window: 4s}"), repeat="2s"))
    case = poisoned(daemon, upstream, "fed")
    for _ in range(5):
        daemon.generate(case, "arsenic")
    wait_told(receiver, "critical_violation", "resolved")
    got = told(receiver)
    assert [a["status"] for a in got] == ["firing"] * (len(got) - 1) + ["resolved"]
    assert [a["repeated"] for a in got] == [False] + [True] * (len(got) - 2) + [False]
    assert 2 <= len(got) <= 8, [a["sent_at"] for a in got]
    assert got[-1]["alert"]["details"]["hits"] == 5
    row = wait_listed(daemon, "?state=resolved&rule=critical_violation&use_case=fed")
    assert row["alert_id"] == got[0]["alert"]["alert_id"] and row["resolved_at"]


def test_a_deployment_that_failed_is_told_and_over_when_a_later_one_has_ended(start_daemon, make_upstream, receiver):
    daemon = start_daemon(config({"ops": hook(receiver)}))
    world = deploying.World(daemon, make_upstream(), make_upstream())
    world.started(hold="1h", steps=[50, 100])
    daemon.api("POST", "/api/v1/rollback", {"use_case": "roll", "reason": "answers in verse"})
    fired = wait_told(receiver, "deployment_failed", "firing")[0]["alert"]
    assert fired["summary"] == "The deployment of roll was rolled back by anonymous: answers in verse"
    assert fired["severity"] == "critical" and fired["use_case"] == "roll"
    d = world.started("all_at_once", hold="1h")
    assert world.tell(d, "promote", reason="fine").status == 200
    wait_told(receiver, "deployment_failed", "resolved")
    d = daemon.api("POST", "/api/v1/deployments", {"use_case": "roll", "model": "old@1.0", "strategy": "canary",
                                                   "hold": "1h", "reason": "r"})
    assert world.tell(d, "abort", reason="a person's decision").status == 200
    world.wait(d, "aborted")
    assert control.metric(daemon, "muster_alerts_firing", rule="deployment_failed") == 0
    assert len(told(receiver, "deployment_failed", "firing")) == 1


def test_a_use_case_that_gets_worse_is_told(start_daemon, make_upstream, receiver):
    upstream = make_upstream()
    daemon = start_daemon(config({"ops": hook(receiver)}))
    daemon.use_case("story", policy="none", fallback_content="")
    daemon.register("story", upstream)
    m.eventually(lambda: control.metric(daemon, "muster_requests_total", use_case="story") is not None, "the series")
    until = time.monotonic() + 6

    def ask():
        return daemon.chat("story").status

    while time.monotonic() < until:  # its past; it has to be older than the window
        assert ask() == 200
    upstream.default = m.answer_with(500, b"{}")

    def probe():
        ask()
        return told(receiver, "performance_degraded", "firing")

    fired = m.eventually(probe, "the alert", 2 * m.LIMIT)[0]["alert"]
    assert fired["use_case"] == "story" and fired["severity"] == "warning"
    assert m.re.match(r"^story is degraded: error rate \d+\.\d %, was 0\.0 %$", fired["summary"]), fired
    wait_told(receiver, "performance_degraded", "resolved")


def test_a_budget_that_is_nearly_spent_is_told_and_again_when_it_covers_no_more(start_daemon, make_upstream, receiver):
    daemon = start_daemon(config({"ops": hook(receiver)}))
    used = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    upstream = make_upstream(m.answer_with(200, dict(m.completion("Hi."), usage=used)))
    daemon.use_case("spender", policy="none", fallback_content="", budget="5/total")
    daemon.register("spender", upstream, price={"input": 1000, "output": 1000})  # a thousandth a token

    def ask():
        return daemon.chat("spender", max_tokens=100).status

    assert [ask() for _ in range(3)] == [200] * 3 and not told(receiver)
    assert ask() == 200
    fired = wait_told(receiver, "budget_nearly_spent", "firing")[0]["alert"]
    assert fired["summary"].startswith("The budget of use case spender is nearly spent: 4.4 of 5 USD (88 %) in total; it is not")
    assert (fired["use_case"], fired["severity"], fired["details"]["spent"]) == ("spender", "warning", 4.4)
    assert not told(receiver, "budget_spent")
    assert ask() == 429
    fired = wait_told(receiver, "budget_spent", "firing")[0]["alert"]
    assert "covers no more what is asked of it: 4.4 of 5 USD" in fired["summary"] and fired["severity"] == "critical"
    assert wait_listed(daemon, "?state=firing&rule=budget_spent&use_case=spender")["instance"] is None
    daemon.use_case("spender", policy="none", fallback_content="", budget="50/total")
    wait_told(receiver, "budget_spent", "resolved")
    wait_told(receiver, "budget_nearly_spent", "resolved")
    assert ask() == 200 and len(told(receiver, "budget_spent")) == 2


def test_log_records_that_are_lost_are_told(start_daemon, receiver):
    daemon = start_daemon("spool: {max_bytes: 32MiB}\n" + config({"ops": hook(receiver)}), "--loops", "1")
    record = {"model_id": "m", "use_case": "fill", "prompt": "x" * 4000000, "context": {}, "output": "y"}
    with control.held(daemon):
        m.eventually(lambda: daemon.post("/api/v1/logs", record).status == 503 and
                     told(receiver, "logging_failures", "firing"), "the alert", 3 * m.LIMIT)
        fired = told(receiver, "logging_failures", "firing")[0]["alert"]
        assert fired["details"]["failed"] >= 1 and fired["details"]["percent"] > 5, fired
        assert "of the log records of the last 2s were lost or refused" in fired["summary"]
    wait_told(receiver, "logging_failures", "resolved")


@pytest.fixture(scope="module")
def cluster():
    c = postgres.Cluster()
    yield c
    c.close()


def test_a_database_that_is_away_is_told_from_memory_and_recorded_when_it_is_back(cluster, start_daemon, receiver):
    database = cluster.database()
    daemon = start_daemon(config({"ops": hook(receiver)}, RULES + "  registry_unavailable: {for: 1s}\n"),
                          MUSTER_DATABASE_URL=database.url())
    m.eventually(lambda: daemon.get("/health").json()["parts"]["leader"]["detail"].startswith("this"), "a leader")
    cluster.do("stop")
    try:
        fired = wait_told(receiver, "registry_unavailable", "firing")[0]["alert"]
        assert fired["summary"].startswith("The model registry is unavailable: the database has not answered for ")
        assert fired["details"]["away_s"] >= 1 and fired["use_case"] is None
        row = wait_listed(daemon, "?state=firing")
        assert row["alert_id"] == fired["alert_id"] and row["delivery"]["state"] == "delivered"
        assert listed(daemon, "?state=resolved") == []
        assert "registry_unavailable" in control.works(daemon, "alert", "list")
        got = daemon.api("POST", "/api/v1/alerts/test")
        assert got["data"][0]["delivered"] and got["recorded"] is False
        control.error(daemon.request("POST", "/api/v1/alerts/silences", {
            "rule": "registry_unavailable", "for": "1h", "reason": "r"}), 503)
    finally:
        cluster.do("start")
    wait_told(receiver, "registry_unavailable", "resolved")
    m.eventually(lambda: database.sql("select state, delivery from alerts where rule = 'registry_unavailable'") ==
                 [["resolved", "delivered"]], "the record", 2 * m.LIMIT)


def test_of_several_daemons_one_tells_of_a_deployment_and_a_new_leader_does_not_tell_again(
        cluster, tmp_path, make_upstream, receiver):
    database = cluster.database()
    daemons = []
    try:
        for i in range(2):
            daemons.append(m.Muster(tmp_path / ("d%d" % i), config({"ops": hook(receiver)}), [],
                                    {"MUSTER_DATABASE_URL": database.url()}))
        world = deploying.World(daemons[0], make_upstream(), make_upstream())
        world.started(hold="1h")
        m.eventually(lambda: daemons[1].post("/api/v1/rollback", {"use_case": "roll", "reason": "bad"}).status == 200,
                     "the rollback, once the other daemon knows of the deployment")
        alert = wait_told(receiver, "deployment_failed", "firing")[0]["alert"]

        def leads(d):
            return control.metric(d, "muster_leader", lease="rollout") == 1

        leader = daemons[0] if leads(daemons[0]) else daemons[1]
        other = daemons[1] if leader is daemons[0] else daemons[0]
        wait_listed(other, "?state=firing", lambda a: a["delivery"]["state"] == "delivered" and a["instance"] is None)
        leader.stop()
        daemons.remove(leader)
        m.eventually(lambda: control.metric(other, "muster_alerts_firing", rule="deployment_failed") == 1,
                     "the alert at the new leader", 2 * m.LIMIT)
        other.generate("roll")
        assert [a["alert"]["alert_id"] for a in told(receiver, "deployment_failed")] == [alert["alert_id"]]
        assert len(database.sql("select id from alerts where rule = 'deployment_failed'")) == 1
    finally:
        for d in daemons:
            d.stop()


# --- silences, reload, restart ---


def test_what_is_silenced_fires_and_is_not_delivered_until_the_silence_ends(start_daemon, upstream, receiver):
    daemon = start_daemon(config({"ops": hook(receiver)}, RULES.replace("window: 1s}", "window: 60s}")))
    hushed, loud = poisoned(daemon, upstream, "hushed"), poisoned(daemon, upstream, "loud")
    made = control.works(daemon, "alert", "silence", "add", "--use-case", hushed, "--rule", "critical_violation", "--for",
                         "2h", "--why", "known")
    assert "silenced until" in made and "muster alert silence remove" in made
    daemon.generate(hushed, "arsenic")
    row = wait_listed(daemon, "?use_case=" + hushed, lambda a: a["delivery"]["state"] == "silenced")
    assert row["state"] == "firing" and row["silenced"] is True
    assert control.metric(daemon, "muster_alerts_silenced") == 1
    daemon.generate(loud, "arsenic")
    wait_told(receiver, "critical_violation", "firing")
    assert [a["alert"]["use_case"] for a in told(receiver)] == [loud]
    assert "known" in control.works(daemon, "alert", "silence", "list")
    assert "silenced" in control.works(daemon, "alert", "list")
    silence = daemon.api("GET", "/api/v1/alerts/silences")["data"][0]
    control.works(daemon, "alert", "silence", "remove", silence["silence_id"], "--why", "fixed")
    m.eventually(lambda: hushed in [a["alert"]["use_case"] for a in told(receiver)], "the alert after the silence")
    kinds = [e["kind"] for e in daemon.api("GET", "/api/v1/events?subject=" + silence["silence_id"])["data"]]
    assert kinds == ["alert.unsilenced", "alert.silenced"]
    assert "nothing is silenced" in control.cli(daemon, "alert", "silence", "list").err


@pytest.mark.parametrize("body,param", [
    ({"for": "1h", "reason": "r"}, "rule"), ({"rule": "none_such", "for": "1h", "reason": "r"}, "rule"),
    ({"use_case": "Not A Name", "for": "1h", "reason": "r"}, "use_case"), ({"use_case": "u", "reason": "r"}, "for"),
    ({"use_case": "u", "for": "soon", "reason": "r"}, "for"), ({"use_case": "u", "for": "91d", "reason": "r"}, "for"),
    ({"use_case": "u", "for": "0s", "reason": "r"}, "for"), ({"use_case": "u", "for": "1h"}, "reason")])
def test_a_silence_that_says_too_little_is_refused(daemon, body, param):
    answer = daemon.post("/api/v1/alerts/silences", body)
    control.error(answer, 400)
    assert answer.json()["error"]["param"] == param


def test_receivers_come_and_go_with_a_reload_and_are_told_what_fires(start_daemon, upstream, make_upstream, receiver):
    late = make_upstream(m.answer_with(200, b"ok"))
    rules = RULES.replace("window: 1s}", "window: 60s}")
    daemon = start_daemon(config({"ops": hook(receiver)}, rules))
    daemon.generate(poisoned(daemon, upstream, "fed"), "arsenic")
    wait_told(receiver, "critical_violation", "firing")
    control.write_config(daemon, config({"ops": hook(receiver), "late": hook(late, min_severity="critical"),
                                         "quiet": hook(late, "/quiet", min_severity="critical", format="slack")}, rules))
    taken, said = control.reload(daemon)
    assert taken, said
    late.wait_requests(2)
    assert {r.path for r in late.requests} == {"/hook", "/quiet"}
    assert len(receiver.requests) == 1, "it was told already"
    for bad in ("url_file: /no/such/file", "url: 'ftp://secret-host/x'", "url: 'http://a/', url_env: X", "url_env: NO_SUCH"):
        control.write_config(daemon, config({"ops": bad}, rules))
        taken, said = control.reload(daemon)
        assert not taken and "alerts.receivers.ops" in said and "secret-host" not in said, said
    assert [r["name"] for r in daemon.api("GET", "/api/v1/alerts/receivers")["data"]] == ["ops", "late", "quiet"]


def test_a_restart_goes_on_with_what_fired_and_tells_its_end(tmp_path, make_upstream, receiver):
    text = config({"ops": hook(receiver)}, RULES.replace("resolve_after: 0", "resolve_after: 2s"), instance="one")
    upstream = make_upstream()
    first = m.Muster(tmp_path / "d", text.replace("window: 1s}", "window: 60s}"))
    first.generate(poisoned(first, upstream, "fed"), "arsenic")
    fired = wait_told(receiver, "critical_violation", "firing")[0]["alert"]
    wait_listed(first, "?state=firing", lambda a: a["delivery"]["state"] == "delivered")
    first.stop()
    second = m.Muster(tmp_path / "d", text)
    try:
        got = wait_told(receiver, "critical_violation", "resolved")[0]["alert"]
        assert got["alert_id"] == fired["alert_id"] and got["summary"] == fired["summary"]
        assert len(told(receiver, status="firing")) == 1
        wait_listed(second, "?state=resolved")
    finally:
        second.stop()


# --- access, checks ---


def test_alerts_are_an_operators_matter(tmp_path, receiver):
    daemon = keyring.Keyed(tmp_path / "k", config({"ops": hook(receiver)}))
    try:
        operator, client = daemon.make("operator", "op"), daemon.make("client", "cl")
        assert daemon.as_(operator, "POST", "/api/v1/alerts/test", {}).status == 200
        assert daemon.as_(client, "POST", "/api/v1/alerts/test", {}).status == 403
        assert daemon.as_(client, "GET", "/api/v1/alerts").status == 403
        assert daemon.as_(None, "GET", "/api/v1/alerts").status == 401
        event = daemon.api("GET", "/api/v1/events?kind=alert.tested")["data"][0]
        assert (event["actor"], event["subject"]) == ("op", "all")
    finally:
        daemon.stop()


def test_check_delivers_for_real(start_daemon, receiver, make_upstream):
    def states(daemon, *args):
        got = control.cli(daemon, "check", "--json", "--url", daemon.url, "--config",
                          os.path.join(daemon.directory, "muster.yaml"), "--data", os.path.join(daemon.directory, "data"),
                          *args)
        return {c["name"]: c for c in json.loads(got.out)["checks"] if c["name"].startswith("alerts ")}

    daemon = start_daemon(config({"ops": hook(receiver)}))
    got = states(daemon)
    assert (got["alerts configured"]["state"], got["alerts delivered"]["state"]) == ("pass", "pass"), got
    assert "ops (json)" in got["alerts delivered"]["evidence"] and len(receiver.requests) == 1
    assert states(daemon, "--no-probe")["alerts delivered"]["state"] == "skipped"
    receiver.default = m.answer_with(500, b"broken")
    got = states(daemon)["alerts delivered"]
    assert got["state"] == "fail" and "answered 500: broken" in got["evidence"] and "muster alert test" in got["advice"]
