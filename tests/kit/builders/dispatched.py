"""A group that is dispatched, on the manager and in two workers, and what a plan writes for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.dispatch import identity, observed, places, plan, remote_objects, settings
from lws_kueue.workload import build, recreate
from tests.kit.builders import builders
from tests.kit.builders.builders import NOW, Json

MANAGER = identity.Manager("11111111-2222-3333-4444-555555555555", "lws-kueue-11111111")
CHECK = "dispatch"
OPTIONS = settings.Settings()
GROUP = identity.GroupId("ns", "serve", "set-uid", 0)
SET_NAME = identity.set_name(MANAGER, GROUP)
OFFER_NAME = identity.workload_name(MANAGER, GROUP)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def owner(**more: Any) -> lws.LeaderWorkerSet:
    return builders.lws_object(size=2, worker=template(**more))


def labelled(labels: Mapping[str, str], *, image: str = "app:1") -> lws.LeaderWorkerSet:
    return builders.lws_object(size=2, worker=template(image=image), labels=labels)


def template(image: str = "app:1", cpu: str = "1", **annotations: str) -> Json:
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}}
    made: Json = {"spec": {"containers": [container]}}
    if annotations:
        made["metadata"] = {"annotations": annotations}
    return made


def content(made_from: lws.LeaderWorkerSet, key: str = "k1") -> recreate.Content:
    return recreate.content(made_from, key, options=build.Options())


def made(index: int = 0, made_from: lws.LeaderWorkerSet | None = None) -> Json:
    body = build.workload(
        made_from or owner(),
        index,
        classes=builders.NO_CLASSES,
        options=build.Options(topology=False),
    )
    assert isinstance(body, dict)
    return body


def workload(
    *conditions: Json,
    cluster: str = "",
    nominated: Iterable[str] = (),
    check: str = "Pending",
    others: Mapping[str, str] | None = None,
    retries: int = 0,
    active: bool = True,
    deleting: bool = False,
    **spec: Any,
) -> kueue.Workload:
    """The group's Workload on the manager."""
    body = made()
    told = list(conditions)
    reserved = any(c["type"] == "QuotaReserved" and c["status"] == "True" for c in told)
    states: list[Json] = [{"name": one, "state": told} for one, told in (others or {}).items()]
    if check:
        states.append({"name": CHECK, "state": check, "message": "", "retryCount": retries})
    status: Json = {"conditions": told, "admissionChecks": states}
    if reserved:
        status["admission"] = {"clusterQueue": "cq", "podSetAssignments": []}
    if cluster:
        status["clusterName"] = cluster
    if nominated:
        status["nominatedClusterNames"] = list(nominated)
    body["metadata"] |= {"uid": "wl-uid", "resourceVersion": "7", "generation": 1}
    if deleting:
        body["metadata"]["deletionTimestamp"] = ago(1)
    return kueue.Workload.of(
        {**body, "spec": {**body["spec"], "active": active, **spec}, "status": status}
    )


RESERVED = builders.RESERVED
ADMITTED = builders.ADMITTED
EVICTED = builders.evicted()
NO_QUOTA = builders.condition("QuotaReserved", False, "Pending", "no cpu")
FINISHED = builders.condition("Finished", True, "OutOfSync", "out of sync")


def offer(
    *conditions: Json,
    made_from: lws.LeaderWorkerSet | None = None,
    age: float = 60,
    active: bool = True,
    marks: Mapping[str, str] | None = None,
    priority: int = 0,
) -> kueue.Workload:
    """The group's Workload in a worker."""
    body = remote_objects.workload(
        MANAGER,
        GROUP,
        source=workload(priority=priority),
        content=made_from or owner(),
        anchor_uid="anchor-uid",
    )
    body["metadata"] |= {"uid": "offer-uid", "resourceVersion": "9", "generation": 1}
    body["metadata"]["creationTimestamp"] = ago(age)
    body["metadata"]["annotations"] |= marks or {}
    reserved = any(c["type"] == "QuotaReserved" and c["status"] == "True" for c in conditions)
    status: Json = {"conditions": list(conditions)}
    if reserved:
        status["admission"] = {"clusterQueue": "cq", "podSetAssignments": []}
    return kueue.Workload.of({**body, "spec": {**body["spec"], "active": active}, "status": status})


TAKEN = (RESERVED, ADMITTED)


def run(
    *,
    made_from: lws.LeaderWorkerSet | None = None,
    key: str = "k1",
    ready: bool = True,
    deleting: bool = False,
    **spec: Any,
) -> observed.RemoteSet:
    """The set of one replica that runs the group in a worker."""
    asked = remote_objects.Asked(MANAGER, GROUP, made_from or owner(), key, OPTIONS)
    body = remote_objects.one_group(asked)
    body["metadata"] |= {"uid": "run-uid", "resourceVersion": "11", "generation": 1}
    manager = {"manager": names.DISPATCH_FIELD_MANAGER, "operation": "Apply", "fieldsV1": {}}
    body["metadata"]["managedFields"] = [manager]
    if deleting:
        body["metadata"]["deletionTimestamp"] = ago(1)
    status = {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": int(ready)}
    return observed.RemoteSet.of({**body, "spec": {**body["spec"], **spec}, "status": status})


def pod(*, gated: bool = False, ended: bool = False, deleted: float | None = None) -> facts.Pod:
    """A pod of the group in a worker; ``deleted`` says for how many seconds its grace is over."""
    gates = [{"name": names.ADMISSION_GATE}] if gated else []
    phase = "Succeeded" if ended else "Running"
    meta = {"name": f"{SET_NAME}-0", "namespace": "ns", "uid": "pod-uid"}
    if deleted is not None:
        meta["deletionTimestamp"] = ago(deleted)
    return facts.Pod.of(
        {"metadata": meta, "spec": {"schedulingGates": gates}, "status": {"phase": phase}}
    )


def leader(*, ready: bool = False, key: str = "k1") -> facts.Pod:
    """The group's gated leader on the manager."""
    told = [{"type": "Ready", "status": "True"}] if ready else []
    return facts.Pod.of(
        {
            "metadata": {
                "name": "serve-0",
                "namespace": "ns",
                "uid": "leader-uid",
                "resourceVersion": "5",
                "labels": {names.REVISION_KEY: key},
            },
            "spec": {"schedulingGates": [{"name": names.ADMISSION_GATE}]},
            "status": {"phase": "Running" if ready else "Pending", "conditions": told},
        }
    )


@dataclass(frozen=True)
class Worker:
    """What a worker has of the group; ``lost`` is for how many seconds it has not answered."""

    offer: kueue.Workload | None = None
    run: observed.RemoteSet | None = None
    pods: tuple[facts.Pod, ...] = ()
    lost: float | None = None
    anchor: str = "anchor-uid"
    configured: bool = True
    trouble: str = ""
    gone: bool = False
    may_look: bool = True
    refused: Mapping[str, str] = field(default_factory=dict)

    def cluster(self, name: str) -> observed.Cluster:
        since = None if self.lost is None else NOW - timedelta(seconds=self.lost)
        return observed.Cluster(
            name=name,
            link=observed.Link(since),
            configured=self.configured,
            trouble=self.trouble,
            gone=self.gone,
            may_look=self.may_look,
            anchor=self.anchor,
            workloads={OFFER_NAME: self.offer} if self.offer else {},
            sets={SET_NAME: self.run} if self.run else {},
            refused=self.refused,
            pods={SET_NAME: self.pods},
        )


@dataclass(frozen=True)
class Situation:
    """One group of a set of one, and two workers."""

    workload: kueue.Workload | None
    w1: Worker = field(default_factory=Worker)
    w2: Worker = field(default_factory=Worker)
    wanted: bool = True
    made_from: lws.LeaderWorkerSet = field(default_factory=owner)
    key: str = "k1"
    leader: facts.Pod | None = None
    options: settings.Settings = OPTIONS
    refused: Any = None
    # Where the set wants its groups to be, and what is known of the sets that it names.
    annotations: Mapping[str, str] = field(default_factory=dict)
    neighbours: Mapping[str, observed.Neighbour] = field(default_factory=dict)

    def seen(self) -> observed.Observed:
        group = observed.Group(
            index=0,
            workload=self.workload,
            leader=self.leader,
            pods=(self.leader,) if self.leader else (),
            content=content(self.made_from, self.key),
            wanted=self.wanted,
        )
        return observed.Observed(
            manager=MANAGER,
            namespace="ns",
            name="serve",
            lws=builders.lws_object(size=2, worker=template(), annotations=self.annotations),
            checks=frozenset({CHECK}),
            refused=self.refused,
            groups=(group,),
            clusters=(self.w1.cluster("w1"), self.w2.cluster("w2")),
            neighbours=self.neighbours,
        )

    def view(self) -> places.View:
        (found,) = plan.views_of(self.seen(), options=self.options, now=NOW)
        return found

    def plan(self) -> actions.Part:
        seen = self.seen()
        return plan.plan(seen, plan.views_of(seen, options=self.options, now=NOW))

    def but(self, **more: Any) -> "Situation":
        return replace(self, **more)


def told(part: actions.Part) -> list[str]:
    """Say in a word or two what each write of a plan does, and where; chains in a row."""
    return [" then ".join(_told(write) for write in chain) for chain in part.chains]


def _told(write: actions.Action) -> str:
    match write:
        case actions.Create(body=body, cluster=cluster):
            return f"create {body['kind']} on {cluster}"
        case actions.Apply(subresource="status", body=body) as apply:
            return _told_status(apply.field_manager, body["status"])
        case actions.Apply(cluster=cluster):
            return f"apply set on {cluster}"
        case actions.Delete(ref=ref):
            kind = "set" if ref.kind == names.LWS_KIND else ref.kind
            return f"delete {kind} on {ref.cluster or 'manager'}"
        case actions.Patch(ref=ref):
            return f"patch {ref.kind} on {ref.cluster or 'manager'}"
    raise ValueError(write)


def _told_status(manager: str, status: Json) -> str:
    if manager == names.PODS_READY_FIELD_MANAGER:
        return f"PodsReady {status['conditions'][0]['status']}"
    if "admission" not in status:
        return "clear"
    check = next(one for one in status["admissionChecks"] if one["name"] == CHECK)
    if check["state"] == "Ready":
        return f"ready on {status['clusterName']}"
    if check["state"] == "Retry":
        return "retry"
    return f"nominate {' '.join(status.get('nominatedClusterNames') or ())}".strip()
