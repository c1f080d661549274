# SPDX-License-Identifier: Apache-2.0
"""Random streams of text, reasoning and calls, split anywhere, from each protocol to each other, with and without a policy
that masks: what arrives is what was said, masked where it had to be, in the grammar of the caller's protocol."""
import json
import random

import pytest

import grammar as g
import muster as m
import test_protocol_replay as replay
import test_protocol_translate as t

WORDS = ["alpha", "beta", "forbidden fruit", "forbidden", "fruit", "γάμμα", "🐎", "a b c", "4111", "\\n", "x" * 200]
SEEDS = 60


def split(rng, text):
    """The text in pieces; cut between characters, as a provider's events are."""
    at, out = 0, []
    while at < len(text):
        n = rng.choice((1, 2, 5, 9, 30, 300))
        out.append(text[at:at + n])
        at += n
    return out or [""]


class Plan:
    def __init__(self, seed):
        rng = self.rng = random.Random(seed)
        self.parts = []
        for _ in range(rng.randint(1, 6)):
            kind = rng.choice(("text", "reasoning", "call", "call"))
            if kind != "call" and self.parts and self.parts[-1][0] == kind:
                continue
            words = " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 8))) + "."
            self.parts.append((kind, json.dumps({"q": words}, ensure_ascii=False) if kind == "call" else words))
        self.stop = "tool_calls" if any(k == "call" for k, _ in self.parts) else "stop"

    def said(self, kind, mask):
        return ["%s" % (text.replace("forbidden fruit", "[F]") if mask else text) for k, text in self.parts if k == kind]

    def openai(self):
        events, calls = [m.chunk("", role="assistant")], 0
        for kind, text in self.parts:
            pieces = split(self.rng, text)
            if kind == "call":
                events += t.calls_chunk(*pieces, index=calls)
                calls += 1
            else:
                events += [m.chunk(p) if kind == "text" else m.chunk(reasoning_content=p) for p in pieces]
        events += [m.chunk(finish=self.stop), m.usage_chunk()]
        return "".join("data: %s\n\n" % json.dumps(e, ensure_ascii=False) for e in events) + "data: [DONE]\n\n"

    def anthropic(self):
        start = dict(t.message(), stop_reason=None)
        events, make = [{"type": "message_start", "message": start}], {
            "text": t.text_block, "reasoning": t.thinking_block, "call": t.call_block}
        for i, (kind, text) in enumerate(self.parts):
            events += make[kind](i, *split(self.rng, text))
            if self.rng.random() < 0.3:
                events.append({"type": "ping"})
        reason = {"stop": "end_turn", "tool_calls": "tool_use"}[self.stop]
        events += [{"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None},
                    "usage": {"output_tokens": 9}}, {"type": "message_stop"}]
        return "".join("event: %s\ndata: %s\n\n" % (e["type"], json.dumps(e, ensure_ascii=False)) for e in events)


@pytest.fixture(scope="module")
def models(daemon):
    up = m.Upstream()
    made = {}
    daemon.policy("fruit", {"id": "fruit", "category": "test", "kind": "literal", "action": "mask", "severity": "low",
                            "side": "output", "values": ["forbidden fruit"], "mask": "[F]"})
    for back in ("openai", "anthropic"):
        for policy in ("none", "fruit"):
            made[back, policy] = daemon.name("rnd")
            daemon.use_case(made[back, policy], policy=policy, fallback_content="")
            daemon.register(made[back, policy], up, protocol=back)
    yield up, made
    up.close()
    assert not up.errors


@pytest.mark.parametrize("policy", ["none", "fruit"])
@pytest.mark.parametrize("back", ["openai", "anthropic"])
@pytest.mark.parametrize("front", ["openai", "anthropic", "ollama", "generate"])
def test_random_streams_arrive_as_they_were_said(daemon, models, front, back, policy):
    up, made = models
    arrived = {}  # text and calls, by the id of the record
    for seed in range(SEEDS):
        plan = Plan(seed)
        data = getattr(plan, back)().encode()
        up.default = replay.sends(data)
        path, body = replay.body_of(front, made[back, policy], True)
        with daemon.stream(path, body) as s:
            s.events()
        mask = policy == "fruit"
        got = g.check_stream(front, s.raw, usage=True)
        if front == back and not mask:
            assert s.raw == data, seed
        assert got.text == "".join(plan.said("text", mask)), seed
        arrived[s.headers["x-muster-log-id"]] = (got.text, got.calls)
        if front == "generate":
            continue
        assert got.reasoning == "".join(plan.said("reasoning", mask)), seed
        assert got.calls == [("f", json.loads(a)) for a in plan.said("call", mask)], seed
        assert got.finish == plan.stop, seed
        if back == front == "anthropic" or (back == "anthropic" and front == "openai"):
            assert got.usage is not None, seed
    logs = {r["log_id"]: r for r in daemon.api("GET", "/api/v1/logs?text=true&limit=%d&use_case=%s" % (
        SEEDS, made[back, policy]))["data"]}
    assert arrived == {i: (r["output"] or "", [(c["name"], json.loads(c["arguments"])) for c in r["tool_calls"] or ()])
                       for i, r in logs.items()}
