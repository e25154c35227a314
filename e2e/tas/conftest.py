"""Fixtures of the topology tests: a tree of nodes for each test."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from tests.kit.live import harness
from tests.kit.tas import trees

Grow = Callable[..., trees.Tree]


@pytest.fixture
def grow(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess, backend: sandbox.Backend
) -> Iterator[Grow]:
    """Grow trees that go with the test, each with a namespace of its own name."""
    if backend == "kubeconfig":
        pytest.skip("makes and removes nodes, which a given cluster may not want")
    with ExitStack() as stack:

        def one(**options: Any) -> trees.Tree:
            namespace = f"tas-{secrets.token_hex(3)}"
            stack.enter_context(harness.own_namespace(installed, namespace))
            return stack.enter_context(trees.grown(installed, namespace, **options))

        yield one
