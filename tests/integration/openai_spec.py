# SPDX-License-Identifier: Apache-2.0
"""OpenAI's published OpenAPI description as a judge of what the OpenAI fronts say: ../shared/specs, where that is there.

answer(path, status, value) and event(path, value) refuse what its schemas do not allow; stream(path, raw) does so with
each event of a stream. Without the file they check nothing, and test_openai_spec.py is skipped and says so.
"""
import base64
import functools
import json
import os
import re

import muster as m
import openapi

PATH = os.path.join(m.ROOT, "..", "shared", "specs", "openai-openapi.json")
ABSENT = None if os.path.exists(PATH) else "OpenAI's description is not there: %s" % os.path.normpath(PATH)

# The schema of an answer, and of an event of a stream.
FRONTS = (
    ("/v1/chat/completions", "CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"),
    ("/v1/responses", "Response", "ResponseStreamEvent"),
    ("/v1/completions", "CreateCompletionResponse", "CreateCompletionResponse"),
    ("/v1/embeddings", "CreateEmbeddingResponse", None),
    ("/v1/moderations", "CreateModerationResponse", None),
    ("/v1/models", "ListModelsResponse", None),
    ("/v1/models/", "Model", None),
)
ERROR = "ErrorResponse"


class Refused(AssertionError):
    """An answer that OpenAI's description does not allow."""


class Spec(openapi.Api):
    WORDS = openapi.WORDS | {"discriminator", "deprecated", "x-oaiMeta", "x-oaiTypeLabel", "x-oaiExpandable", "nullable",
                             "x-stainless-const", "x-stainless-skip", "x-oaiSupportedSDKs", "$recursiveAnchor",
                             "$recursiveRef", "propertyNames", "maxProperties", "uniqueItems"}
    FORMATS = {"uri": re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:"), "date": re.compile(r"^\d{4}-\d\d-\d\d$")}

    def __init__(self):
        with open(PATH, encoding="utf-8") as f:
            self.root = json.load(f)
        self.schemas = self.root["components"]["schemas"]

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            node = self.schemas[node["$ref"].rsplit("/", 1)[1]]
        return node

    def errors(self, schema, value, at):
        if schema is True or (value is None and isinstance(schema, dict) and schema.get("nullable")):
            return
        yield from super().errors(schema, value, at)

    def _may_be(self, schema, value):
        """Whether what names the kind of a value (type, object, role) is what the schema says."""
        schema = self.resolve(schema)
        if isinstance(value, dict):
            for name in ("type", "object"):
                kinds = self.resolve((schema.get("properties") or {}).get(name) or {}).get("enum")
                if kinds and name in value and value[name] not in kinds:
                    return False
        return True

    def _anyOf(self, schemas, schema, value, at):
        tried = []
        for s in schemas:
            if not self._may_be(s, value):
                continue
            found = list(self.errors(s, value, at))
            if not found:
                return
            tried.append(found)
        yield "%s is none of its alternatives: %s" % (at, tried or repr(value)[:200])

    # Their alternatives overlap: a message of a caller may also be one of a model.
    _oneOf = _anyOf

    def _additionalProperties(self, allowed, schema, value, at):
        if isinstance(allowed, dict) and isinstance(value, dict):
            for name, v in value.items():
                if name not in schema.get("properties", {}):
                    yield from self.errors(allowed, v, "%s.%s" % (at, name))
        else:
            yield from super()._additionalProperties(allowed, schema, value, at)

    def _type(self, types, schema, value, at):
        whole = isinstance(value, float) and value.is_integer()  # 1.0 is one
        yield from super()._type(types, schema, int(value) if whole else value, at)

    def _minLength(self, n, schema, value, at):
        if isinstance(value, str) and len(value) < n:
            yield "%s is shorter than %d" % (at, n)

    def _format(self, name, schema, value, at):
        if isinstance(value, str) and name in self.FORMATS and not self.FORMATS[name].match(value):
            yield "%s is %r, no %s" % (at, value, name)


@functools.lru_cache(maxsize=None)
def spec():
    return Spec()


def front_of(path):
    """(schema of an answer, schema of an event) of an OpenAI front, or None."""
    path = path.partition("?")[0]
    if path.startswith("/v1/models/") and path.rpartition(":")[2].endswith(("Content", "Contents", "Tokens")):
        return None  # Gemini's
    for front, whole, event_name in FRONTS:
        if path == front or (front.endswith("/") and path.startswith(front)):
            return whole, event_name
    return None


def check(name, value, where):
    if ABSENT:
        return
    found = list(spec().errors({"$ref": "#/components/schemas/" + name}, value, "$"))
    if found:
        raise Refused("%s is no %s: %s" % (where, name, "; ".join(found[:5])))


def with_numbers(value):
    """Vectors in base64, which clients ask for and the description does not know, as what they stand for."""
    items = [dict(i, embedding=list(base64.b64decode(i["embedding"], validate=True)))
             if isinstance(i.get("embedding"), str) else i for i in value.get("data", [])]
    return dict(value, data=items) if items else value


def answer(path, status, value):
    if path == "/v1/embeddings" and status == 200:
        value = with_numbers(value)
    check(ERROR if status >= 400 else front_of(path)[0], value, "%d of %s" % (status, path))


def event(path, value):
    """One event of a stream. Chat says its errors in the shape of an answer's; responses has an event for them."""
    fails = path != "/v1/responses" and "error" in value
    if path == "/v1/completions" and not fails:  # whose description knows whole answers alone: null until the last
        value = dict(value, choices=[dict(c, finish_reason=c.get("finish_reason") or "stop") for c in value["choices"]])
    check(ERROR if fails else front_of(path)[1], value, "an event of %s" % path)


def stream(path, raw):
    for block in raw.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = b"\n".join(l[5:].lstrip(b" ") for l in block.split(b"\n") if l.startswith(b"data:"))
        if data and data != b"[DONE]":
            event(path, json.loads(data))
