# SPDX-License-Identifier: Apache-2.0
"""Scenarios with the anthropic client for Python."""
import anthropic
from play import URL, play

client = anthropic.Anthropic(base_url=URL, api_key="unused", max_retries=0, timeout=30)
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"name": "weather", "description": "d", "input_schema": {"type": "object",
                                                                  "properties": {"city": {"type": "string"}}}}]


def said(message):
    return {"text": "".join(b.text for b in message.content if b.type == "text"),
            "calls": [[b.name, b.input] for b in message.content if b.type == "tool_use"],
            "finish": message.stop_reason, "usage": message.usage.output_tokens}


def whole(model):
    r = client.messages.with_raw_response.create(model=model, max_tokens=100, messages=HELLO)
    return dict(said(r.parse()), log_id=r.headers["x-muster-log-id"])


def stream(model):
    with client.messages.stream(model=model, max_tokens=100, messages=HELLO) as s:
        text = "".join(s.text_stream)
        return dict(said(s.get_final_message()), streamed=text)


def tools(model):
    first = client.messages.create(model=model, max_tokens=100, messages=HELLO, tools=TOOLS)
    call = [b for b in first.content if b.type == "tool_use"][0]
    second = client.messages.create(model=model, max_tokens=100, tools=TOOLS, messages=HELLO + [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}])
    return {"calls": said(first)["calls"], "text": said(second)["text"]}


def toolstream(model):
    with client.messages.stream(model=model, max_tokens=100, messages=HELLO, tools=TOOLS) as s:
        return said(s.get_final_message())


def count(model):
    return client.messages.count_tokens(model=model, messages=[{"role": "user", "content": "x" * 40}]).input_tokens


def models(model):
    return {"ids": [x.id for x in client.models.list()], "one": client.models.retrieve(model).id}


play({"whole": whole, "stream": stream, "tools": tools, "toolstream": toolstream, "count": count, "models": models})
