"""Random lives of a set on a real control plane end where the model says that they end.

The scenarios are those of ``tests/controller/scenarios.py``. Each is played in a namespace of its
own, and at every rest of it what is there is compared with what the model predicts.
"""

import concurrent.futures
import random
import time

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client, stages

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.memory import scenario_model, scenarios

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("controller")]

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
CHILDREN = (("v1", "Pod"), ("apps/v1", "StatefulSet"), ("apps/v1", "ControllerRevision"))
# Chosen so that much happens: groups replaced together, recreated, queue-managed, grown and shrunk,
# at two revisions at a rest, sets made anew.
SEEDS = (
    *(4, 6, 17, 25, 32, 45, 46, 53, 75, 86, 118, 122, 124, 137, 144),
    *(166, 201, 229, 240, 248, 256, 274, 288, 311, 317, 322, 327, 345, 351, 356),
)
# More would only wait for each other.
AT_THE_SAME_TIME = 10
PATIENCE = 90.0
LOOK_EVERY = 0.5
# Longer than the interval in which a status is written at most once.
STABLE = 1.2


class Life:
    """One set in a namespace of its own, to which the steps of a scenario happen."""

    def __init__(self, cluster: sandbox.Sandbox, shape: scenarios.Shape, *, namespace: str) -> None:
        self.api = cluster.api
        self.namespace = namespace
        self.shape = shape
        self.unready: dict[str, str] = {}
        self._create()

    def _create(self) -> None:
        api_version, kind = LWS
        metadata = {
            "name": scenarios.SET,
            "namespace": self.namespace,
            "labels": self.shape.labels,
        }
        body = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
        self.api.create({**body, "spec": self.shape.spec()})

    def do(self, step: scenarios.Step) -> None:
        match step:
            case ("kill", name, how):
                grace = 0 if how == "at once" else None
                self.api.delete(
                    "v1",
                    "Pod",
                    name,
                    namespace=self.namespace,
                    grace_seconds=grace,
                    missing_ok=True,
                )
            case ("flip", name):
                if (uid := self._behave(name, stages.NEVER_READY)) is not None:
                    self.unready[name] = uid
            case ("recreate",):
                self.api.delete(*LWS, scenarios.SET, namespace=self.namespace)
                self._create()
        after = scenarios.changed(self.shape, step)
        if after != self.shape:
            self.shape = after
            change = {"spec": after.spec()}
            self.api.patch(*LWS, scenarios.SET, namespace=self.namespace, body=change)

    def _behave(self, name: str, behaviour: str | None, *, uid: str | None = None) -> str | None:
        """Let a pod behave in a way; return its UID, None if it (with ``uid``) is not there."""
        metadata = {"annotations": {stages.BEHAVIOUR: behaviour}, **({"uid": uid} if uid else {})}
        try:
            pod = self.api.patch(
                "v1", "Pod", name, namespace=self.namespace, body={"metadata": metadata}
            )
        except client.ApiError as error:
            # Of another UID means a conflict, or that a UID cannot be changed.
            if error.status not in (404, 409, 422):
                raise
            return None
        return str(pod["metadata"]["uid"])

    def heal(self) -> None:
        """Let the pods become ready again that were made unready, those that are still there."""
        for name, uid in self.unready.items():
            self._behave(name, None, uid=uid)
        self.unready.clear()

    def look(self) -> tuple[scenarios.Picture, dict[str, str]]:
        """Return what is there, and the version of every object of it."""
        live = self.api.get(*LWS, scenarios.SET, namespace=self.namespace)
        pods, stateful_sets, revisions = (
            self.api.list(api_version, kind, namespace=self.namespace)
            for api_version, kind in CHILDREN
        )
        found = scenarios.picture(live, pods=pods, stateful_sets=stateful_sets, revisions=revisions)
        every = (live, *pods, *stateful_sets, *revisions)
        return found, {o["metadata"]["uid"]: o["metadata"]["resourceVersion"] for o in every}

    def wait_for(self, expected: scenarios.Picture, *, what: str) -> None:
        """Wait until everything is as expected and stays so for a while.

        Right after a step all may look as it has to in the end, because nobody has reacted yet.
        What is awaited is spread over many objects, so it is looked at again and again.
        """
        deadline = time.monotonic() + PATIENCE
        before, since = {"nothing": ""}, time.monotonic()
        while True:
            found, versions = self.look()
            if found != expected or versions != before:
                before, since = versions, time.monotonic()
            elif time.monotonic() - since > STABLE:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: {expected}\nand is: {found}")
            time.sleep(LOOK_EVERY)


def play(cluster: sandbox.Sandbox, seed: int, *, namespace: str) -> None:
    """Play one scenario to its end."""
    scenario = scenarios.generate(random.Random(seed), most_steps=9)
    model = scenario_model.Model(scenario.shape)
    rests = scenario_model.play(scenario, model)
    with harness.own_namespace(cluster, f"{namespace}-{seed}") as own:
        if scenario.shape.queue:
            harness.queues(cluster, namespace=own, cpu="100", name=scenario.shape.queue)
        life = Life(cluster, scenario.shape, namespace=own)
        for number, step in enumerate(scenario.steps):
            if step != scenarios.REST:
                life.do(step)
                continue
            life.heal()
            expected = next(rests)
            what = f"seed {seed}, {scenario.shape}, rest {number} of {scenario.steps} should be"
            life.wait_for(expected, what=what)


def test_thirty_scenarios_end_in_the_state_that_the_model_predicts(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    with concurrent.futures.ThreadPoolExecutor(AT_THE_SAME_TIME) as pool:
        played = [pool.submit(play, installed, seed, namespace=namespace) for seed in SEEDS]
    failures = [str(fault) for life in played if (fault := life.exception()) is not None]
    assert len(played) == 30
    assert not failures, "\n\n".join(failures)
