"""The manager's cluster in memory: the user's set, its gated leaders, and their Workloads.

The set's own controller is played here: one leader StatefulSet, one Workload a group. What becomes
of the groups in other clusters is the product's part.
"""

from typing import Any

from lws_kueue.api import facts, lws, names
from lws_kueue.workload import build, naming, recreate
from tests.kit.memory.kubernetes_model import Object, copied, true
from tests.kit.memory.multikueue import queue

SET = "sample"
CHECK = "dispatch"
_ASKED = build.Options(topology=False)
_MADE = build.Options()


class Manager(queue.Queue):
    """A cluster with one set, whose groups run elsewhere."""

    def __init__(
        self,
        clock: queue.Clock,
        *,
        quota: int,
        replicas: int,
        size: int,
        annotations: Object | None = None,
    ) -> None:
        """``annotations`` are those of the set, whenever it is made."""
        super().__init__("m", clock, quota=quota, check=CHECK)
        self.size = size
        self.annotations = dict(annotations or {})
        self.revisions: dict[str, Object] = {}
        self._contents: dict[tuple[str, str], recreate.Content] = {}
        self.create(replicas)

    # The user -----------------------------------------------------------------------------

    def create(self, replicas: int) -> None:
        labels = {names.QUEUE_NAME: "queue"}
        meta = {"name": SET, "labels": labels, "annotations": dict(self.annotations)}
        kind = {"apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND}
        self.store({**kind, "metadata": meta, "spec": self._spec(replicas, 1, 1, self.size)})

    def _spec(self, replicas: int, image: int, cpu: int, size: int) -> Object:
        container: dict[str, Any] = {
            "name": "c",
            "image": f"app:{image}",
            "resources": {"requests": {"cpu": str(cpu)}},
        }
        template = {"metadata": {}, "spec": {"containers": [container]}}
        group = {"size": size, "workerTemplate": template}
        return {"replicas": replicas, "leaderWorkerTemplate": group}

    @property
    def live(self) -> Object | None:
        return self.objects.get((names.LWS_KIND, SET))

    @property
    def replicas(self) -> int:
        live = self.live
        return 0 if live is None else int(live["spec"]["replicas"])

    def edit(self, *, replicas: int | None = None, image: int | None = None, cpu: int = 0) -> None:
        live = self.live
        if live is None:
            return
        spec = live["spec"]
        if replicas is not None:
            spec["replicas"] = replicas
        template = copied(spec["leaderWorkerTemplate"])
        container = template["workerTemplate"]["spec"]["containers"][0]
        if image is not None:
            container["image"] = f"app:{image}"
        if cpu:
            container["resources"]["requests"]["cpu"] = str(cpu)
        spec["leaderWorkerTemplate"] = template
        live["metadata"]["generation"] += 1
        self.touch(live)

    def annotate(self, key: str, value: str | None) -> None:
        """Give the set an annotation, or take it off."""
        live = self.live
        if live is None:
            return
        annotations = live["metadata"]["annotations"]
        annotations.pop(key, None)
        if value is not None:
            annotations[key] = value
        self.touch(live)

    # The controller of the set ------------------------------------------------------------

    def control(self) -> None:
        """Let the set's own controller look at it once."""
        live = self.live
        if live is None:
            leaders = self.objects.get(("StatefulSet", SET))
            if leaders is not None and "deletionTimestamp" not in leaders["metadata"]:
                self.delete("StatefulSet", SET, foreground=True)
            return
        template = live["spec"]["leaderWorkerTemplate"]
        key = self._key(template)
        self._leaders(live, key)
        for pod in list(self.of_kind("Pod").values()):
            index = int(pod["metadata"]["labels"][names.GROUP_INDEX])
            if index < self.replicas and not pod["metadata"].get("deletionTimestamp"):
                self._workload(index, pod)

    def _key(self, template: Object) -> str:
        for key, known in self.revisions.items():
            if known == template:
                return key
        key = f"k{len(self.revisions) + 1}"
        self.revisions[key] = copied(template)
        return key

    def _leaders(self, live: Object, key: str) -> None:
        labels = {
            names.SET_NAME: SET,
            names.WORKER_INDEX: "0",
            names.REVISION_KEY: key,
        }
        gates = [{"name": names.ADMISSION_GATE}, {"name": "lws-kueue.dev/dispatched"}]
        spec = {
            "replicas": live["spec"]["replicas"],
            "template": {"metadata": {"labels": labels}, "spec": {"schedulingGates": gates}},
            "updateStrategy": {"rollingUpdate": {"partition": 0}},
        }
        old = self.objects.get(("StatefulSet", SET))
        owner = {"kind": names.LWS_KIND, "name": SET, "uid": live["metadata"]["uid"]}
        if old is not None:
            mine = old["metadata"]["ownerReferences"][0]["uid"] == owner["uid"]
            if not mine or old["metadata"].get("deletionTimestamp"):
                self.delete("StatefulSet", SET, foreground=True)
                return
            if old["spec"] == spec:
                return
        meta = copied(old["metadata"]) if old else {"name": SET, "ownerReferences": [owner]}
        body = {"kind": "StatefulSet", "metadata": meta, "spec": spec}
        if old is not None:
            body["status"] = old.get("status") or {}
        self.store(body)

    def content(self, key: str) -> recreate.Content | None:
        live = self.live
        if live is None or key not in self.revisions:
            return None
        uid = live["metadata"]["uid"]
        if (uid, key) not in self._contents:
            body = copied(live)
            body["spec"]["leaderWorkerTemplate"] = copied(self.revisions[key])
            owner = lws.LeaderWorkerSet.of(body)
            self._contents[uid, key] = recreate.content(owner, key, options=_MADE)
        return self._contents[uid, key]

    def _workload(self, index: int, pod: Object) -> None:
        content = self.content(pod["metadata"]["labels"][names.REVISION_KEY])
        live = self.live
        if content is None or live is None:
            return
        meta = facts.Meta.of(live)
        name = naming.of_group(meta, index)
        body = build.workload(content.owner, index, classes=build.PriorityClasses(), options=_ASKED)
        assert isinstance(body, dict)
        old = self.objects.get(("Workload", name))
        if old is None:
            self.store(copied(body))
        elif _asked(old) != _asked(body) and not old["metadata"].get("deletionTimestamp"):
            if true(old, "QuotaReserved"):
                self.delete("Workload", name)
            else:
                old["spec"]["podSets"] = copied(body["spec"]["podSets"])
                self.touch(old)


def _asked(workload: Object) -> Any:
    return [
        (one["count"], queue.cpus(one["template"]["spec"])) for one in workload["spec"]["podSets"]
    ]
