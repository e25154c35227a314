"""What the policies for pods cost an API server: `python -m tools.bench.guard`.

That is the one that guards pods, and the one that binds the controller. A pod is made (by somebody)
and released (by the controller) again and again by dry runs, with both policies and without the
binding of one after the other. What is printed is the difference in the API server's CPU. Each
round has all three, so that a machine that gets busier is no difference; the least of all rounds
counts, and the median stands beside it.
"""

import os
import statistics
import sys
from collections.abc import Callable
from typing import Any, Final

from lws_kueue_lab import manifests, sandbox
from lws_kueue_lab.bench import processes
from lws_kueue_lab.sandbox import client, process

from lws_kueue.api import names
from tests.kit.admission import support
from tests.kit.live import harness

REQUESTS: Final = 300
WARM_UP: Final = 30
ROUNDS: Final = 8
OWN: Final = "lws-kueue-own-pods"
GUARD: Final = "lws-kueue-guard-pods"
_BINDING: Final = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding")
_SET: Final = "measured"
_NAMESPACE: Final = "default"


def main() -> None:
    """Measure on a sandbox of its own and print what came of it."""
    options = sandbox.Options(nodes=0, audit_log=False)
    with sandbox.open(options=options) as cluster:
        if not isinstance(cluster, process.ProcessSandbox):
            sys.exit("only the API server of a sandbox of processes can be measured")
        api, server = cluster.api, cluster.processes()["kube-apiserver"]
        for obj in (*support.api_objects(), *manifests.manager_objects()):
            api.apply(obj, field_manager="lws-kueue-install")
        support.wait_for_kind(api, names.LWS_API_VERSION)
        support.wait_until_policies_are_active(api)
        releaser = client.Client(cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT))
        _of_default(api)
        # Whoever may admit is asked for last, so its requests go all the way.
        api.create(_pod(f"{_SET}-0"))
        refused: dict[str, Callable[[], object]] = {
            OWN: lambda: _patch(api, releaser, {"activeDeadlineSeconds": 1000}),
            GUARD: lambda: api.create(_pod(f"{_SET}-1", finalizers=["orphan"]), dry_run=True),
        }
        bindings = [api.get(*_BINDING, policy) for policy in refused]
        rounds = []
        for _ in range(ROUNDS):
            for binding in bindings:
                kept = {key: binding["metadata"][key] for key in ("name", "labels")}
                api.apply({**binding, "metadata": kept}, field_manager="lws-kueue-install")
            for policy, deed in refused.items():
                _await(policy, deed, acts=True)
            costs = [_cost(api, releaser, server)]
            for policy, deed in refused.items():
                api.delete(*_BINDING, policy)
                _await(policy, deed, acts=False)
                costs.append(_cost(api, releaser, server))
            rounds.append(costs)
    both, guard, none = zip(*rounds, strict=True)
    print(f"load {os.getloadavg()[0]:.1f}; {ROUNDS} rounds of {REQUESTS} pods")
    print(f"{_said(none)} a pod without both")
    print(f"{_said(guard, none)} more for {GUARD}")
    print(f"{_said(both, guard)} more for {OWN}")


def _said(costs: tuple[float, ...], without: tuple[float, ...] | None = None) -> str:
    """Say what the API server spent, or how much more than without something."""
    least, middle = (
        summed(costs) - (summed(without) if without else 0.0) for summed in (min, statistics.median)
    )
    return f"{least * 1e3:6.2f} ms (median {middle * 1e3:.2f} ms)"


def _of_default(api: client.Client) -> None:
    api.wait_for(
        "v1", "ServiceAccount", "default", lambda found: found is not None, namespace=_NAMESPACE
    )


def _pod(name: str, **meta: Any) -> dict[str, Any]:
    labels = {names.SET_NAME: _SET, names.WORKER_INDEX: "0"}
    marks = {names.SIZE: "1", names.POD_SUSPENDING_PARENT: names.OUR_SUSPENDING_PARENT}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": _NAMESPACE,
            "labels": labels,
            "annotations": marks,
            **meta,
        },
        "spec": {
            "containers": [{"name": "c", "image": harness.IMAGE}],
            "schedulingGates": [{"name": names.ADMISSION_GATE}],
        },
    }


def _await(policy: str, deed: Callable[[], object], *, acts: bool) -> None:
    """Wait until a policy refuses what it has to, or does so no longer."""

    def refuses() -> bool:
        try:
            deed()
        except client.ApiError:
            return True
        return False

    support.eventually(lambda: refuses() is acts, what=f"{policy} acts: {acts}")


def _patch(api: client.Client, releaser: client.Client, spec: dict[str, Any]) -> None:
    """Change the pod as the controller, as a dry run."""
    releaser.request(
        "PATCH",
        api.resource("v1", "Pod").path(namespace=_NAMESPACE, name=f"{_SET}-0"),
        query={"dryRun": "All"},
        body={"spec": spec},
        content_type="application/merge-patch+json",
    )


def _cost(api: client.Client, releaser: client.Client, server: int) -> float:
    # What an API server does once after a change of its policies is none of a pod's.
    _make_and_release(api, releaser, WARM_UP)
    before = processes.cpu_seconds(server)
    _make_and_release(api, releaser, REQUESTS)
    return (processes.cpu_seconds(server) - before) / REQUESTS


def _make_and_release(api: client.Client, releaser: client.Client, times: int) -> None:
    for _ in range(times):
        api.create(_pod(f"{_SET}-1"), dry_run=True)
        _patch(api, releaser, {"schedulingGates": None})


if __name__ == "__main__":
    main()
