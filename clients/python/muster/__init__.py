# SPDX-License-Identifier: Apache-2.0
"""Muster from Python: asyncio, Python 3.9 or later, and nothing but the standard library.

    from muster import LLMClient, ModelRegistry

    registry = ModelRegistry()
    result = await LLMClient(registry).generate_text(layer="foundation", prompt="Hello")
    print(result["text"])

Where the daemon is comes from the environment: see muster.config.  Errors are muster.errors.MusterError.
"""
from .alerts import AlertManager
from .client import Client
from .config import Config
from .deployments import DeploymentManager
from .errors import (BrokenError, ConflictError, InvalidError, MusterError, NotFoundError, RefusedError, TimedOutError,
                     TooBigError, UnauthorizedError, UnavailableError, UnreachableError, UnsupportedError)
from .guardrails import GuardrailsMonitor
from .history import Counters, HistoricalLogProcessor
from .llm import LLMClient
from .registry import ModelRegistry

__version__ = "0.1.0"

__all__ = [
    "AlertManager", "BrokenError", "Client", "Config", "ConflictError", "Counters", "DeploymentManager",
    "GuardrailsMonitor", "HistoricalLogProcessor", "InvalidError", "LLMClient", "ModelRegistry", "MusterError",
    "NotFoundError", "RefusedError", "TimedOutError", "TooBigError", "UnauthorizedError", "UnavailableError",
    "UnreachableError", "UnsupportedError",
]
