# SPDX-License-Identifier: Apache-2.0
"""What an answer has cost: in its log record, for people, and in the metrics."""
import pytest

import control
import muster as m

PRICE = {"input": 0.15, "output": 0.6, "cached_input": 0.075}
ANSWER = {"id": "x", "object": "chat.completion", "created": 1, "model": "up",
          "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]}


def priced(daemon, upstream, price=PRICE, **config):
    case = daemon.name("cost")
    daemon.register(case, upstream, price=price, **config)
    return case


def with_usage(prompt, completed, cached=0):
    usage = {"prompt_tokens": prompt, "completion_tokens": completed, "total_tokens": prompt + completed,
             "prompt_tokens_details": {"cached_tokens": cached}}
    return m.answer_with(200, dict(ANSWER, usage=usage))


def nano(log):
    return round(log["cost"] * 1e9)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_has_its_cost_in_the_log(daemon, upstream, stream):
    case = priced(daemon, upstream)
    log = daemon.log_of(daemon.chat(case, stream=stream))
    assert log["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "estimated": False}
    assert (nano(log), log["currency"]) == (7 * 150 + 3 * 600, "USD")
    assert b'"cost":0.00000285,"currency":"USD"' in daemon.get("/api/v1/logs/" + log["log_id"]).body
    assert b'"cost":0.00000285,"currency":"USD"' in daemon.get("/api/v1/logs?use_case=" + case).body
    assert control.metric(daemon, "muster_cost_total", use_case=case, currency="USD") == pytest.approx(0.00000285)


@pytest.mark.parametrize("price,usage,cost", [
    ({"input": 3, "output": 15, "currency": "EUR"}, (1000, 100), 4500000),
    (PRICE, (1000, 0, 400), 600 * 150 + 400 * 75),
    ({"input": 3, "output": 15}, (1000, 0, 400), 3000000),  # cached tokens cost what others do
    ({"input": 0, "output": 0}, (1000, 100), 0),
    ({"input": 0.000000001, "output": 0}, (500000, 1), 1),  # to the nearest, half up
    ({"input": 0.000000001, "output": 0}, (499999, 1), 0),
    ({"input": 1000000, "output": 1000000}, (2000000, 0), 2000000 * 10 ** 9),
])
def test_a_cost_is_exact(daemon, upstream, price, usage, cost):
    upstream.default = with_usage(*usage)
    log = daemon.log_of(daemon.chat(priced(daemon, upstream, price)))
    assert (nano(log), log["currency"]) == (cost, price.get("currency", "USD"))


def test_without_a_price_the_cost_is_not_known(daemon, upstream):
    case = priced(daemon, upstream, None)
    log = daemon.log_of(daemon.chat(case))
    assert log["usage"]["prompt_tokens"] == 7 and (log["cost"], log["currency"]) == (None, None)
    assert control.metric(daemon, "muster_cost_total", use_case=case, currency="USD") is None


def test_the_model_that_served_has_the_price(daemon, upstream, make_upstream):
    case = priced(daemon, make_upstream(m.answer_with(500, {"error": {"message": "no"}})), {"input": 100, "output": 100})
    daemon.register(case, upstream, name="cheap_" + case, promote=False, price={"input": 1, "output": 1, "currency": "EUR"})
    daemon.use_case(case, fallback=["cheap_%s@1.0" % case])
    log = daemon.log_of(daemon.chat(case))
    assert log["fallback"] == "model" and (nano(log), log["currency"]) == (10000, "EUR")
    daemon.use_case(case, fallback=[], fallback_content="Later.")
    assert daemon.log_of(daemon.chat(case))["cost"] is None


def test_every_attempt_has_its_own_cost_in_the_record(daemon, upstream, make_upstream):
    def cut(c, r):
        c.begin_stream()
        c.event(m.chunk("Half of an answer "))
        c.reset()

    first = make_upstream(m.answer_with(500, {"error": {"message": "no"}}))
    case = priced(daemon, first, {"input": 100, "output": 100})
    daemon.register(case, upstream, name="next_" + case, promote=False, price={"input": 1, "output": 1, "currency": "EUR"})
    daemon.use_case(case, fallback=["next_%s@1.0" % case], answer_mode="buffer")
    log = daemon.log_of(daemon.chat(case))
    assert "cost" not in log["attempts"][0], "nothing is known of it"
    assert (log["attempts"][-1]["cost"], log["attempts"][-1]["currency"]) == (0.00001, "EUR")
    assert "estimated" not in log["attempts"][-1]
    first.default = cut  # what it had said was in vain, and is paid for
    log = daemon.log_of(daemon.chat(case, stream=True))
    vain, good = log["attempts"][0], log["attempts"][-1]
    assert vain["result"] != "ok" and vain["cost"] > 0 and (vain["currency"], vain["estimated"]) == ("USD", True)
    assert (good["result"], good["cost"], good["currency"]) == ("ok", 0.00001, "EUR")
    upstream.default = m.answer_with(200, ANSWER)  # without usage
    log = daemon.log_of(daemon.chat(case))
    assert log["usage"]["estimated"] and log["attempts"][-1]["estimated"] is True
    assert log["attempts"][-1]["cost"] == log["cost"] > 0


def test_a_review_sums_costs_by_use_case_and_model(daemon, upstream):
    case = priced(daemon, upstream)
    for _ in range(3):
        daemon.chat(case)
    upstream.default = m.answer_with(200, ANSWER)
    estimated = nano(daemon.log_of(daemon.chat(case)))
    daemon.register(case, upstream, name="eur_" + case, price={"input": 1000000, "output": 1000000, "currency": "EUR"})
    upstream.default = with_usage(7, 3)
    daemon.chat(case)
    daemon.logs(case, 5)
    answer = daemon.get("/api/v1/review?use_case=" + case)
    review = answer.json()
    (group,) = review["use_cases"]
    costs = {c["currency"]: c for c in group["now"]["costs"]}
    assert group["now"]["priced"] == 5 and set(costs) == {"USD", "EUR"} and group["before"]["costs"] == []
    assert round(costs["USD"]["cost"] * 1e9) == 3 * 2850 + estimated and costs["USD"]["requests"] == 4
    assert costs["USD"]["estimated_share"] == pytest.approx(estimated / (3 * 2850 + estimated))
    assert (costs["EUR"]["cost"], costs["EUR"]["estimated_share"], costs["EUR"]["requests"]) == (10, 0, 1)
    assert review["total"]["now"]["costs"] == group["now"]["costs"]
    by_model = {g["model"]: g["now"]["costs"] for g in review["models"]}
    assert [c["currency"] for c in by_model["eur_%s@1.0" % case]] == ["EUR"]
    said = control.works(daemon, "review", "--use-case", case, "--format", "markdown")
    assert "| COST |" in said and "10.00 EUR" in said and "% estimated)" in said, said


def test_an_answer_that_broke_off_costs_what_came(daemon, upstream):
    def cut(c, r):
        c.begin_stream()
        c.event(m.chunk("Once upon a time there was "))
        c.reset()

    upstream.default = cut
    with daemon.chat_stream(priced(daemon, upstream)) as s:
        s.events()
    log = daemon.log_of(s)
    assert log["status"] == "truncated" and log["usage"]["estimated"]
    assert nano(log) == log["usage"]["prompt_tokens"] * 150 + log["usage"]["completion_tokens"] * 600 > 0


def test_a_caller_that_leaves_is_logged_with_the_cost_so_far(daemon, upstream):
    def endless(c, r):
        c.begin_stream()
        c.event(m.chunk("One two three four five "))
        c.wait_closed()

    upstream.default = endless
    s = daemon.chat_stream(priced(daemon, upstream))
    while "One" not in str(s.event()):
        pass
    s.close()
    log = daemon.log_of(s)
    assert log["status"] == "client_disconnect" and log["usage"]["estimated"]
    assert nano(log) == log["usage"]["prompt_tokens"] * 150 + log["usage"]["completion_tokens"] * 600 > 0


def test_people_see_what_an_answer_has_cost(daemon, upstream):
    log_id = daemon.chat(priced(daemon, upstream)).headers["x-muster-log-id"]
    case = priced(daemon, upstream, None)
    daemon.chat(case)
    shown = control.cli(daemon, "log", "show", log_id)
    assert shown.rc == 0 and "0.00000285 USD" in shown.out, shown
    listed = control.cli(daemon, "log", "list", "--limit", "2")
    assert "COST" in listed.out and "0.00000285 USD" in listed.out, listed
    assert "0.00000285" not in control.cli(daemon, "log", "list", "--use-case", case).out


@pytest.mark.parametrize("price,why", [
    ({"input": 1}, "price.output is missing"), ({"input": -1, "output": 1}, "from 0 to 1000000"),
    ({"input": "1", "output": 1}, "has to be a number"), ({"input": 1, "output": 1, "currency": "usd"}, "three capital letters"),
    ({"input": 1e-10, "output": 1}, "more than nine decimals"), ([1, 2], "has to be an object"),
    ({"input": 1, "output": 1, "per": "token"}, "price.per is not known"),
])
def test_a_price_that_is_none_is_refused(daemon, price, why):
    answer = daemon.post("/api/v1/models", {"model_name": "p", "version": "1", "use_case": "u", "provider": "sim",
                                            "configuration": {"price": price}})
    assert answer.status == 400 and why in answer.json()["error"]["message"], answer


def test_costs_outlive_a_daemon_that_is_killed(tmp_path, make_upstream):
    d = m.Muster(tmp_path / "d")
    case = priced(d, make_upstream())
    ids = [d.chat(case).headers["x-muster-log-id"] for _ in range(20)]
    d.process.kill()
    d.process.wait()
    d = m.Muster(tmp_path / "d")
    assert {(log["log_id"], nano(log), log["currency"]) for log in d.logs(case, 20)} == {(i, 2850, "USD") for i in ids}
    d.stop()
