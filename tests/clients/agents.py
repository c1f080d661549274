# SPDX-License-Identifier: Apache-2.0
"""Models that behave alike behind each protocol: they call the first tool that they are given, with {"city": "Rome"}, tell
what it said, answer JSON where they are asked for it, and else say hello; whole and streamed, arguments cut in two."""
import base64
import json
import struct

import muster as m
import test_protocol_gemini as gemini
import test_protocol_translate as t

TEXT, ARGS, OBJECT = "Hi there, all.", {"city": "Rome"}, {"city": "Rome", "days": 3}


def think(tools, result, wants_json):
    """(name of a tool, None), or (None, what is said)."""
    if result is not None:
        return None, "It is %s." % result
    if tools:
        return tools[0], None
    return None, json.dumps(OBJECT) if wants_json else TEXT


def vector(text):
    """Numbers that every protocol carries as they are, in base64 too."""
    return [float(len(text)), 0.5, -1.25]


def in_base64(numbers):
    return base64.b64encode(struct.pack("<%df" % len(numbers), *numbers)).decode()


def embeds(c, r):
    """Answers a request for vectors; False: it is none."""
    asked = r.json()
    if r.path.endswith("/v1/embeddings"):
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        write = in_base64 if asked.get("encoding_format") == "base64" else list
        c.reply(200, {"object": "list", "model": "up", "usage": {"prompt_tokens": 5, "total_tokens": 5}, "data": [
            {"object": "embedding", "index": i, "embedding": write(vector(x))} for i, x in enumerate(texts)]})
    elif r.path.endswith("/api/embed"):
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        c.reply(200, {"model": "up", "embeddings": [vector(x) for x in texts], "prompt_eval_count": 5})
    elif "mbedContent" in r.path:
        contents = [x["content"] for x in asked.get("requests", [asked])]
        vectors = [{"values": vector("".join(p["text"] for p in x["parts"]))} for x in contents]
        c.reply(200, {"embeddings": vectors} if "requests" in asked else {"embedding": vectors[0]})
    else:
        return False
    return True


def pieces(text):
    return [text[:5], text[5:]]


def openai(c, r):
    asked = r.json()
    results = [x["content"] for x in asked["messages"] if x["role"] == "tool"]
    tool, text = think([x["function"]["name"] for x in asked.get("tools", ())], results[-1] if results else None,
                       "response_format" in asked)
    stream = asked.get("stream")
    if not stream:
        answer = m.completion(text, system_fingerprint="fp_up")
        if tool:
            call = {"id": "call_1", "type": "function", "function": {"name": tool, "arguments": json.dumps(ARGS)}}
            answer["choices"][0].update(message={"role": "assistant", "content": None, "tool_calls": [call]},
                                        finish_reason="tool_calls")
        c.reply(200, answer)
        return
    said = [m.chunk("", role="assistant")] + ([m.chunk(p) for p in pieces(text)] if text else [])
    if tool:
        whole = json.dumps(ARGS)
        said.append(m.chunk(tool_calls=[{"index": 0, "id": "call_1", "type": "function",
                                         "function": {"name": tool, "arguments": whole[:4]}}]))
        said.append(m.chunk(tool_calls=[{"index": 0, "function": {"arguments": whole[4:]}}]))
    said.append(m.chunk(finish="tool_calls" if tool else "stop"))
    if (asked.get("stream_options") or {}).get("include_usage"):
        said.append(m.usage_chunk())
    m.events(*said, "[DONE]")(c, r)


def anthropic(c, r):
    asked = r.json()
    results = [b["content"] for x in asked["messages"] if isinstance(x["content"], list)
               for b in x["content"] if b["type"] == "tool_result"]
    result = results[-1] if results else None
    if isinstance(result, list):
        result = "".join(b["text"] for b in result)
    tool, text = think([x["name"] for x in asked.get("tools", ())], result, "output_config" in asked or
                       "output_format" in asked)
    if r.path.endswith("count_tokens"):
        c.reply(200, {"input_tokens": 41})
    elif asked.get("stream"):
        block = t.text_block(0, *pieces(text)) if text else t.block_events(
            0, {"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}},
            *[{"type": "input_json_delta", "partial_json": p} for p in pieces(json.dumps(ARGS))])
        t.claude(block, stop="tool_use" if tool else "end_turn")(c, r)
    elif tool:
        c.reply(200, t.message({"type": "tool_use", "id": "toolu_1", "name": tool, "input": ARGS}, stop="tool_use"))
    else:
        c.reply(200, t.message({"type": "text", "text": text}))


def gemini_agent(c, r):
    asked = r.json()
    parts = [p for x in asked["contents"] for p in x["parts"]]
    results = [p["functionResponse"]["response"] for p in parts if "functionResponse" in p]
    tools = [f["name"] for x in asked.get("tools", ()) for f in x.get("functionDeclarations", ())]
    result = next(iter(results[-1].values())) if results else None
    tool, text = think(tools, result, "responseMimeType" in asked.get("generationConfig", {}))
    said = [{"functionCall": {"name": tool, "args": ARGS}}] if tool else [{"text": p} for p in pieces(text)]
    if ":countTokens" in r.path:
        c.reply(200, {"totalTokens": 41})
    elif ":stream" in r.path:
        gemini.streams(*[gemini.reply(p, finish="STOP" if p is said[-1] else None) for p in said])(c, r)
    else:
        c.reply(200, gemini.reply(*said))


def ollama(c, r):
    """In answer to both of its calls."""
    asked = r.json()
    if r.path == "/api/generate":
        said = [{"response": p} for p in pieces(TEXT if "suffix" not in asked else "between")]
        joined = {"response": "".join(x["response"] for x in said)}
    else:
        results = [x["content"] for x in asked["messages"] if x["role"] == "tool"]
        tool, text = think([x["function"]["name"] for x in asked.get("tools", ())], results[-1] if results else None,
                           "format" in asked)
        words = [{"tool_calls": [{"function": {"name": tool, "arguments": ARGS}}]}] if tool else \
            [{"content": p} for p in pieces(text)]
        said = [{"message": dict({"role": "assistant", "content": ""}, **w)} for w in words]
        joined = said[0] if tool else {"message": {"role": "assistant", "content": text}}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
    if not asked.get("stream", True):
        c.reply(200, dict({"model": "up"}, **joined, **end))
        return
    c.begin_stream("application/x-ndjson")
    for one in said:
        c.line(dict({"model": "up", "done": False}, **one))
    last = {"response": ""} if r.path == "/api/generate" else {"message": {"role": "assistant", "content": ""}}
    c.line(dict({"model": "up"}, **last, **end))
    c.end_stream()


def with_vectors(agent):
    return lambda c, r: embeds(c, r) or agent(c, r)


AGENTS = {"ollama": with_vectors(ollama), "openai": with_vectors(openai), "anthropic": anthropic,
          "gemini": with_vectors(gemini_agent)}
EMBEDDERS = ("ollama", "openai", "gemini")
