# SPDX-License-Identifier: Apache-2.0
"""See muster.llm."""
from muster.llm import LLMClient

__all__ = ["LLMClient"]
