"""Random scenarios of a set's life, and pictures of what has become of it.

A scenario is what people, nodes and accidents do to one set, as plain values. Its rests are the
moments in which everything settles. What is there then is compared: a model that is played calmly,
one that is disturbed at random, and a real control plane have to come to the same.
"""

import copy
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lws_kueue.api import names
from tests.kit.memory.kubernetes_model import Object, true

SET = "demo"
QUEUE = "user-queue"
# Images that exist, for control planes with real nodes.
IMAGE = "registry.k8s.io/pause:3.{}"
LAST_VERSION = 6

Step = tuple[Any, ...]
REST: Step = ("rest",)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a person writes into the set."""

    replicas: int
    size: int
    version: int = 1
    partition: int = 0
    unavailable: int = 1
    surge: int = 0
    policy: str = "RecreateGroupOnPodRestart"
    startup: str = "LeaderCreated"
    leader: bool = False
    queue: str = ""
    cpu: str = "10m"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the set."""
        return {names.QUEUE_NAME: self.queue} if self.queue else {}

    def spec(self) -> Object:
        """Return the spec of the set."""
        template = {
            "metadata": {},
            "spec": {
                "terminationGracePeriodSeconds": 5,
                "containers": [
                    {
                        "name": "c",
                        "image": IMAGE.format(self.version),
                        "resources": {"requests": {"cpu": self.cpu}},
                    }
                ],
            },
        }
        group = {"size": self.size, "workerTemplate": template, "restartPolicy": self.policy}
        if self.leader:
            group["leaderTemplate"] = copy.deepcopy(template)
        return {
            "replicas": self.replicas,
            "startupPolicy": self.startup,
            "leaderWorkerTemplate": group,
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": {
                    "partition": self.partition,
                    "maxUnavailable": self.unavailable,
                    "maxSurge": self.surge,
                },
            },
        }


@dataclass(frozen=True, slots=True)
class Scenario:
    """A set and what happens to it."""

    shape: Shape
    steps: tuple[Step, ...]


def generate(rng: random.Random, *, most_steps: int = 8) -> Scenario:
    """Return a scenario; the same source of randomness gives the same one."""
    shape = Shape(
        replicas=rng.choice([0, 1, 2, 3, 3, 4, 4]),
        size=rng.randint(1, 3),
        unavailable=rng.randint(0, 3),
        surge=rng.randint(0, 2),
        policy=rng.choice(["RecreateGroupOnPodRestart", "RecreateGroupAfterStart", "None"]),
        startup=rng.choice(["LeaderCreated", "LeaderCreated", "LeaderReady"]),
        leader=rng.choice([False, True]),
        queue=rng.choice(["", "", "", QUEUE]),
    )
    shape = replace(shape, unavailable=shape.unavailable if shape.surge else shape.unavailable or 1)
    # Most often the set has come up before anything happens to it.
    steps: list[Step] = [REST] if rng.randint(0, 4) else []
    now = shape
    for _ in range(rng.randint(1, most_steps)):
        step = _step(rng, now)
        after = changed(now, step)
        # Below a partition it matters when a pod goes, so each step there waits for the last.
        calm = now.partition > 0 or after.partition > 0
        if calm and steps and steps[-1] != REST:
            steps.append(REST)
        steps.append(step)
        now = after
        if calm:
            steps.append(REST)
    if not steps or steps[-1] != REST:
        steps.append(REST)
    return Scenario(shape, tuple(steps))


def _step(rng: random.Random, now: Shape) -> Step:
    kind = rng.choice(
        (
            *("template", "template", "scale", "accident", "accident", "accident"),
            *("size", "partition", "budget", "recreate", "rest", "rest"),
        )
    )
    match kind:
        case "template":
            # An earlier version is a rollback.
            return (kind, rng.randint(1, LAST_VERSION))
        case "scale":
            return (kind, rng.choice([0, 1, 2, 2, 3, 3, 4, 4, 5]))
        # The shape of queue-managed pods is frozen.
        case "size" if not now.queue:
            return (kind, rng.randint(1, 3))
        case "partition":
            return (kind, rng.choice([0, 0, 1, 2, 3]))
        case "budget":
            surge = rng.randint(0, 2)
            return (kind, rng.randint(0 if surge else 1, 4), surge)
        case "accident":
            return accident(rng, now)
        case "recreate":
            return (kind,)
    return REST


def accident(rng: random.Random, now: Shape) -> Step:
    """Return the death of a pod, or that one becomes unready."""
    index, member = rng.randint(0, max(0, now.replicas - 1)), rng.randint(0, now.size - 1)
    name = f"{SET}-{index}-{member}" if member else f"{SET}-{index}"
    if rng.randint(0, 2):
        return ("kill", name, rng.choice(["gracefully", "at once"]))
    return ("flip", name)


def changed(shape: Shape, step: Step) -> Shape:
    """Return the set as a person has written it after a step."""
    match step:
        case ("template", version):
            return replace(shape, version=version)
        case ("scale", replicas):
            return replace(shape, replicas=replicas)
        case ("size", size):
            return replace(shape, size=size)
        case ("partition", partition):
            return replace(shape, partition=partition)
        case ("budget", unavailable, surge):
            return replace(shape, unavailable=unavailable, surge=surge)
    return shape


# What is there -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that has to be the same wherever a scenario is played.

    Contents are told by image and size, because keys and UIDs differ between control planes.
    ``pods`` say what they run and what the revision holds that their key names.
    """

    pods: Mapping[str, str] = field(default_factory=dict)
    workers: Mapping[str, str] = field(default_factory=dict)
    leaders: str = ""
    revisions: tuple[str, ...] = ()
    status: str = ""
    conditions: tuple[str, ...] = ()


def picture(
    live: Object,
    *,
    pods: Iterable[Object],
    stateful_sets: Iterable[Object],
    revisions: Iterable[Object],
) -> Picture:
    """Return what is there, from the objects of a set."""
    # What is only kept to go back to is none of them: the model keeps nothing.
    in_use = [
        revision
        for revision in revisions
        if owner_of(revision)["kind"] == names.LWS_KIND
        and names.KEPT_REVISION not in revision["metadata"]["labels"]
    ]
    own = {
        revision["metadata"]["labels"][names.REVISION_KEY]: content(revision["data"]["spec"])
        for revision in in_use
    }
    count = len(in_use)
    status = live.get("status") or {}
    numbers = {key: status.get(key, 0) for key in ("replicas", "readyReplicas", "updatedReplicas")}
    sets = {each["metadata"]["name"]: each for each in stateful_sets}
    leaders = sets.pop(live["metadata"]["name"], None)
    return Picture(
        pods={
            pod["metadata"]["name"]: f"{_runs(pod)}, revision of {_by_key(pod, own)}, "
            f"{'ready' if true(pod, 'Ready') else 'not ready'}"
            for pod in pods
        },
        workers={
            name: f"{each['spec']['replicas']} of {_by_key(each, own)}"
            for name, each in sets.items()
        },
        leaders=_leaders(leaders, own) if leaders else "none",
        revisions=(*sorted(own.values()), *(["and more of the same key"] * (count - len(own)))),
        status=f"{numbers}, {'seen' if _seen(live) else 'not seen'}",
        conditions=tuple(sorted(c["type"] for c in _conditions(live) if c["status"] == "True")),
    )


def _conditions(obj: Object) -> list[Object]:
    return list((obj.get("status") or {}).get("conditions") or ())


def _seen(live: Object) -> bool:
    seen = (live.get("status") or {}).get("observedGeneration")
    return bool(seen == live["metadata"]["generation"])


def owner_of(obj: Object) -> Object:
    return next(iter(obj["metadata"].get("ownerReferences") or ()), {"kind": ""})


def content(spec: Object) -> str:
    group = spec["leaderWorkerTemplate"]
    image = group["workerTemplate"]["spec"]["containers"][0]["image"]
    return f"{image} size {group.get('size', 1)}"


def _runs(pod: Object) -> str:
    size = pod["metadata"]["annotations"][names.SIZE]
    return f"{pod['spec']['containers'][0]['image']} size {size}"


def _by_key(obj: Object, own: Mapping[str, str]) -> str:
    return own.get(obj["metadata"]["labels"].get(names.REVISION_KEY, ""), "no revision")


def _leaders(leaders: Object, own: Mapping[str, str]) -> str:
    partition = leaders["spec"]["updateStrategy"]["rollingUpdate"].get("partition", 0)
    return f"{leaders['spec']['replicas']} of {_by_key(leaders, own)} from {partition} on"
