"""Whatever a document names of this tree is there: files, folders and modules."""

import re
from pathlib import Path

import pytest

from tests.project.test_project import ROOT, documents

# What a path in a document may be relative to, besides the document itself.
BASES = (
    "",
    "lws_kueue",
    "lws_kueue/controller",
    "lab",
    "lab/lws_kueue_lab",
    "docs",
    "deploy",
    "e2e",
    "tests",
)
PATH = re.compile(r"`([A-Za-z_.][\w.-]*(?:/[\w.-]*)+|[a-z_]+\.py)`")
DOTTED = re.compile(r"`((?:lws_kueue|lws_kueue_lab|tests|e2e)(?:\.[a-z_]+)+)`")


def exists(name: str, document: Path) -> bool:
    bases = [document.parent, *(ROOT / base for base in BASES)]
    return any((base / name).exists() for base in bases)


def is_of_this_tree(name: str) -> bool:
    """Whether a name is a path here, and no label, image, field or placeholder."""
    return not name[0].isupper() and (
        name.endswith((".py", ".yaml", ".toml", ".md", ".json"))
        or (name.endswith("/") and "." not in name.partition("/")[0])
    )


@pytest.mark.parametrize("document", documents(), ids=lambda d: d.relative_to(ROOT).as_posix())
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    content = document.read_text(encoding="utf-8")
    named = [name for name in PATH.findall(content) if is_of_this_tree(name)]
    named += [name.replace(".", "/") for name in DOTTED.findall(content)]
    assert [n for n in named if not exists(n, document) and not exists(f"{n}.py", document)] == []
    if document.name in ("design.md", "CONTRIBUTING.md"):
        assert len(named) > 15
