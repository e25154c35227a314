"""Thousands of odd sets and pods: each is taken, and can be served then, or refused with a reason.

What a user writes may be anything. Any other answer, such as an internal error, a policy that fails
while it is evaluated, or a set that is stored and that the controller cannot read or decide about,
would leave somebody with an object that nothing explains. A mutated object is sent as a new one,
and as a change of the one that it was made of; all of these are dry runs. What the API server takes
lives on in memory, with the controller's own passes.
"""

import copy
import functools
import json
import random
from collections.abc import Iterator
from typing import Any, Final

import pytest
from lws_kueue_lab.sandbox import client

from lws_kueue.api import actions, lws, names
from lws_kueue.runtime import cache
from tests.kit import polling
from tests.kit.admission import mutations, support
from tests.kit.memory import cluster_model, kubernetes_model

PART: Final = 250
# Sets and pods in all: make test has the first part of each, make test-long the others.
PARTS: Final = 20
# How many passes a set lives in memory, and how many pods a StatefulSet has at most to get them.
PASSES: Final = 4
FEW: Final = 8
# The LocalQueue that there is in memory.
QUEUED: Final = {names.QUEUE_NAME: "queue"}

Object = dict[str, Any]
_PLACES: Final = ("spec", "metadata", "label", "annotation", "cannot be handled as")
# Kubernetes itself says which object is missing, or that a UID is another one's, and no field.
_MISSING: Final = ("service account", "PriorityClass", "RuntimeClass", "UID in precondition")
# And it looks for a RuntimeClass before anybody has looked whether that can be a name.
_NO_NAME: Final = ("invalid resource name", "resource name may not be empty")


def sets(namespace: str, prefix: str) -> list[Object]:
    """Sets that are valid, with what may be asked for in one; names begin with ``prefix``."""
    asking = {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "1"}}
    worker: Object = support.pod_template("worker")
    worker["spec"] |= {
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
    }
    worker["spec"]["containers"][0] |= {"resources": asking, "env": [{"name": "A", "value": "b"}]}
    worker["spec"]["initContainers"] = [
        {"name": "init", "image": "i", "restartPolicy": "Always", "resources": asking}
    ]
    tpu = support.pod_template("worker")
    tpu["spec"]["containers"] = [support.tpu_container()]
    placed = {names.PODSET_REQUIRED_TOPOLOGY: "cloud.provider.com/rack"}
    grouped = copy.deepcopy(worker) | {"metadata": {"annotations": placed}}
    rolling = {"maxUnavailable": "50%", "maxSurge": 1, "partition": 1}

    def made(
        name: str, spec: Object, *, queued: bool = False, annotations: dict[str, str] | None = None
    ) -> Object:
        obj = support.base_set(
            namespace=namespace, name=f"{prefix}-{name}", spec=spec, annotations=annotations
        )
        obj["metadata"]["labels"] = dict(QUEUED) if queued else {}
        return obj

    by_rack = {names.EXCLUSIVE_TOPOLOGY: "cloud.provider.com/rack"}
    excluded = {"type": "LeaderExcluded", "subGroupSize": 2}
    rolled = support.template(workerTemplate=worker, size=4) | support.rollout(**rolling)
    of_tpus = support.template(workerTemplate=tpu, leaderTemplate=None, size=3)
    return [
        made("least", {}),
        made("rolled", rolled),
        made("queued", support.template(workerTemplate=worker, size=4), queued=True),
        made("parts", support.template(size=5, subGroupPolicy=excluded), annotations=by_rack),
        made("tpus", of_tpus, queued=True),
        made("placed", support.template(workerTemplate=grouped, size=4), queued=True),
    ]


def pods(namespace: str, api: client.Client, lws: str) -> list[Object]:
    """Pods as the StatefulSet controller makes them of such a set."""
    make = support.Pods(api, namespace)
    tpu = {"containers": [support.tpu_container()]}
    # Nothing but what is sent changes a pod that gets no node.
    held = {"schedulingGates": [{"name": "example.com/held"}]}
    gate = {"schedulingGates": [{"name": names.ADMISSION_GATE}]}
    parts = {
        names.SUBGROUP_SIZE: "2",
        "leaderworkerset.sigs.k8s.io/subgroup-policy-type": "LeaderWorker",
    }
    ours = {names.POD_SUSPENDING_PARENT: names.OUR_SUSPENDING_PARENT}
    by_rack = {names.EXCLUSIVE_TOPOLOGY: "cloud.provider.com/rack"}
    return [
        make.leader(f"{lws}-1", lws=lws, spec=held),
        make.worker(f"{lws}-1-1", lws=lws, spec=held),
        make.leader(f"{lws}-2", lws=lws, size="4", annotations=parts | by_rack | ours, spec=gate),
        make.worker(f"{lws}-1-3", lws=lws, size="4", annotations=parts, spec=held | tpu),
        make.worker(
            f"{lws}-1-2", lws=lws, size="4", labels=QUEUED, annotations=ours, spec=gate | tpu
        ),
    ]


class Mutations:
    """Mutated objects, each as a new one or as a change of one that is stored."""

    def __init__(self, new: list[Object], known: list[Object]) -> None:
        self._new = new
        self._known = known

    def __call__(self, part: int) -> Iterator[tuple[int, Object, Object | None]]:
        """Return so many of them with the seed that makes each again, and what it changes."""
        for seed in range(part * PART, (part + 1) * PART):
            rng = random.Random(seed)
            known = rng.choice(self._known) if seed % 3 == 0 else None
            yield seed, mutations.mutated(rng, known or rng.choice(self._new)), known


class Life(cluster_model.Cluster):
    """A cluster in memory in which a set lives, and what was made for it first of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, Object] = {}
        self.faults: list[str] = []

    def in_order(self, plan: actions.Plan) -> Iterator[actions.Action | actions.StatusWrite]:
        """Note what could not be decided."""
        self.faults += [repr(fault) for fault in plan.faults]
        return super().in_order(plan)

    def before(self, action: actions.Action | actions.StatusWrite) -> None:
        """Note what is made."""
        match action:
            case (
                actions.Create(body=body)
                | actions.Apply(body=body, subresource="", resource_version="")
            ):
                workers = "ordinals" in (body.get("spec") or {})
                kind = f"{body['kind']} of workers" if workers else body["kind"]
                self.made.setdefault(kind, copy.deepcopy(dict(body)))

    def make_pods(self, *, late: bool = False) -> None:
        """Let StatefulSets make pods, unless they are giants."""
        sets = self.of_kind("StatefulSet").values()
        if all(one["spec"]["replicas"] <= FEW for one in sets):
            super().make_pods(late=late)

    def spend(self, stored: Object) -> None:
        """Let a set be as it was stored, for some passes."""
        obj = copy.deepcopy(stored)
        obj["metadata"]["namespace"] = kubernetes_model.NAMESPACE
        name = obj["metadata"]["name"]
        if (known := self.objects.get((names.LWS_KIND, name))) is not None:
            obj["status"] = known.get("status", {})
        self.store(obj)
        for _ in range(PASSES):
            self.pass_once(name)
            self.collect_garbage()
            self.make_pods()
            for workload in self.pending()[:FEW]:
                self.admit(workload)
            self.run_pods()


class Judge:
    """Asks the API server, and collects the answers that nobody should get."""

    def __init__(self, api: client.Client) -> None:
        self._api = api
        self._taken = 0
        self._problems: list[str] = []

    def asked(self, obj: Object, what: str, *, known: Object | None = None) -> Object | None:
        """Return what would be stored of an object, None if it is refused.

        It is a new one, or a change of one that is ``known``.
        """
        ask = functools.partial(self._api.create, obj, dry_run=True)
        if known is not None:
            ask = functools.partial(self._put, obj, known)
        try:
            stored = polling.answered()(ask)
        except client.ApiError as error:
            if fault := _fault(int(error.status or 0), json.loads(str(error.body))):
                self._problems.append(f"{what}: {fault}")
            return None
        self._taken += 1
        return stored

    def _put(self, obj: Object, known: Object) -> Object:
        """Send an object in the place of another one, under its name.

        It is sent again where a controller has written the status of that one in between.
        """
        meta = known["metadata"]
        resource = self._api.resource(known["apiVersion"], known["kind"])
        path = resource.path(namespace=meta["namespace"], name=meta["name"])

        def once() -> Object:
            body = obj
            if isinstance(obj.get("metadata"), dict):
                live = self._api.request("GET", path)["metadata"]
                own = {"name": meta["name"], "resourceVersion": live["resourceVersion"]}
                body = obj | {"metadata": obj["metadata"] | own}
            answer: Object = self._api.request("PUT", path, query={"dryRun": "All"}, body=body)
            return answer

        return polling.over_others()(once)

    def served(self, stored: Object, what: str, *, known: Object | None = None) -> None:
        """The controller can read a stored set and decide about it whatever comes next.

        What it makes of it is taken or refused with the field.
        """
        found = cache.parse_set(stored | {"status": stored.get("status") or {}})
        if isinstance(found, lws.InvalidSet):
            self._problems.append(f"{what}: stored, but not valid: {found.problem}")
            return
        life = Life()
        try:
            for one in filter(None, (known, stored)):
                life.spend(one)
        except Exception as error:
            error.add_note(what)
            raise
        self._problems += [f"{what}: {fault}" for fault in life.faults]
        for kind, body in life.made.items():
            meta = {"namespace": found.meta.namespace, **body["metadata"]}
            self.asked({**body, "metadata": meta}, f"{what}: {kind}")

    def verdict(self) -> None:
        """Fail with all that was wrong; it proves nothing if nothing was taken."""
        assert not self._problems, "\n".join(self._problems)
        assert self._taken > PART // 10


def _fault(status: int, body: Object) -> str:
    """Say what is wrong with a refusal, nothing if it names what to change."""
    message = str(body["message"])
    if status == 500 and message.startswith(_NO_NAME):
        return ""
    causes = (body.get("details") or {}).get("causes") or ()
    # Policies have no list of causes, and neither has what cannot be decoded at all.
    named = any(one.get("field") for one in causes) or any(
        part in message for part in _PLACES + _MISSING
    )
    # An expression that fails while it is evaluated, or that costs too much, is our fault.
    ours = any(part in message for part in ("resulted in error", "cost limit", "no such"))
    return "" if status in (400, 403, 409, 422) and named and not ours else f"{status} {message}"


in_parts = pytest.mark.parametrize(
    "part", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, PARTS))]
)


@in_parts
@pytest.mark.usefixtures("kueue_info")
def test_a_set_that_was_mutated_is_served_or_refused_with_the_field(
    installed: client.Client, namespace: str, part: int
) -> None:
    judge = Judge(installed)
    stored = [installed.create(one) for one in sets(namespace, "stored")]
    for seed, obj, known in Mutations(sets(namespace, "new"), stored)(part):
        taken = judge.asked(obj, f"seed {seed}", known=known)
        if taken is None:
            continue
        judge.served(taken, f"seed {seed}", known=known)
        # In a queue more is refused, and more is decided.
        labels = taken["metadata"].get("labels") or {}
        if known is None and names.QUEUE_NAME not in labels:
            queued = obj | {"metadata": obj["metadata"] | {"labels": labels | QUEUED}}
            if (waits := judge.asked(queued, f"seed {seed}, queued")) is not None:
                judge.served(waits, f"seed {seed}, queued")
    judge.verdict()


@in_parts
def test_a_pod_that_was_mutated_is_taken_or_refused_with_the_field(
    installed: client.Client, namespace: str, part: int
) -> None:
    judge = Judge(installed)
    stored = [installed.create(one) for one in pods(namespace, installed, "stored")]
    for seed, obj, known in Mutations(pods(namespace, installed, "new"), stored)(part):
        judge.asked(obj, f"seed {seed}", known=known)
    judge.verdict()
