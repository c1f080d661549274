# SPDX-License-Identifier: Apache-2.0
"""Whether a running daemon keeps its promises: the health check of the runbook, 34 tests.

    python -m pytest services/model_management/tests/test_model_registry.py -v

MUSTER_URL and MUSTER_API_KEY say which daemon.  All of it happens in one use case, selftest_HOST_layer, and every model
that a test registers there is archived at its end; nothing else is touched.  One run at a time per host.
"""
import asyncio
import contextlib
import functools
import re
import socket
import time
from uuid import uuid4

import pytest

from muster import (Client, ConflictError, GuardrailsMonitor, HistoricalLogProcessor, LLMClient, NotFoundError,
                    RefusedError, UnreachableError)
from services.model_management.model_registry import ModelRegistry

LOOKUP_LIMIT_S = 0.1  # of the runbook's monitoring list
SHIPPED_WITHIN_S = 20.0


@pytest.fixture(scope="module", autouse=True)
def a_daemon():
    async def live():
        async with Client(connect_timeout_s=2, timeout_s=5, retries=0) as client:
            await client.call("GET", "/version")

    try:
        asyncio.run(live())
    except UnreachableError as e:
        pytest.skip("no daemon to check: %s (MUSTER_URL says where it is)" % e)


class Case:
    """What a test works with: the registry, the use case, and a name that no model has yet."""

    def __init__(self, registry):
        self.registry = registry
        self.layer = "selftest_" + re.sub("[^a-z0-9-]", "-", socket.gethostname().lower())[:40]
        self.use_case = self.layer + "_layer"
        self.name = "selftest-" + uuid4().hex[:12]

    async def register(self, version="1.0", name=None, configuration=None, **more):
        return await self.registry.register_model(name or self.name, "self_hosted", "sim", self.use_case, version,
                                                  configuration or {}, **more)

    async def clear(self):
        for model in await self.registry.list(self.use_case):
            await self.registry.update_model_status(model["model_id"], "archived", "the self test is over")


def on_a_use_case(test):
    """Runs test(case) against the daemon, on a use case that has no model but archived ones."""

    @functools.wraps(test)
    def run():
        async def main():
            async with Client() as client:
                case = Case(ModelRegistry(client))
                await case.clear()
                try:
                    await test(case)
                finally:
                    await case.clear()

        asyncio.run(main())

    del run.__wrapped__  # else pytest takes its argument for a fixture
    return run


@contextlib.contextmanager
def refused(kind, *words):
    with pytest.raises(kind) as e:
        yield
    for word in words:
        assert word in str(e.value)


# --- registering ---


@on_a_use_case
async def test_registering_gives_an_id(case):
    assert len(await case.register()) == 36


@on_a_use_case
async def test_new_model_is_a_candidate(case):
    model = await case.registry.get_model(await case.register())
    assert model["status"] == "candidate"


@on_a_use_case
async def test_what_was_registered_is_kept(case):
    model = await case.registry.get_model(await case.register(version="2.0-rc.1"))
    assert (model["model_name"], model["version"], model["use_case"]) == (case.name, "2.0-rc.1", case.use_case)
    assert (model["model_type"], model["provider"]) == ("self_hosted", "sim")


@on_a_use_case
async def test_configuration_is_kept_as_it_is(case):
    given = {"endpoint": "http://localhost:8001/generate", "note": {"größe": [1, 2.5, None, True]}}
    assert (await case.registry.get_model(await case.register(configuration=given)))["configuration"] == given


@on_a_use_case
async def test_performance_metrics_are_kept(case):
    model_id = await case.register(performance_metrics={"accuracy": 0.91})
    assert (await case.registry.get_model(model_id))["performance_metrics"] == {"accuracy": 0.91}


@on_a_use_case
async def test_same_version_is_refused_and_the_first_is_named(case):
    first = await case.register()
    with refused(ConflictError, first):
        await case.register()


@on_a_use_case
async def test_another_version_is_another_model(case):
    assert await case.register() != await case.register(version="1.1")


@on_a_use_case
async def test_unusable_name_is_refused(case):
    with refused(RefusedError, "model_name"):
        await case.register(name="two words")


@on_a_use_case
async def test_unknown_provider_is_refused(case):
    with refused(RefusedError, "nobody"):
        await case.registry.register_model(case.name, "self_hosted", "nobody", case.use_case, "1.0", {})


@on_a_use_case
async def test_secret_in_a_configuration_is_refused(case):
    with refused(RefusedError, "api_key"):
        await case.register(configuration={"api_key": "not-a-real-one"})


# --- finding ---


@on_a_use_case
async def test_model_is_found_by_name_and_version(case):
    model_id = await case.register()
    assert (await case.registry.get_model(case.name + "@1.0", case.use_case))["model_id"] == model_id


@on_a_use_case
async def test_name_of_two_versions_is_ambiguous(case):
    await case.register()
    await case.register(version="1.1")
    with refused(ConflictError, "1.0", "1.1"):
        await case.registry.get_model(case.name, case.use_case)


@on_a_use_case
async def test_unknown_model_is_none(case):
    assert await case.registry.get_model(str(uuid4())) is None


@on_a_use_case
async def test_list_begins_with_the_current_model(case):
    await case.register()
    current = await case.register(version="1.1")
    await case.register(version="1.2")
    await case.registry.update_model_status(current, "current")
    assert [m["model_id"] for m in await case.registry.list(case.use_case)][0] == current


@on_a_use_case
async def test_list_by_status(case):
    await case.register()
    testing = await case.register(version="1.1")
    await case.registry.update_model_status(testing, "testing")
    assert [m["model_id"] for m in await case.registry.list(case.use_case, status="testing")] == [testing]


@on_a_use_case
async def test_list_leaves_archived_models_out_unless_asked(case):
    model_id = await case.register()
    await case.registry.update_model_status(model_id, "archived")
    assert await case.registry.list(case.use_case) == []
    archived = await case.registry.list(case.use_case, name=case.name, include_archived=True)
    assert [m["model_id"] for m in archived] == [model_id]


@on_a_use_case
async def test_list_ends_at_its_limit(case):
    for version in "123":
        await case.register(version=version)
    assert len(await case.registry.list(case.use_case, limit=2)) == 2


# --- status ---


@on_a_use_case
async def test_status_goes_through_the_life_of_a_model(case):
    model_id = await case.register()
    for status in ("testing", "current", "deprecated", "archived"):
        assert (await case.registry.update_model_status(model_id, status))["status"] == status


@on_a_use_case
async def test_unknown_status_is_refused(case):
    with refused(RefusedError, "retired"):
        await case.registry.update_model_status(await case.register(), "retired")


@on_a_use_case
async def test_status_of_an_unknown_model_is_refused(case):
    with refused(NotFoundError):
        await case.registry.update_model_status(str(uuid4()), "testing")


@on_a_use_case
async def test_new_current_model_deprecates_the_one_before(case):
    old, new = await case.register(), await case.register(version="2.0")
    await case.registry.update_model_status(old, "current")
    await case.registry.update_model_status(new, "current")
    assert (await case.registry.get_model(old))["status"] == "deprecated"


@on_a_use_case
async def test_only_one_model_is_current(case):
    for version in "123":
        await case.registry.update_model_status(await case.register(version=version), "current")
    assert [m["version"] for m in await case.registry.list(case.use_case, status="current")] == ["3"]


@on_a_use_case
async def test_rollback_brings_the_old_model_back(case):
    old, new = await case.register(), await case.register(version="2.0")
    await case.registry.update_model_status(old, "current")
    await case.registry.update_model_status(new, "current")
    await case.registry.update_model_status(new, "archived")
    await case.registry.update_model_status(old, "current")
    assert (await case.registry.get_current_model(case.use_case))["model_id"] == old


@on_a_use_case
async def test_configuration_can_be_replaced(case):
    model_id = await case.register(configuration={"note": "a"})
    assert (await case.registry.update_configuration(model_id, {"note": "b"}))["configuration"] == {"note": "b"}


# --- what is current ---


@on_a_use_case
async def test_unknown_use_case_has_no_current_model(case):
    assert await case.registry.get_current_model(case.name) is None


@on_a_use_case
async def test_candidate_is_not_current(case):
    await case.register()
    assert await case.registry.get_current_model(case.use_case) is None


@on_a_use_case
async def test_archived_model_is_not_current_any_more(case):
    model_id = await case.register()
    await case.registry.update_model_status(model_id, "current")
    await case.registry.update_model_status(model_id, "archived")
    assert await case.registry.get_current_model(case.use_case) is None


@on_a_use_case
async def test_what_was_current_then_can_be_asked(case):
    old, new = await case.register(), await case.register(version="2.0")
    since = (await case.registry.update_model_status(old, "current"))["status_since"]
    await case.registry.update_model_status(new, "current")
    assert (await case.registry.get_current_model_at(case.use_case, since))["model"]["model_id"] == old


@on_a_use_case
async def test_lookup_is_quick(case):
    await case.registry.update_model_status(await case.register(), "current")
    took = []
    for _ in range(100):
        began = time.monotonic()
        await case.registry.get_current_model(case.use_case)
        took.append(time.monotonic() - began)
    assert sorted(took)[98] < LOOKUP_LIMIT_S


# --- history, log, guardrails, text ---


@on_a_use_case
async def test_history_says_why_and_what_changed(case):
    model_id = await case.register()
    await case.registry.update_model_status(model_id, "testing", reason="passed the smoke test")
    event = (await case.registry.history(model_id))[0]
    assert event["reason"] == "passed the smoke test" and event["actor"]
    assert (event["before"]["status"], event["after"]["status"]) == ("candidate", "testing")


@on_a_use_case
async def test_log_record_is_written_and_read_back(case):
    processor = HistoricalLogProcessor(case.registry.client, ack_timeout_s=10)
    log_id = await processor.log_inference(uuid4(), case.use_case, "Health check", {"n": 1}, "OK", {"latency_ms": 12.5})
    until = time.monotonic() + SHIPPED_WITHIN_S
    record = None
    while record is None:
        try:
            record = await case.registry.client.call("GET", "/api/v1/logs/" + log_id)
        except NotFoundError:
            assert time.monotonic() < until, "not in the database after %g s" % SHIPPED_WITHIN_S
            await asyncio.sleep(0.02)  # between two looks at a daemon that others use too
    assert (record["prompt"], record["output"], record["latency_ms"]) == ("Health check", "OK", 12.5)
    assert processor.counters.delivered == 1


@on_a_use_case
async def test_clean_text_passes_the_guardrails(case):
    monitor = GuardrailsMonitor(case.registry.client)
    result = await monitor.monitor_outputs("test", ["Safe test content"], policy="default")
    assert result["checked"] is True and result["compliant"] is True and result["violations"] == []


@on_a_use_case
async def test_planted_violation_is_caught(case):
    monitor = GuardrailsMonitor(case.registry.client)
    planted = "My card is 4111 1111 1111 1111."
    result = await monitor.monitor_outputs("test", ["Hello.", planted], policy="default")
    assert result["checked"] is True and result["compliant"] is False
    assert {v["index"] for v in result["violations"]} == {1}


@on_a_use_case
async def test_use_case_answers_with_its_current_model(case):
    model_id = await case.register(configuration={"sim": {"text": "At your service.", "latency_ms": 0}})
    await case.registry.update_model_status(model_id, "current")
    result = await LLMClient(case.registry).generate_text(layer=case.layer, prompt="Hello", context={})
    assert result["success"] is True and result["fallback_used"] is False
    assert (result["text"], result["model_id"]) == ("At your service.", model_id)
