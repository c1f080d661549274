# SPDX-License-Identifier: Apache-2.0
"""Health checks that change nothing but use cases of their own."""
