# SPDX-License-Identifier: Apache-2.0
"""The HTTP API as Python calls: JSON in and out, errors as exceptions, and the only place that tries anything again."""
from __future__ import annotations

import asyncio
import contextlib
import json
from typing import (Any, AsyncGenerator, AsyncIterator, Awaitable, Callable, Dict, List, Mapping, Optional, Tuple,
                    Type, TypeVar, Union)
from urllib.parse import quote, urlencode

from .config import Config
from .errors import (BrokenError, InvalidError, RefusedError, TimedOutError, TooBigError, UnavailableError,
                     UnreachableError, refused)
from .wire import Address, Answer, Pool

MAX_PAGE = 1000
MAX_EVENT_BYTES = 1048576
FIRST_DELAY_S, MAX_DELAY_S = 0.1, 2.0

T = TypeVar("T")
Body = Union[Mapping[str, Any], bytes, None]  # bytes: JSON already


def segment(name: object) -> str:
    """One segment of a path, percent-encoded; raises InvalidError for an empty one."""
    text = str(name)
    if not text or text in (".", ".."):
        raise InvalidError("a name must not be '%s'" % text)
    return quote(text, safe="")


class Client:
    """Calls of one daemon over at most max_connections kept connections.

    config             default: the environment, see muster.config
    connect_timeout_s  for a connection; default 5
    timeout_s          for a whole call with what is tried again; of a stream, for its head and each piece; default 60
    retries            how often more a call is tried when that is safe: when nothing was sent, or, of a call that only
                       reads, when the connection broke or the daemon said 429, 502, 503 or 504; default 2
    max_connections    default 16; calls beyond wait, within timeout_s
    max_answer_bytes   default 64 MiB; past it TooBigError

    Usable in one event loop after another, but not from several threads.  `async with` closes it.
    """

    def __init__(self, config: Optional[Config] = None, *, connect_timeout_s: float = 5.0, timeout_s: float = 60.0,
                 retries: int = 2, max_connections: int = 16, max_answer_bytes: int = 64 << 20) -> None:
        self.config = config or Config.from_environment()
        self.timeout_s, self.retries, self.max_answer_bytes = timeout_s, retries, max_answer_bytes
        self._pool = Pool(Address.of(self.config.url), self.config.ca_file, connect_timeout_s, max_connections)
        if not self.config.api_key.isprintable() or not self.config.api_key.isascii():
            raise InvalidError("MUSTER_API_KEY holds a character that no key has")

    async def __aenter__(self: "Client") -> "Client":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: object, trace: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes idle connections; the client can be used again."""
        self._pool.close()

    # --- calls ---

    async def call(self, method: str, path: str, body: Body = None, *,
                   query: Optional[Mapping[str, Any]] = None, safe: Optional[bool] = None,
                   retries: Optional[int] = None, timeout_s: Optional[float] = None,
                   headers: Optional[Mapping[str, str]] = None) -> Dict[str, Any]:
        """The answer's JSON object, of a call that succeeded; raises MusterError.

        safe: whether doing it twice is the same as once; default: of GET alone.  Members of query that are None are
        left out.
        """
        return (await self.request(method, path, body, query=query, safe=safe, retries=retries, timeout_s=timeout_s,
                                   headers=headers)).object()

    async def request(self, method: str, path: str, body: Body = None, *,
                      query: Optional[Mapping[str, Any]] = None, safe: Optional[bool] = None,
                      retries: Optional[int] = None, timeout_s: Optional[float] = None,
                      headers: Optional[Mapping[str, str]] = None) -> Answer:
        """As call(), but the answer itself, with its headers."""
        again = self.retries if retries is None else retries
        read_only = method == "GET" if safe is None else safe
        target, payload = self._target(path, query), encode(body)
        return await self._limited(self._tries(method, target, payload, dict(headers or {}), again, read_only),
                                   timeout_s)

    async def list(self, path: str, query: Optional[Mapping[str, Any]] = None, limit: int = 50) -> List[Dict[str, Any]]:
        """At most `limit` items of a list, page by page, in the daemon's order."""
        items: List[Dict[str, Any]] = []
        ask = dict(query or {})
        onward = "after" if ask.get("after") else "before"
        while len(items) < limit:
            ask["limit"] = min(limit - len(items), MAX_PAGE)
            page = await self.call("GET", path, query=ask)
            items += page["data"]
            if not page["has_more"] or not page["data"]:
                break
            ask[onward] = page["next"]
        return items

    async def events(self, path: str, body: Mapping[str, Any], *,
                     timeout_s: Optional[float] = None) -> AsyncGenerator[Dict[str, Any], None]:
        """The server-sent events of a POST, parsed; never tried again.  "[DONE]" is passed over."""
        target, payload = self._target(path, None), encode(body)
        async with contextlib.AsyncExitStack() as stack:
            opening = stack.enter_async_context(self._exchange("POST", target, payload, {}))
            head, pieces = await self._limited(opening, timeout_s)
            if head.status // 100 != 2:
                raise self._refused(await self._limited(self._whole(head, pieces), timeout_s))
            buffer = b""
            while True:
                try:
                    piece = await self._limited(pieces.__anext__(), timeout_s)
                except StopAsyncIteration:
                    break
                *blocks, buffer = (buffer + piece.replace(b"\r\n", b"\n")).split(b"\n\n")
                for block in blocks:
                    event = parse_event(block)
                    if event is not None:
                        yield event
                if len(buffer) > MAX_EVENT_BYTES:
                    raise TooBigError("an event of more than %d bytes" % MAX_EVENT_BYTES)
            if buffer.strip():
                raise BrokenError("the stream ended within an event")

    # --- below ---

    def _target(self, path: str, query: Optional[Mapping[str, Any]]) -> str:
        given = {k: str(v).lower() if isinstance(v, bool) else v for k, v in (query or {}).items() if v is not None}
        target = (self._pool.address.path.rstrip("/") if path else self._pool.address.path) + path
        return quote(target or "/", safe="/?&=%:@~+,;!$'()*-._") + ("?" + urlencode(given) if given else "")

    def _headers(self, payload: bytes, more: Mapping[str, str]) -> Dict[str, str]:
        headers = {"Host": self._pool.address.authority, "Accept": "application/json, text/event-stream"}
        if self.config.actor:
            headers["x-muster-actor"] = self.config.actor
        if self.config.api_key:
            headers["Authorization"] = "Bearer " + self.config.api_key
        if payload:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(payload))
        headers.update(more)
        return headers

    async def _limited(self, what: Awaitable[T], timeout_s: Optional[float]) -> T:
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            return await asyncio.wait_for(what, limit_s)
        except asyncio.TimeoutError:
            raise TimedOutError("%s has not answered within %g s" % (self.config.url, limit_s)) from None

    @contextlib.asynccontextmanager
    async def _exchange(self, method: str, target: str, payload: bytes,
                        headers: Mapping[str, str]) -> AsyncIterator[Tuple[Answer, AsyncIterator[bytes]]]:
        connection = await self._pool.take()
        try:
            await connection.send(method, target, self._headers(payload, headers), payload)
            head = await connection.read_head()
            yield head, connection.body(method, head)
        finally:
            self._pool.give(connection)

    async def _whole(self, head: Answer, pieces: AsyncIterator[bytes]) -> Answer:
        body = bytearray()
        async for piece in pieces:
            body += piece
            if len(body) > self.max_answer_bytes:
                raise TooBigError("an answer of more than %d bytes" % self.max_answer_bytes)
        return Answer(head.status, head.headers, bytes(body))

    async def _once(self, method: str, target: str, payload: bytes, headers: Mapping[str, str]) -> Answer:
        async with self._exchange(method, target, payload, headers) as (head, pieces):
            answer = await self._whole(head, pieces)
        if answer.status // 100 != 2:
            raise self._refused(answer)
        return answer

    async def _tries(self, method: str, target: str, payload: bytes, headers: Mapping[str, str], retries: int,
                     safe: bool) -> Answer:
        delay_s = FIRST_DELAY_S
        for left in range(retries, -1, -1):
            wait_s = delay_s
            try:
                return await self._once(method, target, payload, headers)
            except (UnreachableError, BrokenError, UnavailableError) as e:
                if not left or not (safe or isinstance(e, UnreachableError)):
                    raise
                if isinstance(e, UnavailableError) and e.retry_after_s is not None:
                    wait_s = e.retry_after_s
                if wait_s > MAX_DELAY_S:
                    raise
            await asyncio.sleep(wait_s)
            delay_s = min(2 * delay_s, MAX_DELAY_S)
        raise AssertionError("a call is tried at least once")

    def _refused(self, answer: Answer) -> RefusedError:
        try:
            body = answer.object()
        except BrokenError:  # a proxy's, say
            body = {}
        return refused(answer.status, answer.headers, body, self.config.url)


def encode(body: Body, default: Optional[Callable[[Any], Any]] = None) -> bytes:
    """A body as JSON; default() says what stands for a value that JSON has no word for.  Raises InvalidError."""
    if body is None or isinstance(body, bytes):
        return body or b""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"),
                          default=default).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as e:
        raise InvalidError("this is not JSON: %s" % e) from None


def parse_event(block: bytes) -> Optional[Dict[str, Any]]:
    """The data of one event; None for comments and "[DONE]"."""
    data = b"\n".join(line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:"))
    if not data or data == b"[DONE]":
        return None
    return Answer(200, {}, data).object()
