"""Commands of the pages about installing: each is run by a test, or the page says why not."""

import re
from pathlib import Path

import pytest
import yaml

import lws_kueue
from tests.kit import commands
from tests.project.test_project import ROOT, text

PAGES = ["install", "upgrade", "uninstall"]


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
