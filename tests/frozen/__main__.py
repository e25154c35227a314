"""Compare two recordings: ``python -m tests.frozen OLD NEW``."""

import json
import sys
from pathlib import Path
from typing import Any


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return what differs; a test that only one of the two has is told by its name."""
    found = []
    for test in sorted(old["plans"].keys() | new["plans"].keys()):
        before, after = old["plans"].get(test), new["plans"].get(test)
        if before is None or after is None:
            found.append(f"plans of {test}: only in the {'new' if before is None else 'old'}")
        elif before != after:
            found.append(f"plans of {test} are not the same")
    before_texts, after_texts = set(old["texts"]), set(new["texts"])
    found += [f"no longer said: {text}" for text in sorted(before_texts - after_texts)]
    found += [f"not said before: {text}" for text in sorted(after_texts - before_texts)]
    return found


if __name__ == "__main__":
    given = [json.loads(Path(name).read_text()) for name in sys.argv[1:3]]
    told = differences(*given)
    print("\n".join(told) or "equal")
    sys.exit(bool(told))
