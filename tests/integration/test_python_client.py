# SPDX-License-Identifier: Apache-2.0
"""The Python client: the runbook's snippets and commands as they are written, and how it takes what goes wrong."""
import asyncio
import contextlib
import http.server
import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import uuid

import pytest

import control
import muster as m

CLIENT = os.path.join(m.ROOT, "clients", "python")
RUNBOOK = os.path.join(m.ROOT, "..", "shared", "runbook-seed.md")
SELF_TEST = "services/model_management/tests/test_model_registry.py"
SCRIPT = "scripts/validate-production-readiness.py"


@pytest.fixture(scope="module")
def lib():
    """The package `muster` of clients/python; our own helpers go by that name, and get it back."""
    names = {k: v for k, v in sys.modules.items() if k == "muster" or k.startswith(("muster.", "services"))}
    for name in names:
        del sys.modules[name]
    sys.path.insert(0, CLIENT)
    try:
        import muster
        import services.ai_integration.llm_client  # noqa: F401
        import services.model_management.deployment_manager  # noqa: F401
        yield muster
    finally:
        sys.path.remove(CLIENT)
        for name in [k for k in sys.modules if k == "muster" or k.startswith(("muster.", "services"))]:
            del sys.modules[name]
        sys.modules.update(names)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("demo"), args=["--demo"])
    yield d
    d.stop()


def client_of(lib, url, **options):
    settings = {k: options.pop(k) for k in ("api_key", "actor", "ca_file", "fallback_endpoints", "fallback_content")
                if k in options}
    options.setdefault("timeout_s", m.LIMIT)
    return lib.Client(lib.Config(url=url, **settings), **options)


def run(test):
    return asyncio.run(asyncio.wait_for(test, 3 * m.LIMIT))


def nobody():
    return "http://127.0.0.1:%d" % m.free_port()


# --- the runbook ---


def snippets():
    with open(RUNBOOK, encoding="utf-8") as f:
        return [textwrap.dedent(s) for s in re.findall(r"```python\n(.*?)```", f.read(), re.S)]


@contextlib.contextmanager
def generate_server(port):
    """A plain POST /generate on a port of 127.0.0.1; raises OSError when the port is taken."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"text": "Here I stand.", "tokens_used": 3}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


async def run_snippet(code, names):
    """The snippet in an async function that takes the names it uses for granted; what it leaves goes into names."""
    source = "async def snippet(%s):\n%s\n    return locals()\n" % (", ".join(names), textwrap.indent(code, "    "))
    scope = {}
    exec(compile(source, RUNBOOK, "exec"), scope)
    names.update(await scope["snippet"](**names))


async def run_runbook(lib, all_snippets):
    names = {"uuid4": uuid.uuid4, "processor": lib.HistoricalLogProcessor(), "monitor": lib.GuardrailsMonitor()}
    for code in all_snippets:
        if "new_model_id" in code:  # a rollback is due: the model of the first snippet has been replaced
            names["old_model_id"] = names["foundation_id"]
            names["new_model_id"] = await names["registry"].register_model(
                "foundation-model-v2", "self_hosted", "sim", "foundation_layer", "2.0", {})
            await names["registry"].update_model_status(names["new_model_id"], "current")
        await run_snippet(code, names)
    for client in (names["registry"].client, names["monitor"].client, names["processor"]):
        await client.close()
    return names


def test_every_python_snippet_of_the_runbook_runs_unchanged(lib, tmp_path, monkeypatch):
    if not os.path.exists(RUNBOOK):
        pytest.skip("the runbook is not at %s" % os.path.abspath(RUNBOOK))
    daemon = m.Muster(tmp_path, args=["--demo"])
    monkeypatch.setenv("MUSTER_URL", daemon.url)
    monkeypatch.chdir(CLIENT)
    code = snippets()
    assert len(code) == 7
    with contextlib.ExitStack() as stack:
        stack.callback(daemon.stop)
        try:
            stack.enter_context(generate_server(8001))
        except OSError:  # taken: the one change is the port
            port = stack.enter_context(generate_server(0))
            code = [c.replace("localhost:8001", "localhost:%d" % port) for c in code]
        names = run(run_runbook(lib, code))
        assert names["result"]["compliant"] is True and names["result"]["checked"] is True
        assert names["current_model"]["model_name"] == "foundation-model-v1"
        assert daemon.log(names["log_id"])["output"] == "OK"
        asked = daemon.logs("foundation_layer", 1, "&text=true")[0]
        assert (asked["prompt"], asked["output"]) == ("Test prompt", "Here I stand.")


def command(daemon_url, *args, **env):
    environ = control.clean_environment(MUSTER_URL=daemon_url, **env)
    return subprocess.run([sys.executable, *args], cwd=CLIENT, env=environ, capture_output=True, text=True, timeout=120)


def test_health_check_of_the_runbook_passes_34_of_34(demo):
    for _ in range(2):  # daily
        got = command(demo.url, "-m", "pytest", SELF_TEST, "-v", "-p", "no:cacheprovider")
        assert got.returncode == 0 and "34 passed" in got.stdout, got.stdout


def test_health_check_without_a_daemon_is_skipped_and_says_so():
    got = command(nobody(), "-m", "pytest", SELF_TEST, "-q", "-rs", "-p", "no:cacheprovider")
    assert "34 skipped" in got.stdout and "no daemon to check: cannot connect" in got.stdout, got.stdout


def test_readiness_script_passes_on_a_demo(demo):
    got = command(demo.url, SCRIPT, "--json", MUSTER_BIN=m.BIN)
    said = json.loads(got.stdout)
    failed = [c for c in said["checks"] if c["state"] == "fail" and not c["name"].startswith("check: ")]
    assert not failed, failed
    assert (got.returncode == 0) is said["ready"]
    states = {c["name"]: c["state"] for c in said["checks"]}
    for name in ("alive", "ready", "current model of foundation_layer", "foundation_layer answers",
                 "log record read back", "planted violation caught", "clean text passes", "lookup latency"):
        assert states[name] == "pass", said
    assert all(c["evidence"] for c in said["checks"])
    table = command(demo.url, SCRIPT, "--no-probe", MUSTER_BIN="/nowhere/muster")
    assert re.search(r"models answer +--no-probe", table.stdout)
    assert re.search(r"\d+ checks: \d+ pass, \d+ warn, \d+ fail, \d+ skipped", table.stdout.splitlines()[-1])


def test_readiness_script_without_a_daemon_passes_nothing_of_it():
    got = command(nobody(), SCRIPT, "--json", POSTGRES_HOST="127.0.0.1")
    assert got.returncode == 1
    states = {c["name"]: c["state"] for c in json.loads(got.stdout)["checks"]}
    assert states["daemon"] == states["database settings"] == "fail"
    assert {states[n] for n in ("health", "registry", "models answer", "historical log", "guardrails", "metrics",
                                "muster check")} == {"skipped"}


def test_readiness_script_fails_when_a_model_does_not_answer(tmp_path, start_daemon):
    daemon = start_daemon()
    daemon.use_case("dead_layer", fallback_content="")
    daemon.register("dead_layer", nobody())
    got = command(daemon.url, SCRIPT, "--json")
    states = {c["name"]: c["state"] for c in json.loads(got.stdout)["checks"]}
    assert got.returncode == 1 and states["dead_layer answers"] == "fail", got.stdout


def test_state_that_the_readiness_script_does_not_know_is_no_pass(lib):
    spec = importlib.util.spec_from_file_location("readiness", os.path.join(CLIENT, SCRIPT))
    script = importlib.util.module_from_spec(spec)
    sys.modules["readiness"] = script  # dataclasses look their module up
    try:
        spec.loader.exec_module(script)
    finally:
        del sys.modules["readiness"]
        sys.path.remove(os.path.join(CLIENT, "scripts", ".."))
    assert script.read_check({"name": "x", "state": "splendid"}).state == "fail"
    assert script.read_check({"name": "x", "state": "skipped", "evidence": "e"}).state == "skipped"


# --- text ---


def test_text_comes_whole_and_streamed(lib, demo):
    async def test():
        llm = lib.LLMClient(lib.ModelRegistry(client_of(lib, demo.url)))
        whole = await llm.generate_text("foundation", "Hello", {"player": 7}, max_tokens=64, temperature=0.5)
        streamed = await llm.generate_text("foundation", "Hello", stream=True)
        pieces = [p async for p in streamed["stream"]]
        await llm.close()
        return whole, streamed, pieces

    whole, streamed, pieces = run(test())
    assert whole["success"] is True and whole["text"] and whole["fallback_used"] is False and whole["error"] is None
    assert streamed["success"] is True and len(pieces) > 1 and "".join(pieces) == streamed["text"]
    assert demo.log(whole["log_id"])["output"] == whole["text"]
    assert demo.log(streamed["log_id"])["output"] == streamed["text"]


def without_daemon(lib, url, stream=False, **options):
    async def test():
        client = client_of(lib, url, fallback_content="Later.")
        processor = lib.HistoricalLogProcessor(client)
        llm = lib.LLMClient(lib.ModelRegistry(client), processor=processor, **options)
        result = await llm.generate_text("foundation", "Hello", {"n": 1}, max_tokens=5, stream=stream)
        pieces = [p async for p in result["stream"]] if stream else None
        await llm.close()
        await processor.close(timeout_s=0.01)
        return result, pieces, processor

    return run(test())


@pytest.mark.parametrize("layer", ["foundation", "foundation_layer"])
def test_hardcoded_endpoint_serves_while_the_daemon_is_away(lib, upstream, layer):
    result, _, processor = without_daemon(lib, nobody(), endpoints={layer: upstream.url + "/generate"})
    assert (result["success"], result["text"]) == (True, "Hi there.")
    assert (result["fallback_used"], result["fallback"], result["guardrail"]) == (True, "endpoint", "skipped")
    assert "cannot connect" in result["error"]
    asked = upstream.last()
    assert asked.path == "/generate" and asked.json() == {"prompt": "Hello", "context": {"n": 1}, "max_tokens": 5}
    assert "authorization" not in asked.headers
    assert result["log_id"] and processor.pending == 1  # the record waits for the daemon


def test_fallback_content_is_said_when_nothing_is_there(lib):
    for stream in (False, True):
        result, pieces, _ = without_daemon(lib, nobody(), stream=stream)
        assert (result["success"], result["text"], result["fallback"]) == (False, "Later.", "content")
        assert result["fallback_used"] is True and pieces in (None, ["Later."])
    result, _, _ = without_daemon(lib, nobody(), endpoints={"foundation": nobody() + "/generate"})
    assert (result["success"], result["text"]) == (False, "Later.") and "hardcoded endpoint" in result["error"]


@pytest.mark.parametrize("status,code,asked", [
    (400, "content_filter", 0), (401, None, 0), (413, None, 0), (404, "model_not_found", 1), (502, None, 1),
    (503, None, 1)])
def test_what_was_refused_does_not_go_to_the_hardcoded_endpoint(lib, make_upstream, status, code, asked):
    error = {"success": False, "error": {"message": "No.", "type": "t", "param": None, "code": code}}
    fake, endpoint = make_upstream(m.answer_with(status, error)), make_upstream()
    result, _, _ = without_daemon(lib, fake.url, endpoints={"foundation": endpoint.url + "/generate"})
    assert len(endpoint.requests) == asked and result["success"] is bool(asked) and "No." in result["error"]
    if code == "content_filter":
        assert (result["guardrail"], result["text"]) == ("block", "Later.")


def test_stream_that_breaks_off_is_no_success(lib, make_upstream):
    def broken(c, r):
        c.begin_stream()
        c.event({"text": "Once "})
        c.event({"text": "upon"})
        c.close()

    fake = make_upstream(broken)
    result, pieces, _ = without_daemon(lib, fake.url, stream=True)
    assert pieces == ["Once ", "upon"] and (result["success"], result["text"]) == (False, "Once upon")
    assert "broke" in result["error"] or "closed" in result["error"]
    fake.default = m.events({"text": "Once"}, {"error": {"message": "It is over.", "code": "x"}})
    result, pieces, _ = without_daemon(lib, fake.url, stream=True)
    assert pieces == ["Once"] and (result["success"], result["error"]) == (False, "It is over.")
    fake.default = m.events({"text": "Once"})
    result, pieces, _ = without_daemon(lib, fake.url, stream=True)
    assert result["success"] is False and "last event" in result["error"]


# --- the log ---


def log_of(lib, url, n=1, **options):
    """Logs n times; what it was answered, and the processor."""

    async def test():
        processor = lib.HistoricalLogProcessor(client_of(lib, url), **options)
        ids = [await processor.log_inference("m", "u", "p%d" % i, {"id": uuid.UUID(int=7)}, "o",
                                             {"latency_ms": 1.5, "bleu": 0.3}) for i in range(n)]
        await processor.close(timeout_s=0.05)
        return ids, processor

    return run(test())


def test_log_records_reach_the_daemon_with_their_metrics(lib, demo):
    ids, processor = log_of(lib, demo.url, 3, ack_timeout_s=m.LIMIT)
    assert processor.counters == lib.Counters(delivered=3) and len(set(ids)) == 3
    record = demo.log(ids[0])
    assert (record["latency_ms"], record["context"]) == (1.5, {"id": str(uuid.UUID(int=7))})
    assert record["parameters"] == {"performance_metrics": {"bleu": 0.3}}


def test_review_counts_what_was_logged(lib, daemon):
    use_case = daemon.name("reviewed")

    async def test():
        async with client_of(lib, daemon.url) as client, lib.HistoricalLogProcessor(client) as log:
            for i in range(3):
                await log.log_inference("m", use_case, "p", {}, "o", {"latency_ms": 40}, status="error" if i else "ok")
            await log.flush()
            return [await log.review(), await log.review("7d", use_case=use_case, until="0s")]

    day, week = run(test())
    assert day["window_s"] == 86400 and day["total"]["now"]["requests"] >= 3
    now = week["total"]["now"]
    assert (now["requests"], now["errors"], now["by_status"]["ok"]) == (3, 2, 1)
    assert now["violation_rate"] is None and abs(now["latency_ms"]["p50"] - 40) < 40 * week["percentile_error"]


def test_log_waits_in_memory_while_the_daemon_is_away_and_no_longer_than_its_limit(lib):
    ids, processor = log_of(lib, nobody(), 5, max_records=4)
    assert [i is None for i in ids] == [False] * 4 + [True]
    assert processor.pending == 4 and processor.counters == lib.Counters(dropped=1)
    ids, processor = log_of(lib, nobody(), 3, max_bytes=500)
    assert [i is None for i in ids] == [False, False, True]


def test_log_is_delivered_in_order_when_the_daemon_is_back(lib, make_upstream):
    taken = m.answer_with(201, {"log_id": "l"})
    fake = make_upstream(taken)
    fake.script = [m.answer_with(503, {"error": {"message": "Full."}}), taken]

    async def test():
        processor = lib.HistoricalLogProcessor(client_of(lib, fake.url), ack_timeout_s=0)
        ids = [await processor.log_inference("m", "u", p, None, "o") for p in "abc"]
        assert await processor.flush(m.LIMIT)
        await processor.close()
        return ids, processor

    ids, processor = run(test())
    assert processor.counters == lib.Counters(delivered=3) and processor.away is False
    assert [r.json()["prompt"] for r in fake.requests] == ["a", "a", "b", "c"]
    assert [r.headers["x-request-id"] for r in fake.requests] == [ids[0], *ids]
    assert all(r.json()["created_at"] for r in fake.requests)


def test_log_record_without_an_acknowledgement_is_not_sent_twice(lib, make_upstream):
    fake = make_upstream(m.close)
    ids, processor = log_of(lib, fake.url, 1, ack_timeout_s=m.LIMIT)
    assert ids[0] and processor.counters == lib.Counters(unconfirmed=1) and len(fake.requests) == 1


def test_log_waits_once_for_a_daemon_that_hangs(lib, make_upstream):
    fake = make_upstream(lambda c, r: c.wait_closed())
    began = time.monotonic()
    ids, processor = log_of(lib, fake.url, 20, ack_timeout_s=0.2)
    assert time.monotonic() - began < 20 * 0.2 / 2
    assert all(ids) and processor.pending == 19 and processor.counters == lib.Counters(unconfirmed=1)


def test_log_record_that_is_refused_is_none(lib, demo):
    async def test():
        processor = lib.HistoricalLogProcessor(client_of(lib, demo.url), ack_timeout_s=m.LIMIT)
        got = [await processor.log_inference("m", "u", "p", {}, "o", status="splendid"),
               await processor.log_inference("m", "u", "p", {"x": float("nan")}, "o")]
        await processor.close()
        return got, processor

    got, processor = run(test())
    assert got == [None, None] and processor.counters == lib.Counters(refused=2)


def test_queue_left_by_one_event_loop_is_delivered_by_the_next(lib, demo):
    processor = lib.HistoricalLogProcessor(client_of(lib, demo.url), ack_timeout_s=0)

    async def take():
        return await processor.log_inference("m", "u", "p", {}, "o")

    assert asyncio.run(take())
    asyncio.run(processor.close(m.LIMIT))
    c = processor.counters
    assert processor.pending == 0 and c.delivered + c.unconfirmed == 1


# --- guardrails ---


def test_guardrails_never_claim_a_check_that_was_not_made(lib, make_upstream):
    urls = [nobody(), make_upstream(m.close).url, make_upstream(m.answer_with(503, {"error": "busy"})).url]
    for url in urls:
        for allow in (False, True):
            async def test():
                async with client_of(lib, url, retries=0) as client:
                    return await lib.GuardrailsMonitor(client, allow_unchecked=allow).monitor_outputs("x", ["Text"])

            verdict = run(test())
            assert verdict["checked"] is False and verdict["compliant"] is allow and verdict["action"] == "skipped"
            assert verdict["outputs"][0]["text"] == ("Text" if allow else None) and verdict["error"]


def test_guardrails_say_what_may_be_used(lib, demo):
    async def test():
        async with client_of(lib, demo.url) as client:
            monitor = lib.GuardrailsMonitor(client)
            with pytest.raises(lib.NotFoundError):
                await monitor.monitor_outputs("x", ["Text"], policy="no_such_policy")
            return await monitor.monitor_outputs(uuid.uuid4(), ["Fine.", "Card 4111 1111 1111 1111"])

    verdict = run(test())
    assert verdict["checked"] is True and verdict["compliant"] is False and verdict["action"] == "mask"
    assert verdict["outputs"][0]["text"] == "Fine." and "4111" not in verdict["outputs"][1]["text"]


# --- deployments ---


def test_rollback_goes_back_to_a_model_and_to_a_snapshot(lib, daemon):
    use_case = daemon.name("roll")

    async def test():
        async with client_of(lib, daemon.url, actor="ops") as client:
            registry, manager = lib.ModelRegistry(client), lib.DeploymentManager(client)
            ids = []
            for version in ("1", "2", "3"):
                ids.append(await registry.register_model("m", "t", "sim", use_case, version, {}))
                await registry.update_model_status(ids[-1], "current")
            before = await manager.rollback(use_case, reason="it lies")
            named = await manager.rollback(use_case, to=ids[0])
            kept = await manager.snapshots(use_case)
            forth = await manager.rollback(use_case, snapshot=kept[-1]["snapshot_id"])
            history = await registry.history(ids[2])
            for bad in ({"to": ids[0], "snapshot": "s"}, {"snapshot": "s"}, {"to": "no-such-model"}):
                with pytest.raises(lib.MusterError):
                    await manager.rollback(use_case, **bad)
            return ids, [before, named, forth], await registry.get_current_model(use_case), history

    ids, answers, current, history = run(test())
    assert [(a["from_id"], a["to_id"]) for a in answers] == [(ids[2], ids[1]), (ids[1], ids[0]), (ids[0], ids[2])]
    assert all(a["recorded"] is True for a in answers)
    assert current["model_id"] == ids[2]
    assert any((e["reason"], e["actor"]) == ("it lies", "ops") for e in history), history


def test_deployment_is_started_paused_and_waited_for(lib, daemon):
    use_case = daemon.name("roll")

    async def test():
        async with client_of(lib, daemon.url) as client:
            registry, manager = lib.ModelRegistry(client), lib.DeploymentManager(client)
            for version in ("1", "2"):
                await registry.register_model("m", "t", "sim", use_case, version, {})
            await registry.update_model_status((await registry.get_model("m@1", use_case))["model_id"], "current")
            d = await manager.start(use_case, "m@2", steps=[10, 100], hold_s=3600, max_wait_s=60, max_pause_s=90,
                                    thresholds={"error_rate": 0.1, "min_samples": 5}, reason="new")
            active = await manager.list(use_case, active=True)
            with pytest.raises(lib.TimedOutError):
                await manager.wait(d["deployment_id"], timeout_s=0)
            paused = await manager.pause(use_case, "look")
            await manager.resume(d["deployment_id"][:18])
            await manager.promote(use_case)
            return d, active, paused, await manager.wait(d["deployment_id"], m.LIMIT)

    d, active, paused, ended = run(test())
    assert (d["plan"]["steps"], d["plan"]["hold"], d["plan"]["max_wait"]) == ([10, 100], 3600000, 60000)
    assert d["plan"]["thresholds"]["min_samples"] == 5
    assert [a["deployment_id"] for a in active] == [d["deployment_id"]]
    assert (paused["state"], ended["state"]) == ("paused", "succeeded")


def test_deployment_calls_are_those_of_the_api(lib, make_upstream):
    fake = make_upstream(m.answer_with(200, {"id": "d", "data": [], "has_more": False, "next": None}))

    async def test():
        async with client_of(lib, fake.url) as client:
            d = lib.DeploymentManager(client)
            await d.start("u", "m@2", "canary", steps=[10, 100], hold_s=300, reason="new")
            for act in (d.status, d.pause, d.resume, d.promote, d.abort):
                await act("id/1")
            await d.list("u")
            await d.rollback("u", snapshot="s", reason="bad")
            with pytest.raises(lib.InvalidError):
                await d.start("u", "m", "yolo")

    run(test())
    assert [(r.method, r.path) for r in fake.requests] == [
        ("POST", "/api/v1/deployments"), ("GET", "/api/v1/deployments/id%2F1"),
        *[("POST", "/api/v1/deployments/id%2F1/" + verb) for verb in ("pause", "resume", "promote", "abort")],
        ("GET", "/api/v1/deployments?use_case=u&limit=50"), ("POST", "/api/v1/rollback")]
    assert fake.requests[0].json() == {"use_case": "u", "model": "m@2", "strategy": "canary", "steps": [10, 100],
                                       "hold": 300000, "reason": "new"}
    assert fake.requests[-1].json() == {"use_case": "u", "snapshot_id": "s", "reason": "bad"}


# --- alerts ---


def test_alerts_are_listed_tried_out_and_silenced(lib, start_daemon, make_upstream):
    receiver = make_upstream(m.answer_with(200, {}))
    daemon = start_daemon("alerts:\n  receivers:\n    ops:\n      url: %s/hook\n" % receiver.url)

    async def test():
        async with client_of(lib, daemon.url, actor="ops") as client:
            alerts = lib.AlertManager(client)
            assert await alerts.list(state="firing", rule="deployment_failed", use_case="u") == []
            with pytest.raises(lib.InvalidError):
                await alerts.list(rule="splendid")
            tried = await alerts.test("ops", reason="drill")
            silence = await alerts.silence(7200, "known", rule="deployment_failed", use_case="u")
            silences = await alerts.silences()
            await alerts.end_silence(silence["silence_id"], reason="over")
            return await alerts.receivers(), tried, silences, await alerts.silences()

    receivers, tried, silences, after = run(test())
    assert [(r["name"], r["format"]) for r in receivers] == [("ops", "json")]
    assert [(t["receiver"], t["delivered"], t["http_status"]) for t in tried] == [("ops", True, 200)]
    assert [(s["rule"], s["use_case"], s["reason"]) for s in silences] == [("deployment_failed", "u", "known")]
    assert after == [] and receiver.requests[0].path == "/hook"


# --- calls ---


def call(lib, url, method="GET", path="/x", body=None, **options):
    async def test():
        async with client_of(lib, url, **options) as client:
            return await client.call(method, path, body)

    return run(test())


def raw(data):
    def run(c, r):
        c.send(data)
        c.close()

    return run


OVER = b"HTTP/1.1 200 OK\r\n"
BAD_ANSWERS = [
    (b"", "BrokenError"),
    (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "BrokenError"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", "BrokenError"),
    (OVER + b"Content-Length: -2\r\n\r\n{}", "BrokenError"),
    (OVER + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", "BrokenError"),
    (OVER + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "BrokenError"),
    (OVER + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "BrokenError"),
    (OVER + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", "BrokenError"),
    (OVER + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", "BrokenError"),
    (OVER + b"Transfer-Encoding: gzip\r\n\r\n{}", "BrokenError"),
    (OVER + b"a b: c\r\n\r\n", "BrokenError"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 8 + OVER + b"Content-Length: 2\r\n\r\n{}", "BrokenError"),
    (OVER + b"x: " + b"y" * 70000 + b"\r\n\r\n", "TooBigError"),
    (OVER + b"Content-Length: 1001\r\n\r\n" + b" " * 1001, "TooBigError"),
    (OVER + b"Content-Length: 2\r\n\r\n[]", "BrokenError"),
    (OVER + b"Content-Length: 2\r\n\r\n\xff\xfe", "BrokenError"),
]


@pytest.mark.parametrize("answer,error", BAD_ANSWERS)
def test_answer_that_is_none_is_an_error(lib, make_upstream, answer, error):
    fake = make_upstream(raw(answer))
    with pytest.raises(getattr(lib, error)):
        call(lib, fake.url, "POST", body={}, max_answer_bytes=1000)
    assert len(fake.requests) == 1  # a POST is not tried again


@pytest.mark.parametrize("answer", [
    OVER + b"Content-Length: 2\r\n\r\n{}",
    OVER + b"Transfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n{}",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 7 + OVER + b"Content-Length: 2\r\n\r\n{}",
    OVER + b"Content-Length: 1000\r\n\r\n{" + b" " * 998 + b"}",
])
def test_answer_is_read_however_it_is_framed(lib, make_upstream, answer):
    assert call(lib, make_upstream(raw(answer)).url, "POST", body={}, max_answer_bytes=1000) == {}


@pytest.mark.parametrize("first", [m.close, m.reset, m.answer_with(503, {"error": {"message": "Busy."}}),
                                   m.answer_with(429, {}, {"Retry-After": "0"})])
def test_what_only_reads_is_tried_again_and_nothing_else_is(lib, make_upstream, first):
    fake = make_upstream(m.answer_with(200, {"ok": True}))
    fake.script = [first, first]
    assert call(lib, fake.url) == {"ok": True} and len(fake.requests) == 3
    fake.script = [first, first, first]
    with pytest.raises(lib.MusterError):
        call(lib, fake.url)
    fake.script, before = [first], len(fake.requests)
    with pytest.raises((lib.BrokenError, lib.UnavailableError)):
        call(lib, fake.url, "PATCH", body={})
    assert len(fake.requests) == before + 1


def test_wait_that_the_daemon_asks_for_is_not_sat_out_when_it_is_long(lib, make_upstream):
    fake = make_upstream(m.answer_with(503, {"error": {"message": "The database is away."}}, {"Retry-After": "30"}))
    with pytest.raises(lib.UnavailableError) as e:
        call(lib, fake.url)
    assert (str(e.value), e.value.status, e.value.retry_after_s) == ("The database is away.", 503, 30)
    assert len(fake.requests) == 1


def test_connections_are_kept_and_bounded(lib, make_upstream):
    fake = make_upstream(m.answer_with(200, {}))

    async def test():
        async with client_of(lib, fake.url, max_connections=3) as client:
            for _ in range(5):
                await client.call("GET", "/x")
            assert fake.n_connections == 1
            await asyncio.gather(*[client.call("GET", "/x") for _ in range(30)])
            return client

    client = run(test())
    assert fake.n_connections <= 3 and len(fake.requests) == 35
    run(client.call("GET", "/x"))  # another event loop: a connection of its own


def test_server_that_says_nothing_is_left_in_time(lib, make_upstream):
    left = []
    fake = make_upstream(lambda c, r: left.append(c.wait_closed()))
    with pytest.raises(lib.TimedOutError, match="0.2 s"):
        call(lib, fake.url, timeout_s=0.2)
    m.eventually(lambda: left == [True], "the connection's end")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://h:99999", "http://u:p@h",
                                 "http://h\r\nx: y"])
def test_url_that_is_none_is_refused(lib, url):
    with pytest.raises(lib.InvalidError):
        client_of(lib, url)


def test_environment_says_where_and_who(lib):
    c = lib.Config.from_environment({
        "MUSTER_URL": "http://h:1/muster", "MUSTER_API_KEY": "secret-1", "MUSTER_ACTOR": "a\nb",
        "MUSTER_FALLBACK_ENDPOINTS": "a_layer=http://x:1/generate, b=https://y/g"})
    assert (c.url, c.api_key, c.actor) == ("http://h:1/muster", "secret-1", "a_b")
    assert c.fallback_endpoints == {"a_layer": "http://x:1/generate", "b": "https://y/g"}
    assert "secret-1" not in repr(c)
    assert lib.Config.from_environment({}).url == "http://127.0.0.1:8080"
    with pytest.raises(lib.InvalidError, match="MUSTER_FALLBACK_ENDPOINTS"):
        lib.Config.from_environment({"MUSTER_FALLBACK_ENDPOINTS": "localhost:8001"})


def test_path_of_the_url_stands_in_front(lib, make_upstream):
    fake = make_upstream(m.answer_with(200, {}))
    call(lib, fake.url + "/behind/a/proxy/", path="/health")
    assert fake.last().path == "/behind/a/proxy/health"
    assert fake.last().headers["host"] == "127.0.0.1:%d" % fake.port


def test_key_is_asked_for_and_shown(lib, start_daemon, tmp_path):
    (tmp_path / "keys").write_text("ann:ann-secret-0123456789abcdef\n")
    daemon = start_daemon("auth:\n  key_file: %s\n" % (tmp_path / "keys"))
    with pytest.raises(lib.UnauthorizedError):
        call(lib, daemon.url, path="/version")
    assert call(lib, daemon.url, path="/version", api_key="ann-secret-0123456789abcdef")["version"]
    got = command(daemon.url, "-m", "pytest", SELF_TEST, "-q", "-p", "no:cacheprovider")
    assert got.returncode == 1 and "34 errors" in got.stdout, got.stdout  # a wrong key is not a daemon that is away
    got = command(daemon.url, SCRIPT, "--json")
    assert {c["name"]: c["state"] for c in json.loads(got.stdout)["checks"]}["key"] == "fail"


def test_https_needs_a_certificate_that_can_be_trusted(lib, tmp_path, start_daemon):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem",
                    "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost",
                    "-addext", "keyUsage=critical,digitalSignature,keyCertSign"],
                   cwd=tmp_path, check=True, capture_output=True)
    daemon = start_daemon("tls:\n  cert_file: %s\n  key_file: %s\n" % (tmp_path / "cert.pem", tmp_path / "key.pem"))
    url = "https://localhost:%d" % daemon.address[1]
    assert call(lib, url, path="/version", ca_file=str(tmp_path / "cert.pem"))["version"]
    with pytest.raises(lib.UnreachableError, match="certificate"):
        call(lib, url, path="/version", retries=0)
    with pytest.raises(lib.InvalidError, match="certificates"):
        client_of(lib, url, ca_file="/nowhere.pem")


def test_lists_are_read_page_by_page_and_end_at_the_limit(lib, make_upstream):
    def page(c, r):
        before = re.search(r"before=(\d+)", r.path)
        first = int(before.group(1)) if before else 3000
        n = int(re.search(r"limit=(\d+)", r.path).group(1))
        ids = list(range(first - 1, max(first - 1 - n, -1), -1))
        c.reply(200, {"data": [{"id": i} for i in ids], "has_more": ids[-1] > 0, "next": str(ids[-1])})

    fake = make_upstream(page)

    async def test():
        async with client_of(lib, fake.url) as client:
            return [[i["id"] for i in await client.list("/x", None, limit)] for limit in (10, 1500, 5000)]

    few, some, all_of_them = run(test())
    assert few == list(range(2999, 2989, -1)) and some == list(range(2999, 1499, -1))
    assert all_of_them == list(range(2999, -1, -1)) and len(fake.requests) == 1 + 2 + 3
