"""The chart on a cluster: installed, changed, upgraded, taken off and put back, with least rights.

kwok only pretends to run the Deployment's pods. Beside them the controller runs with a token of the
service account that the chart has made.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit import helm, polling
from tests.kit.live import harness
from tests.kit.live.kubectl import kubectl

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("process_only")]

INSTALLER: Final = "installer"
DEFINITION: Final = f"{names.LWS_PLURAL}.{names.LWS_GROUP}"
RETIRED: Final = "lws-kueue-of-an-earlier-version"

# Kustomize makes the namespace; Helm is told to, or whoever installs has made it.
ONLY_KUSTOMIZE: Final = {("Namespace", helm.NAMESPACE)}


class Cluster:
    """A cluster in which somebody may install the chart, and nothing else."""

    def __init__(self, own: sandbox.Sandbox, folder: Path) -> None:
        self.own = own
        self.folder = folder
        kubectl(own, "create", "namespace", helm.NAMESPACE)
        kubectl(own, "create", "serviceaccount", INSTALLER, "--namespace=default")
        role = folder / "role.yaml"
        role.write_text(rights(), encoding="utf-8")
        kubectl(own, "apply", "--filename", str(role))
        subject = f"--serviceaccount=default:{INSTALLER}"
        cluster_wide = ("create", "clusterrolebinding", "installer", subject)
        kubectl(own, *cluster_wide, "--clusterrole=lws-kueue-installer")
        kubectl(
            own,
            *("create", "rolebinding", "installer", subject, "--role=lws-kueue-installer"),
            f"--namespace={helm.NAMESPACE}",
        )
        self.installer = own.service_account_kubeconfig("default", INSTALLER)

    def helm(self, command: str, *arguments: str) -> str:
        """Run Helm as the installer; what it prints to people is returned."""
        done = helm.run(
            *(command, helm.RELEASE, *arguments),
            *(f"--namespace={helm.NAMESPACE}", "--wait", "--timeout=120s"),
            home=self.folder,
            kubeconfig=self.installer,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def specs(self) -> dict[tuple[str, str], Any]:
        """Return what counts of every object that the chart made, by kind and name."""
        kinds = (
            *("clusterroles", "clusterrolebindings", "customresourcedefinitions"),
            *("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
            *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
        )
        own = ("deployments", "services", "serviceaccounts", "roles", "rolebindings")
        more = ("poddisruptionbudgets", "networkpolicies")
        found = [
            *self._list(",".join(kinds)),
            *self._list(",".join((*own, *more)), f"--namespace={helm.NAMESPACE}"),
        ]
        return {
            (obj["kind"], obj["metadata"]["name"]): {
                key: value
                for key, value in obj.items()
                if key not in ("apiVersion", "kind", "metadata", "status")
            }
            for obj in found
        }

    def _list(self, kinds: str, *arguments: str) -> list[dict[str, Any]]:
        label = "--selector=app.kubernetes.io/part-of=lws-kueue"
        answer = kubectl(self.own, "get", kinds, label, "--output=json", *arguments)
        items: list[dict[str, Any]] = json.loads(answer)["items"]
        return items

    def definition(self) -> dict[str, Any]:
        """Return the definition of sets as it is stored."""
        found: dict[str, Any] = json.loads(
            kubectl(self.own, "get", "crd", DEFINITION, "--output=json")
        )
        return found


def rights() -> str:
    """Return the roles that the chart's README says whoever installs needs."""
    text = (helm.CHART / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return str(block)


@pytest.fixture
def place(backend: sandbox.Backend, tmp_path: Path) -> Iterator[Cluster]:
    with sandbox.open(backend, options=sandbox.Options(nodes=1)) as own:
        yield Cluster(own, tmp_path)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A chart as an earlier version might have been: with one policy more, and fewer names."""
    chart = tmp_path / "earlier"
    shutil.copytree(helm.CHART, chart)
    text = (chart / "Chart.yaml").read_text("utf-8")
    (chart / "Chart.yaml").write_text(re.sub(r"(?m)ersion: 0\.1\.0$", "ersion: 0.0.9", text))
    crd = chart / "files" / "crds" / "leaderworkersets.yaml"
    content = yaml.safe_load(crd.read_text("utf-8"))
    del content["spec"]["names"]["shortNames"]
    crd.write_text(yaml.safe_dump(content), encoding="utf-8")
    policy = chart / "files" / "api" / "rules.yaml"
    more = policy.read_text("utf-8").replace("name: lws-kueue-rules", f"name: {RETIRED}")
    (policy.parent / "retired.yaml").write_text(
        more.replace("policyName: lws-kueue-rules", f"policyName: {RETIRED}"), encoding="utf-8"
    )
    return chart


def names_of(specs: dict[tuple[str, str], Any]) -> set[str]:
    return {name for _, name in specs}


def test_the_chart_is_installed_changed_and_taken_off_with_the_rights_that_it_names(
    place: Cluster,
) -> None:
    rendered = helm.render(home=place.folder)
    place.helm("install", str(helm.CHART))
    first = place.specs()
    assert set(first) == {(obj["kind"], obj["metadata"]["name"]) for obj in rendered}

    # The same once more changes nothing.
    place.helm("upgrade", str(helm.CHART))
    assert place.specs() == first

    # The service account of the chart serves sets.
    controller = harness.ControllerProcess(
        kubeconfig=place.own.service_account_kubeconfig(*harness.SERVICE_ACCOUNT),
        log=place.folder / "controller.log",
    )
    controller.start()
    try:
        namespace = harness.make_namespace(place.own, "served")
        body = harness.leader_worker_set("sample", namespace=namespace)
        polling.once_served()(place.own.api.create, body)
        harness.wait_ready(place.own, "sample", namespace=namespace, groups=2)
    finally:
        controller.kill()

    volcano = ("--set", "gangSchedulingManagement.schedulerProvider=volcano,replicaCount=3")
    place.helm("upgrade", str(helm.CHART), *volcano)
    changed = place.specs()
    assert names_of(changed) - names_of(first) == {"lws-kueue-volcano"}
    assert changed["Deployment", "lws-kueue"]["spec"]["replicas"] == 3
    place.helm("upgrade", str(helm.CHART), "--reset-values")
    assert place.specs() == first

    # The definition stays, and with it every set.
    place.helm("uninstall")
    left = place.specs()
    assert set(left) == {("CustomResourceDefinition", DEFINITION)}
    kubectl(place.own, "get", "lws", "sample", f"--namespace={namespace}")
    place.helm("install", str(helm.CHART))
    again = place.specs()
    service = "Service", "lws-kueue-metrics"
    for one in (first, again):
        # Another Service has another address.
        spec = one[service]["spec"]
        one[service]["spec"] = {k: v for k, v in spec.items() if not k.startswith("clusterIP")}
    assert again == first


def test_an_upgrade_changes_the_definition_and_takes_away_what_only_an_earlier_chart_had(
    place: Cluster, earlier: Path
) -> None:
    place.helm("install", str(earlier))
    before = place.definition()
    assert "shortNames" not in before["spec"]["names"]
    assert before["metadata"]["annotations"][names.VERSION] == "0.0.9"
    assert RETIRED in names_of(place.specs())
    place.helm("upgrade", str(helm.CHART))
    after = place.definition()
    assert after["spec"]["names"]["shortNames"] == ["lws"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert RETIRED not in names_of(place.specs())


def test_the_chart_takes_over_what_kustomize_has_installed(place: Cluster) -> None:
    kubectl(place.own, "apply", "--server-side", "-k", str(helm.ROOT / "deploy"))
    before = place.specs()
    place.helm("install", str(helm.CHART), "--take-ownership", "--force-conflicts")
    assert place.specs() == before


@pytest.mark.parametrize(
    ("folders", "arguments"),
    [
        (["deploy"], ()),
        (["deploy/api", "deploy/kueue"], ("kueue.enabled=true", "controller.enabled=false")),
        (
            ["deploy", "deploy/prometheus", "deploy/grafana"],
            ("enablePrometheus=true", "grafanaDashboard.enabled=true"),
        ),
    ],
    ids=["all", "the API with Kueue", "with Prometheus and Grafana"],
)
def test_kustomize_renders_the_same_objects(
    cluster: sandbox.Sandbox, folders: list[str], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    kustomized = [
        obj
        for folder in folders
        for obj in yaml.safe_load_all(kubectl(cluster, "kustomize", str(helm.ROOT / folder)))
    ]
    expected = {(obj["kind"], obj["metadata"]["name"]): obj for obj in kustomized}
    given = [word for argument in arguments for word in ("--set", argument)]
    rendered = {
        (obj["kind"], obj["metadata"]["name"]): obj for obj in helm.render(*given, home=tmp_path)
    }
    left_out = ONLY_KUSTOMIZE & set(expected)
    assert set(rendered) == set(expected) - left_out
    definition = rendered["CustomResourceDefinition", DEFINITION]
    # What Helm alone has to know of it.
    assert definition["metadata"]["annotations"].pop("helm.sh/resource-policy") == "keep"
    for key, obj in rendered.items():
        assert obj == expected[key], key
