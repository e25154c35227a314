"""Tests without a cluster, and the kit on which these and those of e2e stand."""

import pytest

# Failed checks of the kit tell what they saw.
pytest.register_assert_rewrite("tests.kit")
