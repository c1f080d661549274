# SPDX-License-Identifier: Apache-2.0
"""See muster.guardrails."""
from muster.guardrails import GuardrailsMonitor

__all__ = ["GuardrailsMonitor"]
