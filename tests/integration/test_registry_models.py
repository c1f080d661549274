# SPDX-License-Identifier: Apache-2.0
"""The registry: what is registered, found, listed, changed and refused."""
import json
import re

import pytest

import control
import muster as m


def new(daemon, use_case, name=None, version="1.0", provider="sim", **members):
    body = {"model_name": name or daemon.name("model"), "version": version, "use_case": use_case, "provider": provider}
    if provider != "sim":
        body["configuration"] = {"endpoint": "http://127.0.0.1:9"}
    body.update(members)
    return daemon.api("POST", "/api/v1/models", body)


@pytest.fixture
def use_case(daemon):
    return daemon.name("reg")


def test_registered_model_is_shown_whole(daemon, use_case):
    name = daemon.name("whole")
    answer = daemon.post("/api/v1/models", {
        "model_name": name, "version": "1.0-rc.1", "use_case": use_case, "provider": "ollama", "model_type": "llm",
        "configuration": {"endpoint": "http://127.0.0.1:4511", "upstream_model": "stories260K", "note": [1.50, None]},
        "performance_metrics": {"accuracy": 0.91}, "reason": "a first one"}, {"x-muster-actor": "ann"})
    assert answer.status == 201, answer
    model = answer.json()
    assert answer.headers["location"] == "/api/v1/models/" + model["model_id"]
    assert control.UUID.match(model["model_id"])
    assert (model["model_name"], model["version"], model["use_case"]) == (name, "1.0-rc.1", use_case)
    assert (model["provider"], model["model_type"], model["status"]) == ("ollama", "llm", "candidate")
    assert model["configuration"] == {"endpoint": "http://127.0.0.1:4511", "upstream_model": "stories260K",
                                      "note": [1.5, None]}
    assert model["performance_metrics"] == {"accuracy": 0.91}
    for key in ("created_at", "updated_at", "status_since"):
        assert control.TIME.match(model[key])
    for ref in (model["model_id"], model["model_id"].upper(), name + "@1.0-rc.1", name):
        assert daemon.api("GET", "/api/v1/models/" + ref) == model, ref


def test_unique_prefix_of_an_id_is_enough_and_a_short_one_is_not(daemon, use_case):
    models = [new(daemon, use_case) for _ in range(3)]
    for model in models:
        others = [o["model_id"] for o in daemon.api("GET", "/api/v1/models?limit=1000&include_archived=true")["data"]
                  if o["model_id"] != model["model_id"]]
        n = next(n for n in range(6, 37) if not any(o.startswith(model["model_id"][:n]) for o in others))
        assert daemon.api("GET", "/api/v1/models/" + model["model_id"][:n])["model_id"] == model["model_id"]
    shared = next(n for n in range(36, 0, -1)
                  if models[0]["model_id"][:n] == models[1]["model_id"][:n] and models[0]["model_id"][n - 1] != "-")
    if shared >= 6:
        message = control.error(daemon.get("/api/v1/models/" + models[0]["model_id"][:shared]), 409, "ambiguous_model")
        assert models[0]["model_id"] in message and models[1]["model_id"] in message
    control.error(daemon.get("/api/v1/models/" + models[0]["model_id"][:5]), 404, "model_not_found")


def test_name_of_several_models_is_refused_with_the_list_and_narrowed_by_use_case(daemon, use_case):
    name, other = daemon.name("twice"), daemon.name("other")
    first, second = new(daemon, use_case, name), new(daemon, other, name)
    for ref in (name, name + "@1.0"):
        message = control.error(daemon.get("/api/v1/models/" + ref), 409, "ambiguous_model")
        for model in (first, second):
            assert model["model_id"] in message and model["use_case"] in message
    assert daemon.api("GET", "/api/v1/models/%s?use_case=%s" % (name, other)) == second
    control.error(daemon.post("/api/v1/models/%s/promote" % name, {}), 409, "ambiguous_model")
    assert daemon.api("POST", "/api/v1/models/%s/promote" % name, {"use_case": use_case})["model"]["model_id"] == \
        first["model_id"]


def test_model_that_is_not_there_is_named_with_the_nearest(daemon, use_case):
    name = daemon.name("foundation-vx")
    new(daemon, use_case, name)
    for path in ("/api/v1/models/%s", "/api/v1/models/%s@1.0", "/api/v1/models/%s/history"):
        message = control.error(daemon.get(path % name.replace("foundation", "fondation")), 404, "model_not_found")
        assert "Did you mean '%s@1.0'?" % name in message
    assert daemon.post("/api/v1/models/no-such-thing-at-all/promote", {}).status == 404
    assert daemon.request("PATCH", "/api/v1/models/no-such-thing-at-all", {"status": "testing"}).status == 404
    assert daemon.request("DELETE", "/api/v1/models/no-such-thing-at-all").status == 404
    control.error(daemon.get("/api/v1/models/0198b2a4-6d1e-7c3a-9f00-2b6f6c1d8e11"), 404, "model_not_found")


def test_list_filters(daemon, use_case):
    a = new(daemon, use_case, version="1")
    b = new(daemon, use_case, provider="ollama")
    c = new(daemon, use_case, a["model_name"], version="2", status="testing")
    gone = new(daemon, use_case, status="archived")

    def listed(query):
        got = daemon.api("GET", "/api/v1/models?use_case=%s%s" % (use_case, query))
        assert got["object"] == "list" and got["has_more"] is False and got["next"] is None
        return {x["model_id"] for x in got["data"]}

    ids = {k: v["model_id"] for k, v in dict(a=a, b=b, c=c, gone=gone).items()}
    assert listed("") == {ids["a"], ids["b"], ids["c"]}
    assert listed("&include_archived=true") == set(ids.values())
    assert listed("&status=testing") == {ids["c"]}
    assert listed("&status=archived") == {ids["gone"]}
    assert listed("&provider=ollama") == {ids["b"]}
    assert listed("&provider=sim&status=candidate") == {ids["a"]}
    assert listed("&name=" + a["model_name"]) == {ids["a"], ids["c"]}
    assert listed("&provider=nobody") == set()
    assert listed("&status=") == {ids["a"], ids["b"], ids["c"]}, "an empty filter asks for nothing"


def test_list_pages_show_everything_once(daemon, use_case):
    wanted = {new(daemon, use_case)["model_id"] for _ in range(7)}
    daemon.api("POST", "/api/v1/models/%s/promote" % sorted(wanted)[3], {})
    seen, before, pages = [], "", 0
    while True:
        page = daemon.api("GET", "/api/v1/models?use_case=%s&limit=3%s" % (use_case, before))
        seen += [x["model_id"] for x in page["data"]]
        pages += 1
        assert len(page["data"]) <= 3 and page["has_more"] == (page["next"] is not None)
        if not page["has_more"]:
            break
        before = "&before=" + page["next"]
    assert pages == 3 and len(seen) == 7 and set(seen) == wanted
    assert seen[0] == sorted(wanted)[3], "the current one comes first"


def test_double_registration_names_the_first(daemon, use_case):
    first = new(daemon, use_case, status="testing")
    message = control.error(daemon.post("/api/v1/models", {
        "model_name": first["model_name"], "version": "1.0", "use_case": use_case, "provider": "vllm",
        "configuration": {"endpoint": "http://127.0.0.1:9"}}), 409, "model_exists")
    assert first["model_id"] in message and "testing" in message and first["status_since"] in message
    assert daemon.api("GET", "/api/v1/models/" + first["model_id"]) == first
    again = new(daemon, use_case, first["model_name"], "1.1")
    assert again["model_id"] != first["model_id"]
    assert new(daemon, daemon.name("reg"), first["model_name"])["model_id"] != first["model_id"]


def test_one_of_many_equal_registrations_wins(daemon, use_case):
    name = daemon.name("race")
    body = {"model_name": name, "version": "1", "use_case": use_case, "provider": "sim"}
    answers = control.together(12, lambda i: daemon.post("/api/v1/models", body))
    assert sorted(a.status for a in answers) == [201] + 11 * [409]
    winner = next(a.json() for a in answers if a.status == 201)
    assert all(winner["model_id"] in control.error(a, 409, "model_exists") for a in answers if a.status == 409)
    assert len(daemon.api("GET", "/api/v1/models?name=" + name)["data"]) == 1
    assert len(daemon.api("GET", "/api/v1/models/%s/history" % winner["model_id"])["data"]) == 1


def test_each_part_of_a_patch_is_a_change_of_its_own_in_order(daemon, use_case):
    model = new(daemon, use_case, provider="ollama")
    path = "/api/v1/models/" + model["model_id"]
    answer = daemon.request("PATCH", path, {"status": "testing", "performance_metrics": {"f1": 0.5},
                                            "configuration": {"endpoint": "http://127.0.0.1:8"},
                                            "reason": "moved"}, {"x-muster-actor": "bob"})
    assert answer.status == 200, answer
    changed = answer.json()
    assert changed["configuration"] == {"endpoint": "http://127.0.0.1:8"}
    assert changed["performance_metrics"] == {"f1": 0.5} and changed["status"] == "testing"
    assert changed["status_since"] > model["status_since"] and changed["created_at"] == model["created_at"]
    events = daemon.api("GET", path + "/history")["data"]
    assert [e["kind"] for e in events] == ["model.status", "model.metrics", "model.configuration", "model.registered"]
    for e in events[:3]:
        assert (e["actor"], e["reason"], e["subject"], e["use_case"]) == ("bob", "moved", model["model_id"], use_case)
    assert events[0]["before"]["status"] == "candidate" and events[0]["after"]["status"] == "testing"
    assert events[1]["before"]["performance_metrics"] == {} and events[1]["after"]["performance_metrics"] == {"f1": 0.5}
    assert events[2]["before"]["configuration"] == {"endpoint": "http://127.0.0.1:9"}
    assert events[2]["after"] == events[1]["before"] and events[1]["after"] == events[0]["before"]
    assert events[3]["before"] is None and events[3]["after"] == model


def test_patch_that_changes_nothing_leaves_no_event(daemon, use_case):
    model = new(daemon, use_case)
    path = "/api/v1/models/" + model["model_id"]
    same = daemon.api("PATCH", path, {"status": "candidate", "configuration": {}, "performance_metrics": {}})
    assert same == model
    assert len(daemon.api("GET", path + "/history")["data"]) == 1


def test_patch_with_one_bad_part_changes_nothing(daemon, use_case):
    model = new(daemon, use_case)
    path = "/api/v1/models/" + model["model_id"]
    for body in ({"status": "testing", "configuration": {"api_key": "x"}},
                 {"status": "nonsense", "performance_metrics": {"a": 1}},
                 {"performance_metrics": [], "status": "testing"},
                 {"status": "testing", "configuraton": {}}):
        control.error(daemon.request("PATCH", path, body), 400)
        assert daemon.api("GET", path) == model
    assert len(daemon.api("GET", path + "/history")["data"]) == 1


# --- promotion ---


def test_promotion_demotes_the_other_in_the_same_transaction(daemon, use_case):
    old, fresh = new(daemon, use_case), new(daemon, use_case, version="2.0")
    first = daemon.api("POST", "/api/v1/models/%s/promote" % old["model_id"], {"reason": "one"})
    assert first["demoted"] is None and first["model"]["status"] == "current"
    answer = daemon.post("/api/v1/models/%s/promote" % fresh["model_id"], {"use_case": use_case, "reason": "two"},
                         {"x-muster-actor": "carol"})
    assert answer.status == 200 and answer.json()["demoted"] == old["model_id"], answer
    assert daemon.api("GET", "/api/v1/models/" + old["model_id"])["status"] == "deprecated"
    events = daemon.api("GET", "/api/v1/events?use_case=%s&limit=2" % use_case)["data"]
    assert [(e["subject"], e["before"]["status"], e["after"]["status"]) for e in events] == [
        (fresh["model_id"], "candidate", "current"), (old["model_id"], "current", "deprecated")]
    assert {e["at"] for e in events} == {events[0]["at"]}, "both at one moment"
    assert {(e["actor"], e["reason"], e["kind"]) for e in events} == {("carol", "two", "model.status")}
    assert answer.json()["model"]["status_since"] == events[0]["at"]


def test_second_promotion_of_the_same_model_changes_nothing(daemon, use_case):
    model = new(daemon, use_case, status="current")
    before = daemon.api("GET", "/api/v1/events?use_case=" + use_case)["data"]
    again = daemon.api("POST", "/api/v1/models/%s/promote" % model["model_id"], {"reason": "again"})
    assert again == {"model": model, "demoted": None}
    assert daemon.api("GET", "/api/v1/events?use_case=" + use_case)["data"] == before


def test_promotion_for_another_use_case_is_refused(daemon, use_case):
    model = new(daemon, use_case)
    answer = daemon.post("/api/v1/models/%s/promote" % model["model_id"], {"use_case": daemon.name("other")})
    message = control.error(answer, 409, "wrong_use_case")
    assert use_case in message
    assert daemon.api("GET", "/api/v1/models/" + model["model_id"])["status"] == "candidate"


@pytest.mark.parametrize("how", ["register", "patch"])
def test_current_by_status_demotes_too(daemon, use_case, how):
    old = new(daemon, use_case, status="current")
    if how == "register":
        fresh = new(daemon, use_case, status="current")
    else:
        fresh = new(daemon, use_case)
        daemon.api("PATCH", "/api/v1/models/" + fresh["model_id"], {"status": "current"})
    assert daemon.api("GET", "/api/v1/models/" + old["model_id"])["status"] == "deprecated"
    assert daemon.api("GET", "/api/v1/use-cases/%s/current" % use_case)["model_id"] == fresh["model_id"]


def test_at_most_one_is_current_under_parallel_promotions(daemon, use_case):
    models = [new(daemon, use_case)["model_id"] for _ in range(20)]
    seen = []

    def promote(i):
        answer = daemon.post("/api/v1/models/%s/promote" % models[i], {"reason": "race"})
        assert answer.status == 200, answer
        with control.database(daemon) as db:
            seen.append(db.execute("select count(*) from model_registry where use_case = ? and status = 'current'",
                                   (use_case,)).fetchone()[0])
        return answer.json()["demoted"]

    demoted = control.together(20, promote)
    assert seen == 20 * [1]
    assert len(daemon.api("GET", "/api/v1/models?use_case=%s&status=current" % use_case)["data"]) == 1
    assert len(daemon.api("GET", "/api/v1/models?use_case=%s&status=deprecated" % use_case)["data"]) == 19
    assert demoted.count(None) == 1 and len(set(demoted)) == 20, "each was demoted by exactly one other"
    events = daemon.api("GET", "/api/v1/events?use_case=%s&kind=model.status&limit=100" % use_case)["data"]
    assert len(events) == 20 + 19
    current = None
    for e in reversed(events):  # the chain has no gap: whoever comes, the one before it has left
        if e["after"]["status"] == "deprecated":
            assert e["subject"] == current
            current = None
        else:
            assert e["after"]["status"] == "current" and current is None
            current = e["subject"]


def test_database_itself_refuses_a_second_current(daemon, use_case):
    new(daemon, use_case, status="current")
    other = new(daemon, use_case)
    with control.database(daemon) as db, pytest.raises(Exception, match="(?i)unique"):
        db.execute("update model_registry set status = 'current' where id = ?", (other["model_id"],))


def test_promotion_serves_the_very_next_request_on_every_loop(daemon, make_upstream, use_case):
    daemon.use_case(use_case, policy="none")
    names = []
    for i in range(2):
        names.append(daemon.register(use_case, make_upstream(), name=daemon.name("m"), promote=False))
    connections = [daemon.connect() for _ in range(8)]  # more than loops: each loop has some
    try:
        for round_ in range(10):
            want = names[round_ % 2]
            daemon.api("POST", "/api/v1/models/%s/promote" % want, {"use_case": use_case})
            for c in connections:
                c.send_request("POST", "/api/v1/generate", {"use_case": use_case, "prompt": "who"})
            for c in connections:
                answer = c.read_answer()
                assert answer.status == 200 and answer.headers["x-muster-model"] == want, (round_, answer)
    finally:
        for c in connections:
            c.close()


def test_promotions_under_load_break_no_request(daemon, make_upstream, use_case):
    daemon.use_case(use_case, policy="none")
    names = [daemon.register(use_case, make_upstream(), promote=i == 0) for i in range(2)]
    load = control.Load(daemon, use_case, threads=4)
    try:
        for i in range(20):
            load.wait(len(load.answered) + 4)
            daemon.api("POST", "/api/v1/models/%s/promote" % names[i % 2], {"use_case": use_case})
    finally:
        load.end()
    assert not load.refused and not load.broken


# --- archiving ---


def test_archived_current_leaves_the_fallback_to_serve(daemon, upstream, use_case):
    daemon.use_case(use_case, policy="none", fallback_content="Later, please.")
    name = daemon.register(use_case, upstream)
    assert daemon.generate(use_case).json()["fallback_used"] is False
    answer = daemon.request("DELETE", "/api/v1/models/%s?reason=too%%20old" % name, headers={"x-muster-actor": "dora"})
    assert answer.status == 200 and answer.json()["status"] == "archived"
    control.error(daemon.get("/api/v1/use-cases/%s/current" % use_case), 404, "no_current_model")
    served = daemon.generate(use_case)
    assert served.status == 200 and served.json()["text"] == "Later, please."
    assert served.json()["fallback_used"] is True and served.headers["x-muster-fallback"] == "content"
    assert len(upstream.requests) == 1
    event = daemon.api("GET", "/api/v1/events?use_case=%s&limit=1" % use_case)["data"][0]
    assert (event["actor"], event["reason"], event["after"]["status"]) == ("dora", "too old", "archived")
    assert daemon.api("GET", "/api/v1/models/" + name)["status"] == "archived", "nothing is deleted"
    back = daemon.api("POST", "/api/v1/models/%s/promote" % name, {})
    assert back["model"]["status"] == "current" and daemon.generate(use_case).json()["fallback_used"] is False


def test_archived_namesake_does_not_make_a_name_ambiguous(daemon, use_case):
    old = new(daemon, use_case, version="1", status="archived")
    live = new(daemon, use_case, old["model_name"], "2")
    assert daemon.api("GET", "/api/v1/models/" + old["model_name"]) == live
    assert daemon.api("GET", "/api/v1/models/%s@1" % old["model_name"]) == old


# --- refusals ---

GOOD = {"model_name": "m", "version": "1", "use_case": "u", "provider": "sim"}
SECRETS = [{"api_key": "sk-1"}, {"API_KEY": "sk-1"}, {"token": "t"}, {"password": "p"}, {"secret": "s"},
           {"authorization": "Bearer x"}, {"headers": {"Authorization": "Bearer x"}}, {"headers": {"x-api-key": "k"}},
           {"endpoint": "http://user:word@127.0.0.1:1/"}]
BAD = [
    ({"model_name": None}, "model_name is missing"), ({"model_name": ""}, "model_name is missing"),
    ({"model_name": 7}, "model_name"), ({"model_name": "a b"}, None), ({"model_name": "x" * 129}, None),
    ({"model_name": "a\u0000b"}, "NUL"), ({"model_name": "a@b"}, None), ({"version": None}, "version is missing"),
    ({"version": "v" * 65}, None), ({"use_case": None}, "use_case is missing"), ({"use_case": "Upper"}, None),
    ({"use_case": "u" * 65}, None), ({"use_case": "a/b"}, None), ({"provider": None}, "provider is missing"),
    ({"provider": "no-such-provider"}, None), ({"provider": "p" * 65}, "64"), ({"model_type": "t" * 65}, "64"),
    ({"model_type": []}, "model_type"), ({"configuration": []}, "object"), ({"configuration": "x"}, "object"),
    ({"performance_metrics": 3}, "object"), ({"status": "curent"}, "current"), ({"status": 1}, "status"),
    ({"reason": 5}, "reason"), ({"reason": "r" * 1025}, "1024"),
    ({"provider": "ollama", "configuration": {"endpoint": "ftp://x"}}, "http"),
    ({"provider": "ollama", "configuration": {"endpoint": "http://"}}, "host"),
    ({"provider": "ollama", "configuration": {"endpoint": 3}}, "endpoint"),
    ({"provider": "ollama", "configuration": {"protocol": "smoke"}}, "protocol"),
    ({"configuration": {"timeouts": {"connect_ms": "x"}}}, "connect_ms"),
    ({"configuration": {"headers": {"bad header": "x"}}}, "header"),
    ({"configuration": {"sim": 3}}, "sim"), ({"configuration": {"x": "y" * 70000}}, "65536"),
    ({"modelname": "x"}, "did you mean 'model_name'"), ({"verison": "1"}, "did you mean 'version'"),
]


@pytest.mark.parametrize("change,words", BAD, ids=[json.dumps(b[0])[:40] for b in BAD])
def test_registration_that_is_wrong_is_refused_and_says_why(daemon, use_case, change, words):
    body = dict(GOOD, use_case=use_case)
    body.update(change)
    message = control.error(daemon.post("/api/v1/models", {k: v for k, v in body.items() if v is not None}), 400)
    assert not words or words in message, message
    assert len(message) < 1000
    assert daemon.api("GET", "/api/v1/models?use_case=" + use_case)["data"] == []


@pytest.mark.parametrize("secret", SECRETS, ids=lambda s: json.dumps(s)[:40])
def test_secret_in_a_configuration_is_refused_with_what_to_do(daemon, use_case, secret):
    configuration = dict({"endpoint": "http://127.0.0.1:9"}, **secret)
    for answer in (daemon.post("/api/v1/models", dict(GOOD, use_case=use_case, provider="ollama",
                                                      configuration=configuration)),
                   daemon.request("PATCH", "/api/v1/models/" + new(daemon, daemon.name("reg"))["model_id"],
                                  {"configuration": configuration})):
        message = control.error(answer, 400)
        assert "api_key_env" in message and "api_key_file" in message
        assert "sk-1" not in message and "word@" not in message and "Bearer x" not in message


@pytest.mark.parametrize("body,code", [
    (b"", "body_missing"), (b"{", "invalid_json"), (b"[]", "invalid_type"), (b'"x"', "invalid_type"),
    (b"{\"model_name\":\"\xff\"}", "invalid_json"), (b'{"model_name":"a","model_name":"b"}', "duplicate_member"),
    (b'{"a":' + 200 * b"[" + 200 * b"]" + b"}", None)])
def test_body_that_cannot_be_read_is_refused(daemon, body, code):
    control.error(daemon.post("/api/v1/models", body), 400, code)


@pytest.mark.parametrize("query,words", [
    ("statu=current", "did you mean 'status'"), ("status=curent", "current"), ("limit=0", "1 to 1000"),
    ("limit=1001", "1 to 1000"), ("limit=x", "1 to 1000"), ("before=xyz", "no id"), ("include_archived=maybe", "true"),
    ("use_case=UPPER", None), ("name=%ff", "UTF-8"), ("name=%zz", "percent-encoded")])
def test_list_refuses_what_it_does_not_understand(daemon, query, words):
    message = control.error(daemon.get("/api/v1/models?" + query), 400)
    assert not words or words in message, message


@pytest.mark.parametrize("method,path,allowed", [
    ("PUT", "/api/v1/models", {"GET", "POST"}), ("POST", "/api/v1/models/x", {"GET", "PATCH", "DELETE"}),
    ("GET", "/api/v1/models/x/promote", {"POST"}), ("DELETE", "/api/v1/events", {"GET"})])
def test_wrong_method_is_answered_with_the_right_ones(daemon, method, path, allowed):
    answer = daemon.request(method, path, {} if method != "GET" else None)
    control.error(answer, 405, "method_not_allowed")
    assert set(re.split(", *", answer.headers["allow"])) - {"HEAD"} == allowed


def test_path_that_is_not_there_says_where_to_look(daemon):
    message = control.error(daemon.get("/api/v1/model"), 404)
    assert "GET /" in message
    assert daemon.get("/").status == 200


def test_who_is_written_as_it_was_said_or_refused(daemon, use_case):
    for actor, want in (("zoë", "zoë"), (None, "anonymous")):
        model = new(daemon, use_case)
        answer = daemon.request("PATCH", "/api/v1/models/" + model["model_id"], {"status": "testing"},
                                {"x-muster-actor": actor})
        assert answer.status == 200
        events = daemon.api("GET", "/api/v1/models/%s/history" % model["model_id"])["data"]
        assert events[0]["actor"] == want


def test_answer_carries_the_request_id_of_the_caller_or_one_of_its_own(daemon):
    assert daemon.request("GET", "/api/v1/models", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert control.UUID.match(daemon.get("/api/v1/models").headers["x-request-id"])
    assert control.UUID.match(daemon.request("GET", "/api/v1/models",
                                             headers={"x-request-id": "x" * 129}).headers["x-request-id"])
