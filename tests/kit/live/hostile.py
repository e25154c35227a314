"""A tenant that means harm, as a process of its own.

`python -m tests.kit.live.hostile KUBECONFIG NAMESPACE DEED` does nothing that `edit` and the set
editor's role do not allow in a namespace, as fast as it can, until it is ended. When its deed is
well under way it says so.
"""

import concurrent.futures
import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.admission import mutations
from tests.kit.live import harness

Object = dict[str, Any]

LWS: Final = (names.LWS_API_VERSION, names.LWS_KIND)
UNDER_WAY: Final = "under way"
QUEUE: Final = "user-queue"
# What an administrator gives a tenant: nothing else bounds what plain StatefulSets make.
PODS: Final = 1_000
GIANT: Final = 1_000_000
PAUSE: Final = 3.0
MANY: Final = 1_000
THREADS: Final = 4


class Hostile:
    """What it does in its namespace, which has a queue."""

    def __init__(self, api: client.Client, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def giant(self) -> Iterator[None]:
        """A set of a million groups, which is scaled to none, and back."""
        self._create(self._set("giant", size=2))
        for replicas in itertools.cycle([GIANT, 700, 0, GIANT, 1]):
            self._patch("giant", {"spec": {"replicas": replicas}})
            # Long enough for much to come of it.
            time.sleep(PAUSE)
            yield

    def poisoned(self) -> Iterator[None]:
        """Sets with amounts that nobody can read, or that are too large, too small or too long."""
        for number, amount in enumerate(itertools.cycle(mutations.AMOUNTS)):
            made = self._set(f"poisoned-{number % 50}", replicas=3)
            group = made["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
            group["containers"][0]["resources"] = {"requests": {"cpu": amount, "x.y/z": amount}}
            self._create(made)
            self._delete(f"poisoned-{(number + 25) % 50}")
            yield

    def many(self) -> Iterator[None]:
        """A thousand sets that are made and deleted again and again."""
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            while True:
                for deed in (lambda n: self._create(self._set(f"many-{n}")), self._deleted):
                    for _ in pool.map(deed, range(MANY)):
                        yield

    def _deleted(self, number: int) -> None:
        self._delete(f"many-{number}")

    def flood(self) -> Iterator[None]:
        """Labels of sets and pods, and annotations of sets, that change all the time."""
        for number in range(10):
            self._create(self._set(f"flood-{number}", replicas=10))
        pods = sorted(_pods(self._api, self._namespace, at_least=50))
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            for turn in itertools.count():
                mark = {"labels": {"example.com/turn": str(turn)}}
                for _ in pool.map(lambda pod, mark=mark: self._mark(pod, mark), pods):
                    yield
                notes = {"metadata": {"annotations": {"example.com/turn": str(turn)}}}
                for number in range(10):
                    self._patch(f"flood-{number}", notes)

    def _mark(self, pod: str, metadata: Object) -> None:
        with contextlib.suppress(client.ApiError):
            self._api.patch(
                "v1", "Pod", pod, namespace=self._namespace, body={"metadata": metadata}
            )

    def _set(self, name: str, *, replicas: int = 1, size: int = 1) -> Object:
        return harness.leader_worker_set(
            name, namespace=self._namespace, replicas=replicas, size=size, queue=QUEUE
        )

    def _create(self, obj: Object) -> None:
        with contextlib.suppress(client.ApiError):
            self._api.create(obj)

    def _patch(self, name: str, body: Object) -> None:
        with contextlib.suppress(client.ApiError):
            self._api.patch(*LWS, name, namespace=self._namespace, body=body)

    def _delete(self, name: str) -> None:
        with contextlib.suppress(client.ApiError):
            self._api.delete(*LWS, name, namespace=self._namespace)


# How many steps of a deed are behind it when it is well under way.
DEEDS: Final[dict[str, tuple[Callable[[Hostile], Iterator[None]], int]]] = {
    "a giant set": (Hostile.giant, 1),
    "poisoned quantities": (Hostile.poisoned, 30),
    "1,000 sets made and deleted": (Hostile.many, 100),
    "a flood of events": (Hostile.flood, 50),
}


def _pods(api: client.Client, namespace: str, *, at_least: int) -> list[str]:
    """Wait for so many pods and return their names."""
    found = api.wait_for_all(
        "v1", "Pod", lambda seen: len(seen) >= at_least, namespace=namespace, what="pods to touch"
    )
    return list(found)


def let_in(cluster: sandbox.Sandbox, namespace: str) -> None:
    """Make its namespace, with a queue that has room for little, and a quota of pods."""
    harness.make_namespace(cluster, namespace)
    harness.queues(cluster, namespace=namespace, cpu="1", name=QUEUE)
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "pods", "namespace": namespace},
            "spec": {"hard": {"count/pods": str(PODS)}},
        }
    )


@contextlib.contextmanager
def acting(cluster: sandbox.Sandbox, namespace: str, deed: str) -> Iterator[None]:
    """Have a process do a deed in a namespace for as long as the context is open."""
    command = [sys.executable, "-m", "tests.kit.live.hostile", str(cluster.kubeconfig)]
    with subprocess.Popen(
        [*command, namespace, deed], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline().strip()
            assert said == UNDER_WAY, f"{deed}: {said!r}"
            yield
            assert process.poll() is None, f"{deed}: it has ended by itself"
        finally:
            process.kill()


def undo(cluster: sandbox.Sandbox, namespace: str) -> None:
    """Delete what it has made, and wait until all of it is gone."""
    for one in cluster.api.list(*LWS, namespace=namespace):
        cluster.api.delete(*LWS, one["metadata"]["name"], namespace=namespace, missing_ok=True)
    for kind in (("v1", "Pod"), (names.KUEUE_API_VERSION, "Workload")):
        cluster.api.wait_for_all(
            *kind, lambda seen: not seen, namespace=namespace, timeout=600, what="nothing is left"
        )


def main(kubeconfig: str, namespace: str, deed: str) -> None:
    """Do a deed until ended."""
    act, until = DEEDS[deed]
    one = Hostile(client.Client(Path(kubeconfig)), namespace)
    for number, _ in enumerate(act(one)):
        if number == until:
            print(UNDER_WAY, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
