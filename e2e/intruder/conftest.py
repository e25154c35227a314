"""Fixtures of the tests with an intruder: with the policies that guard pods, and without them."""

from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from e2e.intruder.intruder import GUARDS, Intruder
from tests.kit.admission import support
from tests.kit.live import harness

BINDING = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding")


@pytest.fixture(scope="module", params=["guarded", "not guarded"])
def guarded(request: pytest.FixtureRequest, installed: sandbox.Sandbox) -> Iterator[bool]:
    """Whether the policies of the guard are bound; they are again when the tests are over."""
    if request.param == "guarded":
        yield True
        return
    bindings = [installed.api.get(*BINDING, name) for name in GUARDS]
    for name in GUARDS:
        installed.api.delete(*BINDING, name)
    yield False
    for binding in bindings:
        kept = {key: binding["metadata"][key] for key in ("name", "labels")}
        installed.api.apply({**binding, "metadata": kept}, field_manager="lws-kueue-install")


@pytest.fixture
def intruder(
    installed: sandbox.Sandbox,
    controller: harness.ControllerProcess,
    namespace: str,
    guarded: bool,
) -> Intruder:
    """Somebody with `edit` in the namespace of the test, which has a queue."""
    assert controller.running
    one = Intruder.let_in(installed, namespace, guarded=guarded)

    def in_force() -> bool:
        try:
            one.api.create(one.smuggled("probe-0"), dry_run=True)
        except client.ApiError as error:
            return guarded and "lws-kueue-guard" in str(error)
        return not guarded

    support.eventually(in_force, what=f"guarded is {guarded}")
    return one
