"""What is noticed of policies that somebody removes, unbinds, weakens or exchanges."""

import asyncio
import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest

import lws_kueue
from lws_kueue.api import names
from lws_kueue.install import in_force, manifests
from lws_kueue.runtime import metrics, resources

Object = dict[str, Any]
Found = dict[tuple[str, str], Object]

GUARD = ("ValidatingAdmissionPolicy", "lws-kueue-guard-pods")
BINDING = ("ValidatingAdmissionPolicyBinding", "lws-kueue-guard-pods")
DEFINITION = ("CustomResourceDefinition", in_force.DEFINITION)
VOLCANO = "lws-kueue-volcano"


def installed(**choice: Any) -> Found:
    """What an API server returns: what was applied, with what it fills in."""
    found = {
        (obj["kind"], obj["metadata"]["name"]): copy.deepcopy(obj)
        for obj in manifests.api_objects(**choice)
        if "AdmissionPolicy" in obj["kind"] or obj["kind"] == DEFINITION[0]
    }
    for (kind, _), obj in found.items():
        if kind == DEFINITION[0]:
            obj["spec"]["conversion"] = {"strategy": "None"}
            obj["spec"]["names"]["singular"] = "leaderworkerset"
        if kind.endswith("Policy"):
            matched = obj["spec"]["matchConstraints"]
            obj["spec"]["matchConstraints"] = {
                "matchPolicy": "Equivalent",
                "namespaceSelector": {},
                "objectSelector": {},
                **matched,
                "resourceRules": [{**rule, "scope": "*"} for rule in matched["resourceRules"]],
            }
    return found


def spec(key: tuple[str, str], change: Callable[[Object], object]) -> Callable[[Found], object]:
    return lambda found: change(found[key]["spec"])


FAULTS: dict[str, tuple[Callable[[Found], object], str]] = {
    "a policy is gone": (lambda found: found.pop(GUARD), "lws-kueue-guard-pods is missing"),
    "a binding is gone": (
        lambda found: found.pop(BINDING),
        "ValidatingAdmissionPolicyBinding lws-kueue-guard-pods is missing",
    ),
    "a binding only warns": (
        spec(BINDING, lambda given: given.update(validationActions=["Audit"])),
        "ValidatingAdmissionPolicyBinding lws-kueue-guard-pods is not that of this version",
    ),
    "a binding is for some namespaces": (
        spec(
            BINDING,
            lambda given: given.update(
                matchResources={"namespaceSelector": {"matchLabels": {"a": "b"}}}
            ),
        ),
        "ValidatingAdmissionPolicyBinding lws-kueue-guard-pods is not that of this version",
    ),
    "a policy lets errors pass": (
        spec(GUARD, lambda given: given.update(failurePolicy="Ignore")),
        "ValidatingAdmissionPolicy lws-kueue-guard-pods is not that of this version",
    ),
    "a policy of another version": (
        spec(GUARD, lambda given: given["validations"].pop()),
        "ValidatingAdmissionPolicy lws-kueue-guard-pods is not that of this version",
    ),
    "a policy with an exemption": (
        spec(
            GUARD,
            lambda given: given["matchConstraints"].update(
                namespaceSelector={"matchLabels": {"a": "b"}}
            ),
        ),
        "ValidatingAdmissionPolicy lws-kueue-guard-pods is not that of this version",
    ),
}


def of_version(found: Found, version: str | None, *keys: tuple[str, str]) -> None:
    """Let objects be from another version, which had something else."""
    for key in keys:
        annotations = found[key]["metadata"]["annotations"]
        annotations.pop(names.VERSION)
        if version is not None:
            annotations[names.VERSION] = version
        if key == DEFINITION:
            schema = found[key]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            del schema["properties"]["spec"]["x-kubernetes-validations"]
        else:
            found[key]["spec"]["another"] = "field"


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"kueue": True},
        {"kueue": True, "default_priority_class": True},
        {"gang_scheduling": "volcano"},
    ],
    ids=str,
)
def test_what_was_installed_is_in_force(choice: Any) -> None:
    assert in_force.compare(installed(**choice)) == ()


@pytest.mark.parametrize("case", FAULTS)
def test_a_policy_that_is_not_in_force_is_named(case: str) -> None:
    change, said = FAULTS[case]
    found = installed()
    change(found)
    (fault,) = in_force.compare(found)
    assert said in fault


def test_half_of_an_optional_policy_is_a_fault_and_none_of_it_is_not() -> None:
    found = installed(gang_scheduling="volcano")
    del found["MutatingAdmissionPolicyBinding", VOLCANO]
    assert in_force.compare(found) == (f"MutatingAdmissionPolicyBinding {VOLCANO} is missing",)
    del found["MutatingAdmissionPolicy", VOLCANO]
    assert in_force.compare(found) == ()


@pytest.mark.parametrize(("version", "told"), [("0.0.9", "0.0.9"), (None, "unknown")])
def test_what_is_installed_of_another_version_is_one_fault_that_names_both_versions(
    version: str | None, told: str
) -> None:
    found = installed()
    of_version(found, version, GUARD, BINDING, DEFINITION)
    (fault,) = in_force.compare(found)
    assert fault.startswith(
        f"Policies of version {told}, controller of version {lws_kueue.__version__} ("
    )
    for _, name in (GUARD, BINDING, DEFINITION):
        assert name in fault


def test_of_many_objects_of_another_version_some_are_named() -> None:
    found = installed()
    of_version(found, "0.0.9", *(key for key in found if key != DEFINITION))
    (fault,) = in_force.compare(found)
    assert fault.endswith(f" and {len(found) - 1 - in_force.MOST_NAMED} more)")


def test_another_version_that_installed_the_same_is_no_fault() -> None:
    found = installed()
    for obj in found.values():
        obj["metadata"]["annotations"][names.VERSION] = "9.9.9"
    assert in_force.compare(found) == ()


def test_a_definition_that_is_gone_or_was_edited_is_named() -> None:
    found = installed()
    del found[DEFINITION]["spec"]["versions"][0]["subresources"]["scale"]
    assert in_force.compare(found) == (f"{' '.join(DEFINITION)} is not that of this version",)
    del found[DEFINITION]
    assert in_force.compare(found) == (f"{' '.join(DEFINITION)} is missing",)


def test_policies_of_others_are_nobodys_business() -> None:
    others: Found = {("ValidatingAdmissionPolicy", "others"): {"metadata": {}, "spec": {}}}
    assert in_force.compare(installed() | others) == ()


class Server:
    """Lists policies by their kind."""

    def __init__(self) -> None:
        self.found = installed()

    async def request(self, method: str, path: str, *, query: Object | None = None) -> Object:
        assert method == "GET"
        kinds = dict(zip(in_force.PLURALS, in_force.KINDS, strict=True))
        plural = path.rsplit("/", 1)[1]
        if plural == resources.CRDS.plural:
            assert query == {"fieldSelector": f"metadata.name={in_force.DEFINITION}"}
            kinds[plural] = DEFINITION[0]
        kind = kinds[plural]
        # Items of a list carry no type of their own.
        return {
            "items": [
                {"metadata": obj["metadata"], "spec": obj["spec"]}
                for (of, _), obj in self.found.items()
                if of == kind
            ]
        }


def test_a_fault_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = Server()
    watch = in_force.Watch(server)  # type: ignore[arg-type]

    def look() -> tuple[list[str], float | None]:
        caplog.clear()
        asyncio.run(watch.look())
        name = "lws_kueue_admission_policy_faults"
        return caplog.messages, metrics.REGISTRY.get_sample_value(name)

    assert look() == ([], 0)
    removed = server.found.pop(BINDING)
    (told,), count = look()
    assert f"{BINDING[0]} {BINDING[1]} is missing" in told
    assert "lws-kueue install" in told
    assert count == 1
    assert look() == ([], 1)
    server.found[BINDING] = removed
    assert look() == (["All admission policies are in force again"], 0)
