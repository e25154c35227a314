"""The story of the demo, in its order: two groups, a third, one that waits, and more quota."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import names, quantity
from lws_kueue_lab import controller, manifests, sandbox
from lws_kueue_lab.demo import screen, snapshot, table, watching
from lws_kueue_lab.sandbox import binaries, kueue

# A step takes a second or two; a busy machine may need longer, but never this long.
_STEP_SECONDS: Final = 90.0

_OPTIONS: Final = sandbox.Options(nodes=4, topology=sandbox.Topology(blocks=1, racks=2))

_QUEUES: Final = "queues.yaml"
_SET: Final = "leaderworkerset.yaml"
_SCALED_TO: Final = 4


class FailedError(Exception):
    """A step did not come to its end; the message says what was seen last."""


def tell(
    show: screen.Screen, *, keep: bool, kueue_mode: kueue.Mode, check: Callable[[], None]
) -> None:
    """Tell the story on a cluster of its own; with ``keep`` go on until a KeyboardInterrupt.

    ``kueue_mode`` says which Kueue decides. ``check`` is called again and again while things are
    waited for, and once at the end.

    Raises what ``check`` raises, FailedError when a step does not come to its end, and what the
    sandbox raises when a process of it dies or cannot be had.
    """
    with contextlib.ExitStack() as stack:
        stage = _set_up(show, stack, kueue_mode, check)
        stage.apply_set()
        stage.scale()
        stage.raise_quota()
        _sum_up(show, stage)
        check()
        if keep:
            _say_how_to_use(show, stage)
            # This is how it is meant to end.
            with contextlib.suppress(KeyboardInterrupt):
                stage.follow()
            show.say("Stopped; nothing of it stays.")


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and the objects that the story is about."""

    show: screen.Screen
    interrupted: Callable[[], None]
    cluster: sandbox.Sandbox
    controller: controller.Controller
    watcher: watching.Watcher
    owner: dict[str, Any]
    cluster_queue: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the set."""
        return str(self.owner["metadata"]["name"])

    def apply_set(self) -> None:
        """Apply the set, whose groups have room."""
        groups = self.owner["spec"]["replicas"]
        size = self.owner["spec"]["leaderWorkerTemplate"]["size"]
        self.show.say(f"Applying examples/{_SET}: set {self.name}, {groups} groups of {size} pods")
        self.cluster.api.apply(self.owner)
        self._until_all_run(groups)

    def scale(self) -> None:
        """Scale up by one group more than there is room for, and say why that one waits."""
        self._let_read()
        groups = self.owner["spec"]["replicas"]
        self.show.say(f"Scaling {self.name} from {groups} to {_SCALED_TO} groups")
        self.cluster.api.patch(
            names.LWS_API_VERSION,
            names.LWS_KIND,
            self.name,
            namespace=self.owner["metadata"]["namespace"],
            body={"spec": {"replicas": _SCALED_TO}},
            subresource="scale",
        )
        seen = self._until(
            lambda seen: snapshot.all_run_but_one(seen, groups=_SCALED_TO),
            what=f"{_SCALED_TO - 1} groups run and one waits for quota",
        )
        self.show.say(
            f"{_SCALED_TO - 1} of {_SCALED_TO} groups run. Why one waits, as the set says:"
        )
        self.show.line(f"            {seen.why_waiting()}")
        if seen.groups()[-1].runs:
            self.show.line("            Not the last one: in the same second Kueue goes by UID.")

    def raise_quota(self) -> None:
        """Give the queue as much more as one group needs, and see the last one start."""
        self._let_read()
        before = snapshot.quota(self.cluster_queue)
        more = snapshot.with_more_quota(self.cluster_queue, more=self._quota_of_a_group())
        name = more["metadata"]["name"]
        self.show.say(
            f"Raising the quota of ClusterQueue {name} from {table.amounts(before)} "
            f"to {table.amounts(snapshot.quota(more))}"
        )
        self.cluster.api.apply(more)
        self._until_all_run(_SCALED_TO)

    def follow(self) -> None:
        """Show every change, for ever."""
        while True:
            with contextlib.suppress(watching.NotSoError):
                self._watch(lambda _: False, what="", seconds=_STEP_SECONDS)

    def _quota_of_a_group(self) -> quantity.Amounts:
        running = (group.workload for group in self.watcher.now().groups() if group.runs)
        workload = next(running, None)
        if workload is None:
            raise FailedError("No group runs any more, so nothing tells what one needs")
        return snapshot.reserved(workload)

    def _until_all_run(self, groups: int) -> None:
        self._until(
            lambda seen: snapshot.runs(seen, groups=groups), what=f"{groups} of {groups} groups run"
        )
        self.show.say(f"{groups} of {groups} groups run.")

    def _let_read(self) -> None:
        """Leave a person the time to look, and show what changes meanwhile."""
        if self.show.reading_seconds:
            with contextlib.suppress(watching.NotSoError):
                self._watch(lambda _: False, what="", seconds=self.show.reading_seconds)

    def _until(self, done: Callable[[snapshot.Snapshot], bool], *, what: str) -> snapshot.Snapshot:
        """Wait for the end of a step, or say what was seen instead."""
        try:
            seen = self._watch(done, what=what, seconds=_STEP_SECONDS)
        except watching.NotSoError as error:
            raise FailedError(report(error, log=self.controller.log_tail())) from error
        self.show.settle(seen)
        return seen

    def _watch(
        self, done: Callable[[snapshot.Snapshot], bool], *, what: str, seconds: float
    ) -> snapshot.Snapshot:
        return self.watcher.until(
            done, what=what, seconds=seconds, changed=self.show.show, check=self._check
        )

    def _check(self) -> None:
        self.interrupted()
        self.cluster.check()
        self.controller.check()


def _set_up(
    show: screen.Screen,
    stack: contextlib.ExitStack,
    kueue_mode: kueue.Mode,
    interrupted: Callable[[], None],
) -> Stage:
    """Start everything up to the queues."""
    show.say("Starting a Kubernetes control plane for the demo alone: 4 nodes in 2 racks")
    cluster = stack.enter_context(sandbox.open("process", options=_OPTIONS))
    show.say(f"Kubernetes {cluster.api.version()} is ready at {cluster.api.server}")
    stack.enter_context(_notices(show))
    cluster.kueue = stack.enter_context(kueue.start(cluster, mode=kueue_mode))
    show.say(f"Admission is decided by: {cluster.kueue}")
    policies = controller.install_api(cluster)
    show.say(
        f"Installed the LeaderWorkerSet API: its definition and {policies} admission policies, "
        "no webhook"
    )
    running = stack.enter_context(controller.start(cluster))
    show.say("Started the controller, with the rights of its service account and no more")
    queues = manifests.example(_QUEUES)
    for obj in queues:
        cluster.api.apply(obj)
    cluster_queue = next(obj for obj in queues if obj["kind"] == "ClusterQueue")
    quota = table.amounts(snapshot.quota(cluster_queue))
    name = cluster_queue["metadata"]["name"]
    show.say(f"Applied examples/{_QUEUES}: ClusterQueue {name} with a quota of {quota}")
    owner = next(obj for obj in manifests.example(_SET) if obj["kind"] == names.LWS_KIND)
    watcher = watching.Watcher(
        cluster.kubeconfig,
        namespace=owner["metadata"]["namespace"],
        name=owner["metadata"]["name"],
        cluster_queue=name,
    )
    return Stage(
        show=show,
        interrupted=interrupted,
        cluster=cluster,
        controller=running,
        watcher=stack.enter_context(watcher),
        owner=owner,
        cluster_queue=cluster_queue,
    )


@contextlib.contextmanager
def _notices(show: screen.Screen) -> Iterator[None]:
    """Say what the sandbox warns of, such as that a stand-in decides instead of Kueue."""

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            show.say(record.getMessage())

    handler = Teller(logging.WARNING)
    logger = logging.getLogger(sandbox.__name__)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def report(error: watching.NotSoError, *, log: str) -> str:
    """Say what was waited for, what was seen last, and what the controller said."""
    waiting = error.seen.why_waiting()
    return "\n".join(
        (
            f"{error}. Seen last:",
            *screen.plain(table.rows(error.seen)),
            f"The set says: {waiting or 'nothing waits for admission'}",
            "The end of the controller's log:",
            *(f"    {line}" for line in log.splitlines() or ["(nothing)"]),
        )
    )


def _sum_up(show: screen.Screen, stage: Stage) -> None:
    writes, events = controller.writes(stage.cluster)
    size = stage.owner["spec"]["leaderWorkerTemplate"]["size"]
    show.say(
        f"Done in {show.elapsed:.0f} s. For {_SCALED_TO} groups of {size} pods the controller made "
        f"{writes} writes and {events} Events; admission was decided by: {stage.cluster.kueue}."
    )


def _say_how_to_use(show: screen.Screen, stage: Stage) -> None:
    queue = stage.cluster_queue["metadata"]["name"]
    show.line(
        f"""
The cluster and the controller stay up until Ctrl-C. In another terminal:

  export KUBECONFIG={stage.cluster.kubeconfig}
  alias kubectl={binaries.ensure()["kubectl"]}
  kubectl get leaderworkersets,workloads,pods -o wide
  kubectl scale leaderworkerset {stage.name} --replicas=6
  kubectl describe leaderworkerset {stage.name}
  kubectl edit clusterqueue {queue}
"""
    )
