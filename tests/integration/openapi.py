# SPDX-License-Identifier: Apache-2.0
"""docs/api/openapi.yaml as a judge of answers: the part of JSON Schema that the file uses, and not a word more.

A keyword that this file does not know is an error: a schema must not promise what nobody checks.
"""
import os
import re

import yaml

import muster as m

PATH = os.path.join(m.ROOT, "docs", "api", "openapi.yaml")
WORDS = {"description", "summary", "title", "default", "example", "examples"}
FORMATS = {
    "uuid": re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
    "date-time": re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"),
}
TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}


class Api:
    WORDS = WORDS  # that say nothing of a value

    def __init__(self):
        with open(PATH) as f:
            self.root = yaml.safe_load(f)

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            assert set(node) == {"$ref"} and node["$ref"].startswith("#/"), node
            target = self.root
            for part in node["$ref"][2:].split("/"):
                target = target[part]
            node = target
        return node

    def operations(self):
        for path, item in self.root["paths"].items():
            for method, operation in item.items():
                if method != "parameters":
                    yield method.upper(), path, operation

    def operation(self, method, path):
        """The operation that a request's path means; paths with fewer parameters win."""
        path = path.partition("?")[0]
        found = []
        for template, item in self.root["paths"].items():
            if re.match("^" + re.sub(r"\\\{\w+\\\}|\{\w+\}", "[^/]+", template) + "$", path) and method.lower() in item:
                found.append((template.count("{"), template))
        assert found, "%s %s is not in the file" % (method, path)
        return min(found)[1], self.root["paths"][min(found)[1]][method.lower()]

    def parameters(self, template, method):
        item = self.root["paths"][template]
        return [self.resolve(p) for p in item.get("parameters", []) + item[method.lower()].get("parameters", [])]

    # --- answers ---

    def check_answer(self, method, path, answer):
        """Whether this answer is one that the file promises; its template and status."""
        template, operation = self.operation(method, path)
        where = "%s %s -> %d" % (method, template, answer.status)
        responses = operation["responses"]
        assert str(answer.status) in responses, where + " is no status of the file: %r" % answer.body[:300]
        response = self.resolve(responses[str(answer.status)])
        kind = answer.headers.get("content-type", "").partition(";")[0]
        assert kind in response["content"], where + ": content type " + kind
        schema = response["content"][kind].get("schema")
        for name, header in response.get("headers", {}).items():
            if name in answer.headers:
                self._header(self.resolve(header)["schema"], answer.headers[name], where + " header " + name)
        if kind == "application/json":
            self.check(schema, answer.json(), where)
        assert "x-request-id" in answer.headers, where
        return template, answer.status

    def _header(self, schema, text, where):
        schema = self.resolve(schema)
        value = int(text) if schema.get("type") == "integer" else text
        self.check(schema, value, where)

    # --- values ---

    def check(self, schema, value, where):
        errors = list(self.errors(schema, value, "$"))
        assert not errors, "%s: %s" % (where, "; ".join(errors[:5]))

    def errors(self, schema, value, at):
        schema = self.resolve(schema)
        for word, argument in schema.items():
            check = getattr(self, "_" + word, None)
            if check:
                yield from check(argument, schema, value, at)
            elif word not in self.WORDS:
                yield "%s: the schema says %s, which nobody checks" % (at, word)

    def _type(self, types, schema, value, at):
        types = types if isinstance(types, list) else [types]
        if not any(TYPES[t](value) for t in types):
            yield "%s is %r, not %s" % (at, value, " or ".join(types))

    def _enum(self, values, schema, value, at):
        if value not in values:
            yield "%s is %r, not one of %s" % (at, value, values)

    def _const(self, wanted, schema, value, at):
        if value != wanted:
            yield "%s is %r, not %r" % (at, value, wanted)

    def _required(self, names, schema, value, at):
        if isinstance(value, dict):
            yield from ("%s has no %s" % (at, n) for n in names if n not in value)

    def _properties(self, properties, schema, value, at):
        if isinstance(value, dict):
            for name, sub in properties.items():
                if name in value:
                    yield from self.errors(sub, value[name], at + "." + name)

    def _additionalProperties(self, allowed, schema, value, at):
        if isinstance(value, dict) and allowed is False:
            yield from ("%s has a %s that the file does not know" % (at, n) for n in value
                        if n not in schema.get("properties", {}))

    def _items(self, items, schema, value, at):
        if isinstance(value, list):
            for i, v in enumerate(value):
                yield from self.errors(items, v, "%s[%d]" % (at, i))

    def _minItems(self, n, schema, value, at):
        if isinstance(value, list) and len(value) < n:
            yield "%s has %d items, fewer than %d" % (at, len(value), n)

    def _maxItems(self, n, schema, value, at):
        if isinstance(value, list) and len(value) > n:
            yield "%s has %d items, more than %d" % (at, len(value), n)

    def _maxLength(self, n, schema, value, at):
        if isinstance(value, str) and len(value) > n:
            yield "%s is longer than %d" % (at, n)

    def _pattern(self, pattern, schema, value, at):
        if isinstance(value, str) and not re.search(pattern, value):
            yield "%s is %r, not like %s" % (at, value, pattern)

    def _format(self, name, schema, value, at):
        if isinstance(value, str) and not FORMATS[name].match(value):
            yield "%s is %r, no %s" % (at, value, name)

    def _minimum(self, n, schema, value, at):
        if TYPES["number"](value) and value < n:
            yield "%s is %r, less than %r" % (at, value, n)

    def _maximum(self, n, schema, value, at):
        if TYPES["number"](value) and value > n:
            yield "%s is %r, more than %r" % (at, value, n)

    def _allOf(self, schemas, schema, value, at):
        for s in schemas:
            yield from self.errors(s, value, at)

    def _oneOf(self, schemas, schema, value, at):
        tried = [list(self.errors(s, value, at)) for s in schemas]
        good = [e for e in tried if not e]
        if len(good) != 1:
            yield "%s fits %d of %d alternatives: %s" % (at, len(good), len(schemas), tried)
