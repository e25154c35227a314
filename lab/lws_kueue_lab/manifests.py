"""The manifests of the project that the laboratory applies and the product does not.

In the checkout `_manifests` holds links to where they stand; a wheel holds the files themselves.
"""

from pathlib import Path
from typing import Any, Final

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
    folder = _FOLDER / "manager"
    (kustomization,) = manifests.load(folder / "kustomization.yaml")
    objects = [obj for name in kustomization["resources"] for obj in manifests.load(folder / name)]
    return [obj for obj in objects if obj["kind"] != "Deployment"]
