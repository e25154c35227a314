"""What all tests without a cluster share."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.kit import examples, interrupts

# A busy machine makes single examples slow; that is no property of the code.
settings.register_profile(examples.STEADY, deadline=None)
settings.register_profile(examples.LONG, deadline=None, max_examples=200)
settings.load_profile(examples.STEADY)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record", type=Path, metavar="FILE", help="write plans and texts down (tests/frozen)"
    )


def pytest_configure(config: pytest.Config) -> None:
    interrupts.heeded()
    if file := config.getoption("--record"):
        from tests.frozen import recorder

        config.pluginmanager.register(recorder.Recorder(file))
