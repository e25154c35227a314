"""Who may edit a namespace and sets, and a judge of what runs there."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import facts, names, quantity, requests
from tests.kit.admission import support
from tests.kit.kueue import queued
from tests.kit.live import harness

Object = dict[str, Any]

GUARDS: Final = tuple(
    f"lws-kueue-guard-{what}" for what in ("pods", "statefulsets", "sets", "scale")
)
SET: Final = "serve"
CPU: Final = "100m"
POLICIES: Final = "admissionregistration.k8s.io/v1"
RBAC: Final = "rbac.authorization.k8s.io"
POD: Final = ("v1", "Pod")
STATEFUL_SET: Final = ("apps/v1", "StatefulSet")

# For so long what runs has to be admitted at every look, once it is.
STEADY: Final = 3.0
TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Intruder:
    """The rights of `edit`, of the set editor, and to resize, in one namespace."""

    cluster: sandbox.Sandbox
    api: client.Client
    namespace: str
    guarded: bool

    @classmethod
    def let_in(cls, cluster: sandbox.Sandbox, namespace: str, *, guarded: bool) -> "Intruder":
        """Give the default service account of a namespace these rights."""
        resize = {"apiGroups": [""], "resources": ["pods/resize"], "verbs": ["patch"]}
        role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole"}
        cluster.api.apply({**role, "metadata": {"name": "e2e-resize"}, "rules": [resize]})
        for name in ("edit", "e2e-resize"):
            cluster.api.create(
                {
                    "apiVersion": f"{RBAC}/v1",
                    "kind": "RoleBinding",
                    "metadata": {"name": name, "namespace": namespace},
                    "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
                    "subjects": [
                        {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
                    ],
                }
            )
        kubeconfig = cluster.service_account_kubeconfig(namespace, "default")
        return cls(cluster, client.Client(kubeconfig), namespace, guarded)

    # The set ----------------------------------------------------------------------------------

    def make(
        self,
        *,
        quota: str,
        replicas: int = 1,
        size: int = 2,
        change: Callable[[Object], None] = lambda body: None,
        **spec: Any,
    ) -> queued.Queued:
        """Make a set in a queue with so much quota, as the intruder, with a ``change`` to it."""
        queue = harness.queues(self.cluster, namespace=self.namespace, cpu=quota)
        body = harness.leader_worker_set(
            SET,
            namespace=self.namespace,
            replicas=replicas,
            size=size,
            queue=queue,
            cpu=CPU,
            **spec,
        )
        change(body)
        self.api.create(body)
        return queued.Queued(self.cluster, self.namespace, SET)

    @contextlib.contextmanager
    def wanted(self, label: str) -> Iterator[dict[str, str]]:
        """Have all sets of the namespace carry a label, which is given back; nobody else knows."""
        policy = f"wanted-{self.namespace}"
        rule = {"apiGroups": [names.LWS_GROUP], "apiVersions": ["*"], "resources": ["*"]}
        here = {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}
        says = {
            "expression": f"'{label}' in object.metadata.?labels.orValue({{}})",
            "message": f"metadata.labels: the label {label} is missing",
        }
        made: list[tuple[str, Object]] = [
            (
                "ValidatingAdmissionPolicy",
                {
                    "matchConstraints": {
                        "resourceRules": [{**rule, "operations": ["CREATE"]}],
                        "namespaceSelector": here,
                    },
                    "validations": [says],
                },
            ),
            (
                "ValidatingAdmissionPolicyBinding",
                {"policyName": policy, "validationActions": ["Deny"]},
            ),
        ]
        for kind, spec in made:
            meta = {"name": policy}
            self.cluster.api.create(
                {"apiVersion": POLICIES, "kind": kind, "metadata": meta, "spec": spec}
            )
        without = harness.leader_worker_set("without", namespace=self.namespace)

        def acts() -> bool:
            try:
                self.api.create(without, dry_run=True)
            except client.ApiError:
                return True
            return False

        support.eventually(acts, what=f"sets have to have the label {label}")
        try:
            yield {label: "some"}
        finally:
            for kind, _ in reversed(made):
                self.cluster.api.delete(POLICIES, kind, policy)

    def smuggled(self, name: str, *, like: Mapping[str, Any] | None = None, **spec: Any) -> Object:
        """Return a pod as if it were one of the set."""
        marks = {names.POD_SUSPENDING_PARENT: names.OUR_SUSPENDING_PARENT, names.SIZE: "1"}
        labels = {names.SET_NAME: SET, names.WORKER_INDEX: "0"}
        container = {"name": "c", "image": harness.IMAGE, "resources": {"requests": {"cpu": CPU}}}
        meta: Object = {"name": name, "namespace": self.namespace}
        meta |= {"labels": labels, "annotations": marks} | dict(like or {})
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta,
            "spec": {"containers": [container], **spec},
        }

    # What it tries ----------------------------------------------------------------------------

    def tries(self, deed: Callable[[], Any]) -> bool:
        """Do what must not have an effect; returns whether the API server took it.

        Where the guard is there it refuses, and says so in words.
        """
        try:
            deed()
        except client.ApiError as error:
            if self.guarded and "lws-kueue-guard" in str(error):
                return False
            # What was stopped because of the deed before this one may be gone already.
            if not self.guarded and error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        assert not self.guarded, "the guard let it happen"
        return True

    def patch(
        self, kind: tuple[str, str], name: str, body: Object, *, subresource: str = ""
    ) -> Object:
        """Patch an object as `kubectl edit` does, again where another write came first."""
        return self.api.patch(
            *kind, name, namespace=self.namespace, body=body, subresource=subresource
        )

    def open_gate(self, name: str) -> bool:
        """Take the gates off a pod."""
        return self.tries(lambda: self.patch(POD, name, {"spec": {"schedulingGates": None}}))

    def mark(self, name: str, **metadata: Any) -> bool:
        """Write labels or annotations of a pod."""
        return self.tries(lambda: self.patch(POD, name, {"metadata": metadata}))

    def edit_template(self, name: str, change: Callable[[Object], None]) -> bool:
        """Change the pod template of a StatefulSet."""
        template = self.api.get(*STATEFUL_SET, name, namespace=self.namespace)["spec"]["template"]
        change(template)
        return self.tries(lambda: self.patch(STATEFUL_SET, name, {"spec": {"template": template}}))

    # The judge --------------------------------------------------------------------------------

    def bound(self) -> int:
        """Return the CPU, in thousandths, that pods on nodes request which nobody has stopped."""
        pods = [facts.Pod.of(one) for one in self.cluster.api.list(*POD, namespace=self.namespace)]
        runs = [pod for pod in pods if pod.node and not pod.finished and not pod.meta.deleting]
        return sum(requests.of_pod(pod.spec).get("cpu", 0) for pod in runs)

    def admitted(self) -> int:
        """Return the CPU, in thousandths, that Kueue has admitted."""
        found = self.cluster.api.list(*queued.WORKLOAD, namespace=self.namespace)
        return sum(
            quantity.parse("cpu", one["resourceUsage"]["cpu"])
            for workload in found
            if queued.is_true(workload, "Admitted")
            and not queued.is_true(workload, "Evicted")
            and not queued.is_true(workload, "Finished")
            for one in workload["status"]["admission"]["podSetAssignments"]
        )

    def wait_within(self) -> None:
        """Wait until no more runs than is admitted, and stays so."""
        deadline, since, seen = time.monotonic() + TIMEOUT, None, (0, 0)
        while time.monotonic() < deadline:
            # What is admitted is read first and last, because both change meanwhile.
            before = self.admitted()
            seen = self.bound(), max(before, self.admitted())
            if seen[0] > seen[1]:
                since = None
            elif since is None:
                since = time.monotonic()
            elif time.monotonic() - since >= STEADY:
                return
            time.sleep(0.1)
        raise AssertionError(f"{seen[0]}m run, {seen[1]}m are admitted")
