"""What an operator meets: the first set after an installation, probes, and metrics."""

import http.client
import re
import ssl
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import ports

from lws_kueue.api import names
from lws_kueue.install import manifests
from tests.kit import monitoring, polling
from tests.kit.live import harness
from tests.kit.lws import checks

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
RBAC = "rbac.authorization.k8s.io/v1"
CONTROLLER = 'controller="leaderworkerset"'


class Replica(NamedTuple):
    """A controller process, and the ports that it serves at."""

    process: harness.ControllerProcess
    probes: int
    metrics: int


class Answer(NamedTuple):
    status: int
    version: int
    text: str


def get(port: int, path: str, *, tls: bool = False, token: str = "") -> Answer:
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, context=context, timeout=30
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(
            "GET", path, headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        answer = connection.getresponse()
        return Answer(answer.status, answer.version, answer.read().decode())
    finally:
        connection.close()


def sample(text: str, series: str) -> float:
    """The value of one series in the text format."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found, f"{series} is not among the metrics"
    return float(found[1])


def token_of(cluster: sandbox.Sandbox, name: str) -> str:
    """Make a service account of this name and return a token of it."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    cluster.api.apply({**account, "metadata": {"name": name, "namespace": "default"}})
    answer = cluster.api.request(
        "POST",
        f"/api/v1/namespaces/default/serviceaccounts/{name}/token",
        body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    )
    token: str = answer["status"]["token"]
    return token


@pytest.fixture(scope="module")
def replicas(
    quiet_cluster: sandbox.Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas as the Deployment has them, the first one the leader."""
    kubeconfig = quiet_cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
    folder = tmp_path_factory.mktemp("replicas")
    free = iter(ports.free(4))
    started: list[Replica] = []
    try:
        for name, until in (("leader", harness.LISTED), ("other", "waiting for the Lease")):
            probes, metrics = next(free), next(free)
            process = harness.ControllerProcess(
                kubeconfig=kubeconfig,
                log=folder / f"{name}.log",
                arguments=(
                    "--leader-elect",
                    "--leader-elect-retry-period=500ms",
                    f"--health-probe-bind-address=127.0.0.1:{probes}",
                    f"--metrics-bind-address=127.0.0.1:{metrics}",
                ),
            )
            process.start(until=until)
            started.append(Replica(process, probes, metrics))
        yield started[0], started[1]
    finally:
        for replica in started:
            replica.process.kill()


@pytest.mark.row("E2E-18")
def test_the_first_set_after_an_installation_can_be_created_and_deleted(
    quiet_cluster: sandbox.Sandbox, replicas: tuple[Replica, Replica]
) -> None:
    cluster = quiet_cluster
    assert replicas[0].process.running
    # As before the installation: nothing gives sets their defaults and pods their identity.
    for obj in manifests.api_objects():
        if obj["kind"] == "CustomResourceDefinition":
            continue
        cluster.api.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])
    harness.install(cluster)
    body = harness.leader_worker_set("first", namespace="default", replicas=1, size=2)
    created = cluster.api.create(body)
    assert created["spec"]["rolloutStrategy"]["type"] == "RollingUpdate"
    harness.wait_ready(cluster, "first", namespace="default", groups=1)
    labels = harness.pods(cluster, namespace="default")["first-0-1"]["metadata"]["labels"]
    assert labels[names.GROUP_INDEX] == "0"
    assert labels[names.WORKER_INDEX] == "1"
    cluster.api.delete(*LWS, "first", namespace="default")
    harness.wait_pods(
        cluster,
        lambda seen: not any(name.startswith("first-") for name in seen),
        namespace="default",
        what="no pod of the set",
    )
    assert cluster.api.find(*LWS, "first", namespace="default") is None


def test_every_replica_answers_probes_whether_it_leads_or_not(
    replicas: tuple[Replica, Replica],
) -> None:
    def ready(replica: Replica) -> None:
        answer = get(replica.probes, "/readyz")
        assert answer.status == 200, answer.text

    for replica in replicas:
        assert get(replica.probes, "/healthz").status == 200
        # The test before this one took the policies away for a moment, which may have been seen.
        polling.eventually(ready, replica)


@pytest.mark.row("E2E-17")
def test_metrics_are_served_to_whoever_may_read_them(
    quiet_cluster: sandbox.Sandbox, replicas: tuple[Replica, Replica]
) -> None:
    cluster = quiet_cluster
    reader, stranger = token_of(cluster, "metrics-reader"), token_of(cluster, "stranger")
    cluster.api.apply(
        {
            "apiVersion": RBAC,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "metrics-reader"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "lws-kueue-metrics-reader",
            },
            "subjects": [
                {"kind": "ServiceAccount", "name": "metrics-reader", "namespace": "default"}
            ],
        }
    )
    body = harness.leader_worker_set("measured", namespace="default", replicas=1, size=2)
    cluster.api.create(body)
    harness.wait_ready(cluster, "measured", namespace="default", groups=1)
    leader, other = replicas
    assert get(leader.metrics, "/metrics", tls=True).status == 401
    assert get(leader.metrics, "/metrics", tls=True, token="nonsense").status == 401
    assert get(leader.metrics, "/metrics", tls=True, token=stranger).status == 403
    passes = f'controller_runtime_reconcile_total{{{CONTROLLER},result="success"}}'
    lease = 'leader_election_master_status{name="b8b2488c.x-k8s.io"}'

    def what_was_done_is_counted() -> None:
        answer = get(leader.metrics, "/metrics", tls=True, token=reader)
        assert (answer.status, answer.version) == (200, 11)
        assert sample(answer.text, passes) >= 1
        most = f"controller_runtime_max_concurrent_reconciles{{{CONTROLLER}}}"
        assert sample(answer.text, most) == 8
        assert sample(answer.text, lease) == 1
        assert sample(answer.text, "lws_kueue_sets") >= 1
        assert sample(answer.text, 'lws_kueue_groups{state="ready"}') >= 1

    # A pass is counted when it is over, which is after its status can be read.
    checks.eventually(what_was_done_is_counted)
    answer = get(leader.metrics, "/metrics", tls=True, token=reader)
    served = monitoring.declared(answer.text)
    assert monitoring.asked() - served == set(), "an alert or the dashboard asks for what is not"
    of_set = 'lws_kueue_set_groups{namespace="default",set="measured",state="ready"}'
    assert sample(answer.text, of_set) == 1
    waiting = get(other.metrics, "/metrics", tls=True, token=reader)
    assert waiting.status == 200
    assert sample(waiting.text, passes) == 0
    assert sample(waiting.text, lease) == 0
    cluster.api.delete(*LWS, "measured", namespace="default")


def test_a_replica_that_waits_ends_at_once_when_it_is_asked_to(
    replicas: tuple[Replica, Replica],
) -> None:
    leader, other = replicas
    assert other.process.stop() == 0
    assert leader.process.running
