"""What exists of a recorded set in a namespace, and what of it differs from the recording yet."""

from typing import Any

from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit import golden, polling
from tests.kit.takeover import comparison

KINDS = (
    (names.LWS_API_VERSION, names.LWS_KIND),
    ("apps/v1", "StatefulSet"),
    ("v1", "Service"),
    ("apps/v1", "ControllerRevision"),
    ("v1", "Pod"),
    ("v1", "PersistentVolumeClaim"),
)
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.25


def live(cluster: sandbox.Sandbox, *, namespace: str, queued: bool) -> list[dict[str, Any]]:
    kinds = (*KINDS, (names.KUEUE_API_VERSION, "Workload")) if queued else KINDS
    found = [o for kind in kinds for o in cluster.api.list(*kind, namespace=namespace)]
    # StatefulSets keep revisions of their own, which the recordings leave out.
    return [
        obj
        for obj in found
        if obj["kind"] != "ControllerRevision"
        or obj["metadata"]["ownerReferences"][0]["kind"] == names.LWS_KIND
    ]


def left_over(
    cluster: sandbox.Sandbox, name: str, *, namespace: str
) -> tuple[list[str], list[dict[str, Any]]]:
    """What differs from the recording now, and the objects that were compared."""
    queued = bool(golden.load(name).of_kind("Workload"))
    now = live(cluster, namespace=namespace, queued=queued)
    expected = comparison.in_namespace(golden.load(name).objects, namespace)
    wanted = comparison.symbolic(comparison.clean(expected, marks=queued), queued=queued)
    found = comparison.symbolic(comparison.clean(now, marks=queued), queued=queued)
    lines = [f"only recorded: {identity}" for identity in sorted({*wanted} - {*found})]
    lines += [f"not recorded: {identity}" for identity in sorted({*found} - {*wanted})]
    lines += [
        f"{identity}{line}"
        for identity in sorted({*wanted} & {*found})
        for line in comparison.differences(wanted[identity], found[identity])
    ]
    return lines, now


def settled(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> list[dict[str, Any]]:
    """Wait until nothing differs from the recording any more, and return what is there."""

    def equal() -> list[dict[str, Any]]:
        lines, now = left_over(cluster, name, namespace=namespace)
        assert not lines, "\n".join(lines)
        return now

    return polling.trying(timeout=PATIENCE_SECONDS, every=POLL_SECONDS)(equal)
