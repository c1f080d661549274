# SPDX-License-Identifier: Apache-2.0
"""See muster.registry."""
from muster.registry import ModelRegistry

__all__ = ["ModelRegistry"]
