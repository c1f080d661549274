# SPDX-License-Identifier: Apache-2.0
"""Real clients, unmodified, in front of models of each protocol: answers, streams, tools, objects, errors.  Each client is
one process that plays all of its scenarios."""
import json
import os
import subprocess
import threading

import pytest

import agents
import muster as m
from conftest import HERE

CLIENTS = {  # and the protocol that it speaks
    "ollama": "ollama", "google": "gemini", "vercel": "openai", "langchain": "openai", "openrouter": "openai",
    "vercel_openai": "openai",
    "openai_all": "openai", "responses": "openai", "python_openai": "openai", "python_anthropic": "anthropic",
}
COMMON = ("whole", "stream", "tools", "toolstream", "object")
NODE = [c for c in CLIENTS if not c.startswith("python_")]
EMBEDDING = [c for c in CLIENTS if c not in ("responses", "python_anthropic")]
GUARDED = "Take the forbidden fruit now."


class Stage:
    """The use cases that clients talk to, and what came of it: once for all of them."""

    def __init__(self, daemon, real_port):
        self.daemon, self.real_port, self.upstreams = daemon, real_port, []
        self.seen, self.gone = {}, threading.Event()
        daemon.policy("no-fruit", {"id": "fruit", "category": "test", "kind": "literal", "action": "block",
                                   "severity": "high", "side": "both", "values": ["forbidden fruit"]})
        for back, agent in agents.AGENTS.items():
            self.add(back, agent, protocol=back)
        self.add("failing", m.answer_with(500, {"error": {"message": "no", "type": "t"}}))
        self.add("busy", m.answer_with(429, {"error": {"message": "no", "type": "t"}}))
        self.add("broken", self.breaks)
        self.add("endless", self.never_ends)
        self.add("guarded", m.ok(GUARDED), policy="no-fruit")
        daemon.use_case("sim", policy="none")
        daemon.api("POST", "/api/v1/models", {"model_name": "sim", "version": "1.0", "use_case": "sim", "provider": "sim",
                                              "configuration": {"sim": {"text": "Simulated words."}}})
        daemon.api("POST", "/api/v1/models/sim@1.0/promote", {})

        if real_port:
            daemon.use_case("real", policy="none", fallback_content="")
            daemon.register("real", "http://127.0.0.1:%d" % real_port, upstream_model="stories260K",
                            parameters={"max_tokens": 48})

    def add(self, name, behaviour, policy="none", **config):
        self.upstreams.append(m.Upstream(behaviour))
        self.daemon.use_case(name, policy=policy, fallback_content="", retries=0)
        self.daemon.register(name, self.upstreams[-1], circuit_breaker=False, **config)

    def breaks(self, c, r):
        c.begin_stream()
        c.event(m.chunk("Half an ans"))
        c.wait_closed(0.3)
        c.reset()

    def never_ends(self, c, r):
        c.begin_stream()
        c.event(m.chunk("begun"))
        if c.wait_closed():
            self.gone.set()
        c.close()

    def play(self, client, command, folder):
        """What each scenario of a client has seen."""
        if client not in self.seen:
            jobs = list(jobs_of(client)) + [["real stream", "stream", "real"]] * bool(self.real_port)
            self.gone.clear()
            done = subprocess.run(command + [self.daemon.url, json.dumps(jobs)], cwd=folder, capture_output=True, text=True,
                                  timeout=120, env=dict(os.environ, AI_SDK_LOG_WARNINGS="false"))
            assert done.returncode == 0, done.stderr
            self.seen[client] = json.loads(done.stdout)
            self.seen[client]["gone"] = self.gone.wait(m.LIMIT) if "abort" in self.seen[client] else None
        return self.seen[client]


def jobs_of(client):
    """[name, scenario, model]"""
    for back in agents.AGENTS:
        for scenario in COMMON:
            if scenario != "object" or client != "python_anthropic":
                yield back + " " + scenario, scenario, back
    for back in agents.EMBEDDERS + ("sim",):
        if client in EMBEDDING:
            yield back + " embed", "embed", back
    for scenario in ("whole", "stream"):
        yield "sim " + scenario, scenario, "sim"
    for scenario, model in (("whole", "nobody-knows-it"), ("whole", "failing"), ("whole", "busy"), ("stream", "failing"),
                            ("stream", "guarded"), ("broken" if client.startswith("vercel") else "stream", "broken")):
        yield model + " " + scenario.replace("broken", "stream"), scenario, model
    if client in NODE and client != "openrouter":
        yield "abort", "abort", "endless"
    if client in ("google", "python_anthropic"):
        yield "count", "count", "openai"
        yield "counted", "count", CLIENTS[client]
    if client in ("google", "python_anthropic", "python_openai"):
        yield "models", "models", "openai"
    if client == "ollama":
        for scenario, model in (("generate", "openai"), ("generate", "ollama"), ("fill", "ollama"), ("image", "openai"),
                                ("models", "openai"), ("load", "openai"), ("missing", "nobody-knows-it")):
            yield scenario + " " + model, scenario, model
    if client == "google":
        yield "chat", "chat", "openai"
    if client == "langchain":
        yield "called", "called", "openai"
    if client in ("langchain", "python_openai"):
        for back in agents.AGENTS:
            yield back + " respond", "respond", back
    if client == "responses":
        yield "kept", "kept", "openai"
    if client == "python_openai":
        yield "moderate", "moderate", "guarded"


@pytest.fixture(scope="module")
def stage(daemon, request):
    try:
        port = request.getfixturevalue("model_port")
    except pytest.skip.Exception:  # told by the test that needs it
        port = None
    s = Stage(daemon, port)
    yield s
    for u in s.upstreams:
        u.close()
    assert not [e for u in s.upstreams for e in u.errors]


@pytest.fixture(params=CLIENTS)
def client(request, stage):
    name = request.param
    if name in NODE:
        seen = stage.play(name, ["node", name + ".mjs"], request.getfixturevalue("clients"))
    else:
        seen = stage.play(name, [request.getfixturevalue("python"), name + ".py"], HERE)
    return name, seen


def only(*names):
    """For a test of what these clients alone have."""
    return pytest.mark.parametrize("client", names, indirect=True)


FINISHES = {"ollama": ("stop",), "gemini": ("STOP",), "openai": ("stop",), "anthropic": ("end_turn",)}


def usage_of(name):
    return (3, 9) if CLIENTS[name] == "anthropic" else (10, 16)  # the Anthropic model says 9 of a stream


def test_a_whole_answer(client):
    name, seen = client
    for back in agents.AGENTS:
        got = seen[back + " whole"]
        assert got.get("text") == agents.TEXT and got["finish"] in FINISHES[CLIENTS[name]], (back, got)
        assert got["usage"] in usage_of(name), (back, got)
    assert seen["sim whole"].get("text") == "Simulated words.", seen["sim whole"]


def test_a_stream(client):
    name, seen = client
    for back in agents.AGENTS:
        got = seen[back + " stream"]
        assert got.get("text") == agents.TEXT and not got.get("error"), (back, got)
        assert got["finish"] in FINISHES[CLIENTS[name]] and got["usage"] in usage_of(name), (back, got)
    assert seen["sim stream"].get("text") == "Simulated words.", seen["sim stream"]


def test_tools_and_what_they_said(client):
    name, seen = client
    for back in agents.AGENTS:
        got = seen[back + " tools"]
        assert got.get("calls") == [["weather", agents.ARGS]], (back, got)
        assert got["text"] == ("It is sunny in Rome." if name.startswith("vercel") else "It is sunny."), (back, got)


def test_streamed_tools(client):
    name, seen = client
    for back in agents.AGENTS:
        got = seen[back + " toolstream"]
        if name == "openrouter":  # it leaves the pieces of a call to its caller
            assert got["called"] == "weather" + json.dumps(agents.ARGS).replace(" ", "" if back == "gemini" else " ") or \
                json.loads(got["called"][7:]) == agents.ARGS, (back, got)
        else:
            assert got.get("calls") == [["weather", agents.ARGS]], (back, got)


def test_objects(client):
    name, seen = client
    for back in agents.AGENTS:
        if back + " object" in seen:
            assert seen[back + " object"] == agents.OBJECT, (back, seen[back + " object"])


@pytest.mark.parametrize("job, status", [("nobody-knows-it whole", 404), ("failing whole", 502), ("busy whole", 429)])
def test_errors_have_their_status(client, job, status):
    name, seen = client
    got = seen[job]
    assert "threw" in got and got["status"] == status or str(status) in got["threw"], got


def test_a_stream_that_breaks_off_is_an_error(client):
    name, seen = client
    got = seen["broken stream"]
    told = str(got.get("error") or got.get("threw") or "")
    assert told and (name == "openrouter" or "broke off" in told), got  # whose schema has no errors but its own
    assert got.get("text", "Half an ans") == "Half an ans" and not got.get("finish"), got
    assert "threw" in seen["failing stream"] or seen["failing stream"]["error"], seen["failing stream"]


def test_a_guarded_stream_says_why_it_ended(client):
    name, seen = client
    got = seen["guarded stream"]
    words = {"google": "SAFETY", "vercel": "content-filter", "vercel_openai": "content-filter", "python_anthropic": "refusal"}
    assert got["text"] == "Take the " and got["finish"] == words.get(name, "content_filter"), got


@only("ollama", "google", "vercel", "vercel_openai", "langchain", "openai_all", "responses")
def test_an_abort_frees_the_upstream(client):
    name, seen = client
    assert seen["abort"]["text"] == "begun" and seen["gone"], seen["abort"]


def test_the_real_model_tells_a_story(client):
    name, seen = client
    if "real stream" not in seen:
        pytest.skip("the real model does not run")
    text = seen["real stream"].get("text", "")
    assert len(text.split()) >= 10 and not seen["real stream"].get("error"), seen["real stream"]


# --- what only some have ---


@only(*EMBEDDING)
def test_embeddings(client):
    name, seen = client
    for back in agents.EMBEDDERS:
        assert seen[back + " embed"] == [[agents.vector("a")], [agents.vector("a"), agents.vector("bb")]], (back, seen)
    one, two = seen["sim embed"]
    assert len(one) == 1 and len(two) == 2 and one[0] == two[0] != two[1], (one, two)


@only("google", "python_anthropic")
def test_tokens_are_counted(client):
    name, seen = client
    assert seen["count"] == 10  # estimated
    assert seen["counted"] == 41  # by the model


@only("google", "python_openai", "python_anthropic")
def test_models_are_listed(client):
    name, seen = client
    got = seen["models"]
    if name == "google":
        assert {"models/openai", "models/sim@1.0"} <= set(got["names"]) and got["one"]["name"] == "models/openai"
        assert len(set(got["names"])) == len(got["names"]) > 10  # in pages of two
    else:
        assert {"openai", "sim@1.0"} <= set(got["ids"]) and got["one"] == "openai"


@only("ollama")
def test_completions_and_images(client):
    seen = client[1]
    for back in ("openai", "ollama"):
        got = seen["generate " + back]
        assert got == {"text": agents.TEXT, "streamed": agents.TEXT, "reason": "stop", "tokens": 10}, (back, got)
    assert seen["fill ollama"] == "between"
    assert seen["image openai"] == agents.TEXT


@only("ollama")
def test_what_there_is(client):
    got = client[1]["models openai"]
    assert {"openai", "sim@1.0"} <= set(got["names"]) and "openai" in got["running"], got
    assert "completion" in got["can"] and got["version"][0].isdigit() and got["modified"], got
    assert client[1]["load openai"] == ["load", "unload"]
    assert client[1]["missing nobody-knows-it"]["status"] == 404, client[1]["missing nobody-knows-it"]


@only("google")
def test_several_turns_of_a_chat(client):
    assert client[1]["chat"] == {"texts": [agents.TEXT] * 2, "turns": 4}


@only("langchain")
def test_an_object_by_way_of_a_tool(client):
    assert client[1]["called"] == agents.ARGS


@only("responses")
def test_every_event_of_a_response_has_its_place(client):
    text = ["response.output_item.added", "response.content_part.added"] + ["response.output_text.delta"] * 2 + [
        "response.output_text.done", "response.content_part.done", "response.output_item.done"]
    for back in agents.AGENTS:
        assert client[1][back + " stream"]["types"] == ["response.created", "response.in_progress"] + text + [
            "response.completed"]
        assert client[1][back + " toolstream"]["parsed"] == [agents.ARGS], back


@only("responses")
def test_what_would_have_been_kept_is_not_there(client):
    assert client[1]["kept"] == [[400, "previous_response_id", "BadRequestError"], [404, "id", "NotFoundError"],
                                 [404, "id", "NotFoundError"]]


@only("langchain", "python_openai")
def test_responses_of_other_clients(client):
    for back in agents.AGENTS:
        assert client[1][back + " respond"] == {"calls": [["weather", agents.ARGS]], "text": "It is sunny.",
                                                "streamed": agents.TEXT}, (back, client[1][back + " respond"])


@only("python_openai")
def test_moderation(client):
    assert client[1]["moderate"] is False
