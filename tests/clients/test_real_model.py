# SPDX-License-Identifier: Apache-2.0
"""A real language model, tiny, behind the OpenAI and the Ollama protocol: the first session of a new user, and load."""
import json
import os
import subprocess
import threading

import pytest

import muster as m


def cli(daemon, *args):
    done = subprocess.run([m.BIN] + list(args), env=dict(os.environ, MUSTER_URL=daemon.url), capture_output=True,
                          text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


def is_story(text):
    words = text.split()
    return len(words) >= 10 and sum(w.strip(".,!?\"'").isalpha() for w in words) > len(words) * 0.7


def test_the_first_session(daemon, model_port):
    cli(daemon, "model", "register", "--name", "tiny", "--version", "1.0", "--use-case", "foundation_layer", "--provider",
        "ollama", "--endpoint", "http://127.0.0.1:%d" % model_port, "--upstream-model", "stories260K")
    cli(daemon, "model", "promote", "tiny@1.0", "--use-case", "foundation_layer", "--why", "first real model")
    story = cli(daemon, "generate", "foundation", "Once upon a time")
    assert is_story(story), story
    m.eventually(lambda: json.loads(cli(daemon, "log", "list", "--json"))["data"], "the record")
    assert "tiny@1.0" in cli(daemon, "log", "list")
    record = json.loads(cli(daemon, "log", "list", "--json", "--text"))["data"][0]
    assert record["status"] == "ok" and record["model_name"] == "tiny@1.0" and record["provider"] == "ollama"
    assert record["prompt"] == "Once upon a time" and record["output"].strip() == story.strip()
    assert record["usage"]["completion_tokens"] > 10 and record["usage"]["estimated"] is False
    streamed = cli(daemon, "generate", "foundation", "Once upon a time", "--stream")
    assert streamed.strip() == story.strip()
    assert "first real model" in cli(daemon, "model", "history", "tiny@1.0")
    assert "tiny" in cli(daemon, "current", "foundation_layer")


@pytest.fixture(scope="module")
def cases(daemon, model_port):
    """One use case for each protocol that the model speaks."""
    names = {}
    for protocol in ("openai", "ollama"):
        names[protocol] = "real_" + protocol
        daemon.use_case(names[protocol], fallback_content="")
        daemon.register(names[protocol], "http://127.0.0.1:%d" % model_port, protocol=protocol,
                        upstream_model="stories260K", parameters={"max_tokens": 48})
    return names


@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_whole_and_streamed_tell_the_same_story(daemon, cases, protocol):
    name, prompt = cases[protocol], "The little dog"
    whole = daemon.chat(name, prompt, temperature=0)
    text = whole.json()["choices"][0]["message"]["content"]
    assert is_story(text), text
    with daemon.chat_stream(name, prompt, temperature=0, stream_options={"include_usage": True}) as s:
        got = s.events()
    assert m.chat_text(got) == text and got[-1] == "[DONE]"
    usage = [e["usage"] for e in got[:-1] if e.get("usage")]
    assert usage[0]["completion_tokens"] == whole.json()["usage"]["completion_tokens"]
    with daemon.generate_stream(name, prompt, temperature=0) as s:
        assert "".join(e.get("text", "") for e in s.events()) == text
    log = daemon.log_of(s)
    assert log["output"] == text and log["first_token_ms"] <= log["latency_ms"]


@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_several_in_parallel(daemon, cases, protocol):
    name = cases[protocol]
    prompts = ["Tom", "The cat", "A girl", "One day", "Lily", "The sun", "A boy", "Mom"]
    alone = {p: daemon.generate(name, p, temperature=0).json()["text"] for p in prompts}
    got = {}

    def ask(p):
        with daemon.generate_stream(name, p, temperature=0) as s:
            got[p] = "".join(e.get("text", "") for e in s.events())

    threads = [threading.Thread(target=ask, args=(p,)) for p in prompts]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    # batching may round differently, so words may differ: nobody gets somebody else's story, nor half of one
    assert set(got) == set(prompts) and all(len(got[p].split()) > 5 for p in prompts)
    assert sum(got[p] == alone[p] for p in prompts) >= len(prompts) // 2
    records = m.eventually(lambda: [d for d in [daemon.api("GET", "/api/v1/logs?text=true&limit=1000&use_case=" + name)["data"]]
                                    if all(any(r["stream"] and r["output"] == t for r in d) for t in got.values())],
                           "the records")[0]
    assert all(r["status"] == "ok" for r in records)


def test_a_wrong_name_upstream_falls_back(daemon, cases, model_port):
    daemon.use_case("real_fallback", fallback_content="")
    daemon.register("real_fallback", "http://127.0.0.1:%d" % model_port, protocol="ollama", upstream_model="nothing")
    good = daemon.register("real_fallback", "http://127.0.0.1:%d" % model_port, protocol="ollama", promote=False,
                           upstream_model="stories260K")
    daemon.use_case("real_fallback", fallback=[good], fallback_content="")
    a = daemon.generate("real_fallback", "Once")
    assert a.status == 200 and a.json()["fallback_used"] is True and a.headers["x-muster-model"] == good


def test_a_caller_who_leaves_stops_the_model(daemon, cases):
    with daemon.chat_stream(cases["openai"], "Once upon a time", max_tokens=400) as s:
        while not m.chat_text([s.event()]):
            pass
    log = daemon.log_of(s)
    assert log["status"] == "client_disconnect" and log["output"]
    assert daemon.generate(cases["openai"], "Once").status == 200
