# SPDX-License-Identifier: Apache-2.0
"""The historical log of what applications infer by themselves: taken at once, delivered in the background."""
from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Deque, Dict, Mapping, Optional, Type
from uuid import UUID

from .client import Client, encode
from .errors import BrokenError, InvalidError, MusterError, TimedOutError, UnavailableError, UnreachableError

MAX_BACKOFF_S = 5.0
USAGE = ("latency_ms", "prompt_tokens", "completion_tokens")


@dataclass
class Counters:
    """What became of records since the start.  What is in none of them is waiting."""

    delivered: int = 0  # acknowledged: on the daemon's disk
    dropped: int = 0  # the queue was full: lost
    refused: int = 0  # the daemon does not take them: lost
    unconfirmed: int = 0  # sent, but the acknowledgement did not come; not sent twice


class _Record:
    def __init__(self, record_id: str, body: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self.id, self.body = record_id, body
        self.acknowledged: "asyncio.Future[Optional[str]]" = loop.create_future()

    def settle(self, log_id: Optional[str]) -> None:
        if not self.acknowledged.done() and not self.acknowledged.get_loop().is_closed():
            self.acknowledged.set_result(log_id)


class HistoricalLogProcessor:
    """Reports inferences without holding up the caller.

    client         default one of its own, from the environment
    max_records    that may wait in memory; default 10,000
    max_bytes      of their JSON; default 64 MiB
    ack_timeout_s  how long log_inference waits at most for the daemon's word; default 0.1; 0 never waits

    One task delivers in order and ends when nothing waits.  While the daemon is away or late, log_inference does not
    wait at all, and records wait in memory (they are tried again after 0.1 s, then less often, up to every 5 s).  They
    do not outlive the process: `async with`, or close(), delivers what is left.  `counters` says what became of them.
    """

    def __init__(self, client: Optional[Client] = None, *, max_records: int = 10000, max_bytes: int = 64 << 20,
                 ack_timeout_s: float = 0.1) -> None:
        self.client = client or Client()
        self.max_records, self.max_bytes, self.ack_timeout_s = max_records, max_bytes, ack_timeout_s
        self.counters = Counters()
        self.away = False  # whether the last delivery failed or is late
        self._waiting: Deque[_Record] = deque()
        self._bytes = 0
        self._task: Optional["asyncio.Task[None]"] = None

    @property
    def pending(self) -> int:
        """Records that wait, the one on its way included: never more than max_records."""
        return len(self._waiting)

    async def log_inference(self, model_id: object, use_case: str, prompt: str, context: Optional[Mapping[str, Any]],
                            generated_output: str, performance_metrics: Optional[Mapping[str, Any]] = None, *,
                            model_name: Optional[str] = None, status: str = "ok", error: Optional[str] = None,
                            parameters: Optional[Mapping[str, Any]] = None) -> Optional[str]:
        """Takes a record; the id to find it by, or None when it is lost already (refused, or the queue is full).

        The id is that of the daemon's record.  When the daemon has not acknowledged in time, it is one made here: the
        record carries it as request_id when it arrives.

        model_id may be anything of up to 256 bytes.  Of performance_metrics, latency_ms (milliseconds), prompt_tokens
        and completion_tokens become the record's own; the others are kept in parameters.performance_metrics.
        status: ok, error, blocked, truncated, client_disconnect or timeout.  What JSON has no word for (a UUID, a time)
        is written as str() says it; it raises nothing.
        """
        metrics = dict(performance_metrics or {})
        body: Dict[str, Any] = {k: metrics.pop(k) for k in USAGE if metrics.get(k) is not None}
        kept = dict(parameters or {}, **({"performance_metrics": metrics} if metrics else {}))
        body.update(model_id=str(model_id), use_case=use_case, prompt=prompt, generated_output=generated_output,
                    context=None if context is None else dict(context), model_name=model_name, status=status,
                    error=error, parameters=kept or None, created_at=now())
        try:
            payload = encode({k: v for k, v in body.items() if v is not None}, default=str)
        except InvalidError:
            self.counters.refused += 1
            return None
        record = _Record(uuid7(), payload, asyncio.get_running_loop())
        if len(self._waiting) >= self.max_records or self._bytes + len(payload) > self.max_bytes:
            self.counters.dropped += 1
            return None
        self._push(record)
        self._start()
        if self.away or self.ack_timeout_s <= 0:
            return record.id
        done, _ = await asyncio.wait({record.acknowledged}, timeout=self.ack_timeout_s)
        if done:
            return record.acknowledged.result()
        self.away = True
        return record.id

    async def review(self, window: str = "24h", *, use_case: Optional[str] = None,
                     until: Optional[str] = None) -> Dict[str, Any]:
        """What happened in the window, against as long before it: requests, errors, latencies, violations, deployments,
        targets, and what was changed by whom, as GET /api/v1/review says it.

        window: "24h", "7d", or any duration from 10m to 31d.  until: where it ends, default now.  A figure that was not
        measured is None.  A daemon that is making another review answers RefusedError with status 429.
        """
        query = {"window": window, "use_case": use_case, "until": until}
        return await self.client.call("GET", "/api/v1/review", query=query)

    async def flush(self, timeout_s: float = 10.0) -> bool:
        """Waits until nothing is left; False when that takes longer than timeout_s."""
        task = self._start()
        if task:
            await asyncio.wait({task}, timeout=timeout_s)
        return not self._waiting

    async def close(self, timeout_s: float = 10.0) -> bool:
        """flush(), then stops; False when records are left, which stay in memory and are counted by `pending`."""
        clean = await self.flush(timeout_s)
        task = self._start()
        if task:
            task.cancel()
            await asyncio.wait({task})
        await self.client.close()
        return clean

    async def __aenter__(self) -> "HistoricalLogProcessor":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: object, trace: object) -> None:
        await self.close()

    # --- the task ---

    def _start(self) -> Optional["asyncio.Task[None]"]:
        """The task of the running event loop, begun when something waits; None when there is nothing to do."""
        loop = asyncio.get_running_loop()
        if self._task and (self._task.done() or self._task.get_loop() is not loop):
            self._task = None
        if self._waiting and not self._task:
            self._task = loop.create_task(self._deliver_all())
        return self._task

    def _push(self, record: _Record) -> None:
        self._waiting.append(record)
        self._bytes += len(record.body)

    def _pop(self) -> None:
        self._bytes -= len(self._waiting.popleft().body)

    async def _deliver_all(self) -> None:
        """Takes a record out of the queue when its fate is known, so that the limits hold for the one on its way."""
        backoff_s = 0.1
        while self._waiting:
            try:
                delivered = await self._deliver(self._waiting[0])
            except asyncio.CancelledError:
                self._pop()
                raise
            if delivered:
                self._pop()
                backoff_s = 0.1
                continue
            for other in self._waiting:
                other.settle(other.id)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    async def _deliver(self, record: _Record) -> bool:
        """False when it has to be tried again: nothing was sent, or the daemon said so."""
        log_id: Optional[str] = record.id
        try:
            answer = await self.client.call("POST", "/api/v1/logs", record.body, retries=0,
                                            headers={"x-request-id": record.id, "idempotency-key": record.id})
            log_id = answer["log_id"]
            self.counters.delivered += 1
            self.away = False
        except (UnreachableError, UnavailableError):
            self.away = True
            return False
        except (BrokenError, TimedOutError, asyncio.CancelledError) as e:
            self.counters.unconfirmed += 1
            self.away = True
            if isinstance(e, asyncio.CancelledError):
                raise
        except MusterError:
            self.counters.refused += 1
            log_id = None
        record.settle(log_id)
        return True


def now() -> str:
    """The time, in ISO 8601 with microseconds, UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def uuid7() -> str:
    """An id that sorts by time (RFC 9562, version 7)."""
    n = (time.time_ns() // 1000000) << 80 | int.from_bytes(os.urandom(10), "big")
    return str(UUID(int=n & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))
