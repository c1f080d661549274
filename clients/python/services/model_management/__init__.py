# SPDX-License-Identifier: Apache-2.0
"""Registry, historical log, guardrails and deployments, under the names that applications import."""
