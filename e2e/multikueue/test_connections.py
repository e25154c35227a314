"""Connections to worker clusters on real control planes, with the rights that are deployed.

The workers have no Kueue that runs: what is looked at is what they serve and whom they let in.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import yaml
from lws_kueue_lab import manifests, sandbox, worker_clusters
from lws_kueue_lab.kueue_standin import installation
from lws_kueue_lab.sandbox import credentials

from e2e.multikueue import conftest
from lws_kueue.api import names
from tests.kit.builders import cluster as build
from tests.kit.kueue import clusters
from tests.kit.live import harness

pytestmark = pytest.mark.long

Object = dict[str, Any]

CHECK: Final = (names.KUEUE_API_VERSION, "AdmissionCheck", clusters.CHECK)
CLUSTER: Final = (names.KUEUE_API_VERSION, "MultiKueueCluster")
TOKEN: Final = ("v1", "Secret", worker_clusters.ACCOUNT)
ACCOUNT: Final = worker_clusters.ACCOUNT_NAMESPACE
deployed = manifests.multikueue_objects
CRD: Final = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
SETS: Final = f"{names.LWS_PLURAL}.{names.LWS_GROUP}"
TIMEOUT: Final = 90.0


@dataclass(frozen=True, slots=True)
class Connected:
    """A manager whose controller connects, and two workers with an account for it."""

    clusters: clusters.Clusters
    secrets: set[str] = field(default_factory=set)

    @property
    def manager(self) -> sandbox.Sandbox:
        return self.clusters.manager.cluster

    @property
    def controller(self) -> harness.ControllerProcess:
        return self.clusters.manager.controller

    @property
    def workers(self) -> dict[str, sandbox.Sandbox]:
        return {name: place.cluster for name, place in self.clusters.workers.items()}

    def token(self, name: str) -> str:
        """Wait for the token that a worker has made for the manager; returns it."""
        token = worker_clusters.token(self.workers[name])
        self.secrets.add(token)
        return token

    def kubeconfig(self, cluster: sandbox.Sandbox, token: str) -> bytes:
        """Return a kubeconfig for a cluster, with a token of whomever."""
        return credentials.kubeconfig(
            server=cluster.api.server,
            ca_data=cluster.api.certificate_authority(),
            token=token,
            user=worker_clusters.ACCOUNT,
        )

    def give(self, name: str, content: bytes) -> None:
        """Put a kubeconfig into the Secret of a cluster."""
        self.manager.api.apply(clusters.secret(name, content))

    def replace(self, name: str, content: bytes) -> None:
        """Put another kubeconfig there and wait until it is in use."""
        mark = self.controller.log.stat().st_size
        self.give(name, content)
        self.controller.wait_log(f"Cluster {name}: its new kubeconfig is in use", since=mark)

    def good(self, name: str) -> bytes:
        return self.kubeconfig(self.workers[name], self.token(name))

    def says(self, *texts: str) -> Object:
        """Wait until the check says all of these; returns its condition."""

        def told(check: Object | None) -> bool:
            found = harness.condition(check or {}, "Active") or {}
            message = found.get("message", "")
            return all(text in message for text in texts)

        check = self.manager.api.wait_for(*CHECK, told, timeout=TIMEOUT, what=f"it says {texts}")
        assert check is not None
        found = harness.condition(check, "Active")
        assert found is not None
        return found

    def usable(self) -> None:
        assert self.says("all clusters can be used")["reason"] == "Active"

    def connected(self, name: str, status: str) -> Object:
        """Wait until the condition of a cluster says whether it is connected; returns it."""

        def told(cluster: Object | None) -> bool:
            found = harness.condition(cluster or {}, names.CLUSTER_CONNECTED) or {}
            return found.get("status") == status

        cluster = self.manager.api.wait_for(*CLUSTER, name, told, timeout=TIMEOUT)
        found = harness.condition(cluster or {}, names.CLUSTER_CONNECTED)
        assert found is not None
        return found


def begun(opened: clusters.Clusters) -> Connected:
    """Have the controller connect; only the second worker has all that groups are made of."""
    fleet = Connected(opened)
    worker_clusters.grant(fleet.manager, fleet.workers.values())
    installation.install(fleet.workers["w2"].api)
    fleet.workers["w1"].api.delete(*CRD, SETS)
    # Whatever it logs, nothing secret is to be in it.
    opened.manager.controller.arguments += ("--verbose",)
    opened.manager.kueue(clusters.BRIDGE)
    for name in fleet.workers:
        fleet.give(name, fleet.good(name))
    for obj in clusters.dispatching(fleet.workers, controller=names.DISPATCH_CONTROLLER):
        fleet.manager.api.apply(obj)
    return fleet


@pytest.fixture(scope="module")
def shared(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Connected]:
    """Both workers are usable; what the first one lacked was seen to come without a restart."""
    multi_kueue = {"kueueProbeInterval": "2s", "multiKueue": {"enabled": True}}
    with conftest.opening(
        backend,
        tmp_path_factory,
        mode="standin",
        workers=("w1", "w2"),
        nodes=1,
        configuration={"lwsKueue": multi_kueue},
    ) as opened:
        fleet = begun(opened)
        fleet.says("w1: Kueue is not installed", "LeaderWorkerSets are not served", "usable: w2")
        installation.install(fleet.workers["w1"].api)
        harness.install(fleet.workers["w1"])
        fleet.usable()
        yield fleet


@pytest.fixture
def fleet(shared: Connected) -> Iterator[Connected]:
    """All is well before a test and after it, and nothing secret was told meanwhile."""
    shared.usable()
    yield shared
    print(shared.controller.tail(80))
    shared.usable()
    told = shared.controller.log.read_text()
    api = shared.manager.api
    for kind in (CHECK[:2], CLUSTER, ("events.k8s.io/v1", "Event")):
        told += "".join(str(obj) for obj in api.list(*kind))
    assert shared.secrets
    for secret in shared.secrets:
        assert secret not in told


@pytest.mark.row("MK-51")
def test_a_queue_is_active_while_a_cluster_can_be_used_and_a_set_says_which_say_no(
    fleet: Connected,
) -> None:
    api = fleet.manager.api
    assert fleet.connected("w1", "True")["reason"] == "Connected"
    assert fleet.connected("w2", "True")["reason"] == "Connected"
    room = harness.make_namespace(fleet.manager, "asks")
    asks = clusters.asking(clusters.CHECK)
    queue = harness.queues(fleet.manager, namespace=room, cpu="5", admissionChecksStrategy=asks)
    api.create(harness.leader_worker_set("s", namespace=room, replicas=1, size=1, queue=queue))
    # The namespace is in neither of them.
    missing = f'namespaces "{room}" not found'
    harness.wait_status(
        fleet.manager,
        "s",
        lambda obj: all(
            text in (harness.condition(obj, "WaitingForAdmission") or {}).get("message", "")
            for text in ("w1: namespaces", "w2: namespaces", missing)
        ),
        namespace=room,
    )
    api.delete(names.LWS_API_VERSION, names.LWS_KIND, "s", namespace=room)


@pytest.mark.row("MK-51")
def test_unknown_clusters_and_parameters_of_another_kind_are_told(fleet: Connected) -> None:
    api = fleet.manager.api
    wanted = build.kueues("MultiKueueConfig", clusters.CHECK, clusters=["w2", "w3"])
    api.apply(wanted)
    fleet.says("usable: w2; w3: there is no such MultiKueueCluster")
    api.apply(build.kueues("MultiKueueConfig", clusters.CHECK, clusters=["w1", "w2"]))
    fleet.usable()
    check = api.get(*CHECK)

    def refer(parameters: Object | None) -> None:
        api.patch(*CHECK, body={"spec": {"parameters": parameters}})

    refer(None)
    assert fleet.says("spec.parameters is missing")["reason"] == "BadConfig"
    refer({**check["spec"]["parameters"], "kind": "ConfigMap"})
    assert fleet.says("spec.parameters.kind is ConfigMap")["reason"] == "BadConfig"
    refer(check["spec"]["parameters"])


@pytest.mark.row("MK-52")
def test_a_role_that_lacks_one_verb_is_told(fleet: Connected) -> None:
    worker = fleet.workers["w1"].api
    (role,) = (obj for obj in deployed("worker") if obj["kind"] == "ClusterRole")
    identity = ("rbac.authorization.k8s.io/v1", "ClusterRole", role["metadata"]["name"])
    less = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != "patch"]}
        if rule["resources"] == ["leaderworkersets"]
        else rule
        for rule in role["rules"]
    ]
    worker.patch(*identity, body={"rules": less})
    fleet.says("usable: w2; w1: its role lacks patch of leaderworkersets.leaderworkerset.x-k8s.io")
    worker.patch(*identity, body={"rules": role["rules"]})


@pytest.mark.row("MK-52")
def test_the_manager_is_no_worker_and_one_cluster_is_not_two(fleet: Connected) -> None:
    own = yaml.safe_load(fleet.controller.kubeconfig.read_text())
    own_token = own["users"][0]["user"]["token"]
    fleet.secrets.add(own_token)
    api = fleet.manager.api
    # A third one: one that was in use goes on with the kubeconfig that works.
    fleet.give("other", fleet.kubeconfig(fleet.manager, own_token))
    source = {"kubeConfig": {"location": "other", "locationType": "Secret"}}
    api.apply(build.kueues(CLUSTER[1], "w3", clusterSource=source))
    api.apply(build.kueues("MultiKueueConfig", clusters.CHECK, clusters=["w1", "w2", "w3"]))
    fleet.says("usable: w1, w2; w3: it is the manager's own cluster")
    fleet.give("other", fleet.good("w1"))
    fleet.says("usable: w1, w2; w3: it is the same cluster as w1")
    api.apply(build.kueues("MultiKueueConfig", clusters.CHECK, clusters=["w1", "w2"]))
    api.delete(*CLUSTER, "w3")
    fleet.usable()


@pytest.mark.row("MK-50")
def test_a_token_is_rotated_by_way_of_garbage_and_the_old_one_revoked(fleet: Connected) -> None:
    before = fleet.connected("w1", "True")
    old = fleet.token("w1")
    fleet.give("w1", b"no kubeconfig: " + old.encode())
    fleet.says(
        "all clusters can be used", "w1: Secret kueue-system/w1", "the kubeconfig before it goes on"
    )
    worker = fleet.workers["w1"].api
    account = f"/api/v1/namespaces/{ACCOUNT}/serviceaccounts/{TOKEN[2]}"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    new = worker.request("POST", f"{account}/token", body=asked)["status"]["token"]
    fleet.secrets.add(new)
    fleet.replace("w1", fleet.kubeconfig(fleet.workers["w1"], new))
    fleet.usable()
    worker.delete(*TOKEN, namespace=ACCOUNT)
    (secret,) = (obj for obj in deployed("worker") if obj["kind"] == "Secret")
    worker.apply(secret)
    assert fleet.token("w1") != old
    # Whoever still had the old one would have been refused by now.
    fleet.replace("w1", fleet.good("w1"))
    assert fleet.connected("w1", "True") == before


@pytest.mark.row("MK-49")
def test_the_credentials_of_one_cluster_are_revoked_and_the_other_goes_on(fleet: Connected) -> None:
    worker = fleet.workers["w1"].api
    worker.delete(*TOKEN, namespace=ACCOUNT)
    fleet.says("usable: w2; w1: its API server refuses the credentials (401)", "; lost since ")
    lost = fleet.connected("w1", "False")
    assert lost["reason"] == "Unauthorized"
    # The time of the loss outlives the controller.
    assert fleet.controller.stop() == 0
    fleet.controller.start()
    fleet.says("usable: w2; w1: its API server refuses the credentials (401)")
    assert fleet.connected("w1", "False") == lost
    (secret,) = (obj for obj in deployed("worker") if obj["kind"] == "Secret")
    worker.apply(secret)
    fleet.give("w1", fleet.good("w1"))


def test_an_api_server_that_goes_is_lost_and_comes_back_by_itself(fleet: Connected) -> None:
    fleet.workers["w2"].stop_api_server()
    fleet.says("usable: w1; w2: its API server cannot be reached", "; lost since ")
    assert fleet.connected("w2", "False")["reason"] == "Unreachable"
    fleet.workers["w2"].start_api_server()
    fleet.usable()
    fleet.connected("w2", "True")
