"""A manager and its workers: clusters of this machine, each with a Kueue and a controller."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lws_kueue_lab import controller, sandbox, worker_clusters
from lws_kueue_lab.demo import screen
from lws_kueue_lab.sandbox import audit, kueue

MANAGER: Final = "manager"

# Nothing can run in the manager: what its pods stand for is in the workers.
_NODES_OF_THE_MANAGER: Final = 0
_NODES: Final = 2

# What asks for rights is created, and nothing of it is kept.
_ASKING: Final = "selfsubject"

# Whoever looks at the interruption of a step that goes on elsewhere does so this often, in seconds.
_LOOK_SECONDS: Final = 0.2

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Fleet:
    """The clusters by name, the manager first, and the controller of each."""

    clusters: Mapping[str, sandbox.Sandbox]
    controllers: Mapping[str, controller.Controller]

    @property
    def manager(self) -> sandbox.Sandbox:
        """The cluster in which sets are."""
        return self.clusters[MANAGER]

    @property
    def workers(self) -> Mapping[str, sandbox.Sandbox]:
        """The clusters in which groups run."""
        return {name: one for name, one in self.clusters.items() if name != MANAGER}

    def check(self) -> None:
        """Raise `ComponentDiedError` if anything ended that nobody stopped."""
        for name, cluster in self.clusters.items():
            cluster.check()
            self.controllers[name].check()

    def log_tail(self) -> str:
        """Return the end of the log of the manager's controller."""
        return self.controllers[MANAGER].log_tail()

    def writes(self) -> tuple[int, int]:
        """Return how often the manager's controller wrote there, Events aside, and in workers."""
        here, _ = controller.writes(self.manager)
        there = sum(
            request.is_write
            and request.user == worker_clusters.USER
            and not request.resource.startswith(_ASKING)
            for worker in self.workers.values()
            for request in audit.requests(worker)
        )
        return here, there


@contextlib.contextmanager
def opening(
    names: list[str], show: screen.Screen, *, kueue_mode: kueue.Mode, check: Callable[[], None]
) -> Iterator[Fleet]:
    """Open a manager and workers of these names, as far as groups can be dispatched to all of them.

    ``check`` may raise what ends it. All of it ends with the context, whatever was begun.
    """
    every = [MANAGER, *names]
    with contextlib.ExitStack() as stack:

        def control_plane(name: str) -> sandbox.Sandbox:
            nodes = _NODES_OF_THE_MANAGER if name == MANAGER else _NODES
            return stack.enter_context(sandbox.open(options=sandbox.Options(nodes=nodes)))

        clusters = _side_by_side(every, control_plane, check)
        for name, one in clusters.items():
            show.say(f"{name}: Kubernetes {one.api.version()} is ready at {one.api.server}")
        # What there is of Kueue is found out once.
        manager = clusters[MANAGER]
        manager.kueue = stack.enter_context(kueue.start(manager, mode=kueue_mode))
        same = manager.kueue.kind if manager.kueue.kind == "standin" else kueue_mode

        def with_kueue(name: str) -> sandbox.KueueInfo:
            return stack.enter_context(kueue.start(clusters[name], mode=same))

        for name, info in _side_by_side(names, with_kueue, check).items():
            clusters[name].kueue = info
        told = sorted({str(one.kueue) for one in clusters.values()})
        show.say(f"Admission is decided by, in each cluster by itself: {' and '.join(told)}")
        policies = _side_by_side(every, lambda name: controller.install_api(clusters[name]), check)
        show.say(
            "Installed the LeaderWorkerSet API in all clusters: "
            f"its definition and {policies[MANAGER]} admission policies, no webhook"
        )
        worker_clusters.grant(manager, [clusters[name] for name in names])
        fleet = Fleet(clusters, _controllers(stack, clusters))
        worker_clusters.connect(fleet.manager, fleet.workers)
        show.say(
            "Started a controller in each cluster; that of the manager has an account in each "
            "worker, with the rights of deploy/multikueue and no more"
        )
        check()
        worker_clusters.wait_until_usable(fleet.manager)
        show.say(f"The manager reaches all of its workers: {', '.join(names)}")
        yield fleet


def _controllers(
    stack: contextlib.ExitStack, clusters: Mapping[str, sandbox.Sandbox]
) -> dict[str, controller.Controller]:
    configurations: dict[str, Mapping[str, Any]] = {MANAGER: worker_clusters.CONFIGURATION}
    return {
        name: stack.enter_context(controller.start(cluster, configuration=configurations.get(name)))
        for name, cluster in clusters.items()
    }


def _side_by_side(
    names: list[str], deed: Callable[[str], Made], check: Callable[[], None]
) -> dict[str, Made]:
    """Do something for each of the names at the same time; returns what came of each.

    What has begun is waited for, whoever fails or interrupts: then its context can be ended.
    """
    with futures.ThreadPoolExecutor(len(names)) as hands:
        under_way = {name: hands.submit(deed, name) for name in names}
        while futures.wait(under_way.values(), timeout=_LOOK_SECONDS).not_done:
            check()
        return {name: one.result() for name, one in under_way.items()}
