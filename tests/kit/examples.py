"""How many random examples are tried: some in `make test`, all of them in `make test-long`."""

from hypothesis import settings

# Names of hypothesis' profiles; tests/conftest.py registers them.
STEADY, LONG = "steady", "long"


def examples(number: int, *, few: int | None = None) -> settings:
    """Try ``number`` examples; ``few``, or a fifth, where the profile is not the long one."""
    is_long = settings.default == settings.get_profile(LONG)
    fewer = max(20, number // 5) if few is None else few
    return settings(max_examples=number if is_long else fewer)
