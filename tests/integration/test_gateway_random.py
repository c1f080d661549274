# SPDX-License-Identifier: Apache-2.0
"""Random requests against upstreams that misbehave at random, by seed: every answer is whole and right, or an error; and each
has exactly one record, which says the same."""
import json
import os
import random
import threading

import pytest

import muster as m

WORDS = ["alpha", "beta ", "γάμμα", " delta", "ε", "\n", "\"zeta\"", "\\eta\\", "🐎", "forbid", "den fruit", "forbidden fruit",
         " ", "x" * 300, "{\"a\":1}", "data: ", "\u2028"]
N = int(os.environ.get("MUSTER_TEST_RANDOM", "300"))


def words(rng, most):
    return [rng.choice(WORDS) for _ in range(rng.randint(0, most))]


class Plan:
    """What one request asks, and what each attempt of it meets."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.id = "r%d" % seed
        self.front = rng.choice(["chat", "generate"])
        self.stream = rng.random() < 0.5
        self.protocol = rng.choice(["openai", "ollama", "generate"])
        self.pieces = words(rng, 8)
        self.text = "".join(self.pieces)
        self.fate = rng.choice(["ok"] * 6 + ["500", "429", "400", "reset", "close", "garbage", "cut", "slow", "not json",
                                             "unasked"])
        self.cut_at = rng.randint(0, len(self.pieces))
        self.leaves = rng.choice(["at once", "after the head", "after an event"] + [None] * 27)
        self.close_after = rng.random() < 0.3
        self.rng = rng

    def request(self):
        if self.front == "chat":
            body = {"model": "use_" + self.protocol, "messages": [{"role": "user", "content": self.id}]}
        else:
            body = {"use_case": "use_" + self.protocol, "prompt": self.id}
        if self.stream or self.rng.random() < 0.3:
            body["stream"] = self.stream
        if self.rng.random() < 0.3:
            body["temperature"] = self.rng.choice([0, 0.5, 1])
        return ("/v1/chat/completions" if self.front == "chat" else "/api/v1/generate"), body


class World:
    def __init__(self):
        self.plans = {}

    def serve(self, c, r):
        asked = r.json()
        key = asked["prompt"] if "prompt" in asked else asked["messages"][-1]["content"]
        plan = self.plans[key]
        getattr(self, "do_" + plan.fate.replace(" ", "_"), self.status)(c, r, asked, plan)
        if plan.close_after and c.open:
            c.close()

    def status(self, c, r, asked, plan):
        c.reply(int(plan.fate), {"error": {"message": "told to fail", "type": "t", "param": None, "code": None}})

    def do_ok(self, c, r, asked, plan):
        if r.path == "/api/chat":
            m.ollama(c, asked, plan.text, plan.pieces)
        elif r.path == "/generate":
            c.reply(200, {"text": plan.text, "tokens_used": 3})
        elif asked.get("stream"):
            m.stream_pieces(c, plan.pieces, usage=True)
        else:
            c.reply(200, m.completion(plan.text))

    def do_unasked(self, c, r, asked, plan):
        """A whole answer to who asked for a stream."""
        self.do_ok(c, r, dict(asked, stream=False), plan)

    def do_reset(self, c, r, asked, plan):
        c.reset()

    def do_close(self, c, r, asked, plan):
        c.close()

    def do_garbage(self, c, r, asked, plan):
        c.send(bytes(plan.rng.randrange(256) for _ in range(100)))
        c.close()

    def do_not_json(self, c, r, asked, plan):
        c.reply(200, "<html>{}</html>")

    def do_slow(self, c, r, asked, plan):
        c.wait_closed()
        c.close()

    def do_cut(self, c, r, asked, plan):
        if not asked.get("stream") or r.path == "/generate":
            c.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{\"text\":\"abc")
            c.close()
            return
        openai = r.path != "/api/chat"
        c.begin_stream("text/event-stream" if openai else "application/x-ndjson")
        for p in plan.pieces[:plan.cut_at]:
            if openai:
                c.event(m.chunk(p))
            else:
                c.line({"model": "up", "message": {"role": "assistant", "content": p}, "done": False})
        c.reset() if plan.rng.random() < 0.5 else c.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World()
    d = m.Muster(tmp_path_factory.mktemp("muster"), "timeouts:\n  first_byte: 1s\n  between: 1s\n", ["--loops", "2"])
    w.daemon = d
    w.upstream = m.Upstream(w.serve)
    d.policy("fruit", {"id": "fruit", "category": "test", "kind": "literal", "action": "mask", "severity": "low",
                       "side": "output", "values": ["forbidden fruit"], "anywhere": True})
    for protocol in ("openai", "ollama", "generate"):
        d.use_case("use_" + protocol, policy="fruit", fallback_content="")
        d.register("use_" + protocol, w.upstream, protocol=protocol, circuit_breaker=False)
    yield w
    w.upstream.close()
    d.stop()
    assert not w.upstream.errors, w.upstream.errors


def play(world, plan):
    """(status, text or None when it is an error or broke off, log id)."""
    path, body = plan.request()
    with world.daemon.connect() as c:
        c.send_request("POST", path, body, {"x-request-id": plan.id})
        if plan.leaves == "at once":
            return None
        head = c.read_head()
        if plan.leaves == "after an event" and "chunked" in head.headers.get("transfer-encoding", ""):
            m.Stream(c, head).block()
        if plan.leaves:
            return None
        log_id = head.headers["x-muster-log-id"]
        if not plan.stream or not head.headers["content-type"].startswith("text/event-stream"):
            got = json.loads(b"".join(c.pieces(head)))
            if head.status != 200:
                assert got["error"]["message"] and ("success" in got) == (plan.front == "generate")
                return head.status, None, log_id
            text = got["text"] if plan.front == "generate" else got["choices"][0]["message"]["content"]
            return head.status, text, log_id
        got = m.Stream(c, head).events()
    if isinstance(got[-1], dict) and "error" in got[-1]:
        assert "[DONE]" not in got and not any(isinstance(e, dict) and e.get("done") for e in got)
        return head.status, None, log_id
    if plan.front == "generate":
        assert got[-1]["done"] is True
        return head.status, "".join(e.get("text", "") for e in got), log_id
    assert got[-1] == "[DONE]" and m.finish_of(got) == "stop"
    return head.status, m.chat_text(got), log_id


def check(plan, outcome, log):
    status, text, log_id = outcome
    assert log["request_id"] == plan.id and log["stream"] == plan.stream
    assert log["http_status"] == status, (plan.__dict__, outcome, log)
    assert (text is not None) == (log["status"] == "ok"), (plan.__dict__, outcome, log)
    if text is not None:
        assert text == plan.text.replace("forbidden fruit", "[fruit]"), (plan.__dict__, outcome)
        assert plan.fate in ("ok", "unasked"), plan.__dict__
    else:
        assert plan.fate not in ("ok", "unasked"), (plan.__dict__, outcome, log)


def test_random_exchanges(world):
    plans = [Plan(seed) for seed in range(N)]
    world.plans = {p.id: p for p in plans}
    outcomes, failures = {}, []
    todo = iter(plans)
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                plan = next(todo, None)
            if not plan:
                return
            try:
                outcomes[plan.id] = play(world, plan)
            except BaseException as e:
                failures.append((plan.__dict__, repr(e)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not failures, failures[:3]

    def records():
        got = []
        for protocol in ("openai", "ollama", "generate"):
            got += world.daemon.api("GET", "/api/v1/logs?text=true&limit=1000&use_case=use_" + protocol)["data"]
        return got

    answered = {i for i, o in outcomes.items() if o}
    m.eventually(lambda: answered <= {r["request_id"] for r in records()}, "the record of every answer")
    got = records()
    by_request = {}
    for r in got:
        by_request.setdefault(r["request_id"], []).append(r)
    for plan in plans:
        mine = by_request.get(plan.id, [])
        if plan.leaves:
            assert len(mine) <= 1  # it may have left before it was read
            continue
        assert len(mine) == 1, (plan.__dict__, mine)
        assert mine[0]["log_id"] == outcomes[plan.id][2]
        check(plan, outcomes[plan.id], mine[0])
