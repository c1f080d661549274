# SPDX-License-Identifier: Apache-2.0
"""The model registry: what is registered, what is current, and what was changed by whom."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from .client import Client, segment
from .errors import NotFoundError

Model = Dict[str, Any]


class ModelRegistry:
    """Registers models and says which one is current.  A new one costs nothing until its first call.

    client: default one of its own, from the environment.

    A model is a dict: model_id, model_name, version, use_case, model_type, provider, configuration,
    performance_metrics, status, created_at, updated_at, status_since (times in ISO 8601, UTC).  Where a `model` is
    taken, an id, a unique prefix of one (6 characters or more), "name@version" or "name" will do.

    With the daemon away every call raises UnreachableError: None always means that there is no such model.
    """

    def __init__(self, client: Optional[Client] = None) -> None:
        self.client = client or Client()

    async def register_model(self, model_name: str, model_type: str, provider: str, use_case: str, version: str,
                             configuration: Mapping[str, Any],
                             performance_metrics: Optional[Mapping[str, Any]] = None, *,
                             reason: Optional[str] = None) -> str:
        """Registers a model as a candidate; its id.  Raises ConflictError when name, version and use case are taken."""
        body = {"model_name": model_name, "model_type": model_type, "provider": provider, "use_case": use_case,
                "version": version, "configuration": dict(configuration)}
        if performance_metrics is not None:
            body["performance_metrics"] = dict(performance_metrics)
        if reason is not None:
            body["reason"] = reason
        model = await self.client.call("POST", "/api/v1/models", body)
        return str(model["model_id"])

    async def update_model_status(self, model_id: str, status: str, reason: Optional[str] = None) -> Model:
        """Sets candidate, testing, current, deprecated or archived; the model as it is now.

        current makes the model that was current before deprecated, in the same transaction.
        """
        return await self._change(model_id, {"status": status}, reason)

    async def update_configuration(self, model_id: str, configuration: Mapping[str, Any],
                                   reason: Optional[str] = None) -> Model:
        """Replaces the configuration; the model as it is now."""
        return await self._change(model_id, {"configuration": dict(configuration)}, reason)

    async def update_performance_metrics(self, model_id: str, performance_metrics: Mapping[str, Any],
                                         reason: Optional[str] = None) -> Model:
        """Replaces the performance metrics; the model as it is now."""
        return await self._change(model_id, {"performance_metrics": dict(performance_metrics)}, reason)

    async def get_current_model(self, use_case: str) -> Optional[Model]:
        """The current model of a use case (or layer), from the daemon's memory; None when it has none."""
        try:
            return await self.client.call("GET", "/api/v1/use-cases/%s/current" % segment(use_case))
        except NotFoundError:
            return None

    async def get_current_model_at(self, use_case: str, at: str) -> Optional[Model]:
        """What was current then: {"at", "since", "model"}, or None.  at: ISO 8601, seconds since 1970, or "24h" ago."""
        try:
            return await self.client.call("GET", "/api/v1/use-cases/%s/current" % segment(use_case), query={"at": at})
        except NotFoundError:
            return None

    async def get_model(self, model: str, use_case: Optional[str] = None) -> Optional[Model]:
        """One model, or None.  Raises ConflictError when the name means several; use_case narrows."""
        try:
            return await self.client.call("GET", "/api/v1/models/" + segment(model), query={"use_case": use_case})
        except NotFoundError:
            return None

    async def list(self, use_case: Optional[str] = None, status: Optional[str] = None, provider: Optional[str] = None,
                   name: Optional[str] = None, include_archived: bool = False, limit: int = 1000) -> List[Model]:
        """At most `limit` models; of each use case the current one first."""
        query = {"use_case": use_case, "status": status, "provider": provider, "name": name,
                 "include_archived": include_archived or status == "archived" or None}
        return await self.client.list("/api/v1/models", query, limit)

    async def history(self, model: str, limit: int = 50) -> List[Dict[str, Any]]:
        """What was changed about a model, newest first: event_id, at, kind, actor, reason, before, after."""
        return await self.client.list("/api/v1/models/%s/history" % segment(model), None, limit)

    async def use_cases(self, limit: int = 1000) -> List[Dict[str, Any]]:
        """Every use case with its settings, current model, candidates and fallback endpoint; by name."""
        return await self.client.list("/api/v1/use-cases", None, limit)

    async def _change(self, model_id: str, change: Dict[str, Any], reason: Optional[str]) -> Model:
        if reason is not None:
            change["reason"] = reason
        return await self.client.call("PATCH", "/api/v1/models/" + segment(model_id), change)
