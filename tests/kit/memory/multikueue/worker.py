"""A worker in memory: its LWS, and the bridge that lets pods of a group go, or stops them."""

from lws_kueue.api import names
from tests.kit.memory.kubernetes_model import MADE_FROM, Object, copied, true
from tests.kit.memory.multikueue import queue

GATES = {names.ADMISSION_GATE, names.TOPOLOGY_GATE}


class Worker(queue.Queue):
    """A cluster in which sets of one replica run; all pods of a group are one StatefulSet's."""

    def serve_sets(self) -> None:
        """Let LWS look at each set once."""
        for name, one in self.of_kind(names.LWS_KIND).items():
            if not one["metadata"].get("deletionTimestamp"):
                self._stateful_set(name, one)
            self._report(name, one)

    def _stateful_set(self, name: str, one: Object) -> None:
        group = one["spec"]["leaderWorkerTemplate"]
        template = copied(group["workerTemplate"])
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels |= {names.SET_NAME: name, names.WORKER_INDEX: "1"}
        spec = {
            "replicas": group["size"] * one["spec"]["replicas"],
            "template": template,
            "updateStrategy": {"rollingUpdate": {"partition": 0}},
        }
        live = self.objects.get(("StatefulSet", name))
        if live is not None and live["spec"] == spec:
            return
        if live is not None and live["metadata"].get("deletionTimestamp"):
            return
        meta = copied(live["metadata"]) if live else {"name": name}
        meta["ownerReferences"] = [
            {"kind": names.LWS_KIND, "name": name, "uid": one["metadata"]["uid"]}
        ]
        body = {"kind": "StatefulSet", "metadata": meta, "spec": spec}
        if live is not None:
            body["status"] = live.get("status") or {}
        self.store(body)

    def _report(self, name: str, one: Object) -> None:
        pods = self.pods_of(name)
        live = self.objects.get(("StatefulSet", name))
        newest = ((live or {}).get("status") or {}).get("updateRevision")
        size = one["spec"]["leaderWorkerTemplate"]["size"]
        new = [pod for pod in pods if pod["metadata"]["labels"].get(MADE_FROM) == newest]
        same = live is not None and self._same(live, one)
        updated = same and len(new) == len(pods) == size
        status = {
            "observedGeneration": one["metadata"]["generation"] if same else 0,
            "updatedReplicas": int(updated),
            "readyReplicas": int(updated and all(true(pod, "Ready") for pod in pods)),
        }
        if one.get("status") != status:
            one["status"] = status
            self.touch(one)

    def _same(self, live: Object, one: Object) -> bool:
        image = live["spec"]["template"]["spec"]["containers"]
        wanted = one["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"]
        return bool(image == wanted)

    def pods_of(self, name: str) -> list[Object]:
        pods = self.of_kind("Pod").values()
        return [pod for pod in pods if pod["metadata"]["labels"].get(names.SET_NAME) == name]

    def bridge(self) -> None:
        """Let pods go whose Workload is admitted, stop those whose is not, and give quota back.

        It trusts the Workload, and compares no pod with it: that is the manager's duty.
        """
        workloads = {
            one["metadata"]["annotations"].get(names.JOB_OWNER_NAME): one
            for one in self.of_kind("Workload").values()
        }
        for pod in list(self.of_kind("Pod").values()):
            self._bridge_pod(pod, workloads.get(pod["metadata"]["labels"][names.SET_NAME]))
        for name, one in workloads.items():
            stopped = not any(released(pod) for pod in self.pods_of(name))
            if true(one, "QuotaReserved") and true(one, "Evicted") and stopped:
                self.clear(one)

    def _bridge_pod(self, pod: Object, workload: Object | None) -> None:
        if released(pod):
            if not (workload and stands(workload)) and "deletionTimestamp" not in pod["metadata"]:
                self.delete("Pod", pod["metadata"]["name"], graceful=True)
            return
        behind = workload is not None and stands(workload)
        if behind and pod["spec"].get("schedulingGates"):
            pod["spec"] = {**pod["spec"], "schedulingGates": []}
            self.touch(pod)


def stands(workload: Object) -> bool:
    """Whether an admission stands behind a group's pods."""
    admitted = true(workload, "Admitted") and not true(workload, "Evicted")
    return admitted and bool(workload["spec"].get("active", True))


def released(pod: Object) -> bool:
    """Whether a pod runs, or can come to run without anybody letting it go."""
    held = {gate["name"] for gate in pod["spec"].get("schedulingGates") or ()}
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not (held & GATES or ended)
