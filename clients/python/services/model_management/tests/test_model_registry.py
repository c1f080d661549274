# SPDX-License-Identifier: Apache-2.0
"""Whether a running daemon keeps its promises: the health check of the runbook, 34 tests.

    python -m pytest services/model_management/tests/test_model_registry.py -v

MUSTER_URL and MUSTER_API_KEY say which daemon.  Each test has a use case of its own and archives what it registers
there; nothing else is touched.
"""
import asyncio
import contextlib
import functools
import time
from uuid import uuid4

import pytest

from muster import (Client, ConflictError, GuardrailsMonitor, HistoricalLogProcessor, LLMClient, MusterError,
                    NotFoundError, RefusedError)
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
    except MusterError as e:
        pytest.skip("no daemon to check: %s (MUSTER_URL says where it is)" % e)


def on_a_use_case(test):
    """Runs test(registry, use_case) with a use case that nothing knows yet."""

    @functools.wraps(test)
    def run():
        async def main():
            use_case = "selftest_" + uuid4().hex[:12]
            async with Client() as client:
                registry = ModelRegistry(client)
                try:
                    await test(registry, use_case)
                finally:
                    for model in await registry.list(use_case):
                        await registry.update_model_status(model["model_id"], "archived", "the self test is over")

        asyncio.run(main())

    del run.__wrapped__  # else pytest takes registry and use_case for fixtures
    return run


async def register(registry, use_case, name="selftest", version="1.0", configuration=None, **more):
    return await registry.register_model(name, "self_hosted", "sim", use_case, version, configuration or {}, **more)


@contextlib.contextmanager
def refused(kind, *words):
    with pytest.raises(kind) as e:
        yield
    for word in words:
        assert word in str(e.value)


# --- registering ---


@on_a_use_case
async def test_registering_gives_an_id(registry, use_case):
    assert len(await register(registry, use_case)) == 36


@on_a_use_case
async def test_new_model_is_a_candidate(registry, use_case):
    model = await registry.get_model(await register(registry, use_case))
    assert model["status"] == "candidate"


@on_a_use_case
async def test_what_was_registered_is_kept(registry, use_case):
    model = await registry.get_model(await register(registry, use_case, version="2.0-rc.1"))
    assert (model["model_name"], model["version"], model["use_case"]) == ("selftest", "2.0-rc.1", use_case)
    assert (model["model_type"], model["provider"]) == ("self_hosted", "sim")


@on_a_use_case
async def test_configuration_is_kept_as_it_is(registry, use_case):
    given = {"endpoint": "http://localhost:8001/generate", "note": {"größe": [1, 2.5, None, True]}}
    assert (await registry.get_model(await register(registry, use_case, configuration=given)))["configuration"] == given


@on_a_use_case
async def test_performance_metrics_are_kept(registry, use_case):
    model_id = await register(registry, use_case, performance_metrics={"accuracy": 0.91})
    assert (await registry.get_model(model_id))["performance_metrics"] == {"accuracy": 0.91}


@on_a_use_case
async def test_same_version_is_refused_and_the_first_is_named(registry, use_case):
    first = await register(registry, use_case)
    with refused(ConflictError, first):
        await register(registry, use_case)


@on_a_use_case
async def test_another_version_is_another_model(registry, use_case):
    assert await register(registry, use_case) != await register(registry, use_case, version="1.1")


@on_a_use_case
async def test_unusable_name_is_refused(registry, use_case):
    with refused(RefusedError, "model_name"):
        await register(registry, use_case, name="two words")


@on_a_use_case
async def test_unknown_provider_is_refused(registry, use_case):
    with refused(RefusedError, "nobody"):
        await registry.register_model("selftest", "self_hosted", "nobody", use_case, "1.0", {})


@on_a_use_case
async def test_secret_in_a_configuration_is_refused(registry, use_case):
    with refused(RefusedError, "api_key"):
        await register(registry, use_case, configuration={"api_key": "not-a-real-one"})


# --- finding ---


@on_a_use_case
async def test_model_is_found_by_name_and_version(registry, use_case):
    model_id = await register(registry, use_case)
    assert (await registry.get_model("selftest@1.0", use_case))["model_id"] == model_id


@on_a_use_case
async def test_name_of_two_versions_is_ambiguous(registry, use_case):
    await register(registry, use_case)
    await register(registry, use_case, version="1.1")
    with refused(ConflictError, "1.0", "1.1"):
        await registry.get_model("selftest", use_case)


@on_a_use_case
async def test_unknown_model_is_none(registry, use_case):
    assert await registry.get_model(str(uuid4())) is None


@on_a_use_case
async def test_list_begins_with_the_current_model(registry, use_case):
    await register(registry, use_case)
    current = await register(registry, use_case, version="1.1")
    await register(registry, use_case, version="1.2")
    await registry.update_model_status(current, "current")
    assert [m["model_id"] for m in await registry.list(use_case)][0] == current


@on_a_use_case
async def test_list_by_status(registry, use_case):
    await register(registry, use_case)
    testing = await register(registry, use_case, version="1.1")
    await registry.update_model_status(testing, "testing")
    assert [m["model_id"] for m in await registry.list(use_case, status="testing")] == [testing]


@on_a_use_case
async def test_list_leaves_archived_models_out_unless_asked(registry, use_case):
    model_id = await register(registry, use_case)
    await registry.update_model_status(model_id, "archived")
    assert await registry.list(use_case) == []
    assert [m["model_id"] for m in await registry.list(use_case, include_archived=True)] == [model_id]


@on_a_use_case
async def test_list_ends_at_its_limit(registry, use_case):
    for version in "123":
        await register(registry, use_case, version=version)
    assert len(await registry.list(use_case, limit=2)) == 2


# --- status ---


@on_a_use_case
async def test_status_goes_through_the_life_of_a_model(registry, use_case):
    model_id = await register(registry, use_case)
    for status in ("testing", "current", "deprecated", "archived"):
        assert (await registry.update_model_status(model_id, status))["status"] == status


@on_a_use_case
async def test_unknown_status_is_refused(registry, use_case):
    with refused(RefusedError, "retired"):
        await registry.update_model_status(await register(registry, use_case), "retired")


@on_a_use_case
async def test_status_of_an_unknown_model_is_refused(registry, use_case):
    with refused(NotFoundError):
        await registry.update_model_status(str(uuid4()), "testing")


@on_a_use_case
async def test_new_current_model_deprecates_the_one_before(registry, use_case):
    old, new = await register(registry, use_case), await register(registry, use_case, version="2.0")
    await registry.update_model_status(old, "current")
    await registry.update_model_status(new, "current")
    assert (await registry.get_model(old))["status"] == "deprecated"


@on_a_use_case
async def test_only_one_model_is_current(registry, use_case):
    for version in "123":
        await registry.update_model_status(await register(registry, use_case, version=version), "current")
    assert [m["version"] for m in await registry.list(use_case, status="current")] == ["3"]


@on_a_use_case
async def test_rollback_brings_the_old_model_back(registry, use_case):
    old, new = await register(registry, use_case), await register(registry, use_case, version="2.0")
    await registry.update_model_status(old, "current")
    await registry.update_model_status(new, "current")
    await registry.update_model_status(new, "archived")
    await registry.update_model_status(old, "current")
    assert (await registry.get_current_model(use_case))["model_id"] == old


@on_a_use_case
async def test_configuration_can_be_replaced(registry, use_case):
    model_id = await register(registry, use_case, configuration={"note": "a"})
    assert (await registry.update_configuration(model_id, {"note": "b"}))["configuration"] == {"note": "b"}


# --- what is current ---


@on_a_use_case
async def test_unknown_use_case_has_no_current_model(registry, use_case):
    assert await registry.get_current_model(use_case) is None


@on_a_use_case
async def test_candidate_is_not_current(registry, use_case):
    await register(registry, use_case)
    assert await registry.get_current_model(use_case) is None


@on_a_use_case
async def test_archived_model_is_not_current_any_more(registry, use_case):
    model_id = await register(registry, use_case)
    await registry.update_model_status(model_id, "current")
    await registry.update_model_status(model_id, "archived")
    assert await registry.get_current_model(use_case) is None


@on_a_use_case
async def test_what_was_current_then_can_be_asked(registry, use_case):
    old, new = await register(registry, use_case), await register(registry, use_case, version="2.0")
    since = (await registry.update_model_status(old, "current"))["status_since"]
    await registry.update_model_status(new, "current")
    assert (await registry.get_current_model_at(use_case, since))["model"]["model_id"] == old


@on_a_use_case
async def test_lookup_is_quick(registry, use_case):
    await registry.update_model_status(await register(registry, use_case), "current")
    took = []
    for _ in range(100):
        began = time.monotonic()
        await registry.get_current_model(use_case)
        took.append(time.monotonic() - began)
    assert sorted(took)[98] < LOOKUP_LIMIT_S


# --- history, log, guardrails, text ---


@on_a_use_case
async def test_history_says_why_and_what_changed(registry, use_case):
    model_id = await register(registry, use_case)
    await registry.update_model_status(model_id, "testing", reason="passed the smoke test")
    event = (await registry.history(model_id))[0]
    assert event["reason"] == "passed the smoke test" and event["actor"]
    assert (event["before"]["status"], event["after"]["status"]) == ("candidate", "testing")


@on_a_use_case
async def test_log_record_is_written_and_read_back(registry, use_case):
    processor = HistoricalLogProcessor(registry.client, ack_timeout_s=10)
    log_id = await processor.log_inference(uuid4(), use_case, "Health check", {"n": 1}, "OK", {"latency_ms": 12.5})
    until = time.monotonic() + SHIPPED_WITHIN_S
    record = None
    while record is None:
        try:
            record = await registry.client.call("GET", "/api/v1/logs/" + log_id)
        except NotFoundError:
            assert time.monotonic() < until, "not in the database after %g s" % SHIPPED_WITHIN_S
            await asyncio.sleep(0.02)  # between two looks at a daemon that others use too
    assert (record["prompt"], record["output"], record["latency_ms"]) == ("Health check", "OK", 12.5)
    assert processor.counters.delivered == 1


@on_a_use_case
async def test_clean_text_passes_the_guardrails(registry, use_case):
    result = await GuardrailsMonitor(registry.client).monitor_outputs("test", ["Safe test content"], policy="default")
    assert result["checked"] is True and result["compliant"] is True and result["violations"] == []


@on_a_use_case
async def test_planted_violation_is_caught(registry, use_case):
    planted = "My card is 4111 1111 1111 1111."
    result = await GuardrailsMonitor(registry.client).monitor_outputs("test", ["Hello.", planted], policy="default")
    assert result["checked"] is True and result["compliant"] is False
    assert {v["index"] for v in result["violations"]} == {1}


@on_a_use_case
async def test_use_case_answers_with_its_current_model(registry, use_case):
    layer = use_case + "_layer"
    model_id = await register(registry, layer, configuration={"sim": {"text": "At your service.", "latency_ms": 0}})
    try:
        await registry.update_model_status(model_id, "current")
        result = await LLMClient(registry).generate_text(layer=use_case, prompt="Hello", context={})
        assert result["success"] is True and result["fallback_used"] is False
        assert (result["text"], result["model_id"]) == ("At your service.", model_id)
    finally:
        await registry.update_model_status(model_id, "archived", "the self test is over")
