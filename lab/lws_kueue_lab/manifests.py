"""The manifests of the project that the laboratory applies and the product does not.

In the checkout `_manifests` holds links to where they stand; a wheel holds the files themselves.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from lws_kueue.install import manifests

_FOLDER: Final = Path(__file__).parent / "_manifests"

# The folder of the examples.
EXAMPLES: Final = _FOLDER / "examples"


def example(file: str) -> list[dict[str, Any]]:
    """Return the objects of one example."""
    return manifests.load(EXAMPLES / file)


def manager_objects() -> list[dict[str, Any]]:
    """Return what the controller needs in a cluster when it runs outside of it.

    That is everything of ``deploy/manager`` in its order, the namespace first, but the Deployment.
    """
    return [obj for obj in _of(_FOLDER / "manager") if obj["kind"] != "Deployment"]


def multikueue_objects(side: Literal["manager", "worker"]) -> list[dict[str, Any]]:
    """Return what dispatch by group needs in a cluster, in its order, beside all else.

    In the manager these are more rights of the controller, in a worker the account as which a
    manager's controller comes. They are all of a folder of ``deploy/multikueue``.
    """
    return list(_of(_FOLDER / "multikueue" / side))


def _of(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a folder, in the order of its kustomization."""
    (kustomization,) = manifests.load(folder / "kustomization.yaml")
    for name in kustomization["resources"]:
        yield from manifests.load(folder / name)
