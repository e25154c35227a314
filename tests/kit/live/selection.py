"""Which parameters of a module run: what is not looked at need not be set up."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

# For tests of all that was set up, of which most is looked at only where there is time.
EACH_TIME = pytest.mark.parametrize(
    "which", ["few", pytest.param("the others", marks=pytest.mark.long)]
)


def parametrize(
    argument: str, found: Iterable[Any], *, few: set[str], name: Callable[[Any], str] = str
) -> pytest.MarkDecorator:
    """Run a test for each of ``found``; those that are not among the ``few`` take long together."""
    return pytest.mark.parametrize(
        argument,
        [
            pytest.param(one, id=name(one), marks=() if name(one) in few else pytest.mark.long)
            for one in found
        ],
    )


def values(request: pytest.FixtureRequest, argument: str) -> list[Any]:
    """Return the values of a parameter of those tests of the module that run, each once."""
    found = [
        item.callspec.params[argument]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and hasattr(item, "callspec")
        and argument in item.callspec.params
    ]
    return list({id(value): value for value in found}.values())
