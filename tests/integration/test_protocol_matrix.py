# SPDX-License-Identifier: Apache-2.0
"""docs/PROTOCOLS.md: what each front gets through to each back, and back. The file is what these requests found.

MUSTER_WRITE=1 writes it; without, the test compares.
"""
import json
import os

import grammar as g
import muster as m
import test_protocol_translate as t

PATH = os.path.join(m.ROOT, "docs", "PROTOCOLS.md")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}
CLAUDE_FUNCTION = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
HELLO = {"role": "user", "content": "hello"}


def parts(*content):
    return {"messages": [{"role": "user", "content": list(content)}]}


OPENAI = [
    ("system prompt", {"messages": [{"role": "system", "content": "s"}, HELLO]}),
    ("developer prompt", {"messages": [{"role": "developer", "content": "s"}, HELLO]}),
    ("several turns", {"messages": [HELLO, {"role": "assistant", "content": "hi"}, HELLO]}),
    ("image by URL", parts({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})),
    ("image in base64", parts({"type": "image_url", "image_url": {"url": "data:image/png;base64," + PIXEL}})),
    ("audio", parts({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})),
    ("file", parts({"type": "file", "file": {"file_id": "x"}})),
    ("tools", {"tools": [{"type": "function", "function": FUNCTION}]}),
    ("`functions`", {"functions": [FUNCTION]}),
    ("tool choice", {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"}),
    ("one call at a time", {"tools": [{"type": "function", "function": FUNCTION}], "parallel_tool_calls": False}),
    ("calls and results", {"tools": [{"type": "function", "function": FUNCTION}], "messages": [HELLO, {
        "role": "assistant", "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"}]}),
    ("reasoning of earlier turns", {"messages": [HELLO, {"role": "assistant", "content": "hi", "reasoning_content": "hm"},
                                                 HELLO]}),
    ("`max_tokens`", {"max_tokens": 9}),
    ("`max_completion_tokens`", {"max_completion_tokens": 9}),
    ("`temperature`", {"temperature": 0.5}),
    ("`top_p`", {"top_p": 0.5}),
    ("`seed`", {"seed": 1}),
    ("stop sequences", {"stop": ["END"]}),
    ("penalties", {"frequency_penalty": 0.5, "presence_penalty": 0.5}),
    ("JSON", {"response_format": {"type": "json_object"}}),
    ("JSON by a schema", {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}),
    ("reasoning effort", {"reasoning_effort": "low"}),
    ("`user`", {"user": "u"}),
    ("several choices", {"n": 2}),
    ("`logprobs`", {"logprobs": True, "top_logprobs": 2}),
    ("`logit_bias`", {"logit_bias": {"1": 1}}),
]
ANTHROPIC = [
    ("system prompt", {"system": "s"}),
    ("several turns", {"messages": [HELLO, {"role": "assistant", "content": "hi"}, HELLO]}),
    ("cache marks", {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]}),
    ("image by URL", parts({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}})),
    ("image in base64", parts({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}})),
    ("document of text", parts({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}})),
    ("document as PDF", parts({"type": "document",
                               "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL}})),
    ("tools", {"tools": [CLAUDE_FUNCTION]}),
    ("tool choice", {"tools": [CLAUDE_FUNCTION], "tool_choice": {"type": "any"}}),
    ("one call at a time", {"tools": [CLAUDE_FUNCTION],
                            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}),
    ("tools of the provider", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ("calls and results", {"tools": [CLAUDE_FUNCTION], "messages": [
        HELLO, {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "42"}]}]}),
    ("thinking of earlier turns", {"messages": [HELLO, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "hi"}]}, HELLO]}),
    ("`temperature`", {"temperature": 0.5}),
    ("`top_p`", {"top_p": 0.5}),
    ("`top_k`", {"top_k": 5}),
    ("stop sequences", {"stop_sequences": ["END"]}),
    ("JSON by a schema", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
    ("thinking", {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}}),
    ("`metadata.user_id`", {"metadata": {"user_id": "u"}}),
]
FLAT = dict(FUNCTION, type="function")


def items(*content):
    return {"input": [{"role": "user", "content": list(content)}]}


RESPONSES = [
    ("instructions", {"instructions": "s"}),
    ("developer message", {"input": [{"role": "developer", "content": "s"}, HELLO]}),
    ("several turns", {"input": [HELLO, {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                                         "content": [{"type": "output_text", "text": "hi", "annotations": []}]}, HELLO]}),
    ("image by URL", items({"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"})),
    ("image in base64", items({"type": "input_image", "image_url": "data:image/png;base64," + PIXEL, "detail": "auto"})),
    ("file", items({"type": "input_text", "text": "look"}, {"type": "input_file", "file_id": "x"})),
    ("tools", {"tools": [FLAT]}),
    ("tool choice", {"tools": [FLAT], "tool_choice": "required"}),
    ("one call at a time", {"tools": [FLAT], "parallel_tool_calls": False}),
    ("tools of the provider", {"tools": [{"type": "web_search"}]}),
    ("calls and results", {"tools": [FLAT], "input": [
        HELLO, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "42"}]}),
    ("calls of the provider's tools", {"input": [HELLO, {"type": "web_search_call", "id": "ws_1", "status": "completed"},
                                                 HELLO]}),
    ("reasoning of earlier turns", {"input": [HELLO, {"type": "reasoning", "id": "rs_1", "encrypted_content": "sig",
                                                      "summary": [{"type": "summary_text", "text": "hm"}]},
                                              {"role": "assistant", "content": "hi"}, HELLO]}),
    ("`max_output_tokens`", {"max_output_tokens": 16}),
    ("`temperature`", {"temperature": 0.5}),
    ("`top_p`", {"top_p": 0.5}),
    ("`top_logprobs`", {"top_logprobs": 2}),
    ("JSON", {"text": {"format": {"type": "json_object"}}}),
    ("JSON by a schema", {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}}),
    ("verbosity", {"text": {"verbosity": "low"}}),
    ("reasoning effort", {"reasoning": {"effort": "low", "summary": "auto"}}),
    ("encrypted reasoning", {"include": ["reasoning.encrypted_content"]}),
    ("`truncation`", {"truncation": "auto"}),
    ("`metadata`", {"metadata": {"a": "b"}}),
    ("`store`", {"store": True}),
    ("`user`", {"user": "u"}),
]
GO = {"role": "user", "parts": [{"text": "hello"}]}


def contents(*content):
    return {"contents": [{"role": "user", "parts": list(content)}]}


GEMINI = [
    ("system instruction", {"systemInstruction": {"parts": [{"text": "s"}]}}),
    ("several turns", {"contents": [GO, {"role": "model", "parts": [{"text": "hi"}]}, GO]}),
    ("image in base64", contents({"inlineData": {"mimeType": "image/png", "data": PIXEL}})),
    ("file", contents({"text": "look"}, {"fileData": {"mimeType": "application/pdf", "fileUri": "files/x"}})),
    ("functions", {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}]}),
    ("function choice", {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
                         "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
    ("tools of the provider", {"tools": [{"googleSearch": {}}]}),
    ("calls and results", {"contents": [
        GO, {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "42"}}}]}]}),
    ("`maxOutputTokens`", {"generationConfig": {"maxOutputTokens": 9}}),
    ("`temperature`", {"generationConfig": {"temperature": 0.5}}),
    ("`topP`", {"generationConfig": {"topP": 0.5}}),
    ("`topK`", {"generationConfig": {"topK": 5}}),
    ("`seed`", {"generationConfig": {"seed": 1}}),
    ("stop sequences", {"generationConfig": {"stopSequences": ["END"]}}),
    ("penalties", {"generationConfig": {"frequencyPenalty": 0.5, "presencePenalty": 0.5}}),
    ("JSON", {"generationConfig": {"responseMimeType": "application/json"}}),
    ("JSON by a schema", {"generationConfig": {"responseMimeType": "application/json",
                                               "responseSchema": {"type": "OBJECT"}}}),
    ("thinking", {"generationConfig": {"maxOutputTokens": 4000, "thinkingConfig": {"thinkingBudget": 2000}}}),
    ("several candidates", {"generationConfig": {"candidateCount": 2}}),
    ("safety settings", {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]}),
]
TOOL = {"type": "function", "function": FUNCTION}
OLLAMA = [
    ("system prompt", {"messages": [{"role": "system", "content": "s"}, HELLO]}),
    ("several turns", {"messages": [HELLO, {"role": "assistant", "content": "hi"}, HELLO]}),
    ("image in base64", {"messages": [dict(HELLO, images=[PIXEL])]}),
    ("tools", {"tools": [TOOL]}),
    ("calls and results", {"tools": [TOOL], "messages": [
        HELLO, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
        {"role": "tool", "content": "42", "tool_name": "f"}]}),
    ("thinking of earlier turns", {"messages": [HELLO, {"role": "assistant", "content": "hi", "thinking": "hm"}, HELLO]}),
    ("`num_predict`", {"options": {"num_predict": 9}}),
    ("`temperature`", {"options": {"temperature": 0.5}}),
    ("`top_p`", {"options": {"top_p": 0.5}}),
    ("`top_k`", {"options": {"top_k": 5}}),
    ("`min_p`", {"options": {"min_p": 0.1}}),
    ("`seed`", {"options": {"seed": 1}}),
    ("stop sequences", {"options": {"stop": ["END"]}}),
    ("penalties", {"options": {"frequency_penalty": 0.5, "presence_penalty": 0.5}}),
    ("`repeat_penalty`", {"options": {"repeat_penalty": 1.1}}),
    ("`num_ctx`", {"options": {"num_ctx": 4096}}),
    ("JSON", {"format": "json"}),
    ("JSON by a schema", {"format": SCHEMA}),
    ("`think`", {"think": True}),
    ("`logprobs`", {"logprobs": True}),
    ("`keep_alive`", {"keep_alive": "5m"}),
]
OLLAMA_GENERATE = [
    ("`system`", {"system": "s"}),
    ("`images`", {"images": [PIXEL]}),
    ("`suffix`", {"suffix": "end"}),
    ("`template`", {"template": "{{ .Prompt }}"}),
    ("`raw`", {"raw": True}),
    ("`context`", {"context": [1, 2, 3]}),
] + [(name, more) for name, more in OLLAMA if set(more) & {"options", "format", "think", "logprobs", "keep_alive"}]
GENERATE = [
    ("context", {"context": {"a": 1}}),
    ("several turns", {"context": {"messages": [HELLO, {"role": "assistant", "content": "hi"}]}}),
    ("`max_tokens`", {"max_tokens": 9}),
    ("`temperature`", {"temperature": 0.5}),
]
COMPLETIONS = [
    ("`max_tokens`", {"max_tokens": 9}),
    ("`temperature`", {"temperature": 0.5}),
    ("`top_p`", {"top_p": 0.5}),
    ("`seed`", {"seed": 1}),
    ("stop sequences", {"stop": ["END"]}),
    ("penalties", {"frequency_penalty": 0.5, "presence_penalty": 0.5}),
    ("`user`", {"user": "u"}),
    ("`suffix`", {"suffix": "the end"}),
    ("`echo`", {"echo": True}),
    ("several choices", {"n": 2}),
    ("`best_of`", {"best_of": 2}),
    ("`logprobs`", {"logprobs": 2}),
    ("`logit_bias`", {"logit_bias": {"1": 1}}),
]
FRONTS = {
    "openai": ("`/v1/chat/completions`", "/v1/chat/completions", {"messages": [HELLO]}, OPENAI),
    "responses": ("`/v1/responses`", "/v1/responses", {"input": "hello"}, RESPONSES),
    "completions": ("`/v1/completions`", "/v1/completions", {"prompt": "hello"}, COMPLETIONS),
    "anthropic": ("`/v1/messages`", "/v1/messages", {"messages": [HELLO], "max_tokens": 100}, ANTHROPIC),
    "gemini": ("`:generateContent`", "/v1beta/models/%s:%s", {"contents": [GO]}, GEMINI),
    "ollama": ("`/api/chat`", "/api/chat", {"messages": [HELLO]}, OLLAMA),
    "ollama_generate": ("`/api/generate`", "/api/generate", {"prompt": "hello"}, OLLAMA_GENERATE),
    "generate": ("`/api/v1/generate`", "/api/v1/generate", {"prompt": "hello"}, GENERATE),
}

# --- what models say: by its name, whole and streamed ---

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def openai_whole(finish="stop", **message):
    answer = m.completion("", finish=finish)
    answer["choices"][0]["message"] = dict({"role": "assistant", "content": None}, **message)
    return m.answer_with(200, answer)


def openai_stream(finish, *chunks):
    return m.events(m.chunk("", role="assistant"), *chunks, m.chunk(finish=finish), m.usage_chunk(), "[DONE]")


def ollama_object(r, words, reason=None):
    """As the call has it that was made: a message, or a response."""
    if r.path == "/api/generate":
        words = {"thinking": words.get("thinking", ""), "response": words.get("content", "")}
    else:
        words = {"message": dict({"role": "assistant", "content": ""}, **words)}
    end = {"done_reason": reason, "prompt_eval_count": 7, "eval_count": 3} if reason else {}
    return dict({"model": "up", "done": reason is not None}, **words, **end)


def ollama_whole(reason="stop", **words):
    return lambda c, r: m.answer_with(200, ollama_object(r, words, reason))(c, r)


def ollama_stream(reason, *pieces):
    def run(c, r):
        c.begin_stream("application/x-ndjson")
        for words in pieces:
            c.line(ollama_object(r, words))
        c.line(ollama_object(r, {}, reason))
        c.end_stream()

    return run


def gemini_reply(finish, *said):
    candidate = {"content": {"parts": list(said), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3}}


def gemini_whole(*said, finish="STOP"):
    return m.answer_with(200, gemini_reply(finish, *said))


def gemini_stream(*said, finish="STOP"):
    return m.events(*[gemini_reply(None, one) for one in said], gemini_reply(finish))


GEMINI_CALL = {"functionCall": {"name": "f", "args": {"x": 1}}}
GEMINI_NO = {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"}}
OLLAMA_CALL = {"function": {"name": "f", "arguments": {"x": 1}}}
BACKS = {
    "openai": {
        "text": (openai_whole(content="words"), openai_stream("stop", m.chunk("wor"), m.chunk("ds"))),
        "reasoning": (openai_whole(content="words", reasoning_content="hm"),
                      openai_stream("stop", m.chunk(reasoning_content="hm"), m.chunk("words"))),
        "tool calls": (openai_whole("tool_calls", tool_calls=[CALL]),
                       openai_stream("tool_calls", *t.calls_chunk('{"x"', ": 1}"))),
        "refusal": (openai_whole(refusal="no"), openai_stream("stop", m.chunk(refusal="no"))),
        "cut off by length": (openai_whole("length", content="words"), openai_stream("length", m.chunk("words"))),
        "filtered": (openai_whole("content_filter", content="words"), openai_stream("content_filter", m.chunk("words"))),
    },
    "anthropic": {
        "text": (m.answer_with(200, t.message({"type": "text", "text": "words"})), t.claude(t.text_block(0, "wor", "ds"))),
        "reasoning": (m.answer_with(200, t.message({"type": "thinking", "thinking": "hm", "signature": "sig"},
                                                   {"type": "text", "text": "words"})),
                      t.claude(t.thinking_block(0, "hm"), t.text_block(1, "words"))),
        "tool calls": (m.answer_with(200, t.message({"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}},
                                                    stop="tool_use")),
                       t.claude(t.call_block(0, '{"x"', ": 1}"), stop="tool_use")),
        "refusal": (m.answer_with(200, dict(t.message(stop="refusal"), stop_details={"type": "refusal", "explanation": "no"})),
                    None),
        "cut off by length": (m.answer_with(200, t.message({"type": "text", "text": "words"}, stop="max_tokens")),
                              t.claude(t.text_block(0, "words"), stop="max_tokens")),
    },
    "gemini": {
        "text": (gemini_whole({"text": "words"}), gemini_stream({"text": "wor"}, {"text": "ds"})),
        "reasoning": (gemini_whole({"text": "hm", "thought": True}, {"text": "words"}),
                      gemini_stream({"text": "hm", "thought": True}, {"text": "words"})),
        "tool calls": (gemini_whole(GEMINI_CALL), gemini_stream(GEMINI_CALL)),
        "refusal": (m.answer_with(200, GEMINI_NO), m.events(GEMINI_NO)),
        "cut off by length": (gemini_whole({"text": "words"}, finish="MAX_TOKENS"),
                              gemini_stream({"text": "words"}, finish="MAX_TOKENS")),
        "filtered": (gemini_whole({"text": "words"}, finish="SAFETY"), gemini_stream({"text": "words"}, finish="SAFETY")),
    },
    "ollama": {
        "text": (ollama_whole(content="words"), ollama_stream("stop", {"content": "wor"}, {"content": "ds"})),
        "reasoning": (ollama_whole(content="words", thinking="hm"),
                      ollama_stream("stop", {"thinking": "hm"}, {"content": "words"})),
        "tool calls": (ollama_whole(tool_calls=[OLLAMA_CALL]), ollama_stream("stop", {"tool_calls": [OLLAMA_CALL]})),
        "cut off by length": (ollama_whole("length", content="words"), ollama_stream("length", {"content": "words"})),
    },
    "generate": {
        "text": (m.answer_with(200, {"text": "words", "tokens_used": 3}), m.answer_with(200, {"text": "words"})),
    },
}
ENDS = {"cut off by length": "length", "filtered": "content_filter"}


def came_through(what, got):
    text = {"refusal": "no", "tool calls": ""}.get(what, "words")
    if got.text + got.refusal != text:
        return False
    if what == "reasoning" and got.reasoning != "hm":
        return False
    if what == "tool calls" and (got.calls != [("f", {"x": 1})] or got.finish != "tool_calls"):
        return False
    return what not in ENDS or got.finish == ENDS[what]


def send(daemon, front, model, more, stream=False):
    _, path, body, _ = FRONTS[front]
    body = dict(body, **more)
    if front == "gemini":
        return daemon.post(path % (model, "streamGenerateContent?alt=sse" if stream else "generateContent"), body)
    body["use_case" if front == "generate" else "model"] = model
    return daemon.post(path, dict(body, stream=stream))


def lost_of_requests(daemon, up, front, model, back):
    lost = []
    up.default = BACKS[back]["text"][0]
    for name, more in FRONTS[front][3]:
        answer = send(daemon, front, model, more)
        assert answer.status == 200, (front, back, name, answer)
        if answer.headers.get("x-muster-dropped-params"):
            lost.append(name)
    return lost


def same(front, back):
    return front == back or front == back + "_generate"


def lost_of_answers(daemon, up, front, model, back):
    lost = []
    for name, (whole, streamed) in BACKS[back].items():
        up.default = whole
        answer = send(daemon, front, model, {})
        assert answer.status == 200, (front, back, name, answer)
        ok = came_through(name, g.check_answer(front, answer.json()) if not same(front, back) else g.SAID[front]([answer.json()]))
        if streamed:
            up.default = streamed
            answer = send(daemon, front, model, {}, stream=True)
            assert answer.status == 200, (front, back, name, answer)
            got = g.check_stream(front, answer.body) if not same(front, back) else g.stream_said(front, answer.body)
            ok = came_through(name, got) and ok
        if not ok:
            lost.append(name)
    return lost


# --- embeddings ---

PICTURE = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
IMAGE = {"content": {"parts": [{"text": "a"}, PICTURE]}}
CONTENT = {"content": {"parts": [{"text": "a"}]}}
GEMINI_MORE = [("`taskType`", {"taskType": "RETRIEVAL_QUERY"}), ("`title`", {"title": "t"}),
               ("`outputDimensionality`", {"outputDimensionality": 2})]
OLLAMA_MORE = [("`options`", {"options": {"num_ctx": 9}}), ("`keep_alive`", {"keep_alive": "5m"})]
EMBEDDINGS = {
    "openai": ("`/v1/embeddings`", "/v1/embeddings", [
        ("a text", {"input": "a"}), ("several texts", {"input": ["a", "b"]}), ("tokens", {"input": [1, 2]}),
        ("base64", {"input": "a", "encoding_format": "base64"}), ("`dimensions`", {"input": "a", "dimensions": 2}),
        ("`user`", {"input": "a", "user": "u"})]),
    "gemini": ("`:embedContent`", "/v1beta/models/%s:embedContent", [
        ("a text", CONTENT), ("several parts", {"content": {"parts": [{"text": "a"}, {"text": "b"}]}}),
        ("image", IMAGE)] + [(n, dict(CONTENT, **v)) for n, v in GEMINI_MORE]),
    "gemini_batch": ("`:batchEmbedContents`", "/v1beta/models/%s:batchEmbedContents", [
        ("several texts", {"requests": [CONTENT, CONTENT]}), ("image", {"requests": [IMAGE]})] +
        [(n, {"requests": [dict(CONTENT, **v)]}) for n, v in GEMINI_MORE]),
    "ollama": ("`/api/embed`", "/api/embed", [
        ("a text", {"input": "a"}), ("several texts", {"input": ["a", "b"]}), ("`dimensions`", {"input": "a", "dimensions": 2}),
        ("`truncate`", {"input": "a", "truncate": True})] + [(n, dict(input="a", **v)) for n, v in OLLAMA_MORE]),
    "ollama_old": ("`/api/embeddings`", "/api/embeddings", [("a text", {"prompt": "a"})] +
                   [(n, dict(prompt="a", **v)) for n, v in OLLAMA_MORE]),
}


def vectors(c, r):
    """Speaks whichever call for embeddings it is asked in: a vector for each text."""
    asked = r.json()
    texts = asked.get("requests") or asked.get("input") or "a"
    n = len(texts) if isinstance(texts, list) and not isinstance(texts[0], int) else 1
    v = [0.5, 0.25]
    if r.path == "/v1/embeddings":
        c.reply(200, {"object": "list", "model": "up", "usage": {"prompt_tokens": 1, "total_tokens": 1},
                      "data": [{"object": "embedding", "index": i, "embedding": v} for i in range(n)]})
    elif r.path.endswith(":embedContent"):
        c.reply(200, {"embedding": {"values": v}})
    elif r.path.endswith(":batchEmbedContents"):
        c.reply(200, {"embeddings": [{"values": v}] * n})
    else:
        c.reply(200, {"embedding": v} if r.path == "/api/embeddings" else {"model": "up", "embeddings": [v] * n})


def embeddings_row(daemon, name, front, back):
    _, path, cases = EMBEDDINGS[front]
    lost, refused = [], []
    for what, body in cases:
        if "%s" in path:
            answer = daemon.post(path % name, body)
        else:
            answer = daemon.post(path, dict(body, model=name))
        assert answer.status in (200, 400), (front, back, what, answer)
        if answer.status == 400:
            refused.append(what)
        elif answer.headers.get("x-muster-dropped-params"):
            lost.append(what)
    return "| %s | %s | %s | %s |\n" % (EMBEDDINGS[front][0], back, list_of(lost) if len(refused) < len(cases) else "",
                                       list_of(refused) if len(refused) < len(cases) else "everything: it has none")


def embeddings_rows(daemon, up):
    up.default = vectors
    return [embeddings_row(daemon, "openai_" + back, front, back) for front in EMBEDDINGS for back in BACKS]


HEAD = """# Protocols

What callers may speak, what models may speak, and what gets lost between the two. `tests/integration/test_protocol_matrix.py`
writes this page from what it saw: each thing below was sent to a model of each protocol, whole and streamed.

Callers and models of the same protocol understand each other to the byte: the body of a request goes on as it came, but
for `model` and what a policy masks, and an answer comes back as it was given; members that Muster has never heard of are
no exception. Between two protocols a request is translated. What the model's protocol has no place for is left out and
named in `x-muster-dropped-params`; with `translation` `strict` the use case, or the key, refuses such a request with 400 instead
(`muster use-case set NAME --translation strict`, `muster key set`). A request that cannot be understood is refused with 400 either way.

| caller | model | lost of requests | lost of answers |
| --- | --- | --- | --- |
"""
TAIL = """
What was tried: of requests, for each caller, %s. Of answers, for each model, %s.

`POST /generate` knows one prompt: the last words of the user are it, and all other messages stand in
`context.messages`. It does not stream; a caller that asked for a stream gets the answer as one.

Gemini's callers get a stream as server-sent events with `?alt=sse`, else as one JSON array that grows by an element for
each. What breaks off ends with an error as its last event or element, in the array also where nothing had left yet.

`/api/generate` is asked of a model that speaks Ollama's protocol as it came, where its endpoint ends in `/api/chat` or
has no path; of any other it is a chat of one message. A `context` is tokens, which no guardrail can read: where a policy
judges prompts it is left out, and named; where one judges answers, that of a stream is empty. `think` is a level for
models called gpt-oss, and yes or no for all others.

`/v1/responses` keeps nothing: an answer says `"store": false`, and what refers to a response that would have been kept
(`previous_response_id`, `conversation`, `prompt`, `background`, an item by reference) is refused with 400. What a model told of
its reasoning is a reasoning item with a summary; its signature is `encrypted_content`, and comes back to the model with it.

`/v1/completions` goes as it came to a server that has it: one of OpenAI's protocol whose endpoint does not end in
`/chat/completions`, but for the providers openai, groq, mistral and deepseek, which have it for few models or none. There
it may have several prompts, or tokens in place of texts; of any other model it is a chat of one message, several prompts
are refused, and a limit that the caller leaves out is the model's (OpenAI's own is 16 tokens). `configuration.endpoint`
with the path `/v1/completions` registers a model that completes texts alone: a chat with it is one prompt, each turn after
the name of who said it.

A model of Anthropic's protocol needs a limit for each answer: the caller's, else `parameters.max_tokens` of the model's
configuration, else 4096. Reasoning there takes at most half of a limit that the caller set. Tokens that a model does not
count are estimated, one for four bytes, and marked as such in the historical log.

## Embeddings

| caller | model | lost | refused |
| --- | --- | --- | --- |
%s
Between models of different protocols too a vector's numbers are copied as the model wrote them; base64 is little-endian
32-bit floats, made where the caller asks for it and the model gave numbers, and taken apart the other way round. What would
have another vector without what is lost is refused instead.

A vector of another model lies in another space, and a wrong vector is worse than an error, since nobody sees it. So of a
use case's chain only models that go by the same name upstream (`configuration.upstream_model`) as the first take over, and
the endpoints of one model for each other; hardcoded endpoints and fallback content never. While a deployment is under way to
a model of another name, embeddings stay with the current one until it is promoted. The model's `parameters` are for words,
and not sent along. Tokens are refused where a guardrail policy could stop or change a text: nobody can judge them.
"""


def list_of(names):
    return ", ".join(names) if names else "nothing"


def page(daemon, up):
    rows = []
    for front, (path, _, _, _) in FRONTS.items():
        for back in BACKS:
            name = "%s_%s" % (front, back)
            daemon.use_case(name, policy="none", fallback_content="")
            chats = front == "completions" and back == "openai"
            daemon.register(name, up.url + "/v1/chat/completions" if chats else up, protocol=back)
            requests = lost_of_requests(daemon, up, front, name, back)
            answers = lost_of_answers(daemon, up, front, name, back)
            rows.append("| %s | %s | %s | %s |\n" % (path, back, list_of(requests), list_of(answers)))
    tried = "; ".join("%s: %s" % (v[0], ", ".join(n for n, _ in v[3])) for v in FRONTS.values())
    said = "; ".join("%s: %s" % (k, ", ".join(v)) for k, v in BACKS.items())
    return HEAD + "".join(rows) + TAIL % (tried, said, "".join(embeddings_rows(daemon, up)))


def test_the_page_says_what_is_lost(daemon, upstream):
    now = page(daemon, upstream)
    if os.environ.get("MUSTER_WRITE"):
        with open(PATH, "w", encoding="utf-8") as f:
            f.write(now)
    with open(PATH, encoding="utf-8") as f:
        assert f.read() == now, "docs/PROTOCOLS.md is not what is so: MUSTER_WRITE=1 writes it anew"
