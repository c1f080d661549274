# SPDX-License-Identifier: Apache-2.0
"""Grammars of the streams and answers that Muster sends, and what they come to.

check(front, raw) refuses a stream whose order, members or terminator are not those of the protocol; said(protocol, ...)
reduces a stream or an answer to what was said, so that two protocols can be compared. It knows nothing of Muster.
"""
import json
import re

import openai_spec


class Broken(AssertionError):
    """A stream that a strict client would not take."""


def need(condition, what, *where):
    if not condition:
        raise Broken("%s: %s" % (what, " ".join(repr(w)[:300] for w in where)))


def blocks(raw):
    """(event name or None, data) of each server-sent event; lines that are none of ours are refused."""
    text = raw.decode() if isinstance(raw, bytes) else raw
    need(text == "" or text.endswith("\n\n"), "the last event has no blank line", text[-80:])
    for block in text.split("\n\n")[:-1]:
        name = data = None
        for line in block.split("\n"):
            if line.startswith("event: ") and name is None and data is None:
                name = line[7:]
            elif line.startswith("data: ") and data is None:
                data = line[6:]
            else:
                need(False, "a line that does not belong there", line)
        need(data is not None, "an event without data", block)
        yield name, data


# --- OpenAI ---

OPENAI_FINISH = ("stop", "length", "tool_calls", "content_filter", "function_call")


def openai_error(v):
    need(set(v["error"]) == {"message", "type", "param", "code"}, "an error of another shape", v)


def openai_usage(v):
    for k in ("prompt_tokens", "completion_tokens", "total_tokens"):
        need(isinstance(v.get(k), int) and v[k] >= 0, "usage without " + k, v)


class OpenAIChoice:
    def __init__(self):
        self.begun, self.finish, self.calls = False, None, []

    def call(self, c):
        need(isinstance(c.get("index"), int), "a call without an index", c)
        function = c.get("function") or {}
        need(isinstance(function.get("arguments", ""), str), "arguments that are no text", c)
        if c["index"] == len(self.calls):
            need(c.get("id") and c.get("type") == "function" and function.get("name"), "a call begins without its name", c)
            need(c["id"] not in [k["id"] for k in self.calls], "two calls of one id", c)
            self.calls.append({"id": c["id"], "arguments": ""})
        else:
            need(0 <= c["index"] < len(self.calls), "calls are not numbered one by one", c)
            need("id" not in c and "name" not in function, "a call is named twice", c)
        self.calls[c["index"]]["arguments"] += function.get("arguments", "")

    def take(self, c):
        delta = c.get("delta")
        need(isinstance(delta, dict) and "finish_reason" in c, "a choice without delta or finish_reason", c)
        need(self.finish is None, "a choice goes on after its end", c)
        need(self.begun or delta.get("role") == "assistant", "the first delta has no role", c)
        need(not (self.begun and "role" in delta), "the role is told twice", c)
        self.begun = True
        for k in ("content", "refusal", "reasoning_content"):
            need(delta.get(k) is None or isinstance(delta[k], str), k + " is no text", c)
        for call in delta.get("tool_calls") or ():
            self.call(call)
        need(c["finish_reason"] is None or c["finish_reason"] in OPENAI_FINISH, "an unknown finish_reason", c)
        self.finish = c["finish_reason"]


def openai_stream(raw, usage=False):
    choices, ended, failed, told, first = {}, False, False, False, None
    for name, data in blocks(raw):
        need(name is None, "OpenAI's events have no name", name)
        need(not ended and not failed, "something follows the end", data)
        if data == "[DONE]":
            ended = True
            continue
        v = json.loads(data)
        if "error" in v:
            openai_error(v)
            failed = True
            continue
        for k, kind in (("id", str), ("object", str), ("created", int), ("model", str), ("choices", list)):
            need(isinstance(v.get(k), kind), "a chunk without " + k, v)
        first = first or v
        need(v["object"] == "chat.completion.chunk" and v["id"] == first["id"], "a chunk of another answer", v)
        need(not told, "a chunk follows the usage", v)
        if not v["choices"]:
            need(usage, "a chunk without choices that nobody asked for", v)
            need(all(c.finish for c in choices.values()), "usage before the end", v)
            openai_usage(v["usage"])
            told = True
            continue
        need(v.get("usage") is None, "usage in a chunk with a choice", v)
        for c in v["choices"]:
            choices.setdefault(c["index"], OpenAIChoice()).take(c)
    if not failed:
        openai_complete(choices, ended, told or not usage)
    openai_spec.stream("/v1/chat/completions", raw if isinstance(raw, bytes) else raw.encode())


def openai_complete(choices, ended, told):
    need(ended, "no [DONE]")
    need(choices and all(c.finish for c in choices.values()), "a choice without an end")
    need(told, "the usage that was asked for is missing")
    for c in choices.values():
        need(c.finish != "tool_calls" or c.calls, "tool_calls without a call")
        for call in c.calls:
            if c.finish == "tool_calls" and call["arguments"]:
                need(isinstance(json.loads(call["arguments"]), dict), "arguments that are no object", call)


def openai_answer(v):
    for k, kind in (("id", str), ("created", int), ("model", str), ("choices", list), ("usage", dict)):
        need(isinstance(v.get(k), kind), "an answer without " + k, v)
    need(v["object"] == "chat.completion" and v["choices"], "no completion", v)
    openai_usage(v["usage"])
    for i, c in enumerate(v["choices"]):
        message = c["message"]
        need(c["index"] == i and "logprobs" in c and c["finish_reason"] in OPENAI_FINISH, "a broken choice", c)
        need(message["role"] == "assistant" and "content" in message and "refusal" in message, "a broken message", c)
        for call in message.get("tool_calls") or ():
            need(call["id"] and call["type"] == "function" and call["function"]["name"], "a broken call", call)
            need(isinstance(json.loads(call["function"]["arguments"]), dict), "arguments that are no object", call)
    openai_spec.answer("/v1/chat/completions", 200, v)


# --- OpenAI's responses ---

RESPONSES_ENDS = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
# What begins a text of an item, says more of it, ends it, and ends its part; where its number stands, and all of it.
RESPONSES_TEXTS = {
    "output_text": ("response.content_part.added", "response.output_text.delta", "response.output_text.done",
                    "response.content_part.done", "content_index", "text"),
    "refusal": ("response.content_part.added", "response.refusal.delta", "response.refusal.done",
                "response.content_part.done", "content_index", "refusal"),
    "summary_text": ("response.reasoning_summary_part.added", "response.reasoning_summary_text.delta",
                     "response.reasoning_summary_text.done", "response.reasoning_summary_part.done", "summary_index", "text"),
}
RESPONSES_IDS = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_"}


def responses_item(item, status):
    need(item["type"] in RESPONSES_IDS and item["id"].startswith(RESPONSES_IDS[item["type"]]), "an item of no kind", item)
    need(item["status"] in status, "an item that stands elsewhere", item, status)
    if item["type"] == "message":
        need(item["role"] == "assistant" and isinstance(item["content"], list), "a broken message", item)
    elif item["type"] == "function_call":
        need(item["call_id"] and item["name"] and isinstance(item["arguments"], str), "a broken call", item)


def responses_object(v, status):
    need(v["object"] == "response" and v["id"].startswith("resp_"), "no response", v)
    need(isinstance(v["model"], str), "no model", v)
    need(v["status"] == status and v["store"] is False, "a response that stands elsewhere", v, status)
    need((v["error"] is not None) == (status == "failed"), "an error without failure, or the reverse", v)
    need((v["incomplete_details"] is not None) == (status == "incomplete"), "incomplete without a reason", v)
    if status in ("completed", "incomplete"):
        u = v["usage"]
        need(u["total_tokens"] >= u["input_tokens"], "usage that cannot be", u)  # some count their reasoning beside it
    for item in v["output"]:
        responses_item(item, ("completed",) if status == "completed" else ("completed", "incomplete"))


class ResponsesItem:
    def __init__(self, item):
        responses_item(item, ("in_progress",))
        self.id, self.type, self.done = item["id"], item["type"], None
        self.kind = self.text = None  # of the part that is open
        self.said = []  # what has ended
        empty = {"message": "content", "reasoning": "summary", "function_call": "arguments"}[self.type]
        need(not item[empty], "an item begins with something in it", item)
        self.arguments = ""

    def take(self, v):
        kind = v["type"]
        if kind.startswith("response.function_call_arguments."):
            need(self.type == "function_call" and not self.said, "arguments of no call", v)
            if kind.endswith("delta"):
                self.arguments += v["delta"]
            else:
                need(v["arguments"] == self.arguments and v["name"], "arguments that were not said", v, self.arguments)
                self.said.append(self.arguments)
            return
        if kind.endswith("part.added"):
            need(self.kind is None, "a part begins in another", v)
            self.kind, self.text, self.ended = v["part"]["type"], "", False
            need((self.kind == "summary_text") == (self.type == "reasoning"), "a part of another kind of item", v)
        need(self.kind is not None, "a text outside of a part", v)
        added, delta, done, part_done, index, member = RESPONSES_TEXTS[self.kind]
        need(self.kind != "output_text" or kind not in (delta, done) or v["logprobs"] == [], "no logprobs", v)
        need(kind in (added, delta, done, part_done) and v[index] == len(self.said), "an event of another part", v)
        if kind == delta:
            need(not self.ended, "a text goes on after its end", v)
            self.text += v["delta"]
        elif kind == done:
            need(v[member] == self.text and not self.ended, "a text that was not said", v, self.text)
            self.ended = True
        else:
            need(v["part"][member] == self.text, "a part that was not said", v, self.text)
        if kind == part_done:
            need(self.ended, "a part ends before its text", v)
            self.said.append(self.text)
            self.kind = None

    def end(self, item):
        need(self.kind is None and self.done is None and item["id"] == self.id, "an item ends in its middle", item)
        responses_item(item, ("completed", "incomplete"))
        if self.type == "function_call":
            told = [item["arguments"]]
        else:
            told = [p.get("text", p.get("refusal")) for p in item["content" if self.type == "message" else "summary"]]
        need(told == self.said, "an item that was not said", item, self.said)
        self.done = item


class ResponsesStream:
    def __init__(self):
        self.n, self.items, self.ended, self.error, self.first = 0, [], None, None, None

    def response(self, v):
        name, r = v["type"], v["response"]
        if name in ("response.created", "response.in_progress"):
            need(self.n == (0 if name == "response.created" else 1), "the beginning in the middle", v)
            responses_object(r, "in_progress")
            self.first = self.first or r
            need(r == self.first and not r["output"], "two beginnings", r, self.first)
            return
        need(name in RESPONSES_ENDS and self.first and r["id"] == self.first["id"], "an end of no answer", v)
        responses_object(r, RESPONSES_ENDS[name])
        need((self.error is None) == (name != "response.failed"), "a failure without an error, or the reverse", v)
        if not self.error:
            need(all(i.done for i in self.items), "the end before that of an item", v)
            need(r["output"] == [i.done for i in self.items], "an output that was not said", r["output"])
        self.ended = r

    def take(self, name, v):
        need(name == v["type"] and not self.ended, "an event of another name, or after the end", name, v)
        # what guardrails or a full log took back is missing before an error
        need(v["sequence_number"] == self.n or (name == "error" and v["sequence_number"] > self.n), "a gap", v, self.n)
        if name == "error":
            self.error = v["error"]
            need(v["message"] == self.error["message"] and self.error["type"], "a broken error", v)
        elif "response" in v:
            self.response(v)
        else:
            need(self.n >= 2 and not self.error, "an item before the beginning, or after the end", v)
            if name == "response.output_item.added":
                need(v["output_index"] == len(self.items), "items are not numbered one by one", v)
                self.items.append(ResponsesItem(v["item"]))
                self.n += 1
                return
            need(0 <= v["output_index"] < len(self.items), "an event of no item", v)
            item = self.items[v["output_index"]]
            if name == "response.output_item.done":
                item.end(v["item"])
            else:
                need(item.id == v["item_id"] and not item.done, "an event of an item that has ended", v)
                item.take(v)
        self.n = v["sequence_number"] + 1


def responses_stream(raw, usage=True):
    s = ResponsesStream()
    for name, data in blocks(raw):
        s.take(name, json.loads(data))
    need(s.ended, "no end")
    openai_spec.stream("/v1/responses", raw if isinstance(raw, bytes) else raw.encode())


def responses_answer(v):
    responses_object(v, v["status"])
    openai_spec.answer("/v1/responses", 200, v)


# --- OpenAI's completions of texts ---

COMPLETION_FINISH = ("stop", "length", "content_filter")


def completion_choice(c, finishes):
    need(set(c) == {"text", "index", "logprobs", "finish_reason"}, "a choice of another shape", c)
    need(isinstance(c["text"], str) and isinstance(c["index"], int), "a choice without text or index", c)
    need(c["finish_reason"] in finishes, "a finish_reason that has no place there", c)


def completion_top(v):
    for k, kind in (("id", str), ("created", int), ("model", str), ("choices", list)):
        need(isinstance(v.get(k), kind), "without " + k, v)
    need(v.get("object") == "text_completion", "no completion of a text", v)


def completions_stream(raw, usage=False):
    ended = failed = told = False
    first, finish = None, {}
    for name, data in blocks(raw):
        need(name is None, "OpenAI's events have no name", name)
        need(not ended and not failed, "something follows the end", data)
        if data == "[DONE]":
            ended = True
            continue
        v = json.loads(data)
        if "error" in v:
            openai_error(v)
            failed = True
            continue
        completion_top(v)
        first = first or v
        need(v["id"] == first["id"], "a chunk of another answer", v)
        need(not told, "a chunk follows the usage", v)
        if not v["choices"]:
            need(usage and finish and all(finish.values()), "usage that nobody asked for, or before the end", v)
            openai_usage(v["usage"])
            told = True
            continue
        need(v.get("usage") is None, "usage in a chunk with a choice", v)
        for c in v["choices"]:
            completion_choice(c, (None,) + COMPLETION_FINISH)
            need(not finish.get(c["index"]), "a choice goes on after its end", c)
            finish[c["index"]] = c["finish_reason"]
    if failed:
        return
    need(ended, "no [DONE]")
    need(finish and all(finish.values()), "a choice without an end")
    need(told or not usage, "the usage that was asked for is missing")


def completions_answer(v):
    completion_top(v)
    need(v["choices"], "no choice", v)
    openai_usage(v["usage"])
    for i, c in enumerate(v["choices"]):
        completion_choice(c, COMPLETION_FINISH)
        need(c["index"] == i, "choices are not numbered one by one", v)


# --- Anthropic ---

ANTHROPIC_STOP = ("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal")
ANTHROPIC_DELTAS = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "thinking"),
                    "signature_delta": ("thinking", "signature"), "input_json_delta": ("tool_use", "partial_json")}
ANTHROPIC_BLOCKS = {"text": ("text",), "thinking": ("thinking", "signature"), "redacted_thinking": ("data",),
                    "tool_use": ("id", "name", "input")}


def anthropic_error(v):
    need(set(v) == {"type", "error", "request_id"} and v["type"] == "error", "an error of another shape", v)
    need(set(v["error"]) == {"type", "message"}, "an error of another shape", v)


def anthropic_usage(v, *names):
    for k in names:
        need(isinstance(v.get(k), int) and v[k] >= 0, "usage without " + k, v)


def anthropic_block(b):
    need(b.get("type") in ANTHROPIC_BLOCKS, "a block of an unknown type", b)
    for k in ANTHROPIC_BLOCKS[b["type"]]:
        need(k in b, "a block without " + k, b)
    if b["type"] == "tool_use":
        need(isinstance(b["input"], dict) and b["id"] and b["name"], "a broken call", b)


class AnthropicStream:
    def __init__(self):
        self.begun, self.ended, self.failed, self.delta = False, False, False, None
        self.open, self.n, self.json, self.kinds = None, 0, "", []

    def message_start(self, v):
        need(not self.begun, "message_start twice", v)
        self.begun = True
        message = v["message"]
        need(message["type"] == "message" and message["role"] == "assistant" and message["content"] == [] and
             message["id"] and isinstance(message["model"], str), "a broken message", v)
        need(message["stop_reason"] is None and message["stop_sequence"] is None, "stopped before it began", v)
        anthropic_usage(message["usage"], "input_tokens", "output_tokens")

    def content_block_start(self, v):
        need(self.begun and self.open is None and self.delta is None, "a block begins out of its place", v)
        need(v["index"] == self.n, "blocks are not numbered one by one", v)
        anthropic_block(v["content_block"])
        self.open, self.json = v["content_block"]["type"], ""
        self.n += 1
        self.kinds.append(self.open)

    def content_block_delta(self, v):
        need(self.open is not None and v["index"] == self.n - 1, "a delta of a block that is not open", v)
        kind, member = ANTHROPIC_DELTAS.get(v["delta"].get("type"), (None, None))
        need(kind == self.open and isinstance(v["delta"].get(member), str), "a delta of another kind", v)
        if member == "partial_json":
            self.json += v["delta"][member]

    def content_block_stop(self, v):
        need(self.open is not None and v["index"] == self.n - 1, "a block ends that is not open", v)
        if self.json:
            self.last_json = self.json
        self.open = None

    def message_delta(self, v):
        need(self.begun and self.open is None and self.delta is None, "message_delta out of its place", v)
        self.delta = v["delta"]
        need(self.delta["stop_reason"] in ANTHROPIC_STOP and "stop_sequence" in self.delta, "a broken end", v)
        anthropic_usage(v["usage"], "output_tokens")
        need(self.delta["stop_reason"] != "tool_use" or "tool_use" in self.kinds, "tool_use without a call", v)

    def message_stop(self, v):
        need(self.delta is not None, "message_stop before message_delta", v)
        self.ended = True

    def ping(self, v):
        pass

    def error(self, v):
        anthropic_error(v)
        self.failed = True

    def take(self, name, v):
        need(name == v["type"], "the event's name is not its type", name, v)
        need(not self.ended and not self.failed, "something follows the end", v)
        need(name in ("message_start", "content_block_start", "content_block_delta", "content_block_stop",
                      "message_delta", "message_stop", "ping", "error"), "an unknown event", name)
        getattr(self, name)(v)


def anthropic_stream(raw, usage=True):
    s = AnthropicStream()
    for name, data in blocks(raw):
        s.take(name, json.loads(data))
    need(s.failed or s.ended, "no message_stop")


def anthropic_answer(v):
    need(v["type"] == "message" and v["role"] == "assistant" and v["id"] and isinstance(v["model"], str), "no message", v)
    need(v["stop_reason"] in ANTHROPIC_STOP and "stop_sequence" in v, "a broken end", v)
    anthropic_usage(v["usage"], "input_tokens", "output_tokens")
    for b in v["content"]:
        anthropic_block(b)


# --- Gemini ---

GEMINI_FINISH = ("STOP", "MAX_TOKENS", "SAFETY")
GEMINI_PARTS = {"text", "thought", "thoughtSignature", "functionCall"}


def gemini_error(v):
    need(set(v) == {"error"} and set(v["error"]) == {"code", "message", "status"}, "an error of another shape", v)
    need(isinstance(v["error"]["code"], int), "a code that is no number", v)


def gemini_usage(v):
    for k in ("promptTokenCount", "candidatesTokenCount", "totalTokenCount"):
        need(isinstance(v.get(k), int) and v[k] >= 0, "usage without " + k, v)


def gemini_chunk(v, last):
    need(len(v["candidates"]) == 1 and v["modelVersion"] and v["responseId"], "an answer without its names", v)
    c = v["candidates"][0]
    need(c["index"] == 0 and c["content"]["role"] == "model" and isinstance(c["content"]["parts"], list), "a candidate", v)
    for part in c["content"]["parts"]:
        need(set(part) <= GEMINI_PARTS and ("text" in part) != ("functionCall" in part), "a part of another shape", part)
        if "functionCall" in part:
            call = part["functionCall"]
            need(call["name"] and isinstance(call["args"], dict) and set(call) <= {"id", "name", "args"}, "a call", call)
    need(("finishReason" in c) == last, "a reason that is not the end", v)
    if last:
        need(c["finishReason"] in GEMINI_FINISH, "an unknown reason", v)
        gemini_usage(v["usageMetadata"])


def gemini_stream(raw, usage=True):
    need(raw.endswith(b"\r\n\r\n"), "the last event has no blank line", raw[-80:])
    values = [json.loads(data) for _, data in blocks(raw.replace(b"\r\n", b"\n"))]
    failed = values and "error" in values[-1]
    for i, v in enumerate(values):
        if failed and i == len(values) - 1:
            gemini_error(v)
        else:
            gemini_chunk(v, i == len(values) - 1)
    need(values, "no end")


def gemini_answer(v):
    gemini_chunk(v, True)


# --- Ollama ---

OLLAMA_FINISH = ("stop", "length", "content_filter")
OLLAMA_FACTS = ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration")


def ollama_error(v):
    need(set(v) == {"error"} and isinstance(v["error"], str) and v["error"], "an error of another shape", v)


def ollama_words(v, chat):
    """The members that hold what is said: in a message, or beside the model's name."""
    if not chat:
        need("message" not in v, "a message in a completion", v)
        return v, "response"
    need("response" not in v and isinstance(v.get("message"), dict), "no message", v)
    need(v["message"].get("role") == "assistant", "a message of somebody else", v)
    return v["message"], "content"


def ollama_object(v, last, chat=True):
    need(isinstance(v.get("model"), str) and v["model"], "an object without a model", v)
    need(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", v.get("created_at", "")), "a time of another form", v)
    words, name = ollama_words(v, chat)
    need(isinstance(words.get(name), str) and isinstance(words.get("thinking", ""), str), "words that are no text", v)
    for call in words.get("tool_calls", ()):
        need(set(call) <= {"id", "function"} and set(call["function"]) == {"name", "arguments"}, "a call", call)
        need(call["function"]["name"] and isinstance(call["function"]["arguments"], dict), "a call", call)
    need(v.get("done") is last, "an end that is none, or none that is", v)
    need(("done_reason" in v) == last, "a reason that is not the end", v)
    if last:
        need(v["done_reason"] in OLLAMA_FINISH, "an unknown reason", v)
        for k in OLLAMA_FACTS:
            need(isinstance(v.get(k), int) and v[k] >= 0, "an end without " + k, v)


def ollama_lines(raw):
    need(raw.endswith(b"\n"), "the last line has no end", raw[-80:])
    need(b"\n\n" not in raw and not raw.startswith(b"\n"), "an empty line", raw[-80:])
    return [json.loads(line) for line in raw.split(b"\n")[:-1]]


def ollama_stream(raw, usage=True, chat=True):
    values = ollama_lines(raw)
    failed = "error" in values[-1]
    for i, v in enumerate(values):
        if failed and i == len(values) - 1:
            ollama_error(v)
        else:
            ollama_object(v, i == len(values) - 1, chat)


def ollama_answer(v):
    ollama_object(v, True)


def ollama_generate_stream(raw, usage=True):
    ollama_stream(raw, usage, chat=False)


def ollama_generate_answer(v):
    ollama_object(v, True, chat=False)


# --- generate ---


def generate_facts(v):
    for k in ("success", "tokens_used", "layer", "use_case", "model_id", "model_name", "latency_ms", "log_id",
              "fallback_used", "finish_reason", "usage"):
        need(k in v, "an answer without " + k, v)


def generate_stream(raw, usage=True):
    ended = False
    for name, data in blocks(raw):
        v = json.loads(data)
        need(name is None and not ended, "something follows the end", v)
        if "error" in v:
            ended = True
        elif v.get("done"):
            generate_facts(v)
            ended = True
        else:
            need(set(v) == {"text"} and isinstance(v["text"], str), "an event of another shape", v)
    need(ended, "no end")


def generate_answer(v):
    generate_facts(v)
    need(isinstance(v.get("text"), str), "an answer without text", v)


STREAMS = {"gemini": gemini_stream, "openai": openai_stream, "anthropic": anthropic_stream, "generate": generate_stream,
           "ollama": ollama_stream, "ollama_generate": ollama_generate_stream, "responses": responses_stream,
           "completions": completions_stream}
ANSWERS = {"gemini": gemini_answer, "openai": openai_answer, "anthropic": anthropic_answer, "generate": generate_answer,
           "ollama": ollama_answer, "ollama_generate": ollama_generate_answer, "responses": responses_answer,
           "completions": completions_answer}
ERRORS = {"gemini": gemini_error, "openai": openai_error, "anthropic": anthropic_error, "ollama": ollama_error,
          "ollama_generate": ollama_error, "responses": openai_error, "completions": openai_error}


# --- what was said ---


class Said:
    """text, reasoning, refusal; calls as (name, arguments parsed); finish in OpenAI's words."""

    def __init__(self):
        self.text = self.reasoning = self.refusal = ""
        self.signatures, self.calls, self.finish, self.usage, self.error = [], [], None, None, None

    def call(self, name, arguments):
        self.calls.append([name, arguments])

    def done(self):
        if self.error:  # a call may have broken off with it
            return self
        self.calls = [(name, json.loads(a) if isinstance(a, str) and a else a or {}) for name, a in self.calls]
        return self


FINISHES = {"end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
            "tool_use": "tool_calls", "refusal": "content_filter", "function_call": "tool_calls",
            "model_length": "length", "STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}


def finish_word(reason):
    return FINISHES.get(reason, reason)


def openai_parts(s, m):
    content = m.get("content")
    for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
        s.text += part.get("text") or ""
        for t in part.get("thinking") or ():
            s.reasoning += t["text"]
    s.reasoning += m.get("reasoning_content") or m.get("reasoning") or ""
    s.refusal += m.get("refusal") or ""


def openai_said(values):
    """Of chunks, or of one answer."""
    s, calls = Said(), {}
    for v in values:
        s.usage = v.get("usage") or s.usage
        s.error = v.get("error") or s.error
        for c in v.get("choices") or ():
            m = c.get("delta") or c.get("message") or {}
            s.text += c.get("text") or ""
            openai_parts(s, m)
            for i, call in enumerate(m.get("tool_calls") or ()):
                got = calls.setdefault(call.get("index", i), ["", ""])
                got[0] = got[0] or call["function"].get("name") or ""
                got[1] += call["function"].get("arguments") or ""
            s.finish = finish_word(c.get("finish_reason")) or s.finish
    for k in sorted(calls):
        s.call(*calls[k])
    return s.done()


def anthropic_block_said(s, b, places, index):
    if b["type"] == "text":
        s.text += b["text"]
    elif b["type"] == "thinking":
        s.reasoning += b["thinking"]
        s.signatures += [b["signature"]] if b.get("signature") else []
    elif b["type"] == "tool_use":
        places[index] = len(s.calls)
        s.call(b["name"], json.dumps(b["input"]) if b["input"] else "")


def anthropic_said(values):
    s, places = Said(), {}
    for v in values:
        kind = v["type"]
        if kind == "message":
            for i, b in enumerate(v["content"]):
                anthropic_block_said(s, b, places, i)
        if kind == "content_block_start":
            anthropic_block_said(s, v["content_block"], places, v["index"])
        if kind == "content_block_delta":
            d = v["delta"]
            s.text += d.get("text", "")
            s.reasoning += d.get("thinking", "")
            s.signatures += [d["signature"]] if d.get("signature") else []
            if d["type"] == "input_json_delta" and v["index"] in places:
                s.calls[places[v["index"]]][1] += d["partial_json"]
        end = v["delta"] if kind == "message_delta" else v if kind == "message" else {}
        s.finish = finish_word(end.get("stop_reason")) or s.finish
        s.refusal += (end.get("stop_details") or {}).get("explanation", "")
        if kind in ("message", "message_delta"):
            s.usage = v.get("usage") or s.usage
        s.error = v.get("error") or s.error
    return s.done()


def responses_said(values):
    """Of events, or of one answer: what the deltas say, and what the end says of it."""
    s, calls = Said(), {}
    for v in values:
        s.error = v.get("error") or s.error
        kind = v.get("type", "")
        s.text += v["delta"] if kind == "response.output_text.delta" else ""
        s.refusal += v["delta"] if kind == "response.refusal.delta" else ""
        s.reasoning += v["delta"] if kind == "response.reasoning_summary_text.delta" else ""
        if kind == "response.output_item.added" and v["item"]["type"] == "function_call":
            calls[v["output_index"]] = [v["item"]["name"], ""]
        if kind == "response.function_call_arguments.delta":
            calls[v["output_index"]][1] += v["delta"]
        r = v if v.get("object") == "response" else v["response"] if kind in RESPONSES_ENDS else None
        if not r:
            continue
        s.usage = r.get("usage")
        s.finish = {"max_output_tokens": "length"}.get((r["incomplete_details"] or {}).get("reason"), "content_filter") \
            if r["status"] == "incomplete" else "stop"
        for item in r["output"]:
            s.signatures += [item["encrypted_content"]] if item.get("encrypted_content") else []
            if item["type"] == "function_call" and s.finish == "stop":
                s.finish = "tool_calls"
        if kind not in RESPONSES_ENDS:
            responses_output_said(s, r["output"])
    for k in sorted(calls):
        s.call(*calls[k])
    return s.done()


def responses_output_said(s, output):
    for item in output:
        if item["type"] == "function_call":
            s.call(item["name"], item["arguments"])
        for part in item.get("content", ()):
            s.text += part.get("text", "")
            s.refusal += part.get("refusal", "")
        for part in item.get("summary", ()):
            s.reasoning += part["text"]


def generate_said(values):
    s = Said()
    for v in values:
        s.text += v.get("text", "")
        s.finish = v.get("finish_reason") or s.finish
        s.usage = v.get("usage") or s.usage
        s.error = v.get("error") or s.error
    return s.done()


def gemini_call(s, call):
    """Arguments come whole, or in pieces that go to one member each."""
    if call.get("name"):
        s.call(call["name"], dict(call.get("args") or {}))
    for piece in call.get("partialArgs") or ():
        member = piece["jsonPath"][2:]
        value = [piece[k] for k in ("stringValue", "numberValue", "boolValue", "nullValue") if k in piece][0]
        before = s.calls[-1][1].get(member)
        s.calls[-1][1][member] = before + value if isinstance(before, str) else value


def gemini_said(values):
    s = Said()
    for v in values:
        s.usage = v.get("usageMetadata") or s.usage
        s.error = v.get("error") or s.error
        s.refusal += (v.get("promptFeedback") or {}).get("blockReasonMessage", "")
        for c in v.get("candidates") or ():
            for part in (c.get("content") or {}).get("parts") or ():
                if part.get("thought"):
                    s.reasoning += part.get("text", "")
                else:
                    s.text += part.get("text", "")
                s.signatures += [part["thoughtSignature"]] if part.get("thoughtSignature") else []
                gemini_call(s, part.get("functionCall") or {})
            s.finish = finish_word(c.get("finishReason")) or s.finish
    if s.finish == "stop" and s.calls:
        s.finish = "tool_calls"
    return s.done()


def ollama_said(values):
    s = Said()
    for v in values:
        words = v.get("message") or v
        s.text += words.get("content", "") + words.get("response", "")
        s.reasoning += words.get("thinking", "")
        for call in words.get("tool_calls") or ():
            s.call(call["function"]["name"], call["function"]["arguments"])
        s.error = v.get("error") or s.error
        s.finish = v.get("done_reason") or s.finish
        if "eval_count" in v:
            s.usage = {k: v.get(k, 0) for k in ("prompt_eval_count", "eval_count")}
    if s.finish == "stop" and s.calls:
        s.finish = "tool_calls"
    return s.done()


SAID = {"gemini": gemini_said, "openai": openai_said, "anthropic": anthropic_said, "generate": generate_said,
        "ollama": ollama_said, "ollama_generate": ollama_said, "responses": responses_said, "completions": openai_said}


def stream_said(protocol, raw):
    if protocol.startswith("ollama"):
        return ollama_said([json.loads(line) for line in raw.split(b"\n") if line.strip()])
    raw = raw.replace(b"\r\n", b"\n")
    return SAID[protocol]([json.loads(data) for _, data in blocks(raw) if data != "[DONE]"])


def check_stream(front, raw, usage=False):
    STREAMS[front](raw, usage=usage)
    return stream_said(front, raw)


def check_answer(front, value):
    ANSWERS[front](value)
    return SAID[front]([value])
