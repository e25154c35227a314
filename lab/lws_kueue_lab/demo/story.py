"""The story of the demo, in its order: two groups, a third, one that waits, and more quota."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import names, quantity
from lws_kueue_lab import controller, manifests, sandbox
from lws_kueue_lab.demo import screen, snapshot, table, telling, watching
from lws_kueue_lab.sandbox import binaries, kueue

_OPTIONS: Final = sandbox.Options(nodes=4, topology=sandbox.Topology(blocks=1, racks=2))

_QUEUES: Final = "queues.yaml"
_SET: Final = "leaderworkerset.yaml"
_SCALED_TO: Final = 4


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
            stage.telling.keep()


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and the objects that the story is about."""

    telling: telling.Telling[snapshot.Snapshot]
    cluster: sandbox.Sandbox
    owner: dict[str, Any]
    cluster_queue: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the set."""
        return str(self.owner["metadata"]["name"])

    def say(self, text: str) -> None:
        """Say one thing."""
        self.telling.show.say(text)

    def apply_set(self) -> None:
        """Apply the set, whose groups have room."""
        groups = self.owner["spec"]["replicas"]
        size = self.owner["spec"]["leaderWorkerTemplate"]["size"]
        self.say(f"Applying examples/{_SET}: set {self.name}, {groups} groups of {size} pods")
        self.cluster.api.apply(self.owner)
        self._until_all_run(groups)

    def scale(self) -> None:
        """Scale up by one group more than there is room for, and say why that one waits."""
        self.telling.let_read()
        groups = self.owner["spec"]["replicas"]
        self.say(f"Scaling {self.name} from {groups} to {_SCALED_TO} groups")
        scale(self.cluster, self.owner, groups=_SCALED_TO)
        seen = self.telling.until(
            lambda seen: snapshot.all_run_but_one(seen, groups=_SCALED_TO),
            what=f"{_SCALED_TO - 1} groups run and one waits for quota",
        )
        self.say(f"{_SCALED_TO - 1} of {_SCALED_TO} groups run. Why one waits, as the set says:")
        self.telling.show.line(f"            {seen.why_waiting()}")
        if seen.groups()[-1].runs:
            self.telling.show.line(
                "            Not the last one: in the same second Kueue goes by UID."
            )

    def raise_quota(self) -> None:
        """Give the queue as much more as one group needs, and see the last one start."""
        self.telling.let_read()
        before = snapshot.quota(self.cluster_queue)
        more = snapshot.with_more_quota(self.cluster_queue, more=self._quota_of_a_group())
        name = more["metadata"]["name"]
        self.say(
            f"Raising the quota of ClusterQueue {name} from {table.amounts(before)} "
            f"to {table.amounts(snapshot.quota(more))}"
        )
        self.cluster.api.apply(more)
        self._until_all_run(_SCALED_TO)

    def _quota_of_a_group(self) -> quantity.Amounts:
        groups = self.telling.watcher.now().groups()
        workload = next((group.workload for group in groups if group.runs), None)
        if workload is None:
            raise telling.FailedError("No group runs any more, so nothing tells what one needs")
        return snapshot.reserved(workload)

    def _until_all_run(self, groups: int) -> None:
        self.telling.until(
            lambda seen: snapshot.runs(seen, groups=groups), what=f"{groups} of {groups} groups run"
        )
        self.say(f"{groups} of {groups} groups run.")


def scale(cluster: sandbox.Sandbox, owner: dict[str, Any], *, groups: int) -> None:
    """Scale a set as `kubectl scale` does."""
    cluster.api.patch(
        names.LWS_API_VERSION,
        names.LWS_KIND,
        owner["metadata"]["name"],
        namespace=owner["metadata"]["namespace"],
        body={"spec": {"replicas": groups}},
        subresource="scale",
    )


def _set_up(
    show: screen.Screen,
    stack: contextlib.ExitStack,
    kueue_mode: kueue.Mode,
    interrupted: Callable[[], None],
) -> Stage:
    """Start everything up to the queues."""
    kueue.have(kueue_mode, backend="process")
    show.say("Starting a Kubernetes control plane for the demo alone: 4 nodes in 2 racks")
    cluster = stack.enter_context(sandbox.open("process", options=_OPTIONS))
    show.say(f"Kubernetes {cluster.api.version()} is ready at {cluster.api.server}")
    stack.enter_context(telling.notices(show))
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
    watcher = watching.of_set(
        cluster.kubeconfig,
        namespace=owner["metadata"]["namespace"],
        name=owner["metadata"]["name"],
        cluster_queue=name,
    )

    def check() -> None:
        interrupted()
        cluster.check()
        running.check()

    under_way = telling.Telling(
        show=show,
        watcher=stack.enter_context(watcher),
        draw=table.draw,
        check=check,
        log_tail=running.log_tail,
    )
    return Stage(telling=under_way, cluster=cluster, owner=owner, cluster_queue=cluster_queue)


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
