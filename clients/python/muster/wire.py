# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 over asyncio streams: one connection, one exchange at a time, and a pool of connections that are kept.

Everything from the other side has a limit: heads MAX_HEAD_BYTES, chunk lines 1 KiB, interim answers MAX_INTERIM,
bodies what the caller allows.  An answer that ends before its end is BrokenError, never a shorter answer.
"""
from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from dataclasses import dataclass
from typing import Any, AsyncIterator, Dict, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from .errors import BrokenError, InvalidError, TooBigError, UnreachableError

MAX_HEAD_BYTES = 65536
MAX_INTERIM = 8
MAX_TRAILERS = 64
PIECE_BYTES = 65536
IDLE_S = 30.0  # a connection idle for longer is not used again; the daemon closes its end after 75 s

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?$")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*$")


@dataclass(frozen=True)
class Address:
    """Where a URL points: host, port, TLS or not, and the path that stands in front of every target."""

    host: str
    port: int
    tls: bool
    path: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """Raises InvalidError for anything but http://HOST[:PORT][/PATH] and https://."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or re.search(r"[\s\0]", url):
            raise InvalidError("'%s' is not a URL such as http://127.0.0.1:8080" % url)
        path = parts.path + ("?" + parts.query if parts.query else "")
        return cls(parts.hostname, port or (443 if parts.scheme == "https" else 80), parts.scheme == "https", path)

    @property
    def authority(self) -> str:
        """HOST:PORT, for the Host header and for people."""
        host = "[%s]" % self.host if ":" in self.host else self.host
        return "%s:%d" % (host, self.port)


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def object(self) -> Dict[str, Any]:
        """The body as a JSON object; raises BrokenError when it is none."""
        try:
            value = json.loads(self.body.decode("utf-8"))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise BrokenError("the answer is not a JSON object: %r; is this a muster daemon? see MUSTER_URL"
                              % self.body[:80])
        return value


class Connection:
    """One connection.  After an exchange, `reusable` says whether another may follow."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.reusable = False
        self.idle_since = 0.0

    @classmethod
    async def open(cls, address: Address, tls: Optional[ssl.SSLContext], timeout_s: float) -> "Connection":
        """Raises UnreachableError when there is none within timeout_s."""
        opening = asyncio.open_connection(address.host, address.port, ssl=tls, limit=MAX_HEAD_BYTES)
        try:
            return cls(*await asyncio.wait_for(opening, timeout_s))
        except asyncio.TimeoutError:
            raise UnreachableError("no connection to %s within %g s" % (address.authority, timeout_s)) from None
        except OSError as e:  # ssl.SSLError is one too
            raise UnreachableError("cannot connect to %s: %s" % (address.authority, e)) from None

    def stale(self) -> bool:
        """Whether it has been idle too long, or the other side has closed."""
        return time.monotonic() - self.idle_since > IDLE_S or self._reader.at_eof() or self._writer.is_closing()

    def close(self) -> None:
        try:
            self._writer.close()
        except RuntimeError:  # its event loop is gone, and the socket goes with it
            pass

    async def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        lines = ["%s %s HTTP/1.1" % (method, target)] + ["%s: %s" % h for h in headers.items()]
        head = "\r\n".join(lines) + "\r\n\r\n"
        self.reusable = False
        try:
            self._writer.write(head.encode("latin-1") + body)
            await self._writer.drain()
        except OSError as e:
            raise BrokenError("the connection broke while the request was sent: %s" % e) from None

    async def read_head(self) -> Answer:
        """Status and headers of the final answer; interim ones are passed over."""
        for _ in range(MAX_INTERIM):
            answer = self._parse(await self._until(b"\r\n\r\n"))
            if answer.status >= 200:
                return answer
        raise BrokenError("more than %d interim answers" % MAX_INTERIM)

    async def body(self, method: str, head: Answer) -> AsyncIterator[bytes]:
        """The body in pieces of at most PIECE_BYTES."""
        length, encoding = head.headers.get("content-length"), head.headers.get("transfer-encoding")
        keep = head.headers.get("connection", "").lower() != "close"
        if method == "HEAD" or head.status in (204, 304):
            pass
        elif encoding is not None:
            if encoding.lower() != "chunked" or length is not None:
                raise BrokenError("the answer's body has no length that can be trusted")
            async for piece in self._chunks():
                yield piece
        elif length is not None:
            if not re.fullmatch(r"[0-9]{1,18}", length):
                raise BrokenError("content-length is '%s'" % length[:40])
            async for piece in self._exactly(int(length)):
                yield piece
        else:
            keep = False
            while True:
                piece = await self._some()
                if not piece:
                    break
                yield piece
        self.reusable = keep

    @staticmethod
    def _parse(raw: bytes) -> Answer:
        first, *lines = raw[:-4].split(b"\r\n")
        status = _STATUS_LINE.match(first)
        if not status:
            raise BrokenError("what came is not HTTP: %r" % first[:80])
        headers: Dict[str, str] = {} if status.group(1) == b"1" else {"connection": "close"}
        for line in lines:
            header = _HEADER_LINE.match(line)
            if not header:
                raise BrokenError("a header cannot be read: %r" % line[:80])
            name, value = header.group(1).decode("ascii").lower(), header.group(2).decode("latin-1")
            if name in ("content-length", "transfer-encoding") and headers.get(name, value) != value:
                raise BrokenError("the answer has two headers %s" % name)
            headers[name] = value
        return Answer(int(status.group(2)), headers)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            line = (await self._until(b"\r\n"))[:-2].partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", line):
                raise BrokenError("a chunk has no size: %r" % line[:40])
            if int(line, 16) == 0:
                break
            async for piece in self._exactly(int(line, 16)):
                yield piece
            if await self._until(b"\r\n") != b"\r\n":
                raise BrokenError("a chunk is longer than it said")
        for _ in range(MAX_TRAILERS):
            if await self._until(b"\r\n") == b"\r\n":
                return
        raise TooBigError("more than %d trailers" % MAX_TRAILERS)

    async def _exactly(self, n: int) -> AsyncIterator[bytes]:
        while n:
            piece = await self._some(min(n, PIECE_BYTES))
            if not piece:
                raise BrokenError("the answer broke off %d bytes before its end" % n)
            n -= len(piece)
            yield piece

    async def _some(self, n: int = PIECE_BYTES) -> bytes:
        try:
            return await self._reader.read(n)
        except OSError as e:
            raise BrokenError("the connection broke: %s" % e) from None

    async def _until(self, mark: bytes) -> bytes:
        try:
            return await self._reader.readuntil(mark)
        except asyncio.IncompleteReadError:
            raise BrokenError("the connection was closed before the answer's end") from None
        except asyncio.LimitOverrunError:
            raise TooBigError("a head or line of more than %d bytes" % MAX_HEAD_BYTES) from None
        except OSError as e:
            raise BrokenError("the connection broke: %s" % e) from None


class Pool:
    """At most max_connections to one address; the last one used is used first.

    Who finds all of them busy waits, within the caller's own time limit.  A pool follows its user from one event loop
    to the next (one asyncio.run after another): connections of the loop before are dropped.  Not for several threads.
    """

    def __init__(self, address: Address, ca_file: Optional[str], connect_timeout_s: float,
                 max_connections: int) -> None:
        self.address = address
        self._connect_timeout_s, self._max = connect_timeout_s, max_connections
        self._tls: Optional[ssl.SSLContext] = None
        if address.tls:
            try:
                self._tls = ssl.create_default_context(cafile=ca_file)
            except OSError as e:
                raise InvalidError("cannot read certificates from '%s': %s" % (ca_file, e)) from None
        self._idle: List[Connection] = []
        self._bound: Optional[Tuple[asyncio.AbstractEventLoop, asyncio.Semaphore]] = None

    def _slots(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._bound is None or self._bound[0] is not loop:
            self.close()
            self._bound = (loop, asyncio.Semaphore(self._max))
        return self._bound[1]

    async def take(self) -> Connection:
        """A connection, and the right to it until give(); raises UnreachableError."""
        slots = self._slots()
        await slots.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.stale():
                    return connection
                connection.close()
            return await Connection.open(self.address, self._tls, self._connect_timeout_s)
        except BaseException:
            slots.release()
            raise

    def give(self, connection: Connection) -> None:
        """Back from its user: kept when another exchange may follow, closed otherwise."""
        if connection.reusable:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()
        self._slots().release()

    def close(self) -> None:
        """Closes the idle ones; those in use are closed by their users."""
        while self._idle:
            self._idle.pop().close()
