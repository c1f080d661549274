# SPDX-License-Identifier: Apache-2.0
"""Deployments: moving a use case to another model, and taking it back."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

from .client import Client, segment
from .errors import InvalidError, NotFoundError, UnsupportedError
from .registry import ModelRegistry

STRATEGIES = ("all_at_once", "blue_green", "canary")


class DeploymentManager:
    """Starts, watches and ends deployments.  A daemon that has none answers UnsupportedError, but for rollback().

    client: default one of its own, from the environment.  Models are named as in ModelRegistry.
    """

    def __init__(self, client: Optional[Client] = None) -> None:
        self.client = client or Client()
        self.registry = ModelRegistry(self.client)

    async def start(self, use_case: str, model: str, strategy: str = "canary", *,
                    steps: Optional[Sequence[float]] = None, hold_s: Optional[float] = None,
                    thresholds: Optional[Mapping[str, Any]] = None, reason: Optional[str] = None) -> Dict[str, Any]:
        """Begins to move use_case to model; the deployment.

        strategy: all_at_once, blue_green or canary.  steps: the shares of a canary, in percent, rising to 100; hold_s:
        seconds at each.  thresholds: past which it is rolled back by itself.  What is left out takes the daemon's
        default.
        """
        if strategy not in STRATEGIES:
            raise InvalidError("strategy '%s' is none of %s" % (strategy, ", ".join(STRATEGIES)))
        body = {"use_case": use_case, "model": model, "strategy": strategy, "reason": reason,
                "steps": None if steps is None else list(steps),
                "hold_ms": None if hold_s is None else int(hold_s * 1000),
                "thresholds": None if thresholds is None else dict(thresholds)}
        return await self.client.call("POST", "/api/v1/deployments", {k: v for k, v in body.items() if v is not None})

    async def status(self, deployment_id: str) -> Dict[str, Any]:
        """One deployment: its state, share, step and numbers."""
        return await self.client.call("GET", "/api/v1/deployments/" + segment(deployment_id))

    async def list(self, use_case: Optional[str] = None, limit: int = 50) -> List[Dict[str, Any]]:
        """Deployments, newest first."""
        return await self.client.list("/api/v1/deployments", {"use_case": use_case}, limit)

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
        """Takes use_case back to a model, to a snapshot, or, with neither, to what was current before.

        On a daemon without this call the registry does it: the old model becomes current, then the new one archived,
        so that there is always a current one.  The answer then is {"use_case", "model_id", "archived": the id that was
        current or None, "by": "registry"}.  A snapshot needs the call: UnsupportedError.
        """
        if to is not None and snapshot is not None:
            raise InvalidError("a rollback goes to a model or to a snapshot, not to both")
        body = {"use_case": use_case, "to": to, "snapshot": snapshot, "reason": reason}
        try:
            return await self.client.call("POST", "/api/v1/rollback", {k: v for k, v in body.items() if v is not None})
        except UnsupportedError:
            if snapshot is not None:
                raise
        return await self._rollback_by_registry(use_case, to, reason)

    async def _rollback_by_registry(self, use_case: str, to: Optional[str], reason: Optional[str]) -> Dict[str, Any]:
        current = await self.registry.get_current_model(use_case)
        bad = current["model_id"] if current else None
        good = await self.registry.get_model(to, use_case) if to else await self._before(use_case, bad)
        if good is None:
            raise NotFoundError("no model called '%s' is registered for %s" % (to, use_case) if to else
                                "%s had no other current model: say which one, with to=" % use_case, 404)
        await self.registry.update_model_status(good["model_id"], "current", reason)
        if bad == good["model_id"]:
            bad = None
        if bad:
            await self.registry.update_model_status(bad, "archived", reason)
        return {"use_case": use_case, "model_id": good["model_id"], "archived": bad, "by": "registry"}

    async def _before(self, use_case: str, current_id: Optional[str]) -> Optional[Dict[str, Any]]:
        """The model that was current last, other than current_id."""
        events = await self.client.list("/api/v1/events", {"use_case": use_case, "kind": "model.status"}, 1000)
        for event in events:
            if event["subject"] != current_id and (event["before"] or {}).get("status") == "current":
                return await self.registry.get_model(event["subject"])
        return None

    async def _act(self, deployment_id: str, verb: str, reason: Optional[str]) -> Dict[str, Any]:
        body = {} if reason is None else {"reason": reason}
        return await self.client.call("POST", "/api/v1/deployments/%s/%s" % (segment(deployment_id), verb), body)
