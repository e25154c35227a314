"""Several clusters side by side, each with a place for a Kueue and a controller: a manager and its
workers.

A real Kueue on the manager dispatches to the workers by its MultiKueue, once it is told of them
(``Clusters.connect``). The stand-in for Kueue has none. A controller on the manager connects to the
workers itself where its configuration says so.
"""

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lws_kueue_lab import sandbox, worker_clusters
from lws_kueue_lab.sandbox import client, kueue, kueue_settings, manager

from lws_kueue.api import names
from tests.kit.kueue import places
from tests.kit.live import harness
from tests.kit.lws.sample import Object

# MultiKueue does without a worker that does not serve all kinds that it may dispatch, so only those
# are on that every cluster has.
_FRAMEWORKS: Final = ("batch/job", "pod", "deployment", "statefulset")
# Kueue's own LeaderWorkerSet integration is on, or its place is the bridge's.
INTEGRATION = kueue_settings.KueueSettings(
    frameworks=(*_FRAMEWORKS, names.KUEUE_LWS_FRAMEWORK), external_frameworks=()
)
BRIDGE = kueue_settings.KueueSettings(frameworks=_FRAMEWORKS)
# For the bridge as well, with all kinds that are on in a release.
RELEASED = kueue_settings.KueueSettings()

KUEUE_NAMESPACE: Final = worker_clusters.KUEUE_NAMESPACE
CHECK: Final = worker_clusters.CHECK
asking = worker_clusters.asking
dispatching = worker_clusters.dispatching
secret = worker_clusters.secret


@dataclass(slots=True)
class Clusters:
    """A manager and its workers by name, and the settings with which Kueue runs in each."""

    manager: places.Place
    workers: Mapping[str, places.Place]
    _settings: dict[int, kueue_settings.KueueSettings] = field(default_factory=dict)

    @property
    def every(self) -> tuple[places.Place, ...]:
        """All clusters, the manager first."""
        return (self.manager, *self.workers.values())

    def kueue(
        self, *, manager: kueue_settings.KueueSettings, workers: kueue_settings.KueueSettings
    ) -> None:
        """Have Kueue with these settings in each cluster; where it has others it is restarted."""

        for place in self.every:
            wanted = manager if place is self.manager else workers
            if self._settings.get(id(place)) != wanted:
                place.kueue(wanted)
                self._settings[id(place)] = wanted

    def connect(self) -> None:
        """Tell the manager of its workers, and wait until each can be dispatched to."""
        api = self.manager.cluster.api
        for name, place in self.workers.items():
            api.apply(secret(name, place.cluster.kubeconfig.read_bytes()))
        for obj in dispatching(self.workers, controller=names.MULTIKUEUE_CONTROLLER):
            api.apply(obj)
        for name in self.workers:
            _wait_active(api, "MultiKueueCluster", name)
        _wait_active(api, "AdmissionCheck", CHECK)

    def room(self, name: str) -> str:
        """Make a namespace of one name in each cluster; returns its name."""
        room = f"{name}-{secrets.token_hex(3)}"
        for place in self.every:
            harness.make_namespace(place.cluster, room)
        return room


@contextlib.contextmanager
def opening(
    backend: sandbox.Backend,
    *,
    folder: Path,
    mode: kueue.Mode,
    workers: Sequence[str] = ("worker1", "worker2"),
    others: manager.Source | None = None,
    nodes: int = 4,
    audit_log: bool = False,
    configuration: Mapping[str, Any] | None = None,
) -> Iterator[Clusters]:
    """Open the clusters, one after the other; Kueue is started by ``Clusters.kueue``.

    ``others`` is the LWS manager that serves the workers, None where our controller does; with it
    their Kueue is to be one whose integration is on. ``configuration`` is for our controllers.
    """
    size: dict[str, Any] = {"nodes": nodes, "audit_log": audit_log}
    ours = {"mode": mode, "configuration": configuration, **size}
    with contextlib.ExitStack() as stack:

        def own(name: str) -> Path:
            (folder / name).mkdir()
            return folder / name

        def worker(name: str) -> places.Place:
            if others is None:
                place = places.opening(backend, folder=own(name), **ours)
            else:
                place = places.opening_of_others(backend, folder=own(name), source=others, **size)
            return stack.enter_context(place)

        first = stack.enter_context(places.opening(backend, folder=own("manager"), **ours))
        yield Clusters(first, {name: worker(name) for name in workers})


def check(name: str, controller: str) -> Object:
    """Return an AdmissionCheck that has the parameters of MultiKueue's."""
    return worker_clusters.admission_check(name, controller=controller)


def _wait_active(api: client.Client, kind: str, name: str) -> None:
    def active(seen: Object | None) -> bool:
        found = harness.condition(seen or {}, "Active")
        return found is not None and (found["status"], found["reason"]) == ("True", "Active")

    api.wait_for(names.KUEUE_API_VERSION, kind, name, active, what=f"{kind} {name} is active")
