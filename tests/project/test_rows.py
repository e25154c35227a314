"""No acceptance row that this version promises is without a test that carries its id."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def numbered(prefix: str, last: int, *, width: int = 2, separator: str = "-") -> set[str]:
    return {f"{prefix}{separator}{n:0{width}}" for n in range(1, last + 1)}


# lws-contract 6.1 and 6.2 whole; of 6.3 what needs no subgroups, exclusive terms, TPU or Volcano;
# of kueue-contract 5.1 the creation of Workloads; the name vectors of kueue-contract 1.7.
PROMISED = (
    numbered("DEF", 11)
    | numbered("VAL", 45)
    | {f"POD-{n:02}" for n in (1, 2, 3, 8, 9, 11, 23, 26, 27)}
    | {"R01", "R02", "R03", "R04", "R07", "R08"}
    | {"1.7"}
)

COLLECT = """
import json, sys, pytest

class Rows:
    def pytest_collection_finish(self, session):
        ids = {i for item in session.items for m in item.iter_markers("row") for i in m.args}
        print("ROWS", json.dumps(sorted(ids)))

sys.exit(pytest.main(["--collect-only", "-qq", "tests", "e2e"], plugins=[Rows()]))
"""


def carried() -> set[str]:
    """The ids that collected tests carry; collecting runs none of them."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("ROWS "))
    found: list[str] = json.loads(line.removeprefix("ROWS "))
    return set(found)


def test_every_promised_row_has_a_test() -> None:
    assert not sorted(PROMISED - carried())
