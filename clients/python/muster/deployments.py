# SPDX-License-Identifier: Apache-2.0
"""Deployments: moving a use case to another model, and taking it back."""
from __future__ import annotations

import asyncio
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .client import Client, segment
from .errors import InvalidError, TimedOutError

STRATEGIES = ("all_at_once", "blue_green", "canary")
ENDED = ("succeeded", "aborted", "rolled_back")
POLL_S = 0.5


class DeploymentManager:
    """Starts, watches and ends deployments, and takes use cases back.

    client: default one of its own, from the environment.  Models are named as in ModelRegistry; a deployment by its
    id, a unique beginning of it (6 characters or more), or its use case while it is under way.
    """

    def __init__(self, client: Optional[Client] = None) -> None:
        self.client = client or Client()

    async def start(self, use_case: str, model: str, strategy: str = "canary", *,
                    steps: Optional[Sequence[int]] = None, hold_s: Optional[float] = None,
                    max_wait_s: Optional[float] = None, max_pause_s: Optional[float] = None,
                    thresholds: Optional[Mapping[str, Any]] = None, reason: Optional[str] = None) -> Dict[str, Any]:
        """Begins to move use_case to model; the deployment.

        strategy: all_at_once, blue_green or canary.  steps: the shares of a canary, whole percents, rising to 100;
        hold_s: seconds at each.  max_wait_s: how long a step may wait for enough requests before it pauses;
        max_pause_s: how long a pause lasts before it is aborted.  thresholds: past which it is rolled back by itself,
        {"error_rate", "latency_p95_ms", "latency_p95_ratio", "violation_rate", "min_samples"}, rates as fractions of 1.
        What is left out takes the daemon's default.
        """
        if strategy not in STRATEGIES:
            raise InvalidError("strategy '%s' is none of %s" % (strategy, ", ".join(STRATEGIES)))
        body = {"use_case": use_case, "model": model, "strategy": strategy, "reason": reason,
                "steps": None if steps is None else list(steps), "hold": milliseconds(hold_s),
                "max_wait": milliseconds(max_wait_s), "max_pause": milliseconds(max_pause_s),
                "thresholds": None if thresholds is None else dict(thresholds)}
        return await self.client.call("POST", "/api/v1/deployments", {k: v for k, v in body.items() if v is not None})

    async def status(self, deployment_id: str) -> Dict[str, Any]:
        """One deployment: state, share, step, and under `now` the numbers that it is judged by."""
        return await self.client.call("GET", "/api/v1/deployments/" + segment(deployment_id))

    async def wait(self, deployment_id: str, timeout_s: float = 3600.0) -> Dict[str, Any]:
        """The deployment when it has ended: its state is succeeded, aborted or rolled_back, and rollback_reason says
        why.  Raises TimedOutError when that takes longer; the deployment goes on then."""
        until = time.monotonic() + timeout_s
        deployment = await self.status(deployment_id)
        while deployment["state"] not in ENDED:
            if time.monotonic() > until:
                raise TimedOutError("deployment %s is still %s after %g s" % (deployment_id, deployment["state"],
                                                                             timeout_s))
            await asyncio.sleep(POLL_S)
            deployment = await self.status(deployment["deployment_id"])
        return deployment

    async def list(self, use_case: Optional[str] = None, limit: int = 50, *,
                   active: bool = False) -> List[Dict[str, Any]]:
        """Deployments, newest first; active: only those under way."""
        return await self.client.list("/api/v1/deployments", {"use_case": use_case, "active": active or None}, limit)

    async def snapshots(self, use_case: Optional[str] = None, limit: int = 50) -> List[Dict[str, Any]]:
        """How use cases were served before each deployment and each rollback, newest first: snapshot_id, created_at,
        use_case, model_id, deployment_id, actor, reason, document."""
        return await self.client.list("/api/v1/snapshots", {"use_case": use_case}, limit)

    async def pause(self, deployment_id: str, reason: Optional[str] = None) -> Dict[str, Any]:
        """Stays at the share it has."""
        return await self._act(deployment_id, "pause", reason)

    async def resume(self, deployment_id: str, reason: Optional[str] = None) -> Dict[str, Any]:
        """Goes on after pause()."""
        return await self._act(deployment_id, "resume", reason)

    async def promote(self, deployment_id: str, reason: Optional[str] = None) -> Dict[str, Any]:
        """Goes to the whole traffic now."""
        return await self._act(deployment_id, "promote", reason)

    async def abort(self, deployment_id: str, reason: Optional[str] = None) -> Dict[str, Any]:
        """Gives the whole traffic back to the model before."""
        return await self._act(deployment_id, "abort", reason)

    async def rollback(self, use_case: str, to: Optional[str] = None, snapshot: Optional[str] = None,
                       reason: Optional[str] = None) -> Dict[str, Any]:
        """Takes use_case back to a model, to a snapshot's id, or, with neither, to what was current before.

        {"use_case", "from", "from_id", "to", "to_id", "snapshot_id": how it was served until now, "deployment_id":
        what it ended, or None, "applied_ms": until every loop of that daemon served it, "recorded",
        "not_recorded_because"}.  recorded is False while the database is away: it serves all the same, and is recorded
        when the database is back.  A snapshot needs the database: UnavailableError without it.
        """
        if to is not None and snapshot is not None:
            raise InvalidError("a rollback goes to a model or to a snapshot, not to both")
        body = {"use_case": use_case, "to_model": to, "snapshot_id": snapshot, "reason": reason}
        return await self.client.call("POST", "/api/v1/rollback", {k: v for k, v in body.items() if v is not None})

    async def _act(self, deployment_id: str, verb: str, reason: Optional[str]) -> Dict[str, Any]:
        body = {} if reason is None else {"reason": reason}
        return await self.client.call("POST", "/api/v1/deployments/%s/%s" % (segment(deployment_id), verb), body)


def milliseconds(seconds: Optional[float]) -> Optional[int]:
    """What the API takes for a duration."""
    return None if seconds is None else int(round(seconds * 1000))
