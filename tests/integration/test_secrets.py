# SPDX-License-Identifier: Apache-2.0
"""Whoever registers a model names a secret of this machine only when it is meant for models."""
import json

import pytest

import control
import muster as m


def body(upstream, **configuration):
    return {"model_name": "m", "version": "1", "use_case": "u", "provider": "custom", "reason": "test",
            "configuration": dict(configuration, endpoint=upstream.url)}


@pytest.mark.parametrize("member,value,says", [
    ("api_key_env", "POSTGRES_PASSWORD", "Muster's own"), ("api_key_env", "MUSTER_API_KEY", "Muster's own"),
    ("api_key_env", "HOME", "secrets.env_allow"), ("api_key_file", "/etc/passwd", "secrets.directory"),
    ("api_key_file", "/run/secrets/../../etc/passwd", "secrets.directory")])
def test_others_are_refused_with_what_to_do(start_daemon, upstream, member, value, says):
    d = start_daemon("")
    answer = d.post("/api/v1/models", body(upstream, **{member: value}))
    assert answer.status == 400 and value in answer.json()["error"]["message"], answer
    assert says in answer.json()["error"]["message"], answer
    d.register("u", upstream, name="m")
    answer = d.request("PATCH", "/api/v1/models/m@1.0",
                       {"configuration": body(upstream, **{member: value})["configuration"], "reason": "test"})
    assert answer.status == 400 and says in answer.json()["error"]["message"], answer


def test_what_is_allowed_is_sent(start_daemon, upstream, tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "one").write_text("of-a-file\n")
    d = start_daemon("secrets:\n  env_allow: TEAM_*\n  directory: %s\n" % (tmp_path / "keys"), TEAM_KEY="of-the-team",
                     MUSTER_SECRET_ONE="of-muster")
    for use_case, member, value, sent in (("a", "api_key_env", "TEAM_KEY", "of-the-team"),
                                          ("b", "api_key_env", "MUSTER_SECRET_ONE", "of-muster"),
                                          ("c", "api_key_file", str(tmp_path / "keys" / "one"), "of-a-file")):
        d.use_case(use_case, policy="none")
        d.register(use_case, upstream, **{member: value})
        assert d.chat(use_case).status == 200
        assert upstream.requests[-1].headers["authorization"] == "Bearer " + sent


def test_one_that_was_registered_before_is_not_called_and_health_says_so(start_daemon, upstream):
    d = start_daemon("", HOUSE_KEY="of-the-house")
    d.use_case("u", policy="none", fallback_content="Later.")
    d.register("u", upstream, name="m")
    with control.database(d) as db:
        db.execute("update model_registry set configuration = ?",
                   (json.dumps({"endpoint": upstream.url, "api_key_env": "HOUSE_KEY"}),))
    d.use_case("other")  # the registry is read again
    answer = d.chat("u")
    assert answer.json()["choices"][0]["message"]["content"] == "Later." and not upstream.requests, answer
    m.eventually(lambda: d.api("GET", "/health")["parts"]["registry"]["state"] == "degraded", "health to say so")
    assert "HOUSE_KEY may not be sent to a model" in d.api("GET", "/health")["parts"]["registry"]["detail"]
