"""Which Kueue a sandbox starts, by what is at hand; nothing is started here."""

import types
from pathlib import Path
from typing import Any, cast

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue, kueue_manager, manager
from lws_kueue_lab.sandbox.releases.errors import IntegrityError, UnavailableError

from tests.kit.live import named_kueue

NAMED = manager.Source(binary=Path("/named"), manifests=Path("/named-manifests"))
REFUSED = "no mirror is set, registry.k8s.io cannot be reached (why)"


def cluster(backend: str = "process") -> sandbox.Sandbox:
    return cast("sandbox.Sandbox", types.SimpleNamespace(backend=backend))


def released(version: str = "") -> manager.Source:
    return manager.Source(binary=Path(f"/released{version}"), manifests=Path("/manifests"))


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What the environment names, and what a release answers."""
    names, answers = request.param
    monkeypatch.setattr(kueue_manager, "from_environment", lambda *_: NAMED if names else None)

    def answer(version: str = "") -> manager.Source:
        if answers is not None:
            raise answers
        return released(version)

    monkeypatch.setattr(kueue_manager, "released", answer)


NOTHING: Any = (False, UnavailableError(REFUSED))


@pytest.mark.parametrize(
    ("at_hand", "mode", "backend", "binary"),
    [
        ((True, None), "auto", "process", "/named"),
        ((True, None), "manager", "process", "/named"),
        ((True, None), "v0.18.1", "process", "/releasedv0.18.1"),
        ((True, None), "standin", "process", None),
        ((False, None), "auto", "process", "/released"),
        ((False, None), "manager", "process", "/released"),
        # Nobody would reach its webhooks from a cluster elsewhere, unless somebody insists.
        ((False, None), "auto", "kubeconfig", None),
        ((False, None), "auto", "container", None),
        (NOTHING, "auto", "process", None),
    ],
    indirect=["at_hand"],
)
def test_the_manager_that_is_started_is(
    at_hand: None, mode: str, backend: str, binary: str | None
) -> None:
    source, _ = kueue._manager(cluster(backend), mode)
    assert (str(source.binary) if source else None) == binary


@pytest.mark.parametrize("at_hand", [NOTHING], indirect=True)
def test_why_none_was_downloaded_is_known_to_the_notice_of_the_stand_in(at_hand: None) -> None:
    assert kueue._manager(cluster(), "auto") == (None, REFUSED)


@pytest.mark.parametrize("at_hand", [NOTHING], indirect=True)
@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("manager", "no Kueue manager is at hand: set LWS_KUEUE_KUEUE_BIN"),
        ("v0.18.1", "Kueue v0.18.1 is not to be had"),
    ],
)
def test_a_kueue_that_was_insisted_on_is_not_replaced(at_hand: None, mode: str, told: str) -> None:
    for ask in (
        lambda: kueue._manager(cluster(), mode),
        lambda: kueue.have(mode, backend="process"),
    ):
        with pytest.raises(sandbox.SandboxError, match=rf"{told}.*cannot be reached"):
            ask()


@pytest.mark.parametrize("at_hand", [NOTHING], indirect=True)
@pytest.mark.parametrize("mode", ["auto", "standin", "none"])
def test_what_nobody_insists_on_is_not_asked_for_before_there_is_a_cluster(
    at_hand: None, mode: str
) -> None:
    kueue.have(mode, backend="process")


@pytest.mark.parametrize("at_hand", [(False, None)], indirect=True)
def test_a_manager_for_a_cluster_in_containers_is_refused_before_that_is_started(
    at_hand: None,
) -> None:
    with pytest.raises(sandbox.SandboxError, match="cannot serve webhooks"):
        kueue.have("v0.19.2", backend="container")


def test_half_of_a_kueue_in_the_environment_is_told_before_there_is_a_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        kueue_manager,
        "from_environment",
        lambda: manager.from_environment(
            kueue_manager._VARIABLES, {kueue_manager.BINARY_VARIABLE: "x"}
        ),
    )
    with pytest.raises(sandbox.SandboxError, match="set both of"):
        kueue.have("auto", backend="process")


@pytest.mark.parametrize("at_hand", [(False, IntegrityError("another one"))], indirect=True)
def test_a_kueue_that_is_another_one_is_never_replaced_by_the_stand_in(at_hand: None) -> None:
    with pytest.raises(IntegrityError, match="another one"):
        kueue._manager(cluster(), "auto")


@pytest.mark.parametrize(
    ("at_hand", "named"),
    [((False, None), "/released"), ((True, None), None), (NOTHING, None)],
    indirect=["at_hand"],
)
def test_a_released_kueue_is_named_for_all_tests_unless_there_is_none_or_another_one(
    at_hand: None, named: str | None
) -> None:
    environment: dict[str, str] = {}
    named_kueue.name_released(environment)
    assert environment.get(kueue_manager.BINARY_VARIABLE) == named
    assert (kueue_manager.MANIFESTS_VARIABLE in environment) is (named is not None)
