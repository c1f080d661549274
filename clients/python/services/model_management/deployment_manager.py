# SPDX-License-Identifier: Apache-2.0
"""See muster.deployments."""
from muster.deployments import DeploymentManager

__all__ = ["DeploymentManager"]
