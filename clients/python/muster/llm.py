# SPDX-License-Identifier: Apache-2.0
"""Text for a layer: from the daemon, else from a hardcoded endpoint, else the fallback content.  Never an exception."""
from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, AsyncGenerator, AsyncIterator, Dict, Mapping, Optional

from .client import Client
from .config import use_case_of
from .errors import (BrokenError, MusterError, NotFoundError, RefusedError, TimedOutError, UnavailableError,
                     UnreachableError)
from .history import HistoricalLogProcessor
from .registry import ModelRegistry

# After these the hardcoded endpoint may serve.  Not after a refusal: what guardrails or keys refused stays refused.
AWAY = (UnreachableError, TimedOutError, BrokenError, UnavailableError, NotFoundError)

Result = Dict[str, Any]
Events = AsyncGenerator[Dict[str, Any], None]


class LLMClient:
    """Asks for text by layer.

    model_registry  whose client is used; default one of its own, from the environment
    endpoints       by layer or use case, the URL of a plain POST /generate server that serves when the daemon cannot;
                    default MUSTER_FALLBACK_ENDPOINTS.  It is sent no key, and its answers pass no guardrails.
    content         what is said when nothing can answer; default MUSTER_FALLBACK_CONTENT
    processor       takes a log record of what the hardcoded endpoint answered; default none, and then it is not logged
    timeout_s       for an answer; of a stream, for each piece; default 600

    A result is a dict:
      success        whether a model or an endpoint answered; False with the fallback content of this client
      text           what can be shown, always a string
      fallback_used  whether anything but the current model answered
      fallback       None, "model", "endpoint" or "content"
      error          one sentence, or None
      tokens_used, layer, use_case, model_id, model_name, latency_ms (milliseconds), log_id, finish_reason, usage:
                     as the daemon says; None where nobody knows
      guardrail      allow, flag, mask, fallback, block or skipped; None where nobody knows, as in streams
      stream         only with stream=True: an asynchronous iterator of pieces; the result is whole when it ends
    """

    def __init__(self, model_registry: Optional[ModelRegistry] = None, *, endpoints: Optional[Mapping[str, str]] = None,
                 content: Optional[str] = None, processor: Optional[HistoricalLogProcessor] = None,
                 timeout_s: float = 600.0) -> None:
        self.client = model_registry.client if model_registry else Client()
        config = self.client.config
        self.content = config.fallback_content if content is None else content
        self.processor, self.timeout_s = processor, timeout_s
        given = config.fallback_endpoints if endpoints is None else endpoints
        self._endpoints = {name: Client(replace(config, url=url, api_key="", actor=""), max_connections=16)
                           for name, url in given.items()}

    async def generate_text(self, layer: str, prompt: str, context: Optional[Mapping[str, Any]] = None,
                            max_tokens: Optional[int] = None, temperature: Optional[float] = None,
                            stream: bool = False) -> Result:
        """The result, as described above.  What is None is left to the model."""
        began = time.monotonic()
        body = {"prompt": prompt, "context": dict(context or {}), "max_tokens": max_tokens, "temperature": temperature}
        body = {k: v for k, v in body.items() if v is not None}
        result: Result = {"success": False, "text": "", "tokens_used": None, "layer": layer,
                          "use_case": use_case_of(layer), "model_id": None, "model_name": None, "latency_ms": None,
                          "log_id": None, "fallback_used": False, "fallback": None, "finish_reason": None,
                          "usage": None, "guardrail": None, "error": None}
        try:
            if stream:
                await self._begin_stream(result, dict(body, layer=layer, stream=True))
            else:
                await self._ask(result, dict(body, layer=layer))
        except AWAY as e:
            await self._endpoint(result, body, e)
        except MusterError as e:
            self._give_up(result, e)
        if result["latency_ms"] is None:
            result["latency_ms"] = round((time.monotonic() - began) * 1000, 3)
        if stream and "stream" not in result:
            result["stream"] = once(result["text"])
        return result

    async def close(self) -> None:
        """Closes idle connections, to hardcoded endpoints too."""
        for client in [self.client, *self._endpoints.values()]:
            await client.close()

    # --- the daemon ---

    async def _ask(self, result: Result, body: Mapping[str, Any]) -> None:
        answer = await self.client.request("POST", "/api/v1/generate", body, retries=0, timeout_s=self.timeout_s)
        said = answer.object()
        if not isinstance(said.get("text"), str):
            raise BrokenError("the answer of %s has no text" % self.client.config.url)
        result.update(said, fallback=answer.headers.get("x-muster-fallback"),
                      guardrail=answer.headers.get("x-muster-guardrail"))

    async def _begin_stream(self, result: Result, body: Mapping[str, Any]) -> None:
        """Waits for the first event, so that a daemon that is away is known before anything was shown."""
        events = self.client.events("/api/v1/generate", body, timeout_s=self.timeout_s)
        first = await next_of(events)
        if first is None:
            raise BrokenError("the stream of %s ended before it began" % self.client.config.url)
        result["stream"] = self._pieces(result, first, events)

    async def _pieces(self, result: Result, event: Optional[Dict[str, Any]],
                      events: Events) -> AsyncIterator[str]:
        try:
            while event is not None:
                if isinstance(event.get("error"), dict):
                    raise RefusedError(str(event["error"].get("message")), 200, event["error"].get("code"))
                if event.get("done"):
                    result.update({k: v for k, v in event.items() if k not in ("done", "text")})
                    return
                piece = event.get("text") or ""
                result["text"] += piece
                if piece:
                    yield piece
                event = await next_of(events)
            raise BrokenError("the stream of %s ended without its last event" % self.client.config.url)
        except MusterError as e:
            result.update(success=False, error=str(e), finish_reason="error")
        finally:
            await events.aclose()

    # --- without the daemon ---

    async def _endpoint(self, result: Result, body: Mapping[str, Any], why: MusterError) -> None:
        client = self._endpoints.get(result["use_case"]) or self._endpoints.get(result["layer"])
        if not client:
            return self._give_up(result, why)
        began = time.monotonic()
        try:
            said = await client.call("POST", "", body, retries=0, timeout_s=self.timeout_s)
            text = next((said[k] for k in ("text", "response", "generated_text") if isinstance(said.get(k), str)), None)
            if text is None or said.get("success") is False:
                raise BrokenError("the answer of %s has no text" % client.config.url)
        except MusterError as e:
            return self._give_up(result, MusterError("%s; and the hardcoded endpoint: %s" % (why, e)))
        result.update(success=True, text=text, fallback_used=True, fallback="endpoint", guardrail="skipped",
                      tokens_used=said.get("tokens_used"), error=str(why))
        if self.processor:
            result["log_id"] = await self.processor.log_inference(
                client.config.url, result["use_case"], body["prompt"], body["context"], text,
                {"latency_ms": round((time.monotonic() - began) * 1000, 3)})

    def _give_up(self, result: Result, why: MusterError) -> None:
        blocked = isinstance(why, RefusedError) and why.code == "content_filter"
        result.update(success=False, text=self.content, fallback_used=True, fallback="content", error=str(why),
                      finish_reason="content_filter" if blocked else "error", guardrail="block" if blocked else None)


async def next_of(events: Events) -> Optional[Dict[str, Any]]:
    """The next event; None at the end."""
    try:
        return await events.__anext__()
    except StopAsyncIteration:
        return None


async def once(text: str) -> AsyncIterator[str]:
    """A stream of one piece."""
    yield text
