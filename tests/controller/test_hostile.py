"""Whatever stands in the objects of a set: a pass ends, says the same twice, and harms no stranger.

The objects are those of a set in the middle of its life, spoilt in ways that an API server would
take, and in some that only one without the rules would.
"""

import copy
import dataclasses
import datetime
import random
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.controller import decide
from lws_kueue.controller.admission import waiting
from lws_kueue.controller.observe import members, observed
from lws_kueue.controller.rollout import unadmitted
from lws_kueue.runtime import cache
from lws_kueue.workload import build
from tests.kit.examples import examples
from tests.kit.memory import cluster_model

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
SET = "demo"
OTHER = "other"

# What a label or an annotation may be made of.
TEXTS = ["", "abc", "-1", "0", "1", "7", "007", "²", "9" * 12, "9" * 5000, SET, OTHER, "nobody"]
MARKS = [
    names.SET_NAME,
    names.GROUP_INDEX,
    names.WORKER_INDEX,
    names.GROUP_KEY,
    names.REVISION_KEY,
    names.SIZE,
    names.REPLICAS,
    names.LEADER_NAME,
    names.QUEUE_NAME,
    names.EXCLUSIVE_TOPOLOGY,
    names.SUBGROUP_SIZE,
    names.WORKLOAD,
    names.COMPONENT_WORKLOAD_INDEX,
    names.PODSET_SLICE_SIZE,
    names.POD_INDEX_OFFSET,
    names.RECREATE_GROUP_AFTER_START,
]
ODD: list[Any] = [None, 0, -1, 2**40, "", "x", [], {}, [None], {"a": None}, True, 10**400]


def a_set(rng: random.Random) -> dict[str, Any]:
    container = {"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "1"}}}
    template: dict[str, Any] = {"metadata": {}, "spec": {"containers": [container]}}
    group: dict[str, Any] = {
        "size": rng.choice([1, 2, 3]),
        "workerTemplate": template,
        "restartPolicy": rng.choice(["None", "RecreateGroupOnPodRestart"]),
    }
    labels = {names.QUEUE_NAME: "queue"} if rng.random() < 0.5 else {}
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {"name": SET, "generation": 1, "labels": labels},
        "spec": {"replicas": rng.choice([0, 1, 2, 3]), "leaderWorkerTemplate": group},
    }


def grown(rng: random.Random) -> cluster_model.Cluster:
    """A set some way into its life."""
    model = cluster_model.Cluster()
    model.store(a_set(rng))
    for _ in range(rng.randrange(1, 9)):
        model.pass_once(SET)
        model.collect_garbage()
        model.make_pods()
        for name in model.pending():
            if rng.random() < 0.7:
                model.admit(name)
        if rng.random() < 0.8:
            model.run_pods()
        if rng.random() < 0.2 and model.admitted():
            model.evict(rng.choice(model.admitted()))
    return model


def spoil(rng: random.Random, obj: dict[str, Any], uids: list[str]) -> None:
    """Change one thing about an object."""
    meta = obj["metadata"]
    match rng.randrange(8):
        case 0 | 1:
            meta.setdefault("labels", {})[rng.choice(MARKS)] = rng.choice(TEXTS)[:63]
        case 2:
            meta.setdefault("annotations", {})[rng.choice(MARKS)] = rng.choice(TEXTS)
        case 3:
            for marks in filter(None, (meta.get("labels"), meta.get("annotations"))):
                del marks[rng.choice(sorted(marks))]
        case 4:
            obj.pop("status", None)
        case 5:
            meta["deletionTimestamp"] = "2029-12-31T23:00:00Z"
            meta["finalizers"] = rng.choice([[], ["example.com/keep"], ["foregroundDeletion"]])
        case 6:
            kind = rng.choice(["StatefulSet", "Pod", "Job", names.LWS_KIND])
            name = rng.choice([SET, f"{SET}-0", f"{SET}-0-1", "stranger"])
            owner = {"kind": kind, "name": name, "uid": rng.choice(uids), "controller": True}
            meta["ownerReferences"] = rng.choice([[], [owner]])
        case 7:
            spoil_content(rng, obj)


def spoil_content(rng: random.Random, obj: dict[str, Any]) -> None:
    """Spoil what nobody else looks after; from what the API server checks, take something away."""
    match obj["kind"]:
        case "ControllerRevision":
            spoil_anything(rng, obj, "data")
        case names.LWS_KIND:
            spoil_anything(rng, obj, rng.choice(["spec", "status"]))
        case "Workload":
            pass
        case _:
            spec = obj.get("spec") or {"": None}
            del spec[rng.choice(sorted(spec))]


def spoil_anything(rng: random.Random, obj: dict[str, Any], field: str) -> None:
    """Put something odd somewhere below a field, as the API's definition would never allow."""
    at: Any = obj
    key: Any = field
    while isinstance(at.get(key) if isinstance(at, dict) else at[key], dict | list):
        inner = at[key]
        if not inner or rng.random() < 0.3:
            break
        at, key = inner, rng.choice(sorted(inner) if isinstance(inner, dict) else range(len(inner)))
    at[key] = copy.deepcopy(rng.choice(ODD))


def strangers(rng: random.Random, model: cluster_model.Cluster) -> set[str]:
    """Put copies of objects under other names, with nobody's owner; return the UIDs of the pods."""
    uids = set()
    for kind, name in rng.sample(sorted(model.objects), min(2, len(model.objects))):
        if kind == names.LWS_KIND:
            continue
        copied = copy.deepcopy(model.objects[kind, name])
        copied["metadata"]["name"] = rng.choice(["stray", "stray-0", f"x{SET}-0-1"])
        copied["metadata"]["ownerReferences"] = rng.choice(
            [[], [{"kind": "StatefulSet", "name": "stray", "uid": "uid-of-stray"}]]
        )
        copied["metadata"].pop("finalizers", None)
        (copied["metadata"].get("annotations") or {}).pop(names.WORKLOAD, None)
        model.store(copied)
        if kind == "Pod":
            uids.add(copied["metadata"]["uid"])
    return uids


def seen_in(model: cluster_model.Cluster) -> observed.Observed | lws.InvalidSet:
    """Everything as the runtime would hand it over, odd objects included."""

    def parsed(kind: str, parse: Any) -> dict[str, Any]:
        return {name: parse(obj) for name, obj in model.of_kind(kind).items()}

    live = model.objects.get((names.LWS_KIND, SET))
    owner = cache.parse_set(live) if live else None
    if isinstance(owner, lws.InvalidSet):
        return owner
    return observed.Observed(
        namespace=cluster_model.NAMESPACE,
        name=SET,
        lws=owner,
        kueue=observed.Kueue("served"),
        stateful_sets=parsed("StatefulSet", facts.StatefulSet.of),
        pods=parsed("Pod", facts.Pod.of),
        services=parsed("Service", facts.Service.of),
        revisions=parsed("ControllerRevision", facts.Revision.of),
        workloads=parsed("Workload", kueue.Workload.of),
        remembered={0: members.Members("gone", "gone", {"gone": "x"}, pending=False)},
    )


def deleted_pods(plan: actions.Plan) -> set[str]:
    chains = (*plan.chains, plan.prepare, plan.finish)
    return {
        action.uid
        for chain in chains
        for action in chain
        if isinstance(action, actions.Delete) and action.ref.kind == "Pod"
    }


@examples(250)
@hypothesis.given(seed=st.integers(0, 2**32), faults=st.integers(1, 6))
def test_spoilt_objects_neither_end_a_pass_nor_harm_a_stranger(seed: int, faults: int) -> None:
    rng = random.Random(seed)
    model = grown(rng)
    foreign = strangers(rng, model)
    uids = [obj["metadata"]["uid"] for obj in model.objects.values()]
    for _ in range(faults):
        target = model.objects[rng.choice(sorted(model.objects))]
        if target["metadata"]["uid"] not in foreign:
            spoil(rng, target, uids)
    seen = seen_in(model)
    if isinstance(seen, lws.InvalidSet):
        assert seen.problem
        return
    plan = decide.decide(seen, now=NOW, options=build.Options())
    assert plan == decide.decide(seen, now=NOW, options=build.Options())
    assert not deleted_pods(plan) & foreign
    assert all(warning.message for warning in plan.warnings)
    decide.complete_members(seen, actions.Plan())


@examples(150)
@hypothesis.given(seed=st.integers(0, 2**32))
@hypothesis.example(seed=275402)
def test_any_spec_is_either_a_set_or_said_to_be_none(seed: int) -> None:
    rng = random.Random(seed)
    body = {**a_set(rng), "status": {"conditions": [], "readyReplicas": 1}}
    for _ in range(rng.randrange(1, 4)):
        spoil_anything(rng, body, rng.choice(["spec", "spec", "status"]))
    found = cache.parse_set(body)
    if isinstance(found, lws.InvalidSet):
        assert found.problem
        return
    assert isinstance(found, lws.LeaderWorkerSet)
    model = cluster_model.Cluster()
    model.store(body)
    seen = seen_in(model)
    assert isinstance(seen, observed.Observed)
    decide.decide(seen, now=NOW, options=build.Options())


@pytest.mark.parametrize("queue", [None, "queue"])
def test_a_scale_to_a_hundred_thousand_groups_gives_a_plan_of_bounded_size(
    queue: str | None,
) -> None:
    body = a_set(random.Random(1))
    body["metadata"]["labels"] = {names.QUEUE_NAME: queue} if queue else {}
    body["spec"]["replicas"] = 100_000
    model = cluster_model.Cluster()
    model.store(body)
    seen = seen_in(model)
    assert isinstance(seen, observed.Observed)
    for _ in range(2):
        plan = decide.decide(seen, now=NOW, options=build.Options())
        assert len(plan.chains) <= 2 + waiting.MOST_NEW
        created = [a for chain in plan.chains for a in chain if isinstance(a, actions.Create)]
        workloads = [a.body for a in created if a.body["kind"] == "Workload"]
        assert not workloads, "before there are pods"


def test_groups_that_come_all_at_once_ask_for_quota_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unadmitted, "STEP", 3 * waiting.MOST_NEW)
    body = a_set(random.Random(1))
    body["metadata"]["labels"] = {names.QUEUE_NAME: "queue"}
    body["spec"]["replicas"] = 3 * waiting.MOST_NEW
    body["spec"]["leaderWorkerTemplate"]["size"] = 1
    model = cluster_model.Cluster()
    model.options = options = build.Options(max_pending=3 * waiting.MOST_NEW)
    model.store(body)
    model.pass_once(SET)
    model.make_pods()
    seen = seen_in(model)
    assert isinstance(seen, observed.Observed)
    for asked in (1, 2, 3, 3):
        plan = decide.decide(seen, now=NOW, options=options)
        created = [a for chain in plan.chains for a in chain if isinstance(a, actions.Create)]
        workloads = [a.body for a in created if a.body["kind"] == "Workload"]
        stored = {
            w["metadata"]["name"]: kueue.Workload.of(
                {**w, "metadata": {**w["metadata"], "uid": "u"}}
            )
            for w in workloads
        }
        # The next pass goes on where this one ended.
        seen = dataclasses.replace(seen, workloads={**seen.workloads, **stored})
        assert len(seen.workloads) == asked * waiting.MOST_NEW
