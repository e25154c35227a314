"""Kubernetes in memory, as far as sets can see it: storage, StatefulSets, kubelets, collection.

The StatefulSet controller is that of v1.36 for sets whose pods are made all at once: a pod below
the partition comes from the template before, and without the gate MaxUnavailableStatefulSet one
outdated pod is replaced at a time, from the top down, while none above it is unavailable.
"""

import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from lws_kueue.api import names

Object = dict[str, Any]
NAMESPACE = "default"
MADE_FROM = "controller-revision-hash"
FOREGROUND = "foregroundDeletion"
HOSTNAME = "kubernetes.io/hostname"
_DELETED_AT = "2030-01-01T00:00:00Z"


def copied(value: Any) -> Any:
    """Return JSON as a value of its own: what ``deepcopy`` does, in a fraction of its time."""
    if isinstance(value, Mapping):
        return {key: copied(field) for key, field in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value


def conditions(obj: Object) -> Iterable[Object]:
    found: Iterable[Object] = (obj.get("status") or {}).get("conditions") or ()
    return found


def true(obj: Object, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in conditions(obj))


def available(pod: Object) -> bool:
    return true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]


def ordinal(name: str) -> int:
    return int(name.rpartition("-")[2])


def _written(owner: Object) -> list[Object]:
    """The managed fields of an object but for those of its status."""
    entries = owner["metadata"].get("managedFields") or ()
    return [entry for entry in entries if "subresource" not in entry]


class _Kept(NamedTuple):
    """A template of a StatefulSet as its controller keeps it, and since when."""

    name: str
    template: Object
    at: str


class Kubernetes:
    """All objects by kind and name, and what happens to them by itself.

    On ``lost_nodes`` no pod starts or ends any more, and pods whose names are in ``refused`` cannot
    be made.
    """

    def __init__(self, *, max_unavailable_gate: bool = False) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.unready: set[str] = set()
        self.lost_nodes: set[str] = set()
        self.refused: set[str] = set()
        self._gate = max_unavailable_gate
        self._templates: dict[str, list[_Kept]] = {}
        self._looked: dict[str, Object] = {}
        self._counter = 0

    def stamp(self) -> str:
        """The time at which something happens, as the API writes it."""
        return _DELETED_AT

    # Storage ------------------------------------------------------------------------------

    def _next(self) -> int:
        self._counter += 1
        return self._counter

    def store(self, obj: Object) -> None:
        """Create or replace an object as an API server would."""
        key = (obj["kind"], obj["metadata"]["name"])
        old = self.objects.get(key)
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self._next())
        meta["uid"] = old["metadata"]["uid"] if old else f"uid-{self._next()}"
        if old and "creationTimestamp" in old["metadata"]:
            meta["creationTimestamp"] = old["metadata"]["creationTimestamp"]
        meta.setdefault("namespace", NAMESPACE)
        if obj["kind"] == "StatefulSet":
            strategy = obj["spec"].setdefault("updateStrategy", {})
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("partition", 0)
            if not self._gate:
                rolling.pop("maxUnavailable", None)
            generation = old["metadata"]["generation"] if old else 0
            meta["generation"] = generation + (old is None or old["spec"] != obj["spec"])
        self.objects[key] = obj

    def of_kind(self, kind: str) -> dict[str, Object]:
        return {name: obj for (k, name), obj in self.objects.items() if k == kind}

    def touch(self, obj: Object) -> None:
        obj["metadata"]["resourceVersion"] = str(self._next())

    def delete(
        self, kind: str, name: str, *, graceful: bool = False, foreground: bool = False
    ) -> None:
        """Delete an object; a pod on a node that is deleted gracefully waits for its kubelet."""
        obj = self.objects.get((kind, name))
        if obj is None:
            return
        meta = obj["metadata"]
        first = "deletionTimestamp" not in meta
        if foreground and FOREGROUND not in meta.get("finalizers", ()):
            meta["finalizers"] = [*meta.get("finalizers", ()), FOREGROUND]
        meta.setdefault("deletionTimestamp", _DELETED_AT)
        runs = kind == "Pod" and bool(obj["spec"].get("nodeName"))
        if not (graceful and runs):
            meta["deletionGracePeriodSeconds"] = 0
        elif first:
            meta["deletionGracePeriodSeconds"] = 30
        self.touch(obj)
        self.let_go(obj)

    def let_go(self, obj: Object) -> None:
        """Remove an object that is deleted once nothing keeps it."""
        meta = obj["metadata"]
        if "deletionTimestamp" not in meta or meta.get("finalizers"):
            return
        if not meta.get("deletionGracePeriodSeconds"):
            self.objects.pop((obj["kind"], meta["name"]), None)

    # Garbage collection -------------------------------------------------------------------

    def collect_garbage(self) -> None:
        """Delete what lost its owners, and what is deleted in the foreground from below."""
        while self._collect_once():
            pass

    def _collect_once(self) -> bool:
        uids = {obj["metadata"]["uid"] for obj in self.objects.values()}
        children: dict[str, list[Object]] = {}
        before = self._counter
        for obj in list(self.objects.values()):
            references = obj["metadata"].get("ownerReferences") or ()
            for reference in references:
                children.setdefault(reference["uid"], []).append(obj)
            deleting = "deletionTimestamp" in obj["metadata"]
            if references and not deleting and all(r["uid"] not in uids for r in references):
                self.delete(obj["kind"], obj["metadata"]["name"], graceful=True)
        for obj in list(self.objects.values()):
            meta = obj["metadata"]
            if FOREGROUND not in meta.get("finalizers", ()):
                continue
            left = children.get(meta["uid"], ())
            for child in left:
                if "deletionTimestamp" not in child["metadata"]:
                    foreground = child["kind"] != "Pod"
                    name = child["metadata"]["name"]
                    self.delete(child["kind"], name, graceful=True, foreground=foreground)
            if not left:
                meta["finalizers"] = [f for f in meta["finalizers"] if f != FOREGROUND]
                self.touch(obj)
                self.let_go(obj)
        return self._counter != before

    # Kubelets -----------------------------------------------------------------------------

    def run_pods(self, only: Collection[str] | None = None) -> None:
        """Let pods that nothing holds run and be ready, unless they were made ``unready``."""
        for name, pod in self.of_kind("Pod").items():
            held = pod["spec"].get("schedulingGates") or "deletionTimestamp" in pod["metadata"]
            ready = pod["metadata"]["uid"] not in self.unready
            same = pod["status"]["phase"] == "Running" and true(pod, "Ready") == ready
            if held or same or (only is not None and name not in only):
                continue
            node = (pod["spec"].get("nodeSelector") or {}).get(HOSTNAME, "node-0")
            if node in self.lost_nodes:
                continue
            pod["spec"] = {**pod["spec"], "nodeName": node}
            ready_condition = {"type": "Ready", "status": str(ready)}
            pod["status"] = {"phase": "Running", "conditions": [ready_condition]}
            self.touch(pod)
        for owner in self.of_kind("StatefulSet").values():
            self._count(owner, {**owner, **self._looked.get(owner["metadata"]["uid"], {})})

    def end_pods(self) -> None:
        """Let pods that are being deleted gracefully come to their end."""
        for pod in self.of_kind("Pod").values():
            meta = pod["metadata"]
            if pod["spec"].get("nodeName") in self.lost_nodes:
                continue
            if meta.get("deletionGracePeriodSeconds"):
                meta["deletionGracePeriodSeconds"] = 0
                if pod["status"]["phase"] == "Running":
                    pod["status"] = {"phase": "Succeeded", "conditions": []}
                self.touch(pod)
                self.let_go(pod)

    # StatefulSets -------------------------------------------------------------------------

    def make_pods(self, *, late: bool = False) -> None:
        """Let the StatefulSet controller look at each StatefulSet once.

        ``late`` says that it has not heard of changes since it looked last, but of pods.
        """
        for name in sorted(self.of_kind("StatefulSet")):
            owner = self.objects["StatefulSet", name]
            meta = owner["metadata"]
            seen = self._looked.get(meta["uid"]) if late else None
            if seen is None:
                seen = self._looked[meta["uid"]] = {"metadata": dict(meta), "spec": owner["spec"]}
            view = {**owner, **seen}
            if "deletionTimestamp" not in meta:
                self._scale(view)
                self._roll(view)
            self._count(owner, view)

    def _pods_of(self, owner: Object) -> dict[int, Object]:
        uid = owner["metadata"]["uid"]
        return {
            ordinal(name): pod
            for (kind, name), pod in self.objects.items()
            if kind == "Pod" and pod["metadata"]["ownerReferences"][0]["uid"] == uid
        }

    def _ordinals(self, owner: Object) -> range:
        start = (owner["spec"].get("ordinals") or {}).get("start", 0)
        return range(start, start + owner["spec"]["replicas"])

    def _revisions(self, owner: Object) -> tuple[_Kept, _Kept]:
        """Return the current and the update revision; a template that comes back keeps its own."""
        meta, template = owner["metadata"], owner["spec"]["template"]
        history = self._templates.setdefault(meta["uid"], [])
        found = next((one for one in history if one.template == template), None)
        if found is None:
            at = self._after(history[-1].at) if history else self.stamp()
            found = _Kept(f"{meta['name']}-{len(history)}", copied(template), at)
            history.append(found)
        current = (owner.get("status") or {}).get("currentRevision", found.name)
        return next(one for one in history if one.name == current), found

    def _after(self, earlier: str) -> str:
        """Return the time, or a second after an earlier one: the API writes whole seconds."""
        later = datetime.datetime.fromisoformat(earlier) + datetime.timedelta(seconds=1)
        return max(self.stamp(), later.strftime("%Y-%m-%dT%H:%M:%SZ"))

    def has_looked_at(self, owner: Object) -> bool:
        """Whether the StatefulSet controller has looked at a StatefulSet, and kept its template."""
        return bool(self._templates.get(owner["metadata"]["uid"]))

    def kept_templates(self) -> dict[str, Object]:
        """Return the ControllerRevisions of StatefulSets by name, in the order of their creation.

        They are no part of ``objects``: nobody but the StatefulSet controller writes them.
        """
        found: dict[str, Object] = {}
        for owner in self.of_kind("StatefulSet").values():
            uid = owner["metadata"]["uid"]
            reference = {"kind": "StatefulSet", "name": owner["metadata"]["name"]}
            for number, kept in enumerate(self._templates.get(uid, ())):
                found[kept.name] = {
                    "metadata": {
                        "name": kept.name,
                        "resourceVersion": f"{uid}-{number}",
                        "creationTimestamp": kept.at,
                        "labels": kept.template["metadata"]["labels"],
                        "ownerReferences": [{**reference, "uid": uid, "controller": True}],
                    },
                    "data": {"spec": {"template": kept.template}},
                    "revision": number + 1,
                }
        return found

    def _scale(self, owner: Object) -> None:
        mine, wanted = self._pods_of(owner), self._ordinals(owner)
        current, update = self._revisions(owner)
        protected = wanted.start + owner["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
        for index in wanted:
            name = f"{owner['metadata']['name']}-{index}"
            if ("Pod", name) not in self.objects and name not in self.refused:
                self.store(_pod(owner, name, current if index < protected else update))
        for index in sorted(set(mine) - set(wanted), reverse=True):
            if "deletionTimestamp" not in mine[index]["metadata"]:
                self.delete("Pod", mine[index]["metadata"]["name"], graceful=True)

    def _roll(self, owner: Object) -> None:
        """Replace outdated pods from the top down to the partition."""
        mine, wanted = self._pods_of(owner), self._ordinals(owner)
        rolling = owner["spec"]["updateStrategy"]["rollingUpdate"]
        update = self._revisions(owner)[1].name
        budget = 1
        if self._gate:
            down = sum(index not in mine or not available(mine[index]) for index in wanted)
            budget = rolling.get("maxUnavailable", 1) - down
        for index in reversed(wanted):
            if index - wanted.start < rolling["partition"] or budget <= 0:
                return
            pod = mine.get(index)
            outdated = pod is not None and pod["metadata"]["labels"][MADE_FROM] != update
            if pod is not None and outdated and "deletionTimestamp" not in pod["metadata"]:
                self.replacing(pod)
                self.delete("Pod", pod["metadata"]["name"], graceful=True)
                budget -= 1
            elif not self._gate and (pod is None or not available(pod)):
                return

    def replacing(self, pod: Object) -> None:
        """Look at a pod that the StatefulSet controller is about to replace; to be overridden."""

    def _count(self, owner: Object, view: Object) -> None:
        mine = list(self._pods_of(view).values())
        current, update = (revision.name for revision in self._revisions(view))
        ready, replicas = sum(true(pod, "Ready") for pod in mine), view["spec"]["replicas"]
        updated = sum(
            pod["metadata"]["labels"][MADE_FROM] == update
            and "deletionTimestamp" not in pod["metadata"]
            for pod in mine
        )
        done = updated == ready == len(mine) == replicas
        status = {
            "observedGeneration": view["metadata"]["generation"],
            "replicas": len(mine),
            "availableReplicas": ready,
            "readyReplicas": ready,
            "currentRevision": update if done else current,
            "updateRevision": update,
        }
        if owner.get("status") != status:
            owner["status"] = status
            told = {"manager": "kcm", "subresource": "status", "time": self.stamp()}
            owner["metadata"]["managedFields"] = [*_written(owner), told]
            self.touch(owner)


def _pod(owner: Object, name: str, revision: _Kept) -> Object:
    """Return a pod as the StatefulSet controller makes it and the identity policy completes it."""
    template = copied(revision.template)
    labels, index = template["metadata"]["labels"], name.rpartition("-")[2]
    labels[MADE_FROM] = revision.name
    meta = owner["metadata"]
    if labels.get(names.WORKER_INDEX) == "0":
        labels[names.GROUP_INDEX] = index
        labels[names.GROUP_KEY] = f"{meta['uid']}-{index}"
    else:
        labels[names.WORKER_INDEX] = index
    marks = template["metadata"].get("annotations") or {}
    if marks.get(names.POD_SUSPENDING_PARENT) == names.KUEUE_LWS_FRAMEWORK:
        template["spec"]["schedulingGates"] = [{"name": names.ADMISSION_GATE}]
    reference = {
        "kind": "StatefulSet",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": name, "ownerReferences": [reference]},
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    }
