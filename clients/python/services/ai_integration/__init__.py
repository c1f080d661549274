# SPDX-License-Identifier: Apache-2.0
"""Text generation, under the name that applications import."""
