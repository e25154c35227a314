"""How many random examples are tried: some in `make test`, all of them in `make test-long`."""

from hypothesis import settings

# Names of hypothesis' profiles; tests/conftest.py registers them.
STEADY, LONG = "steady", "long"


def examples(number: int) -> settings:
    """Try ``number`` examples, or a fifth of them where the profile is not the long one."""
    is_long = settings.default == settings.get_profile(LONG)
    return settings(max_examples=number if is_long else max(20, number // 5))
