"""Another writer for everything that the controller writes again, and how often it then does.

Each row is a set in a namespace of its own, and a rival that undoes one thing as soon as it sees
it, for as long as the fight goes on. All rows fight at the same time.
"""

import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit, client

from lws_kueue.api import names
from lws_kueue.controller import repairs
from tests.kit.judge import budget
from tests.kit.live import harness

Object = dict[str, Any]

SET: Final = "contested"
LWS: Final = (names.LWS_API_VERSION, names.LWS_KIND)
WORKLOAD: Final = (names.KUEUE_API_VERSION, "Workload")
STATEFUL_SET: Final = ("apps/v1", "StatefulSet")
EVENT: Final = ("events.k8s.io/v1", "Event")


@dataclass(frozen=True, slots=True)
class Rival:
    """Who undoes what.

    ``stands`` says of an object that what the rival does not want is there. ``patch`` undoes it;
    without one the rival deletes the object. ``named`` says that it sets a value, so that the
    object's ``managedFields`` tell who it was, ``takes_workers`` that it is the StatefulSet of the
    workers of a leader that stays.
    """

    what: str
    kind: tuple[str, str]
    stands: Callable[[Object], Any]
    patch: Callable[[Object], Object] | None = None
    subresource: str = ""
    named: bool = False
    takes_workers: bool = False
    queue: bool = True
    quota: str = "10"
    template: dict[str, Any] = field(default_factory=dict)

    @property
    def counted(self) -> str:
        """The resource of the writes that count, as the audit log names it."""
        plural = self.kind[1].lower() + "s"
        return f"{plural}/{self.subresource}" if self.subresource == "status" else plural


def named(*wanted: str) -> Callable[[Object], bool]:
    return lambda obj: obj["metadata"]["name"] in wanted


def _lead(holds: Callable[[Object], Any]) -> Callable[[Object], bool]:
    """Of the leader StatefulSet, something holds."""
    return lambda obj: obj["metadata"]["name"] == SET and bool(holds(obj))


def _of_set(obj: Object) -> bool:
    return [owner["kind"] for owner in obj["metadata"].get("ownerReferences", ())] == [
        names.LWS_KIND
    ]


def _template(**changes: Any) -> Callable[[Object], Object]:
    return lambda _: {"spec": {"template": changes}}


def _pods_ready(obj: Object) -> bool:
    return (harness.condition(obj, "PodsReady") or {}).get("status") == "True"


def _not_ready(obj: Object) -> Object:
    conditions = [
        {**c, "status": "False", "reason": "Rival"} if c["type"] == "PodsReady" else c
        for c in obj["status"]["conditions"]
    ]
    return {"status": {"conditions": conditions}}


def _without_finalizer(obj: Object) -> Object:
    kept = [f for f in obj["metadata"]["finalizers"] if f != names.WORKLOAD_FINALIZER]
    return {"metadata": {"finalizers": kept or None}}


def _index(obj: Object) -> str:
    return str(obj["metadata"].get("annotations", {}).get(names.COMPONENT_WORKLOAD_INDEX))


def _first(holds: Callable[[Object], Any]) -> Callable[[Object], bool]:
    """Of the Workload of group 0, something holds."""
    return lambda obj: (
        _index(obj) == "0" and "deletionTimestamp" not in obj["metadata"] and bool(holds(obj))
    )


def _alive(*wanted: str) -> Callable[[Object], bool]:
    return lambda obj: named(*wanted)(obj) and "deletionTimestamp" not in obj["metadata"]


RIVALS: Final = (
    # The leader StatefulSet.
    Rival(
        "replicas of the StatefulSet",
        STATEFUL_SET,
        _lead(lambda obj: obj["spec"]["replicas"] == 2),
        lambda _: {"spec": {"replicas": 1}},
        named=True,
    ),
    Rival(
        "scale of the StatefulSet",
        STATEFUL_SET,
        _lead(lambda obj: obj["spec"]["replicas"] == 2),
        lambda _: {"spec": {"replicas": 3}},
        subresource="scale",
        queue=False,
        named=True,
    ),
    Rival(
        "partition of the StatefulSet",
        STATEFUL_SET,
        _lead(lambda obj: not obj["spec"]["updateStrategy"]["rollingUpdate"].get("partition")),
        lambda _: {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}},
        named=True,
    ),
    Rival(
        "minReadySeconds of the StatefulSet",
        STATEFUL_SET,
        _lead(lambda obj: not obj["spec"].get("minReadySeconds")),
        lambda _: {"spec": {"minReadySeconds": 77}},
        named=True,
    ),
    Rival(
        "label of the StatefulSet",
        STATEFUL_SET,
        _lead(lambda obj: names.SET_NAME in obj["metadata"].get("labels", {})),
        lambda _: {"metadata": {"labels": {names.SET_NAME: None}}},
    ),
    Rival(
        "annotation of the StatefulSet",
        STATEFUL_SET,
        _lead(lambda obj: obj["metadata"].get("annotations", {}).get(names.REPLICAS) == "2"),
        lambda _: {"metadata": {"annotations": {names.REPLICAS: "7"}}},
        named=True,
    ),
    Rival(
        "owner of the StatefulSet",
        STATEFUL_SET,
        _lead(lambda obj: obj["metadata"].get("ownerReferences")),
        lambda _: {"metadata": {"ownerReferences": None}},
        queue=False,
    ),
    Rival(
        "image in the StatefulSet",
        STATEFUL_SET,
        _lead(lambda o: o["spec"]["template"]["spec"]["containers"][0]["image"] == harness.IMAGE),
        lambda obj: {
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {**obj["spec"]["template"]["spec"]["containers"][0], "image": "rival"}
                        ]
                    }
                }
            }
        },
        queue=False,
        named=True,
    ),
    Rival(
        "gate in the StatefulSet",
        STATEFUL_SET,
        _lead(lambda obj: obj["spec"]["template"]["spec"].get("schedulingGates")),
        _template(spec={"schedulingGates": None}),
    ),
    Rival(
        "revision key in the StatefulSet",
        STATEFUL_SET,
        _lead(lambda obj: len(obj["metadata"].get("labels", {}).get(names.REVISION_KEY, "")) > 5),
        lambda _: {"metadata": {"labels": {names.REVISION_KEY: "rival"}}},
        named=True,
    ),
    # That of the workers. Who scales it to 0 by that subresource leaves no trace.
    Rival(
        "scale of a worker StatefulSet",
        STATEFUL_SET,
        lambda obj: _alive(f"{SET}-0")(obj) and obj["spec"]["replicas"] == 1,
        lambda _: {"spec": {"replicas": 3}},
        subresource="scale",
        queue=False,
        named=True,
        # Otherwise the group fails as well, and each leader has a StatefulSet of its own.
        template={"restartPolicy": "None"},
    ),
    Rival(
        "minReadySeconds of a worker StatefulSet",
        STATEFUL_SET,
        lambda obj: _alive(f"{SET}-0")(obj) and not obj["spec"].get("minReadySeconds"),
        lambda _: {"spec": {"minReadySeconds": 77}},
        queue=False,
        named=True,
    ),
    # What is made anew when it is gone.
    Rival("a leader StatefulSet that is deleted", STATEFUL_SET, _alive(SET)),
    Rival(
        "a worker StatefulSet that is deleted",
        STATEFUL_SET,
        _alive(f"{SET}-0"),
        queue=False,
        takes_workers=True,
        # Otherwise the group fails as well, and each leader has a StatefulSet of its own.
        template={"restartPolicy": "None"},
    ),
    Rival("a Service that is deleted", ("v1", "Service"), _alive(SET), queue=False),
    Rival("a ControllerRevision that is deleted", ("apps/v1", "ControllerRevision"), _of_set),
    Rival("a Workload that is deleted", WORKLOAD, _first(bool)),
    # The Workload.
    Rival(
        "finalizer of the Workload",
        WORKLOAD,
        _first(lambda obj: names.WORKLOAD_FINALIZER in obj["metadata"].get("finalizers", ())),
        _without_finalizer,
    ),
    Rival(
        "owner of the Workload",
        WORKLOAD,
        _first(lambda obj: obj["metadata"].get("ownerReferences")),
        lambda _: {"metadata": {"ownerReferences": None}},
        quota="0",
    ),
    Rival(
        "queue of the Workload",
        WORKLOAD,
        _first(lambda obj: obj["spec"].get("queueName") == "user-queue"),
        lambda _: {"spec": {"queueName": "rival"}},
        quota="0",
        named=True,
    ),
    Rival(
        "time limit of the Workload",
        WORKLOAD,
        _first(lambda obj: "maximumExecutionTimeSeconds" not in obj["spec"]),
        lambda _: {"spec": {"maximumExecutionTimeSeconds": 77}},
        quota="0",
        named=True,
    ),
    Rival(
        "pods of the Workload",
        WORKLOAD,
        _first(lambda obj: obj["spec"]["podSets"][0]["count"] == 2),
        lambda obj: {"spec": {"podSets": [{**obj["spec"]["podSets"][0], "count": 1}]}},
        quota="0",
        named=True,
    ),
    Rival(
        "admission gate of the Workload",
        WORKLOAD,
        _first(lambda obj: names.ADMISSION_GATED_BY not in obj["metadata"].get("annotations", {})),
        lambda _: {"metadata": {"annotations": {names.ADMISSION_GATED_BY: "example.com/rival"}}},
        quota="0",
        named=True,
    ),
    Rival(
        "readiness of the Workload",
        WORKLOAD,
        _first(_pods_ready),
        _not_ready,
        subresource="status",
        named=True,
    ),
    # The set, and its pods.
    Rival(
        "counters of the set",
        LWS,
        lambda obj: (obj.get("status") or {}).get("readyReplicas") == 2,
        lambda _: {"status": {"readyReplicas": 77}},
        subresource="status",
        queue=False,
        named=True,
    ),
    Rival(
        "conditions of the set",
        LWS,
        lambda obj: harness.condition(obj, "WaitingForAdmission") is not None,
        lambda _: {"status": {"conditions": None}},
        subresource="status",
        quota="0",
    ),
    Rival(
        "a pod that ends when it is let go",
        ("v1", "Pod"),
        lambda obj: _alive(f"{SET}-0-1")(obj) and not harness.gates(obj),
        template={"restartPolicy": "None"},
    ),
    Rival(
        "the gate of a pod that waits",
        ("v1", "Pod"),
        lambda obj: _alive(f"{SET}-0-1")(obj) and harness.gates(obj),
        lambda _: {"spec": {"schedulingGates": None}},
        quota="0",
    ),
    Rival(
        "a group that fails when it runs",
        ("v1", "Pod"),
        lambda obj: _alive(f"{SET}-0-1")(obj) and harness.is_ready(obj),
        queue=False,
    ),
)


@dataclass(slots=True)
class Fight:
    """What came of a row: the controller's writes since the rival's first, and what it told."""

    rival: Rival
    namespace: str
    began: float = 0.0
    undone: int = 0
    fault: BaseException | None = None
    forbidden: bool = False
    writes: list[audit.Request] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    condition: Object | None = None

    def most(self, resource: str, key: tuple[str, str]) -> int:
        """How many writes are no war: six, and one patch of the finalizer for each deletion.

        To pods more come before the longest pause, if the fight takes long enough for them.
        """
        verb, name = key
        times = self.times(resource=resource)
        removals = times.get(("delete", name), ()) if verb == "patch" else ()
        taken = times[key][-1] - times[key][0]
        due = itertools.accumulate(repairs.PAUSES_OF_PODS if resource == "pods" else repairs.PAUSES)
        return max(6, 1 + sum(seconds <= taken for seconds in due)) + len(removals)

    def contested(self) -> list[float]:
        """Seconds since the beginning of the writes that were made most often."""
        return max(self.times(resource=self.rival.counted).values(), key=len)

    def times(self, *, resource: str) -> dict[tuple[str, str], list[float]]:
        """Seconds since the beginning of the writes to a resource, by verb and name.

        The StatefulSet of workers that is made for another leader is another one, and the log does
        not tell them apart. So it counts only where the rival takes that, and no leader.
        """
        found: dict[tuple[str, str], list[float]] = {}
        for write in self.writes:
            of_leader = (write.resource, write.verb) == ("statefulsets", "create")
            if of_leader and not self.rival.takes_workers:
                continue
            if write.resource == resource and write.status < 300:
                seconds = datetime.fromisoformat(write.received).timestamp() - self.began
                found.setdefault((write.verb, write.name), []).append(seconds)
        return found


def fight(
    cluster: sandbox.Sandbox,
    rivals: Iterable[Rival],
    *,
    seconds: float,
    meanwhile: Callable[[list["Fight"]], None] = lambda _: None,
) -> dict[str, Fight]:
    """Let every rival undo what it does not want for so long, once all sets are complete."""
    token = secrets.token_hex(3)
    fights = {
        rival.what: Fight(rival, f"rival-{token}-{number}") for number, rival in enumerate(rivals)
    }
    with contextlib.ExitStack() as stack:
        for one in fights.values():
            stack.enter_context(harness.own_namespace(cluster, one.namespace))
            _make(cluster, one)
        for one in fights.values():
            _await_complete(cluster, one)
        since = audit.position(cluster)
        threads = [
            threading.Thread(target=_keep_undoing, args=(cluster, one, seconds), daemon=True)
            for one in fights.values()
        ]
        for thread in threads:
            thread.start()
        meanwhile(list(fights.values()))
        for thread in threads:
            thread.join(timeout=seconds + _UNTIL_TOLD + 60)
            assert not thread.is_alive()
        requests = audit.requests(cluster, since=since)
        for one in fights.values():
            assert one.fault is None, f"{one.rival.what}: {one.fault}"
            _look(cluster, one, requests)
    return fights


def await_back_off(cluster: sandbox.Sandbox, one: Fight) -> None:
    """Wait until the set says that the pauses have become the longest."""
    cluster.api.wait_for(
        *LWS,
        SET,
        lambda seen: harness.condition(seen or {}, "RepairBackOff") is not None,
        namespace=one.namespace,
        timeout=120,
        what=f"{one.rival.what}: RepairBackOff",
    )


def _make(cluster: sandbox.Sandbox, one: Fight) -> None:
    rival, queue = one.rival, None
    if rival.queue:
        queue = harness.queues(cluster, namespace=one.namespace, cpu=rival.quota)
    body = harness.leader_worker_set(SET, namespace=one.namespace, size=2, cpu="10m", queue=queue)
    body["spec"]["leaderWorkerTemplate"] |= rival.template
    cluster.api.create(body)


def _await_complete(cluster: sandbox.Sandbox, one: Fight) -> None:
    rival = one.rival
    if rival.queue and rival.quota == "0":
        cluster.api.wait_for(
            *LWS,
            SET,
            lambda seen: harness.condition(seen or {}, "WaitingForAdmission") is not None,
            namespace=one.namespace,
            timeout=120,
            what=f"{rival.what}: groups wait",
        )
        return
    harness.wait_ready(cluster, SET, namespace=one.namespace, groups=2, timeout=120)


# On a busy machine fewer repairs fit into a minute, and the Warning comes with the last of them.
_UNTIL_TOLD: Final = 150.0


def _keep_undoing(cluster: sandbox.Sandbox, one: Fight, seconds: float) -> None:
    """Undo for so long, and somewhat longer if nobody has been warned by then."""
    try:
        api = client.Client(cluster.kubeconfig)
        end = time.monotonic() + seconds
        last = end + _UNTIL_TOLD
        while (left := end - time.monotonic()) > 0:
            # Without a version each watch begins with what is there.
            events = api.watch(*one.rival.kind, namespace=one.namespace, timeout=min(left, 5))
            for event in events:
                if event["type"] in ("ADDED", "MODIFIED") and time.monotonic() < end:
                    _undo(api, one, event["object"])
            if end - time.monotonic() < 1 and not (one.forbidden or _notes(api, one)):
                end = min(last, end + 5)
    except BaseException as fault:
        one.fault = fault


def _undo(api: client.Client, one: Fight, obj: Object) -> None:
    rival = one.rival
    if not rival.stands(obj):
        return
    if not one.undone:
        one.began = time.time()
    name = obj["metadata"]["name"]
    try:
        if rival.patch is None:
            api.delete(*rival.kind, name, namespace=one.namespace, missing_ok=True)
        else:
            api.patch(
                *rival.kind,
                name,
                namespace=one.namespace,
                body=rival.patch(obj),
                subresource=rival.subresource,
            )
        one.undone += 1
    except client.ApiError as error:
        # What was seen may have gone or changed by now, and Kueue's webhooks stop some rivals.
        one.forbidden |= error.status == 403
        if error.status not in (403, 404, 409):
            raise


def _told(cluster: sandbox.Sandbox, one: Fight) -> list[str]:
    """Wait for the Warnings, which a busy API server takes later than other writes."""

    part = "field manager lws-kueue-sandbox" if one.rival.named else ""
    # A row without its Warning is a row that fails, and no other.
    with contextlib.suppress(client.WaitTimeoutError):
        cluster.api.wait_for_all(
            *EVENT,
            lambda seen: any(part in note for note in _told_in(seen.values())),
            namespace=one.namespace,
            timeout=30,
        )
    return _notes(cluster.api, one)


def _notes(api: client.Client, one: Fight) -> list[str]:
    return _told_in(api.list(*EVENT, namespace=one.namespace))


def _told_in(events: Iterable[Object]) -> list[str]:
    return [event["note"] for event in events if event["reason"] == "RepairBackOff"]


def _look(cluster: sandbox.Sandbox, one: Fight, requests: Iterable[audit.Request]) -> None:
    place = one.namespace
    one.writes = [
        request
        for request in requests
        if request.is_write
        and request.user_agent == budget.USER_AGENT
        and request.namespace == place
        and request.resource != "events"
    ]
    if not one.forbidden:
        one.told = _told(cluster, one)
    live = cluster.api.get(*LWS, SET, namespace=place)
    one.condition = harness.condition(live, "RepairBackOff")
