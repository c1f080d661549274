# SPDX-License-Identifier: Apache-2.0
"""The judge of OpenAI's answers: every answer that a test reads goes before it (muster.py), so that it has to be awake."""
import json

import pytest

import muster as m
import openai_spec as spec

pytestmark = pytest.mark.skipif(bool(spec.ABSENT), reason=str(spec.ABSENT))

CHAT = "/v1/chat/completions"
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
           "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}]}
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": None, "model": "m",
            "incomplete_details": None, "instructions": None, "output": [MESSAGE], "parallel_tool_calls": True, "tools": [],
            "tool_choice": "auto", "metadata": {}, "temperature": None, "top_p": None}
ERROR = {"error": {"message": "no", "type": "t", "param": None, "code": None}}


def test_good_answers_pass():
    spec.answer(CHAT, 200, m.completion())
    spec.answer(CHAT, 404, ERROR)
    spec.event(CHAT, m.chunk("x"))
    spec.event(CHAT, ERROR)
    spec.answer("/v1/responses", 200, RESPONSE)
    spec.event("/v1/responses", {"type": "response.completed", "sequence_number": 3, "response": RESPONSE})
    spec.answer("/v1/models/x", 200, {"id": "x", "object": "model", "created": 1, "owned_by": "me"})
    spec.answer("/v1/embeddings?x=1", 200, {"object": "list", "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1},
                                            "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]})


def without(value, name):
    return {k: v for k, v in value.items() if k != name}


@pytest.mark.parametrize("path,status,value,says", [
    (CHAT, 200, without(m.completion(), "id"), "has no id"),
    (CHAT, 200, m.completion(finish="because"), "finish_reason is 'because'"),
    (CHAT, 200, m.completion(created="now"), "created is 'now'"),
    (CHAT, 500, {"error": "no"}, "error"),
    (CHAT, 500, {"error": {"message": "no"}}, "has no"),
    ("/v1/models", 200, {"object": "list", "data": [{"id": "x"}]}, "data[0] has no"),
    ("/v1/responses", 200, without(RESPONSE, "tools"), "has no tools"),
    ("/v1/responses", 200, dict(RESPONSE, status="done"), "status is 'done'"),
    ("/v1/responses", 200, dict(RESPONSE, output=[without(MESSAGE, "id")]), "has no id"),
    ("/v1/responses", 200, dict(RESPONSE, output=[dict(MESSAGE, type="odd")]), "none of its alternatives"),
])
def test_an_answer_that_is_none_is_refused(path, status, value, says):
    with pytest.raises(spec.Refused) as e:
        spec.answer(path, status, value)
    assert says in str(e.value)


@pytest.mark.parametrize("path,value", [
    (CHAT, {"object": "chat.completion.chunk"}),
    ("/v1/responses", {"type": "response.created", "response": RESPONSE}),
    ("/v1/responses", {"type": "response.invented", "sequence_number": 1}),
    ("/v1/responses", {"type": "error", "sequence_number": 1, "message": "no"}),
])
def test_an_event_that_is_none_is_refused(path, value):
    with pytest.raises(spec.Refused):
        spec.event(path, value)
    with pytest.raises(spec.Refused):
        spec.stream(path, b"event: x\ndata: " + json.dumps(value).encode() + b"\n\n")


def test_what_the_daemon_says_is_judged_and_what_a_model_says_is_its_own(daemon, case, upstream):
    with daemon.connect() as c:
        c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert list(c.asked) == [CHAT]
        assert c.read_answer().status == 400 and not c.asked
    upstream.default = m.answer_with(200, {"odd": True})
    with pytest.raises(AssertionError):
        m.check_openai(CHAT, 200, "application/json", b'{"even": true}')
    assert daemon.chat(case).status in (200, 502)
