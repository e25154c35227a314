"""Whole-system tests are handed out so that all clusters have work until nearly the end."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CONFTEST = """
import pytest
from tests.kit.live import handing_out

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items[:] = handing_out.handed_out(items)

def pytest_collection_finish(session):
    for item in session.items:
        print("ITEM", item.name)

@pytest.fixture(scope="session")
def cluster(): ...

@pytest.fixture
def fresh_cluster(cluster): ...
"""
PACKAGE = """
import pytest

@pytest.fixture(scope="package")
def quiet(cluster): ...
"""
FILES = {
    "conftest.py": CONFTEST,
    # By name, all of them would be in another order.
    "a/test_few.py": "def test_short(cluster): ...",
    "a/test_many.py": """
def test_one_of_many(cluster): ...
def test_another_of_many(cluster): ...
""",
    "a/test_shared.py": """
import pytest

@pytest.fixture(scope="module")
def fleet(cluster): ...

def test_of_a_fleet(fleet): ...
def test_beside_a_fleet(cluster): ...
""",
    "b/__init__.py": "",
    "b/conftest.py": PACKAGE,
    "b/test_one.py": "def test_quiet(quiet): ...",
    "c/test_own.py": "def test_opens_a_cluster(fresh_cluster): ...",
    "c/test_program.py": "def test_starts_a_program(): ...",
    "d/test_minutes.py": """
import pytest

@pytest.mark.long(minutes=2)
def test_takes_two_minutes(cluster): ...
""",
    "d/test_more_minutes.py": """
import pytest

pytestmark = pytest.mark.long

@pytest.mark.long(minutes=3)
def test_takes_three_minutes(cluster): ...
""",
    "e2e/admission/test_rules.py": "def test_rule(cluster): ...",
}


def test_what_is_long_comes_before_what_is_short_and_admission_before_any_controller(
    tmp_path: Path,
) -> None:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", f"--rootdir={tmp_path}", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("ITEM ")]
    assert [name for _, name in lines] == [
        "test_rule",
        *("test_takes_three_minutes", "test_takes_two_minutes"),
        *("test_of_a_fleet", "test_beside_a_fleet", "test_quiet"),
        *("test_opens_a_cluster", "test_starts_a_program"),
        *("test_one_of_many", "test_another_of_many"),
        "test_short",
    ]
