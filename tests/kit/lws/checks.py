"""The composite checks ACC-1 to ACC-6 on the API (lws-contract 6.0).

Each function reads what exists now and fails if it is not as the check says. Things need a moment
to become so; `eventually` tries a check until it passes.
"""

from typing import Any

from lws_kueue.api import names
from lws_kueue.controller.revision import revisions as keys
from tests.kit import polling
from tests.kit.live import harness
from tests.kit.lws.sample import Object, Sample, Stage, group_of

# Conditions and what they say (lws-contract 1.5).
MESSAGES = {
    "Available": "All replicas are ready",
    "Progressing": "Replicas are progressing",
    "UpdateInProgress": "Rolling Upgrade is in progress",
}
_EXCLUSIVE = (names.EXCLUSIVE_TOPOLOGY, names.SUBGROUP_EXCLUSIVE_TOPOLOGY)

eventually = polling.eventually


def revision_key(obj: Object) -> str:
    """Return the revision key of a set as it is stored."""
    return keys.key_of(keys.data_of_spec(obj["spec"]))


def leader_set(sample: Sample, *, replicas: int) -> None:
    """ACC-1: the leader StatefulSet is valid and has ``replicas`` groups."""
    obj, found = sample.get(), sample.leader_set()
    spec, pod = found["spec"], found["spec"]["template"]
    labels, annotations = found["metadata"]["labels"], pod["metadata"]["annotations"]
    identity = {names.SET_NAME: sample.name, names.WORKER_INDEX: "0"}
    key = revision_key(obj)
    assert labels[names.SET_NAME] == sample.name
    assert labels[names.REVISION_KEY] == key
    assert found["metadata"]["annotations"][names.REPLICAS] == str(obj["spec"]["replicas"])
    assert pod["metadata"]["labels"] == identity | {names.REVISION_KEY: key}
    assert annotations[names.SIZE] == str(obj["spec"]["leaderWorkerTemplate"]["size"])
    _same_annotations(obj, annotations, _EXCLUSIVE)
    assert spec["serviceName"] == sample.name
    assert spec["replicas"] == replicas
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["selector"] == {"matchLabels": identity}
    assert _first_container(pod) == _first_container(_leader_template(obj))


def left_version(sample: Sample, version: str, *, groups: tuple[int, ...]) -> None:
    """The leaders of some groups are there, and were not made from a version of the templates."""
    pods = sample.pods()
    for group in groups:
        pod = pods[f"{sample.name}-{group}"]
        assert "deletionTimestamp" not in pod["metadata"]
        variables = pod["spec"]["containers"][0].get("env") or ()
        assert {"name": "VERSION", "value": version} not in variables


def worker_sets(sample: Sample) -> None:
    """ACC-2: there is one worker StatefulSet for each group, and each is valid."""
    obj, found = sample.get(), sample.worker_sets()
    size = obj["spec"]["leaderWorkerTemplate"]["size"]
    groups = sample.leader_set()["spec"]["replicas"] if size > 1 else 0
    assert sorted(found) == list(range(groups))
    for worker_set in found.values():
        _worker_set(obj, worker_set)


def no_worker_sets(sample: Sample) -> None:
    """ACC-2 while leaders of exclusive groups have no node: only the leader StatefulSet exists."""
    assert sorted(sample.stateful_sets()) == [sample.name]


def _worker_set(obj: Object, found: Object) -> None:
    name, spec = found["metadata"]["name"], found["spec"]
    template = obj["spec"]["leaderWorkerTemplate"]
    pod = spec["template"]
    for labels in (found["metadata"]["labels"], pod["metadata"]["labels"]):
        assert labels[names.SET_NAME] == obj["metadata"]["name"]
        assert labels[names.GROUP_INDEX] == str(group_of(name))
        assert labels[names.GROUP_KEY]
        assert labels[names.REVISION_KEY] == revision_key(obj)
    annotations = pod["metadata"]["annotations"]
    assert annotations[names.SIZE] == str(template["size"])
    assert annotations[names.LEADER_NAME] == name
    _same_annotations(obj, annotations, _EXCLUSIVE[:1])
    assert spec["replicas"] == template["size"] - 1
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["ordinals"] == {"start": 1}
    assert _first_container(pod) == _first_container(template["workerTemplate"])


def services(sample: Sample, *, count: int) -> None:
    """ACC-3: the namespace has ``count`` Services, which are those of the set's policy."""
    obj, found = sample.get(), sample.services()
    assert len(found) == count, sorted(found)
    for service in found.values():
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is True
    selector = {names.SET_NAME: sample.name}
    if obj["spec"]["networkConfig"]["subdomainPolicy"] == "Shared":
        _service(found[sample.name], owner=sample.name, selector=selector)
        return
    for group in range(obj["spec"]["replicas"]):
        name = f"{sample.name}-{group}"
        of_group = selector | {names.GROUP_INDEX: str(group)}
        _service(found[name], owner=name, selector=of_group)


def _service(found: Object, *, owner: str, selector: dict[str, str]) -> None:
    assert found["metadata"]["ownerReferences"][0]["name"] == owner
    assert found["spec"]["selector"] == selector


def pods(sample: Sample) -> None:
    """ACC-4: exactly the pods of all groups carry the current key, each of its own template."""
    obj = sample.get()
    template = obj["spec"]["leaderWorkerTemplate"]
    key = revision_key(obj)
    current = [
        pod
        for pod in sample.pods().values()
        if pod["metadata"]["labels"].get(names.REVISION_KEY) == key
    ]
    assert len(current) == obj["spec"]["replicas"] * template["size"]
    for pod in current:
        leads = pod["metadata"]["labels"][names.WORKER_INDEX] == "0"
        expected = _leader_template(obj) if leads else template["workerTemplate"]
        wanted = [container["name"] for container in expected["spec"]["containers"]]
        assert [container["name"] for container in pod["spec"]["containers"]] == wanted


def condition(sample: Sample, kind: str, *, status: str = "True") -> None:
    """ACC-5: a condition has a status, its type's message, and the generation of the set."""
    condition_of(sample.get(), kind, status=status)


def condition_of(obj: Object, kind: str, *, status: str = "True") -> None:
    """ACC-5, for a set as it was read."""
    found = harness.condition(obj, kind)
    assert found is not None, f"no condition {kind}"
    shown = (found["status"], found["message"], found["observedGeneration"])
    assert shown == (status, MESSAGES[kind], obj["metadata"]["generation"])


def revisions(sample: Sample, *, count: int) -> None:
    """ACC-6: the set has ``count`` revisions; one has the leader set's key and what is live."""
    obj, found = sample.get(), sample.revisions()
    assert len(found) == count, [revision["metadata"]["name"] for revision in found]
    key = sample.leader_set()["metadata"]["labels"][names.REVISION_KEY]
    data = keys.data_of_spec(obj["spec"])
    current = [r for r in found if r["metadata"]["labels"][names.REVISION_KEY] == key]
    assert [revision["data"] for revision in current] == [data]


def stage(sample: Sample, *, expected: Stage) -> None:
    """A rollout is at a stage: partition, replicas, ready and updated groups (lws-contract 4.4)."""
    assert sample.stage() == expected


def event(sample: Sample, reason: str, text: str) -> None:
    """There is an event on the set with exactly this reason and text."""
    assert (reason, text) in sample.events()


def _same_annotations(obj: Object, found: Object, keys_of: tuple[str, ...]) -> None:
    wanted = obj["metadata"].get("annotations") or {}
    for key in keys_of:
        assert found.get(key) == wanted.get(key), key


def _leader_template(obj: Object) -> Any:
    template = obj["spec"]["leaderWorkerTemplate"]
    return template.get("leaderTemplate") or template["workerTemplate"]


def _first_container(template: Object) -> str:
    return str(template["spec"]["containers"][0]["name"])
