"""No acceptance row that this version promises is without a test that carries its id."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def numbered(prefix: str, last: int, *, width: int = 2, separator: str = "-") -> set[str]:
    return {f"{prefix}{separator}{n:0{width}}" for n in range(1, last + 1)}


# kueue-contract 5.8; rows with two variants have an id for each as well.
WHOLE_SYSTEM = numbered("S", 17, separator="") | {
    f"S{row:02}{variant}" for row in (4, 5, 6, 7, 11) for variant in "ab"
}

# What people reported elsewhere (P), clients of every kind (GIT), neighbours in the cluster (NBR),
# writers who undo what the controller writes (WAR), deletions that others hold up (HLD), several
# clusters (MK, docs/multikueue.md).
AT_HOME = (
    numbered("P", 10, width=1, separator="")
    | numbered("GIT", 40)
    | numbered("NBR", 7)
    | numbered("WAR", 8)
    | numbered("HLD", 1)
    | {f"MK-{row}" for row in range(62, 66)}
)

# lws-contract 6.0 to 6.6 and 6.8 but for DisaggregatedSets, another API; kueue-contract 5.1 to 5.4,
# 5.6 to 5.9, and of 5.11 what is not about Kueue's pod groups; the name vectors of its 1.7.
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
    | numbered("R", 37, separator="")
    | numbered("Q", 3, separator="")
    | WHOLE_SYSTEM
    | numbered("D", 8, separator="")
    | numbered("C", 37, separator="")
    | numbered("U", 28, separator="")
    | numbered("I", 6, separator="")
    | numbered("O", 47, separator="")
    | numbered("T", 4, separator="")
    | {"1.7"}
    | AT_HOME
)

# Rows that differ so much that nothing is left of them to test (docs/compatibility.md).
WITHOUT_TEST = {"UT-24", "O34", "O41"}

# Rows about what a cluster does or an API server says; of UT, those about what pods are given, and
# of D, those about the labels of the set.
ON_A_CONTROL_PLANE = (
    {
        row
        for row in PROMISED
        if row.startswith(("ACC", "DEF", "VAL", "POD", "CTL", "E2E", "GANG", "UPG", "SMP", "Q"))
    }
    | {f"UT-{n}" for n in (25, 26, 27, 28, 29, 31, 32, 41, 42, 43, 44)}
    | {"D02", "D03", "D04"}
    | WHOLE_SYSTEM
    | AT_HOME
    | {row for row in PROMISED if re.fullmatch(r"[CUIT]\d+", row)}
)

COLLECT = """
import json, sys, pytest

class Rows:
    def pytest_collection_finish(self, session):
        ids = {
            (item.nodeid.partition("/")[0], row)
            for item in session.items
            for marker in item.iter_markers("row")
            for row in marker.args
        }
        print("ROWS", json.dumps(sorted(ids)))

sys.exit(pytest.main(["--collect-only", "-qq", "tests", "e2e"], plugins=[Rows()]))
"""


@functools.cache
def marks() -> frozenset[tuple[str, str]]:
    """Folder and id of every mark of collected tests; collecting runs none of them."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("ROWS "))
    found: list[tuple[str, str]] = json.loads(line.removeprefix("ROWS "))
    return frozenset((folder, row) for folder, row in found)


def carried(*folders: str) -> set[str]:
    """The ids that tests of these folders carry."""
    return {row for folder, row in marks() if folder in folders}


def ids_of(cell: str) -> set[str]:
    """The ids that a cell names: `CTL-01, CTL-03 to CTL-05, C34`."""
    found: set[str] = set()
    for part in cell.strip().split(", "):
        first, _, last = part.partition(" to ")
        row = re.fullmatch(r"([A-Z0-9]+-|[A-Z])(\d+)", first)
        assert row, cell
        if not last:
            found.add(first)
            continue
        prefix, low = row.groups()
        assert last.startswith(prefix), cell
        high = last.removeprefix(prefix)
        found |= {f"{prefix}{n:0{len(low)}}" for n in range(int(low), int(high) + 1)}
    return found


def excepted() -> set[str]:
    """The rows that docs/compatibility.md lists as different, each with its reason."""
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## Acceptance rows that differ\n")
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")]
    assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows), rows
    return {row_id for row in rows[1:] for row_id in ids_of(row[0])}


def test_every_promised_row_has_a_test_or_a_reason() -> None:
    assert sorted(PROMISED - carried("tests", "e2e")) == sorted(WITHOUT_TEST)
    assert excepted() >= WITHOUT_TEST


def test_rows_about_a_cluster_are_tested_on_one() -> None:
    assert not sorted(ON_A_CONTROL_PLANE - carried("e2e"))


def test_every_row_that_is_excepted_is_one_of_the_contract() -> None:
    assert not sorted(excepted() - PROMISED)
