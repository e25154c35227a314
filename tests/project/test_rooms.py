"""The picture of the rooms in docs/design.md is that of the imports."""

import re
import tomllib

import grimp

from tests.project.test_project import text

CONTROLLER = "lws_kueue.controller"


GRAPH = grimp.build_graph("lws_kueue")
ROOMS = {room for room in GRAPH.find_children(CONTROLLER) if GRAPH.find_children(room)}


def room(module: str) -> str | None:
    """The name of the room that a module is in, None for one that is in none."""
    return next((r.rpartition(".")[2] for r in ROOMS if module.startswith(f"{r}.")), None)


def doors() -> set[tuple[str | None, str | None]]:
    """The pairs of rooms of which modules of the first import modules of the second."""
    pairs = {
        (room(importer), room(imported))
        for importer in GRAPH.modules
        for imported in GRAPH.find_modules_directly_imported_by(importer)
    }
    return {(a, b) for a, b in pairs if a and b and a != b}


def test_the_picture_of_the_rooms_has_the_doors_that_there_are() -> None:
    picture = text("docs/design.md").partition("\n## Rooms\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^  (\w+) --> (\w+)$", picture, re.MULTILINE)) == doors()
    assert set(re.findall(r"^\| `(\w+)/` \|", picture, re.MULTILINE)) == {
        one.rpartition(".")[2] for one in ROOMS
    }


def test_the_picture_of_the_layers_is_what_the_linter_holds() -> None:
    picture = text("docs/design.md").partition("\n## Rooms\n")[2].partition("\n## ")[0]
    drawn = re.findall(r"^(\w+)  +\S", picture, re.MULTILINE)
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["name"] == "Layers")
    assert drawn == ["lws_kueue_lab", *(layer.removeprefix("lws_kueue.") for layer in layers)]
