# SPDX-License-Identifier: Apache-2.0
"""See muster.history."""
from muster.history import HistoricalLogProcessor

__all__ = ["HistoricalLogProcessor"]
