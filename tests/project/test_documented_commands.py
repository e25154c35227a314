"""Commands of documents: each is run by a test, or the document says why not."""

import re
from pathlib import Path

import pytest
import yaml

import lws_kueue
from tests.kit import commands
from tests.project.test_project import ROOT, documents, text

PAGES = ["install", "upgrade", "uninstall"]

# Which test runs the commands of a section; without a section, those of the whole page.
RUN_BY = {
    ("README.md", "Try it"): "e2e/sandbox/test_commands.py",
    ("docs/install.md", None): "e2e/deploy/test_documented_commands.py",
    ("docs/upgrade.md", None): "e2e/deploy/test_documented_commands.py",
    ("docs/uninstall.md", None): "e2e/deploy/test_documented_commands.py",
    ("docs/multikueue.md", "Set it up"): "e2e/multikueue/test_set_up.py",
    ("lab/README.md", "Where the programs come from"): "tests/sandbox/test_binaries.py",
}
# What blocks are that are no commands. `console` is a command with what it prints.
NO_COMMANDS = {"yaml", "lua", "mermaid", "text"}
CONSOLE = ("docs/kubectl.md", "tests/kubectl/test_document.py")


def page(name: str) -> Path:
    return ROOT / "docs" / f"{name}.md"


def test_blocks_are_found_with_their_section_and_the_reason_why_they_are_not_run(
    tmp_path: Path,
) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# Page\n\n## One\n\n```sh\na\n## b\n```\n\n```yaml\nc: d\n```\n\n## Two\n\n"
        "<!-- not run: it is far away -->\n```sh\ne\n```\n\n```sh\nf\n```\n",
        encoding="utf-8",
    )
    assert commands.blocks(document) == [
        commands.Block(heading="One", text="a\n## b", why_not=None),
        commands.Block(heading="Two", text="e", why_not="it is far away"),
        commands.Block(heading="Two", text="f", why_not=None),
    ]


def named(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def run_by(document: Path, block: commands.Block) -> str | None:
    return RUN_BY.get((named(document), block.heading)) or RUN_BY.get((named(document), None))


def test_a_test_that_is_said_to_run_the_commands_of_a_document_reads_it() -> None:
    for (page, heading), test in [*RUN_BY.items(), ((CONSOLE[0], None), CONSOLE[1])]:
        read = text(test)
        assert (heading or "") in text(page)
        assert Path(page).stem in read, f"{test} does not name {page}"


@pytest.mark.parametrize("document", documents(), ids=named)
def test_every_command_of_a_document_is_run_by_a_test_or_says_why_not(document: Path) -> None:
    opened = re.findall(r"^ *```(.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)[::2]
    allowed = NO_COMMANDS | {"sh"} | ({"console"} if named(document) == CONSOLE[0] else set())
    assert set(opened) <= allowed, "what is a block?"
    blocks = commands.blocks(document)
    assert opened.count("sh") == len(blocks)
    # The same text may stand on several pages; one of them is what the test reads.
    elsewhere = {
        block.text
        for other in documents()
        for block in commands.blocks(other)
        if block.why_not is None and run_by(other, block)
    }
    left = [b.text for b in blocks if b.why_not is None and b.text not in elsewhere]
    assert left == []


@pytest.mark.parametrize("document", documents(), ids=named)
def test_a_reason_why_a_command_is_not_run_names_tests_that_exist(document: Path) -> None:
    for block in commands.blocks(document):
        for name in re.findall(r"\b(?:tests|e2e)/\S+\.py\b", block.why_not or ""):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_a_page_says_what_it_is_so_none_is_forgotten(name: str) -> None:
    opened = re.findall(r"^```(.*)$", page(name).read_text(encoding="utf-8"), re.MULTILINE)[::2]
    assert set(opened) <= {"sh", "yaml"}
    blocks = commands.blocks(page(name))
    assert opened.count("sh") == len(blocks)
    assert any(block.why_not is None for block in blocks)


@pytest.mark.parametrize("name", PAGES)
def test_what_looks_like_a_reason_is_one_for_the_block_below_it(name: str) -> None:
    told = page(name).read_text(encoding="utf-8").count("<!--")
    assert told == sum(block.why_not is not None for block in commands.blocks(page(name)))


@pytest.mark.parametrize("document", documents(), ids=named)
def test_a_folder_is_deleted_by_a_command_that_minds_nothing_that_is_gone_already(
    document: Path,
) -> None:
    # A namespace or a definition takes along what kubectl would delete after it.
    deletions = [
        line
        for block in commands.blocks(document)
        for line in block.text.splitlines()
        if re.match(r"kubectl\b.* delete .*(-k|-f|--kustomize|--filename)\b", line)
    ]
    assert [line for line in deletions if "--ignore-not-found" not in line] == []


def test_versions_and_the_image_in_commands_are_those_of_the_tree() -> None:
    install = text("docs/install.md")
    found = re.findall(
        r"\b\d+\.\d+\.\d+\b", "\n".join(re.findall(r"```sh\n(.*?)```", install, re.S))
    )
    assert set(found) == {lws_kueue.__version__}
    deployment = yaml.safe_load(text("deploy/manager/deployment.yaml"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert f"name: {container['image'].partition(':')[0]}\n" in install


def test_the_base_of_the_image_is_named_as_in_the_dockerfile() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", text("Dockerfile"), re.MULTILINE)
    assert f"inspect {base} " in text("docs/install.md")
