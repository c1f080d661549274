# SPDX-License-Identifier: Apache-2.0
"""Alerts: what fires, who is told of it, and what is kept quiet for a while."""
from __future__ import annotations

from typing import Any, Dict, List, Optional

from .client import Client, segment
from .deployments import milliseconds
from .errors import InvalidError

RULES = ("registry_unavailable", "logging_failures", "critical_violation", "deployment_failed", "performance_degraded",
         "budget_nearly_spent", "budget_spent")


class AlertManager:
    """Lists alerts, tries their receivers out, and silences them.  Thresholds and receivers are in muster.yaml.

    client: default one of its own, from the environment.
    """

    def __init__(self, client: Optional[Client] = None) -> None:
        self.client = client or Client()

    async def list(self, state: Optional[str] = None, *, rule: Optional[str] = None, use_case: Optional[str] = None,
                   limit: int = 50) -> List[Dict[str, Any]]:
        """Alerts, newest first: rule, severity, state (firing or resolved), use_case, summary, details, since,
        fired_at, resolved_at, silenced, and under `delivery` whether the receivers took them.

        While the database is away: what the daemon that answers has in memory.
        """
        check_rule(rule)
        query = {"state": state, "rule": rule, "use_case": use_case}
        return await self.client.list("/api/v1/alerts", query, limit)

    async def receivers(self) -> List[Dict[str, Any]]:
        """Who is told: name, format, min_severity, state (ok or failing), counts, and the last error."""
        return list((await self.client.call("GET", "/api/v1/alerts/receivers"))["data"])

    async def test(self, receiver: Optional[str] = None, reason: Optional[str] = None) -> List[Dict[str, Any]]:
        """Sends a test to every receiver, or to one; of each: receiver, delivered, http_status, took_ms, error."""
        body = {"receiver": receiver, "reason": reason}
        answer = await self.client.call("POST", "/api/v1/alerts/test", {k: v for k, v in body.items() if v is not None})
        return list(answer["data"])

    async def silences(self) -> List[Dict[str, Any]]:
        """What is silenced now: silence_id, rule, use_case, created_at, until, actor, reason."""
        return list((await self.client.call("GET", "/api/v1/alerts/silences"))["data"])

    async def silence(self, for_s: float, reason: str, *, rule: Optional[str] = None,
                      use_case: Optional[str] = None) -> Dict[str, Any]:
        """Delivers no alerts of a rule, of a use case, or of both together for so many seconds; the silence.

        They still fire and are listed.
        """
        check_rule(rule)
        body = {"for": "%dms" % (milliseconds(for_s) or 0), "reason": reason, "rule": rule, "use_case": use_case}
        return await self.client.call("POST", "/api/v1/alerts/silences",
                                      {k: v for k, v in body.items() if v is not None})

    async def end_silence(self, silence_id: str, reason: Optional[str] = None) -> Dict[str, Any]:
        """Ends a silence now; the silence as it was."""
        return await self.client.call("DELETE", "/api/v1/alerts/silences/" + segment(silence_id),
                                      query={"reason": reason})


def check_rule(rule: Optional[str]) -> None:
    """Raises InvalidError for a rule that there is not."""
    if rule is not None and rule not in RULES:
        raise InvalidError("rule '%s' is none of %s" % (rule, ", ".join(RULES)))
