#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether a running Muster is ready for production: checks of its environment and, through its API, of itself.

    python scripts/validate-production-readiness.py [--json] [--no-probe]

Every check is pass, warn, fail or skipped, with evidence and, unless it passed, what to do.  What was not done is
skipped, never passed.  Exit status 0: nothing failed; 1: something did.  Where `muster` (MUSTER_BIN, else on PATH) has
the verb `check`, its checks are shown too.

What it leaves behind: a log record of use case health_check, and, without --no-probe, one of each use case it asks.
"""
import argparse
import asyncio
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, AsyncIterator, Callable, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from muster import (Client, Config, GuardrailsMonitor, HistoricalLogProcessor, ModelRegistry,  # noqa: E402
                    MusterError, NotFoundError, UnauthorizedError, UnsupportedError)
from muster.client import segment  # noqa: E402

POSTGRES = ("POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD")
EXAMPLE_PASSWORD = "your_password"
LOOKUPS, LOOKUP_LIMIT_MS = 50, 100.0  # the limits are those of the runbook's monitoring list
LOG_SUCCESS_LIMIT = 0.95
MAX_PROBES = 64
SHIPPED_WITHIN_S = 20.0
MAX_SKEW_S = 5.0
CHECK_LIMIT_S = 300
STATES = ("pass", "warn", "fail", "skipped")


@dataclass
class Check:
    name: str
    state: str
    evidence: str
    advice: Optional[str] = None


Checks = AsyncIterator[Check]


class Subject:
    """What is checked: the client, and what earlier checks found out."""

    def __init__(self, client: Client, probe: bool) -> None:
        self.client, self.probe = client, probe
        self.health: Dict[str, Any] = {}
        self.use_cases: List[Dict[str, Any]] = []  # without those whose models are all archived


# --- the environment ---


async def environment(subject: Subject) -> Checks:
    url = urlsplit(subject.client.config.url)
    loopback = url.hostname in ("127.0.0.1", "::1", "localhost")
    if url.scheme == "https" or loopback:
        yield Check("transport", "pass", "%s, %s" % (subject.client.config.url, "loopback" if loopback else "TLS"))
    else:
        yield Check("transport", "warn", "%s goes over a network in the clear" % subject.client.config.url,
                    "give the daemon tls.cert_file and tls.key_file, and say MUSTER_URL=https://...")
    endpoints = subject.client.config.fallback_endpoints
    if endpoints:
        yield Check("hardcoded endpoints", "pass", ", ".join("%s=%s" % e for e in sorted(endpoints.items())))
    else:
        yield Check("hardcoded endpoints", "warn", "none here: without the daemon applications get fallback content",
                    "MUSTER_FALLBACK_ENDPOINTS=foundation_layer=http://HOST:PORT/generate,...")
    async for check in database_environment():
        yield check


async def database_environment() -> Checks:
    missing = [name for name in POSTGRES if not os.environ.get(name)]
    if len(missing) == len(POSTGRES):
        yield Check("database settings", "skipped", "no POSTGRES_* variable is set here; see the check 'database'")
        return
    if missing:
        yield Check("database settings", "fail", "not set: " + ", ".join(missing), "set all of POSTGRES_*, or none")
        return
    if os.environ["POSTGRES_PASSWORD"] == EXAMPLE_PASSWORD:
        yield Check("database settings", "warn", "POSTGRES_PASSWORD is the example of the runbook",
                    "set the password of %s" % os.environ["POSTGRES_USER"])
    else:
        yield Check("database settings", "pass", "all of POSTGRES_* are set")
    host, port = os.environ["POSTGRES_HOST"], os.environ["POSTGRES_PORT"]
    began = time.monotonic()
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 5)
        writer.close()
        yield Check("database port", "pass", "%s:%s takes connections, %s" % (host, port, ms_since(began)))
    except (OSError, ValueError, asyncio.TimeoutError) as e:
        yield Check("database port", "fail", "%s:%s: %s" % (host, port, e or "no connection within 5 s"),
                    "start PostgreSQL, or correct POSTGRES_HOST and POSTGRES_PORT")


# --- the daemon ---


async def daemon(subject: Subject) -> Checks:
    answer = await subject.client.request("GET", "/health/live")
    yield Check("alive", "pass", "%s answers" % subject.client.config.url)
    date = answer.headers.get("date")
    skew_s = abs((datetime.now(timezone.utc) - parsedate_to_datetime(date)).total_seconds()) if date else None
    if skew_s is None:
        yield Check("clock", "skipped", "its answer has no date")
    else:
        yield Check("clock", "pass" if skew_s <= MAX_SKEW_S else "fail", "%.0f s between its clock and ours" % skew_s,
                    None if skew_s <= MAX_SKEW_S else "synchronise both hosts (chrony, systemd-timesyncd)")
    try:
        version = await subject.client.call("GET", "/version")
    except UnauthorizedError as e:
        yield Check("key", "fail", str(e), "set MUSTER_API_KEY to a key of the daemon")
        return
    yield Check("version", "pass", "muster %s, schema level %s" % (version["version"], version["schema_level"]))
    if subject.client.config.api_key:
        yield Check("key", "pass", "it takes the key in MUSTER_API_KEY")
    else:
        yield Check("key", "warn", "it answers without a key", "auth.key_file in muster.yaml, MUSTER_API_KEY here")


async def health(subject: Subject) -> Checks:
    try:
        await subject.client.call("GET", "/health/ready", retries=0)
        yield Check("ready", "pass", "it takes traffic")
    except MusterError as e:
        yield Check("ready", "fail", str(e), "see: muster health")
    try:
        subject.health = (await subject.client.call("GET", "/health", retries=0))["parts"]
    except MusterError as e:
        yield Check("health", "fail", str(e), "see: muster health")
        return
    for name, part in subject.health.items():
        state = {"ok": "pass", "degraded": "warn"}.get(part["state"], "fail")
        yield Check(name.replace("_", " "), state, "%s since %s: %s" % (part["state"], part["since"], part["detail"]),
                    None if state == "pass" else "see: muster health")
    store = str(subject.health.get("database", {}).get("detail", ""))
    if store.startswith("sqlite:"):
        yield Check("store for replicas", "warn", "SQLite serves one daemon", "set POSTGRES_* where the daemon starts")
    elif store:
        yield Check("store for replicas", "pass", store)
    else:
        yield Check("store for replicas", "skipped", "its health does not name the store")


async def registry(subject: Subject) -> Checks:
    models = ModelRegistry(subject.client)
    everywhere = await models.use_cases()
    alive = {m["use_case"] for m in await models.list(limit=10000)}
    subject.use_cases = [u for u in everywhere if u["use_case"] in alive or u["fallback_endpoint"]]
    if len(subject.use_cases) < len(everywhere):
        yield Check("retired use cases", "skipped", "%d have no model but archived ones"
                    % (len(everywhere) - len(subject.use_cases)))
    if not subject.use_cases:
        yield Check("use cases", "fail", "there are none", "muster model register --help")
        return
    for u in subject.use_cases:
        name, current = "current model of %s" % u["use_case"], u["current"]
        if current:
            yield Check(name, "pass", "%s@%s since %s" % (current["model_name"], current["version"],
                                                          current["status_since"]))
        else:
            yield Check(name, "warn" if u["fallback_endpoint"] else "fail",
                        "none; fallback %s" % (u["fallback_endpoint"] or "none"),
                        "muster model promote NAME@VERSION --use-case %s --why ..." % u["use_case"])
    took = []
    for _ in range(LOOKUPS):
        began = time.monotonic()
        await models.get_current_model(str(subject.use_cases[0]["use_case"]))
        took.append(1000 * (time.monotonic() - began))
    p99 = sorted(took)[math.ceil(0.99 * LOOKUPS) - 1]
    yield Check("lookup latency", "pass" if p99 < LOOKUP_LIMIT_MS else "fail",
                "p99 %.2f ms over %d lookups, limit %g ms" % (p99, LOOKUPS, LOOKUP_LIMIT_MS),
                None if p99 < LOOKUP_LIMIT_MS else "look at the load of the daemon's host, and the way to it")


async def probes(subject: Subject) -> Checks:
    if not subject.probe:
        yield Check("models answer", "skipped", "--no-probe")
        return
    with_model = [u for u in subject.use_cases if u["current"]]
    for u in with_model[:MAX_PROBES]:
        name = "%s answers" % u["use_case"]
        body = {"use_case": u["use_case"], "prompt": "Test prompt", "max_tokens": 16}
        began = time.monotonic()
        try:
            answer = await subject.client.call("POST", "/api/v1/generate", body, retries=0)
        except MusterError as e:
            yield Check(name, "fail", str(e), "muster generate %s 'Test prompt'" % u["use_case"])
            continue
        if answer["fallback_used"]:
            yield Check(name, "fail", "its current model did not answer, a fallback did; log record %s"
                        % answer["log_id"], "muster log show %s" % answer["log_id"])
        else:
            yield Check(name, "pass", "%s, %s" % (answer["model_name"], ms_since(began)))
    if not with_model:
        yield Check("models answer", "skipped", "no use case has a current model")
    if len(with_model) > MAX_PROBES:
        yield Check("other models answer", "skipped", "%d use cases past the first %d were not asked"
                    % (len(with_model) - MAX_PROBES, MAX_PROBES))


async def historical_log(subject: Subject) -> Checks:
    processor = HistoricalLogProcessor(subject.client, ack_timeout_s=10)
    began = time.monotonic()
    log_id = await processor.log_inference("health_check", "health_check", "Health check", {}, "OK")
    if processor.counters.delivered != 1 or log_id is None:
        yield Check("log record written", "fail", "the daemon did not take it: %s" % processor.counters,
                    "muster health; is the disk of spool.directory full?")
        yield Check("log record read back", "skipped", "it was not written")
        return
    yield Check("log record written", "pass", "%s, %s" % (log_id, ms_since(began)))
    while True:
        try:
            await subject.client.call("GET", "/api/v1/logs/" + segment(log_id))
            yield Check("log record read back", "pass", "from the database after %s" % ms_since(began))
            return
        except NotFoundError:
            if time.monotonic() - began > SHIPPED_WITHIN_S:
                yield Check("log record read back", "fail", "not in the database after %g s" % SHIPPED_WITHIN_S,
                            "muster health: is the database there?")
                return
        await asyncio.sleep(0.05)


async def guardrails(subject: Subject) -> Checks:
    monitor = GuardrailsMonitor(subject.client)
    for name, text, compliant in (("clean text passes", "Safe test content", True),
                                  ("planted violation caught", "My card is 4111 1111 1111 1111.", False)):
        verdict = await monitor.monitor_outputs("test", [text])
        found = "policy %s: %s" % (verdict["policy"], verdict["action"])
        if not verdict["checked"]:
            yield Check(name, "fail", verdict["error"], "muster health")
        elif verdict["compliant"] is compliant:
            yield Check(name, "pass", found)
        else:
            yield Check(name, "fail", found, "muster guardrail policy show %s" % verdict["policy"])
    for u in subject.use_cases:
        if u["settings"].get("policy") == "none":
            yield Check("guardrails of %s" % u["use_case"], "warn", "its policy is none",
                        "muster use-case set %s --policy default" % u["use_case"])


async def metrics(subject: Subject) -> Checks:
    text = (await subject.client.request("GET", "/metrics")).body.decode("utf-8", "replace")
    yield Check("metrics", "pass", "%d samples" % sum(1 for l in text.splitlines() if l and l[0] != "#"))
    kept, lost = metric(text, "muster_log_records_total"), metric(text, "muster_log_records_lost_total")
    if kept is None or lost is None or not kept + lost:
        yield Check("logging success rate", "skipped", "no record has been written since the start")
        return
    rate = kept / (kept + lost)
    yield Check("logging success rate", "pass" if not lost else "warn" if rate > LOG_SUCCESS_LIMIT else "fail",
                "%.2f %%: %d of %d lost" % (100 * rate, lost, kept + lost),
                "free space for spool.directory" if lost else None)


async def not_everywhere(subject: Subject) -> Checks:
    for name, path in (("deployments", "/api/v1/deployments"), ("alerts", "/api/v1/alerts")):
        try:
            page = await subject.client.call("GET", path)
            yield Check(name, "pass", "%s answers, %d listed" % (path, len(page.get("data", ()))))
        except UnsupportedError:
            yield Check(name, "skipped", "this daemon has no %s" % path)


# --- the binary's own checks ---


def find_muster() -> Optional[str]:
    return os.environ.get("MUSTER_BIN") or shutil.which("muster")


async def binary(subject: Subject) -> Checks:
    path = find_muster()
    if not path:
        yield Check("muster check", "skipped", "no muster on PATH, and no MUSTER_BIN")
        return
    try:
        run = subprocess.run([path, "check", "--json"], capture_output=True, timeout=CHECK_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as e:
        yield Check("muster check", "fail", str(e), "run it by hand: muster check")
        return
    if run.returncode == 2 and b"unknown command" in run.stderr:
        yield Check("muster check", "skipped", "%s has no such verb" % path)
        return
    try:
        found = [read_check(c) for c in json.loads(run.stdout)["checks"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Check("muster check", "fail", "exit status %d, and no table of checks" % run.returncode,
                    "run it by hand: muster check --json")
        return
    for check in found:
        yield check
    if run.returncode and not any(c.state == "fail" for c in found):
        yield Check("muster check", "fail", "exit status %d" % run.returncode, "run it by hand: muster check")


def read_check(said: Dict[str, str]) -> Check:
    """One of its checks; a state that is not known is none that passed."""
    state = said["state"] if said["state"] in STATES else "fail"
    return Check("check: " + said["name"], state, said.get("evidence") or "", said.get("advice") or said.get("do"))


# --- the table ---

GROUPS = (("health", health), ("registry", registry), ("models answer", probes), ("historical log", historical_log),
          ("guardrails", guardrails), ("metrics", metrics), ("deployments and alerts", not_everywhere))


async def run_group(name: str, group: Callable[[Subject], Checks], subject: Subject, found: List[Check]) -> None:
    try:
        async for check in group(subject):
            found.append(check)
    except MusterError as e:
        found.append(Check(name, "fail", str(e), "see: muster health"))


async def run(probe: bool) -> List[Check]:
    found: List[Check] = []
    try:
        client = Client(Config.from_environment(), timeout_s=60)
    except MusterError as e:
        return [Check("environment", "fail", str(e), "correct the variable")]
    async with client:
        subject = Subject(client, probe)
        await run_group("environment", environment, subject, found)
        before = len(found)
        await run_group("daemon", daemon, subject, found)
        away = any(c.state == "fail" and c.name in ("daemon", "key") for c in found[before:])
        for name, group in GROUPS:
            if away:
                found.append(Check(name, "skipped", "the daemon could not be asked"))
            else:
                await run_group(name, group, subject, found)
        if away:
            found.append(Check("muster check", "skipped", "the daemon could not be asked"))
        else:
            await run_group("muster check", binary, subject, found)
    return found


def ms_since(began: float) -> str:
    return "%.1f ms" % (1000 * (time.monotonic() - began))


def metric(text: str, name: str) -> Optional[float]:
    """The sum of a metric over its labels; None when there is none."""
    values = re.findall(r"^%s(?:\{[^}]*\})? (\S+)$" % re.escape(name), text, re.M)
    return sum(map(float, values)) if values else None


def summary(found: List[Check]) -> Tuple[str, bool]:
    count = {state: sum(1 for c in found if c.state == state) for state in STATES}
    ready = not count["fail"]
    return ("%d checks: %d pass, %d warn, %d fail, %d skipped     %s"
            % (len(found), count["pass"], count["warn"], count["fail"], count["skipped"],
               "ready" if ready else "not ready"), ready)


def print_table(found: List[Check]) -> None:
    width = max(len(c.name) for c in found)
    for c in found:
        print("  %-7s  %-*s  %s" % ("FAIL" if c.state == "fail" else c.state, width, c.name, c.evidence))
        if c.advice:
            print("  %-7s  %-*s  -> %s" % ("", width, "", c.advice))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     epilog="Where the daemon is: MUSTER_URL, MUSTER_API_KEY.")
    parser.add_argument("--json", action="store_true", help="print an object for programs")
    parser.add_argument("--no-probe", action="store_true", help="ask no model")
    args = parser.parse_args()
    found = asyncio.run(run(not args.no_probe))
    line, ready = summary(found)
    if args.json:
        print(json.dumps({"ready": ready, "summary": line, "checks": [asdict(c) for c in found]}, indent=2))
    else:
        print_table(found)
        print(line)
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
