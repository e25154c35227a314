"""A manager and its worker clusters: the rights on both sides, and what names one to the other.

For dispatch by group, as docs/configuration.md sets it up ("Worker clusters"). What is made of
Kueue's objects here serves Kueue's own MultiKueue as well: who dispatches is a name in the
AdmissionCheck.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from lws_kueue.api import names
from lws_kueue_lab import manifests, sandbox
from lws_kueue_lab.sandbox import client, credentials

Object = dict[str, Any]

# Where the manager looks for kubeconfigs unless it is told otherwise.
KUEUE_NAMESPACE: Final = "kueue-system"
# The AdmissionCheck by which a queue dispatches, and the MultiKueueConfig that it names.
CHECK: Final = "multikueue"
# The account of a manager in a worker (deploy/multikueue/worker), and the Secret with its token.
ACCOUNT_NAMESPACE: Final = "lws-kueue-multikueue"
ACCOUNT: Final = "lws-kueue-manager"
USER: Final = f"system:serviceaccount:{ACCOUNT_NAMESPACE}:{ACCOUNT}"
# Sections of the configuration of the manager's controller; settings of dispatch come on top.
CONFIGURATION: Final[Mapping[str, Any]] = {"lwsKueue": {"multiKueue": {"enabled": True}}}

_PATIENCE_SECONDS: Final = 90.0


def grant(manager: sandbox.Sandbox, workers: Iterable[sandbox.Sandbox]) -> None:
    """Give the controllers what ``deploy/multikueue`` says, in the manager and in each worker.

    That is to be there before a controller runs that dispatches; its account may come later.
    """
    # A Kueue that is a process of this machine is in no namespace.
    manager.api.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KUEUE_NAMESPACE}}
    )
    for obj in manifests.multikueue_objects("manager"):
        manager.api.apply(obj)
    for worker in workers:
        for obj in manifests.multikueue_objects("worker"):
            worker.api.apply(obj)


def connect(
    manager: sandbox.Sandbox, workers: Mapping[str, sandbox.Sandbox], *, check: str = CHECK
) -> None:
    """Tell the manager of its workers by name, with what `grant` has given."""
    for name, worker in workers.items():
        manager.api.apply(secret(name, kubeconfig(worker)))
    for obj in dispatching(workers, controller=names.DISPATCH_CONTROLLER, check=check):
        manager.api.apply(obj)


def wait_until_usable(manager: sandbox.Sandbox, *, check: str = CHECK) -> None:
    """Wait until groups can be dispatched to all workers that a check names.

    Raises client.WaitTimeoutError with what the check says instead.
    """

    def usable(seen: client.Object | None) -> bool:
        conditions = ((seen or {}).get("status") or {}).get("conditions") or ()
        return any((c["type"], c["reason"]) == ("Active", "Active") for c in conditions)

    manager.api.wait_for(
        names.KUEUE_API_VERSION,
        "AdmissionCheck",
        check,
        usable,
        timeout=_PATIENCE_SECONDS,
        what=f"all clusters of AdmissionCheck {check} can be used",
    )


def token(worker: sandbox.Sandbox) -> str:
    """Wait for the token that a worker has made for its manager, and return it."""
    found = worker.api.wait_for(
        "v1",
        "Secret",
        ACCOUNT,
        lambda seen: bool(seen and (seen.get("data") or {}).get("token")),
        namespace=ACCOUNT_NAMESPACE,
        what="the token of a manager",
    )
    assert found is not None
    return base64.b64decode(found["data"]["token"]).decode()


def kubeconfig(worker: sandbox.Sandbox, *, server: str = "", authority: bytes = b"") -> bytes:
    """Return the kubeconfig by which a manager comes to a worker, with that token.

    ``server`` and ``authority`` are of what stands in front of its API server, if anything does.
    """
    return credentials.kubeconfig(
        server=server or worker.api.server,
        ca_data=authority or worker.api.certificate_authority(),
        token=token(worker),
        user=ACCOUNT,
    )


# Objects of the manager -----------------------------------------------------------------------


def secret(name: str, content: bytes) -> Object:
    """Return the Secret with the kubeconfig of a worker."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": KUEUE_NAMESPACE},
        "data": {"kubeconfig": base64.b64encode(content).decode()},
    }


def dispatching(workers: Iterable[str], *, controller: str, check: str = CHECK) -> Iterator[Object]:
    """Yield what makes a manager dispatch to workers of which it has the Secrets.

    ``controller`` is who dispatches, Kueue or this controller.
    """
    named = list(workers)
    for name in named:
        source = {"kubeConfig": {"location": name, "locationType": "Secret"}}
        yield _kueues("MultiKueueCluster", name, clusterSource=source)
    yield configured(named, check=check)
    yield admission_check(check, controller=controller, configuration=check)


def configured(workers: Iterable[str], *, check: str = CHECK) -> Object:
    """Return the MultiKueueConfig that lists the workers of a check."""
    return _kueues("MultiKueueConfig", check, clusters=list(workers))


def admission_check(name: str, *, controller: str, configuration: str = CHECK) -> Object:
    """Return an AdmissionCheck of whoever dispatches, with its MultiKueueConfig."""
    parameters = {
        "apiGroup": names.KUEUE_GROUP,
        "kind": "MultiKueueConfig",
        "name": configuration,
    }
    return _kueues("AdmissionCheck", name, controllerName=controller, parameters=parameters)


def asking(*checks: str) -> Object:
    """Return the part of a ClusterQueue's spec by which it asks for checks."""
    return {"admissionChecks": [{"name": name, "onFlavors": []} for name in checks]}


def _kueues(kind: str, name: str, **spec: Any) -> Object:
    return {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
