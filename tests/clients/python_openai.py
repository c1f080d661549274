# SPDX-License-Identifier: Apache-2.0
"""Scenarios with the openai client for Python."""
import json

import openai
from play import URL, play

client = openai.OpenAI(base_url=URL + "/v1", api_key="unused", max_retries=0, timeout=30)
HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}]


def calls_of(message):
    return [[c.function.name, json.loads(c.function.arguments)] for c in message.tool_calls or ()]


def whole(model):
    r = client.chat.completions.with_raw_response.create(model=model, messages=HELLO, temperature=0)
    answer = r.parse()
    return {"text": answer.choices[0].message.content, "finish": answer.choices[0].finish_reason,
            "usage": answer.usage.total_tokens, "log_id": r.headers["x-muster-log-id"]}


def stream(model):
    got = {"text": "", "finish": None, "usage": None}
    for chunk in client.chat.completions.create(model=model, messages=HELLO, stream=True,
                                                stream_options={"include_usage": True}):
        if chunk.choices:
            got["text"] += chunk.choices[0].delta.content or ""
            got["finish"] = chunk.choices[0].finish_reason or got["finish"]
        got["usage"] = chunk.usage.total_tokens if chunk.usage else got["usage"]
    return got


def tools(model):
    first = client.chat.completions.create(model=model, messages=HELLO, tools=TOOLS).choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "sunny"}
    second = client.chat.completions.create(model=model, messages=HELLO + [first, result], tools=TOOLS)
    return {"calls": calls_of(first), "text": second.choices[0].message.content}


def toolstream(model):
    with client.chat.completions.stream(model=model, messages=HELLO, tools=TOOLS) as s:
        choice = s.get_final_completion().choices[0]
    return {"calls": calls_of(choice.message), "finish": choice.finish_reason}


def respond(model):
    tools = [dict(TOOLS[0]["function"], type="function", strict=False)]
    first = client.responses.create(model=model, input=HELLO, tools=tools)
    calls = [i for i in first.output if i.type == "function_call"]
    result = {"type": "function_call_output", "call_id": calls[0].call_id, "output": "sunny"}
    second = client.responses.create(model=model, input=HELLO + first.output + [result], tools=tools)
    with client.responses.stream(model=model, input="hello") as s:
        streamed = "".join(e.delta for e in s if e.type == "response.output_text.delta")
        assert s.get_final_response().output_text == streamed
    return {"calls": [[c.name, json.loads(c.arguments)] for c in calls], "text": second.output_text, "streamed": streamed}


def structured(model):
    answer = client.chat.completions.create(model=model, messages=HELLO, response_format={
        "type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}})
    return json.loads(answer.choices[0].message.content)


def embed(model):
    one = client.embeddings.create(model=model, input="a")
    two = client.embeddings.create(model=model, input=["a", "bb"])
    return [[d.embedding for d in r.data] for r in (one, two)]


def models(model):
    return {"ids": [x.id for x in client.models.list()], "one": client.models.retrieve(model).id}


def moderate(model):
    return client.moderations.create(input="hello", model=model).results[0].flagged


play({"whole": whole, "stream": stream, "tools": tools, "toolstream": toolstream, "respond": respond, "object": structured, "embed": embed,
      "models": models, "moderate": moderate})
