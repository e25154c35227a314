"""Fixtures of the rows on the control plane."""

import pytest
from lws_kueue_lab import sandbox


@pytest.fixture
def played(backend: sandbox.Backend) -> None:
    """Skip a test of pods that become ready, or not, as it says: kwok plays them."""
    if backend == "kubeconfig":
        pytest.skip("needs pods whose readiness kwok plays; those of a given cluster are real")
