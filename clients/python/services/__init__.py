# SPDX-License-Identifier: Apache-2.0
"""The import paths of the runbook; everything is in the package muster."""
