"""Fixtures of the rows on the control plane."""

import pytest
from lws_kueue_lab import sandbox

# Failed checks tell what they saw.
for module in ("checks", "playing", "podgroups", "scenarios", "sets", "tpus"):
    pytest.register_assert_rewrite(f"e2e.lws.{module}")


@pytest.fixture
def played(backend: sandbox.Backend) -> None:
    """Skip a test of pods that become ready, or not, as it says: kwok plays them."""
    if backend == "kubeconfig":
        pytest.skip("needs pods whose readiness kwok plays; those of a given cluster are real")
