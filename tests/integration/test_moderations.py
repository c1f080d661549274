# SPDX-License-Identifier: Apache-2.0
"""POST /v1/moderations: a guardrail policy's word on texts, in OpenAI's shape."""
import pytest


@pytest.fixture(scope="module")
def use_case(daemon):
    rule = {"kind": "literal", "severity": "high"}
    daemon.policy("moderate", dict(rule, id="a", category="violence", action="block", side="input", values=["bomb"]),
                  dict(rule, id="b", category="house", action="flag", side="output", values=["rumour"]))
    daemon.use_case("moderated", policy="moderate")
    return "moderated"


def flagged(daemon, use_case, value):
    answer = daemon.post("/v1/moderations", {"model": use_case, "input": value})
    assert answer.status == 200, answer
    assert answer.json()["model"] == "moderate" and answer.json()["id"].startswith("modr-")
    for r in answer.json()["results"]:
        assert set(r["categories"]) == set(r["category_scores"]) and {"hate", "sexual/minors"} <= set(r["categories"])
        assert all(r["category_scores"][k] == (1 if v else 0) for k, v in r["categories"].items())
        assert r["category_applied_input_types"] == dict.fromkeys(r["categories"], ["text"])
        assert r["flagged"] == any(r["categories"].values())
    return [sorted(k for k, v in r["categories"].items() if v) for r in answer.json()["results"]]


@pytest.mark.parametrize("value, want", [
    ("all is well", [[]]),
    ("a bomb", [["violence"]]),
    (["a bomb and a bomb", "", "a rumour", "a rumour of a bomb"], [["violence"], [], ["house"], ["house", "violence"]]),
    ([{"type": "text", "text": "a rumour"}, {"type": "image_url", "image_url": {"url": "data:"}},
      {"type": "text", "text": "a bomb"}], [["house", "violence"]]),
])
def test_each_text_has_its_result(daemon, use_case, value, want):
    assert flagged(daemon, use_case, value) == want


def test_a_model_of_another_name_means_the_default_policy(daemon):
    for body in ({"input": "x"}, {"input": "x", "model": "omni-moderation-latest"}):
        answer = daemon.post("/v1/moderations", body)
        assert answer.json()["model"] == "default" and answer.json()["results"][0]["flagged"] is False


@pytest.mark.parametrize("body, word", [
    ({}, "input"), ({"input": 7}, "input"), ({"input": []}, "input"), ({"input": ["a", 7]}, "every item"),
    ({"input": [{"text": "a"}, "b"]}, "every item"), ({"input": [{"text": 7}]}, "every item"),
    ({"input": ["a"] * 257}, "256"), ({"input": "a", "model": 7}, "model"), (b"{", "JSON"), (b"[]", "object")])
def test_what_is_no_input_is_refused(daemon, body, word):
    answer = daemon.post("/v1/moderations", body)
    assert answer.status == 400 and word in answer.json()["error"]["message"], answer
