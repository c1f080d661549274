# SPDX-License-Identifier: Apache-2.0
"""Guardrails: whether texts may be used."""
from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

from .client import Client
from .errors import BrokenError, TimedOutError, UnavailableError, UnreachableError


class GuardrailsMonitor:
    """Judges texts by the policy of a use case, of a model's use case, or by name.

    client           default one of its own, from the environment
    allow_unchecked  what `compliant` says when the daemon is away and nothing could be checked; default False, so that
                     nothing unjudged leaves.  Either way `checked` is False then.
    """

    def __init__(self, client: Optional[Client] = None, *, allow_unchecked: bool = False) -> None:
        self.client, self.allow_unchecked = client or Client(), allow_unchecked
        self.unchecked = 0  # texts that were answered without a check

    async def monitor_outputs(self, model_id: object, outputs: Sequence[str], *, use_case: Optional[str] = None,
                              policy: Optional[str] = None, side: str = "output") -> Dict[str, Any]:
        """The verdict over at most 256 texts.

        {"compliant": bool, "checked": bool, "action": the strongest of allow, flag, mask, fallback, block,
         "policy": name, "violations": [{"index", "rule", "category", "severity", "action", "side", "start", "length"}],
         "outputs": [{"index", "action", "text"}]}

        text is what may be used: masked where the policy masks, None where it must not be used.  start and length are
        bytes of UTF-8.  model_id need not be registered: then the default policy judges.

        With the daemon away: checked False, action "skipped", policy None, and "error" says why.  Raises RefusedError
        when the daemon answers that the request itself is wrong.
        """
        body = {"model_id": str(model_id), "use_case": use_case, "policy": policy, "side": side,
                "outputs": list(outputs)}
        given = {k: v for k, v in body.items() if v is not None}
        try:
            verdict = await self.client.call("POST", "/api/v1/guardrails/check", given, safe=True)
        except (UnreachableError, TimedOutError, BrokenError, UnavailableError) as e:
            return self._unchecked(outputs, e)
        verdict["checked"] = True
        return verdict

    def _unchecked(self, outputs: Sequence[str], why: Exception) -> Dict[str, Any]:
        self.unchecked += len(outputs)
        texts = [{"index": i, "action": "skipped", "text": text if self.allow_unchecked else None}
                 for i, text in enumerate(outputs)]
        return {"compliant": self.allow_unchecked, "checked": False, "action": "skipped", "policy": None,
                "violations": [], "outputs": texts, "error": "not checked: %s" % why}
