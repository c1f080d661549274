# SPDX-License-Identifier: Apache-2.0
"""Keys from their making to their end: the first one, names, expiry, revocation under open connections, the database
away, what the history says, and that nobody listens to the world without one."""
import json
import os
import sqlite3

import pytest

import control
import keyring
import muster as m
from keyring import bearer


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = keyring.Keyed(tmp_path_factory.mktemp("life"), "alerts: {receivers: {nobody: {url: 'http://127.0.0.1:9/x'}}}")
    yield d
    d.stop()


def test_the_first_key_has_to_be_an_admins(start_daemon):
    d = start_daemon()
    assert d.get("/v1/models").status == 200
    message = control.error(d.post("/api/v1/keys", {"name": "c", "role": "client"}), 409, "no_admin_key")
    assert "admin" in message
    got = control.cli(d, "key", "create", "--name", "c", "--role", "client", "--why", "x")
    assert got.rc == 1 and "--role admin" in got.err, got
    assert d.get("/v1/models").status == 200, "nobody is locked out"
    made = d.post("/api/v1/keys", {"name": "root", "role": "admin"})
    assert made.status == 201 and made.headers["cache-control"] == "no-store", made
    assert d.get("/v1/models").status == 401, "from now on everybody is asked"
    key = made.json()["key"]
    assert d.post("/api/v1/keys", {"name": "c", "role": "client"}, bearer(key)).status == 201


def test_once_there_was_a_key_revoking_all_opens_nothing(start_daemon):
    d = start_daemon()
    key = d.api("POST", "/api/v1/keys", {"name": "root", "role": "admin"})["key"]
    assert d.request("DELETE", "/api/v1/keys/root?reason=gone", headers=bearer(key)).status == 200
    assert d.get("/v1/models").status == 401
    control.stop(d)
    again = m.Muster(d.directory)
    assert again.get("/v1/models").status == 401
    again.stop()
    keyring.first_key(d.directory, "root")


BAD = [
    ({"role": "client"}, "name"), ({"name": "", "role": "client"}, "name"), ({"name": "a b", "role": "client"}, None),
    ({"name": "a" * 65, "role": "client"}, None), ({"name": "anonymous", "role": "client"}, None),
    ({"name": "01a20728-a154-7640-b863-eb618f853ad9", "role": "client"}, None),
    ({"name": "x"}, "role"), ({"name": "x", "role": "root"}, "role"), ({"name": "x", "role": 1}, "role"),
    ({"name": "x", "role": "client", "use_cases": "u"}, "use_cases"),
    ({"name": "x", "role": "client", "use_cases": [1]}, "use_cases"),
    ({"name": "x", "role": "client", "use_cases": ["NOT A NAME"]}, None),
    ({"name": "x", "role": "client", "use_cases": ["u"] * 65}, "use_cases"),
    ({"name": "x", "role": "operator", "use_cases": ["u"]}, None),
    ({"name": "x", "role": "client", "expires": "soon"}, "expires"),
    ({"name": "x", "role": "client", "expires": "2020-01-01T00:00:00Z"}, None),
    ({"name": "x", "role": "client", "expires": "0s"}, None),
    ({"name": "x", "role": "client", "expires": "99999999d"}, None),
    ({"name": "x", "role": "client", "requests_per_minute": -1}, None),
    ({"name": "x", "role": "client", "requests_per_minute": 1000000001}, None),
    ({"name": "x", "role": "client", "tokens_per_minute": "many"}, "tokens_per_minute"),
    ({"name": "x", "role": "client", "rate": 1}, "rate"),
]


@pytest.mark.parametrize("body,param", BAD)
def test_a_key_that_makes_no_sense_is_not_made(daemon, body, param):
    answer = daemon.post("/api/v1/keys", body)
    control.error(answer, 400)
    assert param is None or answer.json()["error"]["param"] == param, answer
    assert not [k for k in daemon.api("GET", "/api/v1/keys")["data"] if k["name"] == body.get("name")]


def test_what_is_read_of_a_key_is_everything_but_the_key(daemon):
    made = daemon.api("POST", "/api/v1/keys", {
        "name": "npc", "role": "client", "use_cases": ["npc_dialogue", "other"], "expires": "90d",
        "requests_per_minute": 600, "tokens_per_minute": 100000})
    shown = daemon.api("GET", "/api/v1/keys/npc")
    assert shown == {k: v for k, v in made.items() if k != "key"}
    assert shown == daemon.api("GET", "/api/v1/keys/" + made["key_id"])
    assert shown in daemon.api("GET", "/api/v1/keys")["data"]
    assert shown["use_cases"] == ["npc_dialogue", "other"] and shown["status"] == "active"
    control.error(daemon.post("/api/v1/keys", {"name": "npc", "role": "client"}), 409, "key_exists")


def test_the_list_is_paged_newest_first(daemon):
    names = [daemon.name("paged") for _ in range(3)]
    for name in names:
        daemon.make("client", name)
    seen, before = [], ""
    while True:
        page = daemon.api("GET", "/api/v1/keys?limit=2" + before)
        seen += [k["name"] for k in page["data"]]
        if not page["has_more"]:
            break
        before = "&before=" + page["next"]
    assert [n for n in seen if n in names] == names[::-1]
    assert len(seen) == len(set(seen))


def test_an_expired_key_is_told_so(daemon):
    key = daemon.make("client", "short", expires="400ms")
    assert daemon.as_(key, "GET", "/v1/models").status == 200
    answer = m.eventually(lambda: [a for a in [daemon.as_(key, "GET", "/v1/models")] if a.status == 401], "its end")[0]
    e = answer.json()["error"]
    assert e["code"] == "expired_api_key" and "short" in e["message"] and "expired" in e["message"], answer
    assert daemon.api("GET", "/api/v1/keys/short")["status"] == "expired"


def test_no_key_and_a_wrong_key_are_told_apart(daemon):
    for headers, code in (({}, "missing_api_key"), (bearer("mk_" + "0" * 64), "invalid_api_key")):
        for path in ("/v1/chat/completions", "/api/v1/generate", "/api/v1/models"):
            answer = daemon.post(path, {}, headers)
            assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer", answer
            assert answer.json()["error"]["code"] == code and "muster key create" in answer.json()["error"]["message"]
            assert ("success" in answer.json()) == (path == "/api/v1/generate"), "in the caller's protocol"


def test_x_api_key_is_taken_too(daemon):
    assert daemon.request("GET", "/v1/models", headers={"x-api-key": daemon.key}).status == 200


def test_a_revoked_key_opens_nothing_on_a_connection_that_is_open(daemon):
    key = daemon.make("client", "leaked")
    connections = [daemon.connect() for _ in range(8)]
    for c in connections:
        assert c.request("GET", "/v1/models", headers=bearer(key)).status == 200
    gone = daemon.api("DELETE", "/api/v1/keys/leaked?reason=found+in+a+log")
    assert gone["status"] == "revoked" and gone["revoked_at"]
    for c in connections:
        assert c.request("GET", "/v1/models", headers=bearer(key)).status == 401
        c.close()
    assert daemon.request("DELETE", "/api/v1/keys/leaked").status == 404, "the name is free again"
    again = daemon.api("DELETE", "/api/v1/keys/" + gone["key_id"])
    assert again == gone, "revoking twice changes nothing"
    assert gone not in daemon.api("GET", "/api/v1/keys")["data"]
    assert gone in daemon.api("GET", "/api/v1/keys?all=true&limit=1000")["data"]
    assert daemon.make("client", "leaked") != key


def test_a_stream_that_is_under_way_ends_well_when_its_key_is_revoked(daemon, make_upstream):
    upstream = make_upstream()
    daemon.use_case("flowing", policy="none")
    daemon.register("flowing", upstream)
    key = daemon.make("client", "flowing")
    stream = daemon.chat_stream("flowing", headers=bearer(key))
    assert stream.status == 200
    daemon.api("DELETE", "/api/v1/keys/flowing")
    assert stream.events()[-1] == "[DONE]"
    stream.close()
    assert daemon.as_(key, "GET", "/v1/models").status == 401


def test_keys_are_known_while_the_database_is_away(tmp_path):
    d = keyring.Keyed(tmp_path)
    client = d.make("client", "c")
    gone = d.make("client", "gone")
    d.api("DELETE", "/api/v1/keys/gone")
    control.stop(d)
    path = control.database_path(d)
    os.rename(path, path + ".away")
    for more in ("-wal", "-shm"):
        if os.path.exists(path + more):
            os.unlink(path + more)
    os.mkdir(path)  # cannot be opened
    again = m.Muster(tmp_path)
    assert again.get("/v1/models").status == 401
    assert again.request("GET", "/v1/models", headers=bearer(client)).status == 200
    assert again.request("GET", "/v1/models", headers=bearer(gone)).status == 401
    assert again.request("GET", "/api/v1/keys", headers=bearer(client)).status == 403
    answer = again.post("/api/v1/keys", {"name": "x", "role": "client"}, bearer(d.key))
    assert answer.status == 503, answer
    again.stop()


# --- the history ---

POLICY = {"rules": [{"id": "w", "category": "c", "kind": "literal", "action": "flag", "severity": "low", "values": ["w"]}]}
MODEL = {"model_name": "audited", "version": "1", "use_case": "audited", "provider": "sim"}
CHANGES = [
    ("POST", "/api/v1/models", MODEL, "model.registered"),
    ("PATCH", "/api/v1/models/audited@1", {"configuration": {"sim": {"text": "x"}}}, "model.configuration"),
    ("PATCH", "/api/v1/models/audited@1", {"performance_metrics": {"f1": 1}}, "model.metrics"),
    ("PATCH", "/api/v1/models/audited@1", {"status": "testing"}, "model.status"),
    ("POST", "/api/v1/models/audited@1/promote", {}, "model.status"),
    ("POST", "/api/v1/models", dict(MODEL, version="2"), "model.registered"),
    ("POST", "/api/v1/models/audited@2/promote", {}, "model.status"),
    ("POST", "/api/v1/rollback", {"use_case": "audited"}, "model.status"),
    ("PUT", "/api/v1/use-cases/audited", {"log": "metadata"}, "use_case.settings"),
    ("PUT", "/api/v1/guardrails/policies/audited", POLICY, "policy.saved"),
    ("POST", "/api/v1/deployments", {"use_case": "audited", "model": "audited@2", "strategy": "canary", "hold": "1h"},
     "deployment.started"),
    ("POST", "/api/v1/deployments/{deployment}/pause", {}, "deployment.paused"),
    ("POST", "/api/v1/deployments/{deployment}/resume", {}, "deployment.resumed"),
    ("POST", "/api/v1/deployments/{deployment}/abort", {}, "deployment.aborted"),
    ("DELETE", "/api/v1/models/audited@2", None, "model.status"),
    ("POST", "/api/v1/alerts/test", {}, "alert.tested"),
    ("POST", "/api/v1/alerts/silences", {"use_case": "audited", "for": "1h", "reason": "r"}, "alert.silenced"),
    ("DELETE", "/api/v1/alerts/silences/{silence}", None, "alert.unsilenced"),
    ("POST", "/api/v1/keys", {"name": "audited-key", "role": "client"}, "key.created"),
    ("PATCH", "/api/v1/keys/audited-key", {"budget": "50/month"}, "key.changed"),
    ("DELETE", "/api/v1/keys/audited-key", None, "key.revoked"),
]


def test_every_change_is_in_the_history_under_the_name_of_the_key(daemon):
    key = daemon.make("admin", "auditor")
    headers = bearer(key, **{"x-muster-actor": "somebody else"})
    deployment, silence, missing = "", "", []
    for method, path, body, kind in CHANGES:
        newest = daemon.api("GET", "/api/v1/events?limit=1")["data"][0]["event_id"]
        path = path.replace("{deployment}", deployment).replace("{silence}", silence)
        answer = daemon.request(method, path, body, headers)
        assert answer.status < 300, (method, path, answer)
        if path == "/api/v1/deployments":
            deployment = answer.json()["deployment_id"]
        if path == "/api/v1/alerts/silences":
            silence = answer.json()["silence_id"]
        events = daemon.api("GET", "/api/v1/events?limit=20")["data"]
        fresh = events[:[e["event_id"] for e in events].index(newest)]
        if not any(e["kind"] == kind and e["actor"] == "auditor" for e in fresh):
            missing.append((method, path, kind, [(e["kind"], e["actor"]) for e in fresh]))
        if any(e["actor"] == "somebody else" for e in fresh):
            missing.append((method, path, "the header's name"))
    assert not missing, missing


def test_the_table_of_changes_is_complete():
    import openapi
    api = openapi.Api()
    done = {(method, api.operation(method, path.replace("{deployment}", "x").replace("{silence}", "x"))[0])
            for method, path, _, _ in CHANGES}
    serving = {("POST", p) for p in ("/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/moderations", "/api/chat",
                                     "/api/generate", "/api/show", "/v1beta/models/{model}:generateContent",
                                     "/v1beta/models/{model}:streamGenerateContent", "/v1beta/models/{model}:countTokens",
                                     "/v1/completions", "/v1/embeddings", "/v1beta/models/{model}:embedContent",
                                     "/v1beta/models/{model}:batchEmbedContents", "/api/embed", "/api/embeddings",
                                     "/api/v1/generate", "/api/v1/guardrails/check",
                                     "/api/v1/logs")}
    serving |= {("POST", "/v1/responses"), ("DELETE", "/v1/responses/{id}")}
    same = {("POST", "/api/v1/deployments/{deployment}/promote")}  # as abort, and then there is nothing left to abort
    same.add(("POST", "/api/v1/retention/purge"))  # an event of what was removed: test_retention.py
    changes = {(method, path) for method, path, _ in api.operations() if method not in ("GET", "HEAD")}
    assert changes - serving - same == done, "say here what event a new operation leaves"


# --- the command line, with and without a daemon ---


def test_the_command_line_makes_lists_shows_and_revokes(daemon):
    with_key = {"MUSTER_API_KEY": daemon.key}
    made = control.cli(daemon, "key", "create", "--name", "cli-key", "--role", "client", "--use-case", "a_case",
                       "--use-case", "b_case", "--expires", "90d", "--requests-per-minute", "5", "--why", "w", **with_key)
    assert made.rc == 0 and keyring.KEY.match(made.out.strip()), "standard output has the key alone: %r" % made
    key = made.out.strip()
    assert key not in made.err and "once" in made.err
    listed = control.cli(daemon, "key", "list", **with_key)
    assert "cli-key" in listed.out and "a_case, b_case" in listed.out and key not in listed.out, listed
    shown = control.cli(daemon, "key", "show", "cli-key", **with_key)
    assert shown.rc == 0 and "client" in shown.out and key not in shown.out, shown
    assert control.cli(daemon, "model", "list", MUSTER_API_KEY=key).rc == 1, "its use cases have to be named"
    assert control.cli(daemon, "model", "list", "--use-case", "a_case", MUSTER_API_KEY=key).rc == 0
    refused = control.cli(daemon, "key", "list", MUSTER_API_KEY=key)
    assert refused.rc == 1 and "admin" in refused.err, refused
    gone = control.cli(daemon, "key", "revoke", "cli-key", "--why", "w", **with_key)
    assert gone.rc == 0, gone
    assert control.cli(daemon, "key", "revoke", "cli-key", "--why", "w", **with_key).rc == 1
    document = json.loads(control.cli(daemon, "key", "list", "--all", "--json", **with_key).out)
    assert [k["status"] for k in document["data"] if k["name"] == "cli-key"] == ["revoked"]


@pytest.mark.parametrize("args,words", [
    (["--role", "admin", "--why", "x"], "--name"), (["--name", "a", "--why", "x"], "--role"),
    (["--name", "a", "--role", "admin"], "--why"), (["--name", "a", "--role", "king", "--why", "x"], "admin|operator"),
    (["--name", "a", "--role", "admin", "--why", "x", "--expires", "soon"], "--expires")])
def test_the_command_line_says_what_is_missing(tmp_path, args, words):
    got = control.run("key", "create", "--data", str(tmp_path), *args)
    assert got.rc == 2 and words in got.err, got


def test_without_a_daemon_the_database_is_enough(tmp_path):
    data = str(tmp_path / "data")
    first = keyring.first_key(tmp_path)
    second = control.run("key", "create", "--name", "c", "--role", "client", "--data", data, "--why", "w", "--json")
    assert second.rc == 0 and json.loads(second.out)["status"] == "active", second
    listed = control.run("key", "list", "--data", data)
    assert listed.rc == 0 and "ops" in listed.out and "mk_" not in listed.out, listed
    gone = control.run("key", "revoke", "c", "--data", data, "--why", "w")
    assert gone.rc == 0, gone
    d = m.Muster(tmp_path)
    assert d.request("GET", "/v1/models", headers=bearer(json.loads(second.out)["key"])).status == 401
    events = d.request("GET", "/api/v1/events", headers=bearer(first)).json()["data"]
    d.stop()
    assert [e["kind"] for e in events] == ["key.revoked", "key.created", "key.created"]
    assert all("@" in e["actor"] for e in events), events
    nowhere = control.run("key", "list", "--data", str(tmp_path / "nowhere"))
    assert nowhere.rc == 1 and "nowhere" in nowhere.err, nowhere


def test_a_running_daemon_takes_up_on_sighup_what_was_made_beside_it(tmp_path):
    d = keyring.Keyed(tmp_path)
    key = keyring.first_key(tmp_path, "another")
    assert control.reload(d)[0]
    m.eventually(lambda: d.as_(key, "GET", "/v1/models").status == 200, "the key")
    d.stop()


# --- beyond loopback ---


@pytest.mark.parametrize("listen,args", [("0.0.0.0:0", []), ("[::]:0", []), ("127.0.0.1:0", ["--control_listen", "0.0.0.0:0"])])
def test_nobody_listens_to_the_world_without_a_key(tmp_path, listen, args):
    got = control.refused(tmp_path, *args, listen=listen)
    data = os.path.join(str(tmp_path), "data")
    assert "refusing to listen on" in got.err and "without keys" in got.err, got
    assert "muster key create --name ops --role admin --data %s --why" % data in got.err, got


def test_with_a_key_it_does_and_asks_everybody(tmp_path):
    d = keyring.Keyed(tmp_path, args=["--listen", "0.0.0.0:0"])
    assert d.request("GET", "/v1/models", headers={}).status == 401
    assert d.get("/v1/models").status == 200
    d.api("DELETE", "/api/v1/keys/ops")
    assert d.get("/v1/models").status == 401
    d.stop()
    got = control.refused(tmp_path, listen="0.0.0.0:0")
    assert "without keys" in got.err, got


def test_a_database_without_keys_opens_nothing_to_the_world(tmp_path):
    """The daemon runs, and somebody puts an empty database in place of its own."""
    d = keyring.Keyed(tmp_path, args=["--listen", "0.0.0.0:0"])
    with sqlite3.connect(control.database_path(d), timeout=m.LIMIT) as db:
        db.execute("delete from api_keys")
    db.close()
    control.reload(d)
    m.eventually(lambda: d.get("/v1/models").status == 401, "keys read again")
    assert d.request("GET", "/v1/models", headers={}).status == 401
    d.stop()
