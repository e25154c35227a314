"""What a set that was taken over has to be able to do afterwards."""

from typing import Any

from lws_kueue_lab import sandbox

from lws_kueue.api import names
from lws_kueue.controller.revision import revisions
from tests.kit.live import harness

Object = dict[str, Any]

_TIMEOUT_SECONDS = 180.0


def grows(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> int:
    """Scaling up adds a group, whose index is returned, and leaves those that are there alone."""
    before = _uids(cluster, namespace)
    replicas = _spec(cluster, name, namespace=namespace)["replicas"]
    harness.scale(cluster, name, namespace=namespace, replicas=replicas + 1)
    wait_settled(cluster, name, namespace=namespace)
    after = _uids(cluster, namespace)
    assert before.items() < after.items()
    return int(replicas)


def changes(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> None:
    """A change of the template replaces every group, and one revision is left."""
    before = _uids(cluster, namespace)
    annotations = {"example.com/version": "3"}
    change_template(cluster, name, namespace=namespace, annotations=annotations)
    wait_settled(cluster, name, namespace=namespace)
    # The pods of a surge end after the set is settled.
    after = harness.wait_pods(
        cluster,
        lambda seen: sorted(seen) == sorted(before),
        namespace=namespace,
        what=f"the pods of {name} are as many as before",
    )
    assert all(pod["metadata"]["uid"] != before[name] for name, pod in after.items())
    left = wait_for_one_revision(cluster, name, namespace=namespace)
    key = left["metadata"]["labels"][names.REVISION_KEY]
    assert key == revisions.key_of(left["data"])
    assert {pod["metadata"]["labels"][names.REVISION_KEY] for pod in after.values()} == {key}


def change_template(
    cluster: sandbox.Sandbox, name: str, *, namespace: str, annotations: dict[str, str]
) -> None:
    """Change the templates of a set by annotations of its pods."""
    template = {"metadata": {"annotations": annotations}}
    both = dict.fromkeys(_templates(cluster, name, namespace=namespace), template)
    cluster.api.patch(
        names.LWS_API_VERSION,
        names.LWS_KIND,
        name,
        namespace=namespace,
        body={"spec": {"leaderWorkerTemplate": both}},
    )


def restarts(cluster: sandbox.Sandbox, name: str, *, namespace: str, victim: str) -> None:
    """A pod that is deleted takes its group with it, which comes back; the others stay."""
    before = harness.pods(cluster, namespace=namespace)
    group = before[victim]["metadata"]["labels"][names.GROUP_INDEX]
    gone = {
        name: pod["metadata"]["uid"]
        for name, pod in before.items()
        if pod["metadata"]["labels"][names.GROUP_INDEX] == group
    }
    cluster.api.delete("v1", "Pod", victim, namespace=namespace)
    harness.wait_pods(
        cluster,
        lambda seen: (
            sorted(seen) == sorted(before)
            and all(seen[name]["metadata"]["uid"] != uid for name, uid in gone.items())
            and all(harness.is_ready(pod) for pod in seen.values())
        ),
        namespace=namespace,
        what=f"group {group} made anew",
        timeout=_TIMEOUT_SECONDS,
    )
    wait_settled(cluster, name, namespace=namespace)
    after = _uids(cluster, namespace)
    kept = {name: pod["metadata"]["uid"] for name, pod in before.items() if name not in gone}
    assert kept
    assert kept.items() <= after.items()


def wait_for_one_revision(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> Object:
    """Wait until the set has a single revision, as LWS finds them, and return it."""

    def own(seen: dict[str, Object]) -> list[Object]:
        return [
            revision
            for revision in seen.values()
            if revision["metadata"]["ownerReferences"][0]["kind"] == names.LWS_KIND
            # One that is kept to go back to has no name of a set there.
            and revision["metadata"]["labels"][names.SET_NAME] == name
        ]

    seen = cluster.api.wait_for_all(
        "apps/v1",
        "ControllerRevision",
        lambda found: len(own(dict(found))) == 1,
        namespace=namespace,
        what=f"one revision of {name}",
    )
    return own(seen)[0]


def wait_settled(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> None:
    """Wait until all groups are at the newest revision and ready, for the spec as it is now."""

    def settled(found: Object | None) -> bool:
        status = (found or {}).get("status", {})
        return bool(
            found
            and status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("readyReplicas", 0) == found["spec"]["replicas"]
            and status.get("updatedReplicas", 0) == found["spec"]["replicas"]
            and (harness.condition(found, "Available") or {}).get("status") == "True"
        )

    cluster.api.wait_for(
        names.LWS_API_VERSION,
        names.LWS_KIND,
        name,
        settled,
        namespace=namespace,
        what=f"{name} settled",
        timeout=_TIMEOUT_SECONDS,
    )


def _templates(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> list[str]:
    template = _spec(cluster, name, namespace=namespace)["leaderWorkerTemplate"]
    return [part for part in ("leaderTemplate", "workerTemplate") if part in template]


def _spec(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> Object:
    found = cluster.api.get(names.LWS_API_VERSION, names.LWS_KIND, name, namespace=namespace)
    return dict(found["spec"])


def _uids(cluster: sandbox.Sandbox, namespace: str) -> dict[str, str]:
    pods = harness.pods(cluster, namespace=namespace)
    return {name: pod["metadata"]["uid"] for name, pod in pods.items()}
