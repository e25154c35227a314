"""No acceptance row that this version promises is without a test that carries its id."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def numbered(prefix: str, last: int, *, width: int = 2, separator: str = "-") -> set[str]:
    return {f"{prefix}{separator}{n:0{width}}" for n in range(1, last + 1)}


# lws-contract 6.0 to 6.6 and 6.8 but for DisaggregatedSets, another API; of kueue-contract 5.1 the
# creation of Workloads; the name vectors of kueue-contract 1.7.
PROMISED = (
    numbered("ACC", 8, width=1)
    | numbered("DEF", 11)
    | numbered("VAL", 45)
    | numbered("POD", 28)
    | numbered("CTL", 53)
    | numbered("E2E", 18)
    | numbered("GANG", 5)
    | numbered("UPG", 1)
    | numbered("UT", 49)
    | numbered("SMP", 11)
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


def excepted() -> set[str]:
    """The rows that docs/compatibility.md lists as different, each with its reason."""
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## Acceptance rows that differ\n")
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")]
    assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows), rows
    return {row_id for row in rows[1:] for row_id in row[0].replace(",", " ").split()}


def test_every_promised_row_has_a_test_or_a_reason() -> None:
    assert not sorted(PROMISED - carried() - excepted())


def test_every_row_that_is_excepted_is_one_of_the_contract() -> None:
    assert not sorted(excepted() - PROMISED)
