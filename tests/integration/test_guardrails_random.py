# SPDX-License-Identifier: Apache-2.0
"""However an answer is cut into events, what leaves and what is recorded is what judging the whole text gives."""
import os
import random
import threading

import pytest

import muster as m

N = int(os.environ.get("MUSTER_TEST_RANDOM", "200"))
PARTS = ["forbidden fruit", "forbidden  fruit", "Forbidden\nFruit", "forbidden", " fruit", "fruit", "AB-1234", "AB-12", "34",
         "XAB-1234", "4111 1111 1111 1111", "4111-1111-1111-1111", "4111", " 1111", "4111111111111112", "me@example.org", "me@",
         "example.org", "a", " ", ", ", ".", "\n", "é", "🐎", "forbid", "den fruit", "AB", "-", "1", "x@y", "aa bb cc ddde", "aa bb cc", " ddd", "e", "aa ", "bb ",
         "forbidden forbidden fruit"]


def rules(action):
    def rule(name, kind, *values):
        return {"id": name, "category": "test", "kind": kind, "action": action, "severity": "low", "side": "output",
                "values": list(values)}

    return [rule("fruit", "literal", "forbidden fruit"), rule("code", "pattern", r"\b[A-Z]{2}-\d{4}\b"),
            rule("card", "pii", "card"), rule("mail", "pii", "email"), rule("inner", "literal", "bb cc"),
            rule("outer", "pattern", "aa bb cc d{1,5}e")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("muster"), args=["--loops", "2"])
    d.policy("mixed", *rules("mask"))
    d.policy("strict", *rules("block"))
    plans = {}

    def serve(c, r):
        asked = r.json()
        text, pieces = plans[asked["messages"][-1]["content"]]
        if r.path == "/api/chat":
            m.ollama(c, asked, text, pieces)
        else:
            m.stream_pieces(c, pieces)

    with m.Upstream(serve) as u:
        for protocol in ("openai", "ollama"):
            d.use_case("cut_" + protocol, policy="mixed", fallback_content="")
            d.register("cut_" + protocol, u, protocol=protocol)
            d.use_case("stop_" + protocol, policy="strict", fallback_content="")
            d.register("stop_" + protocol, u, protocol=protocol)
        d.plans = plans
        yield d
        assert not u.errors
    d.stop()


def cut(rng, text):
    pieces, at = [], 0
    most = rng.choice([1, 2, 3, 8, 30])
    while at < len(text):
        n = rng.randint(1, most)
        pieces.append(text[at:at + n])
        at += n
    return pieces


def compare(world, seed):
    rng = random.Random(seed)
    text = "".join(rng.choice(PARTS) for _ in range(rng.randint(1, 14)))
    whole = world.api("POST", "/api/v1/guardrails/check", {"policy": "mixed", "outputs": [text]})
    key = "seed %d" % seed
    world.plans[key] = (text, cut(rng, text))
    protocol = rng.choice(["openai", "ollama"])
    with world.chat_stream("cut_" + protocol, key) as s:
        got = s.events()
    story = (seed, protocol, world.plans[key], whole)
    assert got[-1] == "[DONE]" and m.finish_of(got) == "stop", story
    assert m.chat_text(got) == whole["outputs"][0]["text"], (m.chat_text(got), story)
    log = world.log_of(s)
    found = [(v["rule"], v["start"], v["length"]) for v in log["guardrail"]["violations"]]
    assert sorted(found) == sorted((v["rule"], v["start"], v["length"]) for v in whole["violations"]), story


def compare_blocked(world, seed):
    """Of an answer that is blocked nothing leaves from its first match on."""
    rng = random.Random(seed)
    text = "".join(rng.choice(PARTS) for _ in range(rng.randint(1, 8)))
    whole = world.api("POST", "/api/v1/guardrails/check", {"policy": "strict", "outputs": [text]})
    key = "blocked %d" % seed
    world.plans[key] = (text, cut(rng, text))
    with world.chat_stream("stop_" + rng.choice(["openai", "ollama"]), key) as s:
        got = s.events()
    out = m.chat_text(got).encode()
    story = (seed, world.plans[key], whole, out)
    log = world.log_of(s)
    if not whole["violations"]:
        assert out == text.encode() and m.finish_of(got) == "stop" and log["status"] == "ok", story
        return
    assert text.encode()[:min(v["start"] for v in whole["violations"])].startswith(out), story
    assert m.finish_of(got) == "content_filter" and got[-1] == "[DONE]" and log["status"] == "blocked", story


@pytest.mark.parametrize("compare", [compare, compare_blocked])
def test_streams_are_judged_as_whole_texts_are(world, compare):
    seeds, lock, failures = iter(range(N)), threading.Lock(), []

    def work():
        while True:
            with lock:
                seed = next(seeds, None)
            if seed is None:
                return
            try:
                compare(world, seed)
            except BaseException as e:
                failures.append(repr(e))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not failures, (len(failures), failures[:3])
