"""A throw-away real Kubernetes cluster on this machine, for the demo and the tests.

`sandbox.open` starts one or uses an existing cluster; `sandbox.Sandbox` is what it gives.
"""

from lws_kueue_lab.sandbox.cluster import (
    BLOCK_LABEL,
    HOSTNAME_LABEL,
    RACK_LABEL,
    Backend,
    ComponentDiedError,
    KueueInfo,
    NoBuilderError,
    Options,
    Sandbox,
    SandboxError,
    ToolchainError,
    Topology,
    UnsupportedError,
)
from lws_kueue_lab.sandbox.launch import open

__all__ = [
    "BLOCK_LABEL",
    "HOSTNAME_LABEL",
    "RACK_LABEL",
    "Backend",
    "ComponentDiedError",
    "KueueInfo",
    "NoBuilderError",
    "Options",
    "Sandbox",
    "SandboxError",
    "ToolchainError",
    "Topology",
    "UnsupportedError",
    "open",
]
