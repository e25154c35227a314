"""The project's own manifests: in a checkout where they stand, in an installation inside it."""

from importlib import resources as package_resources
from pathlib import Path
from typing import Any, Final

import yaml

import lws_kueue

_PACKED: Final = "_manifests"

# The CRD is large; the loader in C reads it in a tenth of the time, where PyYAML was built with it.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def root() -> Path:
    """Return the folder that holds ``crds``, ``deploy`` and ``examples``."""
    packed = Path(str(package_resources.files(lws_kueue))) / _PACKED
    if packed.is_dir():
        return packed
    return Path(lws_kueue.__file__).resolve().parent.parent


def load(path: Path) -> list[dict[str, Any]]:
    """Return the objects of one YAML file."""
    with path.open(encoding="utf-8") as file:
        return [document for document in yaml.load_all(file, Loader=_LOADER) if document]


def api_objects() -> list[dict[str, Any]]:
    """Return the CRD, then the policies, then their bindings: the order of installation."""
    folder = root()
    files = [*sorted((folder / "crds").glob("*.yaml"))]
    files += [
        file
        for file in sorted((folder / "deploy" / "api").glob("*.yaml"))
        if file.name != "kustomization.yaml"
    ]
    objects = [obj for file in files for obj in load(file)]
    # A binding before its policy would be a moment in which the policy is missing.
    return sorted(objects, key=lambda obj: _rank(obj["kind"]))


def _rank(kind: str) -> int:
    if kind == "CustomResourceDefinition":
        return 0
    return 2 if kind.endswith("Binding") else 1


def examples() -> Path:
    """Return the folder of the examples."""
    return root() / "examples"
