"""The project's own manifests: in a checkout where they stand, in an installation inside it."""

from dataclasses import dataclass
from importlib import resources as package_resources
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, Unpack

import yaml

import lws_kueue
from lws_kueue.api import names

_PACKED: Final = "_manifests"

# The schedulers of whole groups that can be served, each with a folder of `deploy`.
GangScheduling = Literal["volcano"]
GANG_SCHEDULERS: Final[tuple[GangScheduling, ...]] = ("volcano",)

# The folder of what needs Kueue's API, and of that what it has a feature gate for.
_KUEUE: Final = "kueue"
_DEFAULT_PRIORITY_CLASS: Final = "default-priority-class"

# The CRD is large; the loader in C reads it in a tenth of the time, where PyYAML was built with it.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Choice(TypedDict, total=False):
    """What is installed beside what always is.

    gang_scheduling: the scheduler of whole groups whose objects are.
    kueue: whether Kueue is served, so that those can be that need it.
    default_priority_class: whether sets that name no priority get the WorkloadPriorityClass
        `default`, where Kueue is served.
    """

    gang_scheduling: GangScheduling | None
    kueue: bool
    default_priority_class: bool


@dataclass(frozen=True, slots=True)
class Retired:
    """An object that an earlier installation may have left, and that is not wanted any more."""

    api_version: str
    kind: str
    name: str


# What versions before this one installed. An entry stays for as long as an upgrade from a version
# that had the object is possible.
_EARLIER: Final = tuple(
    Retired(api_version="admissionregistration.k8s.io/v1", kind=kind, name=name)
    for name in ("lws-kueue-served-features", "lws-kueue-queued-sets")
    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy")
)


def root() -> Path:
    """Return the folder that holds ``crds`` and ``deploy``."""
    packed = Path(str(package_resources.files(lws_kueue))) / _PACKED
    if packed.is_dir():
        return packed
    return Path(lws_kueue.__file__).resolve().parent.parent


def load(path: Path) -> list[dict[str, Any]]:
    """Return the objects of one YAML file."""
    with path.open(encoding="utf-8") as file:
        return [document for document in yaml.load_all(file, Loader=_LOADER) if document]


def api_objects(**choice: Unpack[Choice]) -> list[dict[str, Any]]:
    """Return the CRD, then policies and roles, then bindings: the order of installation."""
    folder = root()
    files = sorted((folder / "crds").glob("*.yaml"))
    objects = [_marked(obj) for file in files for obj in load(file)]
    for name in ("api", *_chosen(choice)):
        objects += _of_folder(name)
    # A binding before its policy would be a moment in which the policy is missing.
    return sorted(objects, key=lambda obj: _rank(obj["kind"]))


def every_object() -> list[dict[str, Any]]:
    """Return all that can be installed, whatever is chosen, in no certain order."""
    optional = (*GANG_SCHEDULERS, _KUEUE, _DEFAULT_PRIORITY_CLASS)
    return [*api_objects(), *(obj for name in optional for obj in _of_folder(name))]


def retired(**choice: Unpack[Choice]) -> list[Retired]:
    """Return what an installation takes away: bindings before their policies.

    That is what only earlier versions had, what belongs to a scheduler or to a default that is not
    asked for, and what needs Kueue where there is none.
    """
    chosen = _chosen(choice)
    optional = [
        Retired(api_version=obj["apiVersion"], kind=obj["kind"], name=obj["metadata"]["name"])
        for name in (*GANG_SCHEDULERS, _KUEUE, _DEFAULT_PRIORITY_CLASS)
        if name not in chosen
        for obj in _of_folder(name)
    ]
    return sorted([*_EARLIER, *optional], key=lambda obj: -_rank(obj.kind))


def _chosen(choice: Choice) -> list[str]:
    """Return the folders of `deploy` that are installed beside `api`."""
    kueue = choice.get("kueue", False)
    scheduler = choice.get("gang_scheduling")
    wanted = (
        *((name, name == scheduler) for name in GANG_SCHEDULERS),
        (_KUEUE, kueue),
        (_DEFAULT_PRIORITY_CLASS, kueue and choice.get("default_priority_class", False)),
    )
    return [name for name, is_wanted in wanted if is_wanted]


def _marked(obj: dict[str, Any]) -> dict[str, Any]:
    """Return an object with the version that it belongs to.

    The kustomizations of `deploy` say the same, for who applies them.
    """
    meta = obj["metadata"]
    annotations = {**meta.get("annotations", {}), names.VERSION: lws_kueue.__version__}
    return {**obj, "metadata": {**meta, "annotations": annotations}}


def _of_folder(name: str) -> list[dict[str, Any]]:
    return [
        _marked(obj)
        for file in sorted((root() / "deploy" / name).glob("*.yaml"))
        if file.name != "kustomization.yaml"
        for obj in load(file)
    ]


def _rank(kind: str) -> int:
    if kind == "CustomResourceDefinition":
        return 0
    return 2 if kind.endswith("Binding") else 1
