# SPDX-License-Identifier: Apache-2.0
"""Use cases and their settings, guardrail policies: what is kept, refused, and in force with the next request."""
import json

import pytest

import control
import muster as m

WORD = {"id": "w", "category": "words", "kind": "literal", "action": "block", "severity": "high",
        "values": ["forbidden"]}


@pytest.fixture
def name(daemon):
    return daemon.name("set")


def policy_name(daemon):
    return daemon.name("pol").replace("_", "-")


# --- use cases ---


def test_use_case_is_what_says_so(daemon, name):
    control.error(daemon.get("/api/v1/use-cases/" + name), 404, "use_case_not_found")
    model = daemon.register(name, "http://127.0.0.1:9", promote=False)
    got = daemon.api("GET", "/api/v1/use-cases/" + name)
    assert got["use_case"] == name and got["current"] is None and got["fallback_endpoint"] is None
    assert ["%s@%s" % (c["model_name"], c["version"]) for c in got["candidates"]] == [model]
    assert got["settings"]["fallback"] == [] and got["settings"]["log"] == "full" and got["settings"]["policy"] is None
    bare = daemon.name("bare")
    assert daemon.use_case(bare)["use_case"] == bare
    listed = {u["use_case"] for u in daemon.api("GET", "/api/v1/use-cases?limit=1000")["data"]}
    assert {name, bare} <= listed


def test_settings_are_replaced_whole(daemon, name):
    model = daemon.register(name, "http://127.0.0.1:9", promote=False)
    settings = {"fallback": [model], "fallback_content": "later", "policy": "none", "log": "metadata",
                "timeouts": {"connect_ms": 100, "total_ms": 5000}}
    got = daemon.use_case(name, **settings)["settings"]
    for key, value in settings.items():
        if key == "timeouts":
            assert {k: v for k, v in got[key].items() if v} == value
        else:
            assert got[key] == value, key
    assert control.TIME.match(got["created_at"]) and control.TIME.match(got["updated_at"])
    again = daemon.use_case(name, log="none")["settings"]
    assert (again["log"], again["fallback"], again["fallback_content"], again["policy"]) == ("none", [], None, None)
    assert again["created_at"] == got["created_at"] and again["updated_at"] > got["updated_at"]
    assert daemon.api("GET", "/api/v1/use-cases/" + name)["settings"] == again


@pytest.mark.parametrize("settings,words", [
    ({"fallback": ["nobody@1"]}, "nobody@1"), ({"policy": "no-such-policy"}, "no-such-policy"),
    ({"polcy": "x"}, "did you mean 'policy'"), ({"log": "some"}, "full"), ({"log": 1}, "log"),
    ({"fallback": "a@1"}, "fallback"), ({"fallback": [1]}, "fallback"), ({"fallback": ["a@%d" % i for i in range(9)]}, "8"),
    ({"timeouts": {"total_ms": -1}}, "total_ms"), ({"timeouts": {"total": 1}}, "total_ms"), ({"timeouts": 5}, "timeouts"),
    ({"fallback_content": 3}, "fallback_content"), ({"reason": 3}, "reason"), ({"use_case": "another"}, "another")])
def test_settings_that_are_wrong_change_nothing(daemon, name, settings, words):
    before = daemon.use_case(name, fallback_content="before")
    message = control.error(daemon.request("PUT", "/api/v1/use-cases/" + name, settings), 400)
    assert words in message, message
    assert daemon.api("GET", "/api/v1/use-cases/" + name) == before


@pytest.mark.parametrize("bad", ["Upper", "a%20b", "x" * 65, "a%2Fb", "%C3%A9", "a.b"])
def test_name_that_is_none_is_refused(daemon, bad):
    assert daemon.request("PUT", "/api/v1/use-cases/" + bad, {}).status == 400


def test_settings_are_in_force_with_the_next_request(daemon, make_upstream, name):
    down, spare = make_upstream(m.answer_with(500, {})), make_upstream(m.ok("from the spare"))
    daemon.use_case(name, policy="none", fallback_content="first")
    daemon.register(name, down)
    second = daemon.register(name, spare, promote=False)
    connections = [daemon.connect() for _ in range(6)]
    try:
        for settings, text in (({"fallback_content": "first"}, "first"), ({"fallback_content": "second"}, "second"),
                               ({"fallback": [second]}, "from the spare"), ({"fallback_content": "third"}, "third")):
            daemon.use_case(name, policy="none", **settings)
            for c in connections:
                answer = c.request("POST", "/api/v1/generate", {"use_case": name, "prompt": "x"})
                assert answer.json()["text"] == text, (settings, answer)
    finally:
        for c in connections:
            c.close()


@pytest.mark.parametrize("mode", ["full", "metadata", "none"])
def test_log_mode_says_what_is_kept(daemon, upstream, name, mode):
    daemon.use_case(name, policy="none", log=mode)
    daemon.register(name, upstream)
    answer = daemon.generate(name, "a private prompt")
    control.shipped(daemon)
    logs = daemon.logs(name, 0 if mode == "none" else 1, "&text=true")
    if mode != "none":
        assert logs[0]["log_id"] == answer.headers["x-muster-log-id"]
        assert logs[0]["prompt"] == ("a private prompt" if mode == "full" else None)
        assert logs[0]["output"] == ("Hi there." if mode == "full" else None)
        assert logs[0]["usage"]["completion_tokens"] == 3


def test_use_cases_come_in_pages_by_name(daemon):
    stem = daemon.name("page")
    wanted = ["%s-%d" % (stem, i) for i in range(5)]
    for w in wanted:
        daemon.use_case(w)
    seen, before = [], ""
    while True:
        page = daemon.api("GET", "/api/v1/use-cases?limit=2" + before)
        seen += [u["use_case"] for u in page["data"]]
        if not page["has_more"]:
            break
        before = "&before=" + page["next"]
    assert seen == sorted(seen) and len(seen) == len(set(seen)) and set(wanted) <= set(seen)


def test_use_case_is_found_by_the_name_of_its_layer(daemon):
    name = daemon.name("deep")
    daemon.use_case(name + "_layer")
    daemon.register(name + "_layer", "http://127.0.0.1:9")
    assert daemon.api("GET", "/api/v1/use-cases/" + name)["use_case"] == name + "_layer"
    assert daemon.api("GET", "/api/v1/use-cases/%s/current" % name)["use_case"] == name + "_layer"
    assert daemon.api("GET", "/api/v1/use-cases/%s/current?at=0s" % name)["model"]["use_case"] == name + "_layer"
    message = control.error(daemon.get("/api/v1/use-cases/%s_leyer" % name), 404)
    assert "Did you mean '%s_layer'?" % name in message


def test_fallback_endpoint_of_the_configuration_is_shown(start_daemon):
    daemon = start_daemon("fallback:\n  endpoints:\n    configured: http://127.0.0.1:9/generate\n")
    got = daemon.api("GET", "/api/v1/use-cases/configured")
    assert got["fallback_endpoint"] == "http://127.0.0.1:9/generate" and got["current"] is None
    assert [u["use_case"] for u in daemon.api("GET", "/api/v1/use-cases")["data"]] == ["configured"]


# --- the current model, from memory ---


def test_current_is_the_registered_model_whole_on_every_loop(daemon, name):
    daemon.register(name, "http://127.0.0.1:9", name="first-" + name.replace("_", "-"))
    second = daemon.register(name, "http://127.0.0.1:9", promote=False)
    connections = [daemon.connect() for _ in range(6)]
    try:
        daemon.api("POST", "/api/v1/models/%s/promote" % second, {})
        want = daemon.api("GET", "/api/v1/models/" + second)
        for c in connections:
            answer = c.request("GET", "/api/v1/use-cases/%s/current" % name)
            assert answer.status == 200 and answer.json() == want
            daemon.api("PATCH", "/api/v1/models/" + second, {"performance_metrics": {"n": c.sock.fileno()}})
            want = daemon.api("GET", "/api/v1/models/" + second)
            assert c.request("GET", "/api/v1/use-cases/%s/current" % name).json() == want
    finally:
        for c in connections:
            c.close()


def test_current_that_is_not_there_says_what_to_do(daemon, name):
    message = control.error(daemon.get("/api/v1/use-cases/%s/current" % name), 404, "use_case_not_found")
    daemon.register(name, "http://127.0.0.1:9", promote=False)
    message = control.error(daemon.get("/api/v1/use-cases/%s/current" % name), 404, "no_current_model")
    assert "muster model promote" in message and name in message


def test_current_needs_no_database(start_daemon):
    daemon = start_daemon()
    daemon.register("u", "http://127.0.0.1:9")
    with control.held(daemon):
        for _ in range(50):
            assert daemon.get("/api/v1/use-cases/u/current").status == 200


# --- policies ---


def test_policy_is_kept_as_it_was_given_and_listed(daemon):
    name = policy_name(daemon)
    given = {"description": "about it", "on_error": "allow", "rules": [
        WORD, {"id": "p", "category": "numbers", "kind": "pattern", "action": "mask", "severity": "low",
               "side": "output", "values": ["[0-9]{4}"], "mask": "####"},
        {"id": "pii", "category": "pii", "kind": "pii", "action": "flag", "severity": "medium", "side": "both",
         "values": ["card", "email"]}]}
    saved = daemon.api("PUT", "/api/v1/guardrails/policies/" + name, dict(given, reason="r"))
    assert saved["name"] == name and saved["description"] == "about it" and saved["on_error"] == "allow"
    for mine, theirs in zip(given["rules"], saved["rules"]):
        assert dict(theirs, **mine) == theirs
    assert daemon.api("GET", "/api/v1/guardrails/policies/" + name) == saved
    listed = daemon.api("GET", "/api/v1/guardrails/policies?limit=1000")["data"]
    assert saved in listed and "default" in [p["name"] for p in listed]
    assert [p["name"] for p in listed] == sorted(p["name"] for p in listed)


@pytest.mark.parametrize("document,words", [
    ({"rules": [dict(WORD, kind="pattern", values=["(unclosed"])]}, "'w'"),
    ({"rules": [dict(WORD, kind="pattern", values=["a(?=b)"])]}, "'w'"),
    ({"rules": [dict(WORD, kind="pattern", values=["x*"])]}, "'w'"),
    ({"rules": [dict(WORD, kind="pii", values=["passport"])]}, "card, email, iban, ssn, phone"),
    ({"rules": [dict(WORD, action="destroy")]}, "flag, mask, fallback, block"),
    ({"rules": [dict(WORD, severity="worst")]}, "critical"), ({"rules": [WORD, WORD]}, "twice"),
    ({"rules": [dict(WORD, values=[])]}, "values"), ({"rules": [dict(WORD, values=[" "])]}, "empty"),
    ({"rules": [dict(WORD, vlaues=["x"])]}, "values"), ({"rules": {}}, "array"), ({"ruels": []}, "rules"),
    ({"rules": [dict(WORD, id="Bad Id")]}, "id"), ({"on_error": "explode"}, "block, allow"), ({"name": "other"}, "other"),
    ({"rules": [dict(WORD, values=["x" * 513])]}, "512"),
])
def test_policy_that_does_not_compile_is_refused_and_nothing_changes(daemon, upstream, document, words):
    name, case = policy_name(daemon), daemon.name("guarded")
    before = daemon.policy(name, WORD)
    daemon.use_case(case, policy=name)
    daemon.register(case, upstream)
    message = control.error(daemon.request("PUT", "/api/v1/guardrails/policies/" + name, document), 400)
    assert words in message, message
    assert daemon.api("GET", "/api/v1/guardrails/policies/" + name) == before
    assert daemon.generate(case, "forbidden").headers["x-muster-guardrail"] == "block"


@pytest.mark.parametrize("bad", ["none", "Upper", "a%20b", "x" * 65])
def test_policy_that_cannot_be_called_so_is_refused(daemon, bad):
    control.error(daemon.request("PUT", "/api/v1/guardrails/policies/" + bad, {"rules": []}), 400)


def test_policy_is_in_force_with_the_next_request_on_every_loop(daemon, upstream):
    name, case = policy_name(daemon), daemon.name("guarded")
    daemon.policy(name)
    daemon.use_case(case, policy=name)
    daemon.register(case, upstream)
    connections = [daemon.connect() for _ in range(6)]
    try:
        for round_ in range(6):
            word = "word%d" % round_
            daemon.policy(name, dict(WORD, values=[word]))
            for c in connections:
                blocked = c.request("POST", "/api/v1/generate", {"use_case": case, "prompt": "say " + word})
                assert blocked.headers["x-muster-guardrail"] == "block", blocked
                fine = c.request("POST", "/api/v1/generate", {"use_case": case, "prompt": "say word%d" % (round_ + 9)})
                assert fine.headers["x-muster-guardrail"] == "allow" and fine.status == 200, fine
    finally:
        for c in connections:
            c.close()


def test_default_policy_can_be_replaced(start_daemon, upstream):
    daemon = start_daemon()
    built_in = daemon.api("GET", "/api/v1/guardrails/policies/default")
    assert len(built_in["rules"]) > 3
    daemon.register("u", upstream)
    assert daemon.generate("u", "forbidden").headers["x-muster-guardrail"] == "allow"
    daemon.policy("default", WORD)
    assert daemon.generate("u", "forbidden").headers["x-muster-guardrail"] == "block"
    assert len(daemon.api("GET", "/api/v1/guardrails/policies")["data"]) == 1
    control.stop(daemon)
    daemon = m.Muster(daemon.directory)
    assert daemon.generate("u", "forbidden").headers["x-muster-guardrail"] == "block"
    daemon.stop()


def test_policy_that_is_not_there_is_named_with_the_nearest(daemon):
    message = control.error(daemon.get("/api/v1/guardrails/policies/defualt"), 404, "policy_not_found")
    assert "Did you mean 'default'?" in message


def test_large_policy_is_taken_and_too_large_a_one_refused(daemon):
    name = policy_name(daemon)
    words = ["word%05dword" % i for i in range(20000)]
    assert daemon.policy(name, dict(WORD, values=words))["rules"][0]["values"] == words
    control.error(daemon.request("PUT", "/api/v1/guardrails/policies/" + name,
                                 {"rules": [dict(WORD, values=words + ["more"])]}), 400)
    assert json.loads(daemon.get("/api/v1/guardrails/policies/" + name).body)["rules"][0]["values"] == words
    checked = daemon.api("POST", "/api/v1/guardrails/check", {"policy": name, "outputs": ["a word19999word b", "fine"]})
    assert [o["action"] for o in checked["outputs"]] == ["block", "allow"]
